//! What the routes need of the node's store.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use nautilus_core::UnixMillis;
use nautilus_monitor::Family;
use nautilus_monitor::store::ChainReport;
use nautilus_proof::CollectorKind;

/// The node's history. Every method may block: it is called in a thread of its own.
pub trait History: Send + Sync {
    /// Every series that there is, with when it was first and last seen.
    ///
    /// # Errors
    /// If the list cannot be read.
    fn series(&self) -> Result<Vec<SeriesFacts>, HistoryError>;

    /// The points and gaps that a question asks for, at most as many as it allows, oldest first. What it cannot read
    /// is a gap and a fault of the answer, not an error, as long as anything can be read.
    ///
    /// # Errors
    /// [`HistoryError::Selector`] for a selector that is none.
    fn query(&self, question: &Question) -> Result<Answer, HistoryError>;

    /// Writes the same as a file, without holding it in memory. The limits of the question do not apply.
    ///
    /// # Errors
    /// As [`Self::query`], and [`HistoryError::Io`] when `out` takes no more.
    fn export(
        &self,
        question: &Question,
        format: ExportFormat,
        out: &mut dyn io::Write,
    ) -> Result<(), HistoryError>;

    /// Checks that what is kept of that time, in whole hours, is what the enclave signed.
    ///
    /// # Errors
    /// If the store as a whole cannot be read. What is wrong with the chain is in the report.
    fn verify(&self, range: Range<UnixMillis>) -> Result<ChainReport, HistoryError>;
}

/// What is asked of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which series: a family or `prefix*`, and label equalities. Hostile; bounded, not parsed.
    pub selector: String,
    /// Of when: from the start on, before the end. Never empty.
    pub range: Range<UnixMillis>,
    /// How fine; none leaves it to the history.
    pub resolution: Option<Resolution>,
    /// Most series that are answered.
    pub max_series: usize,
    /// Most points of one series that are answered.
    pub max_points: usize,
}

/// How fine an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Every sample.
    Raw,
    /// One point for every five minutes since the epoch.
    FiveMinutes,
    /// One point for every hour since the epoch.
    Hour,
}

/// What a file is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values with one line of names (RFC 4180).
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its full name, as OpenMetrics writes it, without `_total`.
    pub name: String,
    /// What is measured.
    pub family: Cow<'static, Family>,
    /// Which one, as in the name, unescaped.
    pub labels: Vec<(String, String)>,
    /// Whose collector measures it.
    pub part: CollectorKind,
}

/// One series, and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesFacts {
    /// Which.
    pub series: Series,
    /// Its oldest point that is kept.
    pub first: UnixMillis,
    /// Its newest point.
    pub last: UnixMillis,
}

/// What a question comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How fine it is.
    pub resolution: Resolution,
    /// By series, in ascending order of their names.
    pub series: Vec<SeriesData>,
    /// When nothing or not all was measured, or cannot be read, in ascending order of their starts.
    pub gaps: Vec<GapSpan>,
    /// What of the store is damaged, as far as the question met it.
    pub faults: Vec<Fault>,
    /// Whether there is more than the question allowed.
    pub truncated: bool,
}

/// One series' points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesData {
    /// Which.
    pub series: Series,
    /// Oldest first.
    pub points: Points,
}

/// Points in units of ten to the minus [`Family::places`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Points {
    /// Values as they were measured.
    Raw(Vec<(UnixMillis, i64)>),
    /// What the values of five minutes or an hour come to.
    Rollups(Vec<Rollup>),
}

/// What the values of five minutes or an hour come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// When that time begins.
    pub at: UnixMillis,
    /// The lowest value; of a counter that was not reset, the first.
    pub min: i64,
    /// The mean, rounded.
    pub mean: i64,
    /// The highest value; of a counter that was not reset, the last.
    pub max: i64,
}

/// A time in which something was not measured, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapSpan {
    /// From when.
    pub start: UnixMillis,
    /// Until when.
    pub end: UnixMillis,
    /// Why.
    pub reason: SpanReason,
    /// Whose measurement is missing; none if that of all.
    pub collector: Option<CollectorKind>,
    /// More, for people; may be empty.
    pub detail: String,
}

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanReason {
    /// The node did not run.
    NotRunning,
    /// The node ran, and ticks went by unmeasured.
    Missed,
    /// A collector said that it could not.
    Failed,
    /// A collector did not answer in time.
    Stalled,
    /// More was measured than a sample may hold: points may be missing.
    Truncated,
    /// It was measured, and what was stored cannot be read.
    Unreadable,
    /// The machine or the node's enclave was suspended.
    Suspended,
}

/// A part of the store that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is, for people.
    pub detail: String,
}

/// Why the history gives no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The selector is none; who asked is at fault.
    #[error("{0}")]
    Selector(String),
    /// The store cannot be read.
    #[error("the history cannot be read: {0}")]
    Unreadable(String),
    /// What was written was not taken.
    #[error("the answer was not taken")]
    Io(#[from] io::Error),
}

impl Resolution {
    /// As queries and answers name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }
}

impl SpanReason {
    /// As answers name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not_running",
            Self::Missed => "missed",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::Truncated => "truncated",
            Self::Unreadable => "unreadable",
            Self::Suspended => "suspended",
        }
    }
}

impl Answer {
    /// Cuts off what is above a limit, and says so.
    pub(super) fn bound(&mut self, max_series: usize, max_points: usize) {
        self.truncated |= self.series.len() > max_series;
        self.series.truncate(max_series);
        for SeriesData { points, .. } in &mut self.series {
            self.truncated |= points.len() > max_points;
            match points {
                Points::Raw(values) => values.truncate(max_points),
                Points::Rollups(values) => values.truncate(max_points),
            }
        }
    }
}

impl Points {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Raw(values) => values.len(),
            Self::Rollups(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
