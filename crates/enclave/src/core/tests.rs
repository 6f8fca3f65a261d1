use nautilus_channel::MessageType;
use nautilus_core::{
    AttestError, BoundUserData, Descriptor, EventLogHead, PublicKey, Purpose, RawEvidence, ReportData,
};
use nautilus_proof::{Metrics, Sample, SignedBatch, merkle};
use sha2::{Digest, Sha256};

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
        channel_key: Some(identity.channel_key),
        event_log: EventLogHead::EMPTY,
        session: None,
    };
    assert_eq!(attested.user_data, bound.to_bytes());
    assert_eq!(attested.evidence, challenge.bind(&bound).as_bytes());
    (enclave, identity)
}

fn measured(at: u64) -> Request {
    let measurement = Measurement {
        monotonic_millis: at,
        ..Measurement::of_system(UnixMillis(at), Metrics::default())
    };
    Request::Sample {
        measurement: Box::new(measurement),
    }
}

fn sample(enclave: &mut Enclave, at: u64) -> Reply {
    enclave.handle(measured(at))
}

/// Takes a sample that the enclave must not refuse.
fn taken(enclave: &mut Enclave, at: u64) -> Sample {
    match sample(enclave, at) {
        Reply::Sample(sample) => *sample,
        other => panic!("{other:?}"),
    }
}

/// Has the open batch signed, which must be over `samples`.
fn sign(enclave: &mut Enclave, samples: Vec<Sample>) -> SignedBatch {
    let Reply::Batch(signed) = enclave.handle(Request::SignBatch) else {
        panic!("no batch")
    };
    let last = samples.last().unwrap();
    let expected = nautilus_proof::SampleBatch {
        node: last.node,
        boot: last.boot,
        first: samples[0].sequence,
        count: u32::try_from(samples.len()).unwrap(),
        previous: samples[0].previous,
        head: last.digest(),
    };
    assert_eq!(signed.batch, expected);
    SignedBatch {
        samples,
        signature: signed.signature,
    }
}

/// Signs what is open, and closes the window.
fn close(enclave: &mut Enclave, start: u64, end: u64) -> Reply {
    match enclave.handle(Request::SignBatch) {
        Reply::Batch(_) | Reply::Refused(EnclaveFault::NoSamples | EnclaveFault::NotInitialized) => {}
        other => panic!("{other:?}"),
    }
    close_as_it_is(enclave, start, end)
}

