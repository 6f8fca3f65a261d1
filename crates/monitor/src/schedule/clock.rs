//! The machine's clocks.

use std::time::Duration;

use nautilus_core::UnixMillis;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Readings are taken again if more than this lies between the first clock and the last: the thread lost the CPU
/// meanwhile, and the difference would look like a step.
const MAX_SPREAD: Duration = Duration::from_millis(1);
/// How often they are taken at most. Of them the closest counts.
const MAX_ATTEMPTS: u32 = 5;

/// What the machine's clocks say at one moment. Whoever runs the kernel sets them: what they say is as true as the
/// kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// `CLOCK_MONOTONIC`: never goes back, stands still while the machine is suspended.
    pub monotonic: Duration,
    /// `CLOCK_BOOTTIME`: the same, but goes on while the machine is suspended.
    pub boottime: Duration,
    /// `CLOCK_REALTIME`: may be set to anything at any time. 0 if it is before 1970.
    pub wall: UnixMillis,
}

/// Reads the machine's clocks.
pub trait Clock {
    /// What they say now.
    fn read(&self) -> ClockReading;
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineClock;

impl Clock for MachineClock {
    fn read(&self) -> ClockReading {
        let (mut reading, mut spread) = read_once();
        for _ in 1..MAX_ATTEMPTS {
            if spread <= MAX_SPREAD {
                break;
            }
            let again = read_once();
            if again.1 < spread {
                (reading, spread) = again;
            }
        }
        reading
    }
}

/// One reading, and the time that it took.
fn read_once() -> (ClockReading, Duration) {
    let monotonic = time_of(ClockId::Monotonic);
    let boottime = time_of(ClockId::Boottime);
    let wall = time_of(ClockId::Realtime).as_millis();
    let spread = time_of(ClockId::Monotonic).saturating_sub(monotonic);
    let wall = UnixMillis(u64::try_from(wall).unwrap_or(u64::MAX));
    let reading = ClockReading {
        monotonic,
        boottime,
        wall,
    };
    (reading, spread)
}

fn time_of(clock: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    // Only wall time can be negative, and then there is no later time than its beginning.
    match (u64::try_from(tv_sec), u32::try_from(tv_nsec)) {
        (Ok(seconds), Ok(nanos)) => {
            Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()))
        }
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_machines_clocks_are_in_order() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let one = MachineClock.read();
        let other = MachineClock.read();
        assert!(one.monotonic > Duration::ZERO);
        assert!(one.monotonic <= other.monotonic);
        assert!(one.boottime >= one.monotonic);
        // Whoever sets the machine's clock during this test may make it fail, by an hour.
        assert!(u128::from(one.wall.0) + 3_600_000 >= before.as_millis());
        assert!(u128::from(one.wall.0) <= before.as_millis() + 3_600_000);
    }
}
