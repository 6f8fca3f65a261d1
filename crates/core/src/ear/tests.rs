use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::{Assurance, DeviceIdentity, EvidenceId, Measurement, Policy, Tcb, UnixMillis, Verified};

/// Set to 1, what is expected is written instead of compared. See that it is right before you keep it.
const BLESS: &str = "NAUTILUS_BLESS";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/appraisals")
}

fn time(value: &Value) -> Option<UnixMillis> {
    value.as_str().map(|text| text.parse().unwrap())
}

/// The claims of a golden appraisal.
fn claims_of(json: &Value) -> Claims {
    let read = |name: &str| json[name].clone();
    let measured: BTreeMap<String, Measurement> = serde_json::from_value(read("measurements")).unwrap();
    let attributes: BTreeMap<String, String> = serde_json::from_value(read("attributes")).unwrap();
    let tee: TeeKind = serde_json::from_value(read("tee")).unwrap();
    let assurance: Assurance = serde_json::from_value(read("assurance")).unwrap();
    Claims {
        tee,
        assurance,
        evidence_id: EvidenceId([1; 32]),
        report_data: serde_json::from_value(read("report_data")).unwrap(),
        binding: json["binding"].as_str().unwrap().to_owned(),
        user_data: None,
        device: DeviceIdentity {
            scheme: "test",
            id: "00ff".to_owned(),
            family: None,
        },
        debug: json["debug"].as_bool().unwrap(),
        tcb: Tcb {
            status: serde_json::from_value(read("tcb_status")).unwrap(),
            advisories: serde_json::from_value(read("advisories")).unwrap(),
            evaluation: serde_json::from_value(read("evaluation")).unwrap(),
            ..Tcb::default()
        },
        measurements: measured,
        attributes,
        unsigned: Vec::new(),
        revocation: match json["revocation"].as_str().unwrap() {
            "checked" => Revocation::Checked { until: None },
            "unchecked" => Revocation::Unchecked {
                because: "no list came along".to_owned(),
            },
            "not_applicable" => Revocation::NotApplicable {
                because: "nothing here is revoked by a list",
            },
            other => panic!("revocation {other}"),
        },
        made_at: time(&json["made_at"]),
        event_log: Vec::new(),
        endorsed_until: time(&json["endorsed_until"]),
    }
}

fn appraise(case: &Value) -> Appraisal {
    let policy = fs::read_to_string(vectors().join(case["policy"].as_str().unwrap())).unwrap();
    let policy = Policy::from_yaml(&policy).unwrap();
    policy.appraise(
        Verified::seal(claims_of(&case["claims"])),
        time(&case["now"]).unwrap(),
    )
}

fn case(name: &str) -> Value {
    serde_json::from_slice(&fs::read(vectors().join(format!("{name}.json"))).unwrap()).unwrap()
}

/// What stands under `expected`.
fn summary(appraisal: &Appraisal) -> Value {
    json!({
        "verdict": appraisal.verdict(),
        "expires_at": appraisal.expires_at(),
        "findings": appraisal.findings(),
        "reference_values": appraisal.reference_values(),
        "ear_status": trust_tier(appraisal),
        "ear_trustworthiness_vector": trust_vector(appraisal),
    })
}

#[test]
fn every_golden_appraisal_is_as_it_was() {
    let mut names: Vec<_> = fs::read_dir(vectors())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 7, "{names:?}");
    for path in names {
        let mut golden: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let found = summary(&appraise(&golden));
        if std::env::var(BLESS).is_ok_and(|value| value == "1") {
            golden["expected"] = found;
            fs::write(
                &path,
                format!("{}\n", serde_json::to_string_pretty(&golden).unwrap()),
            )
            .unwrap();
            continue;
        }
        assert_eq!(
            found,
            golden["expected"],
            "{}: {}",
            path.display(),
            golden["what"]
        );
    }
}

