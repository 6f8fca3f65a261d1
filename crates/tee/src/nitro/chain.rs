//! The certificates between AWS's root and the key that signed a document.
//!
//! AWS, *Nitro Enclaves Attestation Process* §3.2.3: a chain under the pinned root, by ECDSA on P-384 with SHA-384
//! throughout, with validity, basic constraints and key usage of each certificate checked (RFC 5280 §6.1).

use nautilus_core::{UnixMillis, VerifyError};
use x509_cert::der::asn1::ObjectIdentifier;

use crate::memo::Window;
use crate::x509::{AuthorityFault, Certificate, Digest, Fault, KeyUsageRule, PublicKey, Scheme, oid};

/// What a verified certificate leaves for the one below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// Its name, in DER.
    pub subject: Vec<u8>,
    /// Its key, an uncompressed point on P-384.
    pub key: [u8; 97],
    /// When it and everything above it is valid.
    pub window: Window,
}

/// The intermediates of a chain, once verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issuers {
    /// From the root to the issuer of the leaf.
    pub authorities: Vec<Authority>,
    /// Serial numbers of the intermediates and where lists of revoked ones are published, in the order of
    /// `authorities` without the root.
    pub intermediates: Vec<Intermediate>,
}

/// What a revocation list is asked about an intermediate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intermediate {
    /// Its serial number, as a list has it.
    pub serial: Vec<u8>,
    /// Where its issuer publishes a list, as it says itself.
    pub lists: Vec<String>,
}

/// What every signature under AWS's root is.
pub(super) const SCHEME: Scheme = Scheme::Ecdsa(Digest::Sha384);
const UNDERSTOOD: [ObjectIdentifier; 2] = [Certificate::BASIC_CONSTRAINTS, Certificate::KEY_USAGE];

/// Verifies the chain from `root`, which must be the bundle's first certificate, to the issuer of the leaf.
pub(super) fn issuers(root: &[u8], bundle: &[Vec<u8>], now: UnixMillis) -> Result<Issuers, VerifyError> {
    let Some((first, intermediates)) = bundle.split_first() else {
        return Err(untrusted("it has no certificate".to_owned()));
    };
    if first != root {
        let what = "it does not start with the pinned root certificate of AWS Nitro Enclaves";
        return Err(untrusted(what.to_owned()));
    }
    let root = Link::read(first, "root certificate")?;
    root.check_authority(intermediates.len())?;
    let mut above = root.authority(root.window_at(now)?)?;
    let mut issuers = Issuers {
        authorities: vec![above.clone()],
        intermediates: Vec::new(),
    };
    for (index, der) in intermediates.iter().enumerate() {
        let link = Link::read(
            der,
            &format!("certificate {} of `cabundle`", index.saturating_add(1)),
        )?;
        let below = intermediates.len().saturating_sub(index).saturating_sub(1);
        link.check_authority(below)?;
        let window = link.window_at(now)?.and(&above.window);
        link.check_issued_by(&above)?;
        above = link.authority(window)?;
        issuers.authorities.push(above.clone());
        issuers.intermediates.push(Intermediate {
            serial: link.certificate.serial.to_vec(),
            lists: link.certificate.list_addresses(),
        });
    }
    Ok(issuers)
}

/// Verifies the leaf under its issuer. Gives its key, and when it and the chain above are valid.
pub(super) fn leaf(der: &[u8], issuer: &Authority, now: UnixMillis) -> Result<Authority, VerifyError> {
    let link = Link::read(der, "leaf certificate")?;
    link.check_leaf()?;
    let window = link.window_at(now)?;
    link.check_issued_by(issuer)?;
    link.authority(window)
}

/// A certificate that was read.
struct Link<'a> {
    name: String,
    certificate: Certificate<'a>,
}

impl<'a> Link<'a> {
    fn read(der: &'a [u8], name: &str) -> Result<Self, VerifyError> {
        let certificate = Certificate::parse(der).map_err(|fault| untrusted(format!("{name} {fault}")))?;
        let link = Self {
            name: name.to_owned(),
            certificate,
        };
        link.check_form()?;
        Ok(link)
    }

    fn refused(&self, what: &str) -> VerifyError {
        untrusted(format!("{} {what}", self.name))
    }

    fn faulty(&self, fault: Fault) -> VerifyError {
        self.refused(&fault)
    }

    /// What every certificate of the chain has in common.
    fn check_form(&self) -> Result<(), VerifyError> {
        if self.certificate.signed.scheme() != Some(SCHEME) {
            return Err(self.refused("is not signed by ECDSA with SHA-384"));
        }
        match self.certificate.unknown_critical(&UNDERSTOOD) {
            Ok(None) => Ok(()),
            Ok(Some(extension)) => {
                let id = oid(extension.id);
                Err(self.refused(&format!("has the unknown critical extension {id}")))
            }
            Err(fault) => Err(self.faulty(fault)),
        }
    }

    /// That it may issue certificates, with `below` further authorities under it.
    fn check_authority(&self, below: usize) -> Result<(), VerifyError> {
        let checked = self.certificate.check_authority(below, KeyUsageRule::Required);
        checked.map_err(|fault| match fault {
            AuthorityFault::NotAuthority => self.refused("is of no certificate authority"),
            AuthorityFault::TooDeep => {
                self.refused(&format!("has {below} authorities below it, more than it allows"))
            }
            AuthorityFault::NotForCertificates => self.refused("is not for signing certificates"),
            AuthorityFault::Unreadable(fault) => self.faulty(fault),
        })
    }

    fn check_leaf(&self) -> Result<(), VerifyError> {
        let is_authority = self.certificate.is_authority();
        if is_authority.map_err(|fault| self.faulty(fault))? {
            return Err(self.refused("is of a certificate authority"));
        }
        match self.certificate.key_usage() {
            Ok(Some(usage)) if usage.digital_signature() => Ok(()),
            Ok(_) => Err(self.refused("is not for signing documents")),
            Err(fault) => Err(self.faulty(fault)),
        }
    }

    /// Its time of validity, in which `now` must lie.
    fn window_at(&self, now: UnixMillis) -> Result<Window, VerifyError> {
        let window = self.certificate.window().map_err(|fault| self.faulty(fault))?;
        if !window.contains(now) {
            let (from, until) = (window.from, window.until);
            return Err(self.refused(&format!("is valid from {from} to {until}, not at {now}")));
        }
        Ok(window)
    }

    fn check_issued_by(&self, issuer: &Authority) -> Result<(), VerifyError> {
        if self.certificate.issuer != issuer.subject {
            return Err(self.refused("names another issuer than the certificate above it"));
        }
        let verified = self.certificate.signed.verify(&PublicKey::P384(&issuer.key));
        verified.map_err(|_| VerifyError::SignatureInvalid {
            what: format!("{}, by the certificate above it", self.name),
        })
    }

    fn authority(&self, window: Window) -> Result<Authority, VerifyError> {
        match self.certificate.key() {
            Ok(PublicKey::P384(point)) => Ok(Authority {
                subject: self.certificate.subject.to_vec(),
                key: *point,
                window,
            }),
            _ => Err(self.refused("has a key that lies not on P-384")),
        }
    }
}

pub(super) const fn untrusted(what: String) -> VerifyError {
    VerifyError::Untrusted { what }
}
