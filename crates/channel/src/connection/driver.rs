//! The task that drives one channel.

use std::collections::HashMap;
use std::time::Duration;

use nautilus_core::{NodeId, UnixMillis};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::{Parties, TaskClock};
use crate::credential::{Judgement, PresentedEvidence};
use crate::endpoint::{Appraise, Endpoint, Event, Present};
use crate::error::ChannelError;
use crate::message::{Message, MessageId, MessageType, Reason};
use crate::peer::Peer;
use crate::transport::Stream;

/// Most bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// While so much waits to be written, nothing more is taken to be sent.
const FULL: usize = 256 * 1024;
/// A buffer that once held much is given back.
const KEPT: usize = 16 * 1024;
/// Questions that wait for answers at most.
const ASKED: usize = 1_000;
/// Last words have so long to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What handles want of the driver.
pub(super) enum Command {
    Send {
        message_type: MessageType,
        message_id: MessageId,
        payload: Vec<u8>,
        answer: bool,
        /// Where the answer goes, to a question.
        answered: Option<oneshot::Sender<Message>>,
        sent: oneshot::Sender<Result<(), ChannelError>>,
    },
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
    inbox: mpsc::Sender<Message>,
    /// What arrived and has no room in the inbox: until it has, nothing is read.
    arrived: std::collections::VecDeque<Message>,
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
        inbox: mpsc::Sender<Message>,
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
            arrived: std::collections::VecDeque::new(),
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
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Command>) -> ChannelError {
        let end = self.drive(&mut orders).await;
        // What is still ordered fails with the channel.
        orders.close();
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

    async fn drive(&mut self, orders: &mut mpsc::Receiver<Command>) -> End {
        let mut buffer = vec![0; CHUNK];
        let inbox = self.inbox.clone();
        loop {
            if let Err(why) = self.settle() {
                return End::Over(why);
            }
            self.collect();
            let tick = self.endpoint.next_tick().map(|at| self.clock.instant(at));
            let pending = self.output.get(self.written..).unwrap_or_default();
            let (waits_to_write, waits_to_deliver) = (!pending.is_empty(), !self.arrived.is_empty());
            let has_room = pending.len() < FULL;
            tokio::select! {
                written = self.writer.write(pending), if waits_to_write => match written {
                    Ok(0) => return End::Over(self.endpoint.refuse(ChannelError::Truncated)),
                    Ok(count) => self.written = self.written.saturating_add(count),
                    Err(error) => return End::Over(self.endpoint.refuse(error.into())),
                },
                room = inbox.reserve(), if waits_to_deliver => match room {
                    Ok(room) => if let Some(message) = self.arrived.pop_front() {
                        room.send(message);
                    },
                    // Nobody takes questions: they are dropped, and whoever asked learns of it by the silence.
                    Err(_) => self.arrived.clear(),
                },
                read = self.reader.read(&mut buffer), if !waits_to_deliver => {
                    let result = match read {
                        Ok(0) => Err(self.endpoint.ended()),
                        Ok(count) => self.endpoint.receive(buffer.get(..count).unwrap_or_default(), self.clock.now()),
                        Err(error) => Err(self.endpoint.refuse(error.into())),
                    };
                    if let Err(why) = result {
                        // What came before the fault counts.
                        let _events = self.settle();
                        self.deliver_last();
                        return End::Over(why);
                    }
                }
                done = finished(&mut self.work), if self.work.is_some() => {
                    self.work = None;
                    if let Err(why) = self.take_done(done) {
                        return End::Over(why);
                    }
                }
                order = orders.recv(), if has_room && self.established.is_none() => match order {
                    None => {
                        self.endpoint.terminate(Reason::Done, "", self.clock.now());
                        return End::Over(ChannelError::Closed);
                    }
                    Some(command) => if let Some(end) = self.obey(command).await {
                        return end;
                    },
                },
                () = sleep_until(tick.unwrap_or_else(tokio::time::Instant::now)), if tick.is_some() => {
                    if let Err(why) = self.endpoint.tick(self.clock.now()) {
                        return End::Over(why);
                    }
                }
            }
        }
    }

    /// Does what the endpoint's events ask for.
    fn settle(&mut self) -> Result<(), ChannelError> {
        while let Some(event) = self.endpoint.next_event() {
            if let Some(progressed) = self.progressed.take_if(|_| !matches!(event, Event::RoundTrip(_))) {
                progressed();
            }
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
                // The endpoint has ended with it, and says so.
                Event::Terminated(_) => {}
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

    /// Does what a handle wants; gives the end, if it is that.
    async fn obey(&mut self, command: Command) -> Option<End> {
        let now = self.clock.now();
        match command {
            Command::Send {
                message_type,
                message_id,
                payload,
                answer,
                answered,
                sent,
            } => {
                let result = if answered.is_some() && self.asked.len() >= ASKED {
                    Err(ChannelError::QueueFull(ASKED))
                } else if answered.is_some() && self.asked.contains_key(&message_id) {
                    Err(ChannelError::PayloadInvalid {
                        message_type,
                        what: "a question with its id waits for its answer already".to_owned(),
                    })
                } else {
                    self.endpoint
                        .send(message_type, message_id, answer, &payload, now)
                };
                if let (Ok(()), Some(answered)) = (&result, answered) {
                    self.asked.insert(message_id, answered);
                }
                // Whoever gave up does not want to know.
                let _received = sent.send(result);
                None
            }
            Command::Refuse(why) => Some(End::Over(self.endpoint.refuse(why))),
            Command::Terminate { reason, detail } => {
                self.endpoint.terminate(reason, &detail, now);
                Some(End::Over(ChannelError::Closed))
            }
            Command::Release { reason, stream } => {
                self.endpoint.terminate(reason, "", now);
                match self.flush().await {
                    Ok(()) => Some(End::Released(stream)),
                    Err(error) => Some(End::Over(error.into())),
                }
            }
        }
    }

    /// Takes over what the endpoint has to say.
    fn collect(&mut self) {
        if self.written >= self.output.len() {
            self.written = 0;
            self.output.clear();
            self.output.shrink_to(KEPT);
        }
        while self.endpoint.wants_write() {
            // A vector takes everything.
            if self.endpoint.write_to(&mut self.output).is_err() {
                break;
            }
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        self.collect();
        let pending = self.output.get(self.written..).unwrap_or_default();
        self.writer.write_all(pending).await?;
        self.written = self.output.len();
        self.writer.flush().await
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

    /// What arrived whole before the end is handed on as far as there is room.
    fn deliver_last(&mut self) {
        while let Some(message) = self.arrived.pop_front() {
            if self.inbox.try_send(message).is_err() {
                break;
            }
        }
    }
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
