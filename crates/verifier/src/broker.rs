//! Key release: secrets that a node gets once its evidence was accepted, encrypted to the key that the evidence binds.
//!
//! A small stand-in for a key broker: one directory of secrets, one policy, the verifier's own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{NodeId, PublicKey};
use zeroize::Zeroizing;

use crate::api::ReleasedSecret;
use crate::private_file;

/// Most secrets that are released, and most bytes of each: what an enclave keeps.
const MAX_SECRETS: usize = 16;
const MAX_SECRET: u64 = 4096;
const MAX_NAME: usize = 64;

/// Encrypts a secret of this name for a node to an X25519 key; none where nothing can be encrypted to that key.
pub type Encrypt = fn(NodeId, &str, &PublicKey, &[u8]) -> Option<Vec<u8>>;

/// Secrets, and how they are encrypted.
pub struct KeyBroker {
    secrets: BTreeMap<String, Zeroizing<Vec<u8>>>,
    encrypt: Encrypt,
}

/// Why the secrets cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A directory or file that cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A secret that others can read.
    #[error("{} can be read by others than its owner: run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// Its file.
        path: PathBuf,
    },
    /// Something in the directory that is no secret.
    #[error("{} cannot be released as a secret: {what}", path.display())]
    Invalid {
        /// What it is.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// More than an enclave keeps.
    #[error("{} holds more than the {MAX_SECRETS} secrets that an enclave keeps", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

impl KeyBroker {
    /// The secrets in `directory`: each file is one, under its file's name.
    ///
    /// # Errors
    /// If there is something in it that cannot be released: none is left out in silence.
    pub fn open(directory: &Path, encrypt: Encrypt) -> Result<Self, BrokerError> {
        let failed = |source| BrokerError::Io {
            path: directory.to_owned(),
            source,
        };
        let mut secrets = BTreeMap::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = name_of(&path)?;
            let secret = read_secret(&path)?;
            secrets.insert(name, secret);
            if secrets.len() > MAX_SECRETS {
                return Err(BrokerError::TooMany {
                    path: directory.to_owned(),
                });
            }
        }
        Ok(Self { secrets, encrypt })
    }

    /// Every secret, encrypted for `node` to `key`; none where nothing can be encrypted to that key. Only verified
    /// evidence says whose key it is.
    pub(crate) fn release(&self, node: NodeId, key: &PublicKey) -> Option<Vec<ReleasedSecret>> {
        let release = |(name, secret): (&String, &Zeroizing<Vec<u8>>)| {
            let sealed = (self.encrypt)(node, name, key, secret)?;
            Some(ReleasedSecret {
                name: name.clone(),
                sealed: STANDARD.encode(sealed),
            })
        };
        self.secrets.iter().map(release).collect()
    }
}

fn name_of(path: &Path) -> Result<String, BrokerError> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    path.file_name()
        .and_then(|name| name.to_str())
        .filter(|name| name.len() <= MAX_NAME && name.bytes().all(allowed))
        .map(str::to_owned)
        .ok_or_else(|| BrokerError::Invalid {
            path: path.to_owned(),
            what: format!("a name has at most {MAX_NAME} of a-z, 0-9, `.`, `_` and `-`"),
        })
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, BrokerError> {
    let failed = |source| BrokerError::Io {
        path: path.to_owned(),
        source,
    };
    let invalid = |what: &str| BrokerError::Invalid {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    if !path.is_file() {
        return Err(invalid("it is no regular file"));
    }
    if private_file::is_exposed(path).map_err(failed)? {
        return Err(BrokerError::Exposed {
            path: path.to_owned(),
        });
    }
    let mut secret = Zeroizing::new(Vec::with_capacity(MAX_SECRET as usize + 1));
    File::open(path)
        .and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut secret))
        .map_err(failed)?;
    match secret.len() as u64 {
        0 => Err(invalid("it is empty")),
        length if length > MAX_SECRET => Err(invalid(&format!("it is larger than {MAX_SECRET} bytes"))),
        _ => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn encrypt(_: NodeId, _: &str, _: &PublicKey, secret: &[u8]) -> Option<Vec<u8>> {
        Some(secret.iter().map(|byte| byte ^ 0xff).collect())
    }

    fn put(directory: &Path, name: &str, contents: &[u8], mode: u32) {
        let path = directory.join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn refused(name: &str, contents: &[u8], mode: u32) -> BrokerError {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "good", b"secret", 0o600);
        put(directory.path(), name, contents, mode);
        KeyBroker::open(directory.path(), encrypt)
            .err()
            .expect("what cannot be released was taken")
    }

    #[test]
    fn every_file_is_a_secret_under_its_name() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "b-2", &[0; 4096], 0o600);
        put(directory.path(), "a.key", &[0xfe], 0o400);
        let broker = KeyBroker::open(directory.path(), encrypt).unwrap();
        let released = broker.release(NodeId([1; 32]), &PublicKey([2; 32])).unwrap();
        let names: Vec<_> = released.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["a.key", "b-2"]);
        assert_eq!(released[0].sealed, "AQ==");
    }

    #[test]
    fn what_cannot_be_released_is_named() {
        assert!(matches!(
            refused("other", b"x", 0o640),
            BrokerError::Exposed { .. }
        ));
        for (name, contents, what) in [
            ("empty", vec![], "empty"),
            ("large", vec![1; 4097], "larger"),
            ("Upper", vec![1], "name"),
            (&*"n".repeat(65), vec![1], "name"),
        ] {
            let error = refused(name, &contents, 0o600);
            assert!(matches!(error, BrokerError::Invalid { .. }), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
        let directory = tempfile::tempdir().unwrap();
        (0..17).for_each(|index| put(directory.path(), &format!("s{index}"), b"x", 0o600));
        assert!(matches!(
            KeyBroker::open(directory.path(), encrypt),
            Err(BrokerError::TooMany { .. })
        ));
    }
}
