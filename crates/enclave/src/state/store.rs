//! The state at rest: one sealed file, replaced whole, and held against the platform's counter.
//!
//! Order of a write: the file with the counter's next value, then the counter. So a process that is killed in between
//! leaves a state that is one ahead, which the next start completes; and a state that is behind is an old copy.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nautilus_core::{Protection, SealError, Sealer};
use rustix::fs::OFlags;

use super::State;
use crate::protocol::Rollback;

/// Largest file: a state with all that it may hold has half of it.
const MAX_FILE: u64 = 256 * 1024;
const MODE: u32 = 0o600;

/// Why a state cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file system refuses.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// There is one, and nothing to open it with.
    #[error(
        "state `{}` is there, and this platform has nothing now to open it with: bring back the TEE's device or \
         application that sealed it, or move the state away to start with new keys",
        path.display()
    )]
    NoSealer {
        /// The file.
        path: PathBuf,
    },
    /// Another enclave has it.
    #[error("state `{}` is in use by another enclave: end that one, or give this one a file of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It was sealed elsewhere, by other code, or changed.
    #[error(
        "state `{}` does not open here: bring back what this program wrote on this platform, or move it away to start \
         with new keys, which must be attested anew",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What the TEE says.
        source: SealError,
    },
    /// It opened, and is no state.
    #[error("state `{}` is damaged, {what}: bring back a whole copy, or move it away to start with new keys", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The platform's counter is further.
    #[error(
        "state `{}` is an old copy: it was the newest at {found}, and the platform's counter is at {counter}; bring \
         back the newest, or move it away to start with new keys",
        path.display()
    )]
    OldCopy {
        /// The file.
        path: PathBuf,
        /// The counter in the state.
        found: u64,
        /// The platform's counter.
        counter: u64,
    },
    /// The platform's counter is not as far as it was.
    #[error(
        "state `{}` was the newest at {found}, and the platform's counter is only at {counter}: the counter was reset, \
         so nobody can tell whether this copy is old; move it away to start with new keys",
        path.display()
    )]
    CounterReset {
        /// The file.
        path: PathBuf,
        /// The counter in the state.
        found: u64,
        /// The platform's counter.
        counter: u64,
    },
    /// The TEE did not do its part.
    #[error("state cannot be sealed or held against the counter")]
    Seal(#[from] SealError),
    /// A write before this one did not come to its end.
    #[error("state `{}` could not be kept before, so it is not known which is the newest: the next start finds out", path.display())]
    Uncertain {
        /// The file.
        path: PathBuf,
    },
    /// A number in it is at its end.
    #[error("state cannot be kept: {what}")]
    Exhausted {
        /// Which.
        what: &'static str,
    },
}

/// The directory that a state's file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Where one enclave's state is kept. No other enclave has the same while this is alive.
pub(crate) struct Store {
    sealer: Box<dyn Sealer>,
    path: PathBuf,
    new: PathBuf,
    directory: File,
    /// Whether a write began that did not come to its end.
    uncertain: AtomicBool,
    _lock: File,
}

