//! Endorsements through the command line, from a service on this machine.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, finish, run, up};

/// A time at which the collateral of the vector holds.
const AT: &str = "2026-10-09T00:00:00Z";

fn vector(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(path)
}

fn endorsements(store: &Path, arguments: &[&str]) -> Ran {
    let store = ["--store", store.to_str().unwrap()];
    run(["endorsements"].iter().chain(arguments).chain(&store).copied())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A caching service that has one platform's collateral, and what it was asked.
fn pccs(collateral: &Path) -> (String, Arc<Mutex<Vec<String>>>) {
    let document: Value = serde_json::from_slice(&fs::read(collateral).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            answer(stream, &document, &log);
        }
    });
    (base, asked)
}

fn answer(mut stream: TcpStream, document: &Value, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(Result::ok);
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    assert!(lines.any(|line| line.is_empty()));
    let field = |name: &str| document[name].as_str().unwrap().to_owned();
    let signed = |outer: &str, inner: &str| {
        let signature = field(&format!("{inner}_signature"));
        format!("{{\"{outer}\":{},\"signature\":\"{signature}\"}}", field(inner))
    };
    let (header, chain, body) = if path.contains("/tcb?fmspc=B0C06F000000&") {
        (
            "TCB-Info-Issuer-Chain",
            "tcb_info_issuer_chain",
            signed("tcbInfo", "tcb_info"),
        )
    } else if path.contains("/qe/identity") {
        (
            "SGX-Enclave-Identity-Issuer-Chain",
            "qe_identity_issuer_chain",
            signed("enclaveIdentity", "qe_identity"),
        )
    } else if path.contains("/pckcrl") {
        (
            "SGX-PCK-CRL-Issuer-Chain",
            "pck_crl_issuer_chain",
            field("pck_crl"),
        )
    } else if path.contains("/rootcacrl") {
        ("X-Nothing", "pck_crl_issuer_chain", field("root_ca_crl"))
    } else {
        log.lock().unwrap().push(path);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    };
    log.lock().unwrap().push(path);
    let chain: String = field(chain).bytes().map(|byte| format!("%{byte:02X}")).collect();
    let head = format!(
        "{header}: {chain}\r\nContent-Length: {}\r\nConnection: close",
        body.len()
    );
    let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes());
}

#[test]
fn what_is_fetched_is_listed_and_verifies_offline() {
    let directory = TempDir::new().unwrap();
    let store = directory.path().join("store");
    let quote = vector("tdx/tdx-v5-td15ex/quote.bin");
    let (base, asked) = pccs(&vector("tdx/tdx-v5-td15ex/collateral-0.json"));
    let fetch = ["fetch", text(&quote), "--pccs", &base, "--json"];
    let report = endorsements(&store, &fetch).ends_with(0).json();
    let outcome = &report["fetched"][0]["outcome"];
    assert_eq!(
        (&report["fetched"][0]["error"], &outcome["from"]),
        (&Value::Null, &"vendor".into())
    );
    let file = store.join(outcome["documents"][0]["path"].as_str().unwrap());
    assert_eq!(asked.lock().unwrap().len(), 4);

    let listed = endorsements(&store, &["list", "--json"]).ends_with(0).json();
    assert_eq!(
        listed["documents"][0]["subject"],
        "TDX platform B0C06F000000 (platform CA), evaluation 20"
    );
    let told = endorsements(&store, &["list"]).ends_with(0).stdout;
    assert!(
        told.starts_with("1 documents in ") && told.contains("until 2026-"),
        "{told}"
    );

    let verified = run([
        "verify",
        text(&quote),
        "--endorsements",
        text(&file),
        "--at",
        AT,
        "--json",
    ]);
    assert_eq!(verified.ends_with(0).json()["verdict"], "genuine");
}

#[test]
fn both_evaluations_are_asked_for() {
    let directory = TempDir::new().unwrap();
    let quote = vector("tdx/tdx-v5-td15ex/quote.bin");
    let (base, asked) = pccs(&vector("tdx/tdx-v5-td15ex/collateral-0.json"));
    let ran = endorsements(
        directory.path(),
        &["fetch", text(&quote), "--early", "--pccs", &base],
    )
    .ends_with(0);
    assert_eq!(
        ran.stdout.lines().filter(|line| line.starts_with("ok ")).count(),
        2,
        "{ran:?}"
    );
    let asked = asked.lock().unwrap();
    for update in ["standard", "early"] {
        assert!(
            asked
                .iter()
                .any(|path| path.ends_with(&format!("&update={update}"))),
            "{asked:?}"
        );
    }
}

#[test]
fn a_platform_that_the_service_does_not_know_ends_with_3() {
    let directory = TempDir::new().unwrap();
    let store = directory.path().join("store");
    let quote = vector("tdx/tdx-v5-td15/quote.bin");
    let (base, _) = pccs(&vector("tdx/tdx-v5-td15ex/collateral-0.json"));
    let ran = endorsements(&store, &["fetch", text(&quote), "--pccs", &base, "--json"]).ends_with(3);
    assert_eq!(ran.json()["fetched"][0]["error"]["kind"], "not_found");
    assert!(!store.exists());
    let ran = endorsements(&store, &["fetch", text(&quote), "--pccs", &base]).ends_with(3);
    assert!(
        ran.stdout.starts_with("FAIL ") && ran.stdout.contains("no such document"),
        "{ran:?}"
    );
}

