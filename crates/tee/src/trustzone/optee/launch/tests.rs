use std::path::Path;

use serde_json::Value;

use super::*;
use crate::launch::LaunchError;

fn file(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/optee/launch/made");
    std::fs::read(root.join(name)).unwrap()
}

fn key(name: &str) -> SigningKey {
    SigningKey::read(&file(name), name).unwrap()
}

fn golden() -> Value {
    serde_json::from_slice(&file("golden.json")).unwrap()
}

/// A trusted application as OP-TEE's script signs it, by Python's `cryptography`.
#[test]
fn signed_files_verify_and_state_what_the_service_signs() {
    let golden = golden();
    let signer = key("signing.pub.pem");
    for name in [
        "bootstrap-pss.ta",
        "bootstrap-pkcs1.ta",
        "legacy.ta",
        "subkey.ta",
        "subkey-same-name.ta",
        "two-subkeys.ta",
    ] {
        let bytes = file(name);
        let application = TrustedApplication::parse(&bytes).unwrap();
        application.check_digest().unwrap();
        application.verify(&signer).unwrap();
        let digest = golden["ta_header"][name].as_str().unwrap();
        assert_eq!(hex::encode(application.digest()), digest, "{name}");
        assert_eq!(
            application.expected().measurements["optee_ta_header"].to_string(),
            digest
        );
        let error = application.verify(&key("other.pub.pem")).unwrap_err();
        assert!(
            matches!(error, LaunchError::SignatureInvalid { .. }),
            "{name}: {error:?}"
        );
    }
    let bytes = file("bootstrap-pss.ta");
    let application = TrustedApplication::parse(&bytes).unwrap();
    assert_eq!(
        application.uuid().unwrap().to_string(),
        "6f1d2a3e-93c4-4d58-8f0a-1b2c3d4e5f61"
    );
    assert_eq!(application.version(), Some(7));
    assert_eq!(
        application.expected().facts["signed with"],
        "RSASSA-PSS with SHA-256"
    );
    let bytes = file("legacy.ta");
    assert_eq!(TrustedApplication::parse(&bytes).unwrap().uuid(), None);
}

#[test]
fn no_byte_of_a_signed_file_can_be_changed() {
    let signer = key("signing.pub.pem");
    for name in ["bootstrap-pss.ta", "subkey.ta"] {
        let good = file(name);
        // The image's middle is one run of bytes under one digest.
        let places = (0..1300).chain(good.len() - 64..good.len());
        for place in places {
            let mut bad = good.clone();
            bad[place] ^= 1;
            let outcome = TrustedApplication::parse(&bad).and_then(|application| application.verify(&signer));
            let refused = matches!(
                outcome,
                Err(LaunchError::Malformed { .. }
                    | LaunchError::Unsupported { .. }
                    | LaunchError::Key { .. }
                    | LaunchError::DigestMismatch { .. }
                    | LaunchError::SignatureInvalid { .. })
            );
            assert!(refused, "{name}, byte {place}: {outcome:?}");
        }
        for length in 0..1300 {
            let error = TrustedApplication::parse(&good[..length]).unwrap_err();
            assert!(
                matches!(error, LaunchError::Malformed { .. }),
                "{name} {length}: {error:?}"
            );
        }
    }
}

#[test]
fn an_encrypted_image_is_signed_and_not_held_against_its_digest() {
    let bytes = file("encrypted.ta");
    let application = TrustedApplication::parse(&bytes).unwrap();
    assert!(application.is_encrypted());
    application.verify(&key("signing.pub.pem")).unwrap();
    let error = application.check_digest().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("give the file from before its encryption"),
        "{error}"
    );
    let digest = golden()["ta_header"]["encrypted.ta"].clone();
    assert_eq!(hex::encode(application.digest()), digest.as_str().unwrap());
}

#[test]
fn subkeys_sign_for_their_own_names_and_depth_alone() {
    let bytes = file("subkey-too-deep.ta");
    let error = TrustedApplication::parse(&bytes).unwrap_err().to_string();
    assert!(error.contains("allows 1 levels, its parent 1"), "{error}");
    let bytes = file("subkey-other-name.ta");
    let error = TrustedApplication::parse(&bytes).unwrap_err().to_string();
    assert!(error.contains("which its subkey signs for"), "{error}");
    let bytes = file("two-subkeys.ta");
    let application = TrustedApplication::parse(&bytes).unwrap();
    let subkeys = application.expected().facts["subkeys"].clone();
    assert!(
        subkeys.starts_with("f04fa996-148a-453c-b037-1dcfbad120a6, "),
        "{subkeys}"
    );
}

