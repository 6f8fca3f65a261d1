//! Quotes that TPMs made.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use nautilus_core::{
    AnchorRole, Binding, Endorsements, Evidence as CoreEvidence, Measurement, Revocation, TeeKind,
    TrustAnchors, VerifierSet, VerifyError,
};
use nautilus_tee::tpm::{Attest, Evidence, Public, PublicKey};
use serde_json::Value;

use super::files::{NOW, anchors, enrolled, evidence, pcrs_in, read, sha256_pcrs, swtpm, verifier, verify};

#[test]
fn a_software_tpms_quote_verifies_with_its_key_enrolled() {
    let evidence = swtpm();
    let claims = verify(&enrolled(&read("swtpm/ak.pub")), &evidence).unwrap();
    assert_eq!(claims.report_data, read("swtpm/nonce.bin"));
    assert_eq!(claims.device.scheme, "tpm-ak-name");
    assert_eq!(claims.device.id, hex::encode(read("swtpm/ak.name")));
    assert_eq!(claims.attributes["ak_name"], claims.device.id);
    assert_eq!(claims.attributes["pcr_bank"], "sha256");
    assert_eq!(claims.attributes["ak_algorithm"], "ecc-p256");
    assert_eq!(claims.attributes["quote_signature"], "ecdsa-sha256");
    let values: Vec<(String, Measurement)> = evidence
        .pcrs
        .values
        .iter()
        .map(|(pcr, value)| (format!("pcr{pcr}"), Measurement(value.clone())))
        .collect();
    assert_eq!(values.len(), 9);
    let mut values: BTreeMap<_, _> = values.into_iter().collect();
    let resettable = values.remove("pcr16").unwrap();
    values.insert("resettable_pcr16".to_owned(), resettable);
    assert_eq!(claims.measurements, values);
    assert!(!claims.debug);
    assert!(matches!(claims.revocation, Revocation::NotApplicable { .. }));
    assert_eq!((claims.made_at, claims.endorsed_until), (None, None));
}

#[test]
fn the_quotes_clock_is_read() {
    let attest = Attest::parse(&read("keylime/quote.out")).unwrap();
    let claims = verify(&enrolled(&read("keylime/ak.pub")), &keylime()).unwrap();
    assert_eq!(attest.clock.clock, 0x176a);
    assert_eq!(claims.attributes["clock"], "5994");
    assert_eq!(claims.attributes["reset_count"], "0");
    assert_eq!(claims.attributes["restart_count"], "0");
    assert_eq!(claims.attributes["clock_safe"], "true");
    assert_eq!(
        claims.attributes["firmware_version"],
        0x2016_0511_0016_2800_u64.to_string()
    );
    assert_eq!(claims.attributes["quote_signature"], "rsassa-sha256");
    assert_eq!(claims.attributes["ak_algorithm"], "rsa2048");
}

fn keylime() -> Evidence {
    let pcrs = pcrs_in(&read("keylime/quotepcr.out"));
    evidence(
        "keylime/quote.out",
        "keylime/quotesig.out",
        "keylime/ak.pub",
        pcrs,
    )
}

#[test]
fn names_are_those_that_tpms_give() {
    for dir in ["swtpm", "swtpm-negative", "keylime"] {
        let public = Public::parse("ak", &read(&format!("{dir}/ak.pub"))).unwrap();
        assert_eq!(public.name(), read(&format!("{dir}/ak.name")), "{dir}");
        assert_eq!(public.to_tpm2b(), read(&format!("{dir}/ak.pub")), "{dir}");
        public.check_attestation_key().unwrap();
        let ek = Public::parse("ek", &read(&format!("{dir}/ek.pub"))).unwrap();
        ek.check_endorsement_key().unwrap();
        let error = ek.check_attestation_key().unwrap_err();
        assert!(
            matches!(&error, VerifyError::AttributeInvalid { what } if what.contains("lacks sign")),
            "{error}"
        );
        let error = public.check_endorsement_key().unwrap_err();
        assert!(
            matches!(&error, VerifyError::AttributeInvalid { what } if what.contains("lacks decrypt")),
            "{error}"
        );
    }
}

#[test]
fn resettable_pcrs_are_claimed_under_names_of_their_own() {
    for key in ["keylime/ak.pub", "keylime/akpub.pem"] {
        let claims = verify(&enrolled(&read(key)), &keylime()).unwrap();
        let registers: Vec<_> = claims.measurements.keys().collect();
        assert_eq!(
            registers,
            ["pcr15", "resettable_pcr16", "resettable_pcr22"],
            "{key}"
        );
        let signed = &keylime().pcrs.values[&16];
        assert_eq!(claims.measurements["resettable_pcr16"].0, *signed, "{key}");
    }
}

