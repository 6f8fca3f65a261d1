//! What who asks sees of sessions that come and go.

use std::time::Duration;

use nautilus_channel::{
    Again, ChannelError, ClientError, ClientEvent, Fault, Message, MessageType, Payload as _, Reason,
};
use nautilus_core::PublicKey;

use crate::line::{Answering, Client, Number, Session, Told, key, memory};

const PATIENCE: Duration = Duration::from_secs(60);

async fn question(session: &mut Session) -> (Message, Number) {
    let message = session.1.next().await.unwrap();
    let number = Number::decode(message.message_type, &message.payload).unwrap();
    (message, number)
}

async fn answer(session: &Session, question: &Message, number: u64) {
    let payload = Number(number).encode().unwrap();
    let id = question.message_id;
    session
        .0
        .answer(id, MessageType::PerformanceData, payload)
        .await
        .unwrap();
}

fn client() -> (Client, Answering, Told) {
    let (line, answering, told) = memory(key());
    (Client::new(line), answering, told)
}

/// What broke, and what was to follow.
fn broken(told: &Told) -> Vec<(String, Again)> {
    let told = told.lock().unwrap();
    let broken = told.iter().filter_map(|event| match event {
        ClientEvent::Broken { why, again } => Some((why.kind().to_owned(), *again)),
        ClientEvent::Opened(_) => None,
    });
    broken.collect()
}

