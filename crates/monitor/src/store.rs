//! The store of all samples: sealed, durable, bounded, and so complete that every signature can be checked again.
//!
//! [`Store::append`] returns when a signed batch and what its samples read are on the disk. An hour's samples are rows
//! first; when the hour is over they become a *block*: one compressed and sealed column for each series, in the same
//! transaction that deletes the rows. `docs/store.md` has the layout, and what an attacker with the disk can do.
//!
//! Nothing here knows a clock or a unit of a metric: times come from samples and callers.

mod append;
mod block;
mod chain;
mod column;
mod error;
mod export;
mod file;
#[cfg(test)]
mod fixture;
mod hour;
mod key;
#[cfg(test)]
mod kill_tests;
mod maintain;
#[cfg(test)]
mod month_tests;
mod name;
mod query;
mod rollup;
mod salvage;
mod selector;
#[cfg(test)]
mod tamper_tests;
#[cfg(test)]
mod tests;
mod tick;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nautilus_core::{BootId, UnixMillis};
use nautilus_proof::{CollectorKind, Reading, Readings, Sample, SampleChain, SignedBatch};
use redb::{ReadableTable as _, WriteTransaction};
use serde::Serialize;

use crate::aggregate::Load;

pub use self::chain::{Batches, BootSpan, ChainFault, ChainReport};
pub use self::error::{StoreError, StoreFault};
pub use self::export::{ExportFormat, Exported};
pub use self::key::{KeyId, StoreKey, StoreKeys};
pub use self::maintain::Maintained;
pub use self::query::{Answer, GapCause, GapSpan, Points, Query, Resolution, SeriesData};
pub use self::rollup::Rollup;
pub use self::selector::{Selector, SelectorError};

use self::block::{BlockKey, read_index};
use self::file::{BLOCKS, DAYS, EPOCHS, Failure, File, HEAD, HEADER, NAMES, PIECES, TAIL, as_fault};
use self::hour::{FIRST_LOCAL, FIRST_SERIES, Hour, Row};
use self::key::{LAYOUT, Place, Seals, hour_start};
use self::name::Names;
use self::wire::Malformed;

/// Length of an hour.
const HOUR_MILLIS: u64 = 3_600_000;
const LAYOUT_KEY: &str = "layout";
/// Of a database's tables, in what is authenticated.
const TABLE_NAMES: u8 = 1;
const TABLE_HEAD: u8 = 2;
const TABLE_TAIL: u8 = 3;
const TABLE_BLOCKS: u8 = 4;
/// Faults that are kept for [`StoreStats`].
const MAX_FAULTS: usize = 100;

/// How a store works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long samples are kept.
    pub retention: Duration,
    /// Time between samples: a longer silence is a gap.
    pub interval: Duration,
    /// Memory for pages of the file.
    pub cache_bytes: usize,
    /// Most series that can be asked for. Readings of further ones are kept and verified, but have no name in
    /// questions; [`StoreStats::faults`] counts them.
    pub max_series: usize,
    /// Which collector a series is of, so that its gaps alone are shown; none shows the gaps of all.
    pub collector_of: fn(&str) -> Option<CollectorKind>,
    /// Decimal places of a series' integers in exports, by its full name.
    pub places_of: fn(&str) -> u8,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(30 * 24 * 3600),
            interval: Duration::from_secs(30),
            cache_bytes: 4 << 20,
            max_series: 20_000,
            collector_of: |_| None,
            places_of: |_| 0,
        }
    }
}

/// A signed batch, and what its samples read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The batch, as the enclave signed it. Its signature is stored and not checked.
    pub batch: SignedBatch,
    /// Of each sample, in order.
    pub readings: Vec<Readings>,
}

impl Load for Entry {
    fn samples(&self) -> usize {
        self.batch.samples.len()
    }

    fn bytes(&self) -> usize {
        let readings = self.readings.iter().flat_map(|readings| &readings.0);
        let readings = readings.map(|reading| size_of::<Reading>().saturating_add(reading.series.len()));
        let samples = self.batch.samples.len().saturating_mul(size_of::<Sample>());
        readings.fold(samples, usize::saturating_add)
    }
}