/// The public area of an attestation key of which only the key is known.
fn restricted_rsa(modulus: &[u8]) -> Vec<u8> {
    let head = "0001000b00050072000000100014000b080000000000";
    let length = u16::try_from(modulus.len()).unwrap().to_be_bytes();
    [&hex::decode(head).unwrap(), length.as_slice(), modulus].concat()
}

#[test]
fn a_foreign_verifiers_evidence_is_not_ours_but_its_parts_verify() {
    let foreign = read("trustee/tpm_evidence.json");
    assert_eq!(
        nautilus_tee::production(&TrustAnchors::default())
            .unwrap()
            .recognise(&foreign),
        None
    );
    let error = Evidence::parse(&foreign).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Malformed { what, .. } if what.contains("tpm_quote")),
        "{error}"
    );

    let foreign: Value = serde_json::from_slice(&foreign).unwrap();
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let quote = &foreign["tpm_quote"];
    let spki = decode(&foreign["ak_public"]);
    // The modulus of a 2,048-bit key stands at the end of its SubjectPublicKeyInfo, before an exponent of 5 bytes.
    let modulus = &spki[spki.len() - 5 - 256..spki.len() - 5];
    let values: Vec<(u8, [u8; 32])> = (0..24)
        .zip(quote["pcrs"].as_array().unwrap())
        .map(|(pcr, value)| {
            (
                pcr,
                hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap(),
            )
        })
        .collect();
    let mut evidence = Evidence {
        attest: decode(&quote["message"]),
        signature: decode(&quote["signature"]),
        ak_public: restricted_rsa(modulus),
        ak_certificate: None,
        ek_certificate: None,
        pcrs: sha256_pcrs(&values),
    };
    let verifier = enrolled(&spki);
    let claims = verify(&verifier, &evidence).unwrap();
    assert_eq!(claims.measurements.len(), 24);
    for pcr in ["16", "23"] {
        assert!(!claims.measurements.contains_key(&format!("pcr{pcr}")));
        assert!(claims.measurements.contains_key(&format!("resettable_pcr{pcr}")));
    }
    assert_eq!(claims.device.scheme, "tpm-ak-key");
    assert!(
        !claims.attributes.contains_key("ak_name"),
        "nobody vouches for the public area"
    );
    assert!(
        claims
            .unsigned
            .iter()
            .any(|fact| fact.what == "attestation key's public area")
    );

    evidence.pcrs.values.get_mut(&7).unwrap()[0] ^= 1;
    assert_values_differ(&verify(&verifier, &evidence).unwrap_err());
}

fn assert_values_differ(error: &VerifyError) {
    assert!(
        matches!(error, VerifyError::SignatureInvalid { what } if what.contains("PCR values")),
        "{error}"
    );
}

#[test]
fn azures_quote_is_by_another_key_than_the_report_beside_it_names() {
    let report = read("azure-snp/hcl-report.bin");
    let start = report
        .windows(8)
        .position(|window| window == b"{\"keys\":")
        .unwrap();
    let mut values = serde_json::Deserializer::from_slice(&report[start..]).into_iter::<Value>();
    let jwk = values.next().unwrap().unwrap()["keys"][0].clone();
    assert_eq!(jwk["kid"], "HCLAkPub");
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let ak = restricted_rsa(&modulus);
    let mut signature = hex::decode("0014000b0100").unwrap();
    signature.extend(read("azure-snp/tpm-quote.sig"));
    // The PCR values were not published; the signature is looked at first.
    let values: Vec<(u8, [u8; 32])> = (0..10).chain([14]).map(|pcr| (pcr, [0; 32])).collect();
    let evidence = Evidence {
        attest: read("azure-snp/tpm-quote.msg"),
        signature,
        ak_public: ak.clone(),
        ak_certificate: None,
        ek_certificate: None,
        pcrs: sha256_pcrs(&values),
    };
    assert!(matches!(
        Public::parse("ak", &ak).unwrap().key,
        PublicKey::Rsa { exponent: 65_537, .. }
    ));
    assert_eq!(Attest::parse(&evidence.attest).unwrap().extra_data, b"challenge");
    let error = verify(&enrolled(&ak), &evidence).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("not the attestation key's")),
        "{error}"
    );
}

