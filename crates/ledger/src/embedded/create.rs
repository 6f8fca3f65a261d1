//! Starting a ledger's file.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nautilus_core::{Digest32, SignedMessage, UnixMillis};

use super::format::{Commit, Entry, header};
use super::{Fault, LedgerFileError};
use crate::{Genesis, State, Transaction};

/// Everyone may check a ledger, nothing in it is secret; the umask may say otherwise.
const MODE: u32 = 0o644;

/// Makes the file with its genesis entry. It appears at `path` whole or not at all, and never in place of
/// another: if there is one by now, that one stays.
pub(super) fn create(path: &Path, genesis: &Genesis, now: UnixMillis) -> Result<(), LedgerFileError> {
    let failed = |source| LedgerFileError::io(path, "create", source);
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let bytes = first_bytes(path, genesis, now)?;
    let mut draft = tempfile::Builder::new()
        .prefix(".ledger-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(directory)
        .map_err(failed)?;
    draft
        .write_all(&bytes)
        .and_then(|()| draft.as_file().sync_all())
        .map_err(failed)?;
    match draft.persist_noclobber(path) {
        Ok(_) => {}
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => {}
        Err(refused) => return Err(failed(refused.error)),
    }
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed)
}

fn first_bytes(path: &Path, genesis: &Genesis, now: UnixMillis) -> Result<Vec<u8>, LedgerFileError> {
    let corrupt = |fault| Commit::EMPTY.fault(path, fault);
    let transaction = Transaction::Genesis(genesis.clone());
    let mut state = State::new();
    state
        .apply(&transaction, now)
        .map_err(|error| corrupt(Fault::RuleBroken(error)))?;
    let entry = Entry {
        height: 0,
        at: now,
        previous: Digest32([0; 32]),
        transaction,
        state: state.digest(),
    };
    let mut records = Vec::new();
    let tip = entry
        .write_record(&mut records)
        .map_err(|size| LedgerFileError::RecordTooLarge {
            path: path.to_owned(),
            size,
        })?;
    let commit = Commit::EMPTY
        .next(records.len(), tip)
        .ok_or_else(|| corrupt(Fault::SlotsDisagree))?;

    let mut bytes = header().to_vec();
    bytes.extend_from_slice(&Commit::EMPTY.to_sector());
    bytes.extend_from_slice(&commit.to_sector());
    bytes.extend_from_slice(&records);
    Ok(bytes)
}
