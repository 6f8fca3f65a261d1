//! Logs that are made here, byte by byte.

use std::collections::BTreeMap;

use nautilus_core::{MAX_EVIDENCE, Measurement, VerifyError};

use super::*;

const SHA256: u16 = 0x000b;
const SHA384: u16 = 0x000c;

fn legacy(register: u32, kind: EventType, digest: u8, data: &[u8]) -> Vec<u8> {
    let mut event = [register.to_le_bytes(), kind.0.to_le_bytes()].concat();
    event.extend([digest; 20]);
    event.extend((data.len() as u32).to_le_bytes());
    event.extend(data);
    event
}

fn header(algorithms: &[(u16, u16)]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    data.extend((algorithms.len() as u32).to_le_bytes());
    for (id, size) in algorithms {
        data.extend([id.to_le_bytes(), size.to_le_bytes()].concat());
    }
    data.push(0);
    legacy(0, EventType::NO_ACTION, 0, &data)
}

fn agile(register: u32, kind: EventType, digests: &[(u16, &[u8])], data: &[u8]) -> Vec<u8> {
    let mut event = [register, kind.0, digests.len() as u32]
        .map(u32::to_le_bytes)
        .concat();
    for (id, digest) in digests {
        event.extend(id.to_le_bytes());
        event.extend(*digest);
    }
    event.extend((data.len() as u32).to_le_bytes());
    event.extend(data);
    event
}

/// An event in bank SHA-256 whose digest is of its data.
fn measured(register: u32, kind: EventType, data: &[u8]) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
    agile(register, kind, &[(SHA256, digest.as_ref())], data)
}

fn log(events: &[Vec<u8>]) -> Vec<u8> {
    let mut log = header(&[(SHA256, 32)]);
    log.extend(events.concat());
    log
}

#[track_caller]
fn refused(bytes: &[u8], what: &str, offset: usize) {
    match EventLog::parse(bytes) {
        Err(VerifyError::Malformed {
            what: found,
            offset: at,
        }) => {
            assert!(found.contains(what), "{found}");
            assert_eq!(at, offset, "{found}");
        }
        other => panic!("{other:?}"),
    }
}

fn pcr(index: u32, value: Vec<u8>) -> BTreeMap<String, Measurement> {
    BTreeMap::from([(format!("pcr{index}"), Measurement(value))])
}

#[test]
fn padding_is_zeros_or_ones_and_nothing_else() {
    let events = log(&[measured(4, EventType::ACTION, b"boot\0\0")]);
    let parsed = |bytes: &[u8]| EventLog::parse(bytes).map(|log| (log.events.len(), log.padding));
    assert_eq!(parsed(&events), Ok((1, 0)));
    for fill in [0, 0xff] {
        let padded = [events.clone(), vec![fill; 1000]].concat();
        assert_eq!(parsed(&padded), Ok((1, 1000)), "{fill}");
    }
    // The firmware's area may have held something else before: it is no part of the log, and is refused.
    for mixed in [vec![0, 0xff], [vec![0; 40], vec![1]].concat(), vec![1; 3]] {
        let at = events.len();
        let bytes = [events.clone(), mixed].concat();
        let error = EventLog::parse(&bytes).unwrap_err();
        assert!(
            matches!(error, VerifyError::Malformed { offset, .. } if offset >= at),
            "{error}"
        );
    }
    refused(&[], "no event", 0);
    refused(&[0; 64], "no event", 0);
    refused(&header(&[(SHA256, 32)]), "no event", 65);
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    // The list starts at byte 32 of the event, after signature, class and version.
    refused(&header(&[]), "0 digest algorithms", 56);
    refused(&header(&[(4, 20); 17]), "17 digest algorithms", 56);
    refused(
        &header(&[(SHA256, 32), (SHA256, 32)]),
        "algorithm 0x000b twice",
        64,
    );
    refused(&header(&[(SHA256, 48)]), "cannot have 48 bytes", 60);
    refused(&header(&[(0x1234, 65)]), "cannot have 65 bytes", 60);
    refused(&header(&[(0x1234, 0)]), "cannot have 0 bytes", 60);
    let mut version_1 = header(&[(SHA256, 32)]);
    version_1[32 + 21] = 1;
    refused(&version_1, "major version 1", 56);
    let mut count = header(&[(SHA256, 32)]);
    count[56..60].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&count, "4294967295 digest algorithms", 56);
    let mut vendor = header(&[(SHA256, 32)]);
    *vendor.last_mut().unwrap() = 9;
    refused(&vendor, "vendor's information needs 9 bytes", 65);
    let mut longer = header(&[(SHA256, 32)]);
    longer[28] += 1;
    longer.push(7);
    refused(&longer, "bytes after the header", 65);
}

