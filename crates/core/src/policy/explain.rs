//! A policy in words.

use serde::Serialize;

use super::evaluate::{acceptable, one_of};
use super::in_force::Rule;
use super::{AgeRule, RevocationRule, Rules, code};
use crate::{Assurance, Expect, Measurement, TcbStatus, TeeKind};

/// One rule in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleNote {
    /// The rule, as the policy names it.
    pub rule: String,
    /// Whether anything is checked.
    pub checked: bool,
    /// What passes and what is rejected, or why nothing is checked.
    pub text: String,
}

const STATUSES: [TcbStatus; 9] = [
    TcbStatus::UpToDate,
    TcbStatus::SWHardeningNeeded,
    TcbStatus::ConfigurationNeeded,
    TcbStatus::ConfigurationAndSWHardeningNeeded,
    TcbStatus::TDRelaunchAdvised,
    TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
    TcbStatus::OutOfDate,
    TcbStatus::OutOfDateConfigurationNeeded,
    TcbStatus::Revoked,
];
const ASSURANCES: [Assurance; 4] = [
    Assurance::HardwareVm,
    Assurance::HardwareEnclave,
    Assurance::MeasuredBoot,
    Assurance::Simulated,
];

/// Each rule for evidence of `tee`; of any TEE, with all sections, where none is named.
pub(super) fn explain(rules: &Rules, tee: Option<TeeKind>) -> Vec<RuleNote> {
    let in_force = rules.in_force(tee);
    let mut notes = vec![
        closed("tee", &rules.tee, &TeeKind::ALL, |tee, least| tee == least),
        closed("assurance", &rules.assurance, &ASSURANCES, |value, least| {
            value >= least
        }),
        closed("debug", &rules.debug, &[false, true], |value, least| {
            value == least
        }),
        status(&in_force.tcb_status),
        advisories(&in_force.advisories),
        open(
            &in_force.tcb_evaluation,
            "every other, and evidence whose vendor gives none",
        ),
        revocation(&rules.revocation),
        evidence_age(rules),
        note(
            "binding",
            true,
            "passes: evidence that signed the verifier's own challenge or the expected report data; rejected: \
             evidence that was held against nothing",
        ),
    ];
    notes.extend(
        in_force
            .measurements
            .iter()
            .map(|rule| open(rule, "every other value, and evidence without it")),
    );
    notes.extend(
        in_force
            .attributes
            .iter()
            .map(|rule| open(rule, "every other value, and evidence without it")),
    );
    notes.extend(in_force.pcr_policy.iter().map(pcr));
    if let Some(why) = &rules.resettable_pcrs {
        let text = format!(
            "pcr16 and pcr23, which any program can reset, may be named: {}",
            why.because
        );
        notes.push(note("resettable_pcrs", true, text));
    }
    match tee {
        Some(tee) => {
            let pinned = code::pinned(&in_force, tee);
            notes.push(if pinned.is_empty() {
                note(
                    "code",
                    true,
                    format!("everything is rejected: {}", code::nothing_pinned(tee)),
                )
            } else {
                note("code", true, format!("pinned by {}", pinned.join(", ")))
            });
            let others: Vec<_> = rules.per_tee.keys().filter(|other| **other != tee).collect();
            if !others.is_empty() {
                let text = format!(
                    "the sections of {} do not apply; their values are reported as unused",
                    others
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                notes.push(note("per_tee", false, text));
            }
        }
        None => {
            for tee in rules.per_tee.keys() {
                let own = format!("per_tee.{tee}.");
                let of_section = explain(rules, Some(*tee));
                notes.extend(of_section.into_iter().filter(|note| note.rule.starts_with(&own)));
            }
            let tees: Vec<_> = acceptable(rules).iter().map(ToString::to_string).collect();
            notes.push(note(
                "code",
                true,
                if tees.is_empty() {
                    "everything is rejected: the policy pins no code of any TEE".to_owned()
                } else {
                    format!(
                        "pinned for {}; evidence of every other TEE is rejected",
                        tees.join(", ")
                    )
                },
            ));
        }
    }
    let text = format!(
        "an accepted node is accepted for {} seconds, or until the endorsements or revocation lists end",
        rules.max_age_seconds
    );
    notes.push(note("max_age_seconds", true, text));
    notes
}

/// What no rule of the policy, and no rule at all, asks of the evidence.
pub(super) fn not_asked(rules: &Rules, tee: Option<TeeKind>) -> Vec<String> {
    let mut not_asked = Vec::new();
    if let Some(tee) = tee {
        let in_force = rules.in_force(Some(tee));
        let named = |name: &str| {
            in_force.measurements.iter().any(|rule| rule.name == name)
                || in_force.pcr_policy.iter().any(|rule| rule.name == name)
        };
        let unnamed: Vec<_> = super::draft::registers(tee).filter(|name| !named(name)).collect();
        if !unnamed.is_empty() {
            not_asked.push(format!(
                "the registers {}: no rule names them",
                unnamed.join(", ")
            ));
        }
    }
    not_asked
        .push("registers and attributes that no rule names: they are shown, and anything passes".to_owned());
    not_asked.push("which device it is: no rule names a device, so any genuine one passes".to_owned());
    not_asked.push(
        match tee.map(TeeKind::assurance) {
            Some(Assurance::HardwareEnclave) => {
                "the host outside of the enclave, and what it tells the enclave"
            }
            Some(Assurance::MeasuredBoot) => "what ran after the boot was measured",
            Some(Assurance::Simulated) => "anything about a real machine: simulated evidence proves nothing",
            Some(Assurance::HardwareVm) | None => {
                "what the measured code did after its launch, and what it was given that nothing measured"
            }
        }
        .to_owned(),
    );
    not_asked.push("attacks on the hardware by whoever has it in hand".to_owned());
    not_asked
}

fn note(rule: &str, checked: bool, text: impl Into<String>) -> RuleNote {
    RuleNote {
        rule: rule.to_owned(),
        checked,
        text: text.into(),
    }
}

fn ignored(rule: &str, because: &str) -> RuleNote {
    note(rule, false, format!("anything passes: {because}"))
}

/// A claim whose values are all known.
fn closed<T: Copy + PartialEq + ToString>(
    rule: &str,
    expect: &Expect<T>,
    all: &[T],
    reaches: impl Fn(T, T) -> bool,
) -> RuleNote {
    let passes = |value: T| match expect {
        Expect::OneOf(values) => values.contains(&value),
        Expect::AtLeast(least) => reaches(value, *least),
        Expect::Ignore { .. } => true,
    };
    if let Expect::Ignore { because } = expect {
        return ignored(rule, because);
    }
    let list = |wanted: bool| {
        let values: Vec<_> = all
            .iter()
            .filter(|value| passes(**value) == wanted)
            .map(ToString::to_string)
            .collect();
        if values.is_empty() {
            "nothing".to_owned()
        } else {
            values.join(", ")
        }
    };
    note(
        rule,
        true,
        format!("passes: {}; rejected: {}", list(true), list(false)),
    )
}

fn status(rule: &Rule<'_, Expect<TcbStatus>>) -> RuleNote {
    let mut note = closed(&rule.path, rule.wanted, &STATUSES, |value, least| value <= least);
    if note.checked {
        note.text
            .push_str(", and evidence whose vendor publishes no TCB levels");
    }
    note
}

fn advisories(rule: &Rule<'_, Expect<String>>) -> RuleNote {
    match rule.wanted {
        Expect::OneOf(allowed) if allowed.is_empty() => note(
            &rule.path,
            true,
            "passes: a platform to which no advisory applies; rejected: every other",
        ),
        Expect::OneOf(allowed) => {
            let text = format!(
                "passes: a platform to which no other advisories apply than {}; rejected: every other",
                allowed.join(", ")
            );
            note(&rule.path, true, text)
        }
        Expect::AtLeast(one) => note(&rule.path, true, format!("passes: at most {one} applies")),
        Expect::Ignore { because } => ignored(&rule.path, because),
    }
}

/// A claim that can have any value.
fn open<T: ToString + std::fmt::Display>(rule: &Rule<'_, Expect<T>>, rejected: &str) -> RuleNote {
    match rule.wanted {
        Expect::OneOf(values) => {
            let text = format!("passes: {}; rejected: {rejected}", one_of(values));
            note(&rule.path, true, text)
        }
        Expect::AtLeast(least) => {
            let text = format!("passes: {least} or more; rejected: {rejected}");
            note(&rule.path, true, text)
        }
        Expect::Ignore { because } => ignored(&rule.path, because),
    }
}

fn pcr(rule: &Rule<'_, Measurement>) -> RuleNote {
    let text = format!(
        "passes: {}; rejected: every other value, and evidence whose signed selection lacks this PCR",
        rule.wanted
    );
    note(&rule.path, true, text)
}

fn revocation(rule: &RevocationRule) -> RuleNote {
    match rule {
        RevocationRule::Required => note(
            "revocation",
            true,
            "passes: evidence whose certificates are on no revocation list, or of a kind that has none; rejected: \
             evidence for which the lists did not come along",
        ),
        RevocationRule::Ignore { because } => note(
            "revocation",
            false,
            format!("evidence passes though its revocation lists did not come along: {because}"),
        ),
    }
}

fn evidence_age(rules: &Rules) -> RuleNote {
    let seconds = match &rules.evidence_age {
        AgeRule::MaxAge => rules.max_age_seconds,
        AgeRule::AtMostSeconds(seconds) => *seconds,
        AgeRule::Ignore { because } => return ignored("evidence_age", because),
    };
    let text = format!(
        "passes: evidence that says it was made at most {seconds} seconds ago, or does not say when; rejected: \
         older evidence, and evidence from more than a minute in the future"
    );
    note("evidence_age", true, text)
}
