//! The node's main job: boot the enclave, attest, sample, prove, settle; until it is told to stop.

mod error;
mod evidence;
mod provision;
mod rotation;
mod sampling;
mod stop;
mod window;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nautilus_channel::Backoff;
use nautilus_core::{Purpose, TeeKind, UnixMillis};
use nautilus_monitor::aggregate::Aggregator;
use nautilus_monitor::openmetrics::{AttestationStage, Build, NodeMetrics};
use nautilus_monitor::schedule::{MachineClock, Schedule};
use nautilus_verifier::told;
use tokio::sync::watch;
use tokio::time::sleep;

pub use self::error::AgentError;
use self::error::MAX_FRUITLESS_BOOTS;
use self::sampling::Sampling;
use self::stop::until_stop;
use crate::attestation_service::{Appraiser, AttestationService, Pipeline};
use crate::clock::NodeClock;
use crate::control::{Commands, Control};
use crate::enclave_manager::{
    Driver, EnclaveManager, EnclaveName, EnclaveStatus, Entry, Launch, LaunchCheck, Life, ManagerError, Order,
};
use crate::enclave_process::Transport;
use crate::event::{Event, EventSink, What};
use crate::identity::NodeIdentity;
use crate::key_manager::{RotationDue, RotationSchedule};
use crate::monitor::{Feed, Monitor, Monitoring};
use crate::page::Board;
use crate::submitter::Submitter;
use crate::verifier_client::{NodePresenter, Part, VerifierAddress, VerifierClient, VerifierError};

/// How often the machine's clock is looked at while it has to catch up.
const CLOCK_POLL: Duration = Duration::from_secs(1);
/// How long questions that are still under way have when the job ends.
const PARTING: Duration = Duration::from_secs(1);

/// What the agent needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the agent keeps its state.
    pub directory: PathBuf,
    /// The TEE that enclaves run in.
    pub tee: TeeKind,
    /// Where the simulated platform's keys and endorsements are; only with the simulated TEE.
    pub simulated: Option<PathBuf>,
    /// Which of several ways to get a quote to use; none for the first that is there.
    pub quote_provider: Option<String>,
    /// The enclave's program.
    pub enclave_image: PathBuf,
    /// The verifier.
    pub verifier: VerifierAddress,
    /// The key broker that the enclave gets secrets from; none for an enclave without. It may be the verifier.
    pub key_broker: Option<VerifierAddress>,
    /// When enclaves replace their keys without being asked for.
    pub rotation: RotationSchedule,
    /// Time between samples.
    pub interval: Duration,
    /// Length of a window; ends with the first sample that is due after it.
    pub window: Duration,
    /// Most samples in a window.
    pub batch: u32,
    /// What is measured, and how long it is kept.
    pub monitoring: Monitoring,
    /// What this program is.
    pub build: Build,
}

/// What the composition root knows and the agent does not: one TEE from another.
#[derive(Clone)]
pub struct Grounds {
    /// Who judges evidence that nobody's ledger is to know of.
    pub appraiser: Arc<dyn Appraiser>,
    /// What is known of images before they run.
    pub launch_check: Arc<dyn LaunchCheck>,
    /// Who judges the evidence with which the node's own enclaves open their channels.
    pub enclaves: Arc<dyn nautilus_channel::Appraiser>,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Proofs settled.
    pub settled: u64,
    /// Rewards, in the smallest unit.
    pub reward: u64,
}

/// How the main job ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The node's enclave was terminated by command.
    EnclaveTerminated,
}

/// How a boot of the enclave ended.
enum BootEnd {
    /// It was told to stop.
    Stopped,
    /// The enclave was told to terminate.
    Terminated(Order),
    /// It cannot go on; another boot may.
    Lost(String),
}

impl BootEnd {
    fn of_refused_log() -> Self {
        Self::Lost("the ledger does not go on with this boot's log".to_owned())
    }
}

/// The node's agent.
pub struct Agent {
    settings: Settings,
    identity: Arc<NodeIdentity>,
    verifier: VerifierClient,
    broker: Option<VerifierClient>,
    board: Arc<Board>,
    feed: Feed,
    events: EventSink,
    manager: EnclaveManager,
    service: Arc<AttestationService>,
    totals: Totals,
    settled_until: UnixMillis,
    suspended: bool,
}

