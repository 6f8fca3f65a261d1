//! Credential activation with endorsement keys in the test: what a TPM does with a credential is done here with
//! the private key at hand.

use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::cipher::{AES_128, AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{AnchorRole, EndorsementKind, Endorsements, Revocation, VerifyError};
use nautilus_tee::tpm::{Credential, EndorsementKey, Enrolment, HashAlgorithm, Public, Randomness};
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::Value;

use super::certificates::{Certified, aik, ca, params};
use super::files::{NOW, der_of, endorsement, enrolled, read, verifier, verify};
use super::software_tpm::{EK_ATTRIBUTES, EccAk, Quote, SHA256_ID, SHA384_ID, area, ecc_area, tpm2b};

/// The private half of an endorsement key.
enum Private {
    Rsa(OaepPrivateDecryptingKey),
    Ecc(PrivateKey),
}

/// A TPM with one endorsement key, as far as activating credentials goes.
struct Tpm {
    private: Private,
    area: Vec<u8>,
    hash: HashAlgorithm,
    /// What is certified, as rcgen takes it.
    public: (&'static rcgen::SignatureAlgorithm, Vec<u8>),
}

impl Tpm {
    fn rsa() -> Self {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let spki = key.public_key().as_der().unwrap();
        // RSAPublicKey of 270 bytes ends the SubjectPublicKeyInfo; its modulus stands before 5 bytes of exponent.
        let public = spki.as_ref()[spki.as_ref().len() - 270..].to_vec();
        let modulus = &public[270 - 5 - 256..270 - 5];
        let middle = "0006 0080 0043 0010 0800 00000000";
        Self {
            area: area(0x0001, SHA256_ID, EK_ATTRIBUTES, middle, &tpm2b(modulus)),
            private: Private::Rsa(OaepPrivateDecryptingKey::new(key).unwrap()),
            hash: HashAlgorithm::Sha256,
            public: (&rcgen::PKCS_RSA_SHA256, public),
        }
    }

    fn p256() -> Self {
        let key = PrivateKey::generate(&ECDH_P256).unwrap();
        let point = key.compute_public_key().unwrap().as_ref().to_vec();
        let area = ecc_area(SHA256_ID, EK_ATTRIBUTES, "0006 0080 0043 0010 0003 0010", &point);
        Self {
            private: Private::Ecc(key),
            area,
            hash: HashAlgorithm::Sha256,
            public: (&rcgen::PKCS_ECDSA_P256_SHA256, point),
        }
    }

    /// Template H-3 of the EK Credential Profile: P-384, SHA-384, AES-256.
    fn p384() -> Self {
        let key = PrivateKey::generate(&ECDH_P384).unwrap();
        let point = key.compute_public_key().unwrap().as_ref().to_vec();
        let area = ecc_area(SHA384_ID, EK_ATTRIBUTES, "0006 0100 0043 0010 0004 0010", &point);
        Self {
            private: Private::Ecc(key),
            area,
            hash: HashAlgorithm::Sha384,
            public: (&rcgen::PKCS_ECDSA_P384_SHA384, point),
        }
    }

    fn hmac(&self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self.hash {
            HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
            _ => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), &parts.concat())
            .as_ref()
            .to_vec()
    }

    /// `TPM2_ActivateCredential` (part 3): the secret, if the credential is for that key's name.
    fn activate(&self, credential: &Credential, name: &[u8]) -> Result<Vec<u8>, &'static str> {
        let secret = &credential.encrypted_secret[2..];
        let seed = match &self.private {
            Private::Rsa(key) => {
                let mut seed = vec![0; 256];
                let label = Some(&b"IDENTITY\0"[..]);
                key.decrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut seed, label)
                    .map_err(|_| "OAEP")?
                    .to_vec()
            }
            Private::Ecc(key) => {
                let size = usize::from(secret[1]);
                let (x, y) = (&secret[2..2 + size], &secret[4 + size..]);
                let point = [&[4], x, y].concat();
                let own = key.compute_public_key().unwrap();
                let own_x = &own.as_ref()[1..=size];
                agree(
                    key,
                    UnparsedPublicKey::new(key.algorithm(), point),
                    "ECDH",
                    |shared| Ok(self.hash.digest([&[0, 0, 0, 1], shared, b"IDENTITY\0", x, own_x])),
                )?
            }
        };
        let bits = |count: u32| count.to_be_bytes();
        let digest_bits = u32::try_from(self.hash.digest_len() * 8).unwrap();
        let one = [0, 0, 0, 1];
        let integrity_key = self.hmac(&seed, &[&one, b"INTEGRITY\0", &bits(digest_bits)]);
        let blob = &credential.credential_blob[2..];
        let (tag, identity) = blob[2..].split_at(self.hash.digest_len());
        if self.hmac(&integrity_key, &[identity, name]) != tag {
            return Err("TPM_RC_INTEGRITY");
        }
        let (aes, length) = match self.hash {
            HashAlgorithm::Sha384 => (&AES_256, 32),
            _ => (&AES_128, 16),
        };
        let bits = bits(u32::try_from(length * 8).unwrap());
        let key = self.hmac(&seed, &[&one, b"STORAGE\0", name, &bits]);
        let key = DecryptingKey::cfb128(UnboundCipherKey::new(aes, &key[..length]).unwrap()).unwrap();
        let mut identity = identity.to_vec();
        let zero = DecryptionContext::Iv128(FixedLength::from([0; 16]));
        let plain = key.decrypt(&mut identity, zero).unwrap();
        assert_eq!(usize::from(plain[1]), plain.len() - 2);
        Ok(plain[2..].to_vec())
    }
}

