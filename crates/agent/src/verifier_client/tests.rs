use std::sync::Mutex;

use nautilus_channel::{ChannelError, Fault};
use nautilus_core::{AppraisalVerdict, UnixMillis};
use nautilus_verifier::api::ApiError;
use tokio::sync::watch;

use super::presenter::Failure;
use super::*;
use crate::fake_verifier::{FakeVerifier, NODE, Program, Said, WANTED};

/// A verifier's client, for tests of who uses it.
pub(crate) fn quiet(verifier: &FakeVerifier, events: EventSink) -> VerifierClient {
    let program = Program(Arc::clone(&verifier.tee), WANTED);
    told_to(verifier.at.clone(), program, events)
}

/// A client in whose enclave this program runs, and what it tells.
fn client(verifier: &FakeVerifier, program: [u8; 32]) -> (VerifierClient, Arc<Mutex<Vec<What>>>) {
    at(verifier.at.clone(), Program(Arc::clone(&verifier.tee), program))
}

fn at(at: VerifierAddress, presenter: impl Presenter + 'static) -> (VerifierClient, Arc<Mutex<Vec<What>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let events: EventSink = Arc::new(move |event: Event| sink.lock().unwrap().push(event.what));
    (told_to(at, presenter, events), told)
}

fn told_to(at: VerifierAddress, presenter: impl Presenter + 'static, events: EventSink) -> VerifierClient {
    let config = Config::new(
        Role::Agent,
        Role::Verifier,
        Some(NODE),
        Presentation::Evidence,
        Demand::Key(at.key),
    );
    let presented = Arc::default();
    VerifierClient::over(at, Part::Verifier, config, Arc::new(presenter), presented, events)
}

fn terms(at: &VerifierAddress) -> ChallengeTerms {
    ChallengeTerms {
        verifier: at.key,
        node: NODE,
        purpose: Purpose::Boot,
        nonce: nautilus_core::Digest32([5; 32]),
        issued_at: UnixMillis(1),
        expires_at: UnixMillis(2),
    }
}

#[tokio::test]
async fn a_question_opens_the_channel_and_the_channel_is_told() {
    let verifier = FakeVerifier::start(|_, question| {
        assert!(
            matches!(question, Question::Challenge(asked) if asked.node == NODE && asked.purpose == Purpose::Boot),
            "{question:?}"
        );
        Said::Answer(Answer::Challenge(terms(&VerifierAddress {
            address: Address::Unix("/".into()),
            key: FakeVerifier::key(),
        })))
    })
    .await;
    let (client, told) = client(&verifier, WANTED);
    assert_eq!(client.state().session, None);
    let answer = client.challenge(NODE, Purpose::Boot).await.unwrap();
    assert_eq!(answer.verifier, verifier.at.key);
    assert_eq!(*verifier.tee.accompanying.lock().unwrap(), b"introduction");
    let session = client.state().session.unwrap();
    let told = told.lock().unwrap();
    let [What::Channel(facts)] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(facts.address, verifier.at.address.to_string());
    assert_eq!(facts.channel_id, session.channel_id.to_string());
    assert_eq!(
        (facts.expires_at, facts.group),
        (session.expires_at, "X25519MLKEM768")
    );
    assert_eq!(
        (facts.peer.as_str(), facts.peer_key),
        ("verifier", verifier.at.key)
    );
}

#[tokio::test]
async fn a_challenge_that_is_another_ones_is_not_answered() {
    let own = || ChallengeTerms {
        verifier: FakeVerifier::key(),
        node: NODE,
        purpose: Purpose::Runtime,
        nonce: nautilus_core::Digest32([5; 32]),
        issued_at: UnixMillis(1),
        expires_at: UnixMillis(2),
    };
    let changes: [fn(&mut ChallengeTerms); 3] = [
        |terms| terms.verifier = PublicKey([9; 32]),
        |terms| terms.node = NodeId([9; 32]),
        |terms| terms.purpose = Purpose::Workload,
    ];
    let given = Mutex::new(changes.into_iter());
    let verifier = FakeVerifier::start(move |_, _| {
        let mut terms = own();
        if let Some(change) = given.lock().unwrap().next() {
            change(&mut terms);
        }
        Said::Answer(Answer::Challenge(terms))
    })
    .await;
    let (client, _) = client(&verifier, WANTED);
    for _ in changes {
        let error = client.challenge(NODE, Purpose::Runtime).await.unwrap_err();
        assert!(
            matches!(&error, VerifierError::ForeignChallenge { purpose, .. } if *purpose == Purpose::Runtime),
            "{error}"
        );
        assert!(!error.may_pass());
    }
    client.challenge(NODE, Purpose::Runtime).await.unwrap();
}

