//! One life of an enclave: from the start of its process to its end.

use std::sync::Arc;

use nautilus_core::NodeId;
use nautilus_enclave::{Identity, Reply, Request};
use tokio::task::spawn_blocking;

use super::entry::Running;
use super::launch::Expected;
use super::link::{Connection, EnclaveLink, HEARTBEAT};
use super::{EnclaveStatus, Entry, Launch, ManagerError};
use crate::enclave_process::{EnclaveError, EnclaveProcess, image_hash};

/// A process that runs and serves its node. Dropping it kills the process.
pub(crate) struct Life {
    entry: Arc<Entry>,
    link: EnclaveLink,
    identity: Identity,
    connection: Option<Connection>,
}

impl Life {
    pub(super) async fn boot(launch: &Launch, entry: Arc<Entry>, node: NodeId) -> Result<Self, ManagerError> {
        let image = launch.image.clone();
        let check = Arc::clone(&launch.check);
        let checked = spawn_blocking(move || -> Result<_, ManagerError> {
            let hash = image_hash(&image)?;
            let expected = check.expect(&image, hash).map_err(ManagerError::Image)?;
            Ok((hash, expected))
        });
        let cut_short = |error: tokio::task::JoinError| ManagerError::Image(error.to_string());
        let (hash, expected) = checked.await.map_err(cut_short)??;
        let process = EnclaveProcess::start(&launch.arguments(entry.name()), entry.notes()).await?;
        entry.created(process.pid(), hash)?;
        let (link, connection) = EnclaveLink::start(process, HEARTBEAT);
        match Self::initialize(&entry, &link, node, expected).await {
            Ok(identity) => Ok(Self {
                entry,
                link,
                identity,
                connection: Some(connection),
            }),
            Err(error) => {
                connection.stop().await;
                entry.enter(EnclaveStatus::Error, Some(nautilus_verifier::told(&error)))?;
                Err(error)
            }
        }
    }

    async fn initialize(
        entry: &Entry,
        link: &EnclaveLink,
        node: NodeId,
        expected: Expected,
    ) -> Result<Identity, ManagerError> {
        let Reply::Identity(identity) = link.request(Request::Initialize { node }).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        entry.initialized(Running {
            link: link.clone(),
            identity: identity.clone(),
            expected: Arc::new(expected),
        })?;
        Ok(identity)
    }

    /// The enclave.
    pub(crate) const fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Who it is in this boot.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If the enclave refuses, or has ended or ends.
    pub(crate) async fn request(&self, request: Request) -> Result<Reply, EnclaveError> {
        self.link.request(request).await
    }

    /// Waits until the enclave ends by itself. Gives why.
    pub(crate) async fn ended(&mut self) -> Arc<str> {
        self.link.ended().await
    }

    /// Has the enclave sign nothing until [`Self::resume`].
    ///
    /// # Errors
    /// If it is in no state for it, or does not do it.
    pub(crate) async fn suspend(&self) -> Result<(), ManagerError> {
        self.entry.instance().status.enter(EnclaveStatus::Suspended)?;
        self.pause(Request::Suspend, true).await?;
        Ok(self.entry.enter(EnclaveStatus::Suspended, None)?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it is not suspended, or does not do it.
    pub(crate) async fn resume(&self) -> Result<(), ManagerError> {
        let status = self.entry.instance().status;
        if status != EnclaveStatus::Suspended {
            return Err(super::IllegalTransition {
                from: status,
                to: EnclaveStatus::Running,
            }
            .into());
        }
        self.pause(Request::Resume, false).await?;
        Ok(self.entry.enter(EnclaveStatus::Running, None)?)
    }

    async fn pause(&self, request: Request, suspended: bool) -> Result<(), EnclaveError> {
        match self.request(request).await? {
            Reply::Alive(vitals) if vitals.suspended == suspended && vitals.boot == self.identity.boot => {
                Ok(())
            }
            _ => Err(EnclaveError::WrongReply),
        }
    }

    /// Ends the process in order. The state stays; it is the driver's to say what this end was.
    pub(crate) async fn stop(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.stop().await;
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.entry.disconnected();
    }
}
