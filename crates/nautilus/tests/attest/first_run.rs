//! The main job by one command, on machines that have a TEE: what is used is said, and a policy decides.

use nautilus_testkit::{FakeKernel, FakeMachine};
use tempfile::TempDir;

use crate::program::{Ran, run};
use crate::relying_party::text;

/// `nautilus up` for a moment on this machine.
fn up(machine: &FakeMachine, more: &[&str]) -> Ran {
    let data = TempDir::new().unwrap();
    let first = [
        "up",
        "--json",
        "--config",
        "/dev/null",
        "--listen",
        "127.0.0.1:0",
        "--for",
        "300ms",
        "--data-dir",
        text(data.path()),
    ];
    FakeKernel::new()
        .machine(machine)
        .run(|| run(first.iter().chain(more).copied()))
}

#[test]
fn a_tee_that_nobody_asked_for_is_named_and_not_used_without_a_policy() {
    for (machine, tee) in [
        (FakeMachine::tpm_laptop(), "tpm"),
        (FakeMachine::snp_guest(), "sev"),
    ] {
        let ran = up(&machine, &[]).ends_with(0);
        let detect = ran
            .stdout
            .lines()
            .find(|line| line.contains("\"kind\":\"detect\""));
        let detect: serde_json::Value = serde_json::from_str(detect.unwrap()).unwrap();
        assert_eq!(detect["chosen"], "simulated");
        let reason = detect["reason"].as_str().unwrap();
        assert!(
            reason.contains(&format!("this machine has `{tee}`")) && reason.contains("--policy"),
            "{reason}"
        );
    }
}

#[test]
fn a_tee_that_was_asked_for_is_not_used_without_a_policy_and_nothing_else_is() {
    let ran = up(&FakeMachine::tpm_laptop(), &["--tee-type", "tpm"]).ends_with(2);
    assert!(ran.stderr.contains("needs a policy"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("\"boot\""), "{}", ran.stdout);
}
