//! `nautilus enclave`: what a person does with the enclaves of a running node.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::node::{Node, processes_of};
use crate::program::{Ran, run};
use crate::story::{each, ledger, warnings};

fn enclave(data: &Path, words: &[&str]) -> Ran {
    let common = ["--json", "--data-dir", data.to_str().unwrap()];
    run(["enclave"].iter().chain(words).chain(&common))
}

fn list(data: &Path) -> Vec<Value> {
    let listed = enclave(data, &["list"]).ends_with(0).json();
    listed["enclaves"].as_array().unwrap().clone()
}

fn status(data: &Path, name: &str) -> Option<String> {
    let found = list(data).into_iter().find(|enclave| enclave["name"] == name)?;
    Some(found["status"].as_str().unwrap().to_owned())
}

fn running(node: &mut Node) -> Value {
    node.wait_for("the node's enclave runs", |event| {
        event["status"] == "running" && event["name"] == "node"
    })
}

#[test]
fn an_enclave_is_created_listed_suspended_resumed_and_terminated() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let own = running(&mut node);
    let made = enclave(data.path(), &["create", "job"]).ends_with(0).json();
    assert_eq!(
        (&made["name"], &made["status"]),
        (&"job".into(), &"running".into())
    );
    assert_eq!(made["tee_type"], "simulated");
    // What the specification says of an enclave.
    for field in [
        "id",
        "tee_type",
        "image",
        "status",
        "created_at",
        "last_attestation",
        "measurements",
        "secure_channel",
        "performance_data",
    ] {
        assert!(!made[field].is_null(), "{field}: {made}");
    }
    let measured = &made["measurements"];
    for field in [
        "mrenclave",
        "mrsigner",
        "pcr_values",
        "hash_chain",
        "attributes",
        "timestamp",
        "signature",
    ] {
        assert!(!measured[field].is_null(), "{field}: {measured}");
    }
    assert_eq!(
        measured["mrenclave"], made["image_hash"],
        "what runs is what was started"
    );
    for field in ["id", "pid", "boot_id", "tee_key"] {
        assert_ne!(made[field], own[field], "{field}");
    }

    let told = enclave(data.path(), &["create", "job"]).fails_with(2);
    assert!(told.contains("`job` is there already"), "{told}");
    let told = enclave(data.path(), &["create", "node"]).fails_with(2);
    assert!(told.contains("`node` is there already"), "{told}");
    let told = enclave(data.path(), &["create", "../job"]).fails_with(2);
    assert!(told.contains("cannot be the name of an enclave"), "{told}");
    assert_eq!(each(&list(data.path()).into(), "name"), ["job", "node"]);

    let told = enclave(data.path(), &["resume", "job"]).fails_with(2);
    assert!(told.contains("is running cannot become running"), "{told}");
    enclave(data.path(), &["suspend", "job"]).ends_with(0);
    assert_eq!(status(data.path(), "job").as_deref(), Some("suspended"));
    let told = enclave(data.path(), &["suspend", "job"]).fails_with(2);
    assert!(told.contains("is suspended cannot become suspended"), "{told}");
    let resumed = enclave(data.path(), &["resume", "job"]).ends_with(0).json();
    assert_eq!(resumed["boot_id"], made["boot_id"]);
    let ended = enclave(data.path(), &["terminate", "job"]).ends_with(0).json();
    assert_eq!(ended["status"], "terminated");
    assert_eq!(each(&list(data.path()).into(), "name"), ["node"]);
    let told = enclave(data.path(), &["suspend", "job"]).fails_with(2);
    assert!(told.contains("there is no enclave `job`"), "{told}");
    // The name is free, and the sealed state is the same enclave's.
    let again = enclave(data.path(), &["create", "job"]).ends_with(0).json();
    assert_ne!((&again["id"], &again["boot_id"]), (&made["id"], &made["boot_id"]));
    assert_eq!(again["tee_key"], made["tee_key"]);

    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    assert_eq!(processes_of(data.path()), Vec::<String>::new());
    let states: Vec<_> = ended
        .of("enclave")
        .iter()
        .filter(|event| event["name"] == "job" && event["id"] == made["id"])
        .map(|event| event["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        [
            "created",
            "initialized",
            "attested",
            "running",
            "suspended",
            "running",
            "terminated"
        ]
    );
    // The ledger knows one boot of this node.
    let proofs = ledger(data.path(), "proofs");
    assert!(
        each(&proofs["proofs"], "boot")
            .iter()
            .all(|boot| *boot == own["boot_id"])
    );
    let told = enclave(data.path(), &["list"]).fails_with(3);
    assert!(told.contains("no node runs"), "{told}");
}

