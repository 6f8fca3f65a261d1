//! Taking batches in, and turning hours into blocks.

use std::collections::BTreeSet;

use nautilus_core::{BootId, SignedMessage as _};
use nautilus_proof::{MAX_BATCH, MAX_SERIES_NAME, Readings, Sample, SampleChain, SampleError};
use redb::WriteTransaction;

use super::block::{BlockKey, PIECE, assemble};
use super::error::StoreError;
use super::file::{BLOCKS, DAYS, Failure, HEAD, NAMES, PIECES, TAIL};
use super::hour::{FIRST_LOCAL, Hour, MAX_VALUES, Row};
use super::key::INDEX;
use super::tick::{BatchEnd, MAX_LOCAL};
use super::{BlockFacts, Entry, State, Store, TAIL_PLACE, column_place, hour_of, names_place, row_place};

impl Store {
    /// Stores a batch with its readings. It is on the disk when this returns; if it fails nothing of it is.
    ///
    /// # Errors
    /// [`StoreError::Chain`] if its samples do not come after the newest of their boot, [`StoreError::Readings`] if its
    /// readings are not those that the samples name; else if the file cannot be written.
    pub fn append(&self, entry: &Entry) -> Result<(), StoreError> {
        let mut state = self.lock()?;
        let chain = follow(state.chain.as_ref(), entry)?;
        check_readings(entry)?;
        // What is in memory is only right once the transaction is on the disk.
        state.stale = true;
        let Some(last) = entry.batch.samples.last() else {
            return Ok(());
        };
        self.file
            .write(|transaction| self.write_entry(transaction, &mut state, entry, last))?;
        state.newest = state.newest.max(Some(last.measurement.at));
        state.chain = Some((last.boot, chain));
        state.stale = false;
        Ok(())
    }

    fn write_entry(
        &self,
        transaction: &WriteTransaction,
        state: &mut State,
        entry: &Entry,
        last: &Sample,
    ) -> Result<(), Failure> {
        self.name_new_series(transaction, state, entry)?;
        let mut pending: Vec<(u64, u32, Vec<u8>)> = Vec::new();
        let mut from = 0_usize;
        while let Some(first) = entry.batch.samples.get(from) {
            let hour = hour_of(first.measurement.at).ok_or(too_late(first))?;
            let rest = entry.batch.samples.get(from..).unwrap_or_default();
            let count = rest
                .iter()
                .take_while(|sample| hour_of(sample.measurement.at) == Some(hour))
                .count();
            let to = from.saturating_add(count);
            let segment = from..to;
            let mut row = row_of(state, hour, entry, segment.clone());
            if state.hours.get(&hour).is_some_and(|open| open.is_full(&row)) {
                self.seal_hour(transaction, state, hour)?;
                pending.retain(|(_, of, _)| *of != hour);
                row = row_of(state, hour, entry, segment);
            }
            if !row.fits() {
                return Err(StoreError::TooMuch {
                    what: "series past the limit in one hour",
                    limit: MAX_LOCAL,
                }
                .into());
            }
            let left_out = row
                .readings
                .iter()
                .flatten()
                .filter(|(series, _)| *series >= FIRST_LOCAL);
            state.left_out = state.left_out.saturating_add(left_out.count() as u64);
            let number = state.next_row;
            state.next_row = number.saturating_add(1);
            let plain = row.encode().ok_or(StoreError::TooMuch {
                what: "bytes in a batch",
                limit: u32::MAX as usize,
            })?;
            pending.push((number, hour, self.seals.seal(row_place(number, hour), &plain)?));
            state.rows.insert(number, hour);
            state.hours.entry(hour).or_default().push(row);
            from = to;
        }
        let newest = hour_of(last.measurement.at);
        let over: Vec<u32> = state
            .hours
            .keys()
            .copied()
            .filter(|hour| Some(*hour) != newest)
            .collect();
        for hour in over {
            self.seal_hour(transaction, state, hour)?;
            pending.retain(|(_, of, _)| *of != hour);
        }
        let mut head = transaction.open_table(HEAD)?;
        for (number, hour, sealed) in pending {
            head.insert((number, hour), sealed.as_slice())?;
        }
        let tail = bcs::to_bytes(last).map_err(|_| too_late(last))?;
        let sealed = self.seals.seal(TAIL_PLACE, &tail)?;
        transaction.open_table(TAIL)?.insert((), sealed.as_slice())?;
        Ok(())
    }

