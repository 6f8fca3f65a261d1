//! What each rule makes of verified claims.

use std::fmt::Display;

use super::in_force::{InForce, Rule, named, within};
use super::sense::is_resettable;
use super::{AgeRule, RevocationRule, Rules, code};
use crate::verify::UNCHECKED;
use crate::{
    Claims, Expect, Finding, Measurement, RESETTABLE_PCR_PREFIX, ReferenceState, ReferenceValue, Revocation,
    TcbStatus, TeeKind, UnixMillis,
};

/// How far the clock of a device may be ahead of the verifier's.
const CLOCK_SKEW_MILLIS: u64 = 60_000;

/// Every rule that applies to this evidence, passed or failed.
pub(super) fn findings(rules: &Rules, claims: &Claims, now: UnixMillis) -> Vec<Finding> {
    let in_force = rules.in_force(Some(claims.tee));
    let mut findings = vec![
        equal("tee", &rules.tee, &claims.tee),
        ordered("assurance", &rules.assurance, claims.assurance),
        equal("debug", &rules.debug, &claims.debug),
        tcb_status(&in_force.tcb_status, claims),
        advisories(&in_force.advisories, &claims.tcb.advisories),
        evaluation(&in_force.tcb_evaluation, claims.tcb.evaluation),
        revocation(&rules.revocation, &claims.revocation),
        evidence_age(rules, claims, now),
        Finding::new(
            "binding",
            !claims.binding.starts_with(UNCHECKED),
            claims.binding.as_str(),
        ),
    ];
    findings.extend(in_force.measurements.iter().map(|rule| measurement(rule, claims)));
    findings.extend(in_force.attributes.iter().map(|rule| attribute(rule, claims)));
    findings.push(code::finding(&in_force, claims));
    findings.extend(in_force.pcr_policy.iter().map(|rule| pcr(rule, claims)));
    findings
}

/// Every value that the policy lists for a register, an attribute or a PCR, and what came of it.
pub(super) fn reference_values(rules: &Rules, claims: &Claims) -> Vec<ReferenceValue> {
    let in_force = rules.in_force(Some(claims.tee));
    let mut values = Vec::new();
    for rule in &in_force.measurements {
        let found = claims.measurements.get(rule.name);
        listed(rule.wanted, &mut |value| {
            values.push(compared(
                &rule.path,
                value,
                found,
                found == Some(value),
                rule.name,
            ));
        });
    }
    for rule in &in_force.attributes {
        let found = claims.attributes.get(rule.name);
        let floor = matches!(rule.wanted, Expect::AtLeast(_));
        listed(rule.wanted, &mut |value| {
            let fits = found.is_some_and(|found| {
                if floor {
                    reaches(found, value)
                } else {
                    found == value
                }
            });
            values.push(compared(&rule.path, value, found, fits, rule.name));
        });
    }
    for rule in &in_force.pcr_policy {
        let found = signed_pcr(rule.name, claims);
        values.push(compared(
            &rule.path,
            rule.wanted,
            found,
            found == Some(rule.wanted),
            rule.name,
        ));
    }
    for (tee, section) in rules.per_tee.iter().filter(|(tee, _)| **tee != claims.tee) {
        let why = format!(
            "the section is for `{tee}`, and the evidence is of `{}`",
            claims.tee
        );
        let mut unused = |path: String, value: &dyn Display| {
            values.push(ReferenceValue {
                rule: path,
                value: value.to_string(),
                state: ReferenceState::Unused,
                why: why.clone(),
            });
        };
        for rule in named(within(*tee, "measurements"), &section.measurements) {
            listed(rule.wanted, &mut |value| unused(rule.path.clone(), value));
        }
        for rule in named(within(*tee, "attributes"), &section.attributes) {
            listed(rule.wanted, &mut |value| unused(rule.path.clone(), value));
        }
        for rule in named(within(*tee, "pcr_policy"), &section.pcr_policy) {
            unused(rule.path, rule.wanted);
        }
        if let Some(expect) = &section.tcb_status {
            listed(expect, &mut |value| unused(within(*tee, "tcb_status"), value));
        }
        if let Some(expect) = &section.advisories {
            listed(expect, &mut |value| unused(within(*tee, "advisories"), value));
        }
        if let Some(expect) = &section.tcb_evaluation {
            listed(expect, &mut |value| unused(within(*tee, "tcb_evaluation"), value));
        }
    }
    values
}

fn listed<'p, T>(expect: &'p Expect<T>, each: &mut dyn FnMut(&'p T)) {
    match expect {
        Expect::OneOf(values) => values.iter().for_each(each),
        Expect::AtLeast(value) => each(value),
        Expect::Ignore { .. } => {}
    }
}

