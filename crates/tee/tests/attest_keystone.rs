//! Attesting with Keystone: the attester as it ships, down to its ioctls and mappings, under a kernel whose device and
//! security monitor are faked and really sign.

#![cfg(all(feature = "attest", feature = "verify"))]

#[cfg(test)]
mod tests {
    use nautilus_core::{
        AnchorRole, Assurance, AttestError, Binding, BootId, BoundUserData, Challenge, Claims, Digest32,
        Endorsements, EventLogHead, Evidence, NodeId, PublicKey, Purpose, RawEvidence, ReportData, TeeKind,
        TrustAnchor, TrustAnchors, UnixMillis, Verified, VerifierSet, VerifyError,
    };
    use nautilus_tee::keystone::{Verifier, parse_report};
    use nautilus_tee::{Platform, PlatformOptions};
    use nautilus_testkit::FakeKernel;
    use nautilus_testkit::device::keystone::{FakeKeystone, Fault};
    use nautilus_testkit::kernel::Errno;
    use nautilus_testkit::vendor::keystone::{KeystoneVendor, enclave_hash};

    const DEVICE: &str = "/dev/keystone_enclave";
    const DIRECTORY: &str = "/usr/lib/nautilus/keystone";
    const NOW: UnixMillis = UnixMillis::from_secs(1_793_000_000);

    fn report_data(number: u8) -> ReportData {
        Challenge::from_digest(Digest32([number; 32])).bind(&BoundUserData {
            purpose: Purpose::Boot,
            node: NodeId([1; 32]),
            tee: TeeKind::Keystone,
            boot: BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: None,
        })
    }

    /// Loader, runtime and application: less than a page, a page, more than a page.
    fn images() -> [Vec<u8>; 3] {
        [vec![0x11; 1000], vec![0x22; 4096], vec![0x33; 5000]]
    }

    fn kernel(device: FakeKeystone) -> FakeKernel {
        let [loader, runtime, application] = images();
        FakeKernel::new()
            .device(DEVICE, device)
            .file(&format!("{DIRECTORY}/loader.bin"), loader)
            .file(&format!("{DIRECTORY}/eyrie-rt"), runtime)
            .file(&format!("{DIRECTORY}/nautilus-eapp"), application)
    }

    fn open() -> Result<Platform, AttestError> {
        Platform::open(TeeKind::Keystone, &PlatformOptions::default())
    }

    fn attest(kernel: FakeKernel, number: u8) -> Result<RawEvidence, AttestError> {
        kernel.run(|| open()?.attester.attest(&report_data(number)))
    }

    fn faulty(fault: Fault) -> AttestError {
        let device = FakeKeystone::new(KeystoneVendor::device(1)).with_fault(fault);
        let alive = device.alive();
        let error = attest(kernel(device), 7).expect_err("the device misbehaves");
        assert_eq!(alive.count(), 0, "an enclave was left behind by {fault:?}");
        error
    }

    fn verify(
        enrolled: &KeystoneVendor,
        evidence: RawEvidence,
        number: u8,
    ) -> Result<Verified<Claims>, VerifyError> {
        let anchor = TrustAnchor {
            role: AnchorRole::KeystoneDevice,
            bytes: enrolled.anchor(),
            origin: "the test".to_owned(),
        };
        let verifier = Verifier::new(&TrustAnchors(vec![anchor])).expect("the key is a key");
        let set = VerifierSet::production(vec![Box::new(verifier)]).expect("nothing is simulated");
        let evidence = Evidence {
            tee: TeeKind::Keystone,
            bytes: evidence.bytes,
            user_data: None,
            event_log: None,
        };
        let expected = report_data(number);
        let binding = Binding::ReportData(expected.as_bytes());
        set.verify(&evidence, binding, &Endorsements::default(), NOW)
    }

