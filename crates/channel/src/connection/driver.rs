//! The task that drives one channel.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nautilus_core::{NodeId, UnixMillis};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::{Arrived, INBOX, Parties, TaskClock};
use crate::credential::{Judgement, PresentedEvidence};
use crate::endpoint::{Appraise, Endpoint, Event, Present};
use crate::error::ChannelError;
use crate::message::{Message, MessageId, MessageType, Reason};
use crate::peer::Peer;
use crate::transport::Stream;

/// Most bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Most bytes that the endpoint is given at once: compressed frames become more than they were. What one TLS record holds
/// comes out together all the same, and is bounded by what a frame may expand to for its length.
const PIECE: usize = 1024;
/// While so many bytes wait for the inbox, the endpoint is given no more.
const LADEN: usize = 1024 * 1024;
/// KiB that the inbox holds: more than the longest message has.
const INBOX_KIB: usize = 16 * 1024;
/// While so much waits to be written, nothing more is taken to be sent.
const FULL: usize = 256 * 1024;
/// A buffer that once held much is given back.
const KEPT: usize = 16 * 1024;
/// Questions that somebody waits for at most.
const ASKED: usize = 1_000;
/// Questions without an answer at most, with those that nobody waits for any more: their answers may still come.
const UNANSWERED: usize = 16 * ASKED;
/// Last words have so long to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a handle wants sent.
pub(super) struct Outgoing {
    pub(super) message_type: MessageType,
    pub(super) message_id: MessageId,
    pub(super) payload: Vec<u8>,
    pub(super) answer: bool,
    /// Where the answer goes, to a question.
    pub(super) answered: Option<oneshot::Sender<Message>>,
    pub(super) sent: oneshot::Sender<Result<(), ChannelError>>,
}

/// How a handle wants the channel to end.
pub(super) enum Command {
    Refuse(ChannelError),
    Terminate {
        reason: Reason,
        detail: String,
    },
    Release {
        reason: Reason,
        stream: oneshot::Sender<Box<dyn Stream>>,
    },
}

