use super::*;
use crate::{BootId, Digest32, End, EventLogHead, NodeId, PublicKey, Purpose, Role, SignedMessage};

/// Accepts evidence that is exactly 64 or 32 bytes of report data: the facade's own checks are what is tested.
struct FakeVerifier(TeeKind);

impl TeeVerifier for FakeVerifier {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: self.0,
            format: "report data",
        }
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        matches!(evidence.len(), 32 | 64)
    }

    fn wants(&self, _: &[u8]) -> Result<Vec<Want>, VerifyError> {
        Ok(Vec::new())
    }

    fn verify(&self, evidence: &[u8], _: &Endorsements, _: UnixMillis) -> Result<RawClaims, VerifyError> {
        if !self.recognises(evidence) {
            let what = "neither 64 bytes nor 32".to_owned();
            return Err(VerifyError::Malformed { what, offset: 0 });
        }
        Ok(RawClaims {
            report_data: evidence.to_vec(),
            device: DeviceIdentity {
                scheme: "fake",
                id: String::new(),
                family: None,
            },
            debug: false,
            tcb: Tcb::default(),
            measurements: BTreeMap::new(),
            attributes: BTreeMap::new(),
            unsigned: Vec::new(),
            revocation: Revocation::NotApplicable {
                because: "the test vendor has no certificates",
            },
            made_at: None,
            endorsed_until: None,
        })
    }
}

fn set() -> VerifierSet {
    VerifierSet::production(vec![Box::new(FakeVerifier(TeeKind::Sgx))]).unwrap()
}

fn terms() -> ChallengeTerms {
    ChallengeTerms {
        verifier: PublicKey([1; 32]),
        node: NodeId([2; 32]),
        purpose: Purpose::Boot,
        nonce: Digest32([3; 32]),
        issued_at: UnixMillis(1000),
        expires_at: UnixMillis(61_000),
    }
}

fn user_data() -> BoundUserData {
    BoundUserData {
        purpose: Purpose::Boot,
        node: NodeId([2; 32]),
        tee: TeeKind::Sgx,
        boot: BootId([4; 16]),
        tee_key: PublicKey([5; 32]),
        channel_key: None,
        event_log: EventLogHead::EMPTY,
        session: None,
    }
}

fn evidence(user_data: &BoundUserData) -> Evidence {
    let bound = terms().challenge().bind(user_data);
    Evidence {
        tee: TeeKind::Sgx,
        bytes: bound.as_bytes().to_vec(),
        user_data: Some(user_data.to_bytes()),
        event_log: None,
    }
}

fn verify(evidence: &Evidence, terms: &ChallengeTerms) -> Result<Verified<Claims>, VerifyError> {
    set().verify(
        evidence,
        Binding::Issued(terms),
        &Endorsements::default(),
        UnixMillis(2000),
    )
}

#[test]
fn an_answered_challenge_gives_claims_with_what_is_bound() {
    let claims = verify(&evidence(&user_data()), &terms()).unwrap();
    assert_eq!(claims.user_data, Some(user_data()));
    assert_eq!(claims.assurance, Assurance::HardwareEnclave);
    assert_eq!(
        claims.evidence_id,
        EvidenceId::of(TeeKind::Sgx, &claims.report_data.0)
    );
}

#[test]
fn a_tee_that_signs_32_bytes_carries_the_hash_of_the_64() {
    let mut short = evidence(&user_data());
    short.bytes = terms().challenge().bind(&user_data()).sha256().to_vec();
    let claims = verify(&short, &terms()).unwrap();
    assert_eq!(claims.user_data, Some(user_data()));
    assert_eq!(claims.report_data.0, short.bytes);

    for bit in 0..256 {
        let mut other = short.clone();
        other.bytes[bit / 8] ^= 1 << (bit % 8);
        let error = verify(&other, &terms()).unwrap_err();
        assert!(
            matches!(error, VerifyError::ChallengeMismatch { .. }),
            "bit {bit}: {error:?}"
        );
    }
    // The first half alone names the challenge and binds nothing.
    let mut half = evidence(&user_data());
    half.bytes.truncate(32);
    assert!(matches!(
        verify(&half, &terms()),
        Err(VerifyError::ChallengeMismatch { .. })
    ));
}

