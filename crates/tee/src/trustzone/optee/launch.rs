//! What OP-TEE will report of a trusted application, or of itself, from the files that it is made of.
//!
//! A trusted application's file (`.ta`) starts with a signed header: `core/include/signed_hdr.h` of OP-TEE, as
//! `scripts/sign_encrypt.py` writes and `core/kernel/ree_fs_ta.c` reads it. Its digest is what the `attestation`
//! service signs as `optee_ta_header`. What a running application and OP-TEE itself measure follows from their ELF
//! files: see [`ta_memory`] and [`tee_memory`].

mod header;
mod key;
mod memory;

use nautilus_core::TeeKind;
use sha2::{Digest as _, Sha256};

use super::{Command, Uuid};
use crate::launch::bytes::Bytes;
use crate::launch::{Expected, LaunchError, MAX_IMAGE};
pub use header::{Algorithm, ImageType};
use header::{Header, Subkey};
pub use key::SigningKey;
pub use memory::{ta_memory, tee_memory};

const IMAGE: &str = "trusted application";
/// Most keys between the device's and the application's signer.
const MAX_SUBKEYS: usize = 8;

/// Whether bytes start like a signed file of OP-TEE.
pub fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(&header::MAGIC.to_le_bytes())
}

/// A trusted application's file. Its signature is verified by [`Self::verify`], its digest by [`Self::check_digest`].
#[derive(Clone, Debug)]
pub struct TrustedApplication<'a> {
    subkeys: Vec<Subkey<'a>>,
    header: Header<'a>,
    /// Where the header stands.
    offset: usize,
    /// Its name and version, which old files (`SHDR_TA`) do not have.
    identity: Option<(Uuid, u32)>,
    encrypted: bool,
    /// What the digest is over, after the header's first 20 bytes.
    body: &'a [u8],
}

impl<'a> TrustedApplication<'a> {
    /// Parses a file: the subkeys that vouch for its signer, where there are any, its header, and what follows.
    ///
    /// # Errors
    /// [`LaunchError::Malformed`] with the field and its offset, [`LaunchError::Unsupported`] for an algorithm other
    /// than RSA with SHA-256, [`LaunchError::TooLarge`].
    pub fn parse(file: &'a [u8]) -> Result<Self, LaunchError> {
        let bytes = Bytes::bounded(IMAGE, file, MAX_IMAGE)?;
        let mut subkeys: Vec<Subkey<'a>> = Vec::new();
        let mut offset = 0_usize;
        loop {
            let header = Header::read(&bytes, offset)?;
            if header.image_type != ImageType::Subkey {
                return Self::finish(&bytes, subkeys, header, offset);
            }
            if subkeys.len() == MAX_SUBKEYS {
                return Err(bytes.malformed(offset, format!("more than the {MAX_SUBKEYS} subkeys allowed")));
            }
            let subkey = Subkey::read(&bytes, offset, header, subkeys.last())?;
            offset = subkey.end();
            subkeys.push(subkey);
        }
    }

    fn finish(
        bytes: &Bytes<'a>,
        subkeys: Vec<Subkey<'a>>,
        header: Header<'a>,
        offset: usize,
    ) -> Result<Self, LaunchError> {
        let body_at = offset.saturating_add(header.length());
        let mut image_at = body_at;
        let mut identity = None;
        if header.image_type != ImageType::Legacy {
            let uuid = Uuid(bytes.array(body_at, "UUID of the application")?);
            let version = bytes.u32(body_at.saturating_add(16), "version of the application")?;
            identity = Some((uuid, version));
            image_at = body_at.saturating_add(20);
        }
        let encrypted = header.image_type == ImageType::Encrypted;
        if encrypted {
            let iv = bytes.u16(image_at.saturating_add(8), "length of the initialization vector")?;
            let tag = bytes.u16(image_at.saturating_add(10), "length of the authentication tag")?;
            image_at = image_at
                .saturating_add(12)
                .saturating_add(usize::from(iv))
                .saturating_add(usize::from(tag));
        }
        bytes.slice(image_at, header.image_size, "application's image")?;
        let end = image_at.saturating_add(header.image_size);
        if end != bytes.len() {
            let extra = bytes.len().saturating_sub(end);
            return Err(bytes.malformed(
                end,
                format!("{extra} bytes after the image that belong to nothing"),
            ));
        }
        if let Some(subkey) = subkeys.last() {
            match identity {
                Some((uuid, _)) if uuid == subkey.next => {}
                _ => {
                    let what = format!(
                        "the application is not {}, which its subkey signs for",
                        subkey.next
                    );
                    return Err(bytes.malformed(body_at, what));
                }
            }
        }
        Ok(Self {
            subkeys,
            header,
            offset,
            identity,
            encrypted,
            body: bytes.slice(body_at, end.saturating_sub(body_at), "body")?,
        })
    }

