//! Evidence on request, and what becomes of it elsewhere.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, run};

const CHALLENGE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn attest(data: &Path, purpose: &str) -> String {
    let file = data.join(format!("{purpose}.json"));
    let file = file.to_str().unwrap();
    let data = data.to_str().unwrap();
    let ran = run([
        "attest",
        "--json",
        "--config",
        "/dev/null",
        "--type",
        purpose,
        "--challenge",
        CHALLENGE,
        "-o",
        file,
        "--data-dir",
        data,
    ]);
    let facts = ran.ends_with(0).json();
    assert_eq!(facts["challenge"], CHALLENGE);
    assert_eq!(facts["evidence_file"], file);
    file.to_owned()
}

fn verify(file: &str, data: &Path, more: &[&str]) -> Ran {
    let simulated = [
        "verify",
        file,
        "--json",
        "--dangerous-allow-simulated",
        "--data-dir",
        data.to_str().unwrap(),
    ];
    run(simulated.iter().chain(more))
}

fn failed(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    let failed = findings.iter().filter(|finding| finding["passed"] == false);
    failed.filter_map(|finding| finding["rule"].as_str()).collect()
}

#[test]
fn evidence_for_a_challenge_verifies_where_its_root_is_trusted() {
    let data = TempDir::new().unwrap();
    for purpose in ["boot", "runtime", "performance", "workload"] {
        let file = attest(data.path(), purpose);
        let report = verify(&file, data.path(), &[]).ends_with(0).json();
        assert_eq!(report["verdict"], "genuine");
        assert_eq!(report["tee"], "simulated");
        assert_eq!(report["error"], Value::Null);
        assert_eq!(report["claims"]["assurance"], "simulated");
        assert_eq!(report["claims"]["user_data"]["purpose"], purpose);
        let report_data = report["claims"]["report_data"].as_str().unwrap();
        assert_eq!(report_data[..64], *CHALLENGE);
    }
    let boot = data.path().join("boot.json");
    let ran = run(["verify", boot.to_str().unwrap(), "--json"]).ends_with(1);
    let report = ran.json();
    assert_eq!(report["verdict"], "rejected");
    assert_eq!(report["error"]["kind"], "not_accepted");
    assert_eq!(report["claims"], Value::Null);
    let people = run(["verify", boot.to_str().unwrap()]).ends_with(1);
    assert!(
        people.stdout.contains("add --dangerous-allow-simulated"),
        "what to do: {people:?}"
    );
}

