use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::launch::LaunchError;

fn vectors() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/snp/launch")
}

fn image(name: &str) -> Vec<u8> {
    std::fs::read(vectors().join("made").join(name)).unwrap()
}

/// Bytes that a seed gives, as `make.py` makes them.
fn made(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn guest(firmware: &[u8]) -> Guest<'_> {
    Guest {
        firmware,
        kernel: None,
        vcpus: 1,
        vcpu: "EPYC-v4".parse().unwrap(),
        hypervisor: Hypervisor::Qemu,
        features: SNP_ACTIVE,
    }
}

/// `golden.jsonl` was made with sev-snp-measure 0.0.13.
#[test]
fn measurements_are_those_of_sev_snp_measure() {
    let golden = std::fs::read_to_string(vectors().join("golden.jsonl")).unwrap();
    let (kernel, initrd) = (made(40, 5000), made(50, 7000));
    let file = |name: &str| match name {
        "" => &[][..],
        "kernel" => &kernel,
        "initrd" => &initrd,
        other => panic!("{other}"),
    };
    let mut seen = BTreeSet::new();
    let mut cases = 0;
    for line in golden.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let boot: Option<Vec<String>> = case["kernel"]
            .as_array()
            .map(|files| files.iter().map(text).collect());
        let firmware = image(&text(&case["image"]));
        let guest = Guest {
            firmware: &firmware,
            kernel: boot.as_ref().map(|files| DirectBoot {
                kernel: file(&files[0]),
                initrd: file(&files[1]),
                cmdline: &files[2],
            }),
            vcpus: case["vcpus"].as_u64().unwrap().try_into().unwrap(),
            vcpu: text(&case["type"]).parse().unwrap(),
            hypervisor: text(&case["hypervisor"]).parse().unwrap(),
            features: case["features"].as_u64().unwrap(),
        };
        assert_eq!(
            hex::encode(guest.measurement().unwrap()),
            text(&case["measurement"]),
            "{line}"
        );
        if guest.hypervisor == Hypervisor::Qemu {
            seen.insert(text(&case["type"]));
        }
        cases += 1;
    }
    assert_eq!(cases, 216);
    assert!(seen.len() >= 5, "{seen:?}");
}

#[test]
fn types_of_processors_have_the_signatures_of_their_silicon() {
    let signature = |name: &str| name.parse::<VcpuSignature>().unwrap().0;
    // As processors state them: AMD, revision guides of families 17h, 19h and 1Ah.
    assert_eq!(signature("EPYC"), 0x0080_0f12);
    assert_eq!(signature("EPYC-Rome"), 0x0083_0f10);
    assert_eq!(signature("EPYC-Milan"), 0x00a0_0f11);
    assert_eq!(signature("EPYC-Genoa"), 0x00a1_0f10);
    assert_eq!(signature("EPYC-Turin"), 0x00b0_0f00);
    assert_eq!(signature("0xa00f11"), 0x00a0_0f11);
    assert_eq!(VcpuSignature::of(6, 0, 0).0, 0x600);
    for name in ["", "epyc", "0x", "0x1ffffffff", "EPYC-Milan "] {
        let error = name.parse::<VcpuSignature>().unwrap_err();
        let LaunchError::Configuration { what } = error else {
            panic!("{error:?}")
        };
        assert!(what.contains("EPYC-Turin"), "{what}");
    }
    let error = "xen".parse::<Hypervisor>().unwrap_err().to_string();
    assert_eq!(error, "unknown hypervisor `xen`: expected one of qemu, ec2, gce");
}

#[test]
fn everything_that_a_guest_is_launched_with_is_measured() {
    let firmware = image("full.fd");
    let boot = DirectBoot {
        kernel: b"kernel",
        initrd: b"initrd",
        cmdline: "quiet",
    };
    let base = Guest {
        kernel: Some(boot),
        vcpus: 2,
        ..guest(&firmware)
    };
    let value = |guest: &Guest<'_>| hex::encode(guest.measurement().unwrap());
    let mut values = BTreeSet::from([value(&base)]);
    let mut other = |guest: Guest<'_>| assert!(values.insert(value(&guest)), "{guest:?}");
    let booted = |kernel| Guest {
        kernel: Some(kernel),
        ..base.clone()
    };
    other(booted(DirectBoot {
        kernel: b"other",
        ..boot
    }));
    other(booted(DirectBoot {
        initrd: b"other",
        ..boot
    }));
    other(booted(DirectBoot { initrd: b"", ..boot }));
    other(booted(DirectBoot {
        cmdline: "quiet ",
        ..boot
    }));
    other(Guest {
        kernel: None,
        ..base.clone()
    });
    other(Guest {
        vcpus: 3,
        ..base.clone()
    });
    other(Guest {
        vcpu: "EPYC-Genoa".parse().unwrap(),
        ..base.clone()
    });
    other(Guest {
        hypervisor: Hypervisor::Ec2,
        ..base.clone()
    });
    other(Guest {
        hypervisor: Hypervisor::Gce,
        ..base.clone()
    });
    other(Guest {
        features: 0x21,
        ..base.clone()
    });
    let mut changed = firmware.clone();
    changed[0] ^= 1;
    other(Guest {
        firmware: &changed,
        ..base.clone()
    });
}

