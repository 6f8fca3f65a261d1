use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const E: [u8; 3] = [1, 0, 1];

fn anchor(bytes: Vec<u8>) -> TrustAnchor {
    TrustAnchor {
        role: AnchorRole::OpteeKey,
        bytes,
        origin: "a test".to_owned(),
    }
}

fn enrolled(anchors: Vec<TrustAnchor>) -> Result<Enrolled, TrustAnchorError> {
    Enrolled::of(&TrustAnchors(anchors))
}

fn hex_json(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let (n, e) = (hex::encode(modulus), hex::encode(exponent));
    format!(r#"{{"n_hex":"{n}","e_hex":"{e}","id":"board 7"}}"#).into_bytes()
}

/// An odd number of the length, which no test factors.
fn modulus(bytes: usize) -> Vec<u8> {
    vec![0xc5; bytes]
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match content.len() {
        0..=127 => vec![low],
        128..=255 => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), content].concat()
}

fn pkcs1_der(modulus: &[u8]) -> Vec<u8> {
    let n = tlv(2, &[&[0], modulus].concat());
    tlv(0x30, &[n, tlv(2, &E)].concat())
}

fn spki_der(modulus: &[u8]) -> Vec<u8> {
    let algorithm = hex::decode("300d06092a864886f70d0101010500").unwrap();
    let key = tlv(3, &[&[0], pkcs1_der(modulus).as_slice()].concat());
    tlv(0x30, &[algorithm, key].concat())
}

fn evidence(signature_len: usize, key_id: Option<[u8; 32]>) -> OpteeEvidence {
    OpteeEvidence {
        command: super::super::Command::TeeMemory,
        nonce: vec![1],
        ta: None,
        measurement: [2; 32],
        signature: vec![3; signature_len],
        key_id,
    }
}

fn id_of(modulus: &[u8]) -> [u8; 32] {
    Sha256::digest(modulus).into()
}

#[test]
fn a_key_is_enrolled_in_any_form() {
    let n = modulus(256);
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, b64(&n), b64(&E));
    let padded = [&[0, 0], n.as_slice()].concat();
    for form in [
        spki_der(&n),
        pem::encode(&pem::Pem::new("PUBLIC KEY", spki_der(&n))).into_bytes(),
        pem::encode(&pem::Pem::new("RSA PUBLIC KEY", pkcs1_der(&n))).into_bytes(),
        jwk.into_bytes(),
        hex_json(&n, &E),
        hex_json(&padded, &E),
    ] {
        let keys = enrolled(vec![anchor(form.clone())]).unwrap();
        let key = &keys.0[&id_of(&n)];
        assert_eq!((key.bits(), key.exponent.as_slice()), (2048, E.as_slice()));
        assert_eq!(keys.0.len(), 1);
    }
}

#[test]
fn what_is_no_rsa_key_is_refused_by_name() {
    let refusal = |bytes: Vec<u8>| enrolled(vec![anchor(bytes)]).unwrap_err().what;
    let n = modulus(256);
    let mut p256 = spki_der(&n);
    p256[16] ^= 1;
    let trailing = [spki_der(&n), vec![0]].concat();
    let inner = [pkcs1_der(&n), vec![0]].concat();
    let three = tlv(0x30, &[tlv(2, &[0x45; 128]), tlv(2, &E), tlv(2, &E)].concat());
    let pkcs1_pem = |der| pem::encode(&pem::Pem::new("RSA PUBLIC KEY", der)).into_bytes();
    for other in [
        p256,
        trailing,
        pkcs1_pem(inner),
        pkcs1_pem(three),
        b"c5c5".to_vec(),
        br#"{"kty":"EC","n":"AA","e":"AQ"}"#.to_vec(),
    ] {
        let what = refusal(other);
        assert!(
            what.starts_with("it is no RSA public key: an RSA public key in PEM"),
            "{what}"
        );
    }
    for exponent in [[1].as_slice(), &[2], &[0], &[1, 0, 0, 0, 1]] {
        assert_eq!(
            refusal(hex_json(&n, exponent)),
            "its exponent is not an odd number from 3 to 2^32"
        );
    }
    let even = [modulus(255), vec![2]].concat();
    for number in [even, modulus(127), modulus(1025), Vec::new()] {
        let what = refusal(hex_json(&number, &E));
        assert!(
            what.ends_with("an odd number of 1024 to 8192 bits would serve"),
            "{what}"
        );
    }
    let twins = vec![anchor(hex_json(&n, &E)), anchor(hex_json(&n, &[3]))];
    assert_eq!(
        enrolled(twins).unwrap_err().what,
        "another enrolled key has the same modulus and another exponent: one of them is wrong"
    );
}

#[test]
fn evidence_that_names_its_key_is_held_against_that_key_alone() {
    let keys = enrolled(vec![
        anchor(hex_json(&modulus(256), &E)),
        anchor(hex_json(&modulus(384), &E)),
    ])
    .unwrap();
    let named = |length, modulus: &[u8]| {
        keys.signer_of(&evidence(length, Some(id_of(modulus))))
            .unwrap_err()
    };
    let id = hex::encode(id_of(&modulus(256)));
    assert_eq!(
        named(256, &modulus(256)),
        VerifyError::SignatureInvalid {
            what: format!("over nonce and measurement, by enrolled key {id}")
        }
    );
    assert_eq!(
        named(384, &modulus(256)),
        VerifyError::SignatureInvalid {
            what: format!("signature has 384 bytes, those of enrolled key {id} have 256")
        }
    );
    let stranger = named(256, &modulus(300));
    let name = hex::encode(id_of(&modulus(300)));
    assert!(
        matches!(&stranger, VerifyError::KeyNotEnrolled { what } if what.contains(&name)),
        "{stranger:?}"
    );
}

#[test]
fn at_most_sixteen_keys_are_tried() {
    let other = |last: u8| [modulus(255), vec![last]].concat();
    let keys = |count: u8| {
        let anchors = (0..count).map(|index| anchor(hex_json(&other(2 * index + 1), &E)));
        enrolled(anchors.collect()).unwrap()
    };
    assert_eq!(
        keys(16).signer_of(&evidence(256, None)).unwrap_err(),
        VerifyError::SignatureInvalid {
            what: "over nonce and measurement, by any of 16 enrolled keys".to_owned()
        }
    );
    let many = keys(17).signer_of(&evidence(256, None)).unwrap_err();
    assert!(
        matches!(&many, VerifyError::Unsupported { what } if what.contains("17 enrolled keys") && what.contains("add `key_id`")),
        "{many:?}"
    );
    let named = keys(17)
        .signer_of(&evidence(256, Some(id_of(&other(1)))))
        .unwrap_err();
    assert!(matches!(named, VerifyError::SignatureInvalid { .. }), "{named:?}");
    let none = keys(0).signer_of(&evidence(256, None)).unwrap_err();
    assert!(
        matches!(&none, VerifyError::KeyNotEnrolled { what } if what.contains("role `optee-key`")),
        "{none:?}"
    );
}

#[test]
fn a_short_key_is_refused_by_its_length() {
    let almost = [vec![0x45], vec![0xc5; 255]].concat();
    for (n, bits) in [(modulus(128), "1024"), (modulus(255), "2040"), (almost, "2047")] {
        let keys = enrolled(vec![anchor(hex_json(&n, &E))]).unwrap();
        let refused = keys.signer_of(&evidence(n.len(), None)).unwrap_err();
        assert!(
            matches!(&refused, VerifyError::WeakKey { what } if what.contains(&format!("has {bits} bits"))),
            "{refused:?}"
        );
    }
}
