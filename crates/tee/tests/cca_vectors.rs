//! CCA tokens: those of Veraison's rust-ccatoken, and tokens signed here.

#![cfg(feature = "verify")]

#[cfg(test)]
#[path = "psa_vectors/token.rs"]
mod token;

#[cfg(test)]
mod cca {
    use std::path::Path;

    use ciborium::Value;
    use nautilus_core::{
        AnchorRole, Endorsements, Measurement, RawClaims, TeeVerifier as _, TrustAnchors, UnixMillis,
        VerifyError,
    };
    use nautilus_tee::trustzone;

    use super::token::{Device, anchor, encoded};

    const NOW: UnixMillis = UnixMillis::from_secs(1_760_000_000);

    fn vector(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../vectors/cca/rust-ccatoken")
            .join(name);
        std::fs::read(path).unwrap()
    }

    fn anchors(name: &str) -> TrustAnchors {
        anchor(AnchorRole::CcaKey, vector(name))
    }

    fn verify(token: &[u8], anchors: &TrustAnchors) -> Result<RawClaims, VerifyError> {
        let verifier = trustzone::Verifier::new(anchors).unwrap();
        assert!(verifier.recognises(token));
        verifier.verify(token, &Endorsements::default(), NOW)
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
    fn published_tokens_verify_with_the_key_of_their_platform() {
        for (token, key) in [
            ("cca-token-01.cbor", "cpak.json"),
            ("cca-token-01.cbor", "ta-tfa.json"),
            ("cca-token-draft-ffm-00.cbor", "cpak.json"),
            ("cca-token-draft-ffm-00.cbor", "ta-tfa.json"),
            ("cca-token-02.cbor", "ta-02-ok.json"),
        ] {
            let claims = verify(&vector(token), &anchors(key)).unwrap();
            assert_eq!(claims.device.scheme, "cca-instance");
            assert_eq!(claims.report_data.len(), 64, "{token}");
            assert_eq!(claims.attributes["key"], "published test key", "{token} {key}");
            assert!(claims.debug);
            assert!(claims.unsigned.is_empty());
            for name in ["rim", "rem0", "rem1", "rem2", "rem3"] {
                assert!(claims.measurements.contains_key(name), "{token}: {name}");
            }
        }
        let claims = verify(&vector("cca-token-draft-ffm-00.cbor"), &anchors("ta-tfa.json")).unwrap();
        assert_eq!(
            claims.attributes["profile"],
            "tag:arm.com,2023:cca_platform#1.0.0"
        );
        assert_eq!(claims.attributes["realm_profile"], "tag:arm.com,2023:realm#1.0.0");
        assert_eq!(claims.attributes["lifecycle"], "secured (0x3003)");
        let rmm = "a1fb50e6c86fae1679ef3351296fd6713411a08cf8dd1790a4fd05fae8688164";
        assert_eq!(
            claims.measurements["sw_rmm"],
            Measurement(hex::decode(rmm).unwrap())
        );
        assert!(claims.measurements.contains_key("sw_rse_bl1_2"));
        assert_eq!(claims.attributes["personalization_value"].len(), 128);
    }

    /// docs/tee/trustzone.md, "What verification costs".
    #[test]
    fn a_collection_costs_two_signatures() {
        let anchors = anchors("cpak.json");
        let verifier = trustzone::Verifier::new(&anchors).unwrap();
        let token = vector("cca-token-01.cbor");
        for _ in 0..2 {
            let before = nautilus_tee::signatures_verified();
            assert!(verifier.verify(&token, &Endorsements::default(), NOW).is_ok());
            assert_eq!(nautilus_tee::signatures_verified() - before, 2);
        }
    }

    #[test]
    fn the_wrong_key_does_not_serve() {
        // A good key of another instance.
        let error = verify(&vector("cca-token-01.cbor"), &anchors("ta-02-ok.json")).unwrap_err();
        assert!(matches!(error, VerifyError::KeyNotEnrolled { what } if what.contains("0107060504030201")));
        let error = verify(&vector("cca-token-02.cbor"), &TrustAnchors::default()).unwrap_err();
        assert!(
            matches!(error, VerifyError::KeyNotEnrolled { what } if what.contains("trust anchor `cca-key`"))
        );
        // A point on no curve is refused before any token is seen.
        let refused = trustzone::Verifier::new(&anchors("ta-02-bad.json")).unwrap_err();
        assert!(refused.what.contains("lies not on the curve"), "{refused}");
        let other = anchor(AnchorRole::CcaKey, Device::es384().jwk().to_string());
        let error = verify(&vector("cca-token-01.cbor"), &other).unwrap_err();
        assert!(
            matches!(error, VerifyError::SignatureInvalid { what } if what.contains("CCA platform token"))
        );
    }

    /// Both signatures hold, but the platform binds another realm's key (rust-ccatoken issue 33).
    #[test]
    fn a_realm_key_that_the_platform_does_not_bind_is_refused() {
        let error = verify(&vector("bug-33-repro.cbor"), &anchors("ta-tfa.json")).unwrap_err();
        assert_eq!(
            error,
            VerifyError::SignatureInvalid {
                what: "CCA realm token: the sha-256 of its key is not the platform token's challenge"
                    .to_owned()
            }
        );
    }

    #[test]
    fn every_flip_and_cut_is_refused() {
        let (token, anchors) = (vector("cca-token-draft-ffm-00.cbor"), anchors("ta-tfa.json"));
        let verifier = trustzone::Verifier::new(&anchors).unwrap();
        let verify = |token: &[u8]| verifier.verify(token, &Endorsements::default(), NOW);
        assert!(verify(&token).is_ok());
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1 << (at % 8);
            let verdict = verify(&changed);
            assert!(
                matches!(
                    verdict,
                    Err(VerifyError::Malformed { .. }
                        | VerifyError::NotRecognised
                        | VerifyError::TrailingBytes { .. }
                        | VerifyError::KeyNotEnrolled { .. }
                        | VerifyError::SignatureInvalid { .. })
                ),
                "byte {at}: {verdict:?}"
            );
            let cut = verify(&token[..at]).unwrap_err();
            assert!(
                matches!(cut, VerifyError::Malformed { .. } | VerifyError::NotRecognised),
                "{at}: {cut:?}"
            );
        }
        let longer = [token.as_slice(), &[0]].concat();
        let trailing = VerifyError::TrailingBytes {
            offset: token.len(),
            length: 1,
        };
        assert_eq!(verify(&longer).unwrap_err(), trailing);
    }

