//! What other programs pushed, and for how long it counts.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nautilus_core::UnixMillis;

use super::MAX_SERIES;
use super::text::{Dialect, Document, TextError, TextFault, parse_text};
use crate::clock::WallClock;
use crate::printable::printable;

/// How long a document that was pushed counts, in milliseconds: five minutes, ten samples at the usual interval. A
/// program that ended must not seem to go on.
pub const PUSHED_KEPT_MILLIS: u64 = 300_000;
/// Most jobs whose documents are kept at a time.
pub const MAX_JOBS: usize = 64;
/// Longest name of a job, in bytes.
const MAX_JOB_NAME: usize = 64;

/// Who pushes: becomes the label `job`. Letters, digits, `_`, `-` and `.`, at most 64 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName(String);

impl JobName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for JobName {
    type Err = PushError;

    fn from_str(text: &str) -> Result<Self, PushError> {
        let fits = (1..=MAX_JOB_NAME).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(PushError::JobName {
                text: printable(text, MAX_JOB_NAME),
            })
        }
    }
}

/// Why what was pushed is not taken. The document that the job pushed before goes on to count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The first line is not as it should be.
    #[error("the first line is not `job NAME`: say who pushes")]
    NoJob,
    /// A name that is none.
    #[error("`{text}` is no name of a job: at most {MAX_JOB_NAME} letters, digits, `_`, `-` and `.`")]
    JobName {
        /// What stands there.
        text: String,
    },
    /// The document is not as OpenMetrics has it. Lines count from the one after the job's.
    #[error(transparent)]
    Text(#[from] TextError),
    /// As many jobs as there may be.
    #[error("{MAX_JOBS} other jobs have pushed in the last five minutes: no more are taken")]
    TooManyJobs,
}

/// The newest document of each job. Shared between who takes them and who collects.
pub struct Pushed {
    now: WallClock,
    jobs: Mutex<BTreeMap<JobName, Kept>>,
}

/// A document that counts.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) at: UnixMillis,
    pub(super) document: Document,
}

impl Kept {
    fn series(&self) -> usize {
        self.document.points.len().saturating_add(self.document.left_out)
    }
}

impl Pushed {
    /// Nothing, by the node's clock.
    pub fn new(now: WallClock) -> Self {
        Self {
            now,
            jobs: Mutex::default(),
        }
    }

    /// Takes `job NAME`, a line feed, and a document of OpenMetrics: in place of the one that the job pushed before.
    /// Gives how many of its series are kept, and how many are left out because their values are not finite or too
    /// large. `text` may come from anybody.
    ///
    /// # Errors
    /// If it is not that, or all jobs together have more than may be kept.
    pub fn push(&self, text: &[u8]) -> Result<(usize, usize), PushError> {
        let end = text.iter().take(MAX_JOB_LINE).position(|byte| *byte == b'\n');
        let (first, document) = end
            .and_then(|end| text.split_at_checked(end))
            .ok_or(PushError::NoJob)?;
        let first = str::from_utf8(first).map_err(|_| PushError::NoJob)?;
        let job: JobName = first.strip_prefix("job ").ok_or(PushError::NoJob)?.parse()?;
        let document = document.get(1..).unwrap_or_default();
        let document = parse_text(document, Dialect::OpenMetrics, Some(&job), MAX_SERIES)?;

        let mut jobs = self.jobs();
        let at = (self.now)();
        jobs.retain(|_, kept| counts(kept.at, at));
        let others = jobs.iter().filter(|(name, _)| **name != job);
        let (names, series) = others.fold((0_usize, 0_usize), |(names, series), (_, kept)| {
            (names.saturating_add(1), series.saturating_add(kept.series()))
        });
        if names >= MAX_JOBS {
            return Err(PushError::TooManyJobs);
        }
        let kept = Kept { at, document };
        let left = MAX_SERIES.saturating_sub(series);
        if kept.series() > left {
            let fault = TextFault::TooManySeries { max: left };
            return Err(TextError { line: 1, fault }.into());
        }
        let counted = (kept.document.points.len(), kept.document.left_out);
        jobs.insert(job, kept);
        Ok(counted)
    }

    /// What counts now, by job.
    pub(super) fn kept(&self) -> BTreeMap<JobName, Kept> {
        let mut jobs = self.jobs();
        let now = (self.now)();
        jobs.retain(|_, kept| counts(kept.at, now));
        jobs.clone()
    }

    /// A document is put in as a whole, so that a thread that panicked left none by half.
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobName, Kept>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pushed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pushed").finish_non_exhaustive()
    }
}

