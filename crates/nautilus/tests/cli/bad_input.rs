//! Whatever a file holds, a command ends by itself, with the right code, and says why.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, command, finish, nautilus, run, run_with_input, up};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0";

/// An evidence file and a proof of a node that ran.
struct Made {
    data: TempDir,
    evidence: Vec<u8>,
    proof: Vec<u8>,
}

impl Made {
    fn make() -> Self {
        let data = TempDir::new().unwrap();
        let pace = ["--for", "1500ms", "--interval", "100ms", "--window", "500ms"];
        let mut up = up(data.path(), &pace);
        up.arg("--json");
        let ran = finish(up, b"").ends_with(0);
        let event = |kind: &str| -> Value {
            let events = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
            events
                .into_iter()
                .find(|event: &Value| event["kind"] == kind)
                .unwrap()
        };
        let evidence = fs::read(event("boot")["evidence_file"].as_str().unwrap()).unwrap();
        let proof = serde_json::to_vec(&event("proof")["proof"]).unwrap();
        Self {
            data,
            evidence,
            proof,
        }
    }
}

fn quote() -> Vec<u8> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    fs::read(vectors.join("sgx/sgx-v3-prod/quote.bin")).unwrap()
}

/// Bytes that are neither evidence nor a proof.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("one zero", vec![0]),
        ("16 MiB of zeros", vec![0; 16 * 1024 * 1024]),
        ("16 MiB of spaces", vec![b' '; 16 * 1024 * 1024]),
        ("binary", PNG.to_vec()),
        ("text", b"hello, world\n".to_vec()),
        ("an empty object", b"{}".to_vec()),
        (
            "an object of another kind",
            b"{\"kind\":\"sample\",\"at\":1}".to_vec(),
        ),
        ("null", b"null".to_vec()),
        ("half an object", b"{\"format\":".to_vec()),
        ("deep nesting", "{\"a\":".repeat(100_000).into_bytes()),
        ("not UTF-8", b"{\"format\":\"\xff\xfe\"}".to_vec()),
        (
            "a control sequence",
            b"{\"format\":\"\\u001b[2J\\u001b[31m\"}".to_vec(),
        ),
    ]
}

/// Asserts that evidence was rejected, with a report that says why.
fn is_rejected(ran: &Ran, what: &str) {
    assert_eq!(ran.code, 1, "{what}: {ran:?}");
    let report = ran.json();
    assert_eq!(report["verdict"], "rejected", "{what}");
    assert!(report["error"]["kind"].is_string(), "{what}: {report}");
    assert_eq!(report["findings"][0]["passed"], false, "{what}: {report}");
    assert_eq!(ran.stderr, "", "{what}");
}

#[test]
fn verify_rejects_what_is_no_evidence() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("input");
    for (what, bytes) in nonsense() {
        fs::write(&path, &bytes).unwrap();
        is_rejected(&run(["verify", "--json", path.to_str().unwrap()]), what);
        is_rejected(&run_with_input(["verify", "--json", "-"], &bytes), what);
        let people = run(["verify", path.to_str().unwrap()]).ends_with(1);
        assert!(
            people.stdout.starts_with("verdict    rejected\n"),
            "{what}: {people:?}"
        );
        assert!(!people.stdout.contains('\x1b'), "{what}: {people:?}");
    }
}

#[test]
fn verify_rejects_every_truncation() {
    let made = Made::make();
    let (quote, data) = (quote(), made.data.path().to_str().unwrap().to_owned());
    let simulated = [
        "verify",
        "--json",
        "-",
        "--dangerous-allow-simulated",
        "--data-dir",
        &data,
    ];
    run_with_input(simulated, &made.evidence).ends_with(0);
    for (what, whole) in [("quote", &quote), ("evidence file", &made.evidence)] {
        for length in (0..whole.len()).step_by(whole.len() / 40) {
            let what = format!("{what} cut to {length}");
            is_rejected(&run_with_input(simulated, &whole[..length]), &what);
        }
    }
}

#[test]
fn proof_verify_rejects_what_is_no_proof() {
    let made = Made::make();
    run_with_input(["proof", "verify", "-"], &made.proof).ends_with(0);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("input");
    for (what, bytes) in nonsense() {
        fs::write(&path, &bytes).unwrap();
        let path = path.to_str().unwrap();
        let told = run(["proof", "show", path]).fails_with(1);
        assert!(
            told.contains("proof") && !told.contains('\x1b'),
            "{what}: {told:?}"
        );
        let told = run(["proof", "verify", path]).ends_with(1).stdout;
        assert!(
            told.starts_with("rejected") && !told.contains('\x1b'),
            "{what}: {told:?}"
        );
        is_no_proof(&run(["proof", "verify", path, "--json"]), what);
        is_no_proof(&run_with_input(["proof", "verify", "-", "--json"], &bytes), what);
        // The same as evidence that should speak for a good proof.
        let with_evidence = ["proof", "verify", "-", "--evidence", path];
        run_with_input(with_evidence, &made.proof).fails_with(1);
    }
    for length in (0..made.proof.len()).step_by(made.proof.len() / 40) {
        let what = format!("proof cut to {length}");
        is_no_proof(
            &run_with_input(["proof", "verify", "-", "--json"], &made.proof[..length]),
            &what,
        );
    }
}

