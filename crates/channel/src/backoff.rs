//! How long to wait before the next try.

use std::fmt;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// Gives a random number, or none where the system has no randomness.
type Random = Box<dyn FnMut() -> Option<u64> + Send>;

/// Pauses that double from a quarter of a second up to half a minute. Each is somewhere between half of that and all of
/// it, so that those who lost the same peer at once do not come back at once. After a success one starts anew, with
/// another [`Backoff`].
pub struct Backoff {
    longest: Duration,
    random: Random,
}

impl Backoff {
    /// Before the first try, with the system's randomness. Where that fails, a pause is as long as it may be: nothing is
    /// lost but the spread.
    pub fn new() -> Self {
        Self {
            longest: FIRST,
            random: Box::new(|| getrandom::u64().ok()),
        }
    }

    /// As [`Self::new`], with random numbers from `random`.
    pub fn with_random(mut random: impl FnMut() -> u64 + Send + 'static) -> Self {
        Self {
            longest: FIRST,
            random: Box::new(move || Some(random())),
        }
    }

    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        let longest = self.longest;
        self.longest = longest.saturating_mul(2).min(LONGEST);
        let Some(random) = (self.random)() else {
            return longest;
        };
        let half = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX) / 2;
        // Both ends are possible.
        let more = random.checked_rem(half.saturating_add(1)).unwrap_or_default();
        Duration::from_nanos(half.saturating_add(more))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Backoff")
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}

/// Random numbers that are the same at each run (splitmix64), for tests.
#[cfg(test)]
pub(crate) fn seeded(mut state: u64) -> impl FnMut() -> u64 + Send + 'static {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest pauses, one after the other, in milliseconds.
    const LADDER: [u64; 9] = [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];

    #[test]
    fn without_randomness_pauses_are_the_longest() {
        let mut backoff = Backoff {
            longest: FIRST,
            random: Box::new(|| None),
        };
        assert_eq!(LADDER.map(|_| backoff.pause()), LADDER.map(Duration::from_millis));
    }

    #[test]
    fn both_ends_of_a_pause_are_possible() {
        let mut shortest = Backoff::with_random(|| 0);
        assert_eq!(
            LADDER.map(|_| shortest.pause()),
            LADDER.map(|millis| Duration::from_millis(millis / 2))
        );
        // The largest remainder of the first pause.
        let half = FIRST.as_nanos() as u64 / 2;
        assert_eq!(Backoff::with_random(move || half).pause(), FIRST);
        assert_eq!(Backoff::with_random(move || half + 1).pause(), FIRST / 2);
    }

    #[test]
    fn pauses_stay_in_their_range_and_are_spread_over_it() {
        let mut random = seeded(7);
        let mut quarters = [0_u32; 4];
        for _ in 0..400 {
            let number = random();
            let mut backoff = Backoff::with_random(seeded(number));
            for longest in LADDER.map(Duration::from_millis) {
                let pause = backoff.pause();
                assert!(
                    (longest / 2..=longest).contains(&pause),
                    "{pause:?} of {longest:?}"
                );
                let share = (pause - longest / 2).as_secs_f64() / (longest / 2).as_secs_f64();
                quarters[((share * 4.0) as usize).min(3)] += 1;
            }
        }
        // 3,600 pauses, 900 expected in each quarter.
        assert!(
            quarters.iter().all(|count| (800..1000).contains(count)),
            "{quarters:?}"
        );
    }

    #[test]
    fn the_systems_pauses_differ() {
        let pauses: std::collections::HashSet<_> = (0..8).map(|_| Backoff::new().pause()).collect();
        assert!(pauses.len() > 1, "{pauses:?}");
        assert!(pauses.iter().all(|pause| (FIRST / 2..=FIRST).contains(pause)));
    }
}
