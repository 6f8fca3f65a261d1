//! Azure's wrapper around a report.

use nautilus_core::{RawClaims, TeeVerifier as _, VerifyError};
use nautilus_tee::sev_snp::{Verifier, parse_hcl, recognises};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::corpus::{Vector, read, says};
use super::fake::{Chip, FakeAmd, NOW, Product, endorsements};

const REPORT: usize = 32;
const DATA: usize = 32 + 1184;

fn wrapped() -> (Vector, Vec<u8>) {
    (
        Vector::load("milan-v2-azure-hcl"),
        read("milan-v2-azure-hcl/hcl-report.bin"),
    )
}

#[test]
fn a_real_wrapper_says_what_its_report_says_and_more() {
    let (vector, hcl) = wrapped();
    assert!(recognises(&hcl));
    let mut inner = vector.verify(&vector.report).unwrap();
    let mut claims = vector.verify(&hcl).unwrap();
    let data = parse_hcl(&hcl).unwrap().runtime_data;
    let expected = [
        ("hcl_runtime_data_hash", "sha256".to_owned()),
        ("hcl_runtime_data", hex::encode(Sha256::digest(&data))),
        // RFC 7638, worked out with another implementation.
        (
            "hcl_ak_pub",
            "8c41d4c65cab2c6353356cd577420a8e5cc9f857a4bbe8cc1b1cea032d69ebbf".to_owned(),
        ),
        (
            "hcl_ek_pub",
            "81d119e55aa99a78d5a71ffb50933da6d825207ae6b921df08ad1968f0f00d61".to_owned(),
        ),
        ("hcl_user_data", "00".repeat(64)),
        ("hcl_vm_console_enabled", "true".to_owned()),
        ("hcl_vm_secure_boot", "true".to_owned()),
        ("hcl_vm_tpm_enabled", "true".to_owned()),
        (
            "hcl_vm_unique_id",
            "911B0EF8-9DBA-48B0-B275-4E4DF2D39252".to_owned(),
        ),
    ];
    for (name, value) in expected {
        assert_eq!(claims.attributes.remove(name), Some(value), "{name}");
    }
    let facts: Vec<_> = claims
        .unsigned
        .iter()
        .map(|fact| (fact.what, fact.detail.as_str()))
        .collect();
    assert_eq!(facts[0], ("trailing zero padding", "254 bytes at offset 2346"));
    assert_eq!(facts[1].0, "high-s report signature");
    assert!(facts[1].1.contains("776"), "{}", facts[1].1);
    assert_eq!(facts.len(), 2);
    claims.unsigned.clear();
    inner.unsigned.clear();
    assert_eq!(claims, inner);
    assert!(hex::encode(&claims.report_data).starts_with(&hex::encode(Sha256::digest(&data))));
    assert_eq!(Verifier::amd().wants(&hcl), Verifier::amd().wants(&vector.report));
}

#[test]
fn every_flip_of_a_wrapper_is_refused() {
    let (vector, mut hcl) = wrapped();
    let verifier = Verifier::amd();
    for offset in 0..hcl.len() {
        let bit = 1 << (offset % 8);
        hcl[offset] ^= bit;
        let result = verifier.verify(&hcl, &vector.endorsements(), vector.now());
        assert!(result.is_err(), "flip of {bit:#x} at {offset} accepted");
        hcl[offset] ^= bit;
    }
}

#[test]
fn a_wrapper_cut_short_is_malformed_and_zeros_after_it_show() {
    let (vector, hcl) = wrapped();
    let end = 2346;
    for cut in 4..end {
        let error = vector.verify(&hcl[..cut]).unwrap_err();
        assert!(
            matches!(error, VerifyError::Malformed { offset, .. } if offset <= cut),
            "cut to {cut}: {error:?}"
        );
    }
    for length in [end, end + 1, 4096] {
        let mut padded = hcl[..end].to_vec();
        padded.resize(length, 0);
        let claims = vector.verify(&padded).unwrap();
        let shows = claims
            .unsigned
            .iter()
            .any(|fact| fact.what == "trailing zero padding");
        assert_eq!(shows, length > end, "{length}");
    }
    let mut longer = hcl.clone();
    longer.push(1);
    let error = vector.verify(&longer).unwrap_err();
    let expected = VerifyError::TrailingBytes {
        offset: end,
        length: 255,
    };
    assert_eq!(error, expected);
}

#[test]
fn headers_say_what_is_known_and_sizes_agree() {
    let (vector, hcl) = wrapped();
    let with = |offset: usize, value: u8| {
        let mut hcl = hcl.clone();
        hcl[offset] = value;
        vector.verify(&hcl)
    };
    for (offset, value, what) in [
        (4, 3, "HCL report of version 3"),
        (DATA + 8, 4, "an HCL report of TDX"),
        (DATA + 8, 1, "an HCL report of type 1"),
        (DATA + 12, 4, "hash type 4"),
    ] {
        let error = with(offset, value).unwrap_err();
        assert!(matches!(error, VerifyError::Unsupported { .. }), "{error:?}");
        says(&error, &[what]);
    }
    for (offset, value, at, what) in [
        (
            8,
            0,
            8,
            "size of the whole is 2304, the runtime data ends at 2346",
        ),
        (12, 1, 12, "request type is 1, not 2"),
        (16, 1, 16, "status is 1, not 0"),
        (31, 1, 28, "reserved word"),
        (DATA, 0, DATA, "size of the data is 1024"),
        (DATA + 4, 2, DATA + 4, "version of the data is 2, not 1"),
        (
            DATA + 16,
            0,
            DATA,
            "its header and 1024 bytes of runtime data are not",
        ),
        (DATA + 19, 0xff, DATA, "size of the data"),
        (REPORT + 0x4c, 1, REPORT + 0x4c, "reserved byte"),
    ] {
        let error = with(offset, value).unwrap_err();
        assert!(
            matches!(error, VerifyError::Malformed { offset, .. } if offset == at),
            "{error:?}"
        );
        says(&error, &[what]);
    }
    // The header's version is unsigned: the other known one verifies, and shows.
    let claims = with(4, 2).unwrap();
    assert_eq!(claims.unsigned[0].what, "unusual HCL header");
}