fn close_as_it_is(enclave: &mut Enclave, start: u64, end: u64) -> Reply {
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
    assert_ne!(first.keys.tee_key(), second.keys.tee_key());
    assert_ne!(first.boot, second.boot);
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
fn samples_are_chained_at_once_and_signed_in_batches() {
    let (mut enclave, identity) = attested();
    let mut chain = SampleChain::of_boot(NODE, identity.boot);
    let nothing = Reply::Refused(EnclaveFault::NoSamples);
    assert_eq!(enclave.handle(Request::SignBatch), nothing);
    let samples: Vec<_> = [1000, 2000, 3000].map(|at| taken(&mut enclave, at)).into();
    assert_eq!(samples[0].previous, Digest32([0; 32]));
    assert_eq!(samples[1].previous, samples[0].digest());
    let batch = sign(&mut enclave, samples);
    chain.push_signed(&batch, &identity.tee_key).unwrap();
    assert_eq!(enclave.handle(Request::SignBatch), nothing, "signed once");

    assert!(matches!(
        sample(&mut enclave, 3000),
        Reply::Refused(EnclaveFault::Sample(_))
    ));
    let spoilt: [fn(&mut Measurement); 3] = [
        |m| m.metrics.as_mut().unwrap().cpu_usage_bp = 10_001,
        |m| m.monotonic_millis = 2999,
        |m| {
            let gap = nautilus_proof::Gap {
                collector: nautilus_proof::CollectorKind::System,
                reason: nautilus_proof::GapReason::Failed,
            };
            m.gaps = vec![gap; 2];
        },
    ];
    for spoil in spoilt {
        let Request::Sample { mut measurement } = measured(4000) else {
            unreachable!()
        };
        spoil(&mut measurement);
        let refused = enclave.handle(Request::Sample { measurement });
        assert!(
            matches!(refused, Reply::Refused(EnclaveFault::Sample(_))),
            "{refused:?}"
        );
    }
    assert_eq!(
        enclave.handle(Request::SignBatch),
        nothing,
        "no refusal opens one"
    );
    let next = taken(&mut enclave, 4000);
    assert_eq!(next.sequence, 3, "a refusal must change nothing");
    let batch = sign(&mut enclave, vec![next]);
    chain.push_signed(&batch, &identity.tee_key).unwrap();
}

#[test]
fn no_sample_goes_into_a_window_or_into_another_boot_unsigned() {
    let (mut enclave, _) = attested();
    let samples = vec![taken(&mut enclave, 1000), taken(&mut enclave, 2000)];
    let open = Reply::Refused(EnclaveFault::BatchOpen(2));
    assert_eq!(close_as_it_is(&mut enclave, 1000, 3000), open);
    assert_eq!(enclave.handle(Request::Rotate { now: UnixMillis(1) }), open);
    let vitals = vitals(&mut enclave, Request::Heartbeat);
    assert_eq!((vitals.samples, vitals.unsigned), (2, 2));
    sign(&mut enclave, samples);
    assert!(matches!(
        enclave.handle(Request::Rotate { now: UnixMillis(1) }),
        Reply::Refused(EnclaveFault::Rotate(_))
    ));
    let Reply::Window(window) = close_as_it_is(&mut enclave, 1000, 3000) else {
        panic!("refused")
    };
    assert_eq!(window.statement.window.samples, 2);
}

#[test]
fn a_batch_holds_a_thousand_samples_and_a_window_ten_thousand() {
    let (mut enclave, _) = attested();
    let mut at = 0;
    for _ in 0..10 {
        let mut samples = Vec::new();
        for _ in 0..MAX_BATCH {
            at += 1;
            samples.push(taken(&mut enclave, at));
        }
        let refused = sample(&mut enclave, at + 1);
        let full = match at {
            10_000 => EnclaveFault::WindowFull(MAX_SAMPLES),
            _ => EnclaveFault::BatchFull(MAX_BATCH),
        };
        assert_eq!(refused, Reply::Refused(full));
        sign(&mut enclave, samples);
    }
    let full = Reply::Refused(EnclaveFault::WindowFull(MAX_SAMPLES));
    assert_eq!(sample(&mut enclave, at + 1), full);
    assert!(matches!(
        close_as_it_is(&mut enclave, 1, at + 1),
        Reply::Window(_)
    ));
    taken(&mut enclave, at + 1);
}

/// What did not measure the machine covers no slot, but it is in the window, and counted and placed like any other.
#[test]
fn a_sample_without_metrics_is_part_of_its_window() {
    let (mut enclave, _) = attested();
    let unmeasured = |at: u64| {
        let measurement = Box::new(Measurement {
            at: UnixMillis(at),
            metrics: None,
            ..Measurement::of_system(UnixMillis(at), Metrics::default())
        });
        Request::Sample { measurement }
    };
    for at in [1000, 3500] {
        assert!(matches!(enclave.handle(unmeasured(at)), Reply::Sample(_)));
    }
    assert_eq!(vitals(&mut enclave, Request::Heartbeat).samples, 2);
    let outside = Reply::Refused(EnclaveFault::Window("a sample lies outside of it".to_owned()));
    assert_eq!(close(&mut enclave, 1001, 4000), outside);
    assert_eq!(close(&mut enclave, 1000, 3500), outside);
    assert!(matches!(
        enclave.handle(Request::Rotate { now: UnixMillis(1) }),
        Reply::Refused(EnclaveFault::Rotate(_))
    ));
    let Reply::Window(signed) = close(&mut enclave, 1000, 4000) else {
        panic!("refused")
    };
    let window = &signed.statement.window;
    assert_eq!((window.samples, window.slots, window.covered), (2, 3, 0));
}

fn storage_key(enclave: &mut Enclave, epoch: u32) -> (crate::StorageKey, crate::StorageKeyOrigin) {
    match enclave.handle(Request::StorageKey { epoch }) {
        Reply::StorageKey { key, origin } => (key, origin),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_storage_key_is_the_nodes_and_outlives_its_signing_keys() {
    use crate::StorageKeyOrigin::{Process, Provisioned};

    let mut before = enclave();
    assert_eq!(
        before.handle(Request::StorageKey { epoch: 0 }),
        Reply::Refused(EnclaveFault::NotInitialized)
    );
    let (mut enclave, identity) = attested();
    let (first, origin) = storage_key(&mut enclave, 0);
    assert_eq!(origin, Process, "nothing seals this state");
    assert_eq!(storage_key(&mut enclave, 0).0, first);
    assert_ne!(storage_key(&mut enclave, 1).0, first);
    assert_ne!(storage_key(&mut attested().0, 0).0, first, "another enclave");
    enclave.handle(Request::Suspend);
    assert_eq!(storage_key(&mut enclave, 0).0, first, "it is no signature");
    enclave.handle(Request::Resume);

    let short = provision("metrics-store", &identity.channel_key, NODE, &[3; 31]);
    let why = "`metrics-store` must have at least 32 random bytes";
    assert_eq!(
        enclave.handle(short),
        Reply::Refused(EnclaveFault::Provision(why.to_owned()))
    );
    assert_eq!(storage_key(&mut enclave, 0).0, first);
    let secret = provision("metrics-store", &identity.channel_key, NODE, &[3; 32]);
    assert!(matches!(enclave.handle(secret), Reply::Provisioned { .. }));
    let (provisioned, origin) = storage_key(&mut enclave, 0);
    assert_eq!(origin, Provisioned);
    assert_ne!(provisioned, first);
    assert_eq!(provisioned, crate::storage::key(&[3; 32], NODE, 0).unwrap());
    assert!(matches!(
        enclave.handle(Request::Rotate { now: UnixMillis(1) }),
        Reply::Rotated(_)
    ));
    assert_eq!(storage_key(&mut enclave, 0).0, provisioned);
    // What is printed of an answer is not the key.
    let reply = enclave.handle(Request::StorageKey { epoch: 0 });
    let printed = format!("{reply:?}");
    assert_eq!(printed, "StorageKey { key: StorageKey(..), origin: Provisioned }");
    // And it travels in no message that may be compressed.
    let message_type = nautilus_channel::Payload::message_type(&reply);
    assert!(!message_type.may_compress());
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

fn vitals(enclave: &mut Enclave, request: Request) -> Vitals {
    match enclave.handle(request) {
        Reply::Alive(vitals) => vitals,
        other => panic!("{other:?}"),
    }
}

fn attest() -> Request {
    Request::Attest {
        purpose: Purpose::Runtime,
        challenge: Challenge::from_digest(Digest32([3; 32])),
    }
}

#[test]
fn the_p256_key_is_vouched_for_by_the_signing_key() {
    let (_, identity) = attested();
    let message = nautilus_proof::EnclaveKey {
        node: NODE,
        boot: identity.boot,
        tee_key: identity.tee_key,
        secp256r1: identity.p256.key.clone(),
    };
    assert!(message.is_signed_by(&identity.tee_key, &identity.p256.signature));
    assert_eq!(identity.p256.key.len(), 33);
    assert!(matches!(identity.p256.key[0], 2 | 3));
}

#[test]
fn a_suspended_enclave_signs_nothing() {
    let (mut enclave, identity) = attested();
    assert!(matches!(sample(&mut enclave, 1000), Reply::Sample(_)));
    let expected = Vitals {
        boot: identity.boot,
        windows: 0,
        samples: 1,
        suspended: true,
        unsigned: 1,
    };
    assert_eq!(vitals(&mut enclave, Request::Suspend), expected);
    let (at, expires_at) = (UnixMillis(1), UnixMillis(2));
    let refused = [
        Request::Initialize { node: NODE },
        attest(),
        measured(2000),
        Request::SignBatch,
        Request::CloseWindow {
            start: UnixMillis(1),
            end: UnixMillis(3000),
            interval_millis: 1000,
            now: UnixMillis(3000),
            validity_millis: 1,
        },
        Request::Rotate { now: at },
        Request::Certify {
            not_before: at,
            not_after: expires_at,
        },
        response(Digest32([0; 32]), Digest32([1; 32]), at, expires_at),
    ];
    for request in refused {
        let reply = enclave.handle(request.clone());
        assert_eq!(reply, Reply::Refused(EnclaveFault::Suspended), "{request:?}");
    }
    assert_eq!(vitals(&mut enclave, Request::Heartbeat), expected);
    let resumed = Vitals {
        suspended: false,
        ..expected
    };
    assert_eq!(vitals(&mut enclave, Request::Resume), resumed);
    let next = taken(&mut enclave, 2000);
    assert_eq!(next.sequence, 1);
    let Reply::Batch(signed) = enclave.handle(Request::SignBatch) else {
        panic!("it does not go on")
    };
    assert_eq!((signed.batch.first, signed.batch.count), (0, 2));
}

#[test]
fn a_rotation_is_a_new_boot_whose_key_the_old_one_names() {
    let (mut enclave, old) = attested();
    assert!(matches!(sample(&mut enclave, 1000), Reply::Sample(_)));
    let now = UnixMillis(5000);
    assert!(matches!(enclave.handle(Request::SignBatch), Reply::Batch(_)));
    let open = enclave.handle(Request::Rotate { now });
    assert!(
        matches!(open, Reply::Refused(EnclaveFault::Rotate(_))),
        "{open:?}"
    );
    assert!(matches!(close(&mut enclave, 1000, 2000), Reply::Window(_)));
    let Reply::Rotated(rotated) = enclave.handle(Request::Rotate { now }) else {
        panic!("refused")
    };
    let new = rotated.identity;
    let message = nautilus_proof::KeyRotation {
        node: NODE,
        retired: old.tee_key,
        successor: new.tee_key,
        boot: new.boot,
        at: now,
    };
    assert!(message.is_signed_by(&old.tee_key, &rotated.signature));
    for (before, after) in [(old.tee_key, new.tee_key), (old.channel_key, new.channel_key)] {
        assert_ne!(before, after);
    }
    assert_ne!(old.p256.key, new.p256.key);
    assert_ne!(old.boot, new.boot);
    let retired = crate::RetiredKey {
        tee_key: old.tee_key,
        retired_at: now,
    };
    assert_eq!(new.state.retired, [retired]);
    assert_eq!(new.state.keys_made_at, Some(now));
    // No evidence, an empty log, a chain from its start.
    assert_eq!(
        close(&mut enclave, 6000, 7000),
        Reply::Refused(EnclaveFault::NotAttested)
    );
    let Reply::Evidence(attested) = enclave.handle(attest()) else {
        panic!("no evidence")
    };
    let bound = BoundUserData::from_canonical(&attested.user_data).unwrap();
    assert_eq!(
        (bound.tee_key, bound.boot, bound.channel_key),
        (new.tee_key, new.boot, Some(new.channel_key))
    );
    let first = taken(&mut enclave, 6000);
    assert_eq!((first.boot, first.sequence), (new.boot, 0));
    let batch = sign(&mut enclave, vec![first]);
    SampleChain::of_boot(NODE, new.boot)
        .push_signed(&batch, &new.tee_key)
        .unwrap();
    let Reply::Window(window) = close(&mut enclave, 6000, 7000) else {
        panic!("refused")
    };
    assert_eq!(window.statement.window.sequence, 0);
}

const fn certify(not_before: UnixMillis, not_after: UnixMillis) -> Request {
    Request::Certify {
        not_before,
        not_after,
    }
}

fn response(evidence: Digest32, certificate: Digest32, at: UnixMillis, expires_at: UnixMillis) -> Request {
    Request::SignAttestation {
        evidence,
        certificate,
        measurements: Digest32([2; 32]),
        at,
        expires_at,
    }
}

#[test]
fn only_a_response_about_the_newest_evidence_is_signed() {
    let mut before = enclave();
    before.handle(Request::Initialize { node: NODE });
    let (at, expires_at) = (UnixMillis(10), UnixMillis(20));
    let none = before.handle(response(Digest32([0; 32]), Digest32([1; 32]), at, expires_at));
    assert_eq!(none, Reply::Refused(EnclaveFault::NotAttested));

    let (mut enclave, identity) = attested();
    let digests: Vec<Digest32> = (0..2)
        .map(|_| match enclave.handle(attest()) {
            Reply::Evidence(attested) => Digest32(Sha256::digest(&attested.evidence).into()),
            other => panic!("{other:?}"),
        })
        .collect();
    let newest = digests[1];
    let mut certified = || match enclave.handle(certify(UnixMillis(1_000), UnixMillis(2_000))) {
        Reply::Certificate(certificate) => Digest32(Sha256::digest(&certificate).into()),
        other => panic!("{other:?}"),
    };
    let (earlier, certificate) = (certified(), certified());
    for other in [earlier, Digest32([1; 32])] {
        assert!(matches!(
            enclave.handle(response(newest, other, at, expires_at)),
            Reply::Refused(EnclaveFault::Attestation(_))
        ));
    }
    let Reply::Attestation(signature) = enclave.handle(response(newest, certificate, at, expires_at)) else {
        panic!("refused")
    };
    let evidence_id = enclave.node.as_ref().unwrap().newest.as_ref().unwrap().id;
    let message = nautilus_proof::AttestationResponse {
        node: NODE,
        boot: identity.boot,
        evidence_id,
        evidence: newest,
        certificate,
        measurements: Digest32([2; 32]),
        timestamp: at,
        expires_at,
    };
    assert!(message.is_signed_by(&identity.tee_key, &signature));
    let day = UnixMillis(10 + MAX_VALIDITY_MILLIS);
    assert!(matches!(
        enclave.handle(response(newest, certificate, at, day)),
        Reply::Attestation(_)
    ));
    for (evidence, at, expires_at, why) in [
        (
            Digest32([0; 32]),
            at,
            expires_at,
            "it is not about the newest evidence",
        ),
        (newest, at, at, "it expires before it is made"),
        (newest, expires_at, at, "it expires before it is made"),
        (newest, at, day.plus(1), "it is used for at most 24 hours"),
    ] {
        let reply = enclave.handle(response(evidence, certificate, at, expires_at));
        assert_eq!(reply, Reply::Refused(EnclaveFault::Attestation(why.to_owned())));
    }
}

#[test]
fn a_certificate_needs_evidence_and_a_day_at_most() {
    let (start, end) = (UnixMillis(1_800_000_000_000), UnixMillis(1_800_000_060_000));
    let mut before = enclave();
    before.handle(Request::Initialize { node: NODE });
    assert_eq!(
        before.handle(certify(start, end)),
        Reply::Refused(EnclaveFault::NotAttested)
    );
    let (mut enclave, _) = attested();
    for (not_before, not_after, why) in [
        (end, start, "it ends before it starts"),
        (start, start, "it ends before it starts"),
        (
            start,
            start.plus(MAX_VALIDITY_MILLIS + 1),
            "it is valid for at most 24 hours",
        ),
        (
            UnixMillis(u64::MAX - 1),
            UnixMillis(u64::MAX),
            "its times are no dates",
        ),
    ] {
        let reply = enclave.handle(certify(not_before, not_after));
        assert_eq!(reply, Reply::Refused(EnclaveFault::Certify(why.to_owned())));
    }
    assert!(matches!(
        enclave.handle(certify(start, end)),
        Reply::Certificate(_)
    ));
}

fn provision(name: &str, to: &PublicKey, node: NodeId, secret: &[u8]) -> Request {
    let info = crate::hpke::provision_info(node, name);
    Request::Provision {
        name: name.to_owned(),
        sealed: crate::hpke::seal(to, &info, secret).unwrap(),
    }
}

#[test]
fn a_secret_is_taken_by_whom_and_as_what_it_was_encrypted() {
    let (mut enclave, identity) = attested();
    let to = &identity.channel_key;
    let Request::Provision { name, sealed } = provision("disk.key-1", to, NODE, b"secret") else {
        unreachable!()
    };
    let digest = Digest32(Sha256::digest(&sealed).into());
    let taken = enclave.handle(Request::Provision { name, sealed });
    assert_eq!(taken, Reply::Provisioned { sealed: digest });
    assert_eq!(enclave.state.secrets[0].value, b"secret");

    let another_node = provision("disk.key-1", to, NodeId([8; 32]), b"secret");
    let another_key = provision("disk.key-1", &PublicKey([9; 32]), NODE, b"secret");
    let mut another_name = provision("disk.key-1", to, NODE, b"secret");
    if let Request::Provision { name, .. } = &mut another_name {
        *name = "disk.key-2".to_owned();
    }
    let too_long = provision("long", to, NODE, &[0; 4097]);
    let cut = Request::Provision {
        name: "cut".to_owned(),
        sealed: vec![0; 31],
    };
    let names = ["", "Upper", "space d", "slash/", "\u{e9}"].map(str::to_owned);
    let names = names.into_iter().chain(["n".repeat(65)]);
    let bad_names = names.map(|name| provision(&name, to, NODE, b"secret"));
    for request in [another_node, another_key, another_name, too_long, cut]
        .into_iter()
        .chain(bad_names)
    {
        let reply = enclave.handle(request.clone());
        assert!(
            matches!(reply, Reply::Refused(EnclaveFault::Provision(_))),
            "{request:?}: {reply:?}"
        );
    }
    assert_eq!(enclave.state.secrets.len(), 1);

    let longest = provision(&"n".repeat(64), to, NODE, &[7; 4096]);
    assert!(matches!(enclave.handle(longest), Reply::Provisioned { .. }));
    for number in 2..16 {
        let reply = enclave.handle(provision(&format!("secret-{number}"), to, NODE, b"s"));
        assert!(matches!(reply, Reply::Provisioned { .. }), "{number}: {reply:?}");
    }
    let one_more = enclave.handle(provision("one-more", to, NODE, b"s"));
    assert!(matches!(one_more, Reply::Refused(EnclaveFault::Provision(_))));
    let replaced = enclave.handle(provision("disk.key-1", to, NODE, b"other"));
    assert!(matches!(replaced, Reply::Provisioned { .. }));
    let Reply::Rotated(rotated) = enclave.handle(Request::Rotate { now: UnixMillis(1) }) else {
        panic!("refused")
    };
    assert_eq!(rotated.identity.state.secrets.len(), 16, "secrets outlive a key");
    let to_the_old = enclave.handle(provision("disk.key-1", to, NODE, b"secret"));
    assert!(matches!(to_the_old, Reply::Refused(EnclaveFault::Provision(_))));
}

/// Evidence that does not fit into its message is refused, and the enclave goes on.
#[test]
fn evidence_that_is_too_long_is_refused() {
    struct Long(usize, usize);
    impl Attester for Long {
        fn descriptor(&self) -> Descriptor {
            EchoAttester.descriptor()
        }

        fn attest(&self, _: &ReportData) -> Result<RawEvidence, AttestError> {
            Ok(RawEvidence {
                bytes: vec![0; self.0],
                event_log: Some(vec![0; self.1]),
                ..RawEvidence::default()
            })
        }
    }
    for (evidence, log, fits) in [
        (256 * 1024, 0, true),
        (256 * 1024 + 1, 0, false),
        (1, MessageType::Attestation.limit(), false),
        (1, MessageType::Attestation.limit() - 5 * 1024, true),
    ] {
        let mut enclave = Enclave::boot(Box::new(Long(evidence, log))).unwrap();
        enclave.handle(Request::Initialize { node: NODE });
        let reply = enclave.handle(attest());
        let encoded = nautilus_channel::Payload::encode(&reply).unwrap();
        assert!(encoded.len() <= MessageType::Attestation.limit());
        assert_eq!(
            matches!(reply, Reply::Evidence(_)),
            fits,
            "{evidence} and {log}: {reply:?}"
        );
        assert!(fits || matches!(reply, Reply::Refused(EnclaveFault::Attest(_))));
    }
}
