//! Drives the enclaves besides the node's own: boots them, has them attested, keeps them up.

use std::sync::Arc;
use std::time::Duration;

use nautilus_channel::Backoff;
use nautilus_core::{NodeId, Purpose};
use nautilus_verifier::told;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep};

use super::{
    Driver, EnclaveInstance, EnclaveManager, EnclaveName, EnclaveStatus, Entry, Life, ManagerError, Order,
    OrderKind,
};
use crate::attestation_service::AttestationService;
use crate::clock::NodeClock;
use crate::key_manager::RotationDue;
use crate::task::AbortOnDrop;

/// Boots on end that do not last, before an enclave is left in `error`.
const MAX_FRUITLESS_BOOTS: u32 = 5;
/// A boot that lasted this long was a good one.
const GOOD_BOOT: Duration = Duration::from_secs(60);

/// How a life ended.
enum End {
    /// It was told to terminate.
    Terminated(Order),
    /// It was lost; another boot may do better, or not.
    Lost(ManagerError),
}

/// Starts an enclave of this name, and waits until it runs or has failed.
///
/// # Errors
/// If the name is not free, or it does not run.
pub(crate) async fn create(
    manager: &EnclaveManager,
    service: &Arc<AttestationService>,
    node: NodeId,
    name: EnclaveName,
) -> Result<EnclaveInstance, ManagerError> {
    let driver = manager.take(name.clone())?;
    let (first, runs) = oneshot::channel();
    let supervisor = Supervisor {
        driver,
        service: Arc::clone(service),
        node,
        first: Some(first),
        suspended: false,
    };
    let task = AbortOnDrop::new(tokio::spawn(supervisor.run()));
    manager.keep(&name, task);
    let gone = ManagerError::NotAttested {
        name,
        why: "the node stops".to_owned(),
    };
    runs.await.unwrap_or(Err(gone))
}

struct Supervisor {
    driver: Driver,
    service: Arc<AttestationService>,
    node: NodeId,
    /// Who waits for the first boot.
    first: Option<oneshot::Sender<Result<EnclaveInstance, ManagerError>>>,
    /// Whether it was told to sleep: a boot that comes in between does not wake it.
    suspended: bool,
}

impl Supervisor {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut fruitless = 0;
        loop {
            let started = Instant::now();
            let lost = match self.life().await {
                End::Terminated(order) => return self.driver.terminated(Some(order), None),
                End::Lost(error) => error,
            };
            if started.elapsed() >= GOOD_BOOT {
                (backoff, fruitless) = (Backoff::new(), 0);
            }
            fruitless += 1;
            let why = told(&lost);
            if let Some(first) = self.first.take() {
                // What never ran is not kept: whoever asked for it is told, and may ask again.
                self.driver.terminated(None, Some(why));
                let _received = first.send(Err(lost));
                return;
            }
            if !lost.may_pass() || fruitless == MAX_FRUITLESS_BOOTS {
                let order = self.driver.terminated_while_down().await;
                return self.driver.terminated(Some(order), Some(why));
            }
            tokio::select! {
                order = self.driver.terminated_while_down() => return self.driver.terminated(Some(order), Some(why)),
                () = sleep(backoff.pause()) => {}
            }
        }
    }

    /// One life, after which the enclave is in `error` unless it was told to terminate.
    async fn life(&mut self) -> End {
        let mut life = match self.driver.boot(self.node).await {
            Ok(life) => life,
            Err(error) => return End::Lost(error),
        };
        let end = self.attested_life(&mut life).await;
        let boot = life.identity().boot;
        life.stop().await;
        self.service.forget(boot);
        end.unwrap_or_else(|error| {
            // Every state but `terminated` may fail, and only this driver enters that.
            let _failed = self
                .driver
                .entry()
                .enter(EnclaveStatus::Error, Some(told(&error)));
            End::Lost(error)
        })
    }

    async fn attested_life(&mut self, life: &mut Life) -> Result<End, ManagerError> {
        let entry = Arc::clone(life.entry());
        if let Some(order) = self.attest(&entry).await? {
            return Ok(End::Terminated(order));
        }
        if self.suspended {
            life.suspend().await?;
        }
        if let Some(first) = self.first.take() {
            let _received = first.send(Ok(entry.instance()));
        }
        let schedule = self.driver.rotation();
        let mut due = RotationDue::of(schedule, life.identity(), NodeClock::wall());
        let mut looks = interval(schedule.look());
        loop {
            tokio::select! {
                _ = looks.tick() => {
                    let now = NodeClock::wall();
                    if self.suspended || !due.is_now(now) {
                        continue;
                    }
                    match self.rotate(life).await {
                        Ok(None) => due.start_over(life.identity(), now),
                        Ok(Some(order)) => return Ok(End::Terminated(order)),
                        Err(error @ ManagerError::NotRotated { .. }) => {
                            due.put_off(now);
                            entry.warn(format!("{}: trying again in a minute", told(&error)));
                        }
                        Err(error) => return Err(error),
                    }
                }
                why = life.ended() => return Err(crate::enclave_process::EnclaveError::Gone(why.to_string()).into()),
                order = self.driver.order() => match order.kind {
                    OrderKind::Terminate => return Ok(End::Terminated(order)),
                    OrderKind::Rotate if self.suspended => order.answer(Err(ManagerError::NotRunning {
                        name: entry.name().clone(),
                        status: EnclaveStatus::Suspended,
                    })),
                    OrderKind::Rotate => match self.rotate(life).await {
                        Ok(None) => {
                            due.start_over(life.identity(), NodeClock::wall());
                            order.answer(Ok(entry.instance()));
                        }
                        Ok(Some(end)) => return Ok(End::Terminated(end)),
                        Err(error @ ManagerError::NotRotated { .. }) => order.answer(Err(error)),
                        Err(error) => {
                            order.answer(Err(ManagerError::NotAttested {
                                name: entry.name().clone(),
                                why: told(&error),
                            }));
                            return Err(error);
                        }
                    },
                    OrderKind::Suspend => {
                        let done = life.suspend().await;
                        self.suspended |= done.is_ok();
                        order.answer(done.map(|()| entry.instance()));
                    }
                    OrderKind::Resume => {
                        let done = life.resume().await;
                        self.suspended &= done.is_err();
                        order.answer(done.map(|()| entry.instance()));
                    }
                },
            }
        }
    }

    /// Has the enclave attested for workloads, after which it runs. An order if it was told to terminate meanwhile.
    async fn attest(&mut self, entry: &Entry) -> Result<Option<Order>, ManagerError> {
        let name = entry.name();
        let not_attested = |why: String| ManagerError::NotAttested {
            name: name.clone(),
            why,
        };
        let answered = tokio::select! {
            answered = self.service.for_agent(name.as_str(), Purpose::Workload) => answered,
            order = self.driver.terminated_while_down() => return Ok(Some(order)),
        };
        let answer = answered.map_err(|error| not_attested(told(&error)))?;
        if !answer.response.verified {
            let why = answer.response.error.clone().unwrap_or_default();
            return Err(not_attested(why));
        }
        entry.enter(EnclaveStatus::Attested, None)?;
        entry.enter(EnclaveStatus::Running, None)?;
        Ok(None)
    }

    /// Has the enclave replace its keys, and attested anew. An order if it was told to terminate meanwhile.
    async fn rotate(&mut self, life: &mut Life) -> Result<Option<Order>, ManagerError> {
        let before = life.identity().boot;
        life.rotate(self.node, NodeClock::wall()).await?;
        self.service.forget(before);
        let entry = Arc::clone(life.entry());
        self.attest(&entry).await
    }
}
