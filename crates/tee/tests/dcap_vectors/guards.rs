//! What stands in front of and behind `dcap-qvl`, on genuine evidence with one thing changed.

use nautilus_core::{Endorsements, RawClaims, TeeKind, UnixMillis, VerifyError};
use nautilus_tee::sgx;

use super::corpus::{Vector, endorsements, verifier, with_field};

/// The order of P-256, big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn prod() -> (Vector, Vec<u8>) {
    let vector = Vector::load("sgx-v3-prod");
    let document = vector.file("collateral-0.json");
    (vector, document)
}

fn with_collateral(document: Vec<u8>) -> Result<RawClaims, VerifyError> {
    let (vector, _) = prod();
    vector.verify(
        &vector.quote,
        &endorsements(&[("changed", document)]),
        vector.labels[0].now,
    )
}

fn invalid(document: Vec<u8>) -> String {
    match with_collateral(document) {
        Err(VerifyError::EndorsementInvalid { origin, what }) if origin == "changed" => what,
        other => panic!("{other:?}"),
    }
}

fn facts(claims: &RawClaims) -> Vec<&'static str> {
    claims.unsigned.iter().map(|fact| fact.what).collect()
}

/// The claims without what is said of unsigned bytes.
fn signed_part(mut claims: RawClaims) -> RawClaims {
    claims.unsigned.clear();
    claims
}

#[test]
fn tcb_info_signed_by_a_platforms_certificate_is_refused() {
    let (vector, document) = prod();
    let quote = sgx::parse_quote(&vector.quote).unwrap();
    let pck_chain = String::from_utf8(quote.signature.certification.data).unwrap();
    for (field, name) in [
        ("tcb_info_issuer_chain", "TCB Info"),
        ("qe_identity_issuer_chain", "QE Identity"),
    ] {
        let what = invalid(with_field(&document, field, |_| pck_chain.clone()));
        assert!(
            what.starts_with(&format!("signer of {name}: certificate of `")),
            "{what}"
        );
        assert!(what.contains("not of `Intel SGX TCB Signing`"), "{what}");
    }
}

#[test]
fn a_chain_that_starts_with_the_root_is_refused() {
    let (_, document) = prod();
    let what = invalid(with_field(&document, "tcb_info_issuer_chain", |chain| {
        let (_, rest) = chain.split_once("-----END CERTIFICATE-----").unwrap();
        rest.to_owned()
    }));
    assert!(what.contains("Intel SGX Root CA"), "{what}");
}

#[test]
fn tcb_info_of_another_pce_or_type_is_refused_before_its_signature() {
    let (_, document) = prod();
    let what = invalid(with_field(&document, "tcb_info", |text| {
        text.replace("\"pceId\":\"0000\"", "\"pceId\":\"0001\"")
    }));
    assert_eq!(what, "TCB Info is for PCE 0001, the platform has 0000");
    let what = invalid(with_field(&document, "tcb_info", |text| {
        text.replace("\"tcbType\":0", "\"tcbType\":1")
    }));
    assert_eq!(what, "TCB Info has TCB type 1, type 0 is supported");
}

#[test]
fn tcb_info_of_version_2_is_refused_by_name() {
    let (_, document) = prod();
    let what = invalid(with_field(&document, "tcb_info", |text| {
        text.replace("\"id\":\"SGX\",\"version\":3", "\"version\":2")
    }));
    assert!(what.starts_with("TCB Info version 2 is not supported"), "{what}");
}

#[test]
fn changed_documents_do_not_verify() {
    let (_, document) = prod();
    for (field, from, to) in [
        ("tcb_info", "\"pcesvn\":13", "\"pcesvn\":12"),
        ("qe_identity", "\"isvprodid\":1", "\"isvprodid\":2"),
    ] {
        let what = invalid(with_field(&document, field, |text| {
            assert!(text.contains(from), "{field} lacks {from}");
            text.replace(from, to)
        }));
        assert_eq!(
            what,
            format!("Signature is invalid for {field} in quote_collateral")
        );
    }
    let what = invalid(with_field(&document, "root_ca_crl", |hex| {
        let mut bytes = hex::decode(hex).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        hex::encode(bytes)
    }));
    assert!(what.contains("root CA CRL"), "{what}");
    let what = invalid(with_field(&document, "pck_crl", |_| "00".to_owned()));
    assert!(what.starts_with("PCK CRL cannot be read"), "{what}");
}

