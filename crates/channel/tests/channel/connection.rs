//! Channels over streams: tasks on both sides.

use std::sync::Arc;
use std::time::Duration;

use nautilus_channel::{
    Appraise, Appraiser, AskError, Attested, Channel, ChannelError, Endpoint, Fault, Identified, Incoming,
    Judgement, MessageId, MessageType, Parties, Present, PresentedEvidence, Presenter, Reason, TaskClock,
    Working, open,
};
use nautilus_core::UnixMillis;

use crate::fixture::{Tee, agent, verifier};

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