/// A wrapper as the fake AMD's machine makes it.
fn wrap(report: &[u8], hash: u8, data: &[u8]) -> Vec<u8> {
    let size = data.len() as u32;
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let header = words(&[1, 32 + 1184 + 20 + size, 2, 0, 0, 0, 0]);
    let about = words(&[20 + size, 1, 2, hash.into(), size]);
    [b"HCLA", header.as_slice(), report, &about, data].concat()
}

fn verify(vmpl: u8, hash: u8, report_data: &[u8], data: &[u8]) -> Result<RawClaims, VerifyError> {
    let amd = FakeAmd::new(Product::Milan);
    let mut padded = report_data.to_vec();
    padded.resize(64, 0);
    let chip = Chip::milan().with(0x50, &padded).with(0x30, &[vmpl]);
    amd.verify(
        &wrap(&chip.report, hash, data),
        &endorsements(&[&amd.vcek(&chip)], &[]),
        NOW,
    )
}

#[test]
fn the_report_binds_the_runtime_data_by_each_hash() {
    let data = br#"{"keys":[]}"#;
    let (short, middle, long) = (Sha256::digest(data), Sha384::digest(data), Sha512::digest(data));
    for (hash, digest, name) in [
        (1, short.as_slice(), "sha256"),
        (2, &middle, "sha384"),
        (3, &long, "sha512"),
    ] {
        let claims = verify(0, hash, digest, data).unwrap();
        assert_eq!(claims.attributes["hcl_runtime_data_hash"], name);
        assert_eq!(claims.attributes["hcl_runtime_data"], hex::encode(digest));
        assert!(!claims.attributes.contains_key("hcl_ak_pub"));
    }
    let mut with_rest = short.to_vec();
    with_rest.push(1);
    for wrong in [
        Sha256::digest(b"{}").to_vec(),
        with_rest,
        middle.to_vec(),
        vec![0; 64],
    ] {
        let error = verify(0, 1, &wrong, data).unwrap_err();
        assert!(matches!(error, VerifyError::AttributeInvalid { .. }), "{error:?}");
        says(
            &error,
            &[
                "does not bind the HCL's runtime data, whose sha256 is",
                &hex::encode(short),
            ],
        );
    }
}

/// What runs below the paravisor gets reports too, but not at VMPL 0.
#[test]
fn a_wrapper_that_the_guest_made_itself_is_refused() {
    let data = br#"{"keys":[]}"#;
    for vmpl in 1..=3 {
        let error = verify(vmpl, 1, &Sha256::digest(data), data).unwrap_err();
        assert!(matches!(error, VerifyError::AttributeInvalid { .. }), "{error:?}");
        says(&error, &[&format!("this one was at VMPL {vmpl}")]);
    }
}

#[test]
fn runtime_data_are_what_the_paravisor_writes() {
    let verify = |data: &str| verify(0, 1, &Sha256::digest(data), data.as_bytes());
    let key = r#"{"kid":"HCLAkPub","kty":"RSA","e":"AQAB","n":"qR7L"}"#;
    assert_eq!(
        verify(&format!(r#"{{"keys":[{key}]}}"#)).unwrap().attributes["hcl_ak_pub"].len(),
        64
    );
    for (data, what) in [
        ("", "is not what it should be"),
        ("[]", "is not what it should be"),
        ("{}", "missing field `keys`"),
        (r#"{"keys":[],"keys":[]}"#, "duplicate field `keys`"),
        (r#"{"keys":[]} x"#, "trailing characters"),
        (&format!(r#"{{"keys":[{key},{key}]}}"#), "the key HCLAkPub twice"),
        (
            r#"{"keys":[{"kid":"HCLAkPub","kty":"EC","e":"AQAB","n":"qR7L"}]}"#,
            "that is no RSA key",
        ),
        (
            r#"{"keys":[{"kid":"HCLAkPub","kty":"RSA","e":"AQAB","n":"?"}]}"#,
            "that is no RSA key",
        ),
        (
            r#"{"keys":[],"vm-configuration":{"a":1,"a":2}}"#,
            "member `a` twice",
        ),
        (
            r#"{"keys":[],"vm-configuration":{"secure-boot":true,"secureBoot":false}}"#,
            "member `secureBoot` twice",
        ),
        (r#"{"keys":[],"vm-configuration":3}"#, "is not what it should be"),
        (
            r#"{"keys":[],"user-data":"00"}"#,
            "user data that are not 64 bytes",
        ),
    ] {
        let error = verify(data).unwrap_err();
        assert!(
            matches!(error, VerifyError::Malformed { offset: 1236, .. }),
            "{data}: {error:?}"
        );
        says(&error, &[what]);
    }
}
