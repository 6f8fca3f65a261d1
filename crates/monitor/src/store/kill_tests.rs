//! `kill -9` at any moment: a child process appends, the test kills it, and looks at what is there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::fixture::{Enclave, START, keys, random};
use super::tests::everything;
use super::{Options, Store};

const FILE: &str = "NAUTILUS_STORE_TEST_FILE";
const BOOT: &str = "NAUTILUS_STORE_TEST_BOOT";
const KILLS: u8 = 100;
/// Samples are twenty minutes apart, so that hours end and days are rolled up all the time.
const INTERVAL: u64 = 20 * 60_000;

/// Nothing is deleted for its age.
fn options() -> Options {
    Options {
        retention: Duration::from_secs(10 * 365 * 24 * 3600),
        ..Options::default()
    }
}

fn child(path: &Path, boot: u8) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::kill_tests::appends_until_killed",
            "--nocapture",
            "--ignored",
        ])
        .env(FILE, path)
        .env(BOOT, boot.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the child of the test below"]
fn appends_until_killed() {
    let (Some(path), Ok(boot)) = (std::env::var_os(FILE), std::env::var(BOOT)) else {
        return;
    };
    let store = Store::open(Path::new(&path), &keys(), options()).unwrap();
    let mut enclave = Enclave::new(boot.parse().unwrap());
    let mut at = store.stats().unwrap().newest.unwrap_or(START).plus(INTERVAL);
    let mut stdout = std::io::stdout();
    for number in 0_u64.. {
        let count = 1 + random(&mut enclave.seed) % 3;
        store.append(&enclave.mixed(at, INTERVAL, count, 30)).unwrap();
        at = at.plus(count * INTERVAL);
        let line = format!("acknowledged {}\n", at.0 - INTERVAL);
        stdout.write_all(line.as_bytes()).unwrap();
        stdout.flush().unwrap();
        if number % 7 == 0 {
            store.maintain(at).unwrap();
        }
    }
}

#[test]
fn no_acknowledged_batch_is_lost_when_the_writer_is_killed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let mut total = 0;
    let mut acknowledged_in_all = 0;
    for boot in 1..=KILLS {
        let mut child = child(&path, boot);
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned));
        let wanted = 1 + usize::try_from(random(&mut seed) % 12).unwrap();
        let mut acknowledged: Vec<String> = lines.by_ref().take(wanted).collect();
        assert_eq!(acknowledged.len(), wanted, "the child failed");
        (0..random(&mut seed) % 3_000_000).for_each(|_| std::hint::spin_loop());
        child.kill().unwrap();
        acknowledged.extend(lines);
        child.wait().unwrap();
        acknowledged_in_all += acknowledged.len();
        let store = Store::open(&path, &keys(), options()).unwrap();
        let stats = store.stats().unwrap();
        assert_eq!(stats.faults, [], "boot {boot}");
        let newest = stats.newest.unwrap().0;
        // The last line may have been cut by the kill: then it is a shorter number.
        let last: u64 = acknowledged
            .iter()
            .map(|line| line.parse().unwrap())
            .max()
            .unwrap();
        assert!(newest >= last, "boot {boot}: {newest} after {last}");
        // At most the one batch whose acknowledgement did not come.
        assert!(
            newest <= last + 3 * INTERVAL,
            "boot {boot}: {newest} after {last}"
        );
        assert!(stats.samples > total, "boot {boot}");
        total = stats.samples;
    }
    let store = Store::open(&path, &keys(), options()).unwrap();
    let key_of = |id: nautilus_core::BootId| Some(Enclave::new(id.0[0]).public());
    let report = store.verify_chain(everything(), &key_of).unwrap();
    assert!(report.is_intact(), "{:?}", report.faults);
    assert_eq!((report.samples, report.unsigned), (total, 0));
    assert_eq!(report.boots.len(), usize::from(KILLS));
    // Each boot's chain is whole from its first sample on.
    assert!(report.boots.iter().all(|boot| boot.first == 0));
    let batches = store.batches(everything()).unwrap().map(Result::unwrap).count();
    assert!(batches >= acknowledged_in_all && batches <= acknowledged_in_all + usize::from(KILLS));
}
