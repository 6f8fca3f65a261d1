//! Trusted applications and ELF files from anywhere: nothing panics, and only what was signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::TeeKind;
use nautilus_fuzz::fuzz_target;
use nautilus_tee::launch::expected;
use nautilus_tee::trustzone::optee::launch::{
    SigningKey, TrustedApplication, recognises, ta_memory, tee_memory,
};

static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| {
    let file = include_bytes!("../../vectors/optee/launch/made/signing.pub.pem");
    SigningKey::read(file, "the seeds' signer").expect("the seeds' key is a key")
});

/// All that the key signed: no other file may verify.
const SIGNED: [&[u8]; 7] = [
    include_bytes!("../../vectors/optee/launch/made/bootstrap-pkcs1.ta"),
    include_bytes!("../../vectors/optee/launch/made/bootstrap-pss.ta"),
    include_bytes!("../../vectors/optee/launch/made/encrypted.ta"),
    include_bytes!("../../vectors/optee/launch/made/legacy.ta"),
    include_bytes!("../../vectors/optee/launch/made/subkey.ta"),
    include_bytes!("../../vectors/optee/launch/made/subkey-same-name.ta"),
    include_bytes!("../../vectors/optee/launch/made/two-subkeys.ta"),
];

fuzz_target!(|bytes: &[u8]| {
    let (_, _) = (ta_memory(bytes), tee_memory(bytes));
    let found = expected(TeeKind::TrustZone, bytes);
    let Ok(application) = TrustedApplication::parse(bytes) else {
        assert!(found.is_err(), "{found:?}");
        return;
    };
    assert!(recognises(bytes), "parsed, yet not recognised");
    assert_eq!(found.is_ok(), application.check_digest().is_ok());
    if application.verify(&SIGNER).is_err() {
        return;
    }
    // Of an encrypted image nobody here can tell whether it is the one that was signed.
    if application.is_encrypted() {
        let digest = application.digest();
        let signed = SIGNED
            .iter()
            .any(|file| file.windows(32).any(|window| window == digest));
        assert!(signed, "a header that nobody signed");
    } else {
        assert!(SIGNED.contains(&bytes), "a file that nobody signed");
    }
});
