//! The performance proof: the specification's JSON (§4.A `PerformanceProof`), and its verification.

use nautilus_core::{
    Assurance, BootId, Digest32, EvidenceId, NodeId, PublicKey, Signature, SignedMessage, SuiAddress,
    TeeKind, UnixMillis,
};
use serde::{Deserialize, Serialize};

use crate::merkle;
use crate::message::{ProofStatement, Sample, SignedBatch, Summary, Window};
use crate::sample_chain::{SampleChain, SampleError, covered_slots, slots};
use crate::wallet::WalletSignature;

/// Largest proof that is read, in bytes of JSON: [`MAX_SAMPLES`], each in a batch of its own and with all gaps and
/// every number as long as it gets, have 1,484 bytes each and a comma.
pub const MAX_PROOF: usize = 16 * 1024 * 1024;
/// Most samples in one window, and so in one proof: the bound of `proof_batch_size`.
pub const MAX_SAMPLES: u32 = 10_000;
/// Longest time from a proof's issue to its expiry: the specification's 24 hours.
pub const MAX_VALIDITY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// How far ahead of ours the clock of a proof's maker may be, in milliseconds.
const MAX_SKEW_MILLIS: u64 = 60 * 1000;

/// What [`PerformanceProof::verify`] checks, in its order.
pub const CHECKS: [&str; 9] = [
    "time range",
    "expiry",
    "samples",
    "metrics hash",
    "summary",
    "merkle path",
    "proof id",
    "tee signature",
    "wallet signature",
];

/// The time that a proof speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeRange {
    /// First instant.
    pub start: UnixMillis,
    /// First instant after it.
    pub end: UnixMillis,
    /// Whole seconds from start to end.
    pub duration: u64,
}

impl TimeRange {
    /// The range from `start` to `end`.
    pub const fn new(start: UnixMillis, end: UnixMillis) -> Self {
        Self {
            start,
            end,
            duration: end.since(start) / 1000,
        }
    }
}

/// A performance proof as it travels: the specification's fields, and those that make it checkable alone.
/// Untrusted until [`Self::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerformanceProof {
    /// Digest of the statement that is signed.
    pub proof_id: Digest32,
    /// The node.
    pub node_id: NodeId,
    /// Kind of TEE that signed.
    pub tee_type: TeeKind,
    /// What that TEE can vouch for at most. A proof never raises it.
    pub assurance: Assurance,
    /// The run of the enclave.
    pub boot_id: BootId,
    /// Number of the window within the boot, and index of its leaf.
    pub sequence: u64,
    /// The time spoken for.
    pub time_range: TimeRange,
    /// Time between samples, in milliseconds.
    pub interval_millis: u64,
    /// Samples that the window should hold.
    pub slots: u32,
    /// Slots in which there is one.
    pub covered: u32,
    /// RFC 9162 tree head over the samples.
    pub metrics_hash: Digest32,
    /// The evidence that speaks for the key.
    pub attestation_hash: EvidenceId,
    /// Head of the boot's window log, with this window as its last leaf.
    pub merkle_root: Digest32,
    /// Inclusion path of that leaf, lowest sibling first; it also proves the head before.
    pub merkle_proof: Vec<Digest32>,
    /// What the samples amount to.
    pub summary: Summary,
    /// The wallet that is rewarded.
    pub wallet: SuiAddress,
    /// The TEE key's signature over the statement.
    pub tee_signature: Signature,
    /// The wallet's signature over the statement, as a Sui personal message.
    pub seal_signature: WalletSignature,
    /// When the enclave signed.
    pub timestamp: UnixMillis,
    /// From when on the proof is not accepted any more.
    pub expires_at: UnixMillis,
    /// The TEE key.
    pub verification_key: PublicKey,
    /// The window's samples, in the batches in which they were signed.
    pub batches: Vec<SignedBatch>,
}

/// Why a proof is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Too large to be read.
    #[error("proof has {size} bytes, more than the {MAX_PROOF} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not JSON, or not of the right shape.
    #[error("not a performance proof: {0}")]
    Json(serde_json::Error),
    /// More samples than a proof may hold.
    #[error("proof has {count} samples, more than the {MAX_SAMPLES} allowed")]
    TooManySamples {
        /// How many.
        count: usize,
    },
    /// A time range that is empty, contradicts itself, or lies in the future.
    #[error("time range is invalid: {what}")]
    TimeRangeInvalid {
        /// What is wrong.
        what: &'static str,
    },
    /// Past its expiry.
    #[error("proof expired at {expired_at}")]
    Expired {
        /// When.
        expired_at: UnixMillis,
    },
    /// One of its samples is not acceptable.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The samples do not have the metrics hash.
    #[error("samples do not have the proof's metrics hash")]
    MetricsHashMismatch,
    /// The samples do not amount to what the proof says.
    #[error("samples do not amount to the proof's summary")]
    SummaryMismatch,
    /// The path does not lead from the window to the root.
    #[error("merkle path does not lead from the window to the merkle root")]
    MerklePathInvalid,
    /// The id is not the statement's digest.
    #[error("proof id is not the digest of what is signed")]
    ProofIdMismatch,
    /// The TEE key did not sign this.
    #[error("TEE signature is invalid")]
    TeeSignatureInvalid,
    /// The wallet did not sign this.
    #[error("wallet signature is invalid")]
    WalletSignatureInvalid,
}

