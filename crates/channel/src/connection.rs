//! A channel over an asynchronous stream: one task drives it, handles ask and answer.

mod driver;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nautilus_core::{NodeId, UnixMillis};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;

use self::driver::{Command, Driver, Orders, Outgoing};
use crate::credential::{Judgement, PresentedEvidence};
use crate::endpoint::{Appraise, Endpoint, Present, fault_of};
use crate::error::{ChannelError, Fault};
use crate::limits::Now;
use crate::message::{Message, MessageId, MessageType, Payload, Reason, encode_bcs};
use crate::peer::Standing;
use crate::transport::Stream;

/// Messages that wait for this end to take them; more stay in the connection.
const INBOX: usize = 16;
/// Messages that wait to be sent.
const OUTBOX: usize = 16;

/// What a trait object gives that takes its time.
pub type Working<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes evidence for sessions.
pub trait Presenter: Send + Sync {
    /// Makes evidence for one.
    ///
    /// # Errors
    /// In words for the peer, if there is none.
    fn present(&self, present: Present) -> Working<'_, Result<PresentedEvidence, String>>;
}

/// Judges the evidence of peers.
pub trait Appraiser: Send + Sync {
    /// Judges it. Blocks; it is called on a thread that may.
    fn judge(&self, appraise: Appraise, now: UnixMillis) -> Judgement;
}

/// Who does what the handshake asks for. Who is asked and is not there has the handshake refused.
#[derive(Clone, Default)]
pub struct Parties {
    /// Makes evidence.
    pub presenter: Option<Arc<dyn Presenter>>,
    /// Judges evidence.
    pub appraiser: Option<Arc<dyn Appraiser>>,
}

/// The machine's clocks, as tasks see them.
#[derive(Clone, Copy, Debug)]
pub struct TaskClock(Instant);

impl TaskClock {
    /// Starts counting.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The moment.
    pub fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: self.0.elapsed(),
            wall: UnixMillis(crate::limits::millis(wall)),
        }
    }

    fn instant(self, monotonic: Duration) -> Instant {
        self.0.checked_add(monotonic).unwrap_or(self.0)
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The channel ended, or the question cannot be sent.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The peer said why not. The channel is open.
    #[error("{} ({})", .0.detail, .0.kind)]
    Declined(Fault),
}

/// What both ends know of an open session.
#[derive(Clone, Debug)]
struct Facts {
    node: NodeId,
    channel_id: MessageId,
    expires_at: UnixMillis,
    note: Arc<[u8]>,
}

/// An open channel to a peer of standing `P`. It cannot be made but by a handshake that ended well:
///
/// ```compile_fail,E0277
/// # use nautilus_channel::{Attested, Channel};
/// fn forge<T>(other: Channel<nautilus_channel::Unidentified>) -> Channel<Attested> {
///     other.into()
/// }
/// ```
///
/// Cloning is cheap. When the last clone is dropped, the session ends in order.
pub struct Channel<P> {
    outgoing: mpsc::Sender<Outgoing>,
    commands: mpsc::Sender<Command>,
    ended: watch::Receiver<Option<ChannelError>>,
    round_trip: watch::Receiver<Option<Duration>>,
    facts: Facts,
    standing: Arc<P>,
}

impl<P> Clone for Channel<P> {
    fn clone(&self) -> Self {
        Self {
            outgoing: self.outgoing.clone(),
            commands: self.commands.clone(),
            ended: self.ended.clone(),
            round_trip: self.round_trip.clone(),
            facts: self.facts.clone(),
            standing: Arc::clone(&self.standing),
        }
    }
}

/// A message, and the room that it takes until it is taken.
type Arrived = (Message, OwnedSemaphorePermit);

/// What the peer asks, in order.
pub struct Incoming {
    messages: mpsc::Receiver<Arrived>,
}

impl Incoming {
    /// The next message; none when the channel has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await.map(|(message, _room)| message)
    }
}

