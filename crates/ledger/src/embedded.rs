//! The embedded ledger: one append-only file, of which every byte is covered by a check.
//!
//! ```text
//!     0  header        magic, version, zeros
//!   512  commit slot 0 ┐ generation, committed length, tip, checksum, zeros;
//!  1024  commit slot 1 ┘ generation n is in slot n mod 2
//!  1536  records       length ‖ entry ‖ SHA-256 of the entry; each entry names the hash before it
//! ```
//!
//! To append is to write records behind the committed ones, make them durable, write the slot that is not the
//! newest, and make that durable: only then is it acknowledged. A process that is killed leaves either slot
//! whole (a slot is one sector, written by one call), and behind the committed length a piece of what it was
//! writing, which the next writer cuts off. So a slot that is not whole is never what a kill leaves: it is
//! corruption, and is named as such.
//!
//! What the file cannot show is that the whole of it was replaced by an older or another ledger: to notice
//! that, keep a [`Tip`] elsewhere.

mod create;
mod error;
mod format;
mod load;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nautilus_core::{Digest32, NodeId, Signature, SignedMessage, UnixMillis};
use nautilus_proof::wallet::WalletSignature;
use nautilus_proof::{Registration, VerifiedProof};
use rustix::fs::FlockOperation;
use serde::Serialize;

pub use self::error::{Fault, LedgerFileError, Region};
pub use self::format::MAX_RECORD;
use self::format::{Commit, Entry};
use self::load::{Depth, Loaded, Records};
use crate::state::NodeAccount;
use crate::{
    AppraisalRecord, Genesis, Ledger, LedgerError, Node, Receipt, Settlement, State, SubmitError, Transaction,
};

/// Where a ledger's log ends. Whoever keeps one can tell later whether the ledger still holds that entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tip {
    /// Number of the last entry; the genesis is 0.
    pub height: u64,
    /// Its hash, which covers every entry before it.
    pub hash: Digest32,
}

/// An entry of a ledger's log, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedEntry {
    /// Its number; the genesis is 0.
    pub height: u64,
    /// The ledger's time for it.
    pub at: UnixMillis,
    /// Its hash.
    pub hash: Digest32,
    /// What happened.
    pub transaction: Transaction,
}

/// A ledger's committed state and log at the moment when it was opened. Needs no lock: a writer may go on.
#[derive(Debug)]
pub struct LedgerView {
    path: PathBuf,
    file: Arc<File>,
    loaded: Loaded,
}

impl LedgerView {
    /// The state.
    pub const fn state(&self) -> &State {
        &self.loaded.state
    }

    /// Where the log ends.
    pub const fn tip(&self) -> Tip {
        self.loaded.tip
    }

    /// Bytes behind the committed log when it was opened: what a killed writer had not acknowledged, or what a
    /// running one was writing.
    pub const fn unacknowledged(&self) -> u64 {
        self.loaded.tail
    }

    /// The log, oldest entry first, read from the file and checked against its hashes once more.
    pub fn entries(&self) -> Entries {
        Entries(Records::of(&self.path, &self.file, self.loaded.commit.length))
    }
}

/// A ledger's log, oldest entry first; ends after the first error.
#[derive(Debug)]
pub struct Entries(Records);

impl Iterator for Entries {
    type Item = Result<LoggedEntry, LedgerFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.0.next()?;
        Some(record.map(|record| {
            let Entry {
                height,
                at,
                transaction,
                ..
            } = record.entry;
            LoggedEntry {
                height,
                at,
                hash: record.hash,
                transaction,
            }
        }))
    }
}

/// The one writer of a ledger's file.
#[derive(Debug)]
pub struct EmbeddedLedger {
    view: LedgerView,
    health: Health,
}

/// After a failed write of a slot nobody knows whether it is durable: not even the kernel, once `fsync` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Sound,
    Unsure,
}

