//! What each case of the `attestation` service says comes true.

use std::collections::BTreeMap;

use nautilus_core::{Assurance, Binding, Claims, Verified, VerifyError};
use sha2::{Digest as _, Sha256};

use crate::cases::{Case, Expected, all, case, trusting, verify};

fn totals<'a>(cases: impl IntoIterator<Item = &'a Case>) -> BTreeMap<Expected, usize> {
    let mut totals = BTreeMap::new();
    for case in cases {
        *totals.entry(case.expected).or_insert(0) += 1;
    }
    totals
}

#[test]
fn the_corpus_is_whole() {
    use Expected::{Accept, Reject, RejectPolicy, RejectStrict};
    let cases = all();
    assert_eq!(
        Vec::from_iter(totals(&cases)),
        [(Accept, 58), (Reject, 352), (RejectPolicy, 9), (RejectStrict, 7)]
    );
    let (psa, optee): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case.is_psa());
    assert_eq!(
        Vec::from_iter(totals(optee)),
        [(Accept, 47), (Reject, 296), (RejectPolicy, 7)]
    );
    assert_eq!(
        Vec::from_iter(totals(psa)),
        [(Accept, 11), (Reject, 56), (RejectPolicy, 2), (RejectStrict, 7)]
    );
}

#[test]
fn what_should_be_accepted_says_what_was_signed() {
    let cases: Vec<_> = all()
        .into_iter()
        .filter(|case| !case.is_psa() && case.expected == Expected::Accept)
        .collect();
    assert_eq!(cases.len(), 47);
    for case in cases {
        let claims = case
            .verify(&case.container(&case.nonce()))
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        as_the_service_said(&case, &claims);
    }
}

fn as_the_service_said(case: &Case, claims: &Verified<Claims>) {
    let name = &case.name;
    assert_eq!(claims.report_data.0, case.nonce(), "{name}");
    assert_eq!(claims.binding, "report data", "{name}");
    let measurements: Vec<_> = claims
        .measurements
        .iter()
        .map(|(register, value)| (register.clone(), value.to_string()))
        .collect();
    assert_eq!(
        measurements,
        [(
            format!("optee_{}", case.command()),
            case.measurement_hex.clone().unwrap()
        )],
        "{name}"
    );
    let modulus = hex::decode(case.pubkey["n_hex"].as_str().unwrap()).unwrap();
    assert_eq!(claims.device.id, hex::encode(Sha256::digest(modulus)), "{name}");
    assert!(
        claims.device.id.starts_with(case.pubkey["id"].as_str().unwrap()),
        "{name}"
    );
    assert_eq!(claims.attributes["key_bits"], case.key_size.to_string(), "{name}");
    assert_eq!(
        (claims.debug, claims.assurance),
        (false, Assurance::HardwareEnclave),
        "{name}"
    );
    assert_eq!(claims.tcb.status, None, "{name}");
    // The sender's word stands where nothing that was signed stands.
    let unsigned: Vec<_> = claims.unsigned.iter().map(|fact| fact.what).collect();
    let (facts, detail) = (unsigned.as_slice(), &claims.unsigned[0].detail);
    assert!(detail.starts_with(case.command()), "{name}: {detail}");
    if case.command() == "tee_memory" {
        assert_eq!(facts, ["command"], "{name}");
    } else {
        assert_eq!(facts, ["command", "trusted application"], "{name}");
        let ta = case.ta_uuid.as_ref().unwrap();
        assert!(claims.unsigned[1].detail.starts_with(ta), "{name}");
    }
}

#[test]
fn what_should_be_rejected_is_refused_by_name() {
    let cases: Vec<_> = all()
        .into_iter()
        .filter(|case| !case.is_psa() && case.expected == Expected::Reject)
        .collect();
    assert_eq!(cases.len(), 296);
    for case in &cases {
        let error = case
            .verify(&case.container(&case.nonce()))
            .err()
            .unwrap_or_else(|| panic!("{} passed", case.name));
        let tamper = case.tamper.as_deref().unwrap();
        assert!(is_named(case, tamper, &error), "{}: {error:?}", case.name);
    }
}

