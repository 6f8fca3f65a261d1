//! One end of a channel, without I/O: TLS, the handshake after it, frames, and the session's bounds.
//!
//! A driver feeds it with what arrives ([`Endpoint::receive`]) and with time ([`Endpoint::tick`]), sends what it has to
//! say ([`Endpoint::write_to`]), and does what its events ask for. After an error the endpoint has its last words to
//! send and takes nothing more.

mod handshake;
mod session;

use std::collections::VecDeque;
use std::io::{self, BufRead as _, IoSlice, Read, Write as _};
use std::time::Duration;

use nautilus_core::{ChallengeTerms, End, NodeId, SessionBinding};
use rustls::Connection;

use self::handshake::Handshake;
use self::session::Session;
use crate::compression;
use crate::config::{Config, Demand};
use crate::credential::{MAX_CREDENTIAL, MAX_HELLO, MAX_VERDICT, PresentedEvidence};
use crate::error::{ChannelError, Fault};
use crate::frame::{FrameReader, HEADER, encode_header};
use crate::limits::Now;
use crate::message::{Message, MessageId, MessageType, Reason, Termination, decode_bcs, encode_bcs};
use crate::peer::Peer;
use crate::tls::{self, TlsKeys};

/// Most bytes of a fault's name.
const MAX_KIND: usize = 64;

/// Frames up to here go to TLS in one piece: copying them costs less than a list of pieces.
const SHORT: usize = 2048;

/// What a driver has to do, or to know.
#[derive(Debug)]
pub enum Event {
    /// Make evidence for this session, and give it with [`Endpoint::presented`].
    Present(Box<Present>),
    /// Judge the peer's evidence, and say how with [`Endpoint::judged`].
    Appraise(Box<Appraise>),
    /// The channel is open: [`Endpoint::peer`] says to whom.
    Established,
    /// Something arrived.
    Message(Message),
    /// The peer answered a heartbeat.
    RoundTrip(Duration),
    /// The peer ended the session in order.
    Terminated(Termination),
}

/// What evidence has to be made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The challenge that it answers, as the peer set it.
    pub terms: ChallengeTerms,
    /// The session that it binds.
    pub session: SessionBinding,
}

/// What has to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraise {
    /// The peer's evidence.
    pub presented: PresentedEvidence,
    /// The challenge that it has to answer.
    pub terms: ChallengeTerms,
    /// The session that it has to bind.
    pub session: SessionBinding,
}

enum Stage {
    /// TLS, hellos, credentials, verdicts.
    Handshake(Box<Handshake>),
    /// Open.
    Session(Box<Session>),
    /// Over. The reason stays.
    Ended(ChannelError),
}

/// One end of a channel.
pub struct Endpoint {
    tls: Connection,
    keys: TlsKeys,
    end: End,
    config: Config,
    reader: FrameReader,
    events: VecDeque<Event>,
    /// Number of the last frame in each direction.
    sent: u64,
    received: u64,
    heard_at: Duration,
    /// Heartbeats that were answered since everything was sent.
    owed: usize,
    /// The last moment that the driver told of.
    clock: Now,
    stage: Stage,
}

impl Endpoint {
    /// The end that connects.
    ///
    /// # Errors
    /// If the system has no randomness, or the configuration would open a channel without any evidence.
    pub fn initiator(config: Config, now: Now) -> Result<Self, ChannelError> {
        Self::new(End::Initiator, config, now)
    }

    /// The end that was connected to.
    ///
    /// # Errors
    /// As [`Self::initiator`].
    pub fn responder(config: Config, now: Now) -> Result<Self, ChannelError> {
        Self::new(End::Responder, config, now)
    }

    fn new(end: End, config: Config, now: Now) -> Result<Self, ChannelError> {
        let keys = TlsKeys::generate()?;
        let mut tls = keys.connection(end)?;
        // Bounded by the frames that are written: one at a time.
        tls.set_buffer_limit(None);
        let handshake = Handshake::start(end, &config, now)?;
        Ok(Self {
            tls,
            keys,
            end,
            config,
            reader: FrameReader::default(),
            events: VecDeque::new(),
            sent: 0,
            received: 0,
            heard_at: now.monotonic,
            owed: 0,
            clock: now,
            stage: Stage::Handshake(Box::new(handshake)),
        })
    }

