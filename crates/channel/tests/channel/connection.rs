//! Channels over streams: tasks on both sides.

use std::sync::Arc;
use std::time::Duration;

use nautilus_channel::{
    Appraise, Appraiser, AskError, Attested, Channel, ChannelError, Credential, Endpoint, Fault, Identified,
    Incoming, Judgement, Message, MessageId, MessageType, Parties, Present, PresentedEvidence, Presenter,
    Reason, TaskClock, Termination, Working, decode_bcs, encode_bcs, open,
};
use nautilus_core::UnixMillis;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

use crate::fixture::{Tee, agent, verifier};
use crate::raw::{Content, Raw};
use crate::setup::Setup;

/// A TEE that serves tasks. Its endorsements are of the present.
pub struct Shared(pub Tee);

impl Presenter for Shared {
    fn present(&self, present: Present) -> Working<'_, Result<PresentedEvidence, String>> {
        Box::pin(async move { Ok(self.0.present(&present)) })
    }
}

impl Appraiser for Shared {
    fn judge(&self, appraise: Appraise, now: UnixMillis) -> Judgement {
        self.0.judge(appraise, now)
    }
}

type Ends = ((Channel<Identified>, Incoming), (Channel<Attested>, Incoming));

async fn connected() -> Ends {
    let clock = TaskClock::start();
    let tee = Arc::new(Shared(Tee::at(clock.now().wall)));
    let parties = Parties {
        presenter: Some(Arc::clone(&tee) as _),
        appraiser: Some(tee),
    };
    let (near, far) = tokio::io::duplex(64 * 1024);
    let initiator = Endpoint::initiator(agent(), clock.now()).unwrap();
    let responder = Endpoint::responder(verifier(), clock.now()).unwrap();
    let (near, far) = tokio::join!(
        open(Box::new(near), initiator, clock, parties.clone()),
        open(Box::new(far), responder, clock, parties),
    );
    (near.unwrap(), far.unwrap())
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_question_is_answered_or_declined() {
    let ((agent, _), (verifier, mut questions)) = connected().await;
    let serve = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            if question.payload == b"no" {
                let fault = Fault {
                    kind: "busy".to_owned(),
                    detail: "later".to_owned(),
                    note: Vec::new(),
                };
                verifier.decline(question.message_id, &fault).await.unwrap();
            } else {
                let answer = question.payload.iter().rev().copied().collect();
                verifier
                    .answer(question.message_id, question.message_type, answer)
                    .await
                    .unwrap();
            }
        }
        verifier.ended().await
    });
    // Longer than what either end buffers.
    let long: Vec<u8> = (0..3_000_000_u32)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect();
    let ask = |id: u8, payload: Vec<u8>| {
        let agent = agent.clone();
        async move {
            agent
                .ask(MessageType::Attestation, MessageId([id; 16]), payload, PATIENCE)
                .await
        }
    };
    let (first, second, third) = tokio::join!(
        ask(1, long.clone()),
        ask(2, b"abc".to_vec()),
        ask(3, b"no".to_vec())
    );
    assert!(first.unwrap().payload.iter().rev().eq(&long));
    assert_eq!(second.unwrap().payload, b"cba");
    let Err(AskError::Declined(fault)) = third else {
        panic!("{third:?}");
    };
    assert_eq!((fault.kind.as_str(), fault.detail.as_str()), ("busy", "later"));
    agent.terminate(Reason::Done, "that was all").await;
    let ended = serve.await.unwrap();
    assert!(
        matches!(&ended, ChannelError::Terminated(why) if why.reason == Reason::Done && why.detail == "that was all"),
        "{ended}"
    );
}

#[tokio::test]
async fn a_stream_that_is_cut_ends_both_ends_by_name() {
    let ((agent, _), (verifier, questions)) = connected().await;
    drop(questions);
    let ask = agent.ask(
        MessageType::Attestation,
        MessageId([1; 16]),
        b"?".to_vec(),
        PATIENCE,
    );
    let (answer, ()) = tokio::join!(ask, async {
        verifier.refuse(ChannelError::SessionsFull(100)).await;
    });
    let Err(AskError::Channel(ChannelError::Refused(fault))) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(fault.kind, "sessions_full");
}

