//! The endorsement key: the TPM's identity, which its maker certifies. It decrypts and never signs, so that its
//! certificate vouches for the TPM and by itself for no attestation key.
//!
//! TCG, *EK Credential Profile for TPM Family 2.0*, "EK Certificate" (the subject alternative name and the extended
//! key usage) and "Default EK Templates".

use std::collections::BTreeMap;

use nautilus_core::{Endorsements, Revocation, UnixMillis, VerifyError};
use sha2::{Digest as _, Sha256};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::{Certificate, verify_chain};
use super::public::{Public, PublicKey};
use super::spki;

/// `tcg-kp-EKCertificate`.
pub(super) const EK_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.1");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// `tcg-at-tpmManufacturer`, `tcg-at-tpmModel`, `tcg-at-tpmVersion`, and the attributes that show them.
const IDENTITY: [(ObjectIdentifier, &str); 3] = [
    (ObjectIdentifier::new_unwrap("2.23.133.2.1"), "tpm_manufacturer"),
    (ObjectIdentifier::new_unwrap("2.23.133.2.2"), "tpm_model"),
    (ObjectIdentifier::new_unwrap("2.23.133.2.3"), "tpm_version"),
];

/// An endorsement key whose maker's certificate was verified, and whose public area is the certified key's.
/// Made by [`super::Verifier::endorsement_key`].
#[derive(Clone, Debug)]
pub struct EndorsementKey {
    public: Public,
    certificate: EkCertificate,
    revocation: Revocation,
}

impl EndorsementKey {
    pub(super) fn verify(
        certificate: &[u8],
        public: &[u8],
        roots: &[Certificate],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<Self, VerifyError> {
        let public = Public::parse("endorsement key", public)?;
        public.check_endorsement_key()?;
        let certificate = EkCertificate::parse(certificate).map_err(|what| VerifyError::Malformed {
            what: format!("endorsement key certificate: {what}"),
            offset: 0,
        })?;
        let revocation = certificate.verify(roots, endorsements, now)?;
        if certificate.key != public.key {
            return Err(VerifyError::Untrusted {
                what: format!(
                    "the endorsement key certificate is of another key ({}) than the endorsement key ({}): give the \
                     certificate and the public area of the same key",
                    certificate.key.describe(),
                    public.key.describe()
                ),
            });
        }
        Ok(Self {
            public,
            certificate,
            revocation,
        })
    }

    /// What the maker says of the TPM: `tpm_manufacturer`, `tpm_model`, `tpm_version`, `ek_issuer`, `ek_serial`,
    /// `ek_certificate_sha256`.
    pub fn describe(&self) -> BTreeMap<String, String> {
        self.certificate.describe()
    }

    /// Whether the certificates of the chain were held against revocation lists.
    pub const fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    pub(super) const fn public(&self) -> &Public {
        &self.public
    }

    pub(super) fn into_certificate(self) -> EkCertificate {
        self.certificate
    }
}

/// The certificate of an endorsement key.
#[derive(Clone, Debug)]
pub(super) struct EkCertificate {
    certificate: Certificate,
    key: PublicKey,
    identity: BTreeMap<String, String>,
}

impl EkCertificate {
    /// Parses it and holds it against the profile; its signature is not looked at.
    pub(super) fn parse(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::parse(der)?;
        let key = certificate.key()?;
        if let Some(usage) = certificate.extended_key_usage()?
            && !usage.0.contains(&EK_CERTIFICATE)
        {
            return Err(format!(
                "its extended key usage lacks {EK_CERTIFICATE}, so it is of no endorsement key"
            ));
        }
        if let Some(usage) = certificate.key_usage()? {
            let (fits, needed) = match &key {
                PublicKey::Rsa { .. } => (usage.key_encipherment(), "keyEncipherment"),
                PublicKey::Ecc { .. } => (usage.key_agreement(), "keyAgreement"),
            };
            if !fits {
                return Err(format!(
                    "its key usage lacks {needed}, so it is of no endorsement key"
                ));
            }
        }
        let identity = identity(&certificate)?;
        Ok(Self {
            certificate,
            key,
            identity,
        })
    }

    pub(super) fn verify(
        &self,
        roots: &[Certificate],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<Revocation, VerifyError> {
        verify_chain(
            &self.certificate,
            "endorsement key certificate",
            roots,
            endorsements,
            now,
        )
        .map(|chain| chain.revocation)
    }

    pub(super) fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// SHA-256 of the certified key as `SubjectPublicKeyInfo`, in hex: the same for every certificate of the key.
    pub(super) fn key_digest(&self) -> Result<String, String> {
        key_digest(&self.key)
    }

    pub(super) fn describe(&self) -> BTreeMap<String, String> {
        let mut facts = self.identity.clone();
        facts.insert("ek_issuer".to_owned(), self.certificate.issuer());
        facts.insert("ek_serial".to_owned(), self.certificate.serial());
        let digest = hex::encode(Sha256::digest(self.certificate.der()));
        facts.insert("ek_certificate_sha256".to_owned(), digest);
        facts
    }
}

/// SHA-256 of a key as `SubjectPublicKeyInfo`, in hex.
pub(super) fn key_digest(key: &PublicKey) -> Result<String, String> {
    let der = spki::to_der(key).map_err(|error| error.to_string())?;
    Ok(hex::encode(Sha256::digest(der)))
}

/// Maker, model and version: attributes of a directory name among the alternative names.
fn identity(certificate: &Certificate) -> Result<BTreeMap<String, String>, String> {
    let names = certificate.extension::<SubjectAltName>(SUBJECT_ALT_NAME)?;
    let names = names.map(|names| names.0).unwrap_or_default();
    let mut identity = BTreeMap::new();
    let directory_names = names.iter().filter_map(|name| match name {
        GeneralName::DirectoryName(name) => Some(name),
        _ => None,
    });
    for attribute in directory_names.flat_map(|name| name.iter()) {
        let Some((_, name)) = IDENTITY.iter().find(|(id, _)| *id == attribute.oid) else {
            continue;
        };
        let text = std::str::from_utf8(attribute.value.value())
            .ok()
            .filter(|text| !text.chars().any(char::is_control))
            .ok_or_else(|| format!("its {name} is no text"))?;
        if identity.insert((*name).to_owned(), text.to_owned()).is_some() {
            return Err(format!("it has two of {name}"));
        }
    }
    Ok(identity)
}