    /// The digest that the header states: what the `attestation` service signs as [`Command::TaHeader`].
    pub const fn digest(&self) -> [u8; 32] {
        self.header.digest
    }

    /// Its UUID, where the file says it.
    pub fn uuid(&self) -> Option<Uuid> {
        self.identity.map(|(uuid, _)| uuid)
    }

    /// Its version, by which OP-TEE refuses older ones, where the file says it.
    pub fn version(&self) -> Option<u32> {
        self.identity.map(|(_, version)| version)
    }

    /// Whether the image is encrypted, so that nobody without the device's key can tell what it is.
    pub const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Holds the file against the digest that its header states, and each subkey against its own.
    ///
    /// # Errors
    /// [`LaunchError::DigestMismatch`]; [`LaunchError::Unsupported`] if the image is encrypted: its digest is over what
    /// the device decrypts.
    pub fn check_digest(&self) -> Result<(), LaunchError> {
        self.check_subkeys()?;
        if self.encrypted {
            return Err(LaunchError::Unsupported {
                image: IMAGE,
                what: "its image is encrypted, and its digest is over the decrypted one: give the file from before its \
                       encryption"
                    .to_owned(),
            });
        }
        self.header.check(self.body, "application")
    }

    fn check_subkeys(&self) -> Result<(), LaunchError> {
        self.subkeys
            .iter()
            .try_for_each(|subkey| subkey.header.check(subkey.body, "subkey"))
    }

    /// Verifies the signatures from the device's key down to the application's header, and that the file is what was
    /// signed, unless it is encrypted.
    ///
    /// # Errors
    /// [`LaunchError::SignatureInvalid`] names whose signature it is, [`LaunchError::Key`] a subkey that is none,
    /// [`LaunchError::DigestMismatch`] as in [`Self::check_digest`].
    pub fn verify(&self, key: &SigningKey) -> Result<(), LaunchError> {
        self.check_subkeys()?;
        let mut signer = key.clone();
        for subkey in &self.subkeys {
            signer.verify(&subkey.header, "subkey")?;
            signer = subkey.key.clone();
        }
        signer.verify(&self.header, "trusted application")?;
        if self.encrypted {
            return Ok(());
        }
        self.header.check(self.body, "application")
    }

    /// What evidence of the `attestation` service will say of the file.
    pub fn expected(&self) -> Expected {
        let mut expected = Expected::new(TeeKind::TrustZone, "OP-TEE trusted application")
            .measured(Command::TaHeader.register(), &self.header.digest);
        let mut tell = |name, value: String| expected.facts.insert(name, value);
        tell("header", format!("at byte {}", self.offset));
        tell("signed with", self.header.algorithm.as_str().to_owned());
        if let Some((uuid, version)) = self.identity {
            tell("ta", uuid.to_string());
            tell("version", version.to_string());
        }
        if self.encrypted {
            tell("image", "encrypted: not held against the digest".to_owned());
        }
        if !self.subkeys.is_empty() {
            let names: Vec<_> = self
                .subkeys
                .iter()
                .map(|subkey| subkey.uuid.to_string())
                .collect();
            tell("subkeys", names.join(", "));
        }
        expected
    }
}

impl Header<'_> {
    fn check(&self, body: &[u8], of: &str) -> Result<(), LaunchError> {
        let computed: [u8; 32] = Sha256::new()
            .chain_update(self.fixed)
            .chain_update(body)
            .finalize()
            .into();
        if computed == self.digest {
            return Ok(());
        }
        Err(LaunchError::DigestMismatch {
            image: IMAGE,
            what: format!(
                "the {of}'s header states {}, the file has {}",
                hex::encode(self.digest),
                hex::encode(computed)
            ),
        })
    }
}

#[cfg(test)]
mod tests;
