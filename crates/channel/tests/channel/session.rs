//! An open channel: heartbeats, new traffic keys, its end.

use std::time::Duration;

use nautilus_channel::{
    ChannelError, Event, Fault, Limits, MessageId, MessageType, Reason, Termination, encode_bcs,
};

use crate::fixture::{START, Side, Tee, agent, open, run, verifier};
use crate::raw::{Raw, attested};

const SECOND: Duration = Duration::from_secs(1);

/// What the last of its round trips took.
fn round_trips(side: &Side<'_>) -> Vec<Duration> {
    let trips = side.events.iter().filter_map(|event| match event {
        Event::RoundTrip(took) => Some(*took),
        _ => None,
    });
    trips.collect()
}

#[test]
fn an_idle_peer_is_asked_whether_it_lives_and_the_round_trip_is_measured() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    assert_eq!(agent.end.next_tick(), Some(START.monotonic + 15 * SECOND));
    agent.now = START.plus(Duration::from_millis(14_999));
    agent.end.tick(agent.now).unwrap();
    assert!(agent.output().is_empty());

    agent.now = START.plus(15 * SECOND);
    agent.end.tick(agent.now).unwrap();
    let question = agent.output();
    assert!(!question.is_empty());
    // Once is enough.
    agent.end.tick(agent.now).unwrap();
    assert!(agent.output().is_empty());

    verifier.now = START.plus(Duration::from_millis(15_020));
    verifier.take(&question).unwrap();
    let answer = verifier.output();
    agent.now = START.plus(Duration::from_millis(15_043));
    agent.take(&answer).unwrap();
    assert_eq!(round_trips(&agent), [Duration::from_millis(43)]);
    assert!(round_trips(&verifier).is_empty());
    // The next is due after another 15 s.
    assert_eq!(agent.end.next_tick(), Some(agent.now.monotonic + 15 * SECOND));
}

#[test]
fn a_silent_peer_ends_the_session_after_45_s() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.now = START.plus(15 * SECOND);
    agent.end.tick(agent.now).unwrap();
    agent.output();
    assert_eq!(agent.end.next_tick(), Some(START.monotonic + 45 * SECOND));
    agent.now = START.plus(Duration::from_millis(44_999));
    agent.end.tick(agent.now).unwrap();
    agent.now = START.plus(45 * SECOND);
    let silent = Err(ChannelError::PeerSilent { after: 45 * SECOND });
    assert_eq!(agent.end.tick(agent.now), silent);
    assert_eq!(agent.end.tick(agent.now), silent);
    assert_eq!(agent.end.next_tick(), None);
    // It says so, for the case that it is heard.
    match verifier.take(&agent.output()) {
        // The lost heartbeat is missing.
        Err(ChannelError::RecordForged) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_of_a_record_are_no_sign_of_life() {
    let tee = Tee::new();
    let (_, mut verifier) = open(&tee);
    // The peer is gone, and somebody on the way drips a record that never ends.
    let mut drip = vec![0x17, 3, 3, 0x40, 0];
    drip.extend([0; 60]);
    let mut error = None;
    for (seconds, byte) in (0..).zip(drip) {
        verifier.now = START.plus(SECOND * seconds);
        error = verifier.take(&[byte]).and(verifier.end.tick(verifier.now)).err();
        if error.is_some() {
            break;
        }
    }
    assert_eq!(error, Some(ChannelError::PeerSilent { after: 45 * SECOND }));
    assert_eq!(verifier.now, START.plus(45 * SECOND));
}

#[test]
fn data_of_the_peer_is_a_sign_of_life() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    for _ in 0..10 {
        agent.now = agent.now.plus(14 * SECOND);
        verifier.now = agent.now;
        agent.say(b"data");
        assert_eq!(run(&mut agent, &mut verifier), (None, None));
        verifier.end.tick(verifier.now).unwrap();
        assert!(verifier.output().is_empty(), "it asked");
    }
}

#[test]
fn an_answer_that_was_not_asked_for_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    let mut header = raw.header(MessageType::Heartbeat, 0);
    header[6] = 2;
    raw.write(header, b"");
    assert_eq!(raw.carry(&mut side), Some(ChannelError::AnswerUnexpected));
    assert_eq!(raw.heard_fault().kind, "answer_unexpected");
}

/// The heartbeat that the honest end asks with.
fn asked(raw: &mut Raw, side: &mut Side<'_>) -> MessageId {
    side.now = side.now.plus(15 * SECOND);
    side.end.tick(side.now).unwrap();
    assert_eq!(raw.carry(side), None);
    let question = raw.heard().unwrap();
    assert_eq!(question.message_type, MessageType::Heartbeat);
    question.message_id
}

