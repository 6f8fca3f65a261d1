//! The relying party's half of the main job: whose evidence counts, what is wanted of it, and where proofs are settled.

use std::path::{Path, PathBuf};

use nautilus_core::{Policy, VerifierSet};
use nautilus_enclave::hpke;
use nautilus_ledger::EmbeddedLedger;
use nautilus_verifier::{KeyBroker, Registry, Verifier, VerifierKey};

use super::lock::Lock;
use crate::command::ledger;
use crate::failure::Failure;

/// What a verifier is made of. Nobody else uses its directory while this lives.
pub struct RelyingParty {
    /// The verifier.
    pub verifier: Verifier,
    _lock: Lock,
}

impl RelyingParty {
    /// Opens what is kept in the data directory, or makes it at first use.
    pub fn open(data_dir: &Path, set: VerifierSet, policy: Policy) -> Result<Self, Failure> {
        let lock = Lock::take(data_dir, "verifier")?;
        let ledger_path = ledger::path(data_dir);
        let key_path = key_path(data_dir);
        if ledger_path.exists() && !key_path.exists() {
            return Err(Failure::missing(anyhow::anyhow!(
                "the key of this ledger's verifier is gone: restore {}, or use another data directory",
                key_path.display()
            )));
        }
        let key = VerifierKey::open_or_create(&key_path)?;
        let ledger: EmbeddedLedger = ledger::open_or_create(&ledger_path, key.public())?;
        let registry = Registry::open(&registry_path(data_dir))?;
        let verifier = Verifier::new(set, policy, key, registry, ledger);
        let verifier = match released(&data_dir.join("verifier/secrets"))? {
            Some(broker) => verifier.releasing(broker),
            None => verifier,
        };
        Ok(Self {
            verifier,
            _lock: lock,
        })
    }
}

/// Where a verifier remembers its nodes.
pub fn registry_path(data_dir: &Path) -> PathBuf {
    data_dir.join("verifier/registry.json")
}

/// Where a verifier's key is kept.
fn key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("verifier/verifier.key")
}

/// What this verifier releases: the files in `directory`, where it is there.
fn released(directory: &Path) -> Result<Option<KeyBroker>, Failure> {
    if !directory.try_exists()? {
        return Ok(None);
    }
    let broker = KeyBroker::open(directory, |node, name, key, secret| {
        hpke::seal(key, &hpke::provision_info(node, name), secret).ok()
    })?;
    Ok(Some(broker))
}
