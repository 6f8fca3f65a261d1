//! Proofs that are not what they should be.

use ed25519_dalek::{Signer, SigningKey};
use nautilus_channel::MessageType;
use nautilus_core::{
    BoundUserData, NodeId, PublicKey, Purpose, Signature, SignedMessage, TeeKind, UnixMillis,
};
use nautilus_proof::{MAX_PROOF, MAX_VALIDITY_MILLIS, PerformanceProof, SampleBatch};
use serde_json::Value;

use crate::world::{INTERVAL, Node, START, WANTED, WINDOW, World, backed};
use nautilus_verifier::api::AttestationRequest;

/// The time by which a few windows have passed.
const LATER: UnixMillis = UnixMillis(START.0 + 5 * WINDOW);

/// A network with one attested node, its first window settled and its second one not.
fn with_a_proof() -> (World, Node, PerformanceProof) {
    let world = World::new();
    let mut node = Node::attested(&world, 1, START);
    world.settle(&node.prove(START), LATER).unwrap();
    let proof = node.prove(START.plus(WINDOW));
    (world, node, proof)
}

#[test]
fn one_bit_anywhere_is_too_much() {
    type Change = fn(&mut PerformanceProof);
    let changes: [(&str, Change, &str); 31] = [
        (
            "a sample",
            |proof| proof.batches[0].samples[1].measurement.missed ^= 1,
            "sample_chain_broken",
        ),
        (
            "the last sample of a batch",
            |proof| proof.batches[1].samples[0].measurement.missed ^= 1,
            "sample_signature_invalid",
        ),
        (
            "a sample's time",
            |proof| proof.batches[0].samples[1].measurement.at.0 ^= 1,
            "sample_chain_broken",
        ),
        (
            "a batch's signature",
            |proof| proof.batches[0].signature.0[40] ^= 1,
            "sample_signature_invalid",
        ),
        (
            "a batch less",
            |proof| proof.batches.truncate(1),
            "metrics_hash_mismatch",
        ),
        (
            "a sample less",
            |proof| drop(proof.batches[0].samples.pop()),
            "sample_signature_invalid",
        ),
        (
            "a sample from the middle",
            |proof| drop(proof.batches[0].samples.remove(1)),
            "sample_chain_broken",
        ),
        (
            "a sample twice",
            |proof| {
                let samples = &mut proof.batches[0].samples;
                samples.insert(1, samples[0].clone());
            },
            "sample_chain_broken",
        ),
        (
            "samples in another order",
            |proof| proof.batches[0].samples.swap(1, 2),
            "sample_chain_broken",
        ),
        (
            "batches in another order",
            |proof| proof.batches.swap(0, 1),
            "sample_chain_broken",
        ),
        (
            "a batch of nothing",
            |proof| proof.batches[1].samples.clear(),
            "sample_batch_size",
        ),
        (
            "the metrics hash",
            |proof| proof.metrics_hash.0[0] ^= 1,
            "metrics_hash_mismatch",
        ),
        (
            "the summary",
            |proof| proof.summary.cpu_usage_max_bp ^= 1,
            "summary_mismatch",
        ),
        ("the coverage", |proof| proof.covered ^= 1, "summary_mismatch"),
        ("the slots", |proof| proof.slots ^= 1, "time_range_invalid"),
        (
            "the interval",
            |proof| proof.interval_millis = 2 * INTERVAL,
            "time_range_invalid",
        ),
        (
            "the end by a millisecond",
            |proof| proof.time_range.end.0 += 1,
            "merkle_path_invalid",
        ),
        (
            "the start by a millisecond",
            |proof| proof.time_range.start.0 -= 1,
            "merkle_path_invalid",
        ),
        (
            "the duration",
            |proof| proof.time_range.duration ^= 1,
            "time_range_invalid",
        ),
        (
            "the Merkle path",
            |proof| proof.merkle_proof[0].0[31] ^= 1,
            "merkle_path_invalid",
        ),
        (
            "the length of the Merkle path",
            |proof| proof.merkle_proof.push(proof.merkle_proof[0]),
            "merkle_path_invalid",
        ),
        (
            "the Merkle root",
            |proof| proof.merkle_root.0[0] ^= 1,
            "merkle_path_invalid",
        ),
        (
            "the number of the window",
            |proof| proof.sequence ^= 1,
            "merkle_path_invalid",
        ),
        (
            "the evidence",
            |proof| proof.attestation_hash.0[0] ^= 1,
            "merkle_path_invalid",
        ),
        (
            "the assurance",
            |proof| proof.assurance = nautilus_core::Assurance::HardwareVm,
            "merkle_path_invalid",
        ),
        (
            "the TEE",
            |proof| proof.tee_type = TeeKind::Sgx,
            "merkle_path_invalid",
        ),
        (
            "the proof's id",
            |proof| proof.proof_id.0[0] ^= 1,
            "proof_id_mismatch",
        ),
        ("the expiry", |proof| proof.expires_at.0 -= 1, "proof_id_mismatch"),
        (
            "the TEE signature",
            |proof| proof.tee_signature.0[0] ^= 1,
            "tee_signature_invalid",
        ),
        (
            "the wallet's signature",
            |proof| proof.seal_signature.signature.0[0] ^= 1,
            "wallet_signature_invalid",
        ),
        (
            "the wallet",
            |proof| proof.wallet.0[0] ^= 1,
            "wallet_signature_invalid",
        ),
    ];
    let (world, _, proof) = with_a_proof();
    for (what, change, expected) in changes {
        let mut changed = proof.clone();
        change(&mut changed);
        assert_ne!(changed, proof, "{what}");
        assert_eq!(world.settle_refused(&changed, LATER), expected, "{what}");
    }
    world.settle(&proof, LATER).unwrap();
}

