//! An hour that is still open: in memory for questions, and in the head's rows for the next start.

use std::collections::BTreeMap;

use nautilus_core::Signature;
use nautilus_proof::{MAX_BATCH, MAX_SERIES_NAME, Readings, Sample};

use super::column::{put_column, put_presence};
use super::tick::{BatchEnd, MAX_LOCAL, MAX_TICKS, Tick, encode_record, encode_times, text};
use super::wire::{Malformed, Reader, put_bytes, put_signed, put_varint};

/// Columns of a block that are no series: times, and the rest of the samples.
pub(super) const TIMES: u32 = 0;
pub(super) const RECORD: u32 = 1;
/// The first series.
pub(super) const FIRST_SERIES: u32 = 16;
/// The first of the numbers that hold within one block only: of series past the limit.
pub(super) const FIRST_LOCAL: u32 = 1 << 31;
/// Most values in an open hour: 32 MiB. An hour with more has several blocks.
pub(super) const MAX_VALUES: usize = 4 << 20;
/// Longest row of the head before it is compressed.
const MAX_ROW: usize = 256 << 20;

/// One series within an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    /// The ticks at which it has a value.
    pub(super) present: Vec<u32>,
    pub(super) values: Vec<i64>,
}

impl Column {
    pub(super) fn encode(&self, ticks: usize) -> Vec<u8> {
        let mut out = Vec::new();
        put_presence(&mut out, &self.present, ticks);
        put_column(&mut out, &self.values);
        out
    }
}

/// What was appended of one hour.
#[derive(Clone, Debug, Default)]
pub(super) struct Hour {
    pub(super) ticks: Vec<Tick>,
    pub(super) columns: BTreeMap<u32, Column>,
    /// Series past the limit, by their number above [`FIRST_LOCAL`].
    pub(super) local: Vec<String>,
    pub(super) values: usize,
}

/// What one row of the head holds: samples of one hour that came together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) samples: Vec<Sample>,
    /// If their batch ends with them.
    pub(super) end: Option<BatchEnd>,
    /// Of each sample: series and value, ascending.
    pub(super) readings: Vec<Vec<(u32, i64)>>,
    /// Names of series past the limit that the hour did not have before.
    pub(super) local: Vec<String>,
}

/// Of names that stand in a block's record, which must stay readable as a whole.
const MAX_LOCAL_BYTES: usize = 4 << 20;

fn bytes_of(names: &[String]) -> usize {
    names.iter().map(String::len).sum()
}

impl Row {
    /// Whether an hour of its own can hold it.
    pub(super) fn fits(&self) -> bool {
        self.local.len() <= MAX_LOCAL && bytes_of(&self.local) <= MAX_LOCAL_BYTES
    }
}

impl Hour {
    pub(super) fn is_full(&self, more: &Row) -> bool {
        let values: usize = more.readings.iter().map(Vec::len).sum();
        self.ticks.len().saturating_add(more.samples.len()) > MAX_TICKS
            || self.values.saturating_add(values) > MAX_VALUES
            || self.local.len().saturating_add(more.local.len()) > MAX_LOCAL
            || bytes_of(&self.local).saturating_add(bytes_of(&more.local)) > MAX_LOCAL_BYTES
    }

    pub(super) fn push(&mut self, row: Row) {
        let last = row.samples.len();
        self.local.extend(row.local);
        for (number, (sample, readings)) in (1..).zip(row.samples.into_iter().zip(row.readings)) {
            let place = u32::try_from(self.ticks.len()).unwrap_or(u32::MAX);
            self.values = self.values.saturating_add(readings.len());
            for (series, value) in readings {
                let column = self.columns.entry(series).or_default();
                column.present.push(place);
                column.values.push(value);
            }
            self.ticks.push(Tick {
                sample,
                end: row.end.filter(|_| number == last),
            });
        }
    }

