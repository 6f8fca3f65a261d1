//! A trust domain attests, under a kernel whose configfs-tsm and `/dev/tdx_guest` are fakes, with a quoting service
//! that signs as Intel's does: what the attester makes verifies, and no misbehaviour of theirs goes unnoticed.

#![cfg(all(feature = "attest", feature = "verify"))]
#![cfg(test)]

use std::path::Path;

use nautilus_core::{
    Assurance, AttestError, Binding, BootId, BoundUserData, Challenge, Claims, Digest32, Endorsements,
    EventLogHead, Evidence, NodeId, PublicKey, Purpose, RawEvidence, ReportData, TcbStatus, TeeKind,
    TrustAnchors, UnixMillis, Verified, VerifyError,
};
use nautilus_tee::simulated::Vendor;
use nautilus_tee::{Platform, PlatformOptions};
use nautilus_testkit::FakeKernel;
use nautilus_testkit::device::qgs::{self, FakeQgs};
use nautilus_testkit::device::tdx_guest::{self, FakeTdxGuest};
use nautilus_testkit::device::tsm::{self, FakeTsm};
use nautilus_testkit::kernel::Errno;
use nautilus_testkit::vendor::amd::Chip;
use nautilus_testkit::vendor::intel_tdx::{FakeIntelTdx, TrustDomain};
use tempfile::TempDir;

const CONFIGFS: &str = "/sys/kernel/config/tsm/report";
const DEVICE: &str = "/dev/tdx_guest";
const EVENT_LOG: &str = "/sys/firmware/acpi/tables/data/CCEL";
const NOW: UnixMillis = UnixMillis::from_secs(1_780_272_000);

#[test]
fn what_configfs_gives_verifies() {
    let intel = Intel::new();
    let tsm = intel.tsm();
    let watch = tsm.watch();
    let evidence = attest(with_tsm(tsm), None).unwrap();
    let claims = intel.verify(evidence).unwrap();
    assert_accepted(&claims);
    assert_eq!(claims.tcb.status, Some(TcbStatus::UpToDate));
    assert_eq!(claims.measurements["mrtd"].0, TrustDomain::production().mrtd);
    assert_eq!(claims.measurements["rtmr1"].0, TrustDomain::production().rtmr[1]);
    assert_eq!(watch.directories(), Vec::<String>::new());
}

#[test]
fn what_the_quoting_service_gives_verifies() {
    let intel = Intel::new();
    let service = FakeQgs::new(intel.platform.clone());
    let evidence = attest_through(intel.device(), &service).unwrap();
    assert_accepted(&intel.verify(evidence).unwrap());
}

#[test]
fn padding_after_a_quote_is_not_evidence() {
    let intel = Intel::new();
    let service = FakeQgs::with(intel.platform.clone(), qgs::Fault::Padded(4000));
    let by_service = attest_through(intel.device(), &service).unwrap();
    let by_configfs = attest(with_tsm(intel.tsm().with(tsm::Fault::Long(4000, 0))), None).unwrap();
    for evidence in [by_service, by_configfs] {
        let claims = intel.verify(evidence).unwrap();
        assert_nothing_unsigned(&claims);
    }
}

#[test]
fn a_domain_that_its_host_may_debug_is_told_by_its_claims() {
    let intel = Intel::of(TrustDomain {
        debug: true,
        ..TrustDomain::production()
    });
    let service = FakeQgs::new(intel.platform.clone());
    for evidence in [
        attest(with_tsm(intel.tsm()), None),
        attest_through(intel.device(), &service),
    ] {
        assert!(intel.verify(evidence.unwrap()).unwrap().debug);
    }
}

#[test]
fn another_vendors_quote_does_not_verify() {
    let (intel, other) = (Intel::new(), Intel::new());
    let evidence = attest(with_tsm(other.tsm()), None).unwrap();
    let error = intel.verify(evidence).unwrap_err();
    assert!(matches!(error, VerifyError::Untrusted { .. }), "{error:?}");
}