impl Agent {
    /// An agent with the identity in its directory; a new one at first use. To be called on a runtime, on which the
    /// attestation service starts.
    ///
    /// # Errors
    /// If the identity is not usable.
    pub fn open(
        settings: Settings,
        grounds: Grounds,
        board: Arc<Board>,
        events: EventSink,
    ) -> Result<Self, AgentError> {
        let feed = Feed::new(NodeMetrics::new(&settings.build));
        let events: EventSink = {
            let feed = feed.clone();
            Arc::new(move |event: Event| {
                feed.happened(event.at, &event.what);
                events(event);
            })
        };
        let identity = Arc::new(NodeIdentity::open_or_create(&settings.directory)?);
        let launch = Launch {
            image: settings.enclave_image.clone(),
            tee: settings.tee,
            simulated: settings.simulated.clone(),
            quote_provider: settings.quote_provider.clone(),
            directory: settings.directory.clone(),
            check: grounds.launch_check,
            appraiser: grounds.enclaves,
            transport: Transport::default(),
        };
        let manager = EnclaveManager::new(launch, settings.rotation, Arc::clone(&events));
        let client = |at: &VerifierAddress, part| {
            let presenter = NodePresenter::new(manager.clone(), Arc::clone(&identity), at.key);
            VerifierClient::new(at.clone(), part, presenter, Arc::clone(&events))
        };
        let verifier = client(&settings.verifier, Part::Verifier);
        let broker = settings.key_broker.as_ref().map(|at| {
            // A verifier keeps one session for each node.
            if *at == settings.verifier {
                verifier.clone()
            } else {
                client(at, Part::KeyBroker)
            }
        });
        let pipeline = Pipeline {
            instruments: feed.instruments(),
            manager: manager.clone(),
            identity: Arc::clone(&identity),
            verifier: verifier.clone(),
            appraiser: grounds.appraiser,
        };
        Ok(Self {
            settings,
            identity,
            verifier,
            broker,
            board,
            feed,
            events,
            manager,
            service: Arc::new(AttestationService::start(Arc::new(pipeline))),
            totals: Totals::default(),
            settled_until: UnixMillis(0),
            suspended: false,
        })
    }

    /// The node's identity.
    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    /// The attestation service.
    pub const fn attestation_service(&self) -> &Arc<AttestationService> {
        &self.service
    }

    /// The node's enclaves.
    pub const fn enclaves(&self) -> &EnclaveManager {
        &self.manager
    }

    /// What came of the run so far.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Does the main job until `stop` is true, or the node's enclave is terminated by command; meanwhile commands are
    /// taken on the control socket. An enclave that is lost, or whose log the ledger refuses, is booted again, with new
    /// evidence; a verifier that cannot be reached is tried again. Once `stop` is true, nothing is booted or tried
    /// again. Dropping the future ends the enclave and hands in no more proofs.
    ///
    /// # Errors
    /// If the job cannot be done: see [`AgentError`].
    pub async fn run(&mut self, stop: watch::Receiver<bool>) -> Result<Ended, AgentError> {
        let commands = Commands {
            manager: self.manager.clone(),
            service: Arc::clone(&self.service),
            node: self.identity.node(),
        };
        let _control = Control::start(&self.settings.directory, commands)?;
        let mut monitor = Monitor::start(
            self.identity.node(),
            &self.settings.monitoring,
            self.settings.interval,
            &self.settings.directory,
            Arc::clone(&self.board),
            self.feed.clone(),
            Arc::clone(&self.events),
        )?;
        let ended = self.main_job(&mut monitor, stop).await;
        monitor.close(PARTING).await;
        for client in [Some(&self.verifier), self.broker.as_ref()].into_iter().flatten() {
            client.close(PARTING).await;
        }
        self.manager.end_all().await;
        ended
    }

    async fn main_job(
        &mut self,
        monitor: &mut Monitor,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Ended, AgentError> {
        let mut driver = self.manager.take(EnclaveName::node())?;
        let (mut fruitless, mut backoff) = (0, Backoff::new());
        loop {
            if until_stop(&mut stop, self.clock_has_caught_up()).await.is_none() {
                return Ok(Ended::Stopped);
            }
            let settled = self.totals.settled;
            let why = match self.boot(&mut driver, monitor, &mut stop).await? {
                BootEnd::Stopped => {
                    driver.terminated(None, None);
                    return Ok(Ended::Stopped);
                }
                BootEnd::Terminated(order) => {
                    driver.terminated(Some(order), None);
                    return Ok(Ended::EnclaveTerminated);
                }
                BootEnd::Lost(why) => why,
            };
            if *stop.borrow() {
                self.warn(why.clone());
                driver.terminated(None, Some(why));
                return Ok(Ended::Stopped);
            }
            if self.totals.settled > settled {
                (fruitless, backoff) = (0, Backoff::new());
            } else {
                fruitless += 1;
            }
            if fruitless == MAX_FRUITLESS_BOOTS {
                return Err(AgentError::TooManyBoots { last: why });
            }
            self.warn(format!("{why}: booting the enclave again"));
            // The first boot after a good one comes at once.
            let pause = if fruitless > 1 {
                backoff.pause()
            } else {
                Duration::ZERO
            };
            tokio::select! {
                order = driver.terminated_while_down() => {
                    driver.terminated(Some(order), Some(why));
                    return Ok(Ended::EnclaveTerminated);
                }
                _stop = until_stop(&mut stop, sleep(pause)) => {}
            }
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
                Err(error) if error.may_pass() => {
                    let pause = backoff.pause();
                    let why = match &error {
                        AgentError::Verifier(why) => told(why),
                        other => told(other),
                    };
                    self.warn(format!("{why}: trying again in {} ms", pause.as_millis()));
                    sleep(pause).await;
                }
                result => return result,
            }
        }
    }

