//! Evidence of the simulated TEE, through the same verifier as everybody's.

use std::path::Path;

use dcap_qvl::intel::{extract_cert_chain, parse_pck_extension};
use dcap_qvl::quote::{AuthData, Quote, Report};
use dcap_qvl::verify::QuoteVerifier;
use nautilus_core::{
    Assurance, Attester as _, Binding, BootId, BoundUserData, Challenge, Claims, Digest32, Digest48,
    Endorsements, EventLogHead, Evidence, NodeId, PublicKey, Purpose, ReportData, SignedMessage as _,
    TcbStatus, TeeVerifier as _, TrustAnchors, Verified, VerifyError,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;
use crate::sgx;

pub(super) const NOW: UnixMillis = UnixMillis::from_secs(1_790_000_000);
pub(super) const DAY: u64 = 24 * 60 * 60 * 1000;
const MRENCLAVE: [u8; 32] = [0xe0; 32];
const UNBOUND: Binding<'static> = Binding::Unchecked {
    because: "the test looks at something else",
};
/// Header and enclave report.
const SIGNED: usize = 432;
/// Up to the certificate chain: 436, two signatures, key, QE report, authentication data, two lengths, a type.
const CHAIN: usize = 436 + 64 + 64 + 384 + 64 + 2 + 32 + 2 + 4;

/// A vendor with its platform, and what a relying party has of it.
pub(super) struct Fixture {
    parent: TempDir,
    pub(super) vendor: Vendor,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let vendor = Vendor::open_or_create(&parent.path().join("simulated"), NOW).unwrap();
        Self { parent, vendor }
    }

    /// With a vendor that was made otherwise, in the directory `simulated` within.
    pub(super) fn within(parent: TempDir) -> Self {
        let vendor = Vendor::open(&parent.path().join("simulated"), NOW).unwrap();
        Self { parent, vendor }
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.parent.path().join("simulated")
    }

    pub(super) fn evidence(&self) -> Evidence {
        attest(&self.dir(), Image::production(MRENCLAVE), &report_data(0))
    }

    pub(super) fn endorsements(&self) -> Endorsements {
        Endorsements(vec![self.vendor.endorsement()])
    }

    pub(super) fn verify(&self, evidence: &Evidence) -> Result<Verified<Claims>, VerifyError> {
        self.verify_at(evidence, &self.endorsements(), NOW)
    }

    pub(super) fn verify_at(
        &self,
        evidence: &Evidence,
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<Verified<Claims>, VerifyError> {
        verifier_set(self.vendor.root_der().to_vec(), &TrustAnchors::default())
            .unwrap()
            .verify(evidence, UNBOUND, endorsements, now)
    }
}

fn attest(dir: &Path, image: Image, report_data: &ReportData) -> Evidence {
    let bytes = Platform::load(dir)
        .unwrap()
        .into_attester(image)
        .attest(report_data)
        .unwrap()
        .bytes;
    Evidence {
        tee: TeeKind::Simulated,
        bytes,
        user_data: None,
        event_log: None,
    }
}

fn user_data(seed: u8) -> BoundUserData {
    BoundUserData {
        purpose: Purpose::Boot,
        node: NodeId([seed; 32]),
        tee: TeeKind::Simulated,
        boot: BootId([2; 16]),
        tee_key: PublicKey([3; 32]),
        channel_key: None,
        event_log: EventLogHead {
            digest: Digest48([4; 48]),
            length: 5,
        },
        session: None,
    }
}

fn challenge(seed: u8) -> Challenge {
    Challenge::from_digest(Digest32(Sha256::digest([seed]).into()))
}

fn report_data(seed: u8) -> ReportData {
    challenge(seed).bind(&user_data(seed))
}

