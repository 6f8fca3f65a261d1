//! OP-TEE evidence from anywhere: nothing panics, and only what an enrolled key signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{AnchorRole, Endorsements, TeeVerifier as _, TrustAnchor, TrustAnchors, UnixMillis};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::trustzone::optee::{self, OpteeEvidence, Verifier};

/// The keys of the seeds, so that the search goes on into the check of the signature.
static TRUSTING: LazyLock<Verifier> = LazyLock::new(|| {
    let keys: [&[u8]; 3] = [
        include_bytes!("../seeds/optee_keys/da23386f36985bca.json"),
        include_bytes!("../seeds/optee_keys/19e8753a0388aec8.json"),
        include_bytes!("../seeds/optee_keys/f16c0564391f8a09.json"),
    ];
    let anchors = keys.map(|key| TrustAnchor {
        role: AnchorRole::OpteeKey,
        bytes: key.to_vec(),
        origin: "the seed".to_owned(),
    });
    Verifier::new(&TrustAnchors(anchors.into())).expect("the seeds' keys are keys")
});
static TRUSTING_NOBODY: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::new(&TrustAnchors::default()).expect("nothing is nothing wrong"));
const NOW: UnixMillis = UnixMillis::from_secs(1_793_000_000);

/// What devices signed: nothing else may verify.
static GENUINE: LazyLock<[OpteeEvidence; 3]> = LazyLock::new(|| {
    let seeds: [&[u8]; 3] = [
        include_bytes!("../seeds/optee/a1-02-tee_memory.json"),
        include_bytes!("../seeds/optee/b1-11-ta_memory.json"),
        include_bytes!("../seeds/optee/c1-05-ta_shdr_digest.json"),
    ];
    seeds.map(|seed| optee::parse(seed).expect("the seed is evidence"))
});

fuzz_target!(|bytes: &[u8]| {
    let none = Endorsements::default();
    let wants = TRUSTING.wants(bytes);
    let verified = TRUSTING.verify(bytes, &none, NOW);
    let Ok(evidence) = optee::parse(bytes) else {
        assert!(
            wants.is_err() && verified.is_err(),
            "no evidence, yet {wants:?}, {verified:?}"
        );
        return;
    };
    assert!(optee::recognises(bytes), "parsed, yet not recognised");
    let with_rest = optee::parse(&[bytes, b"1"].concat());
    assert!(with_rest.is_err(), "with a byte too many: {with_rest:?}");
    let genuine = GENUINE
        .iter()
        .any(|seed| (&seed.nonce, seed.measurement) == (&evidence.nonce, evidence.measurement));
    assert!(
        verified.is_err() || genuine,
        "what nobody signed verified: {verified:?}"
    );
    let by_nobody = TRUSTING_NOBODY.verify(bytes, &none, NOW);
    assert!(by_nobody.is_err(), "verified without a key: {by_nobody:?}");
});
