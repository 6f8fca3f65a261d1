//! The wallet's private key: read from what Sui's tools write, and used for nothing but our own messages.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nautilus_core::{SignedMessage, SuiAddress};
use nautilus_proof::wallet::{WalletSignature, personal_message_digest};
use nautilus_verifier::private_file;
use sui_crypto::Signer as _;
use sui_crypto::simple::SimpleKeypair;
use sui_sdk_types::UserSignature;
use zeroize::Zeroizing;

/// Largest file of keys that is read: some thousand keys.
const MAX_FILE: u64 = 256 * 1024;

/// A wallet that can sign: Ed25519, Secp256k1 or Secp256r1.
pub struct Wallet {
    key: SimpleKeypair,
    address: SuiAddress,
}

/// Why there is no wallet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// A file that cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A key that others can read.
    #[error("{} can be read by others than its owner: run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A file that holds something else.
    #[error(
        "{} holds no wallet key: {what}; give a file with one `suiprivkey1…` line, or Sui's `sui.keystore`",
        path.display()
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. Never its content.
        what: String,
    },
    /// Several keys, and nobody said which.
    #[error(
        "{} holds {} wallets: say which by --address, one of {}",
        path.display(), addresses.len(), list(addresses)
    )]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// The addresses in it.
        addresses: Vec<SuiAddress>,
    },
    /// Not the wallet that was asked for.
    #[error("{} does not hold wallet {address}, but {}", path.display(), list(addresses))]
    NotThere {
        /// The file.
        path: PathBuf,
        /// The address asked for.
        address: SuiAddress,
        /// The addresses in it.
        addresses: Vec<SuiAddress>,
    },
}

fn list(addresses: &[SuiAddress]) -> String {
    let shown: Vec<_> = addresses.iter().take(8).map(ToString::to_string).collect();
    let more = if addresses.len() > shown.len() {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}

impl Wallet {
    /// A new Ed25519 wallet of this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::of(sui_crypto::ed25519::Ed25519PrivateKey::new(*seed).into())
    }

    /// Reads a wallet from a file that holds one `suiprivkey`, or from Sui's keystore, a JSON list of keys in base64
    /// (`~/.sui/sui_config/sui.keystore`). Of several, `address` says which.
    ///
    /// # Errors
    /// If the file cannot be read, can be read by others, holds something else, or not that wallet.
    pub fn read(path: &Path, address: Option<SuiAddress>) -> Result<Self, WalletError> {
        let invalid = |what: String| WalletError::Invalid {
            path: path.to_owned(),
            what,
        };
        let text = read_private(path)?;
        let mut wallets = if text.trim_start().starts_with('[') {
            keystore(&text).map_err(invalid)?
        } else {
            let key = SimpleKeypair::from_suiprivkey(text.trim())
                .map_err(|_| invalid("its line is no suiprivkey of a scheme that Sui has".to_owned()))?;
            vec![Self::of(key)]
        };
        let addresses: Vec<_> = wallets.iter().map(|wallet| wallet.address).collect();
        let path = path.to_owned();
        let index = match address {
            Some(address) => {
                addresses
                    .iter()
                    .position(|one| *one == address)
                    .ok_or_else(|| WalletError::NotThere {
                        path,
                        address,
                        addresses: addresses.clone(),
                    })?
            }
            None if wallets.len() > 1 => return Err(WalletError::Ambiguous { path, addresses }),
            None => 0,
        };
        Ok(wallets.swap_remove(index))
    }

    /// The wallet's address.
    pub const fn address(&self) -> SuiAddress {
        self.address
    }

    /// The wallet's signature over `message` as a Sui personal message: the specification's Seal signature.
    pub fn sign(&self, message: &impl SignedMessage) -> WalletSignature {
        let signature: UserSignature = self.key.sign(&personal_message_digest(message));
        #[expect(
            clippy::expect_used,
            reason = "a key pair has one of the three schemes, and their signatures are read here"
        )]
        WalletSignature::from_bytes(&signature.to_bytes())
            .expect("a single key's signature reads back")
            .normalised()
    }

    /// The key as Sui's tools write it.
    pub fn to_suiprivkey(&self) -> Option<Zeroizing<String>> {
        self.key.to_suiprivkey().ok().map(Zeroizing::new)
    }

    fn of(key: SimpleKeypair) -> Self {
        let address = SuiAddress(key.verifying_key().derive_address().into_inner());
        Self { key, address }
    }
}

/// Reads a file that its owner alone may read.
fn read_private(path: &Path) -> Result<Zeroizing<String>, WalletError> {
    let io_error = |action| {
        move |source| WalletError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    if private_file::is_exposed(path).map_err(io_error("look at"))? {
        return Err(WalletError::Exposed {
            path: path.to_owned(),
        });
    }
    // Reserved at once: a string that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize + 1));
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(io_error("read"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(WalletError::Invalid {
            path: path.to_owned(),
            what: format!("it is larger than {MAX_FILE} bytes"),
        });
    }
    Ok(text)
}

/// The wallets of Sui's keystore. Says what is wrong by place, never by content.
fn keystore(text: &str) -> Result<Vec<Wallet>, String> {
    let entries: Zeroizing<Vec<String>> = serde_json::from_str(text)
        .map(Zeroizing::new)
        .map_err(|_| "it is no JSON list of strings".to_owned())?;
    if entries.is_empty() {
        return Err("its list is empty".to_owned());
    }
    let read = |(index, entry): (usize, &String)| {
        SimpleKeypair::from_base64(entry)
            .map(Wallet::of)
            .map_err(|_| format!("entry {index} of its list is no key of a scheme that Sui has"))
    };
    entries.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests;
