//! Which key signed in which boot of the enclave: what a check of stored samples needs, once the enclave is another.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use nautilus_core::{BootId, PublicKey};
use nautilus_verifier::private_file;

/// More than a start every ten minutes for a year.
const MAX_BOOTS: usize = 65_536;
/// Of the file: a line of a hundred bytes for each.
const MAX_BYTES: u64 = 8 << 20;

/// A file beside the store. Whoever can write it can name any key: what it says counts for as much as the disk.
pub(in crate::monitor) struct Signers(PathBuf);

impl Signers {
    pub(in crate::monitor) fn beside(store: &Path) -> Self {
        Self(store.with_file_name("signers.json"))
    }

    pub(in crate::monitor) fn path(&self) -> &Path {
        &self.0
    }

    /// All that is known, in no order.
    ///
    /// # Errors
    /// If there is a file that is none.
    pub(in crate::monitor) fn read(&self) -> io::Result<BTreeMap<BootId, PublicKey>> {
        match std::fs::metadata(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
            Ok(found) if found.len() > MAX_BYTES => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&self.0)?;
        serde_json::from_str(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Adds a boot.
    ///
    /// # Errors
    /// As [`Self::read`], or if it cannot be written.
    pub(in crate::monitor) fn note(&self, boot: BootId, key: PublicKey) -> io::Result<()> {
        let mut all = self.read()?;
        if all.get(&boot) == Some(&key) {
            return Ok(());
        }
        if all.len() >= MAX_BOOTS {
            all.clear();
        }
        all.insert(boot, key);
        private_file::write(&self.0, serde_json::to_string(&all)?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_found_again_and_a_file_that_is_none_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let signers = Signers::beside(&directory.path().join("metrics.redb"));
        assert!(signers.read().unwrap().is_empty());
        let (boot, key) = (BootId([1; 16]), PublicKey([2; 32]));
        signers.note(boot, key).unwrap();
        signers.note(BootId([3; 16]), key).unwrap();
        assert_eq!(signers.read().unwrap().get(&boot), Some(&key));
        assert_eq!(signers.read().unwrap().len(), 2);
        std::fs::write(signers.path(), "[]").unwrap();
        let error = signers.note(boot, key).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::read_to_string(signers.path()).unwrap(), "[]");
    }
}
