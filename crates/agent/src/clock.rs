//! The node's time: wall time that never goes back.

use nautilus_core::UnixMillis;
use tokio::time::Instant;

/// A step of the wall clock below this is left to drift, in milliseconds.
const STEP_MILLIS: u64 = 1000;
/// How far the machine's clock may fall behind this one, in milliseconds: half of what a verifier tolerates.
const MAX_BEHIND_MILLIS: u64 = 30 * 1000;

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

    /// By how much the machine's clock was set back since this one started, in milliseconds, where that is so far
    /// that nobody else will take this one's times any more.
    pub(crate) fn set_back(&self) -> Option<u64> {
        let behind = self.now().since(Self::wall());
        (behind > MAX_BEHIND_MILLIS).then_some(behind)
    }

    /// The later of this clock and the machine's: what this node signed before is not in the future.
    pub(crate) fn latest(&self) -> UnixMillis {
        self.now().max(Self::wall())
    }

    /// The machine's wall time.
    pub(crate) fn wall() -> UnixMillis {
        nautilus_verifier::now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started_at(wall: UnixMillis) -> NodeClock {
        NodeClock {
            wall,
            instant: Instant::now(),
        }
    }

    #[test]
    fn a_machines_clock_that_is_set_back_is_noticed() {
        let now = NodeClock::wall();
        assert_eq!(started_at(now).set_back(), None);
        assert_eq!(started_at(now.plus(MAX_BEHIND_MILLIS / 2)).set_back(), None);
        let ahead = now.plus(10 * MAX_BEHIND_MILLIS);
        assert!(started_at(ahead).set_back() > Some(8 * MAX_BEHIND_MILLIS));
        assert!(started_at(ahead).latest() >= ahead);
        assert!(started_at(UnixMillis(0)).latest() >= now);
    }
}
