//! The store against a plain list of what was appended.

use std::collections::BTreeMap;
use std::ops::Range;

use nautilus_proof::{Gap, GapReason, Reading, SampleError};
use tempfile::TempDir;

use super::fixture::{Enclave, START, keys, random};
use super::rollup::{DAY_MILLIS, roll};
use super::*;

pub(super) fn everything() -> Range<UnixMillis> {
    UnixMillis(0)..UnixMillis(u64::MAX)
}

fn ask(range: Range<UnixMillis>, resolution: Resolution) -> Query {
    Query {
        selector: Selector::all(),
        range,
        resolution: Some(resolution),
        max_points: usize::MAX,
    }
}

fn store_in(directory: &TempDir) -> Store {
    Store::open(&directory.path().join("metrics"), &keys(), Options::default()).unwrap()
}

#[test]
fn batches_come_back_exactly_and_verify() {
    let directory = TempDir::new().unwrap();
    let mut enclave = Enclave::new(1);
    let mut store = store_in(&directory);
    let mut appended = Vec::new();
    for number in 0..300_u64 {
        // Batches of three that start in one hour and end in the next.
        let entry = enclave.mixed(START.plus(number * 45_000), 15_000, 3, 6);
        store.append(&entry).unwrap();
        appended.push(entry);
        if number % 97 == 0 {
            drop(store);
            store = store_in(&directory);
        }
    }
    let read: Vec<Entry> = store.batches(everything()).unwrap().map(Result::unwrap).collect();
    assert!(read == appended);
    let public = enclave.public();
    let report = store.verify_chain(everything(), &|_| Some(public)).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.samples, report.batches, report.unsigned), (900, 300, 0));
    let [boot] = &report.boots[..] else {
        panic!("{:?}", report.boots);
    };
    assert_eq!((boot.boot, boot.first, boot.last), (enclave.boot, 0, 899));
    assert_eq!(store.stats().unwrap().faults, []);
    assert_eq!(store.stats().unwrap().samples, 900);
}

/// What was appended, as a plain list.
#[derive(Default)]
struct Model(BTreeMap<String, Vec<(UnixMillis, i64)>>);

impl Model {
    fn take(&mut self, entry: &Entry) {
        for (sample, readings) in entry.batch.samples.iter().zip(&entry.readings) {
            for reading in &readings.0 {
                let points = self.0.entry(reading.series.clone()).or_default();
                points.push((sample.measurement.at, reading.value));
            }
        }
    }

    fn within(&self, range: &Range<UnixMillis>) -> BTreeMap<String, Vec<(UnixMillis, i64)>> {
        let mut all = BTreeMap::new();
        for (name, points) in &self.0 {
            let mut points: Vec<_> = points
                .iter()
                .copied()
                .filter(|(at, _)| range.contains(at))
                .collect();
            points.sort_by_key(|(at, _)| *at);
            if !points.is_empty() {
                all.insert(name.clone(), points);
            }
        }
        all
    }

    fn check(&self, store: &Store, range: Range<UnixMillis>) {
        let answer = store.query(&ask(range.clone(), Resolution::Raw)).unwrap();
        assert_eq!(answer.faults, []);
        let found: BTreeMap<String, _> = answer
            .series
            .into_iter()
            .map(|series| match series.points {
                Points::Raw(points) => (series.name, points),
                Points::Rollups(_) => panic!("rollups"),
            })
            .collect();
        assert_eq!(found, self.within(&range));
        for resolution in [Resolution::FiveMinutes, Resolution::Hour] {
            let width = resolution.millis();
            let whole =
                UnixMillis(range.start.0 / width * width)..UnixMillis(range.end.0.div_ceil(width) * width);
            let expected: BTreeMap<String, Vec<Rollup>> = self
                .within(&whole)
                .into_iter()
                .map(|(name, points)| (name, roll(&points, width)))
                .collect();
            let answer = store.query(&ask(whole, resolution)).unwrap();
            assert_eq!(answer.faults, []);
            let found: BTreeMap<String, _> = answer
                .series
                .into_iter()
                .map(|series| match series.points {
                    Points::Rollups(points) => (series.name, points),
                    Points::Raw(_) => panic!("samples"),
                })
                .collect();
            assert_eq!(
                found.keys().collect::<Vec<_>>(),
                expected.keys().collect::<Vec<_>>()
            );
            for (found, expected) in found.values().flatten().zip(expected.values().flatten()) {
                assert_eq!(
                    (found.at, found.min, found.max),
                    (expected.at, expected.min, expected.max)
                );
                assert!(found.last.is_none() || found.last == expected.last);
                let off = i128::from(expected.mean) - i128::from(found.mean);
                assert!(
                    (0..=i128::from(found.max - found.min) / 255 + 1).contains(&off),
                    "{found:?} {off}"
                );
            }
            let count = |all: &BTreeMap<String, Vec<Rollup>>| all.values().map(Vec::len).sum::<usize>();
            assert_eq!(count(&found), count(&expected));
        }
    }
}

