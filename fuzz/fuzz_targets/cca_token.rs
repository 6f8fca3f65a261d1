//! CCA tokens from anywhere: nothing panics, and only what the enrolled platform signed verifies.
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
        role: AnchorRole::CcaKey,
        bytes: include_bytes!("../../vectors/cca/rust-ccatoken/cpak.json").to_vec(),
        origin: "the seed's key".to_owned(),
    };
    trustzone::Verifier::new(&TrustAnchors(vec![anchor])).expect("the seed's key is a key")
});

/// What the platform signed: nothing else may verify, but for the order of the two tokens.
static GENUINE: LazyLock<[RawClaims; 2]> = LazyLock::new(|| {
    let seeds: [&[u8]; 2] = [
        include_bytes!("../../vectors/cca/rust-ccatoken/cca-token-01.cbor"),
        include_bytes!("../../vectors/cca/rust-ccatoken/cca-token-draft-ffm-00.cbor"),
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
    if let Ok(mut claims) = verified {
        assert!(recognised && read.is_ok(), "verified, yet not read");
        claims.unsigned.clear();
        assert!(GENUINE.contains(&claims), "a forged token verified: {claims:?}");
    }
    if read.is_ok() {
        let longer = [bytes, &[1]].concat();
        assert!(VERIFIER.wants(&longer).is_err(), "with a byte too many");
    }
});
