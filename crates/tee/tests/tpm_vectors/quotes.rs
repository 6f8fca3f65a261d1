//! Quotes whose signature is good, and that are refused all the same.

use aws_lc_rs::digest::{SHA384, digest};
use aws_lc_rs::rsa::RsaPssSaltLength;
use aws_lc_rs::signature::KeyPair as _;
use nautilus_core::VerifyError;
use nautilus_tee::tpm::{Evidence, Signature};

use super::files::{enrolled, verify};
use super::software_tpm::{
    AK_ATTRIBUTES, EccAk, Padding, Quote, RsaAk, SHA1, SHA256_ID, SHA384_ID, area, ecdsa_signature, tpm2b,
};

fn refusal(change: impl FnOnce(&mut Quote)) -> VerifyError {
    let ak = EccAk::new();
    let mut quote = Quote::new();
    change(&mut quote);
    verify(&enrolled(&ak.area), &ak.evidence(&quote)).unwrap_err()
}

#[test]
fn an_honest_quote_verifies() {
    let ak = EccAk::new();
    let claims = verify(&enrolled(&ak.area), &ak.evidence(&Quote::new())).unwrap();
    assert_eq!(claims.report_data, [9; 32]);
    assert_eq!(claims.attributes["clock_safe"], "false");
    assert_eq!(claims.attributes["reset_count"], "2");
    assert_eq!(claims.attributes["restart_count"], "1");
    let ak = EccAk::p384();
    let claims = verify(&enrolled(&ak.area), &ak.evidence(&Quote::sha384())).unwrap();
    assert_eq!(claims.attributes["pcr_bank"], "sha384");
    assert_eq!(claims.attributes["quote_signature"], "ecdsa-sha384");
    assert_eq!(claims.measurements["pcr7"].0, [7; 48]);
}

#[test]
fn a_selection_is_of_one_bank_that_is_relied_upon() {
    let two = refusal(|quote| quote.banks.push((SHA384_ID, [1, 0, 0])));
    let twice = refusal(|quote| quote.banks.push((SHA256_ID, [0x81, 0, 0])));
    let with_sha1 = refusal(|quote| quote.banks.insert(0, (SHA1, [1, 0, 0])));
    let none = refusal(|quote| quote.banks.clear());
    for (error, says) in [
        (two, "sha256:0,7+sha384:0"),
        (twice, "sha256:0,7+sha256:0,7"),
        (with_sha1, "sha1:0+sha256:0,7"),
        (none, "no PCR bank"),
    ] {
        assert!(
            matches!(&error, VerifyError::SelectionMismatch { expected, found }
                if expected == "one PCR bank" && found == says),
            "{error}"
        );
    }
    let error = refusal(|quote| quote.banks = vec![(SHA1, [0x81, 0, 0])]);
    assert!(
        matches!(&error, VerifyError::AttributeInvalid { what } if what.contains("PCR bank sha1")),
        "{error}"
    );
}

#[test]
fn a_selection_is_of_the_values_that_came_along() {
    let empty = refusal(|quote| quote.banks = vec![(SHA256_ID, [0; 3])]);
    let other_bank = refusal(|quote| quote.banks = vec![(SHA384_ID, [0x81, 0, 0])]);
    let more = refusal(|quote| quote.banks = vec![(SHA256_ID, [0x83, 0, 0])]);
    let fewer = refusal(|quote| quote.banks = vec![(SHA256_ID, [0x80, 0, 0])]);
    for (error, says) in [
        (empty, "sha256:none"),
        (other_bank, "sha384:0,7"),
        (more, "sha256:0,1,7"),
        (fewer, "sha256:7"),
    ] {
        assert!(
            matches!(&error, VerifyError::SelectionMismatch { expected, found }
                if expected.starts_with("sha256:0,7") && found == says),
            "{error}"
        );
    }
}

