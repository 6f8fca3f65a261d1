//! An attacker with the disk: every value altered, moved, deleted or put back, a file cut at any length, other keys.

use std::fs;
use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _};
use tempfile::TempDir;

use super::block::{BlockKey, PIECE};
use super::file::{BLOCKS, HEAD, NAMES, PIECES, TAIL};
use super::fixture::{Enclave, START, keys};
use super::key::INDEX;
use super::tests::everything;
use super::*;

const SERIES: usize = 12;

/// Three hours, the last of them open, and the enclave that signed.
fn write(path: &Path) -> Enclave {
    let store = Store::open(path, &keys(), Options::default()).unwrap();
    let mut enclave = Enclave::new(1);
    for number in 0..30_u64 {
        store
            .append(&enclave.mixed(START.plus(number * 300_000), 60_000, 5, SERIES))
            .unwrap();
    }
    enclave
}

fn open(path: &Path) -> Store {
    let options = Options {
        interval: Duration::from_secs(60),
        ..Options::default()
    };
    Store::open(path, &keys(), options).unwrap()
}

fn verify(store: &Store, enclave: &Enclave) -> ChainReport {
    let public = enclave.public();
    store.verify_chain(everything(), &|_| Some(public)).unwrap()
}

fn raw(store: &Store) -> Answer {
    let query = Query {
        selector: Selector::all(),
        range: START..START.plus(3 * HOUR_MILLIS),
        resolution: Some(Resolution::Raw),
        max_points: usize::MAX,
    };
    store.query(&query).unwrap()
}

fn block(hour: u64) -> BlockKey {
    BlockKey {
        resolution: 0,
        hour: hour_of(START.plus(hour * HOUR_MILLIS)).unwrap(),
        part: 0,
    }
}

/// The bytes of a block, without the store.
fn bytes_of(path: &Path, key: BlockKey) -> Vec<u8> {
    let database = Database::open(path).unwrap();
    let table = database.begin_read().unwrap().open_table(PIECES).unwrap();
    let (first, last) = (key.piece(0), key.piece(u32::MAX));
    let pieces = table.range::<&[u8; 11]>(&first..=&last).unwrap();
    pieces
        .flat_map(|piece| piece.unwrap().1.value().to_vec())
        .collect()
}

fn replace(path: &Path, key: BlockKey, bytes: &[u8]) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(PIECES).unwrap();
        for (number, piece) in (0..).zip(bytes.chunks(PIECE)) {
            table.insert(&key.piece(number), piece).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// Where a series' sealed column is in a block.
fn column(bytes: &[u8], key: BlockKey, series: u32) -> std::ops::Range<usize> {
    let (start, salt) = (index_end(bytes), bytes[5..21].try_into().unwrap());
    let opener = Seals::new(&keys())
        .unwrap()
        .block(column_place(key, INDEX), 1, salt)
        .unwrap();
    let index = opener.open(INDEX, &bytes[21..start]).unwrap();
    let (offset, length) = block::decode_index(&index, start).unwrap().find(series).unwrap();
    offset..offset + length
}

/// Where a block's index ends: behind its length, the epoch, the salt and what is sealed.
fn index_end(bytes: &[u8]) -> usize {
    4 + u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize
}

fn sealed(store: &Store, series: u32, hour: u64) -> StoreFault {
    let name = store.lock().unwrap().called(series);
    StoreFault::Sealed {
        series: name,
        hour: START.plus(hour * HOUR_MILLIS),
    }
}

#[test]
fn an_altered_column_is_named_and_the_rest_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    let enclave = write(&path);
    let original = bytes_of(&path, block(1));
    let whole = raw(&open(&path));
    for series in [hour::TIMES, hour::RECORD, FIRST_SERIES, FIRST_SERIES + 7] {
        let mut altered = original.clone();
        let place = column(&original, block(1), series);
        altered[place.start + 2] ^= 1;
        replace(&path, block(1), &altered);
        let store = open(&path);
        let answer = raw(&store);
        let fault = sealed(&store, series, 1);
        if series == hour::RECORD {
            assert_eq!(answer, whole);
        } else {
            assert_eq!(answer.faults, std::slice::from_ref(&fault));
            let points = |answer: &Answer| {
                answer
                    .series
                    .iter()
                    .map(|series| series.points.len())
                    .sum::<usize>()
            };
            let lost = if series == hour::TIMES { 60 * SERIES } else { 60 };
            assert_eq!(points(&answer), points(&whole) - lost);
        }
        if series == hour::TIMES {
            assert!(
                answer
                    .gaps
                    .iter()
                    .any(|gap| gap.cause == GapCause::Unreadable { fault: fault.clone() })
            );
        }
        let report = verify(&store, &enclave);
        assert!(
            report.faults.contains(&ChainFault::Unreadable(fault)),
            "{report:?}"
        );
        assert!(report.samples >= 85, "{report:?}");
    }
}

