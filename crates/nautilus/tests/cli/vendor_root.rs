//! Another root in the place of a vendor's: what it is good for, and what is said where it cannot be used.

use std::fs;
use std::path::{Path, PathBuf};

use nautilus_core::UnixMillis;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, run};

fn vector(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(path)
}

/// A real document of AWS, verified at its time in a data directory without a simulated TEE.
fn verify(data: &TempDir, more: &[&str]) -> Ran {
    let meta: Value =
        serde_json::from_slice(&fs::read(vector("nitro/prod-2022.meta.json")).unwrap()).unwrap();
    let at = UnixMillis(meta["timestamp_ms"].as_u64().unwrap()).to_string();
    let (document, data) = (vector("nitro/prod-2022.cbor"), data.path().to_str().unwrap());
    let first = ["verify", "--json", document.to_str().unwrap(), "--at", &at];
    run(first.iter().chain(&["--data-dir", data]).chain(more).copied())
}

fn with_roots(data: &TempDir, roots: &[String]) -> Ran {
    let roots = roots
        .iter()
        .flat_map(|root| ["--dangerous-vendor-root", root.as_str()]);
    let arguments: Vec<&str> = ["--dangerous-allow-simulated"].into_iter().chain(roots).collect();
    verify(data, &arguments)
}

fn root(tee: &str, file: &Path) -> String {
    format!("{tee}={}", file.display())
}

#[test]
fn what_a_given_root_vouches_for_is_genuine_and_rated_simulated() {
    let data = TempDir::new().unwrap();
    let report = verify(&data, &[]).ends_with(0).json();
    assert_eq!(report["claims"]["assurance"], "hardware-vm");

    // AWS's own root, but not because it is AWS's.
    let aws = root("nitro", &vector("nitro/aws-root.crt"));
    let report = with_roots(&data, std::slice::from_ref(&aws)).ends_with(0).json();
    assert_eq!(report["verdict"], "genuine");
    assert_eq!(report["claims"]["assurance"], "simulated");

    // Somebody else's: now the vendor's own evidence is refused.
    let other = root("nitro", &vector("nitro/negative-unknown_ca.crt"));
    let report = with_roots(&data, &[other]).ends_with(1).json();
    assert_eq!(report["error"]["kind"], "untrusted");

    // In another vendor's place it changes nothing here.
    let elsewhere = root("sgx", &vector("nitro/aws-root.crt"));
    let report = with_roots(&data, &[elsewhere]).ends_with(0).json();
    assert_eq!(report["claims"]["assurance"], "hardware-vm");
}

#[test]
fn it_takes_the_word_dangerous_twice() {
    let data = TempDir::new().unwrap();
    let aws = root("nitro", &vector("nitro/aws-root.crt"));
    let told = verify(&data, &["--dangerous-vendor-root", &aws]).fails_with(2);
    assert!(told.contains("--dangerous-allow-simulated"), "{told}");
    // Without a root there has to be a simulated TEE, as before.
    let told = verify(&data, &["--dangerous-allow-simulated"]).fails_with(3);
    assert!(told.contains("holds no simulated TEE"), "{told}");
}

#[test]
fn a_root_that_cannot_be_used_is_told() {
    let data = TempDir::new().unwrap();
    let aws = vector("nitro/aws-root.crt");
    let file = data.path().join("file");
    let told = |root: String, code| with_roots(&data, &[root]).fails_with(code);

    let none = told("nitro".to_owned(), 2);
    assert!(none.contains("expected TEE=FILE"), "{none}");
    let unknown = told(root("enigma", &aws), 2);
    assert!(unknown.contains("enigma"), "{unknown}");
    for tee in ["trustzone", "keystone", "tpm", "simulated"] {
        let no_vendor = told(root(tee, &aws), 2);
        assert!(
            no_vendor.contains(&format!("{tee} has no vendor's root")),
            "{no_vendor}"
        );
    }
    let missing = told(root("nitro", &file), 3);
    assert!(missing.contains("cannot read"), "{missing}");

    fs::write(&file, "no certificate").unwrap();
    let nonsense = told(root("nitro", &file), 2);
    assert!(nonsense.contains("is not usable"), "{nonsense}");
    let one = fs::read_to_string(&aws).unwrap();
    fs::write(&file, format!("{one}\n{one}")).unwrap();
    let two = told(root("nitro", &file), 2);
    assert!(two.contains("expected one certificate"), "{two}");
    // AMD's roots are RSA; AWS's is not.
    let other_kind = told(root("sev", &aws), 2);
    assert!(other_kind.contains("of the kind that sev has"), "{other_kind}");

    let twice = with_roots(&data, &[root("nitro", &aws), root("nitro", &aws)]).fails_with(2);
    assert!(twice.contains("names `nitro` twice"), "{twice}");
}
