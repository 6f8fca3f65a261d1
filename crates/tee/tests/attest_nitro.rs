//! Nitro: a fake security module, whose AWS stands in for the real one, signs documents; and what becomes of everything
//! that can go wrong on the way.

#![cfg(all(feature = "attest", feature = "verify"))]

#[cfg(test)]
mod nitro {
    use std::collections::BTreeMap;
    use std::io::ErrorKind;

    use nautilus_core::{
        AttestError, Binding, BootId, BoundUserData, Challenge, Claims, Digest32, Endorsements, EventLogHead,
        Evidence, Measurement, NodeId, Policy, PublicKey, Purpose, RawEvidence, SignedMessage as _, TeeKind,
        TrustAnchors, Verified, VerifyError,
    };
    use nautilus_tee::{Platform, PlatformOptions};
    use nautilus_testkit::FakeKernel;
    use nautilus_testkit::device::nsm::{Fault, Module, PATH};
    use nautilus_testkit::vendor::aws::{Aws, NOW};

    fn user_data(seed: u8) -> BoundUserData {
        BoundUserData {
            purpose: Purpose::Boot,
            node: NodeId([seed; 32]),
            tee: TeeKind::Nitro,
            boot: BootId([2; 16]),
            tee_key: PublicKey([3; 32]),
            channel_key: None,
            event_log: EventLogHead::EMPTY,
            session: None,
        }
    }

    fn challenge(seed: u8) -> Challenge {
        Challenge::from_digest(Digest32([seed; 32]))
    }

    fn report_data(seed: u8) -> String {
        hex::encode(challenge(seed).bind(&user_data(seed)).as_bytes())
    }

    /// Opens the module and has it attest for each seed in turn.
    fn attest(module: Module, seeds: &[u8]) -> Result<Vec<RawEvidence>, AttestError> {
        FakeKernel::new().device(PATH, module).run(|| {
            let platform = Platform::open(TeeKind::Nitro, &PlatformOptions::default())?;
            assert!(platform.sealer.is_none());
            seeds
                .iter()
                .map(|seed| {
                    platform
                        .attester
                        .attest(&challenge(*seed).bind(&user_data(*seed)))
                })
                .collect()
        })
    }

    fn faulty(fault: Fault, seeds: &[u8]) -> Result<Vec<RawEvidence>, AttestError> {
        attest(Module::with_fault(Aws::genuine(), fault), seeds)
    }

    /// What a relying party says whose root is this one.
    fn verify(root_der: Vec<u8>, raw: &RawEvidence, seed: u8) -> Result<Verified<Claims>, VerifyError> {
        let stand_in = nautilus_tee::stand_in(TeeKind::Nitro, root_der).unwrap();
        let set = nautilus_tee::production(&TrustAnchors::default())
            .unwrap()
            .dangerous_with_stand_in(stand_in)
            .unwrap();
        assert_eq!(set.recognise(&raw.bytes), Some(TeeKind::Nitro));
        let evidence = Evidence {
            tee: TeeKind::Nitro,
            bytes: raw.bytes.clone(),
            user_data: Some(user_data(seed).to_bytes()),
            event_log: raw.event_log.clone(),
        };
        set.verify(
            &evidence,
            Binding::Challenge(challenge(seed)),
            &Endorsements::default(),
            NOW,
        )
    }

    /// Whether a policy that wants no debugger finds none.
    fn without_debugger(claims: Verified<Claims>) -> bool {
        let policy = Policy::development(Measurement(vec![1; 48]), BTreeMap::new());
        let appraisal = policy.appraise(claims, NOW);
        let finding = appraisal
            .findings()
            .iter()
            .find(|finding| finding.rule == "debug");
        finding.unwrap().passed
    }

