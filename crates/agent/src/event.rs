//! What happens on a node, as the lines of `nautilus up` and the node page show it.

use nautilus_core::{
    AppraisalVerdict, Assurance, BootId, Digest32, EvidenceId, NodeId, PublicKey, Signature, SuiAddress,
    TeeKind, UnixMillis,
};
use nautilus_proof::{KeyRotation, PerformanceProof, Sample};
use serde::Serialize;

pub use crate::enclave_manager::EnclaveStatus;
use crate::enclave_manager::{EnclaveId, EnclaveName};

/// One event: `{"kind": …, "at": …, …}` in JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// Pages and API are served.
    Listening {
        /// Where.
        url: String,
    },
    /// TEEs were looked for.
    Detect {
        /// The TEE that is used.
        chosen: TeeKind,
        /// Why that one.
        reason: String,
        /// Every TEE, how it was judged, and what is missing.
        tees: serde_json::Value,
    },
    /// An enclave changed its state.
    Enclave(EnclaveFacts),
    /// The node's enclave took the secrets that its key broker released.
    Provisioned {
        /// The enclave.
        name: EnclaveName,
        /// Where the broker is.
        broker: String,
        /// What it took; their values are the enclave's alone.
        secrets: Vec<ProvisionedSecret>,
    },
    /// A channel to the verifier, or to the key broker, is open.
    Channel(ChannelFacts),
    /// Boot evidence was made, verified and appraised.
    Boot(Box<BootFacts>),
    /// An enclave replaced its keys, which starts a new boot of it.
    Rotated(Box<RotationFacts>),
    /// A sample was measured, and numbered and chained in the enclave. Its batch is signed later.
    Sample(Box<Sample>),
    /// The enclave signed the samples that came since the last batch.
    Batch {
        /// Number of its first sample.
        first: u64,
        /// How many samples.
        count: u32,
        /// Digest of its last sample.
        head: Digest32,
        /// The signing key's over the batch.
        signature: Signature,
    },
    /// Samples that were signed are kept: they survive a crash from now on.
    Stored {
        /// Number of the first.
        first: u64,
        /// How many.
        count: u32,
    },
    /// A window was proven and the proof verified.
    Proof {
        /// The whole proof.
        proof: Box<PerformanceProof>,
        /// What was checked, in order.
        checks: Vec<Check>,
    },
    /// A proof was settled on the ledger.
    Settled {
        /// The proof.
        proof_id: Digest32,
        /// Number of the window.
        sequence: u64,
        /// Height of the ledger's entry.
        height: u64,
        /// Hash of the ledger's entry.
        entry: Digest32,
    },
    /// A settled proof was rewarded.
    Reward {
        /// The proof.
        proof_id: Digest32,
        /// The node.
        node: NodeId,
        /// The wallet that is rewarded.
        wallet: SuiAddress,
        /// This reward, in the smallest unit.
        amount: u64,
        /// All rewards ever, in the smallest unit.
        accrued: u64,
    },
    /// Something is not as it should be, and the node goes on.
    Warning {
        /// What, and what to do about it.
        detail: String,
    },
    /// The node stopped.
    Stopped {
        /// Why.
        reason: String,
        /// Proofs settled in this run.
        settled: u64,
        /// Rewards of this run, in the smallest unit.
        reward: u64,
    },
}

/// An enclave at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct EnclaveFacts {
    /// Its id, which it keeps when it is booted again.
    pub id: EnclaveId,
    /// Its name.
    pub name: EnclaveName,
    /// The TEE it runs in.
    pub tee_type: TeeKind,
    /// Its state.
    pub status: EnclaveStatus,
    /// Its process.
    pub pid: u32,
    /// Its program.
    pub image: String,
    /// SHA-256 of its program: what the policy pins.
    pub image_hash: Digest32,
    /// This run; none before it is initialized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<BootId>,
    /// Its signing key; none before it is initialized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tee_key: Option<PublicKey>,
    /// Why it is in this state, where that is not the usual course.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A channel that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelFacts {
    /// What is at the other end: `verifier`, `key broker`.
    pub peer: String,
    /// Where it is.
    pub address: String,
    /// The key with which it signed the session: the one that was expected.
    pub peer_key: PublicKey,
    /// The session's public name, the same at both ends.
    pub channel_id: String,
    /// When the session ends at the latest; another takes its place before.
    pub expires_at: UnixMillis,
    /// How the session's keys were exchanged.
    pub group: &'static str,
}

/// A secret that an enclave took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProvisionedSecret {
    /// What it is called.
    pub name: String,
    /// SHA-256 of what was sealed, as the enclave says: its sender can tell that it arrived, and nobody what it is.
    pub sealed: Digest32,
}

/// Keys that were replaced, and that the old signing key says so.
#[derive(Clone, Debug, Serialize)]
pub struct RotationFacts {
    /// The enclave.
    pub name: EnclaveName,
    /// What the old key signed: itself, its successor, the new boot, and when.
    pub rotation: KeyRotation,
    /// The old key's signature over it.
    pub signature: Signature,
}

/// A boot attestation and its verdict.
#[derive(Clone, Debug, Serialize)]
pub struct BootFacts {
    /// The node.
    pub node_id: NodeId,
    /// The node's wallet.
    pub wallet: SuiAddress,
    /// Whether the policy accepted.
    pub verdict: AppraisalVerdict,
    /// What the hardware vouches for.
    pub assurance: Assurance,
    /// Canonical identity of the evidence.
    pub evidence_id: EvidenceId,
    /// Where the evidence file was kept.
    pub evidence_file: String,
    /// Policy, findings and claims.
    pub appraisal: serde_json::Value,
}

/// One check and how it went.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was checked.
    pub check: String,
    /// Whether it holds.
    pub passed: bool,
}

/// Takes events as they happen.
pub type EventSink = std::sync::Arc<dyn Fn(Event) + Send + Sync>;
