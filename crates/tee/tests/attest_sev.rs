//! An SNP guest attests and seals, under a kernel whose configfs-tsm and `/dev/sev-guest` are fakes that sign as a chip
//! does: what the attester makes verifies, and no misbehaviour of theirs goes unnoticed.

#![cfg(all(feature = "attest", feature = "verify"))]
#![cfg(test)]

use nautilus_core::{
    Assurance, AttestError, Binding, BootId, BoundUserData, Challenge, Claims, Digest32, EndorsementKind,
    EventLogHead, Evidence, NodeId, Protection, PublicKey, Purpose, RawEvidence, ReportData, SealError,
    TeeKind, TrustAnchors, Verified, VerifyError,
};
use nautilus_tee::{Platform, PlatformOptions};
use nautilus_testkit::FakeKernel;
use nautilus_testkit::device::sev_guest::{self, FakeSevGuest};
use nautilus_testkit::device::tsm::{self, FakeTsm};
use nautilus_testkit::kernel::Errno;
use nautilus_testkit::vendor::amd::{Chip, FakeAmd, NOW, Product, certificate_table, guid};
use nautilus_testkit::vendor::intel_tdx::{FakeIntelTdx, TrustDomain};

const CONFIGFS: &str = "/sys/kernel/config/tsm/report";
const DEVICE: &str = "/dev/sev-guest";
/// Where `POLICY`, `MEASUREMENT` and `CURRENT_TCB` stand in a report.
const POLICY: usize = 0x08;
const MEASUREMENT: usize = 0x90;
const CURRENT_TCB: usize = 0x38;

#[test]
fn what_configfs_gives_verifies_with_what_comes_along() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let tsm = FakeTsm::sev(chip.clone(), Vec::new());
    assert!(matches!(
        verify(&amd, attest(with_tsm(tsm)).unwrap()),
        Err(VerifyError::EndorsementsMissing { .. })
    ));
    let table = table_of(&amd, &chip);
    let tsm = FakeTsm::sev(chip, table);
    let watch = tsm.watch();
    let evidence = attest(with_tsm(tsm)).unwrap();
    let kinds: Vec<EndorsementKind> = evidence.endorsements.0.iter().map(|one| one.kind).collect();
    assert_eq!(
        kinds,
        [
            EndorsementKind::Certificate,
            EndorsementKind::Certificate,
            EndorsementKind::Certificate,
            EndorsementKind::Crl
        ]
    );
    assert_accepted(&verify(&amd, evidence).unwrap());
    assert_eq!(watch.directories(), Vec::<String>::new());
}

#[test]
fn what_the_device_gives_verifies_with_what_comes_along() {
    let (amd, chip) = (FakeAmd::new(Product::Turin), Chip::turin());
    let table = table_of(&amd, &chip);
    let evidence = attest(with_device(FakeSevGuest::new(chip, table))).unwrap();
    assert_eq!(evidence.endorsements.0.len(), 4);
    assert_accepted(&verify(&amd, evidence).unwrap());
}

#[test]
fn a_host_without_certificates_is_no_fault() {
    for evidence in [
        attest(with_device(FakeSevGuest::new(Chip::milan(), Vec::new()))).unwrap(),
        attest(with_tsm(FakeTsm::sev(Chip::milan(), Vec::new()))).unwrap(),
        attest(with_tsm(FakeTsm::sev(Chip::milan(), vec![0; 4096]))).unwrap(),
        // More certificates than Linux has room for.
        attest(with_device(FakeSevGuest::new(
            Chip::milan(),
            certificate_table(&[(guid::VCEK, vec![0x30; 0x5000])]),
        )))
        .unwrap(),
    ] {
        assert_eq!(evidence.bytes.len(), 1184);
        assert!(evidence.endorsements.0.is_empty());
    }
}

