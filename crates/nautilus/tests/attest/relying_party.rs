//! Both ends of a round trip, as people run them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fake_machine::Machine;
use crate::program::{Ran, run};

pub const CHALLENGE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER_CHALLENGE: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What `nautilus attest` came to on a machine.
pub struct Attested {
    pub ran: Ran,
    /// Where its evidence is, if there is any.
    pub file: PathBuf,
    data: PathBuf,
    trust: Vec<String>,
    // Its directory lives as long as the files in it.
    _machine: tempfile::TempDir,
}

/// Attests on a machine. Its TEE is asked twice: for the channel to the enclave, and for the evidence.
pub fn attest(machine: Machine) -> Attested {
    let data = machine.directory.path().join("data");
    let file = machine.directory.path().join("evidence.json");
    let mut arguments: Vec<String> = [
        "attest",
        "--config",
        "/dev/null",
        "--tee",
        machine.tee,
        "--challenge",
        CHALLENGE,
        "--data-dir",
        data.to_str().unwrap(),
        "-o",
        file.to_str().unwrap(),
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(provider) = &machine.provider {
        arguments.extend(["--quote-provider".to_owned(), provider.clone()]);
    }
    let ran = machine.kernel.run(|| run(&arguments));
    Attested {
        ran,
        file,
        data,
        trust: machine.trust,
        _machine: machine.directory,
    }
}

impl Attested {
    /// What a relying party says to the evidence, as JSON.
    pub fn verify(&self, more: &[&str]) -> Ran {
        self.nautilus(&["verify", "--json", text(&self.file)], more)
    }

    /// A policy that takes this evidence and no other code's.
    fn policy(&self) -> PathBuf {
        let policy = self.data.join("policy.yaml");
        let new = ["policy", "new", "--from", text(&self.file), "-o", text(&policy)];
        self.nautilus(&new, &[]).ends_with(0);
        // No vendor here publishes a list that could come along with every evidence.
        let rules = fs::read_to_string(&policy).unwrap();
        let because = "revocation: { ignore: { because: \"the fake vendors publish no lists\" } }";
        fs::write(&policy, rules.replace("revocation: required", because)).unwrap();
        policy
    }

    /// It is genuine, answers this challenge and no other, and a policy made of it, which is the result, accepts it.
    #[track_caller]
    pub fn is_accepted(&self, tee: &str) -> PathBuf {
        assert_eq!(self.ran.code, 0, "{:?}", self.ran);
        let report = self.verify(&["--challenge", CHALLENGE]).ends_with(0).json();
        assert_eq!(report["verdict"], "genuine", "{report:#}");
        assert_eq!(report["tee"], tee, "{report:#}");
        assert_eq!(report["claims"]["debug"], false, "{report:#}");
        let policy = self.policy();
        let by_policy = ["--challenge", CHALLENGE, "--policy", text(&policy)];
        let report = self.verify(&by_policy).ends_with(0).json();
        assert_eq!(report["verdict"], "accepted", "{report:#}");

        let report = self.verify(&["--challenge", OTHER_CHALLENGE]).ends_with(1).json();
        assert_eq!(report["error"]["kind"], "challenge_mismatch", "{report:#}");
        policy
    }

    /// It is genuine, and the policy rejects it because it can be looked into.
    #[track_caller]
    pub fn is_rejected_as_debug(&self, policy: &Path) {
        assert_eq!(self.ran.code, 0, "{:?}", self.ran);
        let report = self.verify(&["--challenge", CHALLENGE]).ends_with(0).json();
        assert_eq!(report["claims"]["debug"], true, "{report:#}");
        let by_policy = ["--challenge", CHALLENGE, "--policy", text(policy)];
        let report = self.verify(&by_policy).ends_with(1).json();
        assert_eq!(report["verdict"], "rejected", "{report:#}");
        let findings = report["findings"].as_array().unwrap();
        let debug: Vec<&Value> = findings
            .iter()
            .filter(|finding| finding["rule"] == "debug")
            .collect();
        assert!(
            debug.iter().any(|finding| finding["passed"] == false),
            "{report:#}"
        );
    }

    /// There is no evidence, and it says why.
    #[track_caller]
    pub fn is_refused(&self, says: &str) {
        assert_eq!(self.ran.code, 3, "{:?}", self.ran);
        assert_eq!(self.ran.stdout, "", "{:?}", self.ran);
        assert!(self.ran.stderr.contains(says), "{says}: {}", self.ran.stderr);
        assert!(!self.file.exists(), "{says}: evidence was written all the same");
    }

    fn nautilus(&self, first: &[&str], more: &[&str]) -> Ran {
        let always = ["--data-dir", text(&self.data)];
        let trust = self.trust.iter().map(String::as_str);
        run(first.iter().chain(&always).chain(more).copied().chain(trust))
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
