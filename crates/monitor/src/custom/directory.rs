//! The files of metrics in a directory.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nautilus_core::UnixMillis;
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use super::text::{Dialect, Document, MAX_DOCUMENT, TextError, parse_text};
use crate::error::CollectError;

/// Most files of one directory that are looked at: the first by name.
pub const MAX_FILES: usize = 64;

/// What `directory` has: the first [`MAX_FILES`] names of files of metrics, in order, and how many more there are.
pub(super) struct Listing {
    pub(super) directory: OwnedFd,
    pub(super) names: BTreeSet<OsString>,
    pub(super) left_out: usize,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is no regular file: links and pipes are not followed")]
    NotRegular,
    #[error("it belongs to user {uid}: give it to root, or to the agent's user")]
    Owner { uid: u32 },
    #[error("everybody may write it: take that permission away")]
    WritableByAll,
    #[error(transparent)]
    Text(#[from] TextError),
}

/// A file that was opened and is one of whom the agent takes metrics.
pub(super) struct TextFile {
    file: File,
    pub(super) changed_at: Option<UnixMillis>,
}

impl Listing {
    /// # Errors
    /// If the directory cannot be read.
    pub(super) fn of(path: &Path) -> Result<Self, CollectError> {
        let failed = |errno: Errno| CollectError::Directory {
            path: path.to_owned(),
            source: errno.into(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let mut names = BTreeSet::new();
        let mut left_out = 0_usize;
        for entry in Dir::read_from(&directory).map_err(failed)? {
            let name = OsString::from_vec(entry.map_err(failed)?.file_name().to_bytes().to_vec());
            if dialect(&name).is_none() {
                continue;
            }
            names.insert(name);
            if names.len() > MAX_FILES {
                names.pop_last();
                left_out = left_out.saturating_add(1);
            }
        }
        Ok(Self {
            directory,
            names,
            left_out,
        })
    }

    /// Opens one of its files without following links or waiting for a pipe's other end.
    ///
    /// # Errors
    /// If it is not there any more, or not a regular file of root's or the agent's own user that only its owner and
    /// group may write.
    pub(super) fn open(&self, name: &OsStr) -> Result<TextFile, FileFault> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // A link, or a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(FileFault::NotRegular),
            Err(errno) => return Err(io::Error::from(errno).into()),
        };
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(FileFault::NotRegular);
        }
        acceptable(facts.uid(), facts.mode(), rustix::process::geteuid().as_raw())?;
        let millis = facts
            .mtime()
            .checked_mul(1_000)
            .and_then(|millis| millis.checked_add(facts.mtime_nsec().checked_div(1_000_000)?));
        Ok(TextFile {
            file,
            changed_at: millis
                .and_then(|millis| u64::try_from(millis).ok())
                .map(UnixMillis),
        })
    }
}

impl TextFile {
    /// Reads it as the format that its name says.
    ///
    /// # Errors
    /// If it cannot be read, or is not as its format has it.
    pub(super) fn read(self, name: &OsStr, max_series: usize) -> Result<Document, FileFault> {
        const LIMIT: u64 = MAX_DOCUMENT as u64 + 1;
        let mut text = Vec::new();
        self.file.take(LIMIT).read_to_end(&mut text)?;
        let dialect = dialect(name).unwrap_or(Dialect::OpenMetrics);
        Ok(parse_text(&text, dialect, None, max_series)?)
    }
}

/// Whoever may write the file says what the enclave signs: that must not be anybody.
fn acceptable(uid: u32, mode: u32, own: u32) -> Result<(), FileFault> {
    const WRITABLE_BY_ALL: u32 = 0o002;
    if uid != 0 && uid != own {
        Err(FileFault::Owner { uid })
    } else if mode & WRITABLE_BY_ALL != 0 {
        Err(FileFault::WritableByAll)
    } else {
        Ok(())
    }
}

/// The format of a file of this name; none if it is no file of metrics, such as one that is yet to be renamed.
fn dialect(name: &OsStr) -> Option<Dialect> {
    let name = name.as_encoded_bytes();
    if name.starts_with(b".") {
        None
    } else if name.ends_with(b".prom") {
        Some(Dialect::Prometheus)
    } else if name.ends_with(b".om") {
        Some(Dialect::OpenMetrics)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_strangers_and_of_everybody_are_not_taken() {
        assert!(acceptable(0, 0o644, 1_000).is_ok());
        assert!(acceptable(1_000, 0o664, 1_000).is_ok());
        let refused = acceptable(1_001, 0o644, 1_000);
        assert!(
            matches!(refused, Err(FileFault::Owner { uid: 1_001 })),
            "{refused:?}"
        );
        let refused = acceptable(0, 0o646, 1_000);
        assert!(matches!(refused, Err(FileFault::WritableByAll)), "{refused:?}");
    }

    #[test]
    fn a_name_says_the_format() {
        for (name, expected) in [
            ("a.prom", Some(Dialect::Prometheus)),
            ("a.om", Some(Dialect::OpenMetrics)),
            (".a.prom", None),
            ("a.prom.tmp", None),
            ("prom", None),
        ] {
            assert_eq!(dialect(OsStr::new(name)), expected, "{name}");
        }
    }
}