/// Asserts a report that says so, in JSON.
#[track_caller]
fn is_no_proof(ran: &Ran, what: &str) {
    assert_eq!(ran.code, 1, "{what}: {ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let kind = report["error"]["kind"].as_str().unwrap();
    assert_eq!(report["verdict"], "rejected", "{what}: {report}");
    assert!(["not_a_proof", "too_large"].contains(&kind), "{what}: {report}");
    assert_eq!(report["findings"][0]["passed"], false, "{what}: {report}");
}

#[test]
fn what_is_not_there_or_no_file_ends_with_3() {
    let directory = TempDir::new().unwrap();
    let absent = directory.path().join("absent");
    let absent = absent.to_str().unwrap();
    let folder = directory.path().to_str().unwrap();
    let quote = directory.path().join("quote.bin");
    fs::write(&quote, self::quote()).unwrap();
    let quote = quote.to_str().unwrap();
    for bad in [absent, folder] {
        for arguments in [
            &["verify", bad][..],
            &["verify", "--json", bad],
            &["verify", quote, "--policy", bad],
            &["proof", "verify", bad],
            &["proof", "show", bad],
            &["proof", "verify", "-", "--evidence", bad],
        ] {
            let told = run(arguments.iter().copied()).fails_with(3);
            assert!(told.contains(bad), "{arguments:?}: {told}");
        }
    }
    let told = run(["verify", quote, "--endorsements", absent]).fails_with(3);
    assert!(told.contains(absent), "{told}");
    // A directory of endorsements may be empty; then they are missing.
    let report = run(["verify", "--json", quote, "--endorsements", folder])
        .ends_with(3)
        .json();
    assert_eq!(report["error"]["kind"], "endorsements_missing");
    let told = run(["attest", "-o", &format!("{absent}/file"), "--data-dir", folder]);
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.stderr.contains(absent), "{told:?}");
}

#[test]
fn detect_looks_at_any_tree_and_needs_a_directory() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let detect = |root: &Path| run(["detect", "--json", "--root", root.to_str().unwrap()]);
    let empty = detect(root).ends_with(0).json();
    assert!(empty.is_object() || empty.is_array(), "{empty}");

    let file = root.join("file");
    fs::write(&file, PNG).unwrap();
    let told = detect(&file).fails_with(3);
    assert!(told.contains("no directory"), "{told}");
    detect(&root.join("absent")).fails_with(3);

    fs::create_dir_all(root.join("proc")).unwrap();
    for bytes in [
        PNG.to_vec(),
        vec![0; 16 * 1024 * 1024],
        vec![b'f'; 16 * 1024 * 1024],
        Vec::new(),
    ] {
        fs::write(root.join("proc/cpuinfo"), bytes).unwrap();
        detect(root).ends_with(0);
    }
    fs::remove_file(root.join("proc/cpuinfo")).unwrap();
    for folder in [
        "proc/cpuinfo",
        "dev/sgx_enclave",
        "dev/tpm0",
        "sys/class/tpm/tpm0/tpm_version_major",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::create_dir_all(root.join("sys/module/kvm_intel/parameters")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.join("sys/module/kvm_intel/parameters/tdx")).unwrap();
    detect(root).ends_with(0);
}

/// A program that any user may run, and a place that any user may look into.
fn for_everybody(directory: &Path) -> PathBuf {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.join("nautilus");
    fs::copy(nautilus(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn what_may_not_be_read_ends_with_3() {
    let directory = TempDir::new().unwrap();
    let program = for_everybody(directory.path());
    let secret = directory.path().join("secret");
    let closed = directory.path().join("closed");
    fs::write(&secret, quote()).unwrap();
    fs::create_dir_all(closed.join("verifier")).unwrap();
    for path in [&secret, &closed] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let refused = |arguments: &[&str], code: i32| {
        let mut command = command(&program);
        command.args(arguments).current_dir("/");
        // To root every file is open.
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let told = finish(command, b"").fails_with(code);
        assert!(told.contains("ermission denied"), "{arguments:?}: {told}");
        told
    };
    let (secret, closed) = (secret.to_str().unwrap(), closed.to_str().unwrap());
    refused(&["verify", secret], 3);
    refused(&["proof", "verify", secret], 3);
    refused(&["ledger", "status", "--data-dir", closed], 3);
    refused(&["ledger", "replay", "--data-dir", closed], 3);
    refused(
        &[
            "up",
            "--for",
            "1s",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            closed,
        ],
        3,
    );
    let told = refused(&["config", "view", "--config", secret], 2);
    assert!(told.contains("let this user read it"), "{told}");
    fs::set_permissions(closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_reader_that_leaves_changes_no_verdict() {
    let nonsense = TempDir::new().unwrap();
    let nonsense = nonsense.path().join("nonsense");
    fs::write(&nonsense, "nonsense").unwrap();
    for (arguments, code) in [(&["detect"][..], 0), (&["verify", nonsense.to_str().unwrap()], 1)] {
        let mut command = command(&nautilus());
        command
            .args(arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(output.stderr, b"", "{output:?}");
    }
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    for arguments in [&["detect"][..], &["config", "view"], &["verify", "/dev/null"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(&nautilus())
            .args(arguments)
            .stdout(full)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("cannot write to standard output"), "{told}");
    }
}
