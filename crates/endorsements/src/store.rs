//! The offline store: a directory of vendors' documents, by platform and kind, that people can read.
//!
//! A document is never changed: another issue of it is another file, so that evidence of any time finds what held
//! then. Beside each lies a `.meta` with where it came from. Several processes may share a store: files are written
//! whole under another name, and renamed.

mod disk;
mod place;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, UnixMillis, Want};
use serde::{Deserialize, Serialize};

use crate::document::{Document, DocumentError};
use crate::source::{Need, Update};

const FORMAT: &str = "nautilus-endorsement/1";
/// Largest metadata that is read; what is written is below 1 KiB.
const MAX_METADATA: usize = 16 * 1024;
/// Most issues of one document that are kept: Intel's collateral changes about daily, so this is a year.
const MAX_ISSUES: usize = 512;
/// Most documents that are handed to verification for one want, newest first.
const MAX_FOUND: usize = 64;
/// A clock may be behind the one that wrote by this much, in milliseconds, without what was written being in doubt.
const CLOCK_SKEW: u64 = 5 * 60 * 1000;

/// A store of endorsements.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Where a document comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The address, or for an import the file.
    pub source: String,
    /// Which evaluation it was asked for as.
    pub update: Update,
    /// When.
    pub at: UnixMillis,
}

/// A document in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its file, from the store's root.
    pub path: PathBuf,
    /// What it is.
    pub kind: EndorsementKind,
    /// What it is for, for people.
    pub subject: String,
    /// Where it came from.
    pub source: String,
    /// When it last came.
    pub fetched_at: UnixMillis,
    /// Whether it was the evaluation that counted.
    pub standard: bool,
    /// Whether it was the evaluation to come.
    pub early: bool,
    /// From when it holds.
    pub valid_from: UnixMillis,
    /// Until when; `None` is without end.
    pub valid_until: Option<UnixMillis>,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// What a store holds.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The documents, by path.
    pub kept: Vec<Kept>,
    /// Files that cannot be used. The others can.
    pub damaged: Vec<StoreError>,
}

/// What a store has for some wants.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The documents that hold at the time asked for, each with its file as origin.
    pub endorsements: Endorsements,
    /// Files in the same place that cannot be used.
    pub damaged: Vec<StoreError>,
}

/// What was removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// The documents.
    pub removed: Vec<Kept>,
    /// Leftovers of writers that did not finish.
    pub leftovers: Vec<PathBuf>,
    /// Files that cannot be used, which stay.
    pub damaged: Vec<StoreError>,
}

/// Why a store did not do what it should.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system said no.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file that is not as it was written.
    #[error(
        "stored endorsement {} is damaged: {what}; remove it and its .meta, and fetch it again",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// More files than a store may have.
    #[error("{} holds more than {limit} files: run `nautilus endorsements prune`", path.display())]
    TooMany {
        /// Where.
        path: PathBuf,
        /// The most.
        limit: usize,
    },
}

impl StoreError {
    fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// What lies beside a document. Only what the document does not say itself is taken from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format: String,
    kind: EndorsementKind,
    subject: String,
    source: String,
    fetched_at: UnixMillis,
    standard: bool,
    early: bool,
    valid_from: UnixMillis,
    valid_until: Option<UnixMillis>,
    sha256: String,
}

