//! What is asked: in which order it is done, how much of it, and what becomes of it at the end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use nautilus_channel::{
    AskError, Channel, ChannelError, Identified, LANE, MessageId, MessageType, Reason, Stream, WORKERS,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;

use crate::setup::{PATIENCE, Served, ask, node, pass};

type Asked = JoinSet<(u32, Result<Vec<u8>, AskError>)>;

/// Asks the numbers from 0, in this order.
async fn ask_numbers(channel: &Channel<Identified>, numbers: u32) -> Asked {
    let mut asked = JoinSet::new();
    for number in 0..numbers {
        let (channel, id) = (channel.clone(), MessageId::random().unwrap());
        asked.spawn(async move {
            let payload = number.to_le_bytes().to_vec();
            let answer = channel
                .ask(MessageType::PerformanceData, id, payload, PATIENCE)
                .await;
            (number, answer.map(|answer| answer.payload))
        });
        // One after the other gets as far as it can.
        tokio::task::yield_now().await;
    }
    asked
}

fn declined(answer: Result<Vec<u8>, AskError>) -> String {
    match answer {
        Err(AskError::Declined(fault)) => fault.kind,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn questions_of_a_session_are_done_in_order_and_sessions_side_by_side() {
    let served = Served::with_gate(0).await;
    let (one, other) = (served.connect(1).await.unwrap(), served.connect(2).await.unwrap());
    let mut asked = ask_numbers(&one, 40).await;
    let beside = tokio::spawn(async move { ask(&other, b"beside").await });
    // One of each is under way, and the rest waits.
    served
        .until(|status| status.queued == 39 && served.echo.heard().len() == 2)
        .await;
    served.echo.gate.add_permits(41);
    assert_eq!(beside.await.unwrap().unwrap(), b"beside");
    while let Some(done) = asked.join_next().await {
        let (number, answer) = done.unwrap();
        assert_eq!(answer.unwrap(), number.to_le_bytes());
    }
    let heard = served.echo.heard();
    let of_one: Vec<_> = heard.iter().filter(|(from, _)| *from == node(1)).collect();
    let in_order: Vec<_> = (0..40_u32)
        .map(|number| (node(1), number.to_le_bytes().to_vec()))
        .collect();
    assert_eq!(of_one, in_order.iter().collect::<Vec<_>>());
    assert_eq!(served.server.status().counters.answered, 41);
}

#[tokio::test]
async fn a_declined_question_leaves_the_session_open() {
    let served = Served::start().await;
    let channel = served.connect(1).await.unwrap();
    assert_eq!(declined(ask(&channel, b"no").await), "no");
    assert_eq!(ask(&channel, b"yes").await.unwrap(), b"yes");
    let counters = served.server.status().counters;
    assert_eq!((counters.answered, counters.declined), (1, 1));
}

#[tokio::test]
async fn a_question_for_which_there_is_no_room_is_declined_by_name() {
    let served = Served::with_gate(0).await;
    let channel = served.connect(1).await.unwrap();
    // One is under way, and the lane is full.
    let all = u32::try_from(LANE).unwrap() + 1;
    let mut asked = ask_numbers(&channel, all).await;
    served.until(|status| status.queued == LANE).await;
    let more = channel.clone();
    let more = tokio::spawn(async move { ask(&more, b"more").await });
    // It waits for room as long as it may, and there comes none.
    while !more.is_finished() {
        pass(Duration::from_secs(1)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(declined(more.await.unwrap()), "queue_full");
    served.echo.gate.add_permits(LANE + 1);
    while let Some(done) = asked.join_next().await {
        assert!(done.unwrap().1.is_ok());
    }
    assert!(served.echo.heard().iter().all(|(_, payload)| payload != b"more"));
}

#[tokio::test]
async fn long_questions_fill_a_session_before_it_has_many() {
    let served = Served::with_gate(0).await;
    let channel = served.connect(1).await.unwrap();
    let long = MessageType::PerformanceData.limit();
    let mut asked = JoinSet::new();
    let ask_long = || {
        let channel = channel.clone();
        async move { ask(&channel, &vec![7; long]).await }
    };
    for _ in 0..16 {
        asked.spawn(ask_long());
    }
    // One is under way.
    served.until(|status| status.queued == 15).await;
    let more = tokio::spawn(ask_long());
    while !more.is_finished() {
        pass(Duration::from_secs(1)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(declined(more.await.unwrap()), "queue_full");
    // Another session has room of its own.
    let other = served.connect(2).await.unwrap();
    served.echo.gate.add_permits(18);
    assert_eq!(ask(&other, b"beside").await.unwrap(), b"beside");
    while let Some(done) = asked.join_next().await {
        assert_eq!(done.unwrap().unwrap().len(), long);
    }
    // What is done takes no room.
    assert_eq!(ask_long().await.unwrap().len(), long);
}

#[tokio::test]
async fn what_was_asked_is_answered_before_the_end() {
    let mut served = Served::with_gate(0).await;
    let channel = served.connect(1).await.unwrap();
    let mut asked = ask_numbers(&channel, 5).await;
    served.until(|status| status.queued == 4).await;
    let half_open = served.stream().await;
    served.until(|status| status.handshakes == 1).await;
    served.stop();
    served.until(|status| status.handshakes == 0).await;
    // It takes no more questions, and does those that it has.
    let mut more = MessageId::random();
    let late = loop {
        let id = more.unwrap();
        let answer = channel
            .ask(
                MessageType::PerformanceData,
                id,
                b"late".to_vec(),
                Duration::from_millis(50),
            )
            .await;
        match answer {
            Err(AskError::Declined(fault)) => break fault.kind,
            // It was in time: it waits with the others.
            Err(AskError::Channel(ChannelError::NoAnswer { .. })) => more = MessageId::random(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(late, "shutting_down");
    served.echo.gate.add_permits(1_000);
    while let Some(done) = asked.join_next().await {
        let (number, answer) = done.unwrap();
        assert_eq!(answer.unwrap(), number.to_le_bytes());
    }
    let why = channel.ended().await;
    assert!(
        matches!(&why, ChannelError::Terminated(last) if last.reason == Reason::ShuttingDown),
        "{why}"
    );
    drop(half_open);
    let server = Arc::clone(&served.server);
    served.task.await.unwrap();
    let status = server.status();
    assert_eq!(
        (status.sessions.len(), status.queued, status.handshakes),
        (0, 0, 0)
    );
}

/// A connection whose reader may stop reading.
struct Deaf {
    inner: Box<dyn Stream>,
    deaf: Arc<AtomicBool>,
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.deaf.load(Ordering::SeqCst) {
            true => Poll::Pending,
            false => Pin::new(&mut self.inner).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[tokio::test]
async fn those_that_ask_and_do_not_listen_are_ended_and_hold_nobody_up() {
    let served = Served::start().await;
    let deaf = Arc::new(AtomicBool::new(false));
    let mut channels = Vec::new();
    for number in 0..=u8::try_from(WORKERS).unwrap() {
        let stream = Deaf {
            inner: served.stream().await,
            deaf: Arc::clone(&deaf),
        };
        channels.push(served.connect_over(Box::new(stream), number).await.unwrap());
    }
    deaf.store(true, Ordering::SeqCst);
    let mut asked = JoinSet::new();
    for channel in &channels {
        for _ in 0..60 {
            let channel = channel.clone();
            asked.spawn(async move { ask(&channel, b"much").await.map(drop) });
        }
    }
    tokio::task::yield_now().await;
    let honest = served.connect(200).await.unwrap();
    assert_eq!(ask(&honest, b"through").await.unwrap(), b"through");
    // Each is ended at this end, whatever it goes on asking.
    let status = served
        .until(|status| status.counters.ended.values().sum::<u64>() as usize == WORKERS + 1)
        .await;
    let by_name = status.counters.ended.get("queue_full");
    assert_eq!(by_name, Some(&(WORKERS as u64 + 1)), "{:?}", status.counters);
    assert_eq!(status.sessions.len(), 1);
    assert_eq!(ask(&honest, b"still").await.unwrap(), b"still");
    asked.shutdown().await;
}
