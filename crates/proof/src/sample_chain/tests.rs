use ed25519_dalek::{Signer, SigningKey};
use nautilus_core::Signature;

use super::*;
use crate::message::{CollectorKind, Gap, GapReason};

const NODE: NodeId = NodeId([1; 32]);
const BOOT: BootId = BootId([2; 16]);
const KEY: u8 = 7;

fn chain() -> SampleChain {
    SampleChain::of_boot(NODE, BOOT)
}

fn metrics(cpu: u16) -> Metrics {
    Metrics {
        cpu_usage_bp: cpu,
        memory_usage_bp: 100,
        ..Metrics::default()
    }
}

fn measured(at: u64, cpu: u16) -> Measurement {
    Measurement {
        monotonic_millis: at,
        ..Measurement::of_system(UnixMillis(at), metrics(cpu))
    }
}

fn unmeasured(at: u64) -> Measurement {
    Measurement {
        metrics: None,
        gaps: vec![gap(CollectorKind::System)],
        ..measured(at, 0)
    }
}

fn gap(collector: CollectorKind) -> Gap {
    Gap {
        collector,
        reason: GapReason::Failed,
    }
}

/// The next sample of a chain, with one thing changed.
fn changed(good: &Sample, change: impl FnOnce(&mut Sample)) -> Sample {
    let mut sample = good.clone();
    change(&mut sample);
    sample
}

fn key(seed: u8) -> PublicKey {
    PublicKey(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes())
}

fn sign(seed: u8, batch: &SampleBatch) -> Signature {
    Signature(
        SigningKey::from_bytes(&[seed; 32])
            .sign(&batch.to_bytes())
            .to_bytes(),
    )
}

/// Takes `count` samples in and signs them as one batch.
fn batch(chain: &mut SampleChain, count: u64) -> SignedBatch {
    let first = chain.tip.next.unwrap().0;
    let samples: Vec<_> = (first..first + count)
        .map(|index| {
            let sample = chain.draft(measured(1000 + index, 10));
            chain.push(&sample).unwrap();
            sample
        })
        .collect();
    SignedBatch {
        signature: sign(KEY, &chain.take_batch().unwrap()),
        samples,
    }
}

/// What a chain says of a batch. It is then what it was, and takes the genuine one.
fn refused(chain: &SampleChain, genuine: &SignedBatch, spoilt: &SignedBatch) -> SampleError {
    let mut chain = chain.clone();
    let before = format!("{chain:?}");
    let error = chain.push_signed(spoilt, &key(KEY)).unwrap_err();
    assert_eq!(format!("{chain:?}"), before, "{error}");
    chain.push_signed(genuine, &key(KEY)).unwrap();
    error
}

#[test]
fn samples_follow_each_other_or_are_refused() {
    let mut chain = chain();
    for index in 0..3_u64 {
        let sample = chain.draft(measured(1000 + index, 10));
        assert_eq!(sample.sequence, index);
        chain.push(&sample).unwrap();
    }
    let good = chain.draft(measured(2000, 10));
    let refused = |change: fn(&mut Sample)| {
        let mut chain = chain.clone();
        let before = format!("{chain:?}");
        let error = chain.push(&changed(&good, change)).unwrap_err();
        assert_eq!(format!("{chain:?}"), before, "{error}");
        error
    };
    let broken = |sequence| SampleError::ChainBroken { sequence };
    assert_eq!(refused(|s| s.sequence = 4), broken(4));
    assert_eq!(refused(|s| s.previous = Digest32([9; 32])), broken(3));
    let foreign = SampleError::Foreign { sequence: 3 };
    assert_eq!(refused(|s| s.node = NodeId([9; 32])), foreign);
    assert_eq!(refused(|s| s.boot = BootId([9; 16])), foreign);
    let out_of_time = |at| SampleError::OutOfTime {
        sequence: 3,
        at: UnixMillis(at),
    };
    assert_eq!(
        refused(|s| s.measurement.at = UnixMillis(1002)),
        out_of_time(1002)
    );
    assert_eq!(
        refused(|s| s.measurement.monotonic_millis = 1001),
        out_of_time(2000),
        "the monotonic clock went back"
    );
    let shares: [fn(&mut Metrics) -> &mut u16; 4] = [
        |m| &mut m.cpu_usage_bp,
        |m| &mut m.cpu_efficiency_bp,
        |m| &mut m.memory_usage_bp,
        |m| &mut m.disk_usage_bp,
    ];
    for share in shares {
        let spoilt = changed(&good, |s| {
            *share(s.measurement.metrics.as_mut().unwrap()) = 10_001;
        });
        let error = chain.clone().push(&spoilt).unwrap_err();
        assert_eq!(error, SampleError::OutOfRange { sequence: 3 });
    }
    // A machine whose clock of milliseconds stands still between two samples is none that lies.
    let still = changed(&good, |s| s.measurement.monotonic_millis = 1002);
    chain.clone().push(&still).unwrap();
    chain.push(&good).unwrap();
}

