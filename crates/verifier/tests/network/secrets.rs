//! Secrets: who gets them, who can open them, and that nothing of it is recorded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{BoundUserData, Digest32, EvidenceFile, PublicKey, Purpose};
use nautilus_enclave::{EnclaveFault, Reply};
use nautilus_proof::wallet::WalletSignature;
use nautilus_verifier::api::Released;
use sha2::{Digest as _, Sha256};

use crate::world::{Node, START, WANTED, World, backed};

const SECRETS: [(&str, &[u8]); 2] = [("disk.key", b"first"), ("token", b"second")];
/// How long a challenge waits for its answer, in milliseconds.
const CHALLENGE_LIFETIME: u64 = 60_000;

fn world() -> World {
    World::releasing(&SECRETS)
}

/// Evidence of the node for the purpose `workload`, against a new challenge.
fn workload(world: &World, node: &mut Node) -> EvidenceFile {
    node.answer(&world.challenge(node.id(), Purpose::Workload, START))
}

fn released(world: &World, file: &EvidenceFile) -> Released {
    let before = world.tip();
    let released = world.verifier.release(&backed(file), START).unwrap();
    assert_eq!(world.tip(), before, "a release is recorded nowhere");
    released
}

/// The name of the error with which the secrets are withheld.
fn withheld(world: &World, file: &EvidenceFile) -> String {
    world.refused(|| world.verifier.release(&backed(file), START))
}

/// Name and encrypted secret of each.
fn sealed(released: &Released) -> Vec<(&str, Vec<u8>)> {
    let secrets = released.secrets.iter();
    secrets
        .map(|secret| (secret.name.as_str(), STANDARD.decode(&secret.sealed).unwrap()))
        .collect()
}

fn is_not_opened(node: &mut Node, name: &str, sealed: Vec<u8>) {
    let reply = node.take(name, sealed);
    assert!(
        matches!(&reply, Reply::Refused(EnclaveFault::Provision(why)) if why.contains("was not encrypted to")),
        "{reply:?}"
    );
}

#[test]
fn the_enclave_that_was_accepted_opens_every_secret() {
    let world = world();
    let mut node = Node::registered(&world, 1);
    let released = released(&world, &workload(&world, &mut node));
    for ((name, sealed), (expected, value)) in sealed(&released).into_iter().zip(SECRETS) {
        assert_eq!(name, expected);
        assert!(
            !sealed.windows(value.len()).any(|window| window == value),
            "{name}"
        );
        let digest = Digest32(Sha256::digest(&sealed).into());
        assert_eq!(node.take(name, sealed), Reply::Provisioned { sealed: digest });
    }
    assert_eq!(released.secrets.len(), SECRETS.len());
}

#[test]
fn nobody_else_opens_them_and_no_name_is_exchanged() {
    let world = world();
    let mut node = Node::registered(&world, 1);
    // The same node's, with keys of its own; and another node's.
    let (mut sibling, mut stranger) = (Node::registered(&world, 1), Node::registered(&world, 2));
    let released = released(&world, &workload(&world, &mut node));
    let [(first, secret), (second, _)] = sealed(&released).try_into().unwrap();
    is_not_opened(&mut sibling, first, secret.clone());
    is_not_opened(&mut stranger, first, secret.clone());
    is_not_opened(&mut node, second, secret.clone());
    for at in 0..secret.len() {
        let mut changed = secret.clone();
        changed[at] ^= 1;
        is_not_opened(&mut node, first, changed);
    }
    let reply = node.take(first, secret);
    assert!(matches!(reply, Reply::Provisioned { .. }), "{reply:?}");
}

