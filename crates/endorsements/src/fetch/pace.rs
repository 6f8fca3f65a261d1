//! Never faster than a service allows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nautilus_core::UnixMillis;

use super::timer::Timer;

/// The first pause after a service said that it has enough.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause that is not the service's own wish.
const LONGEST: Duration = Duration::from_secs(30);
/// By how much a service's own wish is exceeded at most, so that many who wait do not come back together.
const SPREAD: Duration = Duration::from_secs(1);
/// Longest wait that a service may ask for; more is no wait but a refusal.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// When each service may be asked next.
#[derive(Default)]
pub(super) struct Pace {
    next: Mutex<HashMap<String, Duration>>,
}

impl Pace {
    /// Waits for a turn in `lane`, which has one every `interval`, and for the end of the host's hold. Gives the
    /// time until then if that is later than `latest`.
    pub(super) fn wait(
        &self,
        lane: &str,
        host: &str,
        interval: Duration,
        latest: Duration,
        timer: &dyn Timer,
        mut tell: impl FnMut(Duration),
    ) -> Result<(), Duration> {
        let mut turn = None;
        loop {
            let now = timer.elapsed();
            let at = {
                let mut next = self.locked();
                let held = next.get(&hold_of(host)).copied().unwrap_or_default();
                let at = match turn {
                    Some(turn) => held.max(turn),
                    None => held.max(next.get(lane).copied().unwrap_or_default()).max(now),
                };
                if at > latest {
                    return Err(at.saturating_sub(now));
                }
                if turn.is_none() {
                    next.insert(lane.to_owned(), at.saturating_add(interval));
                    turn = Some(at);
                }
                at
            };
            let wait = at.saturating_sub(now);
            if wait.is_zero() {
                return Ok(());
            }
            tell(wait);
            timer.sleep(wait);
        }
    }

    /// Nobody asks the host before `until`.
    pub(super) fn hold(&self, host: &str, until: Duration) {
        let mut next = self.locked();
        let held = next.entry(hold_of(host)).or_default();
        *held = until.max(*held);
    }

    /// Until when nobody asks the host.
    pub(super) fn held(&self, host: &str) -> Duration {
        self.locked().get(&hold_of(host)).copied().unwrap_or_default()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Duration>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A space is in no host's name.
fn hold_of(host: &str) -> String {
    format!("{host} hold")
}

/// Pauses that double, where the service does not say itself how long.
#[derive(Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The pause before the next attempt. `retry_after` is the header's text: seconds, or a date to be held against
    /// `now` (RFC 9110, section 10.2.3).
    pub(super) fn pause(
        &mut self,
        retry_after: Option<&str>,
        now: UnixMillis,
        timer: &dyn Timer,
    ) -> Duration {
        let doubled = FIRST
            .saturating_mul(2_u32.saturating_pow(self.attempts))
            .min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        match retry_after.and_then(|text| wish(text, now)) {
            Some(wish) => wish.min(MAX_RETRY_AFTER).saturating_add(timer.jitter(SPREAD)),
            None => {
                let half = doubled.checked_div(2).unwrap_or(doubled);
                half.saturating_add(timer.jitter(half))
            }
        }
    }
}

fn wish(text: &str, now: UnixMillis) -> Option<Duration> {
    let text = text.trim();
    if text.chars().all(|digit| digit.is_ascii_digit()) && !text.is_empty() {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    let at = UnixMillis(u64::try_from(date.as_millisecond()).ok()?);
    Some(Duration::from_millis(at.since(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::tests::FakeTimer;

    const NOW: UnixMillis = UnixMillis(784_111_777_000);

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let timer = FakeTimer::default();
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..7)
            .map(|_| backoff.pause(None, NOW, &timer).as_secs_f32())
            .collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
    }

    #[test]
    fn a_services_own_wish_counts_in_both_forms() {
        let pause = |text| {
            let timer = FakeTimer::default();
            Backoff::default().pause(Some(text), NOW, &timer).as_secs()
        };
        // RFC 9110 has this date as its example; it is 08:49:37.
        assert_eq!(pause("Sun, 06 Nov 1994 08:50:07 GMT"), 31);
        assert_eq!(pause("Sun, 06 Nov 1994 08:00:00 GMT"), 1);
        assert_eq!(pause("120"), 121);
        assert_eq!(pause("0"), 1);
        assert_eq!(pause("99999999999999999999999"), 86_401);
    }

    #[test]
    fn a_wish_that_is_none_is_not_followed() {
        for text in ["", "-5", "soon", "1e9", "12 parsecs", "1.5"] {
            let timer = FakeTimer::default();
            let pause = Backoff::default().pause(Some(text), NOW, &timer);
            assert_eq!(pause, Duration::from_secs(1), "{text:?}");
        }
    }

    #[test]
    fn turns_in_a_lane_keep_their_distance() {
        let (pace, timer) = (Pace::default(), FakeTimer::default());
        let interval = Duration::from_secs(10);
        for _ in 0..4 {
            pace.wait(
                "kds vcek",
                "kds",
                interval,
                Duration::from_secs(100),
                &timer,
                |_| {},
            )
            .unwrap();
        }
        assert_eq!(timer.slept(), [10, 10, 10]);
        assert_eq!(timer.elapsed(), Duration::from_secs(30));
    }

    #[test]
    fn a_turn_that_is_too_far_is_not_waited_for_and_not_taken() {
        let (pace, timer) = (Pace::default(), FakeTimer::default());
        let turn = |latest| {
            let interval = Duration::from_secs(10);
            pace.wait(
                "lane",
                "host",
                interval,
                Duration::from_secs(latest),
                &timer,
                |_| {},
            )
        };
        turn(5).unwrap();
        assert_eq!(turn(5), Err(Duration::from_secs(10)));
        assert_eq!(turn(5), Err(Duration::from_secs(10)));
        turn(10).unwrap();
        assert_eq!(timer.slept(), [10]);
    }

    #[test]
    fn a_hold_counts_for_every_lane_of_the_host_and_no_other() {
        let (pace, timer) = (Pace::default(), FakeTimer::default());
        pace.hold("kds", Duration::from_secs(7));
        pace.hold("kds", Duration::from_secs(3));
        let ask = |lane, host| {
            pace.wait(
                lane,
                host,
                Duration::ZERO,
                Duration::from_secs(100),
                &timer,
                |_| {},
            )
            .unwrap();
            timer.slept()
        };
        assert_eq!(ask("pcs", "pcs"), [0; 0]);
        assert_eq!(ask("kds vcek", "kds"), [7]);
        assert_eq!(ask("kds", "kds"), [7]);
    }
}
