//! `nautilus enroll tpm`, as far as it goes without a TPM: keys and certificates of a software TPM that was asked once.

use std::fs;
use std::path::{Path, PathBuf};

use nautilus_tee::tpm::{ENROLMENT_FORMAT, Evidence, HashAlgorithm};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Ran, run, run_with_input};

/// The certificates in the corpus are valid then.
const AT: &str = "2026-11-22T18:00:00Z";
const SECRET: [u8; 32] = [0x11; 32];

fn swtpm(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/tpm/swtpm")
        .join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `start` with the corpus' files, of which `more` may name others: the last one counts.
fn start(directory: &Path, more: &[&str]) -> Ran {
    let root = format!("tpm-root={}", swtpm("swtpm-localca-rootca-cert.pem").display());
    let (certificate, ek, ak) = (swtpm("ek_cert.der"), swtpm("ek.pub"), swtpm("ak.pub"));
    let output = directory.join("node1");
    let mut arguments = vec!["enroll", "tpm", "start", "--at", AT, "-o", text(&output)];
    for (name, path) in [("--ek-certificate", &certificate), ("--ek", &ek), ("--ak", &ak)] {
        if !more.contains(&name) {
            arguments.extend([name, text(path)]);
        }
    }
    if !more.contains(&"--trust") {
        arguments.extend(["--trust", &root]);
    }
    arguments.extend(more);
    let ran = run(arguments);
    assert!(
        ran.code == 0 || !output.exists(),
        "a refusal leaves nothing behind: {ran:?}"
    );
    ran
}

/// The quote of the corpus' software TPM.
fn quote() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/tpm_evidence/swtpm.json")
}

/// An enrolment of that TPM's key as `start` leaves it, with a secret that the test knows.
fn waiting(directory: &Path) -> PathBuf {
    let enrolment = directory.join("node1");
    fs::create_dir(&enrolment).unwrap();
    let (ak, ek) = (
        fs::read(swtpm("ak.pub")).unwrap(),
        fs::read(swtpm("ek_cert.der")).unwrap(),
    );
    let sha256 = |parts: &[&[u8]]| HashAlgorithm::Sha256.digest(parts.iter().copied());
    let salt = [ENROLMENT_FORMAT.as_bytes(), &sha256(&[&ak]), &sha256(&[&ek])].concat();
    // Evidence with both has them in base64.
    let mut evidence = Evidence::parse(&fs::read(quote()).unwrap()).unwrap();
    evidence.ak_public = ak;
    evidence.ek_certificate = Some(ek);
    let evidence: Value = serde_json::from_str(&evidence.to_json()).unwrap();
    let written = json!({
        "format": ENROLMENT_FORMAT,
        "ak_public": evidence["ak_public"],
        "ek_certificate": evidence["ek_certificate"],
        "secret_sha256": hex::encode(sha256(&[&salt, &SECRET])),
    });
    fs::write(enrolment.join("enrolment.json"), written.to_string()).unwrap();
    fs::write(enrolment.join("credential"), "to be opened").unwrap();
    enrolment
}

fn finish(enrolment: &Path, anchor: &Path, secret: &[u8]) -> Ran {
    let arguments = [
        "enroll",
        "tpm",
        "finish",
        text(enrolment),
        "--secret",
        "-",
        "-o",
        text(anchor),
    ];
    run_with_input(arguments, secret)
}

#[test]
fn a_certificate_that_does_not_vouch_for_the_key_starts_nothing() {
    let directory = TempDir::new().unwrap();
    let start = |more: &[&str]| start(directory.path(), more);
    let told = start(&[]).fails_with(3);
    assert!(told.contains("name them with --endorsements"), "{told}");
    assert!(told.contains("CN=swtpm-localca"), "{told}");

    // The corpus has another endorsement key's public area than the certified one's.
    let issuer = swtpm("issuercert.pem");
    let told = start(&["--endorsements", text(&issuer)]).fails_with(1);
    assert!(told.contains("the attestation key is not enrolled"), "{told}");
    assert!(told.contains("another key (ecc-p384)"), "{told}");
    // In PEM it is read too; this one is of no endorsement key.
    let told = start(&["--ek-certificate", text(&issuer)]).fails_with(1);
    assert!(told.contains("endorsement key certificate"), "{told}");
    let both = directory.path().join("both.pem");
    let pem = fs::read(&issuer).unwrap();
    fs::write(&both, [pem.as_slice(), &pem].concat()).unwrap();
    let told = start(&["--ek-certificate", text(&both)]).fails_with(2);
    assert!(told.contains("certificate alone"), "{told}");

    let ak = format!("tpm-ak={}", swtpm("ak.pub").display());
    let told = start(&["--trust", &ak]).fails_with(2);
    assert!(told.contains("--trust tpm-root=PATH"), "{told}");
    let none = directory.path().join("none");
    for part in ["--ek-certificate", "--ek"] {
        let told = start(&[part, text(&none)]).fails_with(3);
        assert!(
            told.contains("cannot read") && told.contains("none"),
            "{part}: {told}"
        );
    }
    let large = directory.path().join("large");
    fs::write(&large, vec![0; 70_000]).unwrap();
    let told = start(&["--ek", text(&large)]).fails_with(1);
    assert!(told.contains("more than the 65537 bytes allowed"), "{told}");
}

