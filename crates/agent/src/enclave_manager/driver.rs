//! Who changes an enclave's state, and what may be asked of it.

use std::sync::Arc;

use nautilus_core::NodeId;
use tokio::sync::{mpsc, oneshot};

use super::life::Life;
use super::{EnclaveInstance, EnclaveManager, EnclaveStatus, Entry, ManagerError};
use crate::key_manager::RotationSchedule;

/// What a driver is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderKind {
    /// Sign nothing.
    Suspend,
    /// Sign again.
    Resume,
    /// Replace the keys.
    Rotate,
    /// End for good.
    Terminate,
}

/// Something that a driver is asked to do, and who waits for it.
pub(crate) struct Order {
    pub(crate) kind: OrderKind,
    pub(super) done: oneshot::Sender<Result<EnclaveInstance, ManagerError>>,
}

impl Order {
    /// Answers. Whoever asked may have given up.
    pub(crate) fn answer(self, result: Result<EnclaveInstance, ManagerError>) {
        let _received = self.done.send(result);
    }
}

/// The one that may change the state of an enclave. Its end frees the enclave's name.
pub(crate) struct Driver {
    manager: EnclaveManager,
    entry: Arc<Entry>,
    orders: mpsc::Receiver<Order>,
}

impl Driver {
    pub(super) const fn new(
        manager: EnclaveManager,
        entry: Arc<Entry>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self {
            manager,
            entry,
            orders,
        }
    }

    /// The enclave.
    pub(crate) const fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Starts a process, and has it make its keys and serve `node`. Given up, it ends.
    ///
    /// # Errors
    /// If the image must not run, or the process is not usable.
    pub(crate) async fn boot(&self, node: NodeId) -> Result<Life, ManagerError> {
        Life::boot(&self.manager.0.launch, Arc::clone(&self.entry), node).await
    }

    /// When keys are replaced without being asked for.
    pub(crate) fn rotation(&self) -> RotationSchedule {
        self.manager.rotation()
    }

    /// The next order.
    pub(crate) async fn order(&mut self) -> Order {
        match self.orders.recv().await {
            Some(order) => order,
            // The entry holds a sender, and this the entry.
            None => std::future::pending().await,
        }
    }

    /// Waits while nothing runs: until it is told to terminate. Everything else is refused.
    pub(crate) async fn terminated_while_down(&mut self) -> Order {
        loop {
            let order = self.order().await;
            if order.kind == OrderKind::Terminate {
                return order;
            }
            let instance = self.entry.instance();
            order.answer(Err(ManagerError::NotRunning {
                name: instance.name,
                status: instance.status,
            }));
        }
    }

    /// Enters `terminated`, frees the name, and tells whoever asked. Of what never ran there is nothing to tell.
    pub(crate) fn terminated(self, order: Option<Order>, reason: Option<String>) {
        if self.entry.instance().pid == 0 && order.is_none() {
            return;
        }
        let entered = self.entry.enter(EnclaveStatus::Terminated, reason);
        let instance = self.entry.instance();
        drop(self);
        if let Some(order) = order {
            order.answer(entered.map(|()| instance).map_err(ManagerError::from));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.manager.release(&self.entry);
    }
}