    /// Takes all of `bytes`, which arrived.
    ///
    /// # Errors
    /// What ends the channel.
    pub fn receive(&mut self, bytes: &[u8], now: Now) -> Result<(), ChannelError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.read_from(&mut rest, now)?;
        }
        Ok(())
    }

    /// Reads once from `source`, and takes what it gave. Gives how many bytes that were; none at its end, of which the
    /// driver has to tell with [`Self::ended`].
    ///
    /// # Errors
    /// What ends the channel.
    pub fn read_from(&mut self, source: &mut dyn Read, now: Now) -> Result<usize, ChannelError> {
        if let Stage::Ended(why) = &self.stage {
            return Err(why.clone());
        }
        if let Err(error) = self.check_time(now) {
            return Err(self.fail(error));
        }
        let read = match self.tls.read_tls(source) {
            Ok(read) => read,
            // Its deframer is full: what arrived is one record that does not end.
            Err(error) if error.kind() == io::ErrorKind::Other => {
                return Err(self.fail(ChannelError::RecordOversized));
            }
            Err(error) => return Err(self.fail(error.into())),
        };
        if read == 0 {
            return Ok(0);
        }
        match self.take(now) {
            Ok(()) => Ok(read),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The stream ended.
    ///
    /// # Errors
    /// Always: what that means.
    pub fn ended(&mut self) -> ChannelError {
        match &self.stage {
            Stage::Ended(why) => why.clone(),
            _ => self.end_with(ChannelError::Truncated),
        }
    }

    fn take(&mut self, now: Now) -> Result<(), ChannelError> {
        let was_handshaking = self.tls.is_handshaking();
        let state = self.tls.process_new_packets().map_err(tls::named)?;
        // A part of a record is not authentic yet: somebody on the way may drip it to hide that the peer is gone.
        if state.plaintext_bytes_to_read() > 0 {
            self.heard_at = now.monotonic;
        }
        self.clock = now;
        if was_handshaking && !self.tls.is_handshaking() {
            self.tls_is_done(now)?;
        }
        // One chunk at a time: what came before a fault counts.
        loop {
            let mut reader = self.tls.reader();
            let chunk = match reader.fill_buf() {
                Ok([]) => break,
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            let mut rest = chunk;
            let stage = &self.stage;
            let frame = self
                .reader
                .push(&mut rest, |message_type| limit(stage, message_type));
            let taken = chunk.len().saturating_sub(rest.len());
            reader.consume(taken);
            let frame = frame.map_err(|error| misplaced(&self.stage, error))?;
            if let Some(frame) = frame {
                self.check_sequence(frame.sequence_num)?;
                self.message(frame.into_message()?, now)?;
            }
        }
        if state.peer_has_closed() {
            return match &self.stage {
                Stage::Ended(why) => Err(why.clone()),
                _ => Err(ChannelError::Truncated),
            };
        }
        Ok(())
    }

    /// What is over is over, also where the driver did not tick.
    fn check_time(&mut self, now: Now) -> Result<(), ChannelError> {
        self.clock = now;
        match &self.stage {
            Stage::Handshake(handshake) => {
                handshake.check_deadline(self.tls.is_handshaking(), &self.config.limits, now)
            }
            Stage::Session(session) => session.check_life(now),
            Stage::Ended(why) => Err(why.clone()),
        }
    }

    fn check_sequence(&mut self, found: u64) -> Result<(), ChannelError> {
        let expected = self.received.saturating_add(1);
        if found < expected {
            return Err(ChannelError::SequenceRepeated { expected, found });
        }
        if found > expected {
            return Err(ChannelError::SequenceGap { expected, found });
        }
        self.received = found;
        Ok(())
    }

    fn message(&mut self, message: Message, now: Now) -> Result<(), ChannelError> {
        if message.message_type == MessageType::Error && !message.answer {
            let fault = fault_of(&message)?;
            return Err(self.refused(fault));
        }
        match &mut self.stage {
            Stage::Handshake(_) => self.handshake_message(&message, now),
            Stage::Session(_) => self.session_message(message, now),
            // What follows a termination is nobody's.
            Stage::Ended(_) => Ok(()),
        }
    }

    /// What a fault is worth: until the peer has shown what is demanded of it, anybody on the way could have sent it. A
    /// child needs the kernel's word alone.
    fn refused(&self, fault: Fault) -> ChannelError {
        let is_stranger = match (&self.stage, self.config.demands) {
            (_, Demand::Nothing | Demand::Evidence { child: Some(_), .. }) => false,
            (Stage::Handshake(handshake), _) => !handshake.knows_peer(),
            (Stage::Session(_) | Stage::Ended(_), _) => false,
        };
        if !is_stranger {
            return ChannelError::Refused(fault);
        }
        ChannelError::RefusedByStranger(Fault {
            note: Vec::new(),
            ..fault
        })
    }

    /// Whether the peer's hello has come.
    pub fn has_peer_hello(&self) -> bool {
        match &self.stage {
            Stage::Handshake(handshake) => !handshake.awaits_hello(),
            Stage::Session(_) | Stage::Ended(_) => true,
        }
    }

    /// Takes what the peer still says after this end's termination, and drops it. Gives whether that was the last: what
    /// follows on the stream is of another session. The bytes are to be given one at a time, so that none of those is
    /// taken.
    pub fn drain(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.tls.read_tls(&mut rest) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return false,
            }
            let Ok(state) = self.tls.process_new_packets() else {
                return false;
            };
            let mut reader = self.tls.reader();
            while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
                let length = chunk.len();
                reader.consume(length);
            }
            if state.peer_has_closed() {
                return true;
            }
        }
        false
    }

    /// What the driver has to do or to know next.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is something to send.
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Writes once to `sink`. Gives how many bytes it took.
    ///
    /// # Errors
    /// What `sink` says.
    pub fn write_to(&mut self, sink: &mut dyn io::Write) -> io::Result<usize> {
        let written = self.tls.write_tls(sink)?;
        if !self.tls.wants_write() {
            self.owed = 0;
        }
        Ok(written)
    }

    /// Whom the channel is open to; none before that, and after its end.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.stage {
            Stage::Session(session) => Some(&session.peer),
            Stage::Handshake(_) | Stage::Ended(_) => None,
        }
    }

    /// The node that the session is about; none before the channel is open.
    pub fn node(&self) -> Option<NodeId> {
        match &self.stage {
            Stage::Session(session) => Some(session.node),
            Stage::Handshake(_) | Stage::Ended(_) => None,
        }
    }

    /// What the peer's verdict added; empty before the channel is open.
    pub fn note(&self) -> &[u8] {
        match &self.stage {
            Stage::Session(session) => &session.note,
            Stage::Handshake(_) | Stage::Ended(_) => &[],
        }
    }

    /// 16 bytes that name the session to both ends and to nobody else (specification §5.A `channel_id`).
    pub fn channel_id(&self) -> Option<MessageId> {
        match &self.stage {
            Stage::Session(session) => Some(session.channel_id),
            Stage::Handshake(_) | Stage::Ended(_) => None,
        }
    }

    /// When the session ends at the latest; none before the channel is open.
    pub fn expires_at(&self) -> Option<nautilus_core::UnixMillis> {
        match &self.stage {
            Stage::Session(session) => Some(session.expires_at),
            Stage::Handshake(_) | Stage::Ended(_) => None,
        }
    }

    /// Sends a message of the application's.
    ///
    /// # Errors
    /// If the channel is not open or over its time, or the message is longer than its type may be; in the last case
    /// nothing is sent, and the channel goes on.
    pub fn send(
        &mut self,
        message_type: MessageType,
        message_id: MessageId,
        answer: bool,
        payload: &[u8],
        now: Now,
    ) -> Result<(), ChannelError> {
        match &self.stage {
            Stage::Session(_) => {}
            Stage::Handshake(_) => {
                return Err(ChannelError::NoEvidence {
                    due: "verdict",
                    found: "a message of our own".to_owned(),
                });
            }
            Stage::Ended(why) => return Err(why.clone()),
        }
        if let Err(error) = self.check_time(now) {
            return Err(self.fail(error));
        }
        let of_channel = match message_type {
            MessageType::Termination => true,
            MessageType::Handshake => message_id == MessageId::CHANNEL,
            MessageType::Heartbeat => payload.is_empty(),
            MessageType::Error => !answer,
            _ => false,
        };
        if of_channel {
            return Err(ChannelError::PayloadInvalid {
                message_type,
                what: "it belongs to the channel itself".to_owned(),
            });
        }
        if payload.len() > message_type.limit() {
            return Err(ChannelError::PayloadTooLong {
                message_type,
                length: payload.len() as u64,
                limit: message_type.limit(),
            });
        }
        self.write(message_type, message_id, answer, payload, now)?;
        self.count_message(now)
    }

    /// Ends the session in order. What was sent before still arrives.
    pub fn terminate(&mut self, reason: Reason, detail: &str, now: Now) {
        if matches!(self.stage, Stage::Session(_)) {
            let termination = Termination {
                reason,
                detail: detail.to_owned(),
            };
            // The session ends here whether or not the peer is told.
            if let Ok(payload) = encode_bcs(&termination) {
                let _told = self.write(MessageType::Termination, MessageId::CHANNEL, false, &payload, now);
            }
        }
        if !matches!(self.stage, Stage::Ended(_)) {
            self.end_with(ChannelError::Closed);
        }
    }

    /// Does what is due by now.
    ///
    /// # Errors
    /// If the peer is too slow, silent, or the session over.
    pub fn tick(&mut self, now: Now) -> Result<(), ChannelError> {
        let result = self.check_time(now).and_then(|()| self.session_tick(now));
        result.map_err(|error| self.fail(error))
    }

    /// When [`Self::tick`] has something to do, on the monotonic clock; none when nothing is due any more.
    pub fn next_tick(&self) -> Option<Duration> {
        let limits = &self.config.limits;
        match &self.stage {
            Stage::Handshake(handshake) => Some(handshake.deadline(limits)),
            Stage::Session(session) => Some(session.next_tick(self.heard_at, limits)),
            Stage::Ended(_) => None,
        }
    }

    /// Ends the channel for a reason of the driver's, and tells the peer.
    pub fn refuse(&mut self, why: ChannelError) -> ChannelError {
        self.fail(why)
    }

    /// Gives up: tells the peer why, once, and nothing more is taken.
    fn fail(&mut self, error: ChannelError) -> ChannelError {
        if let Stage::Ended(why) = &self.stage {
            return why.clone();
        }
        // Who was told by the peer has nothing to tell; a broken TLS can tell nothing but its alert.
        let tellable = !matches!(
            error,
            ChannelError::Refused(_) | ChannelError::RefusedByStranger(_) | ChannelError::Truncated
        ) && !self.tls.is_handshaking();
        if tellable && let Ok(payload) = encode_bcs(&error.fault().bounded()) {
            let now = self.clock;
            let _told = self.write(MessageType::Error, MessageId::CHANNEL, false, &payload, now);
        }
        self.end_with(error)
    }

    fn end_with(&mut self, error: ChannelError) -> ChannelError {
        self.tls.send_close_notify();
        self.stage = Stage::Ended(error.clone());
        error
    }

    fn write(
        &mut self,
        message_type: MessageType,
        message_id: MessageId,
        answer: bool,
        payload: &[u8],
        now: Now,
    ) -> Result<(), ChannelError> {
        let compressed = match message_type.may_compress() && payload.len() > compression::THRESHOLD {
            true => compression::compress(payload),
            false => None,
        };
        let (body, raw_len) = match &compressed {
            Some(compressed) => (compressed.as_slice(), Some(payload.len())),
            None => (payload, None),
        };
        let sequence_num = self.sent.saturating_add(1);
        let header = encode_header(
            message_type,
            message_id,
            answer,
            sequence_num,
            now.wall,
            body.len(),
            raw_len,
        )?;
        let length = header.len().saturating_add(body.len());
        let mut short = [0; SHORT];
        let mut writer = self.tls.writer();
        let written = match short.get_mut(..length).map(|whole| whole.split_at_mut(HEADER)) {
            Some((front, back)) => {
                front.copy_from_slice(&header);
                back.copy_from_slice(body);
                writer.write(short.get(..length).unwrap_or_default())?
            }
            None => writer.write_vectored(&[IoSlice::new(&header), IoSlice::new(body)])?,
        };
        // Without a limit TLS takes all of it.
        if written != length {
            return Err(ChannelError::Io("TLS took a part of a frame".to_owned()));
        }
        self.sent = sequence_num;
        Ok(())
    }
}

