//! One open session: its questions go into the queue, its answers come out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::cuttable::Cutter;
use super::{Established, Server};
use crate::connection::Channel;
use crate::error::{ChannelError, Fault};
use crate::message::{Message, MessageId, MessageType};
use crate::peer::Attested;
use crate::queue::{ENQUEUE, QUEUE};
use crate::sessions::SessionId;

/// Answers that wait for the peer to take them.
const ANSWERS: usize = 16;
/// How long one more may wait for room. A session whose peer takes none in this time ends, and so holds a worker for no
/// longer than this, once.
const DEAF_AFTER: Duration = Duration::from_secs(1);
/// How long the work for one question may take.
const HANDLING: Duration = Duration::from_secs(60);
/// How long a peer may take to hear that its session ends, and before that what it was still to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// KiB of questions of one session that wait or are worked on.
const LANE_KIB: usize = 16 * 1024;

/// What is said to a question.
struct Said {
    question: MessageId,
    content: Result<(MessageType, Vec<u8>), Fault>,
}

/// How answers reach the peer.
struct Line {
    channel: Channel<Attested>,
    /// None after the last.
    answers: mpsc::Sender<Option<Said>>,
    cutter: Cutter,
    /// One permit for each KiB that the session may still ask.
    space: Arc<Semaphore>,
    /// The peer asks and does not listen.
    deaf: AtomicBool,
}

/// Serves a session until it ends.
pub(super) async fn run(server: Arc<Server>, established: Established) {
    let Established {
        channel,
        cutter,
        mut incoming,
        place,
        mut end,
    } = established;
    let (answers, to_send) = mpsc::channel(ANSWERS);
    let mut writer = AbortOnDrop(tokio::spawn(send(channel.clone(), to_send)));
    let line = Arc::new(Line {
        channel,
        answers,
        cutter,
        space: Arc::new(Semaphore::new(LANE_KIB)),
        deaf: AtomicBool::new(false),
    });
    let lane = place.session();
    let reason = loop {
        tokio::select! {
            biased;
            reason = &mut end => break reason.ok(),
            message = incoming.next() => match message {
                // Whoever has no place any more is about to be told.
                Some(_) if !place.used(server.clock.now().monotonic) => {}
                Some(message) => server.take(lane, &line, message).await,
                None => break None,
            },
        }
    };
    if let Some(reason) = reason {
        if line.answers.try_send(None).is_ok() {
            // What is left does not leave.
            let _done = timeout(LAST_WORDS, &mut writer.0).await;
        }
        let _told = timeout(LAST_WORDS, line.channel.terminate(reason, "")).await;
        line.cutter.cut();
    }
    let why = match line.channel.ended().await {
        _ if line.deaf.load(Ordering::Relaxed) => ChannelError::QueueFull(ANSWERS),
        why => why,
    };
    server.queue.remove(&lane);
    server.lock().remove(&lane);
    server.count_ended(&why);
}

impl Server {
    /// Puts a question in its lane.
    async fn take(self: &Arc<Self>, lane: SessionId, line: &Arc<Line>, message: Message) {
        let question = message.message_id;
        let Err(why) = self.enqueue(lane, line, message).await else {
            return;
        };
        let fault = match why {
            ChannelError::Closed => Fault {
                kind: "shutting_down".to_owned(),
                detail: "this end stops: ask again in a new session".to_owned(),
                note: Vec::new(),
            },
            why => why.fault(),
        };
        self.say(line, question, Err(fault)).await;
    }

    /// Few long questions fill the memory as well as many short ones: each takes room of its session's and the server's
    /// until it is done.
    async fn enqueue(
        self: &Arc<Self>,
        lane: SessionId,
        line: &Arc<Line>,
        message: Message,
    ) -> Result<(), ChannelError> {
        let kib = message.payload.len().div_ceil(1024).max(1);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let space = async {
            let in_lane = Arc::clone(&line.space).acquire_many_owned(kib).await?;
            let in_server = Arc::clone(&self.space).acquire_many_owned(kib).await?;
            Ok::<[OwnedSemaphorePermit; 2], tokio::sync::AcquireError>([in_lane, in_server])
        };
        let held = match timeout(ENQUEUE, space).await {
            Ok(Ok(held)) => held,
            Ok(Err(_closed)) => return Err(ChannelError::Closed),
            Err(_elapsed) => return Err(ChannelError::QueueFull(QUEUE)),
        };
        let handled = Arc::clone(self).handle(Arc::clone(line), message);
        let job = async move {
            handled.await;
            drop(held);
        };
        self.queue.enqueue(lane, job).await
    }

    async fn handle(self: Arc<Self>, line: Arc<Line>, message: Message) {
        let question = message.message_id;
        let done = timeout(HANDLING, self.handler.handle(&line.channel, message)).await;
        let content = done.unwrap_or_else(|_| {
            Err(Fault {
                kind: "busy".to_owned(),
                detail: format!("it was not done within {} s: ask again", HANDLING.as_secs()),
                note: Vec::new(),
            })
        });
        self.say(&line, question, content).await;
    }

    async fn say(
        &self,
        line: &Arc<Line>,
        question: MessageId,
        content: Result<(MessageType, Vec<u8>), Fault>,
    ) {
        match &content {
            Ok(_) => self.count(|counters| &mut counters.answered),
            Err(_) => self.count(|counters| &mut counters.declined),
        }
        if line.deaf.load(Ordering::Relaxed) {
            return;
        }
        let said = Some(Said { question, content });
        let had_room = timeout(DEAF_AFTER, line.answers.send(said)).await.is_ok();
        if had_room || line.deaf.swap(true, Ordering::Relaxed) {
            return;
        }
        let line = Arc::clone(line);
        // It takes a moment, and no worker waits for it.
        tokio::spawn(async move {
            let why = ChannelError::QueueFull(ANSWERS);
            let _told = timeout(LAST_WORDS, line.channel.refuse(why)).await;
            line.cutter.cut();
        });
    }
}

/// Sends answers in their order. Stays behind as long as the peer does.
async fn send(channel: Channel<Attested>, mut answers: mpsc::Receiver<Option<Said>>) {
    while let Some(Some(Said { question, content })) = answers.recv().await {
        let sent = match content {
            Ok((message_type, payload)) => channel.answer(question, message_type, payload).await,
            Err(fault) => channel.decline(question, &fault).await,
        };
        if let Err(ChannelError::PayloadTooLong { .. }) = sent {
            let fault = Fault {
                kind: "internal".to_owned(),
                detail: "the answer is longer than a message may be".to_owned(),
                note: Vec::new(),
            };
            // If the channel has ended, its session learns of it.
            let _sent = channel.decline(question, &fault).await;
        }
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
