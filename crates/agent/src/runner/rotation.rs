//! New keys for the node's enclave, while it runs.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use nautilus_monitor::openmetrics::AttestationStage;
use nautilus_verifier::told;
use tokio::time::timeout;

use super::sampling::{Last, Sampling};
use super::stop::until_stop;
use super::window::OpenWindow;
use super::{AgentError, BootEnd, unless_ended};
use crate::clock::NodeClock;
use crate::enclave_manager::{Driver, EnclaveStatus, ManagerError, Order};
use crate::event::RotationFacts;

/// Longest that sampling waits for proofs to be settled before the keys are replaced.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

/// How a rotation ended: the boot with it, or not; then it was done, or put off and nothing changed.
type Turn = ControlFlow<BootEnd, Result<(), ManagerError>>;

impl Sampling<'_> {
    /// Follows an order to replace the keys, and tells whoever asked.
    pub(super) async fn rotate_for(
        &mut self,
        order: Order,
        driver: &mut Driver,
        window: &mut OpenWindow,
        clock: &NodeClock,
    ) -> Result<ControlFlow<BootEnd>, AgentError> {
        let name = self.life.entry().name().clone();
        let status = self.life.entry().instance().status;
        if status != EnclaveStatus::Running {
            order.answer(Err(ManagerError::NotRunning { name, status }));
            return Ok(ControlFlow::Continue(()));
        }
        match self.rotate(driver, window, clock).await {
            Ok(ControlFlow::Continue(done)) => {
                order.answer(done.map(|()| self.life.entry().instance()));
                Ok(ControlFlow::Continue(()))
            }
            Ok(ControlFlow::Break(end)) => {
                let why = match &end {
                    BootEnd::Lost(why) => why.clone(),
                    BootEnd::Stopped => "the node stops".to_owned(),
                    BootEnd::Terminated(_) => "it was told to terminate".to_owned(),
                };
                order.answer(Err(ManagerError::NotAttested { name, why }));
                Ok(ControlFlow::Break(end))
            }
            Err(error) => {
                let why = told(&error);
                order.answer(Err(ManagerError::NotAttested { name, why }));
                Err(error)
            }
        }
    }

    /// Replaces the keys where they are due and nothing waits to be settled.
    pub(super) async fn rotate_if_due(
        &mut self,
        driver: &mut Driver,
        window: &mut OpenWindow,
        clock: &NodeClock,
    ) -> Result<ControlFlow<BootEnd>, AgentError> {
        let now = clock.now();
        if !self.due.is_now(now) || !self.submitter.is_idle() {
            return Ok(ControlFlow::Continue(()));
        }
        match self.rotate(driver, window, clock).await? {
            ControlFlow::Continue(Ok(())) => {}
            ControlFlow::Continue(Err(error)) => {
                self.due.put_off(now);
                self.agent
                    .warn(format!("{}: trying again in a minute", told(&error)));
            }
            ControlFlow::Break(end) => return Ok(ControlFlow::Break(end)),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Closes the window, waits until everything is settled, has the keys replaced, and the new boot attested.
    async fn rotate(
        &mut self,
        driver: &mut Driver,
        window: &mut OpenWindow,
        clock: &NodeClock,
    ) -> Result<Turn, AgentError> {
        let entry = Arc::clone(self.life.entry());
        let end = window.end(clock.now());
        let over = std::mem::replace(window, OpenWindow::starting(end));
        if !over.is_empty() && !self.close(over, end, clock, Last::No).await? {
            return Ok(ControlFlow::Break(BootEnd::Stopped));
        }
        let settled = timeout(SETTLE_DEADLINE, self.submitter.idle());
        let Some(settled) = until_stop(self.stop, settled).await else {
            return Ok(ControlFlow::Break(BootEnd::Stopped));
        };
        if self.submitter.is_refused() {
            return Ok(ControlFlow::Break(BootEnd::of_refused_log()));
        }
        let rotated = match settled {
            Ok(()) => match self.new_keys(clock).await {
                Some(rotated) => rotated,
                None => return Ok(ControlFlow::Break(BootEnd::Stopped)),
            },
            Err(_) => Err(ManagerError::NotRotated {
                name: entry.name().clone(),
                why: "proofs still wait to be settled".to_owned(),
            }),
        };
        let done = match rotated {
            Ok(facts) => {
                let introduced = async {
                    self.agent.open_channel().await?;
                    self.agent.tell_rotation(&facts).await;
                    Ok(())
                };
                if let ControlFlow::Break(end) = unless_ended(driver, self.stop, introduced).await? {
                    return Ok(ControlFlow::Break(end));
                }
                let stage = AttestationStage::Rotation;
                let attested = self.agent.attest_boot(stage, &entry, driver, self.stop).await?;
                match attested {
                    ControlFlow::Continue(expires_at) => self.expires_at = expires_at,
                    ControlFlow::Break(end) => return Ok(ControlFlow::Break(end)),
                }
                let rotated = async {
                    self.monitor.rotate_store(self.life).await;
                    Ok(())
                };
                if let ControlFlow::Break(end) = unless_ended(driver, self.stop, rotated).await? {
                    return Ok(ControlFlow::Break(end));
                }
                entry
                    .enter(EnclaveStatus::Running, None)
                    .map_err(ManagerError::from)?;
                Ok(())
            }
            Err(error @ ManagerError::NotRotated { .. }) => Err(error),
            Err(error) => return Err(error.into()),
        };
        // What was not sampled meanwhile is no part of a window.
        *window = OpenWindow::starting(window.start.max(clock.now()));
        Ok(ControlFlow::Continue(done))
    }

    /// Has the keys replaced. None if the node is told to stop meanwhile: then it may have been done or not.
    async fn new_keys(&mut self, clock: &NodeClock) -> Option<Result<RotationFacts, ManagerError>> {
        let before = self.life.identity().boot;
        let rotated = self.life.rotate(self.agent.identity.node(), clock.latest());
        let rotated = until_stop(self.stop, rotated).await?;
        if rotated.is_ok() {
            self.agent.service.forget(before);
            self.due.start_over(self.life.identity(), clock.latest());
        }
        Some(rotated)
    }
}
