//! SGX: an enclave under Gramine has quotes made, by Gramine and by AESM, of a fake platform whose vendor's root stands in
//! for Intel's; and what becomes of everything that can go wrong on the way.

#![cfg(all(feature = "attest", feature = "verify"))]

#[cfg(test)]
mod sgx {
    use std::collections::BTreeMap;
    use std::io::ErrorKind;
    use std::path::PathBuf;

    use nautilus_core::{
        AppraisalVerdict, AttestError, Binding, BootId, BoundUserData, Challenge, Claims, Digest32,
        Endorsements, EventLogHead, Evidence, Measurement, NodeId, Policy, Protection, PublicKey, Purpose,
        RawEvidence, SealError, SignedMessage as _, TeeKind, TrustAnchors, UnixMillis, Verified, VerifyError,
    };
    use nautilus_tee::simulated::Vendor;
    use nautilus_tee::{Platform, PlatformOptions};
    use nautilus_testkit::FakeKernel;
    use nautilus_testkit::device::aesm::{self, Aesm};
    use nautilus_testkit::device::gramine::{self, GramineFiles};
    use nautilus_testkit::vendor::intel::{self, Enclave};
    use tempfile::TempDir;

    const NOW: UnixMillis = UnixMillis::from_secs(1_790_000_000);
    const ENCLAVE: Enclave = Enclave {
        mrenclave: [0xe0; 32],
        debug: false,
    };
    const QUOTE: &str = "/dev/attestation/quote";

    /// A vendor with one platform.
    struct Machine {
        _directory: TempDir,
        vendor: Vendor,
        platform: intel::Platform,
    }

    impl Machine {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let at: PathBuf = directory.path().join("simulated");
            let vendor = Vendor::open_or_create(&at, NOW).unwrap();
            Self {
                platform: intel::Platform::of(&at),
                _directory: directory,
                vendor,
            }
        }

        fn files(&self) -> GramineFiles {
            GramineFiles::new(self.platform.clone(), ENCLAVE)
        }

        fn aesm(&self, fault: Option<aesm::Fault>) -> Aesm {
            Aesm::start(self.platform.clone(), fault)
        }