/// What the handles want. Commands are taken also when there is no room for more to be sent.
pub(super) struct Orders {
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// What an open channel says of itself.
pub(super) struct Opened {
    pub(super) peer: Peer,
    pub(super) node: NodeId,
    pub(super) channel_id: MessageId,
    pub(super) expires_at: UnixMillis,
    pub(super) note: Vec<u8>,
}

/// What was asked of a party, and is being done.
enum Work {
    Present(JoinHandle<Result<PresentedEvidence, String>>),
    Judge(JoinHandle<Judgement>),
}

enum Done {
    Presented(Result<PresentedEvidence, String>),
    Judged(Result<Judgement, ChannelError>),
}

/// The parties' work ends with the connection that it is for.
impl Drop for Work {
    fn drop(&mut self) {
        match self {
            Self::Present(task) => task.abort(),
            Self::Judge(task) => task.abort(),
        }
    }
}

pub(super) struct Driver {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    endpoint: Endpoint,
    clock: TaskClock,
    parties: Parties,
    inbox: mpsc::Sender<Arrived>,
    /// One permit for each KiB that the inbox still holds.
    space: Arc<Semaphore>,
    /// What was read, of which the endpoint has a part.
    input: Vec<u8>,
    fed: usize,
    filled: usize,
    /// What arrived and has no room in the inbox: until it has, nothing is read.
    arrived: VecDeque<Message>,
    asked: HashMap<MessageId, oneshot::Sender<Message>>,
    round_trip: watch::Sender<Option<Duration>>,
    established: Option<oneshot::Sender<Opened>>,
    progressed: Option<Box<dyn FnOnce() + Send>>,
    work: Option<Work>,
    output: Vec<u8>,
    written: usize,
}

/// How the loop ends.
enum End {
    Over(ChannelError),
    Released(oneshot::Sender<Box<dyn Stream>>),
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "each is one end of a handle's channels")]
    pub(super) fn new(
        stream: Box<dyn Stream>,
        endpoint: Endpoint,
        clock: TaskClock,
        parties: Parties,
        inbox: mpsc::Sender<Arrived>,
        round_trip: watch::Sender<Option<Duration>>,
        established: oneshot::Sender<Opened>,
        progressed: Box<dyn FnOnce() + Send>,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            endpoint,
            clock,
            parties,
            inbox,
            space: Arc::new(Semaphore::new(INBOX_KIB)),
            input: vec![0; CHUNK],
            fed: 0,
            filled: 0,
            arrived: VecDeque::new(),
            asked: HashMap::new(),
            round_trip,
            established: Some(established),
            progressed: Some(progressed),
            work: None,
            output: Vec::new(),
            written: 0,
        }
    }

    /// Until the channel ends. Gives why.
    pub(super) async fn run(mut self, mut orders: Orders) -> ChannelError {
        let end = self.drive(&mut orders).await;
        // What is still ordered fails with the channel.
        orders.outgoing.close();
        orders.commands.close();
        match end {
            End::Over(why) => {
                let _left = timeout(LAST_WORDS, self.last_words()).await;
                why
            }
            End::Released(stream) => {
                let whole = self.reader.unsplit(self.writer);
                // Whoever asked for it and is gone does not need it.
                let _received = stream.send(whole);
                ChannelError::Closed
            }
        }
    }

    async fn drive(&mut self, orders: &mut Orders) -> End {
        let (inbox, space) = (self.inbox.clone(), Arc::clone(&self.space));
        loop {
            if let Err(why) = self.feed() {
                // What came before the end counts.
                let _in_time = timeout(LAST_WORDS, self.deliver_last()).await;
                return End::Over(why);
            }
            self.collect();
            let tick = self.endpoint.next_tick().map(|at| self.clock.instant(at));
            let has_room = self.has_room();
            let is_open = self.established.is_none();
            let reads = self.arrived.is_empty();
            let next = self.arrived.front().map_or(0, kib);
            let pending = self.output.get(self.written..).unwrap_or_default();
            let waits_to_write = !pending.is_empty();
            tokio::select! {
                written = self.writer.write(pending), if waits_to_write => match written {
                    Ok(0) => return End::Over(self.endpoint.refuse(ChannelError::Truncated)),
                    Ok(count) => self.written = self.written.saturating_add(count),
                    Err(error) => return End::Over(self.endpoint.refuse(error.into())),
                },
                room = room_for(next, &inbox, &space), if !reads => match room {
                    Some((room, held)) => if let Some(message) = self.arrived.pop_front() {
                        room.send((message, held));
                    },
                    // Nobody takes questions: they are dropped, and whoever asked learns of it by the silence.
                    None => self.arrived.clear(),
                },
                // Also while the peer takes nothing: two ends that both send much would wait for each other.
                read = self.reader.read(&mut self.input), if reads => match read {
                    Ok(0) => return End::Over(self.endpoint.ended()),
                    Ok(count) => (self.fed, self.filled) = (0, count),
                    Err(error) => return End::Over(self.endpoint.refuse(error.into())),
                },
                done = finished(&mut self.work), if self.work.is_some() => {
                    self.work = None;
                    if let Err(why) = self.take_done(done) {
                        return End::Over(why);
                    }
                }
                Some(outgoing) = orders.outgoing.recv(), if has_room && is_open => self.send(outgoing),
                command = orders.commands.recv(), if is_open => {
                    let command = command.unwrap_or_else(|| Command::Terminate {
                        reason: Reason::Done,
                        detail: String::new(),
                    });
                    return self.obey(command, &mut orders.outgoing).await;
                }
                () = sleep_until(tick.unwrap_or_else(tokio::time::Instant::now)), if tick.is_some() => {
                    if let Err(why) = self.endpoint.tick(self.clock.now()) {
                        return End::Over(why);
                    }
                }
            }
        }
    }

    /// Gives the endpoint what was read, as long as there is room for what comes of it.
    fn feed(&mut self) -> Result<(), ChannelError> {
        self.settle()?;
        while !self.is_laden() {
            let end = self.fed.saturating_add(PIECE).min(self.filled);
            let Some(piece @ [_, ..]) = self.input.get(self.fed..end) else {
                break;
            };
            let received = self.endpoint.receive(piece, self.clock.now());
            self.fed = end;
            self.settle()?;
            received?;
            if self.endpoint.has_peer_hello()
                && let Some(progressed) = self.progressed.take()
            {
                progressed();
            }
        }
        Ok(())
    }

    fn is_laden(&self) -> bool {
        let bytes = self
            .arrived
            .iter()
            .fold(0_usize, |sum, message| sum.saturating_add(message.payload.len()));
        self.arrived.len() > INBOX || bytes > LADEN
    }

    /// Does what the endpoint's events ask for.
    fn settle(&mut self) -> Result<(), ChannelError> {
        while let Some(event) = self.endpoint.next_event() {
            match event {
                Event::Present(present) => self.start_presenting(*present),
                Event::Appraise(appraise) => self.start_judging(*appraise),
                Event::Established => self.tell_established()?,
                Event::RoundTrip(round_trip) => {
                    self.round_trip.send_replace(Some(round_trip));
                }
                Event::Message(message) if message.answer => match self.asked.remove(&message.message_id) {
                    // Whoever asked may have given up.
                    Some(asker) => drop(asker.send(message)),
                    None => return Err(self.endpoint.refuse(ChannelError::AnswerUnexpected)),
                },
                Event::Message(message) => self.arrived.push_back(message),
                // The endpoint has ended with it, whether or not the peer closes the stream.
                Event::Terminated(_) => return Err(self.endpoint.ended()),
            }
        }
        Ok(())
    }

    fn tell_established(&mut self) -> Result<(), ChannelError> {
        let Some(peer) = self.endpoint.peer().cloned() else {
            return Err(self.endpoint.ended());
        };
        let (Some(node), Some(channel_id), Some(expires_at)) = (
            self.endpoint.node(),
            self.endpoint.channel_id(),
            self.endpoint.expires_at(),
        ) else {
            return Err(ChannelError::Closed);
        };
        if let Some(established) = self.established.take() {
            let opened = Opened {
                peer,
                node,
                channel_id,
                expires_at,
                note: self.endpoint.note().to_vec(),
            };
            // Who gave up waiting has the driver ended.
            let _received = established.send(opened);
        }
        Ok(())
    }

    fn start_presenting(&mut self, present: Present) {
        let presenter = self.parties.presenter.clone();
        self.work = Some(Work::Present(tokio::spawn(async move {
            match presenter {
                Some(presenter) => presenter.present(present).await,
                None => Err("this end makes no evidence".to_owned()),
            }
        })));
    }

    fn start_judging(&mut self, appraise: Appraise) {
        let appraiser = self.parties.appraiser.clone();
        let now = self.clock.now().wall;
        self.work = Some(Work::Judge(tokio::task::spawn_blocking(
            move || match appraiser {
                Some(appraiser) => appraiser.judge(appraise, now),
                None => Judgement::NotRegistered {
                    kind: "not_accepted".to_owned(),
                    detail: "this end judges no evidence".to_owned(),
                },
            },
        )));
    }

    fn take_done(&mut self, done: Done) -> Result<(), ChannelError> {
        let now = self.clock.now();
        match done {
            Done::Presented(evidence) => self.endpoint.presented(evidence, now),
            Done::Judged(Ok(judgement)) => self.endpoint.judged(judgement, now),
            Done::Judged(Err(why)) => Err(self.endpoint.refuse(why)),
        }
    }

    /// Sends what a handle wants sent.
    fn send(&mut self, outgoing: Outgoing) {
        let Outgoing {
            message_type,
            message_id,
            payload,
            answer,
            answered,
            sent,
        } = outgoing;
        let before = self.asked.get(&message_id).filter(|_| answered.is_some());
        let result = match before {
            Some(asker) if !asker.is_closed() => Err(ChannelError::PayloadInvalid {
                message_type,
                what: "a question with its id waits for its answer already".to_owned(),
            }),
            // The peer has it. Asked again, it would be answered twice, and the second answer be one to nothing.
            Some(_) => Ok(()),
            None if answered.is_some() && self.is_asking_much() => Err(ChannelError::QueueFull(ASKED)),
            None => {
                let now = self.clock.now();
                self.endpoint
                    .send(message_type, message_id, answer, &payload, now)
            }
        };
        if let (Ok(()), Some(answered)) = (&result, answered) {
            self.asked.insert(message_id, answered);
        }
        // Whoever gave up does not want to know.
        let _received = sent.send(result);
    }

    fn is_asking_much(&self) -> bool {
        let waiting = || self.asked.values().filter(|asker| !asker.is_closed()).count();
        self.asked.len() >= UNANSWERED || self.asked.len() >= ASKED && waiting() >= ASKED
    }

    /// Ends the channel as a handle wants it.
    async fn obey(&mut self, command: Command, before: &mut mpsc::Receiver<Outgoing>) -> End {
        let (reason, detail, stream) = match command {
            Command::Refuse(why) => return End::Over(self.endpoint.refuse(why)),
            Command::Terminate { reason, detail } => (reason, detail, None),
            Command::Release { reason, stream } => (reason, String::new(), Some(stream)),
        };
        // What was to be sent before goes before, as far as the peer takes it.
        while self.has_room()
            && let Ok(outgoing) = before.try_recv()
        {
            self.send(outgoing);
            self.collect();
        }
        self.endpoint.terminate(reason, &detail, self.clock.now());
        let Some(stream) = stream else {
            return End::Over(ChannelError::Closed);
        };
        match timeout(LAST_WORDS, self.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return End::Over(error.into()),
            Err(_elapsed) => return End::Over(ChannelError::PeerSilent { after: LAST_WORDS }),
        }
        match timeout(LAST_WORDS, self.drain()).await {
            Ok(Err(error)) => End::Over(error.into()),
            // A peer that does not say that it is done has had its time.
            Ok(Ok(())) | Err(_) => End::Released(stream),
        }
    }

    /// Takes over what the endpoint has to say, as far as there is room: what the peer does not take stays with the
    /// endpoint, which bounds it.
    fn collect(&mut self) {
        let left = self.output.len().saturating_sub(self.written);
        if left == 0 {
            self.written = 0;
            self.output.clear();
            self.output.shrink_to(KEPT);
        } else if self.written > KEPT.max(left) {
            self.output.drain(..self.written);
            self.written = 0;
        }
        while self.has_room() && self.endpoint.wants_write() {
            // A vector takes everything.
            if self.endpoint.write_to(&mut self.output).is_err() {
                break;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.output.len().saturating_sub(self.written) < FULL
    }

    /// Cancel-safe.
    async fn flush(&mut self) -> std::io::Result<()> {
        loop {
            self.collect();
            let pending = self.output.get(self.written..).unwrap_or_default();
            if pending.is_empty() {
                return self.writer.flush().await;
            }
            match self.writer.write(pending).await? {
                0 => return Err(std::io::ErrorKind::WriteZero.into()),
                count => self.written = self.written.saturating_add(count),
            }
        }
    }

    /// Drops what the peer still says, to its last byte, and takes none of what follows.
    async fn drain(&mut self) -> std::io::Result<()> {
        let read = self.input.get(self.fed..self.filled).unwrap_or_default();
        for byte in read {
            if self.endpoint.drain(&[*byte]) {
                return Ok(());
            }
        }
        while !self.endpoint.drain(&[self.reader.read_u8().await?]) {}
        Ok(())
    }

    /// Says the last words, and takes what is still on its way: a connection that is closed with unread bytes is reset,
    /// and the last words are lost with it.
    async fn last_words(&mut self) {
        if self.flush().await.is_err() || self.writer.shutdown().await.is_err() {
            return;
        }
        let mut nowhere = [0; 4096];
        while let Ok(1..) = self.reader.read(&mut nowhere).await {}
    }

    /// What arrived whole before the end is handed on.
    async fn deliver_last(&mut self) {
        while let Some(message) = self.arrived.pop_front() {
            let Some((room, held)) = room_for(kib(&message), &self.inbox, &self.space).await else {
                break;
            };
            room.send((message, held));
        }
    }
}

/// What a message takes of the inbox, in KiB.
fn kib(message: &Message) -> u32 {
    let kib = message.payload.len().div_ceil(1024).max(1);
    u32::try_from(kib).unwrap_or(u32::MAX)
}

/// Waits for room in the inbox; none if nobody takes anything from it any more.
async fn room_for<'a>(
    kib: u32,
    inbox: &'a mpsc::Sender<Arrived>,
    space: &Arc<Semaphore>,
) -> Option<(mpsc::Permit<'a, Arrived>, OwnedSemaphorePermit)> {
    let held = Arc::clone(space).acquire_many_owned(kib).await.ok()?;
    Some((inbox.reserve().await.ok()?, held))
}

async fn finished(work: &mut Option<Work>) -> Done {
    match work {
        Some(Work::Present(task)) => Done::Presented(match task.await {
            Ok(evidence) => evidence,
            Err(error) => Err(format!("making evidence failed: {error}")),
        }),
        Some(Work::Judge(task)) => Done::Judged(
            task.await
                .map_err(|error| ChannelError::NotPresented(format!("judging evidence failed: {error}"))),
        ),
        None => std::future::pending().await,
    }
}
