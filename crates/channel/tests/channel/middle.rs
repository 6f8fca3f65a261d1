//! Somebody in the middle: evidence that is genuine, and of another session.

use nautilus_channel::{
    ChannelError, Credential, CredentialKind, Demand, Fault, Hello, Judgement, MessageType, Present,
    SessionKeyHolder as _, encode_bcs,
};
use nautilus_core::{Digest32, End, NodeId, PublicKey, Role, SessionBinding, VerifyError};

use crate::fixture::{Key, Side, Tee, VERIFIER, WANTED, agent, refused, run, verifier};
use crate::raw::{Content, Raw, called, greeted};
use crate::setup::Setup;

/// A field, and how it is another.
type Change = (&'static str, fn(&mut SessionBinding));

fn mismatch(field: &str) -> Option<ChannelError> {
    Some(ChannelError::Evidence(VerifyError::SessionMismatch {
        field: field.to_owned(),
    }))
}

/// Somebody between an agent and a verifier: TLS with each, and the agent's nonce as its own towards the verifier.
struct Between<'a> {
    to_agent: Raw,
    agent: Side<'a>,
    to_verifier: Raw,
    verifier: Side<'a>,
    /// What the verifier said.
    hello: Hello,
    credential: Credential,
}

/// The agent demands `demands` of whom it takes for the verifier.
fn between(tee: &Tee, demands: Demand) -> Between<'_> {
    let mut config = agent();
    config.demands = demands;
    let (mut to_agent, mut agent) = (Raw::responder(&Setup::right()), Side::initiator(config, tee));
    assert_eq!(to_agent.carry(&mut agent), None);
    let agents = to_agent.heard_hello();

    let (mut to_verifier, mut verifier) = (Raw::initiator(&Setup::right()), Side::responder(verifier(), tee));
    assert_eq!(to_verifier.carry(&mut verifier), None);
    to_verifier.nonce = agents.nonce;
    let relayed = Hello {
        demands: CredentialKind::Key,
        ..agents
    };
    to_verifier.say(&Content::Hello(Box::new(relayed)));
    assert_eq!(to_verifier.carry(&mut verifier), None);
    let hello = to_verifier.heard_hello();
    to_agent.nonce = hello.nonce;
    Between {
        to_agent,
        agent,
        credential: to_verifier.heard_credential(),
        to_verifier,
        verifier,
        hello,
    }
}

impl Between<'_> {
    /// Gives the agent the verifier's hello, without the key that the agent does not demand, and takes the evidence
    /// that it presents.
    fn lured(&mut self) -> Credential {
        let hello = Hello {
            presents: CredentialKind::Nothing,
            ..self.hello.clone()
        };
        self.to_agent.say(&Content::Hello(Box::new(hello)));
        self.to_agent.say_credential(&Credential::Nothing);
        assert_eq!(self.to_agent.carry(&mut self.agent), None);
        assert!(self.to_agent.heard().is_some(), "a verdict");
        self.to_agent.heard_credential()
    }

    fn hand_over(&mut self, credential: &Credential) -> Option<ChannelError> {
        self.to_verifier.say_verdict();
        self.to_verifier.say_credential(credential);
        self.to_verifier.carry(&mut self.verifier)
    }
}

#[test]
fn a_relayed_signature_of_the_verifier_is_refused_by_the_agent() {
    let tee = Tee::new();
    let mut between = between(&tee, Demand::Key(Key::new(VERIFIER).public()));
    between
        .to_agent
        .say(&Content::Hello(Box::new(between.hello.clone())));
    between.to_agent.say_credential(&between.credential);
    assert_eq!(
        between.to_agent.carry(&mut between.agent),
        Some(ChannelError::KeyUnexpected(
            "its signature is not of this session"
        ))
    );
    assert_eq!(between.to_agent.heard_fault().kind, "key_unexpected");
}

