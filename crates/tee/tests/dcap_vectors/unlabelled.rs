//! Quotes that nobody labelled, and documents that are no collateral: each by itself.

use std::fs;

use nautilus_core::{Endorsements, TeeKind, TeeVerifier as _, UnixMillis, VerifyError, Want};
use nautilus_tee::{sgx, tdx};

use super::corpus::{self, Vector, endorsements, with_field};

const NOW: UnixMillis = UnixMillis::from_secs(1_750_334_171);

fn only_want(vector: &Vector) -> Want {
    let mut wants = corpus::verifier(vector.tee).wants(&vector.quote).unwrap();
    assert_eq!(wants.len(), 1);
    wants.remove(0)
}

#[test]
fn a_quote_without_its_collateral_says_what_it_wants() {
    for name in [
        "sgx-v3-debug-gramine-a",
        "sgx-v3-fortanix",
        "sgx-v3-fortanix-corrupted",
        "sgx-v3-oe-bad",
    ] {
        let vector = Vector::load(name);
        let want = only_want(&vector);
        assert_eq!(want.subject, "SGX platform 00906EA10000 (processor CA)", "{name}");
        assert_eq!(
            want.urls,
            [
                "https://api.trustedservices.intel.com/sgx/certification/v4/tcb?fmspc=00906EA10000",
                "https://api.trustedservices.intel.com/sgx/certification/v4/qe/identity",
                "https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=processor&encoding=der",
                "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
            ]
        );
        let error = vector
            .verify(&vector.quote, &Endorsements::default(), NOW)
            .unwrap_err();
        assert_eq!(
            error,
            VerifyError::EndorsementsMissing { wants: vec![want] },
            "{name}"
        );
        assert!(error.is_missing_input());
    }
    let want = only_want(&Vector::load("tdx-v4-azure-uptodate"));
    assert_eq!(want.subject, "TDX platform 90C06F000000 (platform CA)");
    assert!(
        want.urls[0].ends_with("/tdx/certification/v4/tcb?fmspc=90C06F000000"),
        "{:?}",
        want.urls
    );
}

#[test]
fn their_debug_bits_are_read() {
    let flags = |name: &str| sgx::parse_quote(&Vector::load(name).quote).unwrap().report.flags;
    assert_eq!(flags("sgx-v3-debug-gramine-a") & 0x2, 0x2);
    assert_eq!(flags("sgx-v3-occlum-debug") & 0x2, 0x2);
    assert_eq!(flags("sgx-v3-prod") & 0x2, 0);
}

#[test]
fn certification_data_without_a_chain_is_unsupported_by_name() {
    for (name, kind) in [
        (
            "sgx-v3-certtype-not5",
            "certification data of type 3 (PPID encrypted by RSA 3072)",
        ),
        (
            "sgx-v3-intel-sampleapp-testroot",
            "certification data of type 1 (PPID in plain text)",
        ),
    ] {
        let vector = Vector::load(name);
        let quote = sgx::parse_quote(&vector.quote).unwrap();
        assert_eq!(quote.extent.length, vector.quote.len(), "{name}");
        let results = [
            corpus::verifier(TeeKind::Sgx).wants(&vector.quote).map(|_| ()),
            vector
                .verify(&vector.quote, &Endorsements::default(), NOW)
                .map(|_| ()),
        ];
        for result in results {
            let Err(VerifyError::Unsupported { what }) = result else {
                panic!("{name}: {result:?}")
            };
            assert!(what.starts_with(kind), "{name}: {what}");
        }
    }
}

/// Its certificates come beside the quote, which names no platform: it is refused under its own root as
/// under Intel's.
#[test]
fn the_sample_of_another_root_is_refused_under_its_own_root_too() {
    let vector = Vector::load("sgx-v3-intel-sampleapp-testroot");
    let root = pem::parse(vector.file("trustedRootCaCert.pem"))
        .unwrap()
        .into_contents();
    let text = |file: &str| String::from_utf8(vector.file(file)).unwrap();
    let signed = |file: &str, field: &str| {
        let json: serde_json::Value = serde_json::from_str(&text(file)).unwrap();
        (
            json[field].to_string(),
            json["signature"].as_str().unwrap().to_owned(),
        )
    };
    let (tcb_info, tcb_info_signature) = signed("tcbInfo.json", "tcbInfo");
    let (qe_identity, qe_identity_signature) = signed("qeIdentity.json", "enclaveIdentity");
    let crl =
        |file: &str| hex::encode(pem::parse(text(file)).map_or(vector.file(file), pem::Pem::into_contents));
    let document = serde_json::json!({
        "pck_crl_issuer_chain": text("pckSignChain.pem"),
        "root_ca_crl": crl("rootCaCrl.pem"),
        "pck_crl": crl("intermediateCaCrl.pem"),
        "tcb_info_issuer_chain": text("tcbSignChain.pem"),
        "tcb_info": tcb_info,
        "tcb_info_signature": tcb_info_signature,
        "qe_identity_issuer_chain": text("tcbSignChain.pem"),
        "qe_identity": qe_identity,
        "qe_identity_signature": qe_identity_signature,
        "pck_certificate_chain": text("pckCert.pem") + &text("pckSignChain.pem"),
    });
    let own = sgx::Verifier::with_root(root, TeeKind::Simulated);
    assert_eq!(own.descriptor().tee, TeeKind::Simulated);
    let collateral = endorsements(&[("its own", serde_json::to_vec(&document).unwrap())]);
    let error = own.verify(&vector.quote, &collateral, NOW).unwrap_err();
    assert!(matches!(error, VerifyError::Unsupported { .. }), "{error:?}");
}

