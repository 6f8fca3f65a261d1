//! One managed enclave: its facts, its connection while it has one, and how its driver is reached.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nautilus_core::{BootId, Digest32, UnixMillis};
use nautilus_enclave::Identity;
use tokio::sync::{Mutex as AsyncMutex, RwLock, mpsc, oneshot};

use super::launch::Expected;
use super::link::{EnclaveLink, Pulse};
use super::{
    EnclaveId, EnclaveInstance, EnclaveMeasurements, EnclaveName, EnclavePerformance, EnclaveStatus,
    IllegalTransition, Launch, ManagerError, Order, OrderKind, SecureChannel,
};
use crate::clock::NodeClock;
use crate::enclave_process::Notes;
use crate::event::{EnclaveFacts, Event, EventSink, RotationFacts, What};

/// Orders that wait for a driver at most.
const MAX_ORDERS: usize = 4;

/// One managed enclave. What may be done with it besides reading is its driver's.
pub(crate) struct Entry {
    id: EnclaveId,
    name: EnclaveName,
    events: EventSink,
    orders: mpsc::Sender<Order>,
    state: Mutex<State>,
    /// Held from the making of evidence until the response around it is signed: the enclave signs only around its
    /// newest evidence.
    pub(crate) attesting: AsyncMutex<()>,
    /// Read while evidence is made for others, written while the main job renews its own and closes a window with it.
    pub(crate) evidence: RwLock<()>,
    /// Whether the enclave's newest evidence is one that the ledger does not know.
    displaced: AtomicBool,
}

struct State {
    instance: EnclaveInstance,
    running: Option<Running>,
}

/// What there is while a process runs that was initialized.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) link: EnclaveLink,
    pub(crate) identity: Identity,
    pub(crate) expected: Arc<Expected>,
}

impl Entry {
    pub(super) fn new(
        name: EnclaveName,
        launch: &Launch,
        events: EventSink,
    ) -> Result<(Self, mpsc::Receiver<Order>), ManagerError> {
        let (orders, receiver) = mpsc::channel(MAX_ORDERS);
        let id = EnclaveId::random().map_err(ManagerError::Random)?;
        let instance = EnclaveInstance {
            id,
            name: name.clone(),
            tee_type: launch.tee,
            image: launch.image.display().to_string(),
            image_hash: Digest32([0; 32]),
            status: EnclaveStatus::Error,
            reason: Some("it was never started".to_owned()),
            created_at: NodeClock::wall(),
            last_attestation: None,
            measurements: None,
            secure_channel: None,
            performance_data: EnclavePerformance::default(),
            pid: 0,
            boot_id: None,
            tee_key: None,
        };
        let state = State {
            instance,
            running: None,
        };
        let entry = Self {
            id,
            name,
            events,
            orders,
            state: Mutex::new(state),
            attesting: AsyncMutex::default(),
            evidence: RwLock::default(),
            displaced: AtomicBool::new(false),
        };
        Ok((entry, receiver))
    }

    pub(crate) const fn id(&self) -> EnclaveId {
        self.id
    }

    pub(crate) const fn name(&self) -> &EnclaveName {
        &self.name
    }

    /// The enclave as it is now.
    pub(crate) fn instance(&self) -> EnclaveInstance {
        let state = self.lock();
        let mut instance = state.instance.clone();
        let pulse = state.running.as_ref().and_then(|running| running.link.pulse());
        // A rotation starts a boot whose first heartbeat is yet to come.
        let pulse = pulse.filter(|pulse| Some(pulse.vitals.boot) == instance.boot_id);
        if let Some(Pulse {
            vitals,
            at,
            round_trip,
        }) = pulse
        {
            instance.performance_data.round_trip_us = u64::try_from(round_trip.as_micros()).ok();
            instance.performance_data.windows = vitals.windows;
            instance.performance_data.samples = vitals.samples;
            instance.performance_data.last_heartbeat = Some(at);
        }
        instance
    }

    /// What is needed to speak to it.
    ///
    /// # Errors
    /// [`ManagerError::NotRunning`] if no process runs, or it is not initialized.
    pub(crate) fn running(&self) -> Result<Running, ManagerError> {
        let state = self.lock();
        let status = state.instance.status;
        state.running.clone().ok_or_else(|| ManagerError::NotRunning {
            name: self.name.clone(),
            status,
        })
    }

    /// Its run.
    pub(crate) fn boot(&self) -> Result<BootId, ManagerError> {
        self.running().map(|running| running.identity.boot)
    }

