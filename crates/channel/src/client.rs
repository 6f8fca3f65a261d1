//! Asks a peer through channels that come and go: who asks sees answers, and not that a session broke in between.
//!
//! A question keeps its message id in every session in which it is asked, so that the peer can tell that it is the same.

mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nautilus_core::UnixMillis;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::session::{Open, WatchedClient};
use crate::backoff::Backoff;
use crate::config::Config;
use crate::connection::{AskError, Channel, Parties, TaskClock, Working};
use crate::error::{ChannelError, Fault};
use crate::message::{MessageId, MessageType, Payload, PayloadError, Reason};
use crate::peer::Standing;
use crate::queue::Queue;
use crate::transport::{Address, Stream};

/// Makes connections.
pub trait Dial: Send + Sync {
    /// Makes one within `deadline`.
    ///
    /// # Errors
    /// Why there is none.
    fn dial(&self, deadline: Duration) -> Working<'_, Result<Box<dyn Stream>, ChannelError>>;
}

impl Dial for Address {
    fn dial(&self, deadline: Duration) -> Working<'_, Result<Box<dyn Stream>, ChannelError>> {
        Box::pin(self.connect(deadline))
    }
}

/// How a client comes to its channels, and whom it tells.
#[derive(Clone)]
pub struct Line {
    /// Where the peer is.
    pub dial: Arc<dyn Dial>,
    /// What this end is in each new session.
    pub config: Arc<dyn Fn() -> Config + Send + Sync>,
    /// Who makes and judges evidence.
    pub parties: Parties,
    /// Who is told what happens. Called on the client's tasks, so it is quick.
    pub told: Arc<dyn Fn(ClientEvent) + Send + Sync>,
}

/// What happens to a client's channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A session is open.
    Opened(SessionState),
    /// The session broke, or none opens.
    Broken {
        /// Why.
        why: ChannelError,
        /// What follows.
        again: Again,
    },
}

/// What follows a failure that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It is tried again after this pause.
    After(Duration),
    /// The next question opens another session.
    WithNextQuestion,
}

/// A session at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// Since when it is open.
    pub since: UnixMillis,
    /// Its public name.
    pub channel_id: MessageId,
    /// When it ends at the latest.
    pub expires_at: UnixMillis,
    /// Round-trip time of the last heartbeat; none before there was one.
    pub round_trip: Option<Duration>,
}

/// A client at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientState {
    /// The session; none while there is none.
    pub session: Option<SessionState>,
    /// Sessions that were opened after the first.
    pub reconnects: u64,
    /// What went wrong last, also if it has passed.
    pub last_error: Option<ChannelError>,
    /// Questions that wait for their turn.
    pub queued: usize,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The peer said why not. The session is open.
    #[error("{} ({})", .0.detail, .0.kind)]
    Declined(Fault),
    /// There is no channel, and another try would end alike; or the queue is full.
    #[error(transparent)]
    Channel(ChannelError),
    /// There was no answer in time, in whatever number of sessions.
    #[error("no answer within {} s{}", after.as_secs(), last_try(last.as_ref()))]
    NotInTime {
        /// How long it was waited for.
        after: Duration,
        /// What the last try that failed ended with.
        last: Option<ChannelError>,
    },
    /// The client was closed.
    #[error("client was closed")]
    Closed,
}

impl ClientError {
    /// Whether the same question may have an answer later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Declined(_) | Self::Closed => false,
            Self::Channel(error) => error.may_pass(),
            Self::NotInTime { .. } => true,
        }
    }
}

fn last_try(last: Option<&ChannelError>) -> String {
    last.map_or_else(String::new, |why| format!(": {why}"))
}

/// Asks a peer of standing `P`. It connects when there is something to ask, again when a session broke, and anew before
/// a session ends. Questions are asked in the order in which they were put. Cloning is cheap; when the last clone is
/// dropped, the session ends in order.
pub struct Client<P: Standing> {
    queue: Arc<Queue<()>>,
    shared: Arc<Shared<P>>,
}

impl<P: Standing> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What the jobs of a client have in common.
struct Shared<P: Standing> {
    line: Line,
    clock: TaskClock,
    state: Mutex<State<P>>,
    /// Counts resets: a session of an earlier count is not the one that is wanted.
    resets: watch::Sender<u64>,
}

struct State<P: Standing> {
    session: Option<Open<P>>,
    /// Whether a job is at work: it tells what happens to the session itself.
    at_work: bool,
    opened: u64,
    last_error: Option<ChannelError>,
}

/// A question on its way.
struct Question {
    id: MessageId,
    message_type: MessageType,
    payload: Vec<u8>,
}

/// What a job has to do.
enum Job {
    Connect,
    Ask(Question),
}

/// Why a try came to nothing.
enum Trouble {
    /// Who is at this end has changed: it is tried again at once.
    Reset,
    Asking(AskError),
}

impl<E: Into<AskError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Asking(error.into())
    }
}