    fn name_new_series(
        &self,
        transaction: &WriteTransaction,
        state: &mut State,
        entry: &Entry,
    ) -> Result<(), Failure> {
        let all = entry.readings.iter().flat_map(|readings| &readings.0);
        let new: BTreeSet<&str> = all
            .map(|reading| reading.series.as_str())
            .filter(|name| state.names.number(name).is_none())
            .collect();
        let room = self.options.max_series.saturating_sub(state.names.len());
        let new: Vec<&str> = new.into_iter().take(room).collect();
        if let Some(row) = state.names.add(&new) {
            self.write_names(transaction, state, row)?;
        }
        Ok(())
    }

    /// Writes a row of names as it is now, or deletes it.
    pub(super) fn write_names(
        &self,
        transaction: &WriteTransaction,
        state: &State,
        row: u32,
    ) -> Result<(), Failure> {
        let mut table = transaction.open_table(NAMES)?;
        match state.names.encode(row) {
            Some(plain) => {
                let sealed = self.seals.seal(names_place(row), &plain)?;
                table.insert(row, sealed.as_slice())?;
            }
            None => {
                table.remove(row)?;
            }
        }
        Ok(())
    }

    /// Turns an open hour into a block, and deletes its rows.
    pub(super) fn seal_hour(
        &self,
        transaction: &WriteTransaction,
        state: &mut State,
        hour: u32,
    ) -> Result<(), Failure> {
        let Some(open) = state.hours.remove(&hour) else {
            return Ok(());
        };
        let ticks = u32::try_from(open.ticks.len()).unwrap_or(u32::MAX);
        let key = next_part(state, 0, hour)?;
        self.write_block(transaction, state, key, ticks, open.encode())?;
        let mut head = transaction.open_table(HEAD)?;
        for (row, _) in state.rows.extract_if(.., |_, of| *of == hour) {
            head.remove((row, hour))?;
        }
        let day = day_of(hour);
        transaction.open_table(DAYS)?.insert(day, 0)?;
        state.days.insert(day, 0);
        Ok(())
    }

    /// Seals columns one by one, which stand in ascending order of their series.
    pub(super) fn write_block(
        &self,
        transaction: &WriteTransaction,
        state: &mut State,
        key: BlockKey,
        ticks: u32,
        columns: impl Iterator<Item = (u32, Vec<u8>)>,
    ) -> Result<(), Failure> {
        let sealer = self.seals.new_block(column_place(key, INDEX))?;
        let seen = columns.inspect(|(series, _)| {
            if key.resolution == 0 {
                state.saw(*series, key.hour);
            }
        });
        let bytes = assemble(sealer, seen)?;
        let mut pieces = transaction.open_table(PIECES)?;
        for (number, piece) in (0..).zip(bytes.chunks(PIECE)) {
            pieces.insert(&key.piece(number), piece)?;
        }
        let facts = BlockFacts {
            bytes: bytes.len() as u64,
            ticks,
        };
        transaction
            .open_table(BLOCKS)?
            .insert(&key.bytes(), (facts.bytes, ticks))?;
        state.blocks.insert(key, facts);
        Ok(())
    }
}

/// The day of an hour.
pub(super) const fn day_of(hour: u32) -> u32 {
    match hour.checked_div(24) {
        Some(day) => day,
        None => 0,
    }
}

/// The key of the next block of an hour.
pub(super) fn next_part(state: &State, resolution: u8, hour: u32) -> Result<BlockKey, StoreError> {
    let first = BlockKey {
        resolution,
        hour,
        part: 0,
    };
    let last = BlockKey {
        part: u16::MAX,
        ..first
    };
    let Some((newest, _)) = state.blocks.range(first..=last).next_back() else {
        return Ok(first);
    };
    let part = newest.part.checked_add(1).ok_or(StoreError::TooMuch {
        what: "blocks of one hour",
        limit: u16::MAX as usize,
    })?;
    Ok(BlockKey { part, ..first })
}

fn too_late(sample: &Sample) -> StoreError {
    StoreError::Chain {
        boot: sample.boot,
        source: SampleError::OutOfTime {
            sequence: sample.sequence,
            at: sample.measurement.at,
        },
    }
}

