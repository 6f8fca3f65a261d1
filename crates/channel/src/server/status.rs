//! What a server tells of itself.

use std::time::Duration;

use nautilus_core::{NodeId, UnixMillis};
use serde::Serialize;

use super::{Counters, Server};
use crate::limits::millis;
use crate::message::MessageId;

/// What a server does at the moment, and what it has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The sessions, oldest first.
    pub sessions: Vec<SessionStatus>,
    /// How many handshakes are under way.
    pub handshakes: usize,
    /// How many questions wait.
    pub queued: usize,
    /// What happened so far.
    pub counters: Counters,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionStatus {
    /// Whose it is.
    pub node: NodeId,
    /// As both ends call it, in hex.
    pub channel_id: String,
    /// Since when it is open.
    pub since: UnixMillis,
    /// When its peer last asked something.
    pub last_used: UnixMillis,
    /// When it ends at the latest.
    pub expires_at: Option<UnixMillis>,
    /// The round trip of the last heartbeat in microseconds; none before there was one.
    pub round_trip_micros: Option<u64>,
}

impl Server {
    /// What it does at the moment, and what it has done.
    pub fn status(&self) -> Status {
        let now = self.clock.now();
        let wall = |then: Duration| {
            let ago = now.monotonic.saturating_sub(then);
            UnixMillis(now.wall.0.saturating_sub(millis(ago)))
        };
        let listed = self.table.list();
        let open = self.lock();
        let session = |info: crate::sessions::SessionInfo| {
            let channel = open.get(&info.session).map(|open| &open.channel);
            SessionStatus {
                node: info.node,
                channel_id: name(info.channel_id),
                since: wall(info.since),
                last_used: wall(info.last_used),
                expires_at: channel.map(|channel| channel.expires_at()),
                round_trip_micros: channel.and_then(|channel| channel.round_trip()).map(micros),
            }
        };
        let sessions = listed.into_iter().map(session).collect();
        drop(open);
        Status {
            sessions,
            handshakes: self.table.handshakes(),
            queued: self.queue.depth(),
            counters: self.counted().clone(),
        }
    }
}

fn name(channel_id: MessageId) -> String {
    channel_id.to_string()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
