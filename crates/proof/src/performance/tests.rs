use ed25519_dalek::{Signer, SigningKey};
use sui_crypto::SuiSigner;
use sui_crypto::ed25519::Ed25519PrivateKey;
use sui_sdk_types::PersonalMessage;

use super::*;
use crate::merkle::{Frontier, leaf_hash};
use crate::message::{CollectorKind, Gap, GapReason, Measurement, Metrics, SampleBatch, node_id};

const NOW: UnixMillis = UnixMillis(1_700_000_020_500);
const START: u64 = 1_700_000_000_000;

fn tee_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn wallet_key() -> Ed25519PrivateKey {
    Ed25519PrivateKey::new([2; 32])
}

fn tee_sign(message: &impl SignedMessage) -> Signature {
    Signature(tee_key().sign(&message.to_bytes()).to_bytes())
}

fn wallet_sign(statement: &ProofStatement) -> WalletSignature {
    let signature = wallet_key()
        .sign_personal_message(&PersonalMessage(statement.to_bytes().into()))
        .unwrap();
    WalletSignature::from_base64(&signature.to_base64()).unwrap()
}

/// The third window of a boot, with ten samples in three batches, all but one of which measured the machine.
fn proof() -> PerformanceProof {
    let public = PublicKey(tee_key().verifying_key().to_bytes());
    let wallet = SuiAddress(wallet_key().public_key().derive_address().into_inner());
    let (node, boot) = (node_id(wallet, BootId([3; 16])), BootId([4; 16]));
    let mut chain = SampleChain::of_boot(node, boot);
    let mut batches = Vec::new();
    for range in [0..4, 4..5, 5..10_u16] {
        let samples = range.map(|index| {
            let sample = chain.draft(measurement(index));
            chain.push(&sample).unwrap();
            sample
        });
        batches.push(SignedBatch {
            samples: samples.collect(),
            signature: tee_sign(&chain.take_batch().unwrap()),
        });
    }
    let mut log = Frontier::default();
    log.append(leaf_hash(b"window 0"));
    log.append(leaf_hash(b"window 1"));
    log.append(leaf_hash(b"window 2"));
    let window = Window {
        node,
        tee: TeeKind::Simulated,
        assurance: Assurance::Simulated,
        boot,
        sequence: 3,
        start: UnixMillis(START),
        end: UnixMillis(START + 20_000),
        interval_millis: 2000,
        slots: 10,
        covered: 9,
        samples: 10,
        metrics_hash: chain.metrics_hash(),
        attestation_hash: EvidenceId([5; 32]),
        summary: chain.summary(),
    };
    let merkle_proof = log.next_path();
    log.append(leaf_hash(&window.to_bytes()));
    let statement = ProofStatement {
        window,
        merkle_root: log.root(),
        issued_at: UnixMillis(START + 20_001),
        expires_at: UnixMillis(START + 3_600_000),
    };
    let tee_signature = tee_sign(&statement);
    let seal_signature = wallet_sign(&statement);
    PerformanceProof::assemble(
        statement,
        merkle_proof,
        public,
        tee_signature,
        seal_signature,
        batches,
    )
}

fn measurement(index: u16) -> Measurement {
    let metrics = Metrics {
        cpu_usage_bp: 100 * index,
        memory_usage_bp: 5000,
        ..Metrics::default()
    };
    let after = u64::from(index) * 2000;
    let mut measurement = Measurement {
        monotonic_millis: 50_000 + after,
        ..Measurement::of_system(UnixMillis(START + after + 1), metrics)
    };
    if index == 6 {
        measurement.metrics = None;
        measurement.gaps = [CollectorKind::System, CollectorKind::Network]
            .map(|collector| Gap {
                collector,
                reason: GapReason::Stalled,
            })
            .to_vec();
    }
    measurement
}

/// The name of the error with which a changed proof is refused.
fn refused(change: impl FnOnce(&mut PerformanceProof)) -> &'static str {
    let mut changed = proof();
    change(&mut changed);
    assert_ne!(changed, proof(), "the change changed nothing");
    changed.verify(NOW).unwrap_err().kind()
}

#[test]
fn a_good_proof_verifies_and_survives_json() {
    let good = proof();
    let verified = good.verify(NOW).unwrap();
    assert_eq!(verified.submission().statement.digest(), good.proof_id);
    let text = serde_json::to_vec(&good).unwrap();
    assert_eq!(PerformanceProof::from_json(&text).unwrap(), good);
}

