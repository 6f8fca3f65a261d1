use nautilus_core::{AttestError, Attester, Descriptor, End, PublicKey, RawEvidence, ReportData, TeeKind};

use super::*;
use crate::protocol::{Request, Vitals};

const NODE: NodeId = NodeId([7; 32]);

struct Echo;

impl Attester for Echo {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Simulated,
            format: "echo",
        }
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        Ok(RawEvidence {
            bytes: report_data.as_bytes().to_vec(),
            ..RawEvidence::default()
        })
    }
}

fn enclave() -> Enclave {
    let mut enclave = Enclave::boot(Box::new(Echo)).unwrap();
    assert_eq!(enclave.bound_node(), None);
    assert!(matches!(
        enclave.handle(Request::Initialize { node: NODE }),
        Reply::Identity(_)
    ));
    assert_eq!(enclave.bound_node(), Some(NODE));
    enclave
}

/// A session that the enclave vouches for in this role.
fn session(role: Role) -> Present {
    Present {
        terms: ChallengeTerms {
            verifier: PublicKey([1; 32]),
            node: NODE,
            purpose: Purpose::Runtime,
            nonce: Digest32([2; 32]),
            issued_at: UnixMillis(1),
            expires_at: UnixMillis(2),
        },
        session: SessionBinding {
            label: SessionBinding::LABEL.to_owned(),
            role,
            peer_role: Role::Verifier,
            end: End::Initiator,
            node: NODE,
            exporter: Digest32([3; 32]),
            initiator_nonce: Digest32([4; 32]),
            responder_nonce: Digest32([5; 32]),
            own_key: Digest32([6; 32]),
            peer_key: Digest32([7; 32]),
            group: nautilus_channel::GROUP,
        },
    }
}

fn vouch(present: Present) -> Request {
    Request::Vouch {
        terms: Box::new(present.terms),
        session: Box::new(present.session),
    }
}

#[test]
fn each_session_is_bound_in_its_own_role_and_in_no_other() {
    let mut enclave = enclave();
    let (own, agents) = (session(Role::Enclave), session(Role::Agent));
    let presented = enclave.present(&own).unwrap();
    let bound = BoundUserData::from_canonical(&presented.user_data).unwrap();
    assert_eq!(bound.session.as_ref(), Some(&own.session));
    assert_eq!((bound.node, bound.purpose), (NODE, Purpose::Runtime));
    assert_eq!(presented.evidence, own.terms.challenge().bind(&bound).as_bytes());

    let Reply::Vouched(vouched) = enclave.handle(vouch(agents.clone())) else {
        panic!("refused")
    };
    let bound = BoundUserData::from_canonical(&vouched.user_data).unwrap();
    assert_eq!(bound.session, Some(agents.session.clone()));

    for role in [Role::Agent, Role::Verifier] {
        let refused = EnclaveFault::Vouch("its role is not the enclave's".to_owned());
        assert_eq!(enclave.present(&session(role)), Err(refused));
    }
    // Whoever speaks to the enclave cannot have it vouch for a session of an enclave.
    for role in [Role::Enclave, Role::Verifier] {
        let refused = EnclaveFault::Vouch("its role is not the agent's".to_owned());
        assert_eq!(enclave.handle(vouch(session(role))), Reply::Refused(refused));
    }
}

#[test]
fn a_session_of_another_node_purpose_or_protocol_is_refused() {
    type Change = fn(&mut Present);
    let cases: [(Change, &str); 4] = [
        (|one| one.session.label.push('2'), "it is of another protocol"),
        (
            |one| one.session.node = NodeId([8; 32]),
            "it is about another node",
        ),
        (|one| one.terms.node = NodeId([8; 32]), "it is about another node"),
        (
            |one| one.terms.purpose = Purpose::Boot,
            "its challenge is for something else",
        ),
    ];
    let mut enclave = enclave();
    for (change, why) in cases {
        let refused = EnclaveFault::Vouch(why.to_owned());
        let mut own = session(Role::Enclave);
        change(&mut own);
        assert_eq!(enclave.present(&own), Err(refused.clone()));
        let mut agents = session(Role::Agent);
        change(&mut agents);
        assert_eq!(enclave.handle(vouch(agents)), Reply::Refused(refused));
    }
}

#[test]
fn evidence_of_a_session_stands_in_for_no_other() {
    let mut enclave = enclave();
    enclave.present(&session(Role::Enclave)).unwrap();
    enclave.handle(vouch(session(Role::Agent)));
    let window = Request::CloseWindow {
        start: UnixMillis(1),
        end: UnixMillis(2),
        interval_millis: 1,
        now: UnixMillis(2),
        validity_millis: 1,
    };
    assert_eq!(enclave.handle(window), Reply::Refused(EnclaveFault::NotAttested));
    let certify = Request::Certify {
        not_before: UnixMillis(1),
        not_after: UnixMillis(2),
    };
    assert_eq!(enclave.handle(certify), Reply::Refused(EnclaveFault::NotAttested));
}

#[test]
fn a_suspended_enclave_opens_its_own_sessions_and_no_others() {
    let mut enclave = enclave();
    let Reply::Alive(Vitals { suspended: true, .. }) = enclave.handle(Request::Suspend) else {
        panic!("not suspended")
    };
    assert!(enclave.present(&session(Role::Enclave)).is_ok());
    let refused = Reply::Refused(EnclaveFault::Suspended);
    assert_eq!(enclave.handle(vouch(session(Role::Agent))), refused);
}
