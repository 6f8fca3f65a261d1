//! Detection on whole fake machines: what is found, what is refused, what is told to the person.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use nautilus_core::TeeKind;
use nautilus_testkit::FakeMachine;

use super::{Check, Detection, Detector, Host, LiveHost, Node, Outcome, Permission, Status, TeeReport};

/// Takes regular files for devices and sockets, and denies what the fake machine denies.
#[derive(Debug)]
struct FakeHost {
    denied: Vec<PathBuf>,
}

impl Host for FakeHost {
    fn permits(&self, path: &Path, _permission: Permission) -> io::Result<()> {
        if self.denied.iter().any(|denied| denied == path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }

    fn is_node(&self, found: FileType, _wanted: Node) -> bool {
        found.is_file()
    }
}

fn detect(machine: &FakeMachine) -> Detection {
    let detection = Detector::with_host(
        machine.root(),
        FakeHost {
            denied: machine.denied().to_vec(),
        },
    )
    .detect();
    for tee in detection.tees() {
        assert_eq!(
            tee.missing().is_empty(),
            tee.status() == Status::Usable,
            "{tee:#?}"
        );
        assert!(!tee.checks().is_empty(), "{tee:#?}");
    }
    detection
}

fn report(detection: &Detection, kind: TeeKind) -> &TeeReport {
    detection.report(kind).unwrap()
}

fn status(detection: &Detection, kind: TeeKind) -> Status {
    report(detection, kind).status()
}

fn check<'a>(detection: &'a Detection, kind: TeeKind, source: &str) -> &'a Check {
    report(detection, kind)
        .checks()
        .iter()
        .find(|check| check.source == source)
        .unwrap()
}

/// Asserts that some remedy for `kind` says `words`.
#[track_caller]
fn assert_remedy(detection: &Detection, kind: TeeKind, words: &str) {
    let missing = report(detection, kind).missing();
    assert!(
        missing
            .iter()
            .any(|missing| missing.what.contains(words) || missing.how_to_get_it.contains(words)),
        "no remedy says `{words}`: {missing:#?}"
    );
}

#[track_caller]
fn assert_note(detection: &Detection, kind: TeeKind, words: &str) {
    let notes = report(detection, kind).notes();
    assert!(
        notes.iter().any(|note| note.contains(words)),
        "no note says `{words}`: {notes:#?}"
    );
}

/// Asserts the status of every TEE: `expected` for those named, absent for the rest.
#[track_caller]
fn assert_only(detection: &Detection, preferred: Option<TeeKind>, expected: &[(TeeKind, Status)]) {
    assert_eq!(detection.preferred(), preferred);
    for tee in detection.tees() {
        let want = expected
            .iter()
            .find(|(kind, _)| *kind == tee.kind())
            .map_or(Status::Absent, |(_, status)| *status);
        assert_eq!(tee.status(), want, "{tee:#?}");
    }
}

#[test]
fn plain_vm_has_nothing() {
    let detection = detect(&FakeMachine::plain_vm());
    assert_only(&detection, None, &[]);
    assert_remedy(&detection, TeeKind::Sgx, "SGX is on Intel CPUs only");
    assert_remedy(&detection, TeeKind::Tdx, "TDX is on Intel CPUs only");
    assert_remedy(&detection, TeeKind::Sev, "start it as an SNP guest");
    assert_remedy(&detection, TeeKind::TrustZone, "TrustZone is on ARM CPUs only");
    assert_remedy(&detection, TeeKind::Keystone, "64-bit RISC-V only");
    assert_remedy(&detection, TeeKind::Tpm, "attach a virtual TPM 2.0");
    assert_remedy(&detection, TeeKind::Nitro, "AWS EC2 only");
}

#[test]
fn empty_tree_has_nothing_and_says_why() {
    let detection = detect(&FakeMachine::new());
    assert_only(&detection, None, &[]);
    let flag = check(&detection, TeeKind::Sgx, "flag `sgx` in /proc/cpuinfo");
    assert_eq!(flag.outcome, Outcome::Unreadable);
    assert_eq!(flag.detail, "/proc/cpuinfo does not exist");
    assert_remedy(&detection, TeeKind::Sgx, "/proc/cpuinfo does not exist");
}

