//! The node's own evidence: asked for by its verifier, renewed while the verdict lasts, and kept for auditors.

use std::path::PathBuf;
use std::time::Duration;

use nautilus_channel::Backoff;
use nautilus_core::{
    AppraisalVerdict, BoundUserData, ChallengeTerms, EvidenceFile, EvidenceId, Purpose, UnixMillis,
};
use nautilus_monitor::openmetrics::AttestationStage;
use nautilus_verifier::api::{AttestationOutcome, KeyRotationNotice};
use nautilus_verifier::{private_file, told};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::{Agent, AgentError};
use crate::attestation_service::AttestationError;
use crate::enclave_manager::Entry;
use crate::event::{BootFacts, RotationFacts, What};

/// How long the verifier has to take note of a key that was replaced: the node takes no samples meanwhile.
const ROTATION_NOTICE: Duration = Duration::from_secs(5);

impl Agent {
    /// Challenge, evidence, verdict. Gives until when the verdict holds.
    pub(super) async fn attest(&self, entry: &Entry, purpose: Purpose) -> Result<UnixMillis, AgentError> {
        let terms = self.verifier.challenge(self.identity.node(), purpose).await?;
        self.answer(entry, terms).await
    }

    /// [`Self::attest`], counted and timed as an attestation of `stage`.
    pub(super) async fn attest_for(
        &self,
        stage: AttestationStage,
        entry: &Entry,
        purpose: Purpose,
    ) -> Result<UnixMillis, AgentError> {
        let begin = Instant::now();
        let attested = self.attest(entry, purpose).await;
        self.feed.attested(stage, verdict(&attested), begin.elapsed());
        attested
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
        let begin = Instant::now();
        let answered = self.answer(entry, terms).await;
        self.feed
            .attested(AttestationStage::Renewal, verdict(&answered), begin.elapsed());
        match answered {
            Err(error) if error.may_pass() => {
                self.warn(format!(
                    "evidence was not renewed: {}: trying again at once",
                    told(&error)
                ));
                let stage = AttestationStage::Renewal;
                let again = self.persist(async || self.attest_for(stage, entry, purpose).await);
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
        if outcome.evidence_id != answer.evidence {
            let what = format!(
                "the verifier's outcome is of evidence {}, and {} was presented",
                outcome.evidence_id, answer.evidence
            );
            return Err(AttestationError::Internal(what).into());
        }
        self.judged(answer.response.evidence, outcome).await
    }

    /// Opens the channel to the verifier for an enclave that it has not seen in this boot. It appraises the enclave, and
    /// registers the node, before anything else is said.
    pub(super) async fn open_channel(&self) -> Result<(), AgentError> {
        self.verifier.reset();
        if let Some(broker) = &self.broker {
            broker.reset();
        }
        self.persist(async || Ok(self.verifier.connect().await?)).await
    }

    /// Tells of evidence that was rejected before a channel opened, as of boot evidence that is rejected. Only what was
    /// presented is kept, under no other name than its own.
    pub(super) async fn rejected(&self, outcome: AttestationOutcome) -> AgentError {
        let rejected = AgentError::rejected(&outcome.appraisal);
        let presented = self.verifier.presented();
        match presented.filter(|file| evidence_id(file) == Some(outcome.evidence_id)) {
            Some(file) => self.judged(file, outcome).await.err().unwrap_or(rejected),
            None => rejected,
        }
    }

    /// Has the verifier refuse the key that was replaced. It is told once more if the answer is lost; a verifier that
    /// does not take it does not keep the node from going on.
    pub(super) async fn tell_rotation(&self, facts: &RotationFacts) {
        let notice = KeyRotationNotice {
            rotation: facts.rotation.clone(),
            signature: facts.signature,
        };
        let telling = async {
            let mut backoff = Backoff::new();
            loop {
                match self.verifier.rotated(notice.clone()).await {
                    Err(error) if error.may_pass() => sleep(backoff.pause()).await,
                    told => return told,
                }
            }
        };
        let why = match timeout(ROTATION_NOTICE, telling).await {
            Ok(Ok(_noted)) => return,
            Ok(Err(error)) => told(&error),
            Err(_elapsed) => format!("there was no answer within {} s", ROTATION_NOTICE.as_secs()),
        };
        self.warn(format!(
            "the verifier does not know that key {} signs no more: {why}",
            facts.rotation.retired
        ));
    }

    /// Keeps evidence, tells what the verifier says of it, and gives until when its verdict holds.
    async fn judged(
        &self,
        evidence: EvidenceFile,
        outcome: AttestationOutcome,
    ) -> Result<UnixMillis, AgentError> {
        let path = self.keep_evidence(evidence, outcome.evidence_id).await?;
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
            AppraisalVerdict::Rejected => Err(AgentError::rejected(&outcome.appraisal)),
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

/// What came of an attestation; none if it was not judged.
fn verdict(attested: &Result<UnixMillis, AgentError>) -> Option<AppraisalVerdict> {
    match attested {
        Ok(_) => Some(AppraisalVerdict::Accepted),
        Err(AgentError::Rejected { .. }) => Some(AppraisalVerdict::Rejected),
        Err(_) => None,
    }
}

/// The id of evidence that binds user data, as all of a node's does.
fn evidence_id(file: &EvidenceFile) -> Option<EvidenceId> {
    let bound = BoundUserData::from_canonical(file.evidence.user_data.as_deref()?)?;
    let report_data = file.challenge.bind(&bound);
    Some(EvidenceId::of(file.evidence.tee, report_data.as_bytes()))
}