impl Store {
    /// Takes the file at `path`, which need not exist yet; its directory must.
    ///
    /// # Errors
    /// `InUse`, `Io`.
    pub(crate) fn open(path: &Path, sealer: Box<dyn Sealer>) -> Result<Self, StateError> {
        let directory_path = directory_of(path);
        let directory = File::open(directory_path).map_err(io_error("open", directory_path))?;
        // The file itself is replaced at every write, so that a lock on it would hold nobody off.
        let lock_path = beside(path, ".lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &lock_path)(source)),
        }
        Ok(Self {
            sealer,
            path: path.to_owned(),
            new: beside(path, ".new"),
            directory,
            uncertain: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// What protects the file.
    pub(crate) fn protection(&self) -> Protection {
        self.sealer.protection()
    }

    /// Whether an old copy is told from the newest.
    pub(crate) fn rollback(&self) -> Rollback {
        match self.sealer.counter() {
            Some(counter) if counter.outlives_restore() => Rollback::Refused,
            Some(_) | None => Rollback::Undetected,
        }
    }

    /// The state; none where there is no file. What is there and cannot be used is an error, never a new start.
    ///
    /// # Errors
    /// All of [`StateError`].
    pub(crate) fn read(&self) -> Result<Option<State>, StateError> {
        let Some(sealed) = self.read_file()? else {
            return Ok(None);
        };
        let bytes = self.sealer.unseal(&sealed).map_err(|error| match error {
            source @ SealError::NotOurs { .. } => StateError::NotOurs {
                path: self.path.clone(),
                source,
            },
            other => StateError::Seal(other),
        })?;
        let state = State::from_bytes(&bytes).map_err(|what| self.damaged(what))?;
        self.hold_against_counter(&state)?;
        Ok(Some(state))
    }

    /// Has a state that was never written start where the platform's counter is.
    ///
    /// # Errors
    /// If the TEE does not do its part.
    pub(crate) fn begin(&self, state: &mut State) -> Result<(), StateError> {
        if let Some(counter) = self.sealer.counter() {
            state.counter = counter.read()?;
        }
        Ok(())
    }

    /// Makes `state`, which is made of the newest, the newest. When this returns, it outlives a crash, and every other copy is an old one.
    ///
    /// # Errors
    /// If it may not be kept; then the file holds this state or the one before.
    pub(crate) fn write(&self, state: &mut State) -> Result<(), StateError> {
        if self.uncertain.load(Ordering::Relaxed) {
            return Err(StateError::Uncertain {
                path: self.path.clone(),
            });
        }
        let counter = self.sealer.counter();
        if let Some(counter) = counter {
            let now = counter.read()?;
            if now != state.counter {
                // Another enclave went on from a copy: what this one has is old.
                return Err(self.disagreement(state.counter, now));
            }
            state.counter = now.checked_add(1).ok_or(StateError::Exhausted {
                what: "the platform's counter is at its end",
            })?;
        }
        let bytes = state
            .to_bytes()
            .map_err(|error| self.damaged(error.to_string()))?;
        let sealed = self.sealer.seal(&bytes)?;
        // Until it is counted, another state must not get the same number.
        self.uncertain.store(true, Ordering::Relaxed);
        self.replace_file(&sealed)?;
        match counter.map(nautilus_core::Counter::advance).transpose()? {
            Some(reached) if reached != state.counter => {
                return Err(self.disagreement(state.counter, reached));
            }
            _ => self.uncertain.store(false, Ordering::Relaxed),
        }
        Ok(())
    }

    fn hold_against_counter(&self, state: &State) -> Result<(), StateError> {
        let Some(counter) = self.sealer.counter() else {
            return Ok(());
        };
        let now = counter.read()?;
        if state.counter == now {
            return Ok(());
        }
        if now.checked_add(1) == Some(state.counter) {
            // Its writer was killed before it could count.
            let reached = counter.advance()?;
            if reached == state.counter {
                return Ok(());
            }
            return Err(self.disagreement(state.counter, reached));
        }
        Err(self.disagreement(state.counter, now))
    }

    fn disagreement(&self, found: u64, counter: u64) -> StateError {
        let path = self.path.clone();
        if found < counter {
            StateError::OldCopy { path, found, counter }
        } else {
            StateError::CounterReset { path, found, counter }
        }
    }

    fn damaged(&self, what: String) -> StateError {
        StateError::Damaged {
            path: self.path.clone(),
            what,
        }
    }

    fn read_file(&self) -> Result<Option<Vec<u8>>, StateError> {
        // Opening a FIFO would wait for its other end.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(&self.path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("read", &self.path)(source)),
        };
        let metadata = file.metadata().map_err(io_error("inspect", &self.path))?;
        if !metadata.is_file() {
            return Err(self.damaged("it is not a regular file".to_owned()));
        }
        let mut sealed = Vec::new();
        file.take(MAX_FILE.saturating_add(1))
            .read_to_end(&mut sealed)
            .map_err(io_error("read", &self.path))?;
        if u64::try_from(sealed.len()).unwrap_or(u64::MAX) > MAX_FILE {
            return Err(self.damaged(format!("it has more than {MAX_FILE} bytes")));
        }
        Ok(Some(sealed))
    }

    fn replace_file(&self, sealed: &[u8]) -> Result<(), StateError> {
        // A killed writer may have left one.
        match fs::remove_file(&self.new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &self.new)(error));
            }
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&self.new)
            .map_err(io_error("create", &self.new))?;
        file.write_all(sealed).map_err(io_error("write", &self.new))?;
        file.sync_all().map_err(io_error("write", &self.new))?;
        fs::rename(&self.new, &self.path).map_err(io_error("replace", &self.path))?;
        self.directory
            .sync_all()
            .map_err(io_error("write the directory of", &self.path))
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    move |source| StateError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
