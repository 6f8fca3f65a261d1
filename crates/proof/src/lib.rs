//! Canonical signed messages, sample commitments, the window log, and performance proofs.
//!
//! `Sample ─sign→ SignedBatch ─window→ PerformanceProof ─verify→ VerifiedProof`: the last is the only thing
//! that a ledger's intake takes, and [`PerformanceProof::verify`] is its only constructor. Pure: no I/O, no
//! clock. `docs/wire.md` lists every signed byte.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

pub mod merkle;
pub mod message;
mod performance;
mod sample_chain;
pub mod wallet;

pub use message::{
    AttestationResponse, CollectorKind, EnclaveKey, Gap, GapReason, KeyRotation, MAX_SERIES_NAME,
    Measurement, Metrics, ProofStatement, Reading, Readings, Registration, Sample, SampleBatch, SignedBatch,
    Summary, Window,
};
pub use performance::{
    CHECKS, MAX_PROOF, MAX_SAMPLES, MAX_VALIDITY_MILLIS, PerformanceProof, ProofError, ProofSubmission,
    TimeRange, VerifiedProof,
};
pub use sample_chain::{MAX_BATCH, SampleChain, SampleError, covered_slots, slots};
