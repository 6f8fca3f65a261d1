//! Whether rules make sense: what says nothing, contradicts itself or could never pass is refused.

use std::collections::BTreeMap;

use super::in_force::{named, within};
use super::{AgeRule, Because, PolicyError, RevocationRule, Rules, Section};
use crate::{Expect, Measurement, RESETTABLE_PCRS, TeeKind};

/// Digest sizes of the banks that TPMs and Nitro have, in bytes.
const BANKS: [usize; 4] = [20, 32, 48, 64];
const WRITE_LIST_OR_IGNORE: &str = "write one_of or ignore";

type Sense = Result<(), PolicyError>;

/// Refuses what makes no sense.
pub(super) fn check(rules: &Rules) -> Sense {
    if rules.name.is_empty() || rules.name.len() > 128 {
        return senseless("name", "write a name of 1 to 128 bytes");
    }
    if rules.max_age_seconds == 0 {
        return senseless("max_age_seconds", "write at least 1");
    }
    expectation("tee", &rules.tee)?;
    without_order("tee", &rules.tee, "TEEs have no order")?;
    expectation("assurance", &rules.assurance)?;
    expectation("debug", &rules.debug)?;
    without_order("debug", &rules.debug, "yes and no have no order")?;
    expectation("tcb_status", &rules.tcb_status)?;
    advisories("advisories", &rules.advisories)?;
    expectation("tcb_evaluation", &rules.tcb_evaluation)?;
    if let RevocationRule::Ignore { because } = &rules.revocation {
        reason("revocation", because)?;
    }
    match &rules.evidence_age {
        AgeRule::AtMostSeconds(0) => return senseless("evidence_age", "write at least 1"),
        AgeRule::Ignore { because } => reason("evidence_age", because)?,
        AgeRule::MaxAge | AgeRule::AtMostSeconds(_) => {}
    }
    maps("", &rules.measurements, &rules.attributes, &rules.pcr_policy)?;
    for (tee, section) in &rules.per_tee {
        self::section(rules, *tee, section)?;
    }
    resettable(rules)
}

fn section(rules: &Rules, tee: TeeKind, section: &Section) -> Sense {
    let path = format!("per_tee.{tee}");
    if *section == Section::default() {
        return senseless(&path, "the section has no rules: write some, or leave it out");
    }
    if matches!(&rules.tee, Expect::OneOf(tees) if !tees.contains(&tee)) {
        let why = format!("the rule `tee` refuses {tee}: add it there, or leave the section out");
        return senseless(&path, &why);
    }
    if let Some(rule) = &section.tcb_status {
        expectation(&within(tee, "tcb_status"), rule)?;
    }
    if let Some(rule) = &section.advisories {
        advisories(&within(tee, "advisories"), rule)?;
    }
    if let Some(rule) = &section.tcb_evaluation {
        expectation(&within(tee, "tcb_evaluation"), rule)?;
    }
    let maps_of = |section: &Section| {
        maps(
            &format!("{path}."),
            &section.measurements,
            &section.attributes,
            &section.pcr_policy,
        )
    };
    maps_of(section)?;
    let everywhere = rules.measurements.keys().chain(rules.pcr_policy.keys());
    let mut here = section.measurements.keys().chain(section.pcr_policy.keys());
    let twice = here
        .find(|name| everywhere.clone().any(|other| other == *name))
        .or_else(|| {
            section
                .attributes
                .keys()
                .find(|name| rules.attributes.contains_key(*name))
        });
    match twice {
        Some(name) => senseless(
            &format!("{path}.{name}"),
            "named for every TEE too: name it once, in the sections of the TEEs that have it",
        ),
        None => Ok(()),
    }
}

