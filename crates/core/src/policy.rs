//! Policies: what a relying party wants of verified claims. A policy can only reject.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::verify::UNCHECKED;
use crate::{
    Appraisal, Assurance, Claims, Finding, Kind, Measurement, PolicyId, SignedMessage, TcbStatus, UnixMillis,
    Verified,
};

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

/// A relying party's policy. Whichever way it is read, its rules make sense: a senseless one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Rules")]
pub struct Policy(Rules);

/// What a policy says, before anybody asked whether it makes sense.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
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
    /// TEE-specific attributes by name, as in [`Claims::attributes`]. A name that the evidence lacks fails.
    #[serde(default)]
    attributes: BTreeMap<String, Expect<String>>,
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
    #[error("policy has {size} bytes, more than the {max} allowed", max = Policy::MAX_SIZE)]
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

impl TryFrom<Rules> for Policy {
    type Error = PolicyError;

    fn try_from(rules: Rules) -> Result<Self, PolicyError> {
        rules.check()?;
        Ok(Self(rules))
    }
}

impl Policy {
    /// Largest policy file that is read, in bytes.
    pub const MAX_SIZE: usize = 256 * 1024;

    /// Reads a policy file's text.
    ///
    /// # Errors
    /// Names line and key, or the rule that makes no sense.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        if text.len() > Self::MAX_SIZE {
            return Err(PolicyError::TooLarge { size: text.len() });
        }
        let rules: Rules = serde_saphyr::from_str(text)
            .map_err(|error| PolicyError::Yaml(error.without_snippet().to_string()))?;
        Self::try_from(rules)
    }

    /// The policy of `nautilus up` on a laptop: simulated evidence passes, of exactly this enclave. It says
    /// nothing about hardware, and no production verifier can be made to use it on simulated evidence.
    pub fn development(mrenclave: Measurement, pcr_policy: BTreeMap<String, Measurement>) -> Self {
        Self(Rules {
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
            attributes: BTreeMap::new(),
            pcr_policy,
            max_age_seconds: 24 * 60 * 60,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// SHA-256 of its canonical bytes: two policies with the same id judge alike.
    pub fn id(&self) -> PolicyId {
        PolicyId(self.digest().0)
    }

    pub(crate) const fn max_age_millis(&self) -> u64 {
        self.0.max_age_seconds.saturating_mul(1000)
    }

    /// Judges verified claims. Applies every rule, whatever the first ones say.
    pub fn appraise(&self, claims: Verified<Claims>, now: UnixMillis) -> Appraisal {
        let findings = self.0.findings(&claims);
        Appraisal::seal(self, claims, findings, now)
    }
}

impl Rules {
    fn findings(&self, claims: &Claims) -> Vec<Finding> {
        let mut findings = vec![
            ordered("assurance", &self.assurance, claims.assurance),
            equal("debug", &self.debug, &claims.debug),
            tcb_status(&self.tcb_status, claims),
            advisories(&self.advisories, &claims.tcb.advisories),
            evaluation(&self.tcb_evaluation, claims.tcb.evaluation),
            Finding::new(
                "binding",
                !claims.binding.starts_with(UNCHECKED),
                claims.binding.as_str(),
            ),
        ];
        findings.extend(
            self.measurements
                .iter()
                .map(|(name, expect)| measurement(name, expect, claims)),
        );
        findings.extend(
            self.attributes
                .iter()
                .map(|(name, expect)| attribute(name, expect, claims)),
        );
        findings.push(self.code_is_pinned());
        findings.extend(
            self.pcr_policy
                .iter()
                .map(|(name, value)| pcr(name, value, claims)),
        );
        findings
    }

    /// A policy that names no code would accept any program in genuine hardware. Other registers (`mrseam`,
    /// `mrconfigid`, `mrowner` …) say what the code runs on or is given. A TD's RTMRs measure what boots after
    /// `mrtd`, and are code only on top of it.
    fn code_is_pinned(&self) -> Finding {
        let register = |name: &str| matches!(self.measurements.get(name), Some(Expect::OneOf(_)));
        let mut pinned: Vec<_> = CODE.into_iter().filter(|name| register(name)).collect();
        // A signer signs many products, and old versions of each.
        let product = matches!(self.attributes.get("isvprodid"), Some(Expect::OneOf(_)));
        let version = matches!(
            self.attributes.get("isvsvn"),
            Some(Expect::AtLeast(_) | Expect::OneOf(_))
        );
        if register("mrsigner") && product && version {
            pinned.push("mrsigner with isvprodid and isvsvn");
        }
        pinned.extend(self.pcr_policy.keys().map(String::as_str));
        let detail = if pinned.is_empty() {
            "the policy pins no code, so any program would pass: pin `mrenclave`, `mrtd`, PCRs, or `mrsigner` \
             with the attributes `isvprodid` (one_of) and `isvsvn` (at_least)"
                .to_owned()
        } else {
            format!("pinned by {}", pinned.join(", "))
        };
        Finding::new("code", !pinned.is_empty(), detail)
    }

    fn check(&self) -> Result<(), PolicyError> {
        if self.name.is_empty() || self.name.len() > 128 {
            return senseless("name", "write a name of 1 to 128 bytes");
        }
        if self.max_age_seconds == 0 {
            return senseless("max_age_seconds", "write at least 1");
        }
        sensible("assurance", &self.assurance)?;
        sensible("debug", &self.debug)?;
        sensible("tcb_status", &self.tcb_status)?;
        sensible("tcb_evaluation", &self.tcb_evaluation)?;
        // An empty list is a rule here: no advisory may apply.
        if !matches!(&self.advisories, Expect::OneOf(none) if none.is_empty()) {
            sensible("advisories", &self.advisories)?;
        }
        if matches!(self.advisories, Expect::AtLeast(_)) {
            return senseless("advisories", "advisories have no order: write one_of or ignore");
        }
        if matches!(self.debug, Expect::AtLeast(_)) {
            return senseless("debug", "write one_of or ignore");
        }
        for (name, expect) in &self.measurements {
            let rule = format!("measurements.{name}");
            sensible(&rule, expect)?;
            if matches!(expect, Expect::AtLeast(_)) {
                return senseless(&rule, "measurements have no order: write one_of or ignore");
            }
        }
        for (name, expect) in &self.attributes {
            let rule = format!("attributes.{name}");
            sensible(&rule, expect)?;
            if matches!(expect, Expect::AtLeast(least) if least.parse::<u64>().is_err()) {
                return senseless(&rule, "only numbers have an order: write one_of or ignore");
            }
        }
        match self.pcr_policy.keys().find(|name| !is_pcr(name)) {
            Some(name) => senseless(
                &format!("pcr_policy.{name}"),
                "PCRs are called pcr0 to pcr23; other registers belong under measurements",
            ),
            None => Ok(()),
        }
    }
}

/// The registers that measure the program alone: SGX and simulated, TDX.
const CODE: [&str; 2] = ["mrenclave", "mrtd"];

fn is_pcr(name: &str) -> bool {
    (0..24).any(|index| name == format!("pcr{index}"))
}

/// What holds of every expectation.
fn sensible<T>(rule: &str, expect: &Expect<T>) -> Result<(), PolicyError> {
    match expect {
        Expect::OneOf(values) if values.is_empty() => senseless(
            rule,
            "an empty one_of could never pass: name what may pass, or write ignore",
        ),
        Expect::Ignore { because } if because.trim().is_empty() => {
            senseless(rule, "write after `because` why it is not checked")
        }
        _ => Ok(()),
    }
}

fn senseless(rule: &str, why: &str) -> Result<(), PolicyError> {
    Err(PolicyError::Senseless {
        rule: rule.to_owned(),
        why: why.to_owned(),
    })
}

fn finding(rule: &str, passed: bool, wanted: &str, found: &dyn Display) -> Finding {
    Finding::new(rule, passed, format!("{found}, wanted {wanted}"))
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
fn tcb_status(expect: &Expect<TcbStatus>, claims: &Claims) -> Finding {
    match (expect, claims.tcb.status) {
        (Expect::Ignore { because }, _) => Finding::unchecked("tcb_status", because),
        (Expect::AtLeast(least), Some(found)) => finding(
            "tcb_status",
            found <= *least,
            &format!("at least {least}"),
            &found,
        ),
        (other, Some(found)) => equal("tcb_status", other, &found),
        (_, None) => absent("tcb_status", "TCB status by its vendor", claims),
    }
}

fn advisories(expect: &Expect<String>, found: &[String]) -> Finding {
    let allowed = match expect {
        Expect::OneOf(allowed) => allowed,
        Expect::AtLeast(one) => std::slice::from_ref(one),
        Expect::Ignore { because } => return Finding::unchecked("advisories", because),
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
    Finding::new("advisories", refused.is_empty(), detail)
}

fn evaluation(expect: &Expect<u32>, found: Option<u32>) -> Finding {
    match (expect, found) {
        (Expect::Ignore { because }, _) => Finding::unchecked("tcb_evaluation", because),
        (expect, Some(found)) => ordered("tcb_evaluation", expect, found),
        (_, None) => finding("tcb_evaluation", false, "a number", &"the vendor gives none"),
    }
}

/// A rule on something that the evidence does not have.
fn absent(rule: &str, name: &str, claims: &Claims) -> Finding {
    let found = format!("evidence of `{}` has no {name}", claims.tee);
    finding(rule, false, "a value", &found)
}

fn measurement(name: &str, expect: &Expect<Measurement>, claims: &Claims) -> Finding {
    let rule = format!("measurements.{name}");
    match (expect, claims.measurements.get(name)) {
        (Expect::Ignore { because }, _) => Finding::unchecked(rule, because),
        (expect, Some(found)) => equal(&rule, expect, found),
        (_, None) => absent(&rule, name, claims),
    }
}

fn attribute(name: &str, expect: &Expect<String>, claims: &Claims) -> Finding {
    let rule = format!("attributes.{name}");
    match (expect, claims.attributes.get(name)) {
        (Expect::Ignore { because }, _) => Finding::unchecked(rule, because),
        (Expect::AtLeast(least), Some(found)) => {
            let passed = match (found.parse::<u64>(), least.parse::<u64>()) {
                (Ok(found), Ok(least)) => found >= least,
                _ => false,
            };
            finding(&rule, passed, &format!("at least {least}"), found)
        }
        (expect, Some(found)) => equal(&rule, expect, found),
        (_, None) => absent(&rule, name, claims),
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
