//! Who is too slow, and what is over.

use std::time::Duration;

use nautilus_channel::{ChannelError, Credential, Event, Limits, MessageId, MessageType, Reason};
use nautilus_core::UnixMillis;

use crate::fixture::{START, Side, Tee, agent, open, run, verifier};
use crate::raw::{Content, Raw, attested, called, greeted};
use crate::setup::Setup;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn slow(due: &'static str, seconds: u32) -> Result<(), ChannelError> {
    Err(ChannelError::HandshakeSlow {
        due,
        after: SECOND * seconds,
    })
}

/// It is in time until the moment, and late from there on.
fn late(side: &mut Side<'_>, due: &'static str, seconds: u32) {
    let deadline = side.end.next_tick().unwrap();
    let early = deadline - START.monotonic - Duration::from_millis(1);
    assert_eq!(side.end.tick(START.plus(early)), Ok(()));
    let at = START.plus(deadline - START.monotonic);
    assert_eq!(side.end.tick(at), slow(due, seconds));
    assert_eq!(side.end.next_tick(), None);
    // What comes afterwards comes too late.
    assert_eq!(side.end.receive(b"x", at), slow(due, seconds));
}

#[test]
fn a_peer_that_says_nothing_is_slow() {
    let tee = Tee::new();
    late(&mut Side::responder(verifier(), &tee), "TLS handshake", 10);
    let mut side = Side::initiator(agent(), &tee);
    side.output();
    late(&mut side, "TLS handshake", 10);
}

#[test]
fn a_handshake_that_drips_is_slow_however_often_a_byte_comes() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = (Side::initiator(agent(), &tee), Side::responder(verifier(), &tee));
    let hello = agent.output();
    let mut error = Ok(());
    let mut taken = 0;
    for byte in hello {
        verifier.now = verifier.now.plus(SECOND / 2);
        // The driver has no time to tick.
        error = verifier.take(&[byte]);
        if error.is_err() {
            break;
        }
        taken += 1;
    }
    assert_eq!(error, slow("TLS handshake", 10));
    assert_eq!(taken, 19);
}

#[test]
fn a_peer_without_a_hello_is_slow_and_told_so() {
    let tee = Tee::new();
    let (mut raw, mut side) = (Raw::initiator(&Setup::right()), Side::responder(verifier(), &tee));
    assert_eq!(raw.carry(&mut side), None);
    late(&mut side, "hello", 10);
    raw.carry(&mut side);
    let fault = raw.heard_fault();
    assert_eq!(fault.kind, "handshake_slow");
    assert!(fault.detail.contains("hello"), "{}", fault.detail);
    let (_, mut side, _) = called(&Setup::right(), &tee);
    late(&mut side, "hello", 10);
}

#[test]
fn a_hello_that_stops_in_its_middle_is_slow() {
    let tee = Tee::new();
    let (mut raw, mut side) = (Raw::initiator(&Setup::right()), Side::responder(verifier(), &tee));
    assert_eq!(raw.carry(&mut side), None);
    let payload = nautilus_channel::encode_bcs(&Content::Hello(Box::new(raw.hello()))).unwrap();
    let header = raw.header(MessageType::Handshake, payload.len());
    raw.write(header, &payload[..payload.len() - 1]);
    assert_eq!(raw.carry(&mut side), None);
    late(&mut side, "hello", 10);
}

#[test]
fn a_verdict_or_evidence_that_does_not_come_is_slow() {
    let tee = Tee::new();
    let (_, mut side, _) = greeted(&Setup::right(), &tee);
    late(&mut side, "verdict", 30);
    let (mut raw, mut side, _) = greeted(&Setup::right(), &tee);
    raw.say_verdict();
    assert_eq!(raw.carry(&mut side), None);
    late(&mut side, "credential", 30);
    let (mut raw, mut side, _) = called(&Setup::right(), &tee);
    raw.say_hello();
    assert_eq!(raw.carry(&mut side), None);
    late(&mut side, "credential", 30);
}

