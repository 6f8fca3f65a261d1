//! What the page asks of the store.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use nautilus_core::UnixMillis;
use nautilus_monitor::store::{self, ChainReport, GapCause, Query, Selector, Store, StoreError};
use nautilus_monitor::{Family, MetricKind, custom};
use nautilus_proof::{CollectorKind, GapReason};
use nautilus_verifier::told;

use super::families;
use super::keeper::Shelf;
use crate::clock::NodeClock;
use crate::page::metrics::{
    Answer, ExportFormat, Fault, GapSpan, History, HistoryError, Points, Question, Resolution, Rollup,
    Series, SeriesData, SeriesFacts, SpanReason,
};

/// Samples of a series that an export makes at once.
const EXPORT_SLICE: u64 = 120;
/// What was measured is kept with the next batch: two flush intervals are no silence yet.
const ON_THE_WAY_MILLIS: u64 = 60_000;

impl History for Shelf {
    fn series(&self) -> Result<Vec<SeriesFacts>, HistoryError> {
        let mut all: BTreeMap<String, store::SeriesFacts> = BTreeMap::new();
        self.each(|store| {
            for facts in store.series()? {
                all.entry(facts.name.clone())
                    .and_modify(|known| {
                        known.first = known.first.min(facts.first);
                        known.last = known.last.max(facts.last);
                    })
                    .or_insert(facts);
            }
            Ok(())
        })?;
        let facts = all.into_values().map(|facts| SeriesFacts {
            series: series(facts.name),
            first: facts.first,
            last: facts.last,
        });
        Ok(facts.collect())
    }

    fn query(&self, question: &Question) -> Result<Answer, HistoryError> {
        let (query, now) = (query(question)?, NodeClock::wall());
        let mut all: BTreeMap<String, SeriesData> = BTreeMap::new();
        let (mut gaps, mut faults, mut truncated) = (Vec::new(), Vec::new(), false);
        self.each(|store| {
            let answer = store.query(&query)?;
            for data in answer.series {
                if !all.contains_key(&data.name) && all.len() >= question.max_series {
                    truncated = true;
                    continue;
                }
                let points = points(data.points);
                match all.get_mut(&data.name) {
                    Some(known) => truncated |= !extend(&mut known.points, points),
                    None => {
                        let data_of = SeriesData {
                            series: series(data.name.clone()),
                            points,
                        };
                        all.insert(data.name, data_of);
                    }
                }
            }
            let on_the_way = |gap: &store::GapSpan| {
                gap.cause == GapCause::NotRunning && now.since(gap.start) < ON_THE_WAY_MILLIS
            };
            gaps.extend(answer.gaps.into_iter().filter(|gap| !on_the_way(gap)).map(gap));
            faults.extend(answer.faults.iter().map(|fault| Fault { detail: told(fault) }));
            Ok(())
        })?;
        gaps.sort_by_key(|gap: &GapSpan| gap.start);
        Ok(Answer {
            resolution: resolution_of(query.resolution()),
            series: all.into_values().collect(),
            gaps,
            faults,
            truncated,
        })
    }

    fn export(
        &self,
        question: &Question,
        format: ExportFormat,
        out: &mut dyn io::Write,
    ) -> Result<(), HistoryError> {
        let query = query(question)?;
        let format = match format {
            ExportFormat::Csv => store::ExportFormat::Csv,
            ExportFormat::JsonLines => store::ExportFormat::JsonLines,
        };
        let (mut faults, mut header) = (Vec::new(), true);
        let kept = self.kept()?;
        let end = query.range.end.min(kept.end);
        let mut at = query.range.start.max(kept.start);
        // A slow reader must not hold the store: it is given one slice of time after the other, and a header at least.
        loop {
            let next = at.plus(self.slice_millis()).min(end);
            let slice = Query {
                range: at..next,
                ..query.clone()
            };
            let mut part = Vec::new();
            self.each(|store| {
                // A file has one header.
                let skip = !std::mem::take(&mut header) && format == store::ExportFormat::Csv;
                let mut out = SkipLine { out: &mut part, skip };
                faults.extend(store.export(&slice, format, &mut out)?.faults);
                Ok(())
            })?;
            out.write_all(&part)?;
            at = next;
            if at >= end {
                break;
            }
        }
        match faults.first() {
            None => Ok(()),
            Some(first) => Err(HistoryError::Unreadable(format!(
                "{} parts are missing in the export, the first: {first}",
                faults.len()
            ))),
        }
    }

    fn verify(&self, range: Range<UnixMillis>) -> Result<ChainReport, HistoryError> {
        let signers = self.signers().read();
        let signers =
            signers.map_err(|error| HistoryError::Unreadable(format!("which keys signed: {error}")))?;
        let stores = self.read();
        let store = stores.open.as_ref().ok_or_else(closed)?;
        store
            .verify_chain(range, &|boot| signers.get(&boot).copied())
            .map_err(refused)
    }
}

/// Leaves out what comes before the first line's end.
struct SkipLine<'a> {
    out: &'a mut dyn io::Write,
    skip: bool,
}