/// Two days of series that come and go, of boots, of clocks that are set back, of restarts and of maintenance at odd
/// moments: every answer is that of the list.
#[test]
fn answers_are_those_of_a_plain_list() {
    for seed in 1..=3_u64 {
        let directory = TempDir::new().unwrap();
        let mut store = store_in(&directory);
        let mut model = Model::default();
        let mut appended = Vec::new();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        let mut boot = 1;
        let mut enclave = Enclave::new(boot);
        let mut publics = BTreeMap::from([(enclave.boot, enclave.public())]);
        let mut at = START;
        for _ in 0..400 {
            match random(&mut seed) % 40 {
                0 => {
                    boot += 1;
                    enclave = Enclave::new(boot);
                    publics.insert(enclave.boot, enclave.public());
                    at = UnixMillis(at.0 - random(&mut seed) % 9_000_000);
                }
                1 => at = at.plus(random(&mut seed) % 30_000_000),
                2 => {
                    drop(store);
                    store = store_in(&directory);
                }
                3 | 4 => {
                    let now = UnixMillis(at.0 + random(&mut seed) % (2 * DAY_MILLIS));
                    store.maintain(now).unwrap();
                }
                5 => {
                    let from = START.plus(random(&mut seed) % (2 * DAY_MILLIS));
                    model.check(&store, from..from.plus(random(&mut seed) % DAY_MILLIS));
                }
                _ => {
                    let ticks = 1 + random(&mut seed) % 4;
                    let ticks = (0..ticks).map(|_| {
                        at = at.plus(1 + random(&mut seed) % 600_000);
                        let Readings(mut readings) = enclave.readings(9);
                        readings.retain(|_| !random(&mut seed).is_multiple_of(7));
                        (at, Readings(readings), Vec::new())
                    });
                    let ticks = ticks.collect();
                    let entry = enclave.batch(ticks);
                    store.append(&entry).unwrap();
                    model.take(&entry);
                    appended.push(entry);
                }
            }
        }
        while store.maintain(at.plus(2 * DAY_MILLIS)).unwrap().more {}
        model.check(&store, UnixMillis(0)..at.plus(1));
        let state = store.lock().unwrap();
        assert!(state.days.is_empty() && state.hours.is_empty());
        assert!(state.is_rolled(append::day_of(hour_of(START).unwrap())));
        drop(state);
        let report = store
            .verify_chain(everything(), &|boot| publics.get(&boot).copied())
            .unwrap();
        assert!(report.is_intact(), "{:?}", report.faults);
        let mut read: Vec<Entry> = store.batches(everything()).unwrap().map(Result::unwrap).collect();
        let place = |entry: &Entry| (entry.batch.samples[0].boot, entry.batch.samples[0].sequence);
        read.sort_by_key(place);
        appended.sort_by_key(place);
        assert!(read == appended);
    }
}

#[test]
fn a_batch_that_was_lost_is_a_hole_and_no_end() {
    let directory = TempDir::new().unwrap();
    let store = store_in(&directory);
    let mut enclave = Enclave::new(1);
    let [first, lost, third, fourth] =
        [0, 30_000, 60_000, 90_000].map(|at| enclave.mixed(START.plus(at), 15_000, 2, 4));
    for kept in [&first, &third, &fourth] {
        store.append(kept).unwrap();
    }
    // What comes after it does not make room for it.
    assert!(matches!(store.append(&lost), Err(StoreError::Chain { .. })));
    let key = enclave.public();
    let range = START..START.plus(3_600_000);
    let report = store.verify_chain(range, &|_| Some(key)).unwrap();
    assert_eq!((report.samples, report.batches), (6, 3), "{report:?}");
    assert!(
        matches!(report.faults[..], [ChainFault::Broken { .. }]),
        "{:?}",
        report.faults
    );
}

