//! The cases, and the keys that a test trusts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{
    AnchorRole, Binding, Claims, Endorsements, Evidence, TeeKind, TrustAnchor, TrustAnchors, UnixMillis,
    Verified, VerifierSet, VerifyError,
};
use nautilus_tee::trustzone::Verifier;
use serde::Deserialize;
use serde_json::{Value, json};

pub const NOW: UnixMillis = UnixMillis::from_secs(1_793_000_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    Accept,
    Reject,
    RejectPolicy,
    RejectStrict,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    #[serde(rename = "case")]
    pub name: String,
    pub kind: String,
    pub expected: Expected,
    pub tamper: Option<String>,
    pub derived_from: Option<String>,
    pub key_size: usize,
    pub pubkey: Value,
    pub ta_uuid: Option<String>,
    pub measurement_hex: Option<String>,
    nonce_hex: String,
    evidence_hex: String,
}

impl Case {
    /// What the verifier expects to be signed.
    pub fn nonce(&self) -> Vec<u8> {
        hex::decode(&self.nonce_hex).unwrap()
    }

    /// What the service gave.
    pub fn output(&self) -> Vec<u8> {
        hex::decode(&self.evidence_hex).unwrap()
    }

    pub fn is_psa(&self) -> bool {
        self.kind == "veraison_psa"
    }

    /// The command that the sender claims.
    pub fn command(&self) -> &'static str {
        match (self.tamper.as_deref(), self.kind.as_str()) {
            (Some("relabelled-as-tee-memory"), _) | (_, "tee_memory") => "tee_memory",
            (_, "ta_memory") => "ta_memory",
            (_, "ta_shdr_digest") => "ta_header",
            (_, kind) => panic!("{}: no command gives {kind}", self.name),
        }
    }

    /// The service's output as it travels, with this nonce.
    pub fn container(&self, nonce: &[u8]) -> Value {
        let mut container = json!({
            "format": "nautilus-optee/1",
            "command": self.command(),
            "nonce": hex::encode(nonce),
            "output": STANDARD.encode(self.output()),
        });
        if self.command() != "tee_memory" {
            container["ta"] = json!(self.ta_uuid.as_ref().unwrap());
        }
        container
    }

    /// The key that the verifier is told to trust.
    pub fn anchors(&self) -> TrustAnchors {
        TrustAnchors(vec![anchor(&self.pubkey)])
    }

    pub fn verify(&self, container: &Value) -> Result<Verified<Claims>, VerifyError> {
        verify(
            &trusting(self.anchors()),
            container,
            Binding::ReportData(&self.nonce()),
        )
    }
}

pub fn all() -> Vec<Case> {
    include_str!("../../../../vectors/optee/cases.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub fn case(name: &str) -> Case {
    all().into_iter().find(|case| case.name == name).unwrap()
}

pub fn anchor(key: &Value) -> TrustAnchor {
    TrustAnchor {
        role: AnchorRole::OpteeKey,
        bytes: key.to_string().into_bytes(),
        origin: "vectors/optee/cases.jsonl".to_owned(),
    }
}

pub fn trusting(anchors: TrustAnchors) -> VerifierSet {
    VerifierSet::production(vec![Box::new(Verifier::new(&anchors).unwrap())]).unwrap()
}

pub fn verify(
    set: &VerifierSet,
    container: &Value,
    binding: Binding<'_>,
) -> Result<Verified<Claims>, VerifyError> {
    let evidence = Evidence {
        tee: TeeKind::TrustZone,
        bytes: container.to_string().into_bytes(),
        user_data: None,
        event_log: None,
    };
    assert_eq!(set.recognise(&evidence.bytes), Some(TeeKind::TrustZone));
    set.verify(&evidence, binding, &Endorsements::default(), NOW)
}
