//! Evidence for a relying party that asks from outside.

use std::path::Path;

use nautilus_core::{Challenge, Evidence, EvidenceFile, Purpose};
use nautilus_enclave::{Reply, Request};

use crate::clock::NodeClock;
use crate::enclave_process::{EnclaveError, EnclaveProcess, bound_user_data};
use crate::identity::NodeIdentity;
use crate::runner::{AgentError, simulated_endorsements};

/// Boots an enclave for the node kept in `directory`, has it answer `challenge`, and ends it.
///
/// # Errors
/// If identity, enclave or endorsements are not usable.
pub async fn attest_once(
    directory: &Path,
    simulated: &Path,
    image: &Path,
    purpose: Purpose,
    challenge: Challenge,
) -> Result<EvidenceFile, AgentError> {
    let identity = NodeIdentity::open_or_create(directory)?;
    let mut enclave = EnclaveProcess::start(image, &directory.join("run"), simulated).await?;
    let file = exchange(&mut enclave, &identity, purpose, challenge).await;
    enclave.stop().await;
    let evidence = file?;
    let endorsements = simulated_endorsements(simulated)?;
    Ok(EvidenceFile {
        evidence,
        challenge,
        endorsements,
        created_at: NodeClock::wall(),
    })
}

async fn exchange(
    enclave: &mut EnclaveProcess,
    identity: &NodeIdentity,
    purpose: Purpose,
    challenge: Challenge,
) -> Result<Evidence, AgentError> {
    let Reply::Identity(facts) = enclave
        .request(&Request::Initialize {
            node: identity.node(),
        })
        .await?
    else {
        return Err(EnclaveError::WrongReply.into());
    };
    let Reply::Evidence(attested) = enclave.request(&Request::Attest { purpose, challenge }).await? else {
        return Err(EnclaveError::WrongReply.into());
    };
    bound_user_data(&facts, &attested.user_data, identity.node(), purpose)?;
    Ok(Evidence {
        tee: facts.tee,
        bytes: attested.evidence,
        user_data: Some(attested.user_data),
        event_log: attested.event_log,
    })
}
