//! Requests that wait or are worked on. Callers that ask the same are passengers of one flight.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nautilus_core::{BootId, UnixMillis};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::cache::VerificationCache;
use super::limits::{MAX_CALLERS, QUEUE};
use super::request::Fingerprint;
use super::response::Answer;
use super::{Answered, Ask, AttestationError, EnclaveNow, Load, Producer};

/// Everything that is under way, and what is remembered.
pub(super) struct Flights {
    slots: Arc<Semaphore>,
    callers: AtomicUsize,
    state: Mutex<State>,
    queued: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Flight>>,
    flights: HashMap<Fingerprint, Boarded>,
    remembered: VerificationCache,
}

/// A flight, and how many are on it.
struct Boarded {
    flight: Arc<Flight>,
    passengers: usize,
}

struct Flight {
    fingerprint: Fingerprint,
    facts: EnclaveNow,
    ask: Ask,
    answer: watch::Sender<Option<Answered>>,
    /// Nobody waits for it any more.
    abandoned: Notify,
    /// Its place in the queue, as long as it has one.
    slot: Mutex<Option<OwnedSemaphorePermit>>,
}

/// What there is for a request.
pub(super) enum Place<'a> {
    /// The answer.
    Remembered(Arc<Answer>),
    /// A flight that brings it.
    Aboard(Passenger<'a>),
    /// Neither.
    None,
}

/// One who waits for a flight. Dropped, it waits no more.
pub(super) struct Passenger<'a> {
    flights: &'a Flights,
    flight: Arc<Flight>,
}

/// One who asks, from its question to its answer.
pub(super) struct Caller<'a>(&'a AtomicUsize);

impl Default for Flights {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(QUEUE)),
            callers: AtomicUsize::new(0),
            state: Mutex::default(),
            queued: Notify::new(),
        }
    }
}

impl Flights {
    /// Counts a caller.
    pub(super) fn admit(&self) -> Result<Caller<'_>, AttestationError> {
        let caller = Caller(&self.callers);
        if self.callers.fetch_add(1, Ordering::Relaxed) >= MAX_CALLERS {
            return Err(AttestationError::TooManyCallers);
        }
        Ok(caller)
    }

    /// The answer to the same request, or a flight that brings it.
    pub(super) fn board(&self, fingerprint: Fingerprint, now: UnixMillis) -> Place<'_> {
        self.board_locked(&mut self.lock(), &fingerprint, now)
    }

    /// A place in the queue, once there is one.
    pub(super) async fn slot(&self) -> Result<OwnedSemaphorePermit, AttestationError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        slot.map_err(|_| AttestationError::Stopped)
    }

    /// Puts a request into the queue; unless somebody who asked the same did so in the meantime.
    pub(super) fn depart(
        &self,
        fingerprint: Fingerprint,
        facts: EnclaveNow,
        ask: Ask,
        slot: OwnedSemaphorePermit,
        now: UnixMillis,
    ) -> Place<'_> {
        let mut state = self.lock();
        let place = self.board_locked(&mut state, &fingerprint, now);
        if !matches!(place, Place::None) {
            return place;
        }
        let flight = Arc::new(Flight {
            fingerprint,
            facts,
            ask,
            answer: watch::Sender::new(None),
            abandoned: Notify::new(),
            slot: Mutex::new(Some(slot)),
        });
        state.queue.push_back(Arc::clone(&flight));
        let boarded = Boarded {
            flight: Arc::clone(&flight),
            passengers: 1,
        };
        state.flights.insert(fingerprint, boarded);
        drop(state);
        self.queued.notify_one();
        Place::Aboard(Passenger {
            flights: self,
            flight,
        })
    }

    fn board_locked(&self, state: &mut State, fingerprint: &Fingerprint, now: UnixMillis) -> Place<'_> {
        if let Some(answer) = state.remembered.find(fingerprint, now) {
            return Place::Remembered(answer);
        }
        match state.flights.get_mut(fingerprint) {
            Some(boarded) => {
                boarded.passengers += 1;
                Place::Aboard(Passenger {
                    flights: self,
                    flight: Arc::clone(&boarded.flight),
                })
            }
            None => Place::None,
        }
    }

    /// A worker's life.
    pub(super) async fn work(&self, producer: &dyn Producer) {
        loop {
            let Some(flight) = self.next() else {
                self.queued.notified().await;
                continue;
            };
            let answered = tokio::select! {
                biased;
                () = flight.abandoned.notified() => continue,
                produced = producer.produce(flight.ask.clone()) => produced.map(Arc::new),
            };
            self.land(&flight, answered);
        }
    }

    /// The request that waited longest, whose place in the queue is free from now on.
    fn next(&self) -> Option<Arc<Flight>> {
        let flight = self.lock().queue.pop_front()?;
        flight.leave_queue();
        Some(flight)
    }

    fn land(&self, flight: &Arc<Flight>, answered: Answered) {
        let mut state = self.lock();
        if state.is_in(flight) {
            state.flights.remove(&flight.fingerprint);
        }
        if let Ok(answer) = &answered {
            // Made in the boot that was asked: a boot that came in between has answers of its own.
            if answer.boot == flight.facts.boot {
                state
                    .remembered
                    .keep(flight.fingerprint, flight.facts.policy, answer);
            }
        }
        drop(state);
        flight.answer.send_replace(Some(answered));
    }

    /// Forgets the answers of a boot that is over.
    pub(super) fn forget(&self, boot: BootId) {
        self.lock().remembered.forget(boot);
    }

    /// How much is held.
    pub(super) fn load(&self) -> Load {
        let state = self.lock();
        let (remembered, remembered_bytes) = state.remembered.size();
        Load {
            callers: self.callers.load(Ordering::Relaxed),
            queued: state.queue.len(),
            worked_on: state.flights.len().saturating_sub(state.queue.len()),
            remembered,
            remembered_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_in(&self, flight: &Arc<Flight>) -> bool {
        let found = self.flights.get(&flight.fingerprint);
        found.is_some_and(|boarded| Arc::ptr_eq(&boarded.flight, flight))
    }
}

impl Flight {
    fn leave_queue(&self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Passenger<'_> {
    /// Waits for the answer.
    pub(super) async fn answer(&self) -> Answered {
        let mut answer = self.flight.answer.subscribe();
        let answered = answer.wait_for(Option::is_some).await;
        match answered.as_deref() {
            Ok(Some(answered)) => answered.clone(),
            _ => Err(AttestationError::Stopped),
        }
    }
}

impl Drop for Passenger<'_> {
    fn drop(&mut self) {
        let mut state = self.flights.lock();
        if !state.is_in(&self.flight) {
            return;
        }
        let Some(boarded) = state.flights.get_mut(&self.flight.fingerprint) else {
            return;
        };
        boarded.passengers -= 1;
        if boarded.passengers > 0 {
            return;
        }
        state.flights.remove(&self.flight.fingerprint);
        state.queue.retain(|queued| !Arc::ptr_eq(queued, &self.flight));
        drop(state);
        self.flight.leave_queue();
        self.flight.abandoned.notify_one();
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
