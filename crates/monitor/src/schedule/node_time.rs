//! The node's time: wall time that never goes back.

use std::time::Duration;

use nautilus_core::UnixMillis;

use super::clock::ClockReading;
use super::millis;

/// The machine's clock has run ahead if it is ahead by this, in milliseconds. What is below is left to drift.
const AHEAD_MILLIS: u64 = 1000;
/// How far the machine's clock may fall behind the node's time, in milliseconds: half of what a verifier tolerates.
const MAX_BEHIND_MILLIS: u64 = 30 * 1000;

/// Wall time as it was at the start, plus the monotonic time that passed since: the machine's clock may be set back or
/// forth without a sample falling out of its window.
#[derive(Clone, Copy, Debug)]
pub struct NodeTime {
    wall: UnixMillis,
    monotonic: Duration,
}

impl NodeTime {
    /// Node time that is the machine's wall time at `now`.
    pub const fn starting(now: &ClockReading) -> Self {
        Self {
            wall: now.wall,
            monotonic: now.monotonic,
        }
    }

    /// The node's time when `CLOCK_MONOTONIC` says `monotonic`; its start for what is before that.
    pub fn at(&self, monotonic: Duration) -> UnixMillis {
        self.wall.plus(millis(monotonic.saturating_sub(self.monotonic)))
    }

    /// Follows the machine's wall time where that ran ahead, as it does when a machine wakes up. Gives the start of
    /// the window that follows one that ended at `end`: `end` itself, or later.
    pub fn resync(&mut self, now: &ClockReading, end: UnixMillis) -> UnixMillis {
        let ahead = now.wall.since(self.at(now.monotonic));
        if ahead < AHEAD_MILLIS {
            return end;
        }
        self.wall = self.wall.plus(ahead);
        self.at(now.monotonic).max(end)
    }

    /// By how much the machine's clock is behind, in milliseconds, where that is so far that nobody else will take
    /// this node's times any more.
    pub fn set_back(&self, now: &ClockReading) -> Option<u64> {
        let behind = self.at(now.monotonic).since(now.wall);
        (behind > MAX_BEHIND_MILLIS).then_some(behind)
    }

    /// The later of the node's time and the machine's: what this node signed before is not in the future.
    pub fn latest(&self, now: &ClockReading) -> UnixMillis {
        self.at(now.monotonic).max(now.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(monotonic_secs: u64, wall_secs: u64) -> ClockReading {
        let monotonic = Duration::from_secs(monotonic_secs);
        ClockReading {
            monotonic,
            boottime: monotonic,
            wall: UnixMillis::from_secs(wall_secs),
        }
    }

    #[test]
    fn node_time_follows_the_monotonic_clock() {
        let time = NodeTime::starting(&reading(10, 1000));
        assert_eq!(time.at(Duration::from_millis(10_500)), UnixMillis(1_000_500));
        assert_eq!(time.at(Duration::from_secs(5)), UnixMillis(1_000_000));
        assert_eq!(time.latest(&reading(20, 900)), UnixMillis(1_010_000));
        assert_eq!(time.latest(&reading(20, 1100)), UnixMillis(1_100_000));
    }

    #[test]
    fn a_clock_that_is_set_back_is_noticed_and_not_followed() {
        let mut time = NodeTime::starting(&reading(10, 1000));
        assert_eq!(time.set_back(&reading(100, 1060)), None);
        let back = reading(100, 1059);
        assert_eq!(time.set_back(&back), Some(31_000));
        assert_eq!(time.resync(&back, UnixMillis(1_080_000)), UnixMillis(1_080_000));
        assert_eq!(time.at(back.monotonic), UnixMillis(1_090_000));
    }

    #[test]
    fn a_clock_that_runs_ahead_is_followed_at_the_end_of_a_window() {
        let mut time = NodeTime::starting(&reading(10, 1000));
        let drifted = ClockReading {
            wall: UnixMillis(1_010_999),
            ..reading(20, 0)
        };
        assert_eq!(
            time.resync(&drifted, UnixMillis(1_009_000)),
            UnixMillis(1_009_000)
        );
        let awake = reading(30, 8000);
        assert_eq!(time.resync(&awake, UnixMillis(1_020_000)), UnixMillis(8_000_000));
        assert_eq!(time.at(Duration::from_secs(31)), UnixMillis(8_001_000));
        // A window ends after its last sample, even if that is ahead of the clock.
        let mut time = NodeTime::starting(&reading(10, 1000));
        assert_eq!(
            time.resync(&reading(20, 1011), UnixMillis(1_012_000)),
            UnixMillis(1_012_000)
        );
    }
}