#[test]
fn an_answer_that_was_guessed_or_comes_twice_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    let answer = |raw: &mut Raw, id: MessageId| {
        let mut header = raw.header(MessageType::Heartbeat, 0);
        header[6] = 2;
        header[16..32].copy_from_slice(&id.0);
        raw.write(header, b"");
    };
    let first = asked(&mut raw, &mut side);
    answer(&mut raw, first);
    assert_eq!(raw.carry(&mut side), None);
    let second = asked(&mut raw, &mut side);
    assert_ne!(first, second);
    // Nothing in the first tells the second.
    assert_ne!(first.0[..8], second.0[..8]);
    assert_ne!(first.0[8..], second.0[8..]);
    answer(&mut raw, first);
    assert_eq!(raw.carry(&mut side), Some(ChannelError::AnswerUnexpected));
}

#[test]
fn heartbeats_whose_answers_are_not_read_do_not_pile_up() {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    let mut error = None;
    let mut taken = 0;
    while error.is_none() {
        raw.frame(MessageType::Heartbeat, b"");
        let bytes = raw.output();
        error = side.take(&bytes).err();
        taken += 1;
        assert!(taken < 1000);
    }
    assert_eq!(error, Some(ChannelError::AnswersUnread(64)));
    assert_eq!(taken, 65);
    // Who reads them may ask as often as it wants.
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    for _ in 0..200 {
        raw.frame(MessageType::Heartbeat, b"");
        assert_eq!(raw.carry(&mut side), None);
    }
}

/// Records under the present keys, as the peer counts them: sent and received.
fn counted(raw: Raw) -> (u64, u64) {
    let secrets = raw.tls.dangerous_extract_secrets().unwrap();
    (secrets.tx.0, secrets.rx.0)
}

/// Sends one message each way.
fn exchange(raw: &mut Raw, side: &mut Side<'_>) {
    raw.frame(MessageType::ProofRequest, b"there");
    assert_eq!(raw.carry(side), None);
    side.say(b"back");
    assert_eq!(raw.carry(side), None);
    assert_eq!(raw.heard().unwrap().payload, b"back");
}

#[test]
fn traffic_keys_are_replaced_after_4_h_in_both_directions() {
    let tee = Tee::new();
    // Records count from zero under new keys: a session without an update tells how many there would be.
    let counts = [false, true].map(|later| {
        let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
        exchange(&mut raw, &mut side);
        if later {
            side.now = START.plus(4 * 3600 * SECOND);
        }
        for _ in 0..3 {
            exchange(&mut raw, &mut side);
        }
        assert_eq!(side.payloads(), [b"there"; 4]);
        counted(raw)
    });
    let [(sent, received), (sent_after, received_after)] = counts;
    // The peer's hello, verdict, credential and four messages; the verifier's hello, credential, verdict and four.
    assert_eq!((sent, received), (7, 7));
    // The update came with the first message of the three. The peer's own followed before its second.
    assert_eq!((sent_after, received_after), (2, 3));
}

#[test]
fn traffic_keys_are_replaced_after_so_many_messages_and_data_flows_on() {
    let tee = Tee::new();
    let rekey_messages = 20;
    let limits = Limits {
        rekey_messages,
        ..Limits::DEFAULT
    };
    let (mut raw, mut side) = attested(&tee, limits);
    for _ in 0..100 {
        exchange(&mut raw, &mut side);
    }
    assert_eq!(side.payloads().len(), 100);
    let (sent, received) = counted(raw);
    assert!(
        sent <= rekey_messages && received <= rekey_messages,
        "{sent} sent and {received} received under the same keys"
    );

    // Between two of ours, who both count.
    let (mut configs, mut now) = ((agent(), verifier()), START);
    configs.0.limits = limits;
    configs.1.limits = limits;
    let (mut a, mut b) = (Side::initiator(configs.0, &tee), Side::responder(configs.1, &tee));
    assert_eq!(run(&mut a, &mut b), (None, None));
    for _ in 0..100 {
        now = now.plus(Duration::from_millis(1));
        (a.now, b.now) = (now, now);
        a.say(b"there");
        b.say(b"back");
        assert_eq!(run(&mut a, &mut b), (None, None));
    }
    assert_eq!((a.payloads().len(), b.payloads().len()), (100, 100));
}