#[test]
fn evidence_relayed_from_an_honest_agent_is_refused_by_the_verifier() {
    let tee = Tee::new();
    let mut between = between(&tee, Demand::Nothing);
    let credential = between.lured();
    assert!(matches!(credential, Credential::Evidence(_)));
    // Both nonces are the same in both sessions; the session's key is not.
    assert_eq!(between.hand_over(&credential), mismatch("own_key"));
    assert_eq!(between.to_verifier.heard_fault().kind, "session_mismatch");
}

#[test]
fn evidence_of_a_tee_elsewhere_with_the_values_of_the_honest_session_is_refused() {
    let tee = Tee::new();
    let mut between = between(&tee, Demand::Nothing);
    // The genuine program on a machine of the attacker's states what it is told that the agent's session is.
    let session = SessionBinding {
        role: Role::Agent,
        peer_role: Role::Verifier,
        end: End::Initiator,
        own_key: Digest32([0xaa; 32]),
        peer_key: between.to_agent.key,
        ..between.to_agent.session(between.to_verifier.nonce)
    };
    let present = Present {
        terms: between.hello.challenge.clone().unwrap(),
        session,
    };
    let credential = Credential::Evidence(Box::new(tee.present(&present)));
    assert_eq!(between.hand_over(&credential), mismatch("own_key"));
}

