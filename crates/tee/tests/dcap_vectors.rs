//! Real quotes of SGX and TDX, real collateral, and what becomes of them when a byte changes.
//!
//! The labels beside the quotes say what `dcap-qvl` makes of them by itself.

#![cfg(feature = "verify")]

#[cfg(test)]
#[path = "dcap_vectors/corpus.rs"]
mod corpus;
#[cfg(test)]
#[path = "dcap_vectors/guards.rs"]
mod guards;
#[cfg(test)]
#[path = "dcap_vectors/labels.rs"]
mod labels;
#[cfg(test)]
#[path = "dcap_vectors/mutations.rs"]
mod mutations;
#[cfg(test)]
#[path = "dcap_vectors/unlabelled.rs"]
mod unlabelled;
#[cfg(test)]
#[path = "dcap_vectors/warm.rs"]
mod warm;
