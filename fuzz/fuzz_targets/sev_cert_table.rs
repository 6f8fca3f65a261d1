//! A host's table of certificates from anywhere: it is read or refused, and what is found in it stands in it.
#![no_main]

use nautilus_core::VerifyError;
use nautilus_fuzz::fuzz_target;
use nautilus_tee::sev_snp::parse_certificates;

fuzz_target!(|bytes: &[u8]| {
    match parse_certificates(bytes) {
        Ok(found) => {
            assert!(found.0.len() <= 5, "{} documents of five kinds", found.0.len());
            for document in &found.0 {
                let length = document.bytes.len();
                assert!(length > 0 && length <= bytes.len());
                let verbatim = bytes.windows(length).any(|window| window == document.bytes);
                let from_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
                assert!(verbatim || from_pem, "{} is not in the table", document.origin);
            }
        }
        Err(VerifyError::Malformed { offset, .. }) => assert!(offset <= bytes.len()),
        Err(other) => panic!("{other:?}"),
    }
});
