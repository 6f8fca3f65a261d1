//! What can be wrong with a store, and what it refuses.

use std::io;
use std::path::PathBuf;

use nautilus_core::{BootId, UnixMillis};
use nautilus_proof::SampleError;
use serde::{Serialize, Serializer};

use super::key::KeyId;

/// Why the store as a whole cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused a file.
    #[error("cannot use the metrics store {}", path.display())]
    Io {
        /// The store.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the metrics store {} is open in another process: stop the other agent first", path.display())]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The file is shorter than it says of itself.
    #[error(
        "the metrics store {} is cut off: it has {length} bytes of at least {expected}; an agent that \
         starts with it moves it aside, begins another, and reads what is left until it stops",
        path.display()
    )]
    Truncated {
        /// The store.
        path: PathBuf,
        /// What is there, in bytes.
        length: u64,
        /// What should be there, in bytes.
        expected: u64,
    },
    /// The database cannot be opened, or a page of it not be read.
    #[error(
        "the metrics store {} is damaged ({what}); an agent that starts with it moves it aside, begins another, and \
         reads what is left until it stops",
        path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What the database found.
        what: String,
    },
    /// Written by another version.
    #[error(
        "the metrics store {} has layout {found}, this program knows {known}: move it away and start again, a new one \
         is begun",
        path.display()
    )]
    UnknownLayout {
        /// The store.
        path: PathBuf,
        /// Its layout's version.
        found: u32,
        /// The version that this program writes.
        known: u32,
    },
    /// The key of an epoch is not the one that the store was sealed with.
    #[error(
        "the metrics store was sealed in epoch {epoch} with key {expected}, and {given} was given: it belongs to \
         another node or enclave; move it away or give the enclave its old state back"
    )]
    WrongKey {
        /// The key's epoch.
        epoch: u32,
        /// What the store says.
        expected: KeyId,
        /// What was given.
        given: KeyId,
    },
    /// The current key's epoch is older than the store's newest.
    #[error(
        "the metrics store has a key of epoch {newest}, and the current one is of epoch {given}: raise it"
    )]
    OldEpoch {
        /// The newest in the store.
        newest: u32,
        /// The current one's.
        given: u32,
    },
    /// It was closed.
    #[error("the metrics store is closed")]
    Closed,
    /// The store was opened to read what is left of it.
    #[error("the metrics store is damaged and open for reading alone")]
    ReadOnly,
    /// A sample that does not belong at this place of its boot's chain.
    #[error("boot {boot}: a sample is not stored")]
    Chain {
        /// Its boot.
        boot: BootId,
        /// What is wrong with it.
        #[source]
        source: SampleError,
    },
    /// Readings that are not those that a sample names.
    #[error("sample {sequence} of boot {boot} does not name its readings: {what}")]
    Readings {
        /// Its boot.
        boot: BootId,
        /// Its number.
        sequence: u64,
        /// The difference.
        what: &'static str,
    },
    /// More than one transaction may hold.
    #[error("{what}: at most {limit}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        limit: usize,
    },
    /// A question whose answer is too large.
    #[error(
        "the answer has more than {limit} {what}: ask for a shorter time, fewer series or a coarser resolution"
    )]
    AnswerTooLarge {
        /// Of what.
        what: &'static str,
        /// How much.
        limit: usize,
    },
    /// Columns of a block that do not come in ascending order, each once: they would share a nonce.
    #[error("column {series} of a block comes twice or out of order: nothing of the block is stored")]
    ColumnOrder {
        /// The column.
        series: u32,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Randomness,
    /// One value could not be read.
    #[error(transparent)]
    Fault(#[from] StoreFault),
    /// The receiver of an export took no more.
    #[error("cannot write the export")]
    Export(#[source] io::Error),
}

/// A part of the store that cannot be read, or was not kept. The rest can be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFault {
    /// A sealed value that is not as it was sealed, or not in its place.
    #[error("{series} in the hour of {hour} was altered, or comes from another place or store")]
    Sealed {
        /// The series' name, or what else it was.
        series: String,
        /// First instant of its hour.
        hour: UnixMillis,
    },
    /// A value sealed with a key that is not at hand.
    #[error("{series} in the hour of {hour} was sealed in key epoch {epoch}, whose key is not at hand")]
    UnknownEpoch {
        /// The series' name, or what else it was.
        series: String,
        /// First instant of its hour.
        hour: UnixMillis,
        /// The key's epoch.
        epoch: u32,
    },
    /// A value that was sealed by us and does not decode.
    #[error("{series} in the hour of {hour} does not decode: {what}")]
    Malformed {
        /// The series' name, or what else it was.
        series: String,
        /// First instant of its hour.
        hour: UnixMillis,
        /// The fault.
        what: &'static str,
    },
    /// A part that its index does not name, or that is cut short.
    #[error("{what} of the hour of {hour} is missing")]
    Missing {
        /// Which.
        what: &'static str,
        /// First instant of the hour.
        hour: UnixMillis,
    },
    /// Pages of the database that cannot be read.
    #[error("the database cannot read {what} of the hour of {hour}: {reason}")]
    Damaged {
        /// Which.
        what: &'static str,
        /// First instant of the hour.
        hour: UnixMillis,
        /// What the database found.
        reason: String,
    },
    /// Readings of series past the limit: kept and verified, but not to be asked for.
    #[error(
        "{count} readings are of series past the limit of {limit}: they are kept, and cannot be asked for"
    )]
    TooManySeries {
        /// Readings.
        count: u64,
        /// The limit.
        limit: usize,
    },
}

impl Serialize for StoreFault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