    /// A platform and a realm of our own.
    struct Machine {
        platform: Device,
        realm: Device,
    }

    type Claims = Vec<(Value, Value)>;

    impl Machine {
        fn new() -> Self {
            Self {
                platform: Device::es256(),
                realm: Device::es384(),
            }
        }

        fn realm_claims(&self) -> Claims {
            let mut claims: Value = ciborium::from_reader(vector("realm-claims.cbor").as_slice()).unwrap();
            set(
                claims.as_map_mut().unwrap(),
                44237,
                Value::Bytes(self.realm.point().to_vec()),
            );
            claims.into_map().unwrap()
        }

        fn platform_claims(&self) -> Claims {
            let mut claims: Value = ciborium::from_reader(vector("platform-claims.cbor").as_slice()).unwrap();
            let map = claims.as_map_mut().unwrap();
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.realm.point());
            set(map, 10, Value::Bytes(hash.as_ref().to_vec()));
            set(map, 256, Value::Bytes([&[1], [0x0b; 32].as_slice()].concat()));
            claims.into_map().unwrap()
        }

        fn parts(&self, platform: Claims, realm: Claims) -> Claims {
            vec![
                (
                    44234.into(),
                    Value::Bytes(self.platform.sign(&encoded(&Value::Map(platform)))),
                ),
                (
                    44241.into(),
                    Value::Bytes(self.realm.sign(&encoded(&Value::Map(realm)))),
                ),
            ]
        }

        fn verify_parts(&self, parts: Claims) -> Result<RawClaims, VerifyError> {
            let token = encoded(&Value::Tag(399, Box::new(Value::Map(parts))));
            verify(
                &token,
                &anchor(AnchorRole::CcaKey, self.platform.jwk().to_string()),
            )
        }

