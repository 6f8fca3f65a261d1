//! What the relying party vouches for: makers' root certificates, and attestation keys that it enrolled.

use nautilus_core::{AnchorRole, TrustAnchor, TrustAnchorError, TrustAnchors};

use super::certificate::Certificate;
use super::enrolment::EnrolledKey;
use super::public::{Public, PublicKey};
use super::spki;
use super::wire::{AlgorithmId, HashAlgorithm};
use crate::key_file::{self, KeyForm};

/// The trust anchors of a TPM verifier.
#[derive(Clone, Debug)]
pub(super) struct Anchors {
    pub(super) roots: Vec<Certificate>,
    pub(super) keys: Vec<Enrolled>,
}

/// An enrolled attestation key, in one of the forms in which people have it.
#[derive(Clone, Debug)]
pub(super) enum Enrolled {
    /// What credential activation left behind: its name, and the TPM that it is in.
    Activated(Box<EnrolledKey>),
    /// Its name, which covers all of its public area.
    Name(Vec<u8>),
    /// The key alone, which says nothing of the public area.
    Key(PublicKey),
}

impl Anchors {
    pub(super) fn parse(anchors: &TrustAnchors) -> Result<Self, TrustAnchorError> {
        let mut parsed = Self {
            roots: Vec::new(),
            keys: Vec::new(),
        };
        for anchor in anchors.of_role(AnchorRole::TpmRoot) {
            parsed.roots.extend(roots_in(anchor)?);
        }
        for anchor in anchors.of_role(AnchorRole::TpmAttestationKey) {
            parsed.keys.extend(keys_in(anchor)?);
        }
        Ok(parsed)
    }
}

const ROOT_SERVES: &str = "the certificate of a TPM maker's root in PEM or DER serves";
const KEY_SERVES: &str = "what credential activation of an attestation key left behind, a TPM2B_PUBLIC \
                          (`tpm2_readpublic -o`), the key's name (`tpm2_readpublic -n`, or in hex) or a public key in \
                          PEM or DER serves";

fn roots_in(anchor: &TrustAnchor) -> Result<Vec<Certificate>, TrustAnchorError> {
    let root = |form: KeyForm| match &form {
        KeyForm::Certificate(der) => Certificate::parse(der).map_err(|what| format!("certificate: {what}")),
        other => Err(format!("`{}` is no CERTIFICATE", other.name())),
    };
    let roots: Result<_, String> = key_file::read(anchor, ROOT_SERVES)?
        .into_iter()
        .map(root)
        .collect();
    roots.map_err(|what| anchor.refused(format!("{what}: {ROOT_SERVES}")))
}

fn keys_in(anchor: &TrustAnchor) -> Result<Vec<Enrolled>, TrustAnchorError> {
    let bytes = key_file::bounded(anchor)?;
    let keys = match bytes.trim_ascii_start().first() {
        Some(b'{') => EnrolledKey::of_anchor(bytes).map(|key| vec![Enrolled::Activated(Box::new(key))]),
        _ if is_structure(bytes) => structure(bytes).map(|key| vec![key]),
        _ => key_file::read(anchor, KEY_SERVES)?.iter().map(key).collect(),
    };
    keys.map_err(|what| anchor.refused(format!("{what}: {KEY_SERVES}")))
}

/// Whether bytes start as a TPM's structures do, with a size, a type or a hash of two bytes. No text starts with such
/// a byte, and no DER.
const fn is_structure(bytes: &[u8]) -> bool {
    matches!(bytes, [0..=0x08, ..])
}

fn structure(bytes: &[u8]) -> Result<Enrolled, String> {
    if is_name(bytes) {
        return Ok(Enrolled::Name(bytes.to_vec()));
    }
    Public::parse("attestation key", bytes)
        .and_then(|key| key.check_attestation_key().map(|()| Enrolled::Name(key.name())))
        .map_err(|error| error.to_string())
}

fn key(form: &KeyForm) -> Result<Enrolled, String> {
    match form {
        KeyForm::Spki(der) => spki::parse(der).map(Enrolled::Key),
        KeyForm::Raw(name) if is_name(name) => Ok(Enrolled::Name(name.clone())),
        KeyForm::Raw(_) => Err("its hex is no key's name".to_owned()),
        other => Err(format!("`{}` is no PUBLIC KEY", other.name())),
    }
}

/// `nameAlg ‖ digest`, as long as the hash says.
pub(super) fn is_name(bytes: &[u8]) -> bool {
    let Some((algorithm, digest)) = bytes.split_first_chunk::<2>() else {
        return false;
    };
    let hash = HashAlgorithm::of_id(AlgorithmId(u16::from_be_bytes(*algorithm)));
    hash.is_some_and(|hash| hash.digest_len() == digest.len())
}