    /// Its columns in the order of a block, not sealed.
    pub(super) fn encode(&self) -> impl Iterator<Item = (u32, Vec<u8>)> + '_ {
        let ticks = self.ticks.len();
        [
            (TIMES, encode_times(&self.ticks)),
            (RECORD, encode_record(&self.ticks, &self.columns, &self.local)),
        ]
        .into_iter()
        .chain(
            self.columns
                .iter()
                .map(move |(series, column)| (*series, column.encode(ticks))),
        )
    }
}

impl Row {
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        put_bytes(&mut out, &bcs::to_bytes(&self.samples).ok()?);
        match self.end {
            None => out.push(0),
            Some(end) => {
                out.push(1);
                put_varint(&mut out, end.count.into());
                out.extend_from_slice(&end.signature.0);
            }
        }
        put_varint(&mut out, self.local.len() as u64);
        self.local
            .iter()
            .for_each(|name| put_bytes(&mut out, name.as_bytes()));
        let mut known: BTreeMap<u32, i64> = BTreeMap::new();
        for readings in &self.readings {
            put_varint(&mut out, readings.len() as u64);
            let mut before = 0_u32;
            for (series, value) in readings {
                put_varint(&mut out, series.wrapping_sub(before).into());
                let last = known.insert(*series, *value).unwrap_or(0);
                put_signed(&mut out, value.wrapping_sub(last));
                before = *series;
            }
        }
        let mut packed = Vec::new();
        put_varint(&mut packed, out.len() as u64);
        packed.append(&mut zstd::bulk::compress(&out, 1).ok()?);
        Some(packed)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut packed = Reader::new(bytes);
        let length = packed.count(MAX_ROW)?;
        let plain =
            zstd::bulk::decompress(packed.rest(), length).map_err(|_| Malformed("it does not decompress"))?;
        if plain.len() != length {
            return Err(Malformed("it does not decompress"));
        }
        let mut reader = Reader::new(&plain);
        let samples: Vec<Sample> =
            bcs::from_bytes(reader.bytes(length)?).map_err(|_| Malformed("its samples do not decode"))?;
        if samples.len() > MAX_BATCH as usize {
            return Err(Malformed("it has too many samples"));
        }
        let end = match reader.byte()? {
            0 => None,
            1 => Some(BatchEnd {
                count: u32::try_from(reader.count(MAX_BATCH as usize)?).unwrap_or(0),
                signature: Signature(reader.array()?),
            }),
            _ => return Err(Malformed("its batch neither ends nor goes on")),
        };
        let mut local = Vec::new();
        for _ in 0..reader.count(MAX_LOCAL)? {
            local.push(text(reader.bytes(MAX_SERIES_NAME)?)?);
        }
        let mut known: BTreeMap<u32, i64> = BTreeMap::new();
        let mut all = Vec::with_capacity(samples.len());
        for _ in &samples {
            let mut readings = Vec::new();
            let mut series = 0_u32;
            for _ in 0..reader.count(length)? {
                let step = u32::try_from(reader.varint()?);
                series = series.wrapping_add(step.map_err(|_| Malformed("a series' number is too large"))?);
                let value = known.get(&series).unwrap_or(&0).wrapping_add(reader.signed()?);
                known.insert(series, value);
                readings.push((series, value));
            }
            all.push(readings);
        }
        reader.end()?;
        Ok(Self {
            samples,
            end,
            readings: all,
            local,
        })
    }

    /// The same samples with their readings, to check that nothing was lost.
    pub(super) fn readings_of<'a>(
        readings: &[(u32, i64)],
        name: impl Fn(u32) -> Option<&'a str>,
    ) -> Option<Readings> {
        let mut named: Vec<(&str, i64)> = Vec::with_capacity(readings.len());
        for (series, value) in readings {
            named.push((name(*series)?, *value));
        }
        named.sort_unstable_by_key(|(name, _)| *name);
        let readings = named.into_iter().map(|(series, value)| nautilus_proof::Reading {
            series: series.to_owned(),
            value,
        });
        Some(Readings(readings.collect()))
    }
}
