//! The enclave is killed at a hundred random points while the node runs.

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::node::{Ended, Node};
use crate::story::{each, ledger};

const KILLS: usize = 100;
/// A boot has about this many events before its second window is settled.
const EVENTS: u64 = 14;
/// Set to a number, the points are those of an earlier run.
const SEED: &str = "NAUTILUS_TEST_SEED";

/// Marsaglia's xorshift64: all that is wanted is that the same seed gives the same points.
struct Points(u64);

impl Points {
    fn new() -> Self {
        let seed = match std::env::var(SEED) {
            Ok(text) => text.parse().unwrap(),
            Err(_) => {
                u64::from(std::process::id()) << 32
                    | u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos())
            }
        };
        println!("{SEED}={seed} gives these points again");
        Self(seed.max(1))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Kills the enclave; one that had ended already, the agent has noticed or will.
fn kill(created: &Value) {
    let pid = i32::try_from(created["pid"].as_i64().unwrap()).unwrap();
    let _gone = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

#[test]
fn an_enclave_that_is_killed_at_any_moment_comes_again_and_nothing_counts_twice() {
    let mut points = Points::new();
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &["--interval", "100ms", "--window", "200ms"]);
    let mut settled_before = true;
    for _ in 0..KILLS {
        let created = node.wait_for("the enclave is created", |event| event["status"] == "created");
        let mut settled = false;
        // The agent gives up an enclave that settles nothing five times on end, and waits longer each time.
        if !settled_before {
            node.next("settled");
            settled = true;
        }
        for _ in 0..points.below(EVENTS) {
            settled |= node.wait_for("anything", |_| true)["kind"] == "settled";
        }
        // Not only where an event was just told.
        std::thread::sleep(Duration::from_micros(points.below(20_000)));
        kill(&created);
        settled_before = settled;
    }
    node.wait_for("the enclave runs again", |event| event["status"] == "running");
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    the_node_is_the_same(&ended);
    nothing_is_signed_twice(&ended);
    nothing_is_settled_twice(&data, &ended);
}

fn the_node_is_the_same(ended: &Ended) {
    let boots = ended.of("boot");
    let nodes: HashSet<_> = boots
        .iter()
        .map(|event| event["node_id"].as_str().unwrap())
        .collect();
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    let wallets: HashSet<_> = boots
        .iter()
        .map(|event| event["wallet"].as_str().unwrap())
        .collect();
    assert_eq!(wallets.len(), 1, "{wallets:?}");
    let evidence: HashSet<_> = boots
        .iter()
        .map(|event| event["evidence_id"].as_str().unwrap())
        .collect();
    assert_eq!(evidence.len(), boots.len(), "every boot has evidence of its own");

    let of = |status: &str| {
        let enclaves = ended.of("enclave").into_iter();
        enclaves
            .filter(|event| event["status"] == status)
            .collect::<Vec<_>>()
    };
    let created = of("created");
    assert_eq!(created.len(), KILLS + 1);
    let pids: HashSet<_> = created
        .iter()
        .map(|event| event["pid"].as_u64().unwrap())
        .collect();
    assert!(pids.len() > KILLS / 2, "{pids:?}");
    let ids: HashSet<_> = created
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 1, "it is the same enclave over all boots");
    assert_eq!(of("error").len(), KILLS, "every death is told");
    let initialized = of("initialized");
    let runs: HashSet<_> = initialized
        .iter()
        .map(|event| event["boot_id"].as_str().unwrap())
        .collect();
    assert_eq!(runs.len(), initialized.len(), "every boot has an id of its own");
    let keys: HashSet<_> = initialized
        .iter()
        .map(|event| event["tee_key"].as_str().unwrap())
        .collect();
    assert_eq!(keys.len(), 1, "its keys are kept with its state");
}

fn nothing_is_signed_twice(ended: &Ended) {
    let mut seen = HashSet::new();
    for event in ended.of("sample") {
        let place = (
            event["boot"].as_str().unwrap(),
            event["sequence"].as_u64().unwrap(),
        );
        assert!(seen.insert(place), "sample {place:?} was given twice");
    }
    assert!(seen.len() > KILLS, "{} samples", seen.len());
    let mut seen = HashSet::new();
    for event in ended.of("proof") {
        let proof = &event["proof"];
        let place = (
            proof["boot_id"].as_str().unwrap(),
            proof["sequence"].as_u64().unwrap(),
        );
        assert!(seen.insert(place), "window {place:?} was given twice");
    }
}

fn nothing_is_settled_twice(data: &TempDir, ended: &Ended) {
    let settled: Vec<_> = ended
        .of("settled")
        .iter()
        .map(|event| event["proof_id"].as_str().unwrap().to_owned())
        .collect();
    let unique: HashSet<_> = settled.iter().collect();
    assert_eq!(unique.len(), settled.len());
    let proofs = ledger(data.path(), "proofs");
    let listed = each(&proofs["proofs"], "proof_id");
    let unique: HashSet<_> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len());
    for proof in &settled {
        assert!(listed.contains(&proof.as_str()), "{proof} is lost");
    }
    let places: HashSet<_> = proofs["proofs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|proof| {
            (
                proof["boot"].as_str().unwrap(),
                proof["sequence"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(places.len(), listed.len(), "no window is settled twice");
    assert_eq!(ledger(data.path(), "replay")["agrees"], true);
}
