//! SNP reports from anywhere, alone or as Azure wraps them: nothing panics, and only what AMD hardware signed
//! verifies.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{Endorsement, EndorsementKind, Endorsements, TeeVerifier as _, UnixMillis, VerifyError};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::sev_snp::{self, REPORT_LEN, SIGNED_LEN};

/// The endorsement keys of the seeds and a time at which they are valid, so that the search goes on into the
/// checks of signatures.
static ENDORSEMENTS: LazyLock<Endorsements> = LazyLock::new(|| {
    let keys: [&[u8]; 3] = [
        include_bytes!("../../vectors/snp/milan-v3-vcek/vek.der"),
        include_bytes!("../../vectors/snp/turin-v5-vcek/vek.der"),
        include_bytes!("../../vectors/snp/milan-v2-azure-hcl/vek.der"),
    ];
    let endorsement = |bytes: &[u8]| Endorsement {
        kind: EndorsementKind::Certificate,
        bytes: bytes.to_vec(),
        origin: "the seed".to_owned(),
    };
    Endorsements(keys.into_iter().map(endorsement).collect())
});
const NOW: UnixMillis = UnixMillis::from_secs(1_780_272_000);

/// The seeds, which hardware signed: no other signed bytes may verify.
static GENUINE: [&[u8]; 3] = [
    include_bytes!("../../vectors/snp/milan-v3-vcek/report.bin"),
    include_bytes!("../../vectors/snp/turin-v5-vcek/report.bin"),
    include_bytes!("../../vectors/snp/milan-v2-azure-hcl/report.bin"),
];
static VERIFIER: LazyLock<sev_snp::Verifier> = LazyLock::new(sev_snp::Verifier::amd);

fuzz_target!(|bytes: &[u8]| {
    let wants = VERIFIER.wants(bytes);
    let verified = VERIFIER.verify(bytes, &ENDORSEMENTS, NOW);
    let wrapped = sev_snp::parse_hcl(bytes);
    let start = match (sev_snp::parse_report(bytes), &wrapped) {
        (Ok(_), Err(_)) => 0,
        (Err(_), Ok(hcl)) => hcl.report_offset,
        (Ok(_), Ok(_)) => panic!("a report and a wrapper at once"),
        (Err(_), Err(_)) => {
            assert!(
                wants.is_err() && verified.is_err(),
                "no report, yet {wants:?}, {verified:?}"
            );
            return;
        }
    };
    assert!(sev_snp::recognises(bytes), "parsed, yet not recognised");
    let signed = &bytes[start..start + SIGNED_LEN];
    let genuine = GENUINE.iter().any(|seed| &seed[..SIGNED_LEN] == signed);
    assert!(
        verified.is_err() || genuine,
        "a forged report verified: {verified:?}"
    );
    if wrapped.is_err() {
        let with_rest = sev_snp::parse_report(&[bytes, &[1]].concat());
        let expected = VerifyError::TrailingBytes {
            offset: REPORT_LEN,
            length: 1,
        };
        assert_eq!(with_rest, Err(expected));
    }
    let unendorsed = VERIFIER.verify(bytes, &Endorsements::default(), NOW);
    assert!(
        unendorsed.is_err(),
        "verified without endorsements: {unendorsed:?}"
    );
});
