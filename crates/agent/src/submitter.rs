//! Hands proofs to the verifier in order, so that a slow verifier never holds sampling up.

use std::time::Duration;

use nautilus_proof::PerformanceProof;
use nautilus_verifier::api::Settlement;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clock::NodeClock;
use crate::event::{Event, EventSink, What};
use crate::verifier_client::{VerifierClient, VerifierError};

/// Proofs that wait at most. A window that comes on top waits for room, and sampling with it.
const MAX_WAITING: usize = 64;
/// At stop, waiting proofs have this long to be settled.
const FINISH_DEADLINE: Duration = Duration::from_millis(1200);
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// The ledger's name for a window that it has.
const ALREADY_SETTLED: &str = "already_settled";
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What came of the proofs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Submitted {
    /// How many were settled.
    pub(crate) settled: u64,
    /// What they earned, in the smallest unit.
    pub(crate) reward: u64,
    /// How many were dealt with, whatever came of them.
    handled: u64,
}

/// A queue of proofs on their way to the ledger.
pub(crate) struct Submitter {
    queue: mpsc::Sender<PerformanceProof>,
    refused: watch::Receiver<bool>,
    totals: watch::Receiver<Submitted>,
    task: JoinHandle<()>,
    queued: u64,
}

impl Submitter {
    /// Starts the queue.
    pub(crate) fn start(verifier: VerifierClient, events: EventSink) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let (refused_sender, refused) = watch::channel(false);
        let (totals_sender, totals) = watch::channel(Submitted::default());
        let worker = Worker {
            verifier,
            events,
            refused: refused_sender,
            totals: totals_sender,
        };
        let task = tokio::spawn(worker.run(waiting));
        Self {
            queue,
            refused,
            totals,
            task,
            queued: 0,
        }
    }

    /// Queues a proof. If the queue ended, a proof was refused, and this one would be too.
    pub(crate) async fn submit(&mut self, proof: PerformanceProof) {
        self.queued += 1;
        let _ended = self.queue.send(proof).await;
    }

    /// Whether no proof is on its way. Only then may new evidence take the place of that which proofs name.
    pub(crate) fn is_idle(&self) -> bool {
        self.totals.borrow().handled == self.queued
    }

    /// Waits until a proof is refused: later ones build on it, so none of this boot can be settled any more.
    pub(crate) async fn refused(&mut self) {
        if self.refused.wait_for(|refused| *refused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Settles what waits, within a deadline.
    pub(crate) async fn finish(self) -> Submitted {
        drop(self.queue);
        let mut task = self.task;
        if timeout(FINISH_DEADLINE, &mut task).await.is_err() {
            task.abort();
        }
        *self.totals.borrow()
    }
}

struct Worker {
    verifier: VerifierClient,
    events: EventSink,
    refused: watch::Sender<bool>,
    totals: watch::Sender<Submitted>,
}

impl Worker {
    async fn run(self, mut waiting: mpsc::Receiver<PerformanceProof>) {
        while let Some(proof) = waiting.recv().await {
            match self.settle(&proof).await {
                Ok(settlement) => self.report(&settlement),
                // The answer to an earlier try was lost on the way.
                Err(VerifierError::Refused(error)) if error.kind == ALREADY_SETTLED => {
                    let detail = format!(
                        "proof of window {} was settled, but the answer was lost",
                        proof.sequence
                    );
                    self.emit(What::Warning { detail });
                }
                Err(error) => {
                    let detail = format!("proof of window {} was not settled: {error}", proof.sequence);
                    self.emit(What::Warning { detail });
                    self.refused.send_replace(true);
                    return;
                }
            }
            self.totals.send_modify(|totals| totals.handled += 1);
        }
    }

    /// Tries until the verifier answers or the proof expires.
    async fn settle(&self, proof: &PerformanceProof) -> Result<Settlement, VerifierError> {
        let mut pause = FIRST_RETRY;
        loop {
            match self.verifier.settle(proof).await {
                Err(error @ VerifierError::Unreachable { .. }) if NodeClock::wall() < proof.expires_at => {
                    let detail = format!("{error}: trying again in {} ms", pause.as_millis());
                    self.emit(What::Warning { detail });
                    sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LAST_RETRY);
                }
                result => return result,
            }
        }
    }

    fn report(&self, settlement: &Settlement) {
        let Settlement {
            proof_id,
            node,
            sequence,
            height,
            entry,
            wallet,
            amount,
            accrued,
        } = *settlement;
        self.totals.send_modify(|totals| {
            totals.settled += 1;
            totals.reward = totals.reward.saturating_add(amount);
        });
        self.emit(What::Settled {
            proof_id,
            sequence,
            height,
            entry,
        });
        self.emit(What::Reward {
            proof_id,
            node,
            wallet,
            amount,
            accrued,
        });
    }

    fn emit(&self, what: What) {
        (self.events)(Event {
            at: NodeClock::wall(),
            what,
        });
    }
}
