//! The claim sets of Veraison's psatoken, encoded and signed here: what their names say is what they get.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value;
use nautilus_core::{AnchorRole, RawClaims, VerifyError};

use super::token::{Device, anchor, encoded};
use super::tokens::{vector, verify};

/// The two generations of claim keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    One,
    Two,
}
use Profile::{One, Two};

/// A claim set as the profile has it, claim by claim in the file's order.
fn claims(file: &str, profile: Profile) -> Vec<(Value, Value)> {
    let set: serde_json::Value =
        serde_json::from_slice(&vector(&format!("claims-json/{file}.json"))).unwrap();
    let bytes = |value: &serde_json::Value| Value::Bytes(STANDARD.decode(value.as_str().unwrap()).unwrap());
    let text = |value: &serde_json::Value| Value::from(value.as_str().unwrap());
    let int = |value: &serde_json::Value| Value::from(value.as_i64().unwrap());
    let component = |value: &serde_json::Value| {
        let fields = value
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| match name.as_str() {
                "measurement-type" => (1.into(), text(value)),
                "measurement-value" => (2.into(), bytes(value)),
                "signer-id" => (5.into(), bytes(value)),
                other => panic!("{other}"),
            });
        Value::Map(fields.collect())
    };
    let mut claims = Vec::new();
    for (name, value) in set.as_object().unwrap() {
        let (one, two, encoded): (i64, i64, Value) = match name.as_str() {
            "eat-profile" => (0, 265, text(value)),
            "psa-profile" => (-75000, 0, text(value)),
            "psa-client-id" => (-75001, 2394, int(value)),
            "psa-security-lifecycle" => (-75002, 2395, int(value)),
            "psa-implementation-id" => (-75003, 2396, bytes(value)),
            "psa-boot-seed" => (-75004, 2397, bytes(value)),
            "psa-hwver" => (-75005, 0, text(value)),
            "psa-certification-reference" => (0, 2398, text(value)),
            "psa-no-software-measurements" => (-75007, 0, int(value)),
            "psa-nonce" => (-75008, 10, bytes(value)),
            "psa-instance-id" => (-75009, 256, bytes(value)),
            "psa-verification-service-indicator" => (-75010, 2400, text(value)),
            "psa-software-components" => {
                let list = value.as_array().unwrap().iter().map(component);
                (-75006, 2399, Value::Array(list.collect()))
            }
            other => panic!("{other}"),
        };
        let key = match profile {
            One => one,
            Two => two,
        };
        if key != 0 {
            claims.push((key.into(), encoded));
        }
    }
    claims
}

fn verdict(device: &Device, claims: Vec<(Value, Value)>) -> Result<RawClaims, VerifyError> {
    let token = device.sign(&encoded(&Value::Map(claims)));
    verify(&token, &anchor(AnchorRole::PsaKey, device.jwk().to_string()))
}

fn malformed(verdict: Result<RawClaims, VerifyError>, expected: &str) {
    match verdict {
        Err(VerifyError::Malformed { what, .. }) => {
            assert!(what.contains(expected), "{what}, not {expected}")
        }
        other => panic!("{other:?}, not {expected}"),
    }
}

#[test]
fn valid_sets_verify() {
    let device = Device::es256();
    for (file, profile, components) in [
        ("test-token-valid-full", One, 2),
        ("test-token-valid-full", Two, 2),
        ("test-token-valid-minimalist-p1", One, 2),
        ("test-token-valid-minimalist-p2", Two, 2),
        ("test-token-valid-minimalist-no-sw-measurements", One, 0),
        ("test-profile-valid-missing", One, 2),
        // A boot seed is asked for by profile 1 alone.
        ("test-boot-seed-invalid-missing", Two, 2),
    ] {
        let claims = verdict(&device, claims(file, profile)).unwrap();
        assert_eq!(claims.measurements.len(), components, "{file}");
        assert!(!claims.debug, "{file}");
        assert!(!claims.attributes.contains_key("key"), "{file}");
        assert_eq!(claims.report_data.len(), 32);
        let expected = match profile {
            One => "PSA_IOT_PROFILE_1",
            Two => "http://arm.com/psa/2.0.0",
        };
        assert_eq!(claims.attributes["profile"], expected);
    }
}

