//! The node's lasting identity: its wallet and its label, kept in the data directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nautilus_core::{BootId, NodeId, PublicKey, Signature, SignedMessage, SuiAddress};
use nautilus_proof::message::node_id;
use nautilus_proof::wallet::{WalletSignature, address_of, personal_message_digest};
use serde::{Deserialize, Serialize};
use sui_crypto::Signer;
use sui_crypto::ed25519::Ed25519PrivateKey;
use zeroize::Zeroizing;

const WALLET_FILE: &str = "wallet.key";
const NODE_FILE: &str = "node.json";

/// A node's wallet and name.
pub struct NodeIdentity {
    wallet_key: Ed25519PrivateKey,
    wallet: SuiAddress,
    label: BootId,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file that cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A key that others can read.
    #[error("{} can be read by others than its owner: run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The key's file.
        path: PathBuf,
    },
    /// A file that does not hold what it should.
    #[error("{} does not hold {what}: restore it from a backup, or remove it to become a new node", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The system has no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    label: BootId,
}

impl NodeIdentity {
    /// The identity kept in `directory`; a new one at first use.
    ///
    /// # Errors
    /// If a file cannot be read or written, or holds something else, or if others can read the key.
    pub fn open_or_create(directory: &Path) -> Result<Self, IdentityError> {
        create_private_directory(directory)?;
        let wallet_key = open_wallet(&directory.join(WALLET_FILE))?;
        let label = open_label(&directory.join(NODE_FILE))?;
        let wallet = address_of(&PublicKey(wallet_key.public_key().into_inner()));
        Ok(Self {
            wallet_key,
            wallet,
            label,
        })
    }

    /// The wallet's address.
    pub const fn wallet(&self) -> SuiAddress {
        self.wallet
    }

    /// The wallet's label for this node.
    pub const fn label(&self) -> BootId {
        self.label
    }

    /// The node's id.
    pub fn node(&self) -> NodeId {
        node_id(self.wallet, self.label)
    }

    /// The wallet's signature over `message` as a Sui personal message.
    pub fn sign(&self, message: &impl SignedMessage) -> WalletSignature {
        let signature: sui_sdk_types::Ed25519Signature =
            self.wallet_key.sign(&personal_message_digest(message));
        WalletSignature {
            key: PublicKey(self.wallet_key.public_key().into_inner()),
            signature: Signature(signature.into_inner()),
        }
    }
}

fn open_wallet(path: &Path) -> Result<Ed25519PrivateKey, IdentityError> {
    if !exists(path)? {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(IdentityError::Random)?;
        let key = Ed25519PrivateKey::new(*seed);
        let invalid = |_| IdentityError::Invalid {
            path: path.to_owned(),
            what: "a wallet key",
        };
        let mut text = Zeroizing::new(key.to_suiprivkey().map_err(invalid)?);
        text.push('\n');
        write_private(path, text.as_bytes())?;
        return Ok(key);
    }
    let metadata = fs::metadata(path).map_err(io_error("look at", path))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(IdentityError::Exposed {
            path: path.to_owned(),
        });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(io_error("read", path))?);
    Ed25519PrivateKey::from_suiprivkey(text.trim()).map_err(|_| IdentityError::Invalid {
        path: path.to_owned(),
        what: "a Sui key (suiprivkey…)",
    })
}

fn open_label(path: &Path) -> Result<BootId, IdentityError> {
    let invalid = || IdentityError::Invalid {
        path: path.to_owned(),
        what: "a node label",
    };
    if !exists(path)? {
        let mut label = [0; 16];
        getrandom::fill(&mut label).map_err(IdentityError::Random)?;
        let label = BootId(label);
        let text = serde_json::to_vec(&NodeFile { label }).map_err(|_| invalid())?;
        write_private(path, &text)?;
        return Ok(label);
    }
    let text = fs::read(path).map_err(io_error("read", path))?;
    serde_json::from_slice(&text)
        .map(|file: NodeFile| file.label)
        .map_err(|_| invalid())
}

/// Creates `path` and its parents, open to the owner alone.
pub(crate) fn create_private_directory(path: &Path) -> Result<(), IdentityError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io_error("create", path))
}

/// Writes a whole file that only its owner can read, or none: a kill in between leaves no half file.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(io_error("write", path))
}

fn exists(path: &Path) -> Result<bool, IdentityError> {
    path.try_exists().map_err(io_error("look at", path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    move |source| IdentityError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use nautilus_proof::Registration;

    use super::*;

    #[test]
    fn the_same_directory_is_the_same_node() {
        let directory = tempfile::tempdir().unwrap();
        let first = NodeIdentity::open_or_create(&directory.path().join("a")).unwrap();
        let again = NodeIdentity::open_or_create(&directory.path().join("a")).unwrap();
        let other = NodeIdentity::open_or_create(&directory.path().join("b")).unwrap();
        assert_eq!((first.node(), first.wallet()), (again.node(), again.wallet()));
        assert_ne!(first.node(), other.node());
        assert_ne!(first.wallet(), other.wallet());
    }

    #[test]
    fn the_wallet_signs_as_its_address() {
        let directory = tempfile::tempdir().unwrap();
        let identity = NodeIdentity::open_or_create(directory.path()).unwrap();
        let message = Registration {
            node: identity.node(),
            wallet: identity.wallet(),
            label: identity.label(),
            verifier: PublicKey([1; 32]),
        };
        assert!(identity.sign(&message).is_of(identity.wallet(), &message));
    }

    #[test]
    fn an_exposed_or_broken_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        NodeIdentity::open_or_create(directory.path()).unwrap();
        let wallet = directory.path().join(WALLET_FILE);
        fs::set_permissions(&wallet, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            NodeIdentity::open_or_create(directory.path()),
            Err(IdentityError::Exposed { .. })
        ));
        fs::set_permissions(&wallet, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&wallet, "suiprivkey1nonsense").unwrap();
        assert!(matches!(
            NodeIdentity::open_or_create(directory.path()),
            Err(IdentityError::Invalid { .. })
        ));
        fs::remove_file(&wallet).unwrap();
        fs::create_dir(&wallet).unwrap();
        assert!(
            NodeIdentity::open_or_create(directory.path()).is_err_and(|error| matches!(
                error,
                IdentityError::Exposed { .. } | IdentityError::Io { .. }
            ))
        );
    }
}
