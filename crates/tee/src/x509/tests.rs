use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

use super::{AuthorityFault, Certificate, Digest, KeyFault, KeyUsageRule, PublicKey, Scheme, Signed};

fn scheme(identifier: &str) -> Option<Scheme> {
    let algorithm = hex::decode(identifier.replace(' ', "")).unwrap();
    let signed = Signed {
        tbs: &[],
        algorithm: &algorithm,
        signature: &[],
    };
    signed.scheme()
}

/// RSASSA-PSS with this digest, the digest of its mask, its salt's length, and what follows.
fn pss(hash: u8, mask: u8, salt: u8, rest: &str) -> String {
    let hash = format!("300d06096086480165030402{hash:02x}0500");
    let mask = format!("301a06092a864886f70d010108300d06096086480165030402{mask:02x}0500");
    let fields = format!("a00f{hash} a11c{mask} a203 0201{salt:02x} {rest}").replace(' ', "");
    let length = fields.len() / 2;
    format!(
        "30{:02x} 06092a864886f70d01010a 30{length:02x} {fields}",
        length + 2 + 11
    )
}

#[test]
fn a_scheme_is_its_algorithm_with_the_parameters_that_belong_to_it() {
    let sha384 = Some(Scheme::RsaPss(Digest::Sha384));
    assert_eq!(scheme(&pss(2, 2, 48, "")), sha384);
    assert_eq!(scheme(&pss(2, 2, 48, "a303020101")), sha384);
    assert_eq!(scheme(&pss(1, 1, 32, "")), Some(Scheme::RsaPss(Digest::Sha256)));
    assert_eq!(scheme(&pss(3, 3, 64, "")), Some(Scheme::RsaPss(Digest::Sha512)));
    for (what, wrong) in [
        ("another digest in the mask", pss(2, 1, 48, "")),
        ("another salt", pss(2, 2, 32, "")),
        ("another trailer", pss(2, 2, 48, "a303020102")),
        ("something behind", pss(2, 2, 48, "a403020101")),
        ("SHA-224", pss(4, 4, 28, "")),
        ("no parameters: SHA-1", "300b06092a864886f70d01010a".to_owned()),
        ("the defaults: SHA-1", "300d06092a864886f70d01010a3000".to_owned()),
        ("ECDSA with NULL", "300c06082a8648ce3d0403030500".to_owned()),
        ("ECDSA with SHA-1", "300906072a8648ce3d0401".to_owned()),
        ("RSA with SHA-1", "300d06092a864886f70d0101050500".to_owned()),
    ] {
        assert_eq!(scheme(&wrong), None, "{what}");
    }
    assert_eq!(
        scheme("300a06082a8648ce3d040303"),
        Some(Scheme::Ecdsa(Digest::Sha384))
    );
    for rsa in ["300d06092a864886f70d01010b0500", "300b06092a864886f70d01010b"] {
        assert_eq!(scheme(rsa), Some(Scheme::RsaPkcs1(Digest::Sha256)), "{rsa}");
    }
}

fn certificate(edit: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    edit(&mut params);
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .to_vec()
}

#[test]
fn an_authority_may_issue_as_deep_as_it_says() {
    use KeyUsageRule::{Required, WherePresent};
    let der = certificate(|_| {});
    let genuine = Certificate::parse(&der).unwrap();
    assert_eq!(genuine.check_authority(1, Required), Ok(()));
    assert_eq!(genuine.check_authority(2, Required), Err(AuthorityFault::TooDeep));
    let der = certificate(|params| params.key_usages = Vec::new());
    let silent = Certificate::parse(&der).unwrap();
    assert_eq!(silent.check_authority(0, WherePresent), Ok(()));
    assert_eq!(
        silent.check_authority(0, Required),
        Err(AuthorityFault::NotForCertificates)
    );
    let der = certificate(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let for_lists = Certificate::parse(&der).unwrap();
    assert_eq!(
        for_lists.check_authority(0, WherePresent),
        Err(AuthorityFault::NotForCertificates)
    );
    let der = certificate(|params| params.is_ca = IsCa::ExplicitNoCa);
    let leaf = Certificate::parse(&der).unwrap();
    assert_eq!(
        leaf.check_authority(0, WherePresent),
        Err(AuthorityFault::NotAuthority)
    );
}

#[test]
fn a_certificate_is_valid_through_its_last_second_and_signed_as_received() {
    let mut der = certificate(|_| {});
    let parts = Certificate::parse(&der).unwrap();
    let window = parts.window().unwrap();
    assert_eq!(
        (window.from.0, window.until.0),
        (1_735_689_600_000, 1_767_225_600_999)
    );
    let key = parts.key().unwrap();
    assert!(matches!(key, PublicKey::P256(_)), "{key:?}");
    assert_eq!(parts.signed.verify(&key), Ok(()));
    for cut in 0..der.len() {
        assert!(
            Certificate::parse(&der[..cut]).is_err_and(|fault| fault.starts_with("is no X.509 certificate")),
            "{cut}"
        );
    }
    der.push(0);
    assert!(Certificate::parse(&der).is_err_and(|fault| fault.starts_with("is no X.509 certificate")));
}

#[test]
fn keys_that_are_none_are_told_apart() {
    let point = |head: &str, length: usize| [hex::decode(head).unwrap(), vec![0x11; length]].concat();
    let read = |der: &[u8]| PublicKey::read(der).map(|_| ());
    assert_eq!(
        read(&point(
            "3059301306072a8648ce3d020106082a8648ce3d03010703420004",
            64
        )),
        Ok(())
    );
    assert_eq!(
        read(&point(
            "3039301306072a8648ce3d020106082a8648ce3d03010703220002",
            32
        )),
        Err(KeyFault::Point("P-256")),
        "a compressed point"
    );
    assert_eq!(
        read(&point("3056301006072a8648ce3d020106052b8104000a03420004", 64)),
        Err(KeyFault::Curve),
        "secp256k1"
    );
    assert!(matches!(
        read(&point("302a300506032b6570032100", 32)),
        Err(KeyFault::Algorithm(_))
    ));
    assert!(matches!(read(&[0x30, 0]), Err(KeyFault::Unreadable(_))));
}