#[test]
fn a_crl_of_the_other_ca_is_refused() {
    let (_, document) = prod();
    let other = Vector::load("tdx-v4-td10").file("collateral-3.json");
    let other: serde_json::Value = serde_json::from_slice(&other).unwrap();
    let what = invalid(with_field(&document, "pck_crl", |_| {
        other["pck_crl"].as_str().unwrap().to_owned()
    }));
    assert!(what.contains("UnknownRevocationStatus"), "{what}");
}

#[test]
fn collateral_counts_only_in_its_time() {
    let (vector, document) = prod();
    let at = |now: UnixMillis| vector.verify(&vector.quote, &endorsements(&[("old", document.clone())]), now);
    let until = at(vector.labels[0].now).unwrap().endorsed_until.unwrap();
    assert!(at(until).is_ok(), "the last second counts");
    for (now, state) in [
        (until.plus(1000), "has expired"),
        (UnixMillis::from_secs(1_600_000_000), "is not valid yet"),
    ] {
        match at(now) {
            Err(VerifyError::EndorsementNotCurrent { origin, what }) => {
                assert_eq!(origin, "old");
                assert!(what.contains(state), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn of_several_the_fitting_and_current_one_is_used() {
    let vector = Vector::load("tdx-v4-td10");
    let sgx = Vector::load("sgx-v3-prod").file("collateral-0.json");
    let mut documents = vec![("of another platform", sgx), ("broken", b"{".to_vec())];
    documents.extend(
        vector
            .labels
            .iter()
            .map(|label| (label.collateral.as_str(), vector.file(&label.collateral))),
    );
    let all = endorsements(&documents);
    for label in &vector.labels {
        let claims = vector.verify(&vector.quote, &all, label.now).unwrap();
        let alone = vector
            .verify(&vector.quote, &vector.collateral(label), label.now)
            .unwrap();
        assert_eq!(claims, alone, "{}", label.collateral);
    }
}

#[test]
fn of_several_that_are_current_the_highest_evaluation_is_used() {
    let (vector, document) = prod();
    let higher = with_field(&document, "tcb_info", |text| {
        text.replace("\"tcbEvaluationDataNumber\":17", "\"tcbEvaluationDataNumber\":18")
    });
    let lower = with_field(&document, "tcb_info", |text| {
        text.replace("\"tcbEvaluationDataNumber\":17", "\"tcbEvaluationDataNumber\":16")
    });
    let now = vector.labels[0].now;
    let both = endorsements(&[("genuine", document.clone()), ("higher", higher)]);
    let error = vector.verify(&vector.quote, &both, now).unwrap_err();
    assert!(
        matches!(&error, VerifyError::EndorsementInvalid { origin, .. } if origin == "higher"),
        "{error:?}"
    );
    let both = endorsements(&[("lower", lower), ("genuine", document)]);
    assert!(vector.verify(&vector.quote, &both, now).is_ok());
}

#[test]
fn collateral_for_others_is_named() {
    let (vector, _) = prod();
    let tdx = Vector::load("tdx-v4-td10").file("collateral-0.json");
    let offered = endorsements(&[("a.json", tdx)]);
    let error = vector
        .verify(&vector.quote, &offered, vector.labels[0].now)
        .unwrap_err();
    let VerifyError::EndorsementsMissing { wants } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        wants[0].subject,
        "SGX platform 00A067110000 (processor CA); offered: TDX platform B0C06F000000 from a.json"
    );
}

#[test]
fn collateral_that_is_too_large_is_not_read() {
    let what = invalid(vec![b' '; Endorsements::MAX_SIZE + 1]);
    assert_eq!(what, "1048577 bytes, more than the 1048576 allowed");
}

/// Nothing but the quote names the platform.
#[test]
fn a_pck_chain_beside_the_quote_is_not_used() {
    let (vector, document) = prod();
    let mut json: serde_json::Value = serde_json::from_slice(&document).unwrap();
    json["pck_certificate_chain"] = "not even PEM".into();
    let claims = with_collateral(serde_json::to_vec(&json).unwrap()).unwrap();
    assert_eq!(claims, vector.verify_first(&vector.quote).unwrap());
}

#[test]
fn the_twin_of_a_signature_verifies_and_is_reported() {
    for (name, fact) in [
        ("sgx-v3-prod", "high-s quote signature"),
        ("tdx-v5-td15", "high-s QE report signature"),
    ] {
        let vector = Vector::load(name);
        let genuine = vector.verify_first(&vector.quote).unwrap();
        let signature = match vector.tee {
            TeeKind::Sgx => sgx::parse_quote(&vector.quote).unwrap().signature,
            _ => nautilus_tee::tdx::parse_quote(&vector.quote).unwrap().signature,
        };
        let s = 32
            + if name.starts_with("sgx") {
                signature.offset
            } else {
                signature.qe_report_signature_offset
            };
        let mut twin = vector.quote.clone();
        negate(&mut twin[s..s + 32]);
        let claims = vector.verify_first(&twin).unwrap();
        assert!(
            !facts(&genuine).contains(&fact) && facts(&claims).contains(&fact),
            "{name}: {claims:?}"
        );
        assert_eq!(signed_part(claims), signed_part(genuine), "{name}");
    }
}

/// `s` becomes `n − s`.
fn negate(s: &mut [u8]) {
    let mut borrow = 0;
    for (byte, order) in s.iter_mut().zip(ORDER).rev() {
        let difference = i16::from(order) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = (difference + 256 * borrow).to_le_bytes()[0];
    }
}

/// The SGX quote with other certification data, all lengths made right.
fn with_chain(quote: &[u8], chain: &[u8]) -> Vec<u8> {
    let old = sgx::parse_quote(quote).unwrap().signature.certification;
    let mut new = quote[..old.offset].to_vec();
    new.extend_from_slice(chain);
    let length = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    new[432..436].copy_from_slice(&length(old.offset + chain.len() - 436));
    new[old.offset - 4..old.offset].copy_from_slice(&length(chain.len()));
    new
}

#[test]
fn other_encodings_of_the_same_chain_are_reported() {
    let (vector, _) = prod();
    let genuine = vector.verify_first(&vector.quote).unwrap();
    assert_eq!(facts(&genuine), Vec::<&str>::new());
    let chain = sgx::parse_quote(&vector.quote)
        .unwrap()
        .signature
        .certification
        .data;
    let text = String::from_utf8(chain.clone()).unwrap();
    let text = text.trim_end_matches('\0');
    let root_at = text.rfind("-----BEGIN").unwrap();
    let encoding = "unusual encoding of the certificate chain";
    let root = "root certificate is not the trusted one";
    let number = "unusual number of certificates";
    let sample = Vector::load("sgx-v3-intel-sampleapp-testroot").file("trustedRootCaCert.pem");
    let other_root = String::from_utf8(sample).unwrap().replace('\r', "");
    for (changed, expected) in [
        (text.to_owned(), vec![encoding]),
        (format!("{text}\n\0"), vec![encoding]),
        (text.replace('\n', "\r\n"), vec![encoding]),
        (format!("{}{text}", "words before it\n"), vec![encoding]),
        (text[..root_at].to_owned(), vec![number, root, encoding]),
        (format!("{}{other_root}\0", &text[..root_at]), vec![root]),
        (format!("{text}{}\0", &text[root_at..]), vec![number]),
    ] {
        let claims = vector
            .verify_first(&with_chain(&vector.quote, changed.as_bytes()))
            .unwrap();
        assert_eq!(facts(&claims), expected, "{changed}");
        assert_eq!(signed_part(claims), genuine);
    }
}

#[test]
fn chains_that_are_none_are_malformed() {
    let (vector, _) = prod();
    for (chain, why) in [
        ("", "no certificate"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "PEM block `PRIVATE KEY` is no certificate",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "Failed to decode certificate",
        ),
        ("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", ""),
    ] {
        let quote = with_chain(&vector.quote, chain.as_bytes());
        let error = vector.verify_first(&quote).unwrap_err();
        let VerifyError::Malformed { what, offset } = &error else {
            panic!("{chain}: {error:?}")
        };
        assert!(
            what.starts_with("PCK certificate chain: ") && what.contains(why),
            "{what}"
        );
        assert_eq!(*offset, 436 + 64 + 64 + 384 + 64 + 2 + 32 + 6);
    }
}

#[test]
fn quoting_enclaves_of_others_are_refused() {
    let (vector, _) = prod();
    let mut quote = vector.quote.clone();
    quote[12] ^= 1;
    let error = vector.verify_first(&quote).unwrap_err();
    assert!(
        matches!(&error, VerifyError::ComponentInvalid { what } if what.contains("vendor 929a")),
        "{error:?}"
    );

    let mut quote = vector.quote.clone();
    let report_data = 436 + 128 + 320;
    quote[report_data + 63] = 1;
    let error = vector.verify_first(&quote).unwrap_err();
    assert!(
        matches!(&error, VerifyError::ComponentInvalid { what } if what.contains("end in zeros")),
        "{error:?}"
    );
}

#[test]
fn quotes_are_recognised_by_their_headers() {
    let sgx = Vector::load("sgx-v3-prod").quote;
    let tdx = Vector::load("tdx-v5-td15").quote;
    let (sgx_verifier, tdx_verifier) = (verifier(TeeKind::Sgx), verifier(TeeKind::Tdx));
    assert!(sgx_verifier.recognises(&sgx) && !tdx_verifier.recognises(&sgx));
    assert!(tdx_verifier.recognises(&tdx) && !sgx_verifier.recognises(&tdx));
    assert!(!sgx_verifier.recognises(&sgx[..47]) && !tdx_verifier.recognises(&tdx[..47]));
    let mut p384 = sgx;
    p384[2] = 3;
    assert!(!sgx_verifier.recognises(&p384));
    assert!(!sgx_verifier.recognises(&[0; 64]) && !tdx_verifier.recognises(&[0; 64]));
}

#[test]
fn versions_and_types_that_are_not_supported_are_named() {
    let change = |name: &str, offset: usize, value: u8| {
        let vector = Vector::load(name);
        let mut quote = vector.quote.clone();
        quote[offset] = value;
        vector.verify_first(&quote).unwrap_err()
    };
    let unsupported = |error: VerifyError, text: &str| {
        assert!(
            matches!(&error, VerifyError::Unsupported { what } if what.contains(text)),
            "{error:?}"
        );
    };
    // Its first report bytes are no descriptor of a body.
    unsupported(change("sgx-v3-prod", 0, 5), "body type 2827");
    unsupported(change("sgx-v3-prod", 0, 9), "quote version 9");
    unsupported(
        change("sgx-v3-prod", 2, 3),
        "attestation key type 3 (ECDSA P-384)",
    );
    unsupported(change("tdx-v4-td10", 0, 6), "quote version 6");
    unsupported(change("tdx-v5-td15", 48, 1), "SGX report (body type 1)");
    unsupported(change("tdx-v5-td15", 48, 9), "body type 9");
    let malformed = |error: VerifyError, at: usize, text: &str| {
        assert!(
            matches!(&error, VerifyError::Malformed { what, offset } if *offset == at && what.contains(text)),
            "{error:?}"
        );
    };
    malformed(change("sgx-v3-prod", 4, 0x81), 4, "TEE type 0x81 (TDX)");
    malformed(change("sgx-v3-prod", 0, 4), 436 + 128, "type 2827 where type 6");
    malformed(change("tdx-v4-td10", 4, 0), 4, "TEE type 0 (SGX)");
    malformed(
        change("tdx-v5-td15", 48, 2),
        50,
        "body of type 2 has 584 bytes, not 648",
    );
    malformed(
        change("tdx-v4-td10", 636 + 128, 5),
        636 + 128,
        "type 5 where type 6",
    );
    malformed(
        change("sgx-v3-prod", 434, 1),
        436,
        "signature data needs 69700 bytes, 4164 are left",
    );
    malformed(
        change("sgx-v3-prod", 1050, 1),
        1052,
        "PCK certification data needs 69084 bytes, 3548 are left",
    );
    malformed(
        change("sgx-v3-prod", 432, 0),
        1052,
        "PCK certification data needs 3548 bytes, 3480 are left",
    );
}
