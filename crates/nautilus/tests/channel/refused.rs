//! Who does not get in, by name.

use std::fs;

use serde_json::Value;

use crate::node::Ended;
use crate::world::{World, text};

fn told(ended: &Ended) -> String {
    let warnings = ended.of("warning").into_iter();
    let warnings = warnings.filter_map(|event| event["detail"].as_str());
    format!("{}\n{}", ended.stderr, warnings.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_verifier_without_the_expected_key_gets_no_evidence() {
    let world = World::new();
    let verifier = world.verifier("tcp://127.0.0.1:0", &[]);
    let node = world.node(&verifier.address, &"11".repeat(32), &[]);
    let ended = node.ended_alone();
    assert_ne!(ended.status.code(), Some(0));
    let told = told(&ended);
    assert!(told.contains("is not the verifier with the key"), "{told}");
    assert!(ended.of("boot").is_empty());
    drop(verifier);
}

#[test]
fn a_node_that_moved_to_another_platform_is_not_let_in() {
    let world = World::new();
    let verifier = world.verifier("tcp://127.0.0.1:0", &[]);
    let mut node = world.node(&verifier.address, &verifier.key, &[]);
    node.next("boot");
    node.interrupt();
    node.ended_alone().is_orderly();
    verifier.process.kill_alone();

    // The registry says that the node was elsewhere.
    let registry = world.path().join("verifier/registry.json");
    let held: Value = serde_json::from_slice(&fs::read(&registry).unwrap()).unwrap();
    let device = held.to_string();
    let entry = held["nodes"].as_object().unwrap().values().next().unwrap();
    let id = entry["platform"]["device"]["id"].as_str().unwrap();
    fs::write(&registry, device.replace(id, &"ab".repeat(id.len() / 2))).unwrap();

    let verifier = world.verifier("tcp://127.0.0.1:0", &[]);
    let node = world.node(&verifier.address, &verifier.key, &[]);
    let ended = node.ended_alone();
    assert_ne!(ended.status.code(), Some(0));
    let told = told(&ended);
    assert!(told.contains("platform_changed"), "{told}");
    assert!(told.contains("registry.json"), "it says what to do: {told}");
    drop(verifier);
}

#[test]
fn a_node_that_the_policy_rejects_is_told_every_finding() {
    let world = World::new();
    let policy = world.path().join("policy.yaml");
    let first = text(&world.path().join("first.json"));
    let arguments = [
        "policy",
        "new",
        "--from",
        &first,
        "--dangerous-allow-simulated",
        "--data-dir",
    ];
    let data = text(world.path());
    let pinned = crate::program::run(arguments.into_iter().chain([data.as_str()]));
    let pinned = pinned.ends_with(0).stdout;
    // Another program than the one that runs.
    let line = pinned.lines().find(|line| line.contains("mrenclave:")).unwrap();
    let other = line.replace(|digit: char| digit.is_ascii_digit(), "0");
    assert_ne!(line, other);
    fs::write(&policy, pinned.replace(line, &other)).unwrap();
    let verifier = world.verifier("tcp://127.0.0.1:0", &["--policy", &text(&policy)]);
    let node = world.node(&verifier.address, &verifier.key, &[]);
    let ended = node.ended_alone();
    assert_eq!(ended.status.code(), Some(1), "{}", told(&ended));
    let boot = ended.only("boot");
    assert_eq!(boot["verdict"], "rejected", "{boot}");
    let findings = boot["appraisal"]["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|finding| finding["passed"] == false),
        "{boot}"
    );
    assert!(ended.of("channel").is_empty(), "no channel opens");
    drop(verifier);
}