#[test]
fn only_evidence_for_workloads_gets_them() {
    let world = world();
    let mut node = Node::registered(&world, 1);
    for purpose in [Purpose::Boot, Purpose::Runtime, Purpose::Performance] {
        let file = node.answer(&world.challenge(node.id(), purpose, START));
        assert_eq!(withheld(&world, &file), "not_released", "{purpose:?}");
    }
    // Made for another purpose than the challenge was issued for.
    let terms = world.challenge(node.id(), Purpose::Workload, START);
    let file = node.answer_as(terms.challenge(), Purpose::Boot);
    assert_eq!(withheld(&world, &file), "user_data_invalid");
}

#[test]
fn a_challenge_buys_them_once_and_in_time() {
    let world = world();
    let mut node = Node::registered(&world, 1);
    let file = workload(&world, &mut node);
    released(&world, &file);
    assert_eq!(withheld(&world, &file), "challenge_unknown", "twice");
    assert_eq!(
        world.attest_refused(&file, START),
        "challenge_unknown",
        "for another use"
    );
    let late = workload(&world, &mut node);
    let kind = world.refused(|| {
        world
            .verifier
            .release(&backed(&late), START.plus(CHALLENGE_LIFETIME))
    });
    assert_eq!(kind, "challenge_expired");
    let elsewhere = World::releasing(&SECRETS);
    let foreign = workload(&elsewhere, &mut node);
    assert_eq!(withheld(&world, &foreign), "challenge_unknown");
    // Recorded evidence under a new challenge.
    let fresh = world.challenge(node.id(), Purpose::Workload, START).challenge();
    let replay = EvidenceFile {
        challenge: fresh,
        ..file
    };
    assert_eq!(withheld(&world, &replay), "challenge_mismatch");
}

#[test]
fn a_rejected_program_gets_nothing() {
    let world = world();
    let honest = Node::registered(&world, 1);
    let mut image = WANTED;
    image[0] ^= 1;
    let mut other = Node::of(&world, 1, honest.id(), image);
    let file = workload(&world, &mut other);
    let error = world
        .verifier
        .release(&backed(&file), START)
        .unwrap_err()
        .to_api();
    assert_eq!(error.kind, "not_accepted");
    assert!(error.detail.contains("measurements.mrenclave"), "{error:?}");
    let mut spoilt = workload(&world, &mut other);
    spoilt.evidence.bytes[200] ^= 1;
    assert_eq!(withheld(&world, &spoilt), "signature_invalid");
}

#[test]
fn the_nodes_own_wallet_has_to_ask() {
    let world = world();
    let (mut node, other) = (Node::registered(&world, 1), Node::registered(&world, 2));
    let mut request = backed(&workload(&world, &mut node));
    let bound = BoundUserData::from_canonical(request.evidence.evidence.user_data.as_deref().unwrap());
    let theirs: WalletSignature = other.sign(&bound.unwrap());
    request.seal_signature = theirs;
    let kind = world.refused(|| world.verifier.release(&request, START));
    assert_eq!(kind, "wallet_signature_invalid");
    let mut unknown = Node::unknown(&world, 3);
    assert_eq!(withheld(&world, &workload(&world, &mut unknown)), "node_unknown");
}

#[test]
fn nothing_is_encrypted_to_no_key_or_to_one_that_hides_nothing() {
    let world = world();
    let mut node = Node::registered(&world, 1);
    let mut with_key = |channel_key: Option<PublicKey>| {
        let file = workload(&world, &mut node);
        let honest = BoundUserData::from_canonical(file.evidence.user_data.as_deref().unwrap()).unwrap();
        let bound = BoundUserData {
            channel_key,
            ..honest
        };
        withheld(&world, &world.evidence_of(&bound, file.challenge))
    };
    assert_eq!(with_key(None), "not_released");
    assert_eq!(with_key(Some(PublicKey([0; 32]))), "not_released", "small order");
}

#[test]
fn a_verifier_without_secrets_says_so_and_uses_no_challenge_up() {
    let world = World::new();
    let mut node = Node::registered(&world, 1);
    let file = workload(&world, &mut node);
    assert_eq!(withheld(&world, &file), "not_released");
    world.verifier.attest(&backed(&file), START).unwrap();
}
