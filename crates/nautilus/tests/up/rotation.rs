//! Enclaves that replace their keys while the node runs.

use std::path::Path;

use nautilus_core::{PublicKey, Signature, SignedMessage as _};
use nautilus_proof::KeyRotation;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::node::{Ended, Node};
use crate::program::{Ran, finish, run, up};
use crate::story::{each, ledger, warnings};

fn rotate(data: &Path, name: &str) -> Ran {
    let data = data.to_str().unwrap();
    run(["enclave", "rotate", name, "--json", "--data-dir", data])
}

fn running(node: &mut Node) -> Value {
    node.wait_for("the node's enclave runs", |event| {
        event["status"] == "running" && event["name"] == "node"
    })
}

/// Asserts that the old key named the new one, and gives both.
fn the_old_key_signed(event: &Value) -> (String, String) {
    let rotation: KeyRotation = serde_json::from_value(event["rotation"].clone()).unwrap();
    let signature: Signature = serde_json::from_value(event["signature"].clone()).unwrap();
    assert!(rotation.is_signed_by(&rotation.retired, &signature), "{event}");
    assert!(!rotation.is_signed_by(&rotation.successor, &signature), "{event}");
    let text = |key: PublicKey| key.to_string();
    (text(rotation.retired), text(rotation.successor))
}

/// Asserts that every window that was proven was settled, each by the key of its boot, and that boots do not mix.
fn nothing_is_lost(data: &Path, ended: &Ended) {
    assert_eq!(ended.of("proof").len(), ended.of("settled").len());
    let proofs = ledger(data, "proofs");
    assert_eq!(
        proofs["proofs"].as_array().unwrap().len(),
        ended.of("settled").len()
    );
    let mut boots = each(&proofs["proofs"], "boot");
    boots.dedup();
    let rotations = ended.of("rotated");
    let own = rotations.iter().filter(|event| event["name"] == "node");
    for event in own {
        let boot = event["rotation"]["boot"].as_str().unwrap();
        assert!(
            boots.iter().filter(|other| **other == boot).count() <= 1,
            "a boot's windows are not in a row: {boots:?}"
        );
    }
    assert_eq!(ledger(data, "replay")["agrees"], true);
}

#[test]
fn rotation_on_demand_settles_the_old_boot_and_goes_on_in_a_new_one() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--interval", "100ms", "--window", "400ms"]);
    let own = running(&mut node);
    node.next("settled");
    node.next("sample");
    let now = rotate(data.path(), "node").ends_with(0).json();
    assert_eq!(
        (&now["name"], &now["status"]),
        (&"node".into(), &"running".into())
    );
    let event = node.next("rotated");
    let (retired, successor) = the_old_key_signed(&event);
    assert_eq!(own["tee_key"], *retired);
    assert_eq!(now["tee_key"], *successor);
    assert_eq!(now["boot_id"], event["rotation"]["boot"]);
    assert_ne!(now["boot_id"], own["boot_id"]);
    assert_eq!(
        (&now["id"], &now["pid"]),
        (&own["id"], &own["pid"]),
        "the same process"
    );
    assert_eq!(now["performance_data"]["restarts"], 0);
    assert!(
        !now["last_attestation"].is_null() && !now["measurements"].is_null(),
        "{now}"
    );

    let proof = node.next("proof");
    assert_eq!(proof["proof"]["boot_id"], now["boot_id"], "{proof}");
    assert_eq!(proof["proof"]["sequence"], 0);
    node.next("settled");

    let told = rotate(data.path(), "nobody").fails_with(2);
    assert!(told.contains("there is no enclave `nobody`"), "{told}");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    nothing_is_lost(data.path(), &ended);
    let states: Vec<_> = ended
        .of("enclave")
        .iter()
        .map(|event| event["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        [
            "created",
            "initialized",
            "attested",
            "running",
            "initialized",
            "attested",
            "running",
            "terminated"
        ]
    );
    let reason = ended.of("enclave")[4]["reason"].as_str().unwrap();
    assert_eq!(reason, format!("its keys were rotated; {retired} signs no more"));
    let place = |wanted: &dyn Fn(&Value) -> bool| ended.events.iter().position(wanted).unwrap();
    let rotated = place(&|event| event["kind"] == "rotated");
    let of = |kind: &str, events: &[Value]| events.iter().filter(|event| event["kind"] == kind).count();
    let before = &ended.events[..rotated];
    assert_eq!(
        of("proof", before),
        of("settled", before),
        "what the old key signed is settled before it is gone"
    );
    let samples: u64 = ended
        .of("proof")
        .iter()
        .flat_map(|event| event["proof"]["batches"].as_array().unwrap())
        .map(|batch| batch["samples"].as_array().unwrap().len() as u64)
        .sum();
    assert_eq!(
        samples,
        ended.of("sample").len() as u64,
        "every sample is in a window"
    );
    // Both boots were attested, and the ledger rewards both.
    assert_eq!(ended.of("boot").len(), 2);
    let proofs = ledger(data.path(), "proofs");
    let boots = each(&proofs["proofs"], "boot");
    assert!(boots.contains(&own["boot_id"].as_str().unwrap()), "{boots:?}");
    assert!(boots.contains(&now["boot_id"].as_str().unwrap()), "{boots:?}");
}

