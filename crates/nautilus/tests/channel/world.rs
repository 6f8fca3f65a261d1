//! Where a verifier and its nodes live.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::node::Node;
use crate::program::{command, nautilus, run};

/// A data directory that a verifier and a node share, as on one machine: the simulated platform is in it.
pub struct World {
    data: TempDir,
}

/// A verifier that runs.
pub struct Verifier {
    pub process: Node,
    pub address: String,
    pub key: String,
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            data: TempDir::new().unwrap(),
        };
        // The simulated platform is made at first use.
        let evidence = world.path().join("first.json");
        let arguments = ["attest", "--config", "/dev/null", "--tee", "simulated", "-o"];
        let mut words: Vec<_> = arguments.map(str::to_owned).into();
        words.extend([text(&evidence), "--data-dir".to_owned(), text(world.path())]);
        run(words).ends_with(0);
        world
    }

    pub fn path(&self) -> &Path {
        self.data.path()
    }

    /// Starts the verifier, and waits until it listens.
    pub fn verifier(&self, address: &str, more: &[&str]) -> Verifier {
        let mut serve = command(&nautilus());
        serve
            .args([
                "verifier",
                "serve",
                "--config",
                "/dev/null",
                "--dangerous-allow-simulated",
            ])
            .args(["--listen", address, "--data-dir"])
            .arg(self.path())
            .args(more);
        let mut process = Node::run(serve, self.path());
        let listening = process.next("listening");
        Verifier {
            process,
            address: listening["channel"].as_str().unwrap().to_owned(),
            key: listening["verifier_key"].as_str().unwrap().to_owned(),
        }
    }

    /// Starts a node that attests to a verifier at `address`, known by `key`.
    pub fn node(&self, address: &str, key: &str, more: &[&str]) -> Node {
        let mut agent = command(&nautilus());
        agent
            .args(["agent", "run", "--config", "/dev/null", "--listen", "127.0.0.1:0"])
            .args(["--tee-type", "simulated", "--interval", "250ms", "--window", "1s"])
            .args(["--attestation-url", address, "--verifier-key", key, "--data-dir"])
            .arg(self.path())
            .args(more);
        Node::run(agent, self.path())
    }

    /// Ids of the proofs that the ledger settled, in its order; what it says is replayed first.
    pub fn settled(&self) -> Vec<String> {
        let ledger = |what| {
            let data = text(self.path());
            run(["ledger", what, "--json", "--data-dir", &data])
                .ends_with(0)
                .json()
        };
        ledger("replay");
        let proofs = ledger("proofs");
        let proofs = proofs["proofs"].as_array().unwrap().iter();
        proofs
            .map(|proof| proof["proof_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Ids of the proofs that a node was told are settled.
pub fn acknowledged(events: &[Value]) -> Vec<String> {
    let settled = events.iter().filter(|event| event["kind"] == "settled");
    settled
        .map(|event| event["proof_id"].as_str().unwrap().to_owned())
        .collect()
}

pub fn text(path: &Path) -> String {
    PathBuf::from(path).into_os_string().into_string().unwrap()
}
