//! Everything that can change a ledger. Each transaction carries its own authority: who submits it is of no
//! account.

use nautilus_core::{
    Assurance, BootId, Digest32, EvidenceId, Kind, NodeId, PolicyId, PublicKey, Signature, SignedMessage,
    SuiAddress, TeeKind, UnixMillis,
};
use nautilus_proof::wallet::WalletSignature;
use nautilus_proof::{ProofSubmission, Registration};
use serde::{Deserialize, Serialize};

/// One change of a ledger. Untrusted until [`crate::State::apply`] accepts it. Logs keep its BCS, so variants
/// and fields are only ever added at the end, and with a new version of the message header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// Starts the ledger: the first transaction, and only the first.
    Genesis(Genesis),
    /// Makes a wallet's node known.
    RegisterNode {
        /// Which node, and whose.
        registration: Registration,
        /// The wallet's signature over it.
        signature: WalletSignature,
    },
    /// Says that a node's evidence was accepted.
    RecordAppraisal {
        /// What was accepted, and until when.
        record: AppraisalRecord,
        /// The verifier's signature over it.
        signature: Signature,
    },
    /// Settles one window.
    SubmitProof {
        /// The statement and the signatures of enclave and wallet over it.
        submission: Box<ProofSubmission>,
    },
    /// Turns a settled window into a reward. Needs no signature: it follows from the rules, and the reward can
    /// go nowhere but to the node's wallet.
    AccrueReward {
        /// Digest of the settled statement.
        proof: Digest32,
    },
    /// Hands rewards out to a wallet.
    Claim {
        /// What the wallet asks for.
        claim: ClaimRequest,
        /// The wallet's signature over it.
        signature: WalletSignature,
    },
}

/// How a ledger starts. Neither part ever changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The key whose appraisals count.
    pub verifier: PublicKey,
    /// What is paid, and when.
    pub rules: Rules,
}

/// What is paid, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Reward for each covered second, in the smallest unit.
    pub reward_per_second: u64,
    /// How long after a window's end its proof may still be settled, in milliseconds.
    pub settle_within_millis: u64,
    /// Longest time between samples, in milliseconds: one sample covers no more than that.
    pub max_interval_millis: u64,
}

impl Default for Rules {
    /// 1,000 units a second, settled within ten minutes, a sample at least every hour.
    fn default() -> Self {
        Self {
            reward_per_second: 1_000,
            settle_within_millis: 10 * 60 * 1000,
            max_interval_millis: 60 * 60 * 1000,
        }
    }
}

/// A verifier's word that it accepted a node's evidence. It counts when the ledger's verifier signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppraisalRecord {
    /// The node.
    pub node: NodeId,
    /// Kind of TEE that the evidence is of.
    pub tee: TeeKind,
    /// What the hardware vouches for.
    pub assurance: Assurance,
    /// Canonical identity of the evidence.
    pub evidence: EvidenceId,
    /// The key that the evidence binds, which signs the node's proofs.
    pub tee_key: PublicKey,
    /// The run of the enclave.
    pub boot: BootId,
    /// The policy that accepted it.
    pub policy: PolicyId,
    /// When it was accepted.
    pub appraised_at: UnixMillis,
    /// From when on it no longer counts.
    pub expires_at: UnixMillis,
}

impl SignedMessage for AppraisalRecord {
    const KIND: Kind = Kind::AppraisalRecord;
}

/// A wallet's request for its rewards. Signed by the wallet as a Sui personal message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// The wallet.
    pub wallet: SuiAddress,
    /// How much, in the smallest unit.
    pub amount: u64,
    /// Higher than in any claim of this wallet before, so that none counts twice.
    pub nonce: u64,
    /// The verifier whose ledger owes it.
    pub verifier: PublicKey,
}

impl SignedMessage for ClaimRequest {
    const KIND: Kind = Kind::Claim;
}
