//! The buffers between sampling, signing and storing.
//!
//! The enclave chains a sample at once, so that none can be left out any more: an [`Aggregator`] holds them until a
//! batch is signed, and refuses what it cannot hold. What is signed goes to the store through a [`Writer`]. If the store
//! does not keep up, a [`BackPressure`] policy says what gives way: readings that are not stored are a gap in the
//! store, while the signed batch still counts for its window.

mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use self::writer::{
    Dropped, FAMILIES, Load, MAX_WAITING_BYTES, Outcome, Room, Sink, Tally, Totals, Unfinished, WriteFault,
    Writer,
};

/// Samples that a buffer holds (specification §3.A `AggregatorConfig.BufferSize`).
pub const CAPACITY: usize = 1000;
/// Samples are signed this often (specification §3.A `AggregatorConfig.FlushInterval`).
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// Samples that one signature is for, at most.
pub const MAX_BATCH: usize = nautilus_proof::MAX_BATCH as usize;

/// What happens to what is to be stored while there is no room for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackPressure {
    /// What has waited longest gives way.
    #[default]
    DropOldest,
    /// What comes last is not taken.
    DropNewest,
    /// Sampling waits for the store: nothing is dropped, but ticks are missed.
    Wait,
}

impl BackPressure {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::DropOldest, Self::DropNewest, Self::Wait];

    /// Its name in configuration and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
            Self::Wait => "wait",
        }
    }
}

impl fmt::Display for BackPressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no policy for back-pressure: give drop-oldest, drop-newest or wait")]
pub struct UnknownPolicy(String);

impl FromStr for BackPressure {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| UnknownPolicy(text.chars().take(64).collect()))
    }
}

/// Samples that are chained and not signed yet, in their order.
#[derive(Clone, Debug)]
pub struct Aggregator<T> {
    waiting: VecDeque<T>,
    capacity: usize,
    flush_interval: Duration,
    start: Duration,
    /// How many flush intervals had passed at the last flush.
    flushed: u128,
}

/// An [`Aggregator`] has no room for this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{capacity} samples wait to be signed and there is no room for more: sign a batch first")]
pub struct Full<T> {
    /// How many there can be.
    pub capacity: usize,
    /// What was to be added.
    pub item: T,
}

impl<T> Aggregator<T> {
    /// An empty buffer with the specification's limits. Flushes are due at fixed times after `start`: that of the
    /// schedule, so that a flush and the sample of its time fall together.
    pub const fn new(start: Duration) -> Self {
        Self::with_limits(CAPACITY, FLUSH_INTERVAL, start)
    }

    /// An empty buffer for `capacity` samples, to be flushed at each `flush_interval` after `start`; at each sample if
    /// that is zero.
    pub const fn with_limits(capacity: usize, flush_interval: Duration, start: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            capacity,
            flush_interval,
            start,
            flushed: 0,
        }
    }

    /// Adds what was chained last.
    ///
    /// # Errors
    /// If the buffer is full; the item is then given back. It is part of the chain: whoever drops it breaks the proof of
    /// its window.
    pub fn push(&mut self, item: T) -> Result<(), Full<T>> {
        if self.waiting.len() >= self.capacity {
            let capacity = self.capacity;
            return Err(Full { capacity, item });
        }
        self.waiting.push_back(item);
        Ok(())
    }

    /// Whether a batch is to be signed now: a flush interval has ended since the last batch was taken, or there are as
    /// many samples as the buffer or a batch can hold.
    ///
    /// `now` is on the clock of `start`. Given [`Tick::due`](crate::schedule::Tick::due), late ticks move no flush.
    pub fn due(&self, now: Duration) -> bool {
        let full = self.waiting.len() >= self.capacity.min(MAX_BATCH);
        full || !self.waiting.is_empty() && self.intervals(now).is_none_or(|passed| passed > self.flushed)
    }

    /// Takes the samples that were chained first, at most [`MAX_BATCH`]: what one signature is to be for. Empty if
    /// there are none.
    pub fn take_batch(&mut self, now: Duration) -> Vec<T> {
        self.flushed = self.intervals(now).unwrap_or_default().max(self.flushed);
        let count = self.waiting.len().min(MAX_BATCH);
        self.waiting.drain(..count).collect()
    }

    /// How many samples wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What waits, in its order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter()
    }

    /// Flush intervals that have ended; none if they have no length.
    fn intervals(&self, now: Duration) -> Option<u128> {
        let passed = now.saturating_sub(self.start);
        passed.as_nanos().checked_div(self.flush_interval.as_nanos())
    }
}

#[cfg(test)]
mod tests;
