//! Documents of metrics from anywhere: nothing panics, what is taken is bounded and cannot pass for the agent's own, and
//! written out again it is read as the same.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use nautilus_fuzz::fuzz_target;
use nautilus_monitor::custom::{Dialect, JobName, parse_text};
use nautilus_monitor::{MAX_LABEL, MetricKind, Point};

const MAX_SERIES: usize = 1_000;
/// `nautilus_proof::MAX_SERIES_NAME`.
const MAX_SERIES_NAME: usize = 1_024;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, text)) = bytes.split_first() else {
        return;
    };
    let job: JobName = "fuzz".parse().expect("a name");
    // A seed's first byte: `P` of Prometheus, `O` of OpenMetrics, `N` of what is pushed.
    let (dialect, job) = match first % 3 {
        2 => (Dialect::Prometheus, None),
        1 => (Dialect::OpenMetrics, None),
        _ => (Dialect::OpenMetrics, Some(&job)),
    };
    let document = match parse_text(text, dialect, job, MAX_SERIES) {
        Ok(document) => document,
        Err(error) => {
            let lines = text.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=lines + 1).contains(&error.line), "{error}");
            let shown = error.to_string();
            assert!(
                shown.len() < 512 && !shown.chars().any(char::is_control),
                "{shown:?}"
            );
            return;
        }
    };
    assert!(document.points.len() + document.left_out <= MAX_SERIES);
    let mut series = BTreeSet::new();
    for point in &document.points {
        let name = point.series();
        assert!(
            !name.starts_with("nautilus_") && name.len() <= MAX_SERIES_NAME,
            "{name}"
        );
        assert!(point.labels.is_sorted_by(|one, other| one.0 < other.0), "{name}");
        assert!(point.labels.iter().all(|(_, value)| value.len() <= MAX_LABEL));
        assert_eq!(
            job.is_some(),
            point
                .labels
                .iter()
                .any(|label| label.0 == "job" && label.1 == "fuzz")
        );
        assert!(series.insert(name), "a series twice");
    }

    let mut points = document.points;
    points.retain(fits_anew);
    let written = written(&points);
    let again = parse_text(written.as_bytes(), Dialect::OpenMetrics, None, MAX_SERIES);
    let again = again.unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.left_out, 0);
    assert_eq!(values(&again.points), values(&points), "{written}");
});

/// Counts and bytes may come to have other places than they had by their type, and more than fit.
fn fits_anew(point: &Point) -> bool {
    let scale = 10_i64.pow(u32::from(6 - point.family.places));
    point.family.name.ends_with("_bytes") || point.value.checked_mul(scale).is_some()
}

/// In millionths.
fn values(points: &[Point]) -> BTreeMap<String, i128> {
    let value = |point: &Point| i128::from(point.value) * 10_i128.pow(u32::from(6 - point.family.places));
    points
        .iter()
        .map(|point| (point.series(), value(point)))
        .collect()
}

fn written(points: &[Point]) -> String {
    let mut families: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    for point in points {
        families.entry(&point.family.name).or_default().push(point);
    }
    let mut text = String::new();
    for (name, points) in families {
        let counter = points[0].family.kind == MetricKind::Counter;
        let (kind, suffix) = if counter {
            ("counter", "_total")
        } else {
            ("gauge", "")
        };
        writeln!(text, "# TYPE {name} {kind}").expect("a string");
        for point in points {
            let labels = point.series().split_off(name.len());
            let places = point.family.places;
            writeln!(text, "{name}{suffix}{labels} {}e-{places}", point.value).expect("a string");
        }
    }
    text.push_str("# EOF\n");
    text
}
