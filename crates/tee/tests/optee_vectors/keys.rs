//! Which enrolled key a piece of evidence is held against.

use nautilus_core::{Binding, TrustAnchors, VerifyError};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cases::{Case, anchor, case, trusting, verify};

fn genuine() -> Case {
    case("a1-02-tee_memory")
}

fn key_id(key: &Value) -> String {
    hex::encode(Sha256::digest(
        hex::decode(key["n_hex"].as_str().unwrap()).unwrap(),
    ))
}

/// `count` keys as long as the genuine one, and the genuine one.
fn crowd(count: usize) -> TrustAnchors {
    let genuine = genuine().pubkey;
    let n = genuine["n_hex"].as_str().unwrap();
    let other = |index: usize| {
        let tail = format!("{:03x}1", index);
        json!({"n_hex": format!("{}{tail}", &n[..n.len() - 4]), "e_hex": "010001"})
    };
    let others = (0..count).map(|index| anchor(&other(index)));
    TrustAnchors(others.chain([anchor(&genuine)]).collect())
}

#[test]
fn evidence_without_a_key_id_is_tried_on_few_keys_and_with_one_on_its_own() {
    let case = genuine();
    let nonce = case.nonce();
    let binding = Binding::ReportData(&nonce);
    let unnamed = case.container(&nonce);
    let mut named = unnamed.clone();
    named["key_id"] = json!(key_id(&case.pubkey));
    let claims = verify(&trusting(crowd(15)), &unnamed, binding).unwrap();
    assert_eq!(claims.device.id, key_id(&case.pubkey));
    let many = trusting(crowd(16));
    let refused = verify(&many, &unnamed, binding).unwrap_err();
    assert!(
        matches!(&refused, VerifyError::Unsupported { what } if what.contains("17 enrolled keys")),
        "{refused:?}"
    );
    assert_eq!(
        verify(&many, &named, binding).unwrap().device.id,
        key_id(&case.pubkey)
    );
}

/// docs/tee/trustzone.md.
#[test]
fn evidence_costs_one_signature_or_as_many_as_keys_are_tried() {
    let case = genuine();
    let nonce = case.nonce();
    let spent = |keys: usize, container: &Value| {
        let set = trusting(crowd(keys));
        let before = nautilus_tee::signatures_verified();
        let verdict = verify(&set, container, Binding::ReportData(&nonce));
        (verdict.is_ok(), nautilus_tee::signatures_verified() - before)
    };
    let mut named = case.container(&nonce);
    named["key_id"] = json!(key_id(&case.pubkey));
    assert_eq!(spent(500, &named), (true, 1));
    assert_eq!(spent(0, &case.container(&nonce)), (true, 1));
    let mut forged = case.container(&nonce);
    let mut output = case.output();
    output[40] ^= 1;
    forged["output"] = json!(base64(&output));
    assert_eq!(spent(15, &forged), (false, 16));
    assert_eq!(spent(16, &forged), (false, 0));
}

#[test]
fn a_key_id_that_is_not_the_signer_s_does_not_help() {
    let case = genuine();
    let other = crate::cases::case("e1-00-tee_memory").pubkey;
    let nonce = case.nonce();
    let mut container = case.container(&nonce);
    container["key_id"] = json!(key_id(&other));
    let both = TrustAnchors(vec![anchor(&case.pubkey), anchor(&other)]);
    let refused = verify(&trusting(both), &container, Binding::ReportData(&nonce)).unwrap_err();
    assert_eq!(
        refused,
        VerifyError::SignatureInvalid {
            what: format!("over nonce and measurement, by enrolled key {}", key_id(&other))
        }
    );
    let refused = verify(&trusting(case.anchors()), &container, Binding::ReportData(&nonce)).unwrap_err();
    assert!(
        matches!(&refused, VerifyError::KeyNotEnrolled { what } if what.contains(&key_id(&other))),
        "{refused:?}"
    );
    let refused = verify(
        &trusting(TrustAnchors::default()),
        &case.container(&nonce),
        Binding::ReportData(&nonce),
    )
    .unwrap_err();
    assert!(
        matches!(&refused, VerifyError::KeyNotEnrolled { what } if what.contains("none of the 0 enrolled")),
        "{refused:?}"
    );
}

#[test]
fn every_byte_of_nonce_and_output_is_signed() {
    let case = genuine();
    let set = trusting(case.anchors());
    let nonce = case.nonce();
    let because = "the test is about the signature";
    for index in 0..nonce.len() {
        let mut flipped = nonce.clone();
        flipped[index] ^= 1;
        let result = verify(&set, &case.container(&flipped), Binding::Unchecked { because });
        assert!(
            matches!(result, Err(VerifyError::SignatureInvalid { .. })),
            "nonce {index}: {result:?}"
        );
    }
    let output = case.output();
    for index in 0..output.len() {
        let mut flipped = output.clone();
        flipped[index] ^= 0x40;
        let mut container = case.container(&nonce);
        container["output"] = json!(base64(&flipped));
        let result = verify(&set, &container, Binding::Unchecked { because });
        assert!(
            matches!(result, Err(VerifyError::SignatureInvalid { .. })),
            "output {index}: {result:?}"
        );
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