#[test]
fn a_digest_by_another_hash_or_over_other_values_is_refused() {
    let other_hash = refusal(|quote| {
        quote.digest = digest(&SHA384, &[[1; 32], [7; 32]].concat()).as_ref().to_vec();
    });
    let other_values = refusal(|quote| quote.digest[0] ^= 1);
    let empty = refusal(|quote| quote.digest.clear());
    for error in [other_hash, other_values, empty] {
        assert!(
            matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("PCR values")),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_quote_or_not_of_a_tpm_is_refused() {
    let error = refusal(|quote| quote.magic = 0xff54_4348);
    assert!(
        matches!(&error, VerifyError::Malformed { what, offset: 0 } if what.contains("magic")),
        "{error}"
    );
    let error = refusal(|quote| quote.kind = 0x8017);
    assert!(
        matches!(&error, VerifyError::Unsupported { what } if what.contains("0x8017")),
        "{error}"
    );
    let other_hash = refusal(|quote| quote.signer = [&[0, 0x0c], [3; 48].as_slice()].concat());
    let cut = refusal(|quote| quote.signer.truncate(20));
    for error in [other_hash, cut] {
        assert!(
            matches!(&error, VerifyError::AttributeInvalid { what } if what.contains("qualified name")),
            "{error}"
        );
    }
}

#[test]
fn a_key_without_one_of_the_attributes_is_no_attestation_key() {
    for (bit, says) in [
        (1, "lacks fixedTPM"),
        (4, "lacks fixedParent"),
        (5, "lacks sensitiveDataOrigin"),
        (16, "lacks restricted"),
        (17, "has decrypt"),
        (18, "lacks sign"),
    ] {
        let ak = EccAk::with_attributes(AK_ATTRIBUTES ^ (1 << bit));
        let public = ak.key.public_key();
        // The key itself is enrolled, so that nothing but its attributes speaks against it.
        let verifier = enrolled(&super::certificates::p256_spki(public.as_ref()));
        let error = verify(&verifier, &ak.evidence(&Quote::new())).unwrap_err();
        assert!(
            matches!(&error, VerifyError::AttributeInvalid { what } if what.contains(says)),
            "{error}"
        );
    }
}

#[test]
fn rsa_signs_by_pkcs1_or_pss_with_either_length_of_salt() {
    let (ak, quote) = (RsaAk::new(), Quote::new());
    let verifier = enrolled(&ak.area("0010"));
    for (padding, says) in [
        (Padding::Pkcs1, "rsassa-sha256"),
        (Padding::Pss(RsaPssSaltLength::Digest), "rsapss-sha256"),
        (Padding::Pss(RsaPssSaltLength::Max), "rsapss-sha256"),
    ] {
        let claims = verify(&verifier, &ak.evidence(&quote, "0010", &padding)).unwrap();
        assert_eq!(claims.attributes["quote_signature"], says);
    }
    let other_salt = ak.evidence(&quote, "0010", &Padding::Pss(RsaPssSaltLength::Custom(20)));
    let error = verify(&verifier, &other_salt).unwrap_err();
    assert!(matches!(error, VerifyError::SignatureInvalid { .. }), "{error}");
    // The digest of the PCRs is by the hash of the signature, whatever the bank's.
    let sha384 = Quote {
        digest: digest(&SHA384, &[[1; 32], [7; 32]].concat()).as_ref().to_vec(),
        ..Quote::new()
    };
    verify(&verifier, &ak.evidence(&sha384, "0010", &Padding::PssSha384)).unwrap();
    let error = verify(&verifier, &ak.evidence(&quote, "0010", &Padding::PssSha384)).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("PCR values")),
        "{error}"
    );
}

#[test]
fn a_key_signs_by_its_own_scheme_only() {
    let (ak, quote) = (RsaAk::new(), Quote::new());
    let rsassa = "0014 000b";
    let verifier = enrolled(&ak.area(rsassa));
    verify(&verifier, &ak.evidence(&quote, rsassa, &Padding::Pkcs1)).unwrap();
    let pss = Padding::Pss(RsaPssSaltLength::Digest);
    let error = verify(&verifier, &ak.evidence(&quote, rsassa, &pss)).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SignatureInvalid { what }
            if what.contains("rsapss with sha256") && what.contains("signs by rsassa with sha256")),
        "{error}"
    );
    let mut evidence = ak.evidence(&quote, rsassa, &Padding::Pkcs1);
    evidence.signature[3] = 0x04;
    let error = verify(&verifier, &evidence).unwrap_err();
    assert!(
        matches!(&error, VerifyError::WeakKey { what } if what.contains("sha1")),
        "{error}"
    );
    evidence.signature = ecdsa_signature(SHA256_ID, &[1; 32], &[1; 32]);
    let error = verify(&enrolled(&ak.area("0010")), &evidence).unwrap_err();
    assert!(matches!(error, VerifyError::KeyNotEnrolled { .. }), "{error}");
}

