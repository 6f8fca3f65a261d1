//! Evidence of the attestation service.

use nautilus_core::{
    AnchorRole, Assurance, AttestError, Binding, Claims, Endorsements, Evidence, RawEvidence, TeeKind,
    TrustAnchor, TrustAnchors, UnixMillis, Verified, VerifierSet, VerifyError,
};
use nautilus_tee::trustzone::Verifier;
use nautilus_tee::trustzone::optee::{self, Command};
use nautilus_tee::{Platform, PlatformOptions};
use nautilus_testkit::FakeKernel;
use nautilus_testkit::device::optee::{FakeOptee, Fault, TEE_MEMORY};
use nautilus_testkit::kernel::Errno;
use nautilus_testkit::vendor::optee::OpteeKey;

use crate::setting::{DEVICE, SERVICE, kernel, open, report_data};

const NOW: UnixMillis = UnixMillis::from_secs(1_793_000_000);

fn attest(device: FakeOptee, number: u8) -> Result<RawEvidence, AttestError> {
    kernel(device).run(|| open()?.attester.attest(&report_data(number)))
}

fn faulty(fault: Fault) -> AttestError {
    let device = FakeOptee::new(OpteeKey::device_a()).with_fault(fault);
    attest(device, 7).expect_err("the device misbehaves")
}

fn verify(enrolled: &OpteeKey, evidence: RawEvidence, number: u8) -> Result<Verified<Claims>, VerifyError> {
    let anchor = TrustAnchor {
        role: AnchorRole::OpteeKey,
        bytes: enrolled.anchor(),
        origin: "the test".to_owned(),
    };
    let verifier = Verifier::new(&TrustAnchors(vec![anchor])).expect("the key is a key");
    let set = VerifierSet::production(vec![Box::new(verifier)]).expect("nothing is simulated");
    let evidence = Evidence {
        tee: TeeKind::TrustZone,
        bytes: evidence.bytes,
        user_data: None,
        event_log: None,
    };
    let expected = report_data(number);
    let binding = Binding::ReportData(expected.as_bytes());
    set.verify(&evidence, binding, &Endorsements::default(), NOW)
}

#[test]
fn what_the_service_signs_verifies_under_its_enrolled_key() {
    let device = FakeOptee::new(OpteeKey::device_a());
    let commands = device.commands();
    let evidence = attest(device, 7).expect("the device attests");
    // Key and measurement, each after asking for the length; nautilus-state is not installed, and never asked.
    assert_eq!(
        commands.so_far(),
        [(false, 0), (false, 0), (false, 3), (false, 3)]
    );
    let parsed = optee::parse(&evidence.bytes).expect("it is a container");
    assert_eq!(parsed.command, Command::TeeMemory);
    assert_eq!(parsed.nonce, report_data(7).as_bytes());
    assert!(parsed.key_id.is_some());
    let claims = verify(&OpteeKey::device_a(), evidence, 7).expect("it verifies");
    assert_eq!(claims.measurements["optee_tee_memory"].0, TEE_MEMORY);
    assert_eq!(claims.assurance, Assurance::HardwareEnclave);
}

#[test]
fn evidence_answers_its_own_challenge_alone() {
    let evidence = attest(FakeOptee::new(OpteeKey::device_a()), 7).expect("the device attests");
    let refused = verify(&OpteeKey::device_a(), evidence, 8);
    assert!(
        matches!(refused, Err(VerifyError::ReportDataMismatch { .. })),
        "{refused:?}"
    );
}

