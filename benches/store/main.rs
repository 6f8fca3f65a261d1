//! What the metrics store costs: bytes a value on disk, values stored a second, questions answered a second; beside
//! Prometheus's TSDB with the same values, written by `promtool` and asked over HTTP on loopback.
//!
//! `make bench NAME=store` takes two minutes. `scripts/tools.sh` unpacks Prometheus where it is not there: below
//! `target/tools`, or the folder that NAUTILUS_TOOLS names.

mod mix;
mod prometheus;

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nautilus_core::UnixMillis;
use nautilus_monitor::store::{Entry, Options, Query, Resolution, Selector, Store, StoreKey, StoreKeys};

use mix::{Mix, name};
use prometheus::Prometheus;

/// Aims of the project.
const BYTES: f64 = 2.6;

/// A value's worth of the reference: 200 series, 5,000 samples, 15 s.
const SERIES: usize = 200;
const TICKS: u64 = 5_000;
const INTERVAL: u64 = 15_000;
/// Samples in a batch: the agent flushes every 30 s.
const BATCH: u64 = 2;
/// Thirty days for questions: 20 series every minute.
const MONTH_SERIES: usize = 20;
const MONTH_TICKS: u64 = 30 * 24 * 60;
const MONTH_INTERVAL: u64 = 60_000;
const DAY: u64 = 86_400_000;
const HOUR: u64 = 3_600_000;
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let cpus = std::thread::available_parallelism()?;
    println!("{cpus} CPUs, load {}\n", load.trim());
    let directory = tempfile::tempdir()?;
    let mut entries = all_entries(Mix::new(SERIES, INTERVAL), TICKS, BATCH)?;
    let (bytes, ours) = size_and_ingest(&directory.path().join("values"), &entries)?;
    let month = all_entries(Mix::new(MONTH_SERIES, MONTH_INTERVAL), MONTH_TICKS, 20)?;
    let store = fill(&directory.path().join("month"), &month)?.0;
    let end = mix::START.plus(MONTH_TICKS * MONTH_INTERVAL);
    let raw = rate("ours: every value of a series over 30 days", || {
        let answer = store.query(&question(name(2), Resolution::Raw, end)?)?;
        ensure!(answer.series.len() == 1 && answer.series[0].points.len() as u64 == MONTH_TICKS);
        Ok(drop(black_box(answer)))
    })?;
    let hours = rate("ours: hours of 20 series over 30 days", || {
        let answer = store.query(&question("*".to_owned(), Resolution::Hour, end)?)?;
        ensure!(answer.series.len() == MONTH_SERIES && answer.series[0].points.len() == 720);
        Ok(drop(black_box(answer)))
    })?;
    rate("ours: five minutes of 20 series over 3 days", || {
        let days = Query {
            range: mix::START..mix::START.plus(3 * DAY),
            ..question("*".to_owned(), Resolution::FiveMinutes, end)?
        };
        let answer = store.query(&days)?;
        ensure!(answer.series.len() == MONTH_SERIES && answer.series[0].points.len() == 864);
        Ok(drop(black_box(answer)))
    })?;
    drop(store);
    beside(
        &prometheus::binaries()?,
        directory.path(),
        &mut entries,
        &month,
        (bytes, ours, raw, hours),
    )?;
    println!();
    let met = if bytes <= BYTES { "ok" } else { "short" };
    println!("aim bytes per sample sealed and compacted: {bytes:.3} want <= {BYTES}: {met}");
    Ok(())
}

/// Batches of `batch` samples, `ticks` samples in all.
fn all_entries(mut mix: Mix, ticks: u64, batch: u64) -> Result<Vec<Entry>> {
    let firsts = (0..ticks).step_by(usize::try_from(batch)?);
    firsts
        .map(|first| mix.entry(first..(first + batch).min(ticks)))
        .collect()
}

/// What pco makes of the values, each series by itself, 240 values at a time.
fn pco_bytes(series: usize, entries: &[Entry]) -> Result<usize> {
    let mut bytes = 0;
    for series in 0..series {
        let values: Vec<i64> = entries
            .iter()
            .flat_map(|entry| &entry.readings)
            .map(|readings| readings.0[series].value)
            .collect();
        for hour in values.chunks(240) {
            bytes += pco::standalone::simple_compress(hour, &pco::ChunkConfig::default())?.len();
        }
    }
    Ok(bytes)
}