#[test]
fn simulated_is_never_detected() {
    for machine in [
        FakeMachine::new(),
        FakeMachine::plain_vm(),
        FakeMachine::sgx_and_tpm(),
    ] {
        let detection = detect(&machine);
        assert_eq!(detection.report(TeeKind::Simulated), None);
        assert_ne!(detection.preferred(), Some(TeeKind::Simulated));
    }
}

#[test]
fn order_is_the_specifications() {
    let detection = detect(&FakeMachine::new());
    let kinds: Vec<TeeKind> = detection.tees().iter().map(TeeReport::kind).collect();
    let expected: Vec<TeeKind> = TeeKind::ALL
        .into_iter()
        .filter(|kind| *kind != TeeKind::Simulated)
        .collect();
    assert_eq!(kinds, expected);
}

#[test]
fn sgx_server_is_usable() {
    let detection = detect(&FakeMachine::sgx_server());
    assert_only(&detection, Some(TeeKind::Sgx), &[(TeeKind::Sgx, Status::Usable)]);
    assert_note(&detection, TeeKind::Sgx, "/proc is outside");
}

#[test]
fn sgx_without_aesm_names_the_packages() {
    let detection = detect(&FakeMachine::sgx_server().without("/run/aesmd/aesm.socket"));
    assert_only(&detection, None, &[(TeeKind::Sgx, Status::Present)]);
    assert_remedy(&detection, TeeKind::Sgx, "libsgx-dcap-ql");
    assert_eq!(report(&detection, TeeKind::Sgx).missing().len(), 1);
}

#[test]
fn sgx_without_provisioning_is_not_usable() {
    let detection = detect(&FakeMachine::sgx_server().without("/dev/sgx_provision"));
    assert_eq!(status(&detection, TeeKind::Sgx), Status::Present);
    assert_remedy(&detection, TeeKind::Sgx, "/dev/sgx_provision");
}

#[test]
fn sgx_provisioning_may_be_the_daemons_alone() {
    let detection = detect(&FakeMachine::sgx_server().unreadable("/dev/sgx_provision"));
    assert_eq!(status(&detection, TeeKind::Sgx), Status::Usable);
    assert_eq!(
        check(&detection, TeeKind::Sgx, "/dev/sgx_provision").outcome,
        Outcome::Denied
    );
}

#[test]
fn sgx_flag_alone_is_present() {
    let detection = detect(&FakeMachine::new().cpu_flags(&["sgx"]));
    assert_only(&detection, None, &[(TeeKind::Sgx, Status::Present)]);
    assert_remedy(&detection, TeeKind::Sgx, "CONFIG_X86_SGX=y");
    assert_remedy(&detection, TeeKind::Sgx, "launch control");
}

#[test]
fn sgx_off_in_the_firmware_says_so() {
    let detection = detect(&FakeMachine::new().cpu_flags(&["vmx"]));
    assert_only(&detection, None, &[]);
    assert_remedy(&detection, TeeKind::Sgx, "enable SGX in the firmware");
    let detection = detect(&FakeMachine::new().cpu_flags(&["hypervisor"]));
    assert_remedy(&detection, TeeKind::Sgx, "choose a machine type");
}

#[test]
fn gramine_is_usable_with_dcap_only() {
    let inside = |kind: &str| {
        detect(
            &FakeMachine::new()
                .cpu_flags(&["sgx"])
                .file("/dev/attestation/attestation_type", kind),
        )
    };
    assert_eq!(inside("dcap").preferred(), Some(TeeKind::Sgx));
    for kind in ["none", "epid"] {
        let detection = inside(kind);
        assert_eq!(status(&detection, TeeKind::Sgx), Status::Present);
        assert_remedy(&detection, TeeKind::Sgx, "sgx.remote_attestation");
    }
    for kind in ["", "DCAP", "dcap\ndcap", "\u{1b}[31m"] {
        let detection = inside(kind);
        assert_eq!(status(&detection, TeeKind::Sgx), Status::Present, "{kind:?}");
        let seen = check(&detection, TeeKind::Sgx, "/dev/attestation/attestation_type");
        assert_eq!(seen.outcome, Outcome::Unreadable, "{kind:?}");
        assert!(!seen.detail.contains('\u{1b}'));
    }
}