impl ProofError {
    /// Its name in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Json(_) => "not_a_proof",
            Self::TooManySamples { .. } => "too_many_samples",
            Self::TimeRangeInvalid { .. } => "time_range_invalid",
            Self::Expired { .. } => "expired",
            Self::Sample(SampleError::SignatureInvalid { .. }) => "sample_signature_invalid",
            Self::Sample(SampleError::ChainBroken { .. }) => "sample_chain_broken",
            Self::Sample(SampleError::OutOfTime { .. }) => "sample_out_of_time",
            Self::Sample(SampleError::OutOfRange { .. }) => "sample_out_of_range",
            Self::Sample(SampleError::Foreign { .. }) => "sample_foreign",
            Self::Sample(SampleError::GapsUnordered { .. }) => "sample_gaps_unordered",
            Self::Sample(SampleError::BatchSize { .. }) => "sample_batch_size",
            Self::Sample(SampleError::BatchOpen { .. }) => "sample_batch_open",
            Self::MetricsHashMismatch => "metrics_hash_mismatch",
            Self::SummaryMismatch => "summary_mismatch",
            Self::MerklePathInvalid => "merkle_path_invalid",
            Self::ProofIdMismatch => "proof_id_mismatch",
            Self::TeeSignatureInvalid => "tee_signature_invalid",
            Self::WalletSignatureInvalid => "wallet_signature_invalid",
        }
    }
}

/// What a ledger keeps of a proof: the statement and its signatures, without the samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofSubmission {
    /// What is signed.
    pub statement: ProofStatement,
    /// Inclusion path of the window.
    pub merkle_proof: Vec<Digest32>,
    /// The TEE key's signature.
    pub tee_signature: Signature,
    /// The wallet's signature.
    pub wallet_signature: WalletSignature,
}

/// A proof that is consistent in itself and signed by the keys it names. Whether those keys are a genuine
/// node's is the ledger's to know. The only constructor is [`PerformanceProof::verify`].
///
/// ```compile_fail,E0451
/// fn forge(
///     submission: nautilus_proof::ProofSubmission,
///     verification_key: nautilus_core::PublicKey,
/// ) -> nautilus_proof::VerifiedProof {
///     nautilus_proof::VerifiedProof { submission, verification_key }
/// }
/// ```
/// ```compile_fail,E0277
/// let read: nautilus_proof::VerifiedProof = serde_json::from_str("{}").unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedProof {
    submission: ProofSubmission,
    verification_key: PublicKey,
}

impl VerifiedProof {
    /// What a ledger needs of it.
    pub const fn submission(&self) -> &ProofSubmission {
        &self.submission
    }

    /// The key that signed as the TEE's.
    pub const fn verification_key(&self) -> PublicKey {
        self.verification_key
    }

    /// Takes the submission out.
    pub fn into_submission(self) -> ProofSubmission {
        self.submission
    }
}