/// A series, and in which hours there are values of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeriesFacts {
    /// Its name.
    pub name: String,
    /// First instant of its first hour.
    pub first: UnixMillis,
    /// First instant after its last hour.
    pub last: UnixMillis,
}

/// What the store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreStats {
    /// Size of the file.
    pub bytes: u64,
    /// Samples, each with its readings.
    pub samples: u64,
    /// Series that can be asked for.
    pub series: usize,
    /// First instant of the oldest hour.
    pub oldest: Option<UnixMillis>,
    /// When the newest sample was taken.
    pub newest: Option<UnixMillis>,
    /// Sealed blocks.
    pub blocks: usize,
    /// Key epochs that values are sealed under, with the keys' names.
    pub epochs: BTreeMap<u32, KeyId>,
    /// What could not be read since the store was opened, each once.
    pub faults: Vec<StoreFault>,
}

/// What a block is, without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlockFacts {
    bytes: u64,
    ticks: u32,
}

/// What is in memory: names, the open hours, and which blocks there are.
#[derive(Default)]
struct State {
    names: Names,
    hours: BTreeMap<u32, Hour>,
    /// Rows of the head that are in `hours`.
    rows: BTreeMap<u64, u32>,
    /// Rows of the head that could not be read: left as they are until they are too old.
    dead_rows: BTreeMap<u64, u32>,
    next_row: u64,
    blocks: BTreeMap<BlockKey, BlockFacts>,
    /// First and last hour of each series' blocks.
    seen: HashMap<u32, (u32, u32)>,
    /// Days whose rollups are to be made, and from which series on.
    days: BTreeMap<u32, u32>,
    chain: Option<(BootId, SampleChain)>,
    newest: Option<UnixMillis>,
    epochs: BTreeMap<u32, KeyId>,
    faults: Vec<StoreFault>,
    left_out: u64,
    /// Where the search for values under old keys is.
    reseal: maintain::Reseal,
    /// The disk may hold other than what is here: read it again first.
    stale: bool,
}