#[test]
fn tdx_guest_is_usable() {
    let detection = detect(&FakeMachine::tdx_guest());
    assert_only(&detection, Some(TeeKind::Tdx), &[(TeeKind::Tdx, Status::Usable)]);
    assert_eq!(report(&detection, TeeKind::Tdx).notes(), [] as [String; 0]);
}

#[test]
fn tdx_host_is_not_a_guest() {
    let detection = detect(&FakeMachine::tdx_host());
    assert_only(&detection, None, &[(TeeKind::Tdx, Status::Present)]);
    assert_remedy(
        &detection,
        TeeKind::Tdx,
        "run the node inside a TDX guest: this machine is a TDX host",
    );
    let off = FakeMachine::tdx_host().file("/sys/module/kvm_intel/parameters/tdx", "N\n");
    assert_only(&detect(&off), None, &[]);
}

#[test]
fn tdx_guest_without_interfaces_says_how_to_get_them() {
    let machine = FakeMachine::new()
        .cpu_flags(&["tdx_guest", "hypervisor"])
        .dir("/sys/kernel/config");
    let detection = detect(&machine);
    assert_only(&detection, None, &[(TeeKind::Tdx, Status::Present)]);
    assert_remedy(
        &detection,
        TeeKind::Tdx,
        "mount -t configfs none /sys/kernel/config",
    );
    assert_remedy(&detection, TeeKind::Tdx, "Linux 6.7 or later");
    let mounted = detect(&machine.dir("/sys/kernel/config/usb_gadget"));
    assert_remedy(&mounted, TeeKind::Tdx, "modprobe tdx_guest; needs");
}

#[test]
fn tdx_device_needs_a_way_to_the_quoting_service() {
    let guest = || {
        FakeMachine::new()
            .cpu_flags(&["tdx_guest", "hypervisor"])
            .device("/dev/tdx_guest")
    };
    assert_eq!(status(&detect(&guest()), TeeKind::Tdx), Status::Present);
    let detection = detect(&guest().device("/dev/vsock"));
    assert_eq!(status(&detection, TeeKind::Tdx), Status::Usable);
    assert_note(&detection, TeeKind::Tdx, "vsock port 4050");
    assert_note(&detection, TeeKind::Tdx, "Linux 6.16");
}

#[test]
fn configfs_tsm_alone_is_neither_tdx_nor_snp() {
    let machine = FakeMachine::plain_vm().dir("/sys/kernel/config/tsm/report");
    assert_only(&detect(&machine), None, &[]);
}

#[test]
fn snp_guest_is_usable() {
    let detection = detect(&FakeMachine::snp_guest());
    assert_only(&detection, Some(TeeKind::Sev), &[(TeeKind::Sev, Status::Usable)]);
}

#[test]
fn snp_guest_is_usable_by_either_interface() {
    let by_configfs = detect(&FakeMachine::snp_guest().without("/dev/sev-guest"));
    assert_eq!(by_configfs.preferred(), Some(TeeKind::Sev));
    let by_device = detect(
        &FakeMachine::new()
            .cpu_vendor("AuthenticAMD")
            .device("/dev/sev-guest"),
    );
    assert_eq!(by_device.preferred(), Some(TeeKind::Sev));
}

#[test]
fn snp_guest_without_driver_names_the_module() {
    let machine = FakeMachine::plain_vm().file("/sys/devices/system/cpu/sev/vmpl", "0\n");
    let detection = detect(&machine);
    assert_only(&detection, None, &[(TeeKind::Sev, Status::Present)]);
    assert_remedy(&detection, TeeKind::Sev, "modprobe sev-guest");
}

