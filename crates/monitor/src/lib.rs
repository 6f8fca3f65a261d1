//! Collectors of performance metrics.
//!
//! [`SystemCollector`] turns what Linux writes under `/proc` and `/sys` into one
//! [`Metrics`](nautilus_proof::Metrics). Whoever runs the kernel writes those files: their bytes are
//! hostile, and whether their numbers are true depends on the proof's assurance. `docs/metrics.md` tells
//! where each metric comes from and what an attacker can do to it.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

mod error;
pub mod parse;
mod share;
mod system;

pub use error::CollectError;
pub use system::{MAX_FILE, SystemCollector};
