//! Real reports with bytes changed, cut short, and with bytes after them.

use nautilus_core::{TeeVerifier, VerifyError};
use nautilus_tee::sev_snp::{REPORT_LEN, SIGNED_LEN, Verifier};

use super::corpus::{Vector, all};

#[test]
fn every_flip_of_a_signed_byte_is_refused() {
    for vector in all() {
        let verifier = Verifier::amd();
        let endorsements = vector.endorsements();
        let bits = |offset: usize| -> Vec<u8> {
            if vector.name == "genoa-v5-vcek" {
                (0..8).map(|bit| 1 << bit).collect()
            } else {
                vec![1 << (offset % 8)]
            }
        };
        let mut report = vector.report.clone();
        for offset in 0..SIGNED_LEN {
            for bit in bits(offset) {
                report[offset] ^= bit;
                let result = verifier.verify(&report, &endorsements, vector.now());
                assert!(
                    result.is_err(),
                    "{}: flip of {bit:#x} at {offset:#x} accepted",
                    vector.name
                );
                report[offset] ^= bit;
            }
        }
        assert_eq!(report, vector.report);
    }
}

/// Bytes that other verifiers drop when they encode a report again before they hash it.
#[test]
fn reserved_bytes_of_tcb_versions_are_signed_and_named() {
    let vector = Vector::load("turin-v5-vcek");
    for offset in (60..=62).chain(388..=390).chain(484..=486).chain(500..=502) {
        let mut report = vector.report.clone();
        report[offset] = 1;
        let error = vector.verify(&report).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { offset: at, what } if *at == offset && what.contains("reserved byte of")),
            "{offset}: {error:?}"
        );
    }
}

#[test]
fn every_flip_of_the_signature_and_its_padding_is_refused() {
    let vector = Vector::load("milan-v3-vcek");
    let verifier = Verifier::amd();
    let mut report = vector.report.clone();
    for offset in SIGNED_LEN..REPORT_LEN {
        let bit = 1 << (offset % 8);
        report[offset] ^= bit;
        let error = verifier
            .verify(&report, &vector.endorsements(), vector.now())
            .unwrap_err();
        let scalar = matches!(offset - SIGNED_LEN, 0..48 | 72..120);
        let expected = match &error {
            VerifyError::SignatureInvalid { what } => scalar && what.contains("VCEK of Milan"),
            VerifyError::Malformed { offset: at, .. } => !scalar && *at == offset,
            _ => false,
        };
        assert!(expected, "{offset:#x}: {error:?}");
        report[offset] ^= bit;
    }
}

#[test]
fn every_cut_of_a_report_is_malformed() {
    let vector = Vector::load("turin-v5-vcek");
    let verifier = Verifier::amd();
    for cut in 0..REPORT_LEN {
        let error = verifier
            .verify(&vector.report[..cut], &vector.endorsements(), vector.now())
            .unwrap_err();
        assert!(
            matches!(error, VerifyError::Malformed { offset, .. } if offset <= cut),
            "cut to {cut}: {error:?}"
        );
        assert_eq!(
            verifier.wants(&vector.report[..cut]).unwrap_err(),
            error,
            "cut to {cut}"
        );
    }
}

#[test]
fn bytes_after_a_report_are_refused() {
    let vector = Vector::load("turin-v5-vcek");
    for rest in [&[0][..], &[1], &[0; 2816]] {
        let error = vector.verify(&[&vector.report, rest].concat()).unwrap_err();
        let expected = VerifyError::TrailingBytes {
            offset: REPORT_LEN,
            length: rest.len(),
        };
        assert_eq!(error, expected);
    }
}

/// Of S and n − S both verify; AMD's firmware writes either. The upper one is reported, nothing else changes.
#[test]
fn the_twin_of_a_signature_verifies_and_shows() {
    let vector = Vector::load("milan-v3-vcek");
    let genuine = vector.verify(&vector.report).unwrap();
    assert_eq!(genuine.unsigned, []);
    let mut report = vector.report.clone();
    negate(&mut report[0x2e8..0x2e8 + 48]);
    let mut twin = vector.verify(&report).unwrap();
    let facts = std::mem::take(&mut twin.unsigned);
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0].what, "high-s report signature");
    assert!(facts[0].detail.contains("744"), "{}", facts[0].detail);
    assert_eq!(twin, genuine);
}

/// n − S, little-endian, with n the order of P-384.
fn negate(s: &mut [u8]) {
    let mut order = hex::decode(
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    )
    .unwrap();
    order.reverse();
    let mut borrow = 0;
    for (s, n) in s.iter_mut().zip(order) {
        let difference = i16::from(n) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        *s = difference.rem_euclid(256) as u8;
    }
}