#[test]
fn the_firmwares_event_log_comes_along() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/eventlog");
    let log = std::fs::read(vectors.join("CCEL_data_ovmf")).unwrap();
    let mut domain = TrustDomain::production();
    let rtmr = [
        "8566f998798db09443b244c62de9a3041fb02e2e6936c4396d784bba2e90177329ec5aba3bb484404f2ab9cc90abe193",
        "775b9f6bfe99f8a31396f0d0218e67ffa796d3b96ccf961cbb0deba48c79c00f082cda1a5567c1c16305f1fc210c13c6",
        "94eaf7a7bf398ed8d888c91057ae0261802e4f3df084213a76ca7f0b5055ac9d2241de43cd58d9e8b49c503bbf25f34a",
    ];
    for (register, value) in domain.rtmr.iter_mut().zip(rtmr) {
        hex::decode_to_slice(value, register).unwrap();
    }
    let intel = Intel::of(domain);
    let evidence = attest(with_tsm(intel.tsm()).file(EVENT_LOG, log.clone()), None).unwrap();
    assert_eq!(evidence.event_log.as_deref(), Some(log.as_slice()));
    let claims = intel.verify(evidence).unwrap();
    assert!(!claims.event_log.is_empty());

    let nothing = attest(with_tsm(intel.tsm()).file(EVENT_LOG, Vec::new()), None).unwrap();
    assert_eq!(nothing.event_log, None);
    let error = attest(
        with_tsm(intel.tsm()).file(EVENT_LOG, vec![0; 256 * 1024 + 1]),
        None,
    )
    .unwrap_err();
    assert!(
        matches!(&error, AttestError::Malformed { interface, what }
            if interface == EVENT_LOG && what == "it is longer than 262144 bytes"),
        "{error:?}"
    );
}

#[test]
fn every_fault_of_configfs_is_named() {
    use tsm::Fault;
    let intel = Intel::new();
    let asked = |fault| {
        let tsm = intel.tsm().with(fault);
        let watch = tsm.watch();
        let error = attest(with_tsm(tsm), None).unwrap_err();
        assert_eq!(watch.directories(), Vec::<String>::new(), "{fault:?}");
        error
    };
    for (fault, part) in [
        (Fault::Cut(0), "quote: quote header needs 48 bytes, 0 are left"),
        (Fault::Cut(100), "quote: TD report needs 584 bytes"),
        (Fault::Cut(1000), "quote: signature data needs"),
        (Fault::Long(1, 1), "1 bytes that belong to nothing"),
        (Fault::Long(200_000, 0), "outblob is longer than 131072 bytes"),
    ] {
        let error = asked(fault);
        assert!(
            matches!(&error, AttestError::Malformed { interface, what }
                if interface == CONFIGFS && what.contains(part)),
            "{fault:?}: {error:?}"
        );
    }
    for errno in [Errno::BUSY, Errno::AGAIN, Errno::IO, Errno::FBIG] {
        let error = asked(Fault::Error(errno));
        assert!(
            matches!(&error, AttestError::Refused { interface, .. }
                if interface == "/sys/kernel/config/tsm/report (outblob)"),
            "{error:?}"
        );
    }
    let error = asked(Fault::OtherReportData);
    assert!(
        matches!(&error, AttestError::WrongReportData { interface, expected, .. }
            if interface == CONFIGFS && *expected == hex::encode(report_data().as_bytes())),
        "{error:?}"
    );
    for (fault, shown) in [
        (Fault::Disturbed(3), "generation is 2 after 1 writes of ours"),
        (Fault::NotNew, "a new directory was at generation 1"),
        (Fault::LostWrite, "generation is 0 after 1 writes of ours"),
    ] {
        let error = asked(fault);
        assert!(
            matches!(&error, AttestError::Stale { interface, what }
                if interface == CONFIGFS && what.starts_with(shown)),
            "{fault:?}: {error:?}"
        );
    }
    attest(with_tsm(intel.tsm().with(Fault::Disturbed(2))), None).unwrap();
}

#[test]
fn every_fault_of_the_device_is_named() {
    use tdx_guest::Fault;
    let intel = Intel::new();
    let service = FakeQgs::new(intel.platform.clone());
    let asked = |fault| attest_through(intel.device().with(fault), &service).unwrap_err();
    let error = asked(Fault::OtherReportData);
    assert!(
        matches!(&error, AttestError::WrongReportData { interface, .. } if interface == DEVICE),
        "{error:?}"
    );
    let error = asked(Fault::Type(0));
    assert!(
        matches!(&error, AttestError::Malformed { interface, what }
            if interface == DEVICE && what == "a report of type 0x0, not of a trust domain"),
        "{error:?}"
    );
    let error = asked(Fault::Error(Errno::IO));
    assert!(
        matches!(&error, AttestError::Io { interface, source, .. }
            if interface == DEVICE && source.raw_os_error() == Some(Errno::IO.raw_os_error())),
        "{error:?}"
    );
}