    /// One life of the enclave.
    async fn boot(
        &mut self,
        driver: &mut Driver,
        monitor: &mut Monitor,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<BootEnd, AgentError> {
        let mut life = match until_stop(stop, driver.boot(self.identity.node())).await {
            None => return Ok(BootEnd::Stopped),
            Some(Err(error)) if error.may_pass() => return Ok(BootEnd::Lost(told(&error))),
            Some(life) => life?,
        };
        let end = match self.attested_life(driver, &mut life, monitor, stop).await {
            Err(AgentError::Verifier(VerifierError::Rejected { outcome })) => {
                Err(self.rejected(*outcome).await)
            }
            end => end,
        };
        let boot = life.identity().boot;
        let entry = Arc::clone(life.entry());
        life.stop().await;
        self.service.forget(boot);
        let end = match end {
            Err(error) if error.loses_enclave() => Ok(BootEnd::Lost(told(&error))),
            end => end,
        };
        let failed = match &end {
            Ok(BootEnd::Lost(why)) => Some(why.clone()),
            Err(error) => Some(told(error)),
            Ok(_) => None,
        };
        if failed.is_some() {
            entry
                .enter(EnclaveStatus::Error, failed)
                .map_err(ManagerError::from)?;
        }
        end
    }

    async fn attested_life(
        &mut self,
        driver: &mut Driver,
        life: &mut Life,
        monitor: &mut Monitor,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<BootEnd, AgentError> {
        let entry = Arc::clone(life.entry());
        let introduced = async {
            self.open_channel().await?;
            self.provision(&entry).await
        };
        if let ControlFlow::Break(end) = unless_ended(driver, stop, introduced).await? {
            return Ok(end);
        }
        let expires_at = match self
            .attest_boot(AttestationStage::Boot, &entry, driver, stop)
            .await?
        {
            ControlFlow::Continue(expires_at) => expires_at,
            ControlFlow::Break(end) => return Ok(end),
        };
        let opened = async {
            monitor.open_store(life).await;
            Ok(())
        };
        if let ControlFlow::Break(end) = unless_ended(driver, stop, opened).await? {
            return Ok(end);
        }
        let schedule = Schedule::starting(self.settings.interval, MachineClock)?;
        let mut submitter = Submitter::start(self.verifier.clone(), Arc::clone(&self.events));
        let mut suspended = self.suspended;
        let due = RotationDue::of(self.settings.rotation, life.identity(), NodeClock::wall());
        let sampling = Sampling {
            agent: self,
            life,
            monitor,
            unsigned: Aggregator::new(schedule.start()),
            schedule,
            submitter: &mut submitter,
            expires_at,
            due,
            stop,
            suspended: &mut suspended,
        };
        let end = sampling.run(driver).await;
        self.suspended = suspended;
        let submitted = submitter.finish().await;
        self.totals.settled += submitted.settled;
        self.totals.reward = self.totals.reward.saturating_add(submitted.reward);
        self.settled_until = self.settled_until.max(submitted.until);
        end
    }

    /// Has the verifier accept evidence of a new boot. Gives until when its verdict holds.
    async fn attest_boot(
        &self,
        stage: AttestationStage,
        entry: &Entry,
        driver: &mut Driver,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<ControlFlow<BootEnd, UnixMillis>, AgentError> {
        let attested = self.persist(async || self.attest_for(stage, entry, Purpose::Boot).await);
        let attested = unless_ended(driver, stop, attested).await?;
        if attested.is_continue() {
            entry
                .enter(EnclaveStatus::Attested, None)
                .map_err(ManagerError::from)?;
        }
        Ok(attested)
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

/// What `work` gives, unless the node stops or the enclave is told to terminate before.
async fn unless_ended<T>(
    driver: &mut Driver,
    stop: &mut watch::Receiver<bool>,
    work: impl Future<Output = Result<T, AgentError>>,
) -> Result<ControlFlow<BootEnd, T>, AgentError> {
    tokio::select! {
        done = until_stop(stop, work) => match done {
            Some(done) => done.map(ControlFlow::Continue),
            None => Ok(ControlFlow::Break(BootEnd::Stopped)),
        },
        order = driver.terminated_while_down() => Ok(ControlFlow::Break(BootEnd::Terminated(order))),
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Their tasks hold what the agent holds: nobody else would end them.
        self.manager.kill_all();
    }
}

#[cfg(test)]
mod tests;