#[test]
fn a_claims_set_has_what_the_draft_asks_for() {
    let appraisal = appraise(&case("sgx-accepted"));
    let ear: Value = serde_json::from_str(&Ear::of(&appraisal, "build 1", "us").to_json()).unwrap();
    let mut keys: Vec<_> = ear.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "ear_status",
            "ear_verifier_id",
            "eat_nonce",
            "eat_profile",
            "exp",
            "iat",
            "submods"
        ]
    );
    assert_eq!(ear["eat_profile"], "tag:ietf.org,2026:rats/ear#04");
    assert_eq!(ear["iat"], 1_795_341_600);
    assert_eq!(ear["exp"], 1_795_341_600 + 30 * 60);
    assert_eq!(
        ear["ear_verifier_id"],
        json!({ "build": "build 1", "developer": "us" })
    );
    assert_eq!(ear["eat_nonce"], URL_SAFE_NO_PAD.encode([0x0f; 64]));
    assert_eq!(ear["ear_status"], "affirming");
    let submod = &ear["submods"]["sgx"];
    assert_eq!(submod["ear_status"], "affirming");
    assert_eq!(
        submod["ear_trustworthiness_vector"],
        json!({
            "instance-identity": 2,
            "configuration": 2,
            "executables": 3,
            "hardware": 2,
            "runtime-opaque": 2,
        })
    );
    let policy = format!("fleet#{}", appraisal.policy_id());
    assert_eq!(submod["ear_appraisal_policy_ids"], json!([policy]));
    assert_eq!(
        submod["ear_attester_claims"]["measurements"]["mrenclave"],
        "a2a2a2a2"
    );
    assert_eq!(submod["ear_verifier_claims"]["verdict"], "accepted");
    assert!(!ear.to_string().contains("null"), "{ear}");
}

#[test]
fn a_nonce_is_what_was_asked_for_and_nothing_else() {
    let nonce_of = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims_of(&case("sgx-accepted")["claims"]);
        change(&mut claims);
        nonce(&claims)
    };
    let encoded = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
    assert_eq!(nonce_of(&|_| {}), encoded(&[0x0f; 64]));
    assert_eq!(
        nonce_of(&|claims| claims.binding = "unchecked: no".to_owned()),
        None
    );
    assert_eq!(
        nonce_of(&|claims| claims.report_data = Measurement(vec![1; 8])),
        encoded(&[1; 8])
    );
    assert_eq!(
        nonce_of(&|claims| claims.report_data = Measurement(vec![1; 7])),
        None
    );
    assert_eq!(
        nonce_of(&|claims| claims.report_data = Measurement(vec![1; 65])),
        None
    );
    let user_data = || crate::BoundUserData {
        purpose: crate::Purpose::Boot,
        node: crate::NodeId([1; 32]),
        tee: TeeKind::Sgx,
        boot: crate::BootId([2; 16]),
        tee_key: crate::PublicKey([3; 32]),
        channel_key: None,
        event_log: crate::EventLogHead::EMPTY,
        session: None,
    };
    // Of a bound challenge the challenge; of its digest nothing can be told.
    assert_eq!(
        nonce_of(&|claims| claims.user_data = Some(user_data())),
        encoded(&[0x0f; 32])
    );
    assert_eq!(
        nonce_of(&|claims| {
            claims.user_data = Some(user_data());
            claims.report_data = Measurement(vec![1; 32]);
        }),
        None
    );
}

#[test]
fn an_accepted_appraisal_with_reservations_is_a_warning() {
    let golden = case("sgx-accepted");
    let policy = fs::read_to_string(vectors().join("fleet.yaml")).unwrap();
    let tier = |policy: &str, change: &dyn Fn(&mut Claims)| {
        let mut claims = claims_of(&golden["claims"]);
        change(&mut claims);
        let policy = Policy::from_yaml(policy).unwrap();
        let appraisal = policy.appraise(Verified::seal(claims), time(&golden["now"]).unwrap());
        (appraisal.verdict(), trust_tier(&appraisal))
    };
    let accepted = |tier| (AppraisalVerdict::Accepted, tier);
    assert_eq!(tier(&policy, &|_| {}), accepted(TrustTier::Affirming));
    let ignoring = policy.replace(
        "mrsigner: { one_of: [\"a3a3a3a3\"] }",
        "mrsigner: { ignore: { because: x } }",
    );
    assert_eq!(tier(&ignoring, &|_| {}), accepted(TrustTier::Warning));
    let hardened = policy.replace("{ one_of: [UpToDate] }", "{ at_least: SWHardeningNeeded }");
    let change = |claims: &mut Claims| claims.tcb.status = Some(TcbStatus::SWHardeningNeeded);
    assert_eq!(tier(&hardened, &change), accepted(TrustTier::Warning));
    // Even a policy that lets a debugger look cannot make memory opaque.
    let debug = policy.replace("{ one_of: [false] }", "{ one_of: [false, true] }");
    let change = |claims: &mut Claims| claims.debug = true;
    assert_eq!(tier(&debug, &change), accepted(TrustTier::Contraindicated));
    let change = |claims: &mut Claims| claims.tee = TeeKind::Simulated;
    let simulated = policy.replace("[sgx, sev, tpm, nitro]", "[simulated]");
    let simulated = simulated.split("per_tee:").next().unwrap();
    let simulated =
        format!("{simulated}measurements: {{ mrenclave: {{ one_of: [a2a2a2a2] }} }}\nmax_age_seconds: 60\n");
    assert_eq!(tier(&simulated, &change), accepted(TrustTier::Warning));
}
