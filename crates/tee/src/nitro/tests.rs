//! Documents of a fake AWS with its own root: genuine ones, and every kind of bad one.

use std::sync::LazyLock;

use ciborium::Value;
use nautilus_core::{
    Endorsement, EndorsementKind, Endorsements, Measurement, RawClaims, Revocation, TeeVerifier as _,
    UnixMillis, VerifyError,
};
use nautilus_testkit::vendor::aws::{Aws, LEVELS, NOW, encoded, field, p384};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, IsCa, KeyIdMethod, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::Verifier;

type Edit = fn(usize, &mut CertificateParams);

static GENUINE: LazyLock<Aws> = LazyLock::new(Aws::genuine);

fn issue(edit: Edit, curve_of: fn(usize) -> &'static rcgen::SignatureAlgorithm) -> Aws {
    Aws::issue(LEVELS, edit, curve_of)
}

trait Judged {
    /// What a verifier with the genuine root says of a document.
    fn verify(&self, document: &[u8]) -> Result<RawClaims, VerifyError>;

    /// Verifies an otherwise good document with this chain, under its own root.
    fn verdict(&self) -> Result<RawClaims, VerifyError>;
}

impl Judged for Aws {
    fn verify(&self, document: &[u8]) -> Result<RawClaims, VerifyError> {
        Verifier::with_root(GENUINE.cabundle[0].clone()).verify(document, &Endorsements::default(), NOW)
    }

    fn verdict(&self) -> Result<RawClaims, VerifyError> {
        Verifier::with_root(self.cabundle[0].clone()).verify(
            &self.document(|_| {}),
            &Endorsements::default(),
            NOW,
        )
    }
}

#[test]
fn a_genuine_document_verifies() {
    let claims = GENUINE.verify(&GENUINE.document(|_| {})).unwrap();
    assert!(!claims.debug);
    assert_eq!(claims.report_data, [[0x0e; 32], [0xda; 32]].concat());
    assert_eq!(claims.device.scheme, "nitro-module");
    assert_eq!(claims.device.id, "i-0123-enc4567");
    assert_eq!(claims.measurements["pcr2"], Measurement(vec![3; 48]));
    assert_eq!(claims.made_at, Some(NOW));
    // 2025-10-10, through its last second.
    assert_eq!(claims.endorsed_until, Some(UnixMillis(1_760_054_400_999)));
    let Revocation::Unchecked { because } = &claims.revocation else {
        panic!("{:?}", claims.revocation);
    };
    assert!(
        because.contains("http://crl.example/1, http://crl.example/2"),
        "{because}"
    );
}

#[test]
fn the_tag_may_be_there() {
    let document = GENUINE.document(|_| {});
    let tagged = [&[0xd2], document.as_slice()].concat();
    assert_eq!(GENUINE.verify(&tagged), GENUINE.verify(&document));
    assert!(super::recognises(&tagged) && super::recognises(&document));
}

#[test]
fn what_the_enclave_had_signed() {
    let report_data = |nonce: Value, user_data: Value| {
        let document = GENUINE.document(|fields| {
            *field(fields, "nonce") = nonce;
            *field(fields, "user_data") = user_data;
        });
        GENUINE.verify(&document).unwrap().report_data
    };
    let bytes = |byte: u8, count: usize| Value::Bytes(vec![byte; count]);
    assert_eq!(report_data(bytes(1, 64), Value::Null), [1; 64]);
    assert_eq!(report_data(Value::Null, bytes(2, 64)), [2; 64]);
    assert_eq!(report_data(bytes(1, 31), bytes(2, 32)), [1; 31]);
    assert_eq!(report_data(Value::Null, Value::Null), [0; 0]);
}

#[test]
fn zero_in_any_image_register_is_debug() {
    for zeroed in 0..4_usize {
        let document = GENUINE.document(|fields| {
            let pcrs = field(fields, "pcrs").as_map_mut().unwrap();
            pcrs[zeroed].1 = Value::Bytes(vec![0; 48]);
        });
        assert_eq!(
            GENUINE.verify(&document).unwrap().debug,
            zeroed < 3,
            "PCR {zeroed}"
        );
    }
}