impl EmbeddedLedger {
    /// Opens the ledger at `path` as its only writer; starts it with `genesis` at `now` if there is none. Cuts
    /// off what a killed writer had not acknowledged ([`LedgerView::unacknowledged`] says how much). The
    /// directory must exist.
    ///
    /// Signatures were verified before each entry was written, and the hashes show that no entry changed since:
    /// they are verified again by [`replay`], not here.
    ///
    /// # Errors
    /// If the file cannot be read or written, is in use, is corrupt anywhere, or has another genesis.
    pub fn open_or_create(
        path: impl AsRef<Path>,
        genesis: Genesis,
        now: UnixMillis,
    ) -> Result<Self, LedgerFileError> {
        let path = path.as_ref();
        let open = || OpenOptions::new().read(true).write(true).open(path);
        let file = match open() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                create::create(path, &genesis, now)?;
                open()
            }
            opened => opened,
        };
        let file = file.map_err(|source| LedgerFileError::io(path, "open", source))?;
        lock(path, &file)?;
        let file = Arc::new(file);
        let loaded = load::load(path, &file, Depth::Open)?;
        if loaded.state.genesis() != Some(&genesis) {
            return Err(LedgerFileError::OtherGenesis {
                path: path.to_owned(),
            });
        }
        if loaded.tail > 0 {
            file.set_len(loaded.commit.length)
                .and_then(|()| file.sync_all())
                .map_err(|source| LedgerFileError::io(path, "cut the unacknowledged tail off", source))?;
        }
        Ok(Self {
            view: LedgerView {
                path: path.to_owned(),
                file,
                loaded,
            },
            health: Health::Sound,
        })
    }

    /// Opens what is committed at `path` for reading, also while a writer has it.
    ///
    /// # Errors
    /// If the file cannot be read or is corrupt anywhere.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<LedgerView, LedgerFileError> {
        let path = path.as_ref();
        let file = Arc::new(File::open(path).map_err(|source| LedgerFileError::io(path, "open", source))?);
        let loaded = load::load(path, &file, Depth::Open)?;
        Ok(LedgerView {
            path: path.to_owned(),
            file,
            loaded,
        })
    }

    /// What is committed now.
    pub const fn view(&self) -> &LedgerView {
        &self.view
    }

    /// The state.
    pub const fn state(&self) -> &State {
        self.view.state()
    }

    /// Where the log ends.
    pub const fn tip(&self) -> Tip {
        self.view.tip()
    }

    /// The log, oldest entry first.
    pub fn entries(&self) -> Entries {
        self.view.entries()
    }

    /// Applies `group` and commits all of it or nothing: when this returns receipts, one for each transaction,
    /// they are durable. The ledger's time is `now`, or that of its last entry if `now` is before it.
    ///
    /// # Errors
    /// If the rules refuse a transaction, or the file cannot be written. If it fails in making the group
    /// durable, nobody can know whether it is, and the ledger takes nothing more until it is opened again.
    pub fn append(&mut self, group: &[Transaction], now: UnixMillis) -> Result<Vec<Receipt>, SubmitError> {
        if self.health == Health::Unsure {
            return Err(LedgerFileError::Unsure {
                path: self.view.path.clone(),
            }
            .into());
        }
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let Loaded {
            state, tip, commit, ..
        } = &self.view.loaded;
        let at = now.max(state.at());
        let (mut state, mut tip) = (state.clone(), *tip);
        let (mut receipts, mut records) = (Vec::with_capacity(group.len()), Vec::new());
        for transaction in group {
            receipts.push(state.apply(transaction, at)?);
            let height = tip
                .height
                .checked_add(1)
                .ok_or(LedgerError::Overflow { what: "height" })?;
            let entry = Entry {
                height,
                at,
                previous: tip.hash,
                transaction: transaction.clone(),
                state: state.digest(),
            };
            let hash = entry
                .write_record(&mut records)
                .map_err(|size| LedgerFileError::RecordTooLarge {
                    path: self.view.path.clone(),
                    size,
                })?;
            tip = Tip { height, hash };
        }
        let commit = commit
            .next(records.len(), tip.hash)
            .ok_or(LedgerError::Overflow { what: "log" })?;
        self.commit(&records, &commit)?;
        self.view.loaded = Loaded {
            state,
            tip,
            commit,
            tail: 0,
        };
        Ok(receipts)
    }

    fn commit(&mut self, records: &[u8], commit: &Commit) -> Result<(), LedgerFileError> {
        let LedgerView { path, file, loaded } = &self.view;
        let end = loaded.commit.length;
        if let Err(source) = file.write_all_at(records, end) {
            // What was written is behind the committed length, where it does no harm: it need not be cut off.
            let _ = file.set_len(end);
            return Err(LedgerFileError::io(path, "write", source));
        }
        self.health = Health::Unsure;
        file.sync_data()
            .and_then(|()| file.write_all_at(&commit.to_sector(), commit.offset()))
            .and_then(|()| file.sync_data())
            .map_err(|source| LedgerFileError::io(path, "make an entry durable in", source))?;
        self.health = Health::Sound;
        Ok(())
    }
}