#[test]
fn the_snp_flag_means_a_guest_only_in_a_virtual_machine() {
    let machine = || FakeMachine::new().cpu_vendor("AuthenticAMD");
    let guest = detect(&machine().cpu_flags(&["sev_snp", "hypervisor"]));
    assert_only(&guest, None, &[(TeeKind::Sev, Status::Present)]);
    assert_remedy(&guest, TeeKind::Sev, "modprobe sev-guest");
    let bare_metal = detect(
        &machine()
            .cpu_flags(&["sev_snp"])
            .dir("/sys/kernel/config/tsm/report"),
    );
    assert_only(&bare_metal, None, &[(TeeKind::Sev, Status::Present)]);
    assert_remedy(&bare_metal, TeeKind::Sev, "run the node inside an SNP guest");
}

#[test]
fn snp_host_is_not_a_guest() {
    let detection = detect(&FakeMachine::snp_host());
    assert_only(&detection, None, &[(TeeKind::Sev, Status::Present)]);
    assert_remedy(
        &detection,
        TeeKind::Sev,
        "this machine is an SNP host, not a guest",
    );
    let with_tsm = detect(&FakeMachine::snp_host().dir("/sys/kernel/config/tsm/report"));
    assert_only(&with_tsm, None, &[(TeeKind::Sev, Status::Present)]);
    let off = detect(&FakeMachine::snp_host().file("/sys/module/kvm_amd/parameters/sev_snp", "N\n"));
    assert_only(&off, None, &[(TeeKind::Sev, Status::Present)]);
    assert_remedy(&off, TeeKind::Sev, "kvm_amd.sev_snp=1");
}

#[test]
fn optee_board_is_usable_and_says_what_is_unknown() {
    let detection = detect(&FakeMachine::optee_board());
    assert_only(
        &detection,
        Some(TeeKind::TrustZone),
        &[(TeeKind::TrustZone, Status::Usable)],
    );
    assert_note(&detection, TeeKind::TrustZone, "CFG_ATTESTATION_PTA=y");
    assert_note(&detection, TeeKind::TrustZone, "tee-supplicant");
}

#[test]
fn a_tee_node_of_unknown_make_is_not_optee() {
    let arm = "processor\t: 0\nCPU implementer\t: 0x51\n\n";
    let detection = detect(&FakeMachine::new().file("/proc/cpuinfo", arm).device("/dev/tee0"));
    assert_only(&detection, None, &[(TeeKind::TrustZone, Status::Present)]);
    assert_remedy(&detection, TeeKind::TrustZone, "OP-TEE in the secure world");
    // AMD's secure processor shows the same node.
    let detection = detect(&FakeMachine::plain_vm().device("/dev/tee0"));
    assert_only(&detection, None, &[]);
    assert_note(&detection, TeeKind::TrustZone, "AMD's secure processor");
}

#[test]
fn optee_without_driver_names_the_module() {
    let detection = detect(&FakeMachine::optee_board().without("/dev/tee0"));
    assert_only(&detection, None, &[(TeeKind::TrustZone, Status::Present)]);
    assert_remedy(&detection, TeeKind::TrustZone, "modprobe optee");
}

#[test]
fn keystone_board_is_usable() {
    let detection = detect(&FakeMachine::keystone_board());
    assert_only(
        &detection,
        Some(TeeKind::Keystone),
        &[(TeeKind::Keystone, Status::Usable)],
    );
    let without = detect(&FakeMachine::keystone_board().without("/dev/keystone_enclave"));
    assert_only(&without, None, &[]);
    assert_remedy(&without, TeeKind::Keystone, "insmod keystone-driver.ko");
    let misplaced = detect(&FakeMachine::plain_vm().device("/dev/keystone_enclave"));
    assert_only(&misplaced, None, &[]);
}