#[test]
fn invalid_sets_are_refused_for_what_they_are() {
    let device = Device::es256();
    let cases: [(&str, &[Profile], &str); 27] = [
        (
            "test-boot-seed-invalid-long",
            &[One, Two],
            "boot seed has 34 bytes",
        ),
        ("test-boot-seed-invalid-missing", &[One], "lacks its boot seed"),
        (
            "test-boot-seed-invalid-short",
            &[One, Two],
            "boot seed has 4 bytes",
        ),
        (
            "test-client-id-invalid-missing",
            &[One, Two],
            "lacks its client ID",
        ),
        ("test-hardware-version-invalid", &[One, Two], "is no EAN-13"),
        (
            "test-implementation-id-invalid-long",
            &[One, Two],
            "implementation ID has 34 bytes",
        ),
        (
            "test-implementation-id-invalid-missing",
            &[One, Two],
            "lacks its implementation ID",
        ),
        (
            "test-implementation-id-invalid-short",
            &[One, Two],
            "implementation ID has 4 bytes",
        ),
        (
            "test-instance-id-invalid-euid-type",
            &[One, Two],
            "is not a UEID of type RAND",
        ),
        (
            "test-instance-id-invalid-long",
            &[One, Two],
            "instance ID has 34 bytes",
        ),
        (
            "test-instance-id-invalid-missing",
            &[One, Two],
            "lacks its instance ID",
        ),
        (
            "test-instance-id-invalid-short",
            &[One, Two],
            "instance ID has 32 bytes",
        ),
        ("test-nonce-invalid-long", &[One, Two], "nonce has 65 bytes"),
        ("test-nonce-invalid-missing", &[One, Two], "lacks its nonce"),
        ("test-nonce-invalid-short", &[One, Two], "nonce has 4 bytes"),
        ("test-profile-invalid-missing", &[Two], "lacks its profile"),
        (
            "test-profile-invalid-unknown",
            &[One, Two],
            "profile `http://UNKNOWN` is none of",
        ),
        (
            "test-security-lifecycle-invalid-missing",
            &[One, Two],
            "lacks its lifecycle",
        ),
        (
            "test-security-lifecycle-invalid-state",
            &[One, Two],
            "lifecycle 0xffff is no state",
        ),
        (
            "test-sw-component-and-no-sw-measurements-missing",
            &[One, Two],
            "lacks its software components",
        ),
        (
            "test-sw-component-measurement-value-invalid-missing",
            &[One, Two],
            "component 0 lacks its measurement",
        ),
        (
            "test-sw-component-measurement-value-invalid-short",
            &[One, Two],
            "software component 0 has 4 bytes",
        ),
        (
            "test-sw-component-signer-id-invalid-missing",
            &[One, Two],
            "component 1 lacks its signer ID",
        ),
        (
            "test-sw-component-signer-id-invalid-short",
            &[One, Two],
            "software component 1 has 4 bytes",
        ),
        (
            "test-sw-components-empty",
            &[One, Two],
            "software components are an empty list",
        ),
        (
            "test-sw-components-invalid-combo",
            &[One],
            "and says that none was measured",
        ),
        (
            "test-vsi-invalid-empty",
            &[One, Two],
            "verification service indicator is empty",
        ),
    ];
    for (file, profiles, expected) in cases {
        for profile in profiles {
            malformed(verdict(&device, claims(file, *profile)), expected);
        }
    }
    malformed(
        verdict(&device, claims("test-sw-components-invalid-missing", Two)),
        "lacks its software components",
    );
}

