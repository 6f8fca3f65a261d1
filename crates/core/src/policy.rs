//! Policies: what a relying party wants of verified claims. A policy can only reject.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::verify::UNCHECKED;
use crate::{
    Appraisal, Assurance, Claims, Finding, Kind, Measurement, PolicyId, SignedMessage, TcbStatus, UnixMillis,
    Verified,
};

/// Largest policy file that is read, in bytes.
const MAX_POLICY: usize = 256 * 1024;

/// What is expected of one claim. There is no way to leave a claim unchecked by silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Expect<T> {
    /// The claim is one of these.
    OneOf(Vec<T>),
    /// The claim is this or better.
    AtLeast(T),
    /// The claim is not checked, and this is why.
    Ignore {
        /// The reason; it shows in the appraisal.
        because: String,
    },
}

/// A relying party's policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    name: String,
    /// What must vouch for the node.
    assurance: Expect<Assurance>,
    /// Whether debuggable enclaves pass.
    debug: Expect<bool>,
    /// Which states of the platform pass.
    tcb_status: Expect<TcbStatus>,
    /// Which advisories may apply.
    advisories: Expect<String>,
    /// The vendor's evaluation data number.
    tcb_evaluation: Expect<u32>,
    /// Measurement registers by name. A name that the evidence lacks fails.
    measurements: BTreeMap<String, Expect<Measurement>>,
    /// TPM PCR values by name (`pcr0` …), as the specification's `pcr_policy` has them.
    #[serde(default)]
    pcr_policy: BTreeMap<String, Measurement>,
    /// How long an appraisal may be relied upon.
    max_age_seconds: u64,
}

/// Why text is no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Too large to be read.
    #[error("policy has {size} bytes, more than the {MAX_POLICY} allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not YAML, or not of the right shape.
    #[error("not a policy: {0}")]
    Yaml(String),
    /// A rule that could never pass or makes no sense.
    #[error("policy rule `{rule}` makes no sense: {why}")]
    Senseless {
        /// The rule.
        rule: String,
        /// Why, and what to write.
        why: String,
    },
}

impl SignedMessage for Policy {
    const KIND: Kind = Kind::Policy;
}

impl Policy {
    /// Reads a policy file's text.
    ///
    /// # Errors
    /// Names line and key, or the rule that makes no sense.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY {
            return Err(PolicyError::TooLarge { size: text.len() });
        }
        let policy: Self = serde_saphyr::from_str(text)
            .map_err(|error| PolicyError::Yaml(error.without_snippet().to_string()))?;
        policy.check()?;
        Ok(policy)
    }

    /// The policy of `nautilus up` on a laptop: simulated evidence passes, of exactly this enclave. It says
    /// nothing about hardware, and no production verifier can be made to use it on simulated evidence.
    pub fn development(mrenclave: Measurement, pcr_policy: BTreeMap<String, Measurement>) -> Self {
        Self {
            name: "development".to_owned(),
            assurance: Expect::AtLeast(Assurance::Simulated),
            debug: Expect::OneOf(vec![false]),
            tcb_status: Expect::OneOf(vec![TcbStatus::UpToDate]),
            advisories: Expect::OneOf(Vec::new()),
            tcb_evaluation: Expect::Ignore {
                because: "the simulated vendor has one evaluation".to_owned(),
            },
            measurements: BTreeMap::from([
                ("mrenclave".to_owned(), Expect::OneOf(vec![mrenclave])),
                (
                    "mrsigner".to_owned(),
                    Expect::Ignore {
                        because: "mrenclave pins the code, whoever signed it".to_owned(),
                    },
                ),
            ]),
            pcr_policy,
            max_age_seconds: 24 * 60 * 60,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its canonical bytes: two policies with the same id judge alike.
    pub fn id(&self) -> PolicyId {
        PolicyId(self.digest().0)
    }

    pub(crate) const fn max_age_millis(&self) -> u64 {
        self.max_age_seconds.saturating_mul(1000)
    }

    /// Judges verified claims. Applies every rule, whatever the first ones say.
    pub fn appraise(&self, claims: Verified<Claims>, now: UnixMillis) -> Appraisal {
        let mut findings = vec![
            ordered("assurance", &self.assurance, claims.assurance),
            equal("debug", &self.debug, &claims.debug),
            tcb_status(&self.tcb_status, claims.tcb.status),
            advisories(&self.advisories, &claims.tcb.advisories),
            evaluation(&self.tcb_evaluation, claims.tcb.evaluation),
        ];
        findings.push(Finding {
            rule: "binding".to_owned(),
            passed: !claims.binding.starts_with(UNCHECKED),
            detail: claims.binding.clone(),
        });
        findings.extend(
            self.measurements
                .iter()
                .map(|(name, expect)| measurement(name, expect, &claims)),
        );
        findings.push(self.code_is_pinned());
        findings.extend(
            self.pcr_policy
                .iter()
                .map(|(name, value)| pcr(name, value, &claims)),
        );
        Appraisal::seal(self, claims, findings, now)
    }

    /// A policy that names no code would accept any program in genuine hardware.
    fn code_is_pinned(&self) -> Finding {
        let pinned: Vec<_> = self
            .measurements
            .iter()
            .filter(|(_, expect)| !matches!(expect, Expect::Ignore { .. }))
            .map(|(name, _)| name.as_str())
            .chain(self.pcr_policy.keys().map(String::as_str))
            .collect();
        Finding {
            rule: "code".to_owned(),
            passed: !pinned.is_empty(),
            detail: if pinned.is_empty() {
                "the policy pins no measurement, so any program would pass".to_owned()
            } else {
                format!("pinned by {}", pinned.join(", "))
            },
        }
    }

    fn check(&self) -> Result<(), PolicyError> {
        let senseless = |rule: &str, why: &str| {
            Err(PolicyError::Senseless {
                rule: rule.to_owned(),
                why: why.to_owned(),
            })
        };
        if self.name.is_empty() || self.name.len() > 128 {
            return senseless("name", "write a name of 1 to 128 bytes");
        }
        if self.max_age_seconds == 0 {
            return senseless("max_age_seconds", "write at least 1");
        }
        if matches!(self.advisories, Expect::AtLeast(_)) {
            return senseless("advisories", "advisories have no order: write one_of or ignore");
        }
        if matches!(self.debug, Expect::AtLeast(_)) {
            return senseless("debug", "write one_of or ignore");
        }
        if self
            .measurements
            .values()
            .any(|expect| matches!(expect, Expect::AtLeast(_)))
        {
            return senseless(
                "measurements",
                "measurements have no order: write one_of or ignore",
            );
        }
        Ok(())
    }
}

fn finding(rule: &str, passed: bool, wanted: &str, found: &dyn Display) -> Finding {
    Finding {
        rule: rule.to_owned(),
        passed,
        detail: format!("{found}, wanted {wanted}"),
    }
}

fn ignored(rule: &str, because: &str) -> Finding {
    Finding {
        rule: rule.to_owned(),
        passed: true,
        detail: format!("not checked: {because}"),
    }
}

fn one_of<T: Display>(values: &[T]) -> String {
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
        Expect::Ignore { because } => ignored(rule, because),
    }
}

