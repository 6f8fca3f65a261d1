//! One request for many who want the same at the same time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most results that are remembered.
const MAX_REMEMBERED: usize = 128;

/// Work that is under way or was done a moment ago, by what it is for.
pub(super) struct Flights<T> {
    known: Mutex<HashMap<String, Known<T>>>,
}

enum Known<T> {
    UnderWay(Arc<Flight<T>>),
    Done { until: Duration, result: T },
}

struct Flight<T> {
    state: Mutex<State<T>>,
    landed: Condvar,
}

enum State<T> {
    UnderWay,
    Landed(T),
    /// Whoever did the work panicked.
    Lost,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self {
            known: Mutex::new(HashMap::new()),
        }
    }
}

impl<T: Clone> Flights<T> {
    /// The result of the work for `key`: remembered, awaited from whoever is doing it, or done here. `None` if whoever
    /// did it panicked. `remember` says how long a result is good for others.
    pub(super) fn join(
        &self,
        key: &str,
        clock: impl Fn() -> Duration,
        remember: impl Fn(&T) -> Option<Duration>,
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        let flight = {
            let mut known = locked(&self.known);
            let now = clock();
            known.retain(|_, known| !matches!(known, Known::Done { until, .. } if *until <= now));
            match known.entry(key.to_owned()) {
                Entry::Occupied(entry) => match entry.get() {
                    Known::Done { result, .. } => return Some(result.clone()),
                    Known::UnderWay(flight) => {
                        let flight = Arc::clone(flight);
                        drop(known);
                        return flight.landed();
                    }
                },
                Entry::Vacant(entry) => {
                    let flight = Arc::new(Flight {
                        state: Mutex::new(State::UnderWay),
                        landed: Condvar::new(),
                    });
                    entry.insert(Known::UnderWay(Arc::clone(&flight)));
                    flight
                }
            }
        };
        let pilot = Pilot {
            flights: self,
            key,
            flight: &flight,
        };
        let result = work();
        let until = remember(&result).map(|time| clock().saturating_add(time));
        pilot.land(result.clone(), until);
        Some(result)
    }

    fn done(&self, key: &str, remembered: Option<(T, Duration)>) {
        let mut known = locked(&self.known);
        known.remove(key);
        let Some((result, until)) = remembered else {
            return;
        };
        let is_done = |known: &&Known<T>| matches!(known, Known::Done { .. });
        if known.values().filter(is_done).count() >= MAX_REMEMBERED {
            let first = known
                .iter()
                .filter_map(|(key, known)| match known {
                    Known::Done { until, .. } => Some((*until, key.clone())),
                    Known::UnderWay(_) => None,
                })
                .min();
            if let Some((_, first)) = first {
                known.remove(&first);
            }
        }
        known.insert(key.to_owned(), Known::Done { until, result });
    }
}

impl<T: Clone> Flight<T> {
    fn landed(&self) -> Option<T> {
        let mut state = locked(&self.state);
        loop {
            match &*state {
                State::UnderWay => {
                    state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                State::Landed(result) => return Some(result.clone()),
                State::Lost => return None,
            }
        }
    }
}

impl<T> Flight<T> {
    fn end(&self, end: State<T>) {
        let mut state = locked(&self.state);
        if matches!(*state, State::UnderWay) {
            *state = end;
        }
        drop(state);
        self.landed.notify_all();
    }
}

/// Who does the work. Dropped without a result it tells those who wait, so that a panic strands nobody.
struct Pilot<'a, T: Clone> {
    flights: &'a Flights<T>,
    key: &'a str,
    flight: &'a Flight<T>,
}

impl<T: Clone> Pilot<'_, T> {
    fn land(self, result: T, until: Option<Duration>) {
        let remembered = until.map(|until| (result.clone(), until));
        self.flights.done(self.key, remembered);
        self.flight.end(State::Landed(result));
        std::mem::forget(self);
    }
}

impl<T: Clone> Drop for Pilot<'_, T> {
    fn drop(&mut self) {
        self.flights.done(self.key, None);
        self.flight.end(State::Lost);
    }
}

/// What is locked is whole at every moment, so that a panic elsewhere does not matter.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_result_is_remembered_as_long_as_it_says() {
        let flights = Flights::default();
        let mut count = 0;
        let mut ask = |at: u64| {
            let clock = || Duration::from_secs(at);
            let remember = |_: &i32| Some(Duration::from_secs(10));
            flights.join("a", clock, remember, || {
                count += 1;
                count
            })
        };
        assert_eq!(
            [ask(0), ask(9), ask(10), ask(19)],
            [Some(1), Some(1), Some(2), Some(2)]
        );
    }

    #[test]
    fn a_result_that_is_not_remembered_is_worked_for_again() {
        let flights = Flights::default();
        let ask = |result| flights.join("a", || Duration::ZERO, |_| None, || result);
        assert_eq!([ask(1), ask(2)], [Some(1), Some(2)]);
    }

    /// Has one thread do the work and another wait for it; gives what each got.
    fn one_works_one_waits(work: fn() -> u32) -> (thread::Result<Option<u32>>, Option<u32>) {
        let flights = Flights::<u32>::default();
        let (started, has_started) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let waiting = AtomicUsize::new(0);
        let (flights, waiting) = (&flights, &waiting);
        let results = thread::scope(|scope| {
            let pilot = scope.spawn(move || {
                flights.join(
                    "a",
                    || Duration::ZERO,
                    |_| None,
                    || {
                        started.send(()).unwrap();
                        may_go.recv().unwrap();
                        work()
                    },
                )
            });
            has_started.recv().unwrap();
            let waiter = scope.spawn(move || {
                let clock = || {
                    // Called under the lock: once that is free again, this thread has found the flight.
                    waiting.fetch_add(1, Ordering::SeqCst);
                    Duration::ZERO
                };
                flights.join("a", clock, |_| None, || panic!("it must not do the work"))
            });
            while waiting.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            drop(locked(&flights.known));
            go.send(()).unwrap();
            (pilot.join(), waiter.join().unwrap())
        });
        assert_eq!(
            flights.join("a", || Duration::ZERO, |_| None, || 9),
            Some(9),
            "the key is free again"
        );
        results
    }

    #[test]
    fn who_waits_gets_the_result_even_where_it_is_not_remembered() {
        let (worked, waited) = one_works_one_waits(|| 7);
        assert_eq!((worked.unwrap(), waited), (Some(7), Some(7)));
    }

    #[test]
    fn a_panic_strands_nobody() {
        let (worked, waited) = one_works_one_waits(|| panic!("as it should"));
        assert!(worked.is_err());
        assert_eq!(waited, None);
    }

    #[test]
    fn memory_is_bounded() {
        let flights = Flights::default();
        for key in 0..1000 {
            flights.join(
                &key.to_string(),
                || Duration::from_secs(key),
                |_| Some(Duration::from_secs(10_000)),
                || key,
            );
        }
        assert_eq!(locked(&flights.known).len(), MAX_REMEMBERED);
        let oldest = flights.join("871", || Duration::from_secs(1000), |_| None, || 0);
        let newer = flights.join("872", || Duration::from_secs(1000), |_| None, || 0);
        assert_eq!((oldest, newer), (Some(0), Some(872)));
    }
}
