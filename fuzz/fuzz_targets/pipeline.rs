//! Whatever `nautilus verify` is given, from bytes to result: read, verified, appraised, reported, signed as an EAR.
//! Nothing panics, only what the seeds' devices signed is accepted, and a verifier that has seen much gives the same
//! answer as a new one.
//!
//! The first byte says how the rest is taken: `0` to `7` as evidence of that TEE, as by `--tee`; others, of which the
//! seeds have `.`, by its content.
#![no_main]

use std::sync::LazyLock;

use nautilus_core::{
    AnchorRole, Appraisal, AppraisalVerdict, Binding, Claims, Ear, Endorsement, EndorsementKind,
    Endorsements, Evidence, EvidenceFile, Policy, TeeKind, TrustAnchor, TrustAnchors, UnixMillis, Verified,
    VerifierSet, VerifyError, pinned_policy,
};
use nautilus_fuzz::fuzz_target;
use nautilus_tee::simulated;
use serde_json::Value;

/// What devices signed, each verified with the endorsements and anchors below at its kind's time.
const SEEDS: [&[u8]; 19] = [
    include_bytes!("../../vectors/sgx/sgx-v3-prod/quote.bin"),
    include_bytes!("../../vectors/tdx/tdx-v4-azure-uptodate/quote.bin"),
    include_bytes!("../../vectors/tdx/tdx-v5-td15/quote.bin"),
    include_bytes!("../../vectors/snp/milan-v3-vcek/report.bin"),
    include_bytes!("../../vectors/snp/turin-v5-vcek/report.bin"),
    include_bytes!("../../vectors/snp/milan-v2-azure-hcl/report.bin"),
    include_bytes!("../../vectors/snp/milan-v2-azure-hcl/hcl-report.bin"),
    include_bytes!("../../vectors/nitro/prod-userdata-2023.cbor"),
    include_bytes!("../../vectors/psa/tf-m/psa-2_0_0_sign1.bin"),
    include_bytes!("../../vectors/psa/tf-m/psa-iot-1_sign1.bin"),
    include_bytes!("../../vectors/cca/rust-ccatoken/cca-token-01.cbor"),
    include_bytes!("../../vectors/cca/rust-ccatoken/cca-token-draft-ffm-00.cbor"),
    include_bytes!("../seeds/optee/a1-02-tee_memory.json"),
    include_bytes!("../seeds/optee/b1-11-ta_memory.json"),
    include_bytes!("../seeds/optee/c1-05-ta_shdr_digest.json"),
    include_bytes!("../seeds/keystone/a-probe-a-d32.bin"),
    include_bytes!("../seeds/keystone/c-probe-a-d64.bin"),
    include_bytes!("../seeds/tpm_evidence/swtpm.json"),
    include_bytes!("../seeds/simulated/evidence.json"),
];

/// The root of a vendor that anybody can be. `nautilus up` made it and `nautilus attest` the evidence beside it; the
/// keys are gone.
const SIMULATED_ROOT: &[u8] = include_bytes!("../seeds/simulated/root.der");

const ANCHORS: [(AnchorRole, &[u8]); 9] = [
    (
        AnchorRole::TpmAttestationKey,
        include_bytes!("../../vectors/tpm/swtpm/ak.pub"),
    ),
    (
        AnchorRole::TpmRoot,
        include_bytes!("../../vectors/tpm/swtpm/issuercert.pem"),
    ),
    (
        AnchorRole::PsaKey,
        include_bytes!("../../vectors/psa/tf-m/public.pem"),
    ),
    (
        AnchorRole::CcaKey,
        include_bytes!("../../vectors/cca/rust-ccatoken/cpak.json"),
    ),
    (
        AnchorRole::OpteeKey,
        include_bytes!("../seeds/optee_keys/da23386f36985bca.json"),
    ),
    (
        AnchorRole::OpteeKey,
        include_bytes!("../seeds/optee_keys/19e8753a0388aec8.json"),
    ),
    (
        AnchorRole::OpteeKey,
        include_bytes!("../seeds/optee_keys/f16c0564391f8a09.json"),
    ),
    (
        AnchorRole::KeystoneDevice,
        b"0faad4ff01178583baa588966f7c1ff32564dd17d7dc2b46cb50a84a69270b4c",
    ),
    (
        AnchorRole::KeystoneDevice,
        b"e34b2d807d18e0c1d90dfb5bdc3ad85b1d02a7a6c44dcf9130ba7b181ee0d9b9",
    ),
];

