//! The simulated TEE, which has no device: its platform is files, and what can be wrong is what is in them.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, run};
use crate::relying_party::{CHALLENGE, text};

fn attest(data: &TempDir) -> Ran {
    let file = data.path().join("evidence.json");
    run([
        "attest",
        "--config",
        "/dev/null",
        "--tee",
        "simulated",
        "--challenge",
        CHALLENGE,
        "--data-dir",
        text(data.path()),
        "-o",
        text(&file),
    ])
}

fn verify(data: &TempDir, more: &[&str]) -> Ran {
    let file = data.path().join("evidence.json");
    let first = ["verify", "--json", text(&file), "--challenge", CHALLENGE];
    run(first.iter().chain(more).copied())
}

#[test]
fn its_evidence_is_accepted_where_its_root_is_and_nowhere_else() {
    let (data, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    attest(&data).ends_with(0);
    let allowed = ["--dangerous-allow-simulated", "--data-dir", text(data.path())];
    let report = verify(&data, &allowed).ends_with(0).json();
    assert_eq!(report["verdict"], "genuine");
    assert_eq!(report["claims"]["assurance"], "simulated");

    let report = verify(&data, &["--data-dir", text(data.path())])
        .ends_with(1)
        .json();
    assert_eq!(report["error"]["kind"], "not_accepted");
    attest(&other).ends_with(0);
    let elsewhere = ["--dangerous-allow-simulated", "--data-dir", text(other.path())];
    let report = verify(&data, &elsewhere).ends_with(1).json();
    assert_eq!(report["error"]["kind"], "untrusted");
    assert_eq!(report["claims"], Value::Null);
}

#[test]
fn a_platform_with_a_broken_file_gives_no_evidence() {
    let data = TempDir::new().unwrap();
    attest(&data).ends_with(0);
    let evidence = data.path().join("evidence.json");
    fs::remove_file(&evidence).unwrap();
    let platform = data.path().join("simulated/platform/platform.json");
    let whole = fs::read(&platform).unwrap();
    fs::write(&platform, &whole[..whole.len() / 2]).unwrap();
    let ran = attest(&data).ends_with(3);
    assert!(ran.stderr.contains("platform.json"), "{}", ran.stderr);
    assert!(!evidence.exists());
}