#[test]
fn evidence_of_a_tee_elsewhere_that_runs_another_program_is_not_accepted() {
    let tee = Tee::new();
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    // It states the right session, for its program states what the attacker wants.
    let evidence = tee.present_as([0xbb; 32], &present, |_| {});
    raw.say_verdict();
    raw.say_credential(&Credential::Evidence(Box::new(evidence)));
    match raw.carry(&mut side) {
        Some(ChannelError::NotAccepted { detail, .. }) => assert!(detail.contains("mrenclave"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn evidence_of_another_vendors_tee_is_refused() {
    let (tee, elsewhere) = (Tee::new(), Tee::new());
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    raw.say_verdict();
    raw.say_credential(&Credential::Evidence(Box::new(elsewhere.present(&present))));
    let error = raw.carry(&mut side);
    assert!(
        matches!(error, Some(ChannelError::Evidence(VerifyError::Untrusted { .. }))),
        "{error:?}"
    );
}

#[test]
fn a_genuine_tee_that_the_registry_knows_as_another_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    const REGISTERED: &str = "another platform";
    side.judges = Box::new(|appraise, now| match tee.judge(appraise, now) {
        Judgement::Appraised { appraisal, .. } if appraisal.claims().device.id != REGISTERED => {
            Judgement::NotRegistered {
                kind: "platform_differs".to_owned(),
                detail: appraisal.claims().device.id.clone(),
            }
        }
        _ => panic!("the platform is the registered"),
    });
    raw.say_verdict();
    raw.say_credential(&Credential::Evidence(Box::new(tee.present(&present))));
    let error = raw.carry(&mut side).unwrap();
    assert!(matches!(error, ChannelError::NotRegistered { .. }), "{error:?}");
    assert_eq!(raw.heard_fault().kind, "platform_differs");
}

#[test]
fn a_leaked_session_key_of_one_tee_does_not_carry_the_evidence_of_another() {
    let tee = Tee::new();
    // The attacker holds the key that this TEE used for a session, and opens a connection under it.
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    // Another TEE vouches for the session that it terminates itself, under a key that did not leak.
    let other = Setup {
        key: 2,
        proves: 2,
        chain: Some(vec![crate::setup::certificate(2)]),
        ..Setup::right()
    };
    let (_, _, elsewhere) = greeted(&other, &tee);
    let genuine = Present {
        terms: present.terms.clone(),
        session: SessionBinding {
            own_key: elsewhere.session.own_key,
            ..present.session
        },
    };
    raw.say_verdict();
    raw.say_credential(&Credential::Evidence(Box::new(tee.present(&genuine))));
    assert_eq!(raw.carry(&mut side), mismatch("own_key"));
}

#[test]
fn evidence_that_differs_in_any_field_of_the_session_is_refused_by_its_name() {
    let tee = Tee::new();
    let change: [Change; 11] = [
        ("label", |b| b.label = "nautilus-channel/2".to_owned()),
        ("role", |b| b.role = Role::Enclave),
        ("peer_role", |b| b.peer_role = Role::Agent),
        ("end", |b| b.end = End::Responder),
        ("node", |b| b.node = NodeId([9; 32])),
        ("exporter", |b| b.exporter.0[0] ^= 1),
        ("initiator_nonce", |b| b.initiator_nonce.0[0] ^= 1),
        ("responder_nonce", |b| b.responder_nonce.0[0] ^= 1),
        ("own_key", |b| b.own_key.0[0] ^= 1),
        ("peer_key", |b| b.peer_key.0[0] ^= 1),
        ("group", |b| b.group = 0x1d),
    ];
    for (field, change) in change {
        let (mut raw, mut side, mut present) = greeted(&Setup::right(), &tee);
        let node = present.session.node;
        change(&mut present.session);
        let evidence = tee.present_as(WANTED, &present, |user_data| user_data.node = node);
        raw.say_verdict();
        raw.say_credential(&Credential::Evidence(Box::new(evidence)));
        assert_eq!(raw.carry(&mut side), mismatch(field), "{field}");
    }
}

#[test]
fn evidence_diverted_from_another_verifier_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
    // It was made for a challenge that names another verifier.
    let mut diverted = present.clone();
    diverted.terms.verifier = PublicKey([0x66; 32]);
    raw.say_verdict();
    raw.say_credential(&Credential::Evidence(Box::new(tee.present(&diverted))));
    let error = raw.carry(&mut side);
    let Some(ChannelError::Evidence(VerifyError::ChallengeMismatch { expected, found })) = error else {
        panic!("{error:?}");
    };
    assert_eq!(expected, present.terms.challenge().digest().to_string());
    assert_eq!(found, diverted.terms.challenge().digest().to_string());
}

#[test]
fn a_refusal_of_somebody_who_did_not_show_the_verifiers_key_is_nobodys_word() {
    let tee = Tee::new();
    let (mut raw, mut side, _) = called(&Setup::right(), &tee);
    raw.say_hello();
    let forged = Fault {
        kind: "not_accepted".to_owned(),
        detail: "the policy rejected it".to_owned(),
        note: b"an outcome that no verifier made".to_vec(),
    };
    raw.frame(MessageType::Error, &encode_bcs(&forged).unwrap());
    let error = raw.carry(&mut side).unwrap();
    assert!(error.may_pass(), "{error}");
    assert_eq!(
        error,
        ChannelError::RefusedByStranger(Fault {
            note: Vec::new(),
            ..forged
        })
    );
}

#[test]
fn a_verifier_that_asks_for_evidence_in_the_name_of_another_gets_none() {
    let tee = Tee::new();
    let (mut raw, mut side, _) = called(&Setup::right(), &tee);
    let mut hello = raw.hello();
    hello.challenge.as_mut().unwrap().verifier = PublicKey([0x66; 32]);
    raw.say(&Content::Hello(Box::new(hello)));
    assert_eq!(
        raw.carry(&mut side),
        Some(ChannelError::KeyUnexpected("its challenge is another key's"))
    );
}

#[test]
fn a_judge_that_accepts_evidence_of_another_session_does_not_open_the_channel() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = (Side::initiator(agent(), &tee), Side::responder(verifier(), &tee));
    agent.presents = Box::new(|present| {
        let mut other = present.clone();
        other.session.exporter = Digest32([0; 32]);
        tee.present(&other)
    });
    // It takes from the evidence what the session is.
    verifier.judges = Box::new(|mut appraise, now| {
        appraise.session.exporter = Digest32([0; 32]);
        tee.judge(appraise, now)
    });
    let (told, error) = run(&mut agent, &mut verifier);
    assert_eq!(error, mismatch("exporter"));
    assert_eq!(refused(told).kind, "session_mismatch");
}