fn maps(
    prefix: &str,
    measurements: &BTreeMap<String, Expect<Measurement>>,
    attributes: &BTreeMap<String, Expect<String>>,
    pcr_policy: &BTreeMap<String, Measurement>,
) -> Sense {
    for rule in named(format!("{prefix}measurements"), measurements) {
        expectation(&rule.path, rule.wanted)?;
        without_order(&rule.path, rule.wanted, "measurements have no order")?;
        if pcr_policy.contains_key(rule.name) {
            return senseless(&rule.path, "named under pcr_policy too: name it once");
        }
    }
    for rule in named(format!("{prefix}attributes"), attributes) {
        expectation(&rule.path, rule.wanted)?;
        if matches!(rule.wanted, Expect::AtLeast(least) if least.parse::<u64>().is_err()) {
            return senseless(&rule.path, "only numbers have an order: write one_of or ignore");
        }
    }
    for rule in named(format!("{prefix}pcr_policy"), pcr_policy) {
        if !is_pcr(rule.name) {
            return senseless(
                &rule.path,
                "PCRs are called pcr0 to pcr23; other registers belong under measurements",
            );
        }
        if !BANKS.contains(&rule.wanted.0.len()) {
            return senseless(
                &rule.path,
                "a PCR has the size of a digest: 20 bytes (SHA-1), 32, 48 or 64 (SHA-2)",
            );
        }
    }
    Ok(())
}

/// Whether a register is a PCR that a running system can reset.
pub(super) fn is_resettable(name: &str) -> bool {
    RESETTABLE_PCRS.iter().any(|pcr| name == format!("pcr{pcr}"))
}

fn resettable(rules: &Rules) -> Sense {
    let own = named("pcr_policy", &rules.pcr_policy);
    let sections = rules
        .per_tee
        .iter()
        .flat_map(|(tee, section)| named(within(*tee, "pcr_policy"), &section.pcr_policy));
    let mut named = own.chain(sections).filter(|rule| is_resettable(rule.name));
    match (&rules.resettable_pcrs, named.next()) {
        (None, Some(rule)) => senseless(
            &rule.path,
            "any program can reset this PCR of a TPM and extend it anew, so its value proves nothing: leave it out, \
             or write why it counts under `resettable_pcrs: { because: … }`; where it cannot be reset (Nitro), \
             name it under measurements",
        ),
        (Some(_), None) => senseless(
            "resettable_pcrs",
            "no pcr_policy names pcr16 or one of pcr20 to pcr23: leave it out",
        ),
        (Some(Because { because }), Some(_)) => reason("resettable_pcrs", because),
        (None, None) => Ok(()),
    }
}

fn is_pcr(name: &str) -> bool {
    (0..24).any(|index| name == format!("pcr{index}"))
}

/// An empty list is a rule here: no advisory may apply.
fn advisories(rule: &str, expect: &Expect<String>) -> Sense {
    if matches!(expect, Expect::OneOf(none) if none.is_empty()) {
        return Ok(());
    }
    expectation(rule, expect)?;
    without_order(rule, expect, "advisories have no order")
}

/// What holds of every expectation.
fn expectation<T>(rule: &str, expect: &Expect<T>) -> Sense {
    match expect {
        Expect::OneOf(values) if values.is_empty() => senseless(
            rule,
            "an empty one_of could never pass: name what may pass, or write ignore",
        ),
        Expect::Ignore { because } => reason(rule, because),
        _ => Ok(()),
    }
}

fn without_order<T>(rule: &str, expect: &Expect<T>, why: &str) -> Sense {
    match expect {
        Expect::AtLeast(_) => senseless(rule, &format!("{why}: {WRITE_LIST_OR_IGNORE}")),
        _ => Ok(()),
    }
}

fn reason(rule: &str, because: &str) -> Sense {
    if because.trim().is_empty() {
        return senseless(rule, "write after `because` why it is not checked");
    }
    Ok(())
}

fn senseless(rule: &str, why: &str) -> Sense {
    Err(PolicyError::Senseless {
        rule: rule.to_owned(),
        why: why.to_owned(),
    })
}
