//! The database's file: its tables, its errors by name, and what a damaged file may do to the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use nautilus_core::UnixMillis;
use redb::{
    Builder, Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase as _, TableDefinition,
    WriteTransaction,
};

use super::error::{StoreError, StoreFault};

/// In plain: the layout's version.
pub(super) const HEADER: TableDefinition<'static, &'static str, u32> = TableDefinition::new("header");
/// In plain: key epochs with the keys' names.
pub(super) const EPOCHS: TableDefinition<'static, u32, &'static [u8; 8]> = TableDefinition::new("epochs");
/// Names of series, some in each row.
pub(super) const NAMES: TableDefinition<'static, u32, &'static [u8]> = TableDefinition::new("names");
/// What was appended and is not in a block yet: the row's number and its hour.
pub(super) const HEAD: TableDefinition<'static, (u64, u32), &'static [u8]> = TableDefinition::new("head");
/// The newest sample.
pub(super) const TAIL: TableDefinition<'static, (), &'static [u8]> = TableDefinition::new("tail");
/// In plain: which blocks there are, and of how many bytes.
pub(super) const BLOCKS: TableDefinition<'static, &'static [u8; 7], (u64, u32)> =
    TableDefinition::new("blocks");
/// Pieces of blocks.
pub(super) const PIECES: TableDefinition<'static, &'static [u8; 11], &'static [u8]> =
    TableDefinition::new("pieces");
/// In plain: days whose rollups are to be made, and from which series on.
pub(super) const DAYS: TableDefinition<'static, u32, u32> = TableDefinition::new("days");

/// An error on the way, which does not know the file's name.
#[derive(Debug)]
pub(super) enum Failure {
    Redb(Box<redb::Error>),
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<StoreFault> for Failure {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault.into())
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    DatabaseError,
    CompactionError,
    SetDurabilityError
);

enum Open {
    Writable(Database),
    ReadOnly(ReadOnlyDatabase),
}

/// The open file.
pub(super) struct File {
    path: PathBuf,
    open: Open,
}

impl File {
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        check_length(path, super::salvage::lengths)?;
        let opened = contained(path, || {
            Ok(Builder::new().set_cache_size(cache_bytes).create(path)?)
        });
        if let Err(StoreError::Damaged { .. }) = opened {
            check_length(path, super::salvage::lengths_as_written)?;
        }
        let database = opened?;
        Ok(Self {
            path: path.to_owned(),
            open: Open::Writable(database),
        })
    }

    pub(super) fn read_only(path: &Path, database: ReadOnlyDatabase) -> Self {
        Self {
            path: path.to_owned(),
            open: Open::ReadOnly(database),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        contained(&self.path, || {
            Ok(match &self.open {
                Open::Writable(database) => database.begin_read()?,
                Open::ReadOnly(database) => database.begin_read()?,
            })
        })
    }

    /// Reads, and names what could not be read.
    pub(super) fn read<T>(&self, read: impl FnOnce() -> Result<T, Failure>) -> Result<T, StoreError> {
        contained(&self.path, read)
    }

    /// One durable transaction: all of `write` is on the disk when this returns, or nothing.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let Open::Writable(database) = &self.open else {
            return Err(StoreError::ReadOnly);
        };
        contained(&self.path, || {
            let transaction = database.begin_write()?;
            let written = write(&transaction)?;
            transaction.commit()?;
            Ok(written)
        })
    }

    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        let Self { path, open } = self;
        let Open::Writable(database) = open else {
            return Err(StoreError::ReadOnly);
        };
        contained(path, || {
            database.compact()?;
            Ok(())
        })
    }
}

/// What a part of the file is to a question that goes on without it; errors of the whole store stay such.
pub(super) fn as_fault(
    error: StoreError,
    what: &'static str,
    hour: UnixMillis,
) -> Result<StoreFault, StoreError> {
    match error {
        StoreError::Fault(fault) => Ok(fault),
        StoreError::Damaged { what: reason, .. } => Ok(StoreFault::Damaged { what, hour, reason }),
        StoreError::Io { source, .. } => Ok(StoreFault::Damaged {
            what,
            hour,
            reason: source.to_string(),
        }),
        other => Err(other),
    }
}

/// Calls the database. It does not check pages when it reads them: a damaged one can make it panic
/// (redb issue 1334), which must not end the process that measures. What it leaves behind after a panic is its own
/// state, which it refuses to use further where it is not whole.
pub(super) fn contained<T>(path: &Path, call: impl FnOnce() -> Result<T, Failure>) -> Result<T, StoreError> {
    let damaged = |what: String| StoreError::Damaged {
        path: path.to_owned(),
        what,
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Failure::Store(error))) => Err(error),
        Ok(Err(Failure::Redb(error))) => Err(match *error {
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse {
                path: path.to_owned(),
            },
            redb::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
                damaged(source.to_string())
            }
            redb::Error::Io(source) => StoreError::Io {
                path: path.to_owned(),
                source,
            },
            other => damaged(other.to_string()),
        }),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(damaged(
                said.unwrap_or("its pages contradict each other").to_owned(),
            ))
        }
    }
}

/// How long a file is, and how long it should be.
type Lengths = fn(&Path) -> Result<Option<(u64, u64)>, StoreError>;

/// Refuses a file that is shorter than its header says, before the database reads beyond its end.
fn check_length(path: &Path, lengths: Lengths) -> Result<(), StoreError> {
    match lengths(path)? {
        Some((length, expected)) if length < expected => Err(StoreError::Truncated {
            path: path.to_owned(),
            length,
            expected,
        }),
        _ => Ok(()),
    }
}
