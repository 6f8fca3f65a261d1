//! The node's time: wall time that never goes back.

use std::time::{SystemTime, UNIX_EPOCH};

use nautilus_core::UnixMillis;
use tokio::time::Instant;

/// A step of the wall clock below this is left to drift, in milliseconds.
const STEP_MILLIS: u64 = 1000;

/// Wall time as it was when the clock started, plus the time that passed since: the machine's clock may be
/// set back or forth without a sample falling out of its window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeClock {
    wall: UnixMillis,
    instant: Instant,
}

impl NodeClock {
    /// A clock that starts at the machine's wall time.
    pub(crate) fn start() -> Self {
        Self {
            wall: Self::wall(),
            instant: Instant::now(),
        }
    }

    /// When it started.
    pub(crate) const fn started(&self) -> Instant {
        self.instant
    }

    /// Now.
    pub(crate) fn now(&self) -> UnixMillis {
        self.at(Instant::now())
    }

    /// The time at `instant`.
    pub(crate) fn at(&self, instant: Instant) -> UnixMillis {
        let passed = instant.saturating_duration_since(self.instant).as_millis();
        self.wall.plus(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Follows the machine's wall time where that ran ahead, as it does when a machine wakes up. Gives the
    /// start of the window that follows one that ended at `end`: `end` itself, or later.
    pub(crate) fn resync(&mut self, end: UnixMillis) -> UnixMillis {
        let ahead = Self::wall().since(self.now());
        if ahead < STEP_MILLIS {
            return end;
        }
        self.wall = self.wall.plus(ahead);
        self.now()
    }

    /// The machine's wall time.
    pub(crate) fn wall() -> UnixMillis {
        let passed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        UnixMillis(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}
