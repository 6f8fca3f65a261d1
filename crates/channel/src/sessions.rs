//! Who may have a session, and who may try to get one (specification §5.A `max_sessions`). No I/O, no clock: time is
//! since some start, given by the caller.
//!
//! # Half-open handshakes
//!
//! A place for a handshake is asked for before anything is read or computed. When all are taken, the oldest handshake
//! that has not shown a whole hello within [`HELLO_GRACE`] gives way to the newcomer.
//!
//! - An attacker who only opens connections and stays silent, be it 10,000 of them, holds no place for longer than that
//!   once others come. To shut the door it has to open [`HANDSHAKES`] new connections each second, and go on doing so;
//!   then an honest peer gets in when it happens to come where a place has just run out.
//! - An attacker who wants to keep its places has to complete TLS, with a fresh key exchange and a signature, and to
//!   send a whole hello for each of them. After that it keeps the place until the handshake's own deadline for evidence
//!   cuts it. This table does not see where connections come from, so it cannot tell such an attacker from many honest
//!   peers: who serves the open network limits the connections of each source in front of it.
//! - An honest peer pays only while all places are taken: if its hello takes longer than [`HELLO_GRACE`], it may be cut,
//!   and comes again after a pause. One that is past its hello is never cut.

mod cut;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nautilus_core::NodeId;

use self::cut::Signal;
use crate::error::ChannelError;
use crate::message::{MessageId, Reason};

pub use self::cut::Cut;

/// Most sessions at once (specification §5.A).
pub const SESSIONS: usize = 100;
/// Most handshakes under way at once, beside the sessions.
pub const HANDSHAKES: usize = 32;
/// A session that was used within this time gives way to none.
pub const IDLE: Duration = Duration::from_secs(60);
/// A handshake that is younger than this gives way to none.
pub const HELLO_GRACE: Duration = Duration::from_secs(1);

/// The sessions and the handshakes of one server. Clones are the same table.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    table: Arc<Mutex<Table>>,
}

/// Names one session of a table; none of the same table ever has it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// What is told of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Which.
    pub session: SessionId,
    /// Whose.
    pub node: NodeId,
    /// As both ends call it.
    pub channel_id: MessageId,
    /// Since when it is open.
    pub since: Duration,
    /// When it was last used.
    pub last_used: Duration,
}

/// A session that was let in.
#[derive(Debug)]
#[must_use = "who gave way has to be ended, and dropping the place closes the session"]
pub struct Opened {
    /// Its place.
    pub place: SessionPlace,
    /// Whose place it took, and why: the caller ends that channel with that reason. The table has forgotten it already.
    pub evicted: Option<(SessionId, Reason)>,
}

/// A session's place. Dropping it closes the session, however its owner ends.
#[derive(Debug)]
#[must_use = "dropping the place closes the session"]
pub struct SessionPlace {
    sessions: Sessions,
    session: SessionId,
}

/// A place for one handshake. Dropping it frees the place, however its owner ends.
#[derive(Debug)]
#[must_use = "dropping the ticket frees its place"]
pub struct HandshakeTicket {
    sessions: Sessions,
    number: u64,
    signal: Arc<Signal>,
}

