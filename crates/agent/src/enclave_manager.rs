//! The node's enclaves: which there are, in which state, and who may change it (specification §1.B).
//!
//! Every enclave has a name, which is unique, and a **driver**: the one task that boots it, attests it, and changes its
//! state. The driver of `node`, whose enclave signs the node's samples, is the main job (`runner`); every other enclave
//! is driven by `supervisor`. Whoever wants a state changed sends the driver an order and waits for its answer, so that
//! no two change it at once.
//!
//! Enclaves besides `node` serve the same node with keys, a state file and a boot of their own. They are attested for
//! the purpose `workload`, by the policy in force and against a challenge of this agent, and **never on the ledger**:
//! the ledger knows one boot of a node, and an appraisal of another boot would displace it. So they sign no windows
//! that anybody settles; they are there for workloads that want a key or a secret in an enclave of their own.

mod driver;
mod entry;
mod error;
mod instance;
mod launch;
mod life;
mod link;
mod name;
mod status;
pub(crate) mod supervisor;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

pub(crate) use self::driver::{Driver, Order, OrderKind};
pub(crate) use self::entry::{Entry, Running};
pub use self::error::ManagerError;
pub use self::instance::{
    EnclaveId, EnclaveInstance, EnclaveMeasurements, EnclavePerformance, SecureChannel,
};
pub use self::launch::{Expected, Launch, LaunchCheck};
pub(crate) use self::life::Life;
pub(crate) use self::link::is_suspended;
pub use self::name::{EnclaveName, NameError};
pub use self::status::{EnclaveStatus, IllegalTransition};
use crate::event::EventSink;
use crate::key_manager::RotationSchedule;
use crate::task::AbortOnDrop;

/// Most enclaves at once, `node` among them: each is a process with its own locked memory.
pub const MAX_ENCLAVES: usize = 16;
/// Longest that an order may take: a window is closed, and the TEE may be asked.
const ORDER_DEADLINE: Duration = Duration::from_secs(45);

/// The enclaves of a node. Cloning gives the same.
#[derive(Clone)]
pub struct EnclaveManager(Arc<Inner>);

struct Inner {
    launch: Launch,
    rotation: RotationSchedule,
    events: EventSink,
    enclaves: Mutex<BTreeMap<EnclaveName, Managed>>,
}

struct Managed {
    entry: Arc<Entry>,
    /// What drives it, where that is a task of this manager.
    task: Option<AbortOnDrop<()>>,
}

impl EnclaveManager {
    /// A manager without enclaves. Those that it will have replace their keys on `rotation`'s schedule.
    pub fn new(launch: Launch, rotation: RotationSchedule, events: EventSink) -> Self {
        Self(Arc::new(Inner {
            launch,
            rotation,
            events,
            enclaves: Mutex::default(),
        }))
    }

    /// How enclaves are started.
    pub fn launch(&self) -> &Launch {
        &self.0.launch
    }

    /// When keys are replaced without being asked for.
    pub(crate) fn rotation(&self) -> RotationSchedule {
        self.0.rotation
    }

    /// Takes a name, and gives what drives the enclave of that name. Nothing runs yet.
    ///
    /// # Errors
    /// [`ManagerError::NameTaken`], [`ManagerError::TooMany`].
    pub(crate) fn take(&self, name: EnclaveName) -> Result<Driver, ManagerError> {
        let mut enclaves = self.lock();
        if enclaves.contains_key(&name) {
            return Err(ManagerError::NameTaken { name });
        }
        if enclaves.len() >= MAX_ENCLAVES {
            return Err(ManagerError::TooMany { max: MAX_ENCLAVES });
        }
        let (entry, orders) = Entry::new(name.clone(), &self.0.launch, Arc::clone(&self.0.events))?;
        let entry = Arc::new(entry);
        let managed = Managed {
            entry: Arc::clone(&entry),
            task: None,
        };
        enclaves.insert(name, managed);
        drop(enclaves);
        Ok(Driver::new(self.clone(), entry, orders))
    }

    /// Every enclave, by name.
    pub fn list(&self) -> Vec<EnclaveInstance> {
        let enclaves = self.lock();
        enclaves
            .values()
            .map(|managed| managed.entry.instance())
            .collect()
    }

    /// Tells an enclave to sign nothing until [`Self::resume`]. Its open window is closed first.
    ///
    /// # Errors
    /// If there is none of that name, or it does not run.
    pub async fn suspend(&self, name: &EnclaveName) -> Result<EnclaveInstance, ManagerError> {
        self.order(name, OrderKind::Suspend).await
    }

