//! While the enclave runs: samples are taken, windows closed and proven, and orders followed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use nautilus_core::{Purpose, SignedMessage as _, UnixMillis};
use nautilus_enclave::{Reply, Request, SignedHead, SignedWindow};
use nautilus_monitor::aggregate::Aggregator;
use nautilus_monitor::openmetrics::AttestationStage;
use nautilus_monitor::panel::Collection;
use nautilus_monitor::schedule::{Schedule, Tick};
use nautilus_monitor::store::Entry as StoreEntry;
use nautilus_proof::{
    CHECKS, MAX_VALIDITY_MILLIS, Measurement, PerformanceProof, Readings, Sample, SignedBatch,
};
use nautilus_verifier::told;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::stop::{asked, until_stop};
use super::window::OpenWindow;
use super::{Agent, AgentError, BootEnd};
use crate::clock::NodeClock;
use crate::enclave_manager::{Driver, EnclaveStatus, Entry, Life, ManagerError, Order, OrderKind};
use crate::enclave_process::EnclaveError;
use crate::event::{Check, What};
use crate::key_manager::RotationDue;
use crate::monitor::Monitor;
use crate::submitter::Submitter;

/// A verdict that ends sooner than this is renewed with the next window.
const RENEW_BEFORE_MILLIS: u64 = 10 * 60 * 1000;
/// Collectors have half an interval, and this at most.
const COLLECT_DEADLINE: Duration = Duration::from_secs(5);
/// At a stop, the store has this long to take the last batch.
const LAST_STORING: Duration = Duration::from_millis(500);
/// At a stop, evidence that others displaced has this long to be renewed, so that the last window can be proven.
const LAST_RENEWAL: Duration = Duration::from_secs(1);

/// Whether the node stops after this window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    No,
    Yes,
}

/// A sample that the enclave chained, and no signature speaks for yet.
pub(super) struct Unsigned {
    sample: Sample,
    readings: Readings,
}

/// What sampling has at hand.
pub(super) struct Sampling<'a> {
    pub(super) agent: &'a Agent,
    pub(super) life: &'a mut Life,
    pub(super) monitor: &'a mut Monitor,
    pub(super) schedule: Schedule,
    pub(super) unsigned: Aggregator<Unsigned>,
    pub(super) submitter: &'a mut Submitter,
    /// Until when the verdict on the node's evidence holds.
    pub(super) expires_at: UnixMillis,
    pub(super) stop: &'a mut watch::Receiver<bool>,
    /// When the enclave's keys are to be replaced.
    pub(super) due: RotationDue,
    /// Whether the enclave was told to sign nothing: it stays so in another boot.
    pub(super) suspended: &'a mut bool,
}

