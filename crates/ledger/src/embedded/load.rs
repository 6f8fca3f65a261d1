//! Reading a ledger's file: every byte of what is committed, or a fault that names where.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nautilus_core::{Digest32, SignedMessage, UnixMillis};
use sha2::{Digest, Sha256};

use super::format::{Commit, Entry, MAX_RECORD, RECORDS, SECTOR, Sector, header};
use super::{Fault, LedgerFileError, Region, Tip};
use crate::State;
use crate::state::Signatures;

/// How often a reader looks again while a writer changes the slots under it.
const LOOKS: usize = 100;

/// How much is recomputed. Both cover every byte by the hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// The rules, and the state digest at the tip.
    Open,
    /// The signatures and every state digest as well.
    Replay,
}

/// What a ledger's file holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub state: State,
    pub tip: Tip,
    pub commit: Commit,
    /// Bytes behind what is committed.
    pub tail: u64,
}

/// Reads and checks the whole file.
pub(super) fn load(path: &Path, file: &Arc<File>, depth: Depth) -> Result<Loaded, LedgerFileError> {
    let (older, newest) = read_front(path, file)?;
    let signatures = match depth {
        Depth::Open => Signatures::Trust,
        Depth::Replay => Signatures::Verify,
    };
    let mut state = State::new();
    let mut older_found = older == Commit::EMPTY;
    let mut last: Option<Record> = None;
    for record in Records::of(path, file, newest.length) {
        let record = record?;
        let corrupt = |fault| record.fault(path, fault);
        state
            .apply_with(&record.entry.transaction, record.entry.at, signatures)
            .map_err(|error| corrupt(Fault::RuleBroken(error)))?;
        if depth == Depth::Replay && state.digest() != record.entry.state {
            return Err(corrupt(Fault::StateDigestMismatch));
        }
        older_found |= (record.end, record.hash) == (older.length, older.tip);
        last = Some(record);
    }
    let Some(last) = last else {
        return Err(newest.fault(path, Fault::Empty));
    };
    if last.hash != newest.tip {
        return Err(newest.fault(path, Fault::TipMismatch));
    }
    if !older_found {
        return Err(older.fault(path, Fault::TipMismatch));
    }
    if state.digest() != last.entry.state {
        return Err(last.fault(path, Fault::StateDigestMismatch));
    }
    let length = file
        .metadata()
        .map_err(|source| LedgerFileError::io(path, "read", source))?
        .len();
    let tip = Tip {
        height: last.entry.height,
        hash: last.hash,
    };
    Ok(Loaded {
        state,
        tip,
        tail: length.saturating_sub(newest.length),
        commit: newest,
    })
}

/// Header and slots. A reader holds no lock, so it may see a slot while it is being written: a fault counts
/// only if the same bytes show it twice.
fn read_front(path: &Path, file: &Arc<File>) -> Result<(Commit, Commit), LedgerFileError> {
    let mut before = None;
    for _ in 0..LOOKS {
        let front = front_bytes(path, file)?;
        match parse_front(path, &front) {
            Err(fault) if before == Some(front) => return Err(fault),
            Err(_) => before = Some(front),
            Ok(commits) => return Ok(commits),
        }
        std::thread::yield_now();
    }
    let busy = io::Error::new(
        ErrorKind::ResourceBusy,
        "its commit slots change faster than they can be read",
    );
    Err(LedgerFileError::io(path, "read", busy))
}

type Front = [Sector; 3];

fn front_bytes(path: &Path, file: &Arc<File>) -> Result<Front, LedgerFileError> {
    let mut front = [[0; SECTOR]; 3];
    let mut source = Section {
        file: Arc::clone(file),
        position: 0,
    };
    for (sector, region) in
        front
            .iter_mut()
            .zip([Region::Header, Region::CommitSlot(0), Region::CommitSlot(1)])
    {
        let offset = source.position;
        source
            .read_exact(sector)
            .map_err(|error| read_error(path, offset, region, error))?;
    }
    Ok(front)
}

