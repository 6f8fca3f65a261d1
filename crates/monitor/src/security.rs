//! What is known of the node's trustworthiness, derived from what happened on it.
//!
//! Nothing is measured here: the agent tells a [`SecurityLog`] what happens, and each value follows from the facts, the
//! events and the time by a rule in `rules`, which `docs/metrics.md` has in words.

mod facts;
mod log;
mod rules;

use std::sync::Arc;

use nautilus_proof::CollectorKind;

pub use self::facts::{AttestationFacts, Attested, EnclaveFacts, FactsError, ImageCheck, TcbStanding};
pub use self::log::{EVENT_SPAN_MILLIS, MAX_EVENT_DETAIL, MAX_EVENTS, SecurityLog, Signing};
pub use self::rules::MAX_HEARTBEAT_AGE_MILLIS;
use crate::collector::{Collector, Part};
use crate::error::CollectError;

/// Reads a [`SecurityLog`].
#[derive(Debug)]
pub struct SecurityCollector {
    log: Arc<SecurityLog>,
}

impl SecurityCollector {
    /// A collector of what `log` is told.
    pub const fn new(log: Arc<SecurityLog>) -> Self {
        Self { log }
    }
}

impl Collector for SecurityCollector {
    fn kind(&self) -> CollectorKind {
        CollectorKind::Security
    }

    fn collect(&mut self) -> Result<Part, CollectError> {
        Ok(Part::Security(Box::new(self.log.metrics())))
    }
}

#[cfg(test)]
mod tests;
