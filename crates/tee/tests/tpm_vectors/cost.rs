//! How many signatures a quote costs: docs/tee/tpm.md, "Cost".

use aws_lc_rs::rsa::RsaPssSaltLength;
use nautilus_core::EndorsementKind::{Certificate, Crl};
use nautilus_core::VerifyError;
use nautilus_tee::signatures_verified;
use rcgen::KeyPair;

use super::certificates::{World, leaf};
use super::files::{enrolled, verify};
use super::software_tpm::{EccAk, Padding, Quote, RsaAk};

/// Signatures for a chain, and for its revocation lists.
const CHAIN: u64 = 16;
const LISTS: u64 = 16;

fn cost<T>(verdict: impl FnOnce() -> T) -> (T, u64) {
    let before = signatures_verified();
    let verdict = verdict();
    (verdict, signatures_verified() - before)
}

#[test]
fn a_quote_by_an_enrolled_key_costs_one_signature() {
    let ak = EccAk::new();
    let (verifier, evidence) = (enrolled(&ak.area), ak.evidence(&Quote::new()));
    for _ in 0..2 {
        let (verdict, spent) = cost(|| verify(&verifier, &evidence));
        assert!(verdict.is_ok(), "{verdict:?}");
        assert_eq!(spent, 1);
    }
    let ak = RsaAk::new();
    let verifier = enrolled(&ak.area("0010"));
    for (padding, expected) in [
        (Padding::Pkcs1, 1),
        (Padding::Pss(RsaPssSaltLength::Digest), 1),
        (Padding::Pss(RsaPssSaltLength::Max), 2),
    ] {
        let evidence = ak.evidence(&Quote::new(), "0010", &padding);
        let (verdict, spent) = cost(|| verify(&verifier, &evidence));
        assert!(verdict.is_ok(), "{verdict:?}");
        assert_eq!(spent, expected);
    }
}

#[test]
fn a_certificate_costs_its_chain_and_its_lists() {
    let world = World::new();
    let evidence = world.evidence(&leaf());
    let brought = [(Certificate, world.issuing_der())];
    let (verdict, spent) = cost(|| world.verify(&evidence, &brought));
    assert!(verdict.is_ok(), "{verdict:?}");
    assert_eq!(spent, 3, "key, issuing authority, quote");
    let brought = [(Certificate, world.issuing_der()), (Crl, world.crl(&[76], 2026))];
    let (verdict, spent) = cost(|| world.verify(&evidence, &brought));
    assert!(verdict.is_ok(), "{verdict:?}");
    assert_eq!(spent, 4, "and a list");
}

#[test]
fn piles_of_certificates_and_lists_cost_no_more_than_the_bound() {
    let mut world = World::new();
    let evidence = world.evidence(&leaf());
    let genuine = world.issuing_der();
    let mut namesakes = Vec::new();
    for _ in 0..40 {
        world.issuing.1 = KeyPair::generate().unwrap();
        namesakes.push((Certificate, world.issuing_der()));
    }
    let (verdict, spent) = cost(|| world.verify(&evidence, &namesakes));
    assert!(
        matches!(&verdict, Err(VerifyError::Untrusted { what }) if what.contains("more than 16 signatures")),
        "{verdict:?}"
    );
    assert_eq!(spent, CHAIN);
    // The genuine one is found behind 14 of them, and leaves one for its own certificate.
    let mut some = namesakes[..14].to_vec();
    some.push((Certificate, genuine));
    let (verdict, spent) = cost(|| world.verify(&evidence, &some));
    assert!(verdict.is_ok(), "{verdict:?}");
    assert_eq!(spent, CHAIN + 1);

    let world = World::new();
    let evidence = world.evidence(&leaf());
    let with_lists = |count: usize| {
        let mut brought = vec![(Crl, world.crl(&[76], 2026)); count];
        brought.push((Certificate, world.issuing_der()));
        brought
    };
    let (verdict, spent) = cost(|| world.verify(&evidence, &with_lists(500)));
    assert!(
        matches!(&verdict, Err(VerifyError::EndorsementInvalid { what, .. }) if what.contains("more than 16 revocation")),
        "{verdict:?}"
    );
    assert_eq!(spent, 2 + LISTS);
    let (verdict, spent) = cost(|| world.verify(&evidence, &with_lists(16)));
    assert!(verdict.is_ok(), "{verdict:?}");
    assert_eq!(spent, 2 + LISTS + 1);
}
