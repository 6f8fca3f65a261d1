//! The relying party's service: it issues challenges, verifies and appraises evidence, takes proofs in, and settles them
//! on a ledger. Nodes reach it through the attested channel ([`serve`]) and in no other way; over HTTP ([`router`]) it
//! publishes who it is.
//!
//! Nothing that arrives is trusted: evidence is verified by [`nautilus_core::VerifierSet`], proofs by
//! [`nautilus_proof::PerformanceProof::verify`], and the ledger applies its own rules again.

mod answers;
pub mod api;
mod broker;
mod challenges;
mod desk;
mod ear;
mod http;
mod key;
pub mod private_file;
pub mod registry;
mod service;
mod told;
mod wall_clock;

pub use broker::{BrokerError, Encrypt, KeyBroker};
pub use desk::{serve, server};
pub use ear::{key_set, signed_ear};
pub use http::router;
pub use key::{KeyError, VerifierKey};
pub use registry::{Registry, RegistryError};
pub use service::{Refusal, Verifier};
pub use told::told;
pub use wall_clock::now;