#[test]
fn tpm_laptop_is_usable() {
    let detection = detect(&FakeMachine::tpm_laptop());
    assert_only(&detection, Some(TeeKind::Tpm), &[(TeeKind::Tpm, Status::Usable)]);
    assert_eq!(report(&detection, TeeKind::Tpm).notes(), [] as [String; 0]);
}

#[test]
fn virtual_tpm_says_whose_root_it_is() {
    let detection = detect(&FakeMachine::plain_vm().with_tpm());
    assert_only(&detection, Some(TeeKind::Tpm), &[(TeeKind::Tpm, Status::Usable)]);
    assert_note(&detection, TeeKind::Tpm, "root of trust is the hypervisor");
}

#[test]
fn tpm_1_2_is_refused() {
    let machine = FakeMachine::new()
        .cpu_flags(&[])
        .device("/dev/tpm0")
        .file("/sys/class/tpm/tpm0/tpm_version_major", "1\n");
    let detection = detect(&machine);
    assert_only(&detection, None, &[(TeeKind::Tpm, Status::Present)]);
    assert_remedy(&detection, TeeKind::Tpm, "TPM 1.2");
}

#[test]
fn tpm_of_unknown_version_needs_the_resource_manager() {
    let bare = detect(&FakeMachine::new().cpu_flags(&[]).device("/dev/tpm0"));
    assert_only(&bare, None, &[(TeeKind::Tpm, Status::Present)]);
    assert_remedy(&bare, TeeKind::Tpm, "Linux 5.6");
    let managed = detect(&FakeMachine::new().cpu_flags(&[]).device("/dev/tpmrm0"));
    assert_eq!(managed.preferred(), Some(TeeKind::Tpm));
}

#[test]
fn tpm_without_driver_names_the_module() {
    let machine = FakeMachine::new()
        .cpu_flags(&[])
        .file("/sys/firmware/acpi/tables/TPM2", "TPM2");
    let detection = detect(&machine);
    assert_only(&detection, None, &[(TeeKind::Tpm, Status::Present)]);
    assert_remedy(&detection, TeeKind::Tpm, "tpm_tis");
}

#[test]
fn nitro_enclave_is_usable_and_its_parent_is_not() {
    let detection = detect(&FakeMachine::nitro_enclave());
    assert_only(
        &detection,
        Some(TeeKind::Nitro),
        &[(TeeKind::Nitro, Status::Usable)],
    );
    let parent = FakeMachine::new()
        .cpu_flags(&["hypervisor"])
        .file("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n")
        .device("/dev/nitro_enclaves");
    let detection = detect(&parent);
    assert_only(&detection, None, &[(TeeKind::Nitro, Status::Present)]);
    assert_remedy(&detection, TeeKind::Nitro, "nitro-cli run-enclave");
    let detection = detect(&parent.without("/dev/nitro_enclaves"));
    assert_only(&detection, None, &[]);
    assert_remedy(&detection, TeeKind::Nitro, "--enclave-options Enabled=true");
}

#[test]
fn the_first_usable_tee_is_preferred() {
    let both = FakeMachine::sgx_and_tpm();
    let expected = [(TeeKind::Sgx, Status::Usable), (TeeKind::Tpm, Status::Usable)];
    assert_only(&detect(&both), Some(TeeKind::Sgx), &expected);
    // A TEE that is only present does not shadow a usable one behind it.
    let detection = detect(&both.without("/run/aesmd/aesm.socket"));
    let expected = [(TeeKind::Sgx, Status::Present), (TeeKind::Tpm, Status::Usable)];
    assert_only(&detection, Some(TeeKind::Tpm), &expected);
    let detection = detect(&FakeMachine::snp_guest().with_tpm());
    let expected = [(TeeKind::Sev, Status::Usable), (TeeKind::Tpm, Status::Usable)];
    assert_only(&detection, Some(TeeKind::Sev), &expected);
}