#[test]
fn swapped_columns_are_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    write(&path);
    let original = bytes_of(&path, block(0));
    // Of the same length, so that the index stays right.
    let lengths = |series: u32| column(&original, block(0), series).len();
    let (one, other) = (FIRST_SERIES..FIRST_SERIES + 12)
        .flat_map(|one| (one + 1..FIRST_SERIES + 12).map(move |other| (one, other)))
        .find(|(one, other)| lengths(*one) == lengths(*other))
        .unwrap();
    let mut swapped = original.clone();
    swapped[column(&original, block(0), one)].copy_from_slice(&original[column(&original, block(0), other)]);
    swapped[column(&original, block(0), other)].copy_from_slice(&original[column(&original, block(0), one)]);
    replace(&path, block(0), &swapped);
    let store = open(&path);
    assert_eq!(
        raw(&store).faults,
        [sealed(&store, one, 0), sealed(&store, other, 0)]
    );
}

#[test]
fn a_block_of_another_hour_does_not_open() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    write(&path);
    let other = bytes_of(&path, block(1));
    replace(&path, block(0), &other);
    let store = open(&path);
    assert_eq!(raw(&store).faults, [sealed_index(0)]);
}

/// The index says how long columns are, and with which salt they are sealed: no bit of it can be altered unseen.
#[test]
fn an_altered_index_is_named_and_other_hours_are_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    let enclave = write(&path);
    let original = bytes_of(&path, block(1));
    let end = index_end(&original);
    for at in [5, 20, 21, end - 17, end - 1] {
        let mut altered = original.clone();
        altered[at] ^= 1;
        replace(&path, block(1), &altered);
        let store = open(&path);
        let answer = raw(&store);
        assert_eq!(answer.faults, [sealed_index(1)], "{at}");
        let points = answer.series.iter().map(|series| series.points.len());
        assert_eq!(points.sum::<usize>(), 90 * SERIES, "{at}");
        let unreadable = ChainFault::Unreadable(sealed_index(1));
        assert!(verify(&store, &enclave).faults.contains(&unreadable), "{at}");
    }
    let mut altered = original;
    altered[4] = 9;
    replace(&path, block(1), &altered);
    assert!(matches!(
        &raw(&open(&path)).faults[..],
        [StoreFault::UnknownEpoch { epoch: 9, .. }]
    ));
}

fn sealed_index(hour: u64) -> StoreFault {
    StoreFault::Sealed {
        series: "the index of a block".to_owned(),
        hour: START.plus(hour * HOUR_MILLIS),
    }
}

#[test]
fn a_column_of_another_history_opens_and_does_not_verify() {
    let directory = TempDir::new().unwrap();
    let (path, fork) = (directory.path().join("metrics"), directory.path().join("fork"));
    let store = open(&path);
    let mut enclave = Enclave::new(1);
    store.append(&enclave.mixed(START, 60_000, 50, SERIES)).unwrap();
    drop(store);
    fs::copy(&path, &fork).unwrap();
    let mut other = Enclave::new(1);
    other.mixed(START, 60_000, 50, SERIES);
    other.seed += 1;
    for (path, enclave) in [(&path, &mut enclave), (&fork, &mut other)] {
        let store = open(path);
        store
            .append(&enclave.mixed(START.plus(50 * 60_000), 60_000, 20, SERIES))
            .unwrap();
    }
    let theirs = bytes_of(&fork, block(0));
    replace(&path, block(0), &theirs);
    let store = open(&path);
    assert_eq!(raw(&store).faults, []);
    let report = verify(&store, &enclave);
    assert!(
        report.faults.iter().any(|fault| matches!(
            fault,
            ChainFault::NotSigned {
                first: 50,
                last: 69,
                ..
            } | ChainFault::Broken { .. }
        )),
        "{report:?}"
    );
}

#[test]
fn a_deleted_hour_breaks_the_chain() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    let enclave = write(&path);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(BLOCKS)
        .unwrap()
        .remove(&block(1).bytes())
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let store = open(&path);
    let report = verify(&store, &enclave);
    let [ChainFault::Broken { source, .. }] = &report.faults[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        *source,
        nautilus_proof::SampleError::ChainBroken { sequence: 120 }
    );
    let gap = GapSpan {
        start: START.plus(HOUR_MILLIS - 60_000),
        end: START.plus(2 * HOUR_MILLIS),
        cause: GapCause::NotRunning,
    };
    assert_eq!(raw(&store).gaps[0], gap);
}