impl io::Write for SkipLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.skip {
            return self.out.write(bytes);
        }
        match bytes.iter().position(|byte| *byte == b'\n') {
            None => Ok(bytes.len()),
            Some(end) => {
                self.skip = false;
                Ok(end + 1)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Shelf {
    /// The time of which there is anything.
    fn kept(&self) -> Result<Range<UnixMillis>, HistoryError> {
        let mut kept = UnixMillis(u64::MAX)..UnixMillis(0);
        self.each(|store| {
            let stats = store.stats()?;
            if let (Some(oldest), Some(newest)) = (stats.oldest, stats.newest) {
                kept = kept.start.min(oldest)..kept.end.max(newest.plus(1));
            }
            Ok(())
        })?;
        Ok(kept)
    }

    fn slice_millis(&self) -> u64 {
        let interval = u64::try_from(self.interval().as_millis()).unwrap_or(u64::MAX);
        interval.saturating_mul(EXPORT_SLICE).max(1)
    }

    /// What is left of a damaged store comes first: it is older.
    fn each(&self, mut ask: impl FnMut(&Store) -> Result<(), StoreError>) -> Result<(), HistoryError> {
        let stores = self.read();
        let open = stores.open.as_ref().ok_or_else(closed)?;
        for store in stores.left.iter().chain([open]) {
            ask(store).map_err(refused)?;
        }
        Ok(())
    }
}

fn closed() -> HistoryError {
    HistoryError::Unreadable("the store is changing its keys, or is closed: ask again".to_owned())
}

fn refused(error: StoreError) -> HistoryError {
    match error {
        StoreError::Export(source) => HistoryError::Io(source),
        error => HistoryError::Unreadable(told(&error)),
    }
}

fn query(question: &Question) -> Result<Query, HistoryError> {
    let selector: Selector = question
        .selector
        .parse()
        .map_err(|error: store::SelectorError| HistoryError::Selector(error.to_string()))?;
    Ok(Query {
        selector,
        range: question.range.clone(),
        resolution: question.resolution.map(|resolution| match resolution {
            Resolution::Raw => store::Resolution::Raw,
            Resolution::FiveMinutes => store::Resolution::FiveMinutes,
            Resolution::Hour => store::Resolution::Hour,
        }),
        max_points: question.max_points.saturating_mul(question.max_series),
    })
}

const fn resolution_of(resolution: store::Resolution) -> Resolution {
    match resolution {
        store::Resolution::Raw => Resolution::Raw,
        store::Resolution::FiveMinutes => Resolution::FiveMinutes,
        store::Resolution::Hour => Resolution::Hour,
    }
}

fn series(name: String) -> Series {
    let labels = Selector::labels_of(&name).unwrap_or_default();
    let known = families::of(&name);
    Series {
        family: known.map_or_else(|| Cow::Owned(foreign(&name)), |known| Cow::Borrowed(known.family)),
        part: known.map_or(CollectorKind::Custom, |known| known.part),
        labels,
        name,
    }
}

/// A family that others gave: what it is was told to whoever scraped, and is not kept.
fn foreign(name: &str) -> Family {
    Family {
        name: Cow::Owned(families::family_name(name).to_owned()),
        help: Cow::Borrowed(""),
        unit: Cow::Borrowed(""),
        kind: MetricKind::Gauge,
        places: custom::places_of(families::family_name(name)),
    }
}

fn points(points: store::Points) -> Points {
    match points {
        store::Points::Raw(values) => Points::Raw(values),
        store::Points::Rollups(values) => Points::Rollups(
            values
                .into_iter()
                .map(|rollup| Rollup {
                    at: rollup.at,
                    min: rollup.min,
                    mean: rollup.mean,
                    max: rollup.max,
                })
                .collect(),
        ),
    }
}

/// Whether both are of the same kind.
fn extend(known: &mut Points, more: Points) -> bool {
    match (known, more) {
        (Points::Raw(known), Points::Raw(more)) => known.extend(more),
        (Points::Rollups(known), Points::Rollups(more)) => known.extend(more),
        _ => return false,
    }
    true
}

fn gap(gap: store::GapSpan) -> GapSpan {
    let (reason, collector, detail) = match gap.cause {
        GapCause::Missed { ticks } => (SpanReason::Missed, None, format!("{ticks} ticks")),
        GapCause::Collector { collector, reason } => {
            let reason = match reason {
                GapReason::Failed => SpanReason::Failed,
                GapReason::Stalled => SpanReason::Stalled,
                GapReason::Truncated => SpanReason::Truncated,
            };
            (reason, Some(collector), String::new())
        }
        GapCause::Suspended => (SpanReason::Suspended, None, String::new()),
        GapCause::NotRunning => (SpanReason::NotRunning, None, String::new()),
        GapCause::Unreadable { fault } => (SpanReason::Unreadable, None, told(&fault)),
    };
    GapSpan {
        start: gap.start,
        end: gap.end,
        reason,
        collector,
        detail,
    }
}
