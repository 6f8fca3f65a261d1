//! What a node does when nothing goes wrong: boot, attest, sample, prove, settle, stop; and the same node again.

use std::fs;
use std::path::Path;

use nautilus_core::UnixMillis;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{Ended, Node, kinds, processes_of};
use crate::program::{finish, run, run_with_input, up};

/// What one of the ledger's commands says.
pub fn ledger(data: &Path, what: &str) -> Value {
    let ran = run(["ledger", what, "--json", "--data-dir", data.to_str().unwrap()]);
    ran.ends_with(0).json()
}

/// A field of every entry in a list.
pub fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| entry[field].as_str().unwrap()).collect()
}

fn accrued(data: &Path) -> u64 {
    let rewards = ledger(data, "rewards");
    let rewards = rewards["rewards"].as_array().unwrap();
    assert_eq!(rewards.len(), 1, "{rewards:?}");
    assert_eq!(rewards[0]["claimed"], 0);
    rewards[0]["accrued"].as_u64().unwrap()
}

/// What was warned of, besides what an enclave says of its own accord: that nothing real protects its state here, and
/// what the kernel does not let it do without.
pub fn warnings(ended: &Ended) -> Vec<&str> {
    let details = ended.of("warning").into_iter();
    details
        .map(|event| event["detail"].as_str().unwrap())
        .filter(|detail| !detail.starts_with("enclave `"))
        .collect()
}

/// Where the first event is of which `wanted` holds.
fn place(ended: &Ended, what: &str, wanted: impl Fn(&Value) -> bool) -> usize {
    ended
        .events
        .iter()
        .position(wanted)
        .unwrap_or_else(|| panic!("{what} is not among {:?}", kinds(&ended.events)))
}