#[test]
fn denied_is_a_finding_with_a_remedy() {
    let cases = [
        (
            FakeMachine::sgx_server().unreadable("/dev/sgx_enclave"),
            TeeKind::Sgx,
            "/dev/sgx_enclave",
            "root",
        ),
        (
            FakeMachine::sgx_server().unreadable("/run/aesmd/aesm.socket"),
            TeeKind::Sgx,
            "/var/run/aesmd/aesm.socket",
            "socket",
        ),
        (
            FakeMachine::tdx_guest()
                .without("/dev/tdx_guest")
                .unreadable("/sys/kernel/config/tsm/report"),
            TeeKind::Tdx,
            "/sys/kernel/config/tsm/report",
            "run as root",
        ),
        (
            FakeMachine::snp_guest()
                .unreadable("/dev/sev-guest")
                .unreadable("/sys/kernel/config/tsm/report"),
            TeeKind::Sev,
            "/dev/sev-guest",
            "run as root",
        ),
        (
            FakeMachine::optee_board().unreadable("/dev/tee0"),
            TeeKind::TrustZone,
            "/dev/tee0",
            "teeclnt",
        ),
        (
            FakeMachine::keystone_board().unreadable("/dev/keystone_enclave"),
            TeeKind::Keystone,
            "/dev/keystone_enclave",
            "root",
        ),
        (
            FakeMachine::tpm_laptop()
                .unreadable("/dev/tpmrm0")
                .unreadable("/dev/tpm0"),
            TeeKind::Tpm,
            "/dev/tpmrm0",
            "group `tss`",
        ),
        (
            FakeMachine::nitro_enclave().unreadable("/dev/nsm"),
            TeeKind::Nitro,
            "/dev/nsm",
            "root",
        ),
    ];
    for (machine, kind, source, words) in cases {
        let detection = detect(&machine);
        assert_only(&detection, None, &[(kind, Status::Present)]);
        assert_eq!(check(&detection, kind, source).outcome, Outcome::Denied, "{kind}");
        assert_remedy(&detection, kind, &format!("permission to open {source}"));
        assert_remedy(&detection, kind, words);
    }
}

#[test]
fn denied_cpuinfo_is_a_finding() {
    let detection = detect(&FakeMachine::plain_vm().unreadable("/proc/cpuinfo"));
    assert_only(&detection, None, &[]);
    let flag = check(&detection, TeeKind::Tdx, "flag `tdx_guest` in /proc/cpuinfo");
    assert_eq!(flag.outcome, Outcome::Unreadable);
    assert!(flag.detail.contains("may not open"), "{}", flag.detail);
}

/// Every path that detection looks at, by its own account.
fn sources() -> Vec<String> {
    let detection = detect(&FakeMachine::new());
    let mut paths: Vec<String> = detection
        .tees()
        .iter()
        .flat_map(|tee| tee.checks().iter().map(|check| check.source.clone()))
        .filter(|source| source.starts_with('/'))
        .collect();
    paths.push("/proc/cpuinfo".to_owned());
    paths.sort();
    paths.dedup();
    // A directory is looked into only where no other path is below it.
    let below =
        |path: &String, paths: &[String]| paths.iter().any(|other| other.starts_with(&format!("{path}/")));
    paths
        .iter()
        .filter(|path| !below(path, &paths))
        .cloned()
        .collect()
}

#[test]
fn garbage_in_every_file_is_survived() {
    let binary: Vec<u8> = (0..=255_u8).cycle().take(10_000).collect();
    let huge = vec![b'x'; 10 * 1024 * 1024];
    for garbage in [&b""[..], b"\n\n\n", b":::\n:", b"\xff\xfe\0flags", &binary, &huge] {
        let mut machine = FakeMachine::new();
        for source in sources() {
            machine = machine.file(&source, garbage);
        }
        // Every device node is there, so that some are usable; nothing may come of the unreadable rest.
        let detection = detect(&machine);
        assert_eq!(status(&detection, TeeKind::Tpm), Status::Usable);
        assert_ne!(status(&detection, TeeKind::TrustZone), Status::Absent);
        assert_eq!(
            check(&detection, TeeKind::Sgx, "flag `sgx` in /proc/cpuinfo").outcome,
            Outcome::Unreadable
        );
        assert_eq!(
            check(&detection, TeeKind::Tdx, "/sys/module/kvm_intel/parameters/tdx").outcome,
            Outcome::Unreadable
        );
        let text = detection.render();
        assert!(text.len() < 64 * 1024);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }
}