#[test]
fn every_tampering_is_refused_by_its_name() {
    assert_eq!(
        refused(|p| p.batches[0].signature.0[10] ^= 1),
        "sample_signature_invalid"
    );
    assert_eq!(
        refused(|p| p.batches[1].signature = p.batches[0].signature),
        "sample_signature_invalid"
    );
    assert_eq!(
        refused(|p| drop(p.batches[0].samples.pop())),
        "sample_signature_invalid"
    );
    assert_eq!(
        refused(|p| drop(p.batches[2].samples.remove(2))),
        "sample_chain_broken"
    );
    assert_eq!(refused(|p| p.batches[1].samples.clear()), "sample_batch_size");
    assert_eq!(refused(|p| drop(p.batches.remove(1))), "sample_chain_broken");
    assert_eq!(refused(|p| p.batches.truncate(2)), "metrics_hash_mismatch");
    assert_eq!(refused(|p| drop(p.batches.remove(0))), "metrics_hash_mismatch");
    assert_eq!(refused(|p| p.batches.swap(0, 1)), "sample_chain_broken");
    assert_eq!(
        refused(|p| p.batches.insert(1, p.batches[0].clone())),
        "sample_chain_broken"
    );
    // Samples moved from one batch to the next: nothing of them changed but who signed which.
    assert_eq!(
        refused(|p| {
            let last = p.batches[0].samples.pop().unwrap();
            p.batches[1].samples.insert(0, last);
        }),
        "sample_signature_invalid"
    );
    assert_eq!(
        refused(|p| {
            let next = p.batches.remove(1);
            p.batches[0].samples.extend(next.samples);
        }),
        "sample_signature_invalid"
    );
    assert_eq!(refused(|p| p.metrics_hash.0[0] ^= 1), "metrics_hash_mismatch");
    assert_eq!(refused(|p| p.attestation_hash.0[0] ^= 1), "merkle_path_invalid");
    assert_eq!(refused(|p| p.merkle_proof[1].0[31] ^= 1), "merkle_path_invalid");
    assert_eq!(refused(|p| p.merkle_proof.truncate(1)), "merkle_path_invalid");
    assert_eq!(refused(|p| p.merkle_root.0[0] ^= 1), "merkle_path_invalid");
    assert_eq!(refused(|p| p.sequence += 1), "merkle_path_invalid");
    assert_eq!(refused(|p| p.tee_signature.0[0] ^= 1), "tee_signature_invalid");
    assert_eq!(
        refused(|p| p.seal_signature.signature.0[0] ^= 1),
        "wallet_signature_invalid"
    );
    assert_eq!(refused(|p| p.wallet.0[0] ^= 1), "wallet_signature_invalid");
    assert_eq!(refused(|p| p.proof_id.0[0] ^= 1), "proof_id_mismatch");
    assert_eq!(refused(|p| p.summary.cpu_usage_max_bp += 1), "summary_mismatch");
    assert_eq!(refused(|p| p.covered -= 1), "summary_mismatch");
    assert_eq!(refused(|p| p.slots += 1), "time_range_invalid");
    assert_eq!(
        refused(|p| p.assurance = Assurance::HardwareVm),
        "merkle_path_invalid"
    );
    assert_eq!(refused(|p| p.tee_type = TeeKind::Sgx), "merkle_path_invalid");
    assert_eq!(refused(|p| p.node_id.0[0] ^= 1), "sample_foreign");
    assert_eq!(refused(|p| p.boot_id.0[0] ^= 1), "sample_foreign");
    assert_eq!(
        refused(|p| p.expires_at = p.expires_at.plus(1)),
        "proof_id_mismatch"
    );
    assert_eq!(
        refused(|p| p.verification_key = PublicKey([9; 32])),
        "sample_signature_invalid"
    );
}

type Tamper = fn(&mut Sample);

