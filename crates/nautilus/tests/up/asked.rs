//! `nautilus agent attest`: evidence by the key that a running node really signs with.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::node::Node;
use crate::program::{Ran, run};
use crate::story::{each, ledger, warnings};

const CHALLENGE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn attest(data: &Path, more: &[&str]) -> Ran {
    let common = ["agent", "attest", "--json", "--data-dir", data.to_str().unwrap()];
    run(common.iter().chain(more))
}

fn verify(file: &Path, data: &Path, more: &[&str]) -> Ran {
    let common = [
        "verify",
        file.to_str().unwrap(),
        "--json",
        "--dangerous-allow-simulated",
        "--data-dir",
        data.to_str().unwrap(),
    ];
    run(common.iter().chain(more))
}

#[test]
fn a_running_node_answers_with_its_own_key_and_goes_on_earning() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--interval", "100ms", "--window", "400ms"]);
    let own = node.wait_for("the enclave runs", |event| event["status"] == "running");
    let file = data.path().join("evidence.json");
    let mut last = Value::Null;
    for purpose in ["boot", "runtime", "performance", "workload"] {
        let more = [
            "--type",
            purpose,
            "--challenge",
            CHALLENGE,
            "-o",
            file.to_str().unwrap(),
        ];
        let response = attest(data.path(), &more).ends_with(0).json();
        the_response_is_whole(&response);
        let report = verify(&file, data.path(), &["--challenge", CHALLENGE])
            .ends_with(0)
            .json();
        let bound = &report["claims"]["user_data"];
        assert_eq!(bound["purpose"], purpose);
        assert_eq!(bound["boot"], own["boot_id"]);
        assert_eq!(
            bound["tee_key"], own["tee_key"],
            "it is the key that signs the samples"
        );
        assert_eq!(report["claims"]["measurements"]["mrenclave"], own["image_hash"]);
        node.next("settled");
        last = response;
    }
    // The same question has the same answer, another one has not.
    let again = attest(data.path(), &["--type", "workload", "--challenge", CHALLENGE])
        .ends_with(0)
        .json();
    assert_eq!(again, last);
    let other = attest(data.path(), &["--type", "workload"]).ends_with(0).json();
    assert_ne!(other["quote"]["quote_data"], last["quote"]["quote_data"]);

    node.next("settled");
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    assert_eq!(
        ended.of("proof").len(),
        ended.of("settled").len(),
        "others' evidence costs no window"
    );
    let proofs = ledger(data.path(), "proofs");
    assert!(
        each(&proofs["proofs"], "boot")
            .iter()
            .all(|boot| *boot == own["boot_id"])
    );
    assert_eq!(ledger(data.path(), "replay")["agrees"], true);
}

fn the_response_is_whole(response: &Value) {
    assert_eq!(response["verified"], true, "{response}");
    assert!(response.get("error").is_none(), "{response}");
    assert_eq!(response["quote"]["tee_type"], "simulated");
    assert_eq!(response["quote"]["version"], "3");
    assert_eq!(response["evidence"]["format"], "nautilus-evidence/1");
    assert_eq!(response["quote"]["quote_data"], response["evidence"]["evidence"]);
    assert_eq!(response["signature"].as_str().unwrap().len(), 128);
    assert_eq!(response["measurements"]["signature"], response["signature"]);
    for field in ["subject", "issuer", "serial_number", "public_key", "certificate"] {
        assert_ne!(response["certificate"][field], "", "{field}");
    }
    let (from, until) = (&response["timestamp"], &response["expires_at"]);
    assert!(from.as_str().unwrap() < until.as_str().unwrap(), "{response}");
}

#[test]
fn user_data_is_bound_into_the_challenge() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    node.wait_for("the enclave runs", |event| event["status"] == "running");
    let file = data.path().join("evidence.json");
    let more = [
        "--challenge",
        CHALLENGE,
        "--user-data",
        "c0ffee",
        "-o",
        file.to_str().unwrap(),
    ];
    attest(data.path(), &more).ends_with(0);
    verify(&file, data.path(), &["--challenge", CHALLENGE]).ends_with(1);
    let challenge =
        nautilus_agent::attestation_service::bound_challenge(CHALLENGE.parse().unwrap(), &[0xc0, 0xff, 0xee]);
    verify(
        &file,
        data.path(),
        &["--challenge", &challenge.digest().to_string()],
    )
    .ends_with(0);
    node.interrupt();
    node.ended_soon();
}

#[test]
fn what_cannot_be_asked_is_told() {
    let data = TempDir::new().unwrap();
    let told = attest(data.path(), &[]).fails_with(3);
    assert!(told.contains("no node runs"), "{told}");
    let mut node = Node::start(data.path(), &[]);
    node.wait_for("the enclave runs", |event| event["status"] == "running");
    let told = attest(data.path(), &["--enclave", "other"]).fails_with(2);
    assert!(told.contains("there is no enclave `other`"), "{told}");
    let told = attest(data.path(), &["--policy-id", "strict"]).fails_with(2);
    assert!(
        told.contains("`strict` is not in force here") && told.contains("`development`"),
        "{told}"
    );
    attest(data.path(), &["--policy-id", "development"]).ends_with(0);
    let long = "00".repeat(4097);
    let told = attest(data.path(), &["--user-data", &long]).fails_with(2);
    assert!(told.contains("4097 bytes"), "{told}");
    node.interrupt();
    node.ended_soon().is_orderly();
}