#[tokio::test(start_paused = true)]
async fn a_question_is_the_same_in_every_session() {
    let (client, mut answering, told) = client();
    assert_eq!(client.state().session, None);
    let asking = client.ask::<_, Number>(&Number(7), PATIENCE);
    let serving = async {
        // A connection that ends before the handshake.
        drop(answering.stream().await);
        // A session that ends by name, for a moment.
        let mut first = answering.session().await;
        let (asked, number) = question(&mut first).await;
        first.0.refuse(ChannelError::SessionsFull(100)).await;
        // One that ends without a word.
        let mut second = answering.session().await;
        let (again, same) = question(&mut second).await;
        let cut = second.0.release(Reason::Done).await.unwrap();
        drop(cut);
        let mut third = answering.session().await;
        let (last, _) = question(&mut third).await;
        assert_eq!((asked.message_id, number), (again.message_id, same));
        assert_eq!(asked.message_id, last.message_id);
        answer(&third, &last, 8).await;
        third
    };
    let (answered, _third) = tokio::join!(asking, serving);
    assert_eq!(answered.unwrap(), Number(8));
    let broken = broken(&told);
    let kinds: Vec<_> = broken.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["truncated", "sessions_full", "terminated"]);
    for (_, again) in broken {
        assert!(
            matches!(again, Again::After(pause) if pause >= Duration::from_millis(125) && pause <= Duration::from_secs(1)),
            "{again:?}"
        );
    }
    let state = client.state();
    assert_eq!((state.reconnects, state.queued), (2, 0));
    assert!(matches!(state.last_error, Some(ChannelError::Terminated(_))));
    assert!(state.session.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_would_end_alike_is_not_tried_again() {
    let (line, mut answering, told) = memory(PublicKey([9; 32]));
    let client = Client::new(line);
    let asking = client.ask::<_, Number>(&Number(1), PATIENCE);
    let serving = async {
        let stream = answering.stream().await;
        let clock = nautilus_channel::TaskClock::start();
        let config = crate::line::responder(Default::default());
        let endpoint = nautilus_channel::Endpoint::responder(config, clock.now()).unwrap();
        let parties = Default::default();
        nautilus_channel::open::<nautilus_channel::Unidentified>(stream, endpoint, clock, parties)
            .await
            .err()
    };
    let (asked, refused) = tokio::join!(asking, serving);
    assert_eq!(
        asked,
        Err(ClientError::Channel(ChannelError::KeyUnexpected(
            "it is another key"
        )))
    );
    // The peer is told why.
    assert!(
        matches!(&refused, Some(ChannelError::Refused(fault) | ChannelError::RefusedByStranger(fault)) if fault.kind == "key_unexpected"),
        "{refused:?}"
    );
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_declined_is_an_answer() {
    let (client, mut answering, told) = client();
    let fault = Fault {
        kind: "busy".to_owned(),
        detail: "later".to_owned(),
        note: Vec::new(),
    };
    let asking = client.ask::<_, Number>(&Number(1), PATIENCE);
    let serving = async {
        let mut session = answering.session().await;
        let (asked, _) = question(&mut session).await;
        session.0.decline(asked.message_id, &fault).await.unwrap();
        session
    };
    let (asked, _session) = tokio::join!(asking, serving);
    assert_eq!(asked, Err(ClientError::Declined(fault)));
    assert!(broken(&told).is_empty());
    assert!(client.state().session.is_some());
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_the_session_goes_on() {
    let (client, mut answering, told) = client();
    let asking = client.ask::<_, Number>(&Number(1), PATIENCE);
    let serving = async {
        let mut session = answering.session().await;
        question(&mut session).await;
        session
    };
    let (asked, _session) = tokio::join!(asking, serving);
    let error = asked.unwrap_err();
    assert_eq!(
        error,
        ClientError::NotInTime {
            after: PATIENCE,
            last: None
        }
    );
    assert!(error.may_pass());
    assert!(broken(&told).is_empty());
    let session = client.state().session.unwrap();
    // Heartbeats went to and fro meanwhile.
    assert!(session.round_trip.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_is_never_there_is_named_when_patience_ends() {
    let (line, answering, _) = memory(key());
    drop(answering);
    let client = Client::new(line);
    let asked = client.ask::<_, Number>(&Number(1), PATIENCE).await;
    let last = Some(ChannelError::Io("nobody is there".to_owned()));
    let after = PATIENCE;
    assert_eq!(asked, Err(ClientError::NotInTime { after, last }));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_breaks_while_idle_is_told_once_and_opened_for_the_next_question() {
    let (client, mut answering, told) = client();
    let (connected, session) = tokio::join!(client.connect(PATIENCE), answering.session());
    connected.unwrap();
    let first = client.state().session.unwrap();
    session.0.terminate(Reason::Evicted, "").await;
    while broken(&told).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.state().session, None);
    let asking = client.ask::<_, Number>(&Number(1), PATIENCE);
    let serving = async {
        let mut session = answering.session().await;
        let (asked, _) = question(&mut session).await;
        answer(&session, &asked, 2).await;
        session
    };
    let (answered, _session) = tokio::join!(asking, serving);
    assert_eq!(answered.unwrap(), Number(2));
    assert_eq!(
        broken(&told),
        [("terminated".to_owned(), Again::WithNextQuestion)]
    );
    let state = client.state();
    assert_eq!(state.reconnects, 1);
    assert_ne!(state.session.unwrap().channel_id, first.channel_id);
}

#[tokio::test(start_paused = true)]
async fn a_new_session_opens_before_the_old_one_ends() {
    let (client, mut answering, told) = client();
    let (connected, old) = tokio::join!(client.connect(PATIENCE), answering.session());
    connected.unwrap();
    let started = tokio::time::Instant::now();
    // Both ends are alive for twenty hours of heartbeats.
    let new = answering.session().await;
    let minutes = started.elapsed().as_secs() / 60;
    assert!((1199..=1200).contains(&minutes), "{minutes}");
    let ended = old.0.ended().await;
    assert!(
        matches!(&ended, ChannelError::Terminated(why) if why.reason == Reason::Renew),
        "{ended}"
    );
    assert_ne!(old.0.channel_id(), new.0.channel_id());
    let state = client.state();
    assert_eq!(state.session.unwrap().channel_id, new.0.channel_id());
    assert_eq!((state.reconnects, broken(&told)), (1, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn who_has_changed_asks_again_as_the_new_one() {
    let (client, mut answering, told) = client();
    let asking = client.ask::<_, Number>(&Number(1), PATIENCE);
    let serving = async {
        let mut before = answering.session().await;
        let (asked, _) = question(&mut before).await;
        client.reset();
        let mut after = answering.session().await;
        let (again, _) = question(&mut after).await;
        assert_eq!(asked.message_id, again.message_id);
        let ended = before.0.ended().await;
        assert!(matches!(ended, ChannelError::Terminated(_)), "{ended}");
        answer(&after, &again, 2).await;
        after
    };
    let (answered, _after) = tokio::join!(asking, serving);
    assert_eq!(answered.unwrap(), Number(2));
    // That is no failure.
    assert!(broken(&told).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reset_during_the_handshake_starts_another() {
    let (client, mut answering, _) = client();
    let asking = client.connect(PATIENCE);
    let serving = async {
        let held = answering.stream().await;
        client.reset();
        let session = answering.session().await;
        drop(held);
        session
    };
    let (connected, session) = tokio::join!(asking, serving);
    connected.unwrap();
    assert_eq!(client.state().session.unwrap().channel_id, session.0.channel_id());
}

#[tokio::test(start_paused = true)]
async fn questions_keep_their_order_and_a_closed_client_answers_what_it_had() {
    let (client, mut answering, _) = client();
    let ask = |number| {
        let client = client.clone();
        tokio::spawn(async move { client.ask::<_, Number>(&Number(number), PATIENCE).await })
    };
    let asked: Vec<_> = (0..20).map(ask).collect();
    let mut session = answering.session().await;
    let (first, number) = question(&mut session).await;
    assert_eq!(number, Number(0));
    assert_eq!(client.state().queued, 19);
    let closing = {
        let client = client.clone();
        tokio::spawn(async move { client.close(Duration::from_secs(10)).await })
    };
    answer(&session, &first, 0).await;
    for expected in 1..20 {
        let (asked, number) = question(&mut session).await;
        assert_eq!(number, Number(expected));
        answer(&session, &asked, expected).await;
    }
    for (expected, asked) in (0..).zip(asked) {
        assert_eq!(asked.await.unwrap().unwrap(), Number(expected));
    }
    assert_eq!(closing.await.unwrap(), 0);
    let ended = session.0.ended().await;
    assert!(
        matches!(&ended, ChannelError::Terminated(why) if why.reason == Reason::ShuttingDown),
        "{ended}"
    );
    let late = client.ask::<_, Number>(&Number(21), PATIENCE).await;
    assert_eq!(late, Err(ClientError::Closed));
}

#[tokio::test(start_paused = true)]
async fn the_session_ends_in_order_with_the_last_clone() {
    let (client, mut answering, _) = client();
    let (connected, session) = tokio::join!(client.connect(PATIENCE), answering.session());
    connected.unwrap();
    let clone = client.clone();
    drop(client);
    assert!(session.0.failure().is_none());
    drop(clone);
    let ended = session.0.ended().await;
    assert!(
        matches!(&ended, ChannelError::Terminated(why) if why.reason == Reason::Done),
        "{ended}"
    );
}
