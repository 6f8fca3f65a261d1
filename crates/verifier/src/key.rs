//! The key with which a verifier signs its records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use nautilus_channel::SessionKeyHolder;
use nautilus_core::{PublicKey, SessionBinding, Signature, SignedMessage};
use zeroize::Zeroizing;

use crate::private_file;

/// A verifier's signing key, kept in its data directory.
pub struct VerifierKey(SigningKey);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot read or write verifier key {}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can read it.
    #[error("{} can be read by others than its owner: run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// Its path.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{} holds no verifier key (64 hex digits): restore it from a backup", path.display())]
    Invalid {
        /// Its path.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

impl VerifierKey {
    /// The key kept at `path`; a new one at first use.
    ///
    /// # Errors
    /// If it cannot be read or written, others can read it, or it holds something else.
    pub fn open_or_create(path: &Path) -> Result<Self, KeyError> {
        let io_error = |source| KeyError::Io {
            path: path.to_owned(),
            source,
        };
        let invalid = || KeyError::Invalid {
            path: path.to_owned(),
        };
        if !path.try_exists().map_err(io_error)? {
            return Self::create(path);
        }
        if private_file::is_exposed(path).map_err(io_error)? {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
            });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(io_error)?);
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), seed.as_mut()).map_err(|_| invalid())?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    fn create(path: &Path) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(KeyError::Random)?;
        let text = Zeroizing::new(hex::encode(seed.as_ref()));
        let write = || {
            if let Some(directory) = path.parent() {
                private_file::create_directory(directory)?;
            }
            private_file::write(path, text.as_bytes())
        };
        write().map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The signature over `message`.
    pub fn sign(&self, message: &impl SignedMessage) -> Signature {
        self.sign_bytes(&message.to_bytes())
    }

    /// The signature over bytes that cannot be taken for a message of ours: see [`crate::signed_ear`].
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
}

impl SessionKeyHolder for VerifierKey {
    fn public(&self) -> PublicKey {
        Self::public(self)
    }

    fn sign(&self, session: &SessionBinding) -> Signature {
        Self::sign(self, session)
    }
}