/// The maker of the TPM, and what it certifies.
struct Maker {
    root: (CertificateParams, KeyPair),
}

/// Subject alternative name with maker `id:4E415554`, model `test` and version `id:0001`.
fn tpm_name() -> CustomExtension {
    let attribute = |last: u8, text: &str| {
        let value = [&[0x0c, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        wrap(
            0x31,
            &wrap(
                0x30,
                &[&[0x06, 5, 0x67, 0x81, 0x05, 2, last][..], &value].concat(),
            ),
        )
    };
    let name = [
        attribute(1, "id:4E415554"),
        attribute(2, "test"),
        attribute(3, "id:0001"),
    ]
    .concat();
    let names = wrap(0x30, &wrap(0xa4, &wrap(0x30, &name)));
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names);
    extension.set_criticality(true);
    extension
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

impl Maker {
    fn new() -> Self {
        Self {
            root: (ca("TPM maker"), KeyPair::generate().unwrap()),
        }
    }

    fn root_der(&self) -> Vec<u8> {
        self.root.0.self_signed(&self.root.1).unwrap().der().to_vec()
    }

    fn certify(&self, tpm: &Tpm, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = params("");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serial_number = Some(rcgen::SerialNumber::from(5u64));
        params.key_usages = vec![match tpm.private {
            Private::Rsa(_) => KeyUsagePurpose::KeyEncipherment,
            Private::Ecc(_) => KeyUsagePurpose::KeyAgreement,
        }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
        params.custom_extensions = vec![tpm_name()];
        change(&mut params);
        let by_root = Issuer::from_params(&self.root.0, &self.root.1);
        let key = Certified(tpm.public.0, &tpm.public.1);
        params.signed_by(&key, &by_root).unwrap().der().to_vec()
    }

    fn endorse(&self, tpm: &Tpm, certificate: &[u8]) -> Result<EndorsementKey, VerifyError> {
        let verifier = verifier(&[(AnchorRole::TpmRoot, self.root_der())]);
        verifier.endorsement_key(certificate, &tpm.area, &Endorsements::default(), NOW)
    }
}

fn randomness(byte: u8) -> Randomness {
    Randomness {
        secret: [byte; 32],
        seed: [byte ^ 0x5a; 64],
    }
}

#[test]
fn a_tpm_with_both_keys_gives_the_secret_back_and_its_key_is_enrolled() {
    for tpm in [Tpm::rsa(), Tpm::p256(), Tpm::p384()] {
        let (maker, ak) = (Maker::new(), EccAk::new());
        let certificate = maker.certify(&tpm, |_| {});
        let ek = maker.endorse(&tpm, &certificate).unwrap();
        assert_eq!(ek.describe()["tpm_manufacturer"], "id:4E415554");
        let (enrolment, credential) = Enrolment::start(ek, &ak.area, &randomness(7)).unwrap();
        let name = Public::parse("ak", &ak.area).unwrap().name();
        let secret = tpm.activate(&credential, &name).unwrap();
        assert_eq!(secret, [7; 32]);
        let other = Public::parse("ak", &EccAk::new().area).unwrap().name();
        assert_eq!(tpm.activate(&credential, &other).unwrap_err(), "TPM_RC_INTEGRITY");

        let anchor = enrolment.confirm(&secret).unwrap().to_anchor();
        let verifier = enrolled(anchor.as_bytes());
        let mut evidence = ak.evidence(&Quote::new());
        let claims = verify(&verifier, &evidence).unwrap();
        assert_eq!(claims.device.scheme, "tpm-ek");
        assert_eq!(claims.attributes["ak_name"], hex::encode(&name));
        assert_eq!(claims.attributes["tpm_manufacturer"], "id:4E415554");
        assert_eq!(claims.attributes["tpm_model"], "test");
        assert_eq!(claims.attributes["tpm_version"], "id:0001");
        assert_eq!(claims.attributes["ek_serial"], "05");
        assert_eq!(claims.attributes["ek_issuer"], "CN=TPM maker");
        evidence.ek_certificate = Some(certificate);
        assert_eq!(verify(&verifier, &evidence).unwrap(), claims);
        evidence.ek_certificate = Some(read("swtpm/ek_cert.der"));
        let error = verify(&verifier, &evidence).unwrap_err();
        assert!(
            matches!(&error, VerifyError::KeyNotEnrolled { what } if what.contains("another endorsement key")),
            "{error}"
        );
    }
}

#[test]
fn an_enrolment_that_was_written_down_does_not_hold_its_secret_and_goes_on() {
    let (maker, tpm, ak) = (Maker::new(), Tpm::p384(), EccAk::new());
    let ek = maker.endorse(&tpm, &maker.certify(&tpm, |_| {})).unwrap();
    assert!(
        matches!(ek.revocation(), Revocation::NotApplicable { because } if because.contains("no revocation list")),
        "{:?}",
        ek.revocation()
    );
    let (enrolment, credential) = Enrolment::start(ek.clone(), &ak.area, &randomness(7)).unwrap();
    let name = Public::parse("ak", &ak.area).unwrap().name();
    assert_eq!(enrolment.name(), name);
    let written = enrolment.to_json();
    for secret in [hex::encode([7; 32]), STANDARD.encode([7; 32])] {
        assert!(!written.contains(&secret), "{written}");
    }
    let read = || Enrolment::from_json(written.as_bytes()).unwrap();
    let error = read().confirm(&[8; 32]).unwrap_err();
    assert!(matches!(error, VerifyError::KeyNotEnrolled { .. }), "{error}");
    let secret = tpm.activate(&credential, &name).unwrap();
    let key = read().confirm(&secret).unwrap();
    assert_eq!(key.describe(), ek.describe());
    assert_eq!(key.to_anchor(), enrolment.confirm(&secret).unwrap().to_anchor());

    // The hash is of this key's secret: it does not serve with another key.
    let (other, _) = Enrolment::start(ek, &EccAk::new().area, &randomness(9)).unwrap();
    let own: Value = serde_json::from_str(&written).unwrap();
    let mut swapped: Value = serde_json::from_str(&other.to_json()).unwrap();
    swapped["secret_sha256"] = own["secret_sha256"].clone();
    let swapped = Enrolment::from_json(swapped.to_string().as_bytes()).unwrap();
    let error = swapped.confirm(&secret).unwrap_err();
    assert!(matches!(error, VerifyError::KeyNotEnrolled { .. }), "{error}");

    let spoilt = |key: &str, value: &str| {
        let mut spoilt = own.clone();
        spoilt[key] = value.into();
        Enrolment::from_json(spoilt.to_string().as_bytes()).unwrap_err()
    };
    for (key, value, says) in [
        ("format", "nautilus-tpm-ak/1", "not `nautilus-tpm-enrolment/1`"),
        ("secret_sha256", "00", "no SHA-256 in hex"),
        ("ak_public", "AAAA", "attestation key"),
        ("ak_public", "?", "ak_public is not base64"),
        ("ek_certificate", "?", "ek_certificate is not base64"),
        ("more", "", "unknown field `more`"),
    ] {
        let error = spoilt(key, value);
        assert!(error.contains(says), "{key}: {error}");
    }
    let long = vec![b' '; Enrolment::MAX_LEN + 1];
    let error = Enrolment::from_json(&long).unwrap_err();
    assert!(error.contains("more than 65536 bytes"), "{error}");
}

#[test]
fn another_answer_enrols_nothing() {
    let (maker, tpm, ak) = (Maker::new(), Tpm::p256(), EccAk::new());
    let ek = maker.endorse(&tpm, &maker.certify(&tpm, |_| {})).unwrap();
    for answer in [&[8; 32][..], &[7; 31], &[7; 33], &[]] {
        let (enrolment, _) = Enrolment::start(ek.clone(), &ak.area, &randomness(7)).unwrap();
        let error = enrolment.confirm(answer).unwrap_err();
        assert!(
            matches!(&error, VerifyError::KeyNotEnrolled { what } if what.contains("not the credential's secret")),
            "{error}"
        );
    }
    let (_, credential) = Enrolment::start(ek.clone(), &ak.area, &randomness(7)).unwrap();
    let name = Public::parse("ak", &ak.area).unwrap().name();
    let another = Tpm::p256();
    assert_eq!(
        another.activate(&credential, &name).unwrap_err(),
        "TPM_RC_INTEGRITY"
    );
    let error = Enrolment::start(ek, &tpm.area, &randomness(7)).err().unwrap();
    assert!(
        matches!(&error, VerifyError::AttributeInvalid { what } if what.contains("lacks sign")),
        "{error}"
    );
}

#[test]
fn a_credential_has_the_form_that_tpm2_tools_reads() {
    let genuine = read("keylime/mkcred.out");
    let (maker, tpm, ak) = (Maker::new(), Tpm::rsa(), EccAk::new());
    let ek = maker.endorse(&tpm, &maker.certify(&tpm, |_| {})).unwrap();
    let (_, credential) = Enrolment::start(ek, &ak.area, &randomness(1)).unwrap();
    let ours = credential.to_tpm2_tools();
    assert_eq!(ours[..8], genuine[..8]);
    // Secrets of 32 and of 9 bytes: every length on the way differs by 23, the seed's of an RSA key does not.
    assert_eq!(ours.len() - genuine.len(), 23);
    assert_eq!([ours[8], ours[9]], [0, 0x2d + 23]);
    assert_eq!([genuine[8], genuine[9]], [0, 0x2d]);
    assert_eq!(ours[10..12], genuine[10..12]);
    assert_eq!(
        ours[ours.len() - 258..ours.len() - 256],
        genuine[genuine.len() - 258..genuine.len() - 256]
    );
}

#[test]
fn endorsement_keys_that_no_maker_vouches_for_are_refused() {
    let (maker, tpm) = (Maker::new(), Tpm::p256());
    let refused = |certificate: &[u8], says: &str| {
        let error = maker.endorse(&tpm, certificate).unwrap_err();
        let what = match &error {
            VerifyError::Untrusted { what } | VerifyError::Malformed { what, .. } => what,
            VerifyError::SignatureInvalid { what } => what,
            other => panic!("{says}: {other}"),
        };
        assert!(what.contains(says), "{says}: {what}");
    };
    refused(&maker.certify(&Tpm::p256(), |_| {}), "another key");
    refused(
        &maker.certify(&tpm, |p| p.extended_key_usages = vec![aik()]),
        "lacks 2.23.133.8.1",
    );
    let signs = |p: &mut CertificateParams| p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    refused(&maker.certify(&tpm, signs), "lacks keyAgreement");
    refused(
        &maker.certify(&tpm, |p| p.not_after = rcgen::date_time_ymd(2026, 2, 1)),
        "expired",
    );
    refused(&Maker::new().certify(&tpm, |_| {}), "not its issuer's");
    refused(&[0x30, 0], "endorsement key certificate");
    // A profile from before the usage had a number.
    maker
        .endorse(&tpm, &maker.certify(&tpm, |p| p.extended_key_usages.clear()))
        .unwrap();
}

#[test]
fn the_software_tpms_certificate_is_genuine_but_of_another_key() {
    // swtpm certified its key on P-384; the corpus has the public area of the one on P-256.
    let (root, issuer) = (
        read("swtpm/swtpm-localca-rootca-cert.pem"),
        read("swtpm/issuercert.pem"),
    );
    let verifier = verifier(&[(AnchorRole::TpmRoot, root)]);
    let certificate = read("swtpm/ek_cert.der");
    let brought = Endorsements(vec![endorsement(EndorsementKind::Certificate, der_of(&issuer))]);
    let endorse = |brought: &Endorsements| {
        verifier
            .endorsement_key(&certificate, &read("swtpm/ek.pub"), brought, NOW)
            .unwrap_err()
    };
    let error = endorse(&brought);
    assert!(
        matches!(&error, VerifyError::Untrusted { what }
            if what.contains("another key (ecc-p384) than the endorsement key (ecc-p256)")),
        "{error}"
    );
    let error = endorse(&Endorsements::default());
    assert!(
        matches!(&error, VerifyError::EndorsementsMissing { wants } if wants[0].subject.contains("CN=swtpm-localca")),
        "{error}"
    );
}
