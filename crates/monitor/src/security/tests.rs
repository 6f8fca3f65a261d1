use std::sync::atomic::{AtomicU64, Ordering};

use nautilus_core::{AppraisalVerdict, Assurance, BootId, PublicKey, TcbStatus, UnixMillis};

use super::*;
use crate::data::{SecurityEventKind, SecurityMetrics, ThreatLevel};
use crate::decimal::Decimal;

const START: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

/// A log whose time stands until it is moved.
struct Told {
    log: Arc<SecurityLog>,
    time: Arc<AtomicU64>,
}

impl Told {
    fn new() -> Self {
        let time = Arc::new(AtomicU64::new(START));
        let clock = Arc::clone(&time);
        let log = SecurityLog::new(Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed))));
        Self {
            log: Arc::new(log),
            time,
        }
    }

    fn pass(&self, millis: u64) {
        self.time.fetch_add(millis, Ordering::Relaxed);
    }

    /// The enclave of this boot answers a heartbeat now.
    fn beats(&self, boot: u8) {
        let now = UnixMillis(self.time.load(Ordering::Relaxed));
        self.log.heartbeat(enclave(boot).boot, now);
    }

    fn kinds(&self) -> Vec<SecurityEventKind> {
        let metrics = self.log.metrics();
        metrics.security_events.iter().map(|event| event.kind).collect()
    }

    /// An enclave that runs, answers and is attested for 24 hours.
    fn sound() -> Self {
        let told = Self::new();
        told.log.enclave(enclave(1));
        told.beats(1);
        told.log.attested(attestation(1));
        told
    }
}

fn enclave(boot: u8) -> EnclaveFacts {
    EnclaveFacts {
        boot: BootId([boot; 16]),
        key: PublicKey([boot; 32]),
        image: ImageCheck::Matches,
    }
}

fn attestation(boot: u8) -> AttestationFacts {
    AttestationFacts {
        of: Attested {
            boot: BootId([boot; 16]),
            key: PublicKey([boot; 32]),
            quoted_at: UnixMillis(START),
        },
        verdict: AppraisalVerdict::Accepted,
        assurance: Assurance::HardwareVm,
        debug: false,
        tcb: TcbStanding::Rated(TcbStatus::UpToDate),
        valid_until: UnixMillis(START + 24 * HOUR),
        passed: 3,
        evaluated: 4,
    }
}

#[test]
fn before_anything_is_told_nothing_is_trusted() {
    let expected = SecurityMetrics {
        tee_integrity: false,
        enclave_trust: Decimal(0),
        attestation_valid: false,
        security_events: Vec::new(),
        threat_level: ThreatLevel::High,
        compliance_score: Decimal(0),
        security_events_dropped: 0,
        enclave_suspended: false,
        heartbeat_age: None,
        quote_age: None,
        attestation_expires_at: None,
    };
    assert_eq!(Told::new().log.metrics(), expected);
}

#[test]
fn the_collector_gives_what_the_log_was_told() {
    let told = Told::sound();
    told.pass(2_000);
    let mut collector = SecurityCollector::new(Arc::clone(&told.log));
    assert_eq!(collector.kind(), CollectorKind::Security);
    let Part::Security(metrics) = collector.collect().unwrap() else {
        panic!("another part");
    };
    assert!(metrics.tee_integrity && metrics.attestation_valid);
    assert_eq!(metrics.enclave_trust, Decimal(10_000));
    assert_eq!(metrics.compliance_score, Decimal(7_500));
    assert_eq!(metrics.threat_level, ThreatLevel::Low);
    assert_eq!(metrics.heartbeat_age, Some(Decimal(2_000_000_000)));
    assert_eq!(metrics.quote_age, Some(Decimal(2_000_000_000)));
    assert_eq!(
        metrics.attestation_expires_at,
        Some(UnixMillis(START + 24 * HOUR))
    );
    let [event] = &metrics.security_events[..] else {
        panic!("{:?}", metrics.security_events);
    };
    assert_eq!(event.kind, SecurityEventKind::AttestationAccepted);
    assert_eq!((event.at, event.severity), (UnixMillis(START), ThreatLevel::Low));
    assert!(
        event.detail.contains("3 of 4 rules kept, hardware-vm"),
        "{}",
        event.detail
    );
}

#[test]
fn a_heartbeat_of_another_boot_keeps_nothing_alive() {
    let told = Told::sound();
    told.pass(MAX_HEARTBEAT_AGE_MILLIS + 1);
    told.beats(2);
    assert!(!told.log.metrics().tee_integrity);
    told.beats(1);
    assert!(told.log.metrics().tee_integrity);
}

#[test]
fn a_lost_enclave_is_an_event_and_its_successor_must_be_attested() {
    let told = Told::sound();
    told.log.enclave_lost("it missed a heartbeat");
    let lost = told.log.metrics();
    assert!(!lost.tee_integrity && !lost.attestation_valid);
    assert_eq!(
        (lost.enclave_trust, lost.threat_level),
        (Decimal(0), ThreatLevel::High)
    );
    // What the policy found is still what it found last.
    assert_eq!(lost.compliance_score, Decimal(7_500));

    told.log.enclave(enclave(2));
    told.beats(2);
    assert!(!told.log.metrics().attestation_valid);
    told.log.attested(attestation(2));
    let back = told.log.metrics();
    assert!(back.tee_integrity && back.attestation_valid);
    assert_eq!(
        told.kinds(),
        [
            SecurityEventKind::AttestationAccepted,
            SecurityEventKind::EnclaveLost,
            SecurityEventKind::EnclaveRestarted,
            SecurityEventKind::AttestationAccepted,
        ]
    );
}