fn is_named(case: &Case, tamper: &str, error: &VerifyError) -> bool {
    let modulus_len = case.key_size / 8;
    let signature_len = case.output().len().saturating_sub(32);
    match (tamper, error) {
        ("empty" | "measurement-only", VerifyError::Malformed { what, .. }) => {
            what.starts_with(&format!("output has {} bytes", case.output().len()))
        }
        // A signature of 127 bytes is of no key that could be enrolled.
        ("truncated-1", VerifyError::Malformed { what, .. }) => {
            case.key_size == 1024 && what.starts_with("output has 159 bytes")
        }
        ("trailing-byte" | "truncated-1" | "boundary-shift", VerifyError::KeyNotEnrolled { what })
        | ("wrong-key", VerifyError::KeyNotEnrolled { what }) => {
            signature_len != modulus_len && what.contains(&format!("signatures of {signature_len} bytes"))
        }
        (
            "measurement-bitflip"
            | "measurement-swapped"
            | "nonce-bitflip"
            | "signature-bitflip"
            | "stale-nonce"
            | "zero-signature"
            | "signature-plus-n"
            | "wrong-key",
            VerifyError::SignatureInvalid { what },
        ) => {
            case.key_size >= 2048
                && signature_len == modulus_len
                && what.starts_with("over nonce and measurement, by enrolled key ")
        }
        (
            "measurement-bitflip"
            | "measurement-swapped"
            | "nonce-bitflip"
            | "signature-bitflip"
            | "stale-nonce"
            | "zero-signature"
            | "signature-plus-n"
            | "wrong-key",
            VerifyError::WeakKey { what },
        ) => case.key_size == 1024 && what.contains("has 1024 bits"),
        _ => false,
    }
}

#[test]
fn genuine_evidence_for_another_nonce_is_a_replay() {
    let cases: Vec<_> = all()
        .into_iter()
        .filter(|case| {
            !case.is_psa() && case.tamper.as_deref() == Some("stale-nonce") && case.key_size >= 2048
        })
        .collect();
    assert_eq!(cases.len(), 21);
    for case in cases {
        // The sender tells the truth about the nonce: the signature is good, and is over another.
        let original = crate::cases::case(case.derived_from.as_ref().unwrap());
        assert_ne!(original.nonce(), case.nonce());
        let container = original.container(&original.nonce());
        assert_eq!(
            case.verify(&container).unwrap_err(),
            VerifyError::ReportDataMismatch {
                expected: hex::encode(case.nonce()),
                found: hex::encode(original.nonce()),
            },
            "{}",
            case.name
        );
    }
}

#[test]
fn a_key_of_1024_bits_is_refused_however_good_its_signature() {
    let cases: Vec<_> = all()
        .into_iter()
        .filter(|case| !case.is_psa() && case.key_size == 1024 && case.expected == Expected::RejectPolicy)
        .collect();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let refused = case.verify(&case.container(&case.nonce())).unwrap_err();
        assert!(
            matches!(&refused, VerifyError::WeakKey { what } if what.contains("has 1024 bits, at least 2048 are needed")),
            "{}: {refused:?}",
            case.name
        );
    }
}

#[test]
fn sixty_four_bytes_of_report_data_are_taken_as_they_are_or_as_their_digest() {
    let long = case("b1-03-tee_memory");
    assert_eq!(long.nonce().len(), 64);
    let set = trusting(long.anchors());
    let container = long.container(&long.nonce());
    assert!(verify(&set, &container, Binding::ReportData(&long.nonce())).is_ok());
    // A nonce of 32 bytes stands for 64 whose SHA-256 it is, and for nothing else.
    let short = case("a1-02-tee_memory");
    let refused = verify(
        &trusting(short.anchors()),
        &short.container(&short.nonce()),
        Binding::ReportData(&[7; 64]),
    );
    assert!(
        matches!(&refused, Err(VerifyError::ReportDataMismatch { found, .. }) if *found == hex::encode(short.nonce())),
        "{refused:?}"
    );
}
