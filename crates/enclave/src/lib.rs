//! The trusted core of a node: makes the signing key, binds it into evidence, and signs samples and proofs.
//!
//! It signs nothing but messages that it built itself, in strictly increasing sequence. The key is made at
//! start, lives in memory, and is never written: a restart is a new boot with a new key and new evidence.
//! Everything that arrives is the host's and hostile.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod core;
mod protocol;
mod serve;

pub use core::Enclave;
pub use protocol::{
    AttestedEvidence, EnclaveFault, FrameError, Identity, MAX_FRAME, P256Key, Reply, Request, RetiredKey,
    Rollback, Rotated, SignedWindow, StateFacts, Vitals, decode_frame, encode_frame,
};
pub use serve::{ServeError, serve};
