//! Secrets that an enclave gets once its evidence was accepted.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use nautilus_agent::enclave_process::image_hash;
use serde_json::Value;
use tempfile::TempDir;

use crate::node::Node;
use crate::program::{command, finish, nautilus, up};
use crate::story::{each, warnings};

const SECRET: &[u8] = b"a secret that no log and no event may show";

/// Where the verifier in a data directory is reached.
fn channel(data: &Path) -> String {
    format!("unix://{}", data.join("verifier/channel.sock").to_str().unwrap())
}

fn put(data: &Path, name: &str, mode: u32) -> String {
    let directory = data.join("verifier/secrets");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .unwrap();
    let path = directory.join(name);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(&path)
        .unwrap();
    file.write_all(SECRET).unwrap();
    // The digest of a file is that of an image.
    image_hash(&path).unwrap().to_string()
}

#[test]
fn provisioned_secrets_are_those_in_the_brokers_directory() {
    let data = TempDir::new().unwrap();
    let sha256 = put(data.path(), "disk.key", 0o600);
    let url = channel(data.path());
    let more = ["--key-provision-url", &url];
    let mut node = Node::start(data.path(), &more);
    let event = node.next("provisioned");
    assert_eq!(event["name"], "node");
    assert_eq!(event["broker"], *url);
    let [taken] = event["secrets"].as_array().unwrap().as_slice() else {
        panic!("{event}")
    };
    assert_eq!(taken["name"], "disk.key");
    let sealed = taken["sealed"].as_str().unwrap();
    assert_eq!(sealed.len(), 64);
    assert_ne!(sealed, sha256, "the secret's own digest could be guessed against");
    node.next("settled");
    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    // Before the boot evidence; and once, for one boot.
    let place = |wanted: &dyn Fn(&Value) -> bool| ended.events.iter().position(wanted).unwrap();
    let provisioned = place(&|event| event["kind"] == "provisioned");
    assert!(place(&|event| event["status"] == "initialized") < provisioned);
    assert!(provisioned < place(&|event| event["kind"] == "boot"));
    ended.only("provisioned");
    // Neither the events nor the evidence nor the sealed state show it.
    let shown = serde_json::to_string(&ended.events).unwrap();
    assert!(!shown.contains(std::str::from_utf8(SECRET).unwrap()));
    let state = fs::read(data.path().join("agent/enclave/node.state")).unwrap();
    assert!(!state.windows(SECRET.len()).any(|window| window == SECRET));
}

#[test]
fn people_read_what_was_provisioned_and_which_key_was_rotated() {
    let data = TempDir::new().unwrap();
    put(data.path(), "disk.key", 0o600);
    let url = channel(data.path());
    let more = [
        "--key-provision-url",
        &url,
        "--interval",
        "100ms",
        "--window",
        "400ms",
        "--rotate-keys-every",
        "1s",
        "--for",
        "4s",
    ];
    let ran = finish(up(data.path(), &more), b"").ends_with(0);
    let line = |stage: &str| ran.stdout.lines().find(|line| line.starts_with(stage)).unwrap();
    let secrets = line("secrets ");
    assert!(
        secrets.contains("`node` took disk.key (sealed ") && secrets.ends_with(&format!("…) from {url}")),
        "{secrets}"
    );
    let rotated = line("rotated ");
    assert!(rotated.contains("`node` signs with "), "{rotated}");
}

#[test]
fn provisioning_by_a_broker_without_secrets_ends_the_node() {
    let data = TempDir::new().unwrap();
    let url = channel(data.path());
    let more = ["--key-provision-url", &url];
    let ended = Node::start(data.path(), &more).ended();
    assert_eq!(ended.status.code(), Some(3), "{:?}", ended.stderr);
    for told in [
        "enclave did not get its secrets",
        "key_provision_url",
        "not_released",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    let reason = ended.only("stopped")["reason"].as_str().unwrap();
    assert!(reason.contains("no secrets to release"), "{reason}");
    assert!(
        ended.of("boot").is_empty() && ended.of("sample").is_empty(),
        "it never ran"
    );
    let states: Vec<_> = ended
        .of("enclave")
        .iter()
        .map(|event| event["status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["created", "initialized", "error"]);

    DirBuilder::new()
        .recursive(true)
        .create(data.path().join("verifier/secrets"))
        .unwrap();
    let ended = Node::start(data.path(), &more).ended();
    assert!(
        ended.stderr.contains("the key broker has no secrets"),
        "{}",
        ended.stderr
    );
}

#[test]
fn provisioning_waits_for_a_broker_that_is_away() {
    let data = TempDir::new().unwrap();
    let other = TempDir::new().unwrap();
    let sha256 = put(other.path(), "disk.key", 0o600);
    // The broker wants the same program, and trusts the same simulated vendor.
    let evidence = data.path().join("first.json");
    let mut attest = command(&nautilus());
    attest
        .args([
            "attest",
            "--config",
            "/dev/null",
            "--tee",
            "simulated",
            "--data-dir",
        ])
        .arg(data.path())
        .arg("-o")
        .arg(&evidence);
    finish(attest, b"").ends_with(0);
    let simulated = "simulated";
    copy(&data.path().join(simulated), &other.path().join(simulated));
    let url = channel(other.path());
    let serve = |more: &[&str]| {
        let mut serve = command(&nautilus());
        serve
            .args([
                "verifier",
                "serve",
                "--config",
                "/dev/null",
                "--dangerous-allow-simulated",
            ])
            .args(["--listen", &url, "--data-dir"])
            .arg(other.path())
            .args(more);
        Node::run(serve, other.path())
    };
    let mut once = serve(&["--for", "10ms"]);
    let key = once.next("listening")["verifier_key"]
        .as_str()
        .unwrap()
        .to_owned();
    once.ended_soon();
    let mut node = Node::start(
        data.path(),
        &["--key-provision-url", &url, "--key-provision-key", &key],
    );
    node.wait_for("the broker is missed", |event| {
        let detail = event["detail"].as_str().unwrap_or_default();
        event["kind"] == "warning" && detail.contains("cannot reach") && detail.contains(&url)
    });
    let mut broker = serve(&[]);
    broker.next("listening");
    let event = node.next("provisioned");
    let [taken] = event["secrets"].as_array().unwrap().as_slice() else {
        panic!("{event}")
    };
    assert_eq!(taken["name"], "disk.key");
    let sealed = taken["sealed"].as_str().unwrap();
    assert_eq!(sealed.len(), 64);
    assert_ne!(sealed, sha256, "the secret's own digest could be guessed against");
    assert_eq!(each(&event["secrets"], "name"), ["disk.key"]);
    node.next("settled");
    node.interrupt();
    node.ended_soon().is_orderly();
    broker.interrupt();
    broker.ended_soon().is_orderly_verifier();
}

fn copy(from: &Path, to: &Path) {
    DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn provisioning_is_not_set_up_by_halves() {
    let data = TempDir::new().unwrap();
    let more = ["--key-provision-url", "https://broker.example"];
    let told = finish(up(data.path(), &more), b"").fails_with(2);
    assert!(told.contains("key_provision_key"), "{told}");
    put(data.path(), "disk.key", 0o644);
    let told = finish(up(data.path(), &[]), b"").fails_with(3);
    assert!(told.contains("chmod 600"), "{told}");
}
