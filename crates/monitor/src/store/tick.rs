//! The ticks of an hour: what its samples say besides the values of series, so that each can be rebuilt exactly.
//!
//! What a question needs (`Times`) and what only the rebuilding of samples needs (`Record`) are sealed apart. Digests
//! of samples and of readings are not stored: they are computed again, which is what makes a signature prove that
//! what is stored is what was signed.

use std::collections::BTreeMap;

use nautilus_core::{BootId, Digest32, NodeId, Signature, SignedMessage as _, UnixMillis};
use nautilus_proof::{
    CollectorKind, Gap, GapReason, MAX_BATCH, MAX_SERIES_NAME, Measurement, Metrics, Reading, Readings,
    Sample,
};

use super::column::{put_column, put_presence, take_column, take_presence};
use super::hour::{Column, FIRST_LOCAL, FIRST_SERIES};
use super::wire::{Malformed, Reader, put_bytes, put_varint};

/// Most ticks of one block: more than one a second. An hour with more has several.
pub(super) const MAX_TICKS: usize = 4096;
/// Most names of series past the limit in one block.
pub(super) const MAX_LOCAL: usize = 40_000;

/// The end of a signed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchEnd {
    /// Samples of the batch, this one included.
    pub(super) count: u32,
    pub(super) signature: Signature,
}

/// One sample without its readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) sample: Sample,
    pub(super) end: Option<BatchEnd>,
}

/// Samples of one boot that follow each other within a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    node: NodeId,
    boot: BootId,
    first: u64,
    previous: Digest32,
    count: usize,
}

/// When samples were taken, and what was missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pieces: Vec<Piece>,
    pub(super) at: Vec<UnixMillis>,
    missed: Vec<u32>,
    clock_step_millis: Vec<i64>,
    suspended_millis: Vec<u64>,
    gaps: Vec<Vec<Gap>>,
}

/// The rest of the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    monotonic_millis: Vec<u64>,
    response_time_micros: Vec<Option<u64>>,
    /// The ticks that have metrics, and the fields of each.
    measured: Vec<u32>,
    rows: Vec<[i64; METRICS]>,
    /// Fields that stand in a series: the field, and which.
    borrowed: Vec<(usize, u32)>,
    ends: Vec<Option<BatchEnd>>,
    /// Names of series past the limit, in the order of their numbers within this block.
    pub(super) local: Vec<String>,
}

/// What a question needs of one tick.
#[derive(Clone, Debug)]
pub(super) struct TickFacts {
    pub(super) at: UnixMillis,
    pub(super) boot: BootId,
    pub(super) missed: u32,
    pub(super) suspended_millis: u64,
    pub(super) gaps: Vec<Gap>,
}

impl TickFacts {
    pub(super) fn of(sample: &Sample) -> Self {
        let measurement = &sample.measurement;
        Self {
            at: measurement.at,
            boot: sample.boot,
            missed: measurement.missed,
            suspended_millis: measurement.suspended_millis,
            gaps: measurement.gaps.clone(),
        }
    }
}

pub(super) fn encode_times(ticks: &[Tick]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, ticks.len() as u64);
    let pieces = pieces(ticks);
    put_varint(&mut out, pieces.len() as u64);
    for piece in pieces {
        out.extend_from_slice(&piece.node.0);
        out.extend_from_slice(&piece.boot.0);
        out.extend_from_slice(&piece.previous.0);
        put_varint(&mut out, piece.first);
        put_varint(&mut out, piece.count as u64);
    }
    let mut column = |value: fn(&Measurement) -> i64| {
        let values: Vec<i64> = ticks.iter().map(|tick| value(&tick.sample.measurement)).collect();
        put_column(&mut out, &values);
    };
    column(|measurement| measurement.at.0.cast_signed());
    column(|measurement| measurement.missed.into());
    column(|measurement| measurement.clock_step_millis);
    column(|measurement| measurement.suspended_millis.cast_signed());
    put_gaps(&mut out, ticks);
    out
}

