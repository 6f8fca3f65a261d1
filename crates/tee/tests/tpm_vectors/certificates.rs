//! Attestation keys that a certificate authority vouches for.

use aws_lc_rs::signature::KeyPair as _;
use nautilus_core::EndorsementKind::{Certificate, Crl};
use nautilus_core::{
    AnchorRole, EndorsementKind, Endorsements, RawClaims, Revocation, TeeVerifier as _, VerifyError,
};
use nautilus_tee::tpm::Evidence;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};

use super::files::{NOW, endorsement, verifier};
use super::software_tpm::{EccAk, Quote};

/// The `SubjectPublicKeyInfo` of a point on P-256.
pub fn p256_spki(point: &[u8]) -> Vec<u8> {
    let head = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    [head.as_slice(), point].concat()
}

/// A public key to be certified.
pub struct Certified<'a>(pub &'static SignatureAlgorithm, pub &'a [u8]);

impl PublicKeyData for Certified<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.1
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0
    }
}

pub fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

pub fn ca(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub fn aik() -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 3])
}

pub fn leaf() -> CertificateParams {
    let mut params = params("AK of machine 1");
    params.serial_number = Some(SerialNumber::from(77u64));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![aik()];
    params.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec!["http://ca.example/issuing.crl".to_owned()],
    }];
    params
}

/// Root, issuing authority, and an attestation key with its quote.
pub struct World {
    pub root: (CertificateParams, KeyPair),
    pub issuing: (CertificateParams, KeyPair),
    pub ak: EccAk,
}

impl World {
    pub fn new() -> Self {
        Self::with_issuing(ca("Issuing CA"))
    }

    fn with_issuing(issuing: CertificateParams) -> Self {
        Self {
            root: (ca("Root CA"), KeyPair::generate().unwrap()),
            issuing: (issuing, KeyPair::generate().unwrap()),
            ak: EccAk::new(),
        }
    }

    fn root_der(&self) -> Vec<u8> {
        self.root.0.self_signed(&self.root.1).unwrap().der().to_vec()
    }

    pub fn issuing_der(&self) -> Vec<u8> {
        let by_root = Issuer::from_params(&self.root.0, &self.root.1);
        self.issuing
            .0
            .signed_by(&self.issuing.1, &by_root)
            .unwrap()
            .der()
            .to_vec()
    }

    pub fn evidence(&self, leaf: &CertificateParams) -> Evidence {
        let by_issuing = Issuer::from_params(&self.issuing.0, &self.issuing.1);
        let point = self.ak.key.public_key().as_ref();
        let key = Certified(&rcgen::PKCS_ECDSA_P256_SHA256, point);
        let mut evidence = self.ak.evidence(&Quote::new());
        evidence.ak_certificate = Some(leaf.signed_by(&key, &by_issuing).unwrap().der().to_vec());
        evidence
    }

    pub fn crl(&self, revoked: &[u64], next_update: i32) -> Vec<u8> {
        let by_issuing = Issuer::from_params(&self.issuing.0, &self.issuing.1);
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 5, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 2, 1),
            next_update: date_time_ymd(next_update, 12, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&by_issuing).unwrap().der().to_vec()
    }

    pub fn verify(
        &self,
        evidence: &Evidence,
        brought: &[(EndorsementKind, Vec<u8>)],
    ) -> Result<RawClaims, VerifyError> {
        let verifier = verifier(&[(AnchorRole::TpmRoot, self.root_der())]);
        let brought = brought
            .iter()
            .map(|(kind, bytes)| endorsement(*kind, bytes.clone()));
        verifier.verify(
            evidence.to_json().as_bytes(),
            &Endorsements(brought.collect()),
            NOW,
        )
    }
}

