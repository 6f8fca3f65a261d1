//! Evidence by keys that the relying party enrols: OP-TEE, PSA, CCA, Keystone, TPM.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::arguments;
use crate::table::{Case, Expected, hold, json, json_lines, vectors};

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// A file of the test's own.
fn file(directory: &TempDir, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, contents).unwrap();
    path
}

/// Everything that bad evidence, or evidence for somebody else, may be refused for.
const REFUSED: [&str; 9] = [
    "empty",
    "malformed",
    "trailing_bytes",
    "not_recognised",
    "unsupported",
    "signature_invalid",
    "key_not_enrolled",
    "report_data_mismatch",
    "weak_key",
];

#[test]
fn evidence_of_op_tee() {
    let directory = tempfile::tempdir().unwrap();
    let references = json(&vectors().join("optee/reference.json"));
    let tee_policy = file(
        &directory,
        "tee.yaml",
        policy("optee_tee_memory", &of_command(&references, "tee_memory")),
    );
    let ta_policy = file(
        &directory,
        "ta.yaml",
        policy("optee_ta_memory", &of_command(&references, "ta_memory")),
    );
    let mut cases = Vec::new();
    for case in json_lines(&vectors().join("optee/cases.jsonl")) {
        let name = text(&case["case"]);
        let is_psa = case["kind"] == "veraison_psa";
        let (evidence, key) = if is_psa {
            (
                bytes(&case["evidence_hex"]),
                format!("psa-key={}", psa_key(&directory, &name, &case).display()),
            )
        } else {
            let key = file(&directory, &format!("{name}.key"), case["pubkey"].to_string());
            (container(&case), format!("optee-key={}", key.display()))
        };
        let evidence = file(&directory, &format!("{name}.evidence"), evidence);
        let mut arguments = arguments![
            evidence.display(),
            "--tee",
            "trustzone",
            "--trust",
            key,
            "--report-data",
            text(&case["nonce_hex"])
        ];
        let policy = match (is_psa, command(&case)) {
            (false, "tee_memory") => Some(&tee_policy),
            (false, "ta_memory") => Some(&ta_policy),
            _ => None,
        };
        if let Some(policy) = policy {
            arguments.extend(arguments!["--policy", policy.display()]);
        }
        let expected = match (text(&case["expected"]).as_str(), policy) {
            ("accept", Some(_)) => Expected::Accepted,
            // A header's digest pins no code, and the PSA service's key is in OP-TEE's sources.
            ("accept", None) => Expected::Genuine {
                debug: is_psa,
                status: None,
            },
            ("reject_policy", _) if is_psa => Expected::Refused(vec!["malformed"]),
            ("reject_policy", _) if case["key_size"] == 1024 => Expected::Refused(vec!["weak_key"]),
            ("reject_policy", _) => Expected::ByPolicy("measurements.optee_tee_memory"),
            ("reject" | "reject_strict", _) => Expected::Refused(REFUSED.to_vec()),
            (other, _) => panic!("{name}: expected is `{other}`"),
        };
        cases.push(Case {
            name,
            arguments,
            expected,
        });
    }
    assert_eq!(cases.len(), 426);
    hold("OP-TEE", &cases);
}

/// The command that the sender claims.
fn command(case: &Value) -> &'static str {
    match (case["tamper"].as_str(), case["kind"].as_str().unwrap()) {
        (Some("relabelled-as-tee-memory"), _) | (_, "tee_memory") => "tee_memory",
        (_, "ta_memory") => "ta_memory",
        _ => "ta_header",
    }
}

fn container(case: &Value) -> Vec<u8> {
    let mut container = json!({
        "format": "nautilus-optee/1",
        "command": command(case),
        "nonce": case["nonce_hex"],
        "output": STANDARD.encode(bytes(&case["evidence_hex"])),
    });
    if command(case) != "tee_memory" {
        container["ta"] = case["ta_uuid"].clone();
    }
    container.to_string().into_bytes()
}

