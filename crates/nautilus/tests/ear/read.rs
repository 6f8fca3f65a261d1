//! What an independent library reads is what was signed, and what the program said.

use nautilus_core::EAR_PROFILE;
use serde_json::{Value, json};

use crate::made::{ACCEPTED, Made, REJECTED, Verifier, decoded};
use crate::reader::accepted_at;

#[test]
fn accepted_evidence_is_affirming() {
    let verifier = Verifier::new();
    let made = verifier.appraises(|policy| policy, ACCEPTED);
    let read = read(&verifier, &made, "affirming");
    assert_eq!(read["vector"], vector(3));
    let all = [
        "configuration",
        "executables",
        "hardware",
        "instance-identity",
        "runtime-opaque",
    ];
    for claim in all {
        assert_eq!(read["tiers"][claim], "affirming", "{claim}");
    }
}

#[test]
fn a_rule_that_was_ignored_makes_it_a_warning() {
    let verifier = Verifier::new();
    let made = verifier.appraises(
        |policy| {
            replaced(
                &policy,
                "tcb_evaluation: { at_least: 18 }",
                "tcb_evaluation: { ignore: { because: \"any collateral will do\" } }",
            )
        },
        ACCEPTED,
    );
    let read = read(&verifier, &made, "warning");
    assert_eq!(read["vector"], vector(3));
    let findings = &read["verifier"]["findings"];
    let ignored = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["rule"] == "tcb_evaluation");
    let ignored = ignored.unwrap();
    assert_eq!(ignored["checked"], false, "{ignored}");
    assert!(
        ignored["detail"]
            .as_str()
            .unwrap()
            .contains("any collateral will do")
    );
}

#[test]
fn rejected_evidence_is_contraindicated() {
    let verifier = Verifier::new();
    let made = verifier.appraises(
        |policy| {
            let zeros = "00".repeat(48);
            let (before, mrtd) = policy.split_once("\n  mrtd: { one_of: [\"").unwrap();
            let (_, after) = mrtd.split_at(zeros.len());
            format!("{before}\n  mrtd: {{ one_of: [\"{zeros}{after}")
        },
        REJECTED,
    );
    let read = read(&verifier, &made, "contraindicated");
    assert_eq!(read["vector"], vector(33));
    assert_eq!(read["tiers"]["executables"], "warning");
    assert_eq!(read["tiers"]["hardware"], "affirming");
}

/// A vector of which only the executables are at stake.
fn vector(executables: u8) -> Value {
    json!({
        "instance-identity": 2,
        "configuration": 2,
        "executables": executables,
        "hardware": 2,
        "runtime-opaque": 2,
    })
}

/// Reads a result with the library, and holds it against what was signed and what the program printed.
#[track_caller]
fn read(verifier: &Verifier, made: &Made, status: &str) -> Value {
    let read = accepted_at(made.at, &made.token, &verifier.keys());
    let claims = &read["claims"];
    assert_eq!(*claims, made.claims(), "nothing is lost on the library");

    assert_eq!(claims["eat_profile"], EAR_PROFILE);
    assert_eq!(claims["iat"], made.at.as_secs());
    assert_eq!(claims["exp"], made.at.as_secs() + 3600);
    let build = claims["ear_verifier_id"]["build"].as_str().unwrap();
    assert!(build.starts_with("nautilus-verifier "), "{build}");
    assert_eq!(claims["ear_status"], status);

    let submods = claims["submods"].as_object().unwrap();
    assert_eq!(submods.keys().collect::<Vec<_>>(), ["tdx"]);
    let tdx = &submods["tdx"];
    assert_eq!(tdx["ear_status"], status);
    let policy = format!("{}#{}", made.policy_name, made.policy_id);
    assert_eq!(tdx["ear_appraisal_policy_ids"], json!([policy]));

    let said = &made.report["claims"];
    let nonce = decoded(claims["eat_nonce"].as_str().unwrap());
    assert_eq!(hex::encode(nonce), said["report_data"].as_str().unwrap());
    let attester = &tdx["ear_attester_claims"];
    assert_eq!(attester["report_data"], said["report_data"]);
    assert_eq!(attester["measurements"], said["measurements"]);
    assert_eq!(attester["device"]["id"], said["device"]["id"]);
    let verifier = &tdx["ear_verifier_claims"];
    assert_eq!(verifier["evidence_id"], said["evidence_id"]);
    assert_eq!(verifier["verdict"], made.report["verdict"]);
    json!({
        "vector": tdx["ear_trustworthiness_vector"],
        "tiers": read["tiers"]["tdx"],
        "verifier": verifier,
    })
}

#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    text.replace(from, to)
}
