//! What the node's trustworthiness is judged by.

use nautilus_core::{AppraisalVerdict, Assurance, BootId, PublicKey, TcbStatus, UnixMillis};
use serde::Deserialize;

/// Most findings of an appraisal that are counted: a policy has some dozens.
const MAX_FINDINGS: usize = 10_000;

/// The enclave that runs now, as its manager knows it from the enclave itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnclaveFacts {
    /// This run of it.
    pub boot: BootId,
    /// Its signing key.
    pub key: PublicKey,
    /// What became of comparing its program with what the evidence measures.
    pub image: ImageCheck,
}

/// Whether what runs is what was to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageCheck {
    /// The evidence measures the very program that was started.
    Matches,
    /// It measures another.
    Differs,
    /// The TEE does not measure the program by itself: the policy says by what it is known.
    NotMeasured,
}

/// What evidence speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The run of the enclave that the evidence names.
    pub boot: BootId,
    /// The signing key that the evidence names.
    pub key: PublicKey,
    /// When the evidence was made, by the node's clock.
    pub quoted_at: UnixMillis,
}

/// The newest appraisal of the node's evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttestationFacts {
    /// What the evidence speaks for.
    pub of: Attested,
    /// Whether the policy accepted it.
    pub verdict: AppraisalVerdict,
    /// What the hardware vouches for; a simulated TEE says so here.
    pub assurance: Assurance,
    /// Whether a debugger may look inside.
    pub debug: bool,
    /// State of the platform.
    pub tcb: TcbStanding,
    /// Until when the verdict may be relied upon.
    pub valid_until: UnixMillis,
    /// Findings that were checked and passed.
    pub passed: u32,
    /// Findings that were checked.
    pub evaluated: u32,
}

/// How a platform stands to its vendor's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcbStanding {
    /// The vendor's verdict.
    Rated(TcbStatus),
    /// The vendor publishes no levels: what counts is the policy's own floor.
    Unrated,
    /// The vendor publishes levels, and the platform meets none of them.
    BelowAll,
}

/// An appraisal's JSON form that is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// A field is missing, or is not what it should be.
    #[error("the appraisal is not as a verifier writes it")]
    Malformed(#[source] serde_json::Error),
    /// More findings than any policy has.
    #[error("the appraisal has {count} findings, more than {MAX_FINDINGS}")]
    TooManyFindings {
        /// How many there are.
        count: usize,
    },
}

impl AttestationFacts {
    /// What the JSON form of an [`Appraisal`](nautilus_core::Appraisal) says. `appraisal` comes from the verifier over
    /// its channel: it is as true as the verifier is, and is not believed further than its fields can be read.
    ///
    /// # Errors
    /// If a field is missing or is not what it should be.
    pub fn read(of: Attested, appraisal: &serde_json::Value) -> Result<Self, FactsError> {
        let read = Read::deserialize(appraisal).map_err(FactsError::Malformed)?;
        let Read {
            verdict,
            expires_at,
            findings,
            claims,
        } = read;
        if findings.len() > MAX_FINDINGS {
            let count = findings.len();
            return Err(FactsError::TooManyFindings { count });
        }
        let count = |wanted: fn(&&Finding) -> bool| {
            u32::try_from(findings.iter().filter(wanted).count()).unwrap_or(u32::MAX)
        };
        Ok(Self {
            of,
            verdict,
            assurance: claims.assurance,
            debug: claims.debug,
            tcb: match (claims.tcb.status, claims.tcb.shortfalls.is_empty()) {
                (Some(status), _) => TcbStanding::Rated(status),
                (None, true) => TcbStanding::Unrated,
                (None, false) => TcbStanding::BelowAll,
            },
            valid_until: expires_at,
            passed: count(|finding| finding.checked && finding.passed),
            evaluated: count(|finding| finding.checked),
        })
    }
}

/// What is read of an appraisal; it has more fields.
#[derive(Deserialize)]
struct Read {
    verdict: AppraisalVerdict,
    expires_at: UnixMillis,
    findings: Vec<Finding>,
    claims: Claims,
}

#[derive(Deserialize)]
struct Finding {
    passed: bool,
    checked: bool,
}

#[derive(Deserialize)]
struct Claims {
    assurance: Assurance,
    debug: bool,
    tcb: Tcb,
}

#[derive(Deserialize)]
struct Tcb {
    status: Option<TcbStatus>,
    shortfalls: Vec<serde::de::IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of() -> Attested {
        Attested {
            boot: BootId([1; 16]),
            key: PublicKey([2; 32]),
            quoted_at: UnixMillis(5),
        }
    }

    fn appraisal() -> serde_json::Value {
        json!({
            "verdict": "rejected",
            "policy": "p",
            "expires_at": UnixMillis(1_000),
            "findings": [
                {"rule": "a", "passed": true, "checked": true, "detail": ""},
                {"rule": "b", "passed": false, "checked": true, "detail": ""},
                {"rule": "c", "passed": true, "checked": false, "detail": "because"},
            ],
            "claims": {
                "assurance": "hardware-vm",
                "debug": true,
                "tcb": {"status": "OutOfDate", "advisories": [], "shortfalls": [{"component": "x"}]},
            },
        })
    }

    #[test]
    fn an_appraisal_is_read_and_what_was_not_checked_counts_for_nothing() {
        let facts = AttestationFacts::read(of(), &appraisal()).unwrap();
        let expected = AttestationFacts {
            of: of(),
            verdict: AppraisalVerdict::Rejected,
            assurance: Assurance::HardwareVm,
            debug: true,
            tcb: TcbStanding::Rated(TcbStatus::OutOfDate),
            valid_until: UnixMillis(1_000),
            passed: 1,
            evaluated: 2,
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn a_platform_below_all_levels_is_not_one_without_levels() {
        let mut json = appraisal();
        json["claims"]["tcb"]["status"] = serde_json::Value::Null;
        let tcb = |json: &serde_json::Value| AttestationFacts::read(of(), json).unwrap().tcb;
        assert_eq!(tcb(&json), TcbStanding::BelowAll);
        json["claims"]["tcb"]["shortfalls"] = json!([]);
        assert_eq!(tcb(&json), TcbStanding::Unrated);
    }

    #[test]
    fn what_is_missing_is_refused_and_not_supposed() {
        for (pointer, field) in [
            ("", "verdict"),
            ("", "expires_at"),
            ("", "findings"),
            ("/claims", "debug"),
            ("/claims", "assurance"),
            ("/claims/tcb", "shortfalls"),
            ("/findings/0", "checked"),
        ] {
            let mut json = appraisal();
            let object = json.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            object.remove(field).unwrap();
            match AttestationFacts::read(of(), &json) {
                Err(FactsError::Malformed(why)) => assert!(why.to_string().contains(field), "{why}"),
                other => panic!("without {field}: {other:?}"),
            }
        }
        let mut json = appraisal();
        json["findings"] = vec![json!({"passed": true, "checked": true}); MAX_FINDINGS + 1].into();
        let refused = AttestationFacts::read(of(), &json);
        assert!(
            matches!(refused, Err(FactsError::TooManyFindings { count }) if count == MAX_FINDINGS + 1),
            "{refused:?}"
        );
    }
}
