//! What a server counts.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use serde::Serialize;

use super::Server;
use crate::error::ChannelError;

/// How often what happened, since the server started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections that came.
    pub accepted: u64,
    /// Times that the system could not give a connection.
    pub accept_errors: u64,
    /// Connections and sessions for which there was no place, by the error's name.
    pub refused: BTreeMap<String, u64>,
    /// Handshakes that gave their place to a newcomer, for they had shown nothing for too long.
    pub gave_way: u64,
    /// Handshakes that failed, by the error's name; `refused_by_peer` where the peer gave up.
    pub handshakes_failed: BTreeMap<String, u64>,
    /// Sessions that were opened.
    pub opened: u64,
    /// Sessions that ended, by the error's name; `refused_by_peer` where the peer gave up.
    pub ended: BTreeMap<String, u64>,
    /// Questions that were answered.
    pub answered: u64,
    /// Questions that were declined.
    pub declined: u64,
}

impl Server {
    pub(super) fn count(&self, which: impl FnOnce(&mut Counters) -> &mut u64) {
        let mut counters = self.counted();
        let count = which(&mut counters);
        *count = count.saturating_add(1);
    }

    pub(super) fn count_refused(&self, why: &ChannelError) {
        self.count(|counters| counters.refused.entry(name(why)).or_default());
    }

    pub(super) fn count_failed(&self, why: &ChannelError) {
        self.count(|counters| counters.handshakes_failed.entry(name(why)).or_default());
    }

    pub(super) fn count_ended(&self, why: &ChannelError) {
        self.count(|counters| counters.ended.entry(name(why)).or_default());
    }

    pub(super) fn counted(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error's name. A peer's own words are none: it could make up any number of them.
fn name(why: &ChannelError) -> String {
    match why {
        ChannelError::Refused(_) => "refused_by_peer".to_owned(),
        why => why.kind().to_owned(),
    }
}