fn pieces(ticks: &[Tick]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for Tick { sample, .. } in ticks {
        let next = |piece: &Piece| piece.first.checked_add(piece.count as u64) == Some(sample.sequence);
        match pieces.last_mut() {
            Some(piece) if piece.node == sample.node && piece.boot == sample.boot && next(piece) => {
                piece.count = piece.count.saturating_add(1);
            }
            _ => pieces.push(Piece {
                node: sample.node,
                boot: sample.boot,
                first: sample.sequence,
                previous: sample.previous,
                count: 1,
            }),
        }
    }
    pieces
}

fn put_gaps(out: &mut Vec<u8>, ticks: &[Tick]) {
    let mut kinds: Vec<&[Gap]> = Vec::new();
    let mut which = Vec::with_capacity(ticks.len());
    for tick in ticks {
        let gaps = tick.sample.measurement.gaps.as_slice();
        let known = kinds.iter().position(|known| *known == gaps);
        which.push(known.unwrap_or(kinds.len()) as i64);
        if known.is_none() {
            kinds.push(gaps);
        }
    }
    put_varint(out, kinds.len() as u64);
    for gaps in kinds {
        put_varint(out, gaps.len() as u64);
        for gap in gaps {
            out.push(collector_code(gap.collector));
            out.push(reason_code(gap.reason));
        }
    }
    put_column(out, &which);
}

fn take_gaps(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Vec<Gap>>, Malformed> {
    let mut kinds = Vec::new();
    for _ in 0..reader.count(count)? {
        let mut gaps = Vec::new();
        for _ in 0..reader.count(COLLECTORS.len())? {
            let collector = COLLECTORS.get(usize::from(reader.byte()?)).copied();
            let reason = REASONS.get(usize::from(reader.byte()?)).copied();
            let (Some(collector), Some(reason)) = (collector, reason) else {
                return Err(Malformed("a gap is of no known kind"));
            };
            gaps.push(Gap { collector, reason });
        }
        kinds.push(gaps);
    }
    let which = take_column(reader, count)?;
    let gaps = which.into_iter().map(|which| {
        let kind = usize::try_from(which).ok().and_then(|which| kinds.get(which));
        kind.cloned().ok_or(Malformed("a gap is of no known kind"))
    });
    gaps.collect()
}

/// In the order of their codes.
const COLLECTORS: [CollectorKind; 5] = [
    CollectorKind::System,
    CollectorKind::Container,
    CollectorKind::Network,
    CollectorKind::Security,
    CollectorKind::Custom,
];

const fn collector_code(collector: CollectorKind) -> u8 {
    match collector {
        CollectorKind::System => 0,
        CollectorKind::Container => 1,
        CollectorKind::Network => 2,
        CollectorKind::Security => 3,
        CollectorKind::Custom => 4,
    }
}

/// In the order of their codes.
const REASONS: [GapReason; 3] = [GapReason::Failed, GapReason::Stalled, GapReason::Truncated];

const fn reason_code(reason: GapReason) -> u8 {
    match reason {
        GapReason::Failed => 0,
        GapReason::Stalled => 1,
        GapReason::Truncated => 2,
    }
}

impl Times {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let count = reader.count(MAX_TICKS)?;
        let mut pieces = Vec::new();
        let mut left = count;
        for _ in 0..reader.count(count)? {
            let piece = Piece {
                node: NodeId(reader.array()?),
                boot: BootId(reader.array()?),
                previous: Digest32(reader.array()?),
                first: reader.varint()?,
                count: reader.count(left)?,
            };
            left = left.saturating_sub(piece.count);
            if piece.count == 0 || piece.first.checked_add(piece.count as u64).is_none() {
                return Err(Malformed("a piece of a boot's chain is empty or too long"));
            }
            pieces.push(piece);
        }
        if left != 0 {
            return Err(Malformed("ticks belong to no boot"));
        }
        let at = take_column(&mut reader, count)?;
        let missed = take_column(&mut reader, count)?;
        let clock_step_millis = take_column(&mut reader, count)?;
        let suspended = take_column(&mut reader, count)?;
        let gaps = take_gaps(&mut reader, count)?;
        reader.end()?;
        let missed = missed.into_iter().map(narrow::<u32>);
        Ok(Self {
            pieces,
            at: at.into_iter().map(|at| UnixMillis(at.cast_unsigned())).collect(),
            missed: missed.collect::<Result<_, _>>()?,
            clock_step_millis,
            suspended_millis: suspended.into_iter().map(i64::cast_unsigned).collect(),
            gaps,
        })
    }

    /// Each tick, in the order in which they came.
    pub(super) fn facts(&self) -> impl Iterator<Item = TickFacts> + '_ {
        let boots = self
            .pieces
            .iter()
            .flat_map(|piece| std::iter::repeat_n(piece.boot, piece.count));
        boots
            .zip(self.at.iter().zip(&self.missed))
            .zip(self.suspended_millis.iter().zip(&self.gaps))
            .map(|((boot, (at, missed)), (suspended, gaps))| TickFacts {
                at: *at,
                boot,
                missed: *missed,
                suspended_millis: *suspended,
                gaps: gaps.clone(),
            })
    }
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, Malformed> {
    T::try_from(value).map_err(|_| Malformed("a number does not fit its field"))
}

