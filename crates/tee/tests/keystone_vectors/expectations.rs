//! What each case's `expect` says comes true.

use std::collections::BTreeMap;

use nautilus_core::{Assurance, Binding, Claims, TeeKind, Verified, VerifyError};

use crate::cases::{Case, DEVICE_C, TEST_DEVICE, all, case, trusting, verify, verify_any};

/// What a case's `expect` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Expected {
    /// The claims of the machine that made it.
    Accept,
    /// The claims of `a-probe-a-d32`.
    AcceptSameClaim,
    /// Good signatures, by a key that anybody can derive.
    AcceptForgery,
    Reject,
    RejectInParsing,
    RejectSmallOrder,
}

fn expected(expect: &str) -> Expected {
    match expect {
        "accept (with the named device key trusted)" => Expected::Accept,
        "accept, same claim"
        | "accept, claim unchanged (byte is outside the signed part); a verifier may instead insist on nothing there" => {
            Expected::AcceptSameClaim
        }
        "accept by signature; only an expected enclave hash rejects it" => Expected::AcceptForgery,
        "reject"
        | "reject (strict); upstream C code only checks the top 3 bits, see its verdict"
        // Nautilus looks up the device that the report names.
        | "accept if the verifier uses its own trusted device key and ignores the field (as upstream does); reject if it compares" => {
            Expected::Reject
        }
        "reject in parsing"
        | "reject in parsing, no overflow"
        | "reject in parsing (2048 is the size the example ocall hands over: a caller may cut it to 1352 first)" => {
            Expected::RejectInParsing
        }
        "reject: zero (small-order) keys"
        | "reject: SM refused (SBI error 100008, data > 1024); eapp ignored the code and exported the zeroed runtime buffer" => {
            Expected::RejectSmallOrder
        }
        other => panic!("no meaning is known for `{other}`"),
    }
}

#[test]
fn every_case_comes_out_as_expected() {
    let set = trusting(&[TEST_DEVICE, DEVICE_C]);
    let mut counts = BTreeMap::new();
    for case in all() {
        let expected = expected(&case.expect);
        *counts.entry(expected).or_insert(0) += 1;
        let result = verify_any(&set, &case.report());
        match (expected, result) {
            (Expected::Accept, Ok(claims)) => as_the_machine_said(&case, &claims),
            (Expected::AcceptSameClaim, Ok(claims)) => as_the_original(&claims),
            (Expected::AcceptForgery, Ok(claims)) => assert!(claims.debug, "{}", case.name),
            (Expected::Reject | Expected::RejectInParsing | Expected::RejectSmallOrder, Err(error)) => {
                refused(&case.name, expected, &error)
            }
            (_, result) => panic!("{}: expected {expected:?}, got {result:?}", case.name),
        }
    }
    assert_eq!(
        Vec::from_iter(counts),
        [
            (Expected::Accept, 14),
            (Expected::AcceptSameClaim, 2),
            (Expected::AcceptForgery, 1),
            (Expected::Reject, 16),
            (Expected::RejectInParsing, 7),
            (Expected::RejectSmallOrder, 4),
        ]
    );
}

fn as_the_machine_said(case: &Case, claims: &Verified<Claims>) {
    let name = &case.name;
    let measured = |register: &str| claims.measurements[register].to_string();
    assert_eq!(
        hex::encode(&claims.report_data.0),
        *case.payload_hex.as_ref().unwrap(),
        "{name}"
    );
    assert_eq!(
        measured("enclave_hash"),
        *case.enclave_hash.as_ref().unwrap(),
        "{name}"
    );
    assert_eq!(measured("sm_hash"), *case.sm_hash.as_ref().unwrap(), "{name}");
    assert_eq!(claims.measurements.len(), 2, "{name}");
    assert_eq!(claims.device.scheme, "keystone-device", "{name}");
    assert_eq!(claims.device.id, *case.dev_public_key.as_ref().unwrap(), "{name}");
    assert_eq!(
        claims.attributes["sm_public_key"],
        *case.sm_public_key.as_ref().unwrap(),
        "{name}"
    );
    assert_eq!(
        (claims.tcb.status, claims.tcb.advisories.len()),
        (None, 0),
        "{name}"
    );
    // All boots had a published device key and the reference boot ROM.
    assert_eq!(
        (claims.debug, claims.assurance),
        (true, Assurance::Simulated),
        "{name}"
    );
    assert_eq!(claims.attributes["device_key"], "published test key", "{name}");
    assert_eq!(
        claims.attributes["sm_key"], "recoverable from two bytes",
        "{name}"
    );

    let set = trusting(&[TEST_DEVICE, DEVICE_C]);
    assert_eq!(set.recognise(&case.report()), Some(TeeKind::Keystone), "{name}");
    let payload = hex::decode(case.payload_hex.as_ref().unwrap()).unwrap();
    let bound = verify(&set, &case.report(), Binding::ReportData(&payload)).unwrap();
    assert_eq!(bound.unchecked_binding(), None, "{name}");
    let other = [payload.as_slice(), &[0]].concat();
    assert_eq!(
        verify(&set, &case.report(), Binding::ReportData(&other)).unwrap_err(),
        VerifyError::ReportDataMismatch {
            expected: hex::encode(&other),
            found: hex::encode(&payload)
        },
        "{name}"
    );
}

