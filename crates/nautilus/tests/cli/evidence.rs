//! Real quotes and their labels through the command line.

use std::fs;
use std::path::{Path, PathBuf};

use nautilus_core::UnixMillis;
use serde_json::Value;

use crate::program::{Ran, run};

/// The fields that `verify --json` always has.
const FIELDS: [&str; 7] = [
    "claims",
    "error",
    "findings",
    "tcb",
    "tee",
    "verdict",
    "verified_at",
];

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

/// The directories that hold a quote.
fn quotes() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for family in ["sgx", "tdx"] {
        for entry in fs::read_dir(vectors().join(family)).unwrap() {
            let directory = entry.unwrap().path();
            if directory.join("quote.bin").is_file() {
                found.push(directory);
            }
        }
    }
    found.sort();
    found
}

fn verify(quote: &Path, endorsements: &Path, at: UnixMillis) -> Ran {
    run([
        "verify",
        quote.to_str().unwrap(),
        "--json",
        "--endorsements",
        endorsements.to_str().unwrap(),
        "--at",
        &at.to_string(),
    ])
}

/// Asserts the shape of a report.
fn is_whole(report: &Value) {
    let fields: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = FIELDS.to_vec();
    expected.sort_unstable();
    let mut sorted = fields;
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "{report}");
    let findings = report["findings"].as_array().unwrap();
    assert!(!findings.is_empty(), "{report}");
    for finding in findings {
        assert!(
            finding["rule"].is_string() && finding["detail"].is_string(),
            "{finding}"
        );
        assert!(finding["passed"].is_boolean(), "{finding}");
    }
    match report["verdict"].as_str().unwrap() {
        "genuine" | "accepted" => {
            assert_eq!(report["error"], Value::Null, "{report}");
            let tcb = &report["tcb"];
            assert!(tcb["status"].is_string() && tcb["advisories"].is_array(), "{tcb}");
            assert!(
                tcb["evaluation"].is_u64() && tcb["shortfalls"].is_array(),
                "{tcb}"
            );
            assert!(report["claims"]["report_data"].is_string(), "{report}");
        }
        "rejected" => {
            assert_eq!(report["claims"], Value::Null, "{report}");
            assert_eq!(report["tcb"], Value::Null, "{report}");
            assert!(report["error"]["kind"].is_string(), "{report}");
            assert!(
                !report["error"]["detail"].as_str().unwrap().is_empty(),
                "{report}"
            );
        }
        other => panic!("verdict {other}"),
    }
}

#[test]
fn every_label_is_met() {
    let mut met = 0;
    for directory in quotes() {
        let meta: Value = serde_json::from_slice(&fs::read(directory.join("meta.json")).unwrap()).unwrap();
        for label in meta["labels"].as_array().unwrap() {
            let collateral = directory.join(label["collateral"].as_str().unwrap());
            let at = UnixMillis::from_secs(label["now"].as_u64().unwrap());
            let detail = label["detail"].as_str().unwrap();
            let context = format!("{} with {}: {detail}", directory.display(), collateral.display());
            let ran = verify(&directory.join("quote.bin"), &collateral, at);
            let report = ran.json();
            is_whole(&report);
            match label["result"].as_str().unwrap() {
                "OK" => {
                    assert_eq!(
                        (ran.code, &report["verdict"]),
                        (0, &"genuine".into()),
                        "{context}"
                    );
                    says_what_the_label_says(&report, detail, &context);
                }
                "ERR" => {
                    assert_eq!(
                        (ran.code, &report["verdict"]),
                        (1, &"rejected".into()),
                        "{context}"
                    );
                    gives_the_labels_reason(&report["error"], detail, &context);
                }
                other => panic!("{other}: {context}"),
            }
            met += 1;
        }
    }
    assert_eq!(met, 38, "labels");
}