fn psa_key(directory: &TempDir, name: &str, case: &Value) -> PathBuf {
    let coordinate = |name: &str| URL_SAFE_NO_PAD.encode(bytes(&case["pubkey"][name]));
    let (x, y) = (coordinate("x_hex"), coordinate("y_hex"));
    let jwk = json!({"kty": case["pubkey"]["kty"], "crv": case["pubkey"]["crv"], "x": x, "y": y});
    file(directory, &format!("{name}.jwk"), jwk.to_string())
}

/// The reference values of one command, without those of the tampered build.
fn of_command(references: &Value, command: &str) -> Vec<String> {
    let sets = references["measurements"].as_object().unwrap();
    let mut values: Vec<_> = sets
        .iter()
        .filter(|(name, _)| name.starts_with(&format!("{command} build")))
        .filter(|(name, _)| command != "tee_memory" || !name.ends_with("build AP"))
        .flat_map(|(_, values)| values.as_array().unwrap().iter().map(text))
        .collect();
    values.sort();
    values.dedup();
    values
}

fn policy(register: &str, values: &[String]) -> String {
    format!(
        "name: vectors\n\
         assurance: {{ at_least: hardware-enclave }}\n\
         debug: {{ one_of: [false] }}\n\
         tcb_status: {{ ignore: {{ because: there are no levels }} }}\n\
         advisories: {{ one_of: [] }}\n\
         tcb_evaluation: {{ ignore: {{ because: there are no evaluations }} }}\n\
         measurements:\n  {register}: {{ one_of: [{}] }}\n\
         max_age_seconds: 3600\n",
        values
            .iter()
            .map(|value| format!("\"{value}\""))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

#[test]
fn reports_of_keystone() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json(&vectors().join("keystone/keys.json"));
    let devices = [&keys["test_device"]["public"], &keys["device_c"]["public"]].map(text);
    let trusted: Vec<_> = devices
        .iter()
        .map(|key| file(&directory, &format!("{}.hex", &key[..8]), key))
        .collect();
    let mut cases = Vec::new();
    for case in json_lines(&vectors().join("keystone/cases.jsonl")) {
        let name = text(&case["name"]);
        let evidence = file(&directory, &format!("{name}.bin"), bytes(&case["report_hex"]));
        let mut arguments = arguments![evidence.display(), "--tee", "keystone"];
        for key in &trusted {
            arguments.extend(arguments![
                "--trust",
                format!("keystone-device={}", key.display())
            ]);
        }
        let expect = text(&case["expect"]);
        // Every device here is a published test device, so that all its reports are of a debug machine. A report that
        // names another device than signed it is refused: the field is compared.
        let expected = if expect.starts_with("accept if the verifier uses") || expect.starts_with("reject") {
            Expected::Refused(REFUSED.to_vec())
        } else if expect.starts_with("accept") {
            Expected::Genuine {
                debug: true,
                status: None,
            }
        } else {
            panic!("{name}: expect is `{expect}`")
        };
        cases.push(Case {
            name,
            arguments,
            expected,
        });
    }
    assert_eq!(cases.len(), 44);
    hold("Keystone", &cases);
}

#[test]
fn tokens_of_psa_and_cca() {
    let published = || Expected::Genuine {
        debug: true,
        status: None,
    };
    let psa = |name: &str| vectors().join("psa").join(name);
    let cca = |name: &str| vectors().join("cca/rust-ccatoken").join(name);
    let case = |evidence: PathBuf, role: &str, key: &Path, expected: Expected| Case {
        name: format!("{} {}", crate::table::name(&evidence), crate::table::name(key)),
        arguments: arguments![evidence.display(), "--trust", format!("{role}={}", key.display())],
        expected,
    };
    let refused = |kind: &'static str| Expected::Refused(vec![kind]);
    let tf_m = psa("tf-m/public.pem");
    let cases = [
        case(psa("tf-m/psa-2_0_0_sign1.bin"), "psa-key", &tf_m, published()),
        case(psa("tf-m/psa-iot-1_sign1.bin"), "psa-key", &tf_m, published()),
        // A MAC takes a secret, which nobody enrolled.
        case(
            psa("tf-m/psa-2_0_0_mac0.bin"),
            "psa-key",
            &tf_m,
            refused("key_not_enrolled"),
        ),
        case(
            psa("tf-m/psa-iot-1_mac0.bin"),
            "psa-key",
            &tf_m,
            refused("key_not_enrolled"),
        ),
        case(
            psa("veraison/psa-token.cbor"),
            "psa-key",
            &tf_m,
            refused("signature_invalid"),
        ),
        case(
            cca("cca-token-01.cbor"),
            "cca-key",
            &cca("cpak.json"),
            published(),
        ),
        case(
            cca("cca-token-01.cbor"),
            "cca-key",
            &cca("ta-tfa.json"),
            published(),
        ),
        case(
            cca("cca-token-draft-ffm-00.cbor"),
            "cca-key",
            &cca("cpak.json"),
            published(),
        ),
        case(
            cca("cca-token-02.cbor"),
            "cca-key",
            &cca("ta-02-ok.json"),
            published(),
        ),
        case(
            cca("cca-token-01.cbor"),
            "cca-key",
            &cca("ta-02-ok.json"),
            refused("key_not_enrolled"),
        ),
        case(
            cca("bug-33-repro.cbor"),
            "cca-key",
            &cca("ta-tfa.json"),
            Expected::Refused(REFUSED.to_vec()),
        ),
        // Nobody vouches for its key.
        Case {
            name: "cca-token-01.cbor".to_owned(),
            arguments: arguments![cca("cca-token-01.cbor").display()],
            expected: refused("key_not_enrolled"),
        },
    ];
    hold("PSA and CCA", &cases);
}

#[test]
fn quotes_of_tpms() {
    let directory = tempfile::tempdir().unwrap();
    let read = |path: &str| fs::read(vectors().join("tpm").join(path)).unwrap();
    let encoded = |path: &str| STANDARD.encode(read(path));
    let quote = |folder: &str, quote: &str, pcrs: Value| {
        json!({
            "format": "nautilus-tpm/1",
            "attest": encoded(&format!("{folder}/{quote}.msg")),
            "signature": encoded(&format!("{folder}/{quote}.sig")),
            "ak_public": encoded(&format!("{folder}/ak.pub")),
            "pcrs": {"sha256": pcrs},
        })
    };
    let case = |name: &str, evidence: Value, folder: &str, expected: Expected| Case {
        name: name.to_owned(),
        arguments: arguments![
            file(
                &directory,
                &format!("{}.json", name.replace(' ', "-")),
                evidence.to_string()
            )
            .display(),
            "--trust",
            format!(
                "tpm-ak={}",
                vectors().join("tpm").join(folder).join("ak.pub").display()
            ),
            "--report-data",
            hex::encode(read(&format!("{folder}/nonce.bin")))
        ],
        expected,
    };
    let refused = |kinds: &[&'static str]| Expected::Refused(kinds.to_vec());
    // The values of the selected PCRs, as `tpm2_quote -o` writes them, are in the seed made of the same quote.
    let seed = json(&vectors().join("../fuzz/seeds/tpm_evidence/swtpm.json"));
    let golden = json(&vectors().join("tpm/swtpm-negative/meta.json"))["golden_pcr0"].clone();
    let real = "e2767cff0ccb28ab95552624babcbb527febce5e720bf7f0bee7191246246f93";
    let negative = "swtpm-negative";
    let cases = [
        case("swtpm", seed.clone(), "swtpm", Expected::genuine()),
        case(
            "swtpm, the other machine's key",
            seed,
            negative,
            refused(&["key_not_enrolled"]),
        ),
        case(
            "PCR 16 passed off as PCR 0",
            quote(negative, "sel16_as_pcr0", json!({"0": golden})),
            negative,
            refused(&["selection_mismatch"]),
        ),
        case(
            "PCR 16 alone",
            quote(negative, "sel16_as_pcr0", json!({"16": golden})),
            negative,
            refused(&["selection_mismatch"]),
        ),
        case(
            "another nonce",
            quote(negative, "wrong_nonce", json!({"0": real})),
            negative,
            refused(&["report_data_mismatch", "signature_invalid", "selection_mismatch"]),
        ),
    ];
    hold("TPM", &cases);
}