impl Sampling<'_> {
    /// Until the node stops or the boot ends.
    pub(super) async fn run(mut self, driver: &mut Driver) -> Result<BootEnd, AgentError> {
        let settings = &self.agent.settings;
        let entry = Arc::clone(self.life.entry());
        entry
            .enter(EnclaveStatus::Running, None)
            .map_err(ManagerError::from)?;
        if *self.suspended {
            self.life.suspend().await?;
        }
        let mut clock = NodeClock::start();
        let first = self.schedule.start() + settings.interval;
        let mut window = OpenWindow::starting(clock.at(first));
        loop {
            tokio::select! {
                biased;
                () = asked(self.stop) => {
                    self.close_rest(window, &clock).await?;
                    return Ok(BootEnd::Stopped);
                }
                () = self.submitter.refused() => {
                    self.sign_batch(&mut window).await?;
                    return Ok(BootEnd::of_refused_log());
                }
                why = self.life.ended() => return Ok(BootEnd::Lost(format!("enclave has ended: {why}"))),
                order = driver.order() => match order.kind {
                    OrderKind::Terminate => {
                        self.close_rest(window, &clock).await?;
                        return Ok(BootEnd::Terminated(order));
                    }
                    OrderKind::Rotate => {
                        let turn = self.rotate_for(order, driver, &mut window, &clock).await?;
                        if let ControlFlow::Break(end) = turn {
                            return Ok(end);
                        }
                    }
                    OrderKind::Suspend if entry.instance().status == EnclaveStatus::Running => {
                        let end = window.end(clock.now());
                        if !self.close_rest(window, &clock).await? {
                            let why = "the window could not be proven before the enclave was suspended";
                            return Ok(BootEnd::Lost(why.to_owned()));
                        }
                        window = OpenWindow::starting(end);
                        self.follow(order).await?;
                    }
                    OrderKind::Suspend | OrderKind::Resume => {
                        // What was not sampled meanwhile is no part of a window.
                        window = OpenWindow::starting(window.start.max(clock.now()));
                        self.follow(order).await?;
                    }
                },
                tick = self.schedule.next() => {
                    if *self.suspended {
                        self.schedule.unmeasured(&tick);
                        continue;
                    }
                    if let Some(behind) = clock.set_back() {
                        let seconds = behind / 1000;
                        let why = format!(
                            "the machine's clock was set back by {seconds} s, so the open window is not proven"
                        );
                        // Not proven, but signed and kept.
                        self.sign_batch(&mut window).await?;
                        return Ok(BootEnd::Lost(why));
                    }
                    let due = clock.at(tick.due);
                    if window.is_over(due, settings) {
                        let end = window.end(due);
                        let next = OpenWindow::starting(clock.resync(end));
                        let over = std::mem::replace(&mut window, next);
                        if !self.close(over, end, &clock, Last::No).await? {
                            return Ok(BootEnd::Stopped);
                        }
                    }
                    if let ControlFlow::Break(end) = self.rotate_if_due(driver, &mut window, &clock).await? {
                        return Ok(end);
                    }
                    let Some(collection) = self.measure().await else {
                        // The loop sees to it that the node stops.
                        self.schedule.unmeasured(&tick);
                        continue;
                    };
                    self.sample(collection, &tick, &mut window, &clock).await?;
                    if self.unsigned.due(tick.due) {
                        self.sign_batch(&mut window).await?;
                    }
                }
            }
        }
    }

    /// Has everything measured. None if the node stops meanwhile.
    async fn measure(&mut self) -> Option<Collection> {
        let entry = self.life.entry();
        self.monitor
            .before(&entry.instance(), self.agent.verifier.round_trip());
        let deadline = (self.agent.settings.interval / 2).min(COLLECT_DEADLINE);
        until_stop(self.stop, self.monitor.collect(deadline)).await
    }

    /// Has the enclave number and chain what was measured, and shows it.
    async fn sample(
        &mut self,
        mut collection: Collection,
        tick: &Tick,
        window: &mut OpenWindow,
        clock: &NodeClock,
    ) -> Result<(), AgentError> {
        self.monitor.add_own(&mut collection, self.unsigned.len());
        let waiting = usize::try_from(self.submitter.waiting()).unwrap_or(usize::MAX);
        self.agent.feed.instruments().proofs_waiting(waiting);
        let committed = collection.commit();
        let measurement = Box::new(Measurement {
            at: window.next_sample(clock.now()),
            monotonic_millis: tick.monotonic_millis,
            missed: tick.missed,
            clock_step_millis: tick.clock_step_millis,
            suspended_millis: tick.suspended_millis,
            metrics: committed.metrics,
            response_time_micros: committed.response_time_micros,
            gaps: committed.gaps,
            readings: committed.digest,
            reading_count: committed.count,
        });
        let Reply::Sample(sample) = self.life.request(Request::Sample { measurement }).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        self.monitor.clocks(tick);
        self.monitor
            .sampled(&collection, &sample, &self.life.entry().instance());
        self.agent.emit(What::Sample(sample.clone()));
        window.took(&sample);
        let unsigned = Unsigned {
            sample: *sample,
            readings: committed.readings,
        };
        // It is flushed before it can be full: see the loop above.
        self.unsigned
            .push(unsigned)
            .map_err(|full| AgentError::BufferFull(full.capacity))
    }

    /// Has the enclave sign what it did not sign yet, and hands it on to be kept.
    async fn sign_batch(&mut self, window: &mut OpenWindow) -> Result<(), AgentError> {
        let unsigned = self.unsigned.take_batch(self.schedule.now().monotonic);
        let Some(last) = unsigned.last() else {
            return Ok(());
        };
        let head = last.sample.digest();
        let Reply::Batch(signed) = self.life.request(Request::SignBatch).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        let SignedHead { batch, signature } = *signed;
        if batch.head != head {
            return Err(EnclaveError::WrongReply.into());
        }
        self.agent.emit(What::Batch {
            first: batch.first,
            count: batch.count,
            head,
            signature,
        });
        let (samples, readings) = unsigned.into_iter().map(|one| (one.sample, one.readings)).unzip();
        let batch = SignedBatch { samples, signature };
        window.signed(batch.clone());
        // Waits only under the policy that says so, and at a stop not for long.
        let kept = self.monitor.keep(StoreEntry { batch, readings });
        let stopped = async {
            asked(self.stop).await;
            sleep(LAST_STORING).await;
        };
        tokio::select! {
            biased;
            () = kept => {}
            () = stopped => {}
        }
        Ok(())
    }

    /// Suspends or resumes, and tells whoever asked. A refusal is theirs; an enclave that is lost is ours too.
    async fn follow(&mut self, order: Order) -> Result<(), AgentError> {
        let suspend = order.kind == OrderKind::Suspend;
        let done = if suspend {
            self.life.suspend().await
        } else {
            self.life.resume().await
        };
        let lost = match &done {
            Ok(()) => {
                *self.suspended = suspend;
                None
            }
            Err(ManagerError::Enclave(error)) => Some(EnclaveError::Gone(told(error))),
            Err(_) => None,
        };
        order.answer(done.map(|()| self.life.entry().instance()));
        lost.map_or(Ok(()), |lost| Err(lost.into()))
    }

    /// Closes what is open, where it holds anything. False if that could not be proven.
    async fn close_rest(&mut self, window: OpenWindow, clock: &NodeClock) -> Result<bool, AgentError> {
        if window.is_empty() {
            return Ok(true);
        }
        let end = window.end(clock.now());
        self.close(window, end, clock, Last::Yes).await
    }

    /// Has a window that ends at `end` proven, and hands the proof on to be settled. False if the node stopped before.
    pub(super) async fn close(
        &mut self,
        mut window: OpenWindow,
        end: UnixMillis,
        clock: &NodeClock,
        last: Last,
    ) -> Result<bool, AgentError> {
        self.sign_batch(&mut window).await?;
        let entry = Arc::clone(self.life.entry());
        // Nobody else's evidence comes between the node's own and the window that names it.
        let gate = entry.evidence.write().await;
        if !self.renew(&entry, clock, last).await? {
            return Ok(false);
        }
        let now = clock.latest();
        let interval = self.agent.settings.interval;
        let request = Request::CloseWindow {
            start: window.start,
            end,
            interval_millis: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            now,
            validity_millis: MAX_VALIDITY_MILLIS,
        };
        let Reply::Window(signed) = self.life.request(request).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        drop(gate);
        let SignedWindow {
            statement,
            merkle_proof,
            tee_signature,
        } = *signed;
        let seal_signature = self.agent.identity.sign(&statement);
        let proof = PerformanceProof::assemble(
            statement,
            merkle_proof,
            self.life.identity().tee_key,
            tee_signature,
            seal_signature,
            window.into_batches(),
        );
        // Thousands of samples would hold up everything else on this thread.
        let (proof, verified) = spawn_blocking(move || {
            let verified = proof.verify(now);
            (proof, verified)
        })
        .await?;
        verified?;
        let checks = CHECKS
            .map(|check| Check {
                check: check.to_owned(),
                passed: true,
            })
            .to_vec();
        let took = NodeClock::wall().since(end);
        self.agent.feed.instruments().proved(Duration::from_millis(took));
        self.agent.emit(What::Proof {
            proof: Box::new(proof.clone()),
            checks,
        });
        self.submitter.submit(proof, self.stop).await;
        Ok(true)
    }

    /// Renews the node's evidence where the verdict ends soon, or where others had evidence made that took its place.
    /// False if there is none that a window could name.
    async fn renew(&mut self, entry: &Entry, clock: &NodeClock, last: Last) -> Result<bool, AgentError> {
        let agent = self.agent;
        if entry.is_displaced() {
            let submitter = &mut *self.submitter;
            let renewed = async {
                // Proofs that are under way name the evidence that the ledger knows now.
                submitter.idle().await;
                let attested = agent.persist(async || {
                    agent
                        .attest_for(AttestationStage::Renewal, entry, Purpose::Runtime)
                        .await
                });
                attested.await
            };
            let renewed = match last {
                Last::No => until_stop(self.stop, renewed).await,
                Last::Yes => timeout(LAST_RENEWAL, renewed).await.ok(),
            };
            return self.take_up(renewed.transpose()?.map(Some));
        }
        let ends_soon = self.expires_at.since(clock.now()) < RENEW_BEFORE_MILLIS;
        if last == Last::No && ends_soon && self.submitter.is_idle() {
            let renewed = until_stop(self.stop, agent.renew(entry)).await;
            return self.take_up(renewed.transpose()?);
        }
        Ok(true)
    }

    /// None: the node stopped meanwhile. Some(None): there is no new verdict, and the old one goes on.
    #[expect(clippy::option_option, reason = "whether it was done, and what came of it")]
    fn take_up(&mut self, renewed: Option<Option<UnixMillis>>) -> Result<bool, AgentError> {
        let Some(renewed) = renewed else {
            self.agent
                .warn("stopped while evidence was renewed: the last window is not proven".to_owned());
            return Ok(false);
        };
        self.expires_at = renewed.unwrap_or(self.expires_at);
        Ok(true)
    }
}