const METRICS: usize = 17;

fn fields(metrics: &Metrics) -> [u64; METRICS] {
    let [one, five, fifteen] = metrics.load_average_centi;
    [
        metrics.cpu_usage_bp.into(),
        metrics.cpu_efficiency_bp.into(),
        metrics.memory_usage_bp.into(),
        metrics.disk_usage_bp.into(),
        one.into(),
        five.into(),
        fifteen.into(),
        metrics.process_count.into(),
        metrics.thread_count.into(),
        metrics.file_descriptors,
        metrics.context_switches,
        metrics.interrupts,
        metrics.network_rx_bytes,
        metrics.network_tx_bytes,
        metrics.disk_read_bytes,
        metrics.disk_written_bytes,
        metrics.uptime_seconds,
    ]
}

fn metrics(fields: [i64; METRICS]) -> Result<Metrics, Malformed> {
    let [
        usage,
        efficiency,
        memory,
        disk,
        one,
        five,
        fifteen,
        processes,
        threads,
        rest @ ..,
    ] = fields;
    let [files, switches, interrupts, received, sent, read, written, uptime] = rest.map(i64::cast_unsigned);
    Ok(Metrics {
        cpu_usage_bp: narrow(usage)?,
        cpu_efficiency_bp: narrow(efficiency)?,
        memory_usage_bp: narrow(memory)?,
        disk_usage_bp: narrow(disk)?,
        load_average_centi: [narrow(one)?, narrow(five)?, narrow(fifteen)?],
        process_count: narrow(processes)?,
        thread_count: narrow(threads)?,
        file_descriptors: files,
        context_switches: switches,
        interrupts,
        network_rx_bytes: received,
        network_tx_bytes: sent,
        disk_read_bytes: read,
        disk_written_bytes: written,
        uptime_seconds: uptime,
    })
}