impl State {
    fn note(&mut self, fault: StoreFault) {
        if self.faults.len() < MAX_FAULTS && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn saw(&mut self, series: u32, hour: u32) {
        if (FIRST_SERIES..FIRST_LOCAL).contains(&series) {
            let (first, last) = self.seen.entry(series).or_insert((hour, hour));
            *first = hour.min(*first);
            *last = hour.max(*last);
        }
    }

    /// What people call a column.
    fn called(&self, series: u32) -> String {
        called(series, |number| self.names.name(number).map(ToString::to_string))
    }

    fn blocks_of(&self, resolution: u8, hours: std::ops::Range<u32>) -> Vec<BlockKey> {
        let key = |hour| BlockKey {
            resolution,
            hour,
            part: 0,
        };
        if hours.is_empty() {
            return Vec::new();
        }
        self.blocks
            .range(key(hours.start)..key(hours.end))
            .map(|(key, _)| *key)
            .collect()
    }
}

fn called(series: u32, name: impl Fn(u32) -> Option<String>) -> String {
    match series {
        hour::TIMES => "the times".to_owned(),
        hour::RECORD => "the samples' record".to_owned(),
        number => name(number).unwrap_or_else(|| format!("series {number}")),
    }
}

/// The store. Blocks the thread that calls; may be shared between threads.
pub struct Store {
    file: File,
    seals: Seals,
    options: Options,
    state: Mutex<State>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.file.path())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Which key epochs the store names, with the keys' names: what the enclave is to be asked for before
    /// [`Self::open`]. Empty if there is no file. In plain in the file, and not to be trusted.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn epochs(path: &Path) -> Result<BTreeMap<u32, KeyId>, StoreError> {
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        let file = File::open(path, 1 << 20)?;
        let transaction = file.begin_read()?;
        file.read(|| match transaction.open_table(EPOCHS) {
            Ok(table) => {
                let all = table.iter()?.map(|row| {
                    let (epoch, id) = row?;
                    Ok((epoch.value(), KeyId(*id.value())))
                });
                all.collect()
            }
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(BTreeMap::new()),
            Err(error) => Err(error.into()),
        })
    }

    /// Opens the store, or creates it with mode 0600. After a kill the database first repairs itself: it goes back to
    /// the newest transaction that is whole.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] if a key is not that of its epoch, [`StoreError::Truncated`] and
    /// [`StoreError::Damaged`] if the file is not whole, [`StoreError::InUse`] if another process has it.
    pub fn open(path: &Path, keys: &StoreKeys, options: Options) -> Result<Self, StoreError> {
        let created = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        created.map_err(|source| StoreError::Io {
            path: path.to_owned(),
            source,
        })?;
        let file = File::open(path, options.cache_bytes)?;
        file.write(|transaction| prepare(transaction, path, keys))?;
        Self::load(file, keys, options)
    }

    /// Opens what is left of a damaged file for reading alone. Nothing is written to it.
    ///
    /// # Errors
    /// As [`Self::open`], if too little is left.
    pub fn open_damaged(path: &Path, keys: &StoreKeys, options: Options) -> Result<Self, StoreError> {
        let file = salvage::open(path, options.cache_bytes)?;
        Self::load(file, keys, options)
    }

    fn load(file: File, keys: &StoreKeys, options: Options) -> Result<Self, StoreError> {
        let store = Self {
            seals: Seals::new(keys)?,
            file,
            options,
            state: Mutex::default(),
        };
        let state = store.read_state()?;
        *store.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(store)
    }

    /// What is in memory, after it was read again if a transaction failed.
    fn lock(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stale {
            *state = self.read_state()?;
        }
        Ok(state)
    }

    /// All series that can be asked for, by name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn series(&self) -> Result<Vec<SeriesFacts>, StoreError> {
        let state = self.lock()?;
        let mut all: Vec<SeriesFacts> = Vec::with_capacity(state.names.len());
        for (number, name) in state.names.all() {
            let open = state
                .hours
                .iter()
                .filter(|(_, hour)| hour.columns.contains_key(&number));
            let hours = open
                .map(|(hour, _)| (*hour, *hour))
                .chain(state.seen.get(&number).copied());
            let span = hours.reduce(|(first, last), (start, end)| (first.min(start), last.max(end)));
            if let Some((first, last)) = span {
                all.push(SeriesFacts {
                    name: name.to_string(),
                    first: hour_start(first),
                    last: hour_start(last.saturating_add(1)),
                });
            }
        }
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// What the store holds.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let state = self.lock()?;
        let bytes = fs::metadata(self.file.path()).map_err(|source| StoreError::Io {
            path: self.file.path().to_owned(),
            source,
        })?;
        let raw = state.blocks.iter().filter(|(key, _)| key.resolution == 0);
        let sealed: u64 = raw.clone().map(|(_, facts)| u64::from(facts.ticks)).sum();
        let open: usize = state.hours.values().map(|hour| hour.ticks.len()).sum();
        let oldest = raw
            .map(|(key, _)| key.hour)
            .chain(state.hours.keys().copied())
            .min();
        let mut faults = state.faults.clone();
        if state.left_out > 0 {
            faults.push(StoreFault::TooManySeries {
                count: state.left_out,
                limit: self.options.max_series,
            });
        }
        Ok(StoreStats {
            bytes: bytes.len(),
            samples: sealed.saturating_add(open as u64),
            series: state.names.len(),
            oldest: oldest.map(hour_start),
            newest: state.newest,
            blocks: state.blocks.len(),
            epochs: state.epochs.clone(),
            faults,
        })
    }

    /// Gives space that deleted values left back to the file system. It moves pages until the file cannot get shorter,
    /// and needs the store for itself meanwhile: see `docs/store.md` for how long that takes.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.file.compact()
    }

    fn read_state(&self) -> Result<State, StoreError> {
        let transaction = self.file.begin_read()?;
        let mut state = State::default();
        let zero = UnixMillis(0);
        let file = &self.file;
        let part =
            |state: &mut State, what, read: &mut dyn FnMut(&mut State) -> Result<(), Failure>| match file
                .read(|| read(state))
            {
                Ok(()) => Ok(()),
                Err(error) => as_fault(error, what, zero).map(|fault| state.note(fault)),
            };
        part(&mut state, "the key epochs", &mut |state| {
            for row in transaction.open_table(EPOCHS)?.iter()? {
                let (epoch, id) = row?;
                state.epochs.insert(epoch.value(), KeyId(*id.value()));
            }
            Ok(())
        })?;
        part(&mut state, "the names", &mut |state| {
            for row in transaction.open_table(NAMES)?.iter()? {
                let (number, sealed) = row?;
                self.take_names(state, number.value(), sealed.value());
            }
            Ok(())
        })?;
        part(&mut state, "the list of blocks", &mut |state| {
            for row in transaction.open_table(BLOCKS)?.iter()? {
                let (key, facts) = row?;
                let (bytes, ticks) = facts.value();
                state
                    .blocks
                    .insert(BlockKey::of(*key.value()), BlockFacts { bytes, ticks });
            }
            for row in transaction.open_table(DAYS)?.iter()? {
                let (day, from) = row?;
                state.days.insert(day.value(), from.value());
            }
            Ok(())
        })?;
        for key in state.blocks_of(0, 0..u32::MAX) {
            let read = self.file.read(|| {
                let index = read_index(&transaction.open_table(PIECES)?, &self.seals, key)?;
                index.series().for_each(|series| state.saw(series, key.hour));
                Ok(())
            });
            if let Err(error) = read {
                let fault = as_fault(error, "the index", hour_start(key.hour))?;
                state.note(fault);
            }
        }
        // A number must not come twice, even if the row that names it cannot be read.
        let next = state
            .seen
            .keys()
            .max()
            .map_or(FIRST_SERIES, |number| number.saturating_add(1));
        state.names.reserve(next);
        part(&mut state, "the newest sample", &mut |state| {
            if let Some(sealed) = transaction.open_table(TAIL)?.get(())? {
                self.take_tail(state, sealed.value());
            }
            Ok(())
        })?;
        part(&mut state, "the open hour", &mut |state| {
            for row in transaction.open_table(HEAD)?.iter()? {
                let (key, sealed) = row?;
                self.take_row(state, key.value(), sealed.value());
            }
            Ok(())
        })?;
        Ok(state)
    }

    fn take_names(&self, state: &mut State, row: u32, sealed: &[u8]) {
        let hour = UnixMillis(0);
        let series = "a row of names".to_owned();
        let opened = self
            .seals
            .open(names_place(row), sealed)
            .map_err(|fault| fault.of(&series, hour));
        let taken = opened.and_then(|plain| {
            let decoded = state.names.decode(row, &plain);
            decoded.map_err(|Malformed(what)| StoreFault::Malformed { series, hour, what })
        });
        if let Err(fault) = taken {
            // Its numbers are not given again: its key may come back.
            state.names.reserve(row.saturating_add(name::MAX_ROW_NAMES));
            state.note(fault);
        }
    }

    fn take_tail(&self, state: &mut State, sealed: &[u8]) {
        let series = "the newest sample".to_owned();
        let hour = UnixMillis(0);
        let opened = self
            .seals
            .open(TAIL_PLACE, sealed)
            .map_err(|fault| fault.of(&series, hour));
        let taken = opened.and_then(|plain| {
            let sample: Sample = bcs::from_bytes(&plain).map_err(|_| StoreFault::Malformed {
                series,
                hour,
                what: "it is no sample",
            })?;
            state.newest = Some(sample.measurement.at);
            state.chain = Some((sample.boot, chain_from(&sample)));
            Ok(())
        });
        if let Err(fault) = taken {
            state.note(fault);
        }
    }

    fn take_row(&self, state: &mut State, (row, hour): (u64, u32), sealed: &[u8]) {
        state.next_row = state.next_row.max(row.saturating_add(1));
        let place = row_place(row, hour);
        let series = "a row of the open hour".to_owned();
        let opened = self
            .seals
            .open(place, sealed)
            .map_err(|fault| fault.of(&series, place.at()));
        let taken = opened.and_then(|plain| {
            Row::decode(&plain).map_err(|Malformed(what)| StoreFault::Malformed {
                series,
                hour: place.at(),
                what,
            })
        });
        match taken {
            Ok(taken) => {
                if let Some(last) = taken.samples.last() {
                    state.newest = state.newest.max(Some(last.measurement.at));
                }
                state.rows.insert(row, hour);
                state.hours.entry(hour).or_default().push(taken);
            }
            Err(fault) => {
                state.dead_rows.insert(row, hour);
                state.note(fault);
            }
        }
    }
}

