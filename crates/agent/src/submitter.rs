//! Hands proofs to the verifier in order, so that a slow verifier never holds sampling up.

use std::time::Duration;

use nautilus_channel::{Backoff, MessageId};
use nautilus_core::UnixMillis;
use nautilus_proof::PerformanceProof;
use nautilus_verifier::api::Settlement;
use nautilus_verifier::told;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::clock::NodeClock;
use crate::event::{Event, EventSink, What};
use crate::task::AbortOnDrop;
use crate::verifier_client::{VerifierClient, VerifierError};

/// Proofs that wait at most. A window that comes on top waits for room, and sampling with it.
const MAX_WAITING: usize = 64;
/// At stop, waiting proofs have this long to be settled.
const FINISH_DEADLINE: Duration = Duration::from_secs(1);
/// The ledger's name for a window that it has.
const ALREADY_SETTLED: &str = "already_settled";

/// What came of the proofs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submitted {
    /// How many were settled.
    pub(crate) settled: u64,
    /// What they earned, in the smallest unit.
    pub(crate) reward: u64,
    /// End of the last window that was settled.
    pub(crate) until: UnixMillis,
    /// How many were dealt with, whatever came of them.
    handled: u64,
}

impl Submitted {
    const NONE: Self = Self {
        settled: 0,
        reward: 0,
        until: UnixMillis(0),
        handled: 0,
    };
}

/// A queue of proofs on their way to the ledger.
pub(crate) struct Submitter {
    queue: mpsc::Sender<PerformanceProof>,
    refused: watch::Receiver<bool>,
    totals: watch::Receiver<Submitted>,
    events: EventSink,
    /// Ends with this: whoever drops the agent's future wants no proof handed in any more.
    task: AbortOnDrop<()>,
    queued: u64,
}

