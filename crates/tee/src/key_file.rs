//! The one reader of the files in which people keep the public keys that they enrol: PEM, DER, JSON, hex.
//!
//! It tells forms apart, bounds them and refuses private keys. Which forms serve is for each role to say, by a
//! `match` on [`KeyForm`]. Structures of a TPM, which nobody else has, are read in `tpm::anchors`.

mod der;
mod json;
mod jwk;

use nautilus_core::{TrustAnchor, TrustAnchorError, TrustAnchors};

pub(crate) use der::{spki_of_certificate, spki_point};
pub(crate) use jwk::Jwk;

/// One key of a file. Nothing says yet that it is a key of the right kind, or a key at all.
#[derive(Debug)]
pub(crate) enum KeyForm {
    /// `SubjectPublicKeyInfo` in DER (RFC 5280, section 4.1).
    Spki(Vec<u8>),
    /// `RSAPublicKey` in DER (RFC 8017, appendix A.1.1).
    Pkcs1(Vec<u8>),
    /// `Certificate` in DER (RFC 5280, section 4.1).
    Certificate(Vec<u8>),
    /// A JSON Web Key (RFC 7517).
    Jwk(Jwk),
    /// A JSON Web Key and the device that it belongs to.
    OfDevice(DeviceKey),
    /// A JSON object with the numbers of an RSA key in hex.
    RsaHex(RsaNumbers),
    /// Bytes that were written in hex, alone or as `public` of a JSON object.
    Raw(Vec<u8>),
}

/// A key that serves for one device alone, as Veraison's tools write it.
#[derive(Debug)]
pub(crate) struct DeviceKey {
    pub(crate) key: Jwk,
    /// Instance ID, 33 bytes (RFC 9783, section 4.2.1).
    pub(crate) instance_id: Option<Vec<u8>>,
    /// Implementation ID, 32 bytes (RFC 9783, section 4.2.2).
    pub(crate) implementation_id: Option<Vec<u8>>,
}

/// An RSA key, whose numbers are big-endian without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RsaNumbers {
    pub(crate) modulus: Vec<u8>,
    pub(crate) exponent: Vec<u8>,
}

/// A point of a curve of NIST, as SEC 1 writes it: most often uncompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EcPoint {
    pub(crate) curve: EcCurve,
    pub(crate) bytes: Vec<u8>,
}

/// A curve of NIST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EcCurve {
    P256,
    P384,
    P521,
}

/// Most keys that one file may hold.
const MAX_KEYS: usize = 4096;
const PRIVATE: &str = "it holds a private key, which must not leave its device: enrol the public key";

/// Reads an anchor's file, of one key or of several. `serves` is the clause that says what its role takes.
///
/// # Errors
/// If it holds no key, a private one, or something else than keys.
pub(crate) fn read(anchor: &TrustAnchor, serves: &str) -> Result<Vec<KeyForm>, TrustAnchorError> {
    forms_in(bounded(anchor)?, serves).map_err(|what| anchor.refused(what))
}

/// An anchor's bytes, unless they are too many.
pub(crate) fn bounded(anchor: &TrustAnchor) -> Result<&[u8], TrustAnchorError> {
    let limit = TrustAnchors::MAX_SIZE;
    if anchor.bytes.len() > limit {
        return Err(anchor.refused(format!("it is larger than the {limit} bytes that are read")));
    }
    Ok(&anchor.bytes)
}

fn forms_in(bytes: &[u8], serves: &str) -> Result<Vec<KeyForm>, String> {
    let unknown = || format!("it has an unknown format: {serves}");
    let text = bytes.trim_ascii();
    // DER starts with 0x30, which is an ASCII `0`: only the rest tells it from hex.
    let is_text = text
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    match text {
        [b'{' | b'[', ..] => {
            let entries = json::entries(text)?;
            check_count(entries.len(), serves)?;
            entries.into_iter().map(json::key).collect()
        }
        [0x30, ..] if !is_text => match der::form(bytes) {
            Some(form) => Ok(vec![form?]),
            None => Err(unknown()),
        },
        _ if text.windows(5).any(|window| window == b"-----") => pem(text, serves),
        [] => Err(unknown()),
        _ => {
            let raw = hex::decode(text).map_err(|_| unknown())?;
            Ok(vec![KeyForm::Raw(raw)])
        }
    }
}