/// Whoever comes between only keeps the node from its verifier.
#[tokio::test]
async fn after_a_session_a_stranger_at_the_address_is_waited_out() {
    let verifier = FakeVerifier::start(|_, _| Said::Nothing).await;
    let (mut client, _) = client(&verifier, WANTED);
    client.connect().await.unwrap();
    let stranger = || ClientError::Channel(ChannelError::KeyUnexpected("its signature is another key's"));
    let alert = || ClientError::Channel(ChannelError::Alert("handshake failure".to_owned()));
    // The session is open: nobody is in between.
    assert!(matches!(
        client.failed(stranger()),
        VerifierError::WrongKey { .. }
    ));
    client.reset();
    for error in [stranger(), alert()] {
        let error = client.failed(error);
        assert!(matches!(&error, VerifierError::Unreachable { .. }), "{error}");
        assert!(error.may_pass());
    }
    // The node's own refusal is nobody else's.
    let own = client.failed(ClientError::Channel(ChannelError::NotPresented("so".to_owned())));
    assert!(matches!(&own, VerifierError::NotPresented(_)), "{own}");
    client.had_session = Arc::default();
    assert!(matches!(
        client.failed(stranger()),
        VerifierError::WrongKey { .. }
    ));
}

#[tokio::test]
async fn a_rejecting_appraisal_comes_with_its_findings() {
    let verifier = FakeVerifier::start(|_, _| Said::Nothing).await;
    let (client, told) = client(&verifier, [0xbb; 32]);
    let error = client.connect().await.unwrap_err();
    let VerifierError::Rejected { outcome } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(outcome.verdict, AppraisalVerdict::Rejected);
    assert!(!error.may_pass());
    let text = error.to_string();
    assert!(
        text.starts_with("policy `") && text.contains("rejected it: ") && text.contains("mrenclave"),
        "{text}"
    );
    // What would end alike is not tried again.
    assert!(told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_was_answered_is_no_fault_of_the_channel() {
    let kinds = Mutex::new(["busy", "ledger_unavailable", "challenge_unknown"].into_iter());
    let verifier = FakeVerifier::start(move |_, _| {
        Said::Declined(ApiError {
            kind: kinds.lock().unwrap().next().unwrap().to_owned(),
            detail: "because".to_owned(),
        })
    })
    .await;
    let (client, _) = client(&verifier, WANTED);
    let busy = client.challenge(NODE, Purpose::Boot).await.unwrap_err();
    assert!(
        matches!(&busy, VerifierError::Failed(error) if error.kind == "busy"),
        "{busy}"
    );
    assert!(busy.may_pass());
    let ledger = client.challenge(NODE, Purpose::Boot).await.unwrap_err();
    assert_eq!(
        ledger.to_string(),
        "verifier cannot do it at the moment (ledger_unavailable): because"
    );
    let refused = client.challenge(NODE, Purpose::Boot).await.unwrap_err();
    assert!(refused.wants_new_challenge() && !refused.may_pass(), "{refused}");
    assert_eq!(client.state().reconnects, 0);
}

#[tokio::test]
async fn an_answer_to_something_else_is_named() {
    let verifier = FakeVerifier::start(|_, _| {
        Said::Answer(Answer::RotationNoted(RotationNoted {
            retired: PublicKey([1; 32]),
        }))
    })
    .await;
    let (client, _) = client(&verifier, WANTED);
    let error = client.challenge(NODE, Purpose::Boot).await.unwrap_err();
    assert!(
        matches!(&error, VerifierError::NotUnderstood { what, .. } if what == "to `challenge` it answered `rotation_noted`"),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_else_passes_for_the_verifier() {
    let verifier = FakeVerifier::start(|_, _| Said::Nothing).await;
    let address = VerifierAddress {
        key: PublicKey([0x99; 32]),
        ..verifier.at.clone()
    };
    let (client, _) = at(address, Program(Arc::clone(&verifier.tee), WANTED));
    let error = client.connect().await.unwrap_err();
    assert!(
        matches!(&error, VerifierError::WrongKey { key, .. } if *key == PublicKey([0x99; 32])),
        "{error}"
    );
    assert!(error.to_string().contains("set `verifier_key`"), "{error}");
    // It saw no evidence.
    assert!(verifier.tee.accompanying.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_verifier_that_is_away_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let verifier = FakeVerifier::start(|_, _| Said::Nothing).await;
    let away = VerifierAddress {
        address: Address::Unix(directory.path().join("nobody")),
        key: verifier.at.key,
    };
    let (client, told) = at(away, Program(Arc::clone(&verifier.tee), WANTED));
    let (stop, stopped) = watch::channel(false);
    let trying = async {
        let mut stopped = stopped;
        tokio::select! {
            result = client.connect() => panic!("{result:?}"),
            _stop = stopped.wait_for(|stop| *stop) => {}
        }
    };
    let watching = async {
        while told.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
    };
    tokio::join!(trying, watching);
    let told = told.lock().unwrap();
    let What::Warning { detail } = &told[1] else {
        panic!("{told:?}");
    };
    assert!(
        detail.starts_with("no channel to the verifier at unix://")
            && detail.contains("(io): connection broke: cannot connect to unix://"),
        "{detail}"
    );
    assert!(detail.contains(": trying again in "), "{detail}");
}

#[test]
fn who_is_at_fault_decides_what_follows() {
    let at = VerifierAddress {
        address: "tcp://127.0.0.1:1".parse().unwrap(),
        key: PublicKey([1; 32]),
    };
    let of = |error: ChannelError, own| {
        VerifierError::of(ClientError::Channel(error), &at, Standing { own, lost: false })
    };
    let not_presented = || ChannelError::NotPresented("so".to_owned());
    let away = of(not_presented(), Some(Failure::Away("it sleeps".to_owned())));
    assert!(
        matches!(&away, VerifierError::EnclaveAway(why) if why == "it sleeps"),
        "{away}"
    );
    assert!(away.may_pass());
    let refused = of(not_presented(), Some(Failure::Refused("no quote".to_owned())));
    assert!(
        matches!(&refused, VerifierError::NotPresented(why) if why == "no quote"),
        "{refused}"
    );
    assert!(!refused.may_pass());
    let full = of(ChannelError::SessionsFull(100), None);
    assert!(matches!(&full, VerifierError::Unreachable { .. }), "{full}");
    let fault = |kind: &str, note: &[u8]| {
        ChannelError::Refused(Fault {
            kind: kind.to_owned(),
            detail: "because".to_owned(),
            note: note.to_vec(),
        })
    };
    let full = of(fault("sessions_full", b""), None);
    assert!(full.may_pass(), "{full}");
    let silent = of(fault("peer_silent", b""), None);
    assert!(matches!(&silent, VerifierError::Unreachable { .. }), "{silent}");
    let stopping = of(fault("shutting_down", b""), None);
    assert!(stopping.may_pass(), "{stopping}");
    for kind in ["registry_unavailable", "registry_full"] {
        let passing = of(fault(kind, b""), None);
        assert!(
            matches!(&passing, VerifierError::Failed(error) if error.kind == kind),
            "{passing}"
        );
        assert!(passing.may_pass());
    }
    // The end of a channel answers no question.
    for kind in ["platform_changed", "already_settled", "challenge_unknown"] {
        let ended = of(fault(kind, b""), None);
        assert!(
            matches!(&ended, VerifierError::Ended(error) if error.kind == kind),
            "{ended}"
        );
        assert!(!ended.may_pass() && !ended.wants_new_challenge());
    }
    let no_outcome = of(fault("not_accepted", b"{}"), None);
    assert!(
        matches!(&no_outcome, VerifierError::NotUnderstood { what, .. } if what.starts_with("its appraisal: ")),
        "{no_outcome}"
    );
    let accepting = AttestationOutcome {
        verdict: AppraisalVerdict::Accepted,
        assurance: nautilus_core::TeeKind::Simulated.assurance(),
        evidence_id: nautilus_core::EvidenceId([1; 32]),
        expires_at: UnixMillis(1),
        appraisal: serde_json::Value::Null,
    };
    let accepting = of(fault("not_accepted", &accepting.encode().unwrap()), None);
    assert!(
        matches!(&accepting, VerifierError::NotUnderstood { what, .. } if what.starts_with("its appraisal accepts")),
        "{accepting}"
    );
    let downgraded = of(ChannelError::VersionDowngraded, None);
    assert!(
        matches!(
            &downgraded,
            VerifierError::NoChannel {
                why: ChannelError::VersionDowngraded,
                ..
            }
        ),
        "{downgraded}"
    );
    let late = VerifierError::of(
        ClientError::NotInTime {
            after: PATIENCE,
            last: Some(ChannelError::Truncated),
        },
        &at,
        Standing::default(),
    );
    assert!(
        late.to_string().starts_with(
            "cannot reach the verifier at tcp://127.0.0.1:1: no answer within 30 s: connection ended"
        ),
        "{late}"
    );
}
