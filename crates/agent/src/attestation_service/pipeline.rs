//! How an answer is made: evidence, the verifier's word, what was measured, certificate, signature.

use std::sync::Arc;

use nautilus_core::{
    AppraisalVerdict, Digest32, Evidence, EvidenceFile, EvidenceId, PolicyId, UnixMillis, VerifyError,
};
use nautilus_enclave::{AttestedEvidence, Reply, Request};
use nautilus_monitor::openmetrics::NodeMetrics;
use nautilus_verifier::api::{self, AttestationOutcome};
use nautilus_verifier::told;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::response::{Answer, AttestationCert, AttestationResponse, QuoteParts, TeeQuote};
use super::{Ask, AttestationError, EnclaveNow, Producer, Question, Working, expiry};
use crate::clock::NodeClock;
use crate::enclave_manager::{
    EnclaveManager, EnclaveMeasurements, EnclaveStatus, Entry, ManagerError, Running, is_suspended,
};
use crate::enclave_process::{EnclaveError, bound_user_data};
use crate::endorsements::with_simulated;
use crate::identity::NodeIdentity;
use crate::verifier_client::VerifierClient;

/// Judges evidence that nobody's ledger is to know of. The composition root gives it: it knows whose evidence counts,
/// and the policy in force.
pub trait Appraiser: Send + Sync {
    /// Id and name of the policy in force.
    fn policy(&self) -> (PolicyId, String);

    /// Verifies evidence that must answer the challenge in its file, and appraises it. Blocks.
    ///
    /// # Errors
    /// If it does not verify. A rejecting appraisal is none.
    fn appraise(&self, file: &EvidenceFile, now: UnixMillis) -> Result<AttestationOutcome, VerifyError>;

    /// What is inside of a quote, as far as it can be read.
    fn parts(&self, evidence: &Evidence) -> QuoteParts;
}

/// The way from a request to an answer, on a node.
pub struct Pipeline {
    /// Where the node's certificates are told of.
    pub instruments: Arc<NodeMetrics>,
    /// Whose enclaves are asked.
    pub manager: EnclaveManager,
    /// Whose wallet stands behind what the node's verifier asked for.
    pub identity: Arc<NodeIdentity>,
    /// The node's verifier.
    pub verifier: VerifierClient,
    /// Who judges the rest.
    pub appraiser: Arc<dyn Appraiser>,
}

/// What the verifier says: its outcome, or why the evidence does not verify.
type Judgement = Result<AttestationOutcome, String>;

impl Producer for Pipeline {
    fn now(&self, enclave: &str, policy: &str) -> Result<EnclaveNow, AttestationError> {
        let (id, name) = self.appraiser.policy();
        if !policy.is_empty() && policy != name && policy != id.to_string() {
            return Err(AttestationError::PolicyUnknown {
                asked: policy.to_owned(),
                name,
                id: id.to_string(),
            });
        }
        let entry = self.manager.find(enclave)?;
        let status = entry.instance().status;
        if matches!(status, EnclaveStatus::Suspended | EnclaveStatus::Error) {
            // Not even what it answered before.
            let name = entry.name().clone();
            return Err(ManagerError::NotRunning { name, status }.into());
        }
        let boot = entry.boot()?;
        Ok(EnclaveNow { boot, policy: id })
    }

    fn produce(&self, ask: Ask) -> Working<'_, Result<Answer, AttestationError>> {
        Box::pin(async move {
            let entry = self.manager.find(&ask.enclave)?;
            // Evidence for others takes the place of what the node's windows name: not while one is closed.
            let _gate = match &ask.question {
                Question::Verifier(_) => None,
                Question::Anybody(_) => Some(entry.evidence.read().await),
            };
            let _order = entry.attesting.lock().await;
            self.make(&entry, &ask).await
        })
    }
}

impl Pipeline {
    async fn make(&self, entry: &Entry, ask: &Ask) -> Result<Answer, AttestationError> {
        let running = entry.running()?;
        let status = entry.instance().status;
        let asked_by_anybody = matches!(ask.question, Question::Anybody(_));
        if asked_by_anybody && entry.name().is_node() && status == EnclaveStatus::Initialized {
            // Its boot evidence comes first.
            let name = entry.name().clone();
            return Err(ManagerError::NotRunning { name, status }.into());
        }
        let (file, evidence_id) = self.evidence(entry, &running, ask).await?;
        let raw = Digest32(Sha256::digest(&file.evidence.bytes).into());
        let (file, judgement) = self.judge(file, &ask.question).await?;
        let at = NodeClock::wall();
        let accepted = |outcome: &AttestationOutcome| outcome.verdict == AppraisalVerdict::Accepted;
        let verified = judgement.as_ref().is_ok_and(accepted);
        let outcome = judgement.as_ref().ok();
        let mut measurements =
            outcome.and_then(|outcome| EnclaveMeasurements::from_appraisal(&outcome.appraisal, at));
        if verified {
            let none = EnclaveMeasurements::default();
            let found = measurements.as_ref().unwrap_or(&none);
            running.expected.compare(entry.name(), found)?;
            if !asked_by_anybody {
                entry.displace(false);
            }
        }
        let expires_at = expiry(at, outcome.filter(|_| verified).map(|outcome| outcome.expires_at));
        if expires_at <= at {
            return Err(AttestationError::Internal(
                "the verdict expires at once: the endorsements end, or this machine's clock is ahead"
                    .to_owned(),
            ));
        }
        let certify = Request::Certify {
            not_before: at,
            not_after: expires_at,
        };
        let Reply::Certificate(der) = running.link.request(certify).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        if entry.name().is_node() {
            self.instruments.certificate("enclave", expires_at);
        }
        let canonical = measurements
            .as_ref()
            .map_or_else(|| b"null".to_vec(), EnclaveMeasurements::canonical);
        let sign = Request::SignAttestation {
            evidence: raw,
            certificate: Digest32(Sha256::digest(&der).into()),
            measurements: Digest32(Sha256::digest(canonical).into()),
            at,
            expires_at,
        };
        let Reply::Attestation(signature) = running.link.request(sign).await? else {
            return Err(EnclaveError::WrongReply.into());
        };
        let signature = signature.to_string();
        if let Some(measurements) = &mut measurements {
            measurements.signature.clone_from(&signature);
            if verified {
                entry.measured(measurements.clone(), at);
            }
        }
        let certificate = AttestationCert::read(der)
            .ok_or_else(|| AttestationError::Internal("the enclave's certificate is none".to_owned()))?;
        let error = match &judgement {
            Ok(outcome) if accepted(outcome) => None,
            Ok(outcome) => Some(rejection(&outcome.appraisal)),
            Err(why) => Some(why.clone()),
        };
        Ok(Answer {
            response: AttestationResponse {
                quote: TeeQuote::of(&file, self.appraiser.parts(&file.evidence)),
                certificate,
                measurements,
                evidence: file,
                signature,
                timestamp: at,
                expires_at,
                verified,
                error,
            },
            boot: running.identity.boot,
            evidence: evidence_id,
            outcome: judgement.ok(),
        })
    }