/// What the last try that failed ended with, for who stops waiting.
type Last = Arc<Mutex<Option<ChannelError>>>;

/// What came of it: the answer's type and content, to a question.
type Done = Result<Option<(MessageType, Vec<u8>)>, ClientError>;

impl<P: Standing> Client<P> {
    /// A client without a session. Only within a tokio runtime.
    pub fn new(line: Line) -> Self {
        let state = State {
            session: None,
            at_work: false,
            opened: 0,
            last_error: None,
        };
        let (resets, _) = watch::channel(0);
        Self {
            queue: Arc::new(Queue::new()),
            shared: Arc::new(Shared {
                line,
                clock: TaskClock::start(),
                state: Mutex::new(state),
                resets,
            }),
        }
    }

    /// Asks, and waits for the answer for at most `patience`. Given up, the peer may have done it all the same.
    ///
    /// # Errors
    /// See [`ClientError`]. What may pass is tried again while patience lasts, and is no error before.
    pub async fn ask<Q: Payload, A: Payload>(
        &self,
        question: &Q,
        patience: Duration,
    ) -> Result<A, ClientError> {
        let id = MessageId::random()
            .map_err(|error| ClientError::Channel(ChannelError::Io(format!("no randomness: {error}"))))?;
        self.ask_as(id, question, patience).await
    }

    /// As [`Self::ask`], with the message id of a question whose answer did not come in time: to the peer it is the
    /// same.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_as<Q: Payload, A: Payload>(
        &self,
        id: MessageId,
        question: &Q,
        patience: Duration,
    ) -> Result<A, ClientError> {
        let message_type = question.message_type();
        let payload = question.encode().map_err(|error| invalid(message_type, &error))?;
        let question = Question {
            id,
            message_type,
            payload,
        };
        let answer = self.put(Job::Ask(question), patience).await?;
        // Only a connection has none.
        let (message_type, payload) = answer.ok_or(ClientError::Closed)?;
        A::decode(message_type, &payload).map_err(|error| invalid(message_type, &error))
    }

    /// Opens a session, if there is none.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn connect(&self, patience: Duration) -> Result<(), ClientError> {
        self.put(Job::Connect, patience).await.map(drop)
    }

    /// Ends the session: who is at this end has changed. A question that is under way is asked again in a new session.
    pub fn reset(&self) {
        self.shared
            .resets
            .send_modify(|count| *count = count.wrapping_add(1));
        let session = self.shared.lock().session.take();
        drop(session);
    }

    /// How it stands.
    pub fn state(&self) -> ClientState {
        let state = self.shared.lock();
        let open = state.session.as_ref().filter(|open| open.is_open());
        ClientState {
            session: open.map(Open::state),
            reconnects: state.opened.saturating_sub(1),
            last_error: state.last_error.clone(),
            queued: self.queue.depth(),
        }
    }

    /// Takes no more questions, waits for the answers to those that were put until `deadline`, and ends the session, of
    /// which the peer hears within a moment or not at all. Gives how many questions were given up.
    pub async fn close(&self, deadline: Duration) -> usize {
        let given_up = self.queue.drain(deadline).await;
        let session = self.shared.lock().session.take();
        if let Some(open) = session {
            let _ended = timeout(session::PARTING, open.terminate(Reason::ShuttingDown)).await;
        }
        given_up
    }

    async fn put(&self, job: Job, patience: Duration) -> Done {
        let (deadline, last) = (deadline(patience), Last::default());
        let (mut done, result) = oneshot::channel();
        let (shared, client, told) = (
            Arc::clone(&self.shared),
            WatchedClient::of(self),
            Arc::clone(&last),
        );
        let work = async move {
            tokio::select! {
                // Whoever asked has given up.
                () = done.closed() => {}
                result = shared.work(job, &client, deadline, &told) => {
                    let _received = done.send(result);
                }
            }
        };
        let answered = async {
            self.queue.enqueue((), work).await.map_err(|why| match why {
                ChannelError::Closed => ClientError::Closed,
                why => ClientError::Channel(why),
            })?;
            result.await.unwrap_or(Err(ClientError::Closed))
        };
        timeout_at(deadline, answered).await.unwrap_or_else(|_elapsed| {
            Err(ClientError::NotInTime {
                after: patience,
                last: locked(&last).take(),
            })
        })
    }
}