#[test]
fn chains_that_aws_would_not_issue_are_refused() {
    let cases: [(&str, Edit); 9] = [
        ("certificate 2 of `cabundle` is valid from", |level, params| {
            if level == 2 {
                params.not_after = date_time_ymd(2025, 2, 1);
            }
        }),
        ("certificate 1 of `cabundle` is valid from", |level, params| {
            if level == 1 {
                params.not_before = date_time_ymd(2025, 12, 1);
            }
        }),
        ("leaf certificate is valid from", |level, params| {
            if level == 4 {
                params.not_after = date_time_ymd(2025, 10, 9);
            }
        }),
        (
            "certificate 2 of `cabundle` is of no certificate authority",
            |level, params| {
                if level == 2 {
                    params.is_ca = IsCa::ExplicitNoCa;
                }
            },
        ),
        (
            "certificate 3 of `cabundle` is not for signing certificates",
            |level, params| {
                if level == 3 {
                    params.key_usages = vec![KeyUsagePurpose::CrlSign];
                }
            },
        ),
        (
            "certificate 1 of `cabundle` has 2 authorities below it",
            |level, params| {
                if level == 1 {
                    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
                }
            },
        ),
        (
            "leaf certificate is of a certificate authority",
            |level, params| {
                if level == 4 {
                    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                }
            },
        ),
        (
            "leaf certificate is not for signing documents",
            |level, params| {
                if level == 4 {
                    params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
                }
            },
        ),
        (
            "certificate 2 of `cabundle` has the unknown critical extension 1.2.3.4",
            |level, params| {
                if level == 2 {
                    let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                    extension.set_criticality(true);
                    params.custom_extensions.push(extension);
                }
            },
        ),
    ];
    for (expected, edit) in cases {
        refused(issue(edit, p384).verdict(), expected);
    }
}

fn refused(verdict: Result<RawClaims, VerifyError>, expected: &str) {
    match verdict {
        Err(VerifyError::Untrusted { what }) => assert!(what.contains(expected), "{what}, not {expected}"),
        other => panic!("{other:?}, not {expected}"),
    }
}

#[test]
fn a_key_on_another_curve_is_refused() {
    let mixed = issue(
        |_, _| {},
        |level| {
            if level == 3 {
                &PKCS_ECDSA_P256_SHA256
            } else {
                &PKCS_ECDSA_P384_SHA384
            }
        },
    );
    refused(
        mixed.verdict(),
        "certificate 3 of `cabundle` has a key that lies not on P-384",
    );
}

#[test]
fn only_the_pinned_root_counts() {
    let own = issue(|_, _| {}, p384);
    refused(
        own.verify(&own.document(|_| {})),
        "does not start with the pinned root",
    );
    // Its intermediates under the genuine root: the names agree, the signature does not.
    let mut grafted = own.cabundle.clone();
    grafted[0].clone_from(&GENUINE.cabundle[0]);
    let document = own.document(|fields| {
        *field(fields, "cabundle") = Value::Array(grafted.into_iter().map(Value::Bytes).collect());
    });
    let error = own.verify(&document).unwrap_err();
    assert_eq!(
        error,
        VerifyError::SignatureInvalid {
            what: "certificate 1 of `cabundle`, by the certificate above it".to_owned()
        }
    );
}

#[test]
fn order_of_the_bundle_counts() {
    let swapped = GENUINE.document(|fields| field(fields, "cabundle").as_array_mut().unwrap().swap(1, 2));
    // The second allows no authority but its own below it.
    refused(
        GENUINE.verify(&swapped),
        "certificate 1 of `cabundle` has 2 authorities below it",
    );
    let without =
        GENUINE.document(|fields| drop(field(fields, "cabundle").as_array_mut().unwrap().remove(2)));
    refused(
        GENUINE.verify(&without),
        "certificate 2 of `cabundle` names another issuer",
    );
    let root_last = GENUINE.document(|fields| field(fields, "cabundle").as_array_mut().unwrap().reverse());
    refused(GENUINE.verify(&root_last), "does not start with the pinned root");
}

#[test]
fn a_document_by_another_key_is_refused() {
    let own = issue(|_, _| {}, p384);
    let document = own.document(|fields| *fields = GENUINE.fields());
    assert_eq!(
        GENUINE.verify(&document).unwrap_err(),
        VerifyError::SignatureInvalid {
            what: "attestation document, by its leaf certificate".to_owned()
        }
    );
}

