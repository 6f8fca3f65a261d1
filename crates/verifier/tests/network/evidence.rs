//! Evidence that is not what it should be.

use nautilus_core::{AppraisalVerdict, Challenge, Digest32, EvidenceFile, NodeId, Purpose, TeeKind};
use nautilus_proof::Registration;
use nautilus_proof::wallet::WalletSignature;
use nautilus_verifier::Refusal;

use crate::world::{Node, START, WANTED, World, backed};

/// The part of an SGX quote that its attestation key signs: header and enclave report.
const SIGNED: usize = 432;
/// How long a challenge waits for its answer, in milliseconds.
const CHALLENGE_LIFETIME: u64 = 60_000;

/// Has a node answer a new challenge with evidence that `change` spoils; gives the name of the refusal.
fn spoilt(world: &World, node: &mut Node, change: impl FnOnce(&mut EvidenceFile)) -> String {
    let terms = world.challenge(node.id(), Purpose::Boot, START);
    let mut file = node.answer(&terms);
    change(&mut file);
    world.attest_refused(&file, START)
}

#[test]
fn one_bit_of_the_signed_quote_is_too_much() {
    let world = World::new();
    let mut node = Node::registered(&world, 1);
    for offset in (0..SIGNED).step_by(5) {
        let kind = spoilt(&world, &mut node, |file| {
            file.evidence.bytes[offset] ^= 1 << (offset % 8);
        });
        let expected: &[&str] = match offset {
            // Version, key type and TEE type say how to read the rest.
            0..8 => &["unsupported", "malformed"],
            // So does the vendor of the quoting enclave.
            12..28 => &["unsupported", "component_invalid"],
            _ => &["signature_invalid"],
        };
        assert!(expected.contains(&kind.as_str()), "byte {offset}: {kind}");
    }
    assert_eq!(world.tip().height, 1, "the genesis and one registration");
    node.attest(&world, Purpose::Boot, START);
}

#[test]
fn a_quote_cut_short_or_drawn_out_is_refused() {
    let world = World::new();
    let mut node = Node::registered(&world, 1);
    for length in [0, 1, 48, 431, 432, 436, 1000] {
        let kind = spoilt(&world, &mut node, |file| file.evidence.bytes.truncate(length));
        let expected = if length == 0 { "empty" } else { "malformed" };
        assert_eq!(kind, expected, "cut to {length}");
    }
    let kind = spoilt(&world, &mut node, |file| file.evidence.bytes.push(1));
    assert_eq!(kind, "trailing_bytes");
    let kind = spoilt(&world, &mut node, |file| {
        file.evidence.bytes = vec![0; 300 * 1024];
    });
    assert_eq!(kind, "too_large");
}

#[test]
fn evidence_of_another_kind_or_without_endorsements_is_refused() {
    let world = World::new();
    let mut node = Node::registered(&world, 1);
    let kind = spoilt(&world, &mut node, |file| file.evidence.tee = TeeKind::Nitro);
    assert_eq!(kind, "malformed");
    // A simulated quote passed off as Intel's: its chain does not end in Intel's root.
    let kind = spoilt(&world, &mut node, |file| file.evidence.tee = TeeKind::Sgx);
    assert!(
        ["untrusted", "endorsements_missing", "endorsement_invalid"].contains(&kind.as_str()),
        "{kind}"
    );
    let kind = spoilt(&world, &mut node, |file| file.endorsements.0.clear());
    assert_eq!(kind, "endorsements_missing");
    let kind = spoilt(&world, &mut node, |file| {
        file.endorsements.0[0].bytes = b"{}".to_vec();
    });
    assert_eq!(kind, "endorsement_invalid");
}

#[test]
fn evidence_of_another_vendor_of_the_same_kind_is_refused() {
    let (world, elsewhere) = (World::new(), World::new());
    let registered = Node::registered(&world, 1);
    let mut stranger = Node::unknown(&elsewhere, 1);
    assert_eq!(registered.id(), stranger.id());
    let kind = spoilt(&world, &mut stranger, |_| ());
    assert!(
        ["untrusted", "endorsement_invalid"].contains(&kind.as_str()),
        "{kind}"
    );
}

#[test]
fn the_challenge_must_be_issued_current_and_unanswered() {
    let world = World::new();
    let mut node = Node::registered(&world, 1);
    let kind = spoilt(&world, &mut node, |file| {
        let mut digest = file.challenge.digest();
        digest.0[31] ^= 1;
        file.challenge = Challenge::from_digest(digest);
    });
    assert_eq!(kind, "challenge_unknown", "one bit of the challenge");

    let terms = world.challenge(node.id(), Purpose::Boot, START);
    let file = node.answer(&terms);
    let kind = world.attest_refused(&file, START.plus(CHALLENGE_LIFETIME));
    assert_eq!(kind, "challenge_expired");
    assert_eq!(
        world.attest_refused(&file, START),
        "challenge_unknown",
        "an answer, even a bad one, uses the challenge up"
    );

    let terms = world.challenge(node.id(), Purpose::Boot, START);
    let file = node.answer(&terms);
    let outcome = world.verifier.attest(&backed(&file), START).unwrap();
    assert_eq!(outcome.verdict, AppraisalVerdict::Accepted);
    assert_eq!(
        world.attest_refused(&file, START.plus(1)),
        "challenge_unknown",
        "twice"
    );

    // The same evidence under a new challenge.
    let fresh = world.challenge(node.id(), Purpose::Boot, START);
    let replay = EvidenceFile {
        challenge: fresh.challenge(),
        ..file
    };
    assert_eq!(world.attest_refused(&replay, START.plus(1)), "challenge_mismatch");
}

