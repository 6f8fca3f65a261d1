//! What image pulls there were, from containerd's events: a state machine without clock and without I/O.
//!
//! The Container Runtime Interface tells of no pull. A pull is seen by what it leaves: layers that are extracted, and
//! then one to three names for the image (reference, reference with digest, identifier). `docs/metrics.md` has the rule
//! and what it cannot see.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::events::ImageEvent;
use crate::data::ImagePullMetrics;
use crate::decimal::Decimal;

/// How long after a name the runtime is asked about it: its own list follows its store with some delay.
const SETTLE: Duration = Duration::from_secs(1);
/// How often it is asked again about a name that it does not know yet.
const MAX_TRIES: u32 = 5;
/// Names of one image within this time are of one pull.
const ONE_PULL: Duration = SETTLE;
/// An extraction that led to no image is forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// Bounds of what is remembered. What is above is not followed: it counts with what is known without it.
const MAX_EXTRACTIONS: usize = 4096;
const MAX_PENDING: usize = 1024;
const MAX_RECENT: usize = 256;
const MAX_KNOWN: usize = 16_384;
/// Most layers of an image. The overlay file system takes 500.
const MAX_LAYERS: usize = 1000;

/// What pulls there were.
#[derive(Debug, Default)]
pub struct Pulls {
    totals: ImagePullMetrics,
    /// Whether the runtime was asked for its images.
    listed: bool,
    /// Identifiers of the images that the runtime has.
    known: BTreeSet<String>,
    /// Layers that are extracted, or were for an image that has no name yet, by ChainID.
    extractions: BTreeMap<String, Extraction>,
    /// Names that the runtime is to be asked about.
    pending: BTreeMap<String, Pending>,
    /// Which images came last, and when.
    recent: VecDeque<(String, Duration)>,
    /// ChainIDs of images that came: extractions of theirs that are late belong to no further pull.
    extracted: VecDeque<String>,
}

#[derive(Debug)]
struct Extraction {
    key: String,
    parent: String,
    began: Duration,
}

#[derive(Debug)]
struct Pending {
    came: Duration,
    due: Duration,
    tries: u32,
}

/// What the runtime says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its identifier: the digest of its configuration.
    pub id: String,
    /// Its size in bytes.
    pub size: u64,
    /// The ChainIDs of its layers, the lowest first; empty if the runtime does not say.
    pub chains: Vec<String>,
}

impl Pulls {
    /// Takes an event that came at `now`, a time that never goes backwards.
    pub fn event(&mut self, event: ImageEvent, now: Duration) {
        match event {
            // An identifier comes beside a name, and alone when images are reconciled.
            ImageEvent::Named { name } if name.starts_with("sha256:") => {}
            ImageEvent::Named { name } => {
                if self.pending.len() < MAX_PENDING {
                    self.pending.entry(name).or_insert(Pending {
                        came: now,
                        due: now.saturating_add(SETTLE),
                        tries: 0,
                    });
                }
            }
            ImageEvent::Removed { name } => {
                self.known.remove(&name);
            }
            ImageEvent::Extracting { key, chain, parent } => {
                if self.extractions.len() >= MAX_EXTRACTIONS {
                    self.forget(now);
                }
                if self.extractions.len() < MAX_EXTRACTIONS && !self.extracted.contains(&chain) {
                    let began = now;
                    self.extractions
                        .entry(chain)
                        .or_insert(Extraction { key, parent, began });
                }
            }
            ImageEvent::Abandoned { key } => self.abandon(&key),
        }
    }

    /// A name that the runtime is to be asked about now.
    pub fn due(&self, now: Duration) -> Option<&str> {
        let (name, _) = self.pending.iter().find(|(_, pending)| pending.due <= now)?;
        Some(name)
    }

    /// Whether there is any name to be asked about, now or later.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes what the runtime said of a name; `None` if it does not know it.
    pub fn answer(&mut self, name: &str, facts: Option<ImageFacts>, now: Duration) {
        let Some(mut pending) = self.pending.remove(name) else {
            return;
        };
        let Some(facts) = facts else {
            pending.tries = pending.tries.saturating_add(1);
            if pending.tries < MAX_TRIES {
                pending.due = now.saturating_add(SETTLE);
                self.pending.insert(name.to_owned(), pending);
            } else {
                // It came and went, or is no image that a pod could have.
                self.totals.pulls = self.totals.pulls.saturating_add(1);
            }
            return;
        };
        self.came(&facts, pending.came);
    }

