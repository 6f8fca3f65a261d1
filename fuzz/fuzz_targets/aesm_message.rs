//! Answers of an AESM service from anywhere: nothing panics, nothing is read that is not there, and no answer holds for
//! two requests.
#![no_main]

use nautilus_core::VerifyError;
use nautilus_fuzz::fuzz_target;
use nautilus_tee::sgx::aesm_message::{Answer, Call, Refusal, parse_answer};

const CALLS: [Call; 5] = [
    Call::InitQuote,
    Call::QuoteSize,
    Call::Quote,
    Call::KeyIdCount,
    Call::KeyIds,
];

fuzz_target!(|bytes: &[u8]| {
    let mut answered = 0;
    for call in CALLS {
        let parsed = parse_answer(bytes, call);
        match &parsed {
            Ok(Ok(answer)) => {
                answered += 1;
                let number = matches!(call, Call::QuoteSize | Call::KeyIdCount);
                match answer {
                    Answer::Number(_) => assert!(number, "{call:?} gives no number"),
                    Answer::Bytes(value) => {
                        assert!(!number, "{call:?} gives no bytes");
                        assert!(bytes.as_ptr_range().contains(&value.as_ptr()) || value.is_empty());
                        assert!(value.len() < bytes.len());
                    }
                    Answer::Nothing => {}
                }
            }
            Ok(Err(Refusal::Error(code))) => assert_ne!(*code, 0, "success is no refusal"),
            // The one answer that names no request.
            Ok(Err(Refusal::UnknownRequest)) => {}
            Err(VerifyError::Malformed { offset, .. }) => {
                assert!(*offset <= bytes.len(), "{offset} lies beyond the end");
            }
            Err(other) => panic!("{other:?}"),
        }
        if parsed.is_ok() {
            let twice = parse_answer(&[bytes, bytes].concat(), call).map(drop);
            assert!(
                matches!(twice, Err(VerifyError::Malformed { .. })),
                "two answers are one: {twice:?}"
            );
        }
    }
    assert!(answered <= 1, "an answer to {answered} requests");
});