#[test]
fn what_the_platform_attests_is_what_is_verified() {
    let fixture = Fixture::new();
    let set = verifier_set(fixture.vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap();
    let image = Image {
        mrenclave: MRENCLAVE,
        isv_prod_id: 0x1234,
        isv_svn: 0xabcd,
        mode: EnclaveMode::Production,
    };
    let attester = Platform::load(&fixture.dir()).unwrap().into_attester(image);
    assert_eq!(attester.descriptor(), DESCRIPTOR);
    for seed in 0..64 {
        let bytes = attester.attest(&report_data(seed)).unwrap().bytes;
        let evidence = Evidence {
            tee: TeeKind::Simulated,
            bytes,
            user_data: Some(user_data(seed).to_bytes()),
            event_log: None,
        };
        assert_eq!(set.recognise(&evidence.bytes), Some(TeeKind::Simulated));
        let claims = set
            .verify(
                &evidence,
                Binding::Challenge(challenge(seed)),
                &fixture.endorsements(),
                NOW,
            )
            .unwrap();
        assert_eq!(claims.tee, TeeKind::Simulated);
        assert_eq!(claims.assurance, Assurance::Simulated);
        assert_eq!(claims.report_data.0, report_data(seed).as_bytes());
        assert_eq!(claims.user_data, Some(user_data(seed)));
        assert_eq!(claims.measurements["mrenclave"].0, MRENCLAVE);
        assert_eq!(claims.measurements["mrsigner"].0, fixture.vendor.mrsigner());
        assert_eq!(
            (&*claims.attributes["isvprodid"], &*claims.attributes["isvsvn"]),
            ("4660", "43981")
        );
        assert!(!claims.debug);
        assert_eq!(claims.tcb.status, Some(TcbStatus::UpToDate));
        assert_eq!((claims.tcb.shortfalls.len(), claims.tcb.advisories.len()), (0, 0));
        assert_eq!(
            (claims.device.scheme, claims.device.family.as_deref()),
            ("simulated-ppid", Some("53494D000000"))
        );
        assert_eq!(claims.endorsed_until, Some(NOW.plus(30 * DAY)));
        // Both forms of an ECDSA signature are made, as by Intel's quoting enclave; nothing else is unusual.
        assert!(
            claims.unsigned.iter().all(|fact| fact.what.starts_with("high-s")),
            "{:?}",
            claims.unsigned
        );
    }
}

#[test]
fn a_challenge_is_answered_once() {
    let fixture = Fixture::new();
    let set = verifier_set(fixture.vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap();
    let evidence = Evidence {
        user_data: Some(user_data(0).to_bytes()),
        ..fixture.evidence()
    };
    let refused = set
        .verify(
            &evidence,
            Binding::Challenge(challenge(1)),
            &fixture.endorsements(),
            NOW,
        )
        .unwrap_err();
    assert!(
        matches!(refused, VerifyError::ChallengeMismatch { .. }),
        "{refused:?}"
    );
    let other = Evidence {
        user_data: Some(user_data(1).to_bytes()),
        ..evidence
    };
    let refused = set
        .verify(
            &other,
            Binding::Challenge(challenge(0)),
            &fixture.endorsements(),
            NOW,
        )
        .unwrap_err();
    assert_eq!(refused, VerifyError::UserDataMismatch);
}

#[test]
fn another_parser_reads_every_field() {
    let fixture = Fixture::new();
    let image = Image {
        mrenclave: MRENCLAVE,
        isv_prod_id: 0x1234,
        isv_svn: 0xabcd,
        mode: EnclaveMode::Debug,
    };
    let bytes = attest(&fixture.dir(), image, &report_data(7)).bytes;
    let quote = Quote::parse(&bytes).unwrap();
    let header = quote.header;
    assert_eq!(
        (header.version, header.attestation_key_type, header.tee_type),
        (3, 2, 0)
    );
    assert_eq!((header.qe_svn, header.pce_svn), (8, 13));
    assert_eq!(header.qe_vendor_id, dcap_qvl::INTEL_QE_VENDOR_ID);
    assert_eq!(header.user_data[16..], [0; 4]);
    assert_eq!(quote.signed_length(), SIGNED);

    let Report::SgxEnclave(report) = quote.report else {
        panic!("{:?}", quote.report)
    };
    assert_eq!(report.cpu_svn, [7, 9, 3, 3, 255, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(report.misc_select, 0);
    assert_eq!(
        report.attributes,
        [7, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(report.mr_enclave, MRENCLAVE);
    assert_eq!(report.mr_signer, fixture.vendor.mrsigner());
    assert_eq!((report.isv_prod_id, report.isv_svn), (0x1234, 0xabcd));
    assert_eq!(report.report_data, *report_data(7).as_bytes());
    assert_eq!((report.reserved1, report.reserved2), ([0; 28], [0; 32]));
    assert_eq!((report.reserved3, report.reserved4), ([0; 96], [0; 60]));

    let chain = extract_cert_chain(&quote).unwrap();
    let AuthData::V3(auth) = quote.auth_data else {
        panic!("version 3 has flat signature data")
    };
    assert_eq!(auth.qe_auth_data.data, (0..32).collect::<Vec<u8>>());
    assert_eq!(auth.certification_data.cert_type, 5);
    assert_eq!(bytes.len(), CHAIN + auth.certification_data.body.data.len());
    assert_eq!(
        u32::from_le_bytes(bytes[432..436].try_into().unwrap()) as usize,
        bytes.len() - 436
    );
    let bound = Sha256::new()
        .chain_update(auth.ecdsa_attestation_key)
        .chain_update(auth.qe_auth_data.data);
    assert_eq!(auth.qe_report[320..352], bound.finalize()[..]);
    assert_eq!(auth.qe_report[352..], [0; 32]);

    assert_eq!(chain.len(), 3);
    assert_eq!(chain[2], fixture.vendor.root_der());
    let pck = parse_pck_extension(&chain[0]).unwrap();
    assert_eq!(pck.cpu_svn, report.cpu_svn);
    assert_eq!((pck.pce_svn, pck.pce_id), (13, vec![0, 0]));
    assert_eq!((pck.fmspc, pck.sgx_type), (*b"SIM\0\0\0", 1));
    assert_eq!(
        (pck.ppid.len(), pck.platform_instance_id.map(|id| id.len())),
        (16, Some(16))
    );
    assert_eq!(
        (pck.dynamic_platform, pck.cached_keys, pck.smt_enabled),
        (Some(false), Some(false), Some(false))
    );

    let collateral = serde_json::from_slice(&fixture.vendor.endorsement().bytes).unwrap();
    let verifier = QuoteVerifier::new(fixture.vendor.root_der().to_vec()).allow_debug(true);
    let verified = verifier.verify(&bytes, &collateral, NOW.as_secs()).unwrap();
    assert_eq!((&*verified.status, verified.ppid), ("UpToDate", pck.ppid));
}

#[test]
fn production_refuses_the_simulated_tee() {
    let fixture = Fixture::new();
    let production = crate::production(&TrustAnchors::default()).unwrap();
    let simulated = fixture.evidence();
    let refused = production
        .verify(&simulated, UNBOUND, &fixture.endorsements(), NOW)
        .unwrap_err();
    assert_eq!(
        refused,
        VerifyError::NotAccepted {
            tee: TeeKind::Simulated
        }
    );

    // Passed off as hardware, its format is right and its root is not.
    assert_eq!(production.recognise(&simulated.bytes), Some(TeeKind::Sgx));
    let as_sgx = Evidence {
        tee: TeeKind::Sgx,
        ..simulated
    };
    let refused = production
        .verify(&as_sgx, UNBOUND, &fixture.endorsements(), NOW)
        .unwrap_err();
    assert!(matches!(refused, VerifyError::Untrusted { .. }), "{refused:?}");
    // Nor does it become hardware where the simulated TEE is allowed.
    let refused = fixture.verify(&as_sgx).unwrap_err();
    assert!(matches!(refused, VerifyError::Untrusted { .. }), "{refused:?}");
}

#[test]
fn a_quote_of_hardware_is_not_taken_for_a_simulated_one() {
    let fixture = Fixture::new();
    let hardware = include_bytes!("../../../../vectors/sgx/sgx-v3-prod/quote.bin");
    let set = verifier_set(fixture.vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap();
    assert_eq!(set.recognise(hardware), Some(TeeKind::Sgx));
    for bytes in [&b""[..], &[3, 0, 2], &vec![0; 1024 * 1024]] {
        assert_eq!(set.recognise(bytes), None);
    }
    let passed_off = Evidence {
        tee: TeeKind::Simulated,
        bytes: hardware.to_vec(),
        user_data: None,
        event_log: None,
    };
    let refused = fixture.verify(&passed_off).unwrap_err();
    assert!(
        matches!(refused, VerifyError::EndorsementsMissing { .. }),
        "{refused:?}"
    );
}

#[test]
fn another_vendor_vouches_for_nothing() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let evidence = fixture.evidence();
    let set = verifier_set(other.vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap();
    assert_eq!(
        set.recognise(&evidence.bytes),
        Some(TeeKind::Sgx),
        "its format, without its root"
    );
    for (set, endorsements) in [
        (&set, fixture.endorsements()),
        (&set, other.endorsements()),
        (
            &verifier_set(fixture.vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap(),
            other.endorsements(),
        ),
    ] {
        let refused = set.verify(&evidence, UNBOUND, &endorsements, NOW).unwrap_err();
        assert!(matches!(refused, VerifyError::Untrusted { .. }), "{refused:?}");
    }
}

#[test]
fn collateral_is_needed_and_must_be_current() {
    let fixture = Fixture::new();
    let evidence = fixture.evidence();
    let refused = fixture
        .verify_at(&evidence, &Endorsements::default(), NOW)
        .unwrap_err();
    assert!(
        matches!(&refused, VerifyError::EndorsementsMissing { wants } if wants[0].urls.is_empty()),
        "no vendor to ask on the network: {refused:?}"
    );
    let end = NOW.plus(30 * DAY);
    let last = UnixMillis(end.0 - 1000);
    fixture
        .verify_at(&evidence, &fixture.endorsements(), last)
        .unwrap();
    for when in [end, NOW.plus(4000 * DAY), UnixMillis(NOW.0 - DAY), UnixMillis(0)] {
        let refused = fixture
            .verify_at(&evidence, &fixture.endorsements(), when)
            .unwrap_err();
        assert!(
            matches!(refused, VerifyError::EndorsementNotCurrent { .. }),
            "{when}: {refused:?}"
        );
    }
}

#[test]
fn a_debug_enclave_says_so() {
    let fixture = Fixture::new();
    let image = Image {
        mode: EnclaveMode::Debug,
        ..Image::production(MRENCLAVE)
    };
    let claims = fixture
        .verify(&attest(&fixture.dir(), image, &report_data(0)))
        .unwrap();
    assert!(claims.debug);
    assert!(
        claims.attributes["attributes"].contains("DEBUG"),
        "{:?}",
        claims.attributes
    );
}

#[test]
fn no_signed_byte_can_change() {
    let fixture = Fixture::new();
    let evidence = fixture.evidence();
    fixture.verify(&evidence).unwrap();
    for offset in 0..SIGNED {
        for bit in [0, 1 + offset % 7] {
            let mut flipped = evidence.clone();
            flipped.bytes[offset] ^= 1 << bit;
            match fixture.verify(&flipped) {
                Err(
                    VerifyError::SignatureInvalid { .. }
                    | VerifyError::Unsupported { .. }
                    | VerifyError::Malformed { .. }
                    | VerifyError::ComponentInvalid { .. },
                ) => {}
                other => panic!("bit {bit} of byte {offset}: {other:?}"),
            }
        }
    }
}

/// The one region of a quote that nothing signs, as bytes: the root certificate, in whose place the trusted one is
/// used, and what is around the base64 of the others.
#[test]
fn unsigned_bytes_change_no_claim_and_are_reported() {
    let fixture = Fixture::new();
    let evidence = fixture.evidence();
    let original = fixture.verify(&evidence).unwrap();
    let chain = &evidence.bytes[CHAIN..];
    let root = CHAIN + chain.windows(10).rposition(|at| at == b"-----BEGIN").unwrap();
    let mut accepted = 0;
    for offset in SIGNED..evidence.bytes.len() {
        let mut flipped = evidence.clone();
        flipped.bytes[offset] ^= 1 << (offset % 8);
        let Ok(claims) = fixture.verify(&flipped) else {
            continue;
        };
        accepted += 1;
        let (found, before) = (flipped.bytes[offset], evidence.bytes[offset]);
        assert!(
            offset >= root || !before.is_ascii_alphanumeric(),
            "byte {offset}, {before:#x} → {found:#x}"
        );
        let told = |what: &str| claims.unsigned.iter().any(|fact| fact.what == what);
        assert!(
            told("unusual encoding of the certificate chain")
                || told("root certificate is not the trusted one"),
            "byte {offset}: {:?}",
            claims.unsigned
        );
        let (mut claims, mut original) = (Claims::clone(&claims), Claims::clone(&original));
        claims.unsigned.clear();
        original.unsigned.clear();
        assert_eq!(claims, original, "byte {offset}");
    }
    assert!(accepted > 0, "the root's base64 is not signed");
}

#[test]
fn every_truncation_is_refused() {
    let fixture = Fixture::new();
    let evidence = fixture.evidence();
    for length in 0..evidence.bytes.len() {
        let cut = Evidence {
            bytes: evidence.bytes[..length].to_vec(),
            ..evidence.clone()
        };
        let refused = fixture.verify(&cut).unwrap_err();
        assert!(
            matches!(refused, VerifyError::Malformed { .. })
                || (length == 0 && refused == VerifyError::Empty),
            "{length} bytes: {refused:?}"
        );
    }
}

/// Quotes of the same enclave and platform in the containers of versions 4 and 5.
#[test]
fn quotes_in_later_containers_say_the_same() {
    let fixture = Fixture::new();
    let attester = Platform::load(&fixture.dir())
        .unwrap()
        .into_attester(Image::production(MRENCLAVE));
    let verifier = sgx::Verifier::with_root(fixture.vendor.root_der().to_vec(), TeeKind::Simulated);
    // Whether s of a signature is high is chance.
    let verify = |quote: &[u8]| {
        let mut claims = verifier.verify(quote, &fixture.endorsements(), NOW)?;
        claims.unsigned.retain(|fact| !fact.what.starts_with("high-s"));
        Ok::<_, VerifyError>(claims)
    };
    let version_3 = verify(&attester.attest(&report_data(0)).unwrap().bytes).unwrap();
    for version in [4, 5] {
        let quote = attester.attest_in(version, &report_data(0));
        assert!(sgx::recognises(&quote));
        for _cold_then_warm in 0..2 {
            let mut claims = verify(&quote).unwrap();
            assert_eq!(
                claims
                    .attributes
                    .insert("quote_version".to_owned(), "3".to_owned()),
                Some(version.to_string())
            );
            for (name, value) in [("qe_svn", "8"), ("pce_svn", "13")] {
                // Reserved in the header of these versions.
                assert_eq!(claims.attributes.insert(name.to_owned(), value.to_owned()), None);
            }
            assert_eq!(claims, version_3, "version {version}");
        }
    }
}

/// Every byte that the attestation key signed, and every byte that certifies this key, in both later containers, by
/// a verifier that knows the platform and by one that does not.
#[test]
fn no_signed_byte_of_a_later_container_can_change() {
    let fixture = Fixture::new();
    let attester = Platform::load(&fixture.dir())
        .unwrap()
        .into_attester(Image::production(MRENCLAVE));
    let root = fixture.vendor.root_der();
    let endorsements = fixture.endorsements();
    let warmed = sgx::Verifier::with_root(root.to_vec(), TeeKind::Simulated);
    for version in [4, 5] {
        let quote = attester.attest_in(version, &report_data(0));
        warmed.verify(&quote, &endorsements, NOW).unwrap();
        let chain = sgx::parse_quote(&quote).unwrap().signature.certification.offset;
        for offset in 0..chain {
            let mut flipped = quote.clone();
            flipped[offset] ^= 1 << (offset % 8);
            let warm = warmed.verify(&flipped, &endorsements, NOW);
            let cold = sgx::Verifier::with_root(root.to_vec(), TeeKind::Simulated).verify(
                &flipped,
                &endorsements,
                NOW,
            );
            assert_eq!(warm, cold, "version {version}, byte {offset}");
            assert!(
                matches!(
                    &warm,
                    Err(VerifyError::SignatureInvalid { .. }
                        | VerifyError::Unsupported { .. }
                        | VerifyError::Malformed { .. }
                        | VerifyError::ComponentInvalid { .. })
                ),
                "version {version}, byte {offset}: {warm:?}"
            );
        }
    }
}

/// The signature of one container does not count for another: the version is signed.
#[test]
fn a_quote_moved_into_another_container_does_not_verify() {
    let fixture = Fixture::new();
    let attester = Platform::load(&fixture.dir())
        .unwrap()
        .into_attester(Image::production(MRENCLAVE));
    let verifier = sgx::Verifier::with_root(fixture.vendor.root_der().to_vec(), TeeKind::Simulated);
    let signature = 436..500;
    let of_3 = attester.attest(&report_data(0)).unwrap().bytes;
    let mut moved = attester.attest_in(4, &report_data(0));
    moved[signature.clone()].copy_from_slice(&of_3[signature]);
    for _cold_then_warm in 0..2 {
        let refused = verifier.verify(&moved, &fixture.endorsements(), NOW).unwrap_err();
        let what = "ISV enclave report signature is invalid".to_owned();
        assert_eq!(refused, VerifyError::SignatureInvalid { what });
        verifier
            .verify(
                &attester.attest_in(4, &report_data(1)),
                &fixture.endorsements(),
                NOW,
            )
            .unwrap();
    }
}
