//! An appraisal as others read it: EAT Attestation Results (draft-ietf-rats-ear-04) with the trustworthiness vector
//! of AR4SI (draft-ietf-rats-ar4si). `docs/policy.md` has the table of what maps onto what.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Appraisal, AppraisalVerdict, Claims, Finding, Revocation, TcbStatus, TeeKind};

/// The EAT profile of draft-ietf-rats-ear-04.
pub const EAR_PROFILE: &str = "tag:ietf.org,2026:rats/ear#04";

/// AR4SI's tiers, best first. A claim's value of 2 to 31 is affirming, of 32 to 95 warning, from 96 on
/// contraindicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustTier {
    /// Accepted, every rule was checked, and nothing speaks against it.
    Affirming,
    /// Accepted, with something that a relying party should know.
    Warning,
    /// Rejected, or not to be relied upon.
    Contraindicated,
}

/// AR4SI's claims about an attester. Zero makes no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrustVector {
    /// Whether the device is known.
    pub instance_identity: u8,
    /// Whether its configuration is approved.
    pub configuration: u8,
    /// Whether its program is.
    pub executables: u8,
    /// Whether its hardware and firmware are genuine and without known faults.
    pub hardware: u8,
    /// Whether the program's memory is hidden from the rest of the machine.
    pub runtime_opaque: u8,
}

/// An EAR claims-set: what a verifier signs. The only constructor takes an [`Appraisal`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ear(Map<String, Value>);

impl Ear {
    /// The claims-set of an appraisal by the verifier build `build` of `developer`.
    pub fn of(appraisal: &Appraisal, build: &str, developer: &str) -> Self {
        let mut ear = Map::new();
        let mut set = |name: &str, value: Value| {
            ear.insert(name.to_owned(), value);
        };
        set("eat_profile", EAR_PROFILE.into());
        set("iat", appraisal.appraised_at().as_secs().into());
        set("exp", appraisal.expires_at().as_secs().into());
        set(
            "ear_verifier_id",
            json!({ "build": build, "developer": developer }),
        );
        set("ear_status", json!(trust_tier(appraisal)));
        if let Some(nonce) = nonce(appraisal.claims()) {
            set("eat_nonce", nonce.into());
        }
        let tee = appraisal.claims().tee.as_str();
        set("submods", json!({ tee: submodule(appraisal) }));
        Self(ear)
    }

