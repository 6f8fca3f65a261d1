//! The certificates between AWS's root and the key that signed a document.
//!
//! AWS, *Nitro Enclaves Attestation Process* §3.2.3: a chain under the pinned root, by ECDSA on P-384 with SHA-384
//! throughout, with validity, basic constraints and key usage of each certificate checked (RFC 5280 §6.1).

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use nautilus_core::{UnixMillis, VerifyError};
use x509_cert::certificate::Version;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::{Certificate, TbsCertificate};

use crate::memo::Window;

/// What a verified certificate leaves for the one below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// Its name, in DER.
    pub subject: Vec<u8>,
    /// Its key, an uncompressed point on P-384.
    pub key: Vec<u8>,
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
    /// Its serial number.
    pub serial: Vec<u8>,
    /// Where its issuer publishes a list, as it says itself.
    pub lists: Vec<String>,
}

const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");

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
    let mut above = Authority {
        subject: root.subject()?,
        key: root.key()?,
        window: root.window_at(now)?,
    };
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
        above = Authority {
            subject: link.subject()?,
            key: link.key()?,
            window,
        };
        issuers.authorities.push(above.clone());
        issuers.intermediates.push(Intermediate {
            serial: link.tbs().serial_number().as_bytes().to_vec(),
            lists: super::crl::distribution_points(link.tbs()),
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
    Ok(Authority {
        subject: link.subject()?,
        key: link.key()?,
        window,
    })
}

/// A certificate that was read.
struct Link<'a> {
    name: String,
    /// What its issuer signed, as it was received.
    signed: &'a [u8],
    certificate: Certificate,
}

impl<'a> Link<'a> {
    fn read(der: &'a [u8], name: &str) -> Result<Self, VerifyError> {
        let broken = |error: x509_cert::der::Error| untrusted(format!("{name} does not parse: {error}"));
        let certificate = Certificate::from_der(der).map_err(broken)?;
        let link = Self {
            name: name.to_owned(),
            signed: signed_part(der).map_err(broken)?,
            certificate,
        };
        link.check_form()?;
        Ok(link)
    }

    fn tbs(&self) -> &TbsCertificate {
        self.certificate.tbs_certificate()
    }

    fn refused(&self, what: &str) -> VerifyError {
        untrusted(format!("{} {what}", self.name))
    }

    /// What every certificate of the chain has in common.
    fn check_form(&self) -> Result<(), VerifyError> {
        let tbs = self.tbs();
        if tbs.version() != Version::V3 {
            return Err(self.refused("is not of version 3"));
        }
        let by_es384 = |id: &AlgorithmIdentifierOwned| id.oid == ECDSA_WITH_SHA384 && id.parameters.is_none();
        if !by_es384(tbs.signature()) || !by_es384(self.certificate.signature_algorithm()) {
            return Err(self.refused("is not signed by ECDSA with SHA-384"));
        }
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let mut seen = std::collections::BTreeSet::new();
        for extension in extensions {
            let id = extension.extn_id;
            if !seen.insert(id) {
                return Err(self.refused(&format!("has extension {id} twice")));
            }
            if extension.critical && id != BASIC_CONSTRAINTS && id != KEY_USAGE {
                return Err(self.refused(&format!("has the unknown critical extension {id}")));
            }
        }
        Ok(())
    }

    /// That it may issue certificates, with `below` further authorities under it.
    fn check_authority(&self, below: usize) -> Result<(), VerifyError> {
        let constraints = self.basic_constraints()?;
        let Some(constraints) = constraints.filter(|constraints| constraints.ca) else {
            return Err(self.refused("is of no certificate authority"));
        };
        if constraints
            .path_len_constraint
            .is_some_and(|most| usize::from(most) < below)
        {
            return Err(self.refused(&format!("has {below} authorities below it, more than it allows")));
        }
        match self.key_usage()? {
            Some(usage) if usage.key_cert_sign() => Ok(()),
            _ => Err(self.refused("is not for signing certificates")),
        }
    }

    fn check_leaf(&self) -> Result<(), VerifyError> {
        if self
            .basic_constraints()?
            .is_some_and(|constraints| constraints.ca)
        {
            return Err(self.refused("is of a certificate authority"));
        }
        match self.key_usage()? {
            Some(usage) if usage.digital_signature() => Ok(()),
            _ => Err(self.refused("is not for signing documents")),
        }
    }

    fn basic_constraints(&self) -> Result<Option<BasicConstraints>, VerifyError> {
        let found = self.tbs().get_extension::<BasicConstraints>();
        let found = found.map_err(|error| self.refused(&format!("has broken basic constraints: {error}")))?;
        Ok(found.map(|(_, constraints)| constraints))
    }

    fn key_usage(&self) -> Result<Option<KeyUsage>, VerifyError> {
        let found = self.tbs().get_extension::<KeyUsage>();
        let found = found.map_err(|error| self.refused(&format!("has a broken key usage: {error}")))?;
        Ok(found.map(|(_, usage)| usage))
    }

    /// Its time of validity, in which `now` must lie.
    fn window_at(&self, now: UnixMillis) -> Result<Window, VerifyError> {
        let validity = self.tbs().validity();
        let millis = |time: &x509_cert::time::Time| UnixMillis::from_secs(time.to_unix_duration().as_secs());
        let window = Window {
            from: millis(&validity.not_before),
            // RFC 5280 §4.1.2.5: through the last second.
            until: UnixMillis(millis(&validity.not_after).0.saturating_add(999)),
        };
        if !window.contains(now) {
            let (from, until) = (window.from, window.until);
            return Err(self.refused(&format!("is valid from {from} to {until}, not at {now}")));
        }
        Ok(window)
    }

    fn check_issued_by(&self, issuer: &Authority) -> Result<(), VerifyError> {
        let name = self.tbs().issuer().to_der();
        if name.ok().as_ref() != Some(&issuer.subject) {
            return Err(self.refused("names another issuer than the certificate above it"));
        }
        let signature = self.certificate.signature();
        let verified = signature.as_bytes().is_some_and(|signature| {
            UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &issuer.key)
                .verify(self.signed, signature)
                .is_ok()
        });
        if !verified {
            return Err(VerifyError::SignatureInvalid {
                what: format!("{}, by the certificate above it", self.name),
            });
        }
        Ok(())
    }

    fn subject(&self) -> Result<Vec<u8>, VerifyError> {
        let subject = self.tbs().subject().to_der();
        subject.map_err(|error| self.refused(&format!("has a broken subject: {error}")))
    }

    fn key(&self) -> Result<Vec<u8>, VerifyError> {
        let info = self.tbs().subject_public_key_info();
        let curve = info
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
        let point = info.subject_public_key.as_bytes().unwrap_or_default();
        if info.algorithm.oid != EC_PUBLIC_KEY || curve != Some(P384) || point.len() != 97 {
            return Err(self.refused("has a key that lies not on P-384"));
        }
        Ok(point.to_vec())
    }
}

/// The part of a certificate or of a revocation list that is signed, as it was received.
pub(super) fn signed_part(der: &[u8]) -> Result<&[u8], x509_cert::der::Error> {
    let mut reader = SliceReader::new(der)?;
    let header = x509_cert::der::Header::decode(&mut reader)?;
    header.tag().assert_eq(x509_cert::der::Tag::Sequence)?;
    reader.tlv_bytes()
}

pub(super) const fn untrusted(what: String) -> VerifyError {
    VerifyError::Untrusted { what }
}