#[test]
fn only_the_first_processor_of_a_huge_cpuinfo_counts() {
    let block = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sgx sgx_lc\n\n";
    let mut cpuinfo = block.to_owned();
    while cpuinfo.len() < 10 * 1024 * 1024 {
        cpuinfo.push_str("processor\t: 1\nvendor_id\t: AuthenticAMD\nflags\t\t: tdx_guest\n\n");
    }
    let detection = detect(&FakeMachine::new().file("/proc/cpuinfo", cpuinfo));
    assert_only(&detection, None, &[(TeeKind::Sgx, Status::Present)]);
    // One endless line: what fits the bound is read, the rest is not.
    let endless = format!("flags : {} tdx_guest\n", "fpu ".repeat(1024 * 1024));
    let detection = detect(&FakeMachine::new().file("/proc/cpuinfo", endless));
    assert_only(&detection, None, &[]);
}

#[test]
fn a_flag_is_a_whole_word() {
    let detection = detect(&FakeMachine::new().cpu_flags(&["sgx2", "xsgx", "tdx_guest_", "SGX"]));
    assert_only(&detection, None, &[]);
}

#[test]
fn a_directory_is_no_device_and_a_file_no_directory() {
    let mut machine = FakeMachine::new();
    for source in sources() {
        machine = machine.dir(&source);
    }
    let detection = detect(&machine);
    assert_eq!(detection.preferred(), None);
    for (kind, source) in [
        (TeeKind::Sgx, "/dev/sgx_enclave"),
        (TeeKind::Tdx, "/dev/tdx_guest"),
        (TeeKind::Sev, "/dev/sev-guest"),
        (TeeKind::TrustZone, "/dev/tee0"),
        (TeeKind::Keystone, "/dev/keystone_enclave"),
        (TeeKind::Tpm, "/dev/tpmrm0"),
        (TeeKind::Nitro, "/dev/nsm"),
    ] {
        let seen = check(&detection, kind, source);
        assert_eq!(
            (seen.outcome, seen.detail.as_str()),
            (Outcome::Unreadable, "is a directory, not a device node")
        );
    }
    assert_remedy(&detection, TeeKind::Tpm, "remove what is there");

    let file = FakeMachine::new()
        .cpu_flags(&["tdx_guest"])
        .file("/sys/kernel/config/tsm/report", "");
    let seen = detect(&file);
    let seen = check(&seen, TeeKind::Tdx, "/sys/kernel/config/tsm/report");
    assert_eq!(seen.outcome, Outcome::Unreadable);
}

#[test]
fn link_loops_are_findings() {
    let machine = FakeMachine::new()
        .link("/proc/cpuinfo", "/proc/cpuinfo")
        .link("/dev/tpmrm0", "/dev/a")
        .link("/dev/a", "tpmrm0")
        .link("/var/run", "/var/run")
        .link("/sys/class", "class/class");
    let detection = detect(&machine);
    assert_only(&detection, None, &[]);
    for (kind, source) in [
        (TeeKind::Tpm, "/dev/tpmrm0"),
        (TeeKind::Tpm, "/sys/class/tpm/tpm0/tpm_version_major"),
        (TeeKind::Sgx, "/var/run/aesmd/aesm.socket"),
        (TeeKind::Sgx, "flag `sgx` in /proc/cpuinfo"),
    ] {
        assert_eq!(
            check(&detection, kind, source).outcome,
            Outcome::Unreadable,
            "{source}"
        );
    }
}

