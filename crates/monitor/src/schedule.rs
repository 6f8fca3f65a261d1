//! When to measure: ticks at a fixed phase of the monotonic clock, and what happened to the machine's clocks between
//! them.

mod clock;
mod node_time;

use std::time::Duration;

use tokio::time::sleep;

pub use self::clock::{Clock, ClockReading, MachineClock};
pub use self::node_time::NodeTime;

/// A step of the wall clock, or a suspend, is told from this length on, in milliseconds. Shorter ones add up until
/// they reach it, so that many small ones do not go unseen.
///
/// The kernel slews all its clocks alike, so that only steps pull wall time and boot time apart: this is above what
/// lies between the readings of two clocks on a busy machine, and below the one second of a leap second.
pub const CLOCK_THRESHOLD_MILLIS: u64 = 500;
/// Ticks cannot be closer than this: each has a millisecond of its own.
pub const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// Why there is no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Ticks too close to each other.
    #[error("an interval of {0:?} between samples is too short: it is at least {MIN_INTERVAL:?}")]
    IntervalTooShort(Duration),
}

/// It is time to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it was due: `start + index * interval` on `CLOCK_MONOTONIC`, however late it was noticed.
    pub due: Duration,
    /// 1, 2, 3, … from the schedule's start; with holes where ticks were missed.
    pub index: u64,
    /// Ticks since the one before at which nothing was measured.
    pub missed: u32,
    /// `CLOCK_MONOTONIC` as the tick was noticed, in milliseconds; above that of the tick before.
    pub monotonic_millis: u64,
    /// By how much the wall clock was stepped since the tick before, in milliseconds; negative if it was set back. 0
    /// below [`CLOCK_THRESHOLD_MILLIS`]. A leap second is a step of -1000.
    pub clock_step_millis: i64,
    /// For how long the machine was suspended since the tick before, in milliseconds. 0 below
    /// [`CLOCK_THRESHOLD_MILLIS`].
    pub suspended_millis: u64,
}

/// Ticks as they come in time.
///
/// Time does not pass for a schedule while the machine is suspended: neither `CLOCK_MONOTONIC` nor the runtime's
/// timers count it. After the machine wakes up, the next tick comes when the rest of the interval has passed, tells
/// how long the suspend was, and no tick counts as missed for it.
#[derive(Debug)]
pub struct Schedule<C = MachineClock> {
    clock: C,
    ticks: Ticks,
}

impl<C: Clock> Schedule<C> {
    /// A schedule that starts now: its first tick is due in one interval.
    ///
    /// # Errors
    /// If the interval is below [`MIN_INTERVAL`].
    pub fn starting(interval: Duration, clock: C) -> Result<Self, ScheduleError> {
        let ticks = Ticks::starting(interval, &clock.read())?;
        Ok(Self { clock, ticks })
    }

    /// When it started, on `CLOCK_MONOTONIC`.
    pub const fn start(&self) -> Duration {
        self.ticks.start
    }

    /// What the clocks say now.
    pub fn now(&self) -> ClockReading {
        self.clock.read()
    }

    /// Waits for the next tick. If several have passed, only the newest is given, at once, and the others are counted
    /// in it. Cancel-safe: a tick that is not taken is the next one, or is counted as missed.
    ///
    /// Needs tokio's timer.
    pub async fn next(&mut self) -> Tick {
        loop {
            let now = self.clock.read();
            if let Some(tick) = self.ticks.advance(&now) {
                return tick;
            }
            sleep(self.ticks.due().saturating_sub(now.monotonic)).await;
        }
    }

    /// No sample came of `tick`: it is one more that was missed, and what it told is told again with the next.
    pub const fn unmeasured(&mut self, tick: &Tick) {
        self.ticks.unmeasured(tick);
    }
}