/// In the last sample of a batch the signature finds it, in any other the next sample.
#[test]
fn every_field_of_a_sample_is_signed() {
    fn metrics(sample: &mut Sample) -> &mut Metrics {
        sample.measurement.metrics.as_mut().unwrap()
    }
    let fields: [(&str, Tamper); 29] = [
        ("sequence", |s| s.sequence ^= 1),
        ("previous", |s| s.previous.0[0] ^= 1),
        ("at", |s| s.measurement.at.0 += 1),
        ("monotonic", |s| s.measurement.monotonic_millis += 1),
        ("missed", |s| s.measurement.missed += 1),
        ("clock step", |s| s.measurement.clock_step_millis -= 1),
        ("suspended", |s| s.measurement.suspended_millis += 1),
        ("metrics", |s| s.measurement.metrics = None),
        ("response time", |s| s.measurement.response_time_micros = Some(0)),
        ("gaps", |s| {
            s.measurement.gaps.push(Gap {
                collector: CollectorKind::Custom,
                reason: GapReason::Truncated,
            });
        }),
        ("readings", |s| s.measurement.readings.0[31] ^= 1),
        ("reading count", |s| s.measurement.reading_count += 1),
        ("cpu", |s| metrics(s).cpu_usage_bp ^= 1),
        ("efficiency", |s| metrics(s).cpu_efficiency_bp ^= 1),
        ("memory", |s| metrics(s).memory_usage_bp ^= 1),
        ("disk", |s| metrics(s).disk_usage_bp ^= 1),
        ("load 1", |s| metrics(s).load_average_centi[0] ^= 1),
        ("load 15", |s| metrics(s).load_average_centi[2] ^= 1),
        ("processes", |s| metrics(s).process_count ^= 1),
        ("threads", |s| metrics(s).thread_count ^= 1),
        ("descriptors", |s| metrics(s).file_descriptors ^= 1),
        ("switches", |s| metrics(s).context_switches ^= 1),
        ("interrupts", |s| metrics(s).interrupts ^= 1),
        ("received", |s| metrics(s).network_rx_bytes ^= 1),
        ("sent", |s| metrics(s).network_tx_bytes ^= 1),
        ("read", |s| metrics(s).disk_read_bytes ^= 1),
        ("written", |s| metrics(s).disk_written_bytes ^= 1),
        ("uptime", |s| metrics(s).uptime_seconds ^= 1),
        ("boot", |s| s.boot.0[0] ^= 1),
    ];
    for (what, tamper) in fields {
        let last = refused(|p| tamper(p.batches[0].samples.last_mut().unwrap()));
        let expected = match what {
            "sequence" | "previous" => "sample_chain_broken",
            "boot" => "sample_foreign",
            _ => "sample_signature_invalid",
        };
        assert_eq!(last, expected, "{what}");
        let inner = refused(|p| tamper(&mut p.batches[0].samples[1]));
        let expected = if what == "boot" {
            "sample_foreign"
        } else {
            "sample_chain_broken"
        };
        assert_eq!(inner, expected, "{what}");
    }
    for (what, tamper) in [
        (
            "a gap's collector",
            (|s| s.measurement.gaps[0].collector = CollectorKind::Container) as Tamper,
        ),
        ("a gap's reason", |s| {
            s.measurement.gaps[0].reason = GapReason::Failed;
        }),
        ("metrics in the place of a gap", |s| {
            s.measurement.metrics = Some(Metrics::default());
        }),
    ] {
        assert_eq!(
            refused(|p| tamper(&mut p.batches[2].samples[1])),
            "sample_chain_broken",
            "{what}"
        );
    }
    let swapped = refused(|p| p.batches[2].samples[1].measurement.gaps.swap(0, 1));
    assert_eq!(swapped, "sample_gaps_unordered");
}

/// The signature is over the batch as a whole: what it says cannot be said of other samples.
#[test]
fn a_batch_signed_over_something_else_is_refused() {
    let good = proof();
    let samples = &good.batches[0].samples;
    let genuine = SampleBatch {
        node: good.node_id,
        boot: good.boot_id,
        first: 0,
        count: 4,
        previous: Digest32([0; 32]),
        head: samples[3].digest(),
    };
    assert_eq!(good.batches[0].signature, tee_sign(&genuine));
    let changes: [fn(&mut SampleBatch); 6] = [
        |b| b.node.0[0] ^= 1,
        |b| b.boot.0[0] ^= 1,
        |b| b.first += 1,
        |b| b.count -= 1,
        |b| b.previous.0[0] ^= 1,
        |b| b.head.0[0] ^= 1,
    ];
    for change in changes {
        let mut other = genuine.clone();
        change(&mut other);
        assert_eq!(
            refused(|p| p.batches[0].signature = tee_sign(&other)),
            "sample_signature_invalid",
            "{other:?}"
        );
    }
}

#[test]
fn the_time_range_cannot_be_moved() {
    assert_eq!(refused(|p| p.time_range.start.0 ^= 1), "time_range_invalid");
    assert_eq!(refused(|p| p.time_range.end.0 ^= 1 << 20), "time_range_invalid");
    assert_eq!(refused(|p| p.time_range.duration += 1), "time_range_invalid");
    assert_eq!(
        refused(|p| p.time_range.end = p.time_range.start),
        "time_range_invalid"
    );
    let shift = |p: &mut PerformanceProof, by: u64| {
        p.time_range = TimeRange::new(p.time_range.start.plus(by), p.time_range.end.plus(by));
    };
    assert_eq!(refused(|p| shift(p, 1)), "merkle_path_invalid");
    assert_eq!(refused(|p| shift(p, 2)), "sample_out_of_time");
    assert_eq!(refused(|p| shift(p, 600_000)), "time_range_invalid");
}

