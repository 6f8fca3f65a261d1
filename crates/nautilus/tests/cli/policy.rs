//! `nautilus policy`: templates, checks, explanations, and policies made of evidence.

use std::fs;
use std::path::{Path, PathBuf};

use nautilus_core::{TeeKind, UnixMillis};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{run, run_with_input};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn fleet() -> PathBuf {
    vectors().join("appraisals/fleet.yaml")
}

/// A real quote, its collateral, and a time at which both are good.
fn quote() -> (PathBuf, PathBuf, String) {
    let directory = vectors().join("sgx/sgx-v3-prod");
    let meta: Value = serde_json::from_slice(&fs::read(directory.join("meta.json")).unwrap()).unwrap();
    let label = &meta["labels"][0];
    let at = UnixMillis::from_secs(label["now"].as_u64().unwrap());
    let collateral = directory.join(label["collateral"].as_str().unwrap());
    (directory.join("quote.bin"), collateral, at.to_string())
}

#[test]
fn a_template_says_which_line_is_not_filled_in() {
    for tee in TeeKind::ALL {
        let template = run(["policy", "new", "--tee", tee.as_str()]).ends_with(0).stdout;
        let unfilled = template
            .lines()
            .position(|line| line.contains("FILL_IN") && !line.trim_start().starts_with('#'))
            .unwrap();
        let checked = run_with_input(["policy", "check", "-"], template.as_bytes()).ends_with(2);
        let told = format!("line {} is not filled in", unfilled + 1);
        assert!(checked.stdout.contains(&told), "{tee}: {checked:?}");
    }
}

#[test]
fn a_file_that_is_there_is_never_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sgx.yaml");
    run(["policy", "new", "--tee", "sgx", "-o", text(&path)]).ends_with(0);
    let written = fs::read(&path).unwrap();
    let again = run(["policy", "new", "--tee", "tdx", "-o", text(&path)]).fails_with(2);
    assert!(again.contains("is there already"), "{again}");
    assert_eq!(fs::read(&path).unwrap(), written);
}

#[test]
fn a_policy_made_of_evidence_pins_it() {
    let (quote, collateral, at) = quote();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pinned.yaml");
    let from = [
        "policy",
        "new",
        "--from",
        text(&quote),
        "--at",
        &at,
        "-o",
        text(&path),
    ];
    let endorsed = ["--endorsements", text(&collateral)];
    run(from.iter().chain(&endorsed)).ends_with(0);
    let checked = run(["policy", "check", text(&path), "--json"])
        .ends_with(0)
        .json();
    assert_eq!(checked[0]["ok"], true, "{checked}");

    let show = ["verify", text(&quote), "--json", "--at", &at];
    let genuine = run(show.iter().chain(&endorsed)).ends_with(0).json();
    let report_data = genuine["claims"]["report_data"].as_str().unwrap();
    let by = ["--policy", text(&path), "--report-data", report_data];
    let judged = run(show.iter().chain(&endorsed).chain(&by)).ends_with(0).json();
    assert_eq!(judged["verdict"], "accepted", "{judged}");
    // It is of that program alone.
    let mrenclave = genuine["claims"]["measurements"]["mrenclave"].as_str().unwrap();
    let other = fs::read_to_string(&path)
        .unwrap()
        .replace(mrenclave, &"00".repeat(32));
    fs::write(&path, other).unwrap();
    let judged = run(show.iter().chain(&endorsed).chain(&by)).ends_with(1).json();
    assert_eq!(judged["verdict"], "rejected", "{judged}");
}

#[test]
fn evidence_that_does_not_verify_gives_no_policy() {
    let (quote, collateral, at) = quote();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pinned.yaml");
    let without = run(["policy", "new", "--from", text(&quote), "-o", text(&path)]).fails_with(3);
    assert!(without.contains("there is nothing to pin"), "{without}");
    let mut changed = fs::read(&quote).unwrap();
    changed[100] ^= 1;
    let spoilt = directory.path().join("spoilt.bin");
    fs::write(&spoilt, changed).unwrap();
    run([
        "policy",
        "new",
        "--from",
        text(&spoilt),
        "--endorsements",
        text(&collateral),
        "--at",
        &at,
        "-o",
        text(&path),
    ])
    .fails_with(1);
    assert!(!path.exists());
}

#[test]
fn check_tells_what_is_wrong_and_what_deserves_a_second_look() {
    let directory = TempDir::new().unwrap();
    let senseless = directory.path().join("senseless.yaml");
    let good = fs::read_to_string(fleet()).unwrap();
    fs::write(&senseless, good.replace("{ one_of: [false] }", "{ one_of: [] }")).unwrap();
    let ran = run(["policy", "check", text(&fleet())]).ends_with(0);
    assert!(ran.stdout.starts_with("ok    "), "{ran:?}");
    assert!(
        ran.stdout.contains("note  assurance: `measured-boot` passes"),
        "{ran:?}"
    );
    let both = run(["policy", "check", text(&fleet()), text(&senseless), "--json"])
        .ends_with(2)
        .json();
    assert_eq!((&both[0]["ok"], &both[1]["ok"]), (&true.into(), &false.into()));
    let error = both[1]["error"].as_str().unwrap();
    assert!(error.contains("`debug` makes no sense"), "{error}");
    run(["policy", "check", text(&directory.path().join("none.yaml"))]).ends_with(3);
}

#[test]
fn explain_says_what_passes_and_what_nobody_checks() {
    let ran = run(["policy", "explain", text(&fleet()), "--tee", "sev"]).ends_with(0);
    for line in [
        "  tee: passes: sgx, sev, tpm, nitro; rejected: tdx, trustzone, keystone, simulated",
        "  per_tee.sev.tcb_status: anything passes: AMD publishes no levels",
        "  code: pinned by measurement",
        "never asked",
    ] {
        assert!(ran.stdout.lines().any(|found| found == line), "{line:?}: {ran:?}");
    }
    let json = run(["policy", "explain", text(&fleet()), "--json"])
        .ends_with(0)
        .json();
    assert!(json["id"].as_str().unwrap().len() == 64, "{json}");
    assert!(!json["rules"].as_array().unwrap().is_empty());
}

#[test]
fn the_key_of_a_verifier_that_never_ran_is_not_made_up() {
    let data = TempDir::new().unwrap();
    let told = run(["policy", "ear-keys", "--data-dir", text(data.path())]).fails_with(3);
    assert!(told.contains("run `nautilus up` first"), "{told}");
    assert!(!data.path().join("verifier").exists());
}
