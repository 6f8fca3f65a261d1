//! SIGSTRUCTs and SGXS files from anywhere: nothing panics, and only what a signer signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::TeeKind;
use nautilus_fuzz::fuzz_target;
use nautilus_tee::launch::{ImageKind, LaunchError, expected};
use nautilus_tee::sgx::launch::{Sigstruct, sgxs};

/// What was signed, by real signers: no other may verify.
static GENUINE: LazyLock<[Sigstruct; 2]> = LazyLock::new(|| {
    let seeds: [&[u8]; 2] = [
        include_bytes!("../../vectors/sgx/launch/fortanix-sgxs-tools/test_enclave.sig"),
        include_bytes!("../../vectors/sgx/launch/fortanix-sgxs-tools/sig1.sigstruct.bin"),
    ];
    seeds.map(|seed| without_hints(&Sigstruct::parse(seed).expect("the seed is a SIGSTRUCT")))
});

/// The numbers that help the processor are under no signature.
fn without_hints(sigstruct: &Sigstruct) -> Sigstruct {
    let mut signed = sigstruct.clone();
    (signed.q1, signed.q2) = ([0; 384], [0; 384]);
    signed
}

fuzz_target!(|bytes: &[u8]| {
    let measured = sgxs(bytes);
    let found = expected(TeeKind::Sgx, bytes);
    if let Ok(sigstruct) = Sigstruct::parse(bytes) {
        assert!(measured.is_err(), "a SIGSTRUCT that is a stream too");
        assert_eq!(ImageKind::of(bytes), Some(ImageKind::Sigstruct));
        let genuine = GENUINE.contains(&without_hints(&sigstruct));
        assert_eq!(found.is_ok(), genuine, "{found:?}");
        return;
    }
    match measured {
        Ok(mrenclave) => {
            let found = found.expect("a stream is an image");
            assert_eq!(found.measurements["mrenclave"].0, mrenclave);
            let longer = sgxs(&[bytes, b"1"].concat());
            assert!(matches!(longer, Err(LaunchError::Malformed { .. })), "{longer:?}");
        }
        Err(_) => assert!(
            found.is_err() || ImageKind::of(bytes) == Some(ImageKind::OpteeTa),
            "{found:?}"
        ),
    }
});
