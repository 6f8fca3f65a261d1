//! One family as text.

use std::fmt::Write as _;

use super::{Format, Refusal};
use crate::reading::{Family, MetricKind, Point};

/// What kinds of families there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
    Histogram,
    Info,
    /// What OpenMetrics calls a kind that the agent has no instrument of.
    Unknown,
}

impl From<MetricKind> for Kind {
    fn from(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Gauge => Self::Gauge,
            MetricKind::Counter => Self::Counter,
        }
    }
}

impl Kind {
    fn parse(text: &str) -> Self {
        match text {
            "gauge" => Self::Gauge,
            "counter" => Self::Counter,
            "histogram" => Self::Histogram,
            "info" => Self::Info,
            _ => Self::Unknown,
        }
    }

    const fn as_str(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Gauge, _) | (Self::Info, Format::PlainText) => "gauge",
            (Self::Counter, _) => "counter",
            (Self::Histogram, _) => "histogram",
            (Self::Info, Format::OpenMetrics) => "info",
            (Self::Unknown, Format::OpenMetrics) => "unknown",
            (Self::Unknown, Format::PlainText) => "untyped",
        }
    }

    const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Gauge | Self::Unknown => &[],
            Self::Counter => &["_total", "_created"],
            Self::Histogram => &["_bucket", "_count", "_sum", "_created"],
            Self::Info => &["_info"],
        }
    }

    /// The names that a family of this kind takes: its own, and those that its samples have or may have.
    pub fn names(self, name: &str) -> Vec<String> {
        let samples = self.suffixes().iter().map(|suffix| format!("{name}{suffix}"));
        std::iter::once(name.to_owned()).chain(samples).collect()
    }

    /// What the older format, which has no names of families but those of samples, calls the family.
    const fn plain_suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram | Self::Unknown => "",
        }
    }
}

/// A family with its samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub name: String,
    pub kind: Kind,
    help: String,
    unit: String,
    /// Lines of samples, each with its end of line: the same in both formats.
    samples: String,
}

impl Block {
    /// Takes what `prometheus-client` wrote apart again. It writes help, type and unit before the samples.
    pub fn read_all(text: &str) -> Vec<Self> {
        let mut blocks: Vec<Self> = Vec::new();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                blocks.push(Self {
                    name: name.to_owned(),
                    kind: Kind::Unknown,
                    help: help.to_owned(),
                    unit: String::new(),
                    samples: String::new(),
                });
                continue;
            }
            let Some(block) = blocks.last_mut() else {
                continue;
            };
            if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                block.kind = Kind::parse(kind);
            } else if let Some((_, unit)) = line.strip_prefix("# UNIT ").and_then(|rest| rest.split_once(' '))
            {
                unit.clone_into(&mut block.unit);
            } else {
                block.samples.push_str(line);
                block.samples.push('\n');
            }
        }
        blocks
    }

    /// A family of points that have no fault.
    pub fn of_points(family: &Family, points: &[&Point]) -> Self {
        let suffix = match family.kind {
            MetricKind::Counter => "_total",
            MetricKind::Gauge => "",
        };
        let mut samples = String::new();
        for point in points {
            let series = point.series();
            let labels = series.strip_prefix(&*point.family.name).unwrap_or_default();
            // Writing to a string never fails.
            let _ = write!(samples, "{}{suffix}{labels} ", family.name);
            write_decimal(point.value, point.family.places, &mut samples);
            samples.push('\n');
        }
        Self {
            name: family.name.clone().into_owned(),
            kind: family.kind.into(),
            help: family.help.clone().into_owned(),
            unit: family.unit.clone().into_owned(),
            samples,
        }
    }

    pub fn write(&self, format: Format, out: &mut String) {
        let mut name = self.name.clone();
        if format == Format::PlainText {
            name.push_str(self.kind.plain_suffix());
        }
        if !self.help.is_empty() {
            let _ = write!(out, "# HELP {name} ");
            escape_help(&self.help, format, out);
            out.push('\n');
        }
        let _ = writeln!(out, "# TYPE {name} {}", self.kind.as_str(format));
        if !self.unit.is_empty() && format == Format::OpenMetrics {
            let _ = writeln!(out, "# UNIT {name} {}", self.unit);
        }
        out.push_str(&self.samples);
    }
}

/// What is wrong with a family, if anything.
pub fn fault_of(family: &Family) -> Option<Refusal> {
    let name = family.name.as_ref();
    let mut bytes = name.bytes();
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    let named = bytes.next().is_some_and(starts) && bytes.all(|byte| starts(byte) || byte.is_ascii_digit());
    if !named || (family.kind == MetricKind::Counter && name.ends_with("_total")) {
        return Some(Refusal::FamilyName);
    }
    if family.unit.is_empty() {
        return None;
    }
    let ends_with_unit = name
        .strip_suffix(&*family.unit)
        .is_some_and(|rest| rest.ends_with('_'));
    (!ends_with_unit).then_some(Refusal::Unit)
}

/// What is wrong with a point, its family aside.
pub fn fault_of_point(point: &Point) -> Option<Refusal> {
    let names = || point.labels.iter().map(|(name, _)| name.as_ref());
    if !names().all(is_label) || !names().is_sorted_by(|one, other| one < other) {
        return Some(Refusal::Labels);
    }
    let negative = point.family.kind == MetricKind::Counter && point.value < 0;
    negative.then_some(Refusal::Negative)
}

/// `__` at the start is Prometheus' own.
fn is_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(starts)
        && bytes.all(|byte| starts(byte) || byte.is_ascii_digit())
        && !name.starts_with("__")
}

fn escape_help(help: &str, format: Format, out: &mut String) {
    for character in help.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if format == Format::OpenMetrics => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// The exact decimal number, without zeros at its end.
fn write_decimal(value: i64, places: u8, out: &mut String) {
    let places = usize::from(places);
    // One digit before the point at the least.
    let width = places.saturating_add(1);
    let digits = format!("{:0>width$}", value.unsigned_abs());
    let point = digits.len().saturating_sub(places);
    let (whole, fraction) = digits.split_at(point);
    let fraction = fraction.trim_end_matches('0');
    if value < 0 {
        out.push('-');
    }
    out.push_str(whole);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_point_number_is_written_exactly() {
        let cases: [(i64, u8, &str); 14] = [
            (0, 0, "0"),
            (0, 9, "0"),
            (7, 0, "7"),
            (-7, 0, "-7"),
            (4213, 4, "0.4213"),
            (10_000, 4, "1"),
            (-1, 4, "-0.0001"),
            (-1_500_000_000, 9, "-1.5"),
            // A double has 53 bits: these it would round.
            (1_000_000_000_123_456_789, 9, "1000000000.123456789"),
            (9_007_199_254_740_993, 9, "9007199.254740993"),
            (i64::MAX, 0, "9223372036854775807"),
            (i64::MAX, 18, "9.223372036854775807"),
            (i64::MIN, 19, "-0.9223372036854775808"),
            (i64::MIN, 22, "-0.0009223372036854775808"),
        ];
        for (value, places, wanted) in cases {
            let mut out = String::new();
            write_decimal(value, places, &mut out);
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn help_is_escaped_as_its_format_asks() {
        let escaped = |format| {
            let mut out = String::new();
            escape_help("a\\b\n\"c\"", format, &mut out);
            out
        };
        assert_eq!(escaped(Format::OpenMetrics), r#"a\\b\n\"c\""#);
        assert_eq!(escaped(Format::PlainText), r#"a\\b\n"c""#);
    }
}