#[test]
fn hostile_events_are_refused_where_they_stand() {
    let at = log(&[]).len();
    let digest: &[u8] = &[7; 32];
    let refused = |event: Vec<u8>, what: &str, offset: usize| refused(&log(&[event]), what, at + offset);
    refused(
        agile(24, EventType::IPL, &[(SHA256, digest)], b""),
        "register 24",
        0,
    );
    refused(agile(4, EventType::IPL, &[], b"x"), "no digest", 0);
    refused(
        agile(4, EventType::IPL, &[(SHA256, digest); 2], b""),
        "2 digests",
        8,
    );
    refused(
        agile(4, EventType::IPL, &[(SHA384, &[7; 48])], b""),
        "algorithm 0x000c",
        12,
    );
    let mut size = agile(4, EventType::IPL, &[(SHA256, digest)], b"abc");
    size[46..50].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(size, "event's data needs 4294967295 bytes, 3 are left", 50);
    let mut count = agile(4, EventType::IPL, &[(SHA256, digest)], b"abc");
    count[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(count, "4294967295 digests", 8);
    let two = header(&[(SHA256, 32), (SHA384, 48)]);
    let twice = agile(4, EventType::IPL, &[(SHA256, digest); 2], b"");
    super::tests::refused(
        &[two.clone(), twice].concat(),
        "two digests of algorithm",
        two.len() + 46,
    );
}

#[test]
fn a_log_is_bounded() {
    assert_eq!(
        EventLog::parse(&vec![0; MAX_EVIDENCE + 1]),
        Err(VerifyError::TooLarge { limit: MAX_EVIDENCE })
    );
    let event = agile(0xffff_ffff, EventType::NO_ACTION, &[], b"");
    let most = vec![event; MAX_EVENTS];
    assert_eq!(EventLog::parse(&log(&most)).unwrap().events.len(), MAX_EVENTS);
    let one_more = [most, vec![measured(1, EventType::IPL, b"x")]].concat();
    refused(&log(&one_more), "more than the 8192 events", 65 + 16 * MAX_EVENTS);
}

#[test]
fn registers_start_as_the_tpm_starts_them() {
    let bytes = log(&[measured(7, EventType::ACTION, b"x")]);
    let registers = EventLog::parse(&bytes).unwrap().replay(Bank::Sha256).unwrap();
    assert_eq!(registers.value(0), [0; 32]);
    assert_eq!(registers.value(16), [0; 32]);
    assert_eq!(registers.value(17), [0xff; 32]);
    assert_eq!(registers.value(22), [0xff; 32]);
    assert_eq!(registers.value(23), [0; 32]);
}

#[test]
fn the_startup_locality_is_in_pcr_0() {
    let locality = |value: u8| {
        let data = [b"StartupLocality\0".as_slice(), &[value]].concat();
        agile(0, EventType::NO_ACTION, &[(SHA256, &[0; 32])], &data)
    };
    let measured = measured(0, EventType::ACTION, b"x");
    let replayed = |events: &[Vec<u8>]| EventLog::parse(&log(events)).unwrap().replay(Bank::Sha256);
    let plain = replayed(std::slice::from_ref(&measured)).unwrap().value(0);
    let zero = replayed(&[locality(0), measured.clone()]).unwrap().value(0);
    let three = replayed(&[locality(3), measured.clone()]).unwrap().value(0);
    let mut start = [0; 32];
    start[31] = 3;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"x");
    assert_eq!(three, Bank::Sha256.extend(&start, digest.as_ref()));
    assert_eq!(plain, zero);
    assert_ne!(plain, three);
    // Not extended at all, PCR 0 still holds it.
    assert_eq!(replayed(&[locality(4)]).unwrap().value(0)[30..], [0, 4]);

    for contradiction in [
        vec![locality(3), locality(3)],
        vec![measured.clone(), locality(3)],
        vec![locality(2)],
    ] {
        let error = replayed(&contradiction).unwrap_err();
        assert!(
            matches!(&error, VerifyError::Malformed { what, .. } if what.contains("startup locality")),
            "{error}"
        );
    }
}

