//! Two months of a node's metrics in the store, looked after as the agent does: memory, the file's size beside what
//! `docs/store.md` predicts, and whether what is older than 30 days goes and all else stays.
//!
//! `make bench NAME=month` takes some minutes: each batch is on the disk before the next comes.

#[path = "../store/mix.rs"]
mod mix;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nautilus_core::{PublicKey, UnixMillis};
use nautilus_monitor::store::{Options, Query, Resolution, Selector, Store, StoreKey, StoreKeys};

use mix::Mix;

const SERIES: u64 = 60;
const INTERVAL: u64 = 30_000;
/// Samples in a batch.
const BATCH: u64 = 2;
const DAYS: u64 = 60;
const RETENTION_DAYS: u64 = 30;
const DAY: u64 = 86_400_000;
const HOUR: u64 = 3_600_000;
/// Between looks after the store, as in the agent.
const CARE: u64 = 60_000;
const REPORTED: [u64; 3] = [5, 30, 60];

/// Aims: memory once the first retention period is over, and how much longer than the retention an hour stays.
const GROWTH: u64 = 4 << 20;
const LATE_HOURS: u64 = 2;

/// The store at the end of a day.
struct Evening {
    day: u64,
    resident: u64,
    before: u64,
    compacted: u64,
    predicted: u64,
    oldest: u64,
}

fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let options = Options {
        retention: Duration::from_millis(RETENTION_DAYS * DAY),
        interval: Duration::from_millis(INTERVAL),
        ..Options::default()
    };
    let keys = StoreKeys::new((1, StoreKey::new([7; 32])), []);
    let path = directory.path().join("metrics");
    let mut store = Store::open(&path, &keys, options)?;
    let mut mix = Mix::new(usize::try_from(SERIES)?, INTERVAL);
    let started = Instant::now();
    let mut evenings = Vec::new();
    for day in 1..=DAYS {
        let evening = live(&mut store, &mut mix, day)?;
        if REPORTED.contains(&day) {
            println!(
                "day {day:2}: resident {:.1} MiB, file {:.2} MiB before and {:.2} MiB after compaction, \
                 predicted {:.2} MiB, oldest hour began {:.1} days ago",
                mebibytes(evening.resident),
                mebibytes(evening.before),
                mebibytes(evening.compacted),
                mebibytes(evening.predicted),
                evening.oldest as f64 / DAY as f64,
            );
            evenings.push(evening);
        }
    }
    println!(
        "{DAYS} days of {SERIES} series every 30 s took {:.0?}",
        started.elapsed()
    );
    check_what_is_left(&store, &mix)?;
    println!();
    report(&evenings)
}

/// One day: batches as they come, care every minute, compaction at its end.
fn live(store: &mut Store, mix: &mut Mix, day: u64) -> Result<Evening> {
    let ticks = DAY / INTERVAL;
    let first = (day - 1) * ticks;
    let mut cared = mix::START.plus(first * INTERVAL);
    for tick in (first..first + ticks).step_by(usize::try_from(BATCH)?) {
        store.append(&mix.entry(tick..tick + BATCH)?)?;
        let now = mix::START.plus((tick + BATCH) * INTERVAL);
        if now.since(cared) >= CARE {
            // What is left to do is done with the next batch.
            if !store.maintain(now)?.more {
                cared = now;
            }
        }
    }
    let before = store.stats()?.bytes;
    store.compact()?;
    let stats = store.stats()?;
    ensure!(stats.faults.is_empty(), "{:?}", stats.faults);
    let now = mix::START.plus(day * DAY);
    let oldest = stats.oldest.context("an empty store")?;
    Ok(Evening {
        day,
        resident: resident()?,
        before,
        compacted: stats.bytes,
        predicted: predicted(day.min(RETENTION_DAYS) * 24 + LATE_HOURS),
        oldest: now.since(oldest),
    })
}

/// What `docs/store.md` predicts for so many hours, after compaction.
fn predicted(hours: u64) -> u64 {
    let samples = HOUR / INTERVAL;
    // A value of this mix needs 2.2 bytes.
    let values = samples * SERIES * 22 / 10;
    let hour = values + SERIES * 31 + samples / BATCH * 64 + samples * 16 + SERIES * 16 + 2_048;
    hour * hours * 105 / 100 + (1 << 20)
}

/// Every sample of the last 30 days is there as it was signed, and nothing of before is.
fn check_what_is_left(store: &Store, mix: &Mix) -> Result<()> {
    let started = Instant::now();
    let public = PublicKey(mix.key.verifying_key().to_bytes());
    let everything = UnixMillis(0)..UnixMillis(u64::MAX);
    let report = store.verify_chain(everything.clone(), &|_| Some(public))?;
    ensure!(report.is_intact(), "{:?}", report.faults);
    let boot = report.boots.first().context("no boot")?;
    let last = DAYS * DAY / INTERVAL - 1;
    ensure!(boot.last == last && report.samples + report.unsigned == last - boot.first + 1);
    println!("{} samples verified in {:.1?}", report.samples, started.elapsed());
    let answer = store.query(&Query {
        selector: Selector::all(),
        range: everything,
        resolution: Some(Resolution::Hour),
        max_points: 1_000_000,
    })?;
    ensure!(answer.series.len() as u64 == SERIES && answer.faults.is_empty());
    let hours = answer.series.iter().map(|series| series.points.len() as u64);
    ensure!(hours.clone().all(|hours| hours >= RETENTION_DAYS * 24));
    Ok(())
}

fn report(evenings: &[Evening]) -> Result<()> {
    let of = |day| {
        evenings
            .iter()
            .find(|evening| evening.day == day)
            .context("a day")
    };
    let (full, end) = (of(RETENTION_DAYS)?, of(DAYS)?);
    let verdict = |met: bool| if met { "ok" } else { "short" };
    let growth = end.resident.saturating_sub(full.resident);
    println!(
        "aim growth of resident memory from day {RETENTION_DAYS} to {DAYS}: {:.1} MiB want <= {:.1}: {}",
        mebibytes(growth),
        mebibytes(GROWTH),
        verdict(growth <= GROWTH)
    );
    for evening in evenings {
        println!(
            "aim file of day {}, compacted: {:.2} MiB want <= {:.2}: {}",
            evening.day,
            mebibytes(evening.compacted),
            mebibytes(evening.predicted),
            verdict(evening.compacted <= evening.predicted)
        );
    }
    let most = RETENTION_DAYS * 24 + LATE_HOURS;
    let hours = end.oldest / HOUR;
    println!(
        "aim age of the oldest hour on day {DAYS}: {hours} h want {} to {most}: {}",
        RETENTION_DAYS * 24,
        verdict((RETENTION_DAYS * 24..=most).contains(&hours))
    );
    Ok(())
}

/// Memory of this process that is in RAM.
fn resident() -> Result<u64> {
    let status = fs::read_to_string(Path::new("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kibibytes.parse::<u64>()? * 1024)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
