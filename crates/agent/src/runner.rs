//! The node's main job: boot the enclave, attest, sample, prove, settle; until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nautilus_core::{
    AppraisalVerdict, BoundUserData, Endorsement, EndorsementKind, Endorsements, Evidence, EvidenceFile,
    EvidenceId, NodeId, Purpose, TeeKind, UnixMillis,
};
use nautilus_enclave::{Identity, Reply, Request, SignedWindow};
use nautilus_monitor::{CollectError, SystemCollector};
use nautilus_proof::{CHECKS, MAX_VALIDITY_MILLIS, PerformanceProof, ProofError, Registration, SignedSample};
use nautilus_verifier::api::{AttestationRequest, RegisterRequest};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::clock::NodeClock;
use crate::enclave_process::{EnclaveError, EnclaveProcess, image_hash};
use crate::event::{BootFacts, Check, EnclaveFacts, EnclaveStatus, Event, EventSink, What};
use crate::identity::{IdentityError, NodeIdentity, write_private};
use crate::submitter::Submitter;
use crate::verifier_client::{VerifierClient, VerifierError};

/// Boots of the enclave on end that settle nothing, before the agent gives up.
const MAX_FRUITLESS_BOOTS: u32 = 5;
/// A verdict that ends sooner than this is renewed with the next window.
const RENEW_BEFORE_MILLIS: u64 = 10 * 60 * 1000;
/// Name of the node's enclave.
const ENCLAVE_NAME: &str = "node";

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
    /// booted again, with new evidence.
    ///
    /// # Errors
    /// If the job cannot be done: see [`AgentError`].
    pub async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), AgentError> {
        self.register().await?;
        let mut fruitless = 0;
        loop {
            let settled = self.totals.settled;
            let why = match self.boot(&mut stop).await? {
                BootEnd::Stopped => return Ok(()),
                BootEnd::Lost(why) => why,
            };
            fruitless = if self.totals.settled > settled {
                0
            } else {
                fruitless + 1
            };
            if fruitless == MAX_FRUITLESS_BOOTS {
                return Err(AgentError::TooManyBoots { last: why });
            }
            self.emit(What::Warning {
                detail: format!("{why}: booting the enclave again"),
            });
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
        let mut enclave = RunningEnclave::start(&self.settings, &self.events).await?;
        let end = self.attested_life(&mut enclave, stop).await;
        enclave.stop(&self.events).await;
        match end {
            Err(AgentError::Enclave(
                error @ (EnclaveError::Lost(_) | EnclaveError::Silent | EnclaveError::Frame(_)),
            )) => Ok(BootEnd::Lost(error.to_string())),
            other => other,
        }
    }

    async fn attested_life(
        &mut self,
        enclave: &mut RunningEnclave,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<BootEnd, AgentError> {
        enclave.initialize(self.identity.node(), &self.events).await?;
        let expires_at = self.attest(enclave, Purpose::Boot).await?;
        enclave.enter(EnclaveStatus::Attested, &self.events);
        let mut submitter = Submitter::start(self.verifier.clone(), Arc::clone(&self.events));
        let end = self
            .sample_and_prove(enclave, &mut submitter, expires_at, stop)
            .await;
        let submitted = submitter.finish().await;
        self.totals.settled += submitted.settled;
        self.totals.reward = self.totals.reward.saturating_add(submitted.reward);
        end
    }

    /// Challenge, evidence, verdict. Gives until when the verdict holds.
    async fn attest(&self, enclave: &mut RunningEnclave, purpose: Purpose) -> Result<UnixMillis, AgentError> {
        let terms = self.verifier.challenge(self.identity.node(), purpose).await?;
        let request = Request::Attest {
            purpose,
            challenge: terms.challenge(),
        };
        let Reply::Evidence { evidence, user_data } = enclave.process.request(&request).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        let bound = enclave.bound_user_data(&user_data, self.identity.node(), purpose)?;
        let file = EvidenceFile {
            evidence: Evidence {
                tee: enclave.tee()?,
                bytes: evidence,
                user_data: Some(user_data),
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
        let path = self.keep_evidence(&request.evidence, outcome.evidence_id)?;
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
    fn keep_evidence(&self, file: &EvidenceFile, id: EvidenceId) -> Result<PathBuf, AgentError> {
        let directory = self.settings.directory.join("evidence");
        crate::identity::create_private_directory(&directory)?;
        let path = directory.join(format!("{id}.json"));
        write_private(&path, file.to_json().as_bytes())?;
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
        let mut window = OpenWindow::starting(clock.at(clock.started() + self.settings.interval));
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => {
                    if !window.samples.is_empty() {
                        let end = clock.now();
                        self.close(enclave, submitter, window, end).await?;
                    }
                    return Ok(BootEnd::Stopped);
                }
                () = submitter.refused() => {
                    return Ok(BootEnd::Lost("the ledger does not go on with this boot's log".to_owned()));
                }
                due = ticks.tick() => {
                    let due = clock.at(due);
                    if window.is_over(due, &self.settings) {
                        if expires_at.since(clock.now()) < RENEW_BEFORE_MILLIS && submitter.is_idle() {
                            expires_at = self.attest(enclave, Purpose::Runtime).await?;
                        }
                        let next = OpenWindow::starting(clock.resync(due));
                        self.close(enclave, submitter, std::mem::replace(&mut window, next), due).await?;
                    }
                    window.samples.push(self.sample(enclave, &mut collector, clock.now()).await?);
                }
            }
        }
    }

    async fn sample(
        &self,
        enclave: &mut RunningEnclave,
        collector: &mut SystemCollector,
        at: UnixMillis,
    ) -> Result<SignedSample, AgentError> {
        let metrics = collector.collect()?;
        let Reply::Sample(signed) = enclave.process.request(&Request::Sample { at, metrics }).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        self.emit(What::Sample(Box::new(signed.clone())));
        Ok(signed)
    }

    /// Has a window proven and hands the proof on to be settled.
    async fn close(
        &self,
        enclave: &mut RunningEnclave,
        submitter: &mut Submitter,
        window: OpenWindow,
        end: UnixMillis,
    ) -> Result<(), AgentError> {
        let request = Request::CloseWindow {
            start: window.start,
            end,
            interval_millis: u64::try_from(self.settings.interval.as_millis()).unwrap_or(u64::MAX),
            now: NodeClock::wall(),
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
        proof.verify(NodeClock::wall())?;
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
        submitter.submit(proof).await;
        Ok(())
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

    fn is_over(&self, now: UnixMillis, settings: &Settings) -> bool {
        let full = self.samples.len() >= settings.batch as usize;
        full || Duration::from_millis(now.since(self.start)) >= settings.window
    }
}

/// An enclave and its state, which is told with every change.
struct RunningEnclave {
    process: EnclaveProcess,
    facts: EnclaveFacts,
    identity: Option<Identity>,
}

impl RunningEnclave {
    async fn start(settings: &Settings, events: &EventSink) -> Result<Self, AgentError> {
        let image_hash = image_hash(&settings.enclave_image)?;
        let run_directory = settings.directory.join("run");
        let process =
            EnclaveProcess::start(&settings.enclave_image, &run_directory, &settings.simulated).await?;
        let facts = EnclaveFacts {
            name: ENCLAVE_NAME.to_owned(),
            tee_type: TeeKind::Simulated,
            status: EnclaveStatus::Created,
            pid: process.pid(),
            image: settings.enclave_image.display().to_string(),
            image_hash,
            boot_id: None,
            tee_key: None,
        };
        let mut enclave = Self {
            process,
            facts,
            identity: None,
        };
        enclave.enter(EnclaveStatus::Created, events);
        Ok(enclave)
    }

    async fn initialize(&mut self, node: NodeId, events: &EventSink) -> Result<(), AgentError> {
        let Reply::Identity(identity) = self.process.request(&Request::Initialize { node }).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        self.identity = Some(identity);
        self.facts.tee_type = identity.tee;
        self.facts.boot_id = Some(identity.boot);
        self.facts.tee_key = Some(identity.tee_key);
        self.enter(EnclaveStatus::Initialized, events);
        Ok(())
    }

    fn identity(&self) -> Result<Identity, AgentError> {
        self.identity.ok_or_else(|| EnclaveError::WrongReply.into())
    }

    fn tee(&self) -> Result<TeeKind, AgentError> {
        self.identity().map(|identity| identity.tee)
    }

    /// What the evidence binds, if it is what this enclave should bind: the wallet signs nothing else.
    fn bound_user_data(
        &self,
        bytes: &[u8],
        node: NodeId,
        purpose: Purpose,
    ) -> Result<BoundUserData, AgentError> {
        let identity = self.identity()?;
        BoundUserData::from_canonical(bytes)
            .filter(|bound| (bound.node, bound.purpose) == (node, purpose))
            .filter(|bound| {
                (bound.tee, bound.boot, bound.tee_key) == (identity.tee, identity.boot, identity.tee_key)
            })
            .ok_or_else(|| EnclaveError::WrongReply.into())
    }

    fn enter(&mut self, status: EnclaveStatus, events: &EventSink) {
        self.facts.status = status;
        events(Event {
            at: NodeClock::wall(),
            what: What::Enclave(self.facts.clone()),
        });
    }

    async fn stop(mut self, events: &EventSink) {
        self.enter(EnclaveStatus::Terminated, events);
        self.process.stop().await;
    }
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
