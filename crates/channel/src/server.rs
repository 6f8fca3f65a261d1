//! Serving channels: who is let in, what is done with what they ask, and how it all ends.
//!
//! A connection costs nothing before the table of [`Sessions`] has a place for its handshake. What an open session asks
//! goes through one [`Queue`], with the session as its lane, to the [`Handler`]; answers leave in the order of their
//! questions. A peer that takes no answers holds a worker of the queue for a second, once: then its session ends.

mod counters;
mod cuttable;
mod session;
mod status;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::config::Config;
use crate::connection::{Channel, Incoming, Parties, TaskClock, Working, open_watched};
use crate::endpoint::Endpoint;
use crate::error::{ChannelError, Fault};
use crate::message::{Message, MessageType, Reason};
use crate::peer::Attested;
use crate::queue::Queue;
use crate::sessions::{HandshakeTicket, SessionId, SessionPlace, Sessions};
use crate::transport::{Listener, Origin, Stream};

use self::cuttable::{Cuttable, Cutter};

pub use self::counters::Counters;
pub use self::status::{SessionStatus, Status};

/// KiB of questions of all sessions that wait or are worked on.
const SPACE_KIB: usize = 64 * 1024;
/// How long the work that is under way at the end may take.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the sessions may take to end after that.
const FAREWELL: Duration = Duration::from_secs(3);

/// Does what peers ask.
pub trait Handler: Send + Sync + 'static {
    /// Does it, and gives the answer: its type and content, or why there is none. Questions of one session come one after
    /// the other. A question may come again, in another session of the same node, with the same message id. Dropped
    /// before it is done when the server stops, or when it takes longer than a minute.
    fn handle(
        &self,
        channel: &Channel<Attested>,
        message: Message,
    ) -> Working<'_, Result<(MessageType, Vec<u8>), Fault>>;
}

/// Serves channels to peers that present evidence.
pub struct Server {
    listener: Listener,
    config: Box<dyn Fn(&Origin) -> Config + Send + Sync>,
    parties: Parties,
    handler: Arc<dyn Handler>,
    clock: TaskClock,
    table: Sessions,
    queue: Queue<SessionId>,
    /// One permit for each KiB of questions that may still wait or be worked on.
    space: Arc<Semaphore>,
    open: Mutex<HashMap<SessionId, Open>>,
    counters: Mutex<Counters>,
}

/// What reaches an open session from outside of its task.
struct Open {
    channel: Channel<Attested>,
    end: oneshot::Sender<Reason>,
}

impl Server {
    /// A server that waits for peers at `listener`. `config` says what this end is to a peer of that origin. Only within
    /// a tokio runtime.
    pub fn new(
        listener: Listener,
        config: impl Fn(&Origin) -> Config + Send + Sync + 'static,
        parties: Parties,
        handler: Arc<dyn Handler>,
    ) -> Arc<Self> {
        Arc::new(Self {
            listener,
            config: Box::new(config),
            parties,
            handler,
            clock: TaskClock::start(),
            table: Sessions::new(),
            queue: Queue::for_many(),
            space: Arc::new(Semaphore::new(SPACE_KIB)),
            open: Mutex::default(),
            counters: Mutex::default(),
        })
    }

    /// Where it listens.
    pub const fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Serves until `stop`. Then nobody more is let in, what was asked is done within ten seconds, and every session is
    /// ended in order. Serves once: a server that has stopped takes no questions.
    pub async fn run(self: &Arc<Self>, stop: impl Future<Output = ()>) {
        let mut sessions = JoinSet::new();
        let mut handshakes = JoinSet::new();
        self.accept_until(stop, &mut handshakes, &mut sessions).await;
        // Whoever has not passed its appraisal has asked nothing.
        handshakes.shutdown().await;
        self.queue.drain(DRAIN).await;
        let open = std::mem::take(&mut *self.lock());
        for (_, open) in open {
            // One that ends by itself does not listen any more.
            let _listens = open.end.send(Reason::ShuttingDown);
        }
        let ended = async { while sessions.join_next().await.is_some() {} };
        // What is left goes with the set.
        let _all = timeout(FAREWELL, ended).await;
    }

