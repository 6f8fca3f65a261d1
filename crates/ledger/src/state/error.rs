//! Why the rules refuse a transaction.

use nautilus_core::{BootId, Digest32, EvidenceId, NodeId, PublicKey, SuiAddress, UnixMillis};

/// Why the rules refuse a transaction. The state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The ledger has no first transaction yet.
    #[error("the ledger has not started: its first transaction must be its genesis")]
    NotStarted,
    /// A second genesis.
    #[error("the ledger has already started")]
    AlreadyStarted,
    /// Time went back.
    #[error("the ledger's time is {last} already, {found} is before it")]
    TimeBackwards {
        /// Time of the last transaction.
        last: UnixMillis,
        /// Time of this one.
        found: UnixMillis,
    },
    /// A message that was signed for another verifier's ledger.
    #[error("this was signed for verifier {found}; this ledger's is {expected}")]
    OtherVerifier {
        /// This ledger's.
        expected: PublicKey,
        /// The one named.
        found: PublicKey,
    },
    /// A node id that wallet and label do not give.
    #[error("{node} is not the id that its wallet and label give")]
    NodeIdInvalid {
        /// The id.
        node: NodeId,
    },
    /// A node that is known.
    #[error("node {node} is already registered")]
    AlreadyRegistered {
        /// The node.
        node: NodeId,
    },
    /// A node that is not known.
    #[error("node {node} is not registered")]
    NodeUnknown {
        /// The node.
        node: NodeId,
    },
    /// The wallet did not sign this.
    #[error("the signature of wallet {wallet} is invalid")]
    WalletSignatureInvalid {
        /// The wallet.
        wallet: SuiAddress,
    },
    /// The ledger's verifier did not sign this.
    #[error("the verifier's signature is invalid")]
    VerifierSignatureInvalid,
    /// The evidence that counts already.
    #[error("evidence {evidence} has been recorded already")]
    EvidenceReplayed {
        /// The evidence.
        evidence: EvidenceId,
    },
    /// An appraisal that is not later than the one that counts.
    #[error("an appraisal of {last} counts already, {found} is not after it")]
    AppraisalOutOfOrder {
        /// When the one that counts was made.
        last: UnixMillis,
        /// When this one was made.
        found: UnixMillis,
    },
    /// An appraisal that no longer counts.
    #[error("the node's appraisal expired at {expired_at}: it has to attest anew")]
    AppraisalExpired {
        /// When.
        expired_at: UnixMillis,
    },
    /// An appraisal from the future.
    #[error("the appraisal was made at {appraised_at}, in the future")]
    AppraisalInFuture {
        /// When.
        appraised_at: UnixMillis,
    },
    /// Another key for the same run of the enclave.
    #[error("boot {boot} is known with another TEE key")]
    TeeKeyChanged {
        /// The boot.
        boot: BootId,
    },
    /// A TEE or an assurance other than the appraised one, or more than the TEE can vouch for.
    #[error("TEE and assurance are not those that were appraised")]
    AssuranceMismatch,
    /// No appraisal of the node was ever accepted.
    #[error("node {node} has no accepted appraisal")]
    NotAppraised {
        /// The node.
        node: NodeId,
    },
    /// A proof that names other evidence than what counts.
    #[error("the proof rests on evidence {found}; the node's current evidence is {expected}")]
    AttestationMismatch {
        /// What counts.
        expected: EvidenceId,
        /// What the proof names.
        found: EvidenceId,
    },
    /// A proof of another run of the enclave.
    #[error("the proof is of boot {found}; the node's appraised boot is {expected}")]
    BootMismatch {
        /// The appraised one.
        expected: BootId,
        /// The proof's.
        found: BootId,
    },
    /// The node's TEE key did not sign this.
    #[error("the TEE key's signature is invalid")]
    TeeSignatureInvalid,
    /// A proof that another wallet signed than the node's.
    #[error("wallet {wallet} signed the proof, and node {node} is not its own")]
    ProofOfAnotherNode {
        /// The node that the proof names.
        node: NodeId,
        /// The wallet that signed.
        wallet: SuiAddress,
    },
    /// A window that is settled.
    #[error("window {sequence} is already settled")]
    AlreadySettled {
        /// Its number.
        sequence: u64,
    },
    /// A window that does not come next.
    #[error("window {found} cannot be settled: window {expected} comes next")]
    OutOfOrder {
        /// The number that comes next.
        expected: u64,
        /// The window's number.
        found: u64,
    },
    /// A path that does not lead from the window to the signed root.
    #[error("the merkle path does not lead from the window to the merkle root")]
    MerklePathInvalid,
    /// A log that is not the settled one with one window more.
    #[error("the window log before window {sequence} is not the one that was settled")]
    LogForked {
        /// The window's number.
        sequence: u64,
    },
    /// A window that does not end after it starts.
    #[error("the window starts at {start} and ends at {end}")]
    TimeRangeInvalid {
        /// First instant.
        start: UnixMillis,
        /// First instant after it.
        end: UnixMillis,
    },
    /// A window that overlaps one that is settled, or the time before the node was registered.
    #[error("the window starts at {start}; nothing before {settled_until} is settled any more")]
    TimeRangeOverlap {
        /// End of the last settled window.
        settled_until: UnixMillis,
        /// Start of this one.
        start: UnixMillis,
    },
    /// A window that is not over.
    #[error("the window ends at {end}, in the future")]
    TimeRangeInFuture {
        /// Its end.
        end: UnixMillis,
    },
    /// A window that has been over for too long.
    #[error("the window ended at {end}; proofs are settled within {settle_within_millis} ms")]
    TooLate {
        /// Its end.
        end: UnixMillis,
        /// The rule.
        settle_within_millis: u64,
    },
    /// A proof past its expiry.
    #[error("the proof expired at {expired_at}")]
    Expired {
        /// When.
        expired_at: UnixMillis,
    },
    /// Samples that are too far apart.
    #[error(
        "the window has a sample every {interval_millis} ms; the longest interval is {longest_millis} ms"
    )]
    IntervalTooLong {
        /// The window's.
        interval_millis: u64,
        /// The rule.
        longest_millis: u64,
    },
    /// Counts that the window cannot have.
    #[error("the window cannot have {covered} of {slots} slots covered")]
    CoverageInvalid {
        /// Slots that are said to hold a sample.
        covered: u32,
        /// Slots that are said to exist.
        slots: u32,
    },
    /// A proof that is not settled, or that was rewarded before.
    #[error("proof {proof} is not settled, or was rewarded before")]
    NothingToReward {
        /// Digest of its statement.
        proof: Digest32,
    },
    /// A claim that does not come after the wallet's last one.
    #[error("the wallet's last claim had nonce {last}, {found} is not after it")]
    NonceUsed {
        /// The last one's.
        last: u64,
        /// This one's.
        found: u64,
    },
    /// A claim of nothing, or of more than is due.
    #[error("{amount} was claimed and {due} is due")]
    ClaimNotDue {
        /// What was claimed.
        amount: u64,
        /// What the wallet's nodes are owed.
        due: u64,
    },
    /// A number that does not fit.
    #[error("the {what} does not fit into 64 bits")]
    Overflow {
        /// Which.
        what: &'static str,
    },
}

