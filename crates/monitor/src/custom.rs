//! Metrics of other programs on the node: files in a directory, and what is pushed over a Unix socket.
//!
//! All of it is hostile input. A file or a job that is not as it should be costs itself only, and says so in a series of
//! its own; all together are bounded. What is taken is chained and signed like all else: that says that the node's agent
//! was given it, and nothing of whether it is true.

mod directory;
mod number;
mod push;
mod socket;
mod text;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nautilus_proof::CollectorKind;

use self::directory::Listing;
pub use self::directory::MAX_FILES;
pub use self::push::{JobName, MAX_JOBS, PUSHED_KEPT_MILLIS, PushError, Pushed};
pub use self::socket::{PushSocket, PushSocketError};
use self::text::exposed_name;
pub use self::text::{Dialect, Document, MAX_DOCUMENT, TextError, TextFault, parse_text, places_of};
use crate::collector::{Collector, Part};
use crate::data::{CustomMetrics, CustomSource, CustomSourceKind};
use crate::error::CollectError;
use crate::printable::printable;
use crate::reading::{Family, MAX_LABEL};

/// Most series of all files and jobs together: a quarter of what a sample may hold.
pub const MAX_SERIES: usize = 5_000;

/// Where metrics of other programs come from.
#[derive(Clone, Debug, Default)]
pub struct CustomSources {
    /// A directory of `*.prom` and `*.om` files.
    pub directory: Option<PathBuf>,
    /// What is pushed.
    pub push: Option<Arc<Pushed>>,
}

/// Collects the metrics of other programs.
#[derive(Debug)]
pub struct CustomCollector {
    sources: CustomSources,
}

impl CustomCollector {
    /// A collector of what `sources` give.
    pub const fn new(sources: CustomSources) -> Self {
        Self { sources }
    }
}

impl Collector for CustomCollector {
    fn kind(&self) -> CollectorKind {
        CollectorKind::Custom
    }

    /// # Errors
    /// If the directory cannot be read. What is wrong with one file or job is told in the part.
    fn collect(&mut self) -> Result<Part, CollectError> {
        let mut gathered = Gathered::default();
        if let Some(directory) = &self.sources.directory {
            gathered.files(directory)?;
        }
        if let Some(push) = &self.sources.push {
            gathered.jobs(push);
        }
        Ok(Part::Custom(Box::new(gathered.metrics)))
    }
}

#[derive(Default)]
struct Gathered {
    metrics: CustomMetrics,
    /// Names of families that are taken, both as they are kept and as they are exported.
    names: HashMap<String, Holder>,
    series: usize,
}

/// Who gives a document.
#[derive(Clone, Copy)]
enum Giver<'a> {
    File(&'a str),
    Job,
}

/// Who has a family.
enum Holder {
    /// One file alone.
    File(String),
    /// Any number of jobs, whose series differ in their label `job`.
    Jobs(Family),
}

/// Why a document that is well formed is not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("`{name}` is also in {holder}: a metric is taken from one place")]
    Taken { name: String, holder: String },
    #[error("other jobs push `{name}` as something else")]
    Unlike { name: String },
    #[error("{series} series are more than the {left} that other files and jobs leave of {MAX_SERIES}")]
    TooMany { series: usize, left: usize },
}

impl Gathered {
    fn files(&mut self, path: &Path) -> Result<(), CollectError> {
        let listing = Listing::of(path)?;
        self.metrics.files_left_out = listing.left_out;
        for name in &listing.names {
            let shown = printable(&name.to_string_lossy(), MAX_LABEL);
            let mut changed_at = None;
            let read = listing.open(name).and_then(|file| {
                changed_at = file.changed_at;
                file.read(name, self.left())
            });
            let taken = match read {
                Ok(document) => self
                    .take(document, Giver::File(&shown))
                    .map_err(|why| why.to_string()),
                Err(why) => Err(why.to_string()),
            };
            self.metrics.sources.push(CustomSource {
                kind: CustomSourceKind::File,
                name: shown,
                changed_at,
                series: taken.as_ref().map_or(0, |series| *series),
                fault: taken.err(),
            });
        }
        Ok(())
    }

    fn jobs(&mut self, push: &Pushed) {
        for (job, kept) in push.kept() {
            let taken = self.take(kept.document, Giver::Job);
            let taken = taken.map_err(|why| why.to_string());
            self.metrics.sources.push(CustomSource {
                kind: CustomSourceKind::Job,
                name: job.as_str().to_owned(),
                changed_at: Some(kept.at),
                series: taken.as_ref().map_or(0, |series| *series),
                fault: taken.err(),
            });
        }
    }

    fn left(&self) -> usize {
        MAX_SERIES.saturating_sub(self.series)
    }

    /// Takes a document as a whole, or nothing of it. Gives how many series it has.
    fn take(&mut self, mut document: Document, giver: Giver<'_>) -> Result<usize, Refused> {
        let taken = document.points.len();
        let series = taken.saturating_add(document.left_out);
        let left = self.left();
        if series > left {
            return Err(Refused::TooMany { series, left });
        }
        let mut names: HashMap<String, Holder> = HashMap::new();
        for point in &mut document.points {
            let family = point.family.to_mut();
            for name in [family.name.clone().into_owned(), exposed_name(family)] {
                let holder = match (self.names.get(&name), giver) {
                    (None, _) if names.contains_key(&name) => continue,
                    (None, Giver::File(file)) => Holder::File(file.to_owned()),
                    (None, Giver::Job) => Holder::Jobs(family.clone()),
                    (Some(Holder::Jobs(first)), Giver::Job) if alike(first, family) => {
                        // One family has one help.
                        family.help = first.help.clone();
                        continue;
                    }
                    (Some(Holder::Jobs(_)), Giver::Job) => return Err(Refused::Unlike { name }),
                    (Some(Holder::Jobs(_)), Giver::File(_)) => {
                        let holder = "what is pushed".to_owned();
                        return Err(Refused::Taken { name, holder });
                    }
                    (Some(Holder::File(file)), _) => {
                        let holder = file.clone();
                        return Err(Refused::Taken { name, holder });
                    }
                };
                names.insert(name, holder);
            }
        }
        self.names.extend(names);
        self.series = self.series.saturating_add(series);
        self.metrics.left_out = self.metrics.left_out.saturating_add(document.left_out);
        self.metrics.given.append(&mut document.points);
        Ok(taken)
    }
}

/// Whether two are the same but for their help.
fn alike(one: &Family, other: &Family) -> bool {
    one.name == other.name && one.unit == other.unit && one.kind == other.kind && one.places == other.places
}

#[cfg(test)]
mod tests;
