//! Questions: values of series over a time, and what was not measured in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use nautilus_core::{BootId, UnixMillis};
use nautilus_proof::{CollectorKind, GapReason};
use redb::ReadTransaction;
use serde::Serialize;

use super::append::day_of;
use super::block::{BlockKey, Index, read_column, read_index};
use super::column::{take_column, take_presence};
use super::error::{StoreError, StoreFault};
use super::file::{PIECES, as_fault};
use super::hour::{Column, TIMES};
use super::key::hour_start;
use super::rollup::{self, DAY_MILLIS, Rollup, roll};
use super::selector::Selector;
use super::tick::{TickFacts, Times};
use super::wire::{Malformed, Reader};
use super::{HOUR_MILLIS, State, Store, called, hour_of};

/// Most series in one answer.
const MAX_SERIES: usize = 2_000;
/// Most gaps and faults in one answer.
const MAX_GAPS: usize = 10_000;
/// Longest time that is answered by single samples, and by five minutes, if nobody says which.
const RAW_MILLIS: u64 = 6 * HOUR_MILLIS;
const FIVE_MINUTES_MILLIS: u64 = 3 * DAY_MILLIS;

/// How fine an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Resolution {
    /// Every sample.
    #[serde(rename = "raw")]
    Raw,
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// An hour.
    #[serde(rename = "1h")]
    Hour,
}

impl Resolution {
    /// Milliseconds that one point stands for; 0 for samples.
    pub const fn millis(self) -> u64 {
        match self {
            Self::Raw => 0,
            Self::FiveMinutes => 300_000,
            Self::Hour => HOUR_MILLIS,
        }
    }

    /// What blocks are stored under. None are of five minutes: such answers are made of samples.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::FiveMinutes => 1,
            Self::Hour => 2,
        }
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which series.
    pub selector: Selector,
    /// From when on, and until before when.
    pub range: Range<UnixMillis>,
    /// How fine; none for what suits the time: samples up to 6 hours, 5 minutes up to 3 days, else an hour.
    pub resolution: Option<Resolution>,
    /// Most points of all series together.
    pub max_points: usize,
}

impl Query {
    /// The resolution that is meant.
    pub fn resolution(&self) -> Resolution {
        let length = self.range.end.since(self.range.start);
        self.resolution.unwrap_or(if length <= RAW_MILLIS {
            Resolution::Raw
        } else if length <= FIVE_MINUTES_MILLIS {
            Resolution::FiveMinutes
        } else {
            Resolution::Hour
        })
    }
}

/// Values of one series, ascending in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeriesData {
    /// Its name.
    pub name: String,
    /// Its values.
    pub points: Points,
}

/// Values as they were sampled, or rolled up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Points {
    /// Each sample's time and value.
    Raw(Vec<(UnixMillis, i64)>),
    /// By stretches of time; the first may begin before the question's range.
    Rollups(Vec<Rollup>),
}

impl Points {
    /// How many.
    pub const fn len(&self) -> usize {
        match self {
            Self::Raw(points) => points.len(),
            Self::Rollups(points) => points.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A time in which something was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapSpan {
    /// Its first instant.
    pub start: UnixMillis,
    /// The first instant after it.
    pub end: UnixMillis,
    /// What happened.
    #[serde(flatten)]
    pub cause: GapCause,
}

/// Why there are no values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum GapCause {
    /// The agent ran and came too late for so many ticks.
    Missed {
        /// Ticks.
        ticks: u32,
    },
    /// One collector gave nothing.
    Collector {
        /// Which.
        collector: CollectorKind,
        /// Why.
        reason: GapReason,
    },
    /// The machine slept.
    Suspended,
    /// There are no samples: the agent did not run, or what it measured was lost or deleted.
    NotRunning,
    /// There were samples, and they cannot be read.
    Unreadable {
        /// Why.
        fault: StoreFault,
    },
}

/// What the store knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// How fine it is.
    pub resolution: Resolution,
    /// By name; a series without a value in the time is left out.
    pub series: Vec<SeriesData>,
    /// What was not measured, ascending in time; at most 10,000.
    pub gaps: Vec<GapSpan>,
    /// What could not be read.
    pub faults: Vec<StoreFault>,
}

/// The store at one instant, for the series of one question.
pub(super) struct View<'a> {
    store: &'a Store,
    transaction: ReadTransaction,
    pub(super) names: BTreeMap<u32, Arc<str>>,
    raw: Vec<BlockKey>,
    rolled: Vec<BlockKey>,
    /// Days whose rollups are not there, or not right yet.
    unrolled: Vec<u32>,
    open: Vec<(u32, Vec<TickFacts>, BTreeMap<u32, Column>)>,
}