#[test]
fn altered_names_rows_and_newest_sample_are_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    let zero = UnixMillis(0);
    for table in 0..3 {
        let _ = fs::remove_file(&path);
        let enclave = write(&path);
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let flip = |sealed: &[u8]| {
            let mut altered = sealed.to_vec();
            *altered.last_mut().unwrap() ^= 1;
            altered
        };
        let series = match table {
            0 => {
                let mut names = transaction.open_table(NAMES).unwrap();
                let (row, sealed) = names
                    .first()
                    .unwrap()
                    .map(|(row, sealed)| (row.value(), flip(sealed.value())))
                    .unwrap();
                names.insert(row, sealed.as_slice()).unwrap();
                "a row of names"
            }
            1 => {
                let mut head = transaction.open_table(HEAD).unwrap();
                let (row, sealed) = head
                    .first()
                    .unwrap()
                    .map(|(row, sealed)| (row.value(), flip(sealed.value())))
                    .unwrap();
                head.insert(row, sealed.as_slice()).unwrap();
                "a row of the open hour"
            }
            _ => {
                let mut tail = transaction.open_table(TAIL).unwrap();
                let sealed = tail.get(()).unwrap().map(|sealed| flip(sealed.value())).unwrap();
                tail.insert((), sealed.as_slice()).unwrap();
                "the newest sample"
            }
        };
        transaction.commit().unwrap();
        drop(database);
        let store = open(&path);
        let hour = if table == 1 {
            START.plus(2 * HOUR_MILLIS)
        } else {
            zero
        };
        let faults = store.stats().unwrap().faults;
        let series = series.to_owned();
        assert_eq!(faults, [StoreFault::Sealed { series, hour }]);
        let report = verify(&store, &enclave);
        assert_eq!(report.is_intact(), table == 2, "{report:?}");
        if table == 1 {
            assert_eq!(report.samples, 145, "{report:?}");
        }
    }
}

#[test]
fn other_keys_are_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    let enclave = write(&path);
    let (right, wrong) = (StoreKey::new([7; 32]), StoreKey::new([8; 32]));
    let opened = Store::open(&path, &StoreKeys::new((1, wrong.clone()), []), Options::default());
    let Err(StoreError::WrongKey {
        epoch,
        expected,
        given,
    }) = opened
    else {
        panic!("{opened:?}");
    };
    assert_eq!((epoch, expected, given), (1, right.id(), wrong.id()));
    // A key that is gone for good: what it sealed is named, what comes is kept.
    let store = Store::open(&path, &StoreKeys::new((2, wrong), []), Options::default()).unwrap();
    let unknown = |fault: &StoreFault| matches!(fault, StoreFault::UnknownEpoch { epoch: 1, .. });
    let faults = store.stats().unwrap().faults;
    assert!(!faults.is_empty() && faults.iter().all(unknown), "{faults:?}");
    let mut later = Enclave::new(2);
    let entry = later.mixed(START.plus(3 * HOUR_MILLIS), 60_000, 5, 3);
    store.append(&entry).unwrap();
    while store.maintain(START.plus(4 * HOUR_MILLIS)).unwrap().more {}
    assert!(store.stats().unwrap().epochs.contains_key(&1));
    let read: Vec<Entry> = store
        .batches(everything())
        .unwrap()
        .filter_map(Result::ok)
        .collect();
    assert!(read == [entry]);
    assert!(!verify(&store, &enclave).is_intact());
    drop(store);
    // And if it comes back, nothing that it sealed was overwritten.
    let both = StoreKeys::new((2, StoreKey::new([8; 32])), [(1, right)]);
    let store = Store::open(&path, &both, Options::default()).unwrap();
    let mut points: Vec<usize> = raw(&store)
        .series
        .iter()
        .map(|series| series.points.len())
        .collect();
    points.sort_unstable();
    assert_eq!(points, [150; SERIES]);
    assert_eq!(store.stats().unwrap().faults, []);
    let publics = [(enclave.boot, enclave.public()), (later.boot, later.public())];
    let key_of = |boot| {
        publics
            .iter()
            .find(|(of, _)| *of == boot)
            .map(|(_, public)| *public)
    };
    let report = store.verify_chain(everything(), &key_of).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.samples, 155);
}

/// What opens is not given up for what does not: the block stays under its old key, and its epoch is not retired.
#[test]
fn a_damaged_block_is_not_sealed_anew() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("metrics");
    write(&path);
    let original = bytes_of(&path, block(1));
    let mut altered = original.clone();
    altered[column(&original, block(1), FIRST_SERIES).start] ^= 1;
    replace(&path, block(1), &altered);
    let before = bytes_of(&path, block(0));
    let both = StoreKeys::new((2, StoreKey::new([8; 32])), [(1, StoreKey::new([7; 32]))]);
    let store = Store::open(&path, &both, Options::default()).unwrap();
    let (mut resealed, mut retired) = (0, Vec::new());
    loop {
        let done = store.maintain(START.plus(3 * HOUR_MILLIS)).unwrap();
        resealed += done.resealed_blocks;
        retired.extend(done.retired_epochs);
        if !done.more {
            break;
        }
    }
    assert_eq!((resealed, retired), (1, Vec::new()));
    assert_eq!(store.stats().unwrap().faults, [sealed(&store, FIRST_SERIES, 1)]);
    let points: usize = raw(&store).series.iter().map(|series| series.points.len()).sum();
    assert_eq!(points, 150 * SERIES - 60);
    drop(store);
    assert_eq!(bytes_of(&path, block(1)), altered);
    let after = bytes_of(&path, block(0));
    assert_eq!((before[4], after[4]), (1, 2));
    assert_ne!(before[5..21], after[5..21]);
}

