//! The node's main job: boot the enclave, attest, sample, prove, settle; until it is told to stop.

mod running_enclave;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nautilus_core::{
    AppraisalVerdict, ChallengeTerms, Endorsement, EndorsementKind, Endorsements, Evidence, EvidenceFile,
    EvidenceId, Purpose, UnixMillis,
};
use nautilus_enclave::{Reply, Request, SignedWindow};
use nautilus_monitor::{CollectError, SystemCollector};
use nautilus_proof::{
    CHECKS, MAX_VALIDITY_MILLIS, Metrics, PerformanceProof, ProofError, Registration, SignedSample,
};
use nautilus_verifier::api::{AttestationRequest, RegisterRequest};
use nautilus_verifier::{private_file, told};
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval_at, sleep};

use crate::backoff::Backoff;
use crate::clock::NodeClock;
use crate::enclave_process::EnclaveError;
use crate::event::{BootFacts, Check, EnclaveStatus, Event, EventSink, What};
use crate::identity::{IdentityError, NodeIdentity};
use crate::submitter::Submitter;
use crate::verifier_client::{VerifierClient, VerifierError};
use running_enclave::RunningEnclave;

/// Boots of the enclave on end that settle nothing, before the agent gives up.
const MAX_FRUITLESS_BOOTS: u32 = 5;
/// A verdict that ends sooner than this is renewed with the next window.
const RENEW_BEFORE_MILLIS: u64 = 10 * 60 * 1000;
/// Readings on end that fail, before the agent gives up. Fewer leave slots without a sample.
const MAX_FAILED_READINGS: u32 = 10;
/// How often the machine's clock is looked at while it has to catch up.
const CLOCK_POLL: Duration = Duration::from_secs(1);

/// What the agent needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the agent keeps its state.
    pub directory: PathBuf,
    /// Where the simulated platform's keys and endorsements are.
    pub simulated: PathBuf,
    /// The enclave's program.
    pub enclave_image: PathBuf,
    /// URL of the verifier.
    pub verifier: String,
    /// Time between samples.
    pub interval: Duration,
    /// Length of a window; ends with the first sample that is due after it.
    pub window: Duration,
    /// Most samples in a window.
    pub batch: u32,
}