fn compared<T: Display>(rule: &str, value: &T, found: Option<&T>, fits: bool, name: &str) -> ReferenceValue {
    let (state, why) = match found {
        Some(_) if fits => (ReferenceState::Matched, "the evidence fits it".to_owned()),
        Some(found) => (ReferenceState::Compared, format!("the evidence has {found}")),
        None => (ReferenceState::Unused, format!("the evidence has no {name}")),
    };
    ReferenceValue {
        rule: rule.to_owned(),
        value: value.to_string(),
        state,
        why,
    }
}

fn finding(rule: &str, passed: bool, wanted: &str, found: &dyn Display) -> Finding {
    Finding::new(rule, passed, format!("{found}, wanted {wanted}"))
}

/// A list of values, in words.
pub(super) fn one_of<T: Display>(values: &[T]) -> String {
    match values {
        [] => "none".to_owned(),
        [one] => one.to_string(),
        many => format!(
            "one of {}",
            many.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

fn equal<T: PartialEq + Display>(rule: &str, expect: &Expect<T>, found: &T) -> Finding {
    match expect {
        Expect::OneOf(values) => finding(rule, values.contains(found), &one_of(values), found),
        Expect::AtLeast(value) => finding(rule, value == found, &value.to_string(), found),
        Expect::Ignore { because } => Finding::unchecked(rule, because),
    }
}

fn ordered<T: Ord + Display + Copy>(rule: &str, expect: &Expect<T>, found: T) -> Finding {
    match expect {
        Expect::AtLeast(least) => finding(rule, found >= *least, &format!("at least {least}"), &found),
        other => equal(rule, other, &found),
    }
}

/// Statuses are declared best first, so "at least" means not after.
fn tcb_status(rule: &Rule<'_, Expect<TcbStatus>>, claims: &Claims) -> Finding {
    let path = &rule.path;
    match (rule.wanted, claims.tcb.status) {
        (Expect::Ignore { because }, _) => Finding::unchecked(path, because),
        (Expect::AtLeast(least), Some(found)) => {
            finding(path, found <= *least, &format!("at least {least}"), &found)
        }
        (other, Some(found)) => equal(path, other, &found),
        (_, None) => absent(path, "TCB status by its vendor", claims),
    }
}

fn advisories(rule: &Rule<'_, Expect<String>>, found: &[String]) -> Finding {
    let allowed = match rule.wanted {
        Expect::OneOf(allowed) => allowed,
        Expect::AtLeast(one) => std::slice::from_ref(one),
        Expect::Ignore { because } => return Finding::unchecked(&rule.path, because),
    };
    let refused: Vec<_> = found
        .iter()
        .filter(|advisory| !allowed.contains(advisory))
        .cloned()
        .collect();
    let detail = match (found, refused.as_slice()) {
        ([], _) => "none apply".to_owned(),
        (_, []) => format!("{} apply, all allowed", found.join(", ")),
        (_, refused) => format!("{} apply and are not allowed", refused.join(", ")),
    };
    Finding::new(&rule.path, refused.is_empty(), detail)
}

fn evaluation(rule: &Rule<'_, Expect<u32>>, found: Option<u32>) -> Finding {
    match (rule.wanted, found) {
        (Expect::Ignore { because }, _) => Finding::unchecked(&rule.path, because),
        (expect, Some(found)) => ordered(&rule.path, expect, found),
        (_, None) => finding(&rule.path, false, "a number", &"the vendor gives none"),
    }
}

fn revocation(rule: &RevocationRule, found: &Revocation) -> Finding {
    match (rule, found) {
        (_, Revocation::Checked { until }) => {
            let until = until.map_or(String::new(), |until| format!(", current until {until}"));
            Finding::new("revocation", true, format!("the lists were checked{until}"))
        }
        (_, Revocation::NotApplicable { because }) => Finding::new("revocation", true, *because),
        (RevocationRule::Ignore { because }, Revocation::Unchecked { .. }) => {
            Finding::unchecked("revocation", because)
        }
        (RevocationRule::Required, Revocation::Unchecked { because }) => {
            Finding::new("revocation", false, format!("not checked: {because}"))
        }
    }
}

fn evidence_age(rules: &Rules, claims: &Claims, now: UnixMillis) -> Finding {
    let rule = "evidence_age";
    let seconds = match &rules.evidence_age {
        AgeRule::MaxAge => rules.max_age_seconds,
        AgeRule::AtMostSeconds(seconds) => *seconds,
        AgeRule::Ignore { because } => return Finding::unchecked(rule, because),
    };
    let Some(made_at) = claims.made_at else {
        let detail = format!("evidence of `{}` does not say when it was made", claims.tee);
        return Finding::unchecked(rule, detail);
    };
    let fresh = now.since(made_at) <= seconds.saturating_mul(1000);
    let past = made_at.since(now) <= CLOCK_SKEW_MILLIS;
    let wanted = format!("at most {seconds} s before {now}, and not in its future");
    finding(rule, fresh && past, &wanted, &format_args!("made at {made_at}"))
}

/// A rule on something that the evidence does not have.
fn absent(rule: &str, name: &str, claims: &Claims) -> Finding {
    let found = format!("evidence of `{}` has no {name}", claims.tee);
    finding(rule, false, "a value", &found)
}

fn measurement(rule: &Rule<'_, Expect<Measurement>>, claims: &Claims) -> Finding {
    match (rule.wanted, claims.measurements.get(rule.name)) {
        (Expect::Ignore { because }, _) => Finding::unchecked(&rule.path, because),
        (expect, Some(found)) => equal(&rule.path, expect, found),
        (_, None) => absent(&rule.path, rule.name, claims),
    }
}

fn attribute(rule: &Rule<'_, Expect<String>>, claims: &Claims) -> Finding {
    match (rule.wanted, claims.attributes.get(rule.name)) {
        (Expect::Ignore { because }, _) => Finding::unchecked(&rule.path, because),
        (Expect::AtLeast(least), Some(found)) => finding(
            &rule.path,
            reaches(found, least),
            &format!("at least {least}"),
            found,
        ),
        (expect, Some(found)) => equal(&rule.path, expect, found),
        (_, None) => absent(&rule.path, rule.name, claims),
    }
}

/// Whether a number in text is another or more. What is no number reaches nothing.
fn reaches(found: &str, least: &str) -> bool {
    match (found.parse::<u64>(), least.parse::<u64>()) {
        (Ok(found), Ok(least)) => found >= least,
        _ => false,
    }
}

/// Only what was signed counts: a PCR outside of the signed selection is no PCR of this evidence.
fn pcr(rule: &Rule<'_, Measurement>, claims: &Claims) -> Finding {
    let wanted = rule.wanted;
    match signed_pcr(rule.name, claims) {
        Some(found) if found.0.len() != wanted.0.len() => {
            let bits = |measurement: &Measurement| measurement.0.len().saturating_mul(8);
            let found = format!("{found} of a bank of {} bits", bits(found));
            finding(
                &rule.path,
                false,
                &format!("{wanted} of {} bits", bits(wanted)),
                &found,
            )
        }
        Some(found) => finding(&rule.path, found == wanted, &wanted.to_string(), found),
        None => {
            let signed: Vec<_> = claims
                .measurements
                .keys()
                .map(|name| name.strip_prefix(RESETTABLE_PCR_PREFIX).unwrap_or(name))
                .filter(|name| name.starts_with("pcr"))
                .collect();
            let found = match signed.as_slice() {
                [] => format!("evidence of `{}` has no PCRs", claims.tee),
                signed => format!("not among the signed PCRs {}", signed.join(", ")),
            };
            finding(&rule.path, false, &wanted.to_string(), &found)
        }
    }
}

/// The value of a PCR. One that any program can reset is claimed under a name of its own; a `pcr_policy` that names
/// it all the same has said why.
fn signed_pcr<'c>(name: &str, claims: &'c Claims) -> Option<&'c Measurement> {
    let by_own_name = is_resettable(name)
        .then(|| claims.measurements.get(&format!("{RESETTABLE_PCR_PREFIX}{name}")))
        .flatten();
    by_own_name.or_else(|| claims.measurements.get(name))
}

/// The TEEs whose evidence the rule `tee` lets pass.
pub(super) fn admitted(rules: &Rules) -> Vec<TeeKind> {
    match &rules.tee {
        Expect::OneOf(tees) => tees.clone(),
        Expect::AtLeast(tee) => vec![*tee],
        Expect::Ignore { .. } => TeeKind::ALL.to_vec(),
    }
}

/// The TEEs that are admitted and whose code is pinned: only their evidence can be accepted.
pub(super) fn acceptable(rules: &Rules) -> Vec<TeeKind> {
    let pinned = |tee: &TeeKind| {
        let in_force: InForce<'_> = rules.in_force(Some(*tee));
        !code::pinned(&in_force, *tee).is_empty()
    };
    admitted(rules).into_iter().filter(pinned).collect()
}
