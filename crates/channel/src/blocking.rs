//! A channel over a blocking stream and one thread: what the enclave needs.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nautilus_core::UnixMillis;

use crate::credential::{Judgement, PresentedEvidence};
use crate::endpoint::{Appraise, Endpoint, Event, Present};
use crate::error::{ChannelError, Fault};
use crate::limits::Now;
use crate::message::{Message, MessageId, MessageType, Payload, Reason, Termination, encode_bcs};
use crate::peer::Standing;

/// A stream whose reads give up after this time lets the channel see to its bounds meanwhile.
pub const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// What the handshake asks this end for.
pub trait Party {
    /// Makes evidence for a session. Blocks.
    ///
    /// # Errors
    /// In words for the peer, if there is none.
    fn present(&mut self, present: &Present) -> Result<PresentedEvidence, String>;

    /// Judges the peer's evidence. Blocks.
    fn judge(&mut self, appraise: Appraise, now: UnixMillis) -> Judgement;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The moment. A wall clock before 1970 counts as 1970: everything has expired then.
    pub fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: self.0.elapsed(),
            wall: UnixMillis(crate::limits::millis(wall)),
        }
    }
}

/// An open channel over `S`, whose peer is of standing `P`.
pub struct BlockingChannel<S, P> {
    stream: S,
    endpoint: Endpoint,
    clock: Clock,
    standing: P,
}

/// What came next.
#[derive(Debug)]
pub enum Next {
    /// A message.
    Message(Message),
    /// The peer ended the session in order.
    Terminated(Termination),
}

/// Does the handshake of `endpoint` over `stream`, whose reads may time out ([`READ_TIMEOUT`]).
///
/// # Errors
/// Why no channel opens. The peer was told.
pub fn open<S: Read + Write, P: Standing>(
    stream: S,
    endpoint: Endpoint,
    clock: Clock,
    party: &mut dyn Party,
) -> Result<BlockingChannel<S, P>, ChannelError> {
    let mut driver = Driver {
        stream,
        endpoint,
        clock,
    };
    loop {
        driver.flush()?;
        match driver.endpoint.next_event() {
            None => driver.wait()?,
            Some(Event::Present(present)) => {
                let evidence = party.present(&present);
                let result = driver.endpoint.presented(evidence, clock.now());
                driver.said(result)?;
            }
            Some(Event::Appraise(appraise)) => {
                let now = clock.now();
                let judgement = party.judge(*appraise, now.wall);
                let result = driver.endpoint.judged(judgement, clock.now());
                driver.said(result)?;
            }
            Some(Event::Established) => {
                let peer = driver.endpoint.peer().cloned().ok_or(ChannelError::Closed)?;
                let standing = P::of(peer).map_err(|error| driver.refuse(error))?;
                return Ok(BlockingChannel {
                    stream: driver.stream,
                    endpoint: driver.endpoint,
                    clock,
                    standing,
                });
            }
            Some(Event::Terminated(termination)) => return Err(ChannelError::Terminated(termination)),
            Some(Event::Message(_) | Event::RoundTrip(_)) => {}
        }
    }
}

struct Driver<S> {
    stream: S,
    endpoint: Endpoint,
    clock: Clock,
}

impl<S: Read + Write> Driver<S> {
    fn flush(&mut self) -> Result<(), ChannelError> {
        flush(&mut self.stream, &mut self.endpoint)
    }

    fn wait(&mut self) -> Result<(), ChannelError> {
        wait(&mut self.stream, &mut self.endpoint, self.clock)
    }

    fn said(&mut self, result: Result<(), ChannelError>) -> Result<(), ChannelError> {
        result.inspect_err(|_| {
            // Its last words; the error is what counts.
            let _told = self.flush();
        })
    }

    fn refuse(&mut self, error: ChannelError) -> ChannelError {
        let error = self.endpoint.refuse(error);
        let _told = self.flush();
        error
    }
}

fn flush<S: Write>(stream: &mut S, endpoint: &mut Endpoint) -> Result<(), ChannelError> {
    while endpoint.wants_write() {
        endpoint.write_to(stream)?;
    }
    Ok(stream.flush()?)
}

