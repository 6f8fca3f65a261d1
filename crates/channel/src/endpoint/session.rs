//! An open channel: messages, heartbeats, new traffic keys, the end.

use std::time::Duration;

use nautilus_core::{NodeId, UnixMillis};

use super::{Endpoint, Event, Stage, content, on_one_line};
use crate::error::ChannelError;
use crate::limits::{Limits, Now, millis};
use crate::message::{Message, MessageId, MessageType, Termination};
use crate::peer::Peer;

/// Most heartbeats that are answered while the peer takes nothing: an honest one asks once, and waits.
const MAX_OWED: usize = 64;

/// What an open channel knows.
pub(super) struct Session {
    pub(super) peer: Peer,
    pub(super) node: NodeId,
    pub(super) note: Vec<u8>,
    pub(super) channel_id: MessageId,
    pub(super) expires_at: UnixMillis,
    /// As `expires_at`, on the clock that nobody sets.
    ends_at: Duration,
    rekeyed_at: Duration,
    /// Frames in both directions when the traffic keys were replaced last.
    rekeyed_after: u64,
    /// The heartbeat that is not answered yet.
    asked: Option<Beat>,
}

#[derive(Clone, Copy)]
struct Beat {
    id: MessageId,
    at: Duration,
}

impl Session {
    pub(super) fn open(
        peer: Peer,
        node: NodeId,
        note: Vec<u8>,
        channel_id: MessageId,
        accepted_until: UnixMillis,
        limits: &Limits,
        now: Now,
    ) -> Self {
        let expires_at = accepted_until.min(now.wall.plus(millis(limits.lifetime)));
        let left = Duration::from_millis(expires_at.since(now.wall));
        Self {
            peer,
            node,
            note,
            channel_id,
            expires_at,
            ends_at: now.monotonic.saturating_add(left),
            rekeyed_at: now.monotonic,
            rekeyed_after: 0,
            asked: None,
        }
    }

    pub(super) fn check_life(&self, now: Now) -> Result<(), ChannelError> {
        match now.monotonic >= self.ends_at || now.wall >= self.expires_at {
            true => Err(ChannelError::Expired { at: self.expires_at }),
            false => Ok(()),
        }
    }

    pub(super) fn next_tick(&self, heard_at: Duration, limits: &Limits) -> Duration {
        let beat = match self.asked {
            Some(_) => heard_at.saturating_add(limits.silence),
            None => heard_at.saturating_add(limits.heartbeat),
        };
        beat.min(self.ends_at)
            .min(self.rekeyed_at.saturating_add(limits.rekey_after))
    }
}

impl Endpoint {
    pub(super) fn session_message(&mut self, message: Message, now: Now) -> Result<(), ChannelError> {
        let Stage::Session(session) = &mut self.stage else {
            return Ok(());
        };
        match message.message_type {
            // The handshake is over, and its messages with it.
            MessageType::Handshake if message.message_id == MessageId::CHANNEL => {
                return Err(ChannelError::PayloadInvalid {
                    message_type: message.message_type,
                    what: "the handshake is over".to_owned(),
                });
            }
            MessageType::Heartbeat if message.payload.is_empty() && message.answer => {
                let asked = session.asked.take_if(|beat| beat.id == message.message_id);
                let beat = asked.ok_or(ChannelError::AnswerUnexpected)?;
                let round_trip = now.monotonic.saturating_sub(beat.at);
                self.events.push_back(Event::RoundTrip(round_trip));
            }
            MessageType::Heartbeat if message.payload.is_empty() => {
                // Who asks and does not read the answers would have them pile up here.
                self.owed = self.owed.saturating_add(1);
                if self.owed > MAX_OWED {
                    return Err(ChannelError::AnswersUnread(MAX_OWED));
                }
                self.write(MessageType::Heartbeat, message.message_id, true, &[], now)?;
            }
            MessageType::Termination => {
                let mut termination: Termination = content(&message)?;
                termination.detail = on_one_line(&termination.detail);
                self.events.push_back(Event::Terminated(termination.clone()));
                self.end_with(ChannelError::Terminated(termination));
                return Ok(());
            }
            _ => self.events.push_back(Event::Message(message)),
        }
        self.count_message(now)
    }

    /// Replaces the traffic keys of both directions where it is time.
    pub(super) fn count_message(&mut self, now: Now) -> Result<(), ChannelError> {
        let limits = &self.config.limits;
        let total = self.sent.saturating_add(self.received);
        let Stage::Session(session) = &mut self.stage else {
            return Ok(());
        };
        let many = total.saturating_sub(session.rekeyed_after) >= limits.rekey_messages;
        let long = now.monotonic.saturating_sub(session.rekeyed_at) >= limits.rekey_after;
        if many || long {
            session.rekeyed_after = total;
            session.rekeyed_at = now.monotonic;
            self.tls.refresh_traffic_keys().map_err(crate::tls::named)?;
        }
        Ok(())
    }

    pub(super) fn session_tick(&mut self, now: Now) -> Result<(), ChannelError> {
        let limits = self.config.limits;
        let silent = now.monotonic.saturating_sub(self.heard_at);
        let Stage::Session(session) = &mut self.stage else {
            return Ok(());
        };
        if silent >= limits.silence {
            return Err(ChannelError::PeerSilent {
                after: limits.silence,
            });
        }
        if silent >= limits.heartbeat && session.asked.is_none() {
            // Who could guess it would answer before it was asked, and seem nearer than it is.
            let id = MessageId::random()
                .map_err(|error| ChannelError::Io(format!("no randomness for a heartbeat: {error}")))?;
            session.asked = Some(Beat {
                id,
                at: now.monotonic,
            });
            self.write(MessageType::Heartbeat, id, false, &[], now)?;
        }
        self.count_message(now)
    }
}
