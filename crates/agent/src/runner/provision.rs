//! Secrets from the key broker, before the enclave's boot evidence.

use nautilus_core::{Challenge, Purpose};
use nautilus_enclave::{Reply, Request};

use super::{Agent, AgentError};
use crate::attest::evidence_file;
use crate::enclave_manager::{Entry, Running};
use crate::enclave_process::EnclaveError;
use crate::event::{ProvisionedSecret, What};
use crate::key_manager::provision;
use crate::verifier_client::VerifierClient;

impl Agent {
    /// Has the enclave get its secrets, where the configuration names a broker: a node that was told to have them does
    /// not run without. A broker that cannot be reached is tried again.
    pub(super) async fn provision(&self, entry: &Entry) -> Result<(), AgentError> {
        let Some(broker) = &self.broker else {
            return Ok(());
        };
        let secrets = self.persist(async || self.fetch(broker, entry).await).await?;
        self.emit(What::Provisioned {
            name: entry.name().clone(),
            broker: broker.at().address.to_string(),
            secrets,
        });
        Ok(())
    }

    async fn fetch(
        &self,
        broker: &VerifierClient,
        entry: &Entry,
    ) -> Result<Vec<ProvisionedSecret>, AgentError> {
        let Running {
            link,
            identity: enclave,
            ..
        } = entry.running()?;
        let node = self.identity.node();
        let attest = async |purpose: Purpose, challenge: Challenge| {
            let _order = entry.attesting.lock().await;
            // No window may name evidence that the ledger does not know.
            entry.displace(true);
            match link.request(Request::Attest { purpose, challenge }).await? {
                Reply::Evidence(attested) => {
                    let launch = self.manager.launch();
                    evidence_file(launch, &enclave, node, *attested, purpose, challenge)
                }
                _ => Err(EnclaveError::WrongReply.into()),
            }
        };
        let take = async |name: String, sealed: Vec<u8>| match link
            .request(Request::Provision { name, sealed })
            .await?
        {
            Reply::Provisioned { sealed } => Ok(sealed),
            _ => Err(EnclaveError::WrongReply.into()),
        };
        let taken = provision(broker, &self.identity, attest, take).await;
        let taken = taken.map_err(|error| AgentError::Provision(Box::new(error)))?;
        let secret = |(name, sealed)| ProvisionedSecret { name, sealed };
        Ok(taken.into_iter().map(secret).collect())
    }
}
