//! Hellos that do not fit.

use nautilus_channel::{ChannelError, CredentialKind, Hello};
use nautilus_core::{Digest32, NodeId, Purpose, Role};

use crate::fixture::{NODE, Side, Tee, verifier};
use crate::raw::{Content, Raw, called};
use crate::setup::Setup;

#[test]
fn a_verifier_that_presents_no_key_is_refused_by_its_hello() {
    let tee = Tee::new();
    let (mut raw, mut side, _) = called(&Setup::right(), &tee);
    raw.say(&Content::Hello(Box::new(Hello {
        presents: CredentialKind::Nothing,
        ..raw.hello()
    })));
    let error = raw.carry(&mut side);
    assert_eq!(
        error,
        Some(ChannelError::PolicyMismatch {
            what: "presents nothing, and a key is demanded".to_owned()
        })
    );
}

/// What is said of a hello, and what is wrong with it.
type Change = (&'static str, fn(&mut Hello));

/// How a verifier takes a hello that was changed.
fn with_hello(change: impl FnOnce(&mut Hello)) -> Option<ChannelError> {
    let tee = Tee::new();
    let mut config = verifier();
    config.node = Some(NODE);
    let (mut raw, mut side) = (Raw::initiator(&Setup::right()), Side::responder(config, &tee));
    assert_eq!(raw.carry(&mut side), None);
    let mut hello = raw.hello();
    change(&mut hello);
    raw.say(&Content::Hello(Box::new(hello)));
    raw.carry(&mut side)
}

#[test]
fn a_hello_of_another_version_role_or_node_is_refused() {
    let refused: [Change; 5] = [
        ("it has version 2", |hello| hello.version = 2),
        ("its role is enclave", |hello| hello.role = Role::Enclave),
        ("its role is verifier", |hello| hello.role = Role::Verifier),
        ("it is about node", |hello| hello.node = Some(NodeId([9; 32]))),
        ("it sets a challenge and demands no evidence", |hello| {
            hello.challenge = Raw::responder(&Setup::right()).hello().challenge;
        }),
    ];
    for (named, change) in refused {
        match with_hello(change) {
            Some(ChannelError::HelloInvalid(what)) => assert!(what.contains(named), "{what}"),
            other => panic!("{named}: {other:?}"),
        }
    }
}

#[test]
fn what_one_presents_and_the_other_demands_has_to_match_both_ways() {
    let refused: [Change; 4] = [
        ("presents nothing, and evidence is demanded", |hello| {
            hello.presents = CredentialKind::Nothing;
        }),
        ("presents a key, and evidence is demanded", |hello| {
            hello.presents = CredentialKind::Key;
        }),
        ("demands nothing, and a key is presented", |hello| {
            hello.demands = CredentialKind::Nothing;
        }),
        ("demands evidence, and a key is presented", |hello| {
            hello.demands = CredentialKind::Evidence;
        }),
    ];
    for (what, change) in refused {
        let what = what.to_owned();
        assert_eq!(with_hello(change), Some(ChannelError::PolicyMismatch { what }));
    }
}

#[test]
fn a_challenge_that_is_not_for_this_session_gets_no_evidence() {
    let tee = Tee::new();
    let change: [fn(&mut Hello); 4] = [
        |hello| hello.challenge = None,
        |hello| hello.challenge.as_mut().unwrap().nonce = Digest32([0; 32]),
        |hello| hello.challenge.as_mut().unwrap().node = NodeId([9; 32]),
        |hello| hello.challenge.as_mut().unwrap().purpose = Purpose::Boot,
    ];
    for change in change {
        let (mut raw, mut side, _) = called(&Setup::right(), &tee);
        let mut hello = raw.hello();
        change(&mut hello);
        raw.say(&Content::Hello(Box::new(hello)));
        let error = raw.carry(&mut side);
        assert!(matches!(error, Some(ChannelError::HelloInvalid(_))), "{error:?}");
    }
}
