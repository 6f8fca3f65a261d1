//! TDX quotes from anywhere: nothing panics, and only what Intel hardware signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, TeeVerifier as _, UnixMillis, VerifyError};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::{sgx, tdx};

/// The collateral of one seed and a time at which it is current, so that the search goes on into the
/// checks of signatures and TCB levels.
static ENDORSEMENTS: LazyLock<Endorsements> = LazyLock::new(|| {
    let bytes = include_bytes!("../../vectors/tdx/tdx-v4-azure-uptodate/collateral-0.json").to_vec();
    Endorsements(vec![Endorsement {
        kind: EndorsementKind::DcapCollateral,
        bytes,
        origin: "the seed".to_owned(),
    }])
});
const NOW: UnixMillis = UnixMillis::from_secs(1_773_704_045);

/// The seeds whose reports hardware of that family signed: no other report may verify.
static GENUINE: LazyLock<[tdx::Quote; 2]> = LazyLock::new(|| {
    let seeds: [&[u8]; 2] = [
        include_bytes!("../../vectors/tdx/tdx-v4-azure-uptodate/quote.bin"),
        include_bytes!("../../vectors/tdx/tdx-v5-td15/quote.bin"),
    ];
    seeds.map(|seed| tdx::parse_quote(seed).expect("the seed is a quote"))
});

fuzz_target!(|bytes: &[u8]| {
    let verifier = tdx::Verifier::intel();
    let wants = verifier.wants(bytes);
    let verified = verifier.verify(bytes, &ENDORSEMENTS, NOW);
    let Ok(quote) = tdx::parse_quote(bytes) else {
        assert!(
            wants.is_err() && verified.is_err(),
            "not a quote, yet {wants:?}, {verified:?}"
        );
        return;
    };
    assert!(tdx::recognises(bytes), "parsed, yet not recognised");
    assert!(sgx::parse_quote(bytes).is_err(), "parsed as a quote of SGX too");
    let with_rest = tdx::parse_quote(&[bytes, &[1]].concat());
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