#[test]
fn the_right_secret_enrols_the_key_once_and_its_quotes_verify() {
    let directory = TempDir::new().unwrap();
    let enrolment = waiting(directory.path());
    let anchor = directory.path().join("tpm-ak.json");
    for wrong in [&[0x12; 32][..], &SECRET[..31], b""] {
        let told = finish(&enrolment, &anchor, wrong).fails_with(1);
        assert!(told.contains("not the credential's secret"), "{told}");
    }
    let told = finish(&enrolment, &anchor, &[0x11; 65]).fails_with(1);
    assert!(told.contains("more than the 64 bytes allowed"), "{told}");
    assert!(!anchor.exists());

    fs::write(&anchor, "somebody's").unwrap();
    let told = finish(&enrolment, &anchor, &SECRET).fails_with(2);
    assert!(told.contains("is there already"), "{told}");
    assert_eq!(fs::read(&anchor).unwrap(), b"somebody's");
    fs::remove_file(&anchor).unwrap();
    finish(&enrolment, Path::new("-"), &SECRET).fails_with(2);

    let told = finish(&enrolment, &anchor, &SECRET).ends_with(0).stdout;
    let name = hex::encode(fs::read(swtpm("ak.name")).unwrap());
    assert!(told.contains(&name), "{told}");
    let trust = format!("tpm-ak={}", anchor.display());
    assert!(told.contains(&format!("--trust {trust}")), "{told}");
    assert!(!enrolment.exists(), "its files are removed");
    let again = directory.path().join("again.json");
    let told = finish(&enrolment, &again, &SECRET).fails_with(3);
    assert!(told.contains("no enrolment waits in"), "{told}");
    assert!(!again.exists());

    let nonce = hex::encode(fs::read(swtpm("nonce.bin")).unwrap());
    let quote = quote();
    let verify = [
        "verify",
        text(&quote),
        "--trust",
        &trust,
        "--json",
        "--report-data",
    ];
    let report = run(verify.iter().copied().chain([nonce.as_str()]))
        .ends_with(0)
        .json();
    assert_eq!(report["verdict"], "genuine", "{report}");
    assert_eq!(report["claims"]["device"]["scheme"], "tpm-ek", "{report}");
    assert_eq!(report["claims"]["attributes"]["ak_name"], name.as_str());
    let other = "00".repeat(32);
    let report = run(verify.iter().copied().chain([other.as_str()]))
        .ends_with(1)
        .json();
    assert_eq!(report["error"]["kind"], "report_data_mismatch", "{report}");
}

#[test]
fn what_somebody_else_put_there_stays() {
    let directory = TempDir::new().unwrap();
    let enrolment = waiting(directory.path());
    let secret = enrolment.join("secret");
    fs::write(&secret, SECRET).unwrap();
    let anchor = directory.path().join("tpm-ak.json");
    let json = run([
        "enroll",
        "tpm",
        "finish",
        text(&enrolment),
        "--secret",
        text(&secret),
        "-o",
        text(&anchor),
        "--json",
    ])
    .ends_with(0)
    .json();
    assert_eq!(json["role"], "tpm-ak", "{json}");
    assert_eq!(json["trust_anchor"], text(&anchor), "{json}");
    assert_eq!(json["endorsement_key"]["tpm_model"], "swtpm", "{json}");
    let left: Vec<_> = fs::read_dir(&enrolment).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(secret.is_file());
}

#[test]
fn an_enrolment_that_is_none_is_not_finished() {
    let directory = TempDir::new().unwrap();
    let enrolment = waiting(directory.path());
    let file = enrolment.join("enrolment.json");
    let good = fs::read_to_string(&file).unwrap();
    for (spoilt, says) in [
        (
            good.replace(ENROLMENT_FORMAT, "nautilus-tpm-ak/1"),
            "its format is",
        ),
        (good.replace("secret_sha256", "secret"), "unknown field `secret`"),
        (format!("{good}{good}"), "trailing characters"),
        (" ".repeat(70_000), "more than 65536 bytes"),
    ] {
        fs::write(&file, spoilt).unwrap();
        let told = finish(&enrolment, &directory.path().join("tpm-ak.json"), &SECRET).fails_with(2);
        assert!(told.contains("no enrolment that can be finished"), "{told}");
        assert!(told.contains(says), "{says}: {told}");
    }
}

#[test]
fn a_tpm_that_is_not_there_or_none_is_told() {
    let directory = TempDir::new().unwrap();
    let (output, none) = (directory.path().join("request"), directory.path().join("none"));
    let request = |provider: &str| {
        let arguments = [
            "enroll",
            "tpm",
            "request",
            "-o",
            text(&output),
            "--quote-provider",
            provider,
        ];
        run(arguments)
    };
    let told = request(&format!("unix:{}", none.display())).fails_with(3);
    assert!(told.contains("is not there: start the TPM"), "{told}");
    for (provider, why) in [
        ("tcp:192.0.2.1:2321", "only a TPM at a loopback address is used"),
        ("device:/dev/null", "a TPM's device is /dev/tpmrm0"),
        ("tabrmd", "no TPM has such a name"),
    ] {
        let told = request(provider).fails_with(2);
        assert!(told.contains(why), "{told}");
    }
    assert!(!output.exists());
    let told = run([
        "enroll",
        "tpm",
        "answer",
        text(&swtpm("ak.pub")),
        "-o",
        text(&output),
    ])
    .fails_with(1);
    assert!(told.contains("badcc0de"), "{told}");
}