/// Whatever field it is, also one that is added some day.
#[test]
fn no_value_of_a_proof_can_be_changed() {
    let (world, node, proof) = with_a_proof();
    let genuine = serde_json::to_value(&proof).unwrap();
    let mut leaves = Vec::new();
    collect_leaves(&genuine, String::new(), &mut leaves);
    assert!(leaves.len() > 100, "{} values", leaves.len());
    for pointer in &leaves {
        let mut changed = genuine.clone();
        let value = changed.pointer_mut(pointer).unwrap();
        *value = other(value);
        let kind = world.settle_body_refused(node.id(), &serde_json::to_vec(&changed).unwrap(), LATER);
        assert!(
            kind.ends_with("_invalid")
                || kind.ends_with("_mismatch")
                || kind.starts_with("sample_")
                || kind == "expired"
                || kind == "not_a_proof"
                || (kind == "another_node" && pointer == "/node_id"),
            "{pointer}: {kind}"
        );
    }
    for name in genuine.as_object().unwrap().keys() {
        let mut changed = genuine.clone();
        changed.as_object_mut().unwrap().remove(name);
        let kind = world.settle_body_refused(node.id(), &serde_json::to_vec(&changed).unwrap(), LATER);
        assert_eq!(kind, "not_a_proof", "without {name}");
    }
    let mut changed = genuine;
    changed["bonus"] = 1.into();
    let kind = world.settle_body_refused(node.id(), &serde_json::to_vec(&changed).unwrap(), LATER);
    assert_eq!(kind, "not_a_proof", "with a field more");
    world.settle(&proof, LATER).unwrap();
}

fn collect_leaves(value: &Value, at: String, leaves: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, field)| collect_leaves(field, format!("{at}/{name}"), leaves)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| collect_leaves(item, format!("{at}/{index}"), leaves)),
        _ => leaves.push(at),
    }
}

/// Another value of the same form: a digit more or less.
fn other(value: &Value) -> Value {
    match value {
        Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
        // What was not measured becomes a number, and a part of the node another one.
        Value::Null => 0.into(),
        Value::String(text) if text == "container" => "network".into(),
        Value::String(text) if text == "failed" => "stalled".into(),
        Value::String(text) => {
            let at = text
                .rfind(|letter: char| letter.is_ascii_hexdigit())
                .unwrap_or_default();
            let old = text.as_bytes()[at];
            let new = if old == b'1' { "0" } else { "1" };
            let mut changed = text.clone();
            changed.replace_range(at..=at, new);
            changed.into()
        }
        other => panic!("{other} in a proof"),
    }
}

#[test]
fn a_proof_counts_once_and_in_its_turn() {
    let (world, mut node, second) = with_a_proof();
    let third = node.prove(START.plus(2 * WINDOW));
    assert_eq!(
        world.settle_refused(&third, LATER),
        "out_of_order",
        "the third before the second"
    );
    let settled = world.settle(&second, LATER).unwrap();
    assert_eq!(settled.amount, 4000);
    assert_eq!(world.settle_refused(&second, LATER), "already_settled");
    world.settle(&third, LATER).unwrap();
    assert_eq!(world.settle_refused(&second, LATER), "already_settled");
    assert_eq!(world.settle_refused(&third, LATER), "already_settled");
    let account = world.state().account(node.id()).unwrap();
    assert_eq!(account.accrued, 12_000, "three windows of four seconds");
}