#[test]
fn a_signed_pcr_that_the_log_does_not_explain_is_a_mismatch() {
    let bytes = log(&[measured(4, EventType::ACTION, b"boot")]);
    let log = EventLog::parse(&bytes).unwrap();
    let pcr4 = log.replay(Bank::Sha256).unwrap().value(4);
    let held = hold_against_pcrs(&log, "sha256", &pcr(4, pcr4.clone())).unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(
        (held[0].register.as_str(), held[0].detail.as_str()),
        ("pcr4", "boot")
    );
    // Never extended and at its start: explained, and the other PCR's event is not told.
    assert_eq!(
        hold_against_pcrs(&log, "sha256", &pcr(9, vec![0; 32])),
        Ok(Vec::new())
    );
    assert_eq!(
        hold_against_pcrs(&log, "sha256", &pcr(17, vec![0xff; 32])),
        Ok(Vec::new())
    );
    let mut both = pcr(4, pcr4);
    both.extend(pcr(10, vec![5; 32]));
    assert_eq!(
        hold_against_pcrs(&log, "sha256", &both),
        Err(VerifyError::EventLogMismatch {
            register: "pcr10".to_owned(),
            replayed: "00".repeat(32),
            signed: "05".repeat(32),
        })
    );
}

#[test]
fn what_cannot_be_held_against_a_log_is_said() {
    let bytes = log(&[measured(1, EventType::ACTION, b"boot")]);
    let log = EventLog::parse(&bytes).unwrap();
    let error = |result: Result<Vec<_>, VerifyError>| result.unwrap_err().to_string();
    assert_eq!(
        error(hold_against_pcrs(&log, "sm3_256", &pcr(1, vec![0; 32]))),
        "unsupported evidence: replay of an event log in bank `sm3_256`"
    );
    assert_eq!(
        error(hold_against_pcrs(&log, "sha1", &pcr(1, vec![0; 20]))),
        "malformed evidence: event log: event EV_ACTION has no sha1 digest at byte 65"
    );
    assert_eq!(
        error(hold_against_pcrs(&log, "sha256", &BTreeMap::new())),
        "unsupported evidence: an event log beside evidence that signs no PCR"
    );
    assert_eq!(
        error(hold_against_rtmrs(&log, &BTreeMap::new())),
        "malformed evidence: event log: event EV_ACTION has no sha384 digest at byte 65"
    );
}

#[test]
fn rtmr_3_is_held_against_the_log_only_where_the_log_has_events_for_it() {
    let event = |register| agile(register, EventType::EVENT_TAG, &[(SHA384, &[7; 48])], b"x");
    let log = |registers: &[u32]| {
        let events: Vec<_> = registers.iter().map(|register| event(*register)).collect();
        [header(&[(SHA384, 48)]), events.concat()].concat()
    };
    let zeros = |rtmr3: u8| {
        let mut all = BTreeMap::new();
        for number in 0..4 {
            let fill = if number == 3 { rtmr3 } else { 0 };
            all.insert(format!("rtmr{number}"), Measurement(vec![fill; 48]));
        }
        all
    };
    let extended = Bank::Sha384.extend(&[0; 48], &[7; 48]);
    let held = |bytes: &[u8], signed: &BTreeMap<String, Measurement>| {
        hold_against_rtmrs(&EventLog::parse(bytes).unwrap(), signed)
    };
    let mut signed = zeros(9);
    signed.insert("rtmr1".to_owned(), Measurement(extended.clone()));
    assert_eq!(held(&log(&[2]), &signed).unwrap()[0].register, "rtmr1");
    let mismatch = |result: Result<Vec<nautilus_core::LoggedEvent>, VerifyError>| match result {
        Err(VerifyError::EventLogMismatch { register, .. }) => register,
        other => panic!("{other:?}"),
    };
    assert_eq!(mismatch(held(&log(&[2, 4]), &signed)), "rtmr3");
    signed.insert("rtmr3".to_owned(), Measurement(extended));
    assert_eq!(held(&log(&[2, 4]), &signed).unwrap().len(), 2);
    // Without events, the others must be at their start all the same.
    assert_eq!(mismatch(held(&log(&[4]), &signed)), "rtmr1");

    let error = held(&log(&[0]), &zeros(0)).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Unsupported { what } if what.contains("extends MRTD")),
        "{error}"
    );
    let error = held(&log(&[5]), &zeros(0)).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Malformed { what, offset: 65 } if what.contains("register 5")),
        "{error}"
    );
    signed.remove("rtmr2");
    let error = held(&log(&[2, 4]), &signed).unwrap_err();
    assert!(
        matches!(&error, VerifyError::Unsupported { what } if what.contains("does not sign rtmr2")),
        "{error}"
    );
}