#[test]
fn links_stay_inside_the_root() {
    // The bait is a real file outside the machine, reached by an absolute and by a climbing link.
    let outside = FakeMachine::new().file("/version", "2\n");
    let bait = outside.host_path("/version");
    let bait = bait.to_str().unwrap();
    for target in [bait.to_owned(), format!("../../../../../../../../../..{bait}")] {
        let machine = FakeMachine::new().link("/sys/class/tpm/tpm0/tpm_version_major", &target);
        let detection = detect(&machine);
        let seen = check(&detection, TeeKind::Tpm, "/sys/class/tpm/tpm0/tpm_version_major");
        assert_eq!(seen.outcome, Outcome::Absent, "{target}");
        // The same path inside the machine is what the link means.
        let detection = detect(&machine.file(bait, "2\n"));
        let seen = check(&detection, TeeKind::Tpm, "/sys/class/tpm/tpm0/tpm_version_major");
        assert_eq!(seen.outcome, Outcome::Found, "{target}");
    }
}

#[test]
fn a_real_machine_takes_no_regular_file_for_a_device() {
    for machine in [
        FakeMachine::sgx_and_tpm(),
        FakeMachine::tdx_guest(),
        FakeMachine::nitro_enclave(),
    ] {
        let detection = Detector::new(machine.root()).detect();
        for tee in detection.tees() {
            for check in tee
                .checks()
                .iter()
                .filter(|check| check.source.starts_with("/dev/"))
            {
                assert!(
                    check.outcome == Outcome::Absent
                        || (check.outcome == Outcome::Unreadable
                            && check.detail == "is a regular file, not a device node"),
                    "{check:?}"
                );
            }
        }
        assert_ne!(detection.preferred(), Some(TeeKind::Tpm));
        assert_ne!(detection.preferred(), Some(TeeKind::Nitro));
    }
}

#[test]
fn the_live_host_knows_devices_sockets_and_missing_files() {
    let null = fs::metadata("/dev/null").unwrap().file_type();
    assert!(LiveHost.is_node(null, Node::Device));
    assert!(!LiveHost.is_node(null, Node::Socket));
    LiveHost
        .permits(Path::new("/dev/null"), Permission::ReadWrite)
        .unwrap();
    let machine = FakeMachine::new();
    let error = LiveHost
        .permits(&machine.host_path("/nothing"), Permission::Read)
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_machine_under_the_tests_is_judged_too() {
    let detection = Detector::new("/").detect();
    assert_eq!(detection.tees().len(), 7);
    assert_ne!(detection.preferred(), Some(TeeKind::Simulated));
}

#[test]
fn text_has_a_headline_checks_and_remedies() {
    let text = detect(&FakeMachine::sgx_server().without("/run/aesmd/aesm.socket")).render();
    assert!(
        text.starts_with("preferred: none. No hardware TEE is usable here"),
        "{text}"
    );
    assert!(text.contains("\nsgx        present\n"), "{text}");
    assert!(
        text.contains(
            "  found      the kernel creates enclaves: /dev/sgx_enclave (this user may read and write it)\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("  missing    /var/run/aesmd/aesm.socket\n             to get it: install"),
        "{text}"
    );
    let text = detect(&FakeMachine::tdx_guest()).render();
    assert!(text.starts_with("preferred: tdx\n"), "{text}");
}

#[test]
fn json_has_its_names() {
    let json = serde_json::to_value(detect(&FakeMachine::snp_host())).unwrap();
    assert_eq!(json["preferred"], serde_json::Value::Null);
    let sev = &json["tees"][2];
    assert_eq!(sev["kind"], "sev");
    assert_eq!(sev["status"], "present");
    assert_eq!(sev["checks"][0]["source"], "flag `sev_snp` in /proc/cpuinfo");
    assert_eq!(sev["checks"][0]["outcome"], "found");
    assert_eq!(sev["missing"][0]["what"], "an SEV-SNP guest around this node");
    assert!(sev["missing"][0]["how_to_get_it"].is_string());
    assert_eq!(sev["notes"], serde_json::json!([]));
}
