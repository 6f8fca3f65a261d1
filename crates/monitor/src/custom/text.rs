//! A strict parser of the text formats of Prometheus (version 0.0.4) and OpenMetrics (1.0).
//!
//! Our own: of the crates that parse them, `openmetrics-parser` is under the LGPL and gathers samples into histograms,
//! which are wanted here as the series that they are; `prometheus-parse` skips what it does not understand. This one
//! reads text from anybody, refuses a document as a whole with the line that is wrong, and its values are exact.
//!
//! Beyond what the formats ask for: no timestamps, no names of the agent's own, no label that is too long to be kept.
//! Not asked for: what a histogram's or a summary's series are to each other.

mod family;
mod fault;
mod line;

use std::collections::{HashMap, HashSet};

use nautilus_proof::MAX_SERIES_NAME;

use self::family::Open;
pub use self::family::places_of;
use self::fault::quote;
pub use self::fault::{TextError, TextFault};
use self::line::{Sample, metadata, metric_name, sample, unescaped_help};
use super::number::{Number, number};
use super::push::JobName;
use crate::printable::printable;
use crate::reading::{Family, MetricKind, Point};

/// Longest document, in bytes.
pub const MAX_DOCUMENT: usize = 1 << 20;
/// Most labels of one sample.
pub(super) const MAX_LABELS: usize = 32;
/// Longest help text that is kept, in bytes.
const MAX_HELP: usize = 256;

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus's, version 0.0.4: with comments, and without an end.
    Prometheus,
    /// OpenMetrics 1.0: ends in `# EOF`.
    OpenMetrics,
}

/// What a document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Its series, in the document's order. No two have the same name.
    pub points: Vec<Point>,
    /// Series whose value is not a number, is infinite or is too large: they are not among `points`.
    pub left_out: usize,
}

/// Reads a document of at most `max_series` series. If it was pushed, each gets the label `job`.
///
/// Allocates in proportion to `text`, which may come from anybody.
///
/// # Errors
/// With the first line that is not as its format has it.
pub fn parse_text(
    text: &[u8],
    dialect: Dialect,
    job: Option<&JobName>,
    max_series: usize,
) -> Result<Document, TextError> {
    let at = |line, fault| TextError { line, fault };
    if text.len() > MAX_DOCUMENT {
        return Err(at(1, TextFault::TooLarge));
    }
    let text = str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        at(lines.saturating_add(1), TextFault::NotUtf8)
    })?;
    // A sample has a name, a space and a value.
    let is_sample = |line: &&str| line.len() >= 3 && !line.starts_with('#');
    let samples = text.lines().filter(is_sample).count();
    let mut parser = Parser {
        dialect,
        job,
        max_series,
        open: None,
        opened: 0,
        claims: HashMap::new(),
        series: HashSet::new(),
        ended: false,
        document: Document {
            points: Vec::with_capacity(samples.min(max_series)),
            left_out: 0,
        },
    };
    for (index, line) in text.split_inclusive('\n').enumerate() {
        parser
            .line(line)
            .map_err(|fault| at(index.saturating_add(1), fault))?;
    }
    if dialect == Dialect::OpenMetrics && !parser.ended {
        return Err(at(text.lines().count().saturating_add(1), TextFault::NoEof));
    }
    Ok(parser.document)
}

/// The name under which a family's series are exported.
pub(super) fn exposed_name(family: &Family) -> String {
    match family.kind {
        MetricKind::Counter => format!("{}_total", family.name),
        MetricKind::Gauge => family.name.clone().into_owned(),
    }
}

struct Parser<'a> {
    dialect: Dialect,
    job: Option<&'a JobName>,
    max_series: usize,
    open: Option<Open>,
    /// Number of the open family.
    opened: usize,
    /// Names that are taken, and the number of the family that has them.
    claims: HashMap<String, usize>,
    series: HashSet<String>,
    ended: bool,
    document: Document,
}

