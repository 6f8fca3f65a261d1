//! How a handshake learns that it gave way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    waiting: Vec<Waker>,
}

impl Signal {
    pub(super) fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        let waiting = std::mem::take(&mut state.waiting);
        // A waker may run what it wakes.
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.lock().cut
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when a handshake's place is given to a newcomer; never, if it keeps it.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Cut {
    signal: Arc<Signal>,
}

impl Cut {
    pub(super) const fn of(signal: Arc<Signal>) -> Self {
        Self { signal }
    }
}

impl Future for Cut {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.signal.lock();
        if state.cut {
            return Poll::Ready(());
        }
        let known = state.waiting.iter().any(|waker| waker.will_wake(context.waker()));
        if !known {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
