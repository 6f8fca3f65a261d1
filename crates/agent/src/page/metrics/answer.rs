//! Writes answers as JSON, point by point: the text is never whole in memory, and numbers are exact.

use std::fmt;
use std::io::{self, Write};

use nautilus_monitor::{Family, MetricKind};
use serde_json::json;

use super::history::{Answer, Fault, GapSpan, HistoryError, Points, Rollup, Series, SeriesData, SeriesFacts};

/// Writes the answer to a query.
pub(super) fn write(answer: &Answer, out: &mut dyn Write) -> Result<(), HistoryError> {
    write!(
        out,
        "{{\"resolution\":\"{}\",\"series\":[",
        answer.resolution.as_str()
    )?;
    for (at, SeriesData { series, points }) in answer.series.iter().enumerate() {
        separate(at, out)?;
        write_series(series, out)?;
        out.write_all(b",\"points\":[")?;
        write_points(points, series.family.places, out)?;
        out.write_all(b"]}")?;
    }
    out.write_all(b"],\"gaps\":[")?;
    for (at, gap) in answer.gaps.iter().enumerate() {
        separate(at, out)?;
        write_gap(gap, out)?;
    }
    out.write_all(b"],\"faults\":[")?;
    for (at, Fault { detail }) in answer.faults.iter().enumerate() {
        separate(at, out)?;
        write!(out, "{}", json!({ "detail": detail }))?;
    }
    writeln!(out, "],\"truncated\":{}}}", answer.truncated)?;
    Ok(())
}

/// Writes the list of series.
pub(super) fn write_facts(facts: &[SeriesFacts], out: &mut dyn Write) -> Result<(), HistoryError> {
    out.write_all(b"{\"series\":[")?;
    for (at, SeriesFacts { series, first, last }) in facts.iter().enumerate() {
        separate(at, out)?;
        write_series(series, out)?;
        let (part, help) = (series.part.as_str(), json!(series.family.help));
        write!(
            out,
            ",\"part\":\"{part}\",\"help\":{help},\"first\":{},\"last\":{}}}",
            first.0, last.0
        )?;
    }
    out.write_all(b"]}\n")?;
    Ok(())
}

/// An object that is left open.
fn write_series(series: &Series, out: &mut dyn Write) -> io::Result<()> {
    let Family {
        name,
        unit,
        kind,
        places,
        ..
    } = &*series.family;
    let labels: serde_json::Map<_, _> = series
        .labels
        .iter()
        .map(|(label, value)| (label.clone(), json!(value)))
        .collect();
    let kind = match kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Counter => "counter",
    };
    write!(
        out,
        "{{\"name\":{},\"family\":{},\"labels\":{},\"unit\":{},\"kind\":\"{kind}\",\"places\":{places}",
        json!(series.name),
        json!(name),
        json!(labels),
        json!(unit)
    )
}

fn write_points(points: &Points, places: u8, out: &mut dyn Write) -> io::Result<()> {
    let exact = |value| Exact { value, places };
    match points {
        Points::Raw(values) => {
            for (at, (when, value)) in values.iter().enumerate() {
                separate(at, out)?;
                write!(out, "[{},{}]", when.0, exact(*value))?;
            }
        }
        Points::Rollups(values) => {
            for (at, rollup) in values.iter().enumerate() {
                separate(at, out)?;
                let Rollup {
                    at: when,
                    min,
                    mean,
                    max,
                } = *rollup;
                write!(out, "[{},{},{},{}]", when.0, exact(min), exact(mean), exact(max))?;
            }
        }
    }
    Ok(())
}

fn write_gap(gap: &GapSpan, out: &mut dyn Write) -> io::Result<()> {
    let fields = json!({
        "start": gap.start.0,
        "end": gap.end.0,
        "reason": gap.reason.as_str(),
        "collector": gap.collector,
        "detail": gap.detail,
    });
    write!(out, "{fields}")
}

fn separate(at: usize, out: &mut dyn Write) -> io::Result<()> {
    if at == 0 { Ok(()) } else { out.write_all(b",") }
}

/// The decimal number that an integer stands for, to the last place: a double would round it.
struct Exact {
    value: i64,
    places: u8,
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.places);
        // One digit stands before the point at least.
        let digits = format!(
            "{:0>width$}",
            self.value.unsigned_abs(),
            width = places.saturating_add(1)
        );
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(places));
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.value < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        for (value, places, written) in [
            (0, 0, "0"),
            (0, 9, "0"),
            (4213, 4, "0.4213"),
            (10_000, 4, "1"),
            (-1_500_000_000, 9, "-1.5"),
            (-5, 2, "-0.05"),
            (9_007_199_254_740_993, 0, "9007199254740993"),
            (i64::MAX, 9, "9223372036.854775807"),
            (i64::MIN, 0, "-9223372036854775808"),
            (i64::MIN, 19, "-0.9223372036854775808"),
            (1, 255, &format!("0.{}1", "0".repeat(254))),
        ] {
            assert_eq!(
                Exact { value, places }.to_string(),
                written,
                "{value} with {places} places"
            );
        }
    }
}