/// Does the handshake of `endpoint` over `stream`. Given up, the connection is cut.
///
/// # Errors
/// Why no channel opens. The peer was told.
pub async fn open<P: Standing>(
    stream: Box<dyn Stream>,
    endpoint: Endpoint,
    clock: TaskClock,
    parties: Parties,
) -> Result<(Channel<P>, Incoming), ChannelError> {
    open_watched(stream, endpoint, clock, parties, || {}).await
}

/// As [`open`]; calls `progressed` once the peer's hello is there.
///
/// # Errors
/// As [`open`].
pub async fn open_watched<P: Standing>(
    stream: Box<dyn Stream>,
    endpoint: Endpoint,
    clock: TaskClock,
    parties: Parties,
    progressed: impl FnOnce() + Send + 'static,
) -> Result<(Channel<P>, Incoming), ChannelError> {
    let (outgoing, to_send) = mpsc::channel(OUTBOX);
    let (commands, ends) = mpsc::channel(1);
    let orders = Orders {
        outgoing: to_send,
        commands: ends,
    };
    let (inbox, messages) = mpsc::channel(INBOX);
    let (ended_sender, ended) = watch::channel(None);
    let (round_trip_sender, round_trip) = watch::channel(None);
    let (established, opened) = oneshot::channel();
    let driver = Driver::new(
        stream,
        endpoint,
        clock,
        parties,
        inbox,
        round_trip_sender,
        established,
        Box::new(progressed),
    );
    let task = tokio::spawn(async move {
        let why = driver.run(orders).await;
        ended_sender.send_replace(Some(why));
    });
    // Who gives up waiting gives up the connection.
    let mut guard = AbortOnDrop(Some(task));
    let mut failed = ended.clone();
    let opened = tokio::select! {
        biased;
        opened = opened => opened.ok(),
        _ = failed.wait_for(Option::is_some) => None,
    };
    let Some(opened) = opened else {
        // The driver ends with a reason.
        let why = failed
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|why| why.clone());
        return Err(why.unwrap_or(ChannelError::Closed));
    };
    guard.0 = None;
    let facts = Facts {
        node: opened.node,
        channel_id: opened.channel_id,
        expires_at: opened.expires_at,
        note: opened.note.into(),
    };
    match P::of(opened.peer) {
        Ok(standing) => {
            let channel = Channel {
                outgoing,
                commands,
                ended,
                round_trip,
                facts,
                standing: Arc::new(standing),
            };
            Ok((channel, Incoming { messages }))
        }
        Err(error) => {
            // The driver tells the peer, if that is still there.
            let _told = commands.send(Command::Refuse(error.clone())).await;
            Err(error)
        }
    }
}

impl<P: Standing> Channel<P> {
    /// Who is at the other end.
    pub fn standing(&self) -> &P {
        &self.standing
    }
}

impl<P> Channel<P> {
    /// The node that the session is about.
    pub const fn node(&self) -> NodeId {
        self.facts.node
    }

    /// The session's public name, the same at both ends.
    pub const fn channel_id(&self) -> MessageId {
        self.facts.channel_id
    }

    /// When the session ends at the latest.
    pub const fn expires_at(&self) -> UnixMillis {
        self.facts.expires_at
    }

    /// What the peer's verdict added.
    pub fn note(&self) -> &[u8] {
        &self.facts.note
    }

    /// Round-trip time of the last heartbeat; none before there was one.
    pub fn round_trip(&self) -> Option<Duration> {
        *self.round_trip.borrow()
    }

    /// Why the channel ended; none while it is open.
    pub fn failure(&self) -> Option<ChannelError> {
        self.ended.borrow().clone()
    }

    /// Waits until the channel has ended. Gives why.
    pub async fn ended(&self) -> ChannelError {
        let mut ended = self.ended.clone();
        let why = ended.wait_for(Option::is_some).await;
        why.ok()
            .and_then(|why| why.clone())
            .unwrap_or(ChannelError::Closed)
    }

