//! A quoting service's answer from anywhere: it is read or refused, and a quote in it is the end of it.
#![no_main]

use nautilus_core::VerifyError;
use nautilus_fuzz::fuzz_target;
use nautilus_tee::tdx::parse_quote_response;

fuzz_target!(|bytes: &[u8]| {
    match parse_quote_response(bytes) {
        Ok(quote) => {
            assert!(!quote.is_empty());
            assert!(bytes.ends_with(quote));
            // Header, two lengths, and an id of 16 bytes at most.
            assert!((24..=40).contains(&(bytes.len() - quote.len())));
        }
        Err(VerifyError::Malformed { offset, .. }) => assert!(offset <= bytes.len()),
        Err(VerifyError::TrailingBytes { offset, length }) => assert_eq!(offset + length, bytes.len()),
        Err(VerifyError::Unsupported { .. } | VerifyError::AttributeInvalid { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
});