#[test]
fn keys_that_were_replaced_must_be_attested_and_are_no_restart() {
    let told = Told::sound();
    told.log.rotated(enclave(2));
    let metrics = told.log.metrics();
    assert!(!metrics.attestation_valid && !metrics.tee_integrity);
    assert_eq!(
        told.kinds(),
        [
            SecurityEventKind::AttestationAccepted,
            SecurityEventKind::KeyRotated
        ]
    );
}

#[test]
fn an_expired_verdict_is_told_once() {
    let told = Told::sound();
    told.pass(24 * HOUR);
    for _ in 0..2 {
        assert!(!told.log.metrics().attestation_valid);
        assert_eq!(told.kinds(), [SecurityEventKind::AttestationExpired]);
    }
    // The next one expires by itself again.
    let next = AttestationFacts {
        valid_until: UnixMillis(START + 25 * HOUR),
        ..attestation(1)
    };
    told.log.attested(next);
    told.pass(HOUR);
    assert_eq!(told.kinds(), [SecurityEventKind::AttestationExpired]);
    assert_eq!(
        told.log.metrics().security_events[0].at,
        UnixMillis(START + 25 * HOUR)
    );
}

#[test]
fn a_rejection_is_critical_and_takes_the_place_of_what_was_accepted() {
    let told = Told::sound();
    told.log.attested(AttestationFacts {
        verdict: AppraisalVerdict::Rejected,
        ..attestation(1)
    });
    let metrics = told.log.metrics();
    assert!(!metrics.attestation_valid && !metrics.tee_integrity);
    assert_eq!(metrics.threat_level, ThreatLevel::Critical);
    assert_eq!(told.kinds()[1], SecurityEventKind::AttestationRejected);
    // It does not expire: it was never good.
    told.pass(24 * HOUR);
    assert_eq!(told.kinds(), []);
}

#[test]
fn a_verdict_that_was_taken_back_is_none() {
    let told = Told::sound();
    told.log.invalidated("the verifier was replaced");
    let metrics = told.log.metrics();
    assert!(!metrics.attestation_valid);
    assert_eq!((metrics.quote_age, metrics.attestation_expires_at), (None, None));
    assert_eq!(metrics.compliance_score, Decimal(0));
    assert_eq!(told.kinds()[1], SecurityEventKind::AttestationInvalidated);
}

#[test]
fn suspending_is_an_event_where_it_changes_something() {
    let told = Told::sound();
    told.log.signing(Signing::On);
    assert_eq!(told.kinds().len(), 1);
    told.log.signing(Signing::Suspended);
    told.log.signing(Signing::Suspended);
    let metrics = told.log.metrics();
    assert!(metrics.enclave_suspended && metrics.tee_integrity);
    assert_eq!(told.kinds()[1..], [SecurityEventKind::EnclaveSuspended]);
    told.log.signing(Signing::On);
    assert!(!told.log.metrics().enclave_suspended);
}

#[test]
fn an_event_counts_for_an_hour() {
    let told = Told::sound();
    told.log.event(SecurityEventKind::ClockStepped, "by 3 s");
    told.pass(EVENT_SPAN_MILLIS - 1);
    assert_eq!(told.kinds().len(), 2);
    told.pass(1);
    assert_eq!(told.kinds(), []);
}

#[test]
fn small_events_cannot_push_out_great_ones() {
    let told = Told::new();
    told.log.event(SecurityEventKind::ChainRefused, "first");
    for _ in 0..MAX_EVENTS + 9 {
        told.log.event(SecurityEventKind::CollectorGap, "flood");
    }
    let metrics = told.log.metrics();
    assert_eq!(metrics.security_events.len(), MAX_EVENTS);
    assert_eq!(metrics.security_events_dropped, 10);
    assert_eq!(metrics.security_events[0].detail, "first");
    assert_eq!(metrics.threat_level, ThreatLevel::Critical);

    // Nor does a small one find room among great ones.
    for _ in 0..MAX_EVENTS {
        told.log.event(SecurityEventKind::EnclaveLost, "great");
    }
    told.log.event(SecurityEventKind::CollectorGap, "small");
    let kinds = told.kinds();
    assert_eq!(kinds.len(), MAX_EVENTS);
    assert_eq!(kinds[0], SecurityEventKind::ChainRefused);
    assert!(
        kinds[1..]
            .iter()
            .all(|kind| *kind == SecurityEventKind::EnclaveLost)
    );
}

#[test]
fn a_detail_is_bounded_and_printable() {
    let told = Told::new();
    let hostile = format!("\u{1b}[2J{}", "ä".repeat(MAX_EVENT_DETAIL));
    told.log.event(SecurityEventKind::ChannelRefused, &hostile);
    let metrics = told.log.metrics();
    let detail = &metrics.security_events[0].detail;
    assert!(
        detail.starts_with("?[2Jä") && detail.len() <= MAX_EVENT_DETAIL,
        "{detail:?}"
    );
}

#[test]
fn it_can_be_told_by_many_at_once() {
    let told = Told::sound();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    told.log.event(SecurityEventKind::StoreFault, "x");
                    told.log.metrics();
                }
            });
        }
    });
    assert_eq!(told.kinds().len(), 201);
}
