//! `struct shdr` and `struct shdr_subkey` of OP-TEE (`core/include/signed_hdr.h`), little-endian.

use sha2::{Digest as _, Sha512};

use super::SigningKey;
use crate::launch::LaunchError;
use crate::launch::bytes::{Bytes, length};
use crate::trustzone::optee::Uuid;

/// `SHDR_MAGIC`
pub(super) const MAGIC: u32 = 0x4f54_5348;
/// Bytes before digest and signature.
const FIXED: usize = 20;
const DIGEST: usize = 32;
/// UUID, name's length, version, depth, algorithm, number of attributes.
const SUBKEY: usize = 36;
const ATTRIBUTE: usize = 12;
const MAX_ATTRIBUTES: usize = 8;
/// `TEE_ATTR_RSA_MODULUS` and `TEE_ATTR_RSA_PUBLIC_EXPONENT` (GlobalPlatform, *TEE Internal Core API*, table 6-11).
const RSA_MODULUS: u32 = 0xd000_0130;
const RSA_EXPONENT: u32 = 0xd000_0230;
/// `TEE_MAIN_ALGO_RSA`, in the low byte of an algorithm.
const MAIN_RSA: u32 = 0x30;
const MAX_NAME: usize = 256;

/// `enum shdr_img_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageType {
    /// A trusted application without name and version, as before OP-TEE 2.0.
    Legacy,
    /// A trusted application.
    Bootstrap,
    /// A trusted application whose image is encrypted.
    Encrypted,
    /// A key that signs what follows.
    Subkey,
}

/// With what a header is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256`
    PssSha256,
    /// `TEE_ALG_RSASSA_PKCS1_V1_5_SHA256`
    Pkcs1Sha256,
}

impl Algorithm {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PssSha256 => "RSASSA-PSS with SHA-256",
            Self::Pkcs1Sha256 => "RSASSA-PKCS1-v1_5 with SHA-256",
        }
    }
}

/// A signed header.
#[derive(Clone, Debug)]
pub(super) struct Header<'a> {
    /// Its first bytes, over which the digest is too.
    pub(super) fixed: [u8; FIXED],
    pub(super) image_type: ImageType,
    pub(super) image_size: usize,
    pub(super) algorithm: Algorithm,
    pub(super) digest: [u8; DIGEST],
    pub(super) signature: &'a [u8],
}

impl<'a> Header<'a> {
    pub(super) fn read(bytes: &Bytes<'a>, at: usize) -> Result<Self, LaunchError> {
        let fixed: [u8; FIXED] = bytes.array(at, "signed header")?;
        let magic = bytes.u32(at, "magic number")?;
        if magic != MAGIC {
            let what = format!("a signed header starts with {magic:#010x}, not {MAGIC:#010x}");
            return Err(bytes.malformed(at, what));
        }
        let type_at = at.saturating_add(4);
        let image_type = match bytes.u32(type_at, "type of the image")? {
            0 => ImageType::Legacy,
            1 => ImageType::Bootstrap,
            2 => ImageType::Encrypted,
            3 => ImageType::Subkey,
            other => return Err(bytes.malformed(type_at, format!("type {other} of an image is none"))),
        };
        let image_size = length(bytes.u32(at.saturating_add(8), "size of the image")?);
        let algorithm = match bytes.u32(at.saturating_add(12), "algorithm")? {
            0x7041_4930 => Algorithm::PssSha256,
            0x7000_4830 => Algorithm::Pkcs1Sha256,
            other => {
                return Err(bytes.unsupported(format!(
                    "it is signed with algorithm {other:#010x}: RSA with SHA-256 (0x70414930, 0x70004830) is known"
                )));
            }
        };
        let digest_len = usize::from(bytes.u16(at.saturating_add(16), "length of the digest")?);
        if digest_len != DIGEST {
            let what = format!("a digest of {digest_len} bytes, those of SHA-256 have {DIGEST}");
            return Err(bytes.malformed(at.saturating_add(16), what));
        }
        let signature_len = usize::from(bytes.u16(at.saturating_add(18), "length of the signature")?);
        let digest_at = at.saturating_add(FIXED);
        Ok(Self {
            fixed,
            image_type,
            image_size,
            algorithm,
            digest: bytes.array(digest_at, "digest")?,
            signature: bytes.slice(digest_at.saturating_add(DIGEST), signature_len, "signature")?,
        })
    }

    /// Bytes of the whole header.
    pub(super) const fn length(&self) -> usize {
        FIXED.saturating_add(DIGEST).saturating_add(self.signature.len())
    }
}

/// A key between the device's and the application's signer.
#[derive(Clone, Debug)]
pub(super) struct Subkey<'a> {
    pub(super) header: Header<'a>,
    pub(super) uuid: Uuid,
    pub(super) key: SigningKey,
    /// What the digest is over, after the header's first bytes.
    pub(super) body: &'a [u8],
    /// The UUID that what follows must have.
    pub(super) next: Uuid,
    max_depth: u32,
    end: usize,
}

