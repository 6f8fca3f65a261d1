//! A memo of what was verified, so that a chain that many pieces of evidence share is verified once.
//!
//! Only what somebody proved is remembered: a failure leaves no trace, so hostile input cannot fill the memo.
//! What is remembered is bounded in number and in bytes, the oldest goes first, and each fact holds only
//! within its own window of time. A verifier with a memo is still pure: a hit gives what a miss would have given.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{PoisonError, RwLock};

use nautilus_core::{UnixMillis, VerifyError};
use sha2::{Digest as _, Sha256};

/// Verified facts by the content that they were derived from. Shared between threads; hits only read.
pub(crate) struct Memo<V> {
    capacity: usize,
    max_bytes: usize,
    weigh: fn(&V) -> usize,
    remembered: RwLock<Remembered<V>>,
}

/// What a fact is remembered under: a digest of everything that it was derived from, except the time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key([u8; 32]);

/// When a fact holds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// The first millisecond at which it holds.
    pub from: UnixMillis,
    /// The last.
    pub until: UnixMillis,
}

struct Remembered<V> {
    facts: HashMap<Key, Fact<V>>,
    /// Keys by the turn at which they came, the oldest first. Each key stands here once.
    order: BTreeMap<u64, Key>,
    next_turn: u64,
    bytes: usize,
}

struct Fact<V> {
    value: V,
    window: Window,
    turn: u64,
    weight: usize,
}

impl<V: Clone> Memo<V> {
    /// A memo of at most `capacity` facts of small, fixed size.
    pub fn new(capacity: usize) -> Self {
        Self::weighing(capacity, usize::MAX, |_| 0)
    }

    /// A memo of at most `capacity` facts that together have at most `max_bytes`, as `weigh` says.
    pub fn weighing(capacity: usize, max_bytes: usize, weigh: fn(&V) -> usize) -> Self {
        Self {
            capacity,
            max_bytes,
            weigh,
            remembered: RwLock::new(Remembered {
                facts: HashMap::new(),
                order: BTreeMap::new(),
                next_turn: 0,
                bytes: 0,
            }),
        }
    }

    /// The remembered value if `now` lies in its window; else what `make` gives, remembered only if it
    /// succeeded. `make` runs without a lock, so two threads may make the same value.
    ///
    /// # Errors
    /// What `make` fails with.
    pub fn get_or_try(
        &self,
        key: Key,
        now: UnixMillis,
        make: impl FnOnce() -> Result<(V, Window), VerifyError>,
    ) -> Result<V, VerifyError> {
        if let Some(value) = self.recall(key, now) {
            return Ok(value);
        }
        let (value, window) = make()?;
        if window.contains(now) {
            self.remember(key, value.clone(), window);
        }
        Ok(value)
    }

    /// The remembered value if `now` lies in its window.
    pub fn recall(&self, key: Key, now: UnixMillis) -> Option<V> {
        // A thread that panicked elsewhere while it held the lock left the maps as they were between two whole
        // changes, or with a fact too few; either way what is in them was proven.
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        let fact = remembered.facts.get(&key)?;
        fact.window.contains(now).then(|| fact.value.clone())
    }

    /// Remembers a value that was verified; the caller vouches for that. A value of the same key is replaced.
    pub fn remember(&self, key: Key, value: V, window: Window) {
        let weight = (self.weigh)(&value);
        if self.capacity == 0 || weight > self.max_bytes {
            return;
        }
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        remembered.forget(key);
        while remembered.facts.len() >= self.capacity
            || remembered.bytes.saturating_add(weight) > self.max_bytes
        {
            let Some(oldest) = remembered.order.first_key_value().map(|(_, oldest)| *oldest) else {
                break;
            };
            remembered.forget(oldest);
        }
        remembered.insert(key, value, window, weight);
    }
}

impl<V> Remembered<V> {
    fn forget(&mut self, key: Key) {
        if let Some(fact) = self.facts.remove(&key) {
            self.order.remove(&fact.turn);
            self.bytes = self.bytes.saturating_sub(fact.weight);
        }
    }

    fn insert(&mut self, key: Key, value: V, window: Window, weight: usize) {
        let turn = self.next_turn;
        self.next_turn = turn.saturating_add(1);
        self.bytes = self.bytes.saturating_add(weight);
        self.order.insert(turn, key);
        self.facts.insert(
            key,
            Fact {
                value,
                window,
                turn,
                weight,
            },
        );
    }
}

impl Key {
    /// SHA-256 over the parts, each after its length, so that no two lists of parts have the same bytes. The
    /// first part names what kind of fact it is where one memo holds several.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// As a part of another key.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Window {
    /// Whether `now` lies within.
    pub fn contains(&self, now: UnixMillis) -> bool {
        self.from <= now && now <= self.until
    }

    /// When both hold.
    pub fn and(&self, other: &Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }
}

impl<V> fmt::Debug for Memo<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Memo")
            .field("facts", &remembered.facts.len())
            .field("bytes", &remembered.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
