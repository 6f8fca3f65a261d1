//! What a collector measured, as named integers: the form that is committed to, stored and exported.

use std::borrow::Cow;
use std::fmt::Write as _;

use nautilus_proof::{MAX_SERIES_NAME, Reading, Readings};
use serde::Serialize;

/// Most readings of one sample: some forty of the machine and a dozen for each of 1,000 containers fit in. What is
/// above is not taken, and a gap says so.
pub const MAX_READINGS: usize = 20_000;
/// Longest value of a label, in bytes. Kubernetes' names have at most 253.
pub const MAX_LABEL: usize = 256;

/// How a family's values behave, as OpenMetrics names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, but for a restart of what is counted.
    Counter,
}

/// A metric's name and meaning, the same for all its series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Family {
    /// Full name in OpenMetrics, with its unit and without `_total`: `nautilus_cpu_usage_ratio`.
    pub name: Cow<'static, str>,
    /// What it is, in one sentence.
    pub help: Cow<'static, str>,
    /// The base unit that ends its name: `seconds`, `bytes`, `ratio`; empty where there is none.
    pub unit: Cow<'static, str>,
    /// How its values behave.
    pub kind: MetricKind,
    /// Decimal places of the base unit that the integer carries: a value of 1234 with 4 places is 0.1234.
    pub places: u8,
}

impl Family {
    /// A family that the program knows.
    pub const fn new(
        name: &'static str,
        unit: &'static str,
        kind: MetricKind,
        places: u8,
        help: &'static str,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            help: Cow::Borrowed(help),
            unit: Cow::Borrowed(unit),
            kind,
            places,
        }
    }
}

/// One value of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What it is.
    pub family: Cow<'static, Family>,
    /// Which one: names are unique and in ascending order.
    pub labels: Vec<(Cow<'static, str>, String)>,
    /// How much, in units of ten to the minus [`Family::places`].
    pub value: i64,
}

impl Point {
    /// A value of a series without labels.
    pub const fn plain(family: &'static Family, value: i64) -> Self {
        Self {
            family: Cow::Borrowed(family),
            labels: Vec::new(),
            value,
        }
    }

    /// A value of a series with labels, in ascending order of their names. A value of a label that is too long is cut
    /// at [`MAX_LABEL`] bytes.
    pub fn labelled<const N: usize>(
        family: &'static Family,
        labels: [(&'static str, &str); N],
        value: i64,
    ) -> Self {
        let labels = labels.map(|(name, text)| (Cow::Borrowed(name), bounded(text).to_owned()));
        Self {
            family: Cow::Borrowed(family),
            labels: labels.into(),
            value,
        }
    }

    /// The series' name as OpenMetrics writes it: `name{label="value"}`, without `_total`.
    pub fn series(&self) -> String {
        let mut name = self.family.name.clone().into_owned();
        let mut before = '{';
        for (label, value) in &self.labels {
            name.push(before);
            before = ',';
            // Writing to a string never fails.
            let _ = write!(name, "{label}=\"");
            escape(value, &mut name);
            name.push('"');
        }
        if before == ',' {
            name.push('}');
        }
        name
    }
}

/// The readings of one sample in their canonical order, and how many did not fit: those past [`MAX_READINGS`], those
/// whose name is too long, and all but the first of a name.
pub fn readings(points: &[Point]) -> (Readings, usize) {
    let mut all: Vec<Reading> = points
        .iter()
        .map(|point| Reading {
            series: point.series(),
            value: point.value,
        })
        .filter(|reading| reading.series.len() <= MAX_SERIES_NAME)
        .collect();
    all.sort_by(|one, other| one.series.cmp(&other.series));
    all.dedup_by(|one, other| one.series == other.series);
    all.truncate(MAX_READINGS);
    let left_out = points.len().saturating_sub(all.len());
    (Readings(all), left_out)
}

fn bounded(text: &str) -> &str {
    let end = text.floor_char_boundary(MAX_LABEL.min(text.len()));
    text.get(..end).unwrap_or_default()
}

/// As the OpenMetrics text format escapes the value of a label.
fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static BYTES: Family = Family::new("nautilus_x_bytes", "bytes", MetricKind::Gauge, 0, "An example.");

    #[test]
    fn a_series_is_named_as_openmetrics_writes_it() {
        assert_eq!(Point::plain(&BYTES, 1).series(), "nautilus_x_bytes");
        let point = Point::labelled(&BYTES, [("namespace", "a\"b"), ("pod", "c\\d\n")], 1);
        assert_eq!(
            point.series(),
            "nautilus_x_bytes{namespace=\"a\\\"b\",pod=\"c\\\\d\\n\"}"
        );
        let long = "ä".repeat(MAX_LABEL);
        let point = Point::labelled(&BYTES, [("pod", &long)], 1);
        assert_eq!(point.labels[0].1.len(), MAX_LABEL);
    }

    #[test]
    fn readings_are_sorted_unique_and_bounded() {
        let point = |pod: &str, value| Point::labelled(&BYTES, [("pod", pod)], value);
        let (Readings(kept), left_out) = readings(&[point("b", 1), point("a", 2), point("b", 3)]);
        let values: Vec<_> = kept.iter().map(|reading| reading.value).collect();
        assert_eq!((values, left_out), (vec![2, 1], 1));
        let many: Vec<_> = (0..=MAX_READINGS).map(|at| point(&at.to_string(), 0)).collect();
        assert_eq!(readings(&many).1, 1);
    }
}
