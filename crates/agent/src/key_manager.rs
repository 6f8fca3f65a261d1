//! The keys of a node: when the enclave's are replaced, which secrets it is given, and what signs where there is no
//! TEE.
//!
//! The enclave's own keys never come here: it makes, keeps and replaces them, and is told when.

mod due;
mod provision;
mod seal;

use std::time::Duration;

use nautilus_core::UnixMillis;

pub(crate) use due::RotationDue;
pub use provision::{ProvisionError, provision};
pub use seal::{SealSample, SealSigner};

/// How long an enclave signs with the same keys, unless somebody says otherwise.
pub const DEFAULT_ROTATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Limits of how often it is looked whether keys are due.
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// When the enclave's keys are due to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationSchedule {
    every: Duration,
}

impl RotationSchedule {
    /// Keys are replaced when they have been in use for this long.
    pub const fn every(every: Duration) -> Self {
        Self { every }
    }

    /// Whether keys made at `made_at` are due at `now`. Times are the host's, who can only hasten or delay it: old keys
    /// stay what their evidence says they are.
    pub fn is_due(&self, made_at: UnixMillis, now: UnixMillis) -> bool {
        Duration::from_millis(now.since(made_at)) >= self.every
    }

    /// How often to look whether keys are due.
    pub(crate) fn look(&self) -> Duration {
        self.every.clamp(SHORTEST_LOOK, LONGEST_LOOK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_due_when_their_time_is_over_and_not_before() {
        let schedule = RotationSchedule::every(Duration::from_secs(10));
        let made_at = UnixMillis(1_000);
        let due = [0, 1_000, 10_999, 11_000, u64::MAX].map(|now| schedule.is_due(made_at, UnixMillis(now)));
        assert_eq!(due, [false, false, false, true, true]);
    }
}
