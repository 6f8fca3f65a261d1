//! Every quote against every label.

use nautilus_core::{RawClaims, VerifyError};

use super::corpus::{self, Label, Vector};

#[test]
fn every_label_is_met() {
    let mut met = 0;
    for vector in corpus::all() {
        for label in &vector.labels {
            let quote = &vector.quote;
            let result = vector.verify(quote, &vector.collateral(label), label.now);
            let context = format!("{} with {}: {}", vector.name, label.collateral, label.detail);
            match result {
                Ok(claims) => {
                    assert!(label.accepted, "accepted: {context}");
                    assert_claims(&claims, label, &context);
                }
                Err(error) => {
                    assert!(!label.accepted, "{error}: {context}");
                    assert_reason(&error, label, &context);
                }
            }
            met += 1;
        }
    }
    assert_eq!(met, 38, "labels");
}

fn assert_claims(claims: &RawClaims, label: &Label, context: &str) {
    let tcb = &claims.tcb;
    assert_eq!(
        tcb.status.unwrap().to_string(),
        after(&label.detail, "status=", " "),
        "{context}"
    );
    assert_eq!(
        format!("{:?}", tcb.advisories),
        after(&label.detail, "adv=", " tcb_date"),
        "{context}"
    );
    assert_eq!(
        tcb.date.as_deref(),
        Some(after(&label.detail, "tcb_date=", " ")),
        "{context}"
    );
    assert_eq!(
        tcb.evaluation.unwrap().to_string(),
        after(&label.detail, "eval=", " "),
        "{context}"
    );
    for (attribute, key) in [
        ("smt_enabled", "smt="),
        ("dynamic_platform", "dyn="),
        ("cached_keys", "cached="),
    ] {
        let labelled = after(&label.detail, key, " ").to_lowercase();
        assert_eq!(claims.attributes[attribute], labelled, "{context}");
    }
    let until = claims.endorsed_until.unwrap();
    assert!(until >= label.now, "{context}");
    let out_of_date = tcb.status.unwrap().to_string().starts_with("OutOfDate");
    assert!(
        !out_of_date || !tcb.shortfalls.is_empty(),
        "out of date without a reason: {context}"
    );
    assert!(
        tcb.shortfalls.iter().all(|short| short.have < short.needs),
        "{context}"
    );
    assert_eq!(claims.device.scheme, "intel-ppid");
    assert_eq!(claims.device.id.len(), 32);
    assert_eq!(claims.device.family.as_ref().unwrap().len(), 12);
}

fn assert_reason(error: &VerifyError, label: &Label, context: &str) {
    if label.detail.starts_with("No matching TCB level found") {
        let VerifyError::NoTcbLevel { shortfalls } = error else {
            panic!("{error:?}: {context}")
        };
        assert!(!shortfalls.is_empty(), "{context}");
        assert!(
            shortfalls.iter().all(|short| short.have < short.needs),
            "{context}"
        );
    } else if label.detail.starts_with("SEPT_VE_DISABLE is not enabled") {
        let what = "SEPT_VE_DISABLE is not enabled".to_owned();
        assert_eq!(*error, VerifyError::AttributeInvalid { what }, "{context}");
    } else if label.detail.contains("missing field `sgxtcbcomponents`") {
        let VerifyError::EndorsementInvalid { origin, what } = error else {
            panic!("{error:?}: {context}")
        };
        assert_eq!(*origin, label.collateral);
        assert!(what.contains("TCB Info version 2"), "{what}");
    } else {
        panic!("label of an unknown kind: {context}");
    }
}

fn after<'a>(detail: &'a str, key: &str, end: &str) -> &'a str {
    let (_, rest) = detail.split_once(key).unwrap();
    rest.split_once(end).unwrap().0
}

