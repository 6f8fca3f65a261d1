//! A metric family as a document describes it, and as it is kept.

use super::fault::quote;
use super::{Dialect, TextFault};
use crate::reading::{Family, MetricKind};

/// Decimal places of values, but for those that are whole by what they count.
const PLACES: u8 = 6;
/// Ends of names, without `_total`, whose values are whole: counts, and bytes, of which there are no parts, and soon more
/// than six decimals leave room for.
const WHOLE: [&str; 5] = ["_bytes", "_bytes_sum", "_bucket", "_count", "_gcount"];

/// Decimal places of a family that others gave. Its name alone decides, so that a value that was stored is read as what it
/// was.
pub fn places_of(family: &str) -> u8 {
    if WHOLE.iter().any(|end| family.ends_with(end)) {
        0
    } else {
        PLACES
    }
}

/// A metric's type, as the formats name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Gauge,
    Counter,
    Unknown,
    Info,
    StateSet,
    Histogram,
    GaugeHistogram,
    Summary,
}

impl Type {
    fn parse(text: &str, dialect: Dialect) -> Option<Self> {
        Some(match (text, dialect) {
            ("gauge", _) => Self::Gauge,
            ("counter", _) => Self::Counter,
            ("histogram", _) => Self::Histogram,
            ("summary", _) => Self::Summary,
            ("untyped", Dialect::Prometheus) | ("unknown", Dialect::OpenMetrics) => Self::Unknown,
            ("info", Dialect::OpenMetrics) => Self::Info,
            ("stateset", Dialect::OpenMetrics) => Self::StateSet,
            ("gaugehistogram", Dialect::OpenMetrics) => Self::GaugeHistogram,
            _ => return None,
        })
    }

    /// What its samples have after the family's name.
    const fn suffixes(self, dialect: Dialect) -> &'static [&'static str] {
        match (self, dialect) {
            (Self::Gauge | Self::Unknown | Self::StateSet, _) | (Self::Counter, Dialect::Prometheus) => &[""],
            (Self::Counter, Dialect::OpenMetrics) => &["_total", "_created"],
            (Self::Info, _) => &["_info"],
            (Self::Histogram, Dialect::Prometheus) => &["_bucket", "_sum", "_count"],
            (Self::Histogram, Dialect::OpenMetrics) => &["_bucket", "_sum", "_count", "_created"],
            (Self::GaugeHistogram, _) => &["_bucket", "_gsum", "_gcount"],
            (Self::Summary, Dialect::Prometheus) => &["", "_sum", "_count"],
            (Self::Summary, Dialect::OpenMetrics) => &["", "_sum", "_count", "_created"],
        }
    }
}

/// The family whose lines are being read.
pub(super) struct Open {
    pub(super) name: String,
    kind: Option<Type>,
    help: Option<String>,
    unit: Option<String>,
    /// Whether it has samples.
    pub(super) sampled: bool,
}

impl Open {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            help: None,
            unit: None,
            sampled: false,
        }
    }

    pub(super) fn help(&mut self, text: String, _: Dialect) -> Result<(), TextFault> {
        let twice = self.help.replace(text).is_some();
        self.unless(twice, "HELP")
    }

    pub(super) fn kind(&mut self, text: String, dialect: Dialect) -> Result<(), TextFault> {
        let kind = Type::parse(&text, dialect).ok_or_else(|| TextFault::Type { text: quote(&text) })?;
        let twice = self.kind.replace(kind).is_some();
        self.unless(twice, "TYPE")
    }

    pub(super) fn unit(&mut self, text: String, _: Dialect) -> Result<(), TextFault> {
        let ends_in_it = self.name.strip_suffix(text.as_str());
        if !text.is_empty() && !ends_in_it.is_some_and(|before| before.ends_with('_')) {
            let (name, unit) = (quote(&self.name), quote(&text));
            return Err(TextFault::Unit { name, unit });
        }
        let twice = self.unit.replace(text).is_some();
        self.unless(twice, "UNIT")
    }

    fn unless(&self, twice: bool, what: &'static str) -> Result<(), TextFault> {
        if twice {
            let name = quote(&self.name);
            Err(TextFault::MetadataTwice { what, name })
        } else {
            Ok(())
        }
    }

    fn of_type(&self) -> Type {
        self.kind.unwrap_or(Type::Unknown)
    }

    /// What a sample's name has after this family's; none if it is not of this family.
    ///
    /// # Errors
    /// If it has this family's name, and not what the type asks for.
    pub(super) fn suffix_of(
        &self,
        sample: &str,
        dialect: Dialect,
    ) -> Result<Option<&'static str>, TextFault> {
        let Some(rest) = sample.strip_prefix(self.name.as_str()) else {
            return Ok(None);
        };
        let suffixes = self.of_type().suffixes(dialect);
        match suffixes.iter().find(|suffix| **suffix == rest) {
            Some(suffix) => Ok(Some(suffix)),
            None if rest.is_empty() => Err(TextFault::Suffix { name: quote(sample) }),
            None => Ok(None),
        }
    }

    /// The family that a sample of this name is kept under.
    ///
    /// What is a counter by its type or its suffix is one; its name is without `_total`, as the rest of the program has
    /// it. All else is a gauge of the sample's own name, also the parts of histograms and summaries: so they are
    /// exported under the names that they came with.
    ///
    /// # Errors
    /// If nothing is left of a name.
    pub(super) fn family(&self, sample: &str, suffix: &str) -> Result<Family, TextFault> {
        let counter = match (self.of_type(), suffix) {
            (Type::Counter, "_total") | (Type::Unknown, _) => sample.strip_suffix("_total"),
            (Type::Counter, "") => Some(sample.strip_suffix("_total").unwrap_or(sample)),
            _ => None,
        };
        if counter.is_some_and(str::is_empty) {
            return Err(TextFault::Name { text: quote(sample) });
        }
        let name = counter.unwrap_or(sample);
        let unit = self.unit.as_deref().filter(|_| name == self.name);
        Ok(Family {
            name: name.to_owned().into(),
            help: self.help.clone().unwrap_or_default().into(),
            unit: unit.unwrap_or_default().to_owned().into(),
            kind: counter.map_or(MetricKind::Gauge, |_| MetricKind::Counter),
            places: places_of(name),
        })
    }
}