/// What the relying party has itself. Simulated evidence brings its own.
const ENDORSEMENTS: [(EndorsementKind, &[u8]); 5] = [
    (
        EndorsementKind::DcapCollateral,
        include_bytes!("../../vectors/sgx/sgx-v3-prod/collateral-0.json"),
    ),
    (
        EndorsementKind::DcapCollateral,
        include_bytes!("../../vectors/tdx/tdx-v4-azure-uptodate/collateral-0.json"),
    ),
    (
        EndorsementKind::Certificate,
        include_bytes!("../../vectors/snp/milan-v3-vcek/vek.der"),
    ),
    (
        EndorsementKind::Certificate,
        include_bytes!("../../vectors/snp/turin-v5-vcek/vek.der"),
    ),
    (
        EndorsementKind::Certificate,
        include_bytes!("../../vectors/snp/milan-v2-azure-hcl/vek.der"),
    ),
];

const LISTS: &str = "\nrevocation: required";
const NO_LISTS: &str = "\nrevocation: { ignore: { because: no list came along with the seeds } }";

static TRUST: LazyLock<TrustAnchors> = LazyLock::new(|| {
    let anchor = |(role, bytes): (AnchorRole, &[u8])| TrustAnchor {
        role,
        bytes: bytes.to_vec(),
        origin: "the seed".to_owned(),
    };
    TrustAnchors(ANCHORS.into_iter().map(anchor).collect())
});
static OWN: LazyLock<Endorsements> = LazyLock::new(|| {
    let endorsement = |(kind, bytes): (EndorsementKind, &[u8])| Endorsement {
        kind,
        bytes: bytes.to_vec(),
        origin: "the seed".to_owned(),
    };
    Endorsements(ENDORSEMENTS.into_iter().map(endorsement).collect())
});
/// Remembers what it proved over all inputs, as a verifier that serves does.
static LONG_LIVED: LazyLock<VerifierSet> = LazyLock::new(new_set);
static GENUINE: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    let seeds: Vec<_> = SEEDS.into_iter().map(Seed::new).collect();
    for tee in TeeKind::ALL {
        let mut of_tee = seeds.iter().filter(|seed| seed.signed.tee == tee);
        let accepted = of_tee.any(|seed| seed.verdict == AppraisalVerdict::Accepted);
        // Keystone's seeds are of devices whose keys anybody can have.
        assert!(accepted != (tee == TeeKind::Keystone), "of {tee}: {accepted}");
    }
    seeds
});

/// Genuine evidence, and a policy for it.
struct Seed {
    signed: Claims,
    /// Pins what this seed has.
    policy: Policy,
    /// What can be debugged, or has a published key, is genuine and fits no policy.
    verdict: AppraisalVerdict,
}

impl Seed {
    fn new(bytes: &[u8]) -> Self {
        let input = read(bytes, None).expect("the seed is evidence");
        let claims = verify(&LONG_LIVED, &input, None).expect("the seed is genuine");
        let bound =
            verify(&LONG_LIVED, &input, Some(&claims.report_data.0)).expect("it is bound to its data");
        // AMD's and AWS's revocation lists are not among the seeds.
        let text = pinned_policy("seed", &bound).replace(LISTS, NO_LISTS);
        let policy = Policy::from_yaml(&text).expect("the drafted policy makes sense");
        let verdict = policy.appraise(bound.clone(), now(bound.tee)).verdict();
        Self {
            signed: signed_part(&bound),
            policy,
            verdict,
        }
    }
}

/// The claims without what nobody signed, and without what they were held against here.
fn signed_part(claims: &Verified<Claims>) -> Claims {
    let mut signed = Claims::clone(claims);
    signed.unsigned.clear();
    signed.binding.clear();
    signed.user_data = None;
    signed
}

/// Evidence with what its file brought.
struct Input {
    evidence: Evidence,
    binding: Binding<'static>,
    brought: Endorsements,
}

