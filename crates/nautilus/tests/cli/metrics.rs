//! `nautilus agent metrics`: what a wallet signs where there is no enclave.

use nautilus_core::SuiAddress;
use nautilus_proof::Sample;
use nautilus_proof::wallet::WalletSignature;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, run};

fn metrics(data: &TempDir, more: &[&str]) -> Ran {
    let data = data.path().to_str().unwrap();
    let common = ["agent", "metrics", "--every", "1ms", "--data-dir", data];
    run(common.iter().chain(more))
}

#[test]
fn the_wallet_signs_a_chain_of_samples() {
    let data = TempDir::new().unwrap();
    let ran = metrics(&data, &["--count", "2", "--json"]).ends_with(0);
    let shown = run([
        "wallet",
        "show",
        "--json",
        "--data-dir",
        data.path().to_str().unwrap(),
    ]);
    let shown = shown.ends_with(0).json();
    let wallet: SuiAddress = shown["wallet"].as_str().unwrap().parse().unwrap();
    let samples: Vec<(Sample, WalletSignature)> = ran
        .stdout
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line[name].clone();
            (
                serde_json::from_value(field("sample")).unwrap(),
                serde_json::from_value(field("seal_signature")).unwrap(),
            )
        })
        .collect();
    let sequences: Vec<_> = samples.iter().map(|(sample, _)| sample.sequence).collect();
    assert_eq!(sequences, [0, 1]);
    for (sample, signature) in &samples {
        assert_eq!(signature.address(), wallet);
        assert!(signature.is_of(wallet, sample), "{sample:?}");
        let metrics = sample.measurement.metrics.as_ref().unwrap();
        assert!(metrics.process_count > 0, "{sample:?}");
        let mut changed = sample.clone();
        changed.measurement.metrics.as_mut().unwrap().process_count += 1;
        assert!(!signature.is_of(wallet, &changed));
    }
    assert!(samples[0].0.measurement.at <= samples[1].0.measurement.at);
}

#[test]
fn people_read_who_signed_and_what() {
    let data = TempDir::new().unwrap();
    let ran = metrics(&data, &[]).ends_with(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(
        lines[0].starts_with("sample 0 at ") && lines[0].contains(", signed by wallet 0x"),
        "{ran:?}"
    );
    assert!(
        lines[1].starts_with("  cpu ") && lines[1].ends_with(" threads"),
        "{ran:?}"
    );
    let told = metrics(&data, &["--every", "soon"]).fails_with(2);
    assert!(told.contains("--every"), "{told}");
}