    #[track_caller]
    fn wrong_report_data(result: Result<Vec<RawEvidence>, AttestError>, seed: u8, carries: &str) {
        match result {
            Err(AttestError::WrongReportData {
                interface,
                expected,
                found,
            }) => {
                assert_eq!((interface.as_str(), expected), (PATH, report_data(seed)));
                assert_eq!(found, carries);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_module_signs_is_what_is_verified() {
        let aws = Aws::genuine();
        let root = aws.root_der().to_vec();
        let evidence = attest(Module::new(aws), &[0, 1, 2]).unwrap();
        for (seed, raw) in (0..).zip(&evidence) {
            let claims = verify(root.clone(), raw, seed).unwrap();
            assert_eq!(hex::encode(&claims.report_data.0), report_data(seed));
            assert_eq!(claims.measurements["pcr0"], Measurement(vec![1; 48]));
            assert!(!claims.attributes.contains_key("public_key"));
            assert!(!claims.debug);
            assert!(without_debugger(claims));
        }
        assert!(matches!(
            verify(root, &evidence[0], 1),
            Err(VerifyError::ChallengeMismatch { .. })
        ));
        let another = verify(Aws::genuine().root_der().to_vec(), &evidence[0], 0);
        assert!(
            matches!(another, Err(VerifyError::Untrusted { .. })),
            "{another:?}"
        );
    }

    #[test]
    fn an_enclave_in_debug_mode_is_rejected() {
        let aws = Aws::genuine();
        let root = aws.root_der().to_vec();
        let evidence = attest(Module::with_fault(aws, Fault::Debug), &[0]).unwrap();
        let claims = verify(root, &evidence[0], 0).unwrap();
        assert!(claims.debug);
        assert!(!without_debugger(claims));
    }

    #[test]
    fn a_document_for_something_else_is_refused_by_name() {
        wrong_report_data(faulty(Fault::OtherReportData, &[0]), 0, &hex::encode([0xbb; 64]));
        wrong_report_data(faulty(Fault::Stale, &[0, 1]), 1, &report_data(0));
    }

    #[test]
    fn answers_that_are_none_are_refused_by_name() {
        match faulty(Fault::ShortRead, &[0]) {
            Err(AttestError::Malformed { interface, what }) => {
                assert_eq!(interface, PATH);
                assert!(what.starts_with("`document` is cut short"), "{what}");
            }
            other => panic!("{other:?}"),
        }
        match faulty(Fault::Refusal, &[0]) {
            Err(AttestError::Refused { interface, what }) => {
                assert_eq!(interface, PATH);
                assert_eq!(what, "the module answered `InvalidOperation`");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_driver_that_fails_is_named() {
        for (fault, expected) in [
            (Fault::Error, rustix::io::Errno::TIMEDOUT),
            (Fault::TooLong, rustix::io::Errno::PROTO),
        ] {
            match faulty(fault, &[0]) {
                Err(AttestError::Io {
                    action,
                    interface,
                    source,
                }) => {
                    assert_eq!((action, interface.as_str()), ("ask", PATH));
                    assert_eq!(source.raw_os_error(), Some(expected.raw_os_error()));
                }
                other => panic!("{fault:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_module_that_never_answers_is_named() {
        match faulty(Fault::Never, &[0]) {
            Err(AttestError::NoAnswer { interface, after }) => {
                assert_eq!(interface, "nitro");
                assert!(!after.is_zero());
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn where_there_is_no_module_it_says_what_to_do() {
        let opened = FakeKernel::new()
            .absent(PATH)
            .run(|| Platform::open(TeeKind::Nitro, &PlatformOptions::default()).map(drop));
        match opened {
            Err(AttestError::Missing { interface, hint }) => {
                assert_eq!(interface, PATH);
                assert!(hint.contains("run inside a Nitro enclave"), "{hint}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_module_that_may_not_be_opened_is_named() {
        struct Closed;
        impl nautilus_testkit::kernel::FakeDevice for Closed {
            fn open(&mut self) -> Result<(), nautilus_testkit::kernel::Errno> {
                Err(nautilus_testkit::kernel::Errno::ACCESS)
            }

            fn ioctl(
                &mut self,
                _: &mut nautilus_testkit::kernel::Caller<'_>,
                _: u32,
                _: u64,
            ) -> nautilus_testkit::kernel::Answer {
                nautilus_testkit::kernel::Answer::Value(0)
            }
        }
        let opened = FakeKernel::new()
            .device(PATH, Closed)
            .run(|| Platform::open(TeeKind::Nitro, &PlatformOptions::default()).map(drop));
        match opened {
            Err(AttestError::Io {
                action,
                interface,
                source,
            }) => {
                assert_eq!((action, interface.as_str()), ("open", PATH));
                assert_eq!(source.kind(), ErrorKind::PermissionDenied);
            }
            other => panic!("{other:?}"),
        }
    }
}
