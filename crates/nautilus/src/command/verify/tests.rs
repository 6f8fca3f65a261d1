use nautilus_core::{EndorsementKind, Shortfall, TcbStatus, TrustAnchors, Want};

use super::*;

fn shortfall() -> Shortfall {
    Shortfall {
        component: "SGX TCB component 3".to_owned(),
        have: 4,
        needs: 5,
        level: TcbStatus::UpToDate,
        since: "2025-05-14".to_owned(),
    }
}

#[test]
fn the_tcb_is_told_with_what_it_is_under_other_evaluations() {
    let nothing = Tcb::default();
    assert_eq!(
        tcb_lines(&nothing),
        ["tcb        no verdict: the vendor publishes no levels"]
    );
    let tcb = Tcb {
        status: Some(TcbStatus::UpToDate),
        date: Some("2024-11-13".to_owned()),
        advisories: vec!["INTEL-SA-1".to_owned(), "INTEL-SA-2".to_owned()],
        evaluation: Some(17),
        shortfalls: Vec::new(),
        other_evaluations: vec![
            Tcb {
                status: Some(TcbStatus::OutOfDate),
                date: Some("2024-11-13".to_owned()),
                evaluation: Some(18),
                shortfalls: vec![shortfall()],
                ..Tcb::default()
            },
            Tcb {
                evaluation: Some(19),
                ..Tcb::default()
            },
        ],
    };
    assert_eq!(
        tcb_lines(&tcb),
        [
            "tcb        UpToDate (level of 2024-11-13)",
            "advisories INTEL-SA-1, INTEL-SA-2",
            "  under evaluation 18: OutOfDate (level of 2024-11-13)",
            "  short    SGX TCB component 3 is 4, level UpToDate of 2025-05-14 needs 5",
            "  under evaluation 19: meets no level",
        ]
    );
}

#[test]
fn advice_names_the_option_that_helps() {
    let not_enrolled = VerifyError::KeyNotEnrolled {
        what: "device key".to_owned(),
    };
    let roles = |tee| {
        let lines = advice(tee, &not_enrolled);
        assert!(lines[0].contains("No vendor vouches"), "{lines:?}");
        lines[1..].to_vec()
    };
    assert_eq!(
        roles(Some(TeeKind::Tpm)),
        ["  --trust tpm-ak=PATH", "  --trust tpm-root=PATH"]
    );
    assert_eq!(roles(Some(TeeKind::Keystone)), ["  --trust keystone-device=PATH"]);
    assert_eq!(roles(Some(TeeKind::TrustZone)).len(), 3);
    assert_eq!(roles(None).len(), AnchorRole::ALL.len());
    let missing = VerifyError::EndorsementsMissing {
        wants: vec![Want {
            kind: EndorsementKind::Certificate,
            subject: "a VCEK".to_owned(),
            urls: vec!["https://vendor.example/vcek".to_owned()],
        }],
    };
    assert_eq!(
        advice(None, &missing),
        [
            "Get these and name them with --endorsements:",
            "  https://vendor.example/vcek"
        ]
    );
    assert!(advice(None, &VerifyError::NotRecognised)[0].contains("--tee NAME"));
    assert_eq!(advice(None, &VerifyError::Empty), Vec::<String>::new());
}

fn read(bytes: &[u8], tee: Option<TeeKind>) -> Result<Input, (Option<TeeKind>, VerifyError)> {
    let set = nautilus_tee::production(&TrustAnchors::default()).unwrap();
    match read_evidence(bytes.to_vec(), &set, tee) {
        Ok(result) => result,
        Err(_) => panic!("wrong usage"),
    }
}

#[test]
fn the_callers_word_for_the_tee_goes_before_the_content() {
    let quote = include_bytes!("../../../../../vectors/sgx/sgx-v3-prod/quote.bin");
    let kind = |tee| read(quote, tee).map(|input| input.evidence.tee);
    assert_eq!(kind(None), Ok(TeeKind::Sgx));
    assert_eq!(kind(Some(TeeKind::Keystone)), Ok(TeeKind::Keystone));
    assert_eq!(
        read(b"nobody's", None).err(),
        Some((None, VerifyError::NotRecognised))
    );
    assert_eq!(
        read(b"nobody's", Some(TeeKind::Nitro)).map(|input| input.evidence.tee),
        Ok(TeeKind::Nitro)
    );
    // Also JSON, where it is no evidence file.
    let json = b"{\"format\": \"somebody/1\"}";
    assert_eq!(
        read(json, Some(TeeKind::Tpm)).map(|input| input.evidence.bytes),
        Ok(json.to_vec())
    );
    let Err((None, VerifyError::Malformed { what, .. })) = read(json, None) else {
        panic!("recognised");
    };
    assert!(what.starts_with("not an evidence file"), "{what}");
}

#[test]
fn an_evidence_file_is_one_by_its_format_alone() {
    for (json, is_one) in [
        ("{\"format\":\"nautilus-evidence/1\"}", true),
        (" {\"a\":[1],\"format\":\"nautilus-evidence/9\"}", true),
        ("{\"format\":\"nautilus-tpm/1\"}", false),
        ("{\"format\":7}", false),
        ("{\"format\":\"nautilus-evidence/1\",\"format\":\"x\"}", false),
        ("{}", false),
    ] {
        assert_eq!(is_evidence_file(json.as_bytes()), is_one, "{json}");
    }
    // A later version is not handed to a TEE's verifier, whatever the caller says.
    let later = b"{\"format\":\"nautilus-evidence/9\"}";
    assert!(matches!(
        read(later, Some(TeeKind::Tpm)),
        Err((None, VerifyError::Malformed { .. }))
    ));
}
