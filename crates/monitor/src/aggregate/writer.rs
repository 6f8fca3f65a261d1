//! The thread that stores what was signed, and the queue before it.

mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use tokio::sync::Notify;
use tokio::time::timeout;

use self::queue::{Offered, Queue};
use super::{BackPressure, CAPACITY};
use crate::panel::message;
use crate::reading::{Family, MetricKind, Point};

pub use self::queue::{Load, Tally, Totals};

/// Bytes of entries that wait, at most: a thousand samples of an ordinary node need half of it, but some have twenty
/// thousand readings.
pub const MAX_WAITING_BYTES: usize = 64 << 20;
/// A store compresses and seals on this thread.
const STACK: usize = 2 << 20;

/// All families of the buffers.
pub const FAMILIES: &[&Family] = &[&BUFFER, &DROPPED, &WRITE_ERRORS];

static BUFFER: Family = Family::new(
    "nautilus_aggregator_buffer",
    "",
    MetricKind::Gauge,
    0,
    "Samples that are not stored yet.",
);
static DROPPED: Family = Family::new(
    "nautilus_aggregator_dropped",
    "",
    MetricKind::Counter,
    0,
    "Samples that were not stored because the store did not keep up, since the agent's start.",
);
static WRITE_ERRORS: Family = Family::new(
    "nautilus_aggregator_write_errors",
    "",
    MetricKind::Counter,
    0,
    "Batches that the store refused, since the agent's start.",
);

/// Where entries are kept for good.
pub trait Sink<T> {
    /// Why it did not take one.
    type Error;

    /// Keeps an entry: it is durable when this returns. May block.
    ///
    /// # Errors
    /// If it is not kept.
    fn append(&self, entry: &T) -> Result<(), Self::Error>;
}

/// Why an entry was not stored although it was tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteFault<E> {
    /// The store's own error.
    #[error(transparent)]
    Refused(E),
    /// A bug in the store: it goes on with the next entry.
    #[error("the store panicked: {0}")]
    Panicked(String),
}

/// Why it was not tried to store an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// By the policy for back-pressure. [`BackPressure::Wait`]: whoever waited gave up.
    Policy(BackPressure),
    /// The writer had ended.
    Ended,
}

/// What became of an entry. Each has one outcome.
#[derive(Debug)]
pub enum Outcome<'a, T, E> {
    /// It is stored, durably.
    Stored(&'a T),
    /// It is not stored. Nobody tries again.
    Failed(&'a T, &'a WriteFault<E>),
    /// It was not tried.
    Dropped(&'a T, Dropped),
}

/// What was not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfinished {
    /// Some is not stored.
    #[error("{} samples in {} batches were not stored in time", .0.samples, .0.entries)]
    Unstored(Tally),
    /// All is written, but the store is not closed.
    #[error("the store did not close in time")]
    Open,
}

/// How much may wait for the store.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Samples. An entry with more is only taken if nothing else waits.
    pub samples: usize,
    /// Bytes. An entry with more is only taken if nothing else waits.
    pub bytes: usize,
    /// What happens to what does not fit.
    pub policy: BackPressure,
}

impl Room {
    /// The specification's room.
    pub const fn new(policy: BackPressure) -> Self {
        Self {
            samples: CAPACITY,
            bytes: MAX_WAITING_BYTES,
            policy,
        }
    }
}

/// Stores entries in order, on a thread of its own.
///
/// Dropping it ends the thread as soon as the store comes back from what it writes, and drops what waits.
pub struct Writer<T: Load, E: 'static> {
    shared: Arc<Shared<T, E>>,
}

type Report<T, E> = Box<dyn Fn(Outcome<'_, T, E>) + Send + Sync>;

struct Shared<T, E> {
    queue: Mutex<Queue<T>>,
    /// There is something to write, or the writer is to end.
    work: Condvar,
    /// Something was taken or written, or the thread has ended. One waits for it at most.
    progress: Notify,
    report: Report<T, E>,
}

impl<T: Load + Send + 'static, E> Writer<T, E> {
    /// Starts the thread. `report` is told of every entry what became of it: of those that are written on that thread,
    /// of those that are dropped on whichever dropped them. It must neither block nor panic.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start<S>(
        sink: S,
        room: Room,
        report: impl Fn(Outcome<'_, T, E>) + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        S: Sink<T, Error = E> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(room)),
            work: Condvar::new(),
            progress: Notify::new(),
            report: Box::new(report),
        });
        let writer = Self {
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name("store-writer".to_owned())
            .stack_size(STACK)
            .spawn(move || write(sink, &shared))?;
        Ok(writer)
    }

    /// Hands an entry over. If there is no room, the policy decides; only [`BackPressure::Wait`] waits here, for as
    /// long as the store takes. Whoever gives up waiting drops the entry, which counts and is reported.
    pub async fn submit(&mut self, entry: T) {
        self.shared.lock().count_submitted(&entry);
        let mut offer = Offer {
            shared: &self.shared,
            entry: Some(entry),
        };
        while !offer.is_decided() {
            self.shared.progress.notified().await;
        }
    }

    /// Waits until all that was handed over is written.
    ///
    /// # Errors
    /// If `deadline` has passed, or the thread has ended, before that; what waits goes on waiting.
    pub async fn flush(&mut self, deadline: Duration) -> Result<(), Unfinished> {
        let idle = async {
            while !self.shared.lock().is_done() {
                self.shared.progress.notified().await;
            }
        };
        // Whether it was in time shows in what is left.
        let _in_time = timeout(deadline, idle).await;
        match self.totals().waiting {
            Tally { entries: 0, .. } => Ok(()),
            left => Err(Unfinished::Unstored(left)),
        }
    }

    /// Waits until all that was handed over is written and the thread has ended. The sink is dropped then.
    ///
    /// # Errors
    /// If `deadline` has passed before that. What waits is dropped; what the store is busy with may yet be stored, and
    /// nobody waits for it.
    pub async fn close(mut self, deadline: Duration) -> Result<Totals, Unfinished> {
        let begin = tokio::time::Instant::now();
        self.flush(deadline).await?;
        self.shared.end();
        let ended = async {
            while !self.shared.lock().ended {
                self.shared.progress.notified().await;
            }
        };
        let left = deadline.saturating_sub(begin.elapsed());
        timeout(left, ended).await.map_err(|_late| Unfinished::Open)?;
        Ok(self.totals())
    }
}

