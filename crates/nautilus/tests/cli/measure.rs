//! `nautilus measure`: expected measurements of images, in the names and the form of a policy.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Ran, run, run_with_input};

fn vector(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    root.join(path).to_str().unwrap().to_owned()
}

fn sig() -> String {
    vector("sgx/launch/fortanix-sgxs-tools/test_enclave.sig")
}

fn firmware() -> String {
    vector("snp/launch/made/full.fd")
}

fn measure(arguments: &[&str]) -> Ran {
    run(std::iter::once("measure").chain(arguments.iter().copied()))
}

fn put(directory: &TempDir, name: &str, contents: &[u8]) -> String {
    let path: PathBuf = directory.path().join(name);
    std::fs::write(&path, contents).unwrap();
    path.to_str().unwrap().to_owned()
}

const MRENCLAVE: &str = "784acfd7d5096a8f0fbd3265760bff21b120f62407a9a9e5ba31aa3c8ed198fc";

#[test]
fn an_sgx_enclave_has_the_same_mrenclave_by_signature_and_by_pages() {
    let signed = measure(&["--json", "sgx", &sig()]).ends_with(0).json();
    assert_eq!(signed["tee"], "sgx");
    assert_eq!(signed["measurements"]["mrenclave"], MRENCLAVE);
    assert_eq!(signed["attributes"]["isvprodid"], "65535");
    assert_eq!(signed["attributes"]["isvsvn"], "0");
    let mrsigner = signed["measurements"]["mrsigner"].as_str().unwrap();
    assert_eq!(
        signed["facts"]["signature"],
        format!("verified, by the key {mrsigner}")
    );
    let pages = vector("sgx/launch/fortanix-sgxs-tools/test_enclave.sgxs");
    let built = measure(&["sgx", &pages, "--json"]).ends_with(0).json();
    assert_eq!(built["measurements"], json!({ "mrenclave": MRENCLAVE }));
}

/// What it prints stands in a policy as it is.
#[test]
fn the_output_fits_into_a_policy() {
    let shown = measure(&["sgx", &sig()]).ends_with(0).stdout;
    let (_, rules) = shown.split_once("for a policy\n").unwrap();
    let rules: String = rules.lines().map(|line| format!("{}\n", &line[2..])).collect();
    let template = run(["policy", "new", "--tee", "sgx"]).ends_with(0).stdout;
    let is_of = |line: &&str| {
        let kept = [
            "mrenclave",
            "mrsigner",
            "isvprodid",
            "isvsvn",
            "measurements:",
            "attributes:",
        ];
        !kept.iter().any(|name| line.trim_start().starts_with(name))
    };
    let rest: Vec<&str> = template.lines().filter(is_of).collect();
    let policy = format!("{}\n{rules}", rest.join("\n")).replace("FILL_IN", "1");
    let directory = TempDir::new().unwrap();
    let file = put(&directory, "policy.yaml", policy.as_bytes());
    let checked = run(["policy", "check", &file, "--json"]).ends_with(0).json();
    assert_eq!(checked[0]["ok"], Value::Bool(true), "{checked}\n{policy}");
    let explained = run(["policy", "explain", &file, "--tee", "sgx"])
        .ends_with(0)
        .stdout;
    assert!(explained.contains(MRENCLAVE), "{explained}");
}

#[test]
fn an_enclave_that_its_signer_did_not_sign_is_rejected() {
    let mut image = std::fs::read(sig()).unwrap();
    image[960] ^= 1;
    let ran = run_with_input(["measure", "sgx", "-"], &image);
    let told = ran.fails_with(1);
    assert!(told.contains("- has no measurement"), "{told}");
    assert!(
        told.contains("invalid signature: over the enclave's SIGSTRUCT"),
        "{told}"
    );
}