/// What a payload may have now. Before the channel is open: what the handshake has, and no more.
fn limit(stage: &Stage, message_type: MessageType) -> usize {
    match (stage, message_type) {
        (Stage::Handshake(handshake), MessageType::Handshake) if handshake.awaits_hello() => MAX_HELLO,
        (Stage::Handshake(_), MessageType::Handshake) => MAX_VERDICT,
        (Stage::Handshake(handshake), MessageType::Attestation) if !handshake.awaits_hello() => {
            MAX_CREDENTIAL
        }
        (Stage::Handshake(_), MessageType::Error) => MAX_VERDICT,
        // Refused for its type, once it is there.
        (Stage::Handshake(_), _) => 0,
        (Stage::Session(_) | Stage::Ended(_), message_type) => message_type.limit(),
    }
}

/// What is no frame where a hello is due is no evidence: somebody speaks another protocol.
fn misplaced(stage: &Stage, error: ChannelError) -> ChannelError {
    match stage {
        Stage::Handshake(handshake) => ChannelError::NoEvidence {
            due: handshake.due(),
            found: format!("something else ({error})"),
        },
        Stage::Session(_) | Stage::Ended(_) => error,
    }
}

/// The fault that a message holds, fit for logs.
pub(crate) fn fault_of(message: &Message) -> Result<Fault, ChannelError> {
    let mut fault: Fault = content(message)?;
    if fault.kind.len() > MAX_KIND || !fault.kind.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ChannelError::PayloadInvalid {
            message_type: message.message_type,
            what: "the fault's name is none".to_owned(),
        });
    }
    fault.detail = on_one_line(&fault.detail);
    Ok(fault)
}

/// Text of the peer's that goes into logs and onto terminals: it starts no line there and steers nothing.
pub(crate) fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn content<T: serde::de::DeserializeOwned>(message: &Message) -> Result<T, ChannelError> {
    decode_bcs(&message.payload).map_err(|error| ChannelError::PayloadInvalid {
        message_type: message.message_type,
        what: error.to_string(),
    })
}
