//! What the agent notices, for those who judge and count: the security log, and the node's own instruments.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nautilus_core::{AppraisalVerdict, BootId, Digest32, PublicKey, UnixMillis};
use nautilus_monitor::data::SecurityEventKind;
use nautilus_monitor::openmetrics::{AttestationResult, AttestationStage, NodeMetrics};
use nautilus_monitor::security::{
    AttestationFacts, Attested, EnclaveFacts, ImageCheck, SecurityLog, Signing,
};
use serde_json::{Value, json};

use crate::clock::NodeClock;
use crate::enclave_manager::{EnclaveInstance, EnclaveStatus};
use crate::event::{BootFacts, EnclaveFacts as EnclaveEvent, What};

/// Takes what happens on the node. Shared; every method is short and never waits.
#[derive(Clone)]
pub struct Feed {
    security: Arc<SecurityLog>,
    instruments: Arc<NodeMetrics>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    attestation: Option<Value>,
}

#[derive(Clone, Copy)]
struct Running {
    boot: BootId,
    key: PublicKey,
    image: Digest32,
}

impl Feed {
    /// A feed of nothing yet.
    #[must_use]
    pub fn new(instruments: NodeMetrics) -> Self {
        instruments.log_types(SecurityEventKind::ALL.iter().map(|kind| kind.as_str()));
        Self {
            security: Arc::new(SecurityLog::new(Arc::new(NodeClock::wall))),
            instruments: Arc::new(instruments),
            state: Arc::default(),
        }
    }

    pub(super) fn security(&self) -> Arc<SecurityLog> {
        Arc::clone(&self.security)
    }

    pub(crate) fn instruments(&self) -> Arc<NodeMetrics> {
        Arc::clone(&self.instruments)
    }

    /// What the newest sample says of the attestation; none before there is one.
    pub(super) fn attestation(&self) -> Option<Value> {
        self.lock().attestation.clone()
    }

    /// An event of the node, as everybody is told of it.
    pub fn happened(&self, at: UnixMillis, what: &What) {
        match what {
            What::Enclave(facts) if facts.name.is_node() => self.enclave(facts),
            What::Rotated(facts) if facts.name.is_node() => {
                let image = self.lock().running.map(|running| running.image);
                if let Some(image) = image {
                    let running = Running {
                        boot: facts.rotation.boot,
                        key: facts.rotation.successor,
                        image,
                    };
                    self.lock().running = Some(running);
                    self.security.rotated(running.facts(ImageCheck::NotMeasured));
                }
            }
            What::Boot(facts) => self.judged(at, facts),
            What::Provisioned { secrets, .. } => {
                let detail = format!("{} secrets", secrets.len());
                self.event(SecurityEventKind::SecretsProvisioned, &detail);
            }
            _ => {}
        }
    }

    fn enclave(&self, facts: &EnclaveEvent) {
        match (facts.status, facts.boot_id, facts.tee_key) {
            (EnclaveStatus::Initialized, Some(boot), Some(key)) => {
                let running = Running {
                    boot,
                    key,
                    image: facts.image_hash,
                };
                self.lock().running = Some(running);
                self.security.enclave(running.facts(ImageCheck::NotMeasured));
                self.security.signing(Signing::On);
            }
            (EnclaveStatus::Running, ..) => self.security.signing(Signing::On),
            (EnclaveStatus::Suspended, ..) => self.security.signing(Signing::Suspended),
            (EnclaveStatus::Error, ..) => {
                let why = facts.reason.as_deref().unwrap_or("it ended");
                self.security.enclave_lost(why);
            }
            _ => {}
        }
    }

    fn judged(&self, at: UnixMillis, facts: &BootFacts) {
        let Some(running) = self.lock().running else {
            return;
        };
        let of = Attested {
            boot: running.boot,
            key: running.key,
            quoted_at: at,
        };
        let read = AttestationFacts::read(of, &facts.appraisal);
        self.lock().attestation = Some(json!({
            "evidence_id": facts.evidence_id,
            "verdict": facts.verdict,
            "assurance": facts.assurance,
            "boot_id": running.boot,
            "valid_until": read.as_ref().ok().map(|read| read.valid_until),
        }));
        match read {
            Ok(read) => {
                self.security
                    .enclave(running.facts(running.image_check(&facts.appraisal)));
                self.security.attested(read);
            }
            Err(error) => self.security.invalidated(&error.to_string()),
        }
    }

    /// An attestation ended.
    pub(crate) fn attested(
        &self,
        stage: AttestationStage,
        verdict: Option<AppraisalVerdict>,
        took: Duration,
    ) {
        let result = match verdict {
            Some(AppraisalVerdict::Accepted) => AttestationResult::Accepted,
            Some(AppraisalVerdict::Rejected) => AttestationResult::Rejected,
            None => AttestationResult::Failed,
        };
        self.instruments.attested(stage, result, took);
    }

    /// Something that bears on security.
    pub(crate) fn event(&self, kind: SecurityEventKind, detail: &str) {
        self.instruments.logged(kind.as_str());
        self.security.event(kind, detail);
    }

    pub(super) fn gap(&self, detail: &str) {
        self.event(SecurityEventKind::CollectorGap, detail);
    }

    pub(super) fn clocks(&self, step_millis: i64, suspended_millis: u64) {
        if step_millis != 0 {
            let detail = format!("by {step_millis} ms");
            self.event(SecurityEventKind::ClockStepped, &detail);
        }
        if suspended_millis != 0 {
            let detail = format!("for {suspended_millis} ms");
            self.event(SecurityEventKind::MachineSuspended, &detail);
        }
    }

    /// The enclave as its manager knows it.
    pub(super) fn alive(&self, instance: &EnclaveInstance) {
        if let (Some(boot), Some(at)) = (instance.boot_id, instance.performance_data.last_heartbeat) {
            self.security.heartbeat(boot, at);
        }
    }

    pub(super) fn sampled(&self, missed: u32) {
        self.instruments.sampled(missed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing that panics is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    const fn facts(self, image: ImageCheck) -> EnclaveFacts {
        EnclaveFacts {
            boot: self.boot,
            key: self.key,
            image,
        }
    }

    /// Whether the evidence measures the program that was started. A TEE whose measurement of code is the program's own
    /// hash is the simulated one alone; of the others the policy says what they measure.
    fn image_check(&self, appraisal: &Value) -> ImageCheck {
        let claims = appraisal.get("claims");
        let claim = |name: &str| claims.and_then(|claims| claims.get(name));
        if claim("tee").and_then(Value::as_str) != Some("simulated") {
            return ImageCheck::NotMeasured;
        }
        let measured = claim("measurements").and_then(|all| all.get("mrenclave"));
        if measured.and_then(Value::as_str) == Some(self.image.to_string().as_str()) {
            ImageCheck::Matches
        } else {
            ImageCheck::Differs
        }
    }
}