        fn verdict(&self, edit: impl FnOnce(&mut Claims, &mut Claims)) -> Result<RawClaims, VerifyError> {
            let (mut platform, mut realm) = (self.platform_claims(), self.realm_claims());
            edit(&mut platform, &mut realm);
            self.verify_parts(self.parts(platform, realm))
        }
    }

    fn set(claims: &mut [(Value, Value)], key: i64, value: Value) {
        claims
            .iter_mut()
            .find(|(label, _)| *label == Value::from(key))
            .unwrap()
            .1 = value;
    }

    fn without(claims: &mut Claims, key: i64) {
        let before = claims.len();
        claims.retain(|(label, _)| *label != Value::from(key));
        assert_eq!(claims.len() + 1, before);
    }

    #[test]
    fn a_platform_of_our_own_verifies_and_is_not_debug() {
        let machine = Machine::new();
        let claims = machine.verdict(|_, _| {}).unwrap();
        assert!(!claims.debug && !claims.attributes.contains_key("key"));
        assert_eq!(claims.report_data, [0xab; 64]);
        assert_eq!(claims.measurements["sw_0"], Measurement(vec![0xaa; 64]));
        assert_eq!(claims.measurements["sw_1"], Measurement(vec![0xcc; 64]));
        for (state, debug) in [
            (0x30ff, false),
            (0x0000, true),
            (0x4000, true),
            (0x5000, true),
            (0x6000, true),
        ] {
            let verdict = machine.verdict(|platform, _| set(platform, 2395, state.into()));
            assert_eq!(verdict.unwrap().debug, debug, "{state:#06x}");
        }
    }

    #[test]
    fn claims_that_are_not_as_they_should_be() {
        let machine = Machine::new();
        for (key, name) in [
            (10, "challenge"),
            (44235, "personalization value"),
            (44236, "hash algorithm"),
            (44237, "public key"),
            (44238, "initial measurement"),
            (44239, "extensible measurements"),
            (44240, "public key hash algorithm"),
        ] {
            let verdict = machine.verdict(|_, realm| without(realm, key));
            malformed(verdict, &format!("CCA realm token lacks its {name}"));
        }
        for (key, name) in [
            (265, "profile"),
            (10, "challenge"),
            (2396, "implementation ID"),
            (256, "instance ID"),
            (2401, "config"),
            (2395, "lifecycle"),
            (2399, "software components"),
            (2402, "hash algorithm"),
        ] {
            let verdict = machine.verdict(|platform, _| without(platform, key));
            malformed(verdict, &format!("CCA platform token lacks its {name}"));
        }
        let rem = Value::Array(vec![Value::Bytes(vec![0; 32]); 3]);
        malformed(
            machine.verdict(|_, realm| set(realm, 44239, rem)),
            "extensible measurements are 3, not 4",
        );
        malformed(
            machine.verdict(|_, realm| set(realm, 44240, "md5".into())),
            "is none of sha-256",
        );
        malformed(
            machine.verdict(|_, realm| set(realm, 10, Value::Bytes(vec![0; 32]))),
            "not 64",
        );
        malformed(
            machine.verdict(|platform, _| set(platform, 265, "x".into())),
            "profile `x` is none of",
        );
        malformed(
            machine.verdict(|_, realm| realm.push((265.into(), "x".into()))),
            "profile `x` is none of",
        );
        malformed(
            machine.verdict(|_, realm| realm.push((44236.into(), "sha-256".into()))),
            "key 44236 twice",
        );
    }

    /// rust-ccatoken's sets with a claim too many are good, the one without a challenge is not.
    #[test]
    fn published_claim_sets_get_what_their_names_say() {
        let machine = Machine::new();
        let set_of = |name: &str| {
            let mut claims: Value = ciborium::from_reader(vector(name).as_slice()).unwrap();
            set(
                claims.as_map_mut().unwrap(),
                44237,
                Value::Bytes(machine.realm.point().to_vec()),
            );
            claims.into_map().unwrap()
        };
        let verdict = |name: &str| machine.verdict(|_, realm| *realm = set_of(name));
        let unknown = |name: &str| verdict(name).unwrap().attributes.remove("unknown_claims");
        assert_eq!(unknown("realm-claims.cbor"), None);
        assert_eq!(
            unknown("realm-claims+spurious-numeric-key.cbor").unwrap(),
            "1234567"
        );
        assert_eq!(
            unknown("realm-claims+spurious-text-key.cbor").unwrap(),
            "`unknown-key`"
        );
        malformed(
            verdict("realm-claims-missing-challenge.cbor"),
            "lacks its challenge",
        );
    }

    #[test]
    fn a_realm_signs_with_the_key_that_the_platform_binds() {
        let (machine, other) = (Machine::new(), Machine::new());
        let parts = machine.parts(machine.platform_claims(), machine.realm_claims());
        // The realm's claims, signed by another realm's key.
        let forged = other.realm.sign(&encoded(&Value::Map(machine.realm_claims())));
        let error = machine
            .verify_parts(vec![parts[0].clone(), (44241.into(), Value::Bytes(forged))])
            .unwrap_err();
        assert_eq!(
            error,
            VerifyError::SignatureInvalid {
                what: "CCA realm token, by the key that the platform token binds".to_owned()
            }
        );
        // Another realm's genuine token beside this platform's.
        let relayed = other.parts(other.platform_claims(), other.realm_claims())[1].clone();
        let error = machine.verify_parts(vec![parts[0].clone(), relayed]).unwrap_err();
        assert!(
            matches!(error, VerifyError::SignatureInvalid { what } if what.contains("is not the platform token's"))
        );
    }

    #[test]
    fn a_platform_signs_on_any_curve_but_with_no_secret() {
        for (platform, algorithm) in [(Device::es384(), "ES384"), (Device::es512(), "ES512")] {
            let machine = Machine {
                platform,
                realm: Device::es384(),
            };
            assert_eq!(
                machine.verdict(|_, _| {}).unwrap().attributes["algorithm"],
                algorithm
            );
        }
        let machine = Machine {
            platform: Device::Secret([0x5e; 32]),
            realm: Device::es384(),
        };
        malformed(
            machine.verdict(|_, _| {}),
            "names algorithm 5, which is none of ES256, ES384, ES512",
        );
        let machine = Machine {
            platform: Device::es256(),
            realm: Device::es256(),
        };
        malformed(
            machine.verdict(|_, _| {}),
            "names algorithm -7, which is none of ES384",
        );
    }

    #[test]
    fn collections_that_are_not_as_they_should_be() {
        let machine = Machine::new();
        let parts = machine.parts(machine.platform_claims(), machine.realm_claims());
        let [platform, realm] = [parts[0].clone(), parts[1].clone()];
        // The order is nobody's to sign: it is reported.
        let claims = machine
            .verify_parts(vec![realm.clone(), platform.clone()])
            .unwrap();
        assert_eq!(claims.unsigned[0].what, "order of the collection");
        malformed(
            machine.verify_parts(vec![platform.clone()]),
            "lacks its realm token",
        );
        malformed(
            machine.verify_parts(vec![realm.clone()]),
            "lacks its platform token",
        );
        malformed(
            machine.verify_parts(vec![platform.clone(), platform.clone()]),
            "key 44234 twice",
        );
        malformed(
            machine.verify_parts(vec![platform.clone(), (1.into(), realm.1.clone())]),
            "has the key 1, which is none of a collection",
        );
        let longer = Value::Bytes([realm.1.as_bytes().unwrap().as_slice(), &[0]].concat());
        malformed(
            machine.verify_parts(vec![platform.clone(), (44241.into(), longer)]),
            "1 bytes follow a token of the collection",
        );
        let untagged = Value::Bytes(realm.1.as_bytes().unwrap()[1..].to_vec());
        malformed(
            machine.verify_parts(vec![platform, (44241.into(), untagged)]),
            "CCA realm token has no tag",
        );
        let wrapped = encoded(&Value::Tag(907, Box::new(Value::Map(parts))));
        let error = verify(&wrapped, &TrustAnchors::default()).unwrap_err();
        assert!(matches!(error, VerifyError::Unsupported { what } if what.contains("tag 907")));
    }
}