/// Longest first line, with its line feed.
pub(super) const MAX_JOB_LINE: usize = MAX_JOB_NAME + 5;

fn counts(at: UnixMillis, now: UnixMillis) -> bool {
    now.since(at) < PUSHED_KEPT_MILLIS
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn pushed() -> (Pushed, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(1_000));
        let clock = Arc::clone(&time);
        let now = move || UnixMillis(clock.load(Ordering::Relaxed));
        (Pushed::new(Arc::new(now)), time)
    }

    fn gauges(job: &str, count: usize) -> String {
        let samples: String = (0..count).map(|at| format!("g{{n=\"{at}\"}} {at}\n")).collect();
        format!("job {job}\n# TYPE g gauge\n{samples}# EOF\n")
    }

    #[test]
    fn a_jobs_newest_document_counts_for_five_minutes() {
        let (pushed, time) = pushed();
        assert_eq!(pushed.push(gauges("backup", 3).as_bytes()), Ok((3, 0)));
        assert_eq!(pushed.push(b"job backup\na 1\nb NaN\n# EOF\n"), Ok((1, 1)));
        let kept = pushed.kept();
        assert_eq!(kept.len(), 1);
        let [point] = &kept[&"backup".parse::<JobName>().unwrap()].document.points[..] else {
            panic!("{kept:?}");
        };
        assert_eq!(
            (point.series().as_str(), point.value),
            ("a{job=\"backup\"}", 1_000_000)
        );
        time.fetch_add(PUSHED_KEPT_MILLIS - 1, Ordering::Relaxed);
        assert_eq!(pushed.kept().len(), 1);
        time.fetch_add(1, Ordering::Relaxed);
        assert!(pushed.kept().is_empty());
    }

    #[test]
    fn who_pushes_must_be_said() {
        let (pushed, _) = pushed();
        for text in [
            &b""[..],
            b"\n",
            b"a 1\n# EOF\n",
            b"job",
            b"job a",
            b"jobs a\n# EOF\n",
            b"job \xff\n# EOF\n",
        ] {
            assert_eq!(pushed.push(text), Err(PushError::NoJob), "{text:?}");
        }
        for name in ["", "a b", "a\"", "ä"] {
            let text = name.to_owned();
            let refused = pushed.push(format!("job {name}\n# EOF\n").as_bytes());
            assert_eq!(refused, Err(PushError::JobName { text }));
        }
        let longest = "j".repeat(MAX_JOB_NAME);
        assert_eq!(pushed.push(gauges(&longest, 1).as_bytes()), Ok((1, 0)));
        assert_eq!(
            pushed.push(gauges(&format!("{longest}j"), 1).as_bytes()),
            Err(PushError::NoJob)
        );
    }

    #[test]
    fn what_is_refused_leaves_what_was_pushed_before() {
        let (pushed, _) = pushed();
        pushed.push(&gauges("a", 2).into_bytes()).unwrap();
        let fault = TextFault::NoEof;
        assert_eq!(
            pushed.push(b"job a\na 1\n"),
            Err(PushError::Text(TextError { line: 2, fault }))
        );
        let fault = TextFault::ReservedLabel;
        assert_eq!(
            pushed.push(b"job a\nb{job=\"b\"} 1\n# EOF\n"),
            Err(PushError::Text(TextError { line: 1, fault }))
        );
        let kept = pushed.kept();
        assert_eq!(kept.values().next().unwrap().document.points.len(), 2);
    }

    #[test]
    fn jobs_and_their_series_are_bounded_together() {
        let (pushed, time) = pushed();
        for at in 0..MAX_JOBS {
            pushed.push(gauges(&format!("j{at}"), 1).as_bytes()).unwrap();
        }
        assert_eq!(
            pushed.push(gauges("more", 1).as_bytes()),
            Err(PushError::TooManyJobs)
        );
        // One that is there already may go on, up to what the others leave.
        let left = MAX_SERIES - (MAX_JOBS - 1);
        assert_eq!(pushed.push(gauges("j0", left).as_bytes()), Ok((left, 0)));
        let fault = TextFault::TooManySeries { max: left };
        assert_eq!(
            pushed.push(gauges("j0", left + 1).as_bytes()),
            Err(PushError::Text(TextError { line: 1, fault }))
        );
        time.fetch_add(PUSHED_KEPT_MILLIS, Ordering::Relaxed);
        assert_eq!(pushed.push(gauges("more", 1).as_bytes()), Ok((1, 0)));
    }
}
