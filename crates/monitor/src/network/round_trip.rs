//! The verifier's distance, as whoever holds the attested session measures it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The last round trip of the attested session: written by the session's owner, read by the collector.
#[derive(Debug, Default)]
pub struct RoundTrip(Mutex<Option<Duration>>);

impl RoundTrip {
    /// None before the first round trip, and when the session ended.
    pub fn set(&self, time: Option<Duration>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// What was set last.
    pub fn latest(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
