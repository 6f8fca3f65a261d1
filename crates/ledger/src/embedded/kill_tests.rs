//! `kill -9` at any moment: a child process writes, the test kills it, and looks at what is there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nautilus_core::EvidenceId;
use tempfile::TempDir;

use super::{EmbeddedLedger, replay};
use crate::fixture::{START, TestNode, appraisal, genesis};
use crate::{AppraisalRecord, Transaction};

const FILE: &str = "NAUTILUS_LEDGER_TEST_FILE";
const DIRECTORY: &str = "NAUTILUS_LEDGER_TEST_DIRECTORY";
const KILLS: u32 = 20;

/// Starts this test program again, to run only `test`.
fn child(test: &str, variable: &str, value: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("embedded::kill_tests::{test}"),
            "--nocapture",
            "--ignored",
        ])
        .env(variable, value)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child after it acknowledged `count` times and a little more happened; gives all that it
/// acknowledged.
fn acknowledged(mut child: Child, count: usize, spins: u32) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned));
    let mut acknowledged: Vec<String> = lines.by_ref().take(count).collect();
    assert_eq!(acknowledged.len(), count, "the child failed");
    (0..spins).for_each(|_| std::hint::spin_loop());
    child.kill().unwrap();
    acknowledged.extend(lines);
    child.wait().unwrap();
    acknowledged
}

/// Numbers without pattern, the same in every run.
fn random(seed: &mut u64) -> u32 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    u32::try_from(*seed >> 32).unwrap()
}

fn say(line: &str) {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(format!("acknowledged {line}\n").as_bytes())
        .unwrap();
    stdout.flush().unwrap();
}

/// Groups of 1 to 40 entries: many pages in one write.
#[test]
#[ignore = "the child of the test below"]
fn appends_until_killed() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let mut ledger = EmbeddedLedger::open_or_create(path, genesis(), START).unwrap();
    let node = TestNode::new(1);
    if ledger.state().node(node.id()).is_none() {
        ledger.append(&[node.register()], START).unwrap();
    }
    loop {
        let height = ledger.tip().height;
        let group: Vec<Transaction> = (0..1 + height % 40)
            .map(|index| {
                let mut evidence = EvidenceId([0; 32]);
                evidence.0[..8].copy_from_slice(&(height + index).to_le_bytes());
                appraisal(AppraisalRecord {
                    evidence,
                    ..node.record(START.plus(height + index))
                })
            })
            .collect();
        ledger.append(&group, START.plus(height)).unwrap();
        say(&format!("{} {}", ledger.tip().height, ledger.tip().hash));
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_writer_is_killed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ledger");
    let mut all = BTreeMap::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for round in 0..KILLS {
        let count = 1 + usize::try_from(random(&mut seed) % 6).unwrap();
        let spins = random(&mut seed) % 200_000;
        for line in acknowledged(child("appends_until_killed", FILE, &path), count, spins) {
            // The last line may have been cut by the kill; then its reader got no acknowledgement.
            let Some((height, hash)) = line.split_once(' ').filter(|(_, hash)| hash.len() == 64) else {
                continue;
            };
            all.insert(height.parse::<u64>().unwrap(), hash.to_owned());
        }
        let ledger = EmbeddedLedger::open_or_create(&path, genesis(), START).unwrap();
        let (newest, _) = all.last_key_value().unwrap();
        assert!(
            ledger.tip().height >= *newest,
            "round {round}: {:?} after {newest}",
            ledger.tip()
        );
        let entries: BTreeMap<u64, String> = ledger
            .entries()
            .map(Result::unwrap)
            .map(|entry| (entry.height, entry.hash.to_string()))
            .collect();
        for (height, hash) in &all {
            assert_eq!(entries.get(height), Some(hash), "round {round}");
        }
    }
    assert!(all.len() >= usize::try_from(KILLS).unwrap());
    let replayed = replay(&path).unwrap();
    assert_eq!(replayed.unacknowledged, 0);
}

#[test]
#[ignore = "the child of the test below"]
fn creates_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    for number in fs::read_dir(&directory).unwrap().count().. {
        let path = Path::new(&directory).join(format!("ledger-{number}"));
        drop(EmbeddedLedger::open_or_create(path, genesis(), START).unwrap());
        say(&format!("ledger-{number}"));
    }
}

#[test]
fn a_killed_creation_leaves_no_half_ledger() {
    let directory = TempDir::new().unwrap();
    let mut seed = 0x1234_5678_9abc_def1;
    for _ in 0..KILLS {
        let spins = random(&mut seed) % 200_000;
        for name in acknowledged(
            child("creates_until_killed", DIRECTORY, directory.path()),
            1,
            spins,
        ) {
            assert_eq!(replay(directory.path().join(name)).unwrap().entries, 1);
        }
    }
    for entry in fs::read_dir(directory.path()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("ledger-") {
            assert_eq!(replay(entry.path()).unwrap().entries, 1, "{entry:?}");
        }
    }
}