#[test]
fn what_does_not_follow_is_refused_and_leaves_no_trace() {
    let directory = TempDir::new().unwrap();
    let store = store_in(&directory);
    let mut enclave = Enclave::new(1);
    let first = enclave.mixed(START, 15_000, 2, 4);
    let second = enclave.mixed(START.plus(30_000), 15_000, 2, 4);
    let third = enclave.mixed(START.plus(60_000), 15_000, 2, 4);
    store.append(&first).unwrap();
    assert!(matches!(
        store.append(&first),
        Err(StoreError::Chain {
            source: SampleError::ChainBroken { sequence: 0 },
            ..
        })
    ));
    let what = |entry: &Entry| match store.append(entry) {
        Err(StoreError::Readings { sequence, what, .. }) => (sequence, what),
        other => panic!("{other:?}"),
    };
    let mut other = second.clone();
    other.readings[1].0[2].value += 1;
    assert_eq!(what(&other), (3, "their digest is another"));
    let mut other = second.clone();
    other.readings[0].0.pop();
    assert_eq!(what(&other), (2, "there are not as many as it says"));
    let mut other = second.clone();
    other.readings[0].0.swap(0, 1);
    assert_eq!(
        what(&other),
        (2, "they are not in ascending order, each series once")
    );
    let mut other = second.clone();
    other.readings.pop();
    assert!(matches!(
        store.append(&other),
        Err(StoreError::TooMuch { limit: 2, .. })
    ));
    let mut other = second.clone();
    other.batch.samples.clear();
    other.readings.clear();
    assert!(matches!(
        store.append(&other),
        Err(StoreError::TooMuch { limit: 1000, .. })
    ));
    store.append(&second).unwrap();
    drop(store);
    let store = store_in(&directory);
    store.append(&third).unwrap();
    assert_eq!(store.stats().unwrap().samples, 6);
}

#[test]
fn gaps_are_told_with_their_cause() {
    let directory = TempDir::new().unwrap();
    let options = Options {
        collector_of: |name| name.starts_with("nautilus_test").then_some(CollectorKind::Custom),
        ..Options::default()
    };
    let store = Store::open(&directory.path().join("metrics"), &keys(), options).unwrap();
    let mut enclave = Enclave::new(1);
    let gap = |collector| Gap {
        collector,
        reason: GapReason::Stalled,
    };
    let mut at = START.plus(60_000);
    let mut entry = |enclave: &mut Enclave, wait: u64, gaps: Vec<Gap>| {
        at = at.plus(wait);
        let readings = enclave.readings(1);
        store.append(&enclave.batch(vec![(at, readings, gaps)])).unwrap();
        at
    };
    let first = entry(&mut enclave, 0, vec![]);
    let stalled = entry(
        &mut enclave,
        30_000,
        vec![gap(CollectorKind::System), gap(CollectorKind::Custom)],
    );
    entry(&mut enclave, 30_000, vec![gap(CollectorKind::Custom)]);
    let back = entry(&mut enclave, 30_000, vec![]);
    let mut enclave = Enclave::new(2);
    let restarted = entry(&mut enclave, 600_000, vec![]);
    let end = restarted.plus(120_000);
    let answer = store.query(&ask(START..end, Resolution::Raw)).unwrap();
    let span = |start, end, cause| GapSpan { start, end, cause };
    assert_eq!(
        answer.gaps,
        [
            span(START, first, GapCause::NotRunning),
            span(
                stalled,
                back,
                GapCause::Collector {
                    collector: CollectorKind::Custom,
                    reason: GapReason::Stalled
                }
            ),
            span(back, restarted, GapCause::NotRunning),
            span(restarted, end, GapCause::NotRunning),
        ]
    );
}

