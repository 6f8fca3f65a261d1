use nautilus_core::{BootId, PublicKey};

use super::*;
use crate::data::SecurityEventKind;
use crate::security::Attested;

const NOW: UnixMillis = UnixMillis(1_000_000_000);
const HOUR: u64 = 3_600_000;

fn running() -> Running {
    Running {
        facts: EnclaveFacts {
            boot: BootId([1; 16]),
            key: PublicKey([2; 32]),
            image: ImageCheck::Matches,
        },
        heartbeat: Some(NOW),
    }
}

fn newest() -> AttestationFacts {
    AttestationFacts {
        of: Attested {
            boot: BootId([1; 16]),
            key: PublicKey([2; 32]),
            quoted_at: NOW,
        },
        verdict: AppraisalVerdict::Accepted,
        assurance: Assurance::HardwareVm,
        debug: false,
        tcb: TcbStanding::Rated(TcbStatus::UpToDate),
        valid_until: NOW.plus(24 * HOUR),
        passed: 7,
        evaluated: 7,
    }
}

/// Integrity, validity and trust, of what `change` makes of a sound node.
fn judged(change: impl FnOnce(&mut Running, &mut AttestationFacts)) -> (bool, bool, i64) {
    let (mut running, mut newest) = (running(), newest());
    change(&mut running, &mut newest);
    let (running, newest) = (Some(&running), Some(&newest));
    (
        tee_integrity(running, newest, NOW),
        attestation_valid(running, newest, NOW),
        enclave_trust(running, newest, NOW).0,
    )
}

#[test]
fn a_sound_node_is_trusted_whole() {
    assert_eq!(judged(|_, _| ()), (true, true, 10_000));
}

#[test]
fn what_is_not_known_counts_against_the_node() {
    for (enclave, appraisal) in [(None, None), (Some(running()), None), (None, Some(newest()))] {
        let (enclave, appraisal) = (enclave.as_ref(), appraisal.as_ref());
        assert!(!tee_integrity(enclave, appraisal, NOW));
        assert!(!attestation_valid(enclave, appraisal, NOW));
        assert_eq!(enclave_trust(enclave, appraisal, NOW), Decimal(0));
    }
}

#[test]
fn evidence_of_another_boot_or_key_says_nothing() {
    let other_boot = judged(|running, _| running.facts.boot = BootId([9; 16]));
    assert_eq!(other_boot, (false, false, 0));
    let other_key = judged(|_, newest| newest.of.key = PublicKey([9; 32]));
    assert_eq!(other_key, (false, false, 0));
}

#[test]
fn a_rejected_enclave_has_neither() {
    let rejected = judged(|_, newest| newest.verdict = AppraisalVerdict::Rejected);
    assert_eq!(rejected, (false, false, 0));
}

#[test]
fn a_verdict_ends_with_its_last_instant_and_integrity_does_not() {
    let expired = judged(|_, newest| newest.valid_until = NOW);
    assert_eq!(expired, (true, false, 0));
    let last = judged(|_, newest| newest.valid_until = NOW.plus(1));
    assert_eq!((last.0, last.1), (true, true));
}

#[test]
fn an_enclave_that_does_not_answer_lacks_integrity() {
    let beat = |heartbeat| judged(|running, _| running.heartbeat = heartbeat);
    assert_eq!(beat(None), (false, true, 0));
    let oldest = UnixMillis(NOW.0 - MAX_HEARTBEAT_AGE_MILLIS);
    assert_eq!(beat(Some(oldest)), (true, true, 10_000));
    assert_eq!(beat(Some(UnixMillis(oldest.0 - 1))), (false, true, 0));
    assert_eq!(beat(Some(NOW.plus(1))), (false, true, 0));
}

#[test]
fn a_program_that_was_not_measured_as_started_lacks_integrity() {
    let image = |image| judged(|running, _| running.facts.image = image);
    assert_eq!(image(ImageCheck::Differs), (false, true, 0));
    assert_eq!(image(ImageCheck::NotMeasured), (true, true, 10_000));
}

#[test]
fn a_debugger_takes_all_trust() {
    assert_eq!(judged(|_, newest| newest.debug = true), (true, true, 0));
}

#[test]
fn each_assurance_has_its_worth_in_its_order() {
    let trust = |assurance| judged(|_, newest| newest.assurance = assurance).2;
    assert_eq!(trust(Assurance::HardwareVm), 10_000);
    assert_eq!(trust(Assurance::HardwareEnclave), 9_000);
    assert_eq!(trust(Assurance::MeasuredBoot), 6_000);
    assert_eq!(trust(Assurance::Simulated), 1_000);
}

#[test]
fn a_simulated_tee_is_never_above_a_tenth() {
    for tcb in standings() {
        let (_, _, trust) = judged(|_, newest| {
            newest.assurance = Assurance::Simulated;
            newest.tcb = tcb;
        });
        assert!(trust <= 1_000, "{tcb:?}: {trust}");
    }
}

