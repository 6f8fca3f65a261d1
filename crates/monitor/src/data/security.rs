//! What is known of the node's trustworthiness (specification §3.A `SecurityMetrics`).

use nautilus_core::UnixMillis;
use serde::Serialize;

use crate::decimal::{Ratio, Seconds};
use crate::reading::{Family, MetricKind, Point};

/// The node's trustworthiness, each value by a written rule: see `docs/metrics.md`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecurityMetrics {
    /// Whether the enclave is the one that was attested, and answers.
    pub tee_integrity: bool,
    /// How far the enclave is to be trusted.
    pub enclave_trust: Ratio,
    /// Whether the verifier's verdict on the node's evidence holds now.
    pub attestation_valid: bool,
    /// Events of the last hour, oldest first.
    pub security_events: Vec<SecurityEvent>,
    /// What these events amount to.
    pub threat_level: ThreatLevel,
    /// Share of the policy's rules that the newest appraisal found kept.
    pub compliance_score: Ratio,
    /// Events since the agent's start that are not in `security_events` because there were too many in their hour.
    pub security_events_dropped: u64,
    /// Whether the enclave was told to sign nothing.
    pub enclave_suspended: bool,
    /// Age of the enclave's last heartbeat; none before its first.
    pub heartbeat_age: Option<Seconds>,
    /// Age of the evidence that was appraised last; none before there is any.
    pub quote_age: Option<Seconds>,
    /// Until when the newest appraisal may be relied upon; none before there is any.
    pub attestation_expires_at: Option<UnixMillis>,
}

/// Something that bears on security.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecurityEvent {
    /// When it was noticed.
    pub at: UnixMillis,
    /// What kind of event it is.
    pub kind: SecurityEventKind,
    /// How much it weighs: [`SecurityEventKind::severity`] of its kind.
    pub severity: ThreatLevel,
    /// What happened, for people. Printable and bounded; what it quotes may come from anybody.
    pub detail: String,
}

macro_rules! event_kinds {
    ($($(#[doc = $doc:literal])+ $name:ident, $text:literal, $severity:ident;)+) => {
        /// Kinds of security events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum SecurityEventKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl SecurityEventKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in JSON and labels.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// How much it weighs.
            pub const fn severity(self) -> ThreatLevel {
                match self { $(Self::$name => ThreatLevel::$severity,)+ }
            }
        }
    };
}

// The table of `docs/metrics.md`, which a test compares.
event_kinds! {
    /// The verifier's policy rejected the node's evidence, or the evidence is not genuine.
    AttestationRejected, "attestation_rejected", Critical;
    /// Something else runs than what was started or attested.
    EnclaveSubstituted, "enclave_substituted", Critical;
    /// Samples or batches do not continue their boot's chain, or their signature does not hold.
    ChainRefused, "chain_refused", Critical;
    /// The event log does not replay to what the TEE's registers say.
    EventLogMismatch, "event_log_mismatch", Critical;
    /// The last verdict is too old to be relied upon.
    AttestationExpired, "attestation_expired", High;
    /// The verdict on the node's evidence was taken back, or its ground is gone.
    AttestationInvalidated, "attestation_invalidated", High;
    /// The enclave does not answer any more.
    EnclaveLost, "enclave_lost", High;
    /// A channel did not open because the peer is not who it should be, or broke the protocol.
    ChannelRefused, "channel_refused", High;
    /// The verifier or the ledger refused a proof.
    ProofRefused, "proof_refused", High;
    /// Keys were not replaced, though they were to be.
    KeyRotationFailed, "key_rotation_failed", High;
    /// A container runs that was not measured before its start.
    UnmeasuredContainer, "unmeasured_container", High;
    /// The machine's clock was set.
    ClockStepped, "clock_stepped", Medium;
    /// The enclave was booted again.
    EnclaveRestarted, "enclave_restarted", Medium;
    /// The verifier cannot be reached.
    VerifierUnreachable, "verifier_unreachable", Medium;
    /// The store of metrics has a part that cannot be read or written.
    StoreFault, "store_fault", Medium;
    /// A configuration file is not what was measured.
    ConfigDrift, "config_drift", Medium;
    /// Samples could not be kept and were dropped.
    SamplesDropped, "samples_dropped", Medium;
    /// A collector failed, stalled, or was cut short.
    CollectorGap, "collector_gap", Low;
    /// The machine slept.
    MachineSuspended, "machine_suspended", Low;
    /// The enclave was told to sign nothing, or to sign again.
    EnclaveSuspended, "enclave_suspended", Low;
    /// The enclave's keys were replaced, with the word of the old ones.
    KeyRotated, "key_rotated", Low;
    /// Secrets were given to the enclave.
    SecretsProvisioned, "secrets_provisioned", Low;
    /// The verifier accepted the node's evidence.
    AttestationAccepted, "attestation_accepted", Low;
}

/// How great a threat is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreatLevel {
    /// Nothing out of the ordinary.
    #[default]
    Low,
    /// Worth a look.
    Medium,
    /// To be looked at now.
    High,
    /// The node cannot be trusted.
    Critical,
}

