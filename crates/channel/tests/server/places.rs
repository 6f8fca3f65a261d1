//! Who has a session, and who gives way.

use std::time::Duration;

use nautilus_channel::{Channel, ChannelError, IDLE, Identified, Reason, SESSIONS};

use crate::setup::{Served, ask, node, pass};

fn ended_for(why: &ChannelError) -> Option<Reason> {
    match why {
        ChannelError::Terminated(termination) => Some(termination.reason),
        _ => None,
    }
}

#[tokio::test]
async fn a_nodes_newer_session_replaces_its_older_one() {
    let served = Served::start().await;
    let older = served.connect(1).await.unwrap();
    let other = served.connect(2).await.unwrap();
    let newer = served.connect(1).await.unwrap();
    assert_eq!(ended_for(&older.ended().await), Some(Reason::Replaced));
    assert_eq!(ask(&newer, b"a").await.unwrap(), b"a");
    assert_eq!(ask(&other, b"b").await.unwrap(), b"b");
    let status = served.until(|status| status.counters.ended.len() == 1).await;
    let nodes: Vec<_> = status.sessions.iter().map(|session| session.node).collect();
    assert_eq!(nodes, [node(2), node(1)]);
    let names: Vec<_> = status
        .sessions
        .into_iter()
        .map(|session| session.channel_id)
        .collect();
    assert_eq!(
        names,
        [other.channel_id().to_string(), newer.channel_id().to_string()]
    );
    assert_eq!(status.counters.opened, 3);
    // Who leaves in order is gone.
    other.terminate(Reason::Done, "").await;
    let status = served.until(|status| status.sessions.len() == 1).await;
    assert_eq!(status.sessions[0].node, node(1));
}

#[tokio::test]
async fn a_full_server_admits_nobody_until_one_is_idle() {
    let served = Served::start().await;
    let mut channels = Vec::new();
    for number in 0..SESSIONS {
        channels.push(served.connect(u8::try_from(number).unwrap()).await.unwrap());
    }
    served.until(|status| status.sessions.len() == SESSIONS).await;
    let refused = served.connect(200).await.map(|_| ()).unwrap_err();
    assert!(refused.may_pass(), "{refused}");
    let status = served.until(|status| !status.counters.refused.is_empty()).await;
    assert_eq!(status.counters.refused["sessions_full"], 1);
    assert_eq!(status.sessions.len(), SESSIONS);

    // All stay alive by their heartbeats, and all but one are idle.
    let step = Duration::from_secs(20);
    let mut passed = Duration::ZERO;
    while passed <= IDLE {
        let before = round_trips(&served, &channels);
        pass(step).await;
        passed += step;
        // One end's heartbeat spares the other its own.
        let beaten = |now: &[RoundTrips]| now.iter().zip(&before).all(|(now, before)| now != before);
        while !beaten(&round_trips(&served, &channels)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    for channel in channels.iter().filter(|channel| channel.node() != node(42)) {
        ask(channel, b"used").await.unwrap();
    }
    let newcomer = served.connect(200).await.unwrap();
    assert_eq!(ended_for(&channels[42].ended().await), Some(Reason::Evicted));
    assert_eq!(ask(&newcomer, b"a").await.unwrap(), b"a");
    let status = served.until(|status| status.counters.ended.len() == 1).await;
    assert_eq!(status.sessions.len(), SESSIONS);
    assert!(status.sessions.iter().all(|session| session.node != node(42)));
    assert!(
        channels
            .iter()
            .all(|channel| channel.node() == node(42) || channel.failure().is_none())
    );
    // The same that was evicted finds no other to give way.
    let refused = served.connect(42).await.map(|_| ()).unwrap_err();
    assert!(refused.may_pass(), "{refused}");
}

/// What the two ends of a session measured last.
type RoundTrips = (Option<Duration>, Option<u64>);

fn round_trips(served: &Served, channels: &[Channel<Identified>]) -> Vec<RoundTrips> {
    let sessions = served.server.status().sessions;
    let here = sessions.iter().map(|session| session.round_trip_micros);
    channels.iter().map(Channel::round_trip).zip(here).collect()
}
