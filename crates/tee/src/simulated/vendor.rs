//! The simulated vendor: makes its documents at first use, keeps them in a directory, and renews what expires.

mod certificates;
mod collateral;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use dcap_qvl::QuoteCollateralV3;
use nautilus_core::{Endorsement, EndorsementKind, UnixMillis};
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::certificates::{Hardware, Keys, Term};
use self::collateral::{CURRENT, Evaluation, Issue};
use super::description::{Description, Format, QuotingEnclave};
use super::key::{self, CaKey, RawKey};
use super::{CHAIN_FILE, DESCRIPTION_FILE, PCK_KEY_FILE, PLATFORM_DIR, ROOT_FILE, SimulatedError, files};

const VENDOR_DIR: &str = "vendor";
const ROOT_KEY_FILE: &str = "root.key";
const PCK_CA_KEY_FILE: &str = "pck-ca.key";
const TCB_SIGNING_KEY_FILE: &str = "tcb-signing.key";
const PCK_CA_FILE: &str = "pck-ca.der";
const TCB_SIGNING_FILE: &str = "tcb-signing.der";
const COLLATERAL_FILE: &str = "collateral.json";

const DAY: u64 = 24 * 60 * 60 * 1000;
/// How long certificates are valid.
const CERTIFICATE_LIFE: u64 = 3650 * DAY;
/// How long collateral is valid, as Intel's is.
const COLLATERAL_LIFE: u64 = 30 * DAY;
/// How long before its end collateral is renewed.
const RENEWAL: u64 = 7 * DAY;
/// Documents start this much earlier, so that a verifier whose clock is behind accepts them.
const CLOCK_SKEW: u64 = 60 * 60 * 1000;

/// A simulated vendor of platforms, with its one platform, in a directory of its own.
#[derive(Debug)]
pub struct Vendor {
    dir: PathBuf,
    root_der: Vec<u8>,
    collateral: Vec<u8>,
}

impl Vendor {
    /// Opens the vendor in `dir`; where `dir` is absent or empty, makes one. It appears whole or not at all, and where
    /// several processes make one at once, all get the same. Collateral that ends within 7 days of `now` is renewed.
    ///
    /// # Errors
    /// If a file is missing, damaged, or a key that others can read; if the certificates are not valid at `now`; or if
    /// the file system refuses.
    pub fn open_or_create(dir: &Path, now: UnixMillis) -> Result<Self, SimulatedError> {
        if is_vacant(dir)? {
            create(dir, now, &Hardware::new(key::random()?, key::random()?))?;
        }
        Self::open(dir, now)
    }

    /// Opens the vendor in `dir`. Collateral that ends within 7 days of `now` is renewed.
    ///
    /// # Errors
    /// As [`Vendor::open_or_create`]; `Missing` where there is none.
    pub fn open(dir: &Path, now: UnixMillis) -> Result<Self, SimulatedError> {
        let root_der = read_root(dir)?;
        let signers = Signers::read(dir, &root_der)?;
        let Term { from, until } = certificates::term(&root_der).map_err(|what| SimulatedError::Damaged {
            path: dir.join(ROOT_FILE),
            what,
        })?;
        if now < from || now >= until {
            return Err(SimulatedError::NotValid {
                dir: dir.to_owned(),
                from,
                until,
                now,
            });
        }
        let path = dir.join(COLLATERAL_FILE);
        let damaged = |what: String| SimulatedError::Damaged {
            path: path.clone(),
            what,
        };
        let mut collateral = files::read(&path)?;
        let documents: QuoteCollateralV3 = serde_json::from_slice(&collateral)
            .map_err(|error| damaged(format!("it is no collateral: {error}")))?;
        let current = collateral::term(&documents).map_err(damaged)?;
        if now < current.from || now.plus(RENEWAL) >= current.until {
            let renewed = signers.issue(&root_der, collateral_term(now), CURRENT, &[])?;
            collateral = to_json(&renewed)?;
            files::replace(&path, &collateral)?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            root_der,
            collateral,
        })
    }

    /// The vendor's root certificate in DER: all that a relying party needs, and must have from elsewhere than the
    /// evidence.
    pub fn root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// Digest of the key that signs this vendor's enclaves.
    pub fn mrsigner(&self) -> [u8; 32] {
        mrsigner(&self.root_der)
    }

    /// TCB info, QE identity and CRLs for its platform, as they travel with evidence.
    pub fn endorsement(&self) -> Endorsement {
        Endorsement {
            kind: EndorsementKind::DcapCollateral,
            bytes: self.collateral.clone(),
            origin: self.dir.join(COLLATERAL_FILE).display().to_string(),
        }
    }
}