#[test]
fn an_own_tee_or_an_own_judge_that_takes_too_long_is_named() {
    let tee = Tee::new();
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    raw.say_verdict();
    raw.say_credential(&Credential::Evidence(Box::new(tee.present(&present))));
    side.end.receive(&raw.output(), START).unwrap();
    assert!(matches!(side.end.next_event(), Some(Event::Appraise(_))));
    late(&mut side, "own verdict", 30);

    let (mut a, mut b) = (Side::initiator(agent(), &tee), Side::responder(verifier(), &tee));
    while !matches!(a.end.next_event(), Some(Event::Present(_))) {
        b.take(&a.output()).unwrap();
        a.end.receive(&b.output(), START).unwrap();
    }
    late(&mut a, "own evidence", 30);
}

#[test]
fn evidence_that_was_not_asked_for_or_is_late_goes_nowhere() {
    let tee = Tee::new();
    let (_, mut side, present) = greeted(&Setup::right(), &tee);
    let presented = side.end.presented(Ok(tee.present(&present)), START);
    assert_eq!(
        presented,
        Err(ChannelError::NotPresented("it was not asked for".to_owned()))
    );
    let (mut agent, mut verifier) = (Side::initiator(agent(), &tee), Side::responder(verifier(), &tee));
    while !matches!(agent.end.next_event(), Some(Event::Present(_))) {
        verifier.take(&agent.output()).unwrap();
        agent.end.receive(&verifier.output(), START).unwrap();
    }
    let why = "the device is gone".to_owned();
    let not_presented = ChannelError::NotPresented(why.clone());
    assert_eq!(agent.end.presented(Err(why), START), Err(not_presented.clone()));
    let told = verifier.take(&agent.output()).err();
    assert_eq!(crate::fixture::refused(told).kind, not_presented.kind());
}

#[test]
fn a_session_ends_after_24_h_also_where_nobody_ticks() {
    let tee = Tee::new();
    let at = START.wall.plus(24 * 60 * 60 * 1000);
    let expired = ChannelError::Expired { at };
    let (mut agent, mut verifier) = open(&tee);
    assert_eq!(agent.end.expires_at(), Some(at));
    assert_eq!(verifier.end.expires_at(), Some(at));

    agent.say(b"late");
    let sent = agent.output();
    verifier.now = START.plus(24 * HOUR);
    assert_eq!(verifier.take(&sent), Err(expired.clone()));
    assert!(verifier.payloads().is_empty());

    let id = MessageId([9; 16]);
    let sent = agent.end.send(
        MessageType::Attestation,
        id,
        false,
        b"late",
        START.plus(24 * HOUR),
    );
    assert_eq!(sent, Err(expired.clone()));
    assert!(agent.end.peer().is_none());

    let (mut agent, _) = open(&tee);
    // Data of the peer may flow up to the end.
    assert_eq!(agent.end.tick(START.plus(24 * HOUR)), Err(expired));
}

#[test]
fn a_clock_that_is_set_back_does_not_make_a_session_longer() {
    let tee = Tee::new();
    let (mut agent, _) = open(&tee);
    let mut now = START.plus(24 * HOUR);
    now.wall = START.wall;
    assert!(matches!(agent.end.tick(now), Err(ChannelError::Expired { .. })));
    let (mut agent, _) = open(&tee);
    let mut now = START;
    now.wall = UnixMillis(u64::MAX);
    assert!(matches!(agent.end.tick(now), Err(ChannelError::Expired { .. })));
}

#[test]
fn a_session_ends_with_the_appraisal() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = (Side::initiator(agent(), &tee), Side::responder(verifier(), &tee));
    // It was appraised 23 h ago.
    let ago = START.plus(23 * HOUR);
    (agent.now.wall, verifier.now.wall) = (ago.wall, ago.wall);
    verifier.judges = Box::new(|appraise, _| tee.judge(appraise, START.wall));
    assert_eq!(run(&mut agent, &mut verifier), (None, None));
    let at = START.wall.plus(24 * 60 * 60 * 1000);
    assert_eq!(verifier.end.expires_at(), Some(at));
    // The agent knows it by the verdict.
    assert_eq!(agent.end.expires_at(), Some(at));
    for side in [&mut agent, &mut verifier] {
        side.now = side.now.plus(HOUR);
        assert_eq!(side.end.tick(side.now), Err(ChannelError::Expired { at }));
    }
}

#[test]
fn a_driver_that_gives_up_says_why() {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    side.end.terminate(Reason::Evicted, "", START);
    assert_eq!(raw.carry(&mut side), None);
    assert_eq!(raw.heard().unwrap().message_type, MessageType::Termination);
}