#[test]
fn evidence_of_another_size_has_a_name_of_its_own() {
    let (long, short) = ([7; 64], Sha256::digest([7; 64]));
    let names = [&long[..], &short[..], &long[..32], &long[..33], &[]]
        .map(|bytes| EvidenceId::of(TeeKind::Sgx, bytes));
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name), "{index}");
    }
}

#[test]
fn a_batch_gives_what_each_would_give_alone_in_order() {
    let terms = terms();
    let (good, mut bad) = (evidence(&user_data()), evidence(&user_data()));
    bad.bytes[0] ^= 1;
    let batch: Vec<_> = (0..7)
        .map(|index| {
            let one = if index % 3 == 0 { &bad } else { &good };
            (one.clone(), Binding::Issued(&terms))
        })
        .collect();
    let alone: Vec<_> = batch
        .iter()
        .map(|(evidence, _)| verify(evidence, &terms))
        .collect();
    for threads in 1..10 {
        let threads = NonZeroUsize::new(threads).unwrap();
        let many = set().verify_many(&batch, &Endorsements::default(), UnixMillis(2000), threads);
        assert_eq!(many, alone, "{threads} threads");
    }
}

#[test]
fn an_event_log_that_the_format_does_not_sign_is_refused() {
    let mut with_log = evidence(&user_data());
    with_log.event_log = Some(vec![1]);
    assert!(matches!(
        verify(&with_log, &terms()),
        Err(VerifyError::Unsupported { .. })
    ));
}

#[test]
fn evidence_for_another_challenge_is_a_replay() {
    let other = ChallengeTerms {
        nonce: Digest32([9; 32]),
        ..terms()
    };
    assert!(matches!(
        verify(&evidence(&user_data()), &other),
        Err(VerifyError::ChallengeMismatch { .. })
    ));
}

