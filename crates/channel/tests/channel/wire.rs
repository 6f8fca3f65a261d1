//! Who holds the wire: replay, reordering, truncation, reflection, forgery.

use nautilus_channel::{ChannelError, Reason};

use crate::fixture::{Side, Tee, agent, open, run, verifier};
use crate::raw::attested;

/// What an agent and a verifier sent each other, up to an open channel and one message.
fn recorded(tee: &Tee) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut a, mut b) = (Side::initiator(agent(), tee), Side::responder(verifier(), tee));
    let (mut from_agent, mut from_verifier) = (Vec::new(), Vec::new());
    loop {
        let (sent, answered) = (a.output(), b.output());
        if sent.is_empty() && answered.is_empty() {
            break;
        }
        b.take(&sent).unwrap();
        a.take(&answered).unwrap();
        from_agent.push(sent);
        from_verifier.push(answered);
    }
    a.say(b"pay");
    from_agent.push(a.output());
    (from_agent, from_verifier)
}

/// The records in a stream of TLS.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = bytes {
        let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        let (record, rest) = bytes.split_at(length);
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

#[test]
fn a_replayed_session_does_not_get_beyond_tls_at_a_fresh_responder() {
    let tee = Tee::new();
    let (from_agent, _) = recorded(&tee);
    let mut fresh = Side::responder(verifier(), &tee);
    assert_eq!(fresh.take(&from_agent.concat()), Err(ChannelError::RecordForged));
    assert!(fresh.events.is_empty());
}

#[test]
fn a_replayed_session_does_not_get_beyond_tls_at_a_fresh_initiator() {
    let tee = Tee::new();
    let (_, from_verifier) = recorded(&tee);
    let mut fresh = Side::initiator(agent(), &tee);
    assert_eq!(
        fresh.take(&from_verifier.concat()),
        Err(ChannelError::RecordForged)
    );
    assert!(fresh.events.is_empty());
}

#[test]
fn a_replayed_record_is_refused() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.say(b"pay");
    let record = agent.output();
    verifier.take(&record).unwrap();
    assert_eq!(verifier.payloads(), [b"pay"]);
    assert_eq!(verifier.take(&record), Err(ChannelError::RecordForged));
    assert_eq!(verifier.payloads(), [b"pay"]);
}

#[test]
fn records_in_another_order_are_refused() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.say(b"first");
    let first = agent.output();
    agent.say(b"second");
    let second = agent.output();
    assert_eq!(
        verifier.take(&[second, first].concat()),
        Err(ChannelError::RecordForged)
    );
    assert!(verifier.payloads().is_empty());
}

#[test]
fn a_dropped_record_is_noticed_with_the_next() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.say(b"dropped");
    agent.output();
    agent.say(b"second");
    let second = agent.output();
    assert_eq!(verifier.take(&second), Err(ChannelError::RecordForged));
}

#[test]
fn every_changed_byte_of_a_record_is_refused() {
    let tee = Tee::new();
    // The type, the version, the length, and the cipher text from its start to its end.
    for position in [0, 1, 5, 30, 60, usize::MAX] {
        let (mut agent, mut verifier) = open(&tee);
        agent.say(b"pay 1");
        let mut record = agent.output();
        let position = position.min(record.len() - 1);
        record[position] ^= 0x40;
        let error = verifier.take(&record).unwrap_err();
        match position {
            0 | 1 => assert!(matches!(error, ChannelError::Tls(_)), "{position}: {error:?}"),
            _ => assert_eq!(error, ChannelError::RecordForged, "{position}"),
        }
        assert!(verifier.payloads().is_empty());
    }
}

#[test]
fn a_record_longer_than_tls_allows_is_refused_by_its_header() {
    let tee = Tee::new();
    let (_, mut verifier) = open(&tee);
    assert_eq!(
        verifier.take(&[0x17, 3, 3, 0x48, 1]),
        Err(ChannelError::RecordOversized)
    );
    // Before anybody is known just the same.
    let mut fresh = Side::responder(self::verifier(), &tee);
    assert_eq!(
        fresh.take(&[0x16, 3, 1, 0x50, 0, 1]),
        Err(ChannelError::RecordOversized)
    );
}

#[test]
fn what_an_end_sent_is_no_answer_to_it() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.say(b"pay");
    let record = agent.output();
    assert_eq!(agent.take(&record), Err(ChannelError::RecordForged));
    verifier.say(b"paid");
    let record = verifier.output();
    assert_eq!(verifier.take(&record), Err(ChannelError::RecordForged));
}