/// Points of each series.
type Series = BTreeMap<u32, Vec<(UnixMillis, i64)>>;

impl Store {
    /// Answers a question. What cannot be read is named, and the rest is answered.
    ///
    /// # Errors
    /// [`StoreError::AnswerTooLarge`] if there are more points than the question allows, or more than 2,000 series; if
    /// the file as a whole cannot be read.
    pub fn query(&self, query: &Query) -> Result<Answer, StoreError> {
        let resolution = query.resolution();
        let view = self.view(&query.selector, &query.range, resolution)?;
        if view.names.len() > MAX_SERIES {
            return Err(StoreError::AnswerTooLarge {
                what: "series",
                limit: MAX_SERIES,
            });
        }
        let mut gaps = Gaps::new(self, &view, query.range.clone());
        let mut faults = Vec::new();
        let mut answer: BTreeMap<u32, Points> = BTreeMap::new();
        if resolution == Resolution::Raw {
            let mut series = Series::new();
            let mut budget = Budget::new(query.max_points);
            view.raw(
                &query.range,
                &mut faults,
                &mut budget,
                &mut series,
                Some(&mut gaps),
            )?;
            answer.extend(
                series
                    .into_iter()
                    .map(|(number, points)| (number, Points::Raw(points))),
            );
        } else {
            view.ticks(&mut gaps, &mut faults)?;
            let rollups = view.rollups(&query.range, resolution, &mut faults, query.max_points)?;
            answer.extend(
                rollups
                    .into_iter()
                    .map(|(number, points)| (number, Points::Rollups(points))),
            );
        }
        faults.sort_unstable();
        faults.dedup();
        faults.truncate(MAX_GAPS);
        if !faults.is_empty() {
            let mut state = self.lock()?;
            faults.iter().for_each(|fault| state.note(fault.clone()));
        }
        let mut series: Vec<SeriesData> = answer
            .into_iter()
            .filter(|(_, points)| !points.is_empty())
            .filter_map(|(number, points)| {
                Some(SeriesData {
                    name: view.names.get(&number)?.to_string(),
                    points,
                })
            })
            .collect();
        series.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(Answer {
            resolution,
            series,
            gaps: gaps.finish(),
            faults,
        })
    }

    pub(super) fn view(
        &self,
        selector: &Selector,
        range: &Range<UnixMillis>,
        resolution: Resolution,
    ) -> Result<View<'_>, StoreError> {
        let state = self.lock()?;
        let names: BTreeMap<u32, Arc<str>> = state
            .names
            .all()
            .filter(|(_, name)| selector.matches(name))
            .map(|(number, name)| (number, name.clone()))
            .collect();
        // One hour earlier, to know when the last sample before was.
        let first = hour_of(range.start).unwrap_or(0);
        let last = hour_of(range.end).unwrap_or(u32::MAX).saturating_add(1);
        let hours = first.saturating_sub(1)..last;
        let days = day_of(first).saturating_mul(24)..last;
        let (raw_hours, rolled) = if resolution == Resolution::Raw {
            (hours, Vec::new())
        } else {
            let whole = days.start.saturating_sub(1)..day_of(last).saturating_add(1).saturating_mul(24);
            (whole, state.blocks_of(resolution.code(), days))
        };
        let open = state.hours.range(raw_hours.clone()).map(|(hour, open)| {
            let ticks = open
                .ticks
                .iter()
                .map(|tick| TickFacts::of(&tick.sample))
                .collect();
            let columns = names
                .keys()
                .filter_map(|number| Some((*number, open.columns.get(number)?.clone())));
            (*hour, ticks, columns.collect())
        });
        let open: Vec<_> = open.collect();
        let mut unrolled: Vec<u32> = state.days.keys().copied().collect();
        unrolled.extend(state.hours.keys().map(|hour| day_of(*hour)));
        Ok(View {
            store: self,
            transaction: self.file.begin_read()?,
            raw: state.blocks_of(0, raw_hours),
            rolled,
            unrolled,
            open,
            names,
        })
    }
}