fn as_the_original(claims: &Verified<Claims>) {
    let original = verify_any(&trusting(&[TEST_DEVICE]), &case("a-probe-a-d32").report()).unwrap();
    let mut claims = Claims::clone(claims);
    claims.unsigned.clone_from(&original.unsigned);
    assert_eq!(claims, *original);
}

fn refused(name: &str, expected: Expected, error: &VerifyError) {
    let zero = "device key is all zero";
    let by_device = "over the security monitor's hash and key, by the device's key";
    let by_monitor = "over the enclave's hash and data, by the security monitor's key";
    let as_named = match (name, error) {
        ("neg-len-0", VerifyError::Empty) => true,
        ("neg-len-1351", VerifyError::Malformed { offset, .. }) => *offset == 1351,
        ("neg-len-1353", VerifyError::TrailingBytes { offset, length }) => (*offset, *length) == (1352, 1),
        ("neg-len-2048", VerifyError::TrailingBytes { offset, length }) => (*offset, *length) == (1352, 696),
        (
            "neg-datalen-1025" | "neg-datalen-max" | "neg-datalen-wrap",
            VerifyError::Malformed { what, offset },
        ) => *offset == 64 && what.contains("at most 1024 fit"),
        (
            "a-rc100008-d1025" | "neg-all-zero-1352" | "wild-issue361" | "z-probe-a-d0" | "z-probe-a-d32",
            VerifyError::WeakKey { what },
        ) => what.starts_with(zero) && what.contains("small order"),
        (
            // Both devices are enrolled here: the field names the one that did not sign.
            "devkey-field-changed"
            | "neg-flip-smhash"
            | "neg-flip-smpk"
            | "neg-flip-smsig-R"
            | "neg-flip-smsig-S",
            VerifyError::SignatureInvalid { what },
        ) => what == by_device,
        (
            "neg-datalen-minus1"
            | "neg-datalen-plus1"
            | "neg-esig-S-plus-L"
            | "neg-flip-data-first"
            | "neg-flip-data-last"
            | "neg-flip-esig-R"
            | "neg-flip-esig-S"
            | "neg-flip-hash"
            | "neg-splice-dev-c"
            | "neg-splice-sm-b",
            VerifyError::SignatureInvalid { what },
        ) => what == by_monitor,
        _ => false,
    };
    assert!(as_named, "{name} ({expected:?}): {error:?}");
}

#[test]
fn a_device_that_is_not_enrolled_is_named() {
    for (name, key) in [
        ("c-probe-a-d64", DEVICE_C),
        ("devkey-field-changed", DEVICE_C),
        ("a-probe-a-d32", TEST_DEVICE),
    ] {
        let other = if key == DEVICE_C { TEST_DEVICE } else { DEVICE_C };
        for devices in [[other].as_slice(), &[]] {
            let refused = verify_any(&trusting(devices), &case(name).report()).unwrap_err();
            assert!(
                matches!(&refused, VerifyError::KeyNotEnrolled { what } if what.contains(key) && what.contains("keystone-device")),
                "{name}: {refused:?}"
            );
        }
    }
}

#[test]
fn zero_keys_cannot_be_enrolled() {
    use nautilus_core::{AnchorRole, TrustAnchor, TrustAnchors};
    let anchor = TrustAnchor {
        role: AnchorRole::KeystoneDevice,
        bytes: "0".repeat(64).into_bytes(),
        origin: "a test".to_owned(),
    };
    let refused = nautilus_tee::keystone::Verifier::new(&TrustAnchors(vec![anchor])).unwrap_err();
    assert_eq!(
        refused.what,
        "the key is all zero, so that it vouches for nothing"
    );
}
