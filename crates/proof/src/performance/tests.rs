use ed25519_dalek::{Signer, SigningKey};
use sui_crypto::SuiSigner;
use sui_crypto::ed25519::Ed25519PrivateKey;
use sui_sdk_types::PersonalMessage;

use super::*;
use crate::merkle::{Frontier, leaf_hash};
use crate::message::{Metrics, node_id};

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

/// The third window of a boot, with ten samples.
fn proof() -> PerformanceProof {
    let public = PublicKey(tee_key().verifying_key().to_bytes());
    let wallet = SuiAddress(wallet_key().public_key().derive_address().into_inner());
    let (node, boot) = (node_id(wallet, BootId([3; 16])), BootId([4; 16]));
    let mut chain = SampleChain::of_boot(node, boot);
    let samples: Vec<_> = (0..10_u16)
        .map(|index| {
            let metrics = Metrics {
                cpu_usage_bp: 100 * index,
                memory_usage_bp: 5000,
                ..Metrics::default()
            };
            let sample = chain.draft(UnixMillis(START + u64::from(index) * 2000 + 1), metrics);
            chain.push(&sample).unwrap();
            SignedSample {
                signature: tee_sign(&sample),
                sample,
            }
        })
        .collect();
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
        covered: 10,
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
        samples,
    )
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
        refused(|p| p.samples[3].sample.metrics.cpu_usage_bp ^= 1),
        "sample_signature_invalid"
    );
    assert_eq!(
        refused(|p| p.samples[3].signature.0[10] ^= 1),
        "sample_signature_invalid"
    );
    assert_eq!(
        refused(|p| p.samples.retain(|s| s.sample.sequence != 4)),
        "sample_chain_broken"
    );
    assert_eq!(refused(|p| p.samples.truncate(9)), "metrics_hash_mismatch");
    assert_eq!(
        refused(|p| p.samples.retain(|s| s.sample.sequence != 0)),
        "metrics_hash_mismatch"
    );
    assert_eq!(refused(|p| p.samples.swap(0, 1)), "sample_chain_broken");
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
    many.samples = vec![many.samples[0].clone(); MAX_SAMPLES as usize + 1];
    assert!(matches!(
        many.verify(NOW),
        Err(ProofError::TooManySamples { count: 10_001 })
    ));
    let mut none = proof();
    none.interval_millis = 0;
    assert_eq!(none.verify(NOW).unwrap_err().kind(), "time_range_invalid");
}
