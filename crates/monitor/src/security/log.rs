//! What happened to the node's trustworthiness, as the agent tells it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nautilus_core::{AppraisalVerdict, BootId, UnixMillis};

use super::facts::{AttestationFacts, EnclaveFacts};
use super::rules::{self, Running, Standing};
use crate::clock::WallClock;
use crate::data::{SecurityEvent, SecurityEventKind, SecurityMetrics};
use crate::decimal::{Decimal, Seconds};
use crate::printable::printable;

/// How long an event counts, in milliseconds: one hour.
pub const EVENT_SPAN_MILLIS: u64 = 3_600_000;
/// Most events that are kept. Of more in one hour, the oldest of those that weigh least go first.
pub const MAX_EVENTS: usize = 1_000;
/// Longest detail of an event, in bytes.
pub const MAX_EVENT_DETAIL: usize = 256;

/// What bears on the node's trustworthiness, shared between who notices it and the
/// [`SecurityCollector`](super::SecurityCollector).
///
/// Telling it something is cheap, never blocks for long and never fails; memory is bounded whatever it is told. Details
/// of events may quote anybody: they are cut, and made printable.
pub struct SecurityLog {
    now: WallClock,
    state: Mutex<State>,
}

/// Whether an enclave signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// As it should.
    #[default]
    On,
    /// It was told to sign nothing.
    Suspended,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    signing: Signing,
    /// The boot that ran last, also when it is lost.
    last_boot: Option<BootId>,
    newest: Option<AttestationFacts>,
    /// Whether it was told that `newest` has expired.
    expiry_told: bool,
    /// Oldest first.
    events: VecDeque<SecurityEvent>,
    dropped: u64,
}

impl SecurityLog {
    /// An empty log, by the node's clock.
    pub fn new(now: WallClock) -> Self {
        Self {
            now,
            state: Mutex::default(),
        }
    }

    /// An enclave runs. If another boot ran before, it was restarted, which is an event.
    pub fn enclave(&self, facts: EnclaveFacts) {
        let mut state = self.state();
        let now = (self.now)();
        let restarted = state.last_boot.is_some_and(|last| last != facts.boot);
        state.runs(facts, now);
        if restarted {
            state.note(
                now,
                SecurityEventKind::EnclaveRestarted,
                &format!("boot {}", facts.boot),
            );
        }
    }

    /// The enclave replaced its keys, with the word of the old ones: it is another boot of the same enclave.
    pub fn rotated(&self, facts: EnclaveFacts) {
        let mut state = self.state();
        let now = (self.now)();
        state.runs(facts, now);
        state.note(
            now,
            SecurityEventKind::KeyRotated,
            &format!("boot {}, key {}", facts.boot, facts.key),
        );
    }

    /// The enclave of `boot` answered a heartbeat at `at`, by the node's clock. Another's says nothing.
    pub fn heartbeat(&self, boot: BootId, at: UnixMillis) {
        let mut state = self.state();
        if let Some(running) = &mut state.running
            && running.facts.boot == boot
        {
            running.heartbeat = running.heartbeat.max(Some(at));
        }
    }

    /// The enclave was told to sign nothing, or to sign again.
    pub fn signing(&self, signing: Signing) {
        let mut state = self.state();
        let now = (self.now)();
        if std::mem::replace(&mut state.signing, signing) != signing {
            let detail = match signing {
                Signing::On => "it signs again",
                Signing::Suspended => "it was told to sign nothing",
            };
            state.note(now, SecurityEventKind::EnclaveSuspended, detail);
        }
    }

    /// The enclave is gone.
    pub fn enclave_lost(&self, why: &str) {
        let mut state = self.state();
        let now = (self.now)();
        state.running = None;
        state.signing = Signing::On;
        state.note(now, SecurityEventKind::EnclaveLost, why);
    }