#[test]
fn the_user_data_must_be_what_is_bound_and_for_this_challenge() {
    let world = World::new();
    let mut node = Node::registered(&world, 1);
    let length = node
        .answer(&world.challenge(node.id(), Purpose::Boot, START))
        .evidence
        .user_data
        .unwrap()
        .len();
    for offset in 0..length {
        let kind = spoilt(&world, &mut node, |file| {
            file.evidence.user_data.as_mut().unwrap()[offset] ^= 1;
        });
        assert_eq!(kind, "user_data_mismatch", "byte {offset}");
    }
    let kind = spoilt(&world, &mut node, |file| {
        file.evidence.user_data.as_mut().unwrap().push(0)
    });
    assert_eq!(kind, "user_data_mismatch");
    let kind = spoilt(&world, &mut node, |file| file.evidence.user_data = None);
    assert_eq!(kind, "user_data_mismatch");

    // Genuine evidence for another node, and for another purpose, than the challenge was issued for.
    let terms = world.challenge(NodeId([9; 32]), Purpose::Boot, START);
    let file = node.answer(&terms);
    assert_eq!(world.attest_refused(&file, START), "user_data_invalid");
    let terms = world.challenge(node.id(), Purpose::Runtime, START);
    let file = node.answer_as(terms.challenge(), Purpose::Boot);
    assert_eq!(world.attest_refused(&file, START), "user_data_invalid");
}

#[test]
fn a_challenge_of_another_verifier_is_not_answered_here() {
    let (world, elsewhere) = (World::new(), World::new());
    let mut node = Node::registered(&world, 1);
    let terms = elsewhere.challenge(node.id(), Purpose::Boot, START);
    let file = node.answer(&terms);
    assert_eq!(world.attest_refused(&file, START), "challenge_unknown");
}

#[test]
fn another_program_is_rejected_by_the_policy_and_not_recorded() {
    let world = World::new();
    let honest = Node::registered(&world, 1);
    let mut image = WANTED;
    image[31] ^= 1;
    let mut other = Node::of(&world, 1, honest.id(), image);
    let terms = world.challenge(other.id(), Purpose::Boot, START);
    let before = world.tip();
    let file = other.answer(&terms);
    let outcome = world.verifier.attest(&backed(&file), START).unwrap();
    assert_eq!(outcome.verdict, AppraisalVerdict::Rejected);
    assert_eq!(world.tip(), before, "a rejecting appraisal is not recorded");
    let findings = outcome.appraisal["findings"].as_array().unwrap();
    let failed: Vec<_> = findings
        .iter()
        .filter(|finding| finding["passed"] == false)
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["rule"], "measurements.mrenclave");
    let detail = failed[0]["detail"].as_str().unwrap();
    assert!(
        detail.contains(&Digest32(image).to_string()) && detail.contains(&Digest32(WANTED).to_string()),
        "{detail}"
    );
    // And so nothing of it can be settled.
    let proof = other.prove(START);
    assert_eq!(world.settle_refused(&proof, START.plus(5000)), "not_appraised");
}

#[test]
fn only_a_registered_node_is_appraised() {
    let world = World::new();
    let mut node = Node::unknown(&world, 1);
    let kind = spoilt(&world, &mut node, |_| ());
    assert_eq!(kind, "node_unknown");
}

#[test]
fn a_registration_is_the_wallets_own_and_for_this_verifier() {
    let (world, elsewhere) = (World::new(), World::new());
    let (node, other) = (Node::unknown(&world, 1), Node::unknown(&world, 2));
    type Registering = (Registration, WalletSignature);
    let refused = |change: &dyn Fn(&mut Registering)| {
        let mut request = node.registration(&world);
        change(&mut request);
        let before = world.tip();
        let error = world.verifier.register(request.0, request.1, START).unwrap_err();
        assert!(matches!(error, Refusal::Ledger(_)), "{error}");
        assert_eq!(world.tip(), before);
        error.to_api().kind
    };
    assert_eq!(refused(&|request| request.0.node = other.id()), "node_id_invalid");
    assert_eq!(refused(&|request| request.0.label.0[0] ^= 1), "node_id_invalid");
    assert_eq!(
        refused(&|request| request.1.signature.0[0] ^= 1),
        "wallet_signature_invalid"
    );
    assert_eq!(
        refused(&|request| request.1 = other.sign(&request.0)),
        "wallet_signature_invalid"
    );
    assert_eq!(
        refused(&|request| *request = node.registration(&elsewhere)),
        "other_verifier"
    );
    node.register(&world, START);
    let once = world.tip();
    node.register(&world, START);
    assert_eq!(world.tip(), once, "registering again changes nothing");
}
