//! Why a sample could not be collected.

use std::io;
use std::path::{Path, PathBuf};

use crate::container::RuntimeError;
use crate::kernel_file::MAX_FILE;
use crate::parse::Malformed;

/// Why there is no sample. A metric that cannot be read is never signed as zero.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// A file or directory that every Linux has is not there.
    #[error("{} is missing: metrics need Linux's /proc and /sys, so mount both into this container or sandbox", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// Larger than any kernel writes it.
    #[error("{} is larger than {MAX_FILE} bytes, which no kernel writes: see what is mounted there", path.display())]
    TooLarge {
        /// What was read.
        path: PathBuf,
    },
    /// Not what Linux writes there, or numbers that contradict each other.
    #[error("{} is not as Linux writes it: {what}", path.display())]
    Malformed {
        /// What was read.
        path: PathBuf,
        /// The fault.
        what: &'static str,
    },
    /// Process 1 cannot be seen, so others are hidden too and a count would be too low.
    #[error(
        "{} hides processes: mount it with hidepid=0, drop ProtectProc= from the unit, or run as root",
        path.display()
    )]
    ProcessesHidden {
        /// The directory of processes.
        path: PathBuf,
    },
    /// The directory in which other programs leave metrics cannot be read.
    #[error(
        "cannot read {}, where other programs leave metrics: create it, or take textfile_directory out of the configuration",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The container runtime did not say what there is.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl CollectError {
    pub(crate) fn io(path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else {
            Self::Io { path, source }
        }
    }

    pub(crate) fn malformed(path: &Path, Malformed { what }: Malformed) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            what,
        }
    }
}