#[test]
fn every_algorithm_verifies_with_its_key() {
    let devices = [
        (Device::es256(), "ES256"),
        (Device::es384(), "ES384"),
        (Device::es512(), "ES512"),
        (Device::Secret([0x5e; 32]), "HMAC 256/256"),
    ];
    for (device, name) in &devices {
        let claims = claims("test-token-valid-full", Two);
        let verified = verdict(device, claims.clone()).unwrap();
        assert_eq!(verified.attributes["algorithm"], *name);
        // The same with another key of the kind.
        let token = device.sign(&encoded(&Value::Map(claims)));
        let other = match device {
            Device::Ec { curve: "P-256", .. } => Device::es256(),
            Device::Ec { curve: "P-384", .. } => Device::es384(),
            Device::Ec { .. } => Device::es512(),
            Device::Secret(_) => Device::Secret([0x5f; 32]),
        };
        let error = verify(&token, &anchor(AnchorRole::PsaKey, other.jwk().to_string())).unwrap_err();
        assert!(
            matches!(error, VerifyError::SignatureInvalid { .. }),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn only_the_secured_state_is_not_debug() {
    let device = Device::es256();
    for (state, debug) in [
        (0x0000, true),
        (0x1000, true),
        (0x2001, true),
        (0x3000, false),
        (0x30ff, false),
        (0x4000, true),
        (0x5000, true),
        (0x6000, true),
    ] {
        let mut claims = claims("test-token-valid-minimalist-p2", Two);
        set(&mut claims, 2395, state.into());
        assert_eq!(verdict(&device, claims).unwrap().debug, debug, "{state:#06x}");
    }
    for state in [0x0100, 0x2fff, 0x3100, 0x7000, 0x1_3000] {
        let mut claims = claims("test-token-valid-minimalist-p2", Two);
        set(&mut claims, 2395, state.into());
        malformed(verdict(&device, claims), "is no state");
    }
}

fn set(claims: &mut [(Value, Value)], key: i64, value: Value) {
    claims
        .iter_mut()
        .find(|(label, _)| *label == Value::from(key))
        .unwrap()
        .1 = value;
}

#[test]
fn claims_outside_of_the_profile() {
    let device = Device::es256();
    let base = || claims("test-token-valid-full", Two);
    let with = |key: Value, value: Value| {
        let mut claims = base();
        claims.push((key, value));
        verdict(&device, claims)
    };
    let unknown = with(
        1234567.into(),
        Value::Array(vec!["x".into(), Value::Null, Value::Float(0.5)]),
    )
    .unwrap();
    assert_eq!(unknown.attributes["unknown_claims"], "1234567");
    assert_eq!(
        with("extra".into(), 1.into()).unwrap().attributes["unknown_claims"],
        "`extra`"
    );
    malformed(with(2394.into(), 1.into()), "claims has the key 2394 twice");
    malformed(with((-75001).into(), 1.into()), "claims are of two profiles");
    malformed(with(Value::Null, 1.into()), "neither integer nor text");
    let twice_inside = Value::Map(vec![(1.into(), 1.into()), (1.into(), 2.into())]);
    malformed(with(99.into(), twice_inside), "unknown claim has the key 1 twice");
    let deep = (0..9).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    malformed(with(99.into(), deep), "nested deeper than 8 levels");
    let mut client = base();
    set(&mut client, 2394, i64::from(i32::MIN).into());
    assert_eq!(
        verdict(&device, client.clone()).unwrap().attributes["client_id"],
        "-2147483648"
    );
    set(&mut client, 2394, (i64::from(i32::MAX) + 1).into());
    malformed(verdict(&device, client), "client ID exceeds 32 bits");
    let mut rfc = base();
    set(&mut rfc, 265, "tag:psacertified.org,2023:psa#tfm".into());
    assert!(verdict(&device, rfc).is_ok());
}

#[test]
fn components_of_one_type_are_told_apart() {
    let device = Device::es256();
    let mut claims = claims("test-token-valid-full", Two);
    let component = |kind: &str, value: u8| {
        Value::Map(vec![
            (1.into(), kind.into()),
            (2.into(), Value::Bytes(vec![value; 32])),
            (5.into(), Value::Bytes(vec![9; 32])),
        ])
    };
    let list = vec![
        component("BL", 1),
        component("bl", 2),
        component("bl_1", 3),
        component("TF-M BL2!", 4),
    ];
    set(&mut claims, 2399, Value::Array(list));
    let measurements = verdict(&device, claims).unwrap().measurements;
    let values: Vec<(&str, u8)> = measurements
        .iter()
        .map(|(name, value)| (name.as_str(), value.0[0]))
        .collect();
    assert_eq!(
        values,
        [
            ("sw_bl", 1),
            ("sw_bl_1", 2),
            ("sw_bl_1_2", 3),
            ("sw_tf_m_bl2_", 4)
        ]
    );
}

#[test]
fn headers_that_nobody_should_write_are_refused() {
    let device = Device::es256();
    let payload = encoded(&Value::Map(claims("test-token-valid-full", Two)));
    let anchors = anchor(AnchorRole::PsaKey, device.jwk().to_string());
    let under = |protected: &[u8]| verify(&device.sign_under(protected, &payload), &anchors);
    assert!(under(&[0xa1, 0x01, 0x26]).is_ok());
    assert!(
        under(&[0xa2, 0x01, 0x26, 0x04, 0x42, 0x6b, 0x31]).is_ok(),
        "a key's name is signed"
    );
    malformed(under(&[]), "is cut short");
    malformed(under(&[0xa0]), "names no algorithm");
    malformed(under(&[0xa1, 0x01, 0x05]), "is a COSE_Sign1 by HMAC 256/256");
    malformed(
        under(&[0xa1, 0x01, 0x38, 0x22]),
        "signature of PSA token has 64 bytes, ES384 has 96",
    );
    malformed(under(&[0xa1, 0x01, 0x27]), "names algorithm -8");
    malformed(
        under(&[0xa2, 0x01, 0x26, 0x02, 0x81, 0x18, 0x2a]),
        "names critical parameters",
    );
    malformed(under(&[0xa2, 0x01, 0x26, 0x05, 0x41, 0x00]), "holds parameter 5");
    malformed(
        under(&[0xa1, 0x18, 0x01, 0x26]),
        "does not have its shortest form",
    );
    malformed(under(&[0xbf, 0x01, 0x26, 0xff]), "has an indefinite length");
    let mut indefinite = payload.clone();
    indefinite[0] = 0xbf;
    indefinite.push(0xff);
    let token = device.sign(&indefinite);
    let error = verify(&token, &anchors).unwrap_err();
    assert_eq!(error, VerifyError::NotRecognised);
    malformed(
        verify(&device.sign(&[payload.as_slice(), &[0]].concat()), &anchors),
        "1 bytes follow claims",
    );
}