#[track_caller]
fn says(kind: EventType, data: &[u8], detail: &str) {
    let bytes = log(&[measured(4, kind, data)]);
    let log = EventLog::parse(&bytes).unwrap();
    assert_eq!(log.events[0].detail(Bank::Sha256), detail);
}

#[test]
fn hostile_text_is_written_out_and_cut() {
    says(EventType::ACTION, b"boot\x1b[2J", "626f6f741b5b324a");
    says(
        EventType::ACTION,
        b"two\nlines\tand more",
        "two\\nlines\\tand more",
    );
    let hidden: Vec<u8> = "a\u{202e}b".encode_utf16().flat_map(u16::to_le_bytes).collect();
    says(EventType::S_CRTM_VERSION, &hidden, "61002e206200");
    let aael = |line: &str| {
        let mut data = ATTESTATION_AGENT_TAG.to_le_bytes().to_vec();
        data.extend((line.len() as u32).to_le_bytes());
        data.extend(line.as_bytes());
        data
    };
    says(
        EventType::EVENT_TAG,
        &aael("d \u{1b}[2J \u{202e}x é"),
        "AAEL: d \\u{1b}[2J \\u{202e}x é",
    );
    let long = "x".repeat(10_000);
    says(
        EventType::ACTION,
        long.as_bytes(),
        &format!("{}…", "x".repeat(512)),
    );
}

const ATTESTATION_AGENT_TAG: u32 = 0x4141_454c;

#[test]
fn structures_that_lie_about_their_lengths_are_shown_as_bytes() {
    for kind in [
        EventType::EVENT_TAG,
        EventType::POST_CODE,
        EventType::POST_CODE2,
        EventType::EFI_HANDOFF_TABLES,
        EventType::EFI_HANDOFF_TABLES2,
        EventType::EFI_VARIABLE_BOOT,
        EventType::EFI_VARIABLE_DRIVER_CONFIG,
        EventType::EFI_BOOT_SERVICES_APPLICATION,
        EventType::EFI_GPT_EVENT,
        EventType::EFI_PLATFORM_FIRMWARE_BLOB2,
        EventType(0x1234),
    ] {
        for length in [0, 1, 15, 17, 64, 200] {
            for fill in [0, 0x80, 0xff] {
                let data = vec![fill; length];
                let bytes = log(&[measured(4, kind, &data)]);
                let log = EventLog::parse(&bytes).unwrap();
                let detail = log.events[0].detail(Bank::Sha256);
                assert!(detail.len() < 600, "{kind}: {detail}");
            }
        }
    }
    says(EventType(0x1234), b"", "empty");
    says(
        EventType::SEPARATOR,
        &[0; 4],
        "end of the firmware's measurements",
    );
    says(EventType::SEPARATOR, b"no TPM", "measuring failed: no TPM");
}

#[test]
fn a_digest_of_other_bytes_is_marked_where_it_should_be_of_the_text() {
    let detail = |kind, data: &[u8]| {
        let bytes = log(&[agile(4, kind, &[(SHA256, &[7; 32])], data)]);
        EventLog::parse(&bytes).unwrap().events[0].detail(Bank::Sha256)
    };
    assert_eq!(
        detail(EventType::EFI_ACTION, b"boot"),
        "boot [digest is not of this text]"
    );
    assert_eq!(
        detail(EventType::IPL, b"/vmlinuz\0"),
        "/vmlinuz [unverified text]"
    );
}