    async fn accept_until(
        self: &Arc<Self>,
        stop: impl Future<Output = ()>,
        handshakes: &mut JoinSet<Option<Established>>,
        sessions: &mut JoinSet<()>,
    ) {
        let mut stop = pin!(stop);
        let mut backoff = Backoff::new();
        // Nobody is accepted before; who is there goes on.
        let mut resume_at: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                Some(_) = sessions.join_next() => {}
                Some(done) = handshakes.join_next() => if let Ok(Some(established)) = done {
                    sessions.spawn(session::run(Arc::clone(self), established));
                },
                () = sleep_until(resume_at.unwrap_or_else(Instant::now)), if resume_at.is_some() => resume_at = None,
                accepted = self.listener.accept(), if resume_at.is_none() => match accepted {
                    Ok((stream, origin)) => {
                        backoff = Backoff::new();
                        self.count(|counters| &mut counters.accepted);
                        // Without a place the connection is closed at once, before any work.
                        match self.table.admit(self.clock.now().monotonic) {
                            Ok(ticket) => drop(handshakes.spawn(Arc::clone(self).handshake(stream, origin, ticket))),
                            Err(why) => self.count_refused(&why),
                        }
                    }
                    Err(_) => {
                        self.count(|counters| &mut counters.accept_errors);
                        // Without file descriptors the next try fails as well, and at once.
                        resume_at = Instant::now().checked_add(backoff.pause());
                    }
                },
            }
        }
    }

    /// Does a handshake as far as a session that has its place; none if there is no such.
    async fn handshake(
        self: Arc<Self>,
        stream: Box<dyn Stream>,
        origin: Origin,
        ticket: HandshakeTicket,
    ) -> Option<Established> {
        let cut = ticket.cut();
        let ticket = Arc::new(ticket);
        let progressing = Arc::clone(&ticket);
        let (stream, cutter) = Cuttable::new(stream);
        let opened = async {
            let endpoint = Endpoint::responder((self.config)(&origin), self.clock.now())?;
            let progressed = move || progressing.progressed();
            open_watched::<Attested>(
                Box::new(stream),
                endpoint,
                self.clock,
                self.parties.clone(),
                progressed,
            )
            .await
        };
        let opened = tokio::select! {
            biased;
            () = cut => {
                self.count(|counters| &mut counters.gave_way);
                return None;
            }
            opened = opened => opened,
        };
        let (channel, incoming) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.count_failed(&why);
                return None;
            }
        };
        match self.admit(ticket, channel.clone()) {
            Ok((place, end)) => {
                self.count(|counters| &mut counters.opened);
                Some(Established {
                    channel,
                    cutter,
                    incoming,
                    place,
                    end,
                })
            }
            Err(why) => {
                self.count_refused(&why);
                channel.refuse(why).await;
                None
            }
        }
    }

    /// Gives a channel its place, and ends the session that gives way to it.
    fn admit(
        &self,
        ticket: Arc<HandshakeTicket>,
        channel: Channel<Attested>,
    ) -> Result<(SessionPlace, oneshot::Receiver<Reason>), ChannelError> {
        // The handshake is over, and with it who noted its progress.
        let ticket = Arc::into_inner(ticket).ok_or(ChannelError::Closed)?;
        let now = self.clock.now().monotonic;
        let (end, ends) = oneshot::channel();
        // Both at once: whom the table names has to be found here.
        let mut open = self.lock();
        let opened = self
            .table
            .open(ticket, channel.node(), channel.channel_id(), now)?;
        let gives_way = opened
            .evicted
            .and_then(|(session, reason)| Some((open.remove(&session)?, reason)));
        open.insert(opened.place.session(), Open { channel, end });
        drop(open);
        if let Some((older, reason)) = gives_way {
            // One that ends by itself does not listen any more.
            let _listens = older.end.send(reason);
        }
        Ok((opened.place, ends))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that has its place.
struct Established {
    channel: Channel<Attested>,
    cutter: Cutter,
    incoming: Incoming,
    place: SessionPlace,
    end: oneshot::Receiver<Reason>,
}
