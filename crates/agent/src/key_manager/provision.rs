//! Secrets from the key broker at `key_provision_url`, through the agent into the enclave, which alone can read them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{BoundUserData, Challenge, Digest32, EvidenceFile, Purpose};
use nautilus_verifier::api::AttestationRequest;

use crate::identity::NodeIdentity;
use crate::verifier_client::{VerifierClient, VerifierError};

/// Why the enclave did not get its secrets.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError<E> {
    /// The broker gave no success.
    #[error("the key broker released nothing")]
    Broker(#[from] VerifierError),
    /// The broker accepted the evidence, and has no secret.
    #[error("the key broker has no secrets")]
    Nothing,
    /// What the broker sent is no sealed secret.
    #[error("the key broker sent secret `{name}` in a form that is not base64")]
    Malformed {
        /// What it is called.
        name: String,
    },
    /// The evidence binds something else than the enclave's user data.
    #[error("the enclave's evidence comes without user data in canonical form")]
    NoUserData,
    /// The enclave did not attest, or did not take a secret.
    #[error("the enclave did not take part")]
    Enclave(#[source] E),
}

/// Has the enclave attest to the broker, and hands it what the broker releases. Gives the name of each secret that
/// the enclave took, and SHA-256 of what was sealed.
///
/// # Errors
/// If the broker releases nothing, or the enclave does not take part. What it took until then it keeps.
pub async fn provision<E>(
    broker: &VerifierClient,
    identity: &NodeIdentity,
    mut attest: impl AsyncFnMut(Purpose, Challenge) -> Result<EvidenceFile, E>,
    mut take: impl AsyncFnMut(String, Vec<u8>) -> Result<Digest32, E>,
) -> Result<Vec<(String, Digest32)>, ProvisionError<E>> {
    let terms = broker.challenge(identity.node(), Purpose::Workload).await?;
    let evidence = attest(Purpose::Workload, terms.challenge())
        .await
        .map_err(ProvisionError::Enclave)?;
    let user_data = evidence.evidence.user_data.as_deref().unwrap_or_default();
    let bound = BoundUserData::from_canonical(user_data).ok_or(ProvisionError::NoUserData)?;
    let request = AttestationRequest {
        seal_signature: identity.sign(&bound),
        evidence,
    };
    let released = broker.release(&request).await?;
    if released.secrets.is_empty() {
        return Err(ProvisionError::Nothing);
    }
    let mut taken = Vec::with_capacity(released.secrets.len());
    for secret in released.secrets {
        let sealed = STANDARD
            .decode(&secret.sealed)
            .map_err(|_| ProvisionError::Malformed {
                name: secret.name.clone(),
            })?;
        let digest = take(secret.name.clone(), sealed)
            .await
            .map_err(ProvisionError::Enclave)?;
        taken.push((secret.name, digest));
    }
    Ok(taken)
}
