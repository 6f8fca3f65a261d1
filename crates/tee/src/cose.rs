//! Signed CBOR: COSE_Sign1 and COSE_Mac0 (RFC 9052 §4.2, §6.2), read strictly from hostile bytes.
//!
//! What is signed is put together from the protected header and the payload as they were received, never from what
//! was read of them. Of the envelope nothing is left free: unprotected headers are refused, the protected header
//! holds the algorithm and at most a key's name, and every item has its shortest form. What no signature covers is
//! the choice to leave out the tag, where the format gives it, and the signature's own s, for which ECDSA has two.

pub(crate) mod cbor;
#[cfg(feature = "verify")]
mod key;

use nautilus_core::VerifyError;

use cbor::{Label, Lengths, Reader, malformed};
#[cfg(feature = "verify")]
pub(crate) use key::{Key, jwk, spki};

#[cfg(feature = "verify")]
use crate::signature;

/// The two kinds of envelope that one key authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A signature.
    Sign1,
    /// A message authentication code.
    Mac0,
}

impl Kind {
    /// Its CBOR tag (RFC 9052 §2).
    const fn tag(self) -> u64 {
        match self {
            Self::Sign1 => 18,
            Self::Mac0 => 17,
        }
    }

    /// The first element of what is signed (RFC 9052 §4.4, §6.3).
    const fn context(self) -> &'static str {
        match self {
            Self::Sign1 => "Signature1",
            Self::Mac0 => "MAC0",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Sign1 => "COSE_Sign1",
            Self::Mac0 => "COSE_Mac0",
        }
    }
}

/// An algorithm, which fixes hash, curve and the signature's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// HMAC with SHA-256, not truncated.
    Hmac256,
}

impl Algorithm {
    /// From its number (RFC 9053 §2.1, §3.1). The curve that RFC 9053 leaves open is the customary one, as the
    /// profiles here have it.
    const fn of(number: i64) -> Option<Self> {
        match number {
            -7 => Some(Self::Es256),
            -35 => Some(Self::Es384),
            -36 => Some(Self::Es512),
            5 => Some(Self::Hmac256),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Hmac256 => "HMAC 256/256",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Es256 | Self::Es384 | Self::Es512 => Kind::Sign1,
            Self::Hmac256 => Kind::Mac0,
        }
    }

    const fn signature_len(self) -> usize {
        match self {
            Self::Es256 => 64,
            Self::Es384 => 96,
            Self::Es512 => 132,
            Self::Hmac256 => 32,
        }
    }
}

/// What a format asks of an envelope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What it is called in messages.
    pub what: &'static str,
    /// Whether the tag may be left out.
    pub tag: Tag,
    /// The algorithms that it allows.
    pub algorithms: &'static [Algorithm],
    /// What the protected header holds beside the algorithm.
    pub protected: Protected,
    /// Largest payload.
    pub max_payload: usize,
}

/// Whether an envelope is tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// It must be.
    Required,
    /// It may be; without a tag it is a COSE_Sign1.
    Optional,
}

/// What the protected header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protected {
    /// The algorithm alone.
    AlgorithmAlone,
    /// The algorithm, and possibly a name of the key and the payload's type, which decide nothing here.
    AlgorithmAndNames,
}

/// An envelope that was read, with its signature not verified yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// The algorithm that the protected header names.
    pub algorithm: Algorithm,
    /// What is signed.
    pub payload: &'a [u8],
    /// Where the payload starts in the evidence.
    pub payload_offset: usize,
    protected: &'a [u8],
    signature: &'a [u8],
}

/// Labels of header parameters (RFC 9052 §3.1).
const ALG: i64 = 1;
const CRIT: i64 = 2;
const CONTENT_TYPE: i64 = 3;
const KID: i64 = 4;
/// Largest protected header: an algorithm, a key's name and a type.
const MAX_PROTECTED: usize = 256;
const MAX_HEADERS: usize = 8;