#[test]
fn a_proof_counts_in_its_time_only() {
    let (world, mut node, proof) = with_a_proof();
    let end = proof.time_range.end;
    assert_eq!(
        world.settle_refused(&proof, proof.expires_at),
        "expired",
        "the last instant does not count"
    );
    assert_eq!(
        world.settle_refused(&proof, end.plus(10 * 60 * 1000 + 1)),
        "too_late",
        "ten minutes after its end"
    );
    let ahead = node.prove(START.plus(MAX_VALIDITY_MILLIS));
    assert_eq!(
        world.settle_refused(&ahead, LATER),
        "time_range_invalid",
        "a window in the future"
    );
    world.settle(&proof, LATER).unwrap();
}

#[test]
fn time_before_the_node_was_known_is_not_paid() {
    let world = World::new();
    let mut node = Node::attested(&world, 1, START);
    let proof = node.prove(UnixMillis(START.0 - 100 * WINDOW));
    assert_eq!(world.settle_refused(&proof, START), "time_range_overlap");
}

#[test]
fn nothing_is_settled_without_registration_and_attestation() {
    let world = World::new();
    let mut unknown = Node::unknown(&world, 1);
    let terms = world.challenge(unknown.id(), Purpose::Boot, START);
    unknown.answer(&terms);
    assert_eq!(world.settle_refused(&unknown.prove(START), LATER), "node_unknown");

    // Its enclave made evidence, and the verifier never saw it.
    let mut silent = Node::registered(&world, 2);
    let terms = world.challenge(silent.id(), Purpose::Boot, START);
    silent.answer(&terms);
    assert_eq!(world.settle_refused(&silent.prove(START), LATER), "not_appraised");
}

#[test]
fn an_old_boot_settles_nothing_once_a_new_one_is_attested() {
    let (world, node, proof) = with_a_proof();
    let mut reborn = Node::of(&world, 1, node.id(), WANTED);
    assert_ne!(reborn.identity.boot, node.identity.boot);
    reborn.attest(&world, Purpose::Boot, START.plus(WINDOW));
    assert_eq!(world.settle_refused(&proof, LATER), "boot_mismatch");
    // The new one starts a log of its own, and cannot be paid for time that was paid already.
    let again = reborn.prove(START);
    assert_eq!(world.settle_refused(&again, LATER), "time_range_overlap");
}

#[test]
fn a_window_names_the_evidence_that_counts() {
    let (world, mut node, proof) = with_a_proof();
    node.attest(&world, Purpose::Runtime, START.plus(WINDOW));
    assert_eq!(world.settle_refused(&proof, LATER), "attestation_mismatch");
}

#[test]
fn a_verdict_that_ran_out_settles_nothing() {
    let world = World::new();
    let mut node = Node::registered(&world, 1);
    let outcome = node.attest(&world, Purpose::Boot, START);
    let proof = node.prove(outcome.expires_at);
    assert_eq!(
        world.settle_refused(&proof, outcome.expires_at.plus(WINDOW)),
        "appraisal_expired"
    );
}

/// Signs a proof anew with a key that no evidence speaks for: consistent in itself, and worth nothing.
fn resigned(proof: &PerformanceProof, key: &SigningKey, wallet: &Node) -> PerformanceProof {
    let sign = |bytes: Vec<u8>| Signature(key.sign(&bytes).to_bytes());
    let mut batches = proof.batches.clone();
    for signed in &mut batches {
        let (first, last) = (&signed.samples[0], signed.samples.last().unwrap());
        let batch = SampleBatch {
            node: first.node,
            boot: first.boot,
            first: first.sequence,
            count: u32::try_from(signed.samples.len()).unwrap(),
            previous: first.previous,
            head: last.digest(),
        };
        signed.signature = sign(batch.to_bytes());
    }
    let statement = proof.statement().unwrap();
    let tee_signature = sign(statement.to_bytes());
    let seal = wallet.sign(&statement);
    PerformanceProof::assemble(
        statement,
        proof.merkle_proof.clone(),
        PublicKey(key.verifying_key().to_bytes()),
        tee_signature,
        seal,
        batches,
    )
}

