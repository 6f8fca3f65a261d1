//! The published logs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{LoggedEvent, Measurement, VerifyError};
use nautilus_tee::eventlog::{Bank, EventLog, EventType, hold_against_pcrs, hold_against_rtmrs};
use serde_json::Value;

use crate::registers::{self, CCEL_AAEL, CCEL_GRUB, CCEL_OVMF, DEBIAN_10, Registers, UBUNTU_2404};

fn vector(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/eventlog")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn measurements(prefix: &str, registers: &[(u32, &str)]) -> BTreeMap<String, Measurement> {
    let named = |(index, value): &(u32, &str)| {
        (
            format!("{prefix}{index}"),
            Measurement(hex::decode(value).unwrap()),
        )
    };
    registers.iter().map(named).collect()
}

/// RTMRs by their own numbers, from those of the log.
fn rtmrs(registers: Registers) -> BTreeMap<String, Measurement> {
    let mut all = measurements("rtmr", &[]);
    for number in 0..4 {
        all.insert(format!("rtmr{number}"), Measurement(vec![0; 48]));
    }
    let by_number: Vec<_> = registers
        .iter()
        .map(|(index, value)| (index - 1, *value))
        .collect();
    all.extend(measurements("rtmr", &by_number));
    all
}

const TPM_LOGS: [(&str, &str, Registers); 2] = [
    ("debian-10.bin", "sha1", DEBIAN_10),
    ("ubuntu-2404-amd-sevsnp.bin", "sha256", UBUNTU_2404),
];
const CCEL_LOGS: [(&str, Registers); 3] = [
    ("CCEL_data_ovmf", CCEL_OVMF),
    ("CCEL_data_grub", CCEL_GRUB),
    ("CCEL_AAEL_alibabacloud", CCEL_AAEL),
];

/// What a log says once it holds: of a TPM's, or of a trust domain's.
fn held(name: &str, log: &EventLog<'_>) -> Result<Vec<LoggedEvent>, VerifyError> {
    if let Some((_, bank, registers)) = TPM_LOGS.into_iter().find(|(log, ..)| *log == name) {
        return hold_against_pcrs(log, bank, &measurements("pcr", registers));
    }
    let (_, registers) = CCEL_LOGS.into_iter().find(|(log, _)| *log == name).unwrap();
    hold_against_rtmrs(log, &rtmrs(registers))
}

fn names() -> impl Iterator<Item = &'static str> {
    let tpm = TPM_LOGS.into_iter().map(|(name, ..)| name);
    tpm.chain(CCEL_LOGS.into_iter().map(|(name, _)| name))
}

#[test]
fn replays_give_what_other_tools_give() {
    let replayed = |name: &str, bank| {
        let bytes = vector(name);
        let registers = EventLog::parse(&bytes).unwrap().replay(bank).unwrap();
        let extended = registers.extended().iter();
        extended
            .map(|(index, value)| (*index, hex::encode(value)))
            .collect::<Vec<_>>()
    };
    let expected = |registers: Registers| {
        let owned = registers
            .iter()
            .map(|(index, value)| (*index, (*value).to_owned()));
        owned.collect::<Vec<_>>()
    };
    for (name, bank, registers) in TPM_LOGS {
        assert_eq!(
            replayed(name, Bank::named(bank).unwrap()),
            expected(registers),
            "{name}"
        );
    }
    for (name, registers) in CCEL_LOGS {
        assert_eq!(replayed(name, Bank::Sha384), expected(registers), "{name}");
    }
}

#[test]
fn every_event_of_a_log_that_holds_is_told() {
    let counts: Vec<_> = names()
        .map(|name| {
            let bytes = vector(name);
            let log = EventLog::parse(&bytes).unwrap();
            let told = held(name, &log).unwrap_or_else(|error| panic!("{name}: {error}"));
            let extending = log
                .events
                .iter()
                .filter(|event| event.kind != EventType::NO_ACTION)
                .count();
            assert_eq!(told.len(), extending, "{name}");
            (name, told.len(), log.padding)
        })
        .collect();
    assert_eq!(
        counts,
        [
            ("debian-10.bin", 25, 0),
            ("ubuntu-2404-amd-sevsnp.bin", 116, 0),
            ("CCEL_data_ovmf", 20, 63_416),
            ("CCEL_data_grub", 37, 50_406),
            ("CCEL_AAEL_alibabacloud", 87, 8),
        ]
    );
}

/// What the Confidential Containers' parser makes of the same log.
#[test]
fn another_parser_reads_the_same_events() {
    let bytes = vector("CCEL_data_ovmf");
    let log = EventLog::parse(&bytes).unwrap();
    let other: Value = serde_json::from_slice(&vector("CCEL_data_ovmf_out.json")).unwrap();
    let other = other["uefi_event_logs"].as_array().unwrap();
    assert_eq!(log.events.len(), other.len());
    for (event, other) in log.events.iter().zip(other) {
        assert_eq!(other["index"], event.register);
        assert_eq!(other["type_name"], event.kind.to_string());
        assert_eq!(
            other["digests"][0]["digest"],
            hex::encode(event.digest(Bank::Sha384).unwrap())
        );
        assert_eq!(
            STANDARD.decode(other["event"].as_str().unwrap()).unwrap(),
            event.data
        );
        let detail = event.detail(Bank::Sha384);
        if other["digest_matches_event"].as_bool().unwrap() {
            assert!(!detail.contains('['), "{detail}");
        } else if event.kind != EventType::EFI_VARIABLE_BOOT {
            // That parser does not know that the digest of these is of the variable's value alone.
            assert!(detail.ends_with(" [unverified text]"), "{detail}");
        }
    }
}