    #[test]
    fn what_the_device_signs_verifies_under_its_enrolled_key() {
        let device = FakeKeystone::new(KeystoneVendor::device(1));
        let alive = device.alive();
        let evidence = attest(kernel(device), 7).expect("the device attests");
        assert_eq!(alive.count(), 0);
        let claims = verify(&KeystoneVendor::device(1), evidence, 7).expect("it verifies");
        assert!(!claims.debug);
        assert_eq!(claims.assurance, Assurance::HardwareEnclave);
        // The enclave is what was installed, each part from a page on and filled up with zeros.
        let [mut loader, runtime, mut application] = images();
        loader.resize(4096, 0);
        application.resize(8192, 0);
        let expected = enclave_hash([&loader, &runtime, &application]);
        assert_eq!(claims.measurements["enclave_hash"].0, expected);
        // What the security monitor's stack left in the report is not passed on.
        assert_eq!(claims.unsigned, []);
    }

    #[test]
    fn a_device_attests_again_and_again() {
        let device = FakeKeystone::new(KeystoneVendor::device(1));
        let alive = device.alive();
        let reports = kernel(device).run(|| {
            let platform = open().expect("the device is there");
            [1, 2, 3].map(|number| {
                let evidence = platform.attester.attest(&report_data(number));
                parse_report(&evidence.expect("the device attests").bytes).expect("it is a report")
            })
        });
        for (report, number) in reports.iter().zip([1, 2, 3]) {
            assert_eq!(report.data, report_data(number).as_bytes());
        }
        assert_eq!(alive.count(), 0);
    }

    #[test]
    fn nothing_is_sealed_where_the_host_would_see_the_key() {
        let device = FakeKeystone::new(KeystoneVendor::device(1));
        let sealer = kernel(device).run(|| open().expect("the device is there").sealer.is_some());
        assert!(!sealer);
    }

