//! The node's lasting identity: its wallet and its label, kept in the data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nautilus_core::{BootId, NodeId, SignedMessage, SuiAddress};
use nautilus_proof::message::node_id;
use nautilus_proof::wallet::WalletSignature;
use nautilus_verifier::private_file;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::wallet::{Wallet, WalletError};

const WALLET_FILE: &str = "wallet.key";
const NODE_FILE: &str = "node.json";
/// The wallet's name until the label is there too: a kill while a node is made must not look like a lost file.
const UNFINISHED_WALLET_FILE: &str = "wallet.key.unfinished";

/// A node's wallet and name.
pub struct NodeIdentity {
    wallet: Wallet,
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
    /// The wallet's key cannot be used.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The node exists, and its id is made of its wallet.
    #[error(
        "the node in {} has wallet {wallet} already, and another would make it another node: use another data directory",
        directory.display()
    )]
    HasWallet {
        /// The node's directory.
        directory: PathBuf,
        /// Its wallet.
        wallet: SuiAddress,
    },
    /// A file that does not hold what it should.
    #[error("{} does not hold {what}: restore it from a backup, or use another data directory", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Half of an identity: the other half was lost, and a new one would be another node.
    #[error("{} is missing while {} is there: restore it from a backup, or use another data directory", path.display(), other.display())]
    Missing {
        /// What is missing.
        path: PathBuf,
        /// What is there.
        other: PathBuf,
    },
    /// No identity at all where one was expected.
    #[error("no node was ever started in {}: give the data directory of `nautilus up`", directory.display())]
    NoNode {
        /// Where it was looked for.
        directory: PathBuf,
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
    /// The identity kept in `directory`; a new one at first use, when neither of its files is there.
    ///
    /// # Errors
    /// If a file cannot be read or written, or holds something else, if only one of the two is there, or if
    /// others can read the key.
    pub fn open_or_create(directory: &Path) -> Result<Self, IdentityError> {
        match Self::open(directory) {
            Err(IdentityError::NoNode { .. }) => {
                let mut seed = Zeroizing::new([0; 32]);
                getrandom::fill(seed.as_mut()).map_err(IdentityError::Random)?;
                create(directory, &Wallet::from_seed(&seed))?;
                Self::open(directory)
            }
            result => result,
        }
    }

    /// The identity kept in `directory`. Never makes one.
    ///
    /// # Errors
    /// As [`Self::open_or_create`], and if there is none.
    pub fn open(directory: &Path) -> Result<Self, IdentityError> {
        let path = directory.join(WALLET_FILE);
        let node_path = directory.join(NODE_FILE);
        let missing = |path: &Path, other: &Path| IdentityError::Missing {
            path: path.to_owned(),
            other: other.to_owned(),
        };
        match (exists(&path)?, exists(&node_path)?) {
            (true, true) => {}
            (false, true) => finish_creation(directory, &path)?
                .then_some(())
                .ok_or_else(|| missing(&path, &node_path))?,
            (true, false) => return Err(missing(&node_path, &path)),
            (false, false) => {
                return Err(IdentityError::NoNode {
                    directory: directory.to_owned(),
                });
            }
        }
        Ok(Self {
            wallet: Wallet::read(&path, None)?,
            label: read_label(&node_path)?,
        })
    }

    /// Makes the node that will be kept in `directory`, with a wallet that exists already.
    ///
    /// # Errors
    /// If there is a node already, unless it has this wallet; or if a file cannot be read or written.
    pub fn import(directory: &Path, wallet: &Wallet) -> Result<Self, IdentityError> {
        match Self::open(directory) {
            Ok(node) if node.wallet() == wallet.address() => Ok(node),
            Ok(node) => Err(IdentityError::HasWallet {
                directory: directory.to_owned(),
                wallet: node.wallet(),
            }),
            Err(IdentityError::NoNode { .. }) => {
                create(directory, wallet)?;
                Self::open(directory)
            }
            Err(error) => Err(error),
        }
    }

    /// The wallet's address.
    pub const fn wallet(&self) -> SuiAddress {
        self.wallet.address()
    }

    /// The wallet's label for this node.
    pub const fn label(&self) -> BootId {
        self.label
    }

    /// The node's id.
    pub fn node(&self) -> NodeId {
        node_id(self.wallet(), self.label)
    }

    /// The wallet's signature over `message` as a Sui personal message.
    pub fn sign(&self, message: &impl SignedMessage) -> WalletSignature {
        self.wallet.sign(message)
    }
}

/// Makes both files. Until the wallet gets its name as the last step, nobody has seen it.
fn create(directory: &Path, wallet: &Wallet) -> Result<(), IdentityError> {
    private_file::create_directory(directory).map_err(io_error("create", directory))?;
    let mut label = [0; 16];
    getrandom::fill(&mut label).map_err(IdentityError::Random)?;

    let path = directory.join(UNFINISHED_WALLET_FILE);
    let mut text = wallet
        .to_suiprivkey()
        .ok_or_else(|| invalid(&path, "a wallet key"))?;
    text.push('\n');
    private_file::write(&path, text.as_bytes()).map_err(io_error("write", &path))?;

    let node_path = directory.join(NODE_FILE);
    let node = NodeFile { label: BootId(label) };
    let text = serde_json::to_vec(&node).map_err(|_| invalid(&node_path, "a node label"))?;
    private_file::write(&node_path, &text).map_err(io_error("write", &node_path))?;
    finish_creation(directory, &directory.join(WALLET_FILE)).map(drop)
}

