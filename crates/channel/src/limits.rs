//! How long and how much.

use std::time::Duration;

use nautilus_core::UnixMillis;

/// A moment, given by the caller: nothing here reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since some start; never goes back.
    pub monotonic: Duration,
    /// Of the day, which may be set.
    pub wall: UnixMillis,
}

impl Now {
    /// So much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self {
            monotonic: self.monotonic.saturating_add(duration),
            wall: self.wall.plus(millis(duration)),
        }
    }
}

/// What bounds a session. The defaults are the specification's (§5.A `SessionConfig`) where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TLS and both hellos have to be done by then.
    pub hello: Duration,
    /// Both credentials and verdicts have to be there so long after: TEEs take seconds.
    pub evidence: Duration,
    /// How long a challenge may wait for its evidence.
    pub challenge: Duration,
    /// A session is never older.
    pub lifetime: Duration,
    /// Traffic keys are replaced after this time,
    pub rekey_after: Duration,
    /// or after so many messages in either direction.
    pub rekey_messages: u64,
    /// An idle peer is asked whether it is alive after this time.
    pub heartbeat: Duration,
    /// A peer of which nothing came for so long is dead.
    pub silence: Duration,
}

impl Limits {
    /// The product's.
    pub const DEFAULT: Self = Self {
        hello: Duration::from_secs(10),
        evidence: Duration::from_secs(30),
        challenge: Duration::from_secs(60),
        lifetime: Duration::from_secs(24 * 60 * 60),
        rekey_after: Duration::from_secs(4 * 60 * 60),
        rekey_messages: 1 << 24,
        heartbeat: Duration::from_secs(15),
        silence: Duration::from_secs(45),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A duration in milliseconds, as wall times count.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
