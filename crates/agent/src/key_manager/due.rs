//! Whether it is time for one enclave to replace its keys.

use std::time::Duration;

use nautilus_core::UnixMillis;
use nautilus_enclave::Identity;

use super::RotationSchedule;

/// After a rotation that could not be done, the next is not tried before this.
const RETRY: Duration = Duration::from_secs(60);

/// When the keys of one enclave are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RotationDue {
    schedule: RotationSchedule,
    made_at: UnixMillis,
    not_before: UnixMillis,
}

impl RotationDue {
    /// For the keys of `identity`. An enclave that was never told the time does not know when its keys were made: they
    /// count from `now`.
    pub(crate) fn of(schedule: RotationSchedule, identity: &Identity, now: UnixMillis) -> Self {
        Self {
            schedule,
            made_at: identity.state.keys_made_at.unwrap_or(now),
            not_before: UnixMillis(0),
        }
    }

    /// The keys are those of `identity` now.
    pub(crate) fn start_over(&mut self, identity: &Identity, now: UnixMillis) {
        *self = Self::of(self.schedule, identity, now);
    }

    /// Whether to replace them.
    pub(crate) fn is_now(&self, now: UnixMillis) -> bool {
        now >= self.not_before && self.schedule.is_due(self.made_at, now)
    }

    /// It could not be done: not again at once.
    pub(crate) fn put_off(&mut self, now: UnixMillis) {
        self.not_before = now.plus(u64::try_from(RETRY.as_millis()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_that_could_not_be_done_is_put_off_and_not_forgotten() {
        let mut due = RotationDue {
            schedule: RotationSchedule::every(Duration::from_secs(10)),
            made_at: UnixMillis(1_000),
            not_before: UnixMillis(0),
        };
        assert!(!due.is_now(UnixMillis(10_999)));
        assert!(due.is_now(UnixMillis(11_000)));
        due.put_off(UnixMillis(11_000));
        assert!(!due.is_now(UnixMillis(70_999)));
        assert!(due.is_now(UnixMillis(71_000)));
    }
}
