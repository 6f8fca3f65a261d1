//! The work between appends, a bounded piece at a time: hours that are over, rollups, retention, keys.

use std::collections::{BTreeMap, BTreeSet};

use nautilus_core::UnixMillis;
use redb::{ReadableTable as _, WriteTransaction};
use serde::Serialize;

use super::append::{day_of, next_part};
use super::block::{BlockKey, Index, read_column, read_index};
use super::error::{StoreError, StoreFault};
use super::file::{BLOCKS, DAYS, EPOCHS, Failure, HEAD, NAMES, PIECES, TAIL, as_fault};
use super::hour::{FIRST_LOCAL, FIRST_SERIES, TIMES};
use super::key::{Unopened, epoch_of, hour_start};
use super::query::{Resolution, decode_values};
use super::rollup::{DAY_MILLIS, encode, roll};
use super::tick::Times;
use super::wire::Malformed;
use super::{State, Store, TAIL_PLACE, called, hour_of, names_place, row_place};

/// Of one call, so that it holds up appending for some hundred milliseconds at most.
const MAX_DELETED: usize = 48;
const MAX_ROLLED: usize = 200;
const MAX_RESEALED: usize = 8;

/// What one call of [`Store::maintain`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Maintained {
    /// Hours that became blocks.
    pub sealed_hours: usize,
    /// Blocks that were too old.
    pub deleted_blocks: usize,
    /// Series that no sample in the store has any more.
    pub forgotten_series: usize,
    /// Series that were rolled up for a day.
    pub rolled_series: usize,
    /// Blocks that were sealed anew with the current key.
    pub resealed_blocks: usize,
    /// Key epochs that no value in the store is sealed under any more: their keys can be destroyed.
    pub retired_epochs: Vec<u32>,
    /// There is more of this to do: call again.
    pub more: bool,
}

/// The search for values under old keys, from start to end once after the store was opened.
#[derive(Debug, Default)]
pub(super) struct Reseal {
    done: bool,
    next: Option<BlockKey>,
    /// Epochs of values that could not be opened.
    kept: BTreeSet<u32>,
}

