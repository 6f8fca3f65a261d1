//! Exports that other tools read: a row for each value, written while it is read.

use std::io::{self, Write};

use nautilus_core::UnixMillis;
use serde::Serialize;

use super::error::{StoreError, StoreFault};
use super::query::{Answer, Points, Query, Resolution};
use super::rollup::DAY_MILLIS;
use super::{HOUR_MILLIS, Store};

/// Most gaps and faults that an export tells of.
const MAX_FAULTS: usize = 10_000;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// A JSON object in each line.
    JsonLines,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Rows without the header.
    pub rows: u64,
    /// What could not be read.
    pub faults: Vec<StoreFault>,
}

/// One row of JSON lines.
#[derive(Serialize)]
struct Line<'a> {
    series: &'a str,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<serde_json::Value>,
}

impl Store {
    /// Writes what a question selects: columns `series`, `timestamp` in milliseconds since the epoch, and `value`, or
    /// `min`, `max`, `mean` and `last` for rollups. Values are exact decimal numbers in CSV and strings of them in JSON
    /// lines, where a reader's double would not hold them. Rows come hour by hour (rollups: day by day), in each by
    /// series and time, so that no more than that is in memory; `max_points` bounds that.
    ///
    /// # Errors
    /// As [`Self::query`], and if the receiver takes no more.
    pub fn export(
        &self,
        query: &Query,
        format: ExportFormat,
        out: &mut dyn Write,
    ) -> Result<Exported, StoreError> {
        let resolution = query.resolution();
        let step = if resolution == Resolution::Raw {
            HOUR_MILLIS
        } else {
            DAY_MILLIS
        };
        let mut exported = Exported::default();
        if format == ExportFormat::Csv {
            let columns = if resolution == Resolution::Raw {
                "value"
            } else {
                "min,max,mean,last"
            };
            write!(out, "series,timestamp,{columns}\r\n").map_err(StoreError::Export)?;
        }
        let stats = self.stats()?;
        let first = stats.oldest.unwrap_or(UnixMillis(0));
        let mut at = query.range.start.max(first);
        let end = query
            .range
            .end
            .min(stats.newest.map_or(UnixMillis(0), |newest| newest.plus(1)));
        while at < end {
            let whole = at.0.saturating_sub(at.0.checked_rem(step).unwrap_or(0));
            let next = UnixMillis(whole).plus(step).min(end);
            let part = Query {
                range: at..next,
                resolution: Some(resolution),
                ..query.clone()
            };
            let answer = self.query(&part)?;
            self.write_rows(&answer, format, out, &mut exported)
                .map_err(StoreError::Export)?;
            let room = MAX_FAULTS.saturating_sub(exported.faults.len());
            exported.faults.extend(answer.faults.into_iter().take(room));
            at = next;
        }
        out.flush().map_err(StoreError::Export)?;
        Ok(exported)
    }

    fn write_rows(
        &self,
        answer: &Answer,
        format: ExportFormat,
        out: &mut dyn Write,
        exported: &mut Exported,
    ) -> io::Result<()> {
        for series in &answer.series {
            let places = (self.options.places_of)(&series.name);
            let decimal = |value| decimal(value, places);
            let mut row = |at: UnixMillis, value: Option<i64>, rolled: Option<[Option<i64>; 4]>| {
                exported.rows = exported.rows.saturating_add(1);
                match format {
                    ExportFormat::Csv => {
                        write!(out, "\"{}\",{}", series.name.replace('"', "\"\""), at.0)?;
                        for value in value.map(Some).into_iter().chain(rolled.into_iter().flatten()) {
                            write!(out, ",{}", value.map(decimal).unwrap_or_default())?;
                        }
                        out.write_all(b"\r\n")
                    }
                    ExportFormat::JsonLines => {
                        let json = |value| serde_json::Value::String(decimal(value));
                        let [min, max, mean, last] = rolled.unwrap_or_default().map(|value| value.map(json));
                        let line = Line {
                            series: &series.name,
                            timestamp: at.0,
                            value: value.map(json),
                            min,
                            max,
                            mean,
                            last,
                        };
                        serde_json::to_writer(&mut *out, &line)?;
                        out.write_all(b"\n")
                    }
                }
            };
            match &series.points {
                Points::Raw(points) => {
                    for (at, value) in points {
                        row(*at, Some(*value), None)?;
                    }
                }
                Points::Rollups(points) => {
                    for point in points {
                        row(
                            point.at,
                            None,
                            Some([Some(point.min), Some(point.max), Some(point.mean), point.last]),
                        )?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// An integer of units of ten to the minus `places`, as a decimal number.
fn decimal(value: i64, places: u8) -> String {
    let places = usize::from(places);
    if places == 0 {
        return value.to_string();
    }
    let digits = format!(
        "{:0>width$}",
        value.unsigned_abs(),
        width = places.saturating_add(1)
    );
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(places));
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(5, 0), "5");
        assert_eq!(decimal(4213, 4), "0.4213");
        assert_eq!(decimal(-1, 9), "-0.000000001");
        assert_eq!(decimal(i64::MIN, 2), "-92233720368547758.08");
        assert_eq!(decimal(12_345, 2), "123.45");
    }
}