/// The root certificate of the vendor in `dir`, in DER: for a relying party, which needs nothing else of it.
///
/// # Errors
/// If it is missing or cannot be read, or if others could have put another in its place.
pub fn read_root(dir: &Path) -> Result<Vec<u8>, SimulatedError> {
    let path = dir.join(ROOT_FILE);
    match files::check_dir(dir) {
        Err(SimulatedError::Missing { .. }) => return Err(SimulatedError::Missing { path }),
        checked => checked?,
    }
    files::read(&path)
}

fn is_vacant(dir: &Path) -> Result<bool, SimulatedError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(files::io_error("read", dir)(source)),
    }
}

/// Makes a vendor with new keys and this one platform, at `dir` or nowhere.
fn create(dir: &Path, now: UnixMillis, hardware: &Hardware) -> Result<(), SimulatedError> {
    let staged = files::stage(dir)?;
    let secrets = Secrets::generate()?;
    let keys = secrets.keys()?;
    let term = Term {
        from: skewed(now),
        until: now.plus(CERTIFICATE_LIFE),
    };
    let certificates = certificates::make(&keys, hardware, term)?;
    let chain = certificates.pck_chain();
    let description = Description {
        format: Format::V1,
        cpu_svn: hardware.cpu_svn,
        pce_svn: hardware.pce_svn,
        pck_key: Sha256::digest(keys.pck.public()).into(),
        pck_chain: Sha256::digest(&chain).into(),
        mrsigner: mrsigner(&certificates.root),
        qe_id: key::random()?,
        qe: quoting_enclave(&certificates.root),
    };
    let root = certificates.root.clone();
    let signers = Signers {
        root: keys.root,
        pck_ca: keys.pck_ca,
        tcb_signing: keys.tcb_signing,
        pck_ca_der: certificates.pck_ca,
        tcb_signing_der: certificates.tcb_signing,
    };
    let collateral = signers.issue(&root, collateral_term(now), CURRENT, &[])?;

    staged.dir(VENDOR_DIR)?;
    staged.key(&within(VENDOR_DIR, ROOT_KEY_FILE), &secrets.root)?;
    staged.key(&within(VENDOR_DIR, PCK_CA_KEY_FILE), &secrets.pck_ca)?;
    staged.key(&within(VENDOR_DIR, TCB_SIGNING_KEY_FILE), &secrets.tcb_signing)?;
    staged.public(&within(VENDOR_DIR, PCK_CA_FILE), &signers.pck_ca_der)?;
    staged.public(&within(VENDOR_DIR, TCB_SIGNING_FILE), &signers.tcb_signing_der)?;
    staged.dir(PLATFORM_DIR)?;
    staged.key(&within(PLATFORM_DIR, PCK_KEY_FILE), &secrets.pck)?;
    staged.public(&within(PLATFORM_DIR, CHAIN_FILE), &chain)?;
    staged.public(&within(PLATFORM_DIR, DESCRIPTION_FILE), &to_json(&description)?)?;
    staged.public(COLLATERAL_FILE, &to_json(&collateral)?)?;
    staged.public(ROOT_FILE, &root)?;
    staged.publish(&[VENDOR_DIR, PLATFORM_DIR])
}

/// Private keys in PKCS#8, wiped when they go.
struct Secrets {
    root: Zeroizing<Vec<u8>>,
    pck_ca: Zeroizing<Vec<u8>>,
    tcb_signing: Zeroizing<Vec<u8>>,
    pck: Zeroizing<Vec<u8>>,
}

impl Secrets {
    fn generate() -> Result<Self, SimulatedError> {
        Ok(Self {
            root: key::generate()?,
            pck_ca: key::generate()?,
            tcb_signing: key::generate()?,
            pck: key::generate()?,
        })
    }

    fn keys(&self) -> Result<Keys, SimulatedError> {
        let unusable = || SimulatedError::Crypto {
            what: "a new key cannot be used".to_owned(),
        };
        Ok(Keys {
            root: CaKey::from_pkcs8(&self.root).ok_or_else(unusable)?,
            pck_ca: CaKey::from_pkcs8(&self.pck_ca).ok_or_else(unusable)?,
            tcb_signing: RawKey::from_pkcs8(&self.tcb_signing).ok_or_else(unusable)?,
            pck: RawKey::from_pkcs8(&self.pck).ok_or_else(unusable)?,
        })
    }
}