#[test]
fn every_changed_bit_of_the_user_data_is_refused() {
    let good = evidence(&user_data());
    for bit in 0..user_data().to_bytes().len() * 8 {
        let mut changed = good.clone();
        if let Some(bytes) = &mut changed.user_data {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(
            verify(&changed, &terms()),
            Err(VerifyError::UserDataMismatch),
            "bit {bit}"
        );
    }
    let absent = Evidence {
        user_data: None,
        ..good
    };
    assert_eq!(verify(&absent, &terms()), Err(VerifyError::UserDataMismatch));
}

#[test]
fn user_data_must_be_for_this_challenge_and_this_tee() {
    let variants = [
        BoundUserData {
            node: NodeId([9; 32]),
            ..user_data()
        },
        BoundUserData {
            purpose: Purpose::Runtime,
            ..user_data()
        },
        BoundUserData {
            tee: TeeKind::Tdx,
            ..user_data()
        },
    ];
    for variant in variants {
        let result = verify(&evidence(&variant), &terms());
        assert!(
            matches!(result, Err(VerifyError::UserDataInvalid { .. })),
            "{variant:?}: {result:?}"
        );
    }
    let bytes = b"not canonical".to_vec();
    let bound = terms().challenge().bind_bytes(&bytes);
    let evidence = Evidence {
        tee: TeeKind::Sgx,
        bytes: bound.as_bytes().to_vec(),
        user_data: Some(bytes),
        event_log: None,
    };
    assert!(matches!(
        verify(&evidence, &terms()),
        Err(VerifyError::UserDataInvalid { .. })
    ));
}

#[test]
fn a_challenge_expires() {
    let evidence = evidence(&user_data());
    let at = |now| {
        set().verify(
            &evidence,
            Binding::Issued(&terms()),
            &Endorsements::default(),
            UnixMillis(now),
        )
    };
    assert!(at(60_999).is_ok());
    assert_eq!(
        at(61_000),
        Err(VerifyError::ChallengeExpired {
            expired_at: UnixMillis(61_000)
        })
    );
}

#[test]
fn size_and_kind_are_checked_before_a_backend_sees_anything() {
    let verify = |tee, bytes| {
        let evidence = Evidence {
            tee,
            bytes,
            user_data: None,
            event_log: None,
        };
        set().verify(
            &evidence,
            Binding::Unchecked { because: "a test" },
            &Endorsements::default(),
            UnixMillis(0),
        )
    };
    assert_eq!(verify(TeeKind::Sgx, Vec::new()), Err(VerifyError::Empty));
    assert_eq!(
        verify(TeeKind::Sgx, vec![0; MAX_EVIDENCE + 1]),
        Err(VerifyError::TooLarge { limit: MAX_EVIDENCE })
    );
    assert_eq!(
        verify(TeeKind::Tdx, vec![0; 64]),
        Err(VerifyError::NotAccepted { tee: TeeKind::Tdx })
    );
    assert_eq!(
        verify(TeeKind::Simulated, vec![0; 64]),
        Err(VerifyError::NotAccepted {
            tee: TeeKind::Simulated
        })
    );
    assert_eq!(
        verify(TeeKind::Sgx, vec![0; 64]).unwrap().binding,
        "unchecked: a test"
    );
}

#[test]
fn a_challenge_that_came_along_shows_as_unchecked() {
    let verify = |evidence: &Evidence| {
        let binding = Binding::Claimed(terms().challenge());
        set().verify(evidence, binding, &Endorsements::default(), UnixMillis(u64::MAX))
    };
    let claims = verify(&evidence(&user_data())).unwrap();
    assert!(claims.binding.starts_with(UNCHECKED), "{}", claims.binding);
    assert_eq!(claims.user_data, Some(user_data()));
    let absent = Evidence {
        user_data: None,
        ..evidence(&user_data())
    };
    assert_eq!(verify(&absent), Err(VerifyError::UserDataMismatch));
}

#[test]
fn report_data_is_compared_whole() {
    let evidence = Evidence {
        tee: TeeKind::Sgx,
        bytes: vec![7; 64],
        user_data: None,
        event_log: None,
    };
    let verify = |expected: &[u8; 64]| {
        set().verify(
            &evidence,
            Binding::ReportData(expected),
            &Endorsements::default(),
            UnixMillis(0),
        )
    };
    assert!(verify(&[7; 64]).is_ok());
    let mut last_bit = [7; 64];
    last_bit[63] ^= 1;
    assert!(matches!(
        verify(&last_bit),
        Err(VerifyError::ReportDataMismatch { .. })
    ));
}

#[test]
fn a_production_set_takes_no_simulated_verifier() {
    let fake = |tee| -> Box<dyn TeeVerifier> { Box::new(FakeVerifier(tee)) };
    let refused = VerifierSet::production(vec![fake(TeeKind::Sgx), fake(TeeKind::Simulated)]).err();
    assert_eq!(refused, Some(VerifierSetError::SimulatedInProduction));
    let misplaced = VerifierSet::dangerous_with_simulated(Vec::new(), fake(TeeKind::Sgx)).err();
    assert_eq!(misplaced, Some(VerifierSetError::NotSimulated(TeeKind::Sgx)));
    let development =
        VerifierSet::dangerous_with_simulated(vec![fake(TeeKind::Sgx)], fake(TeeKind::Simulated));
    let evidence = Evidence {
        tee: TeeKind::Simulated,
        bytes: vec![0; 64],
        user_data: None,
        event_log: None,
    };
    let claims = development
        .unwrap()
        .verify(
            &evidence,
            Binding::ReportData(&[0; 64]),
            &Endorsements::default(),
            UnixMillis(0),
        )
        .unwrap();
    assert_eq!(claims.assurance, Assurance::Simulated);
}

/// As [`FakeVerifier`], under a root that anybody may hold: it accepts 32 bytes alone, and says so of itself.
struct StandIn(TeeKind);

impl TeeVerifier for StandIn {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: self.0,
            format: "report data of a stand-in",
        }
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        evidence.len() == 32
    }

    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        FakeVerifier(self.0).wants(evidence)
    }

    fn verify(
        &self,
        evidence: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        if !self.recognises(evidence) {
            let what = "not 32 bytes".to_owned();
            return Err(VerifyError::Malformed { what, offset: 0 });
        }
        FakeVerifier(self.0).verify(evidence, endorsements, now)
    }
}