#[test]
fn payloads_that_no_module_writes_are_refused() {
    type Change = fn(&mut Vec<(Value, Value)>);
    let cases: [(&str, Change); 22] = [
        ("payload has the key `extra`, which is none", |f| {
            f[8].0 = "extra".into()
        }),
        ("payload has more than 9 elements", |f| {
            f.push(("extra".into(), Value::Null))
        }),
        ("payload has the key `nonce` twice", |f| f[7].0 = "nonce".into()),
        ("payload has the key 1, which is none", |f| f[8].0 = 1.into()),
        ("payload lacks `module_id`", |f| drop(f.remove(0))),
        ("payload lacks `digest`", |f| drop(f.remove(1))),
        ("payload lacks `timestamp`", |f| drop(f.remove(2))),
        ("payload lacks `pcrs`", |f| drop(f.remove(3))),
        ("payload lacks `certificate`", |f| drop(f.remove(4))),
        ("payload lacks `cabundle`", |f| drop(f.remove(5))),
        ("`module_id` names no module", |f| f[0].1 = "".into()),
        ("`digest` is `SHA512`, not `SHA384`", |f| f[1].1 = "SHA512".into()),
        ("`timestamp` is not an unsigned integer", |f| f[2].1 = (-1).into()),
        ("`timestamp` is zero", |f| f[2].1 = 0.into()),
        ("`pcrs` lacks PCR 0", |f| f[3].1 = Value::Map(Vec::new())),
        ("PCR 0 has 32 bytes", |f| {
            f[3].1.as_map_mut().unwrap()[0].1 = Value::Bytes(vec![1; 32])
        }),
        ("`pcrs` has the key 32, which is no register", |f| {
            f[3].1.as_map_mut().unwrap()[15].0 = 32.into()
        }),
        ("`certificate` has 1025 bytes, more than 1024", |f| {
            f[4].1 = Value::Bytes(vec![1; 1025])
        }),
        ("`cabundle` is empty", |f| f[5].1 = Value::Array(Vec::new())),
        ("`cabundle` has more than 10 elements", |f| {
            f[5].1 = Value::Array(vec![Value::Bytes(vec![1]); 11])
        }),
        ("`public_key` has 1025 bytes, more than 1024", |f| {
            f[6].1 = Value::Bytes(vec![1; 1025])
        }),
        ("`nonce` has 513 bytes, more than 512", |f| {
            f[8].1 = Value::Bytes(vec![1; 513])
        }),
    ];
    for (expected, change) in cases {
        malformed(GENUINE.verify(&GENUINE.document(change)), expected);
    }
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
fn envelopes_that_no_module_writes_are_refused() {
    let document = GENUINE.document(|_| {});
    let payload = encoded(&Value::Map(GENUINE.fields()));
    let changed = |at: usize, bytes: &[u8], removed: usize| {
        let mut changed = document.clone();
        changed.splice(at..at + removed, bytes.iter().copied());
        changed
    };
    malformed(
        GENUINE.verify(&changed(0, &[0x9f], 1)),
        "attestation document has an indefinite length",
    );
    malformed(
        GENUINE.verify(&changed(0, &[0x98, 4], 1)),
        "attestation document does not have its shortest form",
    );
    malformed(
        GENUINE.verify(&changed(0, &[0x83], 1)),
        "attestation document has 3 elements, not 4",
    );
    malformed(
        GENUINE.verify(&changed(6, &[0xa1, 0x04, 0x41, 0x00], 1)),
        "holds 1 parameters that nothing signs",
    );
    malformed(
        GENUINE.verify(&changed(0, &[0xd1, 0x84], 1)),
        "is a COSE_Sign1 by ES384".replace("Sign1", "Mac0").as_str(),
    );
    malformed(GENUINE.verify(&changed(0, &[0xd8, 0x62, 0x84], 1)), "has tag 98");
    let sign = |protected: &[u8], payload: &[u8]| GENUINE.verify(&GENUINE.sign(protected, payload));
    malformed(
        sign(&[0xa1, 0x01, 0x26], &payload),
        "names algorithm -7, which is none of ES384",
    );
    malformed(
        sign(&[], &payload),
        "protected header of attestation document is cut short",
    );
    malformed(sign(&[0xa0], &payload), "names no algorithm");
    malformed(
        sign(&[0xa2, 0x01, 0x38, 0x22, 0x04, 0x40], &payload),
        "holds parameter 4, which does not belong",
    );
    malformed(
        sign(&[0xa2, 0x01, 0x38, 0x22, 0x02, 0x81, 0x01], &payload),
        "names critical parameters",
    );
    malformed(
        sign(&[0xa2, 0x01, 0x38, 0x22, 0x01, 0x38, 0x22], &payload),
        "has the key 1 twice",
    );
    malformed(
        sign(&[0xa1, 0x01, 0x38, 0x22, 0x00], &payload),
        "1 bytes follow protected header",
    );
    let es384: &[u8] = &[0xa1, 0x01, 0x38, 0x22];
    malformed(
        sign(es384, &[payload.as_slice(), &[0]].concat()),
        "1 bytes follow payload",
    );
    // `module_id` as a text of indefinite length, in one piece.
    let at = payload
        .windows(9)
        .position(|window| window == b"module_id")
        .unwrap()
        + 9;
    let mut pieces = payload.clone();
    pieces.insert(at, 0x7f);
    pieces.insert(at + 1 + 15, 0xff);
    malformed(sign(es384, &pieces), "`module_id` has an indefinite length");
    let trailing = [document.as_slice(), &[0]].concat();
    assert_eq!(
        GENUINE.verify(&trailing).unwrap_err(),
        VerifyError::TrailingBytes {
            offset: document.len(),
            length: 1
        }
    );
}

#[test]
fn a_document_from_the_future_or_beyond_its_certificate_is_refused() {
    let at = |millis: u64| GENUINE.verify(&GENUINE.document(|f| f[2].1 = millis.into()));
    assert!(at(NOW.0 + 5 * 60 * 1000).is_ok());
    let invalid = |verdict: Result<RawClaims, VerifyError>, expected: &str| match verdict {
        Err(VerifyError::AttributeInvalid { what }) => assert!(what.contains(expected), "{what}"),
        other => panic!("{other:?}"),
    };
    invalid(at(NOW.0 + 5 * 60 * 1000 + 1), "lies in the future");
    invalid(at(1_759_967_999_999), "lies outside of the leaf certificate's");
}

#[test]
fn a_remembered_chain_is_forgotten_when_it_ends() {
    let verifier = Verifier::with_root(GENUINE.cabundle[0].clone());
    let document = GENUINE.document(|_| {});
    let cold = verifier.verify(&document, &Endorsements::default(), NOW).unwrap();
    let warm = verifier.verify(&document, &Endorsements::default(), NOW).unwrap();
    assert_eq!(cold, warm);
    let year_later = UnixMillis(NOW.0 + 365 * 24 * 3600 * 1000);
    refused(
        verifier.verify(&document, &Endorsements::default(), year_later),
        "root certificate is valid from",
    );
    // Another bundle is another chain.
    let without =
        GENUINE.document(|fields| drop(field(fields, "cabundle").as_array_mut().unwrap().remove(2)));
    refused(
        verifier.verify(&without, &Endorsements::default(), NOW),
        "certificate 2 of `cabundle` names another issuer",
    );
}

/// A list by the issuer at `level`.
fn list(aws: &Aws, level: usize, revoked: &[u64], until_year: i32) -> Endorsement {
    scoped_list(aws, level, revoked, until_year, None)
}

fn scoped_list(
    aws: &Aws,
    level: usize,
    revoked: &[u64],
    until_year: i32,
    scope: Option<CrlIssuingDistributionPoint>,
) -> Endorsement {
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2025, 9, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(until_year.min(2025), 9, 1),
        next_update: date_time_ymd(until_year, 12, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: scope,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Endorsement {
        kind: EndorsementKind::Crl,
        bytes: params.signed_by(&aws.issuers[level]).unwrap().der().to_vec(),
        origin: format!("list-{level}"),
    }
}

#[test]
fn lists_that_came_along_are_held_against_the_chain() {
    let verifier = Verifier::with_root(GENUINE.cabundle[0].clone());
    let document = GENUINE.document(|_| {});
    let verify = |lists: Vec<Endorsement>| verifier.verify(&document, &Endorsements(lists), NOW);
    let (root, first) = (list(&GENUINE, 0, &[7], 2025), list(&GENUINE, 1, &[], 2026));
    let claims = verify(vec![root.clone(), first.clone()]).unwrap();
    assert!(matches!(
        claims.revocation,
        Revocation::Checked { until: Some(_) }
    ));
    let partly = verify(vec![root.clone()]).unwrap().revocation;
    assert!(matches!(partly, Revocation::Unchecked { because } if because.contains("crl.example/2")));
    refused(
        verify(vec![list(&GENUINE, 0, &[1001], 2025), first.clone()]),
        "is revoked by the list from list-0",
    );
    refused(
        verify(vec![root.clone(), list(&GENUINE, 1, &[1002], 2026)]),
        "is revoked by the list from list-1",
    );
    // The leaf's serial on the root's list is another certificate's.
    assert!(verify(vec![list(&GENUINE, 0, &[1004], 2025)]).is_ok());
    let stale = verify(vec![list(&GENUINE, 0, &[], 2024)]).unwrap_err();
    assert!(matches!(stale, VerifyError::EndorsementNotCurrent { origin, .. } if origin == "list-0"));
    refused(verify(vec![list(&GENUINE, 0, &[1001], 2024)]), "is revoked");
    let forged = verify(vec![list(&issue(|_, _| {}, p384), 0, &[1001], 2025)]).unwrap_err();
    assert!(
        matches!(forged, VerifyError::EndorsementInvalid { what, .. } if what.contains("not signed by the issuer"))
    );
    let wants = verifier.wants(&document).unwrap();
    let urls: Vec<&str> = wants
        .iter()
        .flat_map(|want| &want.urls)
        .map(String::as_str)
        .collect();
    assert_eq!(urls, ["http://crl.example/1", "http://crl.example/2"]);
}

#[test]
fn a_list_of_a_part_does_not_serve() {
    let verifier = Verifier::with_root(GENUINE.cabundle[0].clone());
    let document = GENUINE.document(|_| {});
    let verify = |url: &str, scope: Option<CrlScope>| {
        let scope = CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint {
                uris: vec![url.to_owned()],
            },
            scope,
        };
        let root = scoped_list(&GENUINE, 0, &[], 2025, Some(scope));
        let first = list(&GENUINE, 1, &[], 2026);
        verifier.verify(&document, &Endorsements(vec![root, first]), NOW)
    };
    for scope in [None, Some(CrlScope::CaCertsOnly)] {
        let revocation = verify("http://crl.example/1", scope).unwrap().revocation;
        assert!(matches!(revocation, Revocation::Checked { .. }), "{revocation:?}");
    }
    for (url, scope) in [
        ("http://crl.example/1", Some(CrlScope::UserCertsOnly)),
        ("http://crl.example/2", None),
    ] {
        let error = verify(url, scope).unwrap_err();
        assert!(
            matches!(&error, VerifyError::EndorsementInvalid { what, .. } if what.contains("does not cover")),
            "{error:?}"
        );
    }
}

/// How many signatures it takes to come to a verdict.
fn cost<T>(verdict: impl FnOnce() -> T) -> (T, u64) {
    let before = crate::signatures_verified();
    let verdict = verdict();
    (verdict, crate::signatures_verified() - before)
}

/// docs/tee/nitro.md, "What verification costs".
#[test]
fn verification_costs_what_is_documented() {
    let document = GENUINE.document(|_| {});
    let verifier = Verifier::with_root(GENUINE.cabundle[0].clone());
    let verify = |lists: &[Endorsement]| {
        let (verdict, cost) = cost(|| verifier.verify(&document, &Endorsements(lists.to_vec()), NOW));
        assert!(verdict.is_ok(), "{verdict:?}");
        cost
    };
    assert_eq!(verify(&[]), 5, "three intermediates, the leaf, the document");
    assert_eq!(verify(&[]), 2, "the leaf and the document");
    let lists = [list(&GENUINE, 0, &[7], 2025), list(&GENUINE, 1, &[], 2026)];
    assert_eq!(verify(&lists), 4, "and two lists");
    let foreign = list(&issue(|_, _| {}, p384), 2, &[], 2026);
    assert_eq!(verify(&[foreign]), 2, "a list that the chain does not name");
}

#[test]
fn hostile_documents_cost_no_more_than_the_bound() {
    const BOUND: u64 = 27;
    let longest = Aws::issue(11, |_, _| {}, p384);
    assert_eq!(longest.cabundle.len(), 10);
    let verifier = Verifier::with_root(longest.cabundle[0].clone());
    let mut forged = longest.document(|_| {});
    *forged.last_mut().unwrap() ^= 1;
    let (verdict, spent) = cost(|| verifier.verify(&forged, &Endorsements::default(), NOW));
    assert!(
        matches!(&verdict, Err(VerifyError::SignatureInvalid { what }) if what.contains("attestation document")),
        "{verdict:?}"
    );
    assert_eq!(spent, 11);
    let same = list(&longest, 0, &[7], 2025);
    let verifier = Verifier::with_root(longest.cabundle[0].clone());
    let many = |count: usize| Endorsements(vec![same.clone(); count]);
    let (verdict, spent) = cost(|| verifier.verify(&longest.document(|_| {}), &many(2000), NOW));
    assert!(
        matches!(&verdict, Err(VerifyError::EndorsementInvalid { what, .. }) if what.contains("more than 16")),
        "{verdict:?}"
    );
    assert_eq!(spent, BOUND);
    let (verdict, spent) = cost(|| verifier.verify(&longest.document(|_| {}), &many(16), NOW));
    assert!(verdict.is_ok(), "{verdict:?}");
    assert_eq!(spent, 2 + 16);
    let one_too_long = Aws::issue(12, |_, _| {}, p384);
    let (verdict, spent) = cost(|| one_too_long.verdict());
    assert!(
        matches!(verdict, Err(VerifyError::Malformed { .. })),
        "{verdict:?}"
    );
    assert_eq!(spent, 0);
}