/// What a [`Schedule`] decides by, without waiting: for who has a time of their own, such as a simulation.
#[derive(Clone, Debug)]
pub struct Ticks {
    start: Duration,
    interval: Duration,
    /// Index of the newest tick that was given.
    last: u64,
    last_millis: u64,
    /// Wall time minus boot time, in milliseconds, as it was when a step was last told.
    wall_offset: i64,
    /// Boot time minus monotonic time, in milliseconds, as it was when a suspend was last told.
    suspend_offset: u64,
    owed: Owed,
}

/// What ticks told of which no sample came.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    missed: u32,
    clock_step_millis: i64,
    suspended_millis: u64,
}

impl Ticks {
    /// Ticks from `now` on.
    ///
    /// # Errors
    /// If the interval is below [`MIN_INTERVAL`].
    pub fn starting(interval: Duration, now: &ClockReading) -> Result<Self, ScheduleError> {
        if interval < MIN_INTERVAL {
            return Err(ScheduleError::IntervalTooShort(interval));
        }
        Ok(Self {
            start: now.monotonic,
            interval,
            last: 0,
            last_millis: millis(now.monotonic),
            wall_offset: wall_offset(now),
            suspend_offset: suspend_offset(now),
            owed: Owed::default(),
        })
    }

    /// When the next tick is due, on `CLOCK_MONOTONIC`.
    pub fn due(&self) -> Duration {
        self.due_of(self.last.saturating_add(1))
    }

    /// The newest tick that is due at `now` and was not given yet; none if there is none.
    pub fn advance(&mut self, now: &ClockReading) -> Option<Tick> {
        let passed = now.monotonic.saturating_sub(self.start).as_nanos();
        let index = passed.checked_div(self.interval.as_nanos())?;
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        let missed = index.checked_sub(self.last)?.checked_sub(1)?;
        self.last = index;
        // Two ticks may lie within the same millisecond, if the first was late by all but its end.
        self.last_millis = millis(now.monotonic).max(self.last_millis.saturating_add(1));
        let owed = std::mem::take(&mut self.owed);
        Some(Tick {
            due: self.due_of(index),
            index,
            missed: u32::try_from(missed)
                .unwrap_or(u32::MAX)
                .saturating_add(owed.missed),
            monotonic_millis: self.last_millis,
            clock_step_millis: self.clock_step(now).saturating_add(owed.clock_step_millis),
            suspended_millis: self.suspended(now).saturating_add(owed.suspended_millis),
        })
    }

    /// No sample came of `tick`: it is one more that was missed, and what it told is told again with the next.
    pub const fn unmeasured(&mut self, tick: &Tick) {
        let Owed {
            missed,
            clock_step_millis,
            suspended_millis,
        } = &mut self.owed;
        *missed = missed.saturating_add(tick.missed).saturating_add(1);
        *clock_step_millis = clock_step_millis.saturating_add(tick.clock_step_millis);
        *suspended_millis = suspended_millis.saturating_add(tick.suspended_millis);
    }

    fn due_of(&self, index: u64) -> Duration {
        let nanos = self.interval.as_nanos().saturating_mul(index.into());
        let since_start = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.start.saturating_add(since_start)
    }

    fn clock_step(&mut self, now: &ClockReading) -> i64 {
        let offset = wall_offset(now);
        let step = offset.saturating_sub(self.wall_offset);
        if step.unsigned_abs() < CLOCK_THRESHOLD_MILLIS {
            return 0;
        }
        self.wall_offset = offset;
        step
    }

    fn suspended(&mut self, now: &ClockReading) -> u64 {
        let offset = suspend_offset(now);
        let suspended = offset.saturating_sub(self.suspend_offset);
        if suspended < CLOCK_THRESHOLD_MILLIS {
            return 0;
        }
        self.suspend_offset = offset;
        suspended
    }
}

/// Boot time counts suspends as wall time does, so that only steps change what lies between them.
fn wall_offset(reading: &ClockReading) -> i64 {
    let signed = |millis| i64::try_from(millis).unwrap_or(i64::MAX);
    signed(reading.wall.0).saturating_sub(signed(millis(reading.boottime)))
}

fn suspend_offset(reading: &ClockReading) -> u64 {
    millis(reading.boottime.saturating_sub(reading.monotonic))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
