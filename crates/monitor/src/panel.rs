//! All collectors of a node, each on a thread of its own: one that stalls or fails holds up no other.

mod collection;
mod worker;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{io, mem};

use nautilus_proof::{CollectorKind, GapReason};
use tokio::sync::Notify;
use tokio::time::timeout;

use self::collection::kind_of;
use self::worker::{Answer, Fault, Worker};
use crate::collector::Collector;
use crate::data::GapFacts;

pub(crate) use self::worker::message;

pub use self::collection::{Collection, Committed, FAMILIES};

/// A collector that panics is asked again this many times in a row at most.
pub const MAX_RESTARTS: u32 = 3;

/// Why there is no panel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PanelError {
    /// Two collectors of the same part, of which one sample could only have one.
    #[error("there are two collectors for {}: give one", .0.as_str())]
    Twice(CollectorKind),
    /// The machine gives no more threads.
    #[error("cannot start a thread for the {} collector", .collector.as_str())]
    Thread {
        /// Whose thread.
        collector: CollectorKind,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// Collectors that are asked together.
///
/// Dropping it ends their threads: at once where a collector is idle, and where one is busy as soon as that comes
/// back. Nothing waits for it.
pub struct Panel {
    workers: Vec<Worker>,
    answers: mpsc::Receiver<Answer>,
    answered: Arc<Notify>,
    /// Number of the newest collection: an answer names the one it is for.
    round: u64,
    collection: Collection,
}

impl Panel {
    /// Starts a thread for each collector.
    ///
    /// # Errors
    /// If there are two for one part, or a thread cannot be started.
    pub fn new(mut collectors: Vec<Box<dyn Collector>>) -> Result<Self, PanelError> {
        // In canonical order, and so is whatever is made of their answers.
        collectors.sort_by_key(|collector| collector.kind());
        let (answer, answers) = mpsc::channel();
        let answered = Arc::new(Notify::new());
        let mut workers: Vec<Worker> = Vec::with_capacity(collectors.len());
        for (place, collector) in collectors.into_iter().enumerate() {
            let kind = collector.kind();
            if workers.last().is_some_and(|before| before.kind == kind) {
                return Err(PanelError::Twice(kind));
            }
            let (answer, answered) = (answer.clone(), Arc::clone(&answered));
            let worker = Worker::start(place, collector, answer, answered);
            workers.push(worker.map_err(|source| PanelError::Thread {
                collector: kind,
                source,
            })?);
        }
        Ok(Self {
            workers,
            answers,
            answered,
            round: 0,
            collection: Collection::default(),
        })
    }

    /// Which parts are measured, in canonical order.
    pub fn kinds(&self) -> impl Iterator<Item = CollectorKind> {
        self.workers.iter().map(|worker| worker.kind)
    }

    /// Asks all collectors that are idle, and waits until all answered or `deadline` has passed.
    ///
    /// One that does not answer in time is a gap, and remains one in each collection until it comes back; nobody waits
    /// for it meanwhile, and what it then answers is thrown away, for it is of another time. Needs tokio's timer.
    /// Cancel-safe: what was asked and not taken is thrown away in the same manner.
    pub async fn collect(&mut self, deadline: Duration) -> Collection {
        self.ask();
        // Whether all came in time shows in who is still waited for.
        let _in_time = timeout(deadline, self.all_answered()).await;
        self.conclude(deadline)
    }

    /// [`Panel::collect`] that blocks the thread, and needs no runtime.
    pub fn collect_blocking(&mut self, deadline: Duration) -> Collection {
        self.ask();
        let begin = Instant::now();
        while self.is_waiting() {
            let left = deadline.saturating_sub(begin.elapsed());
            let Ok(answer) = self.answers.recv_timeout(left) else {
                break;
            };
            self.take(answer);
        }
        self.conclude(deadline)
    }

    /// Begins a collection.
    fn ask(&mut self) {
        self.take_answers();
        self.collection = Collection::default();
        self.round = self.round.saturating_add(1);
        for worker in &mut self.workers {
            worker.ask(self.round);
        }
    }

    async fn all_answered(&mut self) {
        loop {
            self.take_answers();
            if !self.is_waiting() {
                return;
            }
            self.answered.notified().await;
        }
    }

    fn is_waiting(&self) -> bool {
        self.workers
            .iter()
            .any(|worker| worker.busy_with == Some(self.round))
    }

    fn take_answers(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer);
        }
    }

    fn take(&mut self, answer: Answer) {
        let Answer {
            place,
            round,
            took,
            outcome,
        } = answer;
        let Some(worker) = self.workers.get_mut(place) else {
            return;
        };
        worker.busy_with = None;
        let detail = match &outcome {
            Err(Fault::Panicked(message)) => Some(worker.panicked(message)),
            Err(Fault::Failed(error)) => Some(error.clone()),
            Ok(part) if kind_of(part) != worker.kind => {
                let other = kind_of(part).as_str();
                Some(format!("gave what the {other} collector is to give"))
            }
            Ok(_) => None,
        };
        if !matches!(outcome, Err(Fault::Panicked(_))) {
            worker.panics = 0;
        }
        // An answer to an earlier question only tells that the collector is back.
        if round != self.round {
            return;
        }
        self.collection.durations.push((worker.kind, took));
        match (outcome, detail) {
            (Ok(part), None) => self.collection.parts.push(part),
            (_, detail) => {
                let gap = worker.gap(GapReason::Failed, detail.unwrap_or_default());
                self.collection.gaps.push(gap);
            }
        }
    }

    /// Ends a collection: who did not answer is a gap.
    fn conclude(&mut self, deadline: Duration) -> Collection {
        self.take_answers();
        let mut collection = mem::take(&mut self.collection);
        for worker in &mut self.workers {
            if !collection.tells_of(worker.kind) {
                let gap = if let Some(asked) = worker.busy_with {
                    worker.gap(GapReason::Stalled, busy_since(self.round, asked, deadline))
                } else if let Some(why) = worker.ended() {
                    worker.gap(GapReason::Failed, why)
                } else {
                    let detail = "came back from an earlier sample too late for this one";
                    worker.gap(GapReason::Stalled, detail.to_owned())
                };
                collection.gaps.push(gap);
            }
            collection.errors.push((worker.kind, worker.errors));
        }
        collection.parts.sort_by_key(kind_of);
        collection.gaps.sort_by_key(|gap: &GapFacts| gap.collector);
        collection.durations.sort_by_key(|(kind, _)| *kind);
        collection
    }
}

fn busy_since(round: u64, asked: u64, deadline: Duration) -> String {
    match round.saturating_sub(asked) {
        0 => format!("did not answer within {deadline:?}"),
        1 => "is still busy with the sample before".to_owned(),
        ago => format!("is still busy with the sample {ago} before"),
    }
}

#[cfg(test)]
mod tests;