#[test]
fn rotation_of_a_suspended_node_waits_for_its_resumption() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let own = running(&mut node);
    let common = ["--data-dir", data.path().to_str().unwrap()];
    let enclave = |word: &str| run(["enclave", word, "node"].iter().chain(&common));
    enclave("suspend").ends_with(0);
    let told = rotate(data.path(), "node").fails_with(3);
    assert!(told.contains("enclave `node` is suspended"), "{told}");
    enclave("resume").ends_with(0);
    let now = rotate(data.path(), "node").ends_with(0).json();
    assert_ne!(now["tee_key"], own["tee_key"]);
    node.interrupt();
    node.ended_soon().is_orderly();
}

#[test]
fn rotation_by_schedule_comes_by_itself_and_again() {
    let data = TempDir::new().unwrap();
    let pace = [
        "--interval",
        "100ms",
        "--window",
        "400ms",
        "--rotate-keys-every",
        "2s",
    ];
    let mut node = Node::start(data.path(), &pace);
    let own = running(&mut node);
    let (first, second) = (node.next("rotated"), node.next("rotated"));
    let (retired, successor) = the_old_key_signed(&first);
    assert_eq!(own["tee_key"], *retired);
    assert_eq!(
        the_old_key_signed(&second).0,
        successor,
        "one key follows the other"
    );
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    nothing_is_lost(data.path(), &ended);

    let more = ["--rotate-keys-every", "10ms"];
    let told = finish(up(data.path(), &more), b"").fails_with(2);
    assert!(told.contains("give 1s or more"), "{told}");
}

#[test]
fn rotation_survives_the_end_of_the_process() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    running(&mut node);
    let rotated = rotate(data.path(), "node").ends_with(0).json();
    let pid = i32::try_from(rotated["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    node.wait_for("it failed", |event| event["status"] == "error");
    let again = running(&mut node);
    assert_eq!(
        again["tee_key"], rotated["tee_key"],
        "the old key does not come back"
    );
    assert_ne!(again["boot_id"], rotated["boot_id"]);
    node.next("settled");
    node.interrupt();
    node.ended_soon().is_orderly();
}

#[test]
fn rotation_of_a_workloads_enclave_leaves_the_node_alone() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--rotate-keys-every", "1h"]);
    let own = running(&mut node);
    let common = ["--json", "--data-dir", data.path().to_str().unwrap()];
    let enclave = |words: &[&str]| run(["enclave"].iter().chain(words).chain(&common));
    let made = enclave(&["create", "job"]).ends_with(0).json();
    let now = rotate(data.path(), "job").ends_with(0).json();
    assert_eq!((&now["name"], &now["status"]), (&"job".into(), &"running".into()));
    assert_ne!(now["boot_id"], made["boot_id"]);
    assert!(!now["last_attestation"].is_null(), "it is attested anew: {now}");
    let event = node.next("rotated");
    assert_eq!(event["name"], "job");
    let (retired, successor) = the_old_key_signed(&event);
    assert_eq!(
        (&made["tee_key"], &now["tee_key"]),
        (&retired.into(), &successor.into())
    );
    enclave(&["suspend", "job"]).ends_with(0);
    let told = rotate(data.path(), "job").fails_with(3);
    assert!(told.contains("enclave `job` is suspended"), "{told}");
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    let proofs = ledger(data.path(), "proofs");
    assert!(
        each(&proofs["proofs"], "boot")
            .iter()
            .all(|boot| *boot == own["boot_id"]),
        "the node's own boot goes on"
    );
}

#[test]
fn rotation_and_evidence_for_others_do_not_mix() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--interval", "100ms", "--window", "400ms"]);
    let mut now = running(&mut node);
    let path = data.path().to_str().unwrap();
    let file = data.path().join("evidence.json");
    let file = file.to_str().unwrap();
    let challenge = "ab".repeat(32);
    // The same question before and after: the kept answer is that of the old boot.
    for _ in 0..2 {
        let asked = [
            "agent",
            "attest",
            "--challenge",
            &challenge,
            "-o",
            file,
            "--data-dir",
            path,
        ];
        run(asked).ends_with(0);
        let verify = [
            "verify",
            file,
            "--json",
            "--dangerous-allow-simulated",
            "--data-dir",
            path,
        ];
        let bound = &run(verify).ends_with(0).json()["claims"]["user_data"];
        assert_eq!(
            (&bound["tee_key"], &bound["boot"]),
            (&now["tee_key"], &now["boot_id"])
        );
        now = rotate(data.path(), "node").ends_with(0).json();
    }
    // Others ask all the while.
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            for _ in 0..20 {
                let ran = run(["agent", "attest", "--data-dir", path]);
                let not_now = ran.stderr.contains("is initialized: wait until it runs");
                assert!(ran.code == 0 || not_now, "{ran:?}");
            }
        });
        for _ in 0..3 {
            rotate(data.path(), "node").ends_with(0);
        }
        asking.join().unwrap();
    });
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    assert_eq!(ended.of("rotated").len(), 5);
    nothing_is_lost(data.path(), &ended);
}