impl LedgerError {
    /// Its name in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::AlreadyStarted => "already_started",
            Self::TimeBackwards { .. } => "time_backwards",
            Self::OtherVerifier { .. } => "other_verifier",
            Self::NodeIdInvalid { .. } => "node_id_invalid",
            Self::AlreadyRegistered { .. } => "already_registered",
            Self::NodeUnknown { .. } => "node_unknown",
            Self::WalletSignatureInvalid { .. } => "wallet_signature_invalid",
            Self::VerifierSignatureInvalid => "verifier_signature_invalid",
            Self::EvidenceReplayed { .. } => "evidence_replayed",
            Self::AppraisalOutOfOrder { .. } => "appraisal_out_of_order",
            Self::AppraisalExpired { .. } => "appraisal_expired",
            Self::AppraisalInFuture { .. } => "appraisal_in_future",
            Self::TeeKeyChanged { .. } => "tee_key_changed",
            Self::AssuranceMismatch => "assurance_mismatch",
            Self::NotAppraised { .. } => "not_appraised",
            Self::AttestationMismatch { .. } => "attestation_mismatch",
            Self::BootMismatch { .. } => "boot_mismatch",
            Self::TeeSignatureInvalid => "tee_signature_invalid",
            Self::ProofOfAnotherNode { .. } => "proof_of_another_node",
            Self::AlreadySettled { .. } => "already_settled",
            Self::OutOfOrder { .. } => "out_of_order",
            Self::MerklePathInvalid => "merkle_path_invalid",
            Self::LogForked { .. } => "log_forked",
            Self::TimeRangeInvalid { .. } => "time_range_invalid",
            Self::TimeRangeOverlap { .. } => "time_range_overlap",
            Self::TimeRangeInFuture { .. } => "time_range_in_future",
            Self::TooLate { .. } => "too_late",
            Self::Expired { .. } => "expired",
            Self::IntervalTooLong { .. } => "interval_too_long",
            Self::CoverageInvalid { .. } => "coverage_invalid",
            Self::NothingToReward { .. } => "nothing_to_reward",
            Self::NonceUsed { .. } => "nonce_used",
            Self::ClaimNotDue { .. } => "claim_not_due",
            Self::Overflow { .. } => "overflow",
        }
    }
}