#[test]
fn a_hello_of_tls_that_is_reflected_is_no_answer_to_it() {
    let tee = Tee::new();
    let mut agent = Side::initiator(agent(), &tee);
    let hello = agent.output();
    match agent.take(&hello) {
        Err(ChannelError::Tls(what)) => assert!(what.contains("ClientHello"), "{what}"),
        other => panic!("{other:?}"),
    }
}

/// Runs a handshake in which the agent's stream is cut after `cut` bytes. Gives how it ends for the verifier, and how
/// many bytes there would have been.
fn cut_after(tee: &Tee, cut: usize) -> (Option<ChannelError>, usize) {
    let (mut agent, mut verifier) = (Side::initiator(agent(), tee), Side::responder(verifier(), tee));
    let mut passed = 0;
    loop {
        let (sent, answered) = (agent.output(), verifier.output());
        if passed + sent.len() > cut {
            verifier.take(&sent[..cut - passed]).unwrap();
            assert!(verifier.events.is_empty(), "established after {cut} bytes");
            return (Some(verifier.end.ended()), cut);
        }
        passed += sent.len();
        verifier.take(&sent).unwrap();
        agent.take(&answered).unwrap();
        if sent.is_empty() && answered.is_empty() {
            return (None, passed);
        }
    }
}

#[test]
fn a_handshake_that_is_cut_anywhere_is_truncated() {
    let tee = Tee::new();
    let (whole, length) = cut_after(&tee, usize::MAX);
    assert_eq!(whole, None);
    let near_the_ends = (0..8).chain(length - 8..length);
    for cut in near_the_ends.chain((8..length).step_by(199)) {
        assert_eq!(cut_after(&tee, cut).0, Some(ChannelError::Truncated), "{cut}");
    }
}

#[test]
fn a_handshake_that_arrives_byte_by_byte_opens_with_its_last_byte() {
    let tee = Tee::new();
    let (mut a, mut b) = (Side::initiator(agent(), &tee), Side::responder(verifier(), &tee));
    loop {
        let (sent, answered) = (a.output(), b.output());
        if sent.is_empty() && answered.is_empty() {
            break;
        }
        for (side, bytes) in [(&mut b, &sent), (&mut a, &answered)] {
            for byte in bytes {
                assert!(side.events.is_empty());
                side.take(&[*byte]).unwrap();
            }
        }
    }
    assert_eq!((a.events.len(), b.events.len()), (1, 1));
}

#[test]
fn an_end_in_the_middle_of_a_record_is_a_truncation() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.say(b"first");
    agent.say(b"second");
    let bytes = agent.output();
    let last = records(&bytes).pop().unwrap();
    verifier.take(&bytes[..bytes.len() - last.len() / 2]).unwrap();
    assert_eq!(verifier.payloads(), [b"first"]);
    assert_eq!(verifier.end.ended(), ChannelError::Truncated);
}

#[test]
fn an_end_after_data_without_a_termination_is_a_truncation() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.say(b"first");
    assert_eq!(run(&mut agent, &mut verifier), (None, None));
    assert_eq!(verifier.end.ended(), ChannelError::Truncated);
    assert_eq!(verifier.end.peer().is_none(), verifier.end.next_tick().is_none());
    assert!(verifier.end.peer().is_none());
}

#[test]
fn tls_that_is_closed_without_a_termination_is_a_truncation() {
    let tee = Tee::new();
    let (mut raw, mut verifier) = attested(&tee, nautilus_channel::Limits::DEFAULT);
    raw.tls.send_close_notify();
    assert_eq!(raw.carry(&mut verifier), Some(ChannelError::Truncated));
}

#[test]
fn a_cut_before_the_termination_is_not_taken_for_it() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    agent.end.terminate(Reason::Done, "", agent.now);
    let records = records(&agent.output());
    let [termination, close] = records.as_slice() else {
        panic!("{} records", records.len());
    };
    // The first alone ends the session in order; the second alone does not authenticate.
    let (_, mut other) = open(&tee);
    assert_eq!(other.take(close), Err(ChannelError::RecordForged));
    verifier.take(termination).unwrap();
    assert!(matches!(verifier.end.ended(), ChannelError::Terminated(_)));
}