    /// Has the enclave answer the challenge.
    async fn evidence(
        &self,
        entry: &Entry,
        running: &Running,
        ask: &Ask,
    ) -> Result<(EvidenceFile, EvidenceId), AttestationError> {
        let Ask { purpose, .. } = *ask;
        let challenge = ask.challenge();
        let before = entry.is_displaced();
        entry.displace(true);
        let attested = match running.link.request(Request::Attest { purpose, challenge }).await {
            Ok(Reply::Evidence(attested)) => attested,
            Ok(_) => return Err(EnclaveError::WrongReply.into()),
            Err(error) => {
                // A refusal changes nothing.
                if matches!(error, EnclaveError::Refused(_)) {
                    entry.displace(before);
                }
                return Err(error.into());
            }
        };
        let AttestedEvidence {
            evidence,
            user_data,
            endorsements,
            event_log,
        } = *attested;
        let identity = &running.identity;
        let bound = bound_user_data(identity, &user_data, self.identity.node(), purpose)?;
        let id = EvidenceId::of(identity.tee, challenge.bind(&bound).as_bytes());
        let simulated = self.manager.launch().simulated.as_deref();
        let endorsements = with_simulated(endorsements, identity.tee, simulated)
            .map_err(|error| AttestationError::Internal(told(&error)))?;
        let file = EvidenceFile {
            evidence: Evidence {
                tee: identity.tee,
                bytes: evidence,
                user_data: Some(user_data),
                event_log,
            },
            challenge,
            endorsements,
            created_at: NodeClock::wall(),
        };
        Ok((file, id))
    }

    async fn judge(
        &self,
        file: EvidenceFile,
        question: &Question,
    ) -> Result<(EvidenceFile, Judgement), AttestationError> {
        if let Question::Verifier(_) = question {
            let user_data = file.evidence.user_data.as_deref().unwrap_or_default();
            let bound = nautilus_core::BoundUserData::from_canonical(user_data)
                .ok_or_else(|| AttestationError::Internal("no user data is bound".to_owned()))?;
            let request = api::AttestationRequest {
                seal_signature: self.identity.sign(&bound),
                evidence: file,
            };
            let outcome = self.verifier.attest(&request).await;
            let outcome = outcome.map_err(AttestationError::Verifier)?;
            return Ok((request.evidence, Ok(outcome)));
        }
        let appraiser = Arc::clone(&self.appraiser);
        let judged = spawn_blocking(move || {
            let outcome = appraiser.appraise(&file, NodeClock::wall());
            (file, outcome.map_err(|error| told(&error)))
        });
        judged
            .await
            .map_err(|error| AttestationError::Internal(error.to_string()))
    }
}

/// Why a policy rejected: its findings that failed.
pub(crate) fn rejection(appraisal: &serde_json::Value) -> String {
    format!(
        "policy `{}` rejected it: {}",
        appraisal["policy"].as_str().unwrap_or_default(),
        failed_findings(appraisal)
    )
}

/// The findings of an appraisal that failed.
pub(crate) fn failed_findings(appraisal: &serde_json::Value) -> String {
    let failed = appraisal["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|finding| finding["passed"] == false);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let findings: Vec<_> = failed
        .map(|finding| format!("{}: {}", text(&finding["rule"]), text(&finding["detail"])))
        .collect();
    findings.join("; ")
}

impl From<ManagerError> for AttestationError {
    fn from(error: ManagerError) -> Self {
        match error {
            ManagerError::Enclave(error) => error.into(),
            ManagerError::Measured { .. } => Self::Measured(error.to_string()),
            other => Self::Enclave {
                kind: other.kind(),
                what: told(&other),
            },
        }
    }
}

impl From<EnclaveError> for AttestationError {
    fn from(error: EnclaveError) -> Self {
        if is_suspended(&error) {
            return Self::Enclave {
                kind: "suspended",
                what: "enclave is suspended, and signs nothing: `nautilus enclave resume` lets it go on"
                    .to_owned(),
            };
        }
        match error {
            EnclaveError::Refused(fault) => Self::Refused(fault.to_string()),
            other if other.may_pass() => Self::Lost(told(&other)),
            other => Self::Internal(told(&other)),
        }
    }
}