#[test]
fn a_provider_with_masked_chips_attests_by_its_vlek() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::of_provider());
    let table = certificate_table(&[
        (guid::VLEK, amd.vlek(&chip)),
        (guid::ASK, amd.asvk.der.clone()),
        (guid::ARK, amd.ark.der.clone()),
    ]);
    let evidence = attest(with_tsm(FakeTsm::sev(chip, table).at_level(1))).unwrap();
    let claims = verify(&amd, evidence).unwrap();
    assert_accepted(&claims);
    assert_eq!(claims.attributes["signing_key"], "vlek");
}

#[test]
fn a_guest_below_the_highest_level_asks_at_its_own() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let table = table_of(&amd, &chip);
    let by_configfs = with_tsm(FakeTsm::sev(chip.clone(), table.clone()).at_level(2));
    let by_device =
        with_device(FakeSevGuest::new(chip, table)).file("/sys/devices/system/cpu/sev/vmpl", "2\n");
    for kernel in [by_configfs, by_device] {
        let evidence = attest(kernel).unwrap();
        assert_eq!(evidence.bytes[0x30..0x34], [2, 0, 0, 0]);
    }
    let no_level = with_device(FakeSevGuest::new(Chip::milan(), Vec::new()))
        .file("/sys/devices/system/cpu/sev/vmpl", "4\n");
    let error = attest(no_level).unwrap_err();
    assert!(
        matches!(&error, AttestError::Malformed { interface, what }
            if interface == "/sys/devices/system/cpu/sev/vmpl" && what == "`4` is no privilege level"),
        "{error:?}"
    );
}

#[test]
fn a_guest_that_its_host_may_debug_is_told_by_its_claims() {
    let amd = FakeAmd::new(Product::Milan);
    let policy = u64::from_le_bytes(Chip::milan().report[POLICY..POLICY + 8].try_into().unwrap());
    let chip = Chip::milan().with(POLICY, &(policy | 1 << 19).to_le_bytes());
    let table = table_of(&amd, &chip);
    for kernel in [
        with_tsm(FakeTsm::sev(chip.clone(), table.clone())),
        with_device(FakeSevGuest::new(chip, table)),
    ] {
        assert!(verify(&amd, attest(kernel).unwrap()).unwrap().debug);
    }
}

#[test]
fn a_report_of_another_machine_does_not_verify_with_this_ones_certificates() {
    let (amd, chip) = (FakeAmd::new(Product::Milan), Chip::milan());
    let table = table_of(&amd, &chip);
    let evidence = attest(with_tsm(FakeTsm::sev(Chip::milan(), table))).unwrap();
    let error = verify(&amd, evidence).unwrap_err();
    assert!(matches!(error, VerifyError::SignatureInvalid { .. }), "{error:?}");
}