fn pem(text: &[u8], serves: &str) -> Result<Vec<KeyForm>, String> {
    // Text around the blocks may be in any alphabet.
    let blocks = pem::parse_many(String::from_utf8_lossy(text).as_bytes())
        .map_err(|error| format!("it is no PEM: {error}: {serves}"))?;
    check_count(blocks.len(), serves)?;
    let key = |block: pem::Pem| match block.tag() {
        "PUBLIC KEY" => Ok(KeyForm::Spki(block.into_contents())),
        "RSA PUBLIC KEY" => Ok(KeyForm::Pkcs1(block.into_contents())),
        "CERTIFICATE" => Ok(KeyForm::Certificate(block.into_contents())),
        tag => {
            let name = tag.escape_default();
            Err(match tag.contains("PRIVATE") {
                true => format!("{PRIVATE} (PEM block `{name}`)"),
                false => format!("it holds a PEM block `{name}`: {serves}"),
            })
        }
    };
    blocks.into_iter().map(key).collect()
}

fn check_count(count: usize, serves: &str) -> Result<(), String> {
    match count {
        0 => Err(format!("it holds 0 keys: {serves}")),
        1..=MAX_KEYS => Ok(()),
        _ => Err(format!("it holds {count} keys, more than the {MAX_KEYS} allowed")),
    }
}

impl KeyForm {
    /// The numbers of an RSA key, in whatever form.
    ///
    /// # Errors
    /// What it is instead.
    pub(crate) fn rsa(&self) -> Result<RsaNumbers, String> {
        match self {
            Self::Spki(der) => der::spki_rsa(der),
            Self::Pkcs1(der) => der::pkcs1(der),
            Self::Jwk(Jwk::Rsa(jwk)) => jwk.numbers(),
            Self::RsaHex(numbers) => Ok(numbers.clone()),
            Self::Jwk(_) | Self::OfDevice(_) | Self::Certificate(_) | Self::Raw(_) => Err(self.found()),
        }
    }

    /// The 32 bytes of what may be an Ed25519 key, in whatever form. Whether they are a point is not looked at.
    ///
    /// # Errors
    /// What it is instead.
    pub(crate) fn ed25519(&self) -> Result<[u8; 32], String> {
        match self {
            Self::Spki(der) => der::spki_ed25519(der),
            Self::Jwk(Jwk::Okp(jwk)) => jwk.ed25519(),
            Self::Raw(raw) => raw
                .as_slice()
                .try_into()
                .map_err(|_| format!("{} bytes in hex, not 32", raw.len())),
            Self::Pkcs1(_) | Self::Jwk(_) | Self::OfDevice(_) | Self::RsaHex(_) | Self::Certificate(_) => {
                Err(self.found())
            }
        }
    }

    /// What it is called in messages: as PEM does, where it has a name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Spki(_) => "PUBLIC KEY",
            Self::Pkcs1(_) => "RSA PUBLIC KEY",
            Self::Certificate(_) => "CERTIFICATE",
            Self::Jwk(jwk) => jwk.name(),
            Self::OfDevice(_) => "JWK of one device",
            Self::RsaHex(_) => "RSA key in hex",
            Self::Raw(_) => "key in hex",
        }
    }

    fn found(&self) -> String {
        format!("found `{}`", self.name())
    }
}

impl RsaNumbers {
    fn of(modulus: &[u8], exponent: &[u8]) -> Self {
        let trimmed = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
        Self {
            modulus: trimmed(modulus),
            exponent: trimmed(exponent),
        }
    }
}

impl EcCurve {
    /// Bytes of a coordinate.
    const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

#[cfg(test)]
mod tests;
