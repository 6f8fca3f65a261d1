//! Published tokens.

use std::path::Path;

use nautilus_core::{
    AnchorRole, Endorsements, RawClaims, TeeVerifier as _, TrustAnchors, UnixMillis, VerifyError,
};
use nautilus_tee::{nitro, trustzone};

use super::token::anchor;

const NOW: UnixMillis = UnixMillis::from_secs(1_760_000_000);

pub(crate) fn vector(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/psa")
        .join(name);
    std::fs::read(path).unwrap()
}

pub(crate) fn verify(token: &[u8], anchors: &TrustAnchors) -> Result<RawClaims, VerifyError> {
    trustzone::Verifier::new(anchors)
        .unwrap()
        .verify(token, &Endorsements::default(), NOW)
}

fn tf_m() -> TrustAnchors {
    anchor(AnchorRole::PsaKey, vector("tf-m/public.pem"))
}

/// RFC 7517 appendix A.1, the public key of Veraison's examples.
const RFC_7517: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}"#;

#[test]
fn tokens_of_tf_m_verify_and_are_nobodys() {
    for (name, profile) in [
        ("tf-m/psa-2_0_0_sign1.bin", "http://arm.com/psa/2.0.0"),
        ("tf-m/psa-iot-1_sign1.bin", "PSA_IOT_PROFILE_1"),
    ] {
        let token = vector(name);
        let claims = verify(&token, &tf_m()).unwrap();
        assert_eq!(claims.attributes["profile"], profile);
        assert_eq!(claims.report_data, [0; 64]);
        assert_eq!(claims.attributes["lifecycle"], "secured (0x3000)");
        assert_eq!(claims.attributes["client_id"], "3002");
        assert_eq!(
            claims.attributes["certification_reference"],
            "0604565272829-10010"
        );
        assert_eq!(claims.attributes["sw_spe_version"], "1.6.0");
        assert_eq!(
            claims.attributes["sw_nspe_signer_id"],
            "b360caf5c98c6b942a4882fa9d4823efb166a9ef6a6e4aa37c1919ed1fccc049"
        );
        let names: Vec<&String> = claims.measurements.keys().collect();
        assert_eq!(names, ["sw_nspe", "sw_spe"]);
        assert_eq!(claims.device.scheme, "psa-instance");
        assert_eq!(
            claims.device.id,
            "01fa58755f658627ce5460f29b75296713248cae7ad9e2984b90280efcbcb50248"
        );
        // Its private half is in TF-M's repository.
        assert_eq!(claims.attributes["key"], "published test key");
        assert!(claims.debug);
    }
}

#[test]
fn the_token_of_veraison_verifies_and_is_nobodys() {
    let claims = verify(
        &vector("veraison/psaintegtoken.cbor"),
        &anchor(AnchorRole::PsaKey, RFC_7517),
    )
    .unwrap();
    assert_eq!(claims.attributes["key"], "published test key");
    assert!(claims.debug);
    assert_eq!(claims.measurements.len(), 3);
    assert_eq!(claims.report_data.len(), 32);
    assert_eq!(claims.attributes["client_id"], "1");
}

#[test]
fn a_key_that_did_not_sign_does_not_serve() {
    for name in ["veraison/psa-token.cbor", "veraison/psaintegtoken.cbor"] {
        let error = verify(&vector(name), &tf_m()).unwrap_err();
        assert!(
            matches!(error, VerifyError::SignatureInvalid { what } if what.contains("PSA token, by none"))
        );
    }
}

#[test]
fn without_a_key_nothing_verifies() {
    for (name, instance) in [
        ("tf-m/psa-2_0_0_sign1.bin", "01fa58755f658627ce5460f29b7529"),
        ("tf-m/psa-2_0_0_mac0.bin", "01bfe8a99b25d95ca842256bef147a"),
        ("veraison/psa-token.cbor", "0107060504030201000f0e0d0c0b"),
    ] {
        match verify(&vector(name), &TrustAnchors::default()).unwrap_err() {
            VerifyError::KeyNotEnrolled { what } => {
                assert!(
                    what.contains(instance) && what.contains("trust anchor `psa-key`"),
                    "{what}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    // A key for signatures is none for codes.
    let error = verify(&vector("tf-m/psa-2_0_0_mac0.bin"), &tf_m()).unwrap_err();
    assert!(matches!(error, VerifyError::KeyNotEnrolled { what } if what.contains("HMAC 256/256")));
}

/// TF-M's short-circuit test mode puts a digest where the code should be: anybody can make one.
#[test]
fn codes_made_without_a_key_are_refused() {
    let any = r#"{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#;
    for name in ["tf-m/psa-2_0_0_mac0.bin", "tf-m/psa-iot-1_mac0.bin"] {
        let error = verify(&vector(name), &anchor(AnchorRole::PsaKey, any)).unwrap_err();
        assert!(
            matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("plain digest")),
            "{error:?}"
        );
    }
}

#[test]
fn every_flip_and_cut_is_refused() {
    for name in ["tf-m/psa-2_0_0_sign1.bin", "tf-m/psa-iot-1_sign1.bin"] {
        let (token, anchors) = (vector(name), tf_m());
        let verifier = trustzone::Verifier::new(&anchors).unwrap();
        let verify = |token: &[u8]| verifier.verify(token, &Endorsements::default(), NOW);
        assert!(verify(&token).is_ok());
        for at in 0..token.len() {
            for bit in [0, 7] {
                let mut changed = token.clone();
                changed[at] ^= 1 << bit;
                let verdict = verify(&changed);
                assert!(
                    matches!(
                        verdict,
                        Err(VerifyError::Malformed { .. }
                            | VerifyError::NotRecognised
                            | VerifyError::TrailingBytes { .. }
                            | VerifyError::KeyNotEnrolled { .. }
                            | VerifyError::SignatureInvalid { .. })
                    ),
                    "{name} byte {at} bit {bit}: {verdict:?}"
                );
            }
            let cut = verify(&token[..at]).unwrap_err();
            assert!(
                matches!(cut, VerifyError::Malformed { offset, .. } if offset <= at)
                    || cut == VerifyError::NotRecognised,
                "{name} cut to {at}: {cut:?}"
            );
        }
        let longer = [token.as_slice(), &[0]].concat();
        let trailing = VerifyError::TrailingBytes {
            offset: token.len(),
            length: 1,
        };
        assert_eq!(verify(&longer).unwrap_err(), trailing);
        // The tag is not optional.
        assert_eq!(verify(&token[1..]).unwrap_err(), VerifyError::NotRecognised);
    }
}

#[test]
fn tokens_and_nitro_documents_are_told_apart() {
    let token = vector("tf-m/psa-2_0_0_sign1.bin");
    let psa = trustzone::Verifier::new(&TrustAnchors::default()).unwrap();
    assert!(psa.recognises(&token) && !nitro::recognises(&token));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/nitro/prod-2021.cbor");
    let document = std::fs::read(path).unwrap();
    let tagged = [&[0xd2], document.as_slice()].concat();
    for document in [&document, &tagged] {
        assert!(nitro::recognises(document) && !psa.recognises(document));
    }
}