impl Submitter {
    /// Starts the queue.
    pub(crate) fn start(verifier: VerifierClient, events: EventSink) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let (refused_sender, refused) = watch::channel(false);
        let (totals_sender, totals) = watch::channel(Submitted::NONE);
        let worker = Worker {
            verifier,
            events: std::sync::Arc::clone(&events),
            refused: refused_sender,
            totals: totals_sender,
        };
        let task = AbortOnDrop::new(tokio::spawn(worker.run(waiting)));
        Self {
            queue,
            refused,
            totals,
            events,
            task,
            queued: 0,
        }
    }

    /// Queues a proof. If the queue ended, a proof was refused, and this one would be too. If it is full, waits
    /// for room, but not after `stop` was asked for: [`Self::finish`] tells of it.
    pub(crate) async fn submit(&mut self, proof: PerformanceProof, stop: &mut watch::Receiver<bool>) {
        self.queued += 1;
        tokio::select! {
            biased;
            _ended = self.queue.send(proof) => {}
            _stop = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Whether no proof is on its way. Only then may new evidence take the place of that which proofs name.
    pub(crate) fn is_idle(&self) -> bool {
        self.totals.borrow().handled == self.queued
    }

    /// How many proofs are on their way.
    pub(crate) fn waiting(&self) -> u64 {
        self.queued.saturating_sub(self.totals.borrow().handled)
    }

    /// Whether a proof was refused: see [`Self::refused`].
    pub(crate) fn is_refused(&self) -> bool {
        *self.refused.borrow()
    }

    /// Waits until no proof is on its way, or none can be settled any more.
    pub(crate) async fn idle(&mut self) {
        let queued = self.queued;
        // The sender's end: what is queued is not going to be dealt with.
        let _idle = self.totals.wait_for(|totals| totals.handled == queued).await;
    }

    /// Waits until a proof is refused: later ones build on it, so none of this boot can be settled any more.
    pub(crate) async fn refused(&mut self) {
        if self.refused.wait_for(|refused| *refused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Settles what waits, within a deadline, and warns of what is left.
    pub(crate) async fn finish(self) -> Submitted {
        drop(self.queue);
        let mut task = self.task;
        let _in_time = timeout(FINISH_DEADLINE, task.finished()).await;
        let submitted = *self.totals.borrow();
        let left = self.queued - submitted.handled;
        if left > 0 {
            let detail = format!(
                "proofs that still waited to be settled and were given up: {left}; `nautilus ledger proofs` shows what is settled"
            );
            (self.events)(Event {
                at: NodeClock::wall(),
                what: What::Warning { detail },
            });
        }
        submitted
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
                // Answered to this very proof: the answer to an earlier try was lost on the way.
                Err(VerifierError::Refused(error)) if error.kind == ALREADY_SETTLED => {
                    let detail = format!(
                        "proof of window {} was settled, but the answer was lost",
                        proof.sequence
                    );
                    self.emit(What::Warning { detail });
                }
                Err(error) => {
                    let detail = format!(
                        "proof of window {} was not settled: {}",
                        proof.sequence,
                        told(&error)
                    );
                    self.emit(What::Warning { detail });
                    self.totals.send_modify(|totals| totals.handled += 1);
                    self.refused.send_replace(true);
                    return;
                }
            }
            self.totals.send_modify(|totals| {
                totals.until = proof.time_range.end;
                totals.handled += 1;
            });
        }
    }

    /// Tries until the verifier answers or the proof expires.
    async fn settle(&self, proof: &PerformanceProof) -> Result<Settlement, VerifierError> {
        let mut backoff = Backoff::new();
        let mut id = MessageId::random().map_err(|error| VerifierError::NoRandomness(error.to_string()))?;
        loop {
            match self.verifier.settle(id, proof).await {
                Err(error) if error.may_pass() && NodeClock::wall() < proof.expires_at => {
                    if matches!(error, VerifierError::Failed(_)) {
                        // That was an answer, which the verifier would give again.
                        id = MessageId::random()
                            .map_err(|error| VerifierError::NoRandomness(error.to_string()))?;
                    }
                    let pause = backoff.pause();
                    let detail = format!("{}: trying again in {} ms", told(&error), pause.as_millis());
                    self.emit(What::Warning { detail });
                    sleep(pause).await;
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use nautilus_core::{BootId, Digest32, EvidenceId, PublicKey, Signature, TeeKind};
    use nautilus_proof::{ProofStatement, SampleChain, Window};
    use nautilus_verifier::api::{Answer, ApiError};
    use tokio::sync::Notify;

    use super::*;
    use crate::fake_verifier::{FakeVerifier, Said};
    use crate::identity::NodeIdentity;
    use crate::verifier_client::tests::quiet;

    /// A proof that nobody will get to verify.
    fn proof() -> PerformanceProof {
        let directory = tempfile::tempdir().unwrap();
        let identity = NodeIdentity::open_or_create(directory.path()).unwrap();
        let chain = SampleChain::of_boot(identity.node(), BootId([2; 16]));
        let now = NodeClock::wall();
        let statement = ProofStatement {
            window: Window {
                node: identity.node(),
                tee: TeeKind::Simulated,
                assurance: TeeKind::Simulated.assurance(),
                boot: BootId([2; 16]),
                sequence: 0,
                start: now,
                end: now.plus(1000),
                interval_millis: 1000,
                slots: 1,
                covered: 0,
                samples: 0,
                metrics_hash: chain.metrics_hash(),
                attestation_hash: EvidenceId([3; 32]),
                summary: chain.summary(),
            },
            merkle_root: Digest32([4; 32]),
            issued_at: now,
            expires_at: now.plus(60_000),
        };
        let seal_signature = identity.sign(&statement);
        let (key, signature) = (PublicKey([5; 32]), Signature([6; 64]));
        PerformanceProof::assemble(statement, Vec::new(), key, signature, seal_signature, Vec::new())
    }

    #[tokio::test]
    async fn a_submitter_that_is_dropped_tries_no_more() {
        let events: EventSink = Arc::new(|_| ());
        let verifier = FakeVerifier::start(|_, _| Said::Gone).await;
        let client = quiet(&verifier, Arc::new(|_| ()));
        let mut submitter = Submitter::start(client, Arc::clone(&events));
        let (_stop, mut stopped) = watch::channel(false);
        submitter.submit(proof(), &mut stopped).await;
        drop(submitter);
        // Its task would try for a minute, and holds the sink as long as it lives.
        while Arc::strong_count(&events) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_proof_whose_answer_was_lost_is_the_same_question() {
        let proof = proof();
        let wallet = nautilus_core::SuiAddress([8; 32]);
        let settlement = Settlement {
            proof_id: Digest32([7; 32]),
            node: proof.node_id,
            sequence: 0,
            height: 1,
            entry: Digest32([9; 32]),
            wallet,
            amount: 5,
            accrued: 5,
        };
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let verifier = FakeVerifier::start(move |id, _| {
            let mut asked = log.lock().unwrap();
            asked.push(id);
            match asked.len() {
                1 => Said::Gone,
                2 => Said::Declined(ApiError {
                    kind: "busy".to_owned(),
                    detail: "because".to_owned(),
                }),
                _ => Said::Answer(Answer::Settled(settlement.clone())),
            }
        })
        .await;
        let events: EventSink = Arc::new(|_| ());
        let mut submitter = Submitter::start(quiet(&verifier, Arc::clone(&events)), events);
        let (_stop, mut stopped) = watch::channel(false);
        submitter.submit(proof, &mut stopped).await;
        submitter.idle().await;
        let submitted = submitter.finish().await;
        assert_eq!((submitted.settled, submitted.reward), (1, 5));
        let asked = asked.lock().unwrap();
        let [lost, again, another] = asked.as_slice() else {
            panic!("{asked:?}");
        };
        assert_eq!(lost, again);
        // What was declined was answered: it would be declined again.
        assert_ne!(again, another);
    }

    #[tokio::test]
    async fn proofs_that_are_left_at_the_deadline_are_told() {
        let asked = Arc::new(Notify::new());
        let reached = Arc::clone(&asked);
        let verifier = FakeVerifier::start(move |_, _| {
            asked.notify_one();
            Said::Nothing
        })
        .await;
        let details = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&details);
        let events: EventSink = Arc::new(move |event: Event| {
            if let What::Warning { detail } = event.what {
                sink.lock().unwrap().push(detail);
            }
        });
        let mut submitter = Submitter::start(quiet(&verifier, Arc::clone(&events)), events);
        let (_stop, mut stopped) = watch::channel(true);
        for _ in 0..3 {
            submitter.submit(proof(), &mut stopped).await;
        }
        reached.notified().await;
        assert!(!submitter.is_idle());
        let submitted = submitter.finish().await;
        assert_eq!((submitted.settled, submitted.handled), (0, 0));
        let details = details.lock().unwrap();
        assert_eq!(details.len(), 1, "{details:?}");
        assert!(details[0].contains("given up: 3"), "{details:?}");
    }
}
