//! The verdict on verified claims, with every finding.

use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::{Claims, PolicyId, UnixMillis, Verified};

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
    appraised_at: UnixMillis,
    expires_at: UnixMillis,
    claims: Verified<Claims>,
}

impl Appraisal {
    pub(crate) fn seal(
        policy: &Policy,
        claims: Verified<Claims>,
        findings: Vec<Finding>,
        now: UnixMillis,
    ) -> Self {
        let until = now.plus(policy.max_age_millis());
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
            appraised_at: now,
            expires_at: claims
                .endorsed_until
                .map_or(until, |endorsed| endorsed.min(until)),
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

    /// When it was judged.
    pub const fn appraised_at(&self) -> UnixMillis {
        self.appraised_at
    }

    /// Until when the verdict may be relied upon: the policy's maximum age, or the end of the endorsements if
    /// that comes first.
    pub const fn expires_at(&self) -> UnixMillis {
        self.expires_at
    }

    /// What was judged.
    pub const fn claims(&self) -> &Verified<Claims> {
        &self.claims
    }
}
