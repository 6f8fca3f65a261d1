use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::launch::LaunchError;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

fn image(name: &str) -> Vec<u8> {
    std::fs::read(vectors().join("snp/launch/made").join(name)).unwrap()
}

/// `golden.json` is by Python; its values of `by-section` are those of the crate mosaik 0.4.2 too.
#[test]
fn mrtd_is_that_of_other_implementations() {
    let text = std::fs::read_to_string(vectors().join("tdx/launch/golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let golden = golden.as_object().unwrap();
    assert_eq!(golden.len(), 3);
    for (name, values) in golden {
        for order in PageOrder::ALL {
            assert_eq!(
                hex::encode(mrtd(&image(name), order).unwrap()),
                values[order.as_str()].as_str().unwrap(),
                "{name} {order}"
            );
            assert_eq!(order.as_str().parse(), Ok(order));
        }
    }
    let error = "both".parse::<PageOrder>().unwrap_err().to_string();
    assert!(error.contains("expected by-page or by-section"), "{error}");
}

#[test]
fn variables_and_memory_are_not_measured_by_their_contents() {
    let good = image("full.fd");
    let value = |image: &[u8]| mrtd(image, PageOrder::ByPage).unwrap();
    // The first 8 KiB are variables, which the firmware measures into RTMR 0.
    let (mut variables, mut code) = (good.clone(), good.clone());
    variables[0x1fff] ^= 1;
    code[0x2000] ^= 1;
    assert_eq!(value(&variables), value(&good));
    assert_ne!(value(&code), value(&good));
}

#[test]
fn hostile_metadata_are_refused() {
    let good = image("full.fd");
    // The TDX metadata stand there in the images made here, 640 bytes before the end.
    let at = good.len() - 640;
    let change = |offset: usize, value: u32| {
        let mut bad = good.clone();
        bad[at + offset..at + offset + 4].copy_from_slice(&value.to_le_bytes());
        mrtd(&bad, PageOrder::ByPage).unwrap_err().to_string()
    };
    for (offset, value, told) in [
        (0, 0, "do not start with `TDVF`"),
        (4, 1, "TDX metadata of 1 bytes cannot have 6 sections"),
        (8, 2, "version 2, not 1"),
        (12, 0, "0 TDX sections, not 1 to 64"),
        (12, u32::MAX, "TDX sections, not 1 to 64"),
        (16, u32::MAX, "data of a TDX section needs"),
        (20, 0x7000, "is to hold 0x7000 of the file"),
        (24, 1, "has no whole pages"),
        (
            20,
            0x5000,
            "a measured TDX section of 0x6000 bytes with 0x5000 in the file",
        ),
        (32, 1, "has no whole pages"),
        (36, 1, "a measured TDX section of 0x100006000 bytes"),
        // The temporary memory.
        (16 + 32 * 2 + 20, 1, "more than the 16384 pages allowed"),
        (40, 7, "unknown type 7"),
        (44, 3, "attributes 0x3"),
        (44, 4, "attributes 0x4"),
        (44, 0, "no section whose contents are measured"),
    ] {
        let error = change(offset, value);
        assert!(error.contains(told), "{offset}: {error}");
    }
    let mut end = good.clone();
    end[at + 24..at + 32].copy_from_slice(&0xffff_ffff_ffff_f000_u64.to_le_bytes());
    let error = mrtd(&end, PageOrder::ByPage).unwrap_err().to_string();
    assert!(error.contains("has no whole pages"), "{error}");
}

#[test]
fn an_event_log_gives_the_registers_of_the_next_launch() {
    let log = std::fs::read(vectors().join("eventlog/CCEL_data_ovmf")).unwrap();
    let registers = rtmrs(&log).unwrap();
    let names: Vec<_> = registers.keys().map(String::as_str).collect();
    assert_eq!(names, ["rtmr0", "rtmr1", "rtmr2"]);
    // What a quote must sign for this log to explain it.
    let mut signed = registers.clone();
    signed.insert("rtmr3".to_owned(), Measurement(vec![0; 48]));
    hold_against_rtmrs(&EventLog::parse(&log).unwrap(), &signed).unwrap();
    assert!(registers["rtmr0"].to_string().starts_with("8566f998"));
}

#[test]
fn a_log_of_another_machine_is_refused() {
    let log = std::fs::read(vectors().join("eventlog/debian-10.bin")).unwrap();
    let error = rtmrs(&log).unwrap_err();
    assert!(
        matches!(
            error,
            LaunchError::EventLog(VerifyError::Unsupported { .. } | VerifyError::Malformed { .. })
        ),
        "{error:?}"
    );
    assert!(matches!(
        rtmrs(&[]),
        Err(LaunchError::EventLog(VerifyError::Malformed { .. }))
    ));
}
