//! The rules by which facts and events become values: pure, with the time as an input. `docs/metrics.md` has them in
//! words; whatever is not known counts against the node.

use nautilus_core::{AppraisalVerdict, Assurance, TcbStatus, UnixMillis};

use super::facts::{AttestationFacts, EnclaveFacts, ImageCheck, TcbStanding};
use crate::data::{SecurityEvent, ThreatLevel};
use crate::decimal::{Decimal, Ratio};

/// An enclave whose last heartbeat is older does not answer. Heartbeats are 3 s apart, and one may take 10 s on a machine
/// that is busy: this is twice both.
pub const MAX_HEARTBEAT_AGE_MILLIS: u64 = 26_000;

/// One, in basis points.
const WHOLE: u64 = 10_000;
/// As many high events in an hour amount to a critical threat.
const HIGHS_THAT_ARE_CRITICAL: usize = 5;
/// As many medium events in an hour amount to a high threat.
const MEDIUMS_THAT_ARE_HIGH: usize = 10;
/// As many low events in an hour amount to a medium threat.
const LOWS_THAT_ARE_MEDIUM: usize = 100;

/// An enclave that runs, and when it last answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) facts: EnclaveFacts,
    pub(super) heartbeat: Option<UnixMillis>,
}

/// `attestation_valid`: the newest appraisal accepted, is of this boot and key, and has not expired.
pub(super) fn attestation_valid(
    running: Option<&Running>,
    newest: Option<&AttestationFacts>,
    now: UnixMillis,
) -> bool {
    names_the_running(running, newest)
        && newest
            .is_some_and(|newest| newest.verdict == AppraisalVerdict::Accepted && now < newest.valid_until)
}

/// `tee_integrity`: the enclave that runs is the one that the accepted evidence names, runs the program that was
/// measured, and answered not long ago. Evidence does not stop naming it by growing old.
pub(super) fn tee_integrity(
    running: Option<&Running>,
    newest: Option<&AttestationFacts>,
    now: UnixMillis,
) -> bool {
    names_the_running(running, newest)
        && newest.is_some_and(|newest| newest.verdict == AppraisalVerdict::Accepted)
        && running.is_some_and(|running| {
            running.facts.image != ImageCheck::Differs
                && running.heartbeat.is_some_and(|at| {
                    // A heartbeat of the future has a clock that cannot be believed.
                    at <= now && now.since(at) <= MAX_HEARTBEAT_AGE_MILLIS
                })
        })
}

fn names_the_running(running: Option<&Running>, newest: Option<&AttestationFacts>) -> bool {
    running.zip(newest).is_some_and(|(running, newest)| {
        (running.facts.boot, running.facts.key) == (newest.of.boot, newest.of.key)
    })
}

/// `enclave_trust`: nothing without a valid attestation of an enclave with integrity; else the product of what the
/// assurance, the platform's state and the evidence's age are worth, each step rounded down.
pub(super) fn enclave_trust(
    running: Option<&Running>,
    newest: Option<&AttestationFacts>,
    now: UnixMillis,
) -> Ratio {
    let whole = attestation_valid(running, newest, now) && tee_integrity(running, newest, now);
    let factors = newest.filter(|newest| whole && !newest.debug).map(|newest| {
        [
            of_assurance(newest.assurance),
            of_tcb(newest.tcb),
            of_age(newest, now),
        ]
    });
    let trust = factors.map_or(0, |factors| {
        factors
            .iter()
            .fold(WHOLE, |product, factor| product.saturating_mul(*factor) / WHOLE)
    });
    ratio(trust)
}

/// What an assurance is worth. A simulated TEE never gets above a tenth: anybody can make its evidence.
pub(super) const fn of_assurance(assurance: Assurance) -> u64 {
    match assurance {
        Assurance::HardwareVm => 10_000,
        Assurance::HardwareEnclave => 9_000,
        Assurance::MeasuredBoot => 6_000,
        Assurance::Simulated => 1_000,
    }
}

/// What a platform's state is worth.
pub(super) const fn of_tcb(tcb: TcbStanding) -> u64 {
    match tcb {
        TcbStanding::Rated(status) => match status {
            TcbStatus::UpToDate => 10_000,
            TcbStatus::SWHardeningNeeded => 9_500,
            TcbStatus::ConfigurationNeeded => 9_000,
            TcbStatus::ConfigurationAndSWHardeningNeeded => 8_500,
            TcbStatus::TDRelaunchAdvised => 8_000,
            TcbStatus::TDRelaunchAdvisedConfigurationNeeded => 7_500,
            TcbStatus::OutOfDate => 5_000,
            TcbStatus::OutOfDateConfigurationNeeded => 4_000,
            TcbStatus::Revoked => 0,
        },
        TcbStanding::Unrated => 8_000,
        TcbStanding::BelowAll => 0,
    }
}

/// What the evidence's age is worth: one in the first half of its validity, then falling evenly to a half at its end.
pub(super) fn of_age(newest: &AttestationFacts, now: UnixMillis) -> u64 {
    let validity = newest.valid_until.since(newest.of.quoted_at);
    let first_half = validity / 2;
    let past_half = now.since(newest.of.quoted_at.plus(first_half));
    let second_half = u128::from(validity.saturating_sub(first_half)).max(1);
    // Rounded up, so that what is left is rounded down.
    let lost = u128::from(past_half)
        .saturating_mul(u128::from(WHOLE / 2))
        .div_ceil(second_half);
    let lost = u64::try_from(lost).unwrap_or(u64::MAX).min(WHOLE / 2);
    WHOLE.saturating_sub(lost)
}

/// `compliance_score`: findings that passed, of those that the newest appraisal evaluated; nothing without any.
pub(super) fn compliance_score(newest: Option<&AttestationFacts>) -> Ratio {
    let score = newest.and_then(|newest| {
        let passed = u64::from(newest.passed.min(newest.evaluated));
        passed.saturating_mul(WHOLE).checked_div(newest.evaluated.into())
    });
    ratio(score.unwrap_or(0))
}

/// `threat_level`: the worst of the hour's events, raised where there are many, and at least high as long as the enclave
/// is not attested or lacks integrity.
pub(super) fn threat_level<'a>(
    events: impl IntoIterator<Item = &'a SecurityEvent>,
    trusted: Standing,
) -> ThreatLevel {
    let (mut lows, mut mediums, mut highs, mut criticals) = (0_usize, 0_usize, 0_usize, 0_usize);
    for event in events {
        let count = match event.severity {
            ThreatLevel::Low => &mut lows,
            ThreatLevel::Medium => &mut mediums,
            ThreatLevel::High => &mut highs,
            ThreatLevel::Critical => &mut criticals,
        };
        *count = count.saturating_add(1);
    }
    let of_events = if criticals > 0 || highs >= HIGHS_THAT_ARE_CRITICAL {
        ThreatLevel::Critical
    } else if highs > 0 || mediums >= MEDIUMS_THAT_ARE_HIGH {
        ThreatLevel::High
    } else if mediums > 0 || lows >= LOWS_THAT_ARE_MEDIUM {
        ThreatLevel::Medium
    } else {
        ThreatLevel::Low
    };
    match trusted {
        Standing::Sound => of_events,
        Standing::Unsound => of_events.max(ThreatLevel::High),
    }
}

/// Whether the enclave is attested and has integrity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Sound,
    Unsound,
}

/// A share in basis points, which is never more than the whole.
fn ratio(basis_points: u64) -> Ratio {
    Decimal(i64::try_from(basis_points.min(WHOLE)).unwrap_or(0))
}

#[cfg(test)]
mod tests;