#[test]
fn a_genuine_quote_is_refused_under_another_root() {
    let sample = Vector::load("sgx-v3-intel-sampleapp-testroot");
    let root = pem::parse(sample.file("trustedRootCaCert.pem"))
        .unwrap()
        .into_contents();
    let vector = Vector::load("sgx-v3-prod");
    let label = &vector.labels[0];
    let other = sgx::Verifier::with_root(root, TeeKind::Simulated);
    let error = other
        .verify(&vector.quote, &vector.collateral(label), label.now)
        .unwrap_err();
    // The sample's root has Intel's name, so only signatures tell them apart.
    let refused = matches!(&error, VerifyError::Untrusted { .. })
        || matches!(&error, VerifyError::EndorsementInvalid { what, .. } if what.contains("root CA CRL"));
    assert!(refused, "{error:?}");
    assert!(
        other.wants(&vector.quote).unwrap()[0].urls.is_empty(),
        "Intel publishes nothing for another root"
    );
}

/// A file from the wild with text after a quote that meets no TCB level: the graver fault is named, and the
/// text alone is enough to refuse a quote that is good.
#[test]
fn text_after_a_quote_is_refused() {
    let bad = Vector::load("tdx-v4-spr-e4");
    let error = bad.verify_first(&bad.quote).unwrap_err();
    assert!(matches!(error, VerifyError::NoTcbLevel { .. }), "{error:?}");
    assert_eq!(
        tdx::parse_quote(&bad.quote),
        Err(VerifyError::TrailingBytes {
            offset: 4935,
            length: 39
        })
    );
    let good = Vector::load("sgx-v3-prod");
    let mut file = good.quote.clone();
    file.extend(*b"text");
    let error = good.verify_first(&file).unwrap_err();
    assert!(
        matches!(error, VerifyError::TrailingBytes { length: 4.., .. }),
        "{error:?}"
    );
}

#[test]
fn documents_that_are_no_collateral_are_refused_by_origin() {
    let vector = Vector::load("sgx-v3-prod");
    let label = &vector.labels[0];
    let genuine = vector.file(&label.collateral);
    let mut seen = 0;
    for folder in ["negative-tcbinfo", "negative-fortanix-corrupted"] {
        for entry in fs::read_dir(corpus::root().join("sgx").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let origin = path.file_name().unwrap().to_str().unwrap();
            // As a whole document, and in the place of TCB Info.
            for document in [
                text.clone().into_bytes(),
                with_field(&genuine, "tcb_info", |_| text.clone()),
            ] {
                let error = vector
                    .verify(&vector.quote, &endorsements(&[(origin, document)]), label.now)
                    .unwrap_err();
                let VerifyError::EndorsementInvalid { origin: named, what } = &error else {
                    panic!("{error:?}")
                };
                assert_eq!(named, origin);
                assert!(
                    what.starts_with("not DCAP collateral: ")
                        || what.starts_with("TCB Info cannot be read: "),
                    "{what}"
                );
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 10, "negative documents");
}

/// The part of those documents that claims to be TCB Info, in its place: none passes for TCB Info of
/// version 3.
#[test]
fn broken_tcb_info_is_refused() {
    let vector = Vector::load("sgx-v3-prod");
    let label = &vector.labels[0];
    let genuine = vector.file(&label.collateral);
    let mut seen = 0;
    for entry in fs::read_dir(corpus::root().join("sgx/negative-tcbinfo")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let Some(start) = text
            .find('{')
            .and_then(|outer| text[outer + 1..].find('{').map(|at| outer + 1 + at))
        else {
            panic!("no inner object in {text}");
        };
        let end = text
            .rfind("\"signature\"")
            .and_then(|at| text[..at].rfind('}'))
            .unwrap_or(text.len() - 1);
        let inner = text[start..=end].replace("00906EA10000", "00A067110000");
        let document = with_field(&genuine, "tcb_info", |_| inner);
        let error = vector
            .verify(&vector.quote, &endorsements(&[("broken", document)]), label.now)
            .unwrap_err();
        assert!(
            matches!(&error, VerifyError::EndorsementInvalid { origin, .. } if origin == "broken"),
            "{error:?}"
        );
        seen += 1;
    }
    assert_eq!(seen, 8);
}