#[test]
fn a_session_without_messages_gets_new_traffic_keys_by_the_clock() {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    // Nothing but heartbeats for 4 h.
    for _ in 0..4 * 240 {
        raw.frame(MessageType::Heartbeat, b"");
        side.now = side.now.plus(15 * SECOND);
        assert_eq!(raw.carry(&mut side), None);
        side.end.tick(side.now).unwrap();
        while raw.heard().is_some() {}
    }
    assert_eq!(raw.carry(&mut side), None);
    let (sent, received) = counted(raw);
    assert!(sent <= 1 && received <= 1, "{sent} sent, {received} received");
}

#[test]
fn a_termination_ends_the_session_in_order_after_what_was_sent_before() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.say(b"last words");
    agent.end.terminate(Reason::ShuttingDown, "for today", agent.now);
    let expected = Termination {
        reason: Reason::ShuttingDown,
        detail: "for today".to_owned(),
    };
    assert_eq!(
        verifier.take(&agent.output()),
        Err(ChannelError::Terminated(expected.clone()))
    );
    assert_eq!(verifier.payloads(), [b"last words"]);
    match verifier.events.last() {
        Some(Event::Terminated(termination)) => assert_eq!(*termination, expected),
        other => panic!("{other:?}"),
    }
    for end in [&mut agent.end, &mut verifier.end] {
        assert!(end.peer().is_none());
        assert_eq!(end.next_tick(), None);
    }
    let id = MessageId([9; 16]);
    let send = |side: &mut Side<'_>| side.end.send(MessageType::Attestation, id, false, b"", START);
    assert_eq!(send(&mut agent), Err(ChannelError::Closed));
    assert_eq!(send(&mut verifier), Err(ChannelError::Terminated(expected)));
    assert_eq!(agent.take(b"anything"), Err(ChannelError::Closed));
}

#[test]
fn data_after_a_termination_is_nobodys() {
    let tee = Tee::new();
    let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
    let termination = Termination {
        reason: Reason::Done,
        detail: String::new(),
    };
    raw.frame(MessageType::Termination, &encode_bcs(&termination).unwrap());
    raw.frame(MessageType::ProofRequest, b"pay");
    // In the same read, and in the next.
    side.end.receive(&raw.output(), side.now).ok();
    raw.frame(MessageType::ProofRequest, b"pay");
    assert_eq!(
        side.take(&raw.output()),
        Err(ChannelError::Terminated(termination))
    );
    assert!(side.payloads().is_empty());
}

#[test]
fn what_the_peer_refuses_is_told_once_and_not_told_back() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    let why = ChannelError::SessionsFull(100);
    assert_eq!(verifier.end.refuse(why.clone()), why);
    let error = agent.take(&verifier.output());
    match &error {
        Err(ChannelError::Refused(fault)) => {
            assert_eq!(
                (fault.kind.as_str(), fault.detail.as_str()),
                (why.kind(), why.to_string().as_str())
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(error.unwrap_err().may_pass());
    // The verifier takes nothing more, whatever comes.
    assert_eq!(verifier.take(&agent.output()), Err(why));
}

#[test]
fn a_fault_longer_than_a_peer_takes_is_cut() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = (Side::initiator(agent(), &tee), Side::responder(verifier(), &tee));
    verifier.judges = Box::new(|appraise, now| match tee.judge(appraise, now) {
        nautilus_channel::Judgement::Appraised { appraisal, .. } => nautilus_channel::Judgement::Appraised {
            appraisal,
            note: vec![7; 1 << 20],
        },
        _ => panic!("not appraised"),
    });
    agent.presents = Box::new(|present| tee.present_as([0xbb; 32], present, |_| {}));
    let (told, _) = run(&mut agent, &mut verifier);
    let fault = crate::fixture::refused(told);
    assert_eq!(fault.kind, "not_accepted");
    assert!(fault.note.is_empty());
}

#[test]
fn text_of_a_peer_that_gives_up_starts_no_line_in_a_log() {
    let fault = |kind: &str| Fault {
        kind: kind.to_owned(),
        detail: "first\n\x1b[31mINFO second".to_owned(),
        note: Vec::new(),
    };
    let tee = Tee::new();
    let told = |fault: &Fault| {
        let (mut raw, mut side) = attested(&tee, Limits::DEFAULT);
        raw.frame(MessageType::Error, &encode_bcs(fault).unwrap());
        raw.carry(&mut side)
    };
    let heard = crate::fixture::refused(told(&fault("busy")));
    assert_eq!(heard.detail, "first  [31mINFO second");
    for kind in ["busy\n", "two words", &"x".repeat(65)] {
        assert_eq!(
            told(&fault(kind)),
            Some(ChannelError::PayloadInvalid {
                message_type: MessageType::Error,
                what: "the fault's name is none".to_owned()
            })
        );
    }
}