impl<'a> Signed<'a> {
    /// Reads an envelope that ends where `bytes` end; `base` is where they start in the evidence.
    pub fn read(bytes: &'a [u8], base: usize, rules: &Rules) -> Result<Self, VerifyError> {
        let mut reader = Reader::new(bytes, base, Lengths::Definite);
        let what = rules.what;
        let tag = reader.tag()?;
        let kind = match (tag, rules.tag) {
            (Some(tag), _) if tag == Kind::Sign1.tag() => Kind::Sign1,
            (Some(tag), _) if tag == Kind::Mac0.tag() => Kind::Mac0,
            (None, Tag::Optional) => Kind::Sign1,
            (Some(other), _) => {
                let what = format!("{what} has tag {other}, which is no COSE_Sign1 or COSE_Mac0");
                return Err(malformed(what, base));
            }
            (None, Tag::Required) => {
                let what = format!("{what} has no tag: it must be a COSE_Sign1 or COSE_Mac0");
                return Err(malformed(what, base));
            }
        };
        let mut parts = Parts::default();
        let count = reader.array(what, 4, |reader, index| parts.read(reader, index, rules))?;
        let (Some((algorithm, protected)), Some((payload, payload_offset)), Some((signature, offset)), 4) =
            (parts.protected, parts.payload, parts.signature, count)
        else {
            return Err(malformed(format!("{what} has {count} elements, not 4"), base));
        };
        match reader.left() {
            0 => {}
            length => {
                return Err(VerifyError::TrailingBytes {
                    offset: reader.offset(),
                    length,
                });
            }
        }
        if algorithm.kind() != kind {
            let (kind, algorithm) = (kind.name(), algorithm.name());
            return Err(malformed(format!("{what} is a {kind} by {algorithm}"), base));
        }
        let length = algorithm.signature_len();
        if signature.len() != length {
            return Err(malformed(
                format!(
                    "signature of {what} has {} bytes, {} has {length}",
                    signature.len(),
                    algorithm.name()
                ),
                offset,
            ));
        }
        Ok(Self {
            algorithm,
            payload,
            payload_offset,
            protected,
            signature,
        })
    }

    /// Whether `key` made the signature. A key of another algorithm did not.
    #[cfg(feature = "verify")]
    pub fn is_by(&self, key: &Key) -> bool {
        key.verifies(self.algorithm, &self.authenticated_bytes(), self.signature)
    }

    /// Whether the authentication code is a plain digest, which takes no key to make.
    #[cfg(feature = "verify")]
    pub fn is_unkeyed(&self) -> bool {
        self.algorithm == Algorithm::Hmac256
            && aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.authenticated_bytes()).as_ref()
                == self.signature
    }

    /// `Sig_structure` or `MAC_structure` without external data, over the bytes that were received.
    fn authenticated_bytes(self) -> Vec<u8> {
        let context = self.algorithm.kind().context();
        let mut bytes = vec![0x84];
        head(&mut bytes, 3, context.len());
        bytes.extend_from_slice(context.as_bytes());
        head(&mut bytes, 2, self.protected.len());
        bytes.extend_from_slice(self.protected);
        head(&mut bytes, 2, 0);
        head(&mut bytes, 2, self.payload.len());
        bytes.extend_from_slice(self.payload);
        bytes
    }
}