#[test]
fn a_quote_of_pcr_16_does_not_pass_as_one_of_pcr_0() {
    let pcr_16 = pcrs_in(&read("swtpm-negative/sel16.pcrs"));
    let golden: [u8; 32] = pcr_16.values[&16].clone().try_into().unwrap();
    let mut evidence = evidence(
        "swtpm-negative/sel16_as_pcr0.msg",
        "swtpm-negative/sel16_as_pcr0.sig",
        "swtpm-negative/ak.pub",
        sha256_pcrs(&[(0, golden)]),
    );
    let verifier = enrolled(&read("swtpm-negative/ak.pub"));
    let error = verify(&verifier, &evidence).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SelectionMismatch { expected, found }
            if expected.starts_with("sha256:0,") && found == "sha256:16"),
        "{error}"
    );
    // Named as what it is, it is of a PCR that anybody resets.
    evidence.pcrs = pcr_16;
    let error = verify(&verifier, &evidence).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SelectionMismatch { expected, found }
            if expected.contains("any but 16 and 20 to 23") && found == "sha256:16"),
        "{error}"
    );
}

#[test]
fn a_quote_with_another_nonce_answers_no_challenge() {
    let pcrs = sha256_pcrs(&[0, 1, 2, 3, 4, 5, 6, 7].map(|pcr| (pcr, [0; 32])));
    let parts = ("swtpm-negative/wrong_nonce.msg", "swtpm-negative/wrong_nonce.sig");
    let evidence = evidence(parts.0, parts.1, "swtpm-negative/ak.pub", pcrs);
    // The values of these PCRs were not kept; the nonce is another one all the same.
    let verifier = enrolled(&read("swtpm-negative/ak.pub"));
    assert_values_differ(&verify(&verifier, &evidence).unwrap_err());
    assert_eq!(
        Attest::parse(&evidence.attest).unwrap().extra_data,
        [0x00, 0x11, 0x22, 0x33]
    );

    let list = anchors(&[(AnchorRole::TpmAttestationKey, read("swtpm/ak.pub"))]);
    let set = nautilus_tee::production(&list).unwrap();
    let verify = |nonce: &[u8]| verify_for(&set, &swtpm(), nonce);
    verify(&read("swtpm/nonce.bin")).unwrap();
    let other = read("swtpm-negative/nonce.bin");
    let error = verify(&other).unwrap_err();
    assert!(
        matches!(&error, VerifyError::ReportDataMismatch { expected, .. } if *expected == hex::encode(&other)),
        "{error}"
    );
}

fn verify_for(set: &VerifierSet, evidence: &Evidence, nonce: &[u8]) -> Result<(), VerifyError> {
    let bytes = evidence.to_json().into_bytes();
    assert_eq!(set.recognise(&bytes), Some(TeeKind::Tpm));
    let evidence = CoreEvidence {
        tee: TeeKind::Tpm,
        bytes,
        user_data: None,
        event_log: None,
    };
    let binding = Binding::ReportData(nonce);
    set.verify(&evidence, binding, &Endorsements::default(), NOW)
        .map(|_| ())
}

#[test]
fn another_tpms_key_does_not_make_a_quote_its_own() {
    let mut evidence = swtpm();
    evidence.ak_public = read("swtpm-negative/ak.pub");
    let error = verify(&enrolled(&read("swtpm-negative/ak.pub")), &evidence).unwrap_err();
    assert!(
        matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("attestation key's")),
        "{error}"
    );
    let error = verify(&enrolled(&read("swtpm/ak.pub")), &evidence).unwrap_err();
    let name = hex::encode(read("swtpm-negative/ak.name"));
    assert!(
        matches!(&error, VerifyError::KeyNotEnrolled { what } if what.contains(&name) && what.contains("`tpm-ak`")),
        "{error}"
    );
}

#[test]
fn a_genuine_tpms_certificate_does_not_vouch_for_a_key() {
    let mut evidence = swtpm();
    evidence.ek_certificate = Some(read("swtpm/ek_cert.der"));
    let root = (AnchorRole::TpmRoot, read("swtpm/issuercert.pem"));
    let error = verify(&verifier(std::slice::from_ref(&root)), &evidence).unwrap_err();
    let says = |error: &VerifyError, text: &str| {
        matches!(error, VerifyError::KeyNotEnrolled { what }
            if what.contains(text) && what.contains("credential activation"))
    };
    assert!(says(&error, "a trusted maker's"), "{error}");
    let error = verify(&verifier(&[]), &evidence).unwrap_err();
    assert!(says(&error, "does not serve either"), "{error}");
    // With the key enrolled, a certificate that nothing binds to it adds nothing.
    let ak = (AnchorRole::TpmAttestationKey, read("swtpm/ak.pub"));
    let claims = verify(&verifier(&[root, ak]), &evidence).unwrap();
    assert!(
        claims
            .unsigned
            .iter()
            .any(|fact| fact.what == "endorsement key certificate")
    );
    assert!(!claims.attributes.contains_key("ek_serial"));
}