/// Why the agent gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The node has no identity.
    #[error("node identity is not usable")]
    Identity(#[from] IdentityError),
    /// The enclave cannot be used.
    #[error("enclave is not usable")]
    Enclave(#[from] EnclaveError),
    /// The machine cannot be measured.
    #[error("machine cannot be measured")]
    Collect(#[from] CollectError),
    /// The verifier gave no success.
    #[error("verifier is not usable")]
    Verifier(#[from] VerifierError),
    /// The policy rejected the node's evidence.
    #[error("policy `{policy}` rejected the node's evidence: {findings}")]
    Rejected {
        /// Its name.
        policy: String,
        /// The findings that failed.
        findings: String,
    },
    /// The simulated platform's endorsements cannot be read.
    #[error("cannot read endorsements {}", path.display())]
    Endorsements {
        /// Their path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Evidence cannot be archived.
    #[error("cannot keep evidence {}", path.display())]
    KeepEvidence {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Work on another thread had no end.
    #[error("work in the background was cut short")]
    Background(#[from] JoinError),
    /// Its own proof does not verify: a bug, or an enclave that is not ours.
    #[error("proof does not verify")]
    Proof(#[from] ProofError),
    /// One boot after the other ended before it settled anything.
    #[error("enclave was lost {MAX_FRUITLESS_BOOTS} times on end; the last time: {last}")]
    TooManyBoots {
        /// What happened the last time.
        last: String,
    },
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Proofs settled.
    pub settled: u64,
    /// Rewards, in the smallest unit.
    pub reward: u64,
}

/// How a boot of the enclave ended.
enum BootEnd {
    /// It was told to stop.
    Stopped,
    /// It cannot go on; another boot may.
    Lost(String),
}

/// The node's agent.
pub struct Agent {
    settings: Settings,
    identity: NodeIdentity,
    verifier: VerifierClient,
    events: EventSink,
    totals: Totals,
    settled_until: UnixMillis,
}

impl Agent {
    /// An agent with the identity in its directory; a new one at first use.
    ///
    /// # Errors
    /// If the identity is not usable.
    pub fn open(settings: Settings, events: EventSink) -> Result<Self, AgentError> {
        let identity = NodeIdentity::open_or_create(&settings.directory)?;
        let verifier = VerifierClient::new(&settings.verifier);
        Ok(Self {
            settings,
            identity,
            verifier,
            events,
            totals: Totals::default(),
            settled_until: UnixMillis(0),
        })
    }

    /// The node's identity.
    pub const fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    /// What came of the run so far.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Does the main job until `stop` is true. An enclave that is lost, or whose log the ledger refuses, is
    /// booted again, with new evidence; a verifier that cannot be reached is tried again. Once `stop` is true,
    /// nothing is booted or tried again. Dropping the future ends the enclave and hands in no more proofs.
    ///
    /// # Errors
    /// If the job cannot be done: see [`AgentError`].
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), AgentError> {
        let registered = until_stop(&mut stop, self.persist(async || self.register().await)).await;
        if registered.transpose()?.is_none() {
            return Ok(());
        }
        let mut fruitless = 0;
        loop {
            if until_stop(&mut stop, self.clock_has_caught_up()).await.is_none() {
                return Ok(());
            }
            let settled = self.totals.settled;
            let why = match self.boot(&mut stop).await? {
                BootEnd::Stopped => return Ok(()),
                BootEnd::Lost(why) => why,
            };
            if *stop.borrow() {
                self.warn(why);
                return Ok(());
            }
            fruitless = if self.totals.settled > settled {
                0
            } else {
                fruitless + 1
            };
            if fruitless == MAX_FRUITLESS_BOOTS {
                return Err(AgentError::TooManyBoots { last: why });
            }
            self.warn(format!("{why}: booting the enclave again"));
        }
    }

    /// Waits until the machine's clock, if it was set back, is past what is settled: the ledger takes no time twice.
    async fn clock_has_caught_up(&self) {
        let behind = self.settled_until.since(NodeClock::wall());
        if behind == 0 {
            return;
        }
        self.warn(format!(
            "the machine's clock is {} s behind what is settled: waiting until it has caught up",
            behind.div_ceil(1000)
        ));
        // Looked at again and again: it may be set once more.
        while self.settled_until > NodeClock::wall() {
            sleep(CLOCK_POLL).await;
        }
    }

    /// Tries until the verifier answers, with a warning each time that it does not.
    async fn persist<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        let mut backoff = Backoff::new();
        loop {
            match attempt().await {
                Err(AgentError::Verifier(error)) if error.may_pass() || error.wants_new_challenge() => {
                    let pause = backoff.pause();
                    self.warn(format!(
                        "{}: trying again in {} ms",
                        told(&error),
                        pause.as_millis()
                    ));
                    sleep(pause).await;
                }
                result => return result,
            }
        }
    }

    async fn register(&self) -> Result<(), AgentError> {
        let registration = Registration {
            node: self.identity.node(),
            wallet: self.identity.wallet(),
            label: self.identity.label(),
            verifier: self.verifier.facts().await?.verifier,
        };
        let signature = self.identity.sign(&registration);
        self.verifier
            .register(&RegisterRequest {
                registration,
                signature,
            })
            .await?;
        Ok(())
    }

    /// One life of the enclave.
    async fn boot(&mut self, stop: &mut watch::Receiver<bool>) -> Result<BootEnd, AgentError> {
        let start = RunningEnclave::start(&self.settings, &self.events);
        let Some(mut enclave) = until_stop(stop, start).await.transpose()? else {
            return Ok(BootEnd::Stopped);
        };
        let end = self.attested_life(&mut enclave, stop).await;
        enclave.stop(&self.events).await;
        match end {
            Err(AgentError::Enclave(
                error @ (EnclaveError::Lost(_) | EnclaveError::Silent | EnclaveError::Frame(_)),
            )) => Ok(BootEnd::Lost(told(&error))),
            other => other,
        }
    }

    async fn attested_life(
        &mut self,
        enclave: &mut RunningEnclave,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<BootEnd, AgentError> {
        let attested = until_stop(stop, async {
            enclave.initialize(self.identity.node(), &self.events).await?;
            self.persist(async || self.attest(enclave, Purpose::Boot).await)
                .await
        });
        let Some(expires_at) = attested.await.transpose()? else {
            return Ok(BootEnd::Stopped);
        };
        enclave.enter(EnclaveStatus::Attested, &self.events);
        let mut submitter = Submitter::start(self.verifier.clone(), Arc::clone(&self.events));
        let end = self
            .sample_and_prove(enclave, &mut submitter, expires_at, stop)
            .await;
        let submitted = submitter.finish().await;
        self.totals.settled += submitted.settled;
        self.totals.reward = self.totals.reward.saturating_add(submitted.reward);
        self.settled_until = self.settled_until.max(submitted.until);
        end
    }

    /// Challenge, evidence, verdict. Gives until when the verdict holds.
    async fn attest(&self, enclave: &mut RunningEnclave, purpose: Purpose) -> Result<UnixMillis, AgentError> {
        let terms = self.verifier.challenge(self.identity.node(), purpose).await?;
        self.answer(enclave, &terms).await
    }

    /// A new verdict while the old one lasts. None if the verifier cannot give one now, and nothing changed.
    async fn renew(&self, enclave: &mut RunningEnclave) -> Result<Option<UnixMillis>, AgentError> {
        let purpose = Purpose::Runtime;
        let terms = match self.verifier.challenge(self.identity.node(), purpose).await {
            Err(error) if error.may_pass() => {
                self.warn(format!(
                    "evidence was not renewed: {}: trying again with the next window",
                    told(&error)
                ));
                return Ok(None);
            }
            terms => terms?,
        };
        // From here on the enclave's windows name the new evidence, so none can be settled before its verdict.
        match self.answer(enclave, &terms).await {
            Err(AgentError::Verifier(error)) if error.may_pass() || error.wants_new_challenge() => {
                self.warn(format!(
                    "evidence was not renewed: {}: trying again at once",
                    told(&error)
                ));
                let again = self.persist(async || self.attest(enclave, purpose).await);
                again.await.map(Some)
            }
            result => result.map(Some),
        }
    }

    /// Has the enclave answer a challenge, and the verifier judge it.
    async fn answer(
        &self,
        enclave: &mut RunningEnclave,
        terms: &ChallengeTerms,
    ) -> Result<UnixMillis, AgentError> {
        let purpose = terms.purpose;
        let request = Request::Attest {
            purpose,
            challenge: terms.challenge(),
        };
        let Reply::Evidence(attested) = enclave.process.request(&request).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        let bound = enclave.bound_user_data(&attested.user_data, self.identity.node(), purpose)?;
        let file = EvidenceFile {
            evidence: Evidence {
                tee: enclave.tee()?,
                bytes: attested.evidence,
                user_data: Some(attested.user_data),
                event_log: attested.event_log,
            },
            challenge: terms.challenge(),
            endorsements: simulated_endorsements(&self.settings.simulated)?,
            created_at: NodeClock::wall(),
        };
        let request = AttestationRequest {
            seal_signature: self.identity.sign(&bound),
            evidence: file,
        };
        let outcome = self.verifier.attest(&request).await?;
        let path = self.keep_evidence(request.evidence, outcome.evidence_id).await?;
        self.emit(What::Boot(Box::new(BootFacts {
            node_id: self.identity.node(),
            wallet: self.identity.wallet(),
            verdict: outcome.verdict,
            assurance: outcome.assurance,
            evidence_id: outcome.evidence_id,
            evidence_file: path.display().to_string(),
            appraisal: outcome.appraisal.clone(),
        })));
        match outcome.verdict {
            AppraisalVerdict::Accepted => Ok(outcome.expires_at),
            AppraisalVerdict::Rejected => Err(rejected(&outcome.appraisal)),
        }
    }

    /// Evidence is archived with its endorsements, so that an auditor can appraise it again.
    async fn keep_evidence(&self, file: EvidenceFile, id: EvidenceId) -> Result<PathBuf, AgentError> {
        let directory = self.settings.directory.join("evidence");
        let path = directory.join(format!("{id}.json"));
        let kept = path.clone();
        spawn_blocking(move || {
            private_file::create_directory(&directory)?;
            private_file::write(&kept, file.to_json().as_bytes())
        })
        .await?
        .map_err(|source| AgentError::KeepEvidence {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    async fn sample_and_prove(
        &mut self,
        enclave: &mut RunningEnclave,
        submitter: &mut Submitter,
        mut expires_at: UnixMillis,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<BootEnd, AgentError> {
        let mut collector = SystemCollector::new("/")?;
        enclave.enter(EnclaveStatus::Running, &self.events);
        let mut clock = NodeClock::start();
        let mut ticks = interval_at(clock.started() + self.settings.interval, self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut failed_readings = 0;
        let mut window = OpenWindow::starting(clock.at(clock.started() + self.settings.interval));
        loop {
            tokio::select! {
                biased;
                () = asked(stop) => {
                    if !window.samples.is_empty() {
                        let end = window.end(clock.now());
                        self.close(enclave, submitter, window, end, clock.latest(), stop).await?;
                    }
                    return Ok(BootEnd::Stopped);
                }
                () = submitter.refused() => {
                    return Ok(BootEnd::Lost("the ledger does not go on with this boot's log".to_owned()));
                }
                due = ticks.tick() => {
                    if let Some(behind) = clock.set_back() {
                        let seconds = behind / 1000;
                        let why = format!(
                            "the machine's clock was set back by {seconds} s, so the open window is not proven"
                        );
                        return Ok(BootEnd::Lost(why));
                    }
                    let due = clock.at(due);
                    if window.is_over(due, &self.settings) {
                        if expires_at.since(clock.now()) < RENEW_BEFORE_MILLIS && submitter.is_idle() {
                            let Some(renewed) = until_stop(stop, self.renew(enclave)).await else {
                                self.warn("stopped while evidence was renewed: the last window is not proven".to_owned());
                                return Ok(BootEnd::Stopped);
                            };
                            expires_at = renewed?.unwrap_or(expires_at);
                        }
                        let end = window.end(due);
                        let next = OpenWindow::starting(clock.resync(end));
                        let over = std::mem::replace(&mut window, next);
                        self.close(enclave, submitter, over, end, clock.latest(), stop).await?;
                    }
                    match collector.collect() {
                        Ok(metrics) => {
                            failed_readings = 0;
                            let at = window.next_sample(clock.now());
                            window.samples.push(self.sample(enclave, metrics, at).await?);
                        }
                        Err(error) => {
                            failed_readings += 1;
                            if failed_readings == MAX_FAILED_READINGS {
                                return Err(error.into());
                            }
                            self.warn(format!("there is no sample this time: {}", told(&error)));
                        }
                    }
                }
            }
        }
    }

    async fn sample(
        &self,
        enclave: &mut RunningEnclave,
        metrics: Metrics,
        at: UnixMillis,
    ) -> Result<SignedSample, AgentError> {
        let Reply::Sample(signed) = enclave.process.request(&Request::Sample { at, metrics }).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        self.emit(What::Sample(Box::new(signed.clone())));
        Ok(signed)
    }

    /// Has a window that ends at `end` proven at `now`, and hands the proof on to be settled.
    async fn close(
        &self,
        enclave: &mut RunningEnclave,
        submitter: &mut Submitter,
        window: OpenWindow,
        end: UnixMillis,
        now: UnixMillis,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), AgentError> {
        let request = Request::CloseWindow {
            start: window.start,
            end,
            interval_millis: u64::try_from(self.settings.interval.as_millis()).unwrap_or(u64::MAX),
            now,
            validity_millis: MAX_VALIDITY_MILLIS,
        };
        let Reply::Window(signed) = enclave.process.request(&request).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        let SignedWindow {
            statement,
            merkle_proof,
            tee_signature,
        } = *signed;
        let seal_signature = self.identity.sign(&statement);
        let tee_key = enclave.identity()?.tee_key;
        let proof = PerformanceProof::assemble(
            statement,
            merkle_proof,
            tee_key,
            tee_signature,
            seal_signature,
            window.samples,
        );
        // Thousands of signatures would hold up everything else on this thread.
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
        self.emit(What::Proof {
            proof: Box::new(proof.clone()),
            checks,
        });
        submitter.submit(proof, stop).await;
        Ok(())
    }

    fn warn(&self, detail: String) {
        self.emit(What::Warning { detail });
    }

    fn emit(&self, what: What) {
        (self.events)(Event {
            at: NodeClock::wall(),
            what,
        });
    }
}

/// The window that is being filled.
struct OpenWindow {
    start: UnixMillis,
    samples: Vec<SignedSample>,
}

impl OpenWindow {
    const fn starting(start: UnixMillis) -> Self {
        Self {
            start,
            samples: Vec::new(),
        }
    }

    /// Whether it is to be closed; one without a sample has nothing to prove and goes on.
    fn is_over(&self, now: UnixMillis, settings: &Settings) -> bool {
        let full = self.samples.len() >= settings.batch as usize;
        let long = Duration::from_millis(now.since(self.start)) >= settings.window;
        !self.samples.is_empty() && (full || long)
    }

    /// Where it ends if it is closed at `at`: after its last sample in any case.
    fn end(&self, at: UnixMillis) -> UnixMillis {
        self.after_last_sample().map_or(at, |after| at.max(after))
    }

    /// The time of a sample that is taken at `now`: in this window, and after the one before.
    fn next_sample(&self, now: UnixMillis) -> UnixMillis {
        now.max(self.after_last_sample().unwrap_or(self.start))
    }

    fn after_last_sample(&self) -> Option<UnixMillis> {
        self.samples.last().map(|signed| signed.sample.at.plus(1))
    }
}

/// What `work` gives, or nothing once `stop` was asked for.
async fn until_stop<T>(stop: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = asked(stop) => None,
        done = work => Some(done),
    }
}

/// Waits until `stop` is asked for; that nobody is left to ask is the same.
async fn asked(stop: &mut watch::Receiver<bool>) {
    let _asked = stop.wait_for(|stop| *stop).await;
}

/// The endorsements that the simulated vendor publishes beside its platform.
pub(crate) fn simulated_endorsements(simulated: &std::path::Path) -> Result<Endorsements, AgentError> {
    let path = simulated.join("collateral.json");
    let bytes = std::fs::read(&path).map_err(|source| AgentError::Endorsements {
        path: path.clone(),
        source,
    })?;
    let origin = path.display().to_string();
    Ok(Endorsements(vec![Endorsement {
        kind: EndorsementKind::DcapCollateral,
        bytes,
        origin,
    }]))
}

fn rejected(appraisal: &serde_json::Value) -> AgentError {
    let failed = appraisal["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["passed"] == false);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let findings: Vec<_> = failed
        .map(|finding| format!("{}: {}", text(&finding["rule"]), text(&finding["detail"])))
        .collect();
    AgentError::Rejected {
        policy: text(&appraisal["policy"]),
        findings: findings.join("; "),
    }
}

#[cfg(test)]
mod tests;