impl<T: Load, E> Writer<T, E> {
    /// What became of all that was handed over so far.
    pub fn totals(&self) -> Totals {
        self.shared.lock().totals()
    }

    /// How the buffers fare, for the next sample; `unsigned` samples wait to be signed.
    pub fn points(&self, unsigned: usize) -> Vec<Point> {
        let (totals, policy) = {
            let queue = self.shared.lock();
            (queue.totals(), queue.room.policy)
        };
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let unsigned = u64::try_from(unsigned).unwrap_or(u64::MAX);
        let buffer = totals.waiting.samples.saturating_add(unsigned);
        let dropped = totals.dropped.samples;
        vec![
            Point::plain(&BUFFER, count(buffer)),
            Point::labelled(&DROPPED, [("policy", policy.as_str())], count(dropped)),
            Point::plain(&WRITE_ERRORS, count(totals.failed.entries)),
        ]
    }
}

impl<T: Load, E> Drop for Writer<T, E> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl<T: Load, E> Shared<T, E> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing that panics is done under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what waits, and has the thread end.
    fn end(&self) {
        let left = self.lock().end();
        self.work.notify_all();
        for entry in &left {
            (self.report)(Outcome::Dropped(entry, Dropped::Ended));
        }
    }

    /// Waits for something to write; none when the writer is to end.
    fn next(&self) -> Option<T> {
        let mut queue = self.lock();
        loop {
            if let Some(entry) = queue.take() {
                drop(queue);
                self.progress.notify_one();
                return Some(entry);
            }
            if queue.ending {
                return None;
            }
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// An entry that is not in the queue yet.
struct Offer<'a, T: Load, E> {
    shared: &'a Shared<T, E>,
    entry: Option<T>,
}

impl<T: Load, E> Offer<'_, T, E> {
    /// Whether it is known what becomes of it now.
    fn is_decided(&mut self) -> bool {
        let Some(entry) = self.entry.take() else {
            return true;
        };
        let offered = self.shared.lock().offer(entry);
        match offered {
            Offered::Taken { displaced } => {
                self.shared.work.notify_all();
                let policy = Dropped::Policy(BackPressure::DropOldest);
                for entry in &displaced {
                    (self.shared.report)(Outcome::Dropped(entry, policy));
                }
                true
            }
            Offered::Dropped(entry, why) => {
                (self.shared.report)(Outcome::Dropped(&entry, why));
                true
            }
            Offered::NoRoom(entry) => {
                self.entry = Some(entry);
                false
            }
        }
    }
}

impl<T: Load, E> Drop for Offer<'_, T, E> {
    fn drop(&mut self) {
        if let Some(entry) = &self.entry {
            self.shared.lock().count_dropped(entry);
            (self.shared.report)(Outcome::Dropped(entry, Dropped::Policy(BackPressure::Wait)));
        }
    }
}

/// Tells that the thread has ended, however it ended.
struct Ended<'a, T: Load, E>(&'a Shared<T, E>);

impl<T: Load, E> Drop for Ended<'_, T, E> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.progress.notify_one();
    }
}

fn write<T: Load, S: Sink<T>>(sink: S, shared: &Shared<T, S::Error>) {
    let _ended = Ended(shared);
    // To be dropped before it is told that the thread has ended.
    let sink = sink;
    while let Some(entry) = shared.next() {
        // What a store shares with others is behind locks and transactions of its own.
        let written = catch_unwind(AssertUnwindSafe(|| sink.append(&entry)));
        let fault = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(WriteFault::Refused(error)),
            Err(payload) => Some(WriteFault::Panicked(message(&*payload))),
        };
        (shared.report)(match &fault {
            None => Outcome::Stored(&entry),
            Some(fault) => Outcome::Failed(&entry, fault),
        });
        shared.lock().count_written(&entry, fault.is_none());
        shared.progress.notify_one();
    }
}

#[cfg(test)]
mod tests;
