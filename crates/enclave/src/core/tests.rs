use nautilus_core::{AttestError, Descriptor, Digest32, RawEvidence, ReportData, TeeKind};
use nautilus_proof::merkle;

use super::*;

/// Gives the report data back as evidence: what the enclave hands to its TEE is what matters here.
struct EchoAttester;

impl Attester for EchoAttester {
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

const NODE: NodeId = NodeId([7; 32]);

fn enclave() -> Enclave {
    Enclave::boot(Box::new(EchoAttester)).unwrap()
}

fn attested() -> (Enclave, Identity) {
    let mut enclave = enclave();
    let Reply::Identity(identity) = enclave.handle(Request::Initialize { node: NODE }) else {
        panic!("no identity")
    };
    let challenge = Challenge::from_digest(Digest32([9; 32]));
    let Reply::Evidence(attested) = enclave.handle(Request::Attest {
        purpose: Purpose::Boot,
        challenge,
    }) else {
        panic!("no evidence")
    };
    let bound = BoundUserData {
        purpose: Purpose::Boot,
        node: NODE,
        tee: TeeKind::Simulated,
        boot: identity.boot,
        tee_key: identity.tee_key,
        channel_key: None,
        event_log: EventLogHead::EMPTY,
    };
    assert_eq!(attested.user_data, bound.to_bytes());
    assert_eq!(attested.evidence, challenge.bind(&bound).as_bytes());
    (enclave, identity)
}

fn sample(enclave: &mut Enclave, at: u64) -> Reply {
    enclave.handle(Request::Sample {
        at: UnixMillis(at),
        metrics: Metrics::default(),
    })
}

fn close(enclave: &mut Enclave, start: u64, end: u64) -> Reply {
    enclave.handle(Request::CloseWindow {
        start: UnixMillis(start),
        end: UnixMillis(end),
        interval_millis: 1000,
        now: UnixMillis(end),
        validity_millis: 60_000,
    })
}

#[test]
fn every_boot_has_its_own_key_and_id() {
    let (first, second) = (enclave(), enclave());
    assert_ne!(first.identity.tee_key, second.identity.tee_key);
    assert_ne!(first.identity.boot, second.identity.boot);
}

#[test]
fn nothing_is_signed_before_its_time() {
    let mut enclave = enclave();
    let challenge = Challenge::from_digest(Digest32([0; 32]));
    let attest = Request::Attest {
        purpose: Purpose::Boot,
        challenge,
    };
    assert_eq!(
        enclave.handle(attest),
        Reply::Refused(EnclaveFault::NotInitialized)
    );
    assert_eq!(
        sample(&mut enclave, 1),
        Reply::Refused(EnclaveFault::NotInitialized)
    );
    assert_eq!(
        close(&mut enclave, 1, 2),
        Reply::Refused(EnclaveFault::NotInitialized)
    );
    assert!(matches!(
        enclave.handle(Request::Initialize { node: NODE }),
        Reply::Identity(_)
    ));
    let again = enclave.handle(Request::Initialize {
        node: NodeId([8; 32]),
    });
    assert_eq!(again, Reply::Refused(EnclaveFault::AlreadyInitialized));
    assert_eq!(
        close(&mut enclave, 1, 2),
        Reply::Refused(EnclaveFault::NotAttested)
    );
}

#[test]
fn samples_are_chained_and_signed() {
    let (mut enclave, identity) = attested();
    let mut chain = SampleChain::of_boot(NODE, identity.boot);
    for at in [1000, 2000, 3000] {
        let Reply::Sample(signed) = sample(&mut enclave, at) else {
            panic!("refused")
        };
        chain.push_signed(&signed, &identity.tee_key).unwrap();
    }
    assert!(matches!(
        sample(&mut enclave, 3000),
        Reply::Refused(EnclaveFault::Sample(_))
    ));
    let too_much = Metrics {
        cpu_usage_bp: 10_001,
        ..Metrics::default()
    };
    let refused = enclave.handle(Request::Sample {
        at: UnixMillis(4000),
        metrics: too_much,
    });
    assert!(matches!(refused, Reply::Refused(EnclaveFault::Sample(_))));
    let Reply::Sample(signed) = sample(&mut enclave, 4000) else {
        panic!("a refusal must change nothing")
    };
    assert_eq!(signed.sample.sequence, 3);
}

#[test]
fn windows_form_one_log_and_never_overlap() {
    let (mut enclave, identity) = attested();
    let mut root = merkle::empty_root();
    for window in 0..5_u64 {
        let start = 10_000 + window * 3000;
        for offset in [0, 1000, 2000] {
            assert!(matches!(sample(&mut enclave, start + offset), Reply::Sample(_)));
        }
        let Reply::Window(signed) = close(&mut enclave, start, start + 3000) else {
            panic!("refused")
        };
        let SignedWindow {
            statement,
            merkle_proof,
            tee_signature,
        } = *signed;
        assert!(statement.is_signed_by(&identity.tee_key, &tee_signature));
        assert_eq!(
            (
                statement.window.sequence,
                statement.window.slots,
                statement.window.covered
            ),
            (window, 3, 3)
        );
        assert_eq!(merkle::root_before(window, &merkle_proof), Some(root));
        let leaf = merkle::leaf_hash(&statement.window.to_bytes());
        assert_eq!(
            merkle::root_after(window, leaf, &merkle_proof),
            Some(statement.merkle_root)
        );
        root = statement.merkle_root;
    }
    assert!(
        matches!(
            close(&mut enclave, 24_999, 26_000),
            Reply::Refused(EnclaveFault::Window(_))
        ),
        "overlap"
    );
    assert!(
        matches!(
            close(&mut enclave, 26_000, 26_000),
            Reply::Refused(EnclaveFault::Window(_))
        ),
        "empty"
    );
    assert!(
        matches!(
            sample(&mut enclave, 24_999),
            Reply::Refused(EnclaveFault::Sample(_))
        ),
        "in a closed window"
    );
    assert!(matches!(sample(&mut enclave, 30_000), Reply::Sample(_)));
    assert!(
        matches!(
            close(&mut enclave, 25_000, 29_000),
            Reply::Refused(EnclaveFault::Window(_))
        ),
        "leaves one out"
    );
    let Reply::Window(signed) = close(&mut enclave, 25_000, 31_000) else {
        panic!("a refusal must change nothing")
    };
    assert_eq!(signed.statement.window.sequence, 5);
    assert_eq!(
        (signed.statement.window.slots, signed.statement.window.covered),
        (6, 1)
    );
}

#[test]
fn a_proof_is_not_made_for_longer_than_a_day() {
    let (mut enclave, _) = attested();
    let refused = enclave.handle(Request::CloseWindow {
        start: UnixMillis(1),
        end: UnixMillis(2),
        interval_millis: 1,
        now: UnixMillis(2),
        validity_millis: MAX_VALIDITY_MILLIS + 1,
    });
    assert!(matches!(refused, Reply::Refused(EnclaveFault::Window(_))));
    let no_interval = enclave.handle(Request::CloseWindow {
        start: UnixMillis(1),
        end: UnixMillis(2),
        interval_millis: 0,
        now: UnixMillis(2),
        validity_millis: 1,
    });
    assert!(matches!(no_interval, Reply::Refused(EnclaveFault::Window(_))));
}
