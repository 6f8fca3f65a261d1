//! The trusted core of a node: makes the signing key, binds it into evidence, and signs samples and proofs.
//!
//! It signs nothing but messages that it built itself, in strictly increasing sequence. The keys are made inside; they
//! leave it only sealed by the TEE, so that the same key signs after a restart. A restart is a new boot all the same:
//! a new boot id, new evidence, and a log that starts anew. Everything that arrives is the host's and hostile.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod address;
mod certificate;
mod core;
pub mod hpke;
mod keys;
mod protocol;
mod sandbox;
mod serve;
mod state;
mod storage;

pub use address::{Address, AddressError};
pub use core::{BootError, Enclave};
pub use keys::KeyError;
pub use protocol::{
    AttestedEvidence, EnclaveFault, Identity, P256Key, Reply, Request, RetiredKey, Rollback, Rotated,
    SignedHead, SignedWindow, StateFacts, StorageKey, StorageKeyOrigin, Vitals,
};
pub use sandbox::{Needs, Sandbox, SandboxError};
pub use serve::{Connection, ServeError};
pub use state::StateError;
