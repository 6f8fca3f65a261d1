//! Keystone reports from anywhere: nothing panics, and only what a security monitor signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{
    AnchorRole, Endorsements, TeeVerifier as _, TrustAnchor, TrustAnchors, UnixMillis, VerifyError,
};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::keystone::{self, Report, Verifier};

/// The devices of the seeds, so that the search goes on into the checks of signatures.
static TRUSTING: LazyLock<Verifier> = LazyLock::new(|| {
    let devices = [
        "0faad4ff01178583baa588966f7c1ff32564dd17d7dc2b46cb50a84a69270b4c",
        "e34b2d807d18e0c1d90dfb5bdc3ad85b1d02a7a6c44dcf9130ba7b181ee0d9b9",
    ];
    let anchors = devices.map(|key| TrustAnchor {
        role: AnchorRole::KeystoneDevice,
        bytes: key.as_bytes().to_vec(),
        origin: "the seed".to_owned(),
    });
    Verifier::new(&TrustAnchors(anchors.into())).expect("the seeds' keys are keys")
});
static TRUSTING_NOBODY: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::new(&TrustAnchors::default()).expect("nothing is nothing wrong"));
const NOW: UnixMillis = UnixMillis::from_secs(1_793_000_000);

/// The reports that machines signed: no other may verify.
static GENUINE: LazyLock<[Report; 2]> = LazyLock::new(|| {
    let seeds: [&[u8]; 2] = [
        include_bytes!("../seeds/keystone/a-probe-a-d32.bin"),
        include_bytes!("../seeds/keystone/c-probe-a-d64.bin"),
    ];
    seeds.map(|seed| signed_part(&keystone::parse_report(seed).expect("the seed is a report")))
});

fn signed_part(report: &Report) -> Report {
    Report {
        unsigned: None,
        ..report.clone()
    }
}

fuzz_target!(|bytes: &[u8]| {
    let none = Endorsements::default();
    let wants = TRUSTING.wants(bytes);
    let verified = TRUSTING.verify(bytes, &none, NOW);
    let Ok(report) = keystone::parse_report(bytes) else {
        assert!(
            wants.is_err() && verified.is_err(),
            "no report, yet {wants:?}, {verified:?}"
        );
        return;
    };
    assert!(keystone::recognises(bytes), "parsed, yet not recognised");
    let with_rest = keystone::parse_report(&[bytes, b"1"].concat());
    assert!(
        matches!(
            with_rest,
            Err(VerifyError::TrailingBytes { .. }
                | VerifyError::Malformed { .. }
                | VerifyError::TooLarge { .. })
        ),
        "with a byte too many: {with_rest:?}"
    );
    let genuine = GENUINE.contains(&signed_part(&report));
    assert_eq!(verified.is_ok(), genuine, "{verified:?}");
    let by_nobody = TRUSTING_NOBODY.verify(bytes, &none, NOW);
    assert!(by_nobody.is_err(), "verified without a device: {by_nobody:?}");
});
