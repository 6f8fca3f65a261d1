//! TPM evidence from anywhere: nothing panics, and only what the enrolled TPM signed verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{AnchorRole, Endorsements, TeeVerifier as _, TrustAnchor, TrustAnchors, UnixMillis};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::tpm::{self, Evidence, Verifier};

/// Knows the key of the seed, so that the search goes on into the checks of signature and values.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let anchor = |role, bytes: &[u8]| TrustAnchor {
        role,
        bytes: bytes.to_vec(),
        origin: "the seed".to_owned(),
    };
    let anchors = TrustAnchors(vec![
        anchor(
            AnchorRole::TpmAttestationKey,
            include_bytes!("../../vectors/tpm/swtpm/ak.pub"),
        ),
        anchor(
            AnchorRole::TpmRoot,
            include_bytes!("../../vectors/tpm/swtpm/issuercert.pem"),
        ),
    ]);
    Verifier::new(&anchors).expect("the seed's key and root serve")
});
const NOW: UnixMillis = UnixMillis::from_secs(1_795_370_400);

/// The seed that the enrolled key signed: no other quote and no other values may verify.
static GENUINE: LazyLock<Evidence> = LazyLock::new(|| {
    let seed = include_bytes!("../seeds/tpm_evidence/swtpm.json");
    Evidence::parse(seed).expect("the seed is evidence")
});

fuzz_target!(|bytes: &[u8]| {
    let wants = VERIFIER.wants(bytes);
    let verified = VERIFIER.verify(bytes, &Endorsements::default(), NOW);
    let Ok(evidence) = Evidence::parse(bytes) else {
        assert!(
            wants.is_err() && verified.is_err(),
            "not evidence, yet {wants:?}, {verified:?}"
        );
        return;
    };
    assert!(tpm::recognises(bytes), "parsed, yet not recognised");
    let again = Evidence::parse(evidence.to_json().as_bytes());
    assert_eq!(again.as_ref(), Ok(&evidence), "its canonical form is another");
    let genuine = evidence.attest == GENUINE.attest && evidence.pcrs == GENUINE.pcrs;
    assert!(
        verified.is_err() || genuine,
        "a forged quote verified: {verified:?}"
    );
});
