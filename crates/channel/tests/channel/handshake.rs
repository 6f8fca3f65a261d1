//! What opens a channel.

use nautilus_channel::{Event, MessageId, MessageType, Peer};
use nautilus_core::AppraisalVerdict;

use crate::fixture::{NODE, START, Tee, open, run};

#[test]
fn evidence_one_way_and_a_key_the_other_open_a_channel() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = open(&tee);
    let Some(Peer::Attested(attested)) = verifier.end.peer() else {
        panic!("{:?}", verifier.end.peer());
    };
    assert_eq!(attested.appraisal().verdict(), AppraisalVerdict::Accepted);
    assert!(matches!(agent.end.peer(), Some(Peer::Identified(_))));
    assert_eq!(agent.end.note(), b"outcome");
    assert_eq!(verifier.end.node(), Some(NODE));
    assert_eq!(agent.end.channel_id(), verifier.end.channel_id());
    assert!(matches!(agent.events.as_slice(), [Event::Established]));

    let id = MessageId([9; 16]);
    agent
        .end
        .send(MessageType::Attestation, id, false, b"question", START)
        .unwrap();
    assert_eq!(run(&mut agent, &mut verifier), (None, None));
    let [Event::Established, Event::Message(message)] = verifier.events.as_slice() else {
        panic!("{:?}", verifier.events);
    };
    assert_eq!(
        (message.message_id, message.payload.as_slice()),
        (id, b"question".as_slice())
    );
    // Hello, verdict, credential, question.
    assert_eq!(message.sequence_num, 4);
}
