//! One process for each half of a data directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::failure::Failure;

/// A half of a data directory that this process alone uses, as long as this lives.
pub struct Lock(#[expect(dead_code, reason = "the lock goes when the file is closed")] File);

impl Lock {
    /// Takes the half called `whose`.
    pub fn take(data_dir: &Path, whose: &str) -> Result<Self, Failure> {
        let directory = data_dir.join(whose);
        let path = directory.join("lock");
        let failed = |error: std::io::Error| {
            Failure::missing(error).context(format!("cannot lock {}", path.display()))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::missing(anyhow::anyhow!(
                "data directory {} is in use by another {whose}: stop that one, or give another --data-dir",
                data_dir.display()
            ))),
            Err(error) => Err(failed(error.into())),
        }
    }
}