    /// The claims-set as JSON.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

/// The one attester that the appraisal is about.
fn submodule(appraisal: &Appraisal) -> Value {
    json!({
        "eat_profile": EAR_PROFILE,
        "ear_status": trust_tier(appraisal),
        "ear_trustworthiness_vector": trust_vector(appraisal),
        "ear_appraisal_policy_ids": [format!("{}#{}", appraisal.policy(), appraisal.policy_id())],
        "ear_attester_claims": without_nulls(attester_claims(appraisal.claims())),
        "ear_verifier_claims": without_nulls(verifier_claims(appraisal)),
    })
}

/// What the evidence says.
fn attester_claims(claims: &Claims) -> Value {
    json!({
        "tee": claims.tee,
        "report_data": claims.report_data,
        "user_data": claims.user_data,
        "device": claims.device,
        "debug": claims.debug,
        "measurements": claims.measurements,
        "attributes": claims.attributes,
        "made_at": claims.made_at,
    })
}

/// What the verifier makes of it.
fn verifier_claims(appraisal: &Appraisal) -> Value {
    let claims = appraisal.claims();
    json!({
        "verdict": appraisal.verdict(),
        "assurance": claims.assurance,
        "evidence_id": claims.evidence_id,
        "binding": claims.binding,
        "tcb": claims.tcb,
        "revocation": claims.revocation,
        "unsigned": claims.unsigned,
        "findings": appraisal.findings(),
        "reference_values": appraisal.reference_values(),
    })
}

/// Claims that there are none of are left out: CBOR and JSON libraries of EAR do not all know null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// What the relying party asked for, where the evidence was held against it: the challenge, or the exact report
/// data. RFC 9711 §4.1 has nonces of 8 to 64 bytes, in base64url.
fn nonce(claims: &Claims) -> Option<String> {
    if claims.unchecked_binding().is_some() {
        return None;
    }
    let signed = claims.report_data.0.as_slice();
    let nonce = match (&claims.user_data, signed.first_chunk::<32>()) {
        // Report data is the challenge, then the digest of the user data.
        (Some(_), Some(challenge)) if signed.len() == 64 => challenge,
        (Some(_), _) => return None,
        (None, _) => signed,
    };
    (8..=64)
        .contains(&nonce.len())
        .then(|| URL_SAFE_NO_PAD.encode(nonce))
}

/// The status of an appraisal: its verdict, or what the vector says if that is worse.
pub fn trust_tier(appraisal: &Appraisal) -> TrustTier {
    let verdict = match appraisal.verdict() {
        AppraisalVerdict::Rejected => TrustTier::Contraindicated,
        AppraisalVerdict::Accepted if has_reservations(appraisal) => TrustTier::Warning,
        AppraisalVerdict::Accepted => TrustTier::Affirming,
    };
    trust_vector(appraisal)
        .values()
        .map(tier_of)
        .fold(verdict, TrustTier::max)
}

/// Whether the policy left something unchecked, or nothing real vouches for the claims. That a kind of evidence has
/// no time in it is its nature, and no reservation.
fn has_reservations(appraisal: &Appraisal) -> bool {
    let claims = appraisal.claims();
    let ignored = |finding: &Finding| {
        let timeless = finding.rule == "evidence_age" && claims.made_at.is_none();
        !finding.checked && !timeless
    };
    !vouched(claims) || appraisal.findings().iter().any(ignored)
}

fn vouched(claims: &Claims) -> bool {
    claims.tee != TeeKind::Simulated && !claims.debug
}

const NO_CLAIM: u8 = 0;
const AFFIRMING: u8 = 2;
/// Executables: what was loaded at launch is approved; nothing is said of later.
const APPROVED_BOOT: u8 = 3;
const WARNING: u8 = 32;
/// Executables: not among those that are known.
const UNRECOGNIZED: u8 = 33;
const CONTRAINDICATED: u8 = 96;

const fn tier_of(value: u8) -> TrustTier {
    match value {
        0..32 => TrustTier::Affirming,
        32..96 => TrustTier::Warning,
        96.. => TrustTier::Contraindicated,
    }
}

impl TrustVector {
    fn values(self) -> impl Iterator<Item = u8> {
        [
            self.instance_identity,
            self.configuration,
            self.executables,
            self.hardware,
            self.runtime_opaque,
        ]
        .into_iter()
    }
}

/// The trustworthiness vector of an appraisal.
pub fn trust_vector(appraisal: &Appraisal) -> TrustVector {
    let claims = appraisal.claims();
    TrustVector {
        instance_identity: instance_identity(claims),
        configuration: configuration(appraisal),
        executables: executables(appraisal),
        hardware: hardware(appraisal),
        runtime_opaque: runtime_opaque(claims),
    }
}

/// The device's key is known by its vendor's chain or by enrolment, and was asked after in the revocation lists.
fn instance_identity(claims: &Claims) -> u8 {
    let asked_after = !matches!(claims.revocation, Revocation::Unchecked { .. });
    if vouched(claims) && !claims.device.id.is_empty() && asked_after {
        AFFIRMING
    } else {
        NO_CLAIM
    }
}

fn configuration(appraisal: &Appraisal) -> u8 {
    let needs_configuration = matches!(
        appraisal.claims().tcb.status,
        Some(
            TcbStatus::ConfigurationNeeded
                | TcbStatus::ConfigurationAndSWHardeningNeeded
                | TcbStatus::TDRelaunchAdvisedConfigurationNeeded
                | TcbStatus::OutOfDateConfigurationNeeded
        )
    );
    match Outcome::of(appraisal, |rule| {
        rule == "debug" || rule.starts_with("attributes.")
    }) {
        Outcome::Failed => CONTRAINDICATED,
        _ if needs_configuration => WARNING,
        Outcome::Passed => AFFIRMING,
        Outcome::NotAllChecked => NO_CLAIM,
    }
}

fn executables(appraisal: &Appraisal) -> u8 {
    let names_code =
        |rule: &str| rule == "code" || rule.starts_with("measurements.") || rule.starts_with("pcr_policy.");
    let findings = || appraisal.findings().iter();
    if findings().any(|finding| names_code(local(&finding.rule)) && !finding.passed) {
        return UNRECOGNIZED;
    }
    // A register that is not checked takes nothing from the code that another one pins.
    let pinned = findings().any(|finding| finding.rule == "code" && finding.checked);
    if pinned && vouched(appraisal.claims()) {
        APPROVED_BOOT
    } else {
        NO_CLAIM
    }
}

fn hardware(appraisal: &Appraisal) -> u8 {
    let claims = appraisal.claims();
    let about_hardware = |rule: &str| {
        matches!(
            rule,
            "tee" | "assurance" | "tcb_status" | "advisories" | "tcb_evaluation"
        )
    };
    if Outcome::of(appraisal, about_hardware) == Outcome::Failed {
        return CONTRAINDICATED;
    }
    if !vouched(claims) {
        return NO_CLAIM;
    }
    // Where the vendor rates no platform, nobody has said that this one has no known faults.
    let Some(status) = claims.tcb.status else {
        return NO_CLAIM;
    };
    if status == TcbStatus::UpToDate && claims.tcb.advisories.is_empty() {
        AFFIRMING
    } else {
        WARNING
    }
}

/// AR4SI tells encrypted memory (2) from memory that is only isolated (32).
const fn runtime_opaque(claims: &Claims) -> u8 {
    if claims.debug {
        return CONTRAINDICATED;
    }
    match claims.tee {
        TeeKind::Sgx | TeeKind::Tdx | TeeKind::Sev => AFFIRMING,
        TeeKind::Nitro | TeeKind::Keystone | TeeKind::TrustZone => WARNING,
        TeeKind::Tpm | TeeKind::Simulated => NO_CLAIM,
    }
}

/// How a group of rules went.
#[derive(PartialEq)]
enum Outcome {
    Failed,
    NotAllChecked,
    Passed,
}

impl Outcome {
    fn of(appraisal: &Appraisal, is_in_group: impl Fn(&str) -> bool) -> Self {
        let group = || {
            appraisal
                .findings()
                .iter()
                .filter(|finding| is_in_group(local(&finding.rule)))
        };
        if group().any(|finding| !finding.passed) {
            Self::Failed
        } else if group().any(|finding| !finding.checked) {
            Self::NotAllChecked
        } else {
            Self::Passed
        }
    }
}

/// A rule's name within its section: `per_tee.sev.tcb_status` is about the TCB status.
fn local(rule: &str) -> &str {
    rule.strip_prefix("per_tee.")
        .and_then(|rest| rest.split_once('.'))
        .map_or(rule, |(_, rule)| rule)
}

#[cfg(test)]
mod tests;