#[test]
fn a_proof_holds_from_its_issue_to_its_expiry() {
    let good = proof();
    let expiry = good.expires_at;
    assert!(good.verify(UnixMillis(expiry.0 - 1)).is_ok());
    assert!(matches!(good.verify(expiry), Err(ProofError::Expired { expired_at }) if expired_at == expiry));
    let before = UnixMillis(good.time_range.end.0 - MAX_SKEW_MILLIS - 1);
    assert!(matches!(
        good.verify(before),
        Err(ProofError::TimeRangeInvalid { .. })
    ));
    let mut eternal = good;
    eternal.expires_at = eternal.timestamp.plus(MAX_VALIDITY_MILLIS + 1);
    assert!(matches!(
        eternal.verify(NOW),
        Err(ProofError::TimeRangeInvalid { .. })
    ));
}

#[test]
fn hostile_json_is_refused() {
    let text = serde_json::to_string(&proof()).unwrap();
    let kind = |bytes: &[u8]| PerformanceProof::from_json(bytes).unwrap_err().kind();
    for length in (0..text.len()).step_by(7) {
        assert_eq!(
            kind(&text.as_bytes()[..length]),
            "not_a_proof",
            "truncated to {length}"
        );
    }
    assert_eq!(kind(&vec![0; MAX_PROOF + 1]), "too_large");
    assert_eq!(kind(b"[]"), "not_a_proof");
    assert_eq!(
        kind(text.replace("\"slots\"", "\"slot\"").as_bytes()),
        "not_a_proof"
    );
    let mut many = proof();
    let one = many.batches[1].clone();
    many.batches = vec![one.clone(); MAX_SAMPLES as usize + 1];
    assert!(matches!(
        many.verify(NOW),
        Err(ProofError::TooManySamples { count: 10_001 })
    ));
    let mut long = proof();
    long.batches[1].samples = vec![one.samples[0].clone(); 1001];
    assert!(matches!(
        long.verify(NOW),
        Err(ProofError::Sample(SampleError::BatchSize { count: 1001 }))
    ));
    let mut none = proof();
    none.interval_millis = 0;
    assert_eq!(none.verify(NOW).unwrap_err().kind(), "time_range_invalid");
}

/// As many samples as there may be, each in a batch of its own, and every number as long as it gets.
#[test]
fn the_largest_proof_is_read() {
    let full = u64::MAX;
    let metrics = Metrics {
        cpu_usage_bp: 10_000,
        cpu_efficiency_bp: 10_000,
        memory_usage_bp: 10_000,
        disk_usage_bp: 10_000,
        load_average_centi: [u32::MAX; 3],
        process_count: u32::MAX,
        thread_count: u32::MAX,
        file_descriptors: full,
        context_switches: full,
        interrupts: full,
        network_rx_bytes: full,
        network_tx_bytes: full,
        disk_read_bytes: full,
        disk_written_bytes: full,
        uptime_seconds: full,
    };
    let gap = |collector| Gap {
        collector,
        reason: GapReason::Truncated,
    };
    let mut largest = proof();
    let mut batch = largest.batches[1].clone();
    let sample = &mut batch.samples[0];
    sample.sequence = full;
    sample.measurement = Measurement {
        // Every time that has a date is as long as any other.
        at: UnixMillis(1_800_000_000_123),
        monotonic_millis: full,
        missed: u32::MAX,
        clock_step_millis: i64::MIN,
        suspended_millis: full,
        metrics: Some(metrics),
        response_time_micros: Some(full),
        gaps: [
            CollectorKind::System,
            CollectorKind::Container,
            CollectorKind::Network,
            CollectorKind::Security,
            CollectorKind::Custom,
        ]
        .map(gap)
        .to_vec(),
        readings: Digest32([0xff; 32]),
        reading_count: u32::MAX,
    };
    let one = serde_json::to_vec(&batch).unwrap().len();
    assert_eq!(one, 1484);
    largest.batches = vec![batch; MAX_SAMPLES as usize];
    largest.merkle_proof = vec![Digest32([0xff; 32]); 64];
    let text = serde_json::to_vec(&largest).unwrap();
    assert!(
        text.len() <= MAX_PROOF && text.len() > MAX_PROOF - MAX_PROOF / 8,
        "{} of {MAX_PROOF}",
        text.len()
    );
    assert_eq!(PerformanceProof::from_json(&text).unwrap(), largest);
}
