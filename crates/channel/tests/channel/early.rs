//! Nothing of the application before both appraisals.

use nautilus_channel::{ChannelError, Credential, MessageId, MessageType, Verdict};

use crate::fixture::{Side, Tee, agent, verifier};
use crate::raw::{Content, Raw, called, greeted};
use crate::setup::Setup;

/// The types that are the application's.
const OF_THE_APPLICATION: [MessageType; 4] = [
    MessageType::PerformanceData,
    MessageType::ProofRequest,
    MessageType::ProofResponse,
    MessageType::KeyRotation,
];

fn no_evidence(due: &'static str, found: &str) -> Option<ChannelError> {
    Some(ChannelError::NoEvidence {
        due,
        found: found.to_owned(),
    })
}

fn cannot_send(side: &mut Side<'_>) {
    let own = no_evidence("verdict", "a message of our own");
    for message_type in MessageType::ALL {
        let now = side.now;
        let sent = side
            .end
            .send(message_type, MessageId([9; 16]), false, b"early", now);
        assert_eq!(sent.err(), own, "{message_type}");
    }
}

/// A message of the application's, while this is due of the peer.
fn refuses(mut raw: Raw, mut side: Side<'_>, due: &'static str) {
    cannot_send(&mut side);
    raw.frame(MessageType::ProofRequest, &[]);
    assert_eq!(
        raw.carry(&mut side),
        no_evidence(due, "a message of type proof_request")
    );
    assert!(side.payloads().is_empty());
    assert!(side.end.peer().is_none());
}

#[test]
fn an_end_whose_tls_is_not_done_sends_nothing() {
    let tee = Tee::new();
    cannot_send(&mut Side::initiator(agent(), &tee));
    cannot_send(&mut Side::responder(verifier(), &tee));
}

#[test]
fn a_message_before_the_hello_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side) = (Raw::initiator(&Setup::right()), Side::responder(verifier(), &tee));
    assert_eq!(raw.carry(&mut side), None);
    refuses(raw, side, "hello");
    let (raw, side, _) = called(&Setup::right(), &tee);
    refuses(raw, side, "hello");
}

#[test]
fn a_message_before_the_verdict_on_the_responder_is_refused() {
    let tee = Tee::new();
    let (raw, side, _) = greeted(&Setup::right(), &tee);
    refuses(raw, side, "verdict");
}

#[test]
fn a_message_before_the_credential_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, _) = greeted(&Setup::right(), &tee);
    raw.say_verdict();
    assert_eq!(raw.carry(&mut side), None);
    refuses(raw, side, "credential");
    let (mut raw, mut side, _) = called(&Setup::right(), &tee);
    raw.say_hello();
    assert_eq!(raw.carry(&mut side), None);
    refuses(raw, side, "credential");
}

#[test]
fn a_message_while_the_evidence_is_judged_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    raw.say_verdict();
    raw.say_credential(&Credential::Evidence(Box::new(tee.present(&present))));
    // Its judge takes his time.
    side.end.receive(&raw.output(), side.now).unwrap();
    cannot_send(&mut side);
    raw.frame(MessageType::ProofRequest, &[]);
    assert_eq!(
        side.end.receive(&raw.output(), side.now).err(),
        no_evidence("silence", "a message of type proof_request")
    );
}

#[test]
fn a_message_of_the_verifier_before_its_verdict_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, hello) = called(&Setup::right(), &tee);
    raw.say_hello();
    say_key(&mut raw, hello.nonce);
    assert_eq!(raw.carry(&mut side), None);
    refuses(raw, side, "verdict");
}

/// The verifier's true credential.
fn say_key(raw: &mut Raw, nonce: nautilus_core::Digest32) {
    use nautilus_channel::SessionKeyHolder as _;
    let key = crate::fixture::Key::new(crate::fixture::VERIFIER);
    let session = raw.session(nonce);
    raw.say_credential(&Credential::Key {
        key: key.public(),
        signature: key.sign(&session),
    });
}

#[test]
fn a_message_with_content_is_refused_by_its_header() {
    let tee = Tee::new();
    for message_type in OF_THE_APPLICATION {
        let (mut raw, mut side, _) = greeted(&Setup::right(), &tee);
        let header = raw.header(message_type, 1);
        raw.plain_text(&header);
        let too_long = ChannelError::PayloadTooLong {
            message_type,
            length: 1,
            limit: 0,
        };
        assert_eq!(
            raw.carry(&mut side),
            no_evidence("verdict", &format!("something else ({too_long})"))
        );
    }
}

#[test]
fn a_second_hello_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, _) = greeted(&Setup::right(), &tee);
    raw.say_hello();
    assert_eq!(raw.carry(&mut side), no_evidence("verdict", "a hello"));
}

#[test]
fn a_verdict_before_the_hello_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side) = (Raw::initiator(&Setup::right()), Side::responder(verifier(), &tee));
    assert_eq!(raw.carry(&mut side), None);
    raw.say_verdict();
    assert_eq!(raw.carry(&mut side), no_evidence("hello", "a verdict"));
}

#[test]
fn a_verdict_in_the_place_of_a_credential_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, _) = called(&Setup::right(), &tee);
    raw.say_hello();
    raw.say_verdict();
    assert_eq!(
        raw.carry(&mut side),
        no_evidence("credential", "a message of type handshake")
    );
    // The responder does not accept itself by saying its verdict twice either.
    let (mut raw, mut side, _) = greeted(&Setup::right(), &tee);
    raw.say_verdict();
    raw.say_verdict();
    assert_eq!(
        raw.carry(&mut side),
        no_evidence("credential", "a message of type handshake")
    );
}

#[test]
fn a_credential_before_the_verdict_on_ours_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    raw.say_credential(&Credential::Evidence(Box::new(tee.present(&present))));
    assert_eq!(
        raw.carry(&mut side),
        no_evidence("verdict", "a message of type attestation")
    );
}

#[test]
fn a_handshake_message_that_is_an_answer_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, _) = greeted(&Setup::right(), &tee);
    let verdict = Content::Verdict(Verdict {
        accepted_until: side.now.wall.plus(1000),
        note: Vec::new(),
    });
    let payload = nautilus_channel::encode_bcs(&verdict).unwrap();
    let mut header = raw.header(MessageType::Handshake, payload.len());
    header[6] = 2;
    raw.write(header, &payload);
    assert_eq!(
        raw.carry(&mut side),
        no_evidence("verdict", "a message of type handshake")
    );
}

#[test]
fn a_verdict_that_is_over_already_opens_nothing() {
    let tee = Tee::new();
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    let at = side.now.wall;
    raw.say(&Content::Verdict(Verdict {
        accepted_until: at,
        note: Vec::new(),
    }));
    raw.say_credential(&Credential::Evidence(Box::new(tee.present(&present))));
    assert_eq!(raw.carry(&mut side), Some(ChannelError::Expired { at }));
    assert!(side.events.is_empty());
}