impl Parser<'_> {
    fn line(&mut self, line: &str) -> Result<(), TextFault> {
        if self.ended {
            return Err(TextFault::AfterEof);
        }
        let line = line.strip_suffix('\n').ok_or(TextFault::Unterminated)?;
        // Prometheus separates by blanks of any number and kind, OpenMetrics by one space.
        let line = match self.dialect {
            Dialect::Prometheus => line.trim_matches([' ', '\t']),
            Dialect::OpenMetrics => line,
        };
        if line
            .chars()
            .any(|character| character.is_control() && character != '\t')
        {
            return Err(TextFault::ControlCharacter);
        }
        match (line.strip_prefix('#'), self.dialect) {
            (Some(comment), _) => self.comment(comment),
            (None, Dialect::Prometheus) if line.is_empty() => Ok(()),
            (None, Dialect::OpenMetrics) if line.is_empty() => Err(TextFault::EmptyLine),
            (None, dialect) => {
                let sample = sample(line, dialect)?;
                self.sample(sample)
            }
        }
    }

    fn comment(&mut self, comment: &str) -> Result<(), TextFault> {
        let open_metrics = self.dialect == Dialect::OpenMetrics;
        if open_metrics && comment == " EOF" {
            self.ended = true;
            return Ok(());
        }
        let Some((what, rest)) = metadata(comment, self.dialect) else {
            return if open_metrics {
                Err(TextFault::Comment)
            } else {
                Ok(())
            };
        };
        let (name, text) = line::word(rest, self.dialect).ok_or(TextFault::Metadata)?;
        metric_name(name)?;
        let described: fn(&mut Open, String, Dialect) -> Result<(), TextFault> = match what {
            "HELP" => Open::help,
            "UNIT" => Open::unit,
            _ => Open::kind,
        };
        let text = match what {
            "HELP" => printable(&unescaped_help(text)?, MAX_HELP),
            _ => text.to_owned(),
        };
        let dialect = self.dialect;
        let open = self.open(name)?;
        if open.sampled {
            let name = quote(name);
            return Err(TextFault::MetadataLate { name });
        }
        described(open, text, dialect)
    }

    /// The family of this name, which is opened if it is not open.
    fn open(&mut self, name: &str) -> Result<&mut Open, TextFault> {
        if self.open.as_ref().is_none_or(|open| open.name != name) {
            self.open = None;
            self.opened = self.opened.saturating_add(1);
            self.claim(name)?;
        }
        Ok(self.open.get_or_insert_with(|| Open::new(name)))
    }

    /// Takes a name for the open family.
    fn claim(&mut self, name: &str) -> Result<(), TextFault> {
        if name.starts_with("nautilus_") {
            let name = quote(name);
            return Err(TextFault::ReservedName { name });
        }
        match self.claims.get(name) {
            Some(holder) if *holder == self.opened => Ok(()),
            Some(_) => Err(TextFault::FamilyTwice { name: quote(name) }),
            None => {
                self.claims.insert(name.to_owned(), self.opened);
                Ok(())
            }
        }
    }

    fn sample(&mut self, sample: Sample<'_>) -> Result<(), TextFault> {
        let Sample {
            name,
            mut labels,
            value,
            exemplar,
        } = sample;
        let dialect = self.dialect;
        let of_open = match &self.open {
            Some(open) => open.suffix_of(name, dialect)?,
            None => None,
        };
        let suffix = match of_open {
            Some(suffix) => suffix,
            None => {
                self.open(name)?;
                ""
            }
        };
        let Some(open) = &mut self.open else {
            return Err(TextFault::FamilyTwice { name: quote(name) });
        };
        open.sampled = true;
        let family = open.family(name, suffix)?;
        if exemplar && family.kind == MetricKind::Gauge && suffix != "_bucket" {
            return Err(TextFault::AfterValue);
        }
        self.claim(name)?;
        self.claim(&family.name)?;
        self.claim(&exposed_name(&family))?;

        if let Some(job) = self.job {
            if labels.iter().any(|(label, _)| label == "job") {
                return Err(TextFault::ReservedLabel);
            }
            labels.push(("job".into(), job.as_str().to_owned()));
        }
        labels.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut point = Point {
            family: std::borrow::Cow::Owned(family),
            labels,
            value: 0,
        };
        let series = point.series();
        if series.len() > MAX_SERIES_NAME {
            return Err(TextFault::SeriesLong);
        }
        if self.series.contains(&series) {
            let series = quote(&series);
            return Err(TextFault::SeriesTwice { series });
        }
        if self.series.len() >= self.max_series {
            let max = self.max_series;
            return Err(TextFault::TooManySeries { max });
        }
        self.series.insert(series);

        let fixed =
            number(value, point.family.places).ok_or_else(|| TextFault::Value { text: quote(value) })?;
        match fixed {
            Number::Fixed(below) if below < 0 && point.family.kind == MetricKind::Counter => {
                let name = quote(name);
                return Err(TextFault::NegativeCounter { name });
            }
            Number::Fixed(fixed) => {
                point.value = fixed;
                self.document.points.push(point);
            }
            Number::Beyond => self.document.left_out = self.document.left_out.saturating_add(1),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
