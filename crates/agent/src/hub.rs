//! One node's events, kept for those who come late and sent on to those who listen.
//!
//! Everything is bounded: how many events of each kind are kept and how many bytes they take, how many listen,
//! and how far one may fall behind. One who falls behind is let go instead of being sent a history with holes;
//! it comes again and is sent the history as a whole.

mod history;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use self::history::History;
use crate::event::{Event, What};

/// How many may listen at once. A person opens a few pages; a sixty-fifth is a mistake or an attack.
pub const MAX_SUBSCRIBERS: usize = 64;
/// How many events one may fall behind before it is let go: a minute at four samples a second.
pub const MAX_LAG: usize = 256;

/// Where the node's events go. Shared by `Arc`; every method is short and never waits.
#[derive(Debug)]
pub struct EventHub {
    state: Mutex<State>,
    seats: Arc<Semaphore>,
}

/// An event as it is sent: serialised once for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in this run, from 1.
    pub id: u64,
    /// The event, one JSON object in one line.
    pub json: Arc<str>,
}

/// How many events of a kind there have been in this run, also those that are no longer kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Samples that were taken.
    pub samples: u64,
    /// Proofs that were made.
    pub proofs: u64,
    /// Proofs that were settled.
    pub settled: u64,
}

/// What a subscriber is sent, in this order: history, one `Live`, then what happens from there on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An event, from the history or as it happens.
    Event(Message),
    /// The history is over. No event lies between it and the next one.
    Live(Totals),
}

/// All [`MAX_SUBSCRIBERS`] seats are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_SUBSCRIBERS} pages are open on this node, and no more are served: close one and reload")]
pub struct TooManySubscribers;

#[derive(Debug)]
struct State {
    last_id: u64,
    history: History,
    totals: Totals,
    /// None once the node has stopped.
    live: Option<broadcast::Sender<Message>>,
}

impl EventHub {
    /// A hub that nothing was published to.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            last_id: 0,
            history: History::default(),
            totals: Totals::default(),
            live: Some(broadcast::Sender::new(MAX_LAG)),
        };
        Self {
            state: Mutex::new(state),
            seats: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
        }
    }

    /// Keeps an event and sends it to all subscribers. Returns its JSON, which is what they are sent.
    ///
    /// [`What::Stopped`] is the last event: after it every subscription ends, so that a server which waits for
    /// its connections can shut down.
    pub fn publish(&self, event: Event) -> Arc<str> {
        let json = to_json(&event);
        let mut state = self.lock();
        state.last_id = state.last_id.saturating_add(1);
        let message = Message {
            id: state.last_id,
            json: Arc::clone(&json),
        };
        state.totals.count(&event.what);
        state.history.keep(&event.what, message.clone());
        if let Some(live) = &state.live {
            // The error is that nobody listens.
            let _ = live.send(message);
        }
        if matches!(event.what, What::Stopped { .. }) {
            state.live = None;
        }
        json
    }

    /// The history, then live events, without a gap or an overlap between them. The stream ends when the
    /// subscriber fell more than [`MAX_LAG`] events behind, and after [`What::Stopped`].
    ///
    /// # Errors
    /// [`TooManySubscribers`]. A seat is free again when a stream is dropped.
    pub fn subscribe(&self) -> Result<impl Stream<Item = Delivery> + Send + use<>, TooManySubscribers> {
        let seat = Arc::clone(&self.seats)
            .try_acquire_owned()
            .map_err(|_| TooManySubscribers)?;
        let state = self.lock();
        // Both under one lock: what is published later is not in the history, but in the receiver.
        let replay = state.history.in_order();
        let receiver = state.live.as_ref().map(broadcast::Sender::subscribe);
        let totals = state.totals;
        drop(state);
        let history = stream::iter(replay.into_iter().map(Delivery::Event));
        let turn = stream::iter([Delivery::Live(totals)]);
        Ok(history.chain(turn).chain(follow(receiver, seat)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for EventHub {
    fn default() -> Self {
        Self::new()
    }
}

impl Totals {
    fn count(&mut self, what: &What) {
        let counter = match what {
            What::Sample(_) => &mut self.samples,
            What::Proof { .. } => &mut self.proofs,
            What::Settled { .. } => &mut self.settled,
            _ => return,
        };
        *counter = counter.saturating_add(1);
    }
}

fn follow(
    receiver: Option<broadcast::Receiver<Message>>,
    seat: OwnedSemaphorePermit,
) -> impl Stream<Item = Delivery> + Send {
    stream::unfold((receiver, seat), |(receiver, seat)| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Ok(message) => Some((Delivery::Event(message), (Some(receiver), seat))),
            Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => None,
        }
    })
}

fn to_json(event: &Event) -> Arc<str> {
    match serde_json::to_string(event) {
        Ok(json) => json.into(),
        // Events are serialisable by their types; should one not be, that must show and not vanish.
        Err(error) => serde_json::json!({
            "at": event.at,
            "kind": "warning",
            "detail": format!("an event was lost, as it has no JSON form: {error}"),
        })
        .to_string()
        .into(),
    }
}

#[cfg(test)]
mod tests;
