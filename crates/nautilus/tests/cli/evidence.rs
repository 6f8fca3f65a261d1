//! Real quotes and their labels through the command line.

use std::fs;
use std::path::{Path, PathBuf};

use nautilus_core::UnixMillis;
use serde_json::Value;

use crate::program::{Ran, run};

/// The fields that `verify --json` always has.
const FIELDS: [&str; 8] = [
    "claims",
    "error",
    "findings",
    "reference_values",
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

/// The quote of `sgx-v3-prod`, at the time of its first label.
fn production(more: &[&str]) -> Ran {
    let directory = vectors().join("sgx/sgx-v3-prod");
    let meta: Value = serde_json::from_slice(&fs::read(directory.join("meta.json")).unwrap()).unwrap();
    let at = UnixMillis::from_secs(meta["labels"][0]["now"].as_u64().unwrap()).to_string();
    let quote = directory.join("quote.bin");
    let common = ["verify", quote.to_str().unwrap(), "--at", &at];
    run(common.iter().chain(more))
}

#[test]
fn endorsements_are_taken_by_content() {
    let directory = vectors().join("sgx/sgx-v3-prod");
    let folder = directory.to_str().unwrap();
    // The folder holds `meta.json` too, which is none.
    let ran = production(&["--endorsements", folder]).ends_with(0);
    let meta = directory.join("meta.json").display().to_string();
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains(&format!("not used: {meta}")), "{ran:?}");

    // Named by itself it must be one.
    let told = production(&["--endorsements", &meta]).fails_with(1);
    assert!(
        told.contains(&meta) && told.contains("no DCAP collateral"),
        "{told}"
    );
    let quote = directory.join("quote.bin").display().to_string();
    let told = production(&["--endorsements", &quote]).fails_with(1);
    assert!(
        told.contains(&quote) && told.contains("is no endorsement"),
        "{told}"
    );

    // Certificates are read beside collateral, which is still what this quote needs.
    let chain = vectors().join("sgx/sgx-v3-intel-sampleapp-testroot/pckSignChain.pem");
    let chain = chain.to_str().unwrap();
    let ran = production(&["--json", "--endorsements", chain]).ends_with(3);
    assert_eq!(ran.json()["error"]["kind"], "endorsements_missing");
    let collateral = directory.join("collateral-0.json");
    let both = [
        "--endorsements",
        chain,
        "--endorsements",
        collateral.to_str().unwrap(),
    ];
    assert_eq!(production(&both).ends_with(0).stderr, "");
}

#[test]
fn a_broken_endorsement_in_a_folder_is_told_and_left_out() {
    let folder = tempfile::TempDir::new().unwrap();
    let from = vectors().join("sgx/sgx-v3-prod/collateral-0.json");
    fs::copy(from, folder.path().join("collateral.JSON")).unwrap();
    fs::write(folder.path().join("a.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    fs::write(folder.path().join("b.der"), "\u{1b}[2J").unwrap();
    fs::write(folder.path().join("notes.txt"), "not looked into").unwrap();
    let ran = production(&["--endorsements", folder.path().to_str().unwrap()]).ends_with(0);
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines[0].contains("a.pem is broken"), "{ran:?}");
    assert!(lines[1].contains("b.der is no endorsement"), "{ran:?}");
}

#[test]
fn revocation_is_a_finding() {
    let collateral = vectors().join("sgx/sgx-v3-prod/collateral-0.json");
    let report = production(&["--json", "--endorsements", collateral.to_str().unwrap()])
        .ends_with(0)
        .json();
    let findings = report["findings"].as_array().unwrap();
    let revocation = findings.iter().find(|finding| finding["rule"] == "revocation");
    assert!(
        revocation.is_some_and(|finding| finding["passed"] == true),
        "{report}"
    );
}

#[test]
fn an_event_log_is_refused_where_nothing_signs_its_registers() {
    let collateral = vectors().join("sgx/sgx-v3-prod/collateral-0.json");
    let log = vectors().join("eventlog/debian-10.bin");
    let ran = production(&[
        "--json",
        "--endorsements",
        collateral.to_str().unwrap(),
        "--event-log",
        log.to_str().unwrap(),
    ])
    .ends_with(1);
    assert_eq!(ran.json()["error"]["kind"], "unsupported");
    let told = production(&["--event-log", "/nonexistent/log"]).fails_with(3);
    assert!(told.contains("/nonexistent/log"), "{told}");
}

#[test]
fn the_tee_can_be_named() {
    let collateral = vectors().join("sgx/sgx-v3-prod/collateral-0.json");
    let with = |tee| {
        production(&[
            "--json",
            "--tee",
            tee,
            "--endorsements",
            collateral.to_str().unwrap(),
        ])
    };
    assert_eq!(with("sgx").ends_with(0).json()["tee"], "sgx");
    let report = with("tdx").ends_with(1).json();
    assert_eq!(
        (&report["tee"], &report["error"]["kind"]),
        (&"tdx".into(), &"malformed".into())
    );
    let told = production(&["--tee", "coffee"]).fails_with(2);
    assert!(told.contains("sgx, tdx, sev"), "{told}");
}

#[test]
fn what_the_user_vouches_for_is_named_by_role() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let told = production(&["--trust", path]).fails_with(2);
    assert!(
        told.contains("no folder named by a role") && told.contains("tpm-ak"),
        "{told}"
    );
    let told = production(&["--trust", "coffee=/dev/null"]).fails_with(2);
    assert!(told.contains("expected ROLE=PATH"), "{told}");
    let absent = format!("psa-key={path}/absent");
    let told = production(&["--trust", &absent]).fails_with(3);
    assert!(told.contains("absent"), "{told}");
    let large = folder.path().join("large");
    fs::write(&large, vec![b'x'; 256 * 1024 + 1]).unwrap();
    let told = production(&["--trust", &format!("tpm-ak={}", large.display())]).fails_with(2);
    assert!(
        told.contains("does not serve as `tpm-ak`") && told.contains("262144 bytes"),
        "{told}"
    );

    // Folders of roles may be empty; what is in no such folder is not looked at.
    fs::create_dir(folder.path().join("optee-key")).unwrap();
    let collateral = vectors().join("sgx/sgx-v3-prod/collateral-0.json");
    production(&["--trust", path, "--endorsements", collateral.to_str().unwrap()]).ends_with(0);
}