#[test]
fn a_suspended_node_signs_nothing_and_goes_on_in_the_same_boot() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--interval", "100ms", "--window", "400ms"]);
    let own = running(&mut node);
    node.next("sample");
    enclave(data.path(), &["suspend", "node"]).ends_with(0);
    node.wait_for("it is suspended", |event| event["status"] == "suspended");
    let vitals = |data: &Path| list(data)[0]["performance_data"]["windows"].clone();
    let before = vitals(data.path());
    let told = run(["agent", "attest", "--data-dir", data.path().to_str().unwrap()]).fails_with(3);
    assert!(told.contains("enclave `node` is suspended"), "{told}");
    assert_eq!(vitals(data.path()), before);
    let resumed = enclave(data.path(), &["resume", "node"]).ends_with(0).json();
    assert_eq!(resumed["boot_id"], own["boot_id"]);
    node.next("settled");
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    let at = |wanted: &str| {
        ended
            .events
            .iter()
            .position(|event| event["status"] == wanted)
            .unwrap()
    };
    let asleep = &ended.events[at("suspended")..];
    let awake = asleep
        .iter()
        .position(|event| event["status"] == "running")
        .unwrap();
    assert!(
        asleep[..awake]
            .iter()
            .all(|event| event["kind"] != "sample" && event["kind"] != "proof"),
        "{asleep:?}"
    );
    assert_eq!(ended.of("boot").len(), 1);
    let proofs = ledger(data.path(), "proofs");
    assert!(
        each(&proofs["proofs"], "boot")
            .iter()
            .all(|boot| *boot == own["boot_id"])
    );
    assert_eq!(ledger(data.path(), "replay")["agrees"], true);
}

#[test]
fn a_node_that_was_suspended_stays_so_in_its_next_boot() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let own = running(&mut node);
    enclave(data.path(), &["suspend", "node"]).ends_with(0);
    let pid = i32::try_from(own["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    node.wait_for("it failed", |event| event["status"] == "error");
    let again = node.wait_for("it sleeps again", |event| event["status"] == "suspended");
    assert_ne!(own["boot_id"], again["boot_id"]);
    enclave(data.path(), &["resume", "node"]).ends_with(0);
    node.next("settled");
    node.interrupt();
    node.ended_soon().is_orderly();
}

#[test]
fn the_nodes_own_enclave_is_terminated_by_force_alone_and_the_node_ends_in_order() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    node.next("sample");
    let told = enclave(data.path(), &["terminate", "node"]).fails_with(2);
    assert!(told.contains("add --force"), "{told}");
    node.next("sample");
    let ended = enclave(data.path(), &["terminate", "node", "--force"])
        .ends_with(0)
        .json();
    assert_eq!(ended["status"], "terminated");
    let ended = node.ended_soon();
    ended.is_orderly();
    assert_eq!(
        ended.only("stopped")["reason"],
        "the node's enclave was terminated"
    );
    assert_eq!(ended.of("proof").len(), ended.of("settled").len());
    assert!(!ended.of("proof").is_empty(), "what was sampled is proven");
}

#[test]
fn a_lost_enclave_of_a_workload_comes_again() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    running(&mut node);
    let made = enclave(data.path(), &["create", "job"]).ends_with(0).json();
    let pid = i32::try_from(made["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let failed = node.wait_for("it failed", |event| {
        event["name"] == "job" && event["status"] == "error"
    });
    assert!(
        failed["reason"].as_str().unwrap().contains("signal: 9"),
        "{failed}"
    );
    let again = node.wait_for("it runs again", |event| {
        event["name"] == "job" && event["status"] == "running"
    });
    assert_eq!(again["id"], made["id"]);
    assert_ne!(again["boot_id"], made["boot_id"]);
    let listed = list(data.path());
    assert_eq!(listed[0]["performance_data"]["restarts"], 1);
    node.next("settled");
    node.interrupt();
    node.ended_soon().is_orderly();
}

#[test]
fn the_control_socket_is_its_owners_alone() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    running(&mut node);
    let socket = data.path().join("agent/run/control.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        data.path()
            .join("agent/run")
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    node.interrupt();
    node.ended_soon().is_orderly();
    assert!(!socket.exists());
}