/// The last step of [`create`], now or after a kill before it. False if there is nothing to finish.
fn finish_creation(directory: &Path, wallet: &Path) -> Result<bool, IdentityError> {
    let unfinished = directory.join(UNFINISHED_WALLET_FILE);
    if !exists(&unfinished)? {
        return Ok(false);
    }
    private_file::rename(&unfinished, wallet).map_err(io_error("write", wallet))?;
    Ok(true)
}

fn read_label(path: &Path) -> Result<BootId, IdentityError> {
    let text = fs::read(path).map_err(io_error("read", path))?;
    serde_json::from_slice(&text)
        .map(|file: NodeFile| file.label)
        .map_err(|_| invalid(path, "a node label"))
}

fn invalid(path: &Path, what: &'static str) -> IdentityError {
    IdentityError::Invalid {
        path: path.to_owned(),
        what,
    }
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
            verifier: nautilus_core::PublicKey([1; 32]),
        };
        assert!(identity.sign(&message).is_of(identity.wallet(), &message));
    }

    #[test]
    fn a_wallet_is_brought_along_once_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let [mine, other] = [3, 4].map(|seed| Wallet::from_seed(&[seed; 32]));
        let node = NodeIdentity::import(directory.path(), &mine).unwrap();
        assert_eq!(node.wallet(), mine.address());
        let again = NodeIdentity::import(directory.path(), &mine).unwrap();
        assert_eq!(again.node(), node.node());
        let Err(IdentityError::HasWallet { wallet, .. }) = NodeIdentity::import(directory.path(), &other)
        else {
            panic!("another wallet took the node's place")
        };
        assert_eq!(wallet, mine.address());
        assert_eq!(NodeIdentity::open(directory.path()).unwrap().node(), node.node());
    }

    #[test]
    fn half_an_identity_is_no_new_node() {
        let directory = tempfile::tempdir().unwrap();
        let node = NodeIdentity::open_or_create(directory.path()).unwrap().node();
        let backup = directory.path().join("backup");
        for file in [WALLET_FILE, NODE_FILE] {
            let path = directory.path().join(file);
            fs::rename(&path, &backup).unwrap();
            for open in [NodeIdentity::open, NodeIdentity::open_or_create] {
                let Err(IdentityError::Missing { path: found, .. }) = open(directory.path()) else {
                    panic!("{file} is not missed")
                };
                assert_eq!(found, path);
            }
            assert!(!path.exists());
            fs::rename(&backup, &path).unwrap();
        }
        assert_eq!(NodeIdentity::open(directory.path()).unwrap().node(), node);
    }

    #[test]
    fn opening_never_makes_a_node() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("nowhere");
        assert!(matches!(
            NodeIdentity::open(&nowhere),
            Err(IdentityError::NoNode { .. })
        ));
        assert!(!nowhere.exists());
    }

    #[test]
    fn a_kill_while_a_node_is_made_leaves_none_or_the_whole() {
        let directory = tempfile::tempdir().unwrap();
        let [wallet, unfinished, label] =
            [WALLET_FILE, UNFINISHED_WALLET_FILE, NODE_FILE].map(|file| directory.path().join(file));
        // Before the label was written.
        fs::write(&unfinished, "suiprivk").unwrap();
        let node = NodeIdentity::open_or_create(directory.path()).unwrap().node();
        assert!(!unfinished.exists());
        // Before the wallet got its name.
        fs::rename(&wallet, &unfinished).unwrap();
        assert!(label.exists());
        assert_eq!(
            NodeIdentity::open_or_create(directory.path()).unwrap().node(),
            node
        );
        assert!(wallet.exists() && !unfinished.exists());
    }

    #[test]
    fn an_exposed_or_broken_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        NodeIdentity::open_or_create(directory.path()).unwrap();
        let wallet = directory.path().join(WALLET_FILE);
        fs::set_permissions(&wallet, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            NodeIdentity::open_or_create(directory.path()),
            Err(IdentityError::Wallet(WalletError::Exposed { .. }))
        ));
        fs::set_permissions(&wallet, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&wallet, "suiprivkey1nonsense").unwrap();
        assert!(matches!(
            NodeIdentity::open_or_create(directory.path()),
            Err(IdentityError::Wallet(WalletError::Invalid { .. }))
        ));
        fs::remove_file(&wallet).unwrap();
        fs::create_dir(&wallet).unwrap();
        assert!(
            NodeIdentity::open_or_create(directory.path()).is_err_and(|error| matches!(
                error,
                IdentityError::Wallet(WalletError::Exposed { .. } | WalletError::Io { .. })
            ))
        );
    }
}