/// The chain with the batch's samples, if they follow what was stored last, with or without a hole between, or begin a
/// boot anew.
fn follow(chain: Option<&(BootId, SampleChain)>, entry: &Entry) -> Result<SampleChain, StoreError> {
    let samples = &entry.batch.samples;
    let Some(first) = samples.first().filter(|_| samples.len() <= MAX_BATCH as usize) else {
        return Err(StoreError::TooMuch {
            what: "samples in a batch, or none",
            limit: MAX_BATCH as usize,
        });
    };
    let (node, boot) = (first.node, first.boot);
    let refused = |source| StoreError::Chain { boot, source };
    let mut next = match chain {
        // What was dropped or refused before is a hole in what is kept, and no end of it.
        Some((of, chain)) if *of == boot && is_past(chain, first) => SampleChain::piece(node, boot),
        Some((of, chain)) if *of == boot => chain.clone(),
        _ if first.sequence == 0 => SampleChain::of_boot(node, boot),
        _ => SampleChain::piece(node, boot),
    };
    for sample in samples {
        next.push(sample).map_err(refused)?;
    }
    next.take_batch();
    next.start_window();
    Ok(next)
}

fn is_past(chain: &SampleChain, sample: &Sample) -> bool {
    chain.next_sequence().is_some_and(|next| sample.sequence > next)
}

fn check_readings(entry: &Entry) -> Result<(), StoreError> {
    let samples = &entry.batch.samples;
    if entry.readings.len() != samples.len() {
        return Err(StoreError::TooMuch {
            what: "readings are not those of as many samples as the batch has",
            limit: samples.len(),
        });
    }
    let values: usize = entry.readings.iter().map(|readings| readings.0.len()).sum();
    if values > MAX_VALUES {
        return Err(StoreError::TooMuch {
            what: "readings in a batch",
            limit: MAX_VALUES,
        });
    }
    for (sample, readings) in samples.iter().zip(&entry.readings) {
        let measurement = &sample.measurement;
        let wrong = |what| StoreError::Readings {
            boot: sample.boot,
            sequence: sample.sequence,
            what,
        };
        if u32::try_from(readings.0.len()) != Ok(measurement.reading_count) {
            return Err(wrong("there are not as many as it says"));
        }
        if !readings.0.is_sorted_by(|one, next| one.series < next.series) {
            return Err(wrong("they are not in ascending order, each series once"));
        }
        if readings
            .0
            .iter()
            .any(|reading| reading.series.len() > MAX_SERIES_NAME)
        {
            return Err(wrong("a series' name is too long"));
        }
        if readings.digest() != measurement.readings {
            return Err(wrong("their digest is another"));
        }
    }
    Ok(())
}

/// The samples of one hour as a row, with numbers for their series.
fn row_of(state: &State, hour: u32, entry: &Entry, segment: std::ops::Range<usize>) -> Row {
    let samples = entry.batch.samples.get(segment.clone()).unwrap_or_default();
    let readings: &[Readings] = entry.readings.get(segment.clone()).unwrap_or_default();
    let known: &[String] = state.hours.get(&hour).map_or(&[], |open: &Hour| &open.local);
    let mut local: Vec<String> = Vec::new();
    let mut places: std::collections::HashMap<&str, usize> = known
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), at))
        .collect();
    let mut rows = Vec::with_capacity(readings.len());
    for Readings(readings) in readings {
        let mut row: Vec<(u32, i64)> = Vec::with_capacity(readings.len());
        for reading in readings {
            let number = state.names.number(&reading.series).unwrap_or_else(|| {
                let next = places.len();
                let place = *places.entry(&reading.series).or_insert_with(|| {
                    local.push(reading.series.clone());
                    next
                });
                FIRST_LOCAL.saturating_add(u32::try_from(place).unwrap_or(u32::MAX))
            });
            row.push((number, reading.value));
        }
        row.sort_unstable_by_key(|(series, _)| *series);
        rows.push(row);
    }
    let ends = segment.end == entry.batch.samples.len();
    Row {
        samples: samples.to_vec(),
        end: ends.then(|| BatchEnd {
            count: u32::try_from(entry.batch.samples.len()).unwrap_or(u32::MAX),
            signature: entry.batch.signature,
        }),
        readings: rows,
        local,
    }
}