impl Store {
    /// Does a bounded part of the work that is due: call it every minute or so, and again while there is more.
    /// What is older than the retention is deleted. Its age is reckoned from `now` or from the newest sample, whichever
    /// is earlier, so that a clock that is wrong for a moment deletes nothing.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn maintain(&self, now: UnixMillis) -> Result<Maintained, StoreError> {
        let mut done = Maintained::default();
        let mut state = self.lock()?;
        self.seal_finished(&mut state, now, &mut done)?;
        self.delete_old(&mut state, now, &mut done)?;
        self.roll_days(&mut state, now, &mut done)?;
        self.reseal(&mut state, &mut done)?;
        Ok(done)
    }

    fn change<T>(
        &self,
        state: &mut State,
        change: impl FnOnce(&WriteTransaction, &mut State) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        state.stale = true;
        let changed = self.file.write(|transaction| change(transaction, state))?;
        state.stale = false;
        Ok(changed)
    }

    fn seal_finished(
        &self,
        state: &mut State,
        now: UnixMillis,
        done: &mut Maintained,
    ) -> Result<(), StoreError> {
        let this = hour_of(now).unwrap_or(0);
        let over: Vec<u32> = state.hours.range(..this).map(|(hour, _)| *hour).collect();
        if over.is_empty() {
            return Ok(());
        }
        self.change(state, |transaction, state| {
            over.iter()
                .try_for_each(|hour| self.seal_hour(transaction, state, *hour))
        })?;
        done.sealed_hours = over.len();
        Ok(())
    }

    fn delete_old(
        &self,
        state: &mut State,
        now: UnixMillis,
        done: &mut Maintained,
    ) -> Result<(), StoreError> {
        let retention = u64::try_from(self.options.retention.as_millis()).unwrap_or(u64::MAX);
        let newest = state.newest.unwrap_or(UnixMillis(0)).min(now);
        let cutoff = UnixMillis(newest.0.saturating_sub(retention));
        let is_old = |key: &BlockKey| {
            let hours = if key.resolution == Resolution::Raw.code() {
                1
            } else {
                24
            };
            hour_start(key.hour.saturating_add(hours)) <= cutoff
        };
        let mut old: Vec<BlockKey> = state.blocks.keys().copied().filter(is_old).collect();
        let dead = state
            .dead_rows
            .iter()
            .filter(|(_, hour)| hour_start(hour.saturating_add(1)) <= cutoff);
        let dead: Vec<(u64, u32)> = dead.map(|(row, hour)| (*row, *hour)).collect();
        if old.is_empty() && dead.is_empty() {
            return Ok(());
        }
        // Whole hours, oldest first, so that what is known of each series stays right.
        old.sort_unstable_by_key(|key| (key.hour, *key));
        if let Some(limit) = old.get(MAX_DELETED).map(|key| key.hour) {
            let first = old.first().map_or(limit, |key| key.hour);
            old.retain(|key| key.hour < limit || (key.hour == limit && limit == first));
            done.more = true;
        }
        done.deleted_blocks = old.len();
        done.forgotten_series = self.change(state, |transaction, state| {
            for key in &old {
                delete_block(transaction, state, *key)?;
            }
            let mut head = transaction.open_table(HEAD)?;
            for row in &dead {
                head.remove(*row)?;
                state.dead_rows.remove(&row.0);
            }
            let mut days = transaction.open_table(DAYS)?;
            let empty: Vec<u32> = state
                .days
                .keys()
                .copied()
                .filter(|day| !has_samples(state, *day))
                .collect();
            for day in empty {
                days.remove(day)?;
                state.days.remove(&day);
            }
            let raw = old.iter().filter(|key| key.resolution == Resolution::Raw.code());
            match raw.map(|key| key.hour).max() {
                Some(hour) => self.forget_series(transaction, state, hour),
                None => Ok(0),
            }
        })?;
        Ok(())
    }

    /// Forgets series whose newest block was not after `hour`, up to which all were deleted.
    fn forget_series(
        &self,
        transaction: &WriteTransaction,
        state: &mut State,
        hour: u32,
    ) -> Result<usize, Failure> {
        let next = hour.saturating_add(1);
        state.seen.retain(|_, (first, last)| {
            *first = next.max(*first);
            *last > hour
        });
        let is_gone = |number: &u32| {
            !state.seen.contains_key(number)
                && !state.hours.values().any(|open| open.columns.contains_key(number))
        };
        let gone: Vec<u32> = state
            .names
            .all()
            .map(|(number, _)| number)
            .filter(is_gone)
            .collect();
        for row in state.names.remove(&gone) {
            self.write_names(transaction, state, row)?;
        }
        Ok(gone.len())
    }

    fn roll_days(&self, state: &mut State, now: UnixMillis, done: &mut Maintained) -> Result<(), StoreError> {
        let is_over = |day: &u32| {
            let end = hour_start(day.saturating_mul(24)).plus(DAY_MILLIS);
            end <= now && !state.hours.keys().any(|hour| day_of(*hour) == *day)
        };
        let due = state.days.iter().map(|(day, from)| (*day, *from));
        let mut due = due.filter(|(day, _)| is_over(day));
        let Some((day, from)) = due.next() else {
            return Ok(());
        };
        done.more |= due.next().is_some();
        drop(due);
        let (rolled, next) = self.read_day(state, day, from)?;
        done.rolled_series = rolled.len();
        done.more |= next.is_some();
        self.change(state, |transaction, state| {
            let hour = day.saturating_mul(24);
            let rolled_hours = hour..hour.saturating_add(1);
            let resolution = Resolution::Hour.code();
            if from == 0 {
                for key in state.blocks_of(resolution, rolled_hours.clone()) {
                    delete_block(transaction, state, key)?;
                }
            }
            if !rolled.is_empty() {
                let key = next_part(state, resolution, hour)?;
                self.write_block(transaction, state, key, 0, rolled.into_iter())?;
            }
            let mut days = transaction.open_table(DAYS)?;
            match next {
                Some(next) => {
                    days.insert(day, next)?;
                    state.days.insert(day, next);
                }
                None => {
                    days.remove(day)?;
                    state.days.remove(&day);
                }
            }
            Ok(())
        })
    }

    /// Rollups of some series of a day, from a series on, and from where to go on.
    fn read_day(&self, state: &mut State, day: u32, from: u32) -> Result<(Rolled, Option<u32>), StoreError> {
        let hour = day.saturating_mul(24);
        let keys = state.blocks_of(0, hour..hour.saturating_add(24));
        let transaction = self.file.begin_read()?;
        let mut blocks: Vec<(BlockKey, Index, Times)> = Vec::new();
        let mut all: BTreeSet<u32> = BTreeSet::new();
        for key in keys {
            let read = self.file.read(|| {
                let table = transaction.open_table(PIECES)?;
                let index = read_index(&table, &self.seals, key)?;
                let sealed = read_column(&table, key, &index, TIMES)?;
                Ok((index, sealed.unwrap_or_default()))
            });
            let read = read.and_then(|(index, sealed)| {
                let plain = open_column(state, key, &index, TIMES, &sealed)?;
                let times = Times::decode(&plain).map_err(|fault| malformed(state, key, TIMES, fault))?;
                Ok((index, times))
            });
            match read {
                Ok((index, times)) => {
                    let series = index
                        .series()
                        .filter(|number| (FIRST_SERIES..FIRST_LOCAL).contains(number));
                    all.extend(series.filter(|number| *number >= from));
                    blocks.push((key, index, times));
                }
                Err(error) => state.note(as_fault(error, "the times", hour_start(key.hour))?),
            }
        }
        let next = all.iter().nth(MAX_ROLLED).copied();
        let mut rolled = Rolled::new();
        for number in all.into_iter().take(MAX_ROLLED) {
            let mut points: Vec<(UnixMillis, i64)> = Vec::new();
            for (key, index, times) in &blocks {
                let read = self
                    .file
                    .read(|| read_column(&transaction.open_table(PIECES)?, *key, index, number));
                let read = read.and_then(|sealed| {
                    let Some(sealed) = sealed else {
                        return Ok(());
                    };
                    let plain = open_column(state, *key, index, number, &sealed)?;
                    let column = decode_values(&plain, times.at.len());
                    let column = column.map_err(|fault| malformed(state, *key, number, fault))?;
                    let at = column
                        .present
                        .iter()
                        .filter_map(|place| times.at.get(*place as usize));
                    points.extend(at.copied().zip(column.values));
                    Ok(())
                });
                if let Err(error) = read {
                    state.note(as_fault(error, "a column", hour_start(key.hour))?);
                }
            }
            points.sort_by_key(|(at, _)| *at);
            let width = Resolution::Hour.millis();
            rolled.insert(number, encode(&roll(&points, width), hour_start(hour), width));
        }
        Ok((rolled, next))
    }

    fn reseal(&self, state: &mut State, done: &mut Maintained) -> Result<(), StoreError> {
        let current = self.seals.current();
        if state.reseal.done || state.epochs.keys().all(|epoch| *epoch == current) {
            return Ok(());
        }
        let from = state.reseal.next;
        let keys = state
            .blocks
            .keys()
            .copied()
            .filter(|key| from.is_none_or(|from| *key >= from));
        let mut keys: Vec<BlockKey> = keys.take(MAX_RESEALED.saturating_add(1)).collect();
        let next = keys.get(MAX_RESEALED).copied();
        keys.truncate(MAX_RESEALED);
        for key in keys {
            let facts = state.blocks.get(&key).copied();
            let resealed = self.change(state, |transaction, state| {
                self.reseal_block(transaction, state, key)
            });
            match resealed {
                Ok(true) => done.resealed_blocks = done.resealed_blocks.saturating_add(1),
                Ok(false) => {}
                Err(error) => {
                    // It stays as it is; what epoch it is of cannot be known, so none is given up.
                    if let Some(facts) = facts {
                        state.blocks.insert(key, facts);
                    }
                    state.stale = false;
                    let all: Vec<u32> = state.epochs.keys().copied().collect();
                    state.reseal.kept.extend(all);
                    state.note(as_fault(error, "a block", hour_start(key.hour))?);
                }
            }
        }
        state.reseal.next = next;
        if next.is_some() {
            done.more = true;
            return Ok(());
        }
        done.retired_epochs =
            self.change(state, |transaction, state| self.finish_reseal(transaction, state))?;
        state.reseal.done = true;
        Ok(())
    }

    /// Seals a block anew, with a new salt. One of which a part does not open stays as it is, under its old key.
    fn reseal_block(
        &self,
        transaction: &WriteTransaction,
        state: &mut State,
        key: BlockKey,
    ) -> Result<bool, Failure> {
        let mut columns: Vec<(u32, Vec<u8>)> = Vec::new();
        {
            let table = transaction.open_table(PIECES)?;
            let index = match read_index(&table, &self.seals, key) {
                Err(Failure::Store(StoreError::Fault(fault @ StoreFault::UnknownEpoch { epoch, .. }))) => {
                    state.reseal.kept.insert(epoch);
                    state.note(fault);
                    return Ok(false);
                }
                other => other?,
            };
            if index.epoch() == self.seals.current() {
                return Ok(false);
            }
            for number in index.series() {
                let sealed = read_column(&table, key, &index, number)?.unwrap_or_default();
                match open_column(state, key, &index, number, &sealed) {
                    Ok(plain) => columns.push((number, plain)),
                    Err(fault) => {
                        state.reseal.kept.insert(index.epoch());
                        state.note(fault);
                        return Ok(false);
                    }
                }
            }
        }
        let ticks = state.blocks.get(&key).map_or(0, |facts| facts.ticks);
        delete_block(transaction, state, key)?;
        self.write_block(transaction, state, key, ticks, columns.into_iter())?;
        Ok(true)
    }

    /// A value under the current key, and whether it was under another. One that does not open stays as it is.
    fn renewed(
        &self,
        state: &mut State,
        place: super::key::Place,
        sealed: Vec<u8>,
    ) -> Result<(Vec<u8>, bool), StoreError> {
        let epoch = epoch_of(&sealed).map(|(epoch, _)| epoch);
        if epoch == Some(self.seals.current()) {
            return Ok((sealed, false));
        }
        match self.seals.open(place, &sealed) {
            Ok(plain) => Ok((self.seals.seal(place, &plain)?, true)),
            Err(fault) => {
                let unknown = if let Unopened::UnknownEpoch(epoch) = fault {
                    Some(epoch)
                } else {
                    epoch
                };
                state.reseal.kept.extend(unknown);
                let name = state.called(place.series);
                state.note(fault.of(name, place.at()));
                Ok((sealed, false))
            }
        }
    }

    fn finish_reseal(&self, transaction: &WriteTransaction, state: &mut State) -> Result<Vec<u32>, Failure> {
        let mut names = transaction.open_table(NAMES)?;
        let rows: Vec<(u32, Vec<u8>)> = names
            .iter()?
            .map(|row| row.map(|(key, value)| (key.value(), value.value().to_vec())))
            .collect::<Result<_, _>>()?;
        for (row, sealed) in rows {
            if let (sealed, true) = self.renewed(state, names_place(row), sealed)? {
                names.insert(row, sealed.as_slice())?;
            }
        }
        let mut head = transaction.open_table(HEAD)?;
        let rows: Vec<((u64, u32), Vec<u8>)> = head
            .iter()?
            .map(|row| row.map(|(key, value)| (key.value(), value.value().to_vec())))
            .collect::<Result<_, _>>()?;
        for (key, sealed) in rows {
            if let (sealed, true) = self.renewed(state, row_place(key.0, key.1), sealed)? {
                head.insert(key, sealed.as_slice())?;
            }
        }
        let mut tail = transaction.open_table(TAIL)?;
        let newest = tail.get(())?.map(|sealed| sealed.value().to_vec());
        if let Some(sealed) = newest
            && let (sealed, true) = self.renewed(state, TAIL_PLACE, sealed)?
        {
            tail.insert((), sealed.as_slice())?;
        }
        let current = self.seals.current();
        let retired: Vec<u32> = state
            .epochs
            .keys()
            .copied()
            .filter(|epoch| *epoch != current && !state.reseal.kept.contains(epoch))
            .collect();
        let mut epochs = transaction.open_table(EPOCHS)?;
        for epoch in &retired {
            epochs.remove(epoch)?;
            state.epochs.remove(epoch);
        }
        Ok(retired)
    }
}

