//! What the relying party vouches for: makers' root certificates, and attestation keys that it enrolled.

use nautilus_core::{AnchorRole, TrustAnchor, TrustAnchorError, TrustAnchors};

use super::certificate::Certificate;
use super::credential::EnrolledKey;
use super::public::{Public, PublicKey};
use super::spki;
use super::wire::{AlgorithmId, HashAlgorithm};

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

fn roots_in(anchor: &TrustAnchor) -> Result<Vec<Certificate>, TrustAnchorError> {
    let serves = "the certificate of a TPM maker's root in PEM or DER serves";
    let refused = |what: String| anchor.refused(format!("{what}: {serves}"));
    let certificates = if is_pem(&anchor.bytes) {
        pem_blocks(&anchor.bytes, "CERTIFICATE").map_err(refused)?
    } else {
        vec![anchor.bytes.clone()]
    };
    let parse =
        |der: &Vec<u8>| Certificate::parse(der).map_err(|what| refused(format!("certificate: {what}")));
    certificates.iter().map(parse).collect()
}

fn keys_in(anchor: &TrustAnchor) -> Result<Vec<Enrolled>, TrustAnchorError> {
    let serves = "what credential activation left behind, a TPM2B_PUBLIC (`tpm2_readpublic -o`), the key's name \
                  (`tpm2_readpublic -n`, or in hex) or a public key in PEM or DER serves";
    let refused = |what: String| anchor.refused(format!("{what}: {serves}"));
    let bytes = anchor.bytes.as_slice();
    if bytes.trim_ascii_start().starts_with(b"{") {
        let key = EnrolledKey::of_anchor(bytes).map_err(refused)?;
        return Ok(vec![Enrolled::Activated(Box::new(key))]);
    }
    if is_pem(bytes) {
        let blocks = pem_blocks(bytes, "PUBLIC KEY").map_err(refused)?;
        let key = |der: &Vec<u8>| spki::parse(der).map(Enrolled::Key);
        return blocks.iter().map(key).collect::<Result<_, _>>().map_err(refused);
    }
    let in_hex = hex::decode(bytes.trim_ascii())
        .ok()
        .filter(|name| !name.is_empty());
    let name = in_hex.as_deref().unwrap_or(bytes);
    if is_name(name) {
        return Ok(vec![Enrolled::Name(name.to_vec())]);
    }
    if in_hex.is_some() {
        return Err(refused("its hex is no key's name".to_owned()));
    }
    // The tag of a DER sequence, which as the first byte of a TPM2B_PUBLIC would make it longer than any is.
    if bytes.first() == Some(&0x30) {
        return spki::parse(bytes)
            .map(|key| vec![Enrolled::Key(key)])
            .map_err(refused);
    }
    let key =
        Public::parse("attestation key", bytes).and_then(|key| key.check_attestation_key().map(|()| key));
    key.map(|key| vec![Enrolled::Name(key.name())])
        .map_err(|error| refused(error.to_string()))
}

/// `nameAlg ‖ digest`, as long as the hash says.
pub(super) fn is_name(bytes: &[u8]) -> bool {
    let Some((algorithm, digest)) = bytes.split_first_chunk::<2>() else {
        return false;
    };
    let hash = HashAlgorithm::of_id(AlgorithmId(u16::from_be_bytes(*algorithm)));
    hash.is_some_and(|hash| hash.digest_len() == digest.len())
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN ")
}

fn pem_blocks(text: &[u8], tag: &str) -> Result<Vec<Vec<u8>>, String> {
    let blocks = pem::parse_many(text).map_err(|error| error.to_string())?;
    if let Some(other) = blocks.iter().find(|block| block.tag() != tag) {
        return Err(format!(
            "PEM block `{}` is no {tag}",
            other.tag().escape_default()
        ));
    }
    if blocks.is_empty() {
        return Err("no PEM block".to_owned());
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}
