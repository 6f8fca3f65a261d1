//! The simulated platform: its provisioning certification key, and the attestation key that it certifies.

use std::path::{Path, PathBuf};

use nautilus_core::{AttestError, Protection, Sealer};
use ring::hmac;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::attest::{EnclaveReport, Image, QeCertification, SimulatedAttester};
use super::description::{Description, QuotingEnclave};
use super::key::{self, RawKey};
use super::{CHAIN_FILE, DESCRIPTION_FILE, PCK_KEY_FILE, PLATFORM_DIR, SimulatedError, files};
use crate::sealing::KeySealer;

/// The QE authentication data that Intel's quoting enclave makes.
const QE_AUTH_DATA: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
    29, 30, 31,
];
/// The sealing key is another use of the platform's key.
const SEALING_LABEL: &[u8] = b"nautilus simulated platform: sealing";
/// `INIT | MODE64BIT | PROVISIONKEY`, as Intel's quoting enclave has.
const QE_FLAGS: u64 = 0x15;
/// State components that an enclave may use: x87, SSE, AVX.
pub(super) const XFRM: u64 = 0x7;

/// A simulated platform with a fresh attestation key, which it has certified. The key that certifies is not kept.
pub struct Platform {
    attestation_key: RawKey,
    certification: QeCertification,
    description: Description,
    sealing_key: hmac::Key,
    sealing_key_path: PathBuf,
}

/// What the simulated TEE offers to `options.program`.
pub(crate) fn platform(options: &crate::PlatformOptions) -> Result<crate::Platform, AttestError> {
    if let Some(name) = &options.quote_provider {
        return Err(AttestError::Unsupported {
            what: format!("quote_provider `{name}`: the simulated TEE has only one, which has no name"),
        });
    }
    let directory = options.simulated.as_deref().ok_or_else(|| AttestError::Missing {
        interface: "the simulated platform".to_owned(),
        hint: "say where its directory is".to_owned(),
    })?;
    let platform = Platform::load(directory).map_err(|error| AttestError::Vendor {
        what: error.to_string(),
    })?;
    let image = Image::production(options.program);
    Ok(crate::Platform {
        sealer: Some(Box::new(platform.sealer(&image))),
        attester: Box::new(platform.into_attester(image)),
    })
}

impl Platform {
    /// Reads the platform's part of the simulated TEE's directory `dir`, which [`super::Vendor::open_or_create`] made,
    /// and has a new attestation key certified. The key lives in memory only.
    ///
    /// # Errors
    /// If a file is missing, damaged, or a key that others can read; or if the system gives no randomness.
    pub fn load(dir: &Path) -> Result<Self, SimulatedError> {
        let dir = dir.join(PLATFORM_DIR);
        files::check_dir(&dir)?;
        let path = dir.join(DESCRIPTION_FILE);
        let description: Description =
            serde_json::from_slice(&files::read(&path)?).map_err(|error| SimulatedError::Damaged {
                path,
                what: format!("it is no description: {error}"),
            })?;
        let path = dir.join(CHAIN_FILE);
        let pck_chain = files::read(&path)?;
        if Sha256::digest(&pck_chain)[..] != description.pck_chain {
            return Err(SimulatedError::Damaged {
                path,
                what: "it is not the chain of this platform".to_owned(),
            });
        }
        let path = dir.join(PCK_KEY_FILE);
        let pkcs8 = files::read_key(&path)?;
        let sealing_key = hmac::Key::new(
            hmac::HMAC_SHA256,
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SEALING_LABEL), &pkcs8).as_ref(),
        );
        let sealing_key_path = path.clone();
        let pck = RawKey::from_pkcs8(&pkcs8)
            .filter(|key| Sha256::digest(key.public())[..] == description.pck_key)
            .ok_or_else(|| SimulatedError::Damaged {
                path,
                what: "it is not the key of this platform".to_owned(),
            })?;
        let attestation_key =
            RawKey::from_pkcs8(&key::generate()?).ok_or_else(|| SimulatedError::Crypto {
                what: "the new attestation key cannot be used".to_owned(),
            })?;
        let certification = certify(&attestation_key, &pck, &description, pck_chain)?;
        Ok(Self {
            attestation_key,
            certification,
            description,
            sealing_key,
            sealing_key_path,
        })
    }

    /// What seals for `image` on this platform. Its key is made of the platform's own, so that the state of one
    /// platform does not open on another; but whoever can read the platform's files has it too.
    pub fn sealer(&self, image: &Image) -> impl Sealer + use<> {
        let mut key = Zeroizing::new([0; 32]);
        let tag = hmac::sign(&self.sealing_key, &image.mrenclave);
        key.copy_from_slice(tag.as_ref());
        let path = self.sealing_key_path.display().to_string();
        KeySealer::new(key, Protection::FileMode { path })
    }

    /// Digest of the key that signs enclaves on this platform.
    pub const fn mrsigner(&self) -> &[u8; 32] {
        &self.description.mrsigner
    }

    /// Launches an enclave, which can then have quotes made.
    pub fn into_attester(self, image: Image) -> SimulatedAttester {
        SimulatedAttester::new(self.attestation_key, self.certification, self.description, image)
    }
}

/// What the quoting enclave and the provisioning certification enclave do together: a QE report that binds the
/// attestation key, signed by the platform's key.
fn certify(
    attestation_key: &RawKey,
    pck: &RawKey,
    description: &Description,
    pck_chain: Vec<u8>,
) -> Result<QeCertification, SimulatedError> {
    let mut hash = Sha256::new();
    hash.update(attestation_key.public());
    hash.update(QE_AUTH_DATA);
    let mut report_data = [0; 64];
    let (bound, _) = report_data.split_at_mut(32);
    bound.copy_from_slice(&hash.finalize());
    let QuotingEnclave {
        mrenclave,
        mrsigner,
        isv_prod_id,
        isv_svn,
    } = description.qe;
    let report = EnclaveReport {
        cpu_svn: description.cpu_svn,
        flags: QE_FLAGS,
        xfrm: XFRM,
        mrenclave,
        mrsigner,
        isv_prod_id,
        isv_svn,
        report_data,
    }
    .to_bytes();
    let signature = pck.sign(&report).ok_or_else(|| SimulatedError::Crypto {
        what: "the platform's key did not sign".to_owned(),
    })?;
    Ok(QeCertification {
        report,
        signature,
        auth_data: QE_AUTH_DATA,
        pck_chain,
    })
}
