use nautilus_core::{Endorsement, EndorsementKind, TeeVerifier};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{sgx, signatures_verified, tdx};

/// Intel publishes the certificate under this digest.
#[test]
fn the_trusted_root_is_intels() {
    let digest = hex::encode(Sha256::digest(INTEL_ROOT));
    assert_eq!(
        digest,
        "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
    );
    assert!(Root::intel().is_intel());
    assert!(
        Root::intel().issued(&Certificate::from_der(INTEL_ROOT).unwrap()),
        "it issued itself"
    );
    assert!(!Root::of_der(vec![0x30, 0]).issued(&Certificate::from_der(INTEL_ROOT).unwrap()));
}

#[test]
fn flags_are_named_and_the_rest_is_kept() {
    let names = [(1, "INIT"), (2, "DEBUG")];
    let flag_names = |bits| super::super::wire::flag_names(bits, &names);
    assert_eq!(flag_names(0), "");
    assert_eq!(flag_names(3), "INIT DEBUG");
    assert_eq!(flag_names(0x8000_0000_0000_0001), "INIT 0x8000000000000000");
}

/// A quote with its collateral, at a time at which it verifies.
fn vector(family: &str, name: &str, now: u64) -> (Vec<u8>, Endorsements, UnixMillis) {
    let read = |file: &str| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors");
        std::fs::read(format!("{root}/{family}/{name}/{file}")).unwrap()
    };
    let collateral = Endorsement {
        kind: EndorsementKind::DcapCollateral,
        bytes: read("collateral-0.json"),
        origin: "collateral-0.json".to_owned(),
    };
    (
        read("quote.bin"),
        Endorsements(vec![collateral]),
        UnixMillis::from_secs(now),
    )
}

fn sgx_vector() -> (Vec<u8>, Endorsements, UnixMillis) {
    vector("sgx", "sgx-v3-prod", 1_750_334_171)
}

/// What `docs/tee/sgx.md` and `docs/tee/tdx.md` say that it costs.
#[test]
fn nine_signatures_the_first_time_and_one_from_then_on() {
    fn costs(verifier: &impl TeeVerifier, (quote, collateral, now): (Vec<u8>, Endorsements, UnixMillis)) {
        let cost = |now| {
            let before = signatures_verified();
            verifier.verify(&quote, &collateral, now).unwrap();
            signatures_verified() - before
        };
        for expected in [9, 1, 1] {
            assert_eq!(cost(now), expected);
        }
        // A copy has the same memory; another verifier has none.
        assert_eq!(cost(now.plus(60_000)), 1);
    }
    costs(&sgx::Verifier::intel(), sgx_vector());
    for (name, now) in [
        ("tdx-v4-td10", 1_791_422_906),
        ("tdx-v5-td15", 1_773_704_045),
        ("tdx-v5-td15ex", 1_791_422_906),
    ] {
        costs(&tdx::Verifier::intel(), vector("tdx", name, now));
    }
}

fn subject<'a>(quote: &'a sgx::Quote, bytes: &'a [u8]) -> Subject<'a> {
    Subject {
        family: Family::Sgx,
        bytes,
        header: &quote.header,
        signature: &quote.signature,
        extent: quote.extent,
        tee_tcb_svns: Vec::new(),
        judged: vec![&bytes[..48]],
    }
}

/// Nothing that does not verify is remembered: not hostile chains, not hostile documents, nor genuine ones beside a
/// quote that does not verify.
#[test]
fn what_does_not_verify_leaves_no_trace() {
    let (bytes, collateral, now) = sgx_vector();
    let root = Root::intel();
    let memory = Memory::new();
    let untouched = format!("{memory:?}");
    let refuse = |bytes: &[u8], collateral: &Endorsements, now: UnixMillis| {
        if let Ok(quote) = sgx::parse_quote(bytes) {
            assert!(verify(&subject(&quote, bytes), collateral, now, &root, &memory).is_err());
        }
    };
    let chain = sgx::parse_quote(&bytes).unwrap().signature.certification.offset;
    // Every part: report, its signature, key, QE report, authentication data, certificates.
    for offset in (0..chain + 1000)
        .step_by(17)
        .filter(|offset| !(chain..chain + 28).contains(offset))
    {
        let mut hostile = bytes.clone();
        hostile[offset] ^= 0x10;
        refuse(&hostile, &collateral, now);
    }
    for offset in (0..collateral.0[0].bytes.len()).step_by(997) {
        let mut hostile = collateral.clone();
        hostile.0[0].bytes[offset] ^= 1;
        if verify(
            &subject(&sgx::parse_quote(&bytes).unwrap(), &bytes),
            &hostile,
            now,
            &root,
            &Memory::new(),
        )
        .is_err()
        {
            refuse(&bytes, &hostile, now);
        }
    }
    refuse(&bytes, &collateral, UnixMillis(0));
    refuse(&bytes, &collateral, UnixMillis(u64::MAX));
    assert_eq!(format!("{memory:?}"), untouched);
    let quote = sgx::parse_quote(&bytes).unwrap();
    assert!(verify(&subject(&quote, &bytes), &collateral, now, &root, &memory).is_ok());
    assert_ne!(format!("{memory:?}"), untouched);
}

/// A directory of documents is read once, whichever of them a quote needs.
#[test]
fn documents_that_were_not_needed_are_remembered_if_a_signer_of_the_root_signed_them() {
    let (bytes, mut collateral, now) = sgx_vector();
    let (_, other, _) = vector("tdx", "tdx-v4-td10", 0);
    let mut forged = other.clone();
    let text = String::from_utf8(forged.0[0].bytes.clone()).unwrap();
    forged.0[0].bytes = text.replace("UpToDate", "UpToDats").into_bytes();
    assert_ne!(forged, other);
    collateral.0.extend(other.0.clone());
    collateral.0.extend(forged.0.clone());
    let memory = Memory::new();
    let quote = sgx::parse_quote(&bytes).unwrap();
    verify(
        &subject(&quote, &bytes),
        &collateral,
        now,
        &Root::intel(),
        &memory,
    )
    .unwrap();
    assert!(memory.document(&collateral.0[0].bytes, now).is_some());
    assert!(memory.document(&other.0[0].bytes, now).is_some());
    assert!(memory.document(&forged.0[0].bytes, now).is_none());
}

#[test]
fn all_but_the_claims_is_judged() {
    let bytes: Vec<u8> = (0..100).collect();
    let judged = |claims: &[Range<usize>]| Subject::without_claims(&bytes, 80, 10, claims).concat();
    assert_eq!(judged(&[]), bytes[..80]);
    assert_eq!(
        judged(&[0..5, 20..40]),
        [&bytes[..10], &bytes[15..30], &bytes[50..80]].concat()
    );
    // Beyond what is signed there is nothing to leave out.
    assert_eq!(judged(&[60..70, 70..90]), bytes[..70]);
    assert_eq!(judged(&[90..95, 96..99]), bytes[..80]);
}