#[test]
fn a_node_does_its_job_from_boot_to_reward() {
    let data = TempDir::new().unwrap();
    let ended = Node::spawn(data.path(), &["--for", "4500ms"]).ended();
    ended.is_orderly();
    assert_eq!(ended.only("stopped")["reason"], "--for 4.5s is over");
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    for event in &ended.events {
        let at = event["at"].as_str().unwrap();
        at.parse::<UnixMillis>()
            .unwrap_or_else(|error| panic!("{error}: {event}"));
    }
    in_a_sensible_order(&ended);
    the_tees_are_judged(&ended);
    the_boot_says_every_finding(&ended);
    every_proof_is_settled_and_rewarded(&ended);
    every_proof_verifies_elsewhere(data.path(), &ended);
    the_ledger_agrees(data.path(), &ended);
    assert_eq!(processes_of(data.path()), Vec::<String>::new());
    let left: Vec<_> = fs::read_dir(data.path().join("agent/run")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn in_a_sensible_order(ended: &Ended) {
    assert_eq!(kinds(&ended.events)[..2], ["listening", "detect"]);
    let states: Vec<_> = ended
        .of("enclave")
        .iter()
        .map(|event| event["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        ["created", "initialized", "attested", "running", "terminated"]
    );
    let state = |state: &'static str| place(ended, state, move |event| event["status"] == state);
    let kind = |kind: &'static str| place(ended, kind, move |event| event["kind"] == kind);
    let order = [
        kind("detect"),
        state("created"),
        state("initialized"),
        kind("boot"),
        state("attested"),
        state("running"),
        kind("sample"),
        kind("batch"),
        kind("proof"),
        kind("settled"),
        kind("reward"),
        state("terminated"),
        kind("stopped"),
    ];
    assert!(order.is_sorted(), "{order:?} in {:?}", kinds(&ended.events));
    let enclave = ended.of("enclave");
    let last = enclave.last().unwrap();
    for (index, event) in enclave.iter().enumerate() {
        assert_eq!(event["pid"], last["pid"]);
        assert_eq!(event["tee_type"], "simulated");
        assert_eq!(event.get("tee_key").is_some(), index > 0, "{event}");
    }
    for (number, event) in ended.of("sample").iter().enumerate() {
        assert_eq!(event["sequence"], number);
        assert_eq!(event["boot"], last["boot_id"]);
        assert!(event["measurement"]["metrics"].is_object(), "{event}");
        assert_eq!(event["measurement"]["gaps"], json!([]));
    }
    // Every sample is signed, with those that came since the last signature.
    let mut signed = 0;
    for batch in ended.of("batch") {
        assert_eq!(batch["first"], signed);
        signed += batch["count"].as_u64().unwrap();
        assert_eq!(batch["signature"].as_str().unwrap().len(), 128);
    }
    assert_eq!(signed, ended.of("sample").len() as u64);
}

fn the_tees_are_judged(ended: &Ended) {
    let detect = ended.only("detect");
    assert_eq!(detect["chosen"], "simulated");
    let reason = detect["reason"].as_str().unwrap();
    assert!(
        reason.contains("proves nothing about this machine"),
        "a simulated TEE is never passed off as another: {reason}"
    );
    let tees = detect["tees"].as_array().unwrap();
    assert!(tees.len() >= 6, "{tees:?}");
}

fn the_boot_says_every_finding(ended: &Ended) {
    let boot = ended.only("boot");
    assert_eq!(boot["verdict"], "accepted");
    assert_eq!(boot["assurance"], "simulated");
    let findings = boot["appraisal"]["findings"].as_array().unwrap();
    for rule in [
        "assurance",
        "debug",
        "tcb_status",
        "advisories",
        "tcb_evaluation",
        "binding",
        "measurements.mrenclave",
        "measurements.mrsigner",
        "code",
    ] {
        let finding = findings
            .iter()
            .find(|finding| finding["rule"] == rule)
            .unwrap_or_else(|| panic!("no finding of {rule}: {findings:?}"));
        assert_eq!(finding["passed"], true, "{finding}");
        assert!(!finding["detail"].as_str().unwrap().is_empty());
    }
    let claims = &boot["appraisal"]["claims"];
    let image = &ended.of("enclave")[0]["image_hash"];
    assert_eq!(claims["measurements"]["mrenclave"], *image);
    assert_eq!(claims["user_data"]["tee_key"], ended.of("enclave")[1]["tee_key"]);
}

fn every_proof_is_settled_and_rewarded(ended: &Ended) {
    let (proofs, settled, rewards) = (ended.of("proof"), ended.of("settled"), ended.of("reward"));
    assert!(settled.len() >= 2, "{} windows settled", settled.len());
    assert_eq!((proofs.len(), settled.len()), (settled.len(), rewards.len()));
    let mut accrued = 0;
    for (number, ((proof, settled), reward)) in proofs.iter().zip(&settled).zip(&rewards).enumerate() {
        let (checks, proof) = (proof["checks"].as_array().unwrap(), &proof["proof"]);
        assert_eq!(checks.len(), 9);
        assert!(checks.iter().all(|check| check["passed"] == true), "{checks:?}");
        assert_eq!(proof["sequence"], number);
        assert_eq!(settled["sequence"], number);
        assert_eq!(settled["proof_id"], proof["proof_id"]);
        assert_eq!(reward["proof_id"], proof["proof_id"]);
        assert_eq!(reward["wallet"], proof["wallet"]);
        assert_eq!(
            proof["attestation_hash"],
            ended.only("boot")["evidence_id"],
            "a proof names the evidence"
        );
        let amount = reward["amount"].as_u64().unwrap();
        assert!(amount > 0, "{reward}");
        accrued += amount;
        assert_eq!(reward["accrued"], accrued);
    }
    let samples: usize = proofs
        .iter()
        .flat_map(|proof| proof["proof"]["batches"].as_array().unwrap())
        .map(|batch| batch["samples"].as_array().unwrap().len())
        .sum();
    assert_eq!(samples, ended.of("sample").len(), "every sample is proven");
    let seamless = proofs
        .windows(2)
        .all(|pair| pair[0]["proof"]["time_range"]["end"] == pair[1]["proof"]["time_range"]["start"]);
    assert!(seamless, "windows follow each other without a gap");
}

fn every_proof_verifies_elsewhere(data: &Path, ended: &Ended) {
    let evidence = ended.only("boot")["evidence_file"].as_str().unwrap();
    let data = data.to_str().unwrap();
    let with_evidence = [
        "proof",
        "verify",
        "-",
        "--json",
        "--evidence",
        evidence,
        "--dangerous-allow-simulated",
        "--data-dir",
        data,
    ];
    let proofs = ended.of("proof");
    for line in &proofs {
        let report = run_with_input(["proof", "verify", "-", "--json"], line.to_string().as_bytes());
        let report = report.ends_with(0).json();
        assert_eq!(
            report["verdict"], "consistent",
            "nobody vouches for its key yet: {report}"
        );
        assert_eq!(report["findings"][9]["checked"], false, "{report}");
        assert_eq!(report["proof_id"], line["proof"]["proof_id"]);
        let report = run_with_input(with_evidence, line.to_string().as_bytes())
            .ends_with(0)
            .json();
        assert_eq!(report["verdict"], "genuine", "{report}");
        let rules = each(&report["findings"], "rule");
        for rule in [
            "tee signature",
            "attestation hash",
            "attested key",
            "attested boot",
            "assurance",
        ] {
            assert!(rules.contains(&rule), "{report}");
        }
    }
    // Bare proofs, several at once, and one that is not as it was.
    let mut bare: String = proofs.iter().map(|line| format!("{}\n", line["proof"])).collect();
    run_with_input(["proof", "verify", "-"], bare.as_bytes()).ends_with(0);
    let mut spoilt = proofs[0]["proof"].clone();
    spoilt["batches"][0]["signature"] = "00".repeat(64).into();
    bare.push_str(&spoilt.to_string());
    let ran = run_with_input(["proof", "verify", "-"], bare.as_bytes()).ends_with(1);
    assert_eq!(ran.stdout.matches("rejected proof").count(), 1, "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("FAIL sample_signature_invalid: signature of the batch from sample 0 on"),
        "{}",
        ran.stdout
    );
    // The evidence of a simulated TEE counts for nothing unless one says so.
    let unwilling = ["proof", "verify", "-", "--evidence", evidence];
    let told = run_with_input(unwilling, proofs[0].to_string().as_bytes()).fails_with(1);
    assert!(told.contains("simulated"), "{told}");
}

fn the_ledger_agrees(data: &Path, ended: &Ended) {
    let earned = ended.only("stopped")["reward"].as_u64().unwrap();
    assert_eq!(accrued(data), earned);
    let settled: Vec<_> = ended
        .of("settled")
        .iter()
        .map(|event| event["proof_id"].as_str().unwrap())
        .collect();
    assert_eq!(each(&ledger(data, "proofs")["proofs"], "proof_id"), settled);
    let (replayed, status) = (ledger(data, "replay"), ledger(data, "status"));
    assert_eq!(replayed["agrees"], true);
    assert_eq!(replayed["state_digest"], status["state_digest"]);
    assert_eq!(replayed["tip"]["height"], status["height"]);
    let last = ended.of("settled").last().copied().unwrap();
    assert_eq!(status["height"], last["height"]);
    assert_eq!(status["tip"], last["entry"]);
    let nodes = ledger(data, "nodes");
    assert_eq!(nodes["nodes"][0]["node"], ended.only("boot")["node_id"]);
}

#[test]
fn people_read_a_line_a_stage() {
    let data = TempDir::new().unwrap();
    let pace = ["--for", "2s", "--interval", "250ms", "--window", "1s"];
    let ran = finish(up(data.path(), &pace), b"").ends_with(0);
    assert_eq!(ran.stderr, "");
    let mut last = 0;
    for stage in [
        "page     http://127.0.0.1:",
        "detect   ",
        "enclave  `node` created: process ",
        "enclave  `node` initialized: boot ",
        "boot     accepted by policy `development`: assurance simulated, node ",
        "         ok   measurements.mrenclave: ",
        "enclave  `node` attested",
        "enclave  `node` running: samples are signed inside",
        "sample   0: cpu ",
        "batch    samples 0 to ",
        "proof    0: ",
        "settled  0: at height ",
        "reward   ",
        "enclave  `node` terminated",
        "stopped  --for 2s is over; ",
    ] {
        let at = ran
            .stdout
            .lines()
            .position(|line| line.starts_with(stage))
            .unwrap_or_else(|| panic!("no line starts with {stage:?}: {}", ran.stdout));
        assert!(at >= last, "{stage:?} comes too early: {}", ran.stdout);
        last = at;
    }
    assert_eq!(last + 1, ran.stdout.lines().count(), "{}", ran.stdout);
    assert!(!ran.stdout.contains("FAIL"), "{}", ran.stdout);
}

/// Stops a node in the middle of a window, and looks that this window is settled all the same.
fn stopped_by(stop: impl FnOnce(&Node), reason: &str) {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let settled = node.next("settled");
    node.next("sample");
    stop(&node);
    let ended = node.ended_soon();
    ended.is_orderly();
    assert_eq!(ended.only("stopped")["reason"], reason);
    assert_eq!(ended.of("enclave").last().unwrap()["status"], "terminated");
    let last = ended.of("settled").last().copied().unwrap();
    assert!(
        last["sequence"].as_u64() > settled["sequence"].as_u64(),
        "the last window is settled: {last}"
    );
    assert_eq!(
        last["proof_id"],
        ended.of("proof").last().unwrap()["proof"]["proof_id"]
    );
    the_ledger_agrees(data.path(), &ended);
}

#[test]
fn ctrl_c_settles_the_last_window() {
    stopped_by(Node::interrupt, "interrupted");
}

#[test]
fn sigterm_settles_the_last_window() {
    stopped_by(|node| node.signal(Signal::TERM), "terminated");
}

#[test]
fn ctrl_c_before_the_first_sample_ends_it_too() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--interval", "10s", "--window", "20s"]);
    node.wait_for("the enclave runs", |event| event["status"] == "running");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert_eq!(ended.only("stopped")["settled"], 0);
    assert_eq!(ledger(data.path(), "replay")["agrees"], true);
}

#[test]
fn a_second_run_is_the_same_node_with_the_same_ledger() {
    let data = TempDir::new().unwrap();
    let key = |data: &Path| fs::read(data.join("verifier/verifier.key")).unwrap();
    let first = Node::spawn(data.path(), &["--for", "2s"]).ended();
    first.is_orderly();
    let (height, verifier) = (ledger(data.path(), "status")["height"].clone(), key(data.path()));
    let before = accrued(data.path());

    let second = Node::spawn(data.path(), &["--for", "2s"]).ended();
    second.is_orderly();
    assert!(warnings(&second).is_empty(), "{:?}", warnings(&second));
    let (old, new) = (first.only("boot"), second.only("boot"));
    for same in ["node_id", "wallet"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert_ne!(old["evidence_id"], new["evidence_id"]);
    let boot = |ended: &Ended| ended.of("enclave")[1]["boot_id"].clone();
    assert_ne!(boot(&first), boot(&second), "a restart is a new boot");
    assert_eq!(key(data.path()), verifier);
    let settled = second.of("settled");
    assert_eq!(settled[0]["sequence"], 0, "a boot numbers its windows from 0");
    assert!(
        settled[0]["height"].as_u64() > height.as_u64(),
        "the ledger goes on: {}",
        settled[0]
    );
    let earned = second.only("stopped")["reward"].as_u64().unwrap();
    assert!(earned > 0);
    assert_eq!(accrued(data.path()), before + earned);
    assert_eq!(second.of("reward").last().unwrap()["accrued"], before + earned);
    assert_eq!(ledger(data.path(), "replay")["agrees"], true);
}

#[test]
fn a_second_node_in_the_same_directory_is_refused() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let told = finish(up(data.path(), &["--for", "5s"]), b"").fails_with(3);
    assert!(told.contains("in use by another agent"), "{told}");
    assert!(told.contains("another --data-dir"), "what to do: {told}");
    // The first one is none the worse for it.
    node.next("settled");
    node.interrupt();
    node.ended_soon().is_orderly();
}

/// Whoever reaches the port and sends the node's own words again, or almost, gets nowhere.
#[test]
fn a_stranger_at_the_api_changes_nothing() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let url = node.url();
    let boot = node.next("boot");
    let proof = node.next("proof")["proof"].clone();
    node.next("settled");
    let evidence = fs::read_to_string(boot["evidence_file"].as_str().unwrap()).unwrap();
    let evidence: Value = serde_json::from_str(&evidence).unwrap();
    let replayed = json!({ "evidence": evidence, "seal_signature": proof["seal_signature"] }).to_string();
    let mut spoilt = proof.clone();
    spoilt["batches"][0]["samples"][0]["measurement"]["metrics"]["process_count"] = 0.into();

    // A refusal in the middle of a body ends the connection.
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_idle_connections(0)
        .build();
    let client: ureq::Agent = config.into();
    let post = |path: &str, body: &[u8]| {
        let mut answer = client.post(format!("{url}{path}")).send(body).unwrap();
        let error: Value = serde_json::from_slice(&answer.body_mut().read_to_vec().unwrap()).unwrap();
        (
            answer.status().as_u16(),
            error["kind"].as_str().unwrap().to_owned(),
        )
    };
    // What is asked of a verifier goes through the channel: there is no second way in.
    for (path, body, status, kind) in [
        ("v1/proofs", proof.to_string().as_bytes(), 404, "not_found"),
        ("v1/proofs", spoilt.to_string().as_bytes(), 404, "not_found"),
        ("v1/attestations", replayed.as_bytes(), 404, "not_found"),
        ("v1/nodes", b"{}", 404, "not_found"),
        ("v1/challenges", b"{}", 404, "not_found"),
        ("v1/secrets", b"{}", 404, "not_found"),
        ("v1/verifier", b"{}", 405, "method_not_allowed"),
        ("v1/rewards", b"{}", 404, "not_found"),
    ] {
        assert_eq!(post(path, body), (status, kind.to_owned()), "{path}");
    }
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    the_ledger_agrees(data.path(), &ended);
}

#[test]
fn an_address_in_use_is_refused_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = TempDir::new().unwrap();
    let up = up(data.path(), &["--for", "5s", "--listen", &address]);
    let told = finish(up, b"").fails_with(3);
    assert!(told.contains(&address) && told.contains("--listen"), "{told}");
}
