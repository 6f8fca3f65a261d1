//! The ledger's commands on a file that is not what it was.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, finish, run, up};

const SECTOR: usize = 512;
const COMMANDS: [&str; 6] = ["status", "nodes", "proofs", "rewards", "replay", "claim"];

/// Has a node fill a ledger, and gives the file's bytes.
fn fill(data: &Path) -> Vec<u8> {
    let pace = ["--for", "1500ms", "--interval", "100ms", "--window", "500ms"];
    finish(up(data, &pace), b"").ends_with(0);
    fs::read(data.join("verifier/ledger.log")).unwrap()
}

fn ledger(data: &Path, what: &str) -> Ran {
    run(["ledger", what, "--data-dir", data.to_str().unwrap()])
}

/// The part of the file that holds a byte, as messages name it.
fn region(bytes: &[u8], offset: usize) -> String {
    match offset / SECTOR {
        0 => return "the header".to_owned(),
        slot @ 1..3 => return format!("commit slot {}", slot - 1),
        _ => {}
    }
    let mut start = 3 * SECTOR;
    for height in 0.. {
        let length = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
        start += 4 + usize::try_from(length).unwrap() + 32;
        if offset < start {
            return format!("the record of entry {height}");
        }
    }
    unreachable!("{offset} is behind the last record")
}

#[test]
fn replay_names_the_byte_that_is_not_what_it_was() {
    let data = TempDir::new().unwrap();
    let good = fill(data.path());
    let path = data.path().join("verifier/ledger.log");
    ledger(data.path(), "replay").ends_with(0);

    let stride = good.len() / 150;
    let edges = [
        0,
        16,
        511,
        512,
        1023,
        1024,
        1535,
        1536,
        1539,
        1540,
        good.len() - 32,
        good.len() - 1,
    ];
    for offset in (0..good.len()).step_by(stride.max(1)).chain(edges) {
        let mut bytes = good.clone();
        bytes[offset] ^= 1 << (offset % 8);
        fs::write(&path, &bytes).unwrap();
        let told = ledger(data.path(), "replay").fails_with(1);
        let expected = region(&good, offset);
        assert!(
            told.contains(&format!(", in {expected}: ")),
            "byte {offset} is in {expected}: {told}"
        );
        let (_, rest) = told.split_once("is corrupt at byte ").unwrap();
        let named: usize = rest.split(',').next().unwrap().parse().unwrap();
        assert_eq!(region(&good, named), expected, "byte {offset}: {told}");
        assert!(named <= offset, "byte {offset}: {told}");
        assert!(told.contains("restore it from a copy"), "{told}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was changed");
    }
    fs::write(&path, &good).unwrap();
    let replayed = ledger(data.path(), "replay").ends_with(0);
    assert!(
        replayed.stdout.contains("agrees               true"),
        "{replayed:?}"
    );
}

#[test]
fn a_ledger_cut_short_is_told_from_one_that_was_killed_in_writing() {
    let data = TempDir::new().unwrap();
    let good = fill(data.path());
    let path = data.path().join("verifier/ledger.log");
    for length in (0..good.len()).step_by(good.len() / 40) {
        fs::write(&path, &good[..length]).unwrap();
        let told = ledger(data.path(), "replay").fails_with(1);
        assert!(told.contains("is corrupt at byte"), "cut to {length}: {told}");
    }
    // What a killed writer leaves behind the last commit is no fault, and is said.
    let mut bytes = good.clone();
    bytes.extend_from_slice(&[0xa5; 100]);
    fs::write(&path, &bytes).unwrap();
    let status = run([
        "ledger",
        "status",
        "--json",
        "--data-dir",
        data.path().to_str().unwrap(),
    ]);
    assert_eq!(status.ends_with(0).json()["unacknowledged_bytes"], 100);
    ledger(data.path(), "replay").ends_with(0);
}

#[test]
fn what_is_no_ledger_is_refused_by_every_command() {
    let directory = TempDir::new().unwrap();
    let data = directory.path();
    fs::create_dir(data.join("verifier")).unwrap();
    let path = data.join("verifier/ledger.log");
    for what in COMMANDS {
        let told = ledger(data, what).fails_with(3);
        assert!(
            told.contains("there is no ledger at") && told.contains("nautilus up"),
            "{what}: {told}"
        );
    }
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("zeros", vec![0; 16 * 1024 * 1024]),
        ("binary", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".repeat(200)),
        ("text", b"{\"rewards\": []}".to_vec()),
    ] {
        fs::write(&path, &bytes).unwrap();
        for what in COMMANDS {
            let told = ledger(data, what).fails_with(1);
            assert!(
                told.contains("is corrupt at byte 0, in the header"),
                "{name}, {what}: {told}"
            );
        }
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    for what in COMMANDS {
        let told = ledger(data, what).fails_with(3);
        assert!(told.contains("ledger.log"), "{what}: {told}");
    }
    let left: Vec<_> = fs::read_dir(data)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["verifier"], "looking makes nothing");
}

#[test]
fn a_node_claims_what_it_is_owed_and_no_more() {
    let data = TempDir::new().unwrap();
    fill(data.path());
    let json = |what: &str| {
        let ran = run([
            "ledger",
            what,
            "--json",
            "--data-dir",
            data.path().to_str().unwrap(),
        ]);
        ran.ends_with(0).json()
    };
    let account = |rewards: &Value| rewards["rewards"][0].clone();
    let before = account(&json("rewards"));
    let accrued = before["accrued"].as_u64().unwrap();
    assert!(accrued > 0);
    // The wallet claims; the verifier has no part in it.
    let key = data.path().join("verifier/verifier.key");
    fs::remove_file(&key).unwrap();
    assert_eq!(json("claim")["amount"], accrued);
    assert!(!key.exists());
    let after = account(&json("rewards"));
    assert_eq!(
        (&after["accrued"], &after["claimed"]),
        (&before["accrued"], &before["accrued"])
    );
    assert_eq!(json("claim")["amount"], 0);
    assert_eq!(json("replay")["agrees"], true);
}
