//! A history in memory, which really computes what it is asked.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use nautilus_core::UnixMillis;
use nautilus_monitor::store::ChainReport;
use nautilus_monitor::{Family, MetricKind};
use nautilus_proof::CollectorKind;

use super::*;

pub(super) static LOAD: Family = Family::new(
    "nautilus_load_average",
    "",
    MetricKind::Gauge,
    2,
    "Mean number of tasks that run or want to.",
);
pub(super) static CPU: Family = Family::new(
    "nautilus_pod_cpu_usage_seconds",
    "seconds",
    MetricKind::Counter,
    9,
    "CPU time.",
);

/// Series with their values, in ascending order of the series' names.
#[derive(Default)]
pub(super) struct FakeHistory {
    pub series: Vec<(Series, Vec<(UnixMillis, i64)>)>,
    pub gaps: Vec<GapSpan>,
}

impl FakeHistory {
    /// Adds `count` values, one a second, from `value(0)` at second 1,000 on.
    pub fn with(
        mut self,
        family: &'static Family,
        label: Option<(&str, &str)>,
        count: u64,
        value: fn(i64) -> i64,
    ) -> Self {
        let labels: Vec<_> = label
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let name = match labels.as_slice() {
            [(label, value)] => format!("{}{{{label}=\"{value}\"}}", family.name),
            _ => family.name.clone().into_owned(),
        };
        let series = Series {
            name,
            family: Cow::Borrowed(family),
            labels,
            part: CollectorKind::System,
        };
        let values = (0..count).map(|at| {
            (
                UnixMillis::from_secs(1_000 + at),
                value(i64::try_from(at).unwrap()),
            )
        });
        self.series.push((series, values.collect()));
        self
    }

    fn matching(&self, question: &Question) -> Result<Vec<SeriesData>, HistoryError> {
        let selector = question.selector.as_str();
        if selector.contains('!') {
            return Err(HistoryError::Selector("`!` is not allowed".to_owned()));
        }
        let matches = |series: &Series| match selector.strip_suffix('*') {
            Some(prefix) => series.name.starts_with(prefix),
            None => series.name == selector || series.family.name == selector,
        };
        let within = |at: UnixMillis| question.range.contains(&at);
        let found = self.series.iter().filter(|(series, _)| matches(series));
        let data = found.map(|(series, values)| {
            let values = values.iter().copied().filter(|(at, _)| within(*at));
            SeriesData {
                series: series.clone(),
                points: match question.resolution.unwrap_or(Resolution::Raw) {
                    Resolution::Raw => Points::Raw(values.collect()),
                    Resolution::FiveMinutes => rolled_up(values, 300_000),
                    Resolution::Hour => rolled_up(values, 3_600_000),
                },
            }
        });
        Ok(data.collect())
    }
}

impl History for FakeHistory {
    fn series(&self) -> Result<Vec<SeriesFacts>, HistoryError> {
        let facts = self.series.iter().map(|(series, values)| SeriesFacts {
            series: series.clone(),
            first: values.first().unwrap().0,
            last: values.last().unwrap().0,
        });
        Ok(facts.collect())
    }

    fn query(&self, question: &Question) -> Result<Answer, HistoryError> {
        Ok(Answer {
            resolution: question.resolution.unwrap_or(Resolution::Raw),
            series: self.matching(question)?,
            gaps: self.gaps.clone(),
            faults: Vec::new(),
            truncated: false,
        })
    }

    fn verify(&self, _range: Range<UnixMillis>) -> Result<ChainReport, HistoryError> {
        Ok(ChainReport {
            samples: 7,
            ..ChainReport::default()
        })
    }

    fn export(
        &self,
        question: &Question,
        format: ExportFormat,
        out: &mut dyn io::Write,
    ) -> Result<(), HistoryError> {
        if format == ExportFormat::Csv {
            writeln!(out, "series,at,value")?;
        }
        for SeriesData { series, points } in self.matching(question)? {
            let Points::Raw(values) = points else {
                return Err(HistoryError::Unreadable("an export is of samples".to_owned()));
            };
            for (at, value) in values {
                match format {
                    ExportFormat::Csv => writeln!(out, "{},{},{value}", series.name, at.0)?,
                    ExportFormat::JsonLines => {
                        writeln!(out, "{}", serde_json::json!([series.name, at.0, value]))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn rolled_up(values: impl Iterator<Item = (UnixMillis, i64)>, step: u64) -> Points {
    let mut rollups: Vec<(Rollup, i64)> = Vec::new();
    for (at, value) in values {
        let at = UnixMillis(at.0 - at.0 % step);
        match rollups.last_mut() {
            Some((last, count)) if last.at == at => {
                *count += 1;
                last.min = last.min.min(value);
                last.max = last.max.max(value);
                last.mean += value;
            }
            _ => rollups.push((
                Rollup {
                    at,
                    min: value,
                    mean: value,
                    max: value,
                },
                1,
            )),
        }
    }
    let means = rollups.into_iter().map(|(sum, count)| Rollup {
        mean: sum.mean / count,
        ..sum
    });
    Points::Rollups(means.collect())
}