impl Drop for EmbeddedLedger {
    /// Closing is not enough: a process that is just being started holds a copy of every open file, and
    /// [`Entries`] may outlive the ledger.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&*self.view.file, FlockOperation::Unlock);
    }
}

impl Ledger for EmbeddedLedger {
    fn register(
        &mut self,
        registration: Registration,
        signature: WalletSignature,
        now: UnixMillis,
    ) -> Result<(), SubmitError> {
        self.append(
            &[Transaction::RegisterNode {
                registration,
                signature,
            }],
            now,
        )
        .map(drop)
    }

    fn record_appraisal(
        &mut self,
        record: AppraisalRecord,
        signature: Signature,
        now: UnixMillis,
    ) -> Result<(), SubmitError> {
        self.append(&[Transaction::RecordAppraisal { record, signature }], now)
            .map(drop)
    }

    fn settle(&mut self, proof: VerifiedProof, now: UnixMillis) -> Result<Settlement, SubmitError> {
        let submission = Box::new(proof.into_submission());
        let (proof, window) = (submission.statement.digest(), &submission.statement.window);
        let (node, sequence) = (window.node, window.sequence);
        let unknown = LedgerError::NodeUnknown { node };
        let before = self.state().account(node).ok_or_else(|| unknown.clone())?;
        self.append(
            &[
                Transaction::SubmitProof { submission },
                Transaction::AccrueReward { proof },
            ],
            now,
        )?;
        let account = self.state().account(node).ok_or(unknown)?;
        let amount = account.accrued.saturating_sub(before.accrued);
        Ok(Settlement {
            proof,
            sequence,
            entry: self.view.tip(),
            amount,
            account,
        })
    }

    fn node(&self, node: NodeId) -> Result<Option<Node>, SubmitError> {
        Ok(self.state().node(node).cloned())
    }
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// How the ledger started.
    pub genesis: Genesis,
    /// Number of entries.
    pub entries: u64,
    /// Where the log ends.
    pub tip: Tip,
    /// Time of the last entry.
    pub at: UnixMillis,
    /// Digest of the recomputed state, which every entry's own digest agrees with.
    pub state_digest: Digest32,
    /// Every node's rewards, in the order of their ids.
    pub accounts: Vec<NodeAccount>,
    /// Bytes behind the committed log, which are no part of it.
    pub unacknowledged: u64,
}

/// Recomputes a ledger's state from its file alone: every byte, hash, signature, rule and state digest.
///
/// # Errors
/// The first fault, by the entry's height and the byte offset; or if the file cannot be read.
pub fn replay(path: impl AsRef<Path>) -> Result<Replay, LedgerFileError> {
    let path = path.as_ref();
    let file = Arc::new(File::open(path).map_err(|source| LedgerFileError::io(path, "open", source))?);
    let Loaded {
        state,
        tip,
        tail,
        commit,
    } = load::load(path, &file, Depth::Replay)?;
    let genesis = state
        .genesis()
        .cloned()
        .ok_or_else(|| commit.fault(path, Fault::Empty))?;
    Ok(Replay {
        genesis,
        entries: tip.height.saturating_add(1),
        tip,
        at: state.at(),
        state_digest: state.digest(),
        accounts: state.accounts().collect(),
        unacknowledged: tail,
    })
}

fn lock(path: &Path, file: &File) -> Result<(), LedgerFileError> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LedgerFileError::InUse {
            path: path.to_owned(),
        }),
        Err(error) => Err(LedgerFileError::io(path, "lock", error.into())),
    }
}

#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod tests;
