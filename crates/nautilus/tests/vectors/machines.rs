//! Evidence whose vendors' roots are built in: SEV-SNP reports and Nitro documents.

use nautilus_core::UnixMillis;

use crate::arguments;
use crate::table::{Case, Expected, folders, hold, json, name, vectors};

/// All VCEKs of the corpus are valid then, and the VLEK, which lives a year, at the other time.
const VCEKS_VALID: &str = "2026-06-01T00:00:00Z";
const VLEK_VALID: &str = "2025-06-01T00:00:00Z";

#[test]
fn reports_of_sev_snp() {
    let mut cases = Vec::new();
    let mut veks = Vec::new();
    for folder in folders("snp") {
        let (report, vek) = (folder.join("report.bin"), folder.join("vek.der"));
        if !report.is_file() {
            continue;
        }
        let meta = json(&folder.join("meta.json"));
        let at = if meta["signing_key"] == "VLEK" {
            VLEK_VALID
        } else {
            VCEKS_VALID
        };
        let policy = u64::from_str_radix(&meta["policy"].as_str().unwrap()[2..], 16).unwrap();
        let arguments = arguments![report.display(), "--endorsements", vek.display(), "--at", at];
        cases.push(Case {
            name: name(&folder),
            arguments,
            expected: Expected::Genuine {
                debug: policy & (1 << 19) != 0,
                status: None,
            },
        });
        cases.push(Case {
            name: format!("{} without its VEK", name(&folder)),
            arguments: arguments![report.display(), "--at", at],
            expected: Expected::Refused(vec!["endorsements_missing"]),
        });
        veks.push((name(&folder), report, vek, at));
    }
    // Another machine's key, and another chip generation's.
    for (index, (folder, report, _, _)) in veks.iter().enumerate() {
        let (other, _, vek, at) = &veks[(index + 4) % veks.len()];
        cases.push(Case {
            name: format!("{folder} with the VEK of {other}"),
            arguments: arguments![report.display(), "--endorsements", vek.display(), "--at", at],
            expected: Expected::Refused(vec![
                "endorsements_missing",
                "endorsement_invalid",
                "signature_invalid",
            ]),
        });
    }
    hold("SEV-SNP", &cases);
}

#[test]
fn documents_of_nitro() {
    let mut cases = Vec::new();
    let mut documents: Vec<_> = std::fs::read_dir(vectors().join("nitro"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cbor"))
        .collect();
    documents.sort();
    for document in documents {
        let meta = json(&document.with_extension("meta.json"));
        let case = name(&document);
        let tampered = match case.as_str() {
            "tampered-signature.cbor" => Some("signature_invalid"),
            "tampered-certificate.cbor" => Some("untrusted"),
            _ => None,
        };
        let at = UnixMillis(meta["timestamp_ms"].as_u64().unwrap_or(1_631_182_760_215));
        cases.push(Case {
            name: case.clone(),
            arguments: arguments![document.display(), "--at", at],
            expected: match tampered {
                Some(kind) => Expected::Refused(vec![kind]),
                None => Expected::Genuine {
                    debug: case.starts_with("debug"),
                    status: None,
                },
            },
        });
        if tampered.is_none() {
            cases.push(Case {
                name: format!("{case} a day later"),
                arguments: arguments![document.display(), "--at", at.plus(24 * 60 * 60 * 1000)],
                expected: Expected::Refused(vec!["untrusted", "endorsement_not_current"]),
            });
        }
    }
    hold("Nitro", &cases);
}