fuzz_target!(|bytes: &[u8]| {
    let seeds = &*GENUINE;
    let Some((how, bytes)) = bytes.split_first() else {
        return;
    };
    let tee = how
        .checked_sub(b'0')
        .and_then(|index| TeeKind::ALL.get(usize::from(index)).copied());
    let Some(input) = read(bytes, tee) else { return };
    let result = verify(&LONG_LIVED, &input, None);
    assert_eq!(result, verify(&LONG_LIVED, &input, None), "the second time");
    // Before evidence is read, nothing is remembered.
    let unread = matches!(
        result,
        Err(VerifyError::Malformed { .. } | VerifyError::TrailingBytes { .. })
    );
    if !unread {
        assert_eq!(result, verify(&new_set(), &input, None), "by a new verifier");
    }
    let claims = match result {
        Ok(claims) => claims,
        Err(error) => {
            assert_json(serde_json::to_string(&error));
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let signed = signed_part(&claims);
    let seed = seeds.iter().find(|seed| seed.signed == signed);
    let seed = seed.unwrap_or_else(|| panic!("forged: {signed:?}"));

    let unasked = seed.policy.appraise(claims.clone(), now(claims.tee));
    check_report(&unasked);
    let rejected = AppraisalVerdict::Rejected;
    assert_eq!(
        unasked.verdict(),
        rejected,
        "accepted, though nobody asked for it"
    );
    let bound = bind(&input, &claims);
    for other in seeds {
        let same_code = (other.signed.tee, &other.signed.measurements) == (signed.tee, &signed.measurements);
        let verdict = other.policy.appraise(bound.clone(), now(bound.tee)).verdict();
        assert!(verdict == rejected || same_code, "accepted as {:?}", other.signed);
    }
    let appraisal = seed.policy.appraise(bound, now(claims.tee));
    check_report(&appraisal);
    assert_eq!(appraisal.verdict(), seed.verdict, "{appraisal:?}");
});

/// Genuine evidence fits the data that it signed, and none else.
fn bind(input: &Input, claims: &Verified<Claims>) -> Verified<Claims> {
    let data = &claims.report_data.0;
    let other: Vec<u8> = data.iter().map(|byte| !byte).collect();
    let unbound = verify(&LONG_LIVED, input, Some(&other));
    assert!(
        matches!(unbound, Err(VerifyError::ReportDataMismatch { .. })),
        "bound to other data: {unbound:?}"
    );
    verify(&LONG_LIVED, input, Some(data)).expect("it is bound to its own data")
}

/// Result and token are JSON, and the token says of the verdict what the result says.
fn check_report(appraisal: &Appraisal) {
    assert_json(serde_json::to_string(appraisal));
    let ear = Ear::of(appraisal, "nautilus fuzz", "nautilus").to_json();
    let ear: Value = serde_json::from_str(&ear).expect("an EAR is JSON");
    let status = ear.get("ear_status").and_then(Value::as_str);
    let rejected = appraisal.verdict() == AppraisalVerdict::Rejected;
    assert!(
        status.is_some_and(|status| !rejected || status == "contraindicated"),
        "{status:?}"
    );
}

fn assert_json(written: serde_json::Result<String>) {
    let json = written.expect("what is reported is JSON");
    let read: Result<Value, _> = serde_json::from_str(&json);
    assert!(read.is_ok(), "not JSON: {json}");
}

fn new_set() -> VerifierSet {
    simulated::verifier_set(SIMULATED_ROOT.to_vec(), &TRUST).expect("the seeds' anchors serve")
}

/// As `nautilus verify` reads: an evidence file, or a TEE's own evidence, which may be JSON too.
fn read(bytes: &[u8], tee: Option<TeeKind>) -> Option<Input> {
    if let Ok(file) = EvidenceFile::from_json(bytes) {
        return Some(Input {
            evidence: file.evidence,
            binding: Binding::Claimed(file.challenge),
            brought: file.endorsements,
        });
    }
    Some(Input {
        evidence: Evidence {
            tee: tee.or_else(|| LONG_LIVED.recognise(bytes))?,
            bytes: bytes.to_vec(),
            user_data: None,
            event_log: None,
        },
        binding: Binding::Unchecked {
            because: "the target holds it against the seeds' own",
        },
        brought: Endorsements::default(),
    })
}

/// With the relying party's endorsements, or where it has none, with those that came along. Held against `data`, or
/// against what the file says itself.
fn verify(set: &VerifierSet, input: &Input, data: Option<&[u8]>) -> Result<Verified<Claims>, VerifyError> {
    let now = now(input.evidence.tee);
    let binding = data.map_or(input.binding, Binding::ReportData);
    // No evidence may break the question after what it needs.
    let wants = set.wants(&input.evidence);
    let result = match set.verify(&input.evidence, binding, &OWN, now) {
        Err(VerifyError::EndorsementsMissing { .. }) if !input.brought.0.is_empty() => {
            set.verify(&input.evidence, binding, &input.brought, now)
        }
        result => result,
    };
    assert!(
        result.is_err() || wants.is_ok(),
        "verified, yet not read: {wants:?}"
    );
    result
}

/// A time at which the seeds of a kind verify.
const fn now(tee: TeeKind) -> UnixMillis {
    match tee {
        TeeKind::Sgx => UnixMillis::from_secs(1_750_334_171),
        TeeKind::Tdx => UnixMillis::from_secs(1_773_704_045),
        TeeKind::Sev => UnixMillis::from_secs(1_780_272_000),
        TeeKind::Nitro => UnixMillis(1_695_337_797_673),
        TeeKind::TrustZone | TeeKind::Keystone => UnixMillis::from_secs(1_793_000_000),
        TeeKind::Tpm => UnixMillis::from_secs(1_795_370_400),
        TeeKind::Simulated => UnixMillis::from_secs(1_795_406_511),
    }
}