#[test]
fn an_snp_guest_is_measured_with_all_that_it_is_launched_with() {
    let golden = std::fs::read_to_string(vector("snp/launch/golden.jsonl")).unwrap();
    let case = |wanted: &Value| -> String {
        let found = golden.lines().find_map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            let same = wanted
                .as_object()
                .unwrap()
                .iter()
                .all(|(name, value)| &case[name] == value);
            same.then(|| {
                (
                    case["type"].as_str().unwrap().to_owned(),
                    case["measurement"].as_str().unwrap().to_owned(),
                )
            })
        });
        let (vcpu_type, measurement) = found.unwrap();
        format!("{vcpu_type} {measurement}")
    };
    let qemu = case(
        &json!({ "image": "full.fd", "hypervisor": "QEMU", "vcpus": 4, "features": 33, "kernel": null }),
    );
    let (vcpu_type, measurement) = qemu.split_once(' ').unwrap();
    let ran = measure(&[
        "sev",
        "--json",
        "--firmware",
        &firmware(),
        "--vcpus",
        "4",
        "--vcpu-type",
        vcpu_type,
        "--guest-features",
        "0x21",
    ]);
    let found = ran.ends_with(0).json();
    assert_eq!(found["measurements"], json!({ "measurement": measurement }));
    assert!(
        found["facts"]["boots"]
            .as_str()
            .unwrap()
            .contains("not in the measurement")
    );
    let ec2 =
        case(&json!({ "image": "full.fd", "hypervisor": "ec2", "vcpus": 2, "features": 1, "kernel": null }));
    let (_, measurement) = ec2.split_once(' ').unwrap();
    let ran = measure(&[
        "sev",
        "--json",
        "--firmware",
        &firmware(),
        "--vcpus",
        "2",
        "--vmm",
        "EC2",
    ]);
    assert_eq!(
        ran.ends_with(0).json()["measurements"]["measurement"],
        measurement
    );
}

#[test]
fn what_no_guest_is_launched_with_is_wrong_usage() {
    let firmware = firmware();
    let base = ["sev", "--firmware", &firmware];
    for (more, told) in [
        (&["--vcpus", "1"][..], "--vcpu-type"),
        (&["--vcpus", "0", "--vcpu-type", "EPYC"], "a guest has 1 to 4096"),
        (
            &["--vcpus", "1", "--vcpu-type", "Xeon"],
            "unknown type of virtual processor `Xeon`",
        ),
        (
            &["--vcpus", "1", "--vmm", "xen", "--vcpu-type", "EPYC"],
            "unknown hypervisor `xen`",
        ),
        (
            &["--vcpus", "1", "--vmm", "gce", "--vcpu-type", "EPYC"],
            "leave out --vcpu-type",
        ),
        (
            &["--vcpus", "1", "--vcpu-type", "EPYC", "--guest-features", "0x20"],
            "lacks bit 0",
        ),
        (
            &["--vcpus", "1", "--vcpu-type", "EPYC", "--guest-features", "+1"],
            "hexadecimal digits",
        ),
        (
            &["--vcpus", "1", "--vcpu-type", "EPYC", "--cmdline", "quiet"],
            "--kernel",
        ),
    ] {
        let arguments: Vec<&str> = base.iter().chain(more).copied().collect();
        let error = measure(&arguments).fails_with(2);
        assert!(error.contains(told), "{more:?}: {error}");
    }
    let error = measure(&["tdx", "--firmware", &firmware, "--order", "random"]).fails_with(2);
    assert!(error.contains("unknown order of pages `random`"), "{error}");
    assert!(measure(&["tdx"]).fails_with(2).contains("--firmware"));
    assert!(measure(&["optee"]).fails_with(2).contains("FILE"));
}