#[test]
fn every_fault_of_the_quoting_service_is_named() {
    use qgs::Fault;
    let intel = Intel::new();
    let asked = |fault: Fault| {
        let service = FakeQgs::with(intel.platform.clone(), fault);
        let name = format!("the quoting service at unix:{}", service.path().display());
        (attest_through(intel.device(), &service).unwrap_err(), name)
    };
    for (fault, part) in [
        (Fault::Cut(0), "the stream ended in the middle of a message"),
        (Fault::Cut(3), "the stream ended in the middle of a message"),
        (Fault::Cut(100), "the stream ended in the middle of a message"),
        (Fault::Announce(0), "major version needs 2 bytes"),
        (Fault::Announce(1000), "it says that it has"),
        (
            Fault::Announce(u32::MAX),
            "a response of 4294967295 bytes, more than the 131072 allowed",
        ),
        (Fault::Message(vec![0xff; 24]), "a message of version 65535.65535"),
        (Fault::Quote(Vec::new()), "an empty quote"),
        (Fault::Quote(vec![0; 100]), "quote: TEE type 0 (SGX)"),
    ] {
        let (error, name) = asked(fault.clone());
        assert!(
            matches!(&error, AttestError::Malformed { interface, what }
                if *interface == name && what.contains(part)),
            "{fault:?}: {error:?}"
        );
    }
    let (error, name) = asked(Fault::Error(0x12003));
    assert!(
        matches!(&error, AttestError::Refused { interface, what }
            if *interface == name && what == "error 0x12003, a parameter is invalid"),
        "{error:?}"
    );
    let (error, name) = asked(Fault::OtherReportData);
    assert!(
        matches!(&error, AttestError::WrongReportData { interface, found, .. }
            if *interface == name && *found == "0f".repeat(64)),
        "{error:?}"
    );
}

#[test]
fn a_service_of_another_machine_quotes_nothing() {
    let (intel, other) = (Intel::new(), Intel::new());
    let service = FakeQgs::new(other.platform.clone());
    let error = attest_through(intel.device(), &service).unwrap_err();
    assert!(matches!(error, AttestError::Refused { .. }), "{error:?}");
}

#[test]
fn what_never_answers_is_given_up() {
    let intel = Intel::new();
    let silent = FakeQgs::with(intel.platform.clone(), qgs::Fault::Never);
    let service = FakeQgs::new(intel.platform.clone());
    let by_configfs = with_tsm(intel.tsm().with(tsm::Fault::Never));
    let hanging = intel.device().with(tdx_guest::Fault::Never);
    // All at once: each takes the whole patience of attester or service.
    std::thread::scope(|scope| {
        let configfs = scope.spawn(|| attest(by_configfs, None));
        let device = scope.spawn(|| attest_through(hanging, &service));
        let socket = scope.spawn(|| attest_through(intel.device(), &silent));
        for thread in [configfs, device] {
            let error = thread.join().unwrap().unwrap_err();
            assert!(
                matches!(&error, AttestError::NoAnswer { interface, .. } if interface == "tdx"),
                "{error:?}"
            );
        }
        let error = socket.join().unwrap().unwrap_err();
        assert!(
            matches!(&error, AttestError::NoAnswer { interface, .. }
                if interface.starts_with("the quoting service at unix:")),
            "{error:?}"
        );
    });
}

#[test]
fn the_provider_decides_who_is_asked() {
    let intel = Intel::new();
    let service = FakeQgs::new(intel.platform.clone());
    let both =
        || with_tsm(intel.tsm()).device(DEVICE, intel.device().with(tdx_guest::Fault::OtherReportData));
    attest(both(), None).unwrap();
    attest(both(), Some("configfs")).unwrap();
    let by_service = format!("unix:{}", service.path().display());
    let error = attest(both(), Some(&by_service)).unwrap_err();
    assert!(
        matches!(&error, AttestError::WrongReportData { interface, .. } if interface == DEVICE),
        "{error:?}"
    );
    for unknown in ["aesm", "", "vsock:2", "unix:relative"] {
        let error = attest(both(), Some(unknown)).unwrap_err();
        assert!(
            matches!(&error, AttestError::Unsupported { what } if *what == format!(
                "quote provider `{unknown}` on TDX: `configfs`, `vsock:CID:PORT` and `unix:/PATH` are known"
            )),
            "{error:?}"
        );
    }
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let intel = Intel::new();
    let missing = |kernel, provider: Option<&str>, name: &str, part: &str| {
        let error = attest(kernel, provider).unwrap_err();
        assert!(
            matches!(&error, AttestError::Missing { interface, hint }
                if interface == name && hint.contains(part)),
            "{error:?}"
        );
    };
    missing(kernel(), None, DEVICE, "modprobe tdx_guest");
    missing(kernel(), Some("configfs"), CONFIGFS, "modprobe tdx_guest");
    missing(kernel(), Some("vsock:2:4050"), DEVICE, "modprobe tdx_guest");
    missing(
        kernel().device(DEVICE, intel.device()),
        Some("unix:/nonexistent/qgs.socket"),
        "the quoting service at unix:/nonexistent/qgs.socket",
        "nobody listens there",
    );
}

