//! The node's own evidence: asked for by its verifier, renewed while the verdict lasts, and kept for auditors.

use std::path::PathBuf;

use nautilus_core::{AppraisalVerdict, ChallengeTerms, EvidenceFile, EvidenceId, Purpose, UnixMillis};
use nautilus_verifier::{private_file, told};
use tokio::task::spawn_blocking;

use super::{Agent, AgentError};
use crate::attestation_service::{AttestationError, failed_findings};
use crate::enclave_manager::Entry;
use crate::event::{BootFacts, What};

impl Agent {
    /// Challenge, evidence, verdict. Gives until when the verdict holds.
    pub(super) async fn attest(&self, entry: &Entry, purpose: Purpose) -> Result<UnixMillis, AgentError> {
        let terms = self.verifier.challenge(self.identity.node(), purpose).await?;
        self.answer(entry, terms).await
    }

    /// A new verdict while the old one lasts. None if the verifier cannot give one now, and nothing changed.
    pub(super) async fn renew(&self, entry: &Entry) -> Result<Option<UnixMillis>, AgentError> {
        let purpose = Purpose::Runtime;
        let terms = match self.verifier.challenge(self.identity.node(), purpose).await {
            Err(error) if error.may_pass() => {
                self.warn(format!(
                    "evidence was not renewed: {}: trying again with the next window",
                    told(&error)
                ));
                return Ok(None);
            }
            terms => terms?,
        };
        // From here on the enclave's windows name the new evidence, so none can be settled before its verdict.
        match self.answer(entry, terms).await {
            Err(error) if error.may_pass() => {
                self.warn(format!(
                    "evidence was not renewed: {}: trying again at once",
                    told(&error)
                ));
                let again = self.persist(async || self.attest(entry, purpose).await);
                again.await.map(Some)
            }
            result => result.map(Some),
        }
    }

    /// Has the enclave answer a challenge, and the verifier judge it.
    async fn answer(&self, entry: &Entry, terms: ChallengeTerms) -> Result<UnixMillis, AgentError> {
        let answer = self.service.for_verifier(entry.name().as_str(), terms).await?;
        let outcome = answer
            .outcome
            .ok_or_else(|| AttestationError::Internal("the verifier gave no outcome".to_owned()))?;
        let path = self
            .keep_evidence(answer.response.evidence, outcome.evidence_id)
            .await?;
        self.emit(What::Boot(Box::new(BootFacts {
            node_id: self.identity.node(),
            wallet: self.identity.wallet(),
            verdict: outcome.verdict,
            assurance: outcome.assurance,
            evidence_id: outcome.evidence_id,
            evidence_file: path.display().to_string(),
            appraisal: outcome.appraisal.clone(),
        })));
        match outcome.verdict {
            AppraisalVerdict::Accepted => Ok(outcome.expires_at),
            AppraisalVerdict::Rejected => Err(AgentError::Rejected {
                policy: outcome.appraisal["policy"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                findings: failed_findings(&outcome.appraisal),
            }),
        }
    }

    /// Evidence is archived with its endorsements, so that an auditor can appraise it again.
    async fn keep_evidence(&self, file: EvidenceFile, id: EvidenceId) -> Result<PathBuf, AgentError> {
        let directory = self.settings.directory.join("evidence");
        let path = directory.join(format!("{id}.json"));
        let kept = path.clone();
        spawn_blocking(move || {
            private_file::create_directory(&directory)?;
            private_file::write(&kept, file.to_json().as_bytes())
        })
        .await?
        .map_err(|source| AgentError::KeepEvidence {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}
