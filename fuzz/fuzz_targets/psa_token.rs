//! PSA tokens from anywhere: nothing panics, and only what the enrolled key signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{
    AnchorRole, Endorsements, RawClaims, TeeVerifier as _, TrustAnchor, TrustAnchors, UnixMillis,
};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::trustzone;

const NOW: UnixMillis = UnixMillis::from_secs(1_760_000_000);

static VERIFIER: LazyLock<trustzone::Verifier> = LazyLock::new(|| {
    let anchor = TrustAnchor {
        role: AnchorRole::PsaKey,
        bytes: include_bytes!("../../vectors/psa/tf-m/public.pem").to_vec(),
        origin: "the seed's key".to_owned(),
    };
    trustzone::Verifier::new(&TrustAnchors(vec![anchor])).expect("the seed's key is a key")
});

/// What the key signed: nothing else may verify.
static GENUINE: LazyLock<[RawClaims; 2]> = LazyLock::new(|| {
    let seeds: [&[u8]; 2] = [
        include_bytes!("../../vectors/psa/tf-m/psa-2_0_0_sign1.bin"),
        include_bytes!("../../vectors/psa/tf-m/psa-iot-1_sign1.bin"),
    ];
    seeds.map(|seed| {
        VERIFIER
            .verify(seed, &Endorsements::default(), NOW)
            .expect("the seed is genuine")
    })
});

fuzz_target!(|bytes: &[u8]| {
    let recognised = VERIFIER.recognises(bytes);
    let read = VERIFIER.wants(bytes);
    let verified = VERIFIER.verify(bytes, &Endorsements::default(), NOW);
    if let Ok(claims) = &verified {
        assert!(recognised && read.is_ok(), "verified, yet not read");
        assert!(GENUINE.contains(claims), "a forged token verified: {claims:?}");
    }
    if read.is_ok() {
        let longer = [bytes, &[1]].concat();
        assert!(VERIFIER.wants(&longer).is_err(), "with a byte too many");
    }
});