#[test]
fn short_and_senseless_keys_are_refused() {
    let (ak, quote) = (EccAk::new(), Quote::new());
    let with = |area: Vec<u8>| {
        let mut evidence = ak.evidence(&quote);
        evidence.ak_public = area;
        verify(&enrolled(&ak.area), &evidence).unwrap_err()
    };
    let rsa = |middle: &str, modulus: &[u8]| area(0x0001, SHA256_ID, AK_ATTRIBUTES, middle, &tpm2b(modulus));
    let error = with(rsa("0010 0014000b 0400 00000000", &[0xff; 128]));
    assert!(
        matches!(&error, VerifyError::WeakKey { what } if what.contains("1024 bits")),
        "{error}"
    );
    for (exponent, says) in [("00000001", "exponent is 1"), ("00010000", "exponent is 65536")] {
        let error = with(rsa(&format!("0010 0014000b 0800 {exponent}"), &[0xff; 256]));
        assert!(
            matches!(&error, VerifyError::Malformed { what, .. } if what.contains(says)),
            "{error}"
        );
    }
    let error = with(rsa("0010 0014000b 0800 00000000", &[0x7f; 256]));
    assert!(
        matches!(&error, VerifyError::Malformed { what, .. } if what.contains("modulus")),
        "{error}"
    );
    let error = with(area(0x0023, SHA1, AK_ATTRIBUTES, "", &[]));
    assert!(
        matches!(&error, VerifyError::WeakKey { what } if what.contains("a name by sha1")),
        "{error}"
    );
    let error = with(area(
        0x0023,
        SHA256_ID,
        AK_ATTRIBUTES,
        "0010 0018000b 0010 0010",
        &[],
    ));
    assert!(
        matches!(&error, VerifyError::Unsupported { what } if what.contains("curve 0x0010")),
        "{error}"
    );
    let error = with(area(0x0008, SHA256_ID, AK_ATTRIBUTES, "0010", &[]));
    assert!(
        matches!(&error, VerifyError::Unsupported { what } if what.contains("rsa and ecc")),
        "{error}"
    );
}

/// The order of P-256.
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

#[test]
fn the_twin_of_an_ecdsa_signature_verifies_and_is_reported() {
    let ak = EccAk::new();
    let verifier = enrolled(&ak.area);
    let mut evidence = ak.evidence(&Quote::new());
    let Signature::Ecdsa { r, s, .. } = Signature::parse(&evidence.signature).unwrap() else {
        panic!("an ECC key signs by ECDSA");
    };
    let mut borrow = 0;
    let order = hex::decode(ORDER).unwrap();
    let mut twin: Vec<u8> = order
        .iter()
        .zip(&s)
        .rev()
        .map(|(n, s)| {
            let difference = i16::from(*n) - i16::from(*s) - borrow;
            borrow = i16::from(difference < 0);
            u8::try_from(difference.rem_euclid(256)).unwrap()
        })
        .collect();
    twin.reverse();
    let reported = |evidence: &Evidence| {
        let claims = verify(&verifier, evidence).unwrap();
        claims
            .unsigned
            .iter()
            .any(|fact| fact.what == "high-s quote signature")
    };
    let first = reported(&evidence);
    evidence.signature = ecdsa_signature(SHA256_ID, &r, &twin);
    assert_ne!(
        first,
        reported(&evidence),
        "exactly one of the two is the high one"
    );

    // A zero in front changes nothing either, but is more than the curve's order has room for.
    evidence.signature = ecdsa_signature(SHA256_ID, &[&[0], r.as_slice()].concat(), &twin);
    let error = verify(&verifier, &evidence).unwrap_err();
    assert!(matches!(error, VerifyError::SignatureInvalid { .. }), "{error}");
    for (r, s) in [
        (vec![], twin.clone()),
        (vec![0; 32], twin.clone()),
        (order.clone(), twin),
    ] {
        evidence.signature = ecdsa_signature(SHA256_ID, &r, &s);
        let error = verify(&verifier, &evidence).unwrap_err();
        assert!(matches!(error, VerifyError::SignatureInvalid { .. }), "{error}");
    }
}
