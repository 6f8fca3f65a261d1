//! SGX and TDX quotes, each with every collateral it has a label for.

use nautilus_core::UnixMillis;
use serde_json::Value;

use crate::arguments;
use crate::table::{Case, Expected, folders, hold, json, name};

#[test]
fn quotes_of_sgx_and_tdx() {
    let mut cases = Vec::new();
    for folder in folders("sgx").into_iter().chain(folders("tdx")) {
        let quote = folder.join("quote.bin");
        if !quote.is_file() {
            continue;
        }
        let meta = json(&folder.join("meta.json"));
        let labels = meta["labels"].as_array().unwrap();
        for label in labels {
            let collateral = label["collateral"].as_str().unwrap();
            let at = UnixMillis::from_secs(label["now"].as_u64().unwrap());
            cases.push(Case {
                name: format!("{} {collateral}", name(&folder)),
                arguments: arguments![
                    quote.display(),
                    "--endorsements",
                    folder.join(collateral).display(),
                    "--at",
                    at
                ],
                expected: expected(&name(&folder), label),
            });
        }
        if labels.is_empty() {
            cases.push(Case {
                name: format!("{} without collateral", name(&folder)),
                arguments: arguments![quote.display()],
                expected: without_collateral(&name(&folder)),
            });
        }
    }
    hold("SGX and TDX", &cases);
}

fn expected(folder: &str, label: &Value) -> Expected {
    let detail = label["detail"].as_str().unwrap();
    if label["result"] == "OK" {
        let (_, rest) = detail.split_once("status=").unwrap();
        let (status, _) = rest.split_once(' ').unwrap();
        return Expected::Genuine {
            debug: folder.ends_with("-debug-td"),
            status: Some(status.to_owned()),
        };
    }
    let kind = match detail {
        detail if detail.starts_with("No matching TCB level") => "no_tcb_level",
        detail if detail.starts_with("SEPT_VE_DISABLE") => "attribute_invalid",
        detail if detail.contains("sgxtcbcomponents") => "endorsement_invalid",
        other => panic!("label of an unknown kind: {other}"),
    };
    Expected::Refused(vec![kind])
}

/// Quotes for whose platforms nobody published collateral, and broken ones.
fn without_collateral(folder: &str) -> Expected {
    Expected::Refused(match folder {
        // They name their platform in a form that only Intel can resolve.
        "sgx-v3-certtype-not5" | "sgx-v3-intel-sampleapp-testroot" => vec!["unsupported"],
        _ => vec!["endorsements_missing"],
    })
}