#[test]
fn series_past_the_limit_are_kept_and_verified_and_not_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    let options = Options {
        max_series: 3,
        ..Options::default()
    };
    let store = Store::open(&path, &keys(), options).unwrap();
    let mut enclave = Enclave::new(1);
    let appended: Vec<Entry> = (0..200)
        .map(|at| enclave.mixed(START.plus(at * 60_000), 30_000, 2, 6))
        .collect();
    appended.iter().for_each(|entry| store.append(entry).unwrap());
    drop(store);
    let store = Store::open(&path, &keys(), options).unwrap();
    let read: Vec<Entry> = store.batches(everything()).unwrap().map(Result::unwrap).collect();
    assert!(read == appended);
    let names: Vec<String> = store
        .series()
        .unwrap()
        .into_iter()
        .map(|series| series.name)
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let more = enclave.mixed(START.plus(200 * 60_000), 30_000, 2, 6);
    store.append(&more).unwrap();
    let faults = store.stats().unwrap().faults;
    assert_eq!(faults, [StoreFault::TooManySeries { count: 6, limit: 3 }]);
    let public = enclave.public();
    assert!(
        store
            .verify_chain(everything(), &|_| Some(public))
            .unwrap()
            .is_intact()
    );
}

#[test]
fn what_is_too_old_goes_with_its_names() {
    let directory = TempDir::new().unwrap();
    let options = Options {
        retention: Duration::from_secs(48 * 3600),
        ..Options::default()
    };
    let store = Store::open(&directory.path().join("metrics"), &keys(), options).unwrap();
    let mut enclave = Enclave::new(1);
    let mut append = |at: UnixMillis, series: &str| {
        let readings = Readings(vec![Reading {
            series: series.to_owned(),
            value: 1,
        }]);
        store
            .append(&enclave.batch(vec![(at, readings, Vec::new())]))
            .unwrap();
    };
    for hour in 0..30 {
        append(START.plus(hour * HOUR_MILLIS), "old");
    }
    for hour in 30..80 {
        append(START.plus(hour * HOUR_MILLIS), "new");
    }
    // A clock that is far ahead deletes nothing that the newest sample's time does not.
    let now = START.plus(1_000 * DAY_MILLIS);
    while store.maintain(now).unwrap().more {}
    let stats = store.stats().unwrap();
    assert_eq!(stats.oldest, Some(START.plus(31 * HOUR_MILLIS)));
    assert_eq!((stats.samples, stats.series), (49, 1));
    let series = store.series().unwrap();
    assert_eq!(series[0].name, "new");
    assert_eq!(series[0].first, START.plus(31 * HOUR_MILLIS));
    assert_eq!(series[0].last, START.plus(80 * HOUR_MILLIS));
    let raw = store.query(&ask(everything(), Resolution::Raw)).unwrap();
    assert_eq!(raw.series[0].points.len(), 49);
    let public = enclave.public();
    let report = store.verify_chain(everything(), &|_| Some(public)).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.boots[0].first, 31);
}

#[test]
fn a_new_key_reaches_every_value_and_the_old_one_can_go() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    let key = |byte: u8| StoreKey::new([byte; 32]);
    let both = || StoreKeys::new((2, key(8)), [(1, key(7))]);
    let mut enclave = Enclave::new(1);
    let appended: Vec<Entry> = (0..700)
        .map(|at| enclave.mixed(START.plus(at * 120_000), 60_000, 2, 5))
        .collect();
    let store = Store::open(&path, &keys(), Options::default()).unwrap();
    appended[..600]
        .iter()
        .for_each(|entry| store.append(entry).unwrap());
    store.maintain(START.plus(DAY_MILLIS)).unwrap();
    drop(store);
    let store = Store::open(&path, &both(), Options::default()).unwrap();
    appended[600..]
        .iter()
        .for_each(|entry| store.append(entry).unwrap());
    let ids = BTreeMap::from([(1, key(7).id()), (2, key(8).id())]);
    assert_eq!(store.stats().unwrap().epochs, ids);
    let mut calls = 0;
    let retired = loop {
        calls += 1;
        let done = store.maintain(START.plus(DAY_MILLIS)).unwrap();
        assert!(done.resealed_blocks <= 8);
        if !done.retired_epochs.is_empty() {
            break done.retired_epochs;
        }
        assert!(done.more);
    };
    assert_eq!(retired, [1]);
    assert!(calls >= 3, "{calls}");
    drop(store);
    assert_eq!(Store::epochs(&path).unwrap(), BTreeMap::from([(2, key(8).id())]));
    let store = Store::open(&path, &StoreKeys::new((2, key(8)), []), Options::default()).unwrap();
    let read: Vec<Entry> = store.batches(everything()).unwrap().map(Result::unwrap).collect();
    assert!(read == appended);
    assert_eq!(store.stats().unwrap().faults, []);
}

