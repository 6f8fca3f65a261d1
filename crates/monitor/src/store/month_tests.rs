//! Days of simulated time: memory stays flat, what is too old goes, the file stays as small as is predicted.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::fixture::{Enclave, START, keys};
use super::rollup::DAY_MILLIS;
use super::tests::everything;
use super::*;

const FILE: &str = "NAUTILUS_STORE_TEST_MONTH";
const DAYS: u64 = 10;
const RETENTION_DAYS: u64 = 3;
const SERIES: usize = 24;
const INTERVAL: u64 = 30_000;
/// Samples that are appended at once: on the disk of a test a transaction takes milliseconds.
const BATCH: u64 = 20;

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The formula of `docs/store.md` for values that need `bits` bits each.
fn predicted(samples: u64, series: u64, hours: u64, bits: u64) -> u64 {
    let values = samples * series * bits / 8;
    let sealing = hours * (series + 2) * 31;
    let signatures = samples / BATCH * 64;
    let record = samples * 16;
    let rollups = hours * series * 16;
    let pages = hours * 4096 * 3 / 2;
    (values + sealing + signatures + record + rollups + pages) * 5 / 4 + (1 << 20)
}

#[test]
#[ignore = "the child of the test below"]
fn ten_days_pass() {
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let options = Options {
        retention: Duration::from_millis(RETENTION_DAYS * DAY_MILLIS),
        ..Options::default()
    };
    let mut store = Store::open(Path::new(&path), &keys(), options).unwrap();
    let mut enclave = Enclave::new(1);
    let mut early = 0;
    for day in 0..DAYS {
        for batch in 0..DAY_MILLIS / INTERVAL / BATCH {
            let at = START.plus(day * DAY_MILLIS + batch * BATCH * INTERVAL);
            store.append(&enclave.mixed(at, INTERVAL, BATCH, SERIES)).unwrap();
            if batch % 6 == 0 {
                while store.maintain(at).unwrap().more {}
            }
        }
        store.compact().unwrap();
        let stats = store.stats().unwrap();
        if day == RETENTION_DAYS + 1 {
            early = resident();
        }
        let held = (day + 1).min(RETENTION_DAYS + 1);
        let bound = predicted(held * DAY_MILLIS / INTERVAL, SERIES as u64, held * 24, 14);
        assert!(
            stats.bytes <= bound,
            "day {day}: {} bytes, predicted {bound}",
            stats.bytes
        );
        assert_eq!(stats.faults, []);
        if day > RETENTION_DAYS {
            let oldest = stats.oldest.unwrap();
            let now = START.plus((day + 1) * DAY_MILLIS);
            assert!(
                now.since(oldest) <= RETENTION_DAYS * DAY_MILLIS + 3 * HOUR_MILLIS,
                "day {day}: {oldest}"
            );
            assert!(
                now.since(oldest) >= RETENTION_DAYS * DAY_MILLIS,
                "day {day}: {oldest}"
            );
        }
    }
    let late = resident();
    assert!(
        late < early + (4 << 20),
        "{early} bytes resident on day 4, {late} on day {DAYS}"
    );
    let public = enclave.public();
    let report = store.verify_chain(everything(), &|_| Some(public)).unwrap();
    assert!(report.is_intact(), "{:?}", report.faults);
    let query = Query {
        selector: Selector::all(),
        range: START..START.plus(DAYS * DAY_MILLIS),
        resolution: Some(Resolution::Hour),
        max_points: 100_000,
    };
    let answer = store.query(&query).unwrap();
    assert_eq!(answer.series.len(), SERIES);
    assert!(answer.series.iter().all(|series| series.points.len() >= 72));
}

#[test]
fn memory_is_flat_retention_holds_and_the_file_is_as_large_as_predicted() {
    let directory = TempDir::new().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::month_tests::ten_days_pass", "--ignored"])
        .env(FILE, directory.path().join("metrics"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}