#[test]
fn without_configfs_the_hosts_service_is_asked() {
    let intel = Intel::new();
    // Whether this machine has vsock or not, no such service listens on its host.
    let error = attest(kernel().device(DEVICE, intel.device()), None).unwrap_err();
    assert!(
        matches!(&error, AttestError::Missing { interface, .. } | AttestError::Io { interface, .. }
            if interface == "the quoting service at vsock:2:4050"),
        "{error:?}"
    );
}

#[test]
fn the_provider_of_another_tee_is_named() {
    let error = attest(with_tsm(FakeTsm::sev(Chip::milan(), Vec::new())), None).unwrap_err();
    assert!(
        matches!(&error, AttestError::Refused { interface, what }
            if interface == CONFIGFS && what == "its provider is `sev_guest`, not `tdx_guest`"),
        "{error:?}"
    );
}

#[test]
fn there_is_nothing_to_seal_with() {
    let intel = Intel::new();
    let platform = with_tsm(intel.tsm()).run(|| open(None)).unwrap();
    assert!(platform.sealer.is_none());
}

/// A vendor, its platform and the domain on it.
struct Intel {
    // The directory lives as long as the vendor.
    _directory: TempDir,
    root: Vec<u8>,
    platform: FakeIntelTdx,
    domain: TrustDomain,
}

impl Intel {
    fn new() -> Self {
        Self::of(TrustDomain::production())
    }

    fn of(domain: TrustDomain) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let vendor = Vendor::open_or_create(&directory.path().join("intel"), NOW).unwrap();
        Self {
            root: vendor.root_der().to_vec(),
            platform: FakeIntelTdx::of(&directory.path().join("intel")),
            _directory: directory,
            domain,
        }
    }

    fn tsm(&self) -> FakeTsm {
        FakeTsm::tdx(self.platform.clone(), self.domain.clone())
    }

    fn device(&self) -> FakeTdxGuest {
        FakeTdxGuest::new(self.platform.clone(), self.domain.clone())
    }

    /// As a relying party does, with the vendor's collateral from its own store.
    fn verify(&self, raw: RawEvidence) -> Result<Verified<Claims>, VerifyError> {
        use nautilus_core::SignedMessage as _;
        let evidence = Evidence {
            tee: TeeKind::Tdx,
            bytes: raw.bytes,
            user_data: Some(user_data().to_bytes()),
            event_log: raw.event_log,
        };
        let stand_in = nautilus_tee::stand_in(TeeKind::Tdx, self.root.clone()).unwrap();
        nautilus_tee::production(&TrustAnchors::default())
            .unwrap()
            .dangerous_with_stand_in(stand_in)
            .unwrap()
            .verify(
                &evidence,
                Binding::Challenge(Challenge::from_digest(CHALLENGE)),
                &Endorsements(vec![self.platform.endorsement()]),
                NOW,
            )
    }
}

/// A kernel that has nothing of TDX, whatever the real one has.
fn kernel() -> FakeKernel {
    FakeKernel::new()
        .absent("/sys/kernel/config")
        .absent(DEVICE)
        .absent(EVENT_LOG)
}

fn with_tsm(tsm: FakeTsm) -> FakeKernel {
    kernel().tree(CONFIGFS, tsm)
}

fn open(provider: Option<&str>) -> Result<Platform, AttestError> {
    let options = PlatformOptions {
        quote_provider: provider.map(str::to_owned),
        ..PlatformOptions::default()
    };
    Platform::open(TeeKind::Tdx, &options)
}

fn attest(kernel: FakeKernel, provider: Option<&str>) -> Result<RawEvidence, AttestError> {
    kernel.run(|| open(provider)?.attester.attest(&report_data()))
}

fn attest_through(device: FakeTdxGuest, service: &FakeQgs) -> Result<RawEvidence, AttestError> {
    let provider = format!("unix:{}", service.path().display());
    attest(kernel().device(DEVICE, device), Some(&provider))
}

fn user_data() -> BoundUserData {
    BoundUserData {
        purpose: Purpose::Boot,
        node: NodeId([1; 32]),
        tee: TeeKind::Tdx,
        boot: BootId([2; 16]),
        tee_key: PublicKey([3; 32]),
        channel_key: None,
        event_log: EventLogHead::EMPTY,
        session: None,
    }
}

const CHALLENGE: Digest32 = Digest32([9; 32]);

fn report_data() -> ReportData {
    Challenge::from_digest(CHALLENGE).bind(&user_data())
}

fn assert_accepted(claims: &Claims) {
    assert_eq!(claims.assurance, Assurance::Simulated);
    assert_eq!(claims.report_data.0, report_data().as_bytes());
    assert!(!claims.debug);
    assert_nothing_unsigned(claims);
}

/// But for the form of signatures, which is the signer's luck.
fn assert_nothing_unsigned(claims: &Claims) {
    let other = claims
        .unsigned
        .iter()
        .find(|fact| !fact.what.starts_with("high-s "));
    assert_eq!(other, None);
}