/// A chain whose newest sample is this one.
fn chain_from(sample: &Sample) -> SampleChain {
    let mut chain = SampleChain::piece(sample.node, sample.boot);
    // The first of a piece always fits, but for a share above 100 %, which was refused when it was appended.
    let _ = chain.push(sample);
    chain.take_batch();
    chain.start_window();
    chain
}

const TAIL_PLACE: Place = Place {
    table: TABLE_TAIL,
    resolution: 0,
    series: 0,
    hour: 0,
    part: 0,
    row: 0,
};

const fn names_place(row: u32) -> Place {
    Place {
        table: TABLE_NAMES,
        series: row,
        ..TAIL_PLACE
    }
}

const fn row_place(row: u64, hour: u32) -> Place {
    Place {
        table: TABLE_HEAD,
        hour,
        row,
        ..TAIL_PLACE
    }
}

const fn column_place(key: BlockKey, series: u32) -> Place {
    Place {
        table: TABLE_BLOCKS,
        resolution: key.resolution,
        series,
        hour: key.hour,
        part: key.part,
        row: 0,
    }
}

/// Creates what is not there, and refuses what was not sealed with these keys.
fn prepare(transaction: &WriteTransaction, path: &Path, keys: &StoreKeys) -> Result<(), Failure> {
    let mut header = transaction.open_table(HEADER)?;
    let found = header.get(LAYOUT_KEY)?.map(|value| value.value());
    match found {
        Some(LAYOUT) => {}
        Some(found) => {
            return Err(StoreError::UnknownLayout {
                path: path.to_owned(),
                found,
                known: LAYOUT,
            }
            .into());
        }
        None => {
            header.insert(LAYOUT_KEY, LAYOUT)?;
        }
    }
    let mut epochs = transaction.open_table(EPOCHS)?;
    let ids = keys.ids();
    let mut newest = None;
    for row in epochs.iter()? {
        let (epoch, id) = row?;
        let (epoch, expected) = (epoch.value(), KeyId(*id.value()));
        newest = Some(epoch);
        if let Some(given) = ids.get(&epoch).filter(|given| **given != expected) {
            return Err(StoreError::WrongKey {
                epoch,
                expected,
                given: *given,
            }
            .into());
        }
    }
    let given = keys.current();
    if let Some(newest) = newest.filter(|newest| *newest > given) {
        return Err(StoreError::OldEpoch { newest, given }.into());
    }
    if let Some(id) = ids.get(&given).filter(|_| newest != Some(given)) {
        epochs.insert(given, &id.0)?;
    }
    transaction.open_table(NAMES)?;
    transaction.open_table(HEAD)?;
    transaction.open_table(TAIL)?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(PIECES)?;
    transaction.open_table(DAYS)?;
    Ok(())
}

