//! The node's enclave and its state, which is told with every change.

use nautilus_core::{BoundUserData, NodeId, Purpose, TeeKind};
use nautilus_enclave::{Identity, Reply, Request};

use super::{AgentError, Settings};
use crate::clock::NodeClock;
use crate::enclave_process::{EnclaveError, EnclaveProcess, bound_user_data, image_hash};
use crate::event::{EnclaveFacts, EnclaveStatus, Event, EventSink, What};

/// Name of the node's enclave.
const ENCLAVE_NAME: &str = "node";

/// A running enclave. Dropping it kills its process.
pub(super) struct RunningEnclave {
    pub(super) process: EnclaveProcess,
    facts: EnclaveFacts,
    identity: Option<Identity>,
}

impl RunningEnclave {
    pub(super) async fn start(settings: &Settings, events: &EventSink) -> Result<Self, AgentError> {
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

    pub(super) async fn initialize(&mut self, node: NodeId, events: &EventSink) -> Result<(), AgentError> {
        let Reply::Identity(identity) = self.process.request(&Request::Initialize { node }).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        self.facts.tee_type = identity.tee;
        self.facts.boot_id = Some(identity.boot);
        self.facts.tee_key = Some(identity.tee_key);
        self.identity = Some(identity);
        self.enter(EnclaveStatus::Initialized, events);
        Ok(())
    }

    pub(super) fn identity(&self) -> Result<&Identity, AgentError> {
        self.identity
            .as_ref()
            .ok_or_else(|| EnclaveError::WrongReply.into())
    }

    pub(super) fn tee(&self) -> Result<TeeKind, AgentError> {
        self.identity().map(|identity| identity.tee)
    }

    /// What the evidence binds, if it is what this enclave should bind.
    pub(super) fn bound_user_data(
        &self,
        bytes: &[u8],
        node: NodeId,
        purpose: Purpose,
    ) -> Result<BoundUserData, AgentError> {
        Ok(bound_user_data(self.identity()?, bytes, node, purpose)?)
    }

    pub(super) fn enter(&mut self, status: EnclaveStatus, events: &EventSink) {
        self.facts.status = status;
        tell(&self.facts, events);
    }

    /// Ends the process, and then tells that it ended.
    pub(super) async fn stop(self, events: &EventSink) {
        let Self {
            process, mut facts, ..
        } = self;
        process.stop().await;
        facts.status = EnclaveStatus::Terminated;
        tell(&facts, events);
    }
}

fn tell(facts: &EnclaveFacts, events: &EventSink) {
    events(Event {
        at: NodeClock::wall(),
        what: What::Enclave(facts.clone()),
    });
}