#[test]
fn each_state_of_the_platform_has_its_worth_and_none_is_better_than_the_one_before() {
    let trusts: Vec<i64> = standings()
        .map(|tcb| judged(|_, newest| newest.tcb = tcb).2)
        .collect();
    assert_eq!(
        trusts,
        [
            10_000, 9_500, 9_000, 8_500, 8_000, 7_500, 5_000, 4_000, 0, 8_000, 0
        ]
    );
}

fn standings() -> impl Iterator<Item = TcbStanding> {
    [
        TcbStatus::UpToDate,
        TcbStatus::SWHardeningNeeded,
        TcbStatus::ConfigurationNeeded,
        TcbStatus::ConfigurationAndSWHardeningNeeded,
        TcbStatus::TDRelaunchAdvised,
        TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
        TcbStatus::OutOfDate,
        TcbStatus::OutOfDateConfigurationNeeded,
        TcbStatus::Revoked,
    ]
    .map(TcbStanding::Rated)
    .into_iter()
    .chain([TcbStanding::Unrated, TcbStanding::BelowAll])
}

#[test]
fn evidence_loses_worth_in_the_second_half_of_its_validity() {
    let at = |quoted_before: u64, valid_for: u64| {
        let newest = AttestationFacts {
            of: Attested {
                quoted_at: UnixMillis(NOW.0 - quoted_before),
                ..newest().of
            },
            valid_until: NOW.plus(valid_for),
            ..newest()
        };
        of_age(&newest, NOW)
    };
    assert_eq!(at(0, 24 * HOUR), 10_000);
    assert_eq!(at(12 * HOUR, 12 * HOUR), 10_000);
    assert_eq!(at(18 * HOUR, 6 * HOUR), 7_500);
    // Rounded down: a millisecond past the half costs something.
    assert_eq!(at(12 * HOUR + 1, 12 * HOUR - 1), 9_999);
    assert_eq!(at(24 * HOUR, 0), 5_000);
    let backwards = AttestationFacts {
        valid_until: UnixMillis(0),
        ..newest()
    };
    assert_eq!(of_age(&backwards, NOW.plus(u64::MAX)), 5_000);
    assert_eq!(of_age(&backwards, NOW), 10_000);
}

#[test]
fn factors_multiply() {
    let (_, _, trust) = judged(|_, newest| {
        newest.assurance = Assurance::HardwareEnclave;
        newest.tcb = TcbStanding::Rated(TcbStatus::SWHardeningNeeded);
        newest.of.quoted_at = UnixMillis(NOW.0 - 18 * HOUR);
        newest.valid_until = NOW.plus(6 * HOUR);
    });
    // 0.9 × 0.95 × 0.75 = 0.64125
    assert_eq!(trust, 6_412);
}

#[test]
fn compliance_is_what_passed_of_what_was_evaluated() {
    let score = |passed, evaluated| {
        compliance_score(Some(&AttestationFacts {
            passed,
            evaluated,
            ..newest()
        }))
    };
    assert_eq!(compliance_score(None), Decimal(0));
    assert_eq!(score(0, 0), Decimal(0));
    assert_eq!(score(2, 3), Decimal(6_666));
    assert_eq!(score(3, 3), Decimal(10_000));
    assert_eq!(score(4, 3), Decimal(10_000));
}

fn threat(counts: &[(SecurityEventKind, usize)], standing: Standing) -> ThreatLevel {
    let events: Vec<_> = counts
        .iter()
        .flat_map(|(kind, count)| {
            let event = SecurityEvent {
                at: NOW,
                kind: *kind,
                severity: kind.severity(),
                detail: String::new(),
            };
            std::iter::repeat_n(event, *count)
        })
        .collect();
    threat_level(&events, standing)
}

#[test]
fn the_threat_is_that_of_the_worst_event_or_of_many() {
    use SecurityEventKind::{AttestationRejected, ClockStepped, EnclaveLost, MachineSuspended};
    let sound = |kind, count| threat(&[(kind, count)], Standing::Sound);
    assert_eq!(threat(&[], Standing::Sound), ThreatLevel::Low);
    assert_eq!(sound(MachineSuspended, 99), ThreatLevel::Low);
    assert_eq!(sound(MachineSuspended, 100), ThreatLevel::Medium);
    assert_eq!(sound(ClockStepped, 1), ThreatLevel::Medium);
    assert_eq!(sound(ClockStepped, 9), ThreatLevel::Medium);
    assert_eq!(sound(ClockStepped, 10), ThreatLevel::High);
    assert_eq!(sound(EnclaveLost, 1), ThreatLevel::High);
    assert_eq!(sound(EnclaveLost, 4), ThreatLevel::High);
    assert_eq!(sound(EnclaveLost, 5), ThreatLevel::Critical);
    assert_eq!(sound(AttestationRejected, 1), ThreatLevel::Critical);
}

#[test]
fn who_is_not_attested_is_at_least_a_high_threat() {
    let unsound = |counts: &[_]| threat(counts, Standing::Unsound);
    assert_eq!(unsound(&[]), ThreatLevel::High);
    assert_eq!(
        unsound(&[(SecurityEventKind::ClockStepped, 1)]),
        ThreatLevel::High
    );
    assert_eq!(
        unsound(&[(SecurityEventKind::ChainRefused, 1)]),
        ThreatLevel::Critical
    );
}