#[test]
fn gaps_are_in_order_and_named_once() {
    let chain = chain();
    let push = |gaps: &[CollectorKind]| {
        let gaps = gaps.iter().copied().map(gap).collect();
        let sample = chain.draft(Measurement {
            gaps,
            ..measured(1, 1)
        });
        chain.clone().push(&sample)
    };
    let unordered = Err(SampleError::GapsUnordered { sequence: 0 });
    use CollectorKind::{Container, Custom, Network, Security, System};
    assert_eq!(push(&[System, Container, Network, Security, Custom]), Ok(()));
    assert_eq!(push(&[Container, System]), unordered);
    assert_eq!(push(&[System, System]), unordered);
    assert_eq!(push(&[System, Network, Container]), unordered);
}

#[test]
fn the_summary_is_of_the_open_window_only() {
    let mut chain = chain();
    let first = chain.draft(measured(1, 9000));
    chain.push(&first).unwrap();
    chain.start_window();
    assert_eq!((chain.window_len(), chain.window_span()), (0, None));
    for (at, cpu) in [(2, 10), (3, 21)] {
        let sample = chain.draft(measured(at, cpu));
        chain.push(&sample).unwrap();
    }
    let summary = chain.summary();
    assert_eq!(
        (
            summary.cpu_usage_mean_bp,
            summary.cpu_usage_max_bp,
            summary.memory_usage_max_bp
        ),
        (15, 21, 100)
    );
    assert_eq!(chain.times(), [UnixMillis(2), UnixMillis(3)]);
}

#[test]
fn a_sample_that_did_not_measure_the_machine_covers_nothing_and_weighs_nothing() {
    let mut chain = chain();
    for measurement in [
        unmeasured(1000),
        measured(3000, 10),
        unmeasured(5000),
        measured(7000, 30),
        unmeasured(9000),
    ] {
        let sample = chain.draft(measurement);
        chain.push(&sample).unwrap();
    }
    let times = [UnixMillis(3000), UnixMillis(7000)];
    assert_eq!(chain.times(), times);
    assert_eq!(chain.summary().cpu_usage_mean_bp, 20);
    assert_eq!(chain.window_len(), 5, "and is in the window all the same");
    assert_eq!(chain.window_span(), Some((UnixMillis(1000), UnixMillis(9000))));
    let covered = covered_slots(UnixMillis(1000), UnixMillis(11_000), 2000, chain.times());
    assert_eq!(covered, Some(2));
}

#[test]
fn a_batch_is_what_came_since_the_last_one() {
    let mut chain = chain();
    assert_eq!(chain.open_batch(), None);
    assert_eq!(chain.take_batch(), None);
    let (first, second) = (batch(&mut chain, 3), batch(&mut chain, 1));
    assert_eq!(chain.open_batch(), None);
    let mut verifier = SampleChain::of_boot(NODE, BOOT);
    for signed in [&first, &second] {
        verifier.push_signed(signed, &key(KEY)).unwrap();
    }
    assert_eq!(verifier.metrics_hash(), chain.metrics_hash());
    assert_eq!(verifier.summary(), chain.summary());
    let head = first.samples[2].digest();
    let expected = SampleBatch {
        node: NODE,
        boot: BOOT,
        first: 3,
        count: 1,
        previous: head,
        head: second.samples[0].digest(),
    };
    assert_eq!(second.samples[0].previous, head);
    assert_eq!(second.signature, sign(KEY, &expected));
    // A piece of the chain starts wherever it starts.
    SampleChain::piece(NODE, BOOT)
        .push_signed(&second, &key(KEY))
        .unwrap();
}