#[test]
fn guests_that_nobody_launches_are_refused() {
    let firmware = image("full.fd");
    for vcpus in [0, MAX_VCPUS + 1] {
        let guest = Guest {
            vcpus,
            ..guest(&firmware)
        };
        let what = format!("{vcpus} virtual processors: a guest has 1 to 4096");
        assert_eq!(guest.measurement(), Err(LaunchError::Configuration { what }));
    }
    let boot = |cmdline| {
        Some(DirectBoot {
            kernel: b"k",
            initrd: b"",
            cmdline,
        })
    };
    let cut = Guest {
        kernel: boot("quiet\0evil"),
        ..guest(&firmware)
    };
    assert!(matches!(
        cut.measurement(),
        Err(LaunchError::Configuration { .. })
    ));
    let plain = image("plain.fd");
    let unheld = Guest {
        kernel: boot(""),
        ..guest(&plain)
    };
    let error = unheld.measurement().unwrap_err().to_string();
    assert!(error.contains("no SNP_KERNEL_HASHES section"), "{error}");
}

/// Where the SEV metadata of the images made here stand.
fn sev(image: &[u8]) -> usize {
    image.len() - 1024
}

#[test]
fn hostile_metadata_are_refused() {
    let good = image("full.fd");
    let change = |offset: usize, value: u32| {
        let mut bad = good.clone();
        let at = sev(&good) + offset;
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        guest(&bad).measurement().unwrap_err().to_string()
    };
    for (offset, value, told) in [
        (0, 0, "do not start with `ASEV`"),
        (4, 99, "SEV metadata of 99 bytes cannot have 7 sections"),
        (8, 2, "version 2, not 1"),
        (12, 65, "65 SEV sections, more than the 64 allowed"),
        (12, u32::MAX, "more than the 64 allowed"),
        (16, 0x80_0001, "has no whole pages"),
        (20, 0, "has no whole pages"),
        (20, 0x1001, "has no whole pages"),
        (20, 0x8000_0000, "more than the 4096 pages allowed"),
        (24, 5, "unknown type 0x5"),
        (24, 2, "Secrets that is not one page, or is there twice"),
        (
            16 + 12 * 2 + 8,
            3,
            "Cpuid that is not one page, or is there twice",
        ),
    ] {
        let error = change(offset, value);
        assert!(error.contains(told), "{offset}: {error}");
    }
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let good = image("full.fd");
    let boot = DirectBoot {
        kernel: b"k",
        initrd: b"",
        cmdline: "",
    };
    let place = |guid: u128| {
        let guid = crate::launch::ovmf::guid(guid);
        good.windows(16).rposition(|window| window == guid).unwrap()
    };
    let hashes = place(0x7255_371f_3a3b_4b04_927b_1da6_efa8_d454) - 10;
    // Outside of its page, and too near to its end.
    for address in [0x80_0c00_u32, 0x81_0f51] {
        let mut bad = good.clone();
        bad[hashes..hashes + 4].copy_from_slice(&address.to_le_bytes());
        let error = Guest {
            kernel: Some(boot),
            ..guest(&bad)
        }
        .measurement()
        .unwrap_err();
        assert!(error.to_string().contains("does not lie in its page"), "{error}");
        assert!(guest(&bad).measurement().is_ok());
    }
    let mut alone = good.clone();
    let reset = place(0x00f7_71de_1a7e_4fcb_890e_68c7_7e2f_b44e) - 6;
    alone[reset..reset + 4].fill(0);
    assert!(guest(&alone).measurement().is_ok());
    let two = Guest {
        vcpus: 2,
        ..guest(&alone)
    };
    let error = two.measurement().unwrap_err().to_string();
    assert!(error.contains("can be launched with one alone"), "{error}");
    let mut without = good.clone();
    without[place(0xdc88_6566_984a_4798_a75e_5585_a7bf_67cc)] ^= 1;
    let error = guest(&without).measurement().unwrap_err().to_string();
    assert!(error.contains("it has no SEV metadata"), "{error}");
}