/// A file cut at any length is refused by name; what its pages still hold can be read, and nothing else comes of it.
#[test]
fn a_truncated_file_is_named_and_what_is_left_is_read() {
    let directory = TempDir::new().unwrap();
    let (path, cut) = (directory.path().join("metrics"), directory.path().join("cut"));
    let enclave = write(&path);
    let whole = raw(&open(&path));
    let bytes = fs::read(&path).unwrap();
    let mut read = 0;
    for length in (1..16)
        .map(|part| bytes.len() * part / 16)
        .chain([bytes.len() - 1, 4096, 4095, 100])
    {
        fs::write(&cut, &bytes[..length]).unwrap();
        let opened = Store::open(&cut, &keys(), Options::default());
        assert!(
            matches!(opened, Err(StoreError::Truncated { .. })),
            "{length} of {}: {opened:?}",
            bytes.len()
        );
        assert_eq!(fs::metadata(&cut).unwrap().len(), length as u64);
        let Ok(store) = Store::open_damaged(&cut, &keys(), Options::default()) else {
            continue;
        };
        let mut later = Enclave::new(2);
        let entry = later.mixed(START.plus(3 * HOUR_MILLIS), 60_000, 5, 3);
        assert!(matches!(store.append(&entry), Err(StoreError::ReadOnly)));
        let answer = raw(&store);
        for series in &answer.series {
            let Points::Raw(points) = &series.points else {
                panic!("rollups");
            };
            let original = whole
                .series
                .iter()
                .find(|original| original.name == series.name)
                .unwrap();
            let Points::Raw(original) = &original.points else {
                panic!("rollups");
            };
            assert!(points.iter().all(|point| original.contains(point)));
            read += points.len();
        }
        assert!(verify(&store, &enclave).samples <= 150);
    }
    assert!(read > 0, "nothing could be read of any");
}

/// Bytes of the file altered wherever they are: no panic reaches the caller, and no answer has another value.
#[test]
fn an_altered_file_answers_nothing_wrong() {
    let directory = TempDir::new().unwrap();
    let (path, altered) = (directory.path().join("metrics"), directory.path().join("altered"));
    let enclave = write(&path);
    let whole = raw(&open(&path));
    let bytes = fs::read(&path).unwrap();
    let mut seed = 0x1234_5678_9abc_def1;
    let (mut refused, mut faulty) = (0, 0);
    for _ in 0..150 {
        let mut other = bytes.clone();
        let at = usize::try_from(fixture::random(&mut seed)).unwrap() % bytes.len();
        let end = (at + 1 + usize::try_from(fixture::random(&mut seed) % 64).unwrap()).min(bytes.len());
        other[at..end].iter_mut().for_each(|byte| *byte ^= 0xa5);
        fs::write(&altered, &other).unwrap();
        let store = match Store::open(&altered, &keys(), Options::default()) {
            Ok(store) => store,
            Err(
                StoreError::Damaged { .. }
                | StoreError::Truncated { .. }
                | StoreError::Io { .. }
                | StoreError::UnknownLayout { .. }
                | StoreError::WrongKey { .. }
                | StoreError::OldEpoch { .. },
            ) => {
                refused += 1;
                continue;
            }
            Err(other) => panic!("{other:?}"),
        };
        let query = Query {
            selector: Selector::all(),
            range: START..START.plus(3 * HOUR_MILLIS),
            resolution: Some(Resolution::Raw),
            max_points: usize::MAX,
        };
        let Ok(answer) = store.query(&query) else {
            faulty += 1;
            continue;
        };
        faulty += usize::from(!answer.faults.is_empty());
        for series in &answer.series {
            let original = whole
                .series
                .iter()
                .find(|original| original.name == series.name)
                .unwrap();
            let (Points::Raw(points), Points::Raw(original)) = (&series.points, &original.points) else {
                panic!("rollups");
            };
            assert!(points.iter().all(|point| original.contains(point)), "byte {at}");
        }
        let public = enclave.public();
        let _ = store.verify_chain(everything(), &|_| Some(public));
    }
    assert!(refused > 0 && faulty > 0, "{refused} {faulty}");
}