#[test]
fn evidence_is_worth_nothing_under_another_root() {
    let (data, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = attest(data.path(), "boot");
    attest(elsewhere.path(), "boot");
    let report = verify(&file, elsewhere.path(), &[]).ends_with(1).json();
    assert_eq!(report["verdict"], "rejected");
    let kind = report["error"]["kind"].as_str().unwrap();
    assert!(["untrusted", "endorsement_invalid"].contains(&kind), "{report}");

    let empty = TempDir::new().unwrap();
    let told = verify(&file, empty.path(), &[]).fails_with(3);
    assert!(told.contains("run `nautilus up` first"), "{told}");
}

#[test]
fn a_policy_pins_the_program() {
    let data = TempDir::new().unwrap();
    let file = attest(data.path(), "boot");
    let genuine = verify(&file, data.path(), &[]).ends_with(0).json();
    let mrenclave = genuine["claims"]["measurements"]["mrenclave"].as_str().unwrap();
    let policy = |name: &str, mrenclave: &str, more: &str| {
        let text = format!(
            "name: pinned\n\
             assurance: {{ at_least: simulated }}\n\
             debug: {{ one_of: [false] }}\n\
             tcb_status: {{ one_of: [UpToDate] }}\n\
             advisories: {{ one_of: [] }}\n\
             tcb_evaluation: {{ ignore: {{ because: \"the simulated vendor has one\" }} }}\n\
             measurements:\n  mrenclave: {{ one_of: [\"{mrenclave}\"] }}\n\
             max_age_seconds: 3600\n{more}"
        );
        let path = data.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let judged = |policy: &str, code: i32| {
        let more = ["--policy", policy, "--challenge", CHALLENGE];
        verify(&file, data.path(), &more).ends_with(code).json()
    };
    let right = policy("right.yaml", mrenclave, "");
    let report = judged(&right, 0);
    assert_eq!(report["verdict"], "accepted");
    assert_eq!(failed(&report), Vec::<&str>::new());
    let report = verify(&file, data.path(), &["--policy", &right])
        .ends_with(1)
        .json();
    assert_eq!(
        failed(&report),
        ["binding"],
        "a challenge that nobody asked for is not fresh"
    );

    let wrong = policy("wrong.yaml", &"ab".repeat(32), "");
    let report = judged(&wrong, 1);
    assert_eq!(report["verdict"], "rejected");
    assert_eq!(failed(&report), ["measurements.mrenclave"]);
    assert_eq!(report["error"], Value::Null, "the evidence itself is genuine");

    let hardware = policy("hardware.yaml", mrenclave, "");
    let text = fs::read_to_string(&hardware)
        .unwrap()
        .replace("at_least: simulated", "at_least: hardware-enclave");
    fs::write(&hardware, text).unwrap();
    let report = judged(&hardware, 1);
    assert_eq!(failed(&report), ["assurance"]);

    let unknown = policy("unknown.yaml", mrenclave, "color: blue\n");
    let told = verify(&file, data.path(), &["--policy", &unknown]).fails_with(2);
    assert!(told.contains("color") && told.contains("unknown.yaml"), "{told}");
}

#[test]
fn evidence_counts_in_its_vendors_time_only() {
    let data = TempDir::new().unwrap();
    let file = attest(data.path(), "boot");
    for at in ["2060-01-01T00:00:00Z", "2020-01-01T00:00:00Z"] {
        let report = verify(&file, data.path(), &["--at", at]).ends_with(1).json();
        assert_eq!(report["verdict"], "rejected");
        assert_eq!(report["error"]["kind"], "endorsement_not_current", "{report}");
        assert_eq!(
            report["verified_at"].as_str().unwrap()[..10],
            at[..10],
            "the report says as of when"
        );
    }
}

#[test]
fn what_was_asked_for_must_be_there() {
    let data = TempDir::new().unwrap();
    let file = attest(data.path(), "boot");
    let genuine = verify(&file, data.path(), &[]).ends_with(0).json();
    let report_data = genuine["claims"]["report_data"].as_str().unwrap();
    verify(&file, data.path(), &["--report-data", report_data]).ends_with(0);
    let report = verify(&file, data.path(), &["--report-data", &"00".repeat(64)])
        .ends_with(1)
        .json();
    assert_eq!(report["error"]["kind"], "report_data_mismatch");
    verify(&file, data.path(), &["--challenge", CHALLENGE]).ends_with(0);
    let report = verify(&file, data.path(), &["--challenge", &"00".repeat(32)])
        .ends_with(1)
        .json();
    assert_eq!(report["error"]["kind"], "challenge_mismatch");
    // Not what a prefix of it would match.
    let report = verify(&file, data.path(), &["--report-data", &report_data[..4]])
        .ends_with(1)
        .json();
    assert_eq!(report["error"]["kind"], "report_data_mismatch");
    let told = verify(&file, data.path(), &["--report-data", "001"]).fails_with(2);
    assert!(told.contains("hex digits of 1 to 1024 bytes"), "{told}");
}

#[test]
fn a_changed_evidence_file_is_rejected() {
    let data = TempDir::new().unwrap();
    let file = attest(data.path(), "boot");
    let text = fs::read_to_string(&file).unwrap();
    let changed = data.path().join("changed.json");
    let rejected = |text: String| {
        fs::write(&changed, text).unwrap();
        let report = verify(changed.to_str().unwrap(), data.path(), &[]);
        report.ends_with(1).json()["error"]["kind"].clone()
    };
    let other = CHALLENGE.replace("00112233", "00112234");
    assert_eq!(rejected(text.replace(CHALLENGE, &other)), "challenge_mismatch");
    assert_eq!(
        rejected(text.replace("\"simulated\"", "\"tdx\"")),
        "malformed",
        "another TEE's format"
    );
    assert_eq!(rejected(text.replace("evidence/1", "evidence/9")), "malformed");
}