fn says_what_the_label_says(report: &Value, detail: &str, context: &str) {
    let after = |key: &str, end: &str| {
        let (_, rest) = detail.split_once(key).unwrap();
        rest.split_once(end).unwrap().0.to_owned()
    };
    let tcb = &report["tcb"];
    assert_eq!(tcb["status"], after("status=", " "), "{context}");
    let advisories: Vec<_> = tcb["advisories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|advisory| advisory.as_str().unwrap())
        .collect();
    assert_eq!(format!("{advisories:?}"), after("adv=", " tcb_date"), "{context}");
    assert_eq!(tcb["evaluation"].to_string(), after("eval=", " "), "{context}");
    if tcb["status"].as_str().unwrap().starts_with("OutOfDate") {
        assert!(!tcb["shortfalls"].as_array().unwrap().is_empty(), "{context}");
    }
}

fn gives_the_labels_reason(error: &Value, detail: &str, context: &str) {
    let said = error["detail"].as_str().unwrap();
    if detail.starts_with("No matching TCB level found") {
        assert_eq!(error["kind"], "no_tcb_level", "{context}");
        let shortfalls = error["shortfalls"].as_array().unwrap();
        assert!(!shortfalls.is_empty(), "{context}");
        for short in shortfalls {
            assert!(
                short["have"].as_u64() < short["needs"].as_u64(),
                "{short}: {context}"
            );
        }
    } else if detail.starts_with("SEPT_VE_DISABLE is not enabled") {
        assert_eq!(error["kind"], "attribute_invalid", "{context}");
        assert!(said.contains("SEPT_VE_DISABLE"), "{said}: {context}");
    } else if detail.contains("missing field `sgxtcbcomponents`") {
        assert_eq!(error["kind"], "endorsement_invalid", "{context}");
        assert!(said.contains("version 2"), "{said}: {context}");
    } else {
        panic!("label of an unknown kind: {context}");
    }
}

#[test]
fn without_endorsements_it_says_which_and_where_to_get_them() {
    for directory in quotes() {
        let quote = directory.join("quote.bin");
        let ran = run(["verify", quote.to_str().unwrap(), "--json"]);
        let report = ran.json();
        is_whole(&report);
        // Some of the quotes are broken, or certified by something else than a PCK chain.
        let missing = report["error"]["kind"] == "endorsements_missing";
        assert_eq!(ran.code, if missing { 3 } else { 1 }, "{ran:?}");
        if missing {
            let urls = report["error"]["wants"][0]["urls"].as_array().unwrap();
            assert!(
                urls.iter().any(|url| url
                    .as_str()
                    .unwrap()
                    .starts_with("https://api.trustedservices.intel.com/")),
                "{report}"
            );
            let people = run(["verify", quote.to_str().unwrap()]).ends_with(3);
            assert!(
                people.stdout.contains("name them with --endorsements"),
                "{people:?}"
            );
        }
    }
}

#[test]
fn people_read_the_same_verdict() {
    let directory = vectors().join("sgx/sgx-v3-prod");
    let meta: Value = serde_json::from_slice(&fs::read(directory.join("meta.json")).unwrap()).unwrap();
    let at = UnixMillis::from_secs(meta["labels"][0]["now"].as_u64().unwrap());
    let ran = run([
        "verify",
        directory.join("quote.bin").to_str().unwrap(),
        "--show",
        "--endorsements",
        // A directory stands for the collateral in it.
        directory.join("collateral-0.json").to_str().unwrap(),
        "--at",
        &at.to_string(),
    ])
    .ends_with(0);
    for line in [
        "verdict    genuine",
        "tee        sgx",
        "assurance  hardware-enclave",
        "tcb        ",
        "findings",
        "  ok   genuine: ",
        "measurements",
        "  mrenclave ",
        "attributes",
        "report data",
        "device",
    ] {
        assert!(
            ran.stdout.lines().any(|found| found.starts_with(line)),
            "{line:?} is not in {}",
            ran.stdout
        );
    }
    assert_eq!(ran.stderr, "");
}