        /// What a relying party says whose root is this vendor's.
        fn verify(&self, raw: &RawEvidence, seed: u8) -> Result<Verified<Claims>, VerifyError> {
            let stand_in = nautilus_tee::stand_in(TeeKind::Sgx, self.vendor.root_der().to_vec()).unwrap();
            let set = nautilus_tee::production(&TrustAnchors::default())
                .unwrap()
                .dangerous_with_stand_in(stand_in)
                .unwrap();
            assert_eq!(set.recognise(&raw.bytes), Some(TeeKind::Sgx));
            let evidence = Evidence {
                tee: TeeKind::Sgx,
                bytes: raw.bytes.clone(),
                user_data: Some(user_data(seed).to_bytes()),
                event_log: raw.event_log.clone(),
            };
            let endorsements = Endorsements(vec![self.vendor.endorsement()]);
            set.verify(&evidence, Binding::Challenge(challenge(seed)), &endorsements, NOW)
        }
    }

    fn user_data(seed: u8) -> BoundUserData {
        BoundUserData {
            purpose: Purpose::Boot,
            node: NodeId([seed; 32]),
            tee: TeeKind::Sgx,
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

    fn policy() -> Policy {
        Policy::development(Measurement(ENCLAVE.mrenclave.to_vec()), BTreeMap::new())
    }

    fn provided_by(name: &str) -> PlatformOptions {
        PlatformOptions {
            quote_provider: Some(name.to_owned()),
            ..PlatformOptions::default()
        }
    }

    /// Opens SGX under these files and has it attest for each seed in turn.
    fn attest(
        kernel: FakeKernel,
        options: &PlatformOptions,
        seeds: &[u8],
    ) -> Result<Vec<RawEvidence>, AttestError> {
        kernel.run(|| {
            let platform = Platform::open(TeeKind::Sgx, options)?;
            assert_eq!(platform.attester.descriptor().tee, TeeKind::Sgx);
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

    fn under(files: GramineFiles) -> FakeKernel {
        FakeKernel::new().tree(gramine::PATH, files)
    }

    fn by_gramine(files: GramineFiles, seeds: &[u8]) -> Result<Vec<RawEvidence>, AttestError> {
        attest(under(files), &PlatformOptions::default(), seeds)
    }

    fn by_aesm(
        machine: &Machine,
        files: GramineFiles,
        fault: Option<aesm::Fault>,
        seeds: &[u8],
    ) -> Result<Vec<RawEvidence>, AttestError> {
        let service = machine.aesm(fault);
        let kernel = under(files).socket(aesm::PATH, service.socket());
        attest(kernel, &provided_by("aesm"), seeds)
    }

    #[track_caller]
    fn accepted(machine: &Machine, evidence: &[RawEvidence]) {
        for (seed, raw) in (0..).zip(evidence) {
            let claims = machine.verify(raw, seed).unwrap();
            assert!(!claims.debug);
            assert_eq!(
                claims.measurements["mrenclave"],
                Measurement(ENCLAVE.mrenclave.to_vec())
            );
            assert!(
                claims
                    .unsigned
                    .iter()
                    .all(|fact| fact.what != "trailing zero padding")
            );
            let appraisal = policy().appraise(claims, NOW);
            assert_eq!(
                appraisal.verdict(),
                AppraisalVerdict::Accepted,
                "{:?}",
                appraisal.findings()
            );
        }
    }

    /// The debug flag is in the claims, and a policy rejects it for nothing else.
    #[track_caller]
    fn rejected_as_debug(machine: &Machine, raw: &RawEvidence) {
        let claims = machine.verify(raw, 0).unwrap();
        assert!(claims.debug);
        let appraisal = policy().appraise(claims, NOW);
        assert_eq!(appraisal.verdict(), AppraisalVerdict::Rejected);
        let failed: Vec<&str> = appraisal
            .findings()
            .iter()
            .filter(|finding| !finding.passed)
            .map(|finding| finding.rule.as_str())
            .collect();
        assert_eq!(failed, ["debug"]);
    }

    #[track_caller]
    fn wrong_report_data(result: Result<Vec<RawEvidence>, AttestError>, at: &str, seed: u8, carries: &str) {
        match result {
            Err(AttestError::WrongReportData {
                interface,
                expected,
                found,
            }) => {
                assert_eq!(interface, at);
                assert_eq!(
                    expected,
                    hex::encode(challenge(seed).bind(&user_data(seed)).as_bytes())
                );
                assert_eq!(found, carries);
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn malformed(result: Result<Vec<RawEvidence>, AttestError>, at: &str, expected: &str) {
        match result {
            Err(AttestError::Malformed { interface, what }) => {
                assert_eq!(interface, at);
                assert!(what.contains(expected), "{what}, not {expected}");
            }
            other => panic!("{other:?}, not {expected}"),
        }
    }

    #[track_caller]
    fn missing(result: Result<Vec<RawEvidence>, AttestError>, at: &str, expected: &str) {
        match result {
            Err(AttestError::Missing { interface, hint }) => {
                assert_eq!(interface, at);
                assert!(hint.contains(expected), "{hint}, not {expected}");
            }
            other => panic!("{other:?}, not {expected}"),
        }
    }

    #[track_caller]
    fn no_answer(result: Result<Vec<RawEvidence>, AttestError>) {
        match result {
            Err(AttestError::NoAnswer { interface, after }) => {
                assert_eq!(interface, "sgx");
                assert!(!after.is_zero());
            }
            other => panic!("{other:?}"),
        }
    }

    fn earlier(seed: u8) -> String {
        hex::encode(challenge(seed).bind(&user_data(seed)).as_bytes())
    }

    #[test]
    fn what_gramine_quotes_is_what_is_verified() {
        let machine = Machine::new();
        let evidence = by_gramine(machine.files(), &[0, 1, 2]).unwrap();
        accepted(&machine, &evidence);
        let named = attest(under(machine.files()), &provided_by("gramine"), &[0]).unwrap();
        accepted(&machine, &named);
    }

    #[test]
    fn what_aesm_quotes_is_what_is_verified() {
        let machine = Machine::new();
        let evidence = by_aesm(&machine, machine.files(), None, &[0, 1, 2]).unwrap();
        accepted(&machine, &evidence);
        // Gramine was told to have nothing to do with it, and a port leads to the service.
        let service = machine.aesm(None);
        let provider = format!("aesm:{}", service.port());
        let kernel = under(machine.files().with_type("none"));
        accepted(
            &machine,
            &attest(kernel, &provided_by(&provider), &[0, 1]).unwrap(),
        );
    }

    #[test]
    fn a_quote_holds_for_its_challenge_and_under_its_root_alone() {
        let machine = Machine::new();
        let evidence = by_gramine(machine.files(), &[0]).unwrap();
        assert!(matches!(
            machine.verify(&evidence[0], 1),
            Err(VerifyError::ChallengeMismatch { .. })
        ));
        let other = Machine::new();
        match other.verify(&evidence[0], 0) {
            Err(VerifyError::Untrusted { what }) => assert!(what.contains("UnknownIssuer"), "{what}"),
            elsewhere => panic!("{elsewhere:?}"),
        }
    }

    #[test]
    fn gramine_that_misbehaves_is_refused_by_name() {
        let machine = Machine::new();
        let with = |fault| machine.files().with_fault(fault);
        wrong_report_data(
            by_gramine(with(gramine::Fault::OtherReportData), &[0]),
            QUOTE,
            0,
            &hex::encode([0xbb; 64]),
        );
        wrong_report_data(
            by_gramine(with(gramine::Fault::Stale), &[0]),
            QUOTE,
            0,
            &hex::encode([0; 64]),
        );
        malformed(
            by_gramine(with(gramine::Fault::ShortRead), &[0]),
            QUOTE,
            "signature data needs",
        );
        match by_gramine(with(gramine::Fault::Error), &[0]) {
            Err(AttestError::Io {
                action,
                interface,
                source,
            }) => {
                assert_eq!((action, interface.as_str()), ("read", QUOTE));
                assert_eq!(source.kind(), ErrorKind::PermissionDenied);
            }
            other => panic!("{other:?}"),
        }
        rejected_as_debug(
            &machine,
            &by_gramine(with(gramine::Fault::Debug), &[0]).unwrap()[0],
        );
    }

    #[test]
    fn gramine_that_never_answers_is_named() {
        let machine = Machine::new();
        no_answer(by_gramine(
            machine.files().with_fault(gramine::Fault::Never),
            &[0],
        ));
    }

    #[test]
    fn a_report_that_is_wrong_goes_to_no_service() {
        let machine = Machine::new();
        let by_aesm = |fault| by_aesm(&machine, machine.files().with_fault(fault), None, &[0]);
        const REPORT: &str = "/dev/attestation/report";
        wrong_report_data(
            by_aesm(gramine::Fault::OtherReportData),
            REPORT,
            0,
            &hex::encode([0xbb; 64]),
        );
        wrong_report_data(by_aesm(gramine::Fault::Stale), REPORT, 0, &hex::encode([0; 64]));
        malformed(by_aesm(gramine::Fault::ShortRead), REPORT, "216 bytes, not 432");
        rejected_as_debug(&machine, &by_aesm(gramine::Fault::Debug).unwrap()[0]);
    }

    #[test]
    fn a_service_that_misbehaves_is_refused_by_name() {
        let machine = Machine::new();
        let ask = |fault, seeds: &[u8]| by_aesm(&machine, machine.files(), Some(fault), seeds);
        wrong_report_data(
            ask(aesm::Fault::OtherReportData, &[0]),
            aesm::PATH,
            0,
            &hex::encode([0xbb; 64]),
        );
        wrong_report_data(ask(aesm::Fault::Stale, &[0, 1]), aesm::PATH, 1, &earlier(0));
        malformed(ask(aesm::Fault::ShortRead, &[0]), aesm::PATH, "it ends within");
        malformed(
            ask(aesm::Fault::Endless, &[0]),
            aesm::PATH,
            "4294967295 bytes, more than",
        );
        malformed(
            ask(aesm::Fault::OtherAnswer, &[0]),
            aesm::PATH,
            "field 2 where the answer to sgx_get_supported_att_key_id_num belongs",
        );
        missing(ask(aesm::Fault::OtherKeys, &[0]), aesm::PATH, "ECDSA on P-256");
        for (fault, expected) in [
            (
                aesm::Fault::Error,
                "error 30 (AESM_SERVICE_UNAVAILABLE) to sgx_get_supported_att_key_id_num",
            ),
            (
                aesm::Fault::Unsupported,
                "`unsupported request` to sgx_get_supported_att_key_id_num",
            ),
        ] {
            match ask(fault, &[0]) {
                Err(AttestError::Refused { interface, what }) => {
                    assert_eq!((interface.as_str(), what.as_str()), (aesm::PATH, expected));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_service_that_never_answers_is_named() {
        let machine = Machine::new();
        no_answer(by_aesm(&machine, machine.files(), Some(aesm::Fault::Never), &[0]));
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        const TYPE: &str = "/dev/attestation/attestation_type";
        let machine = Machine::new();
        let options = PlatformOptions::default();
        missing(
            attest(FakeKernel::new().absent(gramine::PATH), &options, &[]),
            TYPE,
            "start it with `gramine-sgx`",
        );
        missing(
            by_gramine(machine.files().with_type("none"), &[]),
            QUOTE,
            "sgx.remote_attestation = \"dcap\"",
        );
        malformed(
            by_gramine(machine.files().with_type("tdx"), &[]),
            TYPE,
            "it is `tdx`",
        );
        for provider in [PlatformOptions::default(), provided_by("aesm")] {
            match attest(under(machine.files().with_type("epid")), &provider, &[]) {
                Err(AttestError::Unsupported { what }) => assert!(what.contains("`epid`"), "{what}"),
                other => panic!("{other:?}"),
            }
        }
        missing(
            attest(
                under(machine.files()).absent("/var/run/aesmd"),
                &provided_by("aesm"),
                &[0],
            ),
            aesm::PATH,
            "start Intel's AESM service",
        );
    }

    #[test]
    fn sealed_state_opens_for_the_same_enclave_on_the_same_cpu_alone() {
        let (machine, other) = (Machine::new(), Machine::new());
        let another =
            |mrenclave, debug| GramineFiles::new(machine.platform.clone(), Enclave { mrenclave, debug });
        let sealed = with_sealer(machine.files(), |sealer| sealer.seal(b"keys").unwrap());
        let open = |files| {
            with_sealer(files, |sealer| {
                sealer.unseal(&sealed).map(|opened| opened.to_vec())
            })
        };
        assert_eq!(open(machine.files()).unwrap(), b"keys");
        // The key does not depend on how quotes are made.
        assert_eq!(
            open(machine.files().with_fault(gramine::Fault::Error)).unwrap(),
            b"keys"
        );
        for (what, files) in [
            ("another enclave", another([0xe1; 32], false)),
            ("the same, debugged", another(ENCLAVE.mrenclave, true)),
            ("another CPU", other.files()),
        ] {
            let opened = open(files);
            assert!(
                matches!(opened, Err(SealError::NotOurs { .. })),
                "{what}: {opened:?}"
            );
        }
    }

    #[test]
    fn without_a_seal_key_nothing_is_opened() {
        let files = Machine::new().files().with_fault(gramine::Fault::NoSealKey);
        malformed(
            by_gramine(files, &[0]),
            "/dev/attestation/keys/_sgx_mrenclave",
            "0 bytes, not 16",
        );
    }

    #[test]
    fn the_sealer_says_what_it_is_bound_to_and_has_no_counter() {
        with_sealer(Machine::new().files(), |sealer| {
            let bound_to = "CPU and MRENCLAVE".to_owned();
            assert_eq!(sealer.protection(), Protection::Tee { bound_to });
            assert!(sealer.counter().is_none());
        });
    }

    fn with_sealer<T: Send>(
        files: GramineFiles,
        use_it: impl FnOnce(&dyn nautilus_core::Sealer) -> T + Send,
    ) -> T {
        under(files).run(|| {
            let platform = Platform::open(TeeKind::Sgx, &PlatformOptions::default()).unwrap();
            use_it(platform.sealer.as_deref().unwrap())
        })
    }
}