#[test]
fn what_is_no_signed_file_is_refused_by_field_and_offset() {
    let change = |place: usize, value: &[u8]| {
        let mut bad = file("bootstrap-pss.ta");
        bad[place..place + value.len()].copy_from_slice(value);
        TrustedApplication::parse(&bad).unwrap_err().to_string()
    };
    assert!(change(0, b"\x7fELF").contains("starts with 0x464c457f, not 0x4f545348 at byte 0"));
    assert!(change(4, &[9]).contains("type 9 of an image is none at byte 4"));
    assert!(change(8, &[0xff; 4]).contains("application's image needs"));
    assert!(change(8, &[0x87]).contains("1 bytes after the image that belong to nothing"));
    assert!(change(12, &[0x31]).contains("algorithm 0x70414931"));
    assert!(change(16, &[48]).contains("a digest of 48 bytes"));
    assert!(change(18, &[0xff, 0xff]).contains("signature needs 65535 bytes"));
    assert!(!recognises(b"\x7fELF"));
    assert!(recognises(&file("bootstrap-pss.ta")));
}

#[test]
fn keys_that_sign_nothing_are_refused() {
    for (bytes, told) in [
        (&b"garbage"[..], "unknown format"),
        (b"{\"n_hex\": \"c5\", \"e_hex\": \"03\"}", "2048 to 8192 bits"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "private key",
        ),
    ] {
        let error = SigningKey::read(bytes, "key.pem").unwrap_err();
        assert!(matches!(error, LaunchError::Key { .. }), "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
        assert!(error.to_string().contains("key.pem"), "{error}");
    }
}

#[test]
fn memory_is_measured_from_elf_files() {
    let golden = golden();
    for (name, value) in golden["ta_memory"].as_object().unwrap() {
        assert_eq!(
            hex::encode(ta_memory(&file(name)).unwrap()),
            value.as_str().unwrap(),
            "{name}"
        );
    }
    for (name, value) in golden["tee_memory"].as_object().unwrap() {
        assert_eq!(
            hex::encode(tee_memory(&file(name)).unwrap()),
            value.as_str().unwrap(),
            "{name}"
        );
    }
    assert_eq!(golden["ta_memory"].as_object().unwrap().len(), 4);
    assert_eq!(golden["tee_memory"].as_object().unwrap().len(), 2);
    // A trusted application has no symbols of OP-TEE.
    let error = tee_memory(&file("ta-page.elf64")).unwrap_err().to_string();
    assert!(error.contains("it has no symbol `__text_start`"), "{error}");
}

#[test]
fn hostile_elf_files_do_not_panic() {
    for name in ["ta-page.elf32", "ta-page.elf64", "tee.elf64"] {
        let good = file(name);
        for place in (0..200).chain(good.len() - 400..good.len()) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[place] = value;
                // Whatever they give, they give it without a panic.
                let (_, _) = (ta_memory(&bad), tee_memory(&bad));
            }
        }
        for length in 0..200 {
            let error = ta_memory(&good[..length]).unwrap_err();
            assert!(
                matches!(error, LaunchError::Malformed { .. }),
                "{length}: {error:?}"
            );
        }
    }
    let mut writable = file("ta-page.elf64");
    writable[64 + 4] |= 2;
    let error = ta_memory(&writable).unwrap_err().to_string();
    assert!(
        error.contains("0 segments that are not writable, not its code alone"),
        "{error}"
    );
}

/// The rule by which real OP-TEE measured, as `reference.json` states it and `made/golden.json` follows it.
#[test]
fn the_rules_are_those_that_real_devices_confirmed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/optee/reference.json");
    let reference: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let formula = |name: &str| reference["formulas"][name].as_str().unwrap().to_owned();
    assert!(formula("ta_shdr_digest").starts_with(
        "SHA256(first 20 bytes of .ta || all bytes after hash and signature); equals bytes 20..52"
    ));
    assert!(
        formula("ta_memory").contains(
            "SHA256(first 4096 bytes of the TA ELF image || R-X PT_LOAD segment zero-padded to 4096)"
        )
    );
    assert!(formula("tee_memory").starts_with("SHA256(tee.elf[__text_start..__text_data_start]"));
}
