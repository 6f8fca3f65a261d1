//! The rules that apply to the evidence of one TEE: the policy's own, and those of its section.

use std::collections::BTreeMap;

use super::{Rules, Section};
use crate::{Expect, Measurement, TcbStatus, TeeKind};

/// A rule, and the path under which the policy has it.
pub(super) struct Rule<'p, T> {
    pub path: String,
    /// The register or attribute that it is about; of the others, the rule's own name.
    pub name: &'p str,
    pub wanted: &'p T,
}

/// What applies.
pub(super) struct InForce<'p> {
    pub tcb_status: Rule<'p, Expect<TcbStatus>>,
    pub advisories: Rule<'p, Expect<String>>,
    pub tcb_evaluation: Rule<'p, Expect<u32>>,
    pub measurements: Vec<Rule<'p, Expect<Measurement>>>,
    pub attributes: Vec<Rule<'p, Expect<String>>>,
    pub pcr_policy: Vec<Rule<'p, Measurement>>,
}

impl Rules {
    /// What applies to evidence of `tee`; without one, what applies to all evidence.
    pub(super) fn in_force(&self, tee: Option<TeeKind>) -> InForce<'_> {
        let section = tee.and_then(|tee| Some((tee, self.per_tee.get(&tee)?)));
        let mut measurements: Vec<_> = named("measurements", &self.measurements).collect();
        let mut attributes: Vec<_> = named("attributes", &self.attributes).collect();
        let mut pcr_policy: Vec<_> = named("pcr_policy", &self.pcr_policy).collect();
        if let Some((tee, section)) = section {
            measurements.extend(named(within(tee, "measurements"), &section.measurements));
            attributes.extend(named(within(tee, "attributes"), &section.attributes));
            pcr_policy.extend(named(within(tee, "pcr_policy"), &section.pcr_policy));
        }
        InForce {
            tcb_status: stronger("tcb_status", &self.tcb_status, section, |of| {
                of.tcb_status.as_ref()
            }),
            advisories: stronger("advisories", &self.advisories, section, |of| {
                of.advisories.as_ref()
            }),
            tcb_evaluation: stronger("tcb_evaluation", &self.tcb_evaluation, section, |of| {
                of.tcb_evaluation.as_ref()
            }),
            measurements,
            attributes,
            pcr_policy,
        }
    }
}

/// The path of a section's rule.
pub(super) fn within(tee: TeeKind, rule: &str) -> String {
    format!("per_tee.{tee}.{rule}")
}

/// A map's rules with their paths.
pub(super) fn named<'p, T>(
    map: impl Into<String>,
    rules: &'p BTreeMap<String, T>,
) -> impl Iterator<Item = Rule<'p, T>> {
    let map = map.into();
    rules.iter().map(move |(name, wanted)| Rule {
        path: format!("{map}.{name}"),
        name,
        wanted,
    })
}

/// The section's rule, or else the policy's.
fn stronger<'p, T>(
    name: &'p str,
    rule: &'p T,
    section: Option<(TeeKind, &'p Section)>,
    of: impl Fn(&'p Section) -> Option<&'p T>,
) -> Rule<'p, T> {
    let own = section.and_then(|(tee, section)| Some((tee, of(section)?)));
    match own {
        Some((tee, wanted)) => Rule {
            path: within(tee, name),
            name,
            wanted,
        },
        None => Rule {
            path: name.to_owned(),
            name,
            wanted: rule,
        },
    }
}
