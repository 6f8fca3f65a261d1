//! The bytes of a ledger's file.

use std::path::Path;

use nautilus_core::{Digest32, Kind, MAGIC, SignedMessage, UnixMillis};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Fault, LedgerFileError, Region};
use crate::Transaction;

/// Largest encoding of one entry, in bytes.
pub const MAX_RECORD: usize = 64 * 1024;
/// Header and slots have one sector each: disks write a sector whole or not at all.
pub(super) const SECTOR: usize = 512;
/// Where the records start.
pub(super) const RECORDS: u64 = 3 * SECTOR as u64;

const FILE_MAGIC: &[u8; 16] = b"NAUTILUS LEDGER\n";
const FILE_VERSION: u32 = 1;
/// Distinguishes a slot's checksum from any other hash.
const CHECKSUM_PREFIX: &[u8] = b"nautilus ledger commit";

pub(super) type Sector = [u8; SECTOR];

/// The only header that a file of this version has.
pub(super) fn header() -> Sector {
    padded(FILE_MAGIC.iter().copied().chain(FILE_VERSION.to_le_bytes()))
}

fn padded(bytes: impl IntoIterator<Item = u8>) -> Sector {
    let mut sector = [0; SECTOR];
    sector.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
    sector
}

/// What a commit slot says: so far the log is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    /// Number of the commit; 0 is the empty log that creation leaves in the other slot.
    pub generation: u64,
    /// Length of the file up to the end of the last committed record.
    pub length: u64,
    /// Hash of the last committed entry; zero for the empty log.
    pub tip: Digest32,
}

impl Commit {
    /// The commit of the empty log.
    pub const EMPTY: Self = Self {
        generation: 0,
        length: RECORDS,
        tip: Digest32([0; 32]),
    };

    /// The commit after `added` bytes of records were written that end with the entry of hash `tip`.
    pub fn next(&self, added: usize, tip: Digest32) -> Option<Self> {
        let length = self.length.checked_add(u64::try_from(added).ok()?)?;
        Some(Self {
            generation: self.generation.checked_add(1)?,
            length,
            tip,
        })
    }

    /// The slot that holds it.
    pub const fn slot(&self) -> u8 {
        if self.generation.is_multiple_of(2) { 0 } else { 1 }
    }

    /// Where that slot is in the file.
    pub const fn offset(&self) -> u64 {
        slot_offset(self.slot())
    }

    /// The slot's bytes.
    pub fn to_sector(&self) -> Sector {
        let fields = self.fields();
        let checksum = Sha256::new()
            .chain_update(CHECKSUM_PREFIX)
            .chain_update(&fields)
            .finalize();
        padded(fields.into_iter().chain(checksum))
    }

    /// Reads a slot. Only the exact bytes of a commit that belongs there are one.
    pub fn from_sector(slot: u8, sector: &Sector) -> Result<Self, (u64, Fault)> {
        let mut fields = sector.as_slice();
        let commit = || -> Option<Self> {
            Some(Self {
                generation: u64::from_le_bytes(take(&mut fields)?),
                length: u64::from_le_bytes(take(&mut fields)?),
                tip: Digest32(take(&mut fields)?),
            })
        }();
        let start = slot_offset(slot);
        let commit = commit.ok_or((start, Fault::Truncated))?;
        let expected = commit.to_sector();
        match sector
            .iter()
            .zip(&expected)
            .position(|(found, expected)| found != expected)
        {
            Some(wrong) if wrong >= Self::SIZE => Err((
                start.saturating_add(u64::try_from(wrong).unwrap_or(0)),
                Fault::PaddingNotZero,
            )),
            Some(_) => Err((start, Fault::ChecksumMismatch)),
            None if commit.slot() != slot => Err((start, Fault::SlotsDisagree)),
            None => Ok(commit),
        }
    }

    /// A fault of this commit's slot.
    pub fn fault(&self, path: &Path, fault: Fault) -> LedgerFileError {
        LedgerFileError::Corrupt {
            path: path.to_owned(),
            offset: self.offset(),
            region: Region::CommitSlot(self.slot()),
            fault,
        }
    }

    /// Bytes of fields and checksum.
    const SIZE: usize = 8 + 8 + 32 + 32;

    fn fields(&self) -> Vec<u8> {
        let mut fields = Vec::with_capacity(Self::SIZE);
        fields.extend_from_slice(&self.generation.to_le_bytes());
        fields.extend_from_slice(&self.length.to_le_bytes());
        fields.extend_from_slice(&self.tip.0);
        fields
    }
}

const SLOTS: [u64; 2] = [SECTOR as u64, 2 * SECTOR as u64];

pub(super) const fn slot_offset(slot: u8) -> u64 {
    let [zero, one] = SLOTS;
    if slot == 0 { zero } else { one }
}

pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// One entry of the log, as it is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// 0, 1, 2, …
    pub height: u64,
    /// The ledger's time, which never goes back.
    pub at: UnixMillis,
    /// Hash of the entry before; zero for the genesis.
    pub previous: Digest32,
    /// What happened.
    pub transaction: Transaction,
    /// Digest of the state after it.
    pub state: Digest32,
}

impl SignedMessage for Entry {
    const KIND: Kind = Kind::LedgerEntry;
}

impl Entry {
    /// Adds the entry's record to `records` and gives its hash.
    ///
    /// # Errors
    /// The entry's size, if it is too large.
    pub fn write_record(&self, records: &mut Vec<u8>) -> Result<Digest32, usize> {
        let bytes = self.to_bytes();
        let length = u32::try_from(bytes.len())
            .ok()
            .filter(|_| bytes.len() <= MAX_RECORD)
            .ok_or(bytes.len())?;
        let hash = Digest32(Sha256::digest(&bytes).into());
        records.extend_from_slice(&length.to_le_bytes());
        records.extend_from_slice(&bytes);
        records.extend_from_slice(&hash.0);
        Ok(hash)
    }

    /// Reads an entry back; anything but its exact encoding is refused.
    pub fn from_canonical(bytes: &[u8]) -> Option<Self> {
        let payload = bytes.get(MAGIC.len().checked_add(2)?..)?;
        let entry: Self = bcs::from_bytes(payload).ok()?;
        (entry.to_bytes() == bytes).then_some(entry)
    }
}
