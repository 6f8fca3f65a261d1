//! The node's time, and the machine's.

use std::time::Duration;

use nautilus_core::UnixMillis;
use nautilus_monitor::schedule::{Clock as _, ClockReading, MachineClock, NodeTime};

/// The node's time by this machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeClock(NodeTime);

impl NodeClock {
    /// A clock that starts at the machine's wall time.
    pub(crate) fn start() -> Self {
        Self(NodeTime::starting(&Self::reading()))
    }

    /// Now.
    pub(crate) fn now(&self) -> UnixMillis {
        self.at(Self::reading().monotonic)
    }

    /// The time when `CLOCK_MONOTONIC` says `monotonic`.
    pub(crate) fn at(&self, monotonic: Duration) -> UnixMillis {
        self.0.at(monotonic)
    }

    /// Follows the machine's wall time where that ran ahead, as it does when a machine wakes up. Gives the
    /// start of the window that follows one that ended at `end`: `end` itself, or later.
    pub(crate) fn resync(&mut self, end: UnixMillis) -> UnixMillis {
        self.0.resync(&Self::reading(), end)
    }

    /// By how much the machine's clock was set back since this one started, in milliseconds, where that is so far
    /// that nobody else will take this one's times any more.
    pub(crate) fn set_back(&self) -> Option<u64> {
        self.0.set_back(&Self::reading())
    }

    /// The later of this clock and the machine's: what this node signed before is not in the future.
    pub(crate) fn latest(&self) -> UnixMillis {
        self.0.latest(&Self::reading())
    }

    /// The machine's wall time.
    pub(crate) fn wall() -> UnixMillis {
        nautilus_verifier::now()
    }

    fn reading() -> ClockReading {
        MachineClock.read()
    }
}
