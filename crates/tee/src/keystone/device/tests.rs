use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

/// `SubjectPublicKeyInfo` of an Ed25519 key, up to the key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

const KEY: &str = "0faad4ff01178583baa588966f7c1ff32564dd17d7dc2b46cb50a84a69270b4c";

fn key() -> [u8; 32] {
    hex::decode(KEY).unwrap().try_into().unwrap()
}

fn anchors(role: AnchorRole, bytes: &[u8]) -> TrustAnchors {
    TrustAnchors(vec![TrustAnchor {
        role,
        bytes: bytes.to_vec(),
        origin: "a test".to_owned(),
    }])
}

fn devices(bytes: &[u8]) -> Result<Devices, TrustAnchorError> {
    Devices::of(&anchors(AnchorRole::KeystoneDevice, bytes))
}

#[test]
fn a_device_is_enrolled_in_any_form() {
    let der = [SPKI_PREFIX.as_slice(), &key()].concat();
    let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", der.clone()));
    let x = URL_SAFE_NO_PAD.encode(key());
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"board 7"}}"#);
    for form in [
        KEY.as_bytes().to_vec(),
        format!("{}\n", KEY.to_uppercase()).into_bytes(),
        der,
        pem.into_bytes(),
        jwk.clone().into_bytes(),
        format!("[{jwk}]").into_bytes(),
        format!(r#"{{"public":"{KEY}","source":"a board"}}"#).into_bytes(),
    ] {
        let devices = devices(&form).unwrap();
        assert!(
            devices.enrolled(&key()).is_ok(),
            "{}",
            String::from_utf8_lossy(&form)
        );
    }
}

#[test]
fn nobody_else_is_enrolled_with_it() {
    let other = PublicKey::of_seed(&[1; 32]);
    for known in [devices(KEY.as_bytes()).unwrap(), Devices::default()] {
        let refused = known.enrolled(&other).err().unwrap();
        assert!(
            matches!(&refused, VerifyError::KeyNotEnrolled { what } if what.contains(&hex::encode(other))),
            "{refused:?}"
        );
    }
    // A key of another role speaks for no device.
    let of_optee = Devices::of(&anchors(AnchorRole::OpteeKey, KEY.as_bytes())).unwrap();
    assert!(matches!(
        of_optee.enrolled(&key()),
        Err(VerifyError::KeyNotEnrolled { .. })
    ));
}

#[test]
fn keys_that_vouch_for_nothing_are_refused() {
    let refusal = |bytes: &[u8]| {
        let error = devices(bytes).unwrap_err();
        assert_eq!(
            (error.role, error.origin.as_str()),
            (AnchorRole::KeystoneDevice, "a test")
        );
        error.what
    };
    let zeros = "0".repeat(64);
    assert_eq!(
        refusal(zeros.as_bytes()),
        "the key is all zero, so that it vouches for nothing"
    );
    let neutral = format!("01{}", "0".repeat(62));
    assert_eq!(
        refusal(neutral.as_bytes()),
        "the key is a point of small order, so that it vouches for nothing"
    );
    let x25519 = [&SPKI_PREFIX[..8], &[0x6e], &SPKI_PREFIX[9..], &key()].concat();
    let short = &KEY[2..];
    let rsa = pem::encode(&pem::Pem::new("RSA PUBLIC KEY", [1]));
    let p256 = br#"{"kty":"EC","crv":"P-256","x":"AA"}"#;
    for other in [x25519.as_slice(), short.as_bytes(), rsa.as_bytes(), p256] {
        let what = refusal(other);
        assert!(
            what.starts_with("it is no Ed25519 key: an Ed25519 public key in PEM"),
            "{what}"
        );
    }
}
