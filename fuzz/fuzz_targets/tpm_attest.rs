//! Structures of a TPM from anywhere: nothing panics, nothing may follow them, and what is read stays within what a
//! TPM has.
#![no_main]

use nautilus_fuzz::fuzz_target;
use nautilus_tee::tpm::{Attest, HashAlgorithm, PCR_COUNT, Public, Signature};

fuzz_target!(|bytes: &[u8]| {
    let longer = [bytes, &[0]].concat();
    if let Ok(attest) = Attest::parse(bytes) {
        assert!(Attest::parse(&longer).is_err(), "a byte follows the quote");
        assert!(attest.pcr_digest.len() <= HashAlgorithm::Sha512.digest_len());
        let pcrs = attest.selections.iter().flat_map(|selection| &selection.pcrs);
        assert!(pcrs.max().is_none_or(|pcr| *pcr < PCR_COUNT), "{attest:?}");
    }
    if Signature::parse(bytes).is_ok() {
        assert!(Signature::parse(&longer).is_err(), "a byte follows the signature");
    }
    if let Ok(public) = Public::parse("public area", bytes) {
        assert!(
            Public::parse("public area", &longer).is_err(),
            "a byte follows the key"
        );
        let again = Public::parse("public area", &public.to_tpm2b());
        assert_eq!(again.as_ref(), Ok(&public), "reads back as another key");
        assert_eq!(
            public.name().len(),
            public.name_algorithm.digest_len() + 2,
            "{public:?}"
        );
    }
});
