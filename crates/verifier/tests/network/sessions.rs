//! Who may open a session, and what may be asked in it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nautilus_channel::{Appraise, Appraiser as _, Judgement, MessageType, Payload as _};
use nautilus_core::{AppraisalVerdict, NodeId, Purpose, SessionBinding, UnixMillis, VerifyError};
use nautilus_verifier::Registry;
use nautilus_verifier::api::{
    Answer, AttestationOutcome, ChallengeRequest, Introduction, MAX_INTRODUCTION, Question,
};
use serde_json::Value;

use crate::world::{INTERVAL, Node, START, WANTED, WINDOW, World, backed};

/// Judges, and gives the outcome that the peer is told.
fn accepted(world: &World, appraise: Appraise, now: UnixMillis) -> AttestationOutcome {
    match world.verifier.judge(appraise, now) {
        Judgement::Appraised { appraisal, note } => {
            assert_eq!(appraisal.verdict(), AppraisalVerdict::Accepted, "{appraisal:?}");
            AttestationOutcome::decode(&note).unwrap()
        }
        other => panic!("{}", refusal(other)),
    }
}

/// Name of the refusal; nothing may be recorded and nobody registered.
fn refused(world: &World, appraise: Appraise) -> String {
    let before = (world.tip(), world.verifier.registry().entries());
    let kind = refusal(world.verifier.judge(appraise, START));
    assert_eq!(
        (world.tip(), world.verifier.registry().entries()),
        before,
        "something was kept in spite of {kind}"
    );
    kind
}

fn refusal(judgement: Judgement) -> String {
    match judgement {
        Judgement::NotRegistered { kind, detail } => {
            assert!(!detail.is_empty(), "{kind}");
            kind
        }
        Judgement::Invalid(VerifyError::SessionMismatch { field }) => format!("session {field}"),
        Judgement::Invalid(error) => {
            let json = serde_json::to_value(&error).unwrap();
            json["kind"].as_str().unwrap().to_owned()
        }
        Judgement::Appraised { appraisal, .. } => format!("{:?}", appraisal.verdict()),
        Judgement::Unverifiable(error) => panic!("{error}"),
    }
}

/// Changes the introduction that comes along.
fn introduced(mut appraise: Appraise, change: impl FnOnce(&mut Introduction)) -> Appraise {
    let mut introduction = Introduction::decode(&appraise.presented.accompanying).unwrap();
    change(&mut introduction);
    appraise.presented.accompanying = introduction.encode().unwrap();
    appraise
}

#[test]
fn a_node_is_registered_with_its_platform_once_it_is_accepted() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    let appraise = node.appraise(&world, START);
    let outcome = accepted(&world, appraise, START);
    assert_eq!(outcome.verdict, AppraisalVerdict::Accepted);
    assert!(outcome.appraisal["findings"].is_array());
    let known = world.state().node(node.id()).cloned().unwrap();
    assert_eq!(known.wallet, node.wallet());
    assert_eq!(known.appraisal, None, "a session settles nothing by itself");
    let entry = world.verifier.registry().entry(node.id()).unwrap();
    assert_eq!((entry.first_seen, entry.retired.len()), (START, 0));
    assert_eq!(entry.platform.device.as_ref().unwrap().scheme, "simulated-ppid");
    // Once more changes nothing.
    let (tip, later) = (world.tip(), START.plus(5_000));
    let appraise = node.appraise(&world, later);
    accepted(&world, appraise, later);
    assert_eq!(world.tip(), tip);
    assert_eq!(world.verifier.registry().entry(node.id()), Some(entry.clone()));
    // And it is there after a restart.
    let world = world.restarted(|_| ());
    assert_eq!(world.verifier.registry().entry(node.id()), Some(entry));
}

#[test]
fn a_rejected_node_is_told_why_and_leaves_no_trace() {
    let world = World::new();
    let honest = Node::unknown(&world, 1);
    let mut image = WANTED;
    image[0] ^= 1;
    let mut other = Node::of(&world, 1, honest.id(), image);
    let appraise = other.appraise(&world, START);
    let before = world.tip();
    let Judgement::Appraised { appraisal, note } = world.verifier.judge(appraise, START) else {
        panic!("it is not appraised")
    };
    assert_eq!(appraisal.verdict(), AppraisalVerdict::Rejected);
    let outcome = AttestationOutcome::decode(&note).unwrap();
    assert_eq!(outcome.verdict, AppraisalVerdict::Rejected);
    assert!(outcome.appraisal.to_string().contains("measurements.mrenclave"));
    assert_eq!(world.tip(), before);
    assert_eq!(world.verifier.registry().entries(), []);
}