fn ordered<T: Ord + Display + Copy>(rule: &str, expect: &Expect<T>, found: T) -> Finding {
    match expect {
        Expect::AtLeast(least) => finding(rule, found >= *least, &format!("at least {least}"), &found),
        other => equal(rule, other, &found),
    }
}

/// Statuses are declared best first, so "at least" means not after.
fn tcb_status(expect: &Expect<TcbStatus>, found: TcbStatus) -> Finding {
    match expect {
        Expect::AtLeast(least) => finding(
            "tcb_status",
            found <= *least,
            &format!("at least {least}"),
            &found,
        ),
        other => equal("tcb_status", other, &found),
    }
}

fn advisories(expect: &Expect<String>, found: &[String]) -> Finding {
    let allowed = match expect {
        Expect::OneOf(allowed) => allowed,
        Expect::AtLeast(one) => std::slice::from_ref(one),
        Expect::Ignore { because } => return ignored("advisories", because),
    };
    let refused: Vec<_> = found
        .iter()
        .filter(|advisory| !allowed.contains(advisory))
        .cloned()
        .collect();
    let detail = match (found, refused.as_slice()) {
        ([], _) => "none apply".to_owned(),
        (_, []) => format!("{} apply, all allowed", one_of(found)),
        (_, refused) => format!("{} apply and are not allowed", refused.join(", ")),
    };
    Finding {
        rule: "advisories".to_owned(),
        passed: refused.is_empty(),
        detail,
    }
}

fn evaluation(expect: &Expect<u32>, found: Option<u32>) -> Finding {
    match (expect, found) {
        (Expect::Ignore { because }, _) => ignored("tcb_evaluation", because),
        (expect, Some(found)) => ordered("tcb_evaluation", expect, found),
        (_, None) => finding("tcb_evaluation", false, "a number", &"the vendor gives none"),
    }
}

fn measurement(name: &str, expect: &Expect<Measurement>, claims: &Claims) -> Finding {
    let rule = format!("measurements.{name}");
    match (expect, claims.measurements.get(name)) {
        (Expect::Ignore { because }, _) => ignored(&rule, because),
        (expect, Some(found)) => equal(&rule, expect, found),
        (_, None) => finding(
            &rule,
            false,
            "a value",
            &format!("evidence of `{}` has no {name}", claims.tee),
        ),
    }
}

fn pcr(name: &str, wanted: &Measurement, claims: &Claims) -> Finding {
    let rule = format!("pcr_policy.{name}");
    match claims.measurements.get(name) {
        Some(found) => finding(&rule, found == wanted, &wanted.to_string(), found),
        None => {
            let found = format!("evidence of `{}` has no PCRs", claims.tee);
            finding(&rule, false, &wanted.to_string(), &found)
        }
    }
}

#[cfg(test)]
mod tests;
