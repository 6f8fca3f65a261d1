//! The configuration: where values come from, and what is said of those that cannot be.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::program::{Ran, command, finish, nautilus, run};

fn file(directory: &TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    path
}

/// `nautilus ARGUMENTS --config FILE` with some environment.
fn configured(arguments: &[&str], file: &Path, environment: &[(&str, &str)]) -> Ran {
    let mut command = command(&nautilus());
    command.args(arguments).arg("--config").arg(file);
    command.envs(environment.iter().copied());
    finish(command, b"")
}

#[test]
fn every_value_says_where_it_came_from() {
    let directory = TempDir::new().unwrap();
    let path = file(
        &directory,
        "daas:\n  nautilus:\n    metrics_interval: \"10s\"\n    proof_batch_size: 7\n    debug_mode: true\n",
    );
    let environment = [
        ("NAUTILUS_PROOF_BATCH_SIZE", "8"),
        ("NAUTILUS_DEBUG_MODE", "false"),
    ];
    let resolved = ["config", "view", "--resolved", "--debug-mode", "true"];
    let ran = configured(&resolved, &path, &environment).ends_with(0);
    let row = |name: &str| {
        let key = format!("daas.nautilus.{name} ");
        let row = ran.stdout.lines().find(|line| line.starts_with(&key));
        let row = row.unwrap_or_else(|| panic!("no {name}: {}", ran.stdout));
        row.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("enabled"), "true default");
    assert_eq!(
        row("metrics_interval"),
        format!("\"10s\" {}:3:5", path.display()),
        "file, line and column"
    );
    assert_eq!(row("proof_batch_size"), "8 NAUTILUS_PROOF_BATCH_SIZE");
    assert_eq!(row("debug_mode"), "true --debug-mode");

    let json = ["config", "view", "--resolved", "--json", "--debug-mode", "true"];
    let json = configured(&json, &path, &environment).ends_with(0).json();
    let origins: Vec<_> = json["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["origin"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(origins.len(), 19);
    for kind in ["default", "file", "env", "flag"] {
        assert!(origins.contains(&kind), "{kind}: {json}");
    }
}

#[test]
fn the_view_is_a_file_that_gives_the_same() {
    let directory = TempDir::new().unwrap();
    let path = file(
        &directory,
        "daas:\n  nautilus:\n    tee_type: simulated\n    metrics_interval: 5s\n    pcr_policy:\n      pcr0: \"00112233445566778899aabbccddeeff00112233\"\n",
    );
    let once = configured(&["config", "view"], &path, &[]).ends_with(0).stdout;
    assert!(once.contains("metrics_interval: \"5s\""), "{once}");
    let again = file(&directory, &once);
    let twice = configured(&["config", "view"], &again, &[]).ends_with(0).stdout;
    assert_eq!(once, twice);
    let json = configured(&["config", "view", "--json"], &again, &[])
        .ends_with(0)
        .json();
    assert_eq!(json["daas"]["nautilus"]["metrics_interval"], "5s");
}

#[test]
fn an_empty_configuration_is_the_defaults() {
    let directory = TempDir::new().unwrap();
    let empty = configured(&["config", "view"], &file(&directory, ""), &[]).ends_with(0);
    let null = configured(&["config", "view"], Path::new("/dev/null"), &[]).ends_with(0);
    assert_eq!(empty.stdout, null.stdout);
}

#[test]
fn a_mistake_names_its_place_and_what_to_write() {
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("config.yaml").display().to_string();
    for (text, at, told) in [
        (
            "daas:\n  nautilus:\n    metrics_intervall: 5s\n",
            ":3:5",
            "metrics_interval",
        ),
        (
            "daas:\n  nautilus:\n    metrics_interval: 30\n",
            ":3:23",
            "\"30s\"",
        ),
        (
            "daas:\n  nautilus:\n    metrics_interval: soon\n",
            ":3:23",
            "\"30s\"",
        ),
        (
            "daas:\n  nautilus:\n    metrics_interval: 1ms\n",
            ":3:23",
            "100ms",
        ),
        (
            "daas:\n  nautilus:\n    proof_batch_size: many\n",
            ":3:23",
            "write",
        ),
        ("daas:\n  nautilus:\n    tee_type: sgz\n", ":3:15", "sgx"),
        ("daas:\n  nautilus:\n    enabled: yes please\n", ":3:14", "true"),
        (
            "daas:\n  nautilus:\n    pcr_policy:\n      pcr99: \"00\"\n",
            ":4:7",
            "pcr0",
        ),
        ("nautilus:\n  enabled: true\n", ":1:1", "daas"),
        ("daas: [\n", ":2:1", "check"),
        ("\tdaas:\n", ":1:1", "spaces"),
    ] {
        let path = file(&directory, text);
        let error = configured(&["config", "view"], &path, &[]).fails_with(2);
        assert!(
            error.contains(&format!("{place}{at}")),
            "{text:?} at {at}: {error}"
        );
        assert!(error.contains(told), "{text:?} says {told:?}: {error}");
    }
    let good = file(&directory, "");
    let error = configured(&["config", "view"], &good, &[("NAUTILUS_METRICS_INTERVAL", "5")]).fails_with(2);
    assert!(error.contains("NAUTILUS_METRICS_INTERVAL=5s"), "{error}");
    let ran = configured(
        &["config", "view", "--resolved"],
        &good,
        &[("NAUTILUS_METRIC_INTERVAL", "5s")],
    );
    let stdout = ran.ends_with(0).stdout;
    assert!(
        stdout.contains("did you mean NAUTILUS_METRICS_INTERVAL?"),
        "{stdout}"
    );
}

#[test]
fn up_refuses_what_cannot_be_before_it_makes_anything() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let refused = |text: &str, more: &[&str]| {
        let path = file(&directory, text);
        let arguments: Vec<_> = ["up", "--for", "1s", "--listen", "127.0.0.1:0", "--data-dir"]
            .into_iter()
            .chain([data.to_str().unwrap()])
            .chain(more.iter().copied())
            .collect();
        let error = configured(&arguments, &path, &[]).fails_with(2);
        assert!(!data.exists(), "{error}");
        error
    };
    let mismatch = refused("daas:\n  nautilus:\n    tee_type: nitro\n", &[]);
    assert!(
        mismatch.contains("nitro") && mismatch.contains("config.yaml:3:5"),
        "{mismatch}"
    );
    assert!(mismatch.contains("doesn't match detected"), "{mismatch}");
    assert!(
        mismatch.contains("remove the line") && mismatch.contains("nautilus detect"),
        "what to do: {mismatch}"
    );
    let mismatch = refused("", &["--tee-type", "nitro"]);
    assert!(mismatch.contains("--tee-type"), "{mismatch}");

    let off = refused("daas:\n  nautilus:\n    enabled: false\n", &[]);
    assert!(off.contains("enabled: false"), "{off}");
    for (flags, told) in [
        (["--window", "soon"], "--window"),
        (["--window", "10"], "--window"),
        (["--window", "1s"], "--window"),
        (["--interval", "1"], "--interval"),
        (["--interval", "1ms"], "--interval"),
        (["--proof-batch-size", "0"], "--proof-batch-size"),
    ] {
        let error = refused("", &flags);
        assert!(error.contains(told), "{flags:?}: {error}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_says_so() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("absent.yaml");
    let error = configured(&["config", "view"], &missing, &[]).fails_with(2);
    assert!(error.contains("absent.yaml"), "{error}");
    let error = configured(&["config", "view"], directory.path(), &[]).fails_with(2);
    assert!(error.contains("not a directory"), "{error}");
    for (name, bytes) in [
        ("zeros", vec![0; 16 * 1024 * 1024]),
        ("some zeros", vec![0; 100]),
        ("binary", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()),
        ("nested", "[".repeat(100_000).into_bytes()),
        ("aliases", b"a: &a [x, x]\nb: [*a, *a]\n".to_vec()),
        ("escapes", b"daas:\n  nautilus:\n    \"a\\e[31m\": 3\n".to_vec()),
    ] {
        let path = directory.path().join("bad.yaml");
        fs::write(&path, bytes).unwrap();
        let error = configured(&["config", "view"], &path, &[]).fails_with(2);
        assert!(error.contains("bad.yaml"), "{name}: {error}");
        assert!(error.len() < 1000, "{name}: {error}");
        assert!(!error.contains('\x1b'), "{name}: {error:?}");
    }
}

#[test]
fn a_data_directory_may_come_from_the_environment() {
    let directory = TempDir::new().unwrap();
    let mut command = command(&nautilus());
    command.args(["ledger", "status"]);
    command.env("NAUTILUS_DATA_DIR", directory.path());
    let error = finish(command, b"").fails_with(3);
    assert!(error.contains(directory.path().to_str().unwrap()), "{error}");
    let flag = run(["ledger", "status", "--data-dir", "/nowhere"]).fails_with(3);
    assert!(
        flag.contains("/nowhere") && flag.contains("nautilus up"),
        "{flag}"
    );
}
