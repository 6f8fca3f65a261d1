//! The forms in which a device's key may be given.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use nautilus_core::{AnchorRole, TrustAnchorError, TrustAnchors, VerifyError};
use nautilus_tee::trustzone;

use super::token::{Device, anchor};
use super::tokens::{vector, verify};

/// 30 59 …: SubjectPublicKeyInfo of a point on P-256.
const P256_SPKI_HEAD: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

fn refusal(bytes: impl Into<Vec<u8>>) -> TrustAnchorError {
    trustzone::Verifier::new(&anchor(AnchorRole::PsaKey, bytes)).unwrap_err()
}

fn tf_m_token() -> Vec<u8> {
    vector("tf-m/psa-2_0_0_sign1.bin")
}

fn tf_m_der() -> Vec<u8> {
    pem::parse(vector("tf-m/public.pem")).unwrap().into_contents()
}

fn tf_m_jwk() -> serde_json::Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let der = tf_m_der();
    let (x, y) = der[der.len() - 64..].split_at(32);
    serde_json::json!({
        "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)
    })
}

const INSTANCE: &str = "01FA58755F658627CE5460F29B75296713248CAE7AD9E2984B90280EFCBCB50248";
const IMPLEMENTATION: &str = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd";

#[test]
fn every_form_serves() {
    let named = serde_json::json!([{
        "pkey": tf_m_jwk(), "instance-id": INSTANCE, "implementation-id": IMPLEMENTATION
    }]);
    let forms: [Vec<u8>; 7] = [
        vector("tf-m/public.pem"),
        tf_m_der(),
        tf_m_jwk().to_string().into(),
        serde_json::json!([Device::es256().jwk(), tf_m_jwk()])
            .to_string()
            .into(),
        serde_json::json!({"keys": [tf_m_jwk()]}).to_string().into(),
        named.to_string().into(),
        format!("\n  {}\n", named[0]).into(),
    ];
    assert!(hex::encode(tf_m_der()).starts_with(P256_SPKI_HEAD));
    for form in forms {
        let shown = String::from_utf8_lossy(&form).into_owned();
        assert!(
            verify(&tf_m_token(), &anchor(AnchorRole::PsaKey, form)).is_ok(),
            "{shown}"
        );
    }
}

/// docs/tee/trustzone.md, "What verification costs".
#[test]
fn at_most_sixteen_keys_are_tried() {
    let verdict = |others: usize, name: bool| {
        let mut keys: Vec<serde_json::Value> = (0..others).map(|_| Device::es256().jwk()).collect();
        if name {
            let instance = INSTANCE.replace("48", "49");
            let named = |key| serde_json::json!({"pkey": key, "instance-id": instance});
            keys = keys.into_iter().map(named).collect();
        }
        keys.push(tf_m_jwk());
        let list = serde_json::Value::Array(keys).to_string();
        let before = nautilus_tee::signatures_verified();
        let verdict = verify(&tf_m_token(), &anchor(AnchorRole::PsaKey, list));
        (verdict, nautilus_tee::signatures_verified() - before)
    };
    let (found, spent) = verdict(15, false);
    assert!(found.is_ok() && spent == 16, "{spent} {found:?}");
    let (refused, spent) = verdict(16, false);
    assert!(
        matches!(&refused, Err(VerifyError::Unsupported { what }) if what.contains("17 enrolled keys")),
        "{refused:?}"
    );
    assert_eq!(spent, 0);
    let (found, spent) = verdict(100, true);
    assert!(found.is_ok() && spent == 1, "{spent} {found:?}");
}

#[test]
fn a_key_that_names_another_device_does_not_serve() {
    let mut other = INSTANCE.to_owned();
    other.replace_range(64..66, "49");
    for entry in [
        serde_json::json!([{"pkey": tf_m_jwk(), "instance-id": other}]),
        serde_json::json!([{"pkey": tf_m_jwk(), "implementation-id": IMPLEMENTATION.replace('d', "e")}]),
    ] {
        let error = verify(&tf_m_token(), &anchor(AnchorRole::PsaKey, entry.to_string())).unwrap_err();
        assert!(matches!(error, VerifyError::KeyNotEnrolled { .. }), "{error:?}");
    }
}