/// What signs collateral.
struct Signers {
    root: CaKey,
    pck_ca: CaKey,
    tcb_signing: RawKey,
    pck_ca_der: Vec<u8>,
    tcb_signing_der: Vec<u8>,
}

impl Signers {
    /// Reads the vendor's keys, each of which must be that of its certificate.
    fn read(dir: &Path, root_der: &[u8]) -> Result<Self, SimulatedError> {
        let vendor = dir.join(VENDOR_DIR);
        files::check_dir(&vendor)?;
        let unreadable = |path: PathBuf| {
            move || SimulatedError::Damaged {
                path,
                what: "it is no P-256 key in PKCS#8".to_owned(),
            }
        };
        let ca_key = |name: &str| {
            let path = vendor.join(name);
            CaKey::from_pkcs8(&files::read_key(&path)?).ok_or_else(unreadable(path))
        };
        let path = vendor.join(TCB_SIGNING_KEY_FILE);
        let signers = Self {
            root: ca_key(ROOT_KEY_FILE)?,
            pck_ca: ca_key(PCK_CA_KEY_FILE)?,
            tcb_signing: RawKey::from_pkcs8(&files::read_key(&path)?).ok_or_else(unreadable(path))?,
            pck_ca_der: files::read(&vendor.join(PCK_CA_FILE))?,
            tcb_signing_der: files::read(&vendor.join(TCB_SIGNING_FILE))?,
        };
        for (certificate, path, key) in [
            (root_der, dir.join(ROOT_FILE), signers.root.point()),
            (
                &signers.pck_ca_der,
                vendor.join(PCK_CA_FILE),
                signers.pck_ca.point(),
            ),
            (
                &signers.tcb_signing_der,
                vendor.join(TCB_SIGNING_FILE),
                signers.tcb_signing.point(),
            ),
        ] {
            let what = match certificates::public_key(certificate) {
                Ok(public) if public == key => continue,
                Ok(_) => "it does not belong to the private key beside it".to_owned(),
                Err(what) => what,
            };
            return Err(SimulatedError::Damaged { path, what });
        }
        Ok(signers)
    }

    /// Collateral of the vendor's platform. `revoked` are serial numbers of PCK certificates.
    fn issue(
        &self,
        root_der: &[u8],
        term: Term,
        evaluation: Evaluation,
        revoked: &[Vec<u8>],
    ) -> Result<QuoteCollateralV3, SimulatedError> {
        collateral::make(&Issue {
            root: &self.root,
            root_der,
            pck_ca: &self.pck_ca,
            pck_ca_der: &self.pck_ca_der,
            tcb_signing: &self.tcb_signing,
            tcb_signing_der: &self.tcb_signing_der,
            qe: &quoting_enclave(root_der),
            term,
            evaluation,
            revoked,
        })
    }
}

/// The vendor's one quoting enclave, in its current version.
fn quoting_enclave(root_der: &[u8]) -> QuotingEnclave {
    QuotingEnclave {
        mrenclave: digest("nautilus simulated quoting enclave", &[]),
        mrsigner: digest("nautilus simulated quoting enclave's signer", root_der),
        isv_prod_id: 1,
        isv_svn: collateral::QE_ISV_SVN,
    }
}

fn mrsigner(root_der: &[u8]) -> [u8; 32] {
    digest("nautilus simulated enclave signer", root_der)
}

fn digest(label: &str, of: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(label);
    hash.update(of);
    hash.finalize().into()
}

fn collateral_term(now: UnixMillis) -> Term {
    Term {
        from: skewed(now),
        until: now.plus(COLLATERAL_LIFE),
    }
}

const fn skewed(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(CLOCK_SKEW))
}

fn to_json(document: &impl Serialize) -> Result<Vec<u8>, SimulatedError> {
    serde_json::to_vec_pretty(document).map_err(|error| SimulatedError::Crypto {
        what: error.to_string(),
    })
}

fn within(dir: &str, file: &str) -> String {
    format!("{dir}/{file}")
}

#[cfg(test)]
#[cfg(feature = "attest")]
mod tests;