impl PerformanceProof {
    /// Reads a proof's JSON. Nothing in the result has been verified.
    ///
    /// # Errors
    /// If it is too large or of another shape.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > MAX_PROOF {
            return Err(ProofError::TooLarge { size: bytes.len() });
        }
        serde_json::from_slice(bytes).map_err(ProofError::Json)
    }

    /// Puts a proof together from what the enclave signed and the wallet's signature.
    pub fn assemble(
        statement: ProofStatement,
        merkle_proof: Vec<Digest32>,
        tee_key: PublicKey,
        tee_signature: Signature,
        seal_signature: WalletSignature,
        batches: Vec<SignedBatch>,
    ) -> Self {
        let window = statement.window.clone();
        Self {
            proof_id: statement.digest(),
            node_id: window.node,
            tee_type: window.tee,
            assurance: window.assurance,
            boot_id: window.boot,
            sequence: window.sequence,
            time_range: TimeRange::new(window.start, window.end),
            interval_millis: window.interval_millis,
            slots: window.slots,
            covered: window.covered,
            metrics_hash: window.metrics_hash,
            attestation_hash: window.attestation_hash,
            merkle_root: statement.merkle_root,
            merkle_proof,
            summary: window.summary,
            wallet: seal_signature.address(),
            tee_signature,
            seal_signature,
            timestamp: statement.issued_at,
            expires_at: statement.expires_at,
            verification_key: tee_key,
            batches,
        }
    }

    /// The window's samples, in order.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.batches.iter().flat_map(|batch| &batch.samples)
    }

    /// What the proof's signatures are over.
    ///
    /// # Errors
    /// If it has more samples than can be counted.
    pub fn statement(&self) -> Result<ProofStatement, ProofError> {
        let count = self.samples().count();
        let samples = u32::try_from(count)
            .ok()
            .filter(|samples| *samples <= MAX_SAMPLES)
            .ok_or(ProofError::TooManySamples { count })?;
        Ok(ProofStatement {
            window: Window {
                node: self.node_id,
                tee: self.tee_type,
                assurance: self.assurance,
                boot: self.boot_id,
                sequence: self.sequence,
                start: self.time_range.start,
                end: self.time_range.end,
                interval_millis: self.interval_millis,
                slots: self.slots,
                covered: self.covered,
                samples,
                metrics_hash: self.metrics_hash,
                attestation_hash: self.attestation_hash,
                summary: self.summary.clone(),
            },
            merkle_root: self.merkle_root,
            issued_at: self.timestamp,
            expires_at: self.expires_at,
        })
    }

    /// Checks the whole proof at `now`: see [`CHECKS`].
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, now: UnixMillis) -> Result<VerifiedProof, ProofError> {
        let statement = self.statement()?;
        self.check_time_range(now)?;
        self.check_expiry(now)?;
        self.check_samples()?;
        let leaf = merkle::leaf_hash(&statement.window.to_bytes());
        if merkle::root_after(self.sequence, leaf, &self.merkle_proof) != Some(self.merkle_root) {
            return Err(ProofError::MerklePathInvalid);
        }
        if statement.digest() != self.proof_id {
            return Err(ProofError::ProofIdMismatch);
        }
        if !statement.is_signed_by(&self.verification_key, &self.tee_signature) {
            return Err(ProofError::TeeSignatureInvalid);
        }
        if !self.seal_signature.is_of(self.wallet, &statement) {
            return Err(ProofError::WalletSignatureInvalid);
        }
        Ok(VerifiedProof {
            submission: ProofSubmission {
                statement,
                merkle_proof: self.merkle_proof.clone(),
                tee_signature: self.tee_signature,
                wallet_signature: self.seal_signature,
            },
            verification_key: self.verification_key,
        })
    }

    fn check_time_range(&self, now: UnixMillis) -> Result<(), ProofError> {
        let invalid = |what| Err(ProofError::TimeRangeInvalid { what });
        let TimeRange { start, end, .. } = self.time_range;
        if start >= end {
            return invalid("it does not end after it starts");
        }
        if self.time_range != TimeRange::new(start, end) {
            return invalid("its duration is not from start to end");
        }
        if slots(end.since(start), self.interval_millis) != Some(self.slots) {
            return invalid("it does not hold the stated number of slots");
        }
        if end > now.plus(MAX_SKEW_MILLIS) {
            return invalid("it ends in the future");
        }
        Ok(())
    }

    fn check_expiry(&self, now: UnixMillis) -> Result<(), ProofError> {
        if now >= self.expires_at {
            return Err(ProofError::Expired {
                expired_at: self.expires_at,
            });
        }
        if self.timestamp > now.plus(MAX_SKEW_MILLIS) {
            return Err(ProofError::TimeRangeInvalid {
                what: "it was signed in the future",
            });
        }
        if self.expires_at.since(self.timestamp) > MAX_VALIDITY_MILLIS {
            return Err(ProofError::TimeRangeInvalid {
                what: "it expires more than 24 hours after it was signed",
            });
        }
        Ok(())
    }

    fn check_samples(&self) -> Result<(), ProofError> {
        let TimeRange { start, end, .. } = self.time_range;
        let mut chain = SampleChain::piece(self.node_id, self.boot_id);
        for signed in &self.batches {
            chain.push_signed(signed, &self.verification_key)?;
            for sample in &signed.samples {
                let at = sample.measurement.at;
                if at < start || at >= end {
                    return Err(SampleError::OutOfTime {
                        sequence: sample.sequence,
                        at,
                    }
                    .into());
                }
            }
        }
        if chain.metrics_hash() != self.metrics_hash {
            return Err(ProofError::MetricsHashMismatch);
        }
        let covered = covered_slots(start, end, self.interval_millis, chain.times());
        if chain.summary() != self.summary || covered != Some(self.covered) {
            return Err(ProofError::SummaryMismatch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