#[test]
fn bad_input_to_fetch_is_named() {
    let directory = TempDir::new().unwrap();
    let quote = vector("tdx/tdx-v5-td15ex/quote.bin");
    let garbage = directory.path().join("garbage");
    fs::write(&garbage, b"garbage").unwrap();
    let fetch = |arguments: &[&str]| endorsements(directory.path(), &[&["fetch"], arguments].concat());
    assert!(
        fetch(&[text(&garbage)])
            .fails_with(1)
            .contains("format of no TEE")
    );
    fetch(&["/nonexistent"]).fails_with(3);
    fetch(&[]).fails_with(2);
    assert!(
        fetch(&[text(&quote), "--pccs", "pccs.example"])
            .fails_with(2)
            .contains("https://")
    );
    let told = fetch(&[text(&quote), "--tls-ca", text(&garbage)]).fails_with(2);
    assert!(told.contains("certificate"), "{told}");
    let told = fetch(&[text(&quote), "--pccs", "http://127.0.0.1:1", "--json"])
        .ends_with(3)
        .json();
    assert_eq!(told["fetched"][0]["error"]["kind"], "unreachable");
}

#[test]
fn files_are_imported_by_content_and_all_or_none() {
    let directory = TempDir::new().unwrap();
    let store = directory.path().join("store");
    let files = [
        vector("tdx/tdx-v5-td15ex/collateral-1.json"),
        vector("snp/milan-v2-vcek/vek.der"),
        vector("snp/roots/milan_ask_ark_asvk.pem"),
    ];
    let garbage = directory.path().join("garbage");
    fs::write(&garbage, b"<html>").unwrap();
    let told = endorsements(&store, &["import", text(&files[0]), text(&garbage)]).fails_with(1);
    assert!(told.contains("neither DCAP collateral"), "{told}");
    assert!(!store.exists());
    let mut arguments = vec!["import", "--json"];
    arguments.extend(files.iter().map(|file| text(file)));
    let kept = endorsements(&store, &arguments).ends_with(0).json();
    assert_eq!(kept["documents"].as_array().unwrap().len(), 5);

    let damaged = store.join(kept["documents"][1]["path"].as_str().unwrap());
    fs::write(&damaged, b"x").unwrap();
    let listed = endorsements(&store, &["list", "--json"]).ends_with(3).json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), 4);
    let told = listed["damaged"][0].as_str().unwrap();
    assert!(told.contains(text(&damaged)), "{told}");
}

#[test]
fn prune_takes_days_and_removes_what_has_ended() {
    let directory = TempDir::new().unwrap();
    let ended = vector("sgx/sgx-v3-prod/collateral-0.json");
    let holds = vector("snp/turin-v5-vcek/vek.der");
    endorsements(directory.path(), &["import", text(&ended), text(&holds)]).ends_with(0);
    for bad in ["soon", "12", "-3d", ""] {
        endorsements(directory.path(), &["prune", &format!("--older-than={bad}")]).fails_with(2);
    }
    let prune = |age| {
        endorsements(directory.path(), &["prune", "--older-than", age, "--json"])
            .ends_with(0)
            .json()
    };
    assert_eq!(prune("36500d")["removed"].as_array().unwrap().len(), 0);
    let removed = prune("1h");
    assert_eq!(
        removed["removed"][0]["subject"],
        "SGX platform 00A067110000 (processor CA), evaluation 17"
    );
    let listed = endorsements(directory.path(), &["list", "--json"])
        .ends_with(0)
        .json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), 1);
}

#[test]
fn an_archive_needs_nothing_else() {
    let data = TempDir::new().unwrap();
    finish(
        up(
            data.path(),
            &["--for", "1500ms", "--interval", "100ms", "--window", "500ms"],
        ),
        b"",
    )
    .ends_with(0);
    let evidence = data.path().join("evidence.json");
    let archived = data.path().join("archived.json");
    let common = ["--data-dir", text(data.path()), "--dangerous-allow-simulated"];
    run([
        "attest",
        "--type",
        "boot",
        "-o",
        text(&evidence),
        "--data-dir",
        text(data.path()),
    ])
    .ends_with(0);
    let archive = |more: &[&str]| {
        let arguments = ["endorsements", "archive", text(&evidence), "-o", text(&archived)];
        run(arguments.iter().chain(&common).chain(more).copied())
    };
    archive(&[]).ends_with(0);
    let verify = ["verify", text(&archived), "--json"];
    let report = run(verify.iter().chain(&common).copied()).ends_with(0).json();
    assert_eq!(report["verdict"], "genuine");
    archive(&["--at", "2001-01-01T00:00:00Z"]).fails_with(1);

    let quote = vector("tdx/tdx-v5-td15ex/quote.bin");
    let raw = run(["endorsements", "archive", text(&quote), "-o", text(&archived)]).fails_with(2);
    assert!(raw.contains("no place for endorsements"), "{raw}");
}
