//! Evidence, keys and hellos that are not what they must be.

use std::time::Duration;

use nautilus_channel::{ChannelError, Credential, Demand, Judgement, KernelPeer, SessionKeyHolder as _};
use nautilus_core::{Digest32, NodeId, Purpose, Role, SessionBinding, Signature, VerifyError};

use crate::fixture::{Key, NODE, START, Side, Tee, VERIFIER, WANTED, agent, refused, run, verifier};
use crate::raw::{called, greeted};
use crate::setup::Setup;

/// An honest pair, of which the test changes one.
fn pair(tee: &Tee) -> (Side<'_>, Side<'_>) {
    (Side::initiator(agent(), tee), Side::responder(verifier(), tee))
}

#[test]
fn stale_evidence_is_refused_once_its_challenge_expired() {
    let tee = Tee::new();
    let mut config = verifier();
    config.limits.challenge = Duration::from_secs(5);
    let (mut agent, mut verifier) = (Side::initiator(agent(), &tee), Side::responder(config, &tee));
    verifier.judges = Box::new(|appraise, now| tee.judge(appraise, now.plus(5_000)));
    let (told, error) = run(&mut agent, &mut verifier);
    let expired_at = START.wall.plus(5_000);
    assert_eq!(
        error,
        Some(ChannelError::Evidence(VerifyError::ChallengeExpired {
            expired_at
        }))
    );
    assert_eq!(refused(told).kind, "evidence_invalid");
}

#[test]
fn an_appraisal_that_is_over_opens_nothing() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = pair(&tee);
    verifier.now.wall = START.wall.plus(48 * 60 * 60 * 1000);
    verifier.judges = Box::new(|appraise, _| tee.judge(appraise, START.wall));
    let (told, error) = run(&mut agent, &mut verifier);
    let Some(ChannelError::Expired { at }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(at, START.wall.plus(24 * 60 * 60 * 1000));
    assert_eq!(refused(told).kind, "expired");
}

#[test]
fn an_enclaves_evidence_in_the_agents_place_is_refused() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = pair(&tee);
    agent.presents = Box::new(|present| {
        tee.present_as(WANTED, present, |user_data| {
            user_data.session = Some(SessionBinding {
                role: Role::Enclave,
                peer_role: Role::Agent,
                ..present.session.clone()
            });
        })
    });
    let (told, error) = run(&mut agent, &mut verifier);
    let field = "role".to_owned();
    assert_eq!(
        error,
        Some(ChannelError::Evidence(VerifyError::SessionMismatch { field }))
    );
    assert_eq!(refused(told).kind, "session_mismatch");
}

#[test]
fn evidence_that_binds_no_session_is_refused() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = pair(&tee);
    agent.presents =
        Box::new(|present| tee.present_as(WANTED, present, |user_data| user_data.session = None));
    let (_, error) = run(&mut agent, &mut verifier);
    let field = "session".to_owned();
    assert_eq!(
        error,
        Some(ChannelError::Evidence(VerifyError::SessionMismatch { field }))
    );
}

#[test]
fn evidence_made_for_boot_or_for_another_node_is_refused() {
    let tee = Tee::new();
    for boot in [true, false] {
        let (mut agent, mut verifier) = pair(&tee);
        agent.presents = Box::new(|present| {
            tee.present_as(WANTED, present, |user_data| match boot {
                true => user_data.purpose = Purpose::Boot,
                false => user_data.node = NodeId([9; 32]),
            })
        });
        let (_, error) = run(&mut agent, &mut verifier);
        let Some(ChannelError::Evidence(VerifyError::UserDataInvalid { what })) = error else {
            panic!("{error:?}");
        };
        let named = if boot { "purpose is boot" } else { "names node" };
        assert!(what.contains(named), "{what}");
    }
}