#[test]
fn every_field_of_the_session_counts() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    type Change = fn(&mut SessionBinding);
    let changes: [(&str, Change); 5] = [
        ("exporter", |session| session.exporter.0[0] ^= 1),
        ("own_key", |session| session.own_key.0[0] ^= 1),
        ("peer_key", |session| session.peer_key.0[0] ^= 1),
        ("initiator_nonce", |session| session.initiator_nonce.0[0] ^= 1),
        ("group", |session| session.group ^= 1),
    ];
    for (field, change) in changes {
        let mut appraise = node.appraise(&world, START);
        change(&mut appraise.session);
        assert_eq!(refused(&world, appraise), format!("session {field}"));
    }
    let mut spoilt = node.appraise(&world, START);
    spoilt.presented.evidence[200] ^= 1;
    assert_eq!(refused(&world, spoilt), "signature_invalid");
    let mut other_challenge = node.appraise(&world, START);
    other_challenge.terms.nonce.0[0] ^= 1;
    assert_eq!(refused(&world, other_challenge), "challenge_mismatch");
    let late = node.appraise(&world, UnixMillis(START.0 - 60_000));
    assert_eq!(refused(&world, late), "challenge_expired");
}

#[test]
fn the_wallet_introduces_its_own_node_to_this_verifier() {
    let (world, elsewhere) = (World::new(), World::new());
    let (mut node, mut other) = (Node::unknown(&world, 1), Node::unknown(&world, 2));
    let mut case = |change: &dyn Fn(&mut Introduction)| {
        let appraise = introduced(node.appraise(&world, START), change);
        refused(&world, appraise)
    };
    let theirs = other.appraise(&world, START);
    let theirs = Introduction::decode(&theirs.presented.accompanying).unwrap();
    assert_eq!(
        case(&|it| it.registration = theirs.registration.clone()),
        "another_node"
    );
    assert_eq!(
        case(&|it| {
            it.registration.wallet = theirs.registration.wallet;
            it.registration_signature = theirs.registration_signature;
        }),
        "node_id_invalid"
    );
    assert_eq!(case(&|it| it.registration.label.0[0] ^= 1), "node_id_invalid");
    assert_eq!(
        case(&|it| it.registration_signature = theirs.registration_signature),
        "wallet_signature_invalid"
    );
    assert_eq!(
        case(&|it| it.seal_signature = theirs.seal_signature),
        "wallet_signature_invalid"
    );
    assert_eq!(
        case(&|it| it.seal_signature = it.registration_signature),
        "wallet_signature_invalid"
    );
    let foreign = Node::unknown(&elsewhere, 1).registration(&elsewhere);
    assert_eq!(
        case(&|it| (it.registration, it.registration_signature) = foreign.clone()),
        "other_verifier"
    );
}

#[test]
fn what_is_no_introduction_is_refused() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    let genuine = node.appraise(&world, START);
    let text = genuine.presented.accompanying.clone();
    let mut more: Value = serde_json::from_slice(&text).unwrap();
    more["admin"] = true.into();
    let trailing = [text.as_slice(), b" {}"].concat();
    let padded = [text.as_slice(), vec![b' '; MAX_INTRODUCTION].as_slice()].concat();
    for bytes in [
        b"".to_vec(),
        b"null".to_vec(),
        b"{}".to_vec(),
        vec![b'['; MAX_INTRODUCTION],
        more.to_string().into_bytes(),
        trailing,
        padded,
        text[..text.len() - 1].to_vec(),
    ] {
        let mut appraise = genuine.clone();
        appraise.presented.accompanying = bytes;
        assert_eq!(refused(&world, appraise), "bad_request");
    }
    accepted(&world, genuine, START);
}

/// Changes the registry's file while the verifier is away.
fn edit(path: &Path, node: NodeId, change: impl FnOnce(&mut Value)) {
    let mut registry: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut registry["nodes"][node.to_string()]);
    std::fs::write(path, registry.to_string()).unwrap();
}

#[test]
fn a_node_stays_on_its_platform() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    accepted(&world, node.appraise(&world, START), START);
    let world = world.restarted(|path| {
        edit(path, node.id(), |entry| {
            entry["platform"]["device"]["id"] = "00ff".into();
        });
    });
    let appraise = node.appraise(&world, START);
    assert_eq!(refused(&world, appraise.clone()), "platform_changed");
    let Judgement::NotRegistered { detail, .. } = world.verifier.judge(appraise, START) else {
        panic!("it is let in")
    };
    assert!(
        detail.contains("00ff") && detail.contains("registry.json"),
        "{detail}"
    );
    // Neither does it attest from there.
    node.register(&world, START);
    let terms = world.challenge(node.id(), Purpose::Boot, START);
    let file = node.answer(&terms);
    assert_eq!(world.attest_refused(&file, START), "platform_changed");
    // The operator takes it out of the registry, and it is at home where it is next.
    let world = world.restarted(|path| {
        let mut registry: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        registry["nodes"] = Value::Object(serde_json::Map::new());
        std::fs::write(path, registry.to_string()).unwrap();
    });
    accepted(&world, node.appraise(&world, START), START);
}