#[test]
fn a_field_that_equals_a_series_is_stored_once_and_comes_back() {
    let directory = TempDir::new().unwrap();
    let store = store_in(&directory);
    let mut enclave = Enclave::new(1);
    let mut seed = 7_u64;
    let mut at = START;
    let ticks = (0..80).map(|_| {
        at = at.plus(10_000 + random(&mut seed) % 30_000);
        let reading = |series: &str, value: u64| Reading {
            series: series.to_owned(),
            value: value.cast_signed(),
        };
        let readings = vec![reading("a", 5), reading("uptime", at.0 / 1000)];
        (at, Readings(readings), Vec::new())
    });
    let entry = enclave.batch(ticks.collect());
    store.append(&entry).unwrap();
    let state = store.lock().unwrap();
    let hour = state.hours.values().next().unwrap();
    let encode = |columns| tick::encode_record(&hour.ticks, columns, &[]);
    let (once, twice) = (encode(&hour.columns), encode(&BTreeMap::new()));
    // Some bits for each sample.
    assert!(once.len() + 50 < twice.len(), "{} {}", once.len(), twice.len());
    let times = tick::Times::decode(&tick::encode_times(&hour.ticks)).unwrap();
    let name = |number| Some(if number == FIRST_SERIES { "a" } else { "uptime" });
    let rebuild = |columns: &BTreeMap<u32, hour::Column>| {
        tick::rebuild(&times, tick::Record::decode(&once, 80).unwrap(), columns, name)
    };
    let rebuilt = rebuild(&hour.columns).unwrap();
    assert!(
        rebuilt
            .iter()
            .map(|(tick, _)| &tick.sample)
            .eq(&entry.batch.samples)
    );
    let mut without = hour.columns.clone();
    without.remove(&(FIRST_SERIES + 1));
    assert_eq!(
        rebuild(&without).unwrap_err(),
        Malformed("a field stands in a series that has no value there")
    );
    drop(state);
    while store.maintain(START.plus(2 * DAY_MILLIS)).unwrap().more {}
    let read: Vec<Entry> = store.batches(everything()).unwrap().map(Result::unwrap).collect();
    assert!(read == [entry]);
}

#[test]
fn exports_have_a_row_for_each_value() {
    let directory = TempDir::new().unwrap();
    let options = Options {
        places_of: |_| 3,
        ..Options::default()
    };
    let store = Store::open(&directory.path().join("metrics"), &keys(), options).unwrap();
    let mut enclave = Enclave::new(1);
    let ticks = [0_u64, 1, 2].map(|hour| {
        let readings = Readings(vec![Reading {
            series: "a{b=\"c,\\\"\"}".to_owned(),
            value: -1_500 - hour.cast_signed(),
        }]);
        (START.plus(hour * HOUR_MILLIS), readings, Vec::new())
    });
    store.append(&enclave.batch(ticks.to_vec())).unwrap();
    let export = |resolution, format| {
        let mut out = Vec::new();
        let exported = store
            .export(&ask(everything(), resolution), format, &mut out)
            .unwrap();
        (exported.rows, String::from_utf8(out).unwrap())
    };
    let (at, next, last) = (START.0, START.0 + HOUR_MILLIS, START.0 + 2 * HOUR_MILLIS);
    let name = "\"a{b=\"\"c,\\\"\"\"\"}\"";
    assert_eq!(
        export(Resolution::Raw, ExportFormat::Csv),
        (
            3,
            format!(
                "series,timestamp,value\r\n{name},{at},-1.500\r\n{name},{next},-1.501\r\n{name},{last},-1.502\r\n"
            )
        )
    );
    let (rows, text) = export(Resolution::Hour, ExportFormat::JsonLines);
    assert_eq!(rows, 3);
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        line,
        serde_json::json!({"series": "a{b=\"c,\\\"\"}", "timestamp": at,
            "min": "-1.500", "max": "-1.500", "mean": "-1.500", "last": "-1.500"})
    );
}