    /// Lets a suspended enclave go on, in the same boot.
    ///
    /// # Errors
    /// If there is none of that name, or it is not suspended.
    pub async fn resume(&self, name: &EnclaveName) -> Result<EnclaveInstance, ManagerError> {
        self.order(name, OrderKind::Resume).await
    }

    /// Has an enclave replace its keys, which starts a new boot of it, and attest anew. Its open window is closed and
    /// settled first.
    ///
    /// # Errors
    /// If there is none of that name, it does not run, it cannot do it now, or it is not attested again.
    pub async fn rotate(&self, name: &EnclaveName) -> Result<EnclaveInstance, ManagerError> {
        self.order(name, OrderKind::Rotate).await
    }

    /// Ends an enclave for good; its name is free again. Without it the node has nothing to do, so that the end of
    /// `node` ends the main job in order, and has to be `forced`.
    ///
    /// # Errors
    /// If there is none of that name, or it is `node` and that is not forced.
    pub async fn terminate(&self, name: &EnclaveName, force: Force) -> Result<EnclaveInstance, ManagerError> {
        if name.is_node() && force == Force::No {
            self.entry(name)?;
            return Err(ManagerError::NeedsForce);
        }
        self.order(name, OrderKind::Terminate).await
    }

    /// Ends every enclave that this manager drives itself, in order.
    pub(crate) async fn end_all(&self) {
        let names: Vec<_> = {
            let enclaves = self.lock();
            let own = enclaves.iter().filter(|(_, managed)| managed.task.is_some());
            own.map(|(name, _)| name.clone()).collect()
        };
        let ends = names.iter().map(|name| self.order(name, OrderKind::Terminate));
        // What does not end so is killed with its task.
        let _ended = timeout(Duration::from_secs(1), futures_util::future::join_all(ends)).await;
        self.kill_all();
    }

    /// Kills every enclave that this manager drives itself.
    pub(crate) fn kill_all(&self) {
        let killed: Vec<_> = self
            .lock()
            .extract_if(.., |_, managed| managed.task.is_some())
            .collect();
        // Not under the lock: what a task drops lets go of its name.
        drop(killed);
    }

    /// The enclave of this name.
    pub(crate) fn entry(&self, name: &EnclaveName) -> Result<Arc<Entry>, ManagerError> {
        let enclaves = self.lock();
        let found = enclaves.get(name).map(|managed| Arc::clone(&managed.entry));
        found.ok_or_else(|| ManagerError::Unknown {
            name: name.to_string(),
        })
    }

    /// The enclave with this id, or of this name.
    pub(crate) fn find(&self, id_or_name: &str) -> Result<Arc<Entry>, ManagerError> {
        let enclaves = self.lock();
        let is_it =
            |entry: &Entry| entry.name().as_str() == id_or_name || entry.id().to_string() == id_or_name;
        let found = enclaves.values().find(|managed| is_it(&managed.entry));
        found
            .map(|managed| Arc::clone(&managed.entry))
            .ok_or_else(|| ManagerError::Unknown {
                name: id_or_name.chars().take(64).collect(),
            })
    }

    /// Keeps a task as long as its enclave is managed.
    pub(crate) fn keep(&self, name: &EnclaveName, task: AbortOnDrop<()>) {
        // A task that ended already has let go of its name.
        if let Some(managed) = self.lock().get_mut(name) {
            managed.task = Some(task);
        }
    }

    /// Frees a name whose enclave has ended.
    fn release(&self, entry: &Arc<Entry>) {
        let mut enclaves = self.lock();
        let name = entry.name();
        if enclaves
            .get(name)
            .is_some_and(|managed| Arc::ptr_eq(&managed.entry, entry))
        {
            let managed = enclaves.remove(name);
            drop(enclaves);
            // Called by the very task that is in there: it must not be cut short, and ends by itself.
            if let Some(task) = managed.and_then(|managed| managed.task) {
                task.release();
            }
        }
    }

    async fn order(&self, name: &EnclaveName, kind: OrderKind) -> Result<EnclaveInstance, ManagerError> {
        let entry = self.entry(name)?;
        let late = || ManagerError::NoAnswer {
            name: name.clone(),
            seconds: ORDER_DEADLINE.as_secs(),
        };
        timeout(ORDER_DEADLINE, entry.order(kind))
            .await
            .map_err(|_| late())?
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EnclaveName, Managed>> {
        // No code that holds the lock can leave the map half changed.
        self.0.enclaves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something is meant that cannot be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It may be an accident.
    No,
    /// It is meant.
    Yes,
}
