//! What deserves a second look in a policy that makes sense.

use serde::Serialize;

use super::evaluate::{acceptable, admitted};
use super::in_force::{InForce, Rule};
use super::{AgeRule, RevocationRule, Rules, code};
use crate::{Assurance, Expect, TcbStatus, TeeKind};

/// An appraisal that is relied upon for longer says little about the node of today.
const LONG_AGE_SECONDS: u64 = 7 * 24 * 60 * 60;
/// Size of a SHA-1 digest in bytes.
const SHA1: usize = 20;

/// A register that measures the first part of what runs, those of which one measures the rest, and what is open where
/// a policy names none of them.
const PARTS: &[(&str, &[&str], &str)] = &[
    (
        "mrtd",
        &["rtmr1", "rtmr2"],
        "it is the virtual firmware alone: any kernel passes, unless rtmr1 and rtmr2 are named too",
    ),
    (
        "pcr4",
        &["pcr9", "pcr11"],
        "with GRUB it is the boot loader alone: any kernel passes, unless pcr9 or pcr11 is named too",
    ),
    (
        "optee_tee_memory",
        &["optee_ta_memory"],
        "any program of the normal world may ask for it: it binds nothing to a trusted application",
    ),
];

/// Something about a rule that its author may not want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyWarning {
    /// The rule, as the policy names it.
    pub rule: String,
    /// What about it.
    pub text: String,
}

/// Every warning, in the order of the policy's keys.
pub(super) fn warnings(rules: &Rules) -> Vec<PolicyWarning> {
    let mut warnings = Warnings(Vec::new());
    warnings.of_tees(rules);
    warnings.of_basics(rules);
    let everywhere = rules.in_force(None);
    warnings.of_platform(&everywhere, None);
    warnings.of_names(&everywhere);
    for tee in rules.per_tee.keys() {
        let in_force = rules.in_force(Some(*tee));
        let own = format!("per_tee.{tee}.");
        let mut of_section = Warnings(Vec::new());
        of_section.of_platform(&in_force, Some(*tee));
        of_section.of_names(&in_force);
        warnings.0.extend(
            of_section
                .0
                .into_iter()
                .filter(|warning| warning.rule.starts_with(&own)),
        );
    }
    if rules.max_age_seconds > LONG_AGE_SECONDS {
        let days = rules.max_age_seconds / (24 * 60 * 60);
        let text = format!("an appraisal is relied upon for {days} days: the node may be another by then");
        warnings.add("max_age_seconds", text);
    }
    warnings.0
}

struct Warnings(Vec<PolicyWarning>);

impl Warnings {
    fn add(&mut self, rule: &str, text: impl Into<String>) {
        self.0.push(PolicyWarning {
            rule: rule.to_owned(),
            text: text.into(),
        });
    }

    fn ignored(&mut self, rule: &str, because: &str) {
        self.add(rule, format!("not checked: {because}"));
    }

    fn of_tees(&mut self, rules: &Rules) {
        if let Expect::Ignore { because } = &rules.tee {
            self.ignored("tee", because);
            if acceptable(rules).is_empty() {
                self.add(
                    "code",
                    "the policy pins no code of any TEE, so it rejects all evidence",
                );
            }
            return;
        }
        let acceptable = acceptable(rules);
        for tee in admitted(rules) {
            if !acceptable.contains(&tee) {
                self.add(
                    "code",
                    format!("all of it is rejected: {}", code::nothing_pinned(tee)),
                );
            }
        }
    }

    fn of_basics(&mut self, rules: &Rules) {
        let weak = |assurance: &Assurance| *assurance < Assurance::HardwareEnclave;
        match &rules.assurance {
            Expect::Ignore { because } => self.ignored("assurance", because),
            Expect::AtLeast(least) if weak(least) => {
                self.add("assurance", format!("`{least}` passes: {}", weakness(*least)));
            }
            Expect::OneOf(values) => {
                for value in values.iter().filter(|value| weak(value)) {
                    self.add("assurance", format!("`{value}` passes: {}", weakness(*value)));
                }
            }
            Expect::AtLeast(_) => {}
        }
        match &rules.debug {
            Expect::Ignore { because } => self.ignored("debug", because),
            Expect::OneOf(values) if values.contains(&true) => {
                self.add(
                    "debug",
                    "a debuggable TEE passes: nothing it says can be relied upon",
                );
            }
            _ => {}
        }
        if let RevocationRule::Ignore { because } = &rules.revocation {
            self.ignored("revocation", because);
        }
        match &rules.evidence_age {
            AgeRule::Ignore { because } => self.ignored("evidence_age", because),
            AgeRule::AtMostSeconds(seconds) if *seconds > LONG_AGE_SECONDS => {
                self.add(
                    "evidence_age",
                    format!("evidence of {seconds} seconds ago passes"),
                );
            }
            _ => {}
        }
    }

