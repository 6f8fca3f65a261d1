//! The rules of settlement, and the embedded ledger.
//!
//! [`State`] is the rules: a pure state machine without clock, file or network. [`EmbeddedLedger`] keeps the
//! transactions that it accepted in an append-only, hash-chained file, and [`replay`] recomputes the state from
//! that file alone. [`Ledger`] is what a verifier asks of any ledger, embedded or not.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod embedded;
#[cfg(test)]
mod fixture;
mod ledger;
mod state;
mod transaction;

pub use embedded::{
    EmbeddedLedger, Entries, Fault, LedgerFileError, LedgerView, LoggedEntry, MAX_RECORD, Region, Replay,
    Tip, replay,
};
pub use ledger::{Ledger, Settlement, SubmitError};
pub use state::{LedgerError, Node, NodeAccount, Receipt, State};
pub use transaction::{AppraisalRecord, ClaimRequest, Genesis, Rules, Transaction};
