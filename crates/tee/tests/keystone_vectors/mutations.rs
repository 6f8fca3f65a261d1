//! Which bytes of a report are signed, and what is said of the others.

use nautilus_core::{Claims, TeeKind, VerifyError};

use crate::cases::{DEVICE_C, TEST_DEVICE, case, trusting, verify_any};

#[test]
fn every_byte_is_signed_or_changes_no_claim() {
    let set = trusting(&[TEST_DEVICE]);
    let original = case("a-probe-a-d32").report();
    let genuine = verify_any(&set, &original).unwrap();
    let unsigned = 72 + 32..1096;
    for offset in 0..original.len() {
        let mut report = original.clone();
        report[offset] ^= 0x10;
        match verify_any(&set, &report) {
            Ok(claims) => {
                assert!(unsigned.contains(&offset), "byte {offset} is signed");
                let mut same = Claims::clone(&claims);
                same.unsigned.clone_from(&genuine.unsigned);
                assert_eq!(same, *genuine, "byte {offset}");
            }
            Err(error) => {
                assert!(
                    !unsigned.contains(&offset),
                    "byte {offset} is not signed: {error:?}"
                );
                let named = match offset {
                    // The length of the data: too much, or other data.
                    64..72 => matches!(
                        error,
                        VerifyError::Malformed { offset: 64, .. } | VerifyError::SignatureInvalid { .. }
                    ),
                    1320.. => matches!(
                        error,
                        VerifyError::KeyNotEnrolled { .. } | VerifyError::SignatureInvalid { .. }
                    ),
                    _ => matches!(error, VerifyError::SignatureInvalid { .. }),
                };
                assert!(named, "byte {offset}: {error:?}");
            }
        }
    }
}

#[test]
fn the_bytes_after_the_data_are_reported_and_never_shown() {
    let set = trusting(&[TEST_DEVICE]);
    let mut report = case("tail-zeroed").report();
    assert_eq!(verify_any(&set, &report).unwrap().unsigned, []);
    let secret = b"left over from the stack";
    report[200..200 + secret.len()].copy_from_slice(secret);
    let claims = verify_any(&set, &report).unwrap();
    let facts: Vec<_> = claims.unsigned.iter().map(|fact| fact.what).collect();
    assert_eq!(facts, ["bytes after the enclave's data"]);
    let shown = serde_json::to_string(&claims).unwrap();
    assert!(
        !shown.contains("left over from the stack") && !shown.contains(&hex::encode(secret)),
        "{shown}"
    );
}

#[test]
fn the_sdk_s_json_of_a_report_gives_the_same_claims() {
    let set = trusting(&[TEST_DEVICE, DEVICE_C]);
    for name in ["a-probe-a-d0", "b-probe-a-d1024", "c-probe-a-d64"] {
        let report = case(name).report();
        let length = usize::from(u16::from_le_bytes([report[64], report[65]]));
        let part = |from: usize, length: usize| hex::encode(&report[from..from + length]);
        let text = format!(
            r#"{{"device_pubkey": "{}", "enclave": {{"data": "{}", "datalen": {length}, "hash": "{}", "signature": "{}"}}, "security_monitor": {{"hash": "{}", "pubkey": "{}", "signature": "{}"}}}}"#,
            part(1320, 32),
            part(72, length),
            part(0, 64),
            part(1096, 64),
            part(1160, 64),
            part(1224, 32),
            part(1256, 64),
        );
        assert_eq!(set.recognise(text.as_bytes()), Some(TeeKind::Keystone), "{name}");
        let from_text = verify_any(&set, text.as_bytes()).unwrap();
        assert_eq!(from_text.unsigned, [], "{name}");
        let from_binary = verify_any(&set, &report).unwrap();
        let mut same = Claims::clone(&from_binary);
        same.unsigned.clear();
        assert_eq!(*from_text, same, "{name}");
        let forged = text.replacen(&part(0, 64), &"00".repeat(64), 1);
        assert_eq!(
            verify_any(&set, forged.as_bytes()).unwrap_err(),
            VerifyError::SignatureInvalid {
                what: "over the enclave's hash and data, by the security monitor's key".to_owned()
            },
            "{name}"
        );
    }
}

#[test]
fn a_verifier_that_has_seen_the_monitor_says_the_same() {
    let warm = trusting(&[TEST_DEVICE]);
    let report = case("a-probe-a-d64").report();
    let first = verify_any(&warm, &report).unwrap();
    assert_eq!(verify_any(&warm, &report).unwrap(), first);
    let mut forged = report.clone();
    forged[1300] ^= 1;
    for set in [&warm, &trusting(&[TEST_DEVICE])] {
        assert_eq!(
            verify_any(set, &forged).unwrap_err(),
            VerifyError::SignatureInvalid {
                what: "over the security monitor's hash and key, by the device's key".to_owned()
            }
        );
    }
}
