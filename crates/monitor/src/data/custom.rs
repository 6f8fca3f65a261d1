//! What others measured (specification §3.A `CustomMetrics`).

use std::collections::BTreeMap;

use nautilus_core::UnixMillis;
use serde::Serialize;

use crate::reading::{Family, MetricKind, Point};

/// Metrics of other programs on the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomMetrics {
    /// What they gave, each under its own family.
    pub given: Vec<Point>,
    /// Where it came from, and what was not taken: files by name, then jobs by name.
    pub sources: Vec<CustomSource>,
    /// Series that were left out because their values are not finite or too large.
    pub left_out: usize,
    /// Files that were not looked at because there are too many.
    pub files_left_out: usize,
}

/// A file or a job that gives metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustomSource {
    /// Which of the two.
    pub kind: CustomSourceKind,
    /// Its name, printable and bounded.
    pub name: String,
    /// When it was written or pushed; none if that could not be found out.
    pub changed_at: Option<UnixMillis>,
    /// Series of it that are taken.
    pub series: usize,
    /// Why nothing of it is taken, for people; none if it is.
    pub fault: Option<String>,
}

/// How metrics come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomSourceKind {
    /// A file of the directory.
    File,
    /// Pushed over the socket.
    Job,
}

static FILE_ERROR: Family = Family::new(
    "nautilus_custom_file_error",
    "",
    MetricKind::Gauge,
    0,
    "Whether the file of metrics is not taken.",
);
static FILE_MTIME: Family = Family::new(
    "nautilus_custom_file_mtime_timestamp_seconds",
    "seconds",
    MetricKind::Gauge,
    3,
    "When the file of metrics was written, in seconds since 1970.",
);
static JOB_ERROR: Family = Family::new(
    "nautilus_custom_job_error",
    "",
    MetricKind::Gauge,
    0,
    "Whether what the job pushed last is not taken.",
);
static JOB_PUSHED: Family = Family::new(
    "nautilus_custom_job_push_timestamp_seconds",
    "seconds",
    MetricKind::Gauge,
    3,
    "When the job pushed last, in seconds since 1970.",
);
static SERIES: Family = Family::new(
    "nautilus_custom_series",
    "",
    MetricKind::Gauge,
    0,
    "Series of other programs that are taken.",
);
static VALUES_LEFT_OUT: Family = Family::new(
    "nautilus_custom_values_left_out",
    "",
    MetricKind::Gauge,
    0,
    "Series of other programs whose values are not finite or too large.",
);
static FILES_LEFT_OUT: Family = Family::new(
    "nautilus_custom_files_left_out",
    "",
    MetricKind::Gauge,
    0,
    "Files of metrics that are not looked at because there are too many.",
);

/// All families of this part that the program knows; those of other programs are their own.
pub static FAMILIES: &[&Family] = &[
    &FILE_ERROR,
    &FILE_MTIME,
    &JOB_ERROR,
    &JOB_PUSHED,
    &SERIES,
    &VALUES_LEFT_OUT,
    &FILES_LEFT_OUT,
];

impl CustomMetrics {
    /// The same as named integers.
    pub fn points(&self, into: &mut Vec<Point>) {
        for source in &self.sources {
            let (label, error, changed) = match source.kind {
                CustomSourceKind::File => ("file", &FILE_ERROR, &FILE_MTIME),
                CustomSourceKind::Job => ("job", &JOB_ERROR, &JOB_PUSHED),
            };
            let labels = [(label, source.name.as_str())];
            into.push(Point::labelled(error, labels, source.fault.is_some().into()));
            let changed_at = source.changed_at.and_then(|at| i64::try_from(at.0).ok());
            into.extend(changed_at.map(|at| Point::labelled(changed, labels, at)));
        }
        into.extend([
            Point::plain(&SERIES, integer(self.given.len())),
            Point::plain(&VALUES_LEFT_OUT, integer(self.left_out)),
            Point::plain(&FILES_LEFT_OUT, integer(self.files_left_out)),
        ]);
        into.extend(self.given.iter().cloned());
    }

    /// The same as decimal numbers by series, as the specification's JSON has them.
    pub fn by_series(&self) -> BTreeMap<String, f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number in JSON is a double for most readers"
        )]
        self.given
            .iter()
            .map(|point| {
                let scale = 10_f64.powi(i32::from(point.family.places));
                (point.series(), point.value as f64 / scale)
            })
            .collect()
    }
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
