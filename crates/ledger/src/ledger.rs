//! What a verifier asks of a ledger: the seam at which another ledger takes the embedded one's place.

use std::error::Error;

use nautilus_core::{Digest32, NodeId, Signature, UnixMillis};
use nautilus_proof::wallet::WalletSignature;
use nautilus_proof::{Registration, VerifiedProof};
use serde::Serialize;

use crate::{AppraisalRecord, LedgerError, Node, NodeAccount, Tip};

/// A ledger as a verifier needs it. When a method returns success, its effect is durable. `now` is the
/// caller's time; a ledger with a clock of its own goes by that.
pub trait Ledger {
    /// Makes a wallet's node known.
    ///
    /// # Errors
    /// If the rules refuse it or the ledger cannot keep it.
    fn register(
        &mut self,
        registration: Registration,
        signature: WalletSignature,
        now: UnixMillis,
    ) -> Result<(), SubmitError>;

    /// Records that a node's evidence was accepted. `signature` is the verifier's.
    ///
    /// # Errors
    /// If the rules refuse it or the ledger cannot keep it.
    fn record_appraisal(
        &mut self,
        record: AppraisalRecord,
        signature: Signature,
        now: UnixMillis,
    ) -> Result<(), SubmitError>;

    /// Settles a proof and accrues its reward: both or neither.
    ///
    /// # Errors
    /// If the rules refuse it or the ledger cannot keep it.
    fn settle(&mut self, proof: VerifiedProof, now: UnixMillis) -> Result<Settlement, SubmitError>;

    /// What the ledger knows of a node; none if it is not registered.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    fn node(&self, node: NodeId) -> Result<Option<Node>, SubmitError>;
}

/// What a settled proof brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settlement {
    /// Digest of the settled statement.
    pub proof: Digest32,
    /// Number of the window within its boot.
    pub sequence: u64,
    /// The last entry that the settlement made; its hash covers the others.
    pub entry: Tip,
    /// The reward, in the smallest unit.
    pub amount: u64,
    /// The node's account with it.
    pub account: NodeAccount,
}

/// Why a ledger did not take a transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The rules refuse it; trying again changes nothing.
    #[error(transparent)]
    Refused(#[from] LedgerError),
    /// The ledger cannot be read or written, or cannot be reached.
    #[error(transparent)]
    Unavailable(Box<dyn Error + Send + Sync>),
}