#[test]
fn a_certificate_up_to_a_trusted_root_vouches_for_the_key() {
    let world = World::new();
    let evidence = world.evidence(&leaf());
    let claims = world
        .verify(&evidence, &[(Certificate, world.issuing_der())])
        .unwrap();
    assert_eq!(claims.device.scheme, "tpm-ak-key");
    assert_eq!(claims.attributes["ak_certificate_issuer"], "CN=Issuing CA");
    assert_eq!(claims.attributes["ak_certificate_serial"], "4d");
    assert_eq!(
        claims.endorsed_until.unwrap().to_string(),
        "2027-01-01T00:00:00.000Z"
    );
    assert!(
        matches!(&claims.revocation, Revocation::Unchecked { because } if because.contains("AK of machine 1")),
        "{:?}",
        claims.revocation
    );
    assert!(
        !claims.attributes.contains_key("ak_name"),
        "a certificate names the key, not its public area"
    );
}

#[test]
fn what_is_missing_is_asked_for_with_its_address() {
    let world = World::new();
    let evidence = world.evidence(&leaf());
    let error = world.verify(&evidence, &[]).unwrap_err();
    assert!(
        matches!(&error, VerifyError::EndorsementsMissing { wants }
            if wants.len() == 1 && wants[0].kind == Certificate && wants[0].subject.contains("CN=Issuing CA")),
        "{error}"
    );
    let bytes = evidence.to_json();
    let wants = verifier(&[(AnchorRole::TpmRoot, world.root_der())])
        .wants(bytes.as_bytes())
        .unwrap();
    assert_eq!(
        wants.iter().map(|want| want.kind).collect::<Vec<_>>(),
        [Certificate, Crl]
    );
    assert_eq!(wants[1].urls, ["http://ca.example/issuing.crl"]);
    let enrolled = verifier(&[(AnchorRole::TpmAttestationKey, world.ak.area.clone())]);
    assert_eq!(enrolled.wants(bytes.as_bytes()).unwrap(), []);
    let untrusting = verifier(&[])
        .verify(bytes.as_bytes(), &Endorsements::default(), NOW)
        .unwrap_err();
    assert!(
        matches!(&untrusting, VerifyError::Untrusted { what } if what.contains("`tpm-root`")),
        "{untrusting}"
    );
}

#[test]
fn revocation_lists_are_checked_where_they_come_along() {
    let world = World::new();
    let evidence = world.evidence(&leaf());
    let with = |list: Vec<u8>| world.verify(&evidence, &[(Certificate, world.issuing_der()), (Crl, list)]);
    let claims = with(world.crl(&[76], 2026)).unwrap();
    // The issuing authority is named by no list.
    assert!(
        matches!(&claims.revocation, Revocation::Unchecked { because } if because.contains("Issuing CA")),
        "{:?}",
        claims.revocation
    );
    let error = with(world.crl(&[76, 77], 2026)).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Untrusted { what }
            if what.contains("AK of machine 1 is revoked since 2026-05-01")),
        "{error}"
    );
    let namesake = World::new();
    let error = with(namesake.crl(&[], 2026)).unwrap_err();
    assert!(
        matches!(&error, VerifyError::EndorsementInvalid { what, .. } if what.contains("not its issuer's")),
        "{error}"
    );
    let later = nautilus_core::UnixMillis(NOW.0 + 20 * 86_400_000);
    let brought = [(Certificate, world.issuing_der()), (Crl, world.crl(&[], 2026))];
    let brought = brought.map(|(kind, bytes)| endorsement(kind, bytes)).to_vec();
    let error = verifier(&[(AnchorRole::TpmRoot, world.root_der())])
        .verify(evidence.to_json().as_bytes(), &Endorsements(brought), later)
        .unwrap_err();
    assert!(
        matches!(&error, VerifyError::EndorsementNotCurrent { what, .. } if what.contains("2026-12-01")),
        "{error}"
    );
    let error = with(vec![0x30, 0]).unwrap_err();
    assert!(
        matches!(&error, VerifyError::EndorsementInvalid { origin, .. } if origin == "the test"),
        "{error}"
    );
}

