//! What can be wrong with a ledger's file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::{LedgerError, SubmitError};

/// Why a ledger's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerFileError {
    /// The operating system refused.
    #[error("cannot {doing} ledger {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Another writer has it.
    #[error("ledger {} is in use by another process: stop that one, or use another data directory", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It was started by another verifier or with other rules.
    #[error(
        "ledger {} was started by another verifier or with other rules, which never change: \
         use that verifier's key and its rules, or another data directory",
        path.display()
    )]
    OtherGenesis {
        /// The file.
        path: PathBuf,
    },
    /// Some byte is not what it was.
    #[error("ledger {} is corrupt at byte {offset}, in {region}: {fault}; nothing was changed, restore it from a copy", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// First byte of the region, or the first wrong byte where that is known.
        offset: u64,
        /// Which part of the file.
        region: Region,
        /// What is wrong with it.
        fault: Fault,
    },
    /// An entry that would not be read back.
    #[error("an entry of {size} bytes is too large for ledger {}", path.display())]
    RecordTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: usize,
    },
    /// An earlier write failed.
    #[error("ledger {} failed in making an entry durable and takes no more: open it again to see what it holds", path.display())]
    Unsure {
        /// The file.
        path: PathBuf,
    },
}

impl LedgerFileError {
    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    }
}

impl From<LedgerFileError> for SubmitError {
    fn from(error: LedgerFileError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// A part of a ledger's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The first 512 bytes.
    Header,
    /// One of the two commit slots.
    CommitSlot(u8),
    /// The record of the entry of this height.
    Record(u64),
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::CommitSlot(slot) => write!(f, "commit slot {slot}"),
            Self::Record(height) => write!(f, "the record of entry {height}"),
        }
    }
}

/// What is wrong with a part of a ledger's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Not the header of a ledger of this version.
    #[error("not the header of a ledger of version 1")]
    NotALedger,
    /// The file ends too early.
    #[error("the file ends within it")]
    Truncated,
    /// A slot's checksum is not that of its contents.
    #[error("its checksum is not that of its contents")]
    ChecksumMismatch,
    /// Padding that is not zero.
    #[error("its padding is not zero")]
    PaddingNotZero,
    /// Slots that no sequence of commits can leave.
    #[error("it does not follow from the other commit slot")]
    SlotsDisagree,
    /// A slot that does not point to the end of a record with its tip.
    #[error("it does not point to the end of an entry with its hash")]
    TipMismatch,
    /// A committed log without entries.
    #[error("it commits a log without entries")]
    Empty,
    /// A length that a record cannot have.
    #[error("its length is {length}, which a record here cannot have")]
    LengthOutOfBounds {
        /// The length.
        length: u32,
    },
    /// A hash that is not the entry's.
    #[error("its hash is not that of the entry")]
    HashMismatch,
    /// Bytes that are not the one encoding of an entry.
    #[error("it is not the canonical encoding of an entry")]
    NotCanonical,
    /// An entry that does not follow the one before.
    #[error("it does not follow the entry before it")]
    ChainBroken,
    /// A transaction that the rules refuse.
    #[error("its transaction breaks the rules: {0}")]
    RuleBroken(LedgerError),
    /// A state digest that is not that of the recomputed state.
    #[error("its state digest is not that of the recomputed state")]
    StateDigestMismatch,
}