    /// Evidence was appraised, whatever the verdict: it is what counts from now on.
    pub fn attested(&self, facts: AttestationFacts) {
        let mut state = self.state();
        let now = (self.now)();
        state.newest = Some(facts);
        state.expiry_told = false;
        let kind = match facts.verdict {
            AppraisalVerdict::Accepted => SecurityEventKind::AttestationAccepted,
            AppraisalVerdict::Rejected => SecurityEventKind::AttestationRejected,
        };
        let detail = format!(
            "boot {}: {} of {} rules kept, {}",
            facts.of.boot, facts.passed, facts.evaluated, facts.assurance
        );
        state.note(now, kind, &detail);
    }

    /// The newest verdict does not count any more, for another reason than its age.
    pub fn invalidated(&self, why: &str) {
        let mut state = self.state();
        let now = (self.now)();
        state.newest = None;
        state.note(now, SecurityEventKind::AttestationInvalidated, why);
    }

    /// Something else happened.
    pub fn event(&self, kind: SecurityEventKind, detail: &str) {
        let mut state = self.state();
        let now = (self.now)();
        state.note(now, kind, detail);
    }

    /// How things stand now. The first look after the newest verdict expired makes that an event.
    pub fn metrics(&self) -> SecurityMetrics {
        let mut state = self.state();
        let now = (self.now)();
        if let Some(newest) = state.newest
            && now >= newest.valid_until
            && newest.verdict == AppraisalVerdict::Accepted
            && !std::mem::replace(&mut state.expiry_told, true)
        {
            let detail = format!("it was good until {}", newest.valid_until);
            state.note(now, SecurityEventKind::AttestationExpired, &detail);
        }
        state.forget_before(now);
        let State {
            running,
            newest,
            events,
            ..
        } = &*state;
        let (running, newest) = (running.as_ref(), newest.as_ref());
        let attestation_valid = rules::attestation_valid(running, newest, now);
        let tee_integrity = rules::tee_integrity(running, newest, now);
        let standing = if attestation_valid && tee_integrity {
            Standing::Sound
        } else {
            Standing::Unsound
        };
        SecurityMetrics {
            tee_integrity,
            enclave_trust: rules::enclave_trust(running, newest, now),
            attestation_valid,
            security_events: events.iter().cloned().collect(),
            threat_level: rules::threat_level(events, standing),
            compliance_score: rules::compliance_score(newest),
            security_events_dropped: state.dropped,
            enclave_suspended: state.signing == Signing::Suspended,
            heartbeat_age: running
                .and_then(|running| running.heartbeat)
                .map(|at| seconds(now.since(at))),
            quote_age: newest.map(|newest| seconds(now.since(newest.of.quoted_at))),
            attestation_expires_at: newest.map(|newest| newest.valid_until),
        }
    }

    /// Nothing here leaves the state half changed, so that a thread that panicked did no harm to it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SecurityLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecurityLog").finish_non_exhaustive()
    }
}

impl State {
    fn runs(&mut self, facts: EnclaveFacts, now: UnixMillis) {
        self.last_boot = Some(facts.boot);
        self.signing = Signing::On;
        self.running = Some(Running {
            facts,
            // It has just told these facts itself.
            heartbeat: Some(now),
        });
    }

    fn note(&mut self, now: UnixMillis, kind: SecurityEventKind, detail: &str) {
        self.forget_before(now);
        let severity = kind.severity();
        if self.events.len() >= MAX_EVENTS {
            self.dropped = self.dropped.saturating_add(1);
            // Who can cause many small events must not make room for himself by pushing out a great one.
            let least = self.events.iter().map(|event| event.severity).min();
            if least.is_some_and(|least| least > severity) {
                return;
            }
            if let Some(at) = self.events.iter().position(|event| Some(event.severity) == least) {
                self.events.remove(at);
            }
        }
        self.events.push_back(SecurityEvent {
            at: now,
            kind,
            severity,
            detail: printable(detail, MAX_EVENT_DETAIL),
        });
    }

    fn forget_before(&mut self, now: UnixMillis) {
        self.events
            .retain(|event| now.since(event.at) < EVENT_SPAN_MILLIS);
    }
}

fn seconds(millis: u64) -> Seconds {
    let nanos = millis.saturating_mul(1_000_000);
    Decimal(i64::try_from(nanos).unwrap_or(i64::MAX))
}