#[test]
fn another_device_s_evidence_is_refused() {
    let evidence = attest(FakeOptee::new(OpteeKey::device_b()), 7).expect("the device attests");
    let refused = verify(&OpteeKey::device_a(), evidence, 7);
    assert!(
        matches!(refused, Err(VerifyError::KeyNotEnrolled { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_signature_over_something_else_is_not_passed_on() {
    for fault in [Fault::AnothersReportData, Fault::Stale, Fault::AnotherKey] {
        match faulty(fault) {
            AttestError::WrongReportData {
                interface,
                expected,
                found,
            } => {
                assert_eq!(interface, SERVICE);
                let asked: String = report_data(7)
                    .as_bytes()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                assert_eq!(expected, asked);
                assert_eq!(found, "(unknown: its signature is not over this)");
            }
            error => panic!("{fault:?}: {error}"),
        }
    }
}

#[test]
fn lengths_are_held_to_what_there_can_be() {
    for (fault, named) in [
        (Fault::ShortRead, "200 bytes, where it said 416 before"),
        (
            Fault::TooLong,
            "it has 18446744073709551615 bytes to give, where measurement and signature have 416",
        ),
        (
            Fault::ModulusOf(255),
            "its modulus has 255 bytes, not 256 to 1024",
        ),
        (
            Fault::ModulusOf(1025),
            "its modulus has 1025 bytes, not 256 to 1024",
        ),
        (
            Fault::ModulusOf(u64::MAX),
            "its modulus has 18446744073709551615 bytes, not 256 to 1024",
        ),
        (Fault::Error(0), "command 0 gave something where nothing fits"),
        (Fault::Error(0xffff_0010), "its exponent has 0 bytes, not 1 to 4"),
    ] {
        match faulty(fault) {
            AttestError::Malformed { interface, what } => {
                assert_eq!((interface.as_str(), what.as_str()), (SERVICE, named));
            }
            error => panic!("{fault:?}: {error}"),
        }
    }
}

#[test]
fn refusals_have_words() {
    for (code, words) in [
        (0xffff_0001, "access denied"),
        (0xffff_0006, "parameters that it does not take"),
        (0xffff_000e, "is tee-supplicant running?"),
        (0xf010_0001, "a new attestation key must be enrolled again"),
        (0xf010_0003, "secure storage is not available"),
    ] {
        match faulty(Fault::Error(code)) {
            AttestError::Refused { interface, what } => {
                assert_eq!(interface, SERVICE);
                assert!(what.starts_with("command 0: "), "{what}");
                assert!(what.contains(words), "{what}");
                assert!(
                    what.ends_with(&format!("(0x{code:08x}, from the trusted application)")),
                    "{what}"
                );
            }
            error => panic!("0x{code:x}: {error}"),
        }
    }
}

#[test]
fn a_driver_that_fails_is_named() {
    match faulty(Fault::Kernel(Errno::NOMEM)) {
        AttestError::Io {
            action,
            interface,
            source,
        } => {
            assert_eq!((action, interface.as_str()), ("invoke a command at", DEVICE));
            assert_eq!(source.raw_os_error(), Some(Errno::NOMEM.raw_os_error()));
        }
        error => panic!("{error}"),
    }
}

/// The deadline is tested where it is made. Here: who waits is a thread of its own, and nothing is made up.
#[test]
fn a_service_that_never_answers_gives_nothing() {
    let device = FakeOptee::new(OpteeKey::device_a()).with_fault(Fault::Never);
    let commands = device.commands();
    let (waiting, result) = std::sync::mpsc::channel();
    kernel(device).run(move || {
        std::thread::spawn(move || {
            let result = open().and_then(|platform| platform.attester.attest(&report_data(7)));
            waiting.send(result).expect("the test waits");
        });
        while commands.so_far().is_empty() {
            std::thread::yield_now();
        }
    });
    match result.recv().expect("the call ended with the kernel") {
        Err(AttestError::Io {
            action, interface, ..
        }) => assert_eq!((action, interface.as_str()), ("invoke a command at", DEVICE)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let nothing = (0..16).fold(FakeKernel::new(), |kernel, number| {
        kernel.absent(&format!("/dev/tee{number}"))
    });
    let missing = [
        (
            nothing.run(|| open().err()),
            "OP-TEE's device /dev/tee0",
            "the firmware must start OP-TEE",
        ),
        (
            Some(faulty(Fault::NotOptee)),
            "OP-TEE's device /dev/tee0",
            "the TEE at /dev/tee0 is of implementation 2, which is not OP-TEE's (1)",
        ),
        (
            Some(faulty(Fault::NoService)),
            SERVICE,
            "build OP-TEE with CFG_ATTESTATION_PTA=y",
        ),
    ];
    for (error, name, what_to_do) in missing {
        match error {
            Some(AttestError::Missing { interface, hint }) => {
                assert_eq!(interface, name);
                assert!(hint.starts_with(what_to_do), "{hint}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_first_device_that_is_op_tee_s_is_taken() {
    let other = FakeOptee::new(OpteeKey::device_b()).with_fault(Fault::NotOptee);
    let device = FakeOptee::new(OpteeKey::device_a());
    let kernel = FakeKernel::new()
        .device("/dev/tee0", other)
        .device("/dev/tee1", device);
    let evidence = kernel.run(|| open()?.attester.attest(&report_data(7)));
    let claims = verify(&OpteeKey::device_a(), evidence.expect("the second attests"), 7);
    assert_eq!(claims.expect("it verifies").device.scheme, "optee-key-sha256");
}

#[test]
fn a_driver_that_is_too_old_is_named() {
    match faulty(Fault::OldDriver) {
        AttestError::Unsupported { what } => assert!(what.contains("Linux 5.10"), "{what}"),
        error => panic!("{error}"),
    }
}

#[test]
fn a_quote_provider_is_refused() {
    let options = PlatformOptions {
        quote_provider: Some("other".to_owned()),
        ..PlatformOptions::default()
    };
    match Platform::open(TeeKind::TrustZone, &options).err() {
        Some(AttestError::Unsupported { what }) => assert!(what.contains("`other`"), "{what}"),
        other => panic!("{other:?}"),
    }
}