#[test]
fn keys_that_no_evidence_speaks_for_settle_nothing() {
    let (world, node, proof) = with_a_proof();
    let forged = resigned(&proof, &SigningKey::from_bytes(&[5; 32]), &node);
    forged.verify(LATER).unwrap();
    assert_eq!(world.settle_refused(&forged, LATER), "tee_signature_invalid");
}

#[test]
fn one_node_earns_nothing_with_another_ones_windows() {
    let world = World::new();
    let mut victim = Node::attested(&world, 1, START);
    let mut thief = Node::attested(&world, 2, START);
    let proof = victim.prove(START);

    // The victim's window, sealed by the thief's wallet.
    let mut stolen = proof.clone();
    stolen.seal_signature = thief.sign(&proof.statement().unwrap());
    assert_eq!(
        world.settle_refused(&stolen, LATER),
        "wallet_signature_invalid",
        "the proof names the victim's wallet"
    );
    stolen.wallet = thief.wallet();
    assert_eq!(world.settle_refused(&stolen, LATER), "proof_of_another_node");

    // The victim's samples under the thief's name.
    let mut renamed = proof.clone();
    renamed.node_id = thief.id();
    assert_eq!(world.settle_refused(&renamed, LATER), "sample_foreign");

    // The thief's own window under the victim's name, resigned as well as a host can.
    let mut own = thief.prove(START);
    own.node_id = victim.id();
    assert_eq!(world.settle_refused(&own, LATER), "sample_foreign");
    let key = SigningKey::from_bytes(&[6; 32]);
    let forged = resigned(&proof, &key, &thief);
    forged.verify(LATER).unwrap();
    assert_eq!(world.settle_refused(&forged, LATER), "tee_signature_invalid");

    world.settle(&proof, LATER).unwrap();
    let accrued = |node: NodeId| world.state().account(node).unwrap().accrued;
    assert_eq!((accrued(victim.id()), accrued(thief.id())), (4000, 0));
}

/// A genuine enclave that serves the victim's name for a thief: without the victim's wallet it is not attested, and
/// the victim goes on undisturbed.
#[test]
fn a_genuine_enclave_under_another_ones_name_is_nobodys() {
    let world = World::new();
    let mut victim = Node::attested(&world, 1, START);
    let mut thief = Node::of(&world, 2, victim.id(), WANTED);
    let id = victim.id();
    let answer = |node: &mut Node| node.answer(&world.challenge(id, Purpose::Boot, START.plus(1)));
    let evidence = answer(&mut thief);
    let bound = BoundUserData::from_canonical(evidence.evidence.user_data.as_deref().unwrap()).unwrap();
    let own_wallet = AttestationRequest {
        seal_signature: thief.sign(&bound),
        evidence,
    };
    assert_eq!(
        world.attest_request_refused(&own_wallet, START.plus(1)),
        "wallet_signature_invalid"
    );
    // What the victim's wallet signed once speaks for the victim's enclave alone.
    let old = backed(&answer(&mut victim));
    let copied = AttestationRequest {
        evidence: answer(&mut thief),
        ..old
    };
    assert_eq!(
        world.attest_request_refused(&copied, START.plus(2)),
        "wallet_signature_invalid"
    );
    assert_eq!(world.settle_refused(&thief.prove(START), LATER), "boot_mismatch");
}

#[test]
fn what_is_no_proof_is_refused_by_name() {
    let (world, node, proof) = with_a_proof();
    let text = serde_json::to_vec(&proof).unwrap();
    for length in (0..text.len()).step_by(97) {
        let kind = world.settle_body_refused(node.id(), &text[..length], LATER);
        assert_eq!(kind, "not_a_proof", "cut to {length}");
    }
    let nested = "[".repeat(100_000);
    for body in [
        b"null".as_slice(),
        b"{}",
        b"[]",
        b"\x89PNG\r\n\x1a\n",
        nested.as_bytes(),
    ] {
        assert_eq!(world.settle_body_refused(node.id(), body, LATER), "not_a_proof");
    }
    // Whatever may be a proof has room in the message that carries it.
    assert!(MessageType::ProofRequest.limit() >= MAX_PROOF);
    let large = vec![b' '; MAX_PROOF + 1];
    assert_eq!(world.settle_body_refused(node.id(), &large, LATER), "not_a_proof");
    let mut trailing = text;
    trailing.extend_from_slice(b" {}");
    assert_eq!(
        world.settle_body_refused(node.id(), &trailing, LATER),
        "not_a_proof"
    );
}
