//! The window that is being filled.

use std::time::Duration;

use nautilus_core::UnixMillis;
use nautilus_proof::SignedSample;

use super::Settings;

/// The window that is being filled.
pub(super) struct OpenWindow {
    pub(super) start: UnixMillis,
    pub(super) samples: Vec<SignedSample>,
}

impl OpenWindow {
    pub(super) const fn starting(start: UnixMillis) -> Self {
        Self {
            start,
            samples: Vec::new(),
        }
    }

    /// Whether it is to be closed; one without a sample has nothing to prove and goes on.
    pub(super) fn is_over(&self, now: UnixMillis, settings: &Settings) -> bool {
        let full = self.samples.len() >= settings.batch as usize;
        let long = Duration::from_millis(now.since(self.start)) >= settings.window;
        !self.samples.is_empty() && (full || long)
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
        self.samples.last().map(|signed| signed.sample.at.plus(1))
    }
}