    /// Takes the list of the images that the runtime has, when events begin to be heard. What is new since they were
    /// heard last came meanwhile; the first time, all was there before.
    pub fn list(&mut self, images: impl IntoIterator<Item = (String, u64)>) {
        let first = !std::mem::replace(&mut self.listed, true);
        let mut now_known = BTreeSet::new();
        for (id, size) in images.into_iter().take(MAX_KNOWN) {
            if !first && !self.known.contains(&id) {
                self.totals.pulls = self.totals.pulls.saturating_add(1);
                self.totals.bytes = self.totals.bytes.saturating_add(size);
            }
            now_known.insert(id);
        }
        self.known = now_known;
    }

    /// Forgets what was going on, because events may have been missed. Gives whether events were heard until now.
    pub fn interrupted(&mut self) -> bool {
        self.extractions.clear();
        // Their images are in the list that is asked for next.
        self.pending.clear();
        std::mem::take(&mut self.totals.watching)
    }

    /// Events are heard from now on.
    pub fn watching(&mut self) {
        self.totals.watching = true;
    }

    /// What there was until now.
    pub fn totals(&mut self, now: Duration) -> ImagePullMetrics {
        self.forget(now);
        // What is extracted onto a layer that is being extracted belongs to the same pull.
        let lowest = self
            .extractions
            .values()
            .filter(|extraction| !self.extractions.contains_key(&extraction.parent))
            .count();
        ImagePullMetrics {
            in_progress: u32::try_from(lowest).unwrap_or(u32::MAX),
            ..self.totals
        }
    }

    fn came(&mut self, facts: &ImageFacts, came: Duration) {
        let began = facts
            .chains
            .iter()
            .filter_map(|chain| self.extractions.remove(chain))
            .map(|extraction| extraction.began)
            .min();
        for chain in &facts.chains {
            remember(&mut self.extracted, chain.clone(), MAX_EXTRACTIONS);
        }
        let again = self
            .recent
            .iter()
            .any(|(id, before)| *id == facts.id && came.abs_diff(*before) <= ONE_PULL);
        if again {
            return;
        }
        remember(&mut self.recent, (facts.id.clone(), came), MAX_RECENT);
        self.totals.pulls = self.totals.pulls.saturating_add(1);
        if !self.known.contains(&facts.id) {
            self.totals.bytes = self.totals.bytes.saturating_add(facts.size);
            if self.known.len() < MAX_KNOWN {
                self.known.insert(facts.id.clone());
            }
        }
        // What is extracted only after the image has its name (an import) says nothing of how long it took to come.
        if let Some(took) = began.and_then(|began| came.checked_sub(began)) {
            let nanos = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
            self.totals.timed_pulls = self.totals.timed_pulls.saturating_add(1);
            self.totals.duration = Decimal(self.totals.duration.0.saturating_add(nanos));
        }
    }

    /// An extraction that is given up ends its pull, and with it what was extracted below.
    fn abandon(&mut self, key: &str) {
        let chain = self
            .extractions
            .iter()
            .find(|(_, extraction)| extraction.key == key)
            .map(|(chain, _)| chain.clone());
        let mut next = chain;
        while let Some(extraction) = next.and_then(|chain| self.extractions.remove(&chain)) {
            next = Some(extraction.parent);
        }
    }

    fn forget(&mut self, now: Duration) {
        self.extractions
            .retain(|_, extraction| now.saturating_sub(extraction.began) < FORGOTTEN);
    }
}

fn remember<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// The ChainIDs of an image from what `ImageStatus` adds for people: JSON with the image's configuration, whose
/// `rootfs.diff_ids` names each layer. Empty if it is not there or is malformed.
pub fn chains(info: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "imageSpec")]
        image: Image,
    }
    #[derive(Deserialize)]
    struct Image {
        rootfs: Rootfs,
    }
    #[derive(Deserialize)]
    struct Rootfs {
        diff_ids: Vec<String>,
    }
    let Ok(info) = serde_json::from_str::<Info>(info) else {
        return Vec::new();
    };
    let layers = info.image.rootfs.diff_ids;
    if layers.len() > MAX_LAYERS {
        return Vec::new();
    }
    let mut chains: Vec<String> = Vec::with_capacity(layers.len());
    for layer in layers {
        let chain = match chains.last() {
            None => layer,
            Some(below) => {
                let both = digest(&SHA256, format!("{below} {layer}").as_bytes());
                both.as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
                    // Writing to a string never fails.
                    let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
                    text
                })
            }
        };
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests;
