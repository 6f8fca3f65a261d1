//! The verdict on verified claims, with every finding.

use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::{Claims, PolicyId, Revocation, UnixMillis, Verified};

/// One rule that was applied, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule, as the policy names it.
    pub rule: String,
    /// Whether it holds. A rule that was left unchecked on purpose passes.
    pub passed: bool,
    /// Whether it was checked at all.
    pub checked: bool,
    /// What was wanted and what was found, or why it was not checked.
    pub detail: String,
}

impl Finding {
    /// A rule that was checked.
    pub fn new(rule: impl Into<String>, passed: bool, detail: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            passed,
            checked: true,
            detail: detail.into(),
        }
    }

    /// A rule that was left unchecked, and why.
    pub fn unchecked(rule: impl Into<String>, because: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            passed: true,
            checked: false,
            detail: because.into(),
        }
    }

    /// A mark for people: `ok`, `FAIL`, or `--` where nothing was checked.
    pub const fn mark(&self) -> &'static str {
        match (self.checked, self.passed) {
            (false, true) => "--  ",
            (true, true) => "ok  ",
            (_, false) => "FAIL",
        }
    }
}

/// A value that the policy lists, and what came of it: one that is never compared protects nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReferenceValue {
    /// The rule that lists it, as the policy names it.
    pub rule: String,
    /// The value, as the policy has it.
    pub value: String,
    /// What came of it.
    pub state: ReferenceState,
    /// What the evidence has instead, or why it was not used.
    pub why: String,
}

/// What came of a reference value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceState {
    /// The evidence fits it.
    Matched,
    /// It was compared, and the evidence has something else.
    Compared,
    /// There was nothing to compare it with.
    Unused,
}

/// Whether a policy wants what verification found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppraisalVerdict {
    /// Every finding passed.
    Accepted,
    /// Some finding failed.
    Rejected,
}

/// A policy's judgement of verified claims. The only constructor is [`Policy::appraise`].
///
/// ```compile_fail,E0277
/// let read: nautilus_core::Appraisal = serde_json::from_str("{}").unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Appraisal {
    verdict: AppraisalVerdict,
    policy: String,
    policy_id: PolicyId,
    findings: Vec<Finding>,
    reference_values: Vec<ReferenceValue>,
    appraised_at: UnixMillis,
    expires_at: UnixMillis,
    claims: Verified<Claims>,
}

impl Appraisal {
    pub(crate) fn seal(
        policy: &Policy,
        claims: Verified<Claims>,
        findings: Vec<Finding>,
        reference_values: Vec<ReferenceValue>,
        now: UnixMillis,
    ) -> Self {
        let lists_until = match claims.revocation {
            Revocation::Checked { until } => until,
            Revocation::Unchecked { .. } | Revocation::NotApplicable { .. } => None,
        };
        let ends = [claims.endorsed_until, lists_until];
        let expires_at = ends
            .into_iter()
            .flatten()
            .fold(now.plus(policy.max_age_millis()), UnixMillis::min);
        let accepted = !findings.is_empty() && findings.iter().all(|finding| finding.passed);
        Self {
            verdict: if accepted {
                AppraisalVerdict::Accepted
            } else {
                AppraisalVerdict::Rejected
            },
            policy: policy.name().to_owned(),
            policy_id: policy.id(),
            findings,
            reference_values,
            appraised_at: now,
            expires_at,
            claims,
        }
    }

    /// The verdict.
    pub const fn verdict(&self) -> AppraisalVerdict {
        self.verdict
    }

    /// Name of the policy that judged.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Identity of the policy that judged.
    pub const fn policy_id(&self) -> PolicyId {
        self.policy_id
    }

    /// Every rule that was applied, passed or failed.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Every value that the policy lists for registers, attributes and PCRs, and what came of it.
    pub fn reference_values(&self) -> &[ReferenceValue] {
        &self.reference_values
    }

    /// When it was judged.
    pub const fn appraised_at(&self) -> UnixMillis {
        self.appraised_at
    }

    /// Until when the verdict may be relied upon: the policy's maximum age, or the end of the endorsements or of
    /// the revocation lists if that comes first.
    pub const fn expires_at(&self) -> UnixMillis {
        self.expires_at
    }

    /// What was judged.
    pub const fn claims(&self) -> &Verified<Claims> {
        &self.claims
    }
}