impl<'a> Subkey<'a> {
    pub(super) fn read(
        bytes: &Bytes<'a>,
        at: usize,
        header: Header<'a>,
        parent: Option<&Self>,
    ) -> Result<Self, LaunchError> {
        let body_at = at.saturating_add(header.length());
        let body = bytes.slice(body_at, header.image_size, "subkey")?;
        let field = |index: usize, what| {
            bytes.u32(
                body_at.saturating_add(16).saturating_add(index.saturating_mul(4)),
                what,
            )
        };
        if body.len() < SUBKEY {
            return Err(bytes.malformed(
                body_at,
                format!("a subkey of {} bytes, at least {SUBKEY}", body.len()),
            ));
        }
        let uuid = Uuid(bytes.array(body_at, "UUID of the subkey")?);
        let name_len = length(field(0, "length of the subkey's name")?);
        let max_depth = field(2, "depth below the subkey")?;
        if field(3, "subkey's algorithm")? & 0xff != MAIN_RSA {
            return Err(bytes.unsupported("it has a subkey that is no RSA key"));
        }
        let attributes = length(field(4, "number of the subkey's attributes")?);
        if attributes > MAX_ATTRIBUTES {
            let what = format!("{attributes} attributes of a subkey, more than the {MAX_ATTRIBUTES} allowed");
            return Err(bytes.malformed(body_at.saturating_add(32), what));
        }
        if let Some(parent) = parent {
            if parent.next != uuid {
                let what = format!("subkey {uuid} is not {}, which its parent signs for", parent.next);
                return Err(bytes.malformed(body_at, what));
            }
            if max_depth >= parent.max_depth {
                let what = format!(
                    "subkey {uuid} allows {max_depth} levels, its parent {}",
                    parent.max_depth
                );
                return Err(bytes.malformed(body_at, what));
            }
        }
        if name_len > MAX_NAME {
            let what = format!("a subkey's name of {name_len} bytes, more than the {MAX_NAME} allowed");
            return Err(bytes.malformed(body_at.saturating_add(16), what));
        }
        let name_at = body_at.saturating_add(body.len());
        let name = bytes.slice(name_at, name_len, "name below the subkey")?;
        // OP-TEE looks at the name up to its NUL. What follows is signed by nobody.
        let padding = name.iter().skip_while(|byte| **byte != 0);
        if padding.into_iter().any(|byte| *byte != 0) {
            let what = "bytes after the name below a subkey that belong to nothing".to_owned();
            return Err(bytes.malformed(name_at, what));
        }
        let within = Bytes::new("subkey", body);
        Ok(Self {
            header,
            uuid,
            key: read_key(&within, attributes)?,
            body,
            next: name_below(uuid, name),
            max_depth,
            end: name_at.saturating_add(name_len),
        })
    }

    /// Where the next header stands.
    pub(super) const fn end(&self) -> usize {
        self.end
    }
}

fn read_key(subkey: &Bytes<'_>, attributes: usize) -> Result<SigningKey, LaunchError> {
    let (mut modulus, mut exponent) = (None, None);
    for index in 0..attributes {
        let at = SUBKEY.saturating_add(index.saturating_mul(ATTRIBUTE));
        let id = subkey.u32(at, "attribute")?;
        let place = length(subkey.u32(at.saturating_add(4), "place of an attribute")?);
        let size = length(subkey.u32(at.saturating_add(8), "size of an attribute")?);
        let value = subkey.slice(place, size, "attribute's value")?;
        let slot = match id {
            RSA_MODULUS => &mut modulus,
            RSA_EXPONENT => &mut exponent,
            other => return Err(subkey.unsupported(format!("it has an attribute {other:#010x}"))),
        };
        if slot.replace(value).is_some() {
            return Err(subkey.malformed(at, format!("attribute {id:#010x} twice")));
        }
    }
    match (modulus, exponent) {
        (Some(modulus), Some(exponent)) => SigningKey::of(modulus, exponent),
        _ => Err(subkey.malformed(SUBKEY, "it lacks a modulus or an exponent".to_owned())),
    }
}

/// UUID of a name in the namespace of another (RFC 9562, §5.5, with SHA-512 as OP-TEE has it); without a name the same.
fn name_below(uuid: Uuid, name: &[u8]) -> Uuid {
    if name.is_empty() {
        return uuid;
    }
    let text = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let digest = Sha512::new().chain_update(uuid.0).chain_update(text).finalize();
    let mut octets = [0; 16];
    for (into, from) in octets.iter_mut().zip(digest) {
        *into = from;
    }
    octets[6] = (octets[6] & 0x0f) | 0x50;
    octets[8] = (octets[8] & 0x3f) | 0x80;
    Uuid(octets)
}