#[tokio::test]
async fn a_session_follows_another_on_the_same_stream() {
    let ((agent, _), (verifier, _questions)) = connected().await;
    let stream = verifier.release(Reason::Renew).await.unwrap();
    let ended = agent.ended().await;
    assert!(
        matches!(&ended, ChannelError::Terminated(why) if why.reason == Reason::Renew),
        "{ended}"
    );
    drop(stream);
}

/// An attested peer that does from here on what it likes, and the channel to it.
async fn attested() -> (Raw, DuplexStream, Channel<Attested>, Incoming) {
    let clock = TaskClock::start();
    let tee = Arc::new(Shared(Tee::at(clock.now().wall)));
    let parties = Parties {
        presenter: None,
        appraiser: Some(Arc::clone(&tee) as _),
    };
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let responder = Endpoint::responder(verifier(), clock.now()).unwrap();
    let opening = open(Box::new(far), responder, clock, parties);
    let greeting = async {
        let mut raw = Raw::initiator(&Setup::right());
        raw.say_hello();
        let hello = heard(&mut raw, &mut near).await;
        let Content::Hello(hello) = decode_bcs(&hello.payload).unwrap() else {
            panic!("no hello");
        };
        heard(&mut raw, &mut near).await;
        let (terms, session) = (hello.challenge.unwrap(), raw.session(hello.nonce));
        let evidence = tee.0.present(&Present { terms, session });
        raw.say_verdict();
        raw.say_credential(&Credential::Evidence(Box::new(evidence)));
        let verdict = heard(&mut raw, &mut near).await;
        assert_eq!(verdict.message_type, MessageType::Handshake);
        raw
    };
    let (raw, opened) = tokio::join!(greeting, opening);
    let (channel, questions) = opened.unwrap();
    (raw, near, channel, questions)
}

/// The next message to the peer, which says first what it has to say.
async fn heard(raw: &mut Raw, stream: &mut DuplexStream) -> Message {
    let mut buffer = [0; 4096];
    loop {
        stream.write_all(&raw.output()).await.unwrap();
        if let Some(frame) = raw.heard() {
            return frame.into_message().unwrap();
        }
        let count = stream.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0);
        raw.take(&buffer[..count]);
    }
}

#[tokio::test]
async fn a_termination_ends_the_channel_though_the_stream_stays_open() {
    let (mut raw, mut stream, channel, mut questions) = attested().await;
    // More than the inbox takes at once.
    for _ in 0..40 {
        raw.frame(MessageType::Attestation, b"before");
    }
    let last = Termination {
        reason: Reason::Done,
        detail: "bye".to_owned(),
    };
    raw.frame(MessageType::Termination, &encode_bcs(&last).unwrap());
    stream.write_all(&raw.output()).await.unwrap();
    let mut before = 0;
    while let Some(question) = timeout(PATIENCE, questions.next()).await.unwrap() {
        assert_eq!(question.payload, b"before");
        before += 1;
    }
    assert_eq!(before, 40);
    let why = timeout(PATIENCE, channel.ended()).await.unwrap();
    assert_eq!(why, ChannelError::Terminated(last));
    drop(stream);
}