#[test]
fn evidence_of_another_program_is_not_accepted_and_its_findings_are_delivered() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = pair(&tee);
    agent.presents = Box::new(|present| tee.present_as([0xbb; 32], present, |_| {}));
    let (told, error) = run(&mut agent, &mut verifier);
    let Some(ChannelError::NotAccepted { detail, note }) = error else {
        panic!("{error:?}");
    };
    assert!(detail.contains("mrenclave"), "{detail}");
    assert_eq!(note, b"outcome");
    let fault = refused(told);
    assert_eq!(
        (fault.kind.as_str(), fault.note.as_slice()),
        ("not_accepted", b"outcome".as_slice())
    );
    assert!(fault.detail.contains("mrenclave"), "{}", fault.detail);
    assert!(agent.end.peer().is_none() && verifier.end.peer().is_none());
}

#[test]
fn evidence_whose_bytes_were_changed_is_refused() {
    let tee = Tee::new();
    let (mut agent, mut verifier) = pair(&tee);
    agent.presents = Box::new(|present| {
        let mut presented = tee.present(present);
        *presented.user_data.last_mut().unwrap() ^= 1;
        presented
    });
    let (_, error) = run(&mut agent, &mut verifier);
    assert_eq!(error, Some(ChannelError::Evidence(VerifyError::UserDataMismatch)));
}

#[test]
fn a_verifier_that_signs_with_another_key_is_refused() {
    let tee = Tee::new();
    let (mut raw, mut side, hello) = called(&Setup::right(), &tee);
    raw.say_hello();
    let key = Key::new(VERIFIER + 1);
    raw.say_credential(&Credential::Key {
        key: key.public(),
        signature: key.sign(&raw.session(hello.nonce)),
    });
    assert_eq!(
        raw.carry(&mut side),
        Some(ChannelError::KeyUnexpected("it is another key"))
    );
    assert_eq!(raw.heard_fault().kind, "key_unexpected");
}

#[test]
fn a_signature_of_another_session_or_of_nothing_is_refused() {
    let tee = Tee::new();
    let change: [fn(&mut SessionBinding); 4] = [
        |b| b.exporter = Digest32([0; 32]),
        |b| b.own_key = Digest32([0; 32]),
        // What the agent itself would state.
        |b| {
            (b.role, b.peer_role, b.end) = (b.peer_role, b.role, b.end.other());
            std::mem::swap(&mut b.own_key, &mut b.peer_key);
        },
        |b| b.node = NodeId([9; 32]),
    ];
    let unexpected = Some(ChannelError::KeyUnexpected(
        "its signature is not of this session",
    ));
    let key = Key::new(VERIFIER);
    for change in change {
        let (mut raw, mut side, hello) = called(&Setup::right(), &tee);
        raw.say_hello();
        let mut session = raw.session(hello.nonce);
        change(&mut session);
        raw.say_credential(&Credential::Key {
            key: key.public(),
            signature: key.sign(&session),
        });
        assert_eq!(raw.carry(&mut side), unexpected);
    }
    let (mut raw, mut side, _) = called(&Setup::right(), &tee);
    raw.say_hello();
    raw.say_credential(&Credential::Key {
        key: key.public(),
        signature: Signature([0; 64]),
    });
    assert_eq!(raw.carry(&mut side), unexpected);
}

#[test]
fn the_agents_own_evidence_is_no_credential_of_the_verifier() {
    let tee = Tee::new();
    let (mut raw, mut side, hello) = called(&Setup::right(), &tee);
    raw.say_hello();
    let present = nautilus_channel::Present {
        terms: raw.hello().challenge.unwrap(),
        session: raw.session(hello.nonce),
    };
    raw.say_credential(&Credential::Evidence(Box::new(tee.present(&present))));
    assert_eq!(
        raw.carry(&mut side),
        Some(ChannelError::NoEvidence {
            due: "credential",
            found: "evidence".to_owned()
        })
    );
}