/// The elements of an envelope as they are read.
#[derive(Default)]
struct Parts<'a> {
    protected: Option<(Algorithm, &'a [u8])>,
    payload: Option<(&'a [u8], usize)>,
    signature: Option<(&'a [u8], usize)>,
}

impl<'a> Parts<'a> {
    fn read(&mut self, reader: &mut Reader<'a>, index: usize, rules: &Rules) -> Result<(), VerifyError> {
        let what = rules.what;
        match index {
            0 => {
                let bytes = reader.bytes(&format!("protected header of {what}"), MAX_PROTECTED)?;
                let base = reader.offset().saturating_sub(bytes.len());
                self.protected = Some((algorithm(bytes, base, rules)?, bytes));
            }
            1 => {
                let (name, offset) = (format!("unprotected header of {what}"), reader.offset());
                let count = reader.map(&name, MAX_HEADERS, |reader, _| reader.skip(&name))?;
                if count != 0 {
                    let what =
                        format!("{name} holds {count} parameters that nothing signs: it must be empty");
                    return Err(malformed(what, offset));
                }
            }
            2 => {
                let bytes = reader.bytes(&format!("payload of {what}"), rules.max_payload)?;
                self.payload = Some((bytes, reader.offset().saturating_sub(bytes.len())));
            }
            _ => {
                let offset = reader.offset();
                let longest = Algorithm::Es512.signature_len();
                self.signature = Some((reader.bytes(&format!("signature of {what}"), longest)?, offset));
            }
        }
        Ok(())
    }
}

/// The algorithm that a protected header names.
fn algorithm(protected: &[u8], base: usize, rules: &Rules) -> Result<Algorithm, VerifyError> {
    let what = format!("protected header of {}", rules.what);
    let mut reader = Reader::new(protected, base, Lengths::Definite);
    let mut number = None;
    reader.map(&what, MAX_HEADERS, |reader, label| {
        let offset = reader.offset();
        match (label, rules.protected) {
            (Label::Int(ALG), _) => number = Some((reader.int(&format!("algorithm in {what}"))?, offset)),
            (Label::Int(CRIT), _) => {
                let what = format!("{what} names critical parameters, of which none is known");
                return Err(malformed(what, offset));
            }
            (Label::Int(CONTENT_TYPE | KID), Protected::AlgorithmAndNames) => reader.skip(&what)?,
            (other, _) => {
                let what = format!("{what} holds parameter {other}, which does not belong there");
                return Err(malformed(what, offset));
            }
        }
        Ok(())
    })?;
    reader.end(&what)?;
    let Some((number, offset)) = number else {
        return Err(malformed(format!("{what} names no algorithm"), base));
    };
    match Algorithm::of(number).filter(|algorithm| rules.algorithms.contains(algorithm)) {
        Some(algorithm) => Ok(algorithm),
        None => {
            let allowed: Vec<&str> = rules
                .algorithms
                .iter()
                .map(|algorithm| algorithm.name())
                .collect();
            Err(malformed(
                format!(
                    "{what} names algorithm {number}, which is none of {}",
                    allowed.join(", ")
                ),
                offset,
            ))
        }
    }
}

/// Writes an item's first bytes in their shortest form.
fn head(bytes: &mut Vec<u8>, major: u8, argument: usize) {
    let argument = u64::try_from(argument).unwrap_or(u64::MAX);
    let all = argument.to_be_bytes();
    let (short, length): (u8, usize) = match argument {
        0..=23 => (all.last().copied().unwrap_or_default(), 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    bytes.push((major << 5) | short);
    bytes.extend_from_slice(all.get(all.len().saturating_sub(length)..).unwrap_or_default());
}

#[cfg(feature = "verify")]
impl Key {
    fn verifies(&self, algorithm: Algorithm, message: &[u8], code: &[u8]) -> bool {
        match self {
            Self::Ec { key, signs, .. } => {
                *signs == algorithm && signature::by_key(key, message, code).is_ok()
            }
            Self::Symmetric { key, .. } => {
                algorithm == Algorithm::Hmac256 && signature::by_secret(key, message, code).is_ok()
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "verify")]
mod tests {
    use super::*;

    #[test]
    fn heads_have_their_shortest_form() {
        for length in [0, 23, 24, 255, 256, 65_535, 65_536, 1 << 32] {
            let mut bytes = Vec::new();
            head(&mut bytes, 0, length);
            let mut expected = Vec::new();
            ciborium::into_writer(&length, &mut expected).unwrap();
            assert_eq!(bytes, expected, "{length}");
        }
    }
}