impl Sessions {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a place for a handshake, before any work is done for it. It may cost an older handshake its place (see
    /// [`HandshakeTicket::cut`]), never a session. Who comes is not known yet: a node that would replace its own session
    /// has to wait like any other when all sessions are in use.
    ///
    /// # Errors
    /// [`ChannelError::SessionsFull`] if all sessions are in use and none could give way, and
    /// [`ChannelError::HandshakesFull`] if there are as many handshakes as there may be and none has to give way.
    pub fn admit(&self, now: Duration) -> Result<HandshakeTicket, ChannelError> {
        let mut table = self.lock();
        if table.sessions.len() >= SESSIONS && table.idlest(now).is_none() {
            return Err(ChannelError::SessionsFull(SESSIONS));
        }
        let gives_way = if table.handshakes.len() < HANDSHAKES {
            None
        } else {
            let slowest = table
                .slowest(now)
                .ok_or(ChannelError::HandshakesFull(HANDSHAKES))?;
            table.handshakes.remove(&slowest)
        };
        let number = table.number();
        let signal = Arc::new(Signal::default());
        let handshake = Handshake {
            since: now,
            progressed: false,
            signal: Arc::clone(&signal),
        };
        table.handshakes.insert(number, handshake);
        // Whom it wakes may look at the table.
        drop(table);
        if let Some(handshake) = gives_way {
            handshake.signal.cut();
        }
        Ok(HandshakeTicket {
            sessions: self.clone(),
            number,
            signal,
        })
    }

    /// Makes a handshake whose appraisal has passed a session. The same node's older session is replaced. When all
    /// places are taken, the session that was idle longest gives way if that is more than [`IDLE`].
    ///
    /// # Errors
    /// [`ChannelError::HandshakesFull`] if the ticket was cut, and [`ChannelError::SessionsFull`] if no session can give
    /// way. The handshake's place is free afterwards in any case.
    pub fn open(
        &self,
        ticket: HandshakeTicket,
        node: NodeId,
        channel_id: MessageId,
        now: Duration,
    ) -> Result<Opened, ChannelError> {
        let mut table = self.lock();
        // Of another table, or cut.
        let ours = Arc::ptr_eq(&self.table, &ticket.sessions.table);
        if !ours || table.handshakes.remove(&ticket.number).is_none() {
            drop(table);
            return Err(ChannelError::HandshakesFull(HANDSHAKES));
        }
        let older = table
            .sessions
            .iter()
            .find_map(|(session, held)| (held.node == node).then_some(*session));
        let evicted = match older {
            Some(older) => Some((older, Reason::Replaced)),
            None if table.sessions.len() < SESSIONS => None,
            None => match table.idlest(now) {
                Some(idlest) => Some((idlest, Reason::Evicted)),
                None => {
                    drop(table);
                    return Err(ChannelError::SessionsFull(SESSIONS));
                }
            },
        };
        if let Some((evicted, _)) = evicted {
            table.sessions.remove(&evicted);
        }
        let session = SessionId(table.number());
        let held = Session {
            node,
            channel_id,
            since: now,
            last_used: now,
        };
        table.sessions.insert(session, held);
        // The ticket locks the table when it goes.
        drop(table);
        Ok(Opened {
            place: SessionPlace {
                sessions: self.clone(),
                session,
            },
            evicted,
        })
    }

    /// Notes that a session is used. Gives whether it still has its place.
    pub fn used(&self, session: SessionId, now: Duration) -> bool {
        match self.lock().sessions.get_mut(&session) {
            Some(held) => {
                held.last_used = held.last_used.max(now);
                true
            }
            None => false,
        }
    }

    /// Frees a session's place. One that has none any more stays without.
    pub fn close(&self, session: SessionId) {
        self.lock().sessions.remove(&session);
    }

    /// The sessions, oldest first.
    pub fn list(&self) -> Vec<SessionInfo> {
        let info = |(session, held): (&SessionId, &Session)| SessionInfo {
            session: *session,
            node: held.node,
            channel_id: held.channel_id,
            since: held.since,
            last_used: held.last_used,
        };
        self.lock().sessions.iter().map(info).collect()
    }

    /// How many handshakes are under way.
    pub fn handshakes(&self) -> usize {
        self.lock().handshakes.len()
    }

    /// Nothing panics while the table is locked, and it is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionPlace {
    /// The session's name.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Notes that the session is used. Gives whether it still has its place.
    pub fn used(&self, now: Duration) -> bool {
        self.sessions.used(self.session, now)
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.sessions.close(self.session);
    }
}

impl HandshakeTicket {
    /// Notes that the peer's whole hello has come: from now on the handshake gives way to none.
    pub fn progressed(&self) {
        if let Some(handshake) = self.sessions.lock().handshakes.get_mut(&self.number) {
            handshake.progressed = true;
        }
    }

    /// Whether the place was given to a newcomer. The handshake has to end then, and nothing can be opened with it.
    pub fn is_cut(&self) -> bool {
        self.signal.is_cut()
    }

    /// Ends when the place is given to a newcomer. Who serves the handshake waits for it beside everything else, so that
    /// connections go with their places.
    pub fn cut(&self) -> Cut {
        Cut::of(Arc::clone(&self.signal))
    }
}

impl Drop for HandshakeTicket {
    fn drop(&mut self) {
        self.sessions.lock().handshakes.remove(&self.number);
    }
}

#[derive(Debug, Default)]
struct Table {
    last_number: u64,
    handshakes: BTreeMap<u64, Handshake>,
    sessions: BTreeMap<SessionId, Session>,
}

#[derive(Debug)]
struct Handshake {
    since: Duration,
    progressed: bool,
    signal: Arc<Signal>,
}

#[derive(Debug)]
struct Session {
    node: NodeId,
    channel_id: MessageId,
    since: Duration,
    last_used: Duration,
}

impl Table {
    /// 2^64 of them are not counted to.
    fn number(&mut self) -> u64 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    /// The session that was idle longest, if that is long enough to give way.
    fn idlest(&self, now: Duration) -> Option<SessionId> {
        self.sessions
            .iter()
            .filter(|(_, held)| now.saturating_sub(held.last_used) > IDLE)
            .min_by_key(|(session, held)| (held.last_used, **session))
            .map(|(session, _)| *session)
    }

    /// The oldest handshake without a whole hello, if it is old enough to give way.
    fn slowest(&self, now: Duration) -> Option<u64> {
        self.handshakes
            .iter()
            .filter(|(_, held)| !held.progressed && now.saturating_sub(held.since) > HELLO_GRACE)
            .min_by_key(|(number, held)| (held.since, **number))
            .map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests;
