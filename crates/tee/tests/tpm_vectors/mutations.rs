//! Every bit of genuine evidence changed, every part cut short or made longer, and lengths that lie.

use nautilus_core::{Endorsements, TeeVerifier as _, VerifyError};
use nautilus_tee::tpm::{Attest, Evidence, Public, Signature};

use super::files::{NOW, enrolled, read, swtpm, verify};

type Part = fn(&mut Evidence) -> &mut Vec<u8>;

const PARTS: [(&str, Part); 3] = [
    ("attest", |evidence| &mut evidence.attest),
    ("signature", |evidence| &mut evidence.signature),
    ("ak_public", |evidence| &mut evidence.ak_public),
];

#[test]
fn every_bit_flip_is_refused() {
    let genuine = swtpm();
    let verifier = enrolled(&read("swtpm/ak.pub"));
    verify(&verifier, &genuine).unwrap();
    for (name, part) in PARTS {
        let mut evidence = genuine.clone();
        for at in 0..part(&mut evidence).len() * 8 {
            part(&mut evidence)[at / 8] ^= 1 << (at % 8);
            let error = verify(&verifier, &evidence).unwrap_err();
            assert!(
                matches!(
                    error,
                    VerifyError::Malformed { .. }
                        | VerifyError::Unsupported { .. }
                        | VerifyError::SignatureInvalid { .. }
                        | VerifyError::KeyNotEnrolled { .. }
                        | VerifyError::AttributeInvalid { .. }
                        | VerifyError::WeakKey { .. }
                ),
                "{name} bit {at}: {error:?}"
            );
            part(&mut evidence)[at / 8] ^= 1 << (at % 8);
        }
        assert_eq!(evidence, genuine);
    }
    for pcr in genuine.pcrs.values.keys() {
        for at in 0..256 {
            let mut evidence = genuine.clone();
            evidence.pcrs.values.get_mut(pcr).unwrap()[at / 8] ^= 1 << (at % 8);
            let error = verify(&verifier, &evidence).unwrap_err();
            assert!(
                matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("PCR values")),
                "pcr{pcr} bit {at}: {error:?}"
            );
        }
    }
}

#[test]
fn a_flip_of_the_public_area_of_a_key_enrolled_as_pem_is_refused_or_reported() {
    let genuine = swtpm();
    let verifier = enrolled(&read("swtpm/ak.pem"));
    let claims = verify(&verifier, &genuine).unwrap();
    let mut accepted = 0;
    for at in 0..genuine.ak_public.len() * 8 {
        let mut evidence = genuine.clone();
        evidence.ak_public[at / 8] ^= 1 << (at % 8);
        if let Ok(flipped) = verify(&verifier, &evidence) {
            assert_eq!(flipped, claims, "bit {at} changed a claim");
            assert!(
                flipped
                    .unsigned
                    .iter()
                    .any(|fact| fact.what == "attestation key's public area")
            );
            accepted += 1;
        }
    }
    assert!(
        accepted > 0,
        "attributes that are not asked for are nobody's word"
    );
}

#[test]
fn values_that_were_swapped_added_or_left_out_are_refused() {
    let verifier = enrolled(&read("swtpm/ak.pub"));
    let mut swapped = swtpm();
    let keys: Vec<u8> = swapped.pcrs.values.keys().copied().collect();
    let differing = keys
        .iter()
        .find(|pcr| swapped.pcrs.values[pcr] != swapped.pcrs.values[&keys[0]]);
    if let Some(other) = differing {
        let (first, second) = (
            swapped.pcrs.values[&keys[0]].clone(),
            swapped.pcrs.values[other].clone(),
        );
        swapped.pcrs.values.insert(keys[0], second);
        swapped.pcrs.values.insert(*other, first);
        let error = verify(&verifier, &swapped).unwrap_err();
        assert!(
            matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("PCR values")),
            "{error}"
        );
    }
    let mut fewer = swtpm();
    fewer.pcrs.values.remove(&keys[0]);
    let mut more = swtpm();
    let free = (0..24).find(|pcr| !keys.contains(pcr)).unwrap();
    more.pcrs.values.insert(free, vec![0; 32]);
    for evidence in [fewer, more] {
        let error = verify(&verifier, &evidence).unwrap_err();
        assert!(matches!(error, VerifyError::SelectionMismatch { .. }), "{error}");
    }
}

#[test]
fn every_cut_and_every_byte_too_many_is_malformed() {
    let genuine = swtpm();
    let verifier = enrolled(&read("swtpm/ak.pub"));
    for (name, part) in PARTS {
        let mut evidence = genuine.clone();
        let whole = part(&mut evidence).clone();
        for cut in 1..whole.len() {
            *part(&mut evidence) = whole[..cut].to_vec();
            let error = verify(&verifier, &evidence).unwrap_err();
            assert!(
                matches!(&error, VerifyError::Malformed { what, offset } if what.starts_with(name) && *offset <= cut),
                "{name} cut to {cut}: {error:?}"
            );
        }
        *part(&mut evidence) = [whole.as_slice(), &[0]].concat();
        let error = verify(&verifier, &evidence).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { what, .. } if what.starts_with(name)),
            "{name} with a byte too many: {error:?}"
        );
    }
    let json = genuine.to_json().into_bytes();
    for cut in 0..json.len() {
        let error = verifier
            .verify(&json[..cut], &Endorsements::default(), NOW)
            .unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { offset, .. } if *offset <= cut),
            "JSON cut to {cut}: {error:?}"
        );
    }
    let error = verifier
        .verify(&[json.as_slice(), b"{}"].concat(), &Endorsements::default(), NOW)
        .unwrap_err();
    assert!(
        matches!(&error, VerifyError::Malformed { what, .. } if what.contains("trailing")),
        "{error:?}"
    );
}

#[test]
fn lengths_and_counts_that_lie_are_refused_before_anything_is_kept() {
    let attest = read("swtpm/quote.msg");
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = attest.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        Attest::parse(&changed).unwrap_err()
    };
    // qualifiedSigner, extraData, number of banks, sizeofSelect, pcrDigest.
    let banks = attest.len() - 34 - 4 - 2 - 1 - 3;
    for (at, bytes, says) in [
        (
            6,
            &[0xff, 0xff][..],
            "qualifiedSigner has 65535 bytes, 66 at most",
        ),
        (42, &[0xff, 0xff], "extraData has 65535 bytes, 66 at most"),
        (banks, &[0xff; 4], "4294967295 PCR banks, 16 at most"),
        (banks + 6, &[0xff], "sizeofSelect is 255, not 3 or 4"),
        (banks + 6, &[0], "sizeofSelect is 0, not 3 or 4"),
        (banks + 10, &[0xff, 0xff], "pcrDigest has 65535 bytes, 64 at most"),
    ] {
        let error = with(at, bytes);
        assert!(
            matches!(&error, VerifyError::Malformed { what, offset } if what.contains(says) && *offset == at),
            "{says}: {error:?}"
        );
    }
    for signature in ["0014000bffff", "0018000bffff", "0018000b0001aaffff"] {
        let error = Signature::parse(&hex::decode(signature).unwrap()).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { what, .. } if what.contains("65535 bytes")),
            "{error:?}"
        );
    }
    for public in [
        "0023000b00050072ffff",
        "0001000b00050072000000100014000b0800000100 01ffff",
    ] {
        let bytes = hex::decode(public.replace(' ', "")).unwrap();
        let error = Public::parse("ak_public", &bytes).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { what, .. } if what.contains("65535 bytes")),
            "{error:?}"
        );
    }
}
