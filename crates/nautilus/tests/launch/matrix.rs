use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Ran, run};
use crate::reference::{measurements, python};

const VCPUS: [u32; 4] = [1, 2, 4, 64];
const FEATURES: [u32; 2] = [0x1, 0x21];
/// All that the reference knows.
const TYPES: [&str; 16] = [
    "EPYC",
    "EPYC-v1",
    "EPYC-v2",
    "EPYC-IBPB",
    "EPYC-v3",
    "EPYC-v4",
    "EPYC-Rome",
    "EPYC-Rome-v1",
    "EPYC-Rome-v2",
    "EPYC-Rome-v3",
    "EPYC-Milan",
    "EPYC-Milan-v1",
    "EPYC-Milan-v2",
    "EPYC-Genoa",
    "EPYC-Genoa-v1",
    "EPYC-Turin",
];
/// Debian's `ovmf`, without tables for a kernel's hashes.
const DEBIAN: &str = "/usr/share/ovmf/OVMF.fd";

fn image(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/snp/launch/made");
    root.join(name)
}

/// A guest, in the words of both.
fn guest(firmware: &Path, vmm: &str, vcpus: u32, kind: &str, features: u32) -> Value {
    json!({
        "firmware": firmware, "vmm": vmm, "vcpus": vcpus, "type": kind, "features": features,
        "kernel": null, "initrd": null, "cmdline": null,
    })
}

fn measure(case: &Value) -> Ran {
    let text = |name: &str| case[name].as_str();
    let mut arguments = vec!["measure".to_owned(), "sev".to_owned(), "--json".to_owned()];
    let mut option = |name: &str, value: &str| arguments.extend([format!("--{name}"), value.to_owned()]);
    option("firmware", text("firmware").unwrap());
    option("vmm", text("vmm").unwrap());
    option("vcpus", &case["vcpus"].to_string());
    option(
        "guest-features",
        &format!("{:#x}", case["features"].as_u64().unwrap()),
    );
    if text("vmm") == Some("QEMU") {
        option("vcpu-type", text("type").unwrap());
    }
    for name in ["kernel", "initrd", "cmdline"] {
        if let Some(value) = text(name) {
            option(name, value);
        }
    }
    run(arguments)
}

fn compare(cases: &[Value]) {
    let wanted = measurements(&python(), cases);
    assert_eq!(wanted.len(), cases.len());
    for (case, wanted) in cases.iter().zip(&wanted) {
        let found = measure(case).ends_with(0).json();
        assert_eq!(found["measurements"], json!({ "measurement": wanted }), "{case}");
    }
}

/// One test, since both parts need the environment that the first of them makes.
#[test]
fn launch_measurements_are_those_of_sev_snp_measure() {
    let directory = TempDir::new().unwrap();
    let put = |name: &str, contents: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    let kernel = put("kernel", &vec![0x4b; 70_001]);
    let initrd = put("initrd", &vec![0x49; 4097]);
    let kernels = [
        (None, None, None),
        (Some(&kernel), None, None),
        (Some(&kernel), Some(&initrd), None),
        (Some(&kernel), None, Some("console=ttyS0")),
        (
            Some(&kernel),
            Some(&initrd),
            Some("root=/dev/mapper/r ro \"quoted value\" é"),
        ),
    ];
    let mut cases = Vec::new();
    for (file, vmm, vcpus, features) in combinations(&["full.fd", "cpuid-first.fd"]) {
        for (kernel, initrd, cmdline) in &kernels {
            let mut case = guest(&image(file), vmm, vcpus, "EPYC-v4", features);
            case["kernel"] = json!(kernel);
            case["initrd"] = json!(initrd);
            case["cmdline"] = json!(cmdline);
            cases.push(case);
        }
    }
    for kind in TYPES {
        cases.push(guest(&image("plain.fd"), "QEMU", 2, kind, 0x1));
    }
    for (_, vmm, vcpus, features) in combinations(&[DEBIAN]) {
        cases.push(guest(Path::new(DEBIAN), vmm, vcpus, "EPYC-Milan", features));
    }
    assert_eq!(cases.len(), 2 * 24 * 5 + 16 + 24);
    compare(&cases);
}

fn combinations<'a>(files: &[&'a str]) -> Vec<(&'a str, &'static str, u32, u32)> {
    let mut all = Vec::new();
    for file in files {
        for vmm in ["QEMU", "ec2", "gce"] {
            for vcpus in VCPUS {
                for features in FEATURES {
                    all.push((*file, vmm, vcpus, features));
                }
            }
        }
    }
    all
}