#[test]
fn answers_are_bounded() {
    let directory = TempDir::new().unwrap();
    let store = store_in(&directory);
    let mut enclave = Enclave::new(1);
    store.append(&enclave.mixed(START, 1_000, 100, 3)).unwrap();
    let mut question = ask(everything(), Resolution::Raw);
    question.max_points = 300;
    assert_eq!(store.query(&question).unwrap().series.len(), 3);
    question.max_points = 299;
    assert!(matches!(
        store.query(&question),
        Err(StoreError::AnswerTooLarge {
            what: "points",
            limit: 299
        })
    ));
    assert_eq!(
        ask(START..START.plus(HOUR_MILLIS), Resolution::Raw).resolution(),
        Resolution::Raw
    );
    let suited = |millis| {
        Query {
            resolution: None,
            ..ask(START..START.plus(millis), Resolution::Raw)
        }
        .resolution()
    };
    assert_eq!(suited(6 * HOUR_MILLIS), Resolution::Raw);
    assert_eq!(suited(DAY_MILLIS), Resolution::FiveMinutes);
    assert_eq!(suited(30 * DAY_MILLIS), Resolution::Hour);
}

#[test]
fn a_store_is_private_and_open_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    assert_eq!(Store::epochs(&path).unwrap(), BTreeMap::new());
    let store = store_in(&directory);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = Store::open(&path, &keys(), Options::default());
    assert!(matches!(again, Err(StoreError::InUse { .. })));
    drop(store);
    let keys = StoreKeys::new((0, StoreKey::new([7; 32])), []);
    let older = Store::open(&path, &keys, Options::default());
    assert!(matches!(older, Err(StoreError::OldEpoch { newest: 1, given: 0 })));
}

/// A day's values of the mix in numbers: what `make bench NAME=store` measures at full size.
#[test]
fn a_sealed_day_takes_few_bytes() {
    let directory = TempDir::new().unwrap();
    let mut store = store_in(&directory);
    let mut enclave = Enclave::new(1);
    let mut at = START;
    for _ in 0..100 {
        store.append(&enclave.mixed(at, 15_000, 20, 60)).unwrap();
        at = at.plus(300_000);
    }
    while store.maintain(at.plus(2 * DAY_MILLIS)).unwrap().more {}
    store.compact().unwrap();
    let bytes = store.stats().unwrap().bytes;
    println!("{} bytes a value", bytes as f64 / 120_000.0);
    assert!(bytes < 3 * 120_000, "{bytes}");
}

/// The fuzzer's seeds are values as the store makes them: `NAUTILUS_WRITE_SEEDS=1` writes them anew.
#[test]
fn seeds_of_the_fuzzer_decode() {
    let directory = TempDir::new().unwrap();
    let store = store_in(&directory);
    let mut enclave = Enclave::new(1);
    store.append(&enclave.mixed(START, 60_000, 50, 4)).unwrap();
    let state = store.lock().unwrap();
    let open = state.hours.values().next().unwrap();
    let mut seeds: Vec<(String, Vec<u8>)> = Vec::new();
    let mut seed = |name: &str, kind: u8, plain: Vec<u8>| {
        let ticks = u16::try_from(open.ticks.len()).unwrap().to_be_bytes();
        seeds.push((name.to_owned(), [&[kind], &ticks[..], &plain].concat()));
    };
    for (series, plain) in open.encode() {
        match series {
            hour::TIMES => seed("times", 1, plain),
            hour::RECORD => seed("record", 2, plain),
            number => seed(&format!("column_{number}"), 0, plain),
        }
    }
    let points: Vec<(UnixMillis, i64)> = (0..200)
        .map(|at| (START.plus(at * 60_000), 7 * at.cast_signed()))
        .collect();
    seed(
        "rollup",
        3,
        rollup::encode(&roll(&points, 300_000), START, 300_000),
    );
    let index = block::encode_index(&[(0, vec![0; 9]), (16, vec![0; 200])]);
    seed("index", 4, index);
    let row = Row {
        readings: vec![vec![(16, 5), (FIRST_LOCAL, -9)]; 50],
        samples: open.ticks.iter().map(|tick| tick.sample.clone()).collect(),
        end: None,
        local: vec!["past".to_owned()],
    };
    assert_eq!(Row::decode(&row.encode().unwrap()).unwrap(), row);
    seed("row", 5, row.encode().unwrap());
    seed("names", 6, state.names.encode(FIRST_SERIES).unwrap());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/store_chunk");
    if std::env::var_os("NAUTILUS_WRITE_SEEDS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &seeds {
            fs::write(folder.join(name).with_extension("bin"), bytes).unwrap();
        }
    }
    for (name, bytes) in &seeds {
        assert!(decode_opened(bytes), "{name}");
        for length in 0..bytes.len() {
            assert!(!decode_opened(&bytes[..length]), "{name} cut at {length}");
        }
    }
    assert!(folder.join("times.bin").exists());
}
