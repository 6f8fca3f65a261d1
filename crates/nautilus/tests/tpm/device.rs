//! The kernel's device in place of a socket: the programs open `/dev/tpmrm0` by its name, and find a whole TPM there.

use nautilus_core::{AttestError, TeeKind};
use nautilus_tee::{Platform, PlatformOptions};
use nautilus_testkit::FakeKernel;
use nautilus_testkit::device::tpm::{FakeTpm, Fault};

use crate::attester::{accept, enrol, report_data};
use crate::machine::Machine;
use crate::program::{command, finish, nautilus};

const LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

fn kernel(machine: &Machine, path: &str, fault: Fault) -> FakeKernel {
    FakeKernel::new()
        .absent("/sys/kernel/security")
        .device(path, FakeTpm::new(machine.path().join("tpm"), fault))
}

#[test]
fn evidence_of_the_kernels_tpm_is_accepted_and_brings_the_event_log() {
    let machine = Machine::new();
    machine.extend(4, 4);
    let (request, anchor) = enrol(&machine, None);
    let log = b"what the firmware measured".to_vec();
    let with_log = || {
        FakeKernel::new()
            .device(
                "/dev/tpmrm0",
                FakeTpm::new(machine.path().join("tpm"), Fault::None),
            )
            .file(LOG, log.clone())
    };
    let evidence = with_log().run(|| {
        let platform = Platform::open(TeeKind::Tpm, &PlatformOptions::default()).unwrap();
        let sealer = platform.sealer.unwrap();
        let sealed = sealer.seal(b"state").unwrap();
        assert_eq!(*sealer.unseal(&sealed).unwrap(), b"state");
        platform.attester.attest(&report_data(1)).unwrap()
    });
    accept(&anchor, &evidence, &report_data(1));
    assert_eq!(evidence.event_log, Some(log.clone()));

    // Without a resource manager, and without a log.
    let evidence = kernel(&machine, "/dev/tpm0", Fault::None)
        .absent("/dev/tpmrm0")
        .run(|| {
            let platform = Platform::open(TeeKind::Tpm, &PlatformOptions::default()).unwrap();
            platform.attester.attest(&report_data(2)).unwrap()
        });
    accept(&anchor, &evidence, &report_data(2));
    assert_eq!(evidence.event_log, None);

    // And the program itself, by the documented command.
    let mut asking = command(&nautilus());
    asking
        .args(["enroll", "tpm", "request", "-o", "request"])
        .current_dir(machine.path());
    let told = with_log().run(|| finish(asking, b"").ends_with(0).stdout);
    assert!(told.contains(&hex::encode(&request.ak_name)), "{told}");
    assert_eq!(machine.read("request/ak.pub"), request.ak_public);
}

#[test]
fn a_device_that_misbehaves_is_refused_and_named() {
    let machine = Machine::new();
    for fault in [
        Fault::Busy,
        Fault::ShortWrite,
        Fault::ShortRead,
        Fault::Empty,
        Fault::Lost,
        Fault::Never,
    ] {
        let error = kernel(&machine, "/dev/tpmrm0", fault).run(|| {
            Platform::open(TeeKind::Tpm, &PlatformOptions::default())
                .and_then(|platform| platform.attester.attest(&report_data(1)))
                .unwrap_err()
        });
        let as_expected = match (fault, &error) {
            (Fault::Busy, AttestError::Refused { interface, what }) => {
                interface == "/dev/tpmrm0" && what.contains("another program holds it")
            }
            (Fault::ShortWrite, AttestError::Malformed { interface, what }) => {
                interface == "/dev/tpmrm0" && what.contains("bytes of a command")
            }
            (Fault::ShortRead, AttestError::Malformed { interface, what }) => {
                interface == "/dev/tpmrm0" && what.contains("bytes came")
            }
            (Fault::Empty, AttestError::Malformed { interface, what }) => {
                interface == "/dev/tpmrm0" && what.contains("its answer has 0 bytes")
            }
            (
                Fault::Lost,
                AttestError::Io {
                    interface, action, ..
                },
            ) => interface == "/dev/tpmrm0" && *action == "send a command to",
            (Fault::Never, AttestError::NoAnswer { .. }) => true,
            _ => false,
        };
        assert!(as_expected, "{fault:?}: {error}");
    }
}

#[test]
fn a_machine_without_a_tpm_says_what_to_do() {
    let kernel = FakeKernel::new().absent("/dev/tpmrm0").absent("/dev/tpm0");
    let error = kernel.run(|| {
        Platform::open(TeeKind::Tpm, &PlatformOptions::default())
            .err()
            .unwrap()
    });
    assert!(
        matches!(&error, AttestError::Missing { interface, hint }
            if interface == "/dev/tpm0" && hint.contains("modprobe tpm_crb")),
        "{error}"
    );
}
