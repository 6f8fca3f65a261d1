//! `kill -9` of either side, while the other goes on.

use std::time::Duration;

use crate::world::{World, acknowledged};

/// Every acknowledged proof is settled once, and none twice.
fn nothing_is_lost_or_doubled(world: &World, told: &[String]) {
    let settled = world.settled();
    let mut sorted = settled.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(
        sorted.len(),
        settled.len(),
        "a proof is settled twice: {settled:?}"
    );
    for proof in told {
        assert!(
            settled.contains(proof),
            "{proof} was acknowledged and is not settled"
        );
    }
}

#[test]
fn a_verifier_that_is_killed_is_named_and_met_again() {
    let world = World::new();
    let mut verifier = world.verifier("tcp://127.0.0.1:0", &[]);
    let (address, key) = (verifier.address.clone(), verifier.key.clone());
    let mut node = world.node(&address, &key, &[]);
    for round in 0..3 {
        node.next("settled");
        // At any moment of what follows.
        std::thread::sleep(Duration::from_millis(150 * round));
        verifier.process.kill_alone();
        let warning = node.wait_for("the broken channel is named", |event| {
            event["kind"] == "warning"
                && event["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains("verifier") && !detail.starts_with("enclave"))
        });
        println!("{}", warning["detail"]);
        verifier = world.verifier(&address, &[]);
        assert_eq!(verifier.key, key);
        node.next("channel");
    }
    node.next("settled");
    node.interrupt();
    let ended = node.ended_alone();
    ended.is_orderly();
    drop(verifier);
    nothing_is_lost_or_doubled(&world, &acknowledged(&ended.events));
}

#[test]
fn a_node_that_is_killed_comes_again_with_new_evidence() {
    let world = World::new();
    let verifier = world.verifier("tcp://127.0.0.1:0", &[]);
    let mut told = Vec::new();
    for round in 0..3 {
        let mut node = world.node(&verifier.address, &verifier.key, &[]);
        node.next("channel");
        node.next("settled");
        std::thread::sleep(Duration::from_millis(130 * round));
        told.extend(acknowledged(&node.kill_alone().events));
    }
    let mut node = world.node(&verifier.address, &verifier.key, &[]);
    node.next("settled");
    node.interrupt();
    let ended = node.ended_alone();
    ended.is_orderly();
    told.extend(acknowledged(&ended.events));
    drop(verifier);
    nothing_is_lost_or_doubled(&world, &told);
}