fn parse_front(path: &Path, front: &Front) -> Result<(Commit, Commit), LedgerFileError> {
    let corrupt = |region, (offset, fault)| LedgerFileError::Corrupt {
        path: path.to_owned(),
        offset,
        region,
        fault,
    };
    let [first, zero, one] = front;
    if let Some(wrong) = first
        .iter()
        .zip(&header())
        .position(|(found, expected)| found != expected)
    {
        let offset = u64::try_from(wrong).unwrap_or(0);
        return Err(corrupt(Region::Header, (offset, Fault::NotALedger)));
    }
    let slot = |slot, sector| {
        Commit::from_sector(slot, sector).map_err(|fault| corrupt(Region::CommitSlot(slot), fault))
    };
    let (zero, one) = (slot(0, zero)?, slot(1, one)?);
    let (older, newest) = if zero.generation < one.generation {
        (zero, one)
    } else {
        (one, zero)
    };
    let follows = older.generation.checked_add(1) == Some(newest.generation)
        && RECORDS <= older.length
        && older.length < newest.length
        && (older.generation > 0 || older == Commit::EMPTY);
    if follows {
        Ok((older, newest))
    } else {
        Err(older.fault(path, Fault::SlotsDisagree))
    }
}

/// The committed records, each checked against the one before; ends after the first fault.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    source: BufReader<Section>,
    offset: u64,
    end: u64,
    height: u64,
    previous: Digest32,
    at: UnixMillis,
}

/// A record whose hash and place in the chain are right.
#[derive(Debug)]
pub(super) struct Record {
    pub offset: u64,
    pub end: u64,
    pub entry: Entry,
    pub hash: Digest32,
}

impl Record {
    pub fn fault(&self, path: &Path, fault: Fault) -> LedgerFileError {
        let region = Region::Record(self.entry.height);
        LedgerFileError::Corrupt {
            path: path.to_owned(),
            offset: self.offset,
            region,
            fault,
        }
    }
}

impl Records {
    /// The records of `file` up to `end`, the committed length.
    pub fn of(path: &Path, file: &Arc<File>, end: u64) -> Self {
        Self {
            path: path.to_owned(),
            source: BufReader::with_capacity(
                MAX_RECORD,
                Section {
                    file: Arc::clone(file),
                    position: RECORDS,
                },
            ),
            offset: RECORDS,
            end,
            height: 0,
            previous: Digest32([0; 32]),
            at: UnixMillis(0),
        }
    }

    fn read(&mut self) -> Result<Record, LedgerFileError> {
        let (offset, region) = (self.offset, Region::Record(self.height));
        let corrupt = |fault| LedgerFileError::Corrupt {
            path: self.path.clone(),
            offset,
            region,
            fault,
        };
        let cut = |error| read_error(&self.path, offset, region, error);

        let mut length = [0; 4];
        self.source.read_exact(&mut length).map_err(cut)?;
        let length = u32::from_le_bytes(length);
        let size = usize::try_from(length).ok().filter(|size| *size <= MAX_RECORD);
        let end = u64::from(length)
            .checked_add(4 + 32)
            .and_then(|size| offset.checked_add(size));
        let (Some(size), Some(end)) = (size, end.filter(|end| *end <= self.end)) else {
            return Err(corrupt(Fault::LengthOutOfBounds { length }));
        };

        let mut bytes = vec![0; size];
        let mut hash = [0; 32];
        self.source.read_exact(&mut bytes).map_err(cut)?;
        self.source.read_exact(&mut hash).map_err(cut)?;
        if Sha256::digest(&bytes)[..] != hash {
            return Err(corrupt(Fault::HashMismatch));
        }
        let entry = Entry::from_canonical(&bytes).ok_or_else(|| corrupt(Fault::NotCanonical))?;
        if (entry.height, entry.previous) != (self.height, self.previous) || entry.at < self.at {
            return Err(corrupt(Fault::ChainBroken));
        }
        Ok(Record {
            offset,
            end,
            entry,
            hash: Digest32(hash),
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, LedgerFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.end {
            return None;
        }
        let record = self.read();
        match &record {
            Ok(record) => {
                self.offset = record.end;
                self.height = record.entry.height.saturating_add(1);
                self.previous = record.hash;
                self.at = record.entry.at;
            }
            Err(_) => self.end = 0,
        }
        Some(record)
    }
}

/// Reads a file from a position of its own, so that readers of one file do not disturb each other.
#[derive(Debug)]
struct Section {
    file: Arc<File>,
    position: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position = self.position.saturating_add(u64::try_from(count).unwrap_or(0));
        Ok(count)
    }
}

fn read_error(path: &Path, offset: u64, region: Region, error: io::Error) -> LedgerFileError {
    if error.kind() == ErrorKind::UnexpectedEof {
        return LedgerFileError::Corrupt {
            path: path.to_owned(),
            offset,
            region,
            fault: Fault::Truncated,
        };
    }
    LedgerFileError::io(path, "read", error)
}