    #[test]
    fn another_device_s_evidence_is_refused() {
        let evidence = attest(kernel(FakeKeystone::new(KeystoneVendor::device(2))), 7).expect("it attests");
        let refused = verify(&KeystoneVendor::device(1), evidence, 7);
        assert!(
            matches!(refused, Err(VerifyError::KeyNotEnrolled { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_security_monitor_whose_key_anybody_can_derive_counts_as_debug() {
        let vendor = KeystoneVendor::with_weak_monitor(1);
        let evidence = attest(kernel(FakeKeystone::new(vendor)), 7).expect("it attests");
        let claims = verify(&KeystoneVendor::device(1), evidence, 7).expect("its signatures are good");
        assert!(claims.debug);
        assert_eq!(claims.attributes["sm_key"], "recoverable from two bytes");
        assert_eq!(claims.assurance, Assurance::Simulated);
    }

    #[test]
    fn a_report_for_other_data_is_not_passed_on() {
        for (fault, signed) in [(Fault::AnothersReportData, [0xa5; 64]), (Fault::Stale, [0; 64])] {
            match faulty(fault) {
                AttestError::WrongReportData {
                    interface,
                    expected,
                    found,
                } => {
                    assert_eq!(interface, DEVICE);
                    assert_eq!(expected, hex(report_data(7).as_bytes()));
                    assert_eq!(found, hex(&signed));
                }
                error => panic!("{fault:?}: {error}"),
            }
        }
    }

    #[test]
    fn what_is_no_report_is_named() {
        for (fault, named) in [
            (Fault::ShortRead, "its enclave makes call 2 with 1351 bytes"),
            (Fault::UnknownCall, "its enclave makes call 11 with 0 bytes"),
            (Fault::TwoReports, "a second report"),
            (Fault::Ends(0), "ended without a report"),
            (Fault::DataLength(1025), "said to have 1025 bytes"),
            (
                Fault::DataLength(u64::MAX),
                "said to have 18446744073709551615 bytes",
            ),
            (
                Fault::Outside,
                "its argument of 1 bytes at 8192 is not between the call and the end of the shared memory (8192)",
            ),
            (Fault::TooSmall, "it made an enclave of 524288 bytes"),
        ] {
            match faulty(fault) {
                AttestError::Malformed { interface, what } => {
                    assert_eq!(interface, DEVICE);
                    assert!(what.contains(named), "{fault:?}: {what}");
                }
                error => panic!("{fault:?}: {error}"),
            }
        }
    }

    #[test]
    fn refusals_have_words() {
        for (fault, interface, words) in [
            (
                Fault::Monitor(100_013),
                "the security monitor behind /dev/keystone_enclave",
                "no free enclave; others run (100013)",
            ),
            (
                Fault::Monitor(42),
                "the security monitor behind /dev/keystone_enclave",
                "an error that has no name here (42)",
            ),
            (
                Fault::Interrupted,
                DEVICE,
                "its enclave stopped 100000 times and did not end",
            ),
        ] {
            match faulty(fault) {
                AttestError::Refused { interface: who, what } => {
                    assert_eq!((who.as_str(), what.as_str()), (interface, words));
                }
                error => panic!("{fault:?}: {error}"),
            }
        }
    }

    #[test]
    fn an_application_that_fails_says_where() {
        for (value, words) in [
            (1, "the enclave ended with 1: it did not get the report data"),
            (
                2,
                "the enclave ended with 2: the security monitor did not attest it",
            ),
            (3, "the enclave ended with 3: it could not hand out its report"),
        ] {
            match faulty(Fault::Ends(value)) {
                AttestError::Vendor { what } => assert_eq!(what, words),
                error => panic!("{value}: {error}"),
            }
        }
    }

    #[test]
    fn a_driver_that_makes_no_enclave_is_named() {
        match faulty(Fault::Kernel(Errno::NOMEM)) {
            AttestError::Io {
                action,
                interface,
                source,
            } => {
                assert_eq!((action, interface.as_str()), ("make an enclave with", DEVICE));
                assert_eq!(source.raw_os_error(), Some(Errno::NOMEM.raw_os_error()));
            }
            error => panic!("{error}"),
        }
    }

    /// The deadline is tested where it is made. Here: who waits is a thread of its own, and nothing is made up.
    #[test]
    fn an_enclave_that_never_ends_gives_nothing() {
        let device = FakeKeystone::new(KeystoneVendor::device(1)).with_fault(Fault::Never);
        let alive = device.alive();
        let (waiting, result) = std::sync::mpsc::channel();
        kernel(device).run(move || {
            std::thread::spawn(move || {
                let result = open().and_then(|platform| platform.attester.attest(&report_data(7)));
                waiting.send(result).expect("the test waits");
            });
            // The enclave is there from its making until it runs, which never ends.
            while alive.count() == 0 {
                std::thread::yield_now();
            }
        });
        match result.recv().expect("the call ended with the kernel") {
            Err(AttestError::Io { interface, .. }) => assert_eq!(interface, DEVICE),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let nothing = FakeKernel::new().absent(DEVICE);
        let no_driver = nothing.run(|| open().err().expect("there is no device"));
        let AttestError::Missing { interface, hint } = no_driver else {
            panic!("{no_driver}")
        };
        assert_eq!(interface, DEVICE);
        assert!(hint.contains("insmod keystone-driver.ko"), "{hint}");

        let device = FakeKeystone::new(KeystoneVendor::device(1));
        let no_images = FakeKernel::new().device(DEVICE, device).absent(DIRECTORY);
        let no_images = no_images.run(|| open().err().expect("there are no images"));
        let AttestError::Missing { interface, hint } = no_images else {
            panic!("{no_images}")
        };
        assert_eq!(interface, format!("{DIRECTORY}/loader.bin"));
        assert!(hint.contains("docs/tee/keystone.md"), "{hint}");
    }

    #[test]
    fn an_empty_image_is_none() {
        let device = FakeKeystone::new(KeystoneVendor::device(1));
        let emptied = kernel(device).file(&format!("{DIRECTORY}/eyrie-rt"), Vec::new());
        match emptied.run(|| open().err().expect("the runtime is empty")) {
            AttestError::Malformed { interface, what } => {
                assert_eq!(interface, format!("{DIRECTORY}/eyrie-rt"));
                assert_eq!(what, "an image has 1 to 16777216 bytes");
            }
            error => panic!("{error}"),
        }
    }

    #[test]
    fn a_quote_provider_is_refused() {
        let options = PlatformOptions {
            quote_provider: Some("other".to_owned()),
            ..PlatformOptions::default()
        };
        match Platform::open(TeeKind::Keystone, &options).err() {
            Some(AttestError::Unsupported { what }) => assert!(what.contains("`other`"), "{what}"),
            other => panic!("{other:?}"),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