#[test]
fn a_key_of_another_role_does_not_serve() {
    let error = verify(
        &tf_m_token(),
        &anchor(AnchorRole::CcaKey, vector("tf-m/public.pem")),
    )
    .unwrap_err();
    assert!(matches!(error, VerifyError::KeyNotEnrolled { .. }), "{error:?}");
    assert!(trustzone::Verifier::new(&TrustAnchors::default()).is_ok());
}

#[test]
fn what_is_no_public_key_is_refused() {
    let mut off_curve = tf_m_der();
    *off_curve.last_mut().unwrap() ^= 1;
    let mut with_private = tf_m_jwk();
    with_private["d"] = "AAAA".into();
    let private = "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n";
    let cases: [(Vec<u8>, &str); 13] = [
        (off_curve, "lies not on the curve of ES256"),
        (with_private.to_string().into(), "holds a private key"),
        (private.into(), "PEM block `EC PRIVATE KEY`"),
        (Vec::new(), "unknown format: expected a public key in PEM"),
        (b"hello".to_vec(), "unknown format"),
        (b"-----BEGIN".to_vec(), "it holds 0 keys"),
        (b"[]".to_vec(), "it holds 0 keys"),
        (b"{".to_vec(), "it is not JSON"),
        (
            br#"{"kty":"RSA","n":"AA","e":"AQAB"}"#.to_vec(),
            "another type than EC or oct",
        ),
        (br#"{"kty":"oct","k":"AAAA"}"#.to_vec(), "a secret of 3 bytes"),
        (
            br#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_vec(),
            "curve is not P-256",
        ),
        (
            br#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#.to_vec(),
            "coordinates are not of 32 bytes",
        ),
        (
            serde_json::json!([{"pkey": tf_m_jwk(), "instance-id": "01"}])
                .to_string()
                .into(),
            "`instance-id` is not 33 bytes in hex",
        ),
    ];
    for (bytes, expected) in cases {
        let error = refusal(bytes);
        assert!(error.what.contains(expected), "{error}, not {expected}");
        assert_eq!(
            (error.role, error.origin.as_str()),
            (AnchorRole::PsaKey, "anchor.json")
        );
    }
}

#[test]
fn a_certificate_serves_as_the_key_that_it_is_for() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
    let anchors = anchor(AnchorRole::PsaKey, certificate.pem());
    let device = Device::Ec {
        pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der()).unwrap(),
        algorithm: -7,
        curve: "P-256",
    };
    let token = device.sign(&payload());
    let claims = verify(&token, &anchors).unwrap();
    assert!(!claims.debug && !claims.attributes.contains_key("key"));
    let error = verify(&tf_m_token(), &anchors).unwrap_err();
    assert!(matches!(error, VerifyError::SignatureInvalid { .. }), "{error:?}");
}

/// The secret of TF-M's dummy provisioning is in its repository.
#[test]
fn a_published_secret_is_nobodys() {
    let secret = hex::decode("a9b454b26d6f90a4ea31193564cba91fec6f9a002a7dc0504b92a1937134585f").unwrap();
    for (secret, published) in [(secret.try_into().unwrap(), true), ([0x5e; 32], false)] {
        let device = Device::Secret(secret);
        let anchors = anchor(AnchorRole::PsaKey, device.jwk().to_string());
        let claims = verify(&device.sign(&payload()), &anchors).unwrap();
        assert_eq!(claims.debug, published);
        assert_eq!(claims.attributes.contains_key("key"), published);
    }
}

/// The claims of a published token.
fn payload() -> Vec<u8> {
    let token: ciborium::Value = ciborium::from_reader(tf_m_token().as_slice()).unwrap();
    let (_, parts) = token.as_tag().unwrap();
    parts.as_array().unwrap()[2].as_bytes().unwrap().clone()
}