#[test]
fn every_fault_of_configfs_is_named() {
    use tsm::Fault;
    let refused = |errno: Errno, part: &str| {
        let error = attest(with_tsm(sev_tsm().with(Fault::Error(errno)))).unwrap_err();
        assert!(
            matches!(&error, AttestError::Refused { interface, what }
                if interface == "/sys/kernel/config/tsm/report (outblob)" && what.contains(part)),
            "{error:?}"
        );
    };
    refused(Errno::BUSY, "EBUSY: an earlier request is still with the host");
    refused(
        Errno::AGAIN,
        "EWOULDBLOCK: the question changed while it was answered; try again",
    );
    refused(
        Errno::IO,
        "EIO: the host or the firmware failed; look for the reason in",
    );
    refused(
        Errno::FBIG,
        "EFBIG: the report is larger than this kernel hands out; update",
    );
    refused(Errno::TIMEDOUT, "ETIMEDOUT");
    refused(Errno::NXIO, "ENXIO");
    refused(Errno::INVAL, "EINVAL");
    let error = attest(with_tsm(sev_tsm().with(Fault::Error(Errno::NOMEM)))).unwrap_err();
    assert!(
        matches!(&error, AttestError::Io { action: "read", source, .. }
            if source.raw_os_error() == Some(Errno::NOMEM.raw_os_error())),
        "{error:?}"
    );

    let malformed = |fault: Fault, part: &str| {
        let tsm = FakeTsm::sev(
            Chip::milan(),
            table_of(&FakeAmd::new(Product::Milan), &Chip::milan()),
        );
        let tsm = tsm.with(fault);
        let watch = tsm.watch();
        let error = attest(with_tsm(tsm)).unwrap_err();
        assert!(
            matches!(&error, AttestError::Malformed { interface, what }
                if interface == CONFIGFS && what.contains(part)),
            "{fault:?}: {error:?}"
        );
        assert_eq!(watch.directories(), Vec::<String>::new(), "{fault:?}");
    };
    malformed(Fault::Cut(0), "report: report needs 1184 bytes, 0 are left");
    malformed(Fault::Cut(1183), "report: report needs 1184 bytes, 1183 are left");
    malformed(Fault::Long(1, 0), "1 bytes that belong to nothing");
    malformed(Fault::Long(200_000, 0), "outblob is longer than 131072 bytes");
    malformed(Fault::CutTable(30), "certificate table: ");
    malformed(Fault::CutTable(200), "certificate table: VCEK at 120");

    let error = attest(with_tsm(sev_tsm().with(Fault::OtherReportData))).unwrap_err();
    let AttestError::WrongReportData {
        interface,
        expected,
        found,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(interface, CONFIGFS);
    assert_eq!(expected, hex::encode(report_data().as_bytes()));
    assert_eq!(found[2..], expected[2..]);
    assert_ne!(found, expected);
}

#[test]
fn a_race_is_retried_and_given_up() {
    use tsm::Fault;
    for times in [1, 2] {
        let tsm = sev_tsm().with(Fault::Disturbed(times));
        let watch = tsm.watch();
        attest(with_tsm(tsm)).unwrap_or_else(|error| panic!("disturbed {times} times: {error}"));
        assert_eq!(watch.directories(), Vec::<String>::new());
    }
    for (fault, shown) in [
        (
            Fault::Disturbed(3),
            "generation is 2 after 1 writes of ours, 3 times over",
        ),
        (
            Fault::Disturbed(u32::MAX),
            "generation is 2 after 1 writes of ours, 3 times over",
        ),
        (Fault::NotNew, "a new directory was at generation 1, 3 times over"),
        (
            Fault::LostWrite,
            "generation is 0 after 1 writes of ours, 3 times over",
        ),
    ] {
        let tsm = sev_tsm().with(fault);
        let watch = tsm.watch();
        let error = attest(with_tsm(tsm)).unwrap_err();
        assert!(
            matches!(&error, AttestError::Stale { interface, what }
                if interface == CONFIGFS && what.starts_with(shown)),
            "{fault:?}: {error:?}"
        );
        assert_eq!(watch.directories(), Vec::<String>::new(), "{fault:?}");
    }
}

#[test]
fn leftovers_of_killed_processes_are_swept_and_no_others() {
    use std::os::unix::fs::MetadataExt as _;
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    // Above the largest process id that Linux has.
    let dead = format!("nautilus-4194305-{namespace}-00");
    let others = [
        format!("nautilus-{}-{namespace}-00", std::process::id()),
        format!("nautilus-4194305-{}-00", namespace + 1),
        "report0".to_owned(),
    ];
    let mut tsm = sev_tsm().with_directory(&dead);
    for other in &others {
        tsm = tsm.with_directory(other);
    }
    let watch = tsm.watch();
    attest(with_tsm(tsm)).unwrap();
    let mut expected = others.to_vec();
    expected.sort();
    assert_eq!(watch.directories(), expected);
}

#[test]
fn every_fault_of_the_device_is_named() {
    use sev_guest::Fault;
    let device = || FakeSevGuest::new(Chip::milan(), vec![0x30; 24 * 2]);
    let asked = |fault: Fault| attest(with_device(device().with(fault))).unwrap_err();
    for (fault, part) in [
        (
            Fault::Error(Errno::IO, 2 << 32),
            "the host was too busy; try again later; the firmware gave none",
        ),
        (
            Fault::Error(Errno::IO, 7 << 32 | 0x13),
            "the host gave error 0x7; firmware status 0x13",
        ),
        (
            Fault::Error(Errno::IO, 0x1d),
            "firmware status 0x1d, the sequence numbers of messages are used up",
        ),
        (Fault::Error(Errno::IO, 0xffff_ffff), "the firmware was not asked"),
        (
            Fault::Error(Errno::NOTTY, 0xff),
            "the driver gave up its key after an earlier error",
        ),
    ] {
        let error = asked(fault);
        assert!(
            matches!(&error, AttestError::Refused { interface, what }
                if interface == DEVICE && what.contains(part)),
            "{fault:?}: {error:?}"
        );
    }
    let error = asked(Fault::Error(Errno::NOMEM, 0xff));
    assert!(
        matches!(&error, AttestError::Io { interface, source, .. }
            if interface == DEVICE && source.raw_os_error() == Some(Errno::NOMEM.raw_os_error())),
        "{error:?}"
    );
}

#[test]
fn what_the_device_answers_is_checked() {
    use sev_guest::Fault;
    let table = table_of(&FakeAmd::new(Product::Milan), &Chip::milan());
    let asked = |fault: Fault| {
        attest(with_device(
            FakeSevGuest::new(Chip::milan(), table.clone()).with(fault),
        ))
        .unwrap_err()
    };
    for (fault, part) in [
        (Fault::ReportLength(0), "a report of 0 bytes, not of 1184"),
        (Fault::ReportLength(1183), "a report of 1183 bytes, not of 1184"),
        (Fault::ReportLength(u32::MAX), "a report of 4294967295 bytes"),
        (Fault::Room(4097), "it asks for 4097 bytes of room"),
        (Fault::Room(0x0010_0000), "it asks for 1048576 bytes of room"),
        (
            Fault::CutTable(24),
            "certificate table: VCEK is no document in DER",
        ),
    ] {
        let error = asked(fault);
        assert!(
            matches!(&error, AttestError::Malformed { interface, what }
                if interface == DEVICE && what.contains(part)),
            "{fault:?}: {error:?}"
        );
    }
    let error = asked(Fault::Room(4096));
    assert!(
        matches!(&error, AttestError::Stale { interface, what }
            if interface == DEVICE && what.contains("needed more room each of 3 times")),
        "{error:?}"
    );
    let error = asked(Fault::OtherReportData);
    assert!(
        matches!(&error, AttestError::WrongReportData { interface, .. } if interface == DEVICE),
        "{error:?}"
    );
}

#[test]
fn devices_that_never_answer_are_given_up() {
    let by_configfs = with_tsm(sev_tsm().with(tsm::Fault::Never));
    let by_device = with_device(FakeSevGuest::new(Chip::milan(), Vec::new()).with(sev_guest::Fault::Never));
    // Both at once: each takes the attester's whole patience.
    std::thread::scope(|scope| {
        let asked = [by_configfs, by_device].map(|kernel| scope.spawn(|| attest(kernel)));
        for error in asked.map(|thread| thread.join().unwrap().unwrap_err()) {
            assert!(
                matches!(&error, AttestError::NoAnswer { interface, .. } if interface == "sev"),
                "{error:?}"
            );
        }
    });
}

#[test]
fn the_provider_decides_who_is_asked() {
    let both = || {
        kernel().tree(CONFIGFS, sev_tsm()).device(
            DEVICE,
            FakeSevGuest::new(Chip::milan(), Vec::new()).with(sev_guest::Fault::OtherReportData),
        )
    };
    attest_by(both(), None).unwrap();
    attest_by(both(), Some("configfs")).unwrap();
    let error = attest_by(both(), Some("sev-guest")).unwrap_err();
    assert!(matches!(error, AttestError::WrongReportData { .. }), "{error:?}");
    for unknown in ["aesm", "", "vsock:2:4050"] {
        let error = attest_by(both(), Some(unknown)).unwrap_err();
        assert!(
            matches!(&error, AttestError::Unsupported { what }
                if *what == format!("quote provider `{unknown}` on SEV-SNP: `configfs` and `sev-guest` are known")),
            "{error:?}"
        );
    }
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let missing = |kernel, provider, name: &str, part: &str| {
        let error = attest_by(kernel, provider).unwrap_err();
        assert!(
            matches!(&error, AttestError::Missing { interface, hint }
                if interface == name && hint.contains(part)),
            "{error:?}"
        );
    };
    missing(kernel(), None, DEVICE, "modprobe sev-guest");
    missing(kernel(), Some("sev-guest"), DEVICE, "modprobe sev-guest");
    missing(kernel(), Some("configfs"), CONFIGFS, "modprobe sev_guest");
    let refusing = |error| with_tsm(sev_tsm().with(tsm::Fault::NoDirectory(error)));
    missing(
        refusing(Errno::NXIO),
        Some("configfs"),
        CONFIGFS,
        "no driver hands out reports",
    );
    missing(refusing(Errno::ACCESS), Some("configfs"), CONFIGFS, "run as root");
    missing(refusing(Errno::NXIO), None, DEVICE, "modprobe sev-guest");
}

#[test]
fn the_provider_of_another_tee_is_named() {
    let directory = tempfile::tempdir().unwrap();
    nautilus_tee::simulated::Vendor::open_or_create(&directory.path().join("intel"), NOW).unwrap();
    let platform = FakeIntelTdx::of(&directory.path().join("intel"));
    let tsm = FakeTsm::tdx(platform, TrustDomain::production());
    let watch = tsm.watch();
    let error = attest(with_tsm(tsm)).unwrap_err();
    assert!(
        matches!(&error, AttestError::Refused { interface, what }
            if interface == CONFIGFS && what == "its provider is `tdx_guest`, not `sev_guest`"),
        "{error:?}"
    );
    assert_eq!(watch.directories(), Vec::<String>::new());
}

#[test]
fn state_opens_for_the_same_code_on_the_same_chip_alone() {
    let chip = Chip::milan();
    let same = chip.clone();
    let sealed = seal(chip);
    assert_eq!(unseal(same.clone(), &sealed).unwrap(), b"state");

    // A firmware update: every part of the TCB is newer.
    let updated = same.clone().with(CURRENT_TCB, &[0xff; 8]);
    assert_eq!(unseal(updated, &sealed).unwrap(), b"state");

    let policy = same.report[POLICY] ^ 1;
    for (other, what) in [
        (Chip::milan(), "another chip"),
        (same.clone().with(MEASUREMENT, &[0xee; 48]), "other code"),
        (same.clone().with(POLICY, &[policy]), "another policy"),
        (
            same.clone().with(POLICY + 2, &[same.report[POLICY + 2] | 8]),
            "a debugger",
        ),
    ] {
        let error = unseal(other, &sealed).unwrap_err();
        assert!(matches!(error, SealError::NotOurs { .. }), "{what}: {error:?}");
    }
}

#[test]
fn what_the_state_is_bound_to_is_told() {
    let bound = |device: FakeSevGuest| {
        let platform = with_device(device).run(|| open(None)).unwrap();
        let sealer = platform.sealer.unwrap();
        assert!(sealer.counter().is_none(), "an old copy would be noticed");
        match sealer.protection() {
            Protection::Tee { bound_to } => bound_to,
            other => panic!("{other:?}"),
        }
    };
    let by_chip = "this chip's VCEK, launch measurement, guest policy and privilege level";
    assert_eq!(bound(FakeSevGuest::new(Chip::milan(), Vec::new())), by_chip);
    assert_eq!(
        bound(FakeSevGuest::new(Chip::milan(), Vec::new()).of_old_firmware()),
        by_chip
    );
    let masked = Chip::milan().with(0x48, &[2 | 1 << 2]);
    assert!(bound(FakeSevGuest::new(masked, Vec::new())).starts_with("the provider's VLEK"));
}

#[test]
fn without_a_key_there_is_no_silent_fallback() {
    use sev_guest::Fault;
    let opened = |fault| {
        let device = FakeSevGuest::new(Chip::milan(), Vec::new()).with(fault);
        with_device(device).run(|| open(None)).err().unwrap()
    };
    let error = opened(Fault::NoKey);
    assert!(
        matches!(&error, AttestError::Malformed { interface, what }
            if interface == DEVICE && what == "it gave a key of zeros"),
        "{error:?}"
    );
    for (status, part) in [(0x27, "masks the chip key"), (0x07, "policy forbids")] {
        let error = opened(Fault::Status(status));
        assert!(
            matches!(&error, AttestError::Refused { interface, what }
                if interface == DEVICE && what.starts_with("no key to seal state with") && what.contains(part)),
            "{error:?}"
        );
    }
    let without = with_tsm(sev_tsm()).run(|| open(None)).unwrap();
    assert!(without.sealer.is_none());
}

/// A kernel that has nothing of SNP, whatever the real one has.
fn kernel() -> FakeKernel {
    FakeKernel::new()
        .absent("/sys/kernel/config")
        .absent(DEVICE)
        .absent("/sys/devices/system/cpu/sev")
}

fn with_tsm(tsm: FakeTsm) -> FakeKernel {
    kernel().tree(CONFIGFS, tsm)
}

fn with_device(device: FakeSevGuest) -> FakeKernel {
    kernel().device(DEVICE, device)
}

fn sev_tsm() -> FakeTsm {
    FakeTsm::sev(Chip::milan(), Vec::new())
}

fn table_of(amd: &FakeAmd, chip: &Chip) -> Vec<u8> {
    certificate_table(&[
        (guid::VCEK, amd.vcek(chip)),
        (guid::ASK, amd.ask.der.clone()),
        (guid::ARK, amd.ark.der.clone()),
        (guid::CRL, amd.list(&[])),
    ])
}

fn open(provider: Option<&str>) -> Result<Platform, AttestError> {
    let options = PlatformOptions {
        quote_provider: provider.map(str::to_owned),
        ..PlatformOptions::default()
    };
    Platform::open(TeeKind::Sev, &options)
}

fn attest(kernel: FakeKernel) -> Result<RawEvidence, AttestError> {
    attest_by(kernel, None)
}

fn attest_by(kernel: FakeKernel, provider: Option<&str>) -> Result<RawEvidence, AttestError> {
    kernel.run(|| open(provider)?.attester.attest(&report_data()))
}

fn seal(chip: Chip) -> Vec<u8> {
    let device = FakeSevGuest::new(chip, Vec::new());
    let platform = with_device(device).run(|| open(None)).unwrap();
    platform.sealer.unwrap().seal(b"state").unwrap()
}

fn unseal(chip: Chip, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let device = FakeSevGuest::new(chip, Vec::new());
    let platform = with_device(device).run(|| open(None)).unwrap();
    platform
        .sealer
        .unwrap()
        .unseal(sealed)
        .map(|state| state.to_vec())
}

fn user_data() -> BoundUserData {
    BoundUserData {
        purpose: Purpose::Boot,
        node: NodeId([1; 32]),
        tee: TeeKind::Sev,
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

/// As a relying party does, with nothing but the root and what came along.
fn verify(amd: &FakeAmd, raw: RawEvidence) -> Result<Verified<Claims>, VerifyError> {
    use nautilus_core::SignedMessage as _;
    let evidence = Evidence {
        tee: TeeKind::Sev,
        bytes: raw.bytes,
        user_data: Some(user_data().to_bytes()),
        event_log: raw.event_log,
    };
    let stand_in = nautilus_tee::stand_in(TeeKind::Sev, amd.ark.der.clone()).unwrap();
    nautilus_tee::production(&TrustAnchors::default())
        .unwrap()
        .dangerous_with_stand_in(stand_in)
        .unwrap()
        .verify(
            &evidence,
            Binding::Challenge(Challenge::from_digest(CHALLENGE)),
            &raw.endorsements,
            NOW,
        )
}

fn assert_accepted(claims: &Claims) {
    assert_eq!(claims.assurance, Assurance::Simulated);
    assert_eq!(claims.report_data.0, report_data().as_bytes());
    assert!(!claims.debug);
}
