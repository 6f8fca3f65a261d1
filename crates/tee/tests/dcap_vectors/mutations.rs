//! Three real quotes cut short at every length, and with bytes changed.

use std::ops::Range;

use nautilus_core::VerifyError;
use nautilus_tee::dcap::wire::Certification;
use nautilus_tee::{sgx, tdx};

use super::corpus::{Vector, verifier};

#[test]
fn no_cut_of_an_sgx_quote_verifies() {
    every_cut_is_refused("sgx-v3-prod");
}

#[test]
fn no_cut_of_a_tdx_quote_verifies() {
    every_cut_is_refused("tdx-v4-td10");
    every_cut_is_refused("tdx-v5-td15");
}

fn every_cut_is_refused(name: &str) {
    let vector = Vector::load(name);
    let (_, length) = parts(&vector);
    let label = &vector.labels[0];
    let (collateral, verifier) = (vector.collateral(label), verifier(vector.tee));
    let verify = |quote: &[u8]| verifier.verify(quote, &collateral, label.now);
    for cut in 0..length {
        let quote = &vector.quote[..cut];
        let error = verifier.wants(quote).unwrap_err();
        assert!(
            matches!(error, VerifyError::Malformed { offset, .. } if offset <= cut),
            "{name} cut to {cut}: {error:?}"
        );
        assert_eq!(verify(quote).unwrap_err(), error, "{name} cut to {cut}");
    }
    for padding in length..vector.quote.len() {
        let claims = verify(&vector.quote[..padding]).unwrap();
        let reported = claims
            .unsigned
            .iter()
            .any(|fact| fact.what == "trailing zero padding");
        assert_eq!(reported, padding > length, "{name} cut to {padding}");
    }
}

#[test]
fn every_flip_of_an_sgx_quote_is_refused_or_reported() {
    every_flip_is_refused_or_reported("sgx-v3-prod", 432);
}

#[test]
fn every_flip_of_a_tdx_quote_of_version_4_is_refused_or_reported() {
    every_flip_is_refused_or_reported("tdx-v4-td10", 48 + 584);
}

#[test]
fn every_flip_of_a_tdx_quote_of_version_5_is_refused_or_reported() {
    every_flip_is_refused_or_reported("tdx-v5-td15", 54 + 648);
}

/// Every byte up to the certificates is tried, and of their text every seventh: a stride that meets each
/// column of PEM's lines of 64 characters and a line feed.
const STRIDE: usize = 7;

/// Every bit of the bytes that the attestation key signed, and one bit of every other byte. What is accepted must lie where no signature reaches, leave every signed claim as
/// it was, and show among the unsigned facts.
fn every_flip_is_refused_or_reported(name: &str, signed: usize) {
    let vector = Vector::load(name);
    let label = &vector.labels[0];
    let collateral = vector.collateral(label);
    let verifier = verifier(vector.tee);
    let mut genuine = verifier.verify(&vector.quote, &collateral, label.now).unwrap();
    let facts = std::mem::take(&mut genuine.unsigned);
    let (certification, _) = parts(&vector);
    let unsigned = unsigned_regions(&certification);
    let mut accepted = 0;
    let mut quote = vector.quote.clone();
    let end = certification.offset + certification.data.len();
    let text = (certification.offset..end).step_by(STRIDE);
    let flips = (0..certification.offset)
        .chain(text)
        .chain(end..quote.len())
        .flat_map(|offset| {
            let bits = if offset < signed {
                0..8
            } else {
                offset % 8..offset % 8 + 1
            };
            bits.map(move |bit| (offset, 1 << bit))
        });
    for (offset, bit) in flips {
        quote[offset] ^= bit;
        if let Ok(mut claims) = verifier.verify(&quote, &collateral, label.now) {
            assert!(
                offset >= signed,
                "{name}: flip in a signed byte accepted at {offset}"
            );
            let region = unsigned.iter().any(|region| region.contains(&offset));
            assert!(
                region,
                "{name}: flip accepted at {offset}, which is in no unsigned region"
            );
            let reported = std::mem::take(&mut claims.unsigned);
            assert_ne!(reported, facts, "{name}: flip at {offset} accepted in silence");
            assert_eq!(claims, genuine, "{name}: flip at {offset} changed a claim");
            accepted += 1;
        }
        quote[offset] ^= bit;
    }
    assert_eq!(quote, vector.quote);
    assert!(
        accepted > 0,
        "{name}: line feeds in PEM are unsigned, so some flip passes"
    );
}

/// Certification data has no signature of its own: line feeds, the root certificate (the trusted one is
/// used in its place), and what follows it may vary. The other certificates are signed.
fn unsigned_regions(certification: &Certification) -> Vec<Range<usize>> {
    let (data, start) = (&certification.data, certification.offset);
    let root = b"-----BEGIN CERTIFICATE-----";
    let root_at = data
        .windows(root.len())
        .rposition(|window| window == root)
        .unwrap();
    let breaks = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let breaks = breaks.map(|(at, _)| start + at..start + at + 1);
    let root = start + root_at..start + data.len();
    breaks.chain(std::iter::once(root)).collect()
}

fn parts(vector: &Vector) -> (Certification, usize) {
    let (signature, extent) = if vector.name.starts_with("sgx") {
        let quote = sgx::parse_quote(&vector.quote).unwrap();
        (quote.signature, quote.extent)
    } else {
        let quote = tdx::parse_quote(&vector.quote).unwrap();
        (quote.signature, quote.extent)
    };
    (signature.certification, extent.length)
}