    fn of_platform(&mut self, rules: &InForce<'_>, tee: Option<TeeKind>) {
        let status = &rules.tcb_status;
        let floors = rules
            .attributes
            .iter()
            .any(|rule| matches!(rule.wanted, Expect::AtLeast(_)));
        match status.wanted {
            Expect::Ignore { because } => {
                self.ignored(&status.path, because);
                if !floors {
                    let of = tee.map_or(String::new(), |tee| format!(" of `{tee}`"));
                    self.add(
                        &status.path,
                        format!("nor does an attribute with at_least set a floor for the platform{of}"),
                    );
                }
            }
            Expect::AtLeast(worst) => self.weak_status(status, *worst),
            Expect::OneOf(values) => {
                if let Some(worst) = values.iter().max() {
                    self.weak_status(status, *worst);
                }
            }
        }
        if let Expect::Ignore { because } = rules.advisories.wanted {
            self.ignored(&rules.advisories.path, because);
        }
        if let Expect::Ignore { because } = rules.tcb_evaluation.wanted {
            self.ignored(&rules.tcb_evaluation.path, because);
        }
    }

    fn weak_status(&mut self, rule: &Rule<'_, Expect<TcbStatus>>, worst: TcbStatus) {
        let why = match worst {
            TcbStatus::UpToDate | TcbStatus::SWHardeningNeeded => return,
            TcbStatus::Revoked => "its vendor no longer trusts the platform's keys",
            TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded => {
                "the platform lacks published security updates"
            }
            _ => "the platform's configuration exposes it, or the TD is to be relaunched",
        };
        self.add(&rule.path, format!("`{worst}` passes: {why}"));
    }

    /// Registers that pin the first part of what runs, where the policy is silent on the rest.
    fn of_parts(&mut self, rules: &InForce<'_>) {
        let named = |name: &str| {
            rules.measurements.iter().any(|rule| rule.name == name)
                || rules.pcr_policy.iter().any(|rule| rule.name == name)
        };
        let pinned = rules
            .measurements
            .iter()
            .filter(|rule| matches!(rule.wanted, Expect::OneOf(_)))
            .map(|rule| (rule.name, &rule.path))
            .chain(rules.pcr_policy.iter().map(|rule| (rule.name, &rule.path)));
        for (name, path) in pinned {
            for (first, rest, text) in PARTS {
                if name == *first && !rest.iter().any(|rest| named(rest)) {
                    self.add(path, *text);
                }
            }
        }
    }

    fn of_names(&mut self, rules: &InForce<'_>) {
        self.of_parts(rules);
        for rule in &rules.measurements {
            if let Expect::Ignore { because } = rule.wanted {
                self.ignored(&rule.path, because);
            }
        }
        for rule in &rules.attributes {
            match rule.wanted {
                Expect::Ignore { because } => self.ignored(&rule.path, because),
                Expect::AtLeast(least) if least.parse() == Ok(0_u64) => {
                    self.add(&rule.path, "at_least 0 lets every number pass");
                }
                _ => {}
            }
        }
        for rule in &rules.pcr_policy {
            if rule.wanted.0.len() == SHA1 {
                self.add(
                    &rule.path,
                    "a PCR of the SHA-1 bank: collisions of SHA-1 can be made; take the SHA-256 bank",
                );
            }
        }
    }
}

const fn weakness(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Simulated => "it proves nothing about any machine",
        Assurance::MeasuredBoot => "what booted was measured, what runs now was not",
        Assurance::HardwareEnclave => "only the core of the agent runs inside",
        Assurance::HardwareVm => "the whole node runs inside",
    }
}