#[test]
fn a_batch_that_is_not_as_it_was_signed_is_refused_and_leaves_nothing_behind() {
    let mut signer = chain();
    let first = batch(&mut signer, 2);
    let good = batch(&mut signer, 3);
    let mut chain = chain();
    chain.push_signed(&first, &key(KEY)).unwrap();
    let refused = |change: &dyn Fn(&mut SignedBatch)| {
        let mut spoilt = good.clone();
        change(&mut spoilt);
        refused(&chain, &good, &spoilt)
    };
    let broken = |sequence| SampleError::ChainBroken { sequence };
    let unsigned = |sequence| SampleError::SignatureInvalid { sequence };
    assert_eq!(
        refused(&|b| b.samples.clear()),
        SampleError::BatchSize { count: 0 }
    );
    assert_eq!(refused(&|b| b.samples.truncate(2)), unsigned(2));
    assert_eq!(refused(&|b| drop(b.samples.remove(0))), broken(3));
    assert_eq!(refused(&|b| drop(b.samples.remove(1))), broken(4));
    assert_eq!(refused(&|b| b.samples.swap(0, 1)), broken(3));
    assert_eq!(refused(&|b| b.samples.insert(1, b.samples[0].clone())), broken(2));
    // The head is the last sample's: nobody names it but the signature.
    assert_eq!(refused(&|b| b.samples[2].measurement.missed += 1), unsigned(2));
    assert_eq!(refused(&|b| b.samples[1].measurement.missed += 1), broken(4));
    assert_eq!(
        refused(&|b| b.samples[2].boot = BootId([9; 16])),
        SampleError::Foreign { sequence: 4 }
    );
    assert_eq!(refused(&|b| b.signature.0[5] ^= 1), unsigned(2));
    assert_eq!(refused(&|b| b.signature = first.signature), unsigned(2));
    assert_eq!(
        chain.clone().push_signed(&good, &key(KEY + 1)),
        Err(unsigned(2)),
        "another key"
    );
    // Two batches as one, and one as two.
    let spliced = SignedBatch {
        samples: [first.samples.as_slice(), &good.samples].concat(),
        signature: good.signature,
    };
    let mut fresh = SampleChain::of_boot(NODE, BOOT);
    assert_eq!(fresh.push_signed(&spliced, &key(KEY)), Err(unsigned(0)));
    assert_eq!(
        fresh.push_signed(&good, &key(KEY)),
        Err(broken(2)),
        "the second before the first"
    );
    fresh.push_signed(&first, &key(KEY)).unwrap();
    assert_eq!(fresh.push_signed(&first, &key(KEY)), Err(broken(0)), "twice");
    // The signature of a batch's end does not speak for its beginning, nor the other way round.
    let mut piece = SampleChain::piece(NODE, BOOT);
    let tail = SignedBatch {
        samples: good.samples[1..].to_vec(),
        signature: good.signature,
    };
    assert_eq!(piece.push_signed(&tail, &key(KEY)), Err(unsigned(3)));
}

#[test]
fn a_batch_holds_a_thousand_samples_and_not_one_more() {
    let mut signer = chain();
    let mut full = batch(&mut signer, MAX_BATCH.into());
    let mut verifier = chain();
    let further = signer.draft(measured(5000, 1));
    full.samples.push(further.clone());
    let over = SampleError::BatchSize { count: 1001 };
    assert_eq!(verifier.push_signed(&full, &key(KEY)), Err(over.clone()));
    full.samples.pop();
    verifier.push_signed(&full, &key(KEY)).unwrap();

    let mut open = chain();
    for sample in &full.samples {
        open.push(sample).unwrap();
    }
    assert_eq!(open.push(&further), Err(over));
    assert_eq!(open.take_batch().unwrap().count, MAX_BATCH);
    open.push(&further).unwrap();
    assert_eq!(open.open_batch().unwrap().first, 1000);
}

#[test]
fn a_signed_batch_does_not_come_between_samples_of_an_open_one() {
    let mut chain = chain();
    let sample = chain.draft(measured(1, 1));
    chain.push(&sample).unwrap();
    let mut signer = chain.clone();
    signer.take_batch();
    let signed = batch(&mut signer, 1);
    assert_eq!(
        refused_open(&mut chain, &signed),
        SampleError::BatchOpen { first: 0 }
    );
    chain.take_batch();
    chain.push_signed(&signed, &key(KEY)).unwrap();
}

fn refused_open(chain: &mut SampleChain, signed: &SignedBatch) -> SampleError {
    let open = chain.open_batch().cloned();
    let error = chain.push_signed(signed, &key(KEY)).unwrap_err();
    assert_eq!(chain.open_batch().cloned(), open);
    error
}

#[test]
fn absence_is_down_and_a_burst_counts_once() {
    let covered = |times: &[u64]| {
        let times: Vec<_> = times.iter().map(|at| UnixMillis(*at)).collect();
        covered_slots(UnixMillis(1000), UnixMillis(11_000), 2000, &times)
    };
    assert_eq!(covered(&[]), Some(0));
    assert_eq!(covered(&[1000, 3001, 5002, 7003, 9004]), Some(5));
    assert_eq!(covered(&[1000, 1001, 1002, 1003, 2999]), Some(1));
    assert_eq!(covered(&[1000, 9000]), Some(2));
    assert_eq!(covered(&[999]), None);
    assert_eq!(covered(&[11_000]), None);
    assert_eq!(slots(500, 2000), Some(1));
    assert_eq!(slots(5000, 2000), Some(2));
    assert_eq!(slots(1, 0), None);
    assert_eq!(
        covered_slots(UnixMillis(0), UnixMillis(5000), 2000, &[UnixMillis(4500)]),
        Some(1)
    );
}