#[test]
fn events_are_told_in_words() {
    let told = |name: &str| {
        let bytes = vector(name);
        let events = held(name, &EventLog::parse(&bytes).unwrap()).unwrap();
        let lines = events
            .iter()
            .map(|event| format!("{} {} {}", event.register, event.event, event.detail));
        lines.collect::<Vec<_>>()
    };
    for name in names() {
        let lines = told(name);
        let plain = |line: &String| {
            line.chars()
                .all(|c| c == ' ' || c == '…' || c.is_ascii_graphic() || c.is_alphanumeric())
        };
        assert!(lines.iter().all(plain), "{lines:#?}");
        let expected = registers::LINES
            .iter()
            .filter(|(log, _)| *log == name)
            .map(|(_, line)| *line);
        for line in expected {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:#?}");
        }
    }
}

#[test]
fn a_signed_register_of_another_value_is_named() {
    for (name, bank, registers) in TPM_LOGS {
        let bytes = vector(name);
        let log = EventLog::parse(&bytes).unwrap();
        for (index, value) in registers {
            let mut signed = measurements("pcr", registers);
            signed.get_mut(&format!("pcr{index}")).unwrap().0[7] ^= 1;
            let error = hold_against_pcrs(&log, bank, &signed).unwrap_err();
            let VerifyError::EventLogMismatch {
                register, replayed, ..
            } = error
            else {
                panic!("{name}: {error}");
            };
            assert_eq!((register, replayed.as_str()), (format!("pcr{index}"), *value));
        }
    }
    for (name, registers) in CCEL_LOGS {
        let bytes = vector(name);
        let log = EventLog::parse(&bytes).unwrap();
        for (index, _) in registers {
            let mut signed = rtmrs(registers);
            let expected = format!("rtmr{}", index - 1);
            signed.get_mut(&expected).unwrap().0[47] ^= 0x80;
            let error = hold_against_rtmrs(&log, &signed).unwrap_err();
            assert!(
                matches!(&error, VerifyError::EventLogMismatch { register, .. } if *register == expected),
                "{name}: {error}"
            );
        }
    }
}

/// An event log that ends early is an error, or a log of fewer events, which gives other registers.
#[test]
fn no_truncation_holds() {
    for name in names() {
        let bytes = vector(name);
        let whole = EventLog::parse(&bytes).unwrap();
        let end = bytes.len() - whole.padding;
        let (mut prefixes, mut malformed) = (0, 0);
        for length in 0..end {
            match EventLog::parse(&bytes[..length]) {
                Ok(shorter) => {
                    assert!(
                        whole.events.starts_with(&shorter.events),
                        "{name} cut to {length}"
                    );
                    match held(name, &shorter) {
                        Err(VerifyError::EventLogMismatch { .. }) => {}
                        // RTMR 3, which the operating system extends, may hold more than the firmware's log tells.
                        Ok(told) => assert_eq!((name, told.len()), ("CCEL_AAEL_alibabacloud", 85)),
                        Err(other) => panic!("{name} cut to {length}: {other}"),
                    }
                    prefixes += 1;
                }
                Err(VerifyError::Malformed { what, offset }) => {
                    assert!(
                        what.starts_with("event log: ") && offset <= length,
                        "{what} {offset}"
                    );
                    malformed += 1;
                }
                Err(other) => panic!("{name} cut to {length}: {other}"),
            }
        }
        assert!(
            prefixes >= whole.events.len() - 1 && malformed > prefixes,
            "{name}"
        );
        for length in [end, end + whole.padding / 2] {
            let log = EventLog::parse(&bytes[..length]).unwrap();
            assert_eq!(log.events, whole.events, "{name} cut to {length}");
        }
    }
}

#[test]
fn every_flipped_bit_of_an_extended_digest_is_noticed() {
    for name in ["debian-10.bin", "CCEL_data_ovmf"] {
        let mut bytes = vector(name);
        bytes.truncate(bytes.len() - EventLog::parse(&bytes).unwrap().padding);
        let whole = EventLog::parse(&bytes).unwrap();
        for event in &whole.events {
            let digest = event.digests[0].value;
            // Where the digest stands: after register and type, and in the crypto-agile layout count and algorithm.
            let at = event.offset + if name == "debian-10.bin" { 8 } else { 14 };
            assert_eq!(&bytes[at..at + digest.len()], digest);
            for bit in 0..digest.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[at + bit / 8] ^= 1 << (bit % 8);
                let error = held(name, &EventLog::parse(&flipped).unwrap()).unwrap_err();
                assert!(
                    matches!(error, VerifyError::EventLogMismatch { .. }),
                    "{name}: {error}"
                );
            }
        }
    }
}

#[test]
fn an_event_moved_to_another_place_is_noticed() {
    for name in names() {
        let bytes = vector(name);
        let whole = EventLog::parse(&bytes).unwrap();
        let mut swapped = whole.clone();
        let (first, second) = (0..whole.events.len())
            .flat_map(|a| (a + 1..whole.events.len()).map(move |b| (a, b)))
            .find(|(a, b)| {
                let (a, b) = (&whole.events[*a], &whole.events[*b]);
                a.register == b.register && a.digests != b.digests && a.kind != EventType::NO_ACTION
            })
            .unwrap();
        swapped.events.swap(first, second);
        let error = held(name, &swapped).unwrap_err();
        assert!(
            matches!(error, VerifyError::EventLogMismatch { .. }),
            "{name}: {error}"
        );
    }
}
