use nautilus_core::{
    BootId, BoundUserData, ChallengeTerms, Digest32, End, EventLogHead, Role, SessionBinding, Signature,
    SignedMessage as _, TeeKind, UnixMillis,
};
use nautilus_enclave::{P256Key, Rollback, StateFacts};

use super::*;
use crate::enclave_manager::Launch;
use crate::fake_grounds::grounds;
use crate::key_manager::{DEFAULT_ROTATION, RotationSchedule};

const VERIFIER: PublicKey = PublicKey([7; 32]);

fn identity(directory: &tempfile::TempDir) -> Arc<NodeIdentity> {
    Arc::new(NodeIdentity::open_or_create(directory.path()).unwrap())
}

fn enclave() -> Identity {
    Identity {
        tee: TeeKind::Simulated,
        boot: BootId([2; 16]),
        tee_key: PublicKey([3; 32]),
        p256: P256Key {
            key: Vec::new(),
            signature: Signature([0; 64]),
        },
        channel_key: PublicKey([4; 32]),
        state: StateFacts {
            generation: 1,
            protection: None,
            sealed_by_tee: false,
            rollback: Rollback::NotApplicable,
            keys_made_at: None,
            retired: Vec::new(),
            secrets: Vec::new(),
        },
    }
}

fn present(node: NodeId) -> Present {
    Present {
        terms: ChallengeTerms {
            verifier: VERIFIER,
            node,
            purpose: Purpose::Runtime,
            nonce: Digest32([1; 32]),
            issued_at: UnixMillis(1),
            expires_at: UnixMillis(2),
        },
        session: SessionBinding {
            label: SessionBinding::LABEL.to_owned(),
            role: Role::Agent,
            peer_role: Role::Verifier,
            end: End::Initiator,
            node,
            exporter: Digest32([2; 32]),
            initiator_nonce: Digest32([3; 32]),
            responder_nonce: Digest32([4; 32]),
            own_key: Digest32([5; 32]),
            peer_key: Digest32([6; 32]),
            group: 0x11ec,
        },
    }
}

fn bound(present: &Present) -> BoundUserData {
    BoundUserData {
        purpose: Purpose::Runtime,
        node: present.session.node,
        tee: TeeKind::Simulated,
        boot: enclave().boot,
        tee_key: enclave().tee_key,
        channel_key: Some(enclave().channel_key),
        event_log: EventLogHead::EMPTY,
        session: Some(present.session.clone()),
    }
}

fn attested(bound: &BoundUserData) -> AttestedEvidence {
    AttestedEvidence {
        evidence: vec![1],
        user_data: bound.to_bytes(),
        endorsements: Vec::new(),
        event_log: None,
    }
}

#[test]
fn the_wallet_signs_for_its_own_enclave_in_this_session_alone() {
    let directory = tempfile::tempdir().unwrap();
    let identity = identity(&directory);
    let present = present(identity.node());
    let made =
        |bound: &BoundUserData| introduction(&identity, VERIFIER, &enclave(), &attested(bound), &present);

    let right = bound(&present);
    let made_of = Introduction::decode(&made(&right).unwrap()).unwrap();
    let Introduction {
        registration,
        registration_signature,
        seal_signature,
    } = made_of;
    assert_eq!(
        (registration.node, registration.verifier),
        (identity.node(), VERIFIER)
    );
    assert!(registration_signature.is_of(identity.wallet(), &registration));
    assert!(seal_signature.is_of(identity.wallet(), &right));

    let mut of_other_session = right.clone();
    if let Some(session) = &mut of_other_session.session {
        session.exporter = Digest32([0xff; 32]);
    }
    let of_none = BoundUserData {
        session: None,
        ..right.clone()
    };
    for other in [of_other_session, of_none] {
        let error = made(&other).unwrap_err();
        assert!(matches!(error, VouchError::OtherSession), "{error}");
    }
    let of_other_boot = BoundUserData {
        boot: BootId([9; 16]),
        ..right
    };
    let error = made(&of_other_boot).unwrap_err();
    assert!(
        matches!(error, VouchError::Enclave(EnclaveError::WrongReply)),
        "{error}"
    );
}

#[test]
fn what_an_earlier_handshake_presented_is_forgotten_when_the_next_starts() {
    let presented = Presented::default();
    let attested = attested(&bound(&present(NodeId([1; 32]))));
    presented.lock().file = Some(EvidenceFile {
        evidence: Evidence {
            tee: TeeKind::Simulated,
            bytes: attested.evidence,
            user_data: Some(attested.user_data),
            event_log: None,
        },
        challenge: present(NodeId([1; 32])).terms.challenge(),
        endorsements: nautilus_core::Endorsements::default(),
        created_at: UnixMillis(1),
    });
    assert!(presented.file().is_some());
    presented.forget();
    assert_eq!(presented.file(), None);
}

#[tokio::test]
async fn without_an_enclave_nothing_is_presented_and_that_may_pass() {
    let directory = tempfile::tempdir().unwrap();
    let identity = identity(&directory);
    let launch = Launch {
        image: directory.path().join("no-enclave"),
        tee: TeeKind::Simulated,
        simulated: None,
        quote_provider: None,
        directory: directory.path().to_owned(),
        check: grounds().launch_check,
        appraiser: grounds().enclaves,
        transport: crate::enclave_process::Transport::Unix,
    };
    let events: crate::event::EventSink = Arc::new(|_| ());
    let manager = EnclaveManager::new(launch, RotationSchedule::every(DEFAULT_ROTATION), events);
    let presenter = NodePresenter::new(manager.clone(), Arc::clone(&identity), VERIFIER);
    let presented = presenter.presented();
    let why = presenter.present(present(identity.node())).await.unwrap_err();
    assert_eq!(presented.failure(), Some(Failure::Away(why)));

    // Its name is taken, and nothing runs.
    let _driver = manager.take(EnclaveName::node()).unwrap();
    let why = presenter.present(present(identity.node())).await.unwrap_err();
    assert!(why.contains("node"), "{why}");
    assert_eq!(presented.failure(), Some(Failure::Away(why)));

    // What another verifier demands is not asked of the enclave.
    let mut foreign = present(identity.node());
    foreign.terms.verifier = PublicKey([8; 32]);
    let why = presenter.present(foreign).await.unwrap_err();
    assert_eq!(presented.failure(), Some(Failure::Refused(why.clone())));
    assert!(why.starts_with("the challenge names another verifier"), "{why}");
    assert_eq!(presented.file(), None);
}
