//! SGX quotes from anywhere: nothing panics, and only what Intel hardware signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, TeeVerifier as _, UnixMillis, VerifyError};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::{sgx, tdx};

/// The collateral of one seed and a time at which it is current, so that the search goes on into the
/// checks of signatures and TCB levels.
static ENDORSEMENTS: LazyLock<Endorsements> = LazyLock::new(|| {
    let bytes = include_bytes!("../../vectors/sgx/sgx-v3-prod/collateral-0.json").to_vec();
    Endorsements(vec![Endorsement {
        kind: EndorsementKind::DcapCollateral,
        bytes,
        origin: "the seed".to_owned(),
    }])
});
const NOW: UnixMillis = UnixMillis::from_secs(1_750_334_171);

/// The seed whose report hardware of that family signed: no other report may verify.
static GENUINE: LazyLock<[sgx::Quote; 1]> = LazyLock::new(|| {
    let seeds: [&[u8]; 1] = [include_bytes!("../../vectors/sgx/sgx-v3-prod/quote.bin")];
    seeds.map(|seed| sgx::parse_quote(seed).expect("the seed is a quote"))
});

fuzz_target!(|bytes: &[u8]| {
    let verifier = sgx::Verifier::intel();
    let wants = verifier.wants(bytes);
    let verified = verifier.verify(bytes, &ENDORSEMENTS, NOW);
    let Ok(quote) = sgx::parse_quote(bytes) else {
        assert!(
            wants.is_err() && verified.is_err(),
            "not a quote, yet {wants:?}, {verified:?}"
        );
        return;
    };
    assert!(sgx::recognises(bytes), "parsed, yet not recognised");
    assert!(tdx::parse_quote(bytes).is_err(), "parsed as a quote of TDX too");
    let with_rest = sgx::parse_quote(&[bytes, &[1]].concat());
    assert!(
        matches!(with_rest, Err(VerifyError::TrailingBytes { .. })),
        "with a byte too many: {with_rest:?}"
    );
    let genuine = GENUINE.iter().any(|seed| seed.report == quote.report);
    assert!(
        verified.is_err() || genuine,
        "a forged report verified: {verified:?}"
    );
    let unendorsed = verifier.verify(bytes, &Endorsements::default(), NOW);
    assert!(
        unendorsed.is_err(),
        "verified without endorsements: {unendorsed:?}"
    );
});