#[test]
fn an_out_of_date_platform_learns_what_to_update() {
    let vector = Vector::load("tdx-v4-8000B-outofdate");
    let claims = vector.verify_first(&vector.quote).unwrap();
    let told: Vec<_> = claims
        .tcb
        .shortfalls
        .iter()
        .map(|short| {
            (
                short.component.as_str(),
                short.have,
                short.needs,
                short.since.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "SGX TCB component 1 (BIOS: Early Microcode Update)",
                6,
                7,
                "2024-03-13T00:00:00Z"
            ),
            (
                "SGX TCB component 2 (OS/VMM: SGX Late Microcode Update)",
                6,
                7,
                "2024-03-13T00:00:00Z"
            ),
        ]
    );
}

#[test]
fn an_out_of_date_module_is_named() {
    let vector = Vector::load("tdx-v4-td10");
    let claims = vector.verify_first(&vector.quote).unwrap();
    let module = claims
        .tcb
        .shortfalls
        .iter()
        .find(|short| short.component == "TDX module TDX_01 ISVSVN")
        .unwrap();
    assert_eq!((module.have, module.needs), (6, 11));
}

#[test]
fn a_platform_below_every_level_learns_what_is_missing() {
    let vector = Vector::load("tdx-v5-td15-azure-nomatch");
    let error = vector.verify_first(&vector.quote).unwrap_err();
    let VerifyError::NoTcbLevel { shortfalls } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(shortfalls.len(), 1);
    assert_eq!(
        shortfalls[0].component,
        "SGX TCB component 8 (OS/VMM: SEAMLDR ACM)"
    );
    assert_eq!((shortfalls[0].have, shortfalls[0].needs), (3, 5));
}

#[test]
fn debug_is_a_claim_of_the_td() {
    let vector = Vector::load("tdx-v4-debug-td");
    assert!(vector.verify_first(&vector.quote).unwrap().debug);
    let vector = Vector::load("tdx-v4-td10");
    assert!(!vector.verify_first(&vector.quote).unwrap().debug);
}

#[test]
fn registers_have_their_vendors_names() {
    let names = |name: &str| {
        let vector = Vector::load(name);
        let claims = vector.verify_first(&vector.quote).unwrap();
        assert!(
            claims
                .measurements
                .values()
                .all(|value| value.0.len() == if name.starts_with("sgx") { 32 } else { 48 })
        );
        claims.measurements.into_keys().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("sgx-v3-prod"), "mrenclave mrsigner");
    let td10 = "mrconfigid mrowner mrownerconfig mrseam mrsignerseam mrtd rtmr0 rtmr1 rtmr2 rtmr3";
    assert_eq!(names("tdx-v4-td10"), td10);
    let td15 =
        "mrconfigid mrowner mrownerconfig mrseam mrservicetd mrsignerseam mrtd rtmr0 rtmr1 rtmr2 rtmr3";
    assert_eq!(names("tdx-v5-td15"), td15);
    assert_eq!(names("tdx-v5-td15ex"), td15);
}

/// The claims are cut from fixed offsets of the signed bytes: here they are cut by hand.
#[test]
fn claims_are_the_signed_bytes() {
    let vector = Vector::load("sgx-v3-prod");
    let (claims, quote) = (vector.verify_first(&vector.quote).unwrap(), &vector.quote);
    assert_eq!(claims.measurements["mrenclave"].0, quote[112..144]);
    assert_eq!(claims.measurements["mrsigner"].0, quote[176..208]);
    assert_eq!(claims.report_data, quote[368..432]);
    for (name, body) in [("tdx-v4-td10", 48), ("tdx-v5-td15", 54), ("tdx-v5-td15ex", 54)] {
        let vector = Vector::load(name);
        let claims = vector.verify_first(&vector.quote).unwrap();
        let at = |offset: usize| &vector.quote[body + offset..body + offset + 48];
        for (register, offset) in [("mrseam", 16), ("mrtd", 136), ("rtmr0", 328), ("rtmr3", 472)] {
            assert_eq!(claims.measurements[register].0, at(offset), "{name} {register}");
        }
        assert_eq!(claims.report_data, vector.quote[body + 520..body + 584], "{name}");
    }
}