#[test]
fn evidence_that_is_reflected_in_a_mutual_session_is_refused() {
    let tee = Tee::new();
    let mutual = |mut config: nautilus_channel::Config| {
        config.presents = nautilus_channel::Presentation::Evidence;
        config.node = Some(NODE);
        config.demands = Demand::Evidence {
            verifier: None,
            child: None,
        };
        config
    };
    // Honest first.
    let (mut a, mut b) = (
        Side::initiator(mutual(agent()), &tee),
        Side::responder(mutual(verifier()), &tee),
    );
    assert_eq!(run(&mut a, &mut b), (None, None));
    // One end states what the other would: its own, given back.
    let (mut a, mut b) = (
        Side::initiator(mutual(agent()), &tee),
        Side::responder(mutual(verifier()), &tee),
    );
    b.presents = Box::new(|present| {
        let mut reflected = present.clone();
        let stated = &present.session;
        reflected.session = SessionBinding {
            role: stated.peer_role,
            peer_role: stated.role,
            end: stated.end.other(),
            own_key: stated.peer_key,
            peer_key: stated.own_key,
            ..stated.clone()
        };
        tee.present(&reflected)
    });
    let (error, told) = run(&mut a, &mut b);
    let field = "role".to_owned();
    assert_eq!(
        error,
        Some(ChannelError::Evidence(VerifyError::SessionMismatch { field }))
    );
    assert_eq!(refused(told).kind, "session_mismatch");
}

#[test]
fn what_cannot_be_verified_here_is_enough_only_for_a_child_of_this_process() {
    let tee = Tee::new();
    let why = || VerifyError::KeyNotEnrolled {
        what: "the platform's".to_owned(),
    };
    let (mut agent, mut verifier) = pair(&tee);
    verifier.judges = Box::new(|_, _| Judgement::Unverifiable(why()));
    let (_, error) = run(&mut agent, &mut verifier);
    assert_eq!(error, Some(ChannelError::Evidence(why())));

    let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
    let child = KernelPeer::of(&here).unwrap();
    let with_child = || {
        let mut config = self::verifier();
        config.demands = Demand::Evidence {
            verifier: Some(Key::new(VERIFIER).public()),
            child: Some(child),
        };
        config
    };
    let (mut agent, mut verifier) = (
        Side::initiator(self::agent(), &tee),
        Side::responder(with_child(), &tee),
    );
    verifier.judges = Box::new(|_, _| Judgement::Unverifiable(why()));
    assert_eq!(run(&mut agent, &mut verifier), (None, None));
    let Some(nautilus_channel::Peer::Kin(kin)) = verifier.end.peer() else {
        panic!("{:?}", verifier.end.peer());
    };
    assert_eq!((kin.kernel(), kin.why()), (child, why().to_string().as_str()));

    // Evidence that is bad is bad, also of a child.
    let (mut agent, mut verifier) = (
        Side::initiator(self::agent(), &tee),
        Side::responder(with_child(), &tee),
    );
    verifier.judges = Box::new(|_, _| Judgement::Invalid(why()));
    let (_, error) = run(&mut agent, &mut verifier);
    assert_eq!(error, Some(ChannelError::Evidence(why())));

    // So is evidence of another session, which needs no vendor to be seen.
    let (mut agent, mut verifier) = (
        Side::initiator(self::agent(), &tee),
        Side::responder(with_child(), &tee),
    );
    agent.presents = Box::new(|present| {
        let mut other = present.clone();
        other.session.exporter = Digest32([0; 32]);
        tee.present(&other)
    });
    verifier.judges = Box::new(|_, _| Judgement::Unverifiable(why()));
    let (_, error) = run(&mut agent, &mut verifier);
    let field = "exporter".to_owned();
    assert_eq!(
        error,
        Some(ChannelError::Evidence(VerifyError::SessionMismatch { field }))
    );
}

#[test]
fn a_credential_other_than_the_promised_is_no_evidence() {
    let tee = Tee::new();
    let key = Key::new(VERIFIER);
    for (found, key) in [("nothing", None), ("a key", Some(key))] {
        let (mut raw, mut side, present) = greeted(&Setup::right(), &tee);
        raw.say_verdict();
        raw.say_credential(&match &key {
            None => Credential::Nothing,
            Some(key) => Credential::Key {
                key: key.public(),
                signature: key.sign(&present.session),
            },
        });
        assert_eq!(
            raw.carry(&mut side),
            Some(ChannelError::NoEvidence {
                due: "credential",
                found: found.to_owned()
            })
        );
        assert_eq!(raw.heard_fault().kind, "no_evidence");
    }
}
