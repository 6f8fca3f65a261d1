//! The cases, and the devices that a test trusts.

use nautilus_core::{
    AnchorRole, Binding, Claims, Endorsements, Evidence, TeeKind, TrustAnchor, TrustAnchors, UnixMillis,
    Verified, VerifierSet, VerifyError,
};
use nautilus_tee::keystone::Verifier;
use serde::Deserialize;

pub const NOW: UnixMillis = UnixMillis::from_secs(1_793_000_000);
/// Keystone's published test key, of boots A and B.
pub const TEST_DEVICE: &str = "0faad4ff01178583baa588966f7c1ff32564dd17d7dc2b46cb50a84a69270b4c";
/// Of boot C.
pub const DEVICE_C: &str = "e34b2d807d18e0c1d90dfb5bdc3ad85b1d02a7a6c44dcf9130ba7b181ee0d9b9";

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub expect: String,
    report_hex: String,
    pub payload_hex: Option<String>,
    pub enclave_hash: Option<String>,
    pub sm_hash: Option<String>,
    pub sm_public_key: Option<String>,
    pub dev_public_key: Option<String>,
}

impl Case {
    pub fn report(&self) -> Vec<u8> {
        hex::decode(&self.report_hex).unwrap()
    }
}

pub fn all() -> Vec<Case> {
    include_str!("../../../../vectors/keystone/cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub fn case(name: &str) -> Case {
    all().into_iter().find(|case| case.name == name).unwrap()
}

pub fn trusting(devices: &[&str]) -> VerifierSet {
    let anchors = devices.iter().map(|key| TrustAnchor {
        role: AnchorRole::KeystoneDevice,
        bytes: key.as_bytes().to_vec(),
        origin: "vectors/keystone/keys.json".to_owned(),
    });
    let verifier = Verifier::new(&TrustAnchors(anchors.collect())).unwrap();
    VerifierSet::production(vec![Box::new(verifier)]).unwrap()
}

pub fn verify(
    set: &VerifierSet,
    report: &[u8],
    binding: Binding<'_>,
) -> Result<Verified<Claims>, VerifyError> {
    let evidence = Evidence {
        tee: TeeKind::Keystone,
        bytes: report.to_vec(),
        user_data: None,
        event_log: None,
    };
    set.verify(&evidence, binding, &Endorsements::default(), NOW)
}

/// Verifies without a look at what was signed.
pub fn verify_any(set: &VerifierSet, report: &[u8]) -> Result<Verified<Claims>, VerifyError> {
    let because = "the test is about the signatures";
    verify(set, report, Binding::Unchecked { because })
}