fn raw(tee: TeeKind, length: usize) -> Evidence {
    Evidence {
        tee,
        bytes: vec![7; length],
        user_data: None,
        event_log: None,
    }
}

fn look(set: &VerifierSet, evidence: &Evidence) -> Result<Verified<Claims>, VerifyError> {
    let because = "the test is about who verifies";
    set.verify(
        evidence,
        Binding::Unchecked { because },
        &Endorsements::default(),
        UnixMillis(0),
    )
}

#[test]
fn a_stand_in_replaces_the_vendors_verifier_and_proves_nothing() {
    let fake = |tee| -> Box<dyn TeeVerifier> { Box::new(FakeVerifier(tee)) };
    let vendors = || VerifierSet::production(vec![fake(TeeKind::Sev), fake(TeeKind::Sgx)]).unwrap();
    let (sev, sgx) = (raw(TeeKind::Sev, 32), raw(TeeKind::Sgx, 32));
    let before = look(&vendors(), &sev).unwrap();
    assert_eq!(before.assurance, TeeKind::Sev.assurance());

    let set = vendors()
        .dangerous_with_stand_in(Box::new(StandIn(TeeKind::Sev)))
        .unwrap();
    assert_eq!(look(&set, &sev).unwrap().assurance, Assurance::Simulated);
    // The vendor's own evidence counts no more; other vendors' counts as before.
    assert_eq!(
        look(&set, &raw(TeeKind::Sev, 64)),
        Err(VerifyError::Malformed {
            what: "not 32 bytes".to_owned(),
            offset: 0
        })
    );
    assert_eq!(look(&set, &sgx).unwrap().assurance, TeeKind::Sgx.assurance());
    assert!(look(&set, &raw(TeeKind::Sgx, 64)).is_ok());
    // Raw bytes are recognised in the same order as before.
    assert_eq!(set.recognise(&[7; 32]), Some(TeeKind::Sev));
    assert_eq!(set.recognise(&[7; 64]), Some(TeeKind::Sgx));
}

#[test]
fn a_stand_in_needs_someone_to_stand_in_for() {
    let stranger = set().dangerous_with_stand_in(Box::new(StandIn(TeeKind::Nitro)));
    assert_eq!(
        stranger.err(),
        Some(VerifierSetError::NothingToStandInFor(TeeKind::Nitro))
    );
    // The simulated TEE has a root of its own already, and a way of its own into a set.
    let development = VerifierSet::dangerous_with_simulated(
        vec![Box::new(FakeVerifier(TeeKind::Sgx))],
        Box::new(FakeVerifier(TeeKind::Simulated)),
    );
    let simulated = development
        .unwrap()
        .dangerous_with_stand_in(Box::new(StandIn(TeeKind::Simulated)));
    assert_eq!(
        simulated.err(),
        Some(VerifierSetError::NothingToStandInFor(TeeKind::Simulated))
    );
}

fn session() -> SessionBinding {
    SessionBinding {
        label: SessionBinding::LABEL.to_owned(),
        role: Role::Agent,
        peer_role: Role::Verifier,
        end: End::Initiator,
        node: NodeId([2; 32]),
        exporter: Digest32([6; 32]),
        initiator_nonce: Digest32([7; 32]),
        responder_nonce: Digest32([8; 32]),
        own_key: Digest32([9; 32]),
        peer_key: Digest32([10; 32]),
        group: 0x11ec,
    }
}

/// Evidence that binds this session, or none.
fn of_session(session: Option<SessionBinding>) -> Evidence {
    evidence(&BoundUserData {
        session,
        ..user_data()
    })
}