#[test]
fn a_platform_without_a_name_is_named_once_and_for_all() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    accepted(&world, node.appraise(&world, START), START);
    let named = world.verifier.registry().entry(node.id()).unwrap();
    let world = world.restarted(|path| {
        edit(path, node.id(), |entry| entry["platform"]["device"] = Value::Null);
    });
    let unnamed = world.verifier.registry().entry(node.id()).unwrap();
    assert!(unnamed.platform.to_string().ends_with("unnamed"));
    accepted(&world, node.appraise(&world, START), START);
    assert_eq!(world.verifier.registry().entry(node.id()), Some(named));
}

#[test]
fn a_retired_key_vouches_for_nothing_more() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    let with_old_key = node.appraise(&world, START);
    accepted(&world, with_old_key.clone(), START);
    let terms = world.challenge(node.id(), Purpose::Boot, START);
    let file = node.answer(&terms);
    let (id, notice) = (node.id(), node.rotate(START.plus(1)));

    let mut forged = notice.clone();
    forged.rotation.successor.0[0] ^= 1;
    let kind = world.refused(|| world.verifier.answer(id, Question::Rotated(forged), START));
    assert_eq!(kind, "rotation_invalid");
    for _ in 0..2 {
        let answer = world
            .verifier
            .answer(id, Question::Rotated(notice.clone()), START)
            .unwrap();
        let Answer::RotationNoted(noted) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(noted.retired, notice.rotation.retired);
    }
    assert_eq!(
        world.verifier.registry().entry(id).unwrap().retired,
        [notice.rotation.retired]
    );
    assert_eq!(refused(&world, with_old_key.clone()), "key_retired");
    assert_eq!(world.attest_refused(&file, START), "key_retired");
    accepted(&world, node.appraise(&world, START), START);
    // Also after a restart.
    let world = world.restarted(|_| ());
    assert_eq!(refused(&world, with_old_key), "key_retired");
}

#[test]
fn a_key_that_vouched_for_nothing_is_not_noted_as_retired() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    accepted(&world, node.appraise(&world, START), START);
    let first = Question::Rotated(node.rotate(START));
    world.verifier.answer(node.id(), first, START).unwrap();
    let second = node.rotate(START);
    let before = world.verifier.registry().entries();
    let kind = world.refused(|| world.verifier.answer(node.id(), Question::Rotated(second), START));
    assert_eq!(kind, "key_not_admitted");
    assert_eq!(world.verifier.registry().entries(), before);
}

/// Fills the registry's file with copies of what is registered, up to `count` nodes.
fn crowd(path: &Path, count: u32, change: impl Fn(&mut Value)) {
    let mut registry: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let nodes = registry["nodes"].as_object_mut().unwrap();
    let mut entry = nodes.values().next().unwrap().clone();
    change(&mut entry);
    for number in 0.. {
        if nodes.len() == count as usize {
            break;
        }
        let mut id = [0; 32];
        id[..4].copy_from_slice(&u32::to_be_bytes(number));
        nodes.insert(NodeId(id).to_string(), entry.clone());
    }
    std::fs::write(path, registry.to_string()).unwrap();
}

#[test]
fn where_there_is_no_room_nobody_gets_in_and_the_ledger_does_not_hear_of_it() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    accepted(&world, node.appraise(&world, START), START);
    let world = world.restarted(|path| crowd(path, 15, |_| ()));
    let (mut last, mut newcomer) = (Node::unknown(&world, 2), Node::unknown(&world, 3));
    accepted(&world, last.appraise(&world, START), START);
    assert_eq!(refused(&world, newcomer.appraise(&world, START)), "platform_full");
    accepted(&world, node.appraise(&world, START), START);
    let world = world.restarted(|path| {
        crowd(path, 10_000, |entry| entry["platform"]["device"] = Value::Null);
    });
    assert_eq!(refused(&world, newcomer.appraise(&world, START)), "registry_full");
    accepted(&world, node.appraise(&world, START), START);
}

#[test]
fn a_failure_of_the_verifiers_own_is_told_whole_to_its_operator_alone() {
    let (tell, told) = std::sync::mpsc::channel();
    let world = World::reporting(move |refusal| tell.send(refusal.to_string()).unwrap());
    let mut node = Node::unknown(&world, 1);
    world.break_registry();
    let appraise = node.appraise(&world, START);
    let Judgement::NotRegistered { kind, detail } = world.verifier.judge(appraise, START) else {
        panic!("it is let in")
    };
    assert_eq!(
        (kind.as_str(), detail.as_str()),
        ("registry_unavailable", "registry cannot be used at the moment")
    );
    let told: Vec<String> = told.try_iter().collect();
    assert!(
        matches!(told.as_slice(), [whole] if whole.contains("registry.json")),
        "{told:?}"
    );
    // What lies with a peer is no failure.
    let foreign = introduced(node.appraise(&world, START), |introduction| {
        introduction.registration.label.0[0] ^= 1;
    });
    assert_eq!(refused(&world, foreign), "node_id_invalid");
}