#[tokio::test]
async fn heartbeats_of_one_that_takes_no_answers_end_the_channel() {
    let (mut raw, mut stream, channel, _questions) = attested().await;
    let asking = async {
        // Many more than there is room for answers to.
        for _ in 0..100_000 {
            raw.frame(MessageType::Heartbeat, &[]);
            if stream.write_all(&raw.output()).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        () = asking => None,
        why = timeout(PATIENCE, channel.ended()) => why.ok(),
    };
    assert!(matches!(ended, Some(ChannelError::AnswersUnread(_))), "{ended:?}");
}

#[tokio::test]
async fn one_that_takes_nothing_can_be_ended() {
    let (mut raw, mut stream, channel, mut questions) = attested().await;
    raw.frame(MessageType::Attestation, b"?");
    stream.write_all(&raw.output()).await.unwrap();
    let question = questions.next().await.unwrap().message_id;
    // The first fills what there is, and the others wait for room.
    let long = || channel.answer(question, MessageType::Attestation, vec![7; 2 << 20]);
    long().await.unwrap();
    let waiting = async { tokio::join!(long(), long()) };
    let ending = async {
        tokio::task::yield_now().await;
        timeout(PATIENCE, channel.terminate(Reason::Done, "")).await
    };
    let ((one, other), ended) = tokio::join!(waiting, ending);
    assert_eq!(ended, Ok(()));
    assert_eq!(
        (one, other),
        (Err(ChannelError::Closed), Err(ChannelError::Closed))
    );
    drop(stream);
}

#[tokio::test]
async fn what_is_asked_again_has_one_answer() {
    let ((agent, _), (verifier, mut questions)) = connected().await;
    let ask = |patience| {
        agent.ask(
            MessageType::Attestation,
            MessageId([1; 16]),
            b"?".to_vec(),
            patience,
        )
    };
    let patience = Duration::from_millis(100);
    let given_up = ask(patience).await;
    assert_eq!(
        given_up.unwrap_err(),
        AskError::Channel(ChannelError::NoAnswer { after: patience })
    );
    let question = questions.next().await.unwrap();
    let answering = async {
        // Who still waits is not pushed aside.
        tokio::task::yield_now().await;
        let third = ask(PATIENCE).await;
        assert!(
            matches!(third, Err(AskError::Channel(ChannelError::PayloadInvalid { .. }))),
            "{third:?}"
        );
        verifier
            .answer(question.message_id, question.message_type, b"!".to_vec())
            .await
            .unwrap();
    };
    let (again, ()) = tokio::join!(ask(PATIENCE), answering);
    assert_eq!(again.unwrap().payload, b"!");
    // It was sent once.
    agent.terminate(Reason::Done, "").await;
    assert_eq!(questions.next().await, None);
}

#[tokio::test]
async fn what_a_peer_declines_with_steers_no_terminal() {
    let ((agent, _), (verifier, mut questions)) = connected().await;
    let serving = async {
        for kind in ["busy", "two words"] {
            let question = questions.next().await.unwrap();
            let fault = Fault {
                kind: kind.to_owned(),
                detail: "one\n\u{1b}[2Jtwo".to_owned(),
                note: Vec::new(),
            };
            verifier.decline(question.message_id, &fault).await.unwrap();
        }
    };
    let asking = async {
        let ask = |id| {
            agent.ask(
                MessageType::Attestation,
                MessageId([id; 16]),
                Vec::new(),
                PATIENCE,
            )
        };
        (ask(1).await.unwrap_err(), ask(2).await.unwrap_err())
    };
    let ((declined, nameless), ()) = tokio::join!(asking, serving);
    assert!(
        matches!(&declined, AskError::Declined(fault) if fault.detail == "one  [2Jtwo"),
        "{declined:?}"
    );
    let invalid = ChannelError::PayloadInvalid {
        message_type: MessageType::Error,
        what: "the fault's name is none".to_owned(),
    };
    assert_eq!(nameless, AskError::Channel(invalid));
}

#[tokio::test]
async fn a_stream_comes_back_without_what_belonged_to_the_session() {
    let (mut raw, mut stream, channel, _questions) = attested().await;
    let parting = async {
        let last = heard(&mut raw, &mut stream).await;
        assert_eq!(last.message_type, MessageType::Termination);
        raw.frame(MessageType::Attestation, b"too late");
        raw.tls.send_close_notify();
        let rest = [raw.output(), b"next".to_vec()].concat();
        stream.write_all(&rest).await.unwrap();
    };
    let (released, ()) = tokio::join!(channel.release(Reason::Renew), parting);
    let mut next = [0; 4];
    released.unwrap().read_exact(&mut next).await.unwrap();
    assert_eq!(&next, b"next");
    assert_eq!(channel.ended().await, ChannelError::Closed);
}