/// The hour of an instant; none beyond the year 491,000.
fn hour_of(at: UnixMillis) -> Option<u32> {
    u32::try_from(at.0.checked_div(HOUR_MILLIS)?)
        .ok()
        .filter(|hour| *hour < u32::MAX)
}

/// Decodes what would be an opened value, for the fuzzer: the first byte says which, the next two of how many ticks.
#[doc(hidden)]
pub fn decode_opened(bytes: &[u8]) -> bool {
    let Some(([kind, high, low], rest)) = bytes.split_first_chunk::<3>() else {
        return false;
    };
    let ticks = usize::from(u16::from_be_bytes([*high, *low])).min(tick::MAX_TICKS);
    match kind % 7 {
        0 => query::decode_values(rest, ticks).is_ok(),
        1 => tick::Times::decode(rest).is_ok_and(|times| times.facts().count() == times.at.len()),
        2 => tick::Record::decode(rest, ticks)
            .is_ok_and(|record| record.metrics(ticks, &BTreeMap::new()).is_ok()),
        3 => rollup::decode(rest, UnixMillis(0), 300_000).is_ok(),
        4 => block::decode_index(rest, 0).is_ok(),
        5 => Row::decode(rest).is_ok(),
        _ => Names::default().decode(FIRST_SERIES, rest).is_ok(),
    }
}