    /// Another process was started.
    pub(super) fn created(&self, pid: u32, image_hash: Digest32) -> Result<(), IllegalTransition> {
        let mut state = self.lock();
        let first = state.instance.pid == 0;
        let instance = &mut state.instance;
        instance.pid = pid;
        instance.image_hash = image_hash;
        instance.boot_id = None;
        instance.tee_key = None;
        instance.secure_channel = None;
        instance.measurements = None;
        instance.last_attestation = None;
        instance.performance_data = EnclavePerformance {
            restarts: instance
                .performance_data
                .restarts
                .saturating_add(u64::from(!first)),
            ..EnclavePerformance::default()
        };
        drop(state);
        self.displaced.store(false, Ordering::Relaxed);
        self.enter(EnclaveStatus::Created, None)
    }

    /// The process has its keys.
    pub(super) fn initialized(&self, running: Running) -> Result<(), IllegalTransition> {
        let mut state = self.lock();
        let Identity {
            tee,
            boot,
            tee_key,
            channel_key,
            ..
        } = running.identity;
        state.instance.tee_type = tee;
        state.instance.boot_id = Some(boot);
        state.instance.tee_key = Some(tee_key);
        state.instance.secure_channel = Some(SecureChannel { channel_key });
        state.running = Some(running);
        drop(state);
        self.enter(EnclaveStatus::Initialized, None)
    }

    /// It replaced its keys: another boot, which has no evidence yet.
    pub(super) fn rotated(&self, identity: Identity, facts: RotationFacts) -> Result<(), IllegalTransition> {
        (self.events)(Event {
            at: NodeClock::wall(),
            what: What::Rotated(Box::new(facts)),
        });
        let mut state = self.lock();
        let State { instance, running } = &mut *state;
        let reason = instance
            .tee_key
            .map(|retired| format!("its keys were rotated; {retired} signs no more"));
        instance.boot_id = Some(identity.boot);
        instance.tee_key = Some(identity.tee_key);
        instance.secure_channel = Some(SecureChannel {
            channel_key: identity.channel_key,
        });
        instance.measurements = None;
        instance.last_attestation = None;
        instance.performance_data.windows = 0;
        instance.performance_data.samples = 0;
        if let Some(running) = running {
            running.identity = identity;
        }
        drop(state);
        self.displace(false);
        self.enter(EnclaveStatus::Initialized, reason)
    }

    /// Evidence of it was accepted.
    pub(crate) fn measured(&self, measurements: EnclaveMeasurements, at: UnixMillis) {
        let mut state = self.lock();
        state.instance.last_attestation = Some(at);
        state.instance.measurements = Some(measurements);
    }

    /// The process is gone.
    pub(super) fn disconnected(&self) {
        self.lock().running = None;
    }

    /// Changes the state, and tells of it.
    pub(crate) fn enter(&self, to: EnclaveStatus, reason: Option<String>) -> Result<(), IllegalTransition> {
        let mut state = self.lock();
        let instance = &mut state.instance;
        instance.status = instance.status.enter(to)?;
        instance.reason = reason;
        let facts = EnclaveFacts {
            id: instance.id,
            name: instance.name.clone(),
            tee_type: instance.tee_type,
            status: instance.status,
            pid: instance.pid,
            image: instance.image.clone(),
            image_hash: instance.image_hash,
            boot_id: instance.boot_id,
            tee_key: instance.tee_key,
            reason: instance.reason.clone(),
        };
        drop(state);
        (self.events)(Event {
            at: NodeClock::wall(),
            what: What::Enclave(facts),
        });
        Ok(())
    }

    /// Takes what the enclave has to say to people: warnings of this node.
    pub(super) fn notes(&self) -> Notes {
        let (name, events) = (self.name.clone(), Arc::clone(&self.events));
        Arc::new(move |line| {
            events(Event {
                at: NodeClock::wall(),
                what: What::Warning {
                    detail: format!("enclave `{name}`: {line}"),
                },
            });
        })
    }

    /// Tells of what is not as it should be.
    pub(super) fn warn(&self, detail: String) {
        (self.events)(Event {
            at: NodeClock::wall(),
            what: What::Warning { detail },
        });
    }

    /// Has the driver do something.
    pub(super) async fn order(&self, kind: OrderKind) -> Result<EnclaveInstance, ManagerError> {
        let (done, answer) = oneshot::channel();
        let nobody = || ManagerError::NotRunning {
            name: self.name.clone(),
            status: self.lock().instance.status,
        };
        self.orders
            .send(Order { kind, done })
            .await
            .map_err(|_| nobody())?;
        answer.await.map_err(|_| nobody())?
    }

    /// Whether the newest evidence is one that the ledger does not know, so that no window may be closed with it.
    pub(crate) fn is_displaced(&self) -> bool {
        self.displaced.load(Ordering::Relaxed)
    }

    /// Says so, before evidence is made, or that the newest evidence is recorded.
    pub(crate) fn displace(&self, displaced: bool) {
        self.displaced.store(displaced, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