/// Series with their columns of hours.
type Rolled = BTreeMap<u32, Vec<u8>>;

fn open_column(
    state: &State,
    key: BlockKey,
    index: &Index,
    series: u32,
    sealed: &[u8],
) -> Result<Vec<u8>, StoreFault> {
    let opened = index.open(series, sealed);
    opened.map_err(|fault| fault.of(state.called(series), hour_start(key.hour)))
}

fn malformed(state: &State, key: BlockKey, series: u32, Malformed(what): Malformed) -> StoreError {
    StoreError::Fault(StoreFault::Malformed {
        series: called(series, |number| state.names.name(number).map(ToString::to_string)),
        hour: hour_start(key.hour),
        what,
    })
}

fn has_samples(state: &State, day: u32) -> bool {
    let hour = day.saturating_mul(24);
    let hours = hour..hour.saturating_add(24);
    !state.blocks_of(0, hours.clone()).is_empty() || state.hours.range(hours).next().is_some()
}

fn delete_block(transaction: &WriteTransaction, state: &mut State, key: BlockKey) -> Result<(), Failure> {
    let (first, last) = (key.piece(0), key.piece(u32::MAX));
    transaction
        .open_table(PIECES)?
        .retain_in::<&[u8; 11], _>(&first..=&last, |_, _| false)?;
    transaction.open_table(BLOCKS)?.remove(&key.bytes())?;
    state.blocks.remove(&key);
    Ok(())
}