#[test]
fn a_session_is_about_one_node() {
    let world = World::new();
    let (mut node, mut other) = (Node::attested(&world, 1, START), Node::attested(&world, 2, START));
    let session = other.id();
    let proof = node.prove(START);
    let file = node.answer(&world.challenge(node.id(), Purpose::Boot, START));
    let questions = [
        Question::Challenge(ChallengeRequest {
            node: node.id(),
            purpose: Purpose::Boot,
        }),
        Question::Attest(Box::new(backed(&file))),
        Question::Release(Box::new(backed(&file))),
        Question::Settle(Box::new(proof.clone())),
        Question::Rotated(node.rotate(START)),
    ];
    for question in questions {
        let name = question.name();
        let kind = world.refused(|| world.verifier.answer(session, question, START));
        assert_eq!(kind, "another_node", "{name}");
    }
    // None of it was used up or done.
    assert_eq!(world.verifier.registry().entry(node.id()).unwrap().retired, []);
    let own = Question::Settle(Box::new(proof));
    let later = START.plus(WINDOW + INTERVAL);
    assert!(matches!(
        world.verifier.answer(node.id(), own, later).unwrap(),
        Answer::Settled(_)
    ));
    let theirs = other.prove(START);
    assert!(
        world
            .verifier
            .answer(session, Question::Settle(Box::new(theirs)), later)
            .is_ok()
    );
}

#[test]
fn a_question_is_of_the_type_that_it_says() {
    let world = World::new();
    let mut node = Node::attested(&world, 1, START);
    let proof = Question::Settle(Box::new(node.prove(START)));
    let ask = Question::Challenge(ChallengeRequest {
        node: node.id(),
        purpose: Purpose::Boot,
    });
    for question in [&proof, &ask] {
        let payload = question.encode().unwrap();
        for message_type in MessageType::ALL {
            if message_type == question.message_type() {
                continue;
            }
            let kind = world.refused(|| {
                world
                    .verifier
                    .answer_message(node.id(), message_type, &payload, START)
            });
            let expected = match message_type {
                MessageType::ProofRequest => "not_a_proof",
                _ => "bad_request",
            };
            assert_eq!(kind, expected, "{} as {message_type}", question.name());
        }
    }
}

#[test]
fn questions_of_another_shape_are_refused_by_name() {
    let world = World::new();
    let node = Node::attested(&world, 1, START);
    let id = node.id();
    let nested = "[".repeat(8_000);
    let bodies = [
        String::new(),
        "not json".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "\"challenge\"".to_owned(),
        "\"\\ud800\"".to_owned(),
        nested,
        format!(r#"{{"challenge":{{"node":"{id}","purpose":"coffee"}}}}"#),
        r#"{"challenge":{"node":"12","purpose":"boot"}}"#.to_owned(),
        format!(r#"{{"challenge":{{"node":"{id}","purpose":"boot","admin":true}}}}"#),
        format!(r#"{{"challenge":{{"node":"{id}","purpose":"boot"}},"attest":{{}}}}"#),
        format!(r#"{{"challenge":{{"node":"{id}","purpose":"boot"}}}} {{}}"#),
        format!(r#"{{"Challenge":{{"node":"{id}","purpose":"boot"}}}}"#),
    ];
    for body in bodies {
        for message_type in [MessageType::Attestation, MessageType::KeyRotation] {
            let kind = world.refused(|| {
                world
                    .verifier
                    .answer_message(id, message_type, body.as_bytes(), START)
            });
            assert_eq!(kind, "bad_request", "{body}");
        }
    }
}

#[test]
fn a_spoilt_registry_stops_the_verifier() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.json");
    let write = |content: &str, mode: u32| {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    assert!(Registry::open(&path).unwrap().entries().is_empty());
    write(r#"{"format":"nautilus-registry/1","nodes":{}}"#, 0o640);
    let error = Registry::open(&path).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    for content in [
        "",
        "{}",
        r#"{"format":"nautilus-registry/2","nodes":{}}"#,
        r#"{"format":"nautilus-registry/1","nodes":{}} x"#,
        r#"{"format":"nautilus-registry/1","nodes":{"12":{}}}"#,
        r#"{"format":"nautilus-registry/1","nodes":{},"more":1}"#,
    ] {
        write(content, 0o600);
        let error = Registry::open(&path).map(|_| ()).unwrap_err();
        assert!(
            error.to_string().contains("holds no registry"),
            "{content}: {error}"
        );
    }
}
