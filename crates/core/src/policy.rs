//! Policies: what a relying party wants of verified claims. A policy can only reject.

mod code;
mod draft;
mod evaluate;
mod explain;
mod in_force;
mod sense;
mod warn;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Appraisal, Assurance, Claims, Kind, Measurement, PolicyId, SignedMessage, TcbStatus, TeeKind, UnixMillis,
    Verified,
};

pub use draft::{pinned_policy, policy_template};
pub use explain::RuleNote;
pub use warn::PolicyWarning;

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

/// What a policy says, before anybody asked whether it makes sense. `docs/policy.md` explains every rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    name: String,
    /// Which TEEs pass.
    #[serde(default = "any_tee")]
    tee: Expect<TeeKind>,
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
    /// Whether revocation lists must have been checked.
    #[serde(default)]
    revocation: RevocationRule,
    /// How old evidence may be, by its own word.
    #[serde(default)]
    evidence_age: AgeRule,
    /// Measurement registers by name. A name that the evidence lacks fails.
    #[serde(default)]
    measurements: BTreeMap<String, Expect<Measurement>>,
    /// TEE-specific attributes by name, as in [`Claims::attributes`]. A name that the evidence lacks fails.
    #[serde(default)]
    attributes: BTreeMap<String, Expect<String>>,
    /// TPM PCR values by name (`pcr0` …), as the specification's `pcr_policy` has them.
    #[serde(default)]
    pcr_policy: BTreeMap<String, Measurement>,
    /// Why PCRs that any program can reset may be named in a `pcr_policy`; without it they may not.
    #[serde(default)]
    resettable_pcrs: Option<Because>,
    /// What applies, besides all of the above, to evidence of one TEE.
    #[serde(default)]
    per_tee: BTreeMap<TeeKind, Section>,
    /// How long an appraisal may be relied upon.
    max_age_seconds: u64,
}

/// Rules for the evidence of one TEE. The maps apply in addition to those of the policy; the others apply in the
/// place of the policy's rule of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    tcb_status: Option<Expect<TcbStatus>>,
    advisories: Option<Expect<String>>,
    tcb_evaluation: Option<Expect<u32>>,
    measurements: BTreeMap<String, Expect<Measurement>>,
    attributes: BTreeMap<String, Expect<String>>,
    pcr_policy: BTreeMap<String, Measurement>,
}

/// What is wanted of revocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RevocationRule {
    /// The lists were checked, or there are none for this kind of evidence.
    #[default]
    Required,
    /// Evidence passes whose certificates were held against no list.
    Ignore { because: String },
}

/// What is wanted of the time at which evidence says that it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum AgeRule {
    /// No longer ago than `max_age_seconds`.
    #[default]
    MaxAge,
    /// No longer ago than this.
    AtMostSeconds(u64),
    /// Any time.
    Ignore { because: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    because: String,
}

fn any_tee() -> Expect<TeeKind> {
    Expect::Ignore {
        because: "the policy does not say which TEEs pass".to_owned(),
    }
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
    /// A template whose values are not filled in.
    #[error("line {line} is not filled in: replace {mark} in `{text}`", mark = Policy::FILL_IN)]
    NotFilledIn {
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        text: String,
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
        sense::check(&rules)?;
        Ok(Self(rules))
    }
}

impl Policy {
    /// Largest policy file that is read, in bytes.
    pub const MAX_SIZE: usize = 256 * 1024;
    /// What stands in a template for a value that only its reader knows.
    pub const FILL_IN: &str = "FILL_IN";

    /// Reads a policy file's text.
    ///
    /// # Errors
    /// Names line and key, or the rule that makes no sense.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        if text.len() > Self::MAX_SIZE {
            return Err(PolicyError::TooLarge { size: text.len() });
        }
        if let Some((line, text)) = unfilled(text) {
            return Err(PolicyError::NotFilledIn { line, text });
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
            tee: any_tee(),
            assurance: Expect::AtLeast(Assurance::Simulated),
            debug: Expect::OneOf(vec![false]),
            tcb_status: Expect::OneOf(vec![TcbStatus::UpToDate]),
            advisories: Expect::OneOf(Vec::new()),
            tcb_evaluation: Expect::Ignore {
                because: "the simulated vendor has one evaluation".to_owned(),
            },
            revocation: RevocationRule::Required,
            evidence_age: AgeRule::MaxAge,
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
            resettable_pcrs: None,
            per_tee: BTreeMap::new(),
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
        let findings = evaluate::findings(&self.0, &claims, now);
        let reference_values = evaluate::reference_values(&self.0, &claims);
        Appraisal::seal(self, claims, findings, reference_values, now)
    }

    /// What deserves a second look, though the policy makes sense.
    pub fn warnings(&self) -> Vec<PolicyWarning> {
        warn::warnings(&self.0)
    }

    /// What each rule means for evidence of `tee`, in words; of any TEE where none is named.
    pub fn explain(&self, tee: Option<TeeKind>) -> Vec<RuleNote> {
        explain::explain(&self.0, tee)
    }

    /// What evidence of `tee` is not asked, in words.
    pub fn not_asked(&self, tee: Option<TeeKind>) -> Vec<String> {
        explain::not_asked(&self.0, tee)
    }
}

/// The first line whose value is still to be filled in. A comment may speak of it.
fn unfilled(text: &str) -> Option<(usize, String)> {
    text.lines().zip(1..).find_map(|(line, number)| {
        let value = line.split_once('#').map_or(line, |(value, _)| value).trim();
        value
            .contains(Policy::FILL_IN)
            .then(|| (number, value.chars().take(80).collect()))
    })
}

#[cfg(test)]
mod tests;