#[test]
fn a_list_of_every_authority_makes_it_checked() {
    // The root issues the key's certificate itself, so that one list covers all.
    let mut world = World::new();
    world.issuing = (
        world.root.0.clone(),
        KeyPair::try_from(world.root.1.serialize_der().as_slice()).unwrap(),
    );
    let evidence = world.evidence(&leaf());
    let claims = world.verify(&evidence, &[(Crl, world.crl(&[1], 2026))]).unwrap();
    let Revocation::Checked { until: Some(until) } = claims.revocation else {
        panic!("{:?}", claims.revocation);
    };
    assert_eq!(until.to_string(), "2026-12-01T00:00:00.000Z");
    assert_eq!(claims.endorsed_until, Some(until));
}

#[test]
fn certificates_that_do_not_vouch_for_this_key_are_refused() {
    let world = World::new();
    let refused = |leaf: CertificateParams, says: &str| {
        let error = world
            .verify(&world.evidence(&leaf), &[(Certificate, world.issuing_der())])
            .unwrap_err();
        assert!(
            matches!(&error, VerifyError::Untrusted { what } if what.contains(says)),
            "{says}: {error}"
        );
    };
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = leaf();
        change(&mut params);
        params
    };
    let ek = with(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])]);
    refused(ek, "lacks 2.23.133.8.3");
    refused(
        with(|p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
        "lacks digitalSignature",
    );
    refused(
        with(|p| p.not_after = date_time_ymd(2026, 2, 1)),
        "expired at 2026-02-01",
    );
    refused(
        with(|p| p.not_before = date_time_ymd(2026, 12, 1)),
        "valid from 2026-12-01",
    );
    refused(
        with(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        "a certificate authority's",
    );
    refused(
        with(|p| {
            let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            unknown.set_criticality(true);
            p.custom_extensions.push(unknown);
        }),
        "1.2.3.4 is critical",
    );
    let mut other = world.evidence(&leaf());
    other.ak_public = EccAk::new().area;
    let error = world
        .verify(&other, &[(Certificate, world.issuing_der())])
        .unwrap_err();
    assert!(
        matches!(&error, VerifyError::Untrusted { what } if what.contains("another key")),
        "{error}"
    );
    let mut broken = world.evidence(&leaf());
    broken.ak_certificate = Some(vec![0x30, 0]);
    let error = world.verify(&broken, &[]).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Malformed { what, .. } if what.starts_with("ak_certificate")),
        "{error}"
    );
}

#[test]
fn authorities_that_may_not_issue_are_refused() {
    let refused = |world: &World, says: &str| {
        let brought = [(Certificate, world.issuing_der())];
        let error = world.verify(&world.evidence(&leaf()), &brought).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Untrusted { what } if what.contains(says)),
            "{says}: {error}"
        );
    };
    let mut no_ca = ca("Issuing CA");
    no_ca.is_ca = IsCa::ExplicitNoCa;
    refused(&World::with_issuing(no_ca), "no certificate authority's");
    let mut no_signer = ca("Issuing CA");
    no_signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    refused(&World::with_issuing(no_signer), "not for signing certificates");
    let mut expired = ca("Issuing CA");
    expired.not_after = date_time_ymd(2026, 3, 1);
    refused(&World::with_issuing(expired), "expired at 2026-03-01");
    let mut short = World::new();
    short.root.0.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    refused(&short, "no chain of this length");

    // Another authority of the same name.
    let (world, other) = (World::new(), World::new());
    let error = world
        .verify(&world.evidence(&leaf()), &[(Certificate, other.issuing_der())])
        .unwrap_err();
    assert!(
        matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("AK of machine 1")),
        "{error}"
    );
    // Another root of the same name.
    let error = other
        .verify(&world.evidence(&leaf()), &[(Certificate, world.issuing_der())])
        .unwrap_err();
    assert!(
        matches!(&error, VerifyError::SignatureInvalid { what } if what.contains("Issuing CA")),
        "{error}"
    );
}