pub(super) fn encode_record(ticks: &[Tick], columns: &BTreeMap<u32, Column>, local: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    let all = || ticks.iter().map(|tick| &tick.sample.measurement);
    let monotonic: Vec<i64> = all().map(|one| one.monotonic_millis.cast_signed()).collect();
    put_column(&mut out, &monotonic);
    let places = |has: fn(&Measurement) -> bool| -> Vec<u32> {
        let places = (0..).zip(all()).filter(|(_, one)| has(one));
        places.map(|(place, _)| place).collect()
    };
    put_presence(
        &mut out,
        &places(|one| one.response_time_micros.is_some()),
        ticks.len(),
    );
    let times: Vec<i64> = all()
        .filter_map(|one| one.response_time_micros.map(u64::cast_signed))
        .collect();
    put_column(&mut out, &times);
    let measured = places(|one| one.metrics.is_some());
    put_presence(&mut out, &measured, ticks.len());
    let rows: Vec<[u64; METRICS]> = all().filter_map(|one| one.metrics.as_ref()).map(fields).collect();
    for field in 0..METRICS {
        let values = rows
            .iter()
            .filter_map(|row| row.get(field))
            .map(|value| value.cast_signed());
        let values: Vec<i64> = values.collect();
        match lender(columns, &measured, &values) {
            Some(series) => put_varint(&mut out, series.into()),
            None => {
                put_varint(&mut out, 0);
                put_column(&mut out, &values);
            }
        }
    }
    let ends: Vec<(usize, BatchEnd)> = ticks
        .iter()
        .enumerate()
        .filter_map(|(at, tick)| Some((at, tick.end?)))
        .collect();
    put_varint(&mut out, ends.len() as u64);
    let mut next = 0_usize;
    for (at, end) in ends {
        put_varint(&mut out, at.saturating_sub(next) as u64);
        put_varint(&mut out, end.count.into());
        out.extend_from_slice(&end.signature.0);
        next = at.saturating_add(1);
    }
    put_varint(&mut out, local.len() as u64);
    local.iter().for_each(|name| put_bytes(&mut out, name.as_bytes()));
    out
}

/// The first series that has these values at these places; none for a constant, which is as short by itself.
fn lender(columns: &BTreeMap<u32, Column>, places: &[u32], values: &[i64]) -> Option<u32> {
    let first = values.first()?;
    if values.iter().all(|value| value == first) {
        return None;
    }
    let lends = |column: &Column| {
        places
            .iter()
            .zip(values)
            .all(|(place, value)| value_at(column, *place) == Some(*value))
    };
    columns
        .range(FIRST_SERIES..FIRST_LOCAL)
        .find(|(_, column)| lends(column))
        .map(|(series, _)| *series)
}

fn value_at(column: &Column, place: u32) -> Option<i64> {
    let at = column.present.binary_search(&place).ok()?;
    column.values.get(at).copied()
}

impl Record {
    /// Of a block of `count` ticks.
    pub(super) fn decode(bytes: &[u8], count: usize) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let monotonic = take_column(&mut reader, count)?;
        let present = take_presence(&mut reader, count)?;
        let times = take_column(&mut reader, present.len())?;
        let mut response_time_micros = vec![None; count];
        for (place, time) in present.iter().zip(times) {
            if let Some(slot) = response_time_micros.get_mut(*place as usize) {
                *slot = Some(time.cast_unsigned());
            }
        }
        let measured = take_presence(&mut reader, count)?;
        let mut rows = vec![[0_i64; METRICS]; measured.len()];
        let mut borrowed = Vec::new();
        for field in 0..METRICS {
            let series = u32::try_from(reader.varint()?).ok();
            match series {
                Some(0) => {
                    for (row, value) in rows.iter_mut().zip(take_column(&mut reader, measured.len())?) {
                        if let Some(slot) = row.get_mut(field) {
                            *slot = value;
                        }
                    }
                }
                Some(series) if (FIRST_SERIES..FIRST_LOCAL).contains(&series) => {
                    borrowed.push((field, series))
                }
                _ => return Err(Malformed("a field stands in what is no series")),
            }
        }
        let mut ends = vec![None; count];
        let mut next = 0_usize;
        for _ in 0..reader.count(count)? {
            let place = next.saturating_add(reader.count(count)?);
            let end = BatchEnd {
                count: u32::try_from(reader.count(MAX_BATCH as usize)?).unwrap_or(0),
                signature: Signature(reader.array()?),
            };
            *ends
                .get_mut(place)
                .ok_or(Malformed("a batch ends after the block"))? = Some(end);
            next = place.saturating_add(1);
        }
        let mut local = Vec::new();
        for _ in 0..reader.count(MAX_LOCAL)? {
            local.push(text(reader.bytes(MAX_SERIES_NAME)?)?);
        }
        reader.end()?;
        Ok(Self {
            monotonic_millis: monotonic.into_iter().map(i64::cast_unsigned).collect(),
            response_time_micros,
            measured,
            rows,
            borrowed,
            ends,
            local,
        })
    }
}

