use super::*;

/// A report in which every field has its own value.
fn report() -> Report {
    Report {
        enclave_hash: [1; 64],
        data: b"payload".to_vec(),
        enclave_signature: [2; 64],
        sm_hash: [3; 64],
        sm_public_key: [4; 32],
        sm_signature: [5; 64],
        device_public_key: [6; 32],
        unsigned: None,
    }
}

fn binary() -> Vec<u8> {
    let mut bytes = vec![1; 64];
    bytes.extend(7_u64.to_le_bytes());
    bytes.extend(b"payload");
    bytes.resize(DATA_AT + MAX_DATA, 0);
    for (value, length) in [(2, 64), (3, 64), (4, 32), (5, 64), (6, 32)] {
        bytes.extend(vec![value; length]);
    }
    bytes
}

fn text() -> String {
    json::sdk_text(&report())
}

#[test]
fn both_forms_say_the_same() {
    assert_eq!(parse_report(&binary()).unwrap(), report());
    assert_eq!(parse_report(text().as_bytes()).unwrap(), report());
    assert!(recognises(&binary()) && recognises(text().as_bytes()));
}

#[cfg(feature = "verify")]
#[test]
fn what_is_signed_is_what_stands_in_the_bytes() {
    let bytes = binary();
    assert_eq!(report().signed_by_monitor(), bytes[..DATA_AT + 7]);
    assert_eq!(report().signed_by_device(), bytes[1160..1256]);
}

#[test]
fn every_other_length_is_refused() {
    let bytes = binary();
    for length in 0..REPORT_LEN {
        assert_eq!(
            parse_report(&bytes[..length]).unwrap_err(),
            VerifyError::Malformed {
                what: "report ends, 1352 bytes are needed".to_owned(),
                offset: length
            }
        );
        assert!(!recognises(&bytes[..length]));
    }
    let long = [bytes.as_slice(), &[0]].concat();
    assert!(!recognises(&long));
    assert_eq!(
        parse_report(&long).unwrap_err(),
        VerifyError::TrailingBytes {
            offset: REPORT_LEN,
            length: 1
        }
    );
}

#[test]
fn more_data_than_fits_is_refused() {
    let mut bytes = binary();
    bytes[DATA_LEN_AT..DATA_AT].copy_from_slice(&1024_u64.to_le_bytes());
    assert_eq!(parse_report(&bytes).unwrap().data.len(), 1024);
    for length in [1025, u64::from(u32::MAX) + 1, u64::MAX - 71, u64::MAX] {
        bytes[DATA_LEN_AT..DATA_AT].copy_from_slice(&length.to_le_bytes());
        let refused = parse_report(&bytes).unwrap_err();
        assert!(
            matches!(&refused, VerifyError::Malformed { what, offset: 64 } if what.contains(&length.to_string())),
            "{refused:?}"
        );
        assert!(!recognises(&bytes));
    }
}

#[test]
fn what_stands_after_the_data_is_reported_and_not_shown() {
    let mut bytes = binary();
    bytes[DATA_AT + 7..DATA_AT + 12].copy_from_slice(b"stack");
    let found = parse_report(&bytes).unwrap();
    let fact = found.unsigned.clone().unwrap();
    assert_eq!(fact.what, "bytes after the enclave's data");
    assert!(
        fact.detail
            .starts_with("1017 bytes at offset 79 are not all zero"),
        "{}",
        fact.detail
    );
    let without = Report {
        unsigned: None,
        ..found
    };
    assert_eq!(without, report(), "what is claimed does not depend on them");
}

#[test]
fn other_spellings_of_the_json_are_reported() {
    for (spelling, first) in [
        (text().replace(": ", ":"), 17),
        (format!("{}\n", text()), text().len()),
        (
            text().replace("\"data\": \"7061", "\"data\": \"7\\u0030\\u0036\\u0031"),
            text().find("7061").unwrap() + 1,
        ),
    ] {
        let found = parse_report(spelling.as_bytes()).unwrap();
        let fact = found.unsigned.clone().unwrap();
        assert_eq!(fact.what, "unusual text of the JSON report");
        assert!(
            fact.detail
                .ends_with(&format!("first difference at offset {first}")),
            "{}",
            fact.detail
        );
        assert_eq!(
            Report {
                unsigned: None,
                ..found
            },
            report()
        );
    }
}

#[test]
fn hostile_json_is_refused_by_name() {
    let fault = |text: String| match parse_report(text.as_bytes()).unwrap_err() {
        VerifyError::Malformed { what, offset } => (what, offset),
        other => panic!("{other:?}"),
    };
    let changed = |from: &str, to: &str| {
        let changed = text().replacen(from, to, 1);
        assert_ne!(changed, text(), "{from}");
        fault(changed)
    };
    let datalen = text().find("\"datalen\"").unwrap();
    assert_eq!(
        changed("\"datalen\": 7", "\"datalen\": 1025"),
        (
            "enclave's data is said to have 1025 bytes, at most 1024 fit".to_owned(),
            datalen
        )
    );
    assert_eq!(
        changed("\"datalen\": 7", "\"datalen\": 6").0,
        "data has 7 bytes, datalen says 6"
    );
    assert_eq!(
        changed("\"datalen\": 7", "\"datalen\": 18446744073709551615").0,
        format!(
            "enclave's data is said to have {} bytes, at most 1024 fit",
            usize::MAX
        )
    );
    assert!(
        changed("\"datalen\": 7", "\"datalen\": -7")
            .0
            .starts_with("invalid value")
    );
    assert_eq!(changed("7061", "706").0, "data is not hex");
    assert_eq!(
        changed("\"pubkey\": \"04", "\"pubkey\": \"").0,
        "expected 32 bytes in hex, found 62 characters"
    );
    assert!(
        changed("{\"data\"", "{\"more\": 1, \"data\"")
            .0
            .starts_with("unknown field `more`")
    );
    assert_eq!(
        changed("\"datalen\": 7", "\"datalen\": 7, \"datalen\": 7").0,
        "duplicate field `datalen`"
    );
    assert_eq!(
        fault(format!("{} 1", text())),
        ("trailing characters".to_owned(), text().len() + 1)
    );
    for length in 1..text().len() {
        let refused = parse_report(&text().as_bytes()[..length]).unwrap_err();
        assert!(
            matches!(refused, VerifyError::Malformed { .. }),
            "{length}: {refused:?}"
        );
    }
    let long = format!("{}{}", text(), " ".repeat(16 * 1024));
    assert_eq!(
        parse_report(long.as_bytes()).unwrap_err(),
        VerifyError::TooLarge { limit: 16 * 1024 }
    );
}
