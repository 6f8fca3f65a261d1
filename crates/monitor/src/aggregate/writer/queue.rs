//! What waits for the store, and what became of the rest.

use std::collections::VecDeque;

use super::{BackPressure, Dropped, Room};

/// What an entry weighs.
pub trait Load {
    /// Samples in it.
    fn samples(&self) -> usize;

    /// Bytes of memory that it takes, roughly.
    fn bytes(&self) -> usize;
}

/// A number of entries, and of the samples in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries.
    pub entries: u64,
    /// Samples.
    pub samples: u64,
}

impl Tally {
    fn count(&mut self, samples: usize) {
        let samples = u64::try_from(samples).unwrap_or(u64::MAX);
        self.entries = self.entries.saturating_add(1);
        self.samples = self.samples.saturating_add(samples);
    }
}

/// What became of all that was handed over: `submitted` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What was handed over.
    pub submitted: Tally,
    /// What is stored.
    pub stored: Tally,
    /// What the store refused.
    pub failed: Tally,
    /// What was dropped by the policy.
    pub dropped: Tally,
    /// What was dropped because the writer had ended.
    pub ended: Tally,
    /// What is queued, written now, or waits for room.
    pub waiting: Tally,
}

/// The queue before the store.
pub(super) struct Queue<T> {
    pub(super) room: Room,
    /// The thread is to end.
    pub(super) ending: bool,
    /// The thread has ended.
    pub(super) ended: bool,
    entries: VecDeque<T>,
    samples: usize,
    bytes: usize,
    /// But for what is waiting, which follows from the others.
    totals: Totals,
}

/// What became of an entry that was offered.
pub(super) enum Offered<T> {
    /// It is in the queue; others may not be any more.
    Taken { displaced: Vec<T> },
    /// It is not, for good.
    Dropped(T, Dropped),
    /// It is not, but may be later.
    NoRoom(T),
}

impl<T: Load> Queue<T> {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            ending: false,
            ended: false,
            entries: VecDeque::new(),
            samples: 0,
            bytes: 0,
            totals: Totals::default(),
        }
    }

    pub(super) fn offer(&mut self, entry: T) -> Offered<T> {
        if self.ended || self.ending {
            self.totals.ended.count(entry.samples());
            return Offered::Dropped(entry, Dropped::Ended);
        }
        let policy = self.room.policy;
        let mut displaced = Vec::new();
        while !self.fits(&entry) {
            match policy {
                BackPressure::Wait => return Offered::NoRoom(entry),
                BackPressure::DropNewest => {
                    self.count_dropped(&entry);
                    return Offered::Dropped(entry, Dropped::Policy(policy));
                }
                BackPressure::DropOldest => {
                    if let Some(oldest) = self.take() {
                        self.count_dropped(&oldest);
                        displaced.push(oldest);
                    }
                }
            }
        }
        self.samples = self.samples.saturating_add(entry.samples());
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.entries.push_back(entry);
        Offered::Taken { displaced }
    }

    /// Takes the oldest entry out.
    pub(super) fn take(&mut self) -> Option<T> {
        let entry = self.entries.pop_front()?;
        self.samples = self.samples.saturating_sub(entry.samples());
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        Some(entry)
    }

    /// No entry is taken or written any more, but for the one that is being written. Gives those that waited.
    pub(super) fn end(&mut self) -> VecDeque<T> {
        self.ending = true;
        let left = std::mem::take(&mut self.entries);
        for entry in &left {
            self.totals.ended.count(entry.samples());
        }
        (self.samples, self.bytes) = (0, 0);
        left
    }

    pub(super) fn count_submitted(&mut self, entry: &T) {
        self.totals.submitted.count(entry.samples());
    }

    pub(super) fn count_dropped(&mut self, entry: &T) {
        self.totals.dropped.count(entry.samples());
    }

    pub(super) fn count_written(&mut self, entry: &T, stored: bool) {
        let Totals {
            stored: sound,
            failed,
            ..
        } = &mut self.totals;
        let tally = if stored { sound } else { failed };
        tally.count(entry.samples());
    }

    pub(super) fn totals(&self) -> Totals {
        let Totals {
            submitted,
            stored,
            failed,
            dropped,
            ended,
            waiting: _,
        } = self.totals;
        let rest = |of: fn(&Tally) -> u64| {
            [stored, failed, dropped, ended]
                .iter()
                .map(of)
                .fold(of(&submitted), u64::saturating_sub)
        };
        Totals {
            waiting: Tally {
                entries: rest(|tally| tally.entries),
                samples: rest(|tally| tally.samples),
            },
            ..self.totals
        }
    }

    /// Whether nothing is left to write, or nobody to write it.
    pub(super) fn is_done(&self) -> bool {
        self.ended || self.totals().waiting.entries == 0
    }

    fn fits(&self, entry: &T) -> bool {
        let Room { samples, bytes, .. } = self.room;
        self.entries.is_empty()
            || self.samples.saturating_add(entry.samples()) <= samples
                && self.bytes.saturating_add(entry.bytes()) <= bytes
    }
}
