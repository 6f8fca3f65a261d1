//! Real documents of AWS Nitro Enclaves, and what becomes of them when a byte changes.

#![cfg(feature = "verify")]

#[cfg(test)]
mod nitro {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use ciborium::Value;
    use nautilus_core::{Endorsements, Measurement, RawClaims, TeeVerifier as _, UnixMillis, VerifyError};
    use nautilus_tee::nitro::{Verifier, parse_document};

    const GENUINE: [&str; 8] = [
        "debug-2021",
        "debug-2022",
        "debug-2023",
        "debug-nonce-sui",
        "prod-2021",
        "prod-2022",
        "prod-pcr16-sui",
        "prod-userdata-2023",
    ];

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../vectors/nitro")
            .join(name)
    }

    fn document(name: &str) -> Vec<u8> {
        std::fs::read(path(&format!("{name}.cbor"))).unwrap()
    }

    fn meta(name: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path(&format!("{name}.meta.json"))).unwrap()).unwrap()
    }

    fn verify(bytes: &[u8], now: UnixMillis) -> Result<RawClaims, VerifyError> {
        Verifier::aws().verify(bytes, &Endorsements::default(), now)
    }

    fn time_of(name: &str) -> UnixMillis {
        UnixMillis(meta(name)["timestamp_ms"].as_u64().unwrap())
    }

    #[test]
    fn genuine_documents_verify_at_their_time() {
        for name in GENUINE {
            let (bytes, meta, now) = (document(name), meta(name), time_of(name));
            assert!(Verifier::aws().recognises(&bytes), "{name}");
            assert_eq!(meta["verified_chain_and_signature_at_doc_time"], true);
            let claims = verify(&bytes, now).unwrap();
            assert_eq!(claims.debug, name.starts_with("debug"), "{name}");
            assert_eq!(claims.made_at, Some(now));
            let nonzero: BTreeMap<String, Measurement> = claims
                .measurements
                .iter()
                .filter(|(_, value)| value.0.iter().any(|byte| *byte != 0))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let expected: BTreeMap<String, Measurement> = meta["nonzero_pcrs"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(index, value)| {
                    let value = hex::decode(value.as_str().unwrap()).unwrap();
                    (format!("pcr{index}"), Measurement(value))
                })
                .collect();
            assert_eq!(nonzero, expected, "{name}");
            assert!(claims.endorsed_until.unwrap() > now);
            let wants = Verifier::aws().wants(&bytes).unwrap();
            assert_eq!(
                wants.len(),
                2,
                "{name}: lists of the root and of the region's authority"
            );
            assert!(wants[0].urls[0].starts_with("http://aws-nitro-enclaves-crl.s3.amazonaws.com/"));
        }
    }

    #[test]
    fn what_was_signed_is_the_nonce_or_the_user_data() {
        let report_data = |name: &str| verify(&document(name), time_of(name)).unwrap().report_data;
        assert_eq!(report_data("prod-userdata-2023"), b"Hello World!\n");
        assert_eq!(report_data("debug-2022"), b"hello, world!");
        assert_eq!(report_data("prod-2021"), b"");
        assert_eq!(report_data("debug-2021").len(), 16);
    }

    #[test]
    fn years_later_the_certificates_have_ended() {
        for name in GENUINE {
            for hours in [4, 24 * 365] {
                let later = UnixMillis(time_of(name).0 + hours * 3_600_000);
                match verify(&document(name), later).unwrap_err() {
                    VerifyError::Untrusted { what } => {
                        assert!(what.contains("is valid from"), "{name}: {what}")
                    }
                    other => panic!("{name}: {other:?}"),
                }
            }
            let before = UnixMillis(time_of(name).0 - 3_600_000);
            assert!(matches!(
                verify(&document(name), before),
                Err(VerifyError::Untrusted { .. } | VerifyError::AttributeInvalid { .. })
            ));
        }
    }

    #[test]
    fn tampered_documents_are_refused() {
        let now = time_of("tampered-signature");
        let invalid = |what: &str| VerifyError::SignatureInvalid {
            what: what.to_owned(),
        };
        assert_eq!(
            verify(&document("tampered-signature"), now).unwrap_err(),
            invalid("attestation document, by its leaf certificate")
        );
        let error = verify(&document("tampered-certificate"), now).unwrap_err();
        match error {
            VerifyError::Untrusted { what } => assert!(what.contains("leaf certificate"), "{what}"),
            VerifyError::SignatureInvalid { what } => assert!(what.contains("leaf certificate"), "{what}"),
            other => panic!("{other:?}"),
        }
    }

    /// A document whose bundle starts with another root. Its own signature no longer holds, but the root is looked
    /// at first.
    #[test]
    fn other_roots_are_refused() {
        let bytes = document("prod-2022");
        let envelope: Value = ciborium::from_reader(bytes.as_slice()).unwrap();
        for name in ["negative-tampered_root_cert.crt", "negative-unknown_ca.crt"] {
            let root = pem::parse(std::fs::read(path(name)).unwrap())
                .unwrap()
                .into_contents();
            let mut envelope = envelope.clone();
            let parts = envelope.as_array_mut().unwrap();
            let mut payload: Value = ciborium::from_reader(parts[2].as_bytes().unwrap().as_slice()).unwrap();
            let fields = payload.as_map_mut().unwrap();
            let bundle = fields
                .iter_mut()
                .find(|(key, _)| key.as_text() == Some("cabundle"))
                .unwrap();
            bundle.1.as_array_mut().unwrap()[0] = Value::Bytes(root);
            let mut encoded = Vec::new();
            ciborium::into_writer(&payload, &mut encoded).unwrap();
            parts[2] = Value::Bytes(encoded);
            let mut changed = Vec::new();
            ciborium::into_writer(&envelope, &mut changed).unwrap();
            match verify(&changed, time_of("prod-2022")).unwrap_err() {
                VerifyError::Untrusted { what } => {
                    assert!(what.contains("pinned root certificate"), "{what}")
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_flip_is_refused() {
        let (bytes, now) = (document("prod-userdata-2023"), time_of("prod-userdata-2023"));
        let verifier = Verifier::aws();
        assert!(verifier.verify(&bytes, &Endorsements::default(), now).is_ok());
        let mut changed = bytes.clone();
        for at in 0..bytes.len() {
            changed[at] ^= 1 << (at % 8);
            let verdict = verifier.verify(&changed, &Endorsements::default(), now);
            assert!(
                matches!(
                    verdict,
                    Err(VerifyError::Malformed { .. }
                        | VerifyError::TrailingBytes { .. }
                        | VerifyError::Untrusted { .. }
                        | VerifyError::SignatureInvalid { .. })
                ),
                "byte {at}: {verdict:?}"
            );
            changed[at] = bytes[at];
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = document("prod-pcr16-sui");
        for cut in 0..bytes.len() {
            let error = parse_document(&bytes[..cut]).unwrap_err();
            assert!(
                matches!(error, VerifyError::Malformed { offset, .. } if offset <= cut),
                "{cut}: {error:?}"
            );
        }
        let longer = [bytes.as_slice(), &[0xf6]].concat();
        assert_eq!(
            parse_document(&longer).unwrap_err(),
            VerifyError::TrailingBytes {
                offset: bytes.len(),
                length: 1
            }
        );
    }
}
