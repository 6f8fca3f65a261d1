//! The wallet: what Sui's tools write is taken over, once, and never shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, run};

/// What the TypeScript SDK made: `vectors/sui/README.md` says how.
const SDK: &str = include_str!("../../../../vectors/sui/wallets.json");

fn wallets() -> Vec<Value> {
    serde_json::from_str(SDK).unwrap()
}

fn text<'a>(wallet: &'a Value, field: &str) -> &'a str {
    wallet[field].as_str().unwrap()
}

struct Fixture {
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    fn file(&self, contents: &str) -> PathBuf {
        let path = self.directory.path().join("keys");
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn wallet(&self, data: &str, arguments: &[&str]) -> Ran {
        let data = self.directory.path().join(data);
        let mut words = vec!["wallet", "--data-dir", data.to_str().unwrap(), "--json"];
        words.extend(arguments);
        run(&words)
    }
}

#[test]
fn a_wallet_of_every_scheme_becomes_a_nodes() {
    let fixture = Fixture::new();
    for theirs in wallets() {
        let file = fixture.file(text(&theirs, "suiprivkey"));
        let scheme = text(&theirs, "scheme");
        let imported = fixture
            .wallet(scheme, &["import", file.to_str().unwrap()])
            .ends_with(0);
        assert_eq!(imported.json()["wallet"], theirs["address"], "{scheme}");
        let shown = fixture.wallet(scheme, &["show"]).ends_with(0);
        assert_eq!(shown.json(), imported.json());
        assert!(!shown.stdout.contains("suiprivkey"));
        // The same once more is no harm.
        fixture
            .wallet(scheme, &["import", file.to_str().unwrap()])
            .ends_with(0);
    }
}

#[test]
fn of_a_keystore_one_wallet_is_named() {
    let (fixture, theirs) = (Fixture::new(), wallets());
    let entries: Vec<_> = theirs.iter().map(|wallet| &wallet["keystore"]).collect();
    let file = fixture.file(&serde_json::to_string(&entries).unwrap());
    let file = file.to_str().unwrap();
    let ran = fixture.wallet("a", &["import", file]).ends_with(2);
    for wallet in &theirs {
        assert!(ran.stderr.contains(text(wallet, "address")), "{}", ran.stderr);
    }
    let address = text(&theirs[1], "address");
    let ran = fixture
        .wallet("a", &["import", file, "--address", address])
        .ends_with(0);
    assert_eq!(ran.json()["wallet"], address);
    // A node has one wallet for good.
    let other = text(&theirs[2], "address");
    let ran = fixture
        .wallet("a", &["import", file, "--address", other])
        .ends_with(2);
    assert!(ran.stderr.contains("another data directory"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_a_wallet_is_refused_without_being_shown() {
    let fixture = Fixture::new();
    let file = fixture.file("suiprivkey1nonsense");
    let path = file.to_str().unwrap();
    let ran = fixture.wallet("a", &["import", path]).ends_with(2);
    assert!(!ran.stderr.contains("nonsense"), "{}", ran.stderr);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let ran = fixture.wallet("a", &["import", path]).ends_with(2);
    assert!(ran.stderr.contains("chmod 600"), "{}", ran.stderr);
    fixture.wallet("a", &["import", "/nowhere/keys"]).ends_with(3);
    let ran = fixture.wallet("a", &["show"]).ends_with(3);
    assert!(ran.stderr.contains("no node was ever started"), "{}", ran.stderr);
}
