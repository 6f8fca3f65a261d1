//! What a node measures of itself: collectors, the schedule and panel that ask them, the buffers between sampling,
//! signing and storing, the sealed store, and OpenMetrics.
//!
//! Whoever runs the kernel writes what collectors read: it is hostile, and whether its numbers are true depends on the
//! proof's assurance. `docs/metrics.md` tells where each metric comes from and what an attacker can do to it.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

pub mod aggregate;
mod clock;
mod collector;
pub mod container;
pub mod custom;
pub mod data;
mod decimal;
mod error;
mod kernel_file;
pub mod network;
pub mod openmetrics;
pub mod panel;
pub mod parse;
mod printable;
mod reading;
pub mod schedule;
pub mod security;
mod share;
pub mod store;
mod system;

pub use clock::WallClock;
pub use collector::{Collector, Part};
pub use decimal::{Centi, Decimal, Ratio, Seconds};
pub use error::CollectError;
pub use kernel_file::MAX_FILE;
pub use reading::{Family, MAX_LABEL, MAX_READINGS, MetricKind, Point, readings};
pub use system::SystemCollector;
