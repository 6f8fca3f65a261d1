//! What a node survives: being killed at any moment, and losing its enclave.

use std::collections::HashSet;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::node::{Ended, Node};
use crate::story::{each, ledger, warnings};

/// Everything that was told to be settled is in the ledger, and the ledger is whole.
fn nothing_acknowledged_is_lost(data: &Path, acknowledged: &[Value]) {
    let proofs = ledger(data, "proofs");
    let listed = each(&proofs["proofs"], "proof_id");
    for settled in acknowledged {
        assert!(
            listed.contains(&settled["proof_id"].as_str().unwrap()),
            "{settled} is lost"
        );
    }
    assert_eq!(ledger(data, "replay")["agrees"], true);
}

#[test]
fn a_killed_node_loses_nothing_that_it_acknowledged() {
    type Moment = fn(&mut Node);
    let moments: [(&str, Moment); 8] = [
        ("at once", |_| ()),
        ("in the enclave's start", |node| drop(node.next("enclave"))),
        ("after the boot attestation", |node| drop(node.next("boot"))),
        ("after the first sample", |node| drop(node.next("sample"))),
        ("after a proof, before it is settled", |node| {
            drop(node.next("proof"));
        }),
        ("right after it is settled", |node| drop(node.next("settled"))),
        ("right after the second is settled", |node| {
            node.next("settled");
            node.next("settled");
        }),
        ("after a reward", |node| drop(node.next("reward"))),
    ];
    let data = TempDir::new().unwrap();
    let mut acknowledged = Vec::new();
    let mut identity = None;
    for (moment, until) in moments {
        let mut node = Node::start(data.path(), &[]);
        until(&mut node);
        // Waits until the enclave is gone as well.
        let killed = node.kill();
        assert_eq!(killed.status.code(), None, "{moment}: {:?}", killed.status);
        acknowledged.extend(killed.of("settled").into_iter().cloned());
        nothing_acknowledged_is_lost(data.path(), &acknowledged);
        for boot in killed.of("boot") {
            let node = boot["node_id"].clone();
            assert_eq!(*identity.get_or_insert(node.clone()), node, "{moment}");
        }
    }
    assert!(acknowledged.len() >= 4, "{acknowledged:?}");

    let ended = Node::spawn(data.path(), &["--for", "1500ms"]).ended();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    acknowledged.extend(ended.of("settled").into_iter().cloned());
    nothing_acknowledged_is_lost(data.path(), &acknowledged);
    let left: Vec<_> = std::fs::read_dir(data.path().join("agent/run"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_lost_wallet_makes_no_new_node() {
    let data = TempDir::new().unwrap();
    Node::spawn(data.path(), &["--for", "10ms"]).ended().is_orderly();
    let wallet = data.path().join("agent/wallet.key");
    std::fs::remove_file(&wallet).unwrap();
    let ended = Node::spawn(data.path(), &[]).ended();
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    assert!(ended.stderr.contains("wallet.key is missing"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("restore it from a backup"),
        "{}",
        ended.stderr
    );
    assert!(!wallet.exists());
}

/// Ends the enclave that an event tells of.
fn kill_enclave(event: &Value) {
    let pid = i32::try_from(event["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_lost_enclave_is_booted_again_with_new_evidence() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let running = node.wait_for("the enclave runs", |event| event["status"] == "running");
    node.next("settled");
    node.next("sample");
    kill_enclave(&running);
    node.wait_for("the agent boots it again", |event| {
        let detail = event["detail"].as_str().unwrap_or_default();
        event["kind"] == "warning" && detail.contains("booting the enclave again")
    });
    let again = node.wait_for("the enclave runs again", |event| event["status"] == "running");
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();

    assert_ne!(running["pid"], again["pid"]);
    assert_ne!(running["boot_id"], again["boot_id"]);
    // Its keys are kept with its state.
    assert_eq!(running["tee_key"], again["tee_key"]);
    let [old, new] = ended.of("boot")[..] else {
        panic!("{:?}", ended.of("boot"))
    };
    assert_eq!(old["node_id"], new["node_id"]);
    assert_ne!(old["evidence_id"], new["evidence_id"]);
    both_boots_are_on_the_ledger(data.path(), &ended, &running, &again);
}

fn both_boots_are_on_the_ledger(data: &Path, ended: &Ended, old: &Value, new: &Value) {
    let settled: Vec<_> = ended.of("settled").into_iter().cloned().collect();
    nothing_acknowledged_is_lost(data, &settled);
    let proofs = ledger(data, "proofs");
    let boots = HashSet::from_iter(each(&proofs["proofs"], "boot"));
    let expected = [old, new].map(|event| event["boot_id"].as_str().unwrap());
    assert_eq!(boots, HashSet::from(expected));
}

#[test]
fn an_enclave_that_settles_nothing_is_given_up() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--interval", "100ms", "--window", "10s"]);
    for _ in 0..5 {
        let running = node.wait_for("the enclave runs", |event| event["status"] == "running");
        kill_enclave(&running);
    }
    let ended = node.ended();
    assert_eq!(warnings(&ended).len(), 4, "{:?}", warnings(&ended));
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let stopped = ended.only("stopped");
    assert!(
        stopped["reason"]
            .as_str()
            .unwrap()
            .contains("enclave was lost 5 times"),
        "{stopped}"
    );
    assert!(
        ended.stderr.starts_with("nautilus: enclave was lost 5 times"),
        "{}",
        ended.stderr
    );
    assert_eq!(ledger(data.path(), "replay")["agrees"], true);
}