#[test]
fn a_trust_domain_has_its_firmware_and_its_log() {
    let golden = std::fs::read_to_string(vector("tdx/launch/golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let log = vector("eventlog/CCEL_data_ovmf");
    let ran = measure(&["tdx", "--firmware", &firmware(), "--event-log", &log, "--json"]);
    let found = ran.ends_with(0).json();
    assert_eq!(found["measurements"]["mrtd"], golden["full.fd"]["by-page"]);
    let names: Vec<&String> = found["measurements"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["mrtd", "rtmr0", "rtmr1", "rtmr2"]);
    let ran = measure(&[
        "tdx",
        "--firmware",
        &firmware(),
        "--order",
        "by-section",
        "--json",
    ]);
    assert_eq!(
        ran.ends_with(0).json()["measurements"]["mrtd"],
        golden["full.fd"]["by-section"]
    );
    let error = measure(&["tdx", "--event-log", &sig()]).fails_with(1);
    assert!(error.contains("no registers from the event log"), "{error}");
}

#[test]
fn a_trusted_application_is_held_against_its_signer() {
    let file = vector("optee/launch/made/bootstrap-pss.ta");
    let key = vector("optee/launch/made/signing.pub.pem");
    let golden = std::fs::read_to_string(vector("optee/launch/made/golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let elf = vector("optee/launch/made/ta-large.elf64");
    let tee = vector("optee/launch/made/tee.elf64");
    let ran = measure(&[
        "optee",
        &file,
        "--key",
        &key,
        "--ta-elf",
        &elf,
        "--tee-elf",
        &tee,
        "--json",
    ]);
    let found = ran.ends_with(0).json();
    assert_eq!(
        found["measurements"],
        json!({
            "optee_ta_header": golden["ta_header"]["bootstrap-pss.ta"],
            "optee_ta_memory": golden["ta_memory"]["ta-large.elf64"],
            "optee_tee_memory": golden["tee_memory"]["tee.elf64"],
        })
    );
    assert_eq!(found["facts"]["ta"], "6f1d2a3e-93c4-4d58-8f0a-1b2c3d4e5f61");
    let unheld = measure(&["optee", &file]).ends_with(0).stdout;
    assert!(
        unheld.contains("signature: unchecked: no --key was given"),
        "{unheld}"
    );
    let other = vector("optee/launch/made/other.pub.pem");
    let error = measure(&["optee", &file, "--key", &other]).fails_with(1);
    assert!(error.contains("invalid signature"), "{error}");
    let error = measure(&["optee", &file, "--key", &file]).fails_with(2);
    assert!(error.contains("unusable key"), "{error}");
    let mut changed = std::fs::read(&file).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    let error = run_with_input(["measure", "optee", "-"], &changed).fails_with(1);
    assert!(
        error.contains("trusted application is not what was signed"),
        "{error}"
    );
}

#[test]
fn a_keystone_enclave_is_the_hash_of_its_files() {
    let directory = TempDir::new().unwrap();
    let files = ["loader", "runtime", "eapp"].map(|name| put(&directory, name, name.as_bytes()));
    let [loader, runtime, eapp] = &files;
    let base = [
        "keystone",
        "--loader",
        loader,
        "--runtime",
        runtime,
        "--eapp",
        eapp,
        "--json",
    ];
    let found = measure(&base).ends_with(0).json();
    let names: Vec<&String> = found["measurements"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["enclave_hash"]);
    let sm = put(&directory, "sm", b"monitor");
    let with: Vec<&str> = base.into_iter().chain(["--sm", &sm]).collect();
    let more = measure(&with).ends_with(0).json();
    assert_eq!(
        more["measurements"]["enclave_hash"],
        found["measurements"]["enclave_hash"]
    );
    assert_eq!(more["measurements"]["sm_hash"].as_str().unwrap().len(), 128);
    let empty = put(&directory, "empty", b"");
    let error = measure(&[
        "keystone",
        "--loader",
        loader,
        "--runtime",
        &empty,
        "--eapp",
        eapp,
    ])
    .fails_with(2);
    assert!(error.contains("the runtime is an empty file"), "{error}");
}

#[test]
fn a_file_that_is_no_image_has_no_measurement() {
    let directory = TempDir::new().unwrap();
    let text = put(&directory, "text", b"hello");
    for arguments in [
        &["sgx", &text][..],
        &["optee", &text],
        &["optee", "--ta-elf", &text],
        &["tdx", "--firmware", &text],
        &["sev", "--firmware", &text, "--vcpus", "1", "--vcpu-type", "EPYC"],
    ] {
        let error = measure(arguments).fails_with(1);
        assert!(error.contains("has no measurement"), "{arguments:?}: {error}");
    }
    let missing = directory.path().join("missing");
    let error = measure(&["sgx", missing.to_str().unwrap()]).fails_with(3);
    assert!(error.contains("cannot read"), "{error}");
    // For another TEE.
    let error = measure(&["sgx", &vector("optee/launch/made/legacy.ta")]).fails_with(2);
    assert!(
        error.contains("the image is for trustzone, not for sgx"),
        "{error}"
    );
}
