//! Files of the simulated TEE: bounded, private, and written so that a crash leaves all or nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::SimulatedError;

/// Largest file that is read: a collateral with grown CRLs is far below.
const MAX_FILE: u64 = 1024 * 1024;
const KEY_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Reads a file that need not be secret.
///
/// # Errors
/// `Missing`, `Damaged` if it is no regular file of bounded size, `Io`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SimulatedError> {
    read_open(&mut open(path)?, path)
}

/// Reads a private key, which must be its owner's alone.
///
/// # Errors
/// As [`read`], and `Permissions`.
pub(super) fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, SimulatedError> {
    let mut file = open(path)?;
    let metadata = file.metadata().map_err(io_error("inspect", path))?;
    check_mode(path, metadata.permissions().mode(), 0o077, KEY_MODE)?;
    read_open(&mut file, path).map(Zeroizing::new)
}

/// Checks that nobody else can put files into a directory.
///
/// # Errors
/// `Missing`, `Permissions`, `Io`.
pub(super) fn check_dir(path: &Path) -> Result<(), SimulatedError> {
    let metadata = fs::metadata(path).map_err(missing_or("inspect", path))?;
    check_mode(path, metadata.permissions().mode(), 0o022, DIR_MODE)
}

fn check_mode(path: &Path, mode: u32, forbidden: u32, allowed: u32) -> Result<(), SimulatedError> {
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(SimulatedError::Permissions {
        path: path.to_owned(),
        mode: mode & 0o7777,
        allowed,
    })
}

fn open(path: &Path) -> Result<File, SimulatedError> {
    // Opening a FIFO would wait for its other end.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(missing_or("read", path))
}

fn read_open(file: &mut File, path: &Path) -> Result<Vec<u8>, SimulatedError> {
    let metadata = file.metadata().map_err(io_error("inspect", path))?;
    let damaged = |what: String| {
        Err(SimulatedError::Damaged {
            path: path.to_owned(),
            what,
        })
    };
    if !metadata.is_file() {
        return damaged("it is not a regular file".to_owned());
    }
    // With all its room from the start, a key is not copied about as the buffer grows.
    let room = usize::try_from(metadata.len().min(MAX_FILE))
        .unwrap_or_default()
        .saturating_add(1);
    let mut bytes = Vec::with_capacity(room);
    let limit = MAX_FILE.saturating_add(1);
    let length = file
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    if length == 0 {
        return damaged("it is empty".to_owned());
    }
    if u64::try_from(length).unwrap_or(u64::MAX) > MAX_FILE {
        return damaged(format!("it has more than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}

fn missing_or(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SimulatedError {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => SimulatedError::Missing {
            path: path.to_owned(),
        },
        _ => SimulatedError::Io {
            action,
            path: path.to_owned(),
            source,
        },
    }
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SimulatedError {
    move |source| SimulatedError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(feature = "verify")]
pub(super) use self::write::{replace, stage};

/// Writing, which the vendor alone does.
#[cfg(feature = "verify")]
mod write {
    use std::ffi::OsString;
    use std::fs::{self, DirBuilder, File, OpenOptions};
    use std::io::{self, Write as _};
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    use std::path::{Path, PathBuf};

    use super::{DIR_MODE, KEY_MODE, io_error};
    use crate::simulated::{SimulatedError, key};

    const PUBLIC_MODE: u32 = 0o644;
    const ATTEMPTS: usize = 16;

    /// A directory in the making beside the one that it is to become. Locked while its maker lives; what a dead
    /// maker left is removed by the next.
    pub(in crate::simulated) struct Staged {
        path: PathBuf,
        target: PathBuf,
        parent: PathBuf,
        _lock: File,
    }

    /// Starts a directory that is to appear at `target`, whole or not at all.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::simulated) fn stage(target: &Path) -> Result<Staged, SimulatedError> {
        let Some(name) = target.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a name");
            return Err(io_error("create", target)(source));
        };
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let private = |recursive| {
            let mut builder = DirBuilder::new();
            builder.mode(DIR_MODE).recursive(recursive);
            builder
        };
        private(true)
            .create(&parent)
            .map_err(io_error("create", &parent))?;
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".new-");
        sweep(&parent, &prefix);
        for _ in 0..ATTEMPTS {
            let mut name = prefix.clone();
            name.push(hex::encode(key::random::<8>()?));
            let path = parent.join(name);
            private(false).create(&path).map_err(io_error("create", &path))?;
            // Another process's sweep can come between making and locking the directory: then take another.
            if let Some(lock) = File::open(&path).ok().filter(|file| file.try_lock().is_ok()) {
                return Ok(Staged {
                    path,
                    target: target.to_owned(),
                    parent,
                    _lock: lock,
                });
            }
        }
        let source = io::Error::new(io::ErrorKind::WouldBlock, "the new directory cannot be locked");
        Err(io_error("create", target)(source))
    }

    /// Removes what makers that no longer live have left. That it fails is no reason not to go on.
    fn sweep(parent: &Path, prefix: &OsString) {
        let Ok(entries) = fs::read_dir(parent) else { return };
        let prefix = prefix.as_encoded_bytes();
        for entry in entries.flatten() {
            if !entry.file_name().as_encoded_bytes().starts_with(prefix) {
                continue;
            }
            if let Some(_lock) = File::open(entry.path())
                .ok()
                .filter(|file| file.try_lock().is_ok())
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    impl Staged {
        /// A private directory within.
        pub(in crate::simulated) fn dir(&self, name: &str) -> Result<(), SimulatedError> {
            let path = self.path.join(name);
            DirBuilder::new()
                .mode(DIR_MODE)
                .create(&path)
                .map_err(io_error("create", &path))
        }

        /// A file that anybody may see.
        pub(in crate::simulated) fn public(&self, name: &str, bytes: &[u8]) -> Result<(), SimulatedError> {
            write_new(&self.path.join(name), bytes, PUBLIC_MODE)
        }

        /// A private key.
        pub(in crate::simulated) fn key(&self, name: &str, bytes: &[u8]) -> Result<(), SimulatedError> {
            write_new(&self.path.join(name), bytes, KEY_MODE)
        }

        /// Puts the directory in its place, unless one is there already: then that one stays.
        pub(in crate::simulated) fn publish(self, dirs: &[&str]) -> Result<(), SimulatedError> {
            for dir in dirs {
                sync_dir(&self.path.join(dir))?;
            }
            sync_dir(&self.path)?;
            match fs::rename(&self.path, &self.target) {
                Ok(()) => sync_dir(&self.parent),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                    ) =>
                {
                    Ok(())
                }
                Err(source) => Err(io_error("create", &self.target)(source)),
            }
        }
    }

    impl Drop for Staged {
        fn drop(&mut self) {
            // Absent once it is in its place.
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    /// Replaces a public file, so that a reader sees the old one or the new one.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::simulated) fn replace(path: &Path, bytes: &[u8]) -> Result<(), SimulatedError> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".new-{}", hex::encode(key::random::<8>()?)));
        let staged = PathBuf::from(name);
        let replaced = write_new(&staged, bytes, PUBLIC_MODE)
            .and_then(|()| fs::rename(&staged, path).map_err(io_error("replace", path)));
        if replaced.is_err() {
            let _ = fs::remove_file(&staged);
        }
        replaced?;
        path.parent().map_or(Ok(()), sync_dir)
    }

    fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SimulatedError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(io_error("create", path))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(io_error("write", path))
    }

    fn sync_dir(path: &Path) -> Result<(), SimulatedError> {
        File::open(path)
            .and_then(|dir| dir.sync_all())
            .map_err(io_error("sync", path))
    }
}
