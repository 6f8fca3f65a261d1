//! Responses of a Nitro Security Module from anywhere: nothing panics, and a response is a document or an error, whole.
#![no_main]

use nautilus_core::VerifyError;
use nautilus_fuzz::fuzz_target;
use nautilus_tee::nitro::{Response, parse_document, parse_response};

fuzz_target!(|bytes: &[u8]| {
    match parse_response(bytes) {
        Ok(Response::Document(document)) => {
            assert!(!document.is_empty() && document.len() < bytes.len());
            let _ = parse_document(document);
        }
        Ok(Response::Refused(code)) => {
            assert!(!code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        Err(VerifyError::Malformed { offset, .. }) => {
            assert!(offset <= bytes.len(), "{offset} lies beyond the end");
            return;
        }
        Err(other) => panic!("{other:?}"),
    }
    let longer = parse_response(&[bytes, &[0]].concat()).map(drop);
    assert!(longer.is_err(), "a byte follows the response");
});