impl<P: Standing> Shared<P> {
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        locked(&self.state)
    }

    fn tell(&self, event: ClientEvent) {
        (self.line.told)(event);
    }

    /// Tries until it is done, or cannot be done. Whoever waits for it ends it.
    async fn work(&self, job: Job, client: &WatchedClient<P>, deadline: Instant, last: &Last) -> Done {
        let _at_work = AtWork::start(self);
        let mut backoff = Backoff::new();
        loop {
            let why = match self.attempt(&job, client, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Reset) => continue,
                Err(Trouble::Asking(AskError::Declined(fault))) => return Err(ClientError::Declined(fault)),
                Err(Trouble::Asking(AskError::Channel(why))) => why,
            };
            self.lock().failed(&why);
            if !why.may_pass() {
                return Err(ClientError::Channel(why));
            }
            let pause = backoff.pause();
            *locked(last) = Some(why.clone());
            let again = Again::After(pause);
            self.tell(ClientEvent::Broken { why, again });
            sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        job: &Job,
        client: &WatchedClient<P>,
        deadline: Instant,
    ) -> Result<Option<(MessageType, Vec<u8>)>, Trouble> {
        let mut resets = self.resets.subscribe();
        let channel = match self.current() {
            Some(channel) => channel,
            None => self.connect(client, deadline).await?,
        };
        let Job::Ask(question) = job else {
            return Ok(None);
        };
        // Whoever asked stops waiting before.
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.saturating_add(session::PARTING);
        let answer = tokio::select! {
            biased;
            _reset = resets.changed() => return Err(Trouble::Reset),
            answer = channel.ask(question.message_type, question.id, question.payload.clone(), left) => answer?,
        };
        Ok(Some((answer.message_type, answer.payload)))
    }

    /// The session, if it is open. One that ended while nobody asked is told of here, if it was not yet.
    fn current(&self) -> Option<Channel<P>> {
        let mut state = self.lock();
        let open = state.session.as_ref()?;
        if open.is_open() {
            return Some(open.channel());
        }
        let ended = state.session.take();
        drop(state);
        if let Some(why) = ended.and_then(|ended| ended.untold_failure()) {
            self.tell_lost(why);
        }
        None
    }

    fn tell_lost(&self, why: ChannelError) {
        self.lock().last_error = Some(why.clone());
        self.tell(ClientEvent::Broken {
            why,
            again: Again::WithNextQuestion,
        });
    }

    /// Opens a session, and puts it in the place of the one there was, which ends in order.
    async fn connect(&self, client: &WatchedClient<P>, deadline: Instant) -> Result<Channel<P>, Trouble> {
        let mut resets = self.resets.subscribe();
        let opened = tokio::select! {
            biased;
            // Evidence of before may be under way.
            _reset = resets.changed() => return Err(Trouble::Reset),
            opened = session::open::<P>(&self.line, self.clock, deadline) => opened?,
        };
        let session = Open::watched(opened, client.clone(), self.clock);
        let (channel, facts) = (session.channel(), session.state());
        let before = {
            let mut state = self.lock();
            state.opened = state.opened.saturating_add(1);
            state.session.replace(session)
        };
        self.tell(ClientEvent::Opened(facts));
        if let Some(before) = before {
            // It may have ended already: who is at the other end keeps one session for each node.
            let _ended = timeout(session::PARTING, before.terminate(Reason::Renew)).await;
        }
        Ok(channel)
    }

    /// Opens another session while this one lasts.
    async fn renew(&self, client: &WatchedClient<P>) -> Result<(), ChannelError> {
        let _at_work = AtWork::start(self);
        let renewal = self.connect(client, deadline(session::RENEWAL));
        let why = match timeout(session::RENEWAL, renewal).await {
            // Whoever comes next opens one.
            Ok(Ok(_) | Err(Trouble::Reset)) => return Ok(()),
            Ok(Err(Trouble::Asking(AskError::Channel(why)))) => why,
            Ok(Err(Trouble::Asking(AskError::Declined(fault)))) => ChannelError::Refused(fault),
            Err(_elapsed) => ChannelError::HandshakeSlow {
                due: "verdict",
                after: session::RENEWAL,
            },
        };
        self.lock().last_error = Some(why.clone());
        Err(why)
    }
}

impl<P: Standing> State<P> {
    /// Notes a failure, and forgets the session if that ended with it.
    fn failed(&mut self, why: &ChannelError) {
        self.last_error = Some(why.clone());
        self.session.take_if(|open| !open.is_open());
    }
}

/// That a job is at work, as long as it is.
struct AtWork<'a, P: Standing>(&'a Shared<P>);

impl<'a, P: Standing> AtWork<'a, P> {
    fn start(shared: &'a Shared<P>) -> Self {
        shared.lock().at_work = true;
        Self(shared)
    }
}

impl<P: Standing> Drop for AtWork<'_, P> {
    fn drop(&mut self) {
        self.0.lock().at_work = false;
        // What ended meanwhile, and was no failure of the job's.
        let _open = self.0.current();
    }
}

/// Nothing that holds a lock here can leave what it guards half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn invalid(message_type: MessageType, error: &PayloadError) -> ClientError {
    ClientError::Channel(ChannelError::PayloadInvalid {
        message_type,
        what: error.to_string(),
    })
}

/// The end of someone's patience; a patience beyond all clocks ends in a century.
fn deadline(patience: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(patience.min(CENTURY)).unwrap_or(now)
}