impl Store {
    /// The store in a directory, which need not exist: the first document creates it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps a document. One that is there already stays, and is known to have come again.
    ///
    /// # Errors
    /// If it cannot be written, or its place is full.
    pub fn put(&self, document: &Document, from: &Provenance) -> Result<Kept, StoreError> {
        let path = place::of(document);
        let absolute = self.root.join(&path);
        let there = self.read(&path).ok();
        let before = there.as_ref().map(|(kept, _)| kept);
        let metadata = Metadata {
            format: FORMAT.to_owned(),
            kind: document.kind(),
            subject: document.subject().to_string(),
            source: from.source.clone(),
            fetched_at: before.map_or(from.at, |before| before.fetched_at.max(from.at)),
            standard: from.update == Update::Standard || before.is_some_and(|before| before.standard),
            early: from.update == Update::Early || before.is_some_and(|before| before.early),
            valid_from: document.validity().from,
            valid_until: document.validity().until,
            sha256: hex::encode(document.sha256()),
        };
        let kept = metadata.clone().kept(path.clone());
        let is_known = before.is_some_and(|before| {
            (before.fetched_at, before.standard, before.early) == (kept.fetched_at, kept.standard, kept.early)
        });
        if is_known {
            return Ok(kept);
        }
        if there.is_none() {
            let directory = absolute.parent().unwrap_or(&self.root);
            disk::create_directory(directory)?;
            disk::ensure_room(directory, MAX_ISSUES.saturating_mul(2))?;
        }
        let text = serde_json::to_vec_pretty(&metadata)
            .map_err(|error| StoreError::io("write", &absolute, io::Error::other(error)))?;
        // The document is last: it is there once its name is, and then so is what lies beside it.
        disk::write(&place::metadata_of(&absolute), &text)?;
        if there.is_none() {
            disk::write(&absolute, document.bytes())?;
        }
        Ok(kept)
    }

    /// The documents that hold at `at` for what is wanted, all evaluations, newest first.
    ///
    /// # Errors
    /// If a directory cannot be read. A damaged file does not keep the others from being found.
    pub fn endorsements_for(&self, wants: &[Want], at: UnixMillis) -> Result<Found, StoreError> {
        self.find(wants, at, |_| true)
    }

    /// The same without evaluations that were not the standard when they were fetched: what a platform is rated by
    /// today.
    ///
    /// # Errors
    /// As [`endorsements_for`](Self::endorsements_for).
    pub fn standard_endorsements_for(&self, wants: &[Want], at: UnixMillis) -> Result<Found, StoreError> {
        self.find(wants, at, |kept| kept.standard)
    }

