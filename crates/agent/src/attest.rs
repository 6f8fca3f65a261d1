//! Evidence for a relying party that asks from outside, from an enclave that is started for it.

use std::sync::Arc;

use nautilus_core::{Challenge, Evidence, EvidenceFile, NodeId, Purpose};
use nautilus_enclave::{AttestedEvidence, Identity, Reply, Request};

use crate::clock::NodeClock;
use crate::enclave_manager::{Launch, ManagerError};
use crate::enclave_process::{EnclaveError, EnclaveProcess, Notes, bound_user_data, image_hash};
use crate::endorsements::with_simulated;
use crate::identity::NodeIdentity;
use crate::runner::AgentError;

/// Boots an enclave for the node whose identity is kept in the launch's directory, has it answer `challenge`, and ends
/// it. Its keys end with it. What it has to say to people goes to `notes`.
///
/// # Errors
/// If identity, image, enclave or endorsements are not usable.
pub async fn attest_once(
    launch: &Launch,
    purpose: Purpose,
    challenge: Challenge,
    notes: Notes,
) -> Result<EvidenceFile, AgentError> {
    let identity = NodeIdentity::open_or_create(&launch.directory)?;
    let hash = image_hash(&launch.image)?;
    launch
        .check
        .expect(&launch.image, hash)
        .map_err(ManagerError::Image)?;
    let appraiser = Arc::clone(&launch.appraiser);
    let mut enclave = EnclaveProcess::start(&launch.passing(), identity.node(), appraiser, notes).await?;
    let file = exchange(&mut enclave, &identity, launch, purpose, challenge).await;
    enclave.stop().await;
    file
}

async fn exchange(
    enclave: &mut EnclaveProcess,
    identity: &NodeIdentity,
    launch: &Launch,
    purpose: Purpose,
    challenge: Challenge,
) -> Result<EvidenceFile, AgentError> {
    let node = identity.node();
    let Reply::Identity(facts) = enclave.request(&Request::Initialize { node }).await? else {
        return Err(EnclaveError::WrongReply.into());
    };
    let Reply::Evidence(attested) = enclave.request(&Request::Attest { purpose, challenge }).await? else {
        return Err(EnclaveError::WrongReply.into());
    };
    evidence_file(launch, &facts, node, *attested, purpose, challenge)
}

/// What an enclave answered, as a file, if it binds what that enclave should bind.
///
/// # Errors
/// If it binds something else, or the endorsements are not usable.
pub(crate) fn evidence_file(
    launch: &Launch,
    enclave: &Identity,
    node: NodeId,
    attested: AttestedEvidence,
    purpose: Purpose,
    challenge: Challenge,
) -> Result<EvidenceFile, AgentError> {
    bound_user_data(enclave, &attested.user_data, node, purpose)?;
    Ok(EvidenceFile {
        evidence: Evidence {
            tee: enclave.tee,
            bytes: attested.evidence,
            user_data: Some(attested.user_data),
            event_log: attested.event_log,
        },
        challenge,
        endorsements: with_simulated(attested.endorsements, enclave.tee, launch.simulated.as_deref())?,
        created_at: NodeClock::wall(),
    })
}
