//! Nitro documents from anywhere: nothing panics, and only what AWS's module signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{Endorsements, TeeVerifier as _, UnixMillis, VerifyError};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::nitro;

/// Remembers chains, as the product does.
static VERIFIER: LazyLock<nitro::Verifier> = LazyLock::new(nitro::Verifier::aws);
/// The seed's time.
const NOW: UnixMillis = UnixMillis(1_695_337_797_673);

static GENUINE: LazyLock<nitro::Document> = LazyLock::new(|| {
    let seed = include_bytes!("../../vectors/nitro/prod-userdata-2023.cbor");
    nitro::parse_document(seed).expect("the seed is a document")
});

fuzz_target!(|bytes: &[u8]| {
    let _ = nitro::recognises(bytes);
    let verified = VERIFIER.verify(bytes, &Endorsements::default(), NOW);
    let Ok(document) = nitro::parse_document(bytes) else {
        assert!(verified.is_err(), "not a document, yet {verified:?}");
        return;
    };
    let with_rest = nitro::parse_document(&[bytes, &[1]].concat());
    assert!(
        matches!(with_rest, Err(VerifyError::TrailingBytes { .. })),
        "with a byte too many: {with_rest:?}"
    );
    let _ = VERIFIER.wants(bytes);
    assert!(
        verified.is_err() || document == *GENUINE,
        "a forged document verified: {verified:?}"
    );
});
