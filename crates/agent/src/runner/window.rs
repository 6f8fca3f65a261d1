//! The window that is being filled.

use std::time::Duration;

use nautilus_core::UnixMillis;
use nautilus_proof::{Sample, SignedBatch};

use super::Settings;

/// The window that is being filled.
pub(super) struct OpenWindow {
    pub(super) start: UnixMillis,
    /// What the enclave signed.
    batches: Vec<SignedBatch>,
    /// Samples in it, signed or not.
    samples: usize,
    last: Option<UnixMillis>,
}

impl OpenWindow {
    pub(super) const fn starting(start: UnixMillis) -> Self {
        Self {
            start,
            batches: Vec::new(),
            samples: 0,
            last: None,
        }
    }

    /// The enclave chained a sample, which belongs to this window.
    pub(super) const fn took(&mut self, sample: &Sample) {
        self.samples += 1;
        self.last = Some(sample.measurement.at);
    }

    /// The enclave signed samples of this window.
    pub(super) fn signed(&mut self, batch: SignedBatch) {
        self.batches.push(batch);
    }

    /// The window's batches. What no signature speaks for is in none.
    pub(super) fn into_batches(self) -> Vec<SignedBatch> {
        self.batches
    }

    /// Whether there is no sample in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Whether it is to be closed; one without a sample has nothing to prove and goes on.
    pub(super) fn is_over(&self, now: UnixMillis, settings: &Settings) -> bool {
        let full = self.samples >= settings.batch as usize;
        let long = Duration::from_millis(now.since(self.start)) >= settings.window;
        !self.is_empty() && (full || long)
    }

    /// Where it ends if it is closed at `at`: after its last sample in any case.
    pub(super) fn end(&self, at: UnixMillis) -> UnixMillis {
        self.after_last_sample().map_or(at, |after| at.max(after))
    }

    /// The time of a sample that is taken at `now`: in this window, and after the one before.
    pub(super) fn next_sample(&self, now: UnixMillis) -> UnixMillis {
        now.max(self.after_last_sample().unwrap_or(self.start))
    }

    fn after_last_sample(&self) -> Option<UnixMillis> {
        self.last.map(|at| at.plus(1))
    }
}