impl View<'_> {
    fn fault(&self, error: StoreError, what: &'static str, hour: u32) -> Result<StoreFault, StoreError> {
        as_fault(error, what, hour_start(hour))
    }

    fn called(&self, series: u32) -> String {
        called(series, |number| self.names.get(&number).map(ToString::to_string))
    }

    /// Opens a column of a block; none if the block has none of this series.
    fn column(&self, key: BlockKey, index: &Index, series: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = self.store.file.read(|| {
            let table = self.transaction.open_table(PIECES)?;
            read_column(&table, key, index, series)
        })?;
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        let opened = index.open(series, &sealed);
        Ok(Some(opened.map_err(|fault| {
            fault.of(self.called(series), hour_start(key.hour))
        })?))
    }

    fn index(&self, key: BlockKey) -> Result<Index, StoreError> {
        self.store
            .file
            .read(|| read_index(&self.transaction.open_table(PIECES)?, &self.store.seals, key))
    }

    fn malformed(&self, series: u32, hour: u32) -> impl Fn(Malformed) -> StoreError {
        let series = self.called(series);
        move |Malformed(what)| {
            StoreError::Fault(StoreFault::Malformed {
                series: series.clone(),
                hour: hour_start(hour),
                what,
            })
        }
    }

    fn times(&self, key: BlockKey, index: &Index) -> Result<Times, StoreError> {
        let missing = StoreFault::Missing {
            what: "the times",
            hour: hour_start(key.hour),
        };
        let bytes = self.column(key, index, TIMES)?.ok_or(missing)?;
        Times::decode(&bytes).map_err(self.malformed(TIMES, key.hour))
    }

    fn values(
        &self,
        key: BlockKey,
        index: &Index,
        series: u32,
        ticks: usize,
    ) -> Result<Option<Column>, StoreError> {
        let Some(bytes) = self.column(key, index, series)? else {
            return Ok(None);
        };
        decode_values(&bytes, ticks)
            .map(Some)
            .map_err(self.malformed(series, key.hour))
    }

    /// Every sample in the range; and its gaps, so that no block is opened twice.
    fn raw(
        &self,
        range: &Range<UnixMillis>,
        faults: &mut Vec<StoreFault>,
        budget: &mut Budget,
        series: &mut Series,
        mut gaps: Option<&mut Gaps>,
    ) -> Result<(), StoreError> {
        let last = UnixMillis(range.end.0.saturating_sub(1));
        let wanted = hour_of(range.start).unwrap_or(0)..=hour_of(last).unwrap_or(u32::MAX);
        let mut take = |number: u32, at: &[UnixMillis], column: &Column| {
            let points = series.entry(number).or_default();
            for (place, value) in column.present.iter().zip(&column.values) {
                if let Some(at) = at.get(*place as usize).filter(|at| range.contains(at)) {
                    budget.spend()?;
                    points.push((*at, *value));
                }
            }
            Ok::<(), StoreError>(())
        };
        for key in self.raw.iter().copied() {
            let asked = wanted.contains(&key.hour);
            if !asked && gaps.is_none() {
                continue;
            }
            let head = self
                .index(key)
                .and_then(|index| Ok((self.times(key, &index)?, index)));
            let (times, index) = match head {
                Ok(head) => head,
                Err(error) => {
                    let fault = self.fault(error, "the times", key.hour)?;
                    if let Some(gaps) = &mut gaps {
                        gaps.unreadable(key.hour, fault.clone());
                    }
                    faults.push(fault);
                    continue;
                }
            };
            if let Some(gaps) = &mut gaps {
                times.facts().for_each(|tick| gaps.take(&tick));
            }
            if !asked {
                continue;
            }
            for number in self.names.keys().copied().filter(|number| index.has(*number)) {
                match self.values(key, &index, number, times.at.len()) {
                    Ok(Some(column)) => take(number, &times.at, &column)?,
                    Ok(None) => {}
                    Err(error) => faults.push(self.fault(error, "a column", key.hour)?),
                }
            }
        }
        for (hour, ticks, columns) in &self.open {
            if let Some(gaps) = &mut gaps {
                ticks.iter().for_each(|tick| gaps.take(tick));
            }
            if wanted.contains(hour) {
                let at: Vec<UnixMillis> = ticks.iter().map(|tick| tick.at).collect();
                for (number, column) in columns {
                    take(*number, &at, column)?;
                }
            }
        }
        for points in series.values_mut() {
            // A clock that was set back brings later samples first.
            if !points.is_sorted_by_key(|(at, _)| *at) {
                points.sort_by_key(|(at, _)| *at);
            }
        }
        Ok(())
    }

    fn rollups(
        &self,
        range: &Range<UnixMillis>,
        resolution: Resolution,
        faults: &mut Vec<StoreFault>,
        max_points: usize,
    ) -> Result<BTreeMap<u32, Vec<Rollup>>, StoreError> {
        let width = resolution.millis();
        let start = UnixMillis(
            range
                .start
                .0
                .saturating_sub(range.start.0.checked_rem(width).unwrap_or(0)),
        );
        let range = start..range.end;
        let mut all: BTreeMap<u32, Vec<Rollup>> = BTreeMap::new();
        let mut budget = Budget::new(max_points);
        let mut days: Vec<u32> = self.rolled.iter().map(|key| day_of(key.hour)).collect();
        days.extend(self.raw.iter().map(|key| day_of(key.hour)));
        days.extend(self.open.iter().map(|(hour, ..)| day_of(*hour)));
        days.sort_unstable();
        days.dedup();
        for day in days {
            let from = hour_start(day.saturating_mul(24));
            let within = range.start.max(from)..range.end.min(from.plus(DAY_MILLIS));
            if within.is_empty() {
                continue;
            }
            let mut found = self.rolled_day(day, resolution, faults)?;
            if found.is_none() {
                found = Some(self.roll(&within, width, faults)?);
            }
            for (number, rollups) in found.unwrap_or_default() {
                let rollups = rollups.into_iter().filter(|rollup| within.contains(&rollup.at));
                let points = all.entry(number).or_default();
                for rollup in rollups {
                    budget.spend()?;
                    points.push(rollup);
                }
            }
        }
        Ok(all)
    }

    /// Rollups made of the samples of a day, an hour of them in memory at a time: each stretch lies within one hour.
    fn roll(
        &self,
        within: &Range<UnixMillis>,
        width: u64,
        faults: &mut Vec<StoreFault>,
    ) -> Result<BTreeMap<u32, Vec<Rollup>>, StoreError> {
        let mut rolled: BTreeMap<u32, Vec<Rollup>> = BTreeMap::new();
        let mut start = within.start;
        while start < within.end {
            let next = hour_start(hour_of(start).unwrap_or(u32::MAX).saturating_add(1));
            let hour = start..next.min(within.end);
            let mut series = Series::new();
            self.raw(&hour, faults, &mut Budget::new(usize::MAX), &mut series, None)?;
            for (number, points) in series {
                rolled
                    .entry(number)
                    .or_default()
                    .append(&mut roll(&points, width));
            }
            if next <= start {
                break;
            }
            start = next;
        }
        Ok(rolled)
    }

    /// A day's rollups; none if they are to be made of its samples, because they are not there or not readable.
    fn rolled_day(
        &self,
        day: u32,
        resolution: Resolution,
        faults: &mut Vec<StoreFault>,
    ) -> Result<Option<BTreeMap<u32, Vec<Rollup>>>, StoreError> {
        let mut keys = self
            .rolled
            .iter()
            .copied()
            .filter(|key| day_of(key.hour) == day)
            .peekable();
        if self.unrolled.contains(&day) || keys.peek().is_none() {
            return Ok(None);
        }
        let mut found = BTreeMap::new();
        for key in keys {
            let from = hour_start(key.hour);
            let index = match self.index(key) {
                Ok(index) => index,
                Err(error) => {
                    faults.push(self.fault(error, "a rollup", key.hour)?);
                    return Ok(None);
                }
            };
            for number in self.names.keys().copied().filter(|number| index.has(*number)) {
                let read = self.column(key, &index, number).and_then(|bytes| {
                    let bytes = bytes.unwrap_or_default();
                    rollup::decode(&bytes, from, resolution.millis())
                        .map_err(self.malformed(number, key.hour))
                });
                match read {
                    Ok(rollups) => {
                        found.insert(number, rollups);
                    }
                    Err(error) => {
                        faults.push(self.fault(error, "a rollup", key.hour)?);
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(found))
    }

    fn ticks(&self, gaps: &mut Gaps, faults: &mut Vec<StoreFault>) -> Result<(), StoreError> {
        let mut open = self.open.iter().peekable();
        for key in &self.raw {
            while let Some((_, ticks, _)) = open.next_if(|(hour, ..)| *hour < key.hour) {
                ticks.iter().for_each(|tick| gaps.take(tick));
            }
            match self.index(*key).and_then(|index| self.times(*key, &index)) {
                Ok(times) => times.facts().for_each(|tick| gaps.take(&tick)),
                Err(error) => {
                    let fault = self.fault(error, "the times", key.hour)?;
                    gaps.unreadable(key.hour, fault.clone());
                    faults.push(fault);
                }
            }
        }
        open.for_each(|(_, ticks, _)| ticks.iter().for_each(|tick| gaps.take(tick)));
        Ok(())
    }
}

/// Points that an answer may still have.
struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    const fn new(limit: usize) -> Self {
        Self { left: limit, limit }
    }

    fn spend(&mut self) -> Result<(), StoreError> {
        self.left = self.left.checked_sub(1).ok_or(StoreError::AnswerTooLarge {
            what: "points",
            limit: self.limit,
        })?;
        Ok(())
    }
}

/// A series' values in a block of `ticks`.
pub(super) fn decode_values(bytes: &[u8], ticks: usize) -> Result<Column, Malformed> {
    let mut reader = Reader::new(bytes);
    let present = take_presence(&mut reader, ticks)?;
    let values = take_column(&mut reader, present.len())?;
    reader.end()?;
    Ok(Column { present, values })
}

/// Finds gaps in ticks that come in order of time.
struct Gaps {
    range: Range<UnixMillis>,
    patience: u64,
    /// The collectors of the series that were asked for; none for all.
    collectors: Option<Vec<CollectorKind>>,
    before: Option<(UnixMillis, BootId)>,
    open: Vec<(CollectorKind, GapReason, UnixMillis)>,
    found: Vec<GapSpan>,
}

impl Gaps {
    fn new(store: &Store, view: &View<'_>, range: Range<UnixMillis>) -> Self {
        let interval = u64::try_from(store.options.interval.as_millis()).unwrap_or(u64::MAX);
        let collectors = view.names.values().map(|name| (store.options.collector_of)(name));
        let collectors: Option<Vec<_>> = collectors.collect();
        Self {
            range,
            patience: interval.saturating_add(interval / 2),
            collectors: collectors.filter(|some| !some.is_empty()),
            before: None,
            open: Vec::new(),
            found: Vec::new(),
        }
    }

    fn add(&mut self, start: UnixMillis, end: UnixMillis, cause: GapCause) {
        let (start, end) = (start.max(self.range.start), end.min(self.range.end));
        if start < end && self.found.len() < MAX_GAPS {
            self.found.push(GapSpan { start, end, cause });
        }
    }

    fn take(&mut self, tick: &TickFacts) {
        let silent = match self.before {
            None => Some(self.range.start),
            Some((before, _)) if tick.at <= before => None,
            Some((before, _)) => Some(before),
        };
        if let Some(since) = silent.filter(|since| tick.at.since(*since) > self.patience) {
            let same_boot = self.before.is_some_and(|(_, boot)| boot == tick.boot);
            let cause = match tick.missed {
                _ if same_boot && tick.suspended_millis > 0 => GapCause::Suspended,
                ticks if same_boot && ticks > 0 => GapCause::Missed { ticks },
                _ => GapCause::NotRunning,
            };
            self.add(since, tick.at, cause);
        }
        let still = |collector, reason| {
            tick.gaps
                .iter()
                .any(|gap| gap.collector == collector && gap.reason == reason)
        };
        let over: Vec<_> = self
            .open
            .extract_if(.., |(collector, reason, _)| !still(*collector, *reason))
            .collect();
        for (collector, reason, start) in over {
            self.add(start, tick.at, GapCause::Collector { collector, reason });
        }
        for gap in &tick.gaps {
            let wanted = self
                .collectors
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&gap.collector));
            let known = self
                .open
                .iter()
                .any(|(collector, ..)| *collector == gap.collector);
            if wanted && !known {
                self.open.push((gap.collector, gap.reason, tick.at));
            }
        }
        let at = self.before.map_or(tick.at, |(before, _)| before.max(tick.at));
        self.before = Some((at, tick.boot));
    }

    fn unreadable(&mut self, hour: u32, fault: StoreFault) {
        let (start, end) = (hour_start(hour), hour_start(hour.saturating_add(1)));
        self.add(start, end, GapCause::Unreadable { fault });
        let before = self.before.map_or(end, |(before, _)| before.max(end));
        self.before = Some((before, BootId([0; 16])));
    }

    fn finish(mut self) -> Vec<GapSpan> {
        let end = self.range.end;
        for (collector, reason, start) in std::mem::take(&mut self.open) {
            let last = self.before.map_or(end, |(before, _)| before.plus(1));
            self.add(start, last, GapCause::Collector { collector, reason });
        }
        let since = self.before.map_or(self.range.start, |(before, _)| before);
        if end.since(since) > self.patience {
            self.add(since, end, GapCause::NotRunning);
        }
        self.found.sort_by_key(|gap| (gap.start, gap.end));
        self.found
    }
}

impl State {
    /// Whether a question may use a day's rollups.
    #[cfg(test)]
    pub(super) fn is_rolled(&self, day: u32) -> bool {
        !self.days.contains_key(&day) && !self.blocks_of(2, day * 24..day * 24 + 1).is_empty()
    }
}
