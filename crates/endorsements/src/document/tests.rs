use super::*;
use crate::fixture::{COLLATERAL, NOW, OTHER, collateral, crl, vector};

#[test]
fn collateral_says_what_it_is_for() {
    let document = collateral(COLLATERAL);
    assert_eq!(
        document.subject().to_string(),
        "TDX platform B0C06F000000 (platform CA), evaluation 20"
    );
    assert!(document.validity().contains(NOW));
    assert_eq!(
        collateral(OTHER).subject().to_string(),
        "TDX platform 90C06F000000 (platform CA), evaluation 18"
    );
    let sgx = collateral("sgx/sgx-v3-prod/collateral-0.json");
    assert_eq!(
        sgx.subject().to_string(),
        "SGX platform 00A067110000 (processor CA), evaluation 17"
    );
}

#[test]
fn certificates_of_amds_say_what_they_are_for() {
    for (path, subject) in [
        ("snp/milan-v2-vcek/vek.der", "at bl03-tee00-snp08-ucode115"),
        ("snp/turin-v5-vcek/vek.der", "at fmc"),
        ("snp/milan-v3-vlek-vmpl1/vek.der", "Milan VLEK at bl"),
    ] {
        let documents = Document::recognise(vector(path)).unwrap();
        let found = documents[0].subject().to_string();
        assert!(found.contains(subject), "{path}: {found}");
    }
    let chain = Document::recognise(vector("snp/roots/milan_ask_ark_asvk.pem")).unwrap();
    let names: Vec<_> = chain
        .iter()
        .map(|document| document.subject().to_string())
        .collect();
    assert_eq!(names.len(), 3);
    assert!(names[1].contains("CN=ARK-Milan"), "{names:?}");
}

#[test]
fn a_revocation_list_belongs_to_its_issuer() {
    let subject = |issuer| Document::recognise(crl(issuer)).unwrap()[0].subject().to_string();
    assert_eq!(subject("ARK-Genoa"), "revocations by ARK-Genoa");
    assert_eq!(subject("ARK-../../x"), "revocations by CN=ARK-../../x");
    assert_eq!(subject("Mallory"), "revocations by CN=Mallory");
}

#[test]
fn both_ends_count_in_whole_seconds() {
    let validity = Validity {
        from: UnixMillis(10_000),
        until: Some(UnixMillis(20_000)),
    };
    let at = [9_999, 10_000, 15_000, 20_000, 20_999, 21_000].map(|at| validity.contains(UnixMillis(at)));
    assert_eq!(at, [false, true, true, true, true, false]);
    let endless = Validity {
        until: None,
        ..validity
    };
    assert!(endless.contains(UnixMillis(u64::MAX)));
}

#[test]
fn parts_that_never_hold_together_are_refused() {
    let old = collateral("sgx/sgx-v3-prod/collateral-0.json");
    let text = String::from_utf8(old.bytes().to_vec()).unwrap();
    let late = text.replace("2025-06-19T10:01:18Z", "2036-06-19T10:01:18Z");
    assert_ne!(late, text);
    let result = Document::read(EndorsementKind::DcapCollateral, late.into_bytes());
    assert!(
        matches!(result, Err(DocumentError::NeverCurrent { .. })),
        "{result:?}"
    );
}

#[test]
fn hostile_documents_are_refused_by_name() {
    let recognise = |bytes: &[u8]| Document::recognise(bytes.to_vec()).unwrap_err();
    assert!(matches!(
        recognise(&vec![b'{'; 2_000_000]),
        DocumentError::TooLarge { limit: 1_048_576 }
    ));
    for bytes in [&b""[..], b"x", b"\x30\x84\xff\xff\xff\xff", b"<html>"] {
        assert!(
            matches!(recognise(bytes), DocumentError::NotRecognised { .. }),
            "{bytes:?}"
        );
    }
    assert!(matches!(
        recognise(b"{}"),
        DocumentError::Malformed {
            kind: EndorsementKind::DcapCollateral,
            ..
        }
    ));
    let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(recognise(key).to_string().contains("PEM block `PRIVATE KEY`"));
    assert!(
        recognise(b"-----BEGIN CERTIFICATE-----\n")
            .to_string()
            .contains("0 PEM blocks")
    );
    let old = vector("sgx/sgx-v3-occlum-debug/collateral-0.json");
    assert!(matches!(recognise(&old), DocumentError::Malformed { .. }));
    let vcek = vector("snp/milan-v2-vcek/vek.der");
    for length in (0..vcek.len()).step_by(7) {
        assert!(
            matches!(recognise(&vcek[..length]), DocumentError::NotRecognised { .. }),
            "{length}"
        );
    }
    let longer = [&vcek[..], b"x"].concat();
    assert!(matches!(recognise(&longer), DocumentError::NotRecognised { .. }));
}

#[test]
fn no_flipped_byte_panics_or_leads_out_of_the_store() {
    let vcek = vector("snp/milan-v2-vcek/vek.der");
    for at in 0..vcek.len() {
        let mut flipped = vcek.clone();
        flipped[at] ^= 0x24;
        let subject =
            Document::read(EndorsementKind::Certificate, flipped).map(|document| document.subject().clone());
        if let Ok(Subject::Vcek { product, .. }) = subject {
            let name = product.to_string();
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{at}: {name}");
        }
    }
}

#[test]
fn a_product_is_a_plain_name() {
    for name in ["Milan", "Genoa", "Turin", "Siena2"] {
        assert_eq!(name.parse::<Product>().unwrap().to_string(), name);
    }
    for name in [
        "",
        "milan",
        "..",
        "Milan/..",
        "Mi lan",
        "Mil\u{e4}n",
        "M234567890123456x",
    ] {
        assert!(name.parse::<Product>().is_err(), "{name}");
    }
}