impl Record {
    /// The metrics of each of `count` ticks, with the fields that stand in series.
    pub(super) fn metrics(
        &self,
        count: usize,
        columns: &BTreeMap<u32, Column>,
    ) -> Result<Vec<Option<Metrics>>, Malformed> {
        let mut all = vec![None; count];
        for (place, row) in self.measured.iter().zip(&self.rows) {
            let mut row = *row;
            for (field, series) in &self.borrowed {
                let value = columns.get(series).and_then(|column| value_at(column, *place));
                let value = value.ok_or(Malformed("a field stands in a series that has no value there"))?;
                if let Some(slot) = row.get_mut(*field) {
                    *slot = value;
                }
            }
            if let Some(slot) = all.get_mut(*place as usize) {
                *slot = Some(metrics(row)?);
            }
        }
        Ok(all)
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed("a name is not UTF-8"))
}

/// Rebuilds the samples of a block with what they read. `name` knows the series of all columns.
pub(super) fn rebuild<'a>(
    times: &Times,
    record: Record,
    columns: &BTreeMap<u32, Column>,
    name: impl Fn(u32) -> Option<&'a str>,
) -> Result<Vec<(Tick, Readings)>, Malformed> {
    let count = times.at.len();
    let metrics = record.metrics(count, columns)?;
    let mut named = Vec::with_capacity(columns.len());
    for (series, column) in columns {
        let name = name(*series).ok_or(Malformed("a series has no name"))?;
        named.push((name, column));
    }
    named.sort_unstable_by_key(|(name, _)| *name);
    let mut readings: Vec<Vec<Reading>> = vec![Vec::new(); count];
    for (name, column) in named {
        for (place, value) in column.present.iter().zip(&column.values) {
            if let Some(readings) = readings.get_mut(*place as usize) {
                readings.push(Reading {
                    series: name.to_owned(),
                    value: *value,
                });
            }
        }
    }
    let mut rebuilt = Vec::with_capacity(count);
    let mut readings = readings.into_iter().map(Readings);
    let mut record_rows = record
        .monotonic_millis
        .into_iter()
        .zip(record.response_time_micros)
        .zip(metrics.into_iter().zip(record.ends));
    let mut time_rows = times
        .at
        .iter()
        .zip(&times.missed)
        .zip(times.clock_step_millis.iter().zip(&times.suspended_millis))
        .zip(&times.gaps);
    for piece in &times.pieces {
        let mut previous = piece.previous;
        for (sequence, _) in (piece.first..).zip(0..piece.count) {
            let (Some(readings), Some(row), Some(time)) =
                (readings.next(), record_rows.next(), time_rows.next())
            else {
                return Ok(rebuilt);
            };
            let ((monotonic_millis, response_time_micros), (metrics, end)) = row;
            let (((at, missed), (step, suspended)), gaps) = time;
            let sample = Sample {
                node: piece.node,
                boot: piece.boot,
                sequence,
                previous,
                measurement: Measurement {
                    at: *at,
                    monotonic_millis,
                    missed: *missed,
                    clock_step_millis: *step,
                    suspended_millis: *suspended,
                    metrics,
                    response_time_micros,
                    gaps: gaps.clone(),
                    readings: readings.digest(),
                    reading_count: u32::try_from(readings.0.len()).unwrap_or(u32::MAX),
                },
            };
            previous = sample.digest();
            rebuilt.push((Tick { sample, end }, readings));
        }
    }
    Ok(rebuilt)
}