fn verify_session(evidence: &Evidence, now: u64) -> Result<Verified<Claims>, VerifyError> {
    let binding = Binding::Session {
        terms: &terms(),
        session: &session(),
    };
    set().verify(evidence, binding, &Endorsements::default(), UnixMillis(now))
}

/// A field, and how it is another.
type Change = (&'static str, fn(&mut SessionBinding));

fn mismatch(field: &str) -> Result<Verified<Claims>, VerifyError> {
    Err(VerifyError::SessionMismatch {
        field: field.to_owned(),
    })
}

#[test]
fn evidence_that_binds_the_session_gives_claims_with_it() {
    let claims = verify_session(&of_session(Some(session())), 2000).unwrap();
    assert_eq!(
        claims.user_data.as_ref().and_then(|bound| bound.session.clone()),
        Some(session())
    );
    assert!(
        claims.binding.starts_with("session that challenge"),
        "{}",
        claims.binding
    );
}

#[test]
fn evidence_of_another_session_is_refused_by_the_field_that_differs() {
    let change: [Change; 11] = [
        ("label", |b| b.label.clear()),
        ("role", |b| b.role = Role::Enclave),
        ("peer_role", |b| b.peer_role = Role::Agent),
        ("end", |b| b.end = End::Responder),
        ("node", |b| b.node.0[0] ^= 1),
        ("group", |b| b.group = 0x1d),
        ("initiator_nonce", |b| b.initiator_nonce.0[0] ^= 1),
        ("responder_nonce", |b| b.responder_nonce.0[0] ^= 1),
        ("own_key", |b| b.own_key.0[31] ^= 1),
        ("peer_key", |b| b.peer_key.0[0] ^= 1),
        ("exporter", |b| b.exporter.0[0] ^= 1),
    ];
    for (field, change) in change {
        let mut other = session();
        change(&mut other);
        assert_eq!(verify_session(&of_session(Some(other)), 2000), mismatch(field));
    }
}

#[test]
fn evidence_that_binds_no_session_opens_none() {
    assert_eq!(verify_session(&of_session(None), 2000), mismatch("session"));
}

#[test]
fn a_session_needs_its_challenge_current_and_answered() {
    let good = of_session(Some(session()));
    assert_eq!(
        verify_session(&good, 61_000),
        Err(VerifyError::ChallengeExpired {
            expired_at: UnixMillis(61_000)
        })
    );
    let mut stripped = good.clone();
    stripped.user_data = of_session(None).user_data;
    assert_eq!(
        verify_session(&stripped, 2000),
        Err(VerifyError::UserDataMismatch)
    );
    let other = ChallengeTerms {
        verifier: PublicKey([9; 32]),
        ..terms()
    };
    let bound = BoundUserData {
        session: Some(session()),
        ..user_data()
    };
    let mut diverted = good;
    diverted.bytes = other.challenge().bind(&bound).as_bytes().to_vec();
    assert!(matches!(
        verify_session(&diverted, 2000),
        Err(VerifyError::ChallengeMismatch { .. })
    ));
}

#[test]
fn evidence_that_opens_a_session_serves_for_nothing_else() {
    let evidence = of_session(Some(session()));
    let terms = terms();
    for binding in [Binding::Issued(&terms), Binding::Challenge(terms.challenge())] {
        let verified = set().verify(&evidence, binding, &Endorsements::default(), UnixMillis(2000));
        assert_eq!(verified, Err(VerifyError::SessionUnexpected), "{binding:?}");
    }
    // Where nobody asked for it, it may be looked at, and is what it is.
    let claimed = Binding::Claimed(terms.challenge());
    let claims = set()
        .verify(&evidence, claimed, &Endorsements::default(), UnixMillis(2000))
        .unwrap();
    assert!(claims.binding.starts_with(UNCHECKED), "{}", claims.binding);
    assert_eq!(
        claims.user_data.as_ref().and_then(|bound| bound.session.clone()),
        Some(session())
    );
}
