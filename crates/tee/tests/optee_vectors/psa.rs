//! PSA tokens of OP-TEE's `veraison_attestation` service. Their key is in OP-TEE's sources for all to read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nautilus_core::{
    AnchorRole, Assurance, Binding, Claims, Endorsements, Evidence, Measurement, TeeKind, TrustAnchor,
    TrustAnchors, Verified, VerifyError,
};
use serde_json::json;

use crate::cases::{Case, Expected, NOW, all, trusting};

fn key(case: &Case) -> TrustAnchors {
    let coordinate = |name: &str| {
        let bytes = hex::decode(case.pubkey[name].as_str().unwrap()).unwrap();
        URL_SAFE_NO_PAD.encode(bytes)
    };
    let (x, y) = (coordinate("x_hex"), coordinate("y_hex"));
    let jwk = json!({"kty": case.pubkey["kty"], "crv": case.pubkey["crv"], "x": x, "y": y});
    TrustAnchors(vec![TrustAnchor {
        role: AnchorRole::PsaKey,
        bytes: jwk.to_string().into_bytes(),
        origin: "vectors/optee/cases.jsonl".to_owned(),
    }])
}

fn verify(case: &Case) -> Result<Verified<Claims>, VerifyError> {
    let evidence = Evidence {
        tee: TeeKind::TrustZone,
        bytes: case.output(),
        user_data: None,
        event_log: None,
    };
    trusting(key(case)).verify(
        &evidence,
        Binding::ReportData(&case.nonce()),
        &Endorsements::default(),
        NOW,
    )
}

#[test]
fn every_token_comes_out_as_expected() {
    let cases: Vec<_> = all().into_iter().filter(Case::is_psa).collect();
    assert_eq!(cases.len(), 76);
    for case in &cases {
        match (case.expected, verify(case)) {
            (Expected::Accept, Ok(claims)) => by_a_published_key(case, &claims),
            (Expected::Reject | Expected::RejectPolicy | Expected::RejectStrict, Err(error)) => {
                assert!(is_named(case, &error), "{}: {error:?}", case.name);
            }
            (expected, result) => panic!("{}: expected {expected:?}, got {result:?}", case.name),
        }
    }
}

/// The signature is good, and says nothing of a device.
fn by_a_published_key(case: &Case, claims: &Verified<Claims>) {
    let name = &case.name;
    assert_eq!(claims.report_data.0, case.nonce(), "{name}");
    assert_eq!(
        (claims.debug, claims.assurance),
        (true, Assurance::Simulated),
        "{name}"
    );
    assert_eq!(claims.attributes["key"], "published test key", "{name}");
    let measured = hex::decode(case.measurement_hex.as_ref().unwrap()).unwrap();
    let values: Vec<_> = claims.measurements.values().cloned().collect();
    assert_eq!(values, [Measurement(measured)], "{name}");
}

fn is_named(case: &Case, error: &VerifyError) -> bool {
    match (case.tamper.as_deref(), case.name.as_str(), error) {
        (Some("stale-nonce"), _, VerifyError::ReportDataMismatch { expected, .. }) => {
            *expected == hex::encode(case.nonce())
        }
        (
            Some("measurement-bitflip" | "payload-nonce-bitflip" | "signature-bitflip" | "wrong-key"),
            _,
            VerifyError::SignatureInvalid { .. },
        )
        | (Some("truncated-1"), _, VerifyError::Malformed { .. })
        | (Some("untagged"), _, VerifyError::NotRecognised) => true,
        (Some("alg-changed"), _, VerifyError::Malformed { what, .. }) => what.contains("algorithm -8"),
        (Some("trailing-byte"), _, VerifyError::TrailingBytes { offset, length }) => {
            (*offset, *length) == (case.output().len() - 1, 1)
        }
        // RFC 9783, sections 4.1.1 and 4.2.2.
        (None, "a1-18-veraison_psa", VerifyError::Malformed { what, .. }) => {
            what.starts_with("nonce has 16 bytes")
        }
        (None, "b1-19-veraison_psa", VerifyError::Malformed { what, .. }) => {
            what.starts_with("implementation ID has 16 bytes")
        }
        _ => false,
    }
}
