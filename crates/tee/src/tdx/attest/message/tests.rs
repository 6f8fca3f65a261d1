//! Messages as the service writes them, and every way to break one.

use super::*;

fn response(id: &[u8], quote: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER_LEN + 8 + id.len() + quote.len()).unwrap();
    let mut message = Vec::new();
    message.extend(1_u16.to_le_bytes());
    message.extend(1_u16.to_le_bytes());
    message.extend(1_u32.to_le_bytes());
    message.extend(size.to_le_bytes());
    message.extend(0_u32.to_le_bytes());
    message.extend(u32::try_from(id.len()).unwrap().to_le_bytes());
    message.extend(u32::try_from(quote.len()).unwrap().to_le_bytes());
    message.extend(id);
    message.extend(quote);
    message
}

fn with(message: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = message.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

#[test]
fn a_request_is_laid_out_as_the_library_does() {
    let request = quote_request(&[7; REPORT_LEN]);
    assert_eq!(
        hex::encode(&request[..24]),
        "0100000000000000180400000000000000040000".to_owned() + "00000000"
    );
    assert_eq!(request[24..], [7; REPORT_LEN]);
}

#[test]
fn the_quote_is_found_after_the_id() {
    for id in [&[][..], &[9; 16]] {
        assert_eq!(parse_quote_response(&response(id, b"quote")).unwrap(), b"quote");
    }
}

#[test]
fn the_services_error_is_told() {
    let message = with(&response(&[], b"quote"), 12, &0x0001_2004_u32.to_le_bytes());
    let Err(VerifyError::AttributeInvalid { what }) = parse_quote_response(&message) else {
        panic!("an error passed")
    };
    assert_eq!(what, "error 0x12004, it does not know the message's version");
}

#[test]
fn other_versions_and_types_are_named() {
    let message = response(&[], b"quote");
    for (at, field) in [(0, 2_u16), (2, 2)] {
        let changed = with(&message, at, &field.to_le_bytes());
        assert!(
            matches!(parse_quote_response(&changed), Err(VerifyError::Unsupported { what }) if what.contains("version"))
        );
    }
    for kind in [0_u32, 2, 3, u32::MAX] {
        let changed = with(&message, 4, &kind.to_le_bytes());
        assert!(
            matches!(parse_quote_response(&changed), Err(VerifyError::Malformed { what, offset: 4 }) if what.contains("type"))
        );
    }
}

#[test]
fn every_truncation_is_noticed() {
    let message = response(&[9; 16], b"quote");
    for length in 0..message.len() {
        assert!(
            matches!(
                parse_quote_response(&message[..length]),
                Err(VerifyError::Malformed { .. })
            ),
            "cut to {length}"
        );
        // The same with a size that fits what is left.
        if length >= HEADER_LEN {
            let size = u32::try_from(length).unwrap();
            let cut = with(&message[..length], 8, &size.to_le_bytes());
            let Err(VerifyError::Malformed { what, .. }) = parse_quote_response(&cut) else {
                panic!("cut to {length}, with the size changed")
            };
            assert!(what.contains("needs"), "cut to {length}: {what}");
        }
    }
}

#[test]
fn every_length_must_be_exact() {
    let message = response(&[9; 16], b"quote");
    let size = u32::try_from(message.len()).unwrap();
    for other in [0, size - 1, size + 1, u32::MAX] {
        let changed = with(&message, 8, &other.to_le_bytes());
        assert!(
            matches!(parse_quote_response(&changed), Err(VerifyError::Malformed { what, offset: 8 }) if what.contains("says that it has"))
        );
    }
    for other in [17_u32, u32::MAX] {
        let changed = with(&message, 16, &other.to_le_bytes());
        assert!(
            matches!(parse_quote_response(&changed), Err(VerifyError::Malformed { what, offset: 16 }) if what.contains("selected id"))
        );
    }
    for other in [6_u32, 22, u32::MAX] {
        let changed = with(&message, 20, &other.to_le_bytes());
        assert!(
            matches!(parse_quote_response(&changed), Err(VerifyError::Malformed { what, .. }) if what.contains("quote needs"))
        );
    }
    for shorter in [1_u32, 4] {
        let changed = with(&message, 20, &shorter.to_le_bytes());
        assert!(
            matches!(parse_quote_response(&changed), Err(VerifyError::TrailingBytes { length, .. }) if length == 5 - shorter as usize)
        );
    }
    assert!(
        matches!(parse_quote_response(&response(&[], b"")), Err(VerifyError::Malformed { what, .. }) if what == "an empty quote")
    );
}

#[test]
fn no_byte_of_a_message_makes_it_panic() {
    let message = response(&[9; 16], b"quote");
    for at in 0..message.len() {
        for value in 0..=255 {
            if let Ok(quote) = parse_quote_response(&with(&message, at, &[value])) {
                assert!(quote.len() <= message.len());
            }
        }
    }
}