    /// Everything that is there.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        self.visit(Path::new(""), |read| match read {
            Ok((kept, _)) => listing.kept.push(kept),
            Err(error) => listing.damaged.push(error),
        })?;
        Ok(listing)
    }

    /// Removes the documents that stopped holding before `before`, and what unfinished writers left before then.
    /// Evidence of the time before can no longer be appraised with this store.
    ///
    /// # Errors
    /// If a directory cannot be read, or a file not removed.
    pub fn prune(&self, before: UnixMillis) -> Result<Pruned, StoreError> {
        let Listing { kept, damaged } = self.list()?;
        let mut pruned = Pruned {
            damaged,
            ..Pruned::default()
        };
        for kept in kept {
            if kept.valid_until.is_some_and(|until| until < before) {
                let path = self.root.join(&kept.path);
                // The document goes first: without it, what lies beside is a leftover, and nothing is damaged.
                disk::remove(&path)?;
                disk::remove(&place::metadata_of(&path))?;
                pruned.removed.push(kept);
            }
        }
        pruned.leftovers = disk::remove_leftovers(&self.root, before)?;
        Ok(pruned)
    }

    /// Documents that came for `need` as `update` at most `max_age` milliseconds before `now`, and hold; for what
    /// never changes, the age does not count.
    pub(crate) fn fresh(
        &self,
        need: &Need,
        update: Update,
        max_age: u64,
        now: UnixMillis,
    ) -> Result<Vec<Kept>, StoreError> {
        let Some(place) = place::of_need(need) else {
            return Ok(Vec::new());
        };
        let mut fresh = Vec::new();
        self.visit(&place, |read| {
            let Ok((kept, document)) = read else { return };
            let is_update = match update {
                Update::Standard => kept.standard,
                Update::Early => kept.early,
            };
            let never_changes = matches!(need, Need::Vcek { .. });
            let is_recent = now.since(kept.fetched_at) <= max_age && kept.fetched_at.since(now) <= CLOCK_SKEW;
            if document.validity().contains(now)
                && place::serves(need, document.subject())
                && is_update
                && (never_changes || is_recent)
            {
                fresh.push(kept);
            }
        })?;
        fresh.sort_by_key(|kept| std::cmp::Reverse(kept.fetched_at));
        fresh.truncate(1);
        Ok(fresh)
    }

    fn find(
        &self,
        wants: &[Want],
        at: UnixMillis,
        counts: impl Fn(&Kept) -> bool,
    ) -> Result<Found, StoreError> {
        let mut all = Found::default();
        for want in wants {
            // Also what a vendor publishes elsewhere may have been imported.
            let needs = Need::of(want).unwrap_or_else(|_| vec![Need::Unpublished { kind: want.kind }]);
            for need in needs {
                self.find_one(&need, at, &counts, &mut all)?;
            }
        }
        Ok(all)
    }

    fn find_one(
        &self,
        need: &Need,
        at: UnixMillis,
        counts: impl Fn(&Kept) -> bool,
        all: &mut Found,
    ) -> Result<(), StoreError> {
        let Some(place) = place::of_need(need) else {
            return Ok(());
        };
        let mut found = Vec::new();
        self.visit(&place, |read| match read {
            Ok((kept, document)) => {
                let is_wanted = document.validity().contains(at)
                    && place::serves(need, document.subject())
                    && counts(&kept);
                if is_wanted {
                    found.push((kept, document));
                }
            }
            Err(error) => all.damaged.push(error),
        })?;
        found.sort_by_key(|(kept, _)| std::cmp::Reverse(kept.valid_from));
        for (kept, document) in found.into_iter().take(MAX_FOUND) {
            let origin = self.root.join(&kept.path).display().to_string();
            if !all.endorsements.0.iter().any(|other| other.origin == origin) {
                all.endorsements.0.push(Endorsement {
                    kind: kept.kind,
                    bytes: document.into_bytes(),
                    origin,
                });
            }
        }
        Ok(())
    }

    /// Reads every document under a place.
    fn visit(
        &self,
        place: &Path,
        mut each: impl FnMut(Result<(Kept, Document), StoreError>),
    ) -> Result<(), StoreError> {
        for absolute in disk::documents_under(&self.root.join(place))? {
            let Ok(path) = absolute.strip_prefix(&self.root) else {
                continue;
            };
            match self.read(path) {
                // Another process removed it since the directory was read.
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                read => each(read),
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<(Kept, Document), StoreError> {
        let absolute = self.root.join(path);
        let damaged = |what: String| StoreError::Damaged {
            path: absolute.clone(),
            what,
        };
        let bytes = disk::read(&absolute, Endorsements::MAX_SIZE)?;
        let metadata =
            disk::read(&place::metadata_of(&absolute), MAX_METADATA).map_err(|error| match &error {
                StoreError::Io { source, .. }
                    if source.kind() == io::ErrorKind::NotFound && absolute.exists() =>
                {
                    damaged("it has no .meta beside it".to_owned())
                }
                _ => error,
            })?;
        let metadata: Metadata =
            serde_json::from_slice(&metadata).map_err(|error| damaged(format!("its .meta: {error}")))?;
        if metadata.format != FORMAT {
            let found = crate::document::shown(&metadata.format);
            return Err(damaged(format!(
                "its .meta has format `{found}`, expected `{FORMAT}`"
            )));
        }
        let document = Document::read(metadata.kind, bytes)
            .map_err(|error: DocumentError| damaged(error.to_string()))?;
        let sha256 = hex::encode(document.sha256());
        if sha256 != metadata.sha256 {
            return Err(damaged(format!(
                "its SHA-256 is {sha256}, its .meta has {}",
                metadata.sha256
            )));
        }
        if place::of(&document) != path {
            return Err(damaged(format!(
                "it belongs to {}",
                place::of(&document).display()
            )));
        }
        let metadata = Metadata {
            subject: document.subject().to_string(),
            valid_from: document.validity().from,
            valid_until: document.validity().until,
            ..metadata
        };
        Ok((metadata.kept(path.to_owned()), document))
    }
}

impl Metadata {
    fn kept(self, path: PathBuf) -> Kept {
        Kept {
            path,
            kind: self.kind,
            subject: self.subject,
            source: self.source,
            fetched_at: self.fetched_at,
            standard: self.standard,
            early: self.early,
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            sha256: self.sha256,
        }
    }
}
