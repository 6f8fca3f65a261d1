//! The signer's role and the rank of documents, on certificates and CRLs of a test root. What needs no other certificates is tested on real collateral.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension,
    DnType, IsCa, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};

use dcap_qvl::QuoteCollateralV3;

use super::document::{TCB_SIGNING, check_signer};
use super::*;

const NOW: UnixMillis = UnixMillis::from_secs(1_750_334_171);

struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new(name: &str) -> Self {
        let mut params = params(&[name]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    fn root(&self) -> Root {
        Root::of_der(self.issuer.der().to_vec())
    }

    fn issue(&self, params: CertificateParams) -> String {
        params
            .signed_by(&KeyPair::generate().unwrap(), &self.issuer)
            .unwrap()
            .pem()
    }

    fn crl(&self, number: &[u8]) -> Vec<u8> {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(2026, 1, 1),
            crl_number: SerialNumber::from_slice(number),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for name in names {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 1);
    params
}

/// Real documents.
fn real(origin: &str) -> Candidate<'_> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../vectors/sgx/sgx-v3-prod/collateral-0.json"
    );
    Candidate {
        origin,
        document: Arc::new(Document::read(&std::fs::read(path).unwrap()).unwrap()),
        known: false,
    }
}

fn check(chain: &str, root: &Root, now: UnixMillis) -> Result<(), VerifyError> {
    check_signer("here", "TCB Info", chain, now, root)
}

fn refusal(chain: &str, root: &Root) -> String {
    match check(chain, root, NOW) {
        Err(VerifyError::EndorsementInvalid { origin, what }) if origin == "here" => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tcb_signing_certificate_of_the_root_may_sign() {
    let pki = Pki::new("A Root");
    assert_eq!(
        check(&pki.issue(params(&[TCB_SIGNING])), &pki.root(), NOW),
        Ok(())
    );
}

#[test]
fn only_that_name_may_sign() {
    let pki = Pki::new("A Root");
    let nothing: &[&str] = &[];
    for names in [
        nothing,
        &["Intel SGX PCK Certificate"],
        &["Intel SGX TCB Signing 2"],
        &["intel sgx tcb signing"],
    ] {
        let what = refusal(&pki.issue(params(names)), &pki.root());
        assert!(what.starts_with("signer of TCB Info: certificate of `"), "{what}");
    }
}

#[test]
fn a_pck_by_that_name_may_not_sign() {
    let pki = Pki::new("A Root");
    let mut pck = params(&[TCB_SIGNING]);
    let sgx_extension = [1, 2, 840, 113_741, 1, 13, 1];
    pck.custom_extensions = vec![CustomExtension::from_oid_content(&sgx_extension, vec![0x30, 0])];
    let what = refusal(&pki.issue(pck), &pki.root());
    assert_eq!(
        what,
        "signer of TCB Info: a platform's PCK certificate may not sign it"
    );
}

#[test]
fn a_signer_of_another_issuer_is_not_trusted() {
    let (pki, other) = (Pki::new("A Root"), Pki::new("Another Root"));
    let error = check(&other.issue(params(&[TCB_SIGNING])), &pki.root(), NOW).unwrap_err();
    let what = "signer of TCB Info from here was issued by `CN=Another Root`".to_owned();
    assert_eq!(error, VerifyError::Untrusted { what });
}

#[test]
fn a_signer_signs_only_in_its_time() {
    let pki = Pki::new("A Root");
    let chain = pki.issue(params(&[TCB_SIGNING]));
    let at = |text: &str| check(&chain, &pki.root(), text.parse().unwrap());
    assert_eq!(at("2025-01-01T00:00:00Z"), Ok(()));
    assert_eq!(at("2026-01-01T00:00:00Z"), Ok(()));
    for (now, state) in [
        ("2024-12-31T23:59:59Z", "is not valid yet"),
        ("2026-01-01T00:00:01Z", "has expired"),
    ] {
        match at(now) {
            Err(VerifyError::EndorsementNotCurrent { what, .. }) => {
                assert!(
                    what.starts_with(&format!("TCB signing certificate {state}")),
                    "{what}"
                );
            }
            other => panic!("{now}: {other:?}"),
        }
    }
}

#[test]
fn chains_that_hold_no_certificate_are_refused() {
    let root = Root::intel();
    assert_eq!(refusal("", &root), "signer of TCB Info: no certificate");
    let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    assert_eq!(
        refusal(key, &root),
        "signer of TCB Info: PEM block `EC PRIVATE KEY` is no certificate"
    );
}

#[test]
fn of_equal_documents_the_first_is_taken() {
    let best = best(vec![real("first"), real("second"), real("third")]).unwrap();
    assert_eq!(best.origin, "first");
}

#[test]
fn documents_that_differ_only_in_a_crl_rank_by_its_number() {
    let pki = Pki::new("A Root");
    let offer = |origin: &'static str, change: &dyn Fn(&mut QuoteCollateralV3)| {
        let mut candidate = real(origin);
        let documents = &mut Arc::get_mut(&mut candidate.document).unwrap().documents;
        documents.root_ca_crl = pki.crl(&[1]);
        documents.pck_crl = pki.crl(&[0x7f]);
        change(documents);
        candidate
    };
    let plain = |origin| offer(origin, &|_| ());
    // More bytes, a higher bit, and the other CRL, whichever is offered first.
    let newer: [&dyn Fn(&mut QuoteCollateralV3); 4] = [
        &|documents| documents.pck_crl = pki.crl(&[0x01, 0x00]),
        &|documents| documents.pck_crl = pki.crl(&[0x80]),
        &|documents| documents.root_ca_crl = pki.crl(&[2]),
        &|documents| documents.pck_crl = pki.crl(&[0xff; 20]),
    ];
    for change in newer {
        assert_eq!(
            best(vec![plain("old"), offer("new", change)]).unwrap().origin,
            "new"
        );
        assert_eq!(
            best(vec![offer("new", change), plain("old")]).unwrap().origin,
            "new"
        );
    }
    let unreadable = || offer("unreadable", &|documents| documents.pck_crl = vec![0x30, 0]);
    assert_eq!(best(vec![unreadable(), plain("old")]).unwrap().origin, "old");
}

#[test]
fn an_evaluation_outranks_a_crl() {
    let pki = Pki::new("A Root");
    let (mut evaluated, mut listed) = (real("evaluated"), real("listed"));
    Arc::get_mut(&mut evaluated.document)
        .unwrap()
        .tcb_info
        .tcb_evaluation_data_number += 1;
    Arc::get_mut(&mut listed.document).unwrap().documents.root_ca_crl = pki.crl(&[0xff; 20]);
    assert_eq!(best(vec![listed, evaluated]).unwrap().origin, "evaluated");
}