/// Reads once, or sees to what is due.
fn wait<S: Read + Write>(stream: &mut S, endpoint: &mut Endpoint, clock: Clock) -> Result<(), ChannelError> {
    // Read here and not by TLS, to which a read that gave up would be the end of the stream.
    let mut buffer = [0; CHUNK];
    let result = match stream.read(&mut buffer) {
        Ok(0) => Err(endpoint.ended()),
        Ok(count) => endpoint.receive(buffer.get(..count).unwrap_or_default(), clock.now()),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
            ) =>
        {
            endpoint.tick(clock.now())
        }
        Err(error) => Err(endpoint.refuse(error.into())),
    };
    result.inspect_err(|_| {
        let _told = flush(stream, endpoint);
    })
}

impl<S: Read + Write, P: Standing> BlockingChannel<S, P> {
    /// Who is at the other end.
    pub const fn standing(&self) -> &P {
        &self.standing
    }

    /// The channel without I/O, for what it knows.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// What ended the channel.
    pub fn wait(&mut self) -> Result<Next, ChannelError> {
        loop {
            match self.endpoint.next_event() {
                Some(Event::Message(message)) => return Ok(Next::Message(message)),
                Some(Event::Terminated(termination)) => return Ok(Next::Terminated(termination)),
                Some(_) => {}
                None => {
                    flush(&mut self.stream, &mut self.endpoint)?;
                    match wait(&mut self.stream, &mut self.endpoint, self.clock) {
                        // The event tells it.
                        Ok(()) | Err(ChannelError::Terminated(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Answers `question`.
    ///
    /// # Errors
    /// What ended the channel, or that the answer is too long, which leaves it open.
    pub fn answer(&mut self, question: MessageId, answer: &impl Payload) -> Result<(), ChannelError> {
        let message_type = answer.message_type();
        let payload = answer.encode().map_err(|error| ChannelError::PayloadInvalid {
            message_type,
            what: error.to_string(),
        })?;
        self.endpoint
            .send(message_type, question, true, &payload, self.clock.now())?;
        flush(&mut self.stream, &mut self.endpoint)
    }

    /// Says why `question` is not answered.
    ///
    /// # Errors
    /// What ended the channel.
    pub fn decline(&mut self, question: MessageId, fault: &Fault) -> Result<(), ChannelError> {
        let payload = encode_bcs(fault).map_err(|error| ChannelError::Io(error.to_string()))?;
        self.endpoint
            .send(MessageType::Error, question, true, &payload, self.clock.now())?;
        flush(&mut self.stream, &mut self.endpoint)
    }

    /// Asks, and gives the message's id; the answer comes with [`Self::wait`].
    ///
    /// # Errors
    /// What ended the channel, or that the question is too long, which leaves it open.
    pub fn ask(&mut self, question: &impl Payload) -> Result<MessageId, ChannelError> {
        let message_type = question.message_type();
        let payload = question.encode().map_err(|error| ChannelError::PayloadInvalid {
            message_type,
            what: error.to_string(),
        })?;
        let id = MessageId::random().map_err(|error| ChannelError::Io(error.to_string()))?;
        self.endpoint
            .send(message_type, id, false, &payload, self.clock.now())?;
        flush(&mut self.stream, &mut self.endpoint)?;
        Ok(id)
    }

    /// Ends the session in order, and gives the stream back: where another session is to follow on it, after the peer's
    /// last word.
    pub fn terminate(mut self, reason: Reason, detail: &str) -> S {
        self.endpoint.terminate(reason, detail, self.clock.now());
        // Whoever is gone needs no word.
        let _told = flush(&mut self.stream, &mut self.endpoint);
        if reason == Reason::Renew {
            self.drain();
        }
        self.stream
    }

    /// One byte at a time, so that nothing of the session that follows is taken.
    fn drain(&mut self) {
        for _ in 0..CHUNK {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) if !self.endpoint.drain(&byte) => {}
                _ => return,
            }
        }
    }

    /// The stream of a session that the peer ended, after this end's last word: another session may follow on it.
    pub fn into_stream(self) -> S {
        self.stream
    }
}