fn size_and_ingest(path: &Path, entries: &[Entry]) -> Result<(f64, f64)> {
    let values = (SERIES as u64 * TICKS) as f64;
    let alone = pco_bytes(SERIES, entries)? as f64 / values;
    println!("bytes a value, pco alone in memory, an hour at a time:     {alone:.3}");
    let samples = samples_alone(&path.with_extension("samples"), entries)? / values;
    let (mut store, seconds) = fill(path, entries)?;
    let before = store.stats()?.bytes as f64 / values;
    let started = Instant::now();
    store.compact()?;
    let took = started.elapsed();
    let bytes = store.stats()?.bytes as f64 / values;
    let signatures = entries.len() as f64 * 64.0 / values;
    println!("bytes a value, ours, sealed, with rollups, names and all:  {before:.3}");
    println!("bytes a value, ours, compacted (took {took:.2?}):          {bytes:.3}");
    println!("  of it signatures of batches of {BATCH}, 64 bytes each:         {signatures:.3}");
    println!(
        "  of it rollups of hours:                                  {:.3}",
        bytes - samples
    );
    let blocks = store.stats()?.blocks as f64;
    let seals = blocks * (SERIES as f64 + 3.0) * 16.0 + blocks * 16.0;
    println!(
        "  of it seals, 16 bytes a column and a block's salt:       {:.3}",
        seals / values
    );
    let rate = values / seconds;
    println!("values stored a second, each batch durable, sealed, rolled up: {rate:.0}");
    Ok((bytes, rate))
}

/// Bytes of a compacted store with these entries before the day is rolled up.
fn samples_alone(path: &Path, entries: &[Entry]) -> Result<f64> {
    let (mut store, _) = fill_until(path, entries, HOUR)?;
    store.compact()?;
    Ok(store.stats()?.bytes as f64)
}

/// A store with these entries, all hours sealed and all days rolled up, and how many seconds that took.
fn fill(path: &Path, entries: &[Entry]) -> Result<(Store, f64)> {
    fill_until(path, entries, 2 * DAY)
}

/// A store with these entries, looked after as it would be some time after the last.
fn fill_until(path: &Path, entries: &[Entry], after: u64) -> Result<(Store, f64)> {
    let keys = StoreKeys::new((1, StoreKey::new([7; 32])), []);
    let options = Options {
        retention: std::time::Duration::from_secs(40 * 86_400),
        ..Options::default()
    };
    let started = Instant::now();
    let store = Store::open(path, &keys, options)?;
    for entry in entries {
        store.append(entry)?;
    }
    let last = entries
        .last()
        .and_then(|entry| entry.batch.samples.last())
        .context("no samples")?;
    while store.maintain(last.measurement.at.plus(after))?.more {}
    Ok((store, started.elapsed().as_secs_f64()))
}

fn question(selector: String, resolution: Resolution, end: UnixMillis) -> Result<Query> {
    Ok(Query {
        selector: selector.parse::<Selector>()?,
        range: mix::START..end,
        resolution: Some(resolution),
        max_points: 10_000_000,
    })
}

/// How often a second, as the median of some rounds.
fn rate(what: &str, mut ask: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        ask()?;
        rates.push(1.0 / started.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let median = rates[ROUNDS / 2];
    println!(
        "{what}, a second: least {:.1}, median {median:.1}, most {:.1}",
        rates[0],
        rates[ROUNDS - 1]
    );
    Ok(median)
}

fn beside(
    binaries: &Path,
    directory: &Path,
    entries: &mut Vec<Entry>,
    month: &[Entry],
    (bytes, ingest, raw, hours): (f64, f64, f64, f64),
) -> Result<()> {
    let values = (SERIES as u64 * TICKS) as f64;
    let (blocks, seconds) = prometheus::backfill(binaries, &directory.join("prometheus"), entries)?;
    entries.clear();
    let theirs = blocks as f64 / values;
    println!("\nbytes a value, Prometheus, blocks as compacted:             {theirs:.3}");
    println!(
        "values backfilled a second by promtool, from text:         {:.0}",
        values / seconds
    );
    println!("ratio of bytes, ours to Prometheus's: {:.2}", bytes / theirs);
    println!(
        "ratio of values stored a second, ours to promtool's: {:.2}",
        ingest / (values / seconds)
    );
    let data = directory.join("prometheus-month");
    prometheus::backfill(binaries, &data, month)?;
    let server = Prometheus::start(binaries, &data)?;
    let end = mix::START.plus(MONTH_TICKS * MONTH_INTERVAL);
    let days = "[30d]";
    let selector = name(2)
        .replace('"', "%22")
        .replace('{', "%7B")
        .replace('}', "%7D")
        .replace('=', "%3D");
    let at = end.0 / 1000;
    let theirs = rate("Prometheus: every value of a series over 30 days", || {
        let answer = server.get(&format!("/api/v1/query?query={selector}{days}&time={at}"))?;
        ensure!(answer.len() > 500_000, "{} bytes", answer.len());
        Ok(drop(black_box(answer)))
    })?;
    println!("ratio of questions a second: {:.2}", raw / theirs);
    let start = mix::START.0 / 1000 + 3600;
    let query = "avg_over_time(%7B__name__%3D~%22nautilus_.*%22%7D[1h])";
    let theirs = rate("Prometheus: hours of 20 series over 30 days", || {
        let answer = server.get(&format!(
            "/api/v1/query_range?query={query}&start={start}&end={at}&step=3600"
        ))?;
        ensure!(
            answer.len() > 100_000,
            "{}",
            answer.chars().take(300).collect::<String>()
        );
        Ok(drop(black_box(answer)))
    })?;
    println!("ratio of questions a second: {:.2}", hours / theirs);
    Ok(())
}
