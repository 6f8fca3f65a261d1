//! Time that passes, so that tests need not wait for it.

use std::time::{Duration, Instant};

/// Time that passes, and chance.
pub trait Timer: Send + Sync {
    /// Time since some moment that stays the same; it never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, duration: Duration);

    /// A duration from zero to `up_to`, so that many who wait do not come back together.
    fn jitter(&self, up_to: Duration) -> Duration;
}

/// The machine's.
#[derive(Clone, Copy, Debug)]
pub struct SystemTimer(Instant);

impl Default for SystemTimer {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Timer for SystemTimer {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn jitter(&self, up_to: Duration) -> Duration {
        let most = u64::try_from(up_to.as_millis()).unwrap_or(u64::MAX);
        // Without chance everybody waits the longest, which is safe.
        let chance = getrandom::u64().unwrap_or(most);
        Duration::from_millis(chance.checked_rem(most.saturating_add(1)).unwrap_or(0))
    }
}