    /// Asks, and waits for the answer for at most `patience`. Given up, the peer may have done it all the same.
    ///
    /// # Errors
    /// If the channel ends, no answer comes in time, or the peer declines.
    pub async fn ask(
        &self,
        message_type: MessageType,
        message_id: MessageId,
        payload: Vec<u8>,
        patience: Duration,
    ) -> Result<Message, AskError> {
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            let (sent, was_sent) = oneshot::channel();
            self.send(Outgoing {
                message_type,
                message_id,
                payload,
                answer: false,
                answered: Some(answer),
                sent,
            })
            .await?;
            match was_sent.await {
                Ok(result) => result?,
                Err(_) => return Err(self.ended().await),
            }
            match answered.await {
                Ok(message) => Ok(message),
                Err(_) => Err(self.ended().await),
            }
        };
        let message = match tokio::time::timeout(patience, exchange).await {
            Ok(message) => message?,
            Err(_) => return Err(ChannelError::NoAnswer { after: patience }.into()),
        };
        if message.message_type != MessageType::Error {
            return Ok(message);
        }
        Err(AskError::Declined(fault_of(&message)?))
    }

    /// As [`Self::ask`], for content that knows its type.
    ///
    /// # Errors
    /// As [`Self::ask`]; and if the answer is none.
    pub async fn request<Q: Payload, A: Payload>(
        &self,
        message_id: MessageId,
        question: &Q,
        patience: Duration,
    ) -> Result<A, AskError> {
        let message_type = question.message_type();
        let invalid = |message_type, error: crate::message::PayloadError| ChannelError::PayloadInvalid {
            message_type,
            what: error.to_string(),
        };
        let payload = question.encode().map_err(|error| invalid(message_type, error))?;
        let message = self.ask(message_type, message_id, payload, patience).await?;
        A::decode(message.message_type, &message.payload)
            .map_err(|error| invalid(message.message_type, error).into())
    }

    /// Answers a question of the peer's. Waits until it is on its way.
    ///
    /// # Errors
    /// What ended the channel, or that the answer is too long, which leaves it open.
    pub async fn answer(
        &self,
        question: MessageId,
        message_type: MessageType,
        payload: Vec<u8>,
    ) -> Result<(), ChannelError> {
        let (sent, was_sent) = oneshot::channel();
        self.send(Outgoing {
            message_type,
            message_id: question,
            payload,
            answer: true,
            answered: None,
            sent,
        })
        .await?;
        match was_sent.await {
            Ok(result) => result,
            Err(_) => Err(self.ended().await),
        }
    }

    /// Says why a question of the peer's is not answered.
    ///
    /// # Errors
    /// What ended the channel.
    pub async fn decline(&self, question: MessageId, fault: &Fault) -> Result<(), ChannelError> {
        let payload = encode_bcs(fault).map_err(|error| ChannelError::Io(error.to_string()))?;
        self.answer(question, MessageType::Error, payload).await
    }

    /// Ends the channel for a reason, which the peer is told.
    pub async fn refuse(&self, why: ChannelError) {
        // Whoever is gone needs no word.
        let _told = self.commands.send(Command::Refuse(why)).await;
        self.ended().await;
    }

    /// Ends the session in order. What was sent before still arrives.
    pub async fn terminate(&self, reason: Reason, detail: &str) {
        let detail = detail.to_owned();
        // Whoever is gone needs no word.
        let _told = self.commands.send(Command::Terminate { reason, detail }).await;
        self.ended().await;
    }

    /// Ends the session in order and gives the stream back, so that another session may follow on it. Only between
    /// questions: what the peer has on its way is lost.
    ///
    /// # Errors
    /// What ended the channel before.
    pub async fn release(&self, reason: Reason) -> Result<Box<dyn Stream>, ChannelError> {
        let (stream, released) = oneshot::channel();
        self.command(Command::Release { reason, stream }).await?;
        match released.await {
            Ok(stream) => Ok(stream),
            Err(_) => Err(self.ended().await),
        }
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), ChannelError> {
        match self.outgoing.send(outgoing).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended().await),
        }
    }

    async fn command(&self, command: Command) -> Result<(), ChannelError> {
        match self.commands.send(command).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ended().await),
        }
    }
}

struct AbortOnDrop(Option<tokio::task::JoinHandle<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
