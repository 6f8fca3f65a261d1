//! Certificates and revocation lists from anywhere beside a genuine SNP report: nothing panics, no
//! certificate but AMD's verifies it, and nobody else's list counts.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, Revocation, TeeVerifier as _, UnixMillis};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::sev_snp;

static REPORT: &[u8] = include_bytes!("../../vectors/snp/milan-v3-vcek/report.bin");
static KEY: &[u8] = include_bytes!("../../vectors/snp/milan-v3-vcek/vek.der");
const NOW: UnixMillis = UnixMillis::from_secs(1_780_272_000);
static VERIFIER: LazyLock<sev_snp::Verifier> = LazyLock::new(sev_snp::Verifier::amd);

fuzz_target!(|bytes: &[u8]| {
    let endorsement = |kind: EndorsementKind, bytes: &[u8]| Endorsement {
        kind,
        bytes: bytes.to_vec(),
        origin: "the fuzzer".to_owned(),
    };
    let verify = |endorsements: Vec<Endorsement>| VERIFIER.verify(REPORT, &Endorsements(endorsements), NOW);
    let certificate = endorsement(EndorsementKind::Certificate, bytes);
    let alone = verify(vec![certificate.clone()]);
    assert!(alone.is_err() || bytes == KEY, "a forged key verified: {alone:?}");
    // Whatever else comes along, the genuine key is found.
    let genuine = endorsement(EndorsementKind::Certificate, KEY);
    let beside = verify(vec![certificate, genuine.clone()]);
    assert!(beside.is_ok(), "the genuine key was not found: {beside:?}");
    if let Ok(claims) = verify(vec![genuine, endorsement(EndorsementKind::Crl, bytes)]) {
        assert!(
            matches!(claims.revocation, Revocation::Unchecked { .. }),
            "a forged list counted: {:?}",
            claims.revocation
        );
    }
});