impl ThreatLevel {
    /// Its name in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

static TEE_INTEGRITY: Family = Family::new(
    "nautilus_tee_integrity",
    "",
    MetricKind::Gauge,
    0,
    "Whether the enclave that runs is the one that was attested, and answers.",
);
static ENCLAVE_TRUST: Family = Family::new(
    "nautilus_enclave_trust_ratio",
    "ratio",
    MetricKind::Gauge,
    4,
    "How far the enclave is to be trusted, by the rule in docs/metrics.md.",
);
static NODE_ATTESTED: Family = Family::new(
    "nautilus_node_attested",
    "",
    MetricKind::Gauge,
    0,
    "Whether the verifier's verdict on the node's evidence holds now.",
);
static ENCLAVE_SUSPENDED: Family = Family::new(
    "nautilus_enclave_suspended",
    "",
    MetricKind::Gauge,
    0,
    "Whether the enclave was told to sign nothing.",
);
static SECURITY_EVENTS: Family = Family::new(
    "nautilus_security_events",
    "",
    MetricKind::Gauge,
    0,
    "Security events of the last hour.",
);
static SECURITY_EVENTS_DROPPED: Family = Family::new(
    "nautilus_security_events_dropped",
    "",
    MetricKind::Counter,
    0,
    "Security events that were not kept, because there were too many in their hour.",
);
static THREAT_LEVEL: Family = Family::new(
    "nautilus_threat_level",
    "",
    MetricKind::Gauge,
    0,
    "What the events of the last hour amount to: 0 low, 1 medium, 2 high, 3 critical.",
);
static COMPLIANCE_SCORE: Family = Family::new(
    "nautilus_compliance_score_ratio",
    "ratio",
    MetricKind::Gauge,
    4,
    "Share of the policy's rules that the newest appraisal found kept.",
);
static HEARTBEAT_AGE: Family = Family::new(
    "nautilus_enclave_heartbeat_age_seconds",
    "seconds",
    MetricKind::Gauge,
    9,
    "Time since the enclave last answered a heartbeat.",
);
static QUOTE_AGE: Family = Family::new(
    "nautilus_quote_age_seconds",
    "seconds",
    MetricKind::Gauge,
    9,
    "Age of the evidence that was appraised last.",
);
static ATTESTATION_EXPIRY: Family = Family::new(
    "nautilus_attestation_expiry_timestamp_seconds",
    "seconds",
    MetricKind::Gauge,
    3,
    "Until when the newest appraisal may be relied upon, in seconds since 1970.",
);

/// All families of this part.
pub static FAMILIES: &[&Family] = &[
    &TEE_INTEGRITY,
    &ENCLAVE_TRUST,
    &NODE_ATTESTED,
    &ENCLAVE_SUSPENDED,
    &SECURITY_EVENTS,
    &SECURITY_EVENTS_DROPPED,
    &THREAT_LEVEL,
    &COMPLIANCE_SCORE,
    &HEARTBEAT_AGE,
    &QUOTE_AGE,
    &ATTESTATION_EXPIRY,
];

impl SecurityMetrics {
    /// The same as named integers. Every kind of event has its series, also where there was none: an alert on a series
    /// that comes and goes misses the first event.
    pub fn points(&self, into: &mut Vec<Point>) {
        into.extend([
            Point::plain(&TEE_INTEGRITY, self.tee_integrity.into()),
            Point::plain(&ENCLAVE_TRUST, self.enclave_trust.0),
            Point::plain(&NODE_ATTESTED, self.attestation_valid.into()),
            Point::plain(&ENCLAVE_SUSPENDED, self.enclave_suspended.into()),
        ]);
        into.extend(SecurityEventKind::ALL.iter().map(|kind| {
            let of_kind = self.security_events.iter().filter(|event| event.kind == *kind);
            let labels = [("kind", kind.as_str()), ("severity", kind.severity().as_str())];
            Point::labelled(&SECURITY_EVENTS, labels, integer(of_kind.count()))
        }));
        into.extend([
            Point::plain(&SECURITY_EVENTS_DROPPED, integer(self.security_events_dropped)),
            Point::plain(&THREAT_LEVEL, self.threat_level as i64),
            Point::plain(&COMPLIANCE_SCORE, self.compliance_score.0),
        ]);
        into.extend(self.heartbeat_age.map(|age| Point::plain(&HEARTBEAT_AGE, age.0)));
        into.extend(self.quote_age.map(|age| Point::plain(&QUOTE_AGE, age.0)));
        into.extend(
            self.attestation_expires_at
                .map(|at| Point::plain(&ATTESTATION_EXPIRY, integer(at.0))),
        );
    }
}

/// What no clock and no count reaches is written as the most that there is.
fn integer(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
