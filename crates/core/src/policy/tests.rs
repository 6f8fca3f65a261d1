use super::*;
use crate::{AppraisalVerdict, DeviceIdentity, EvidenceId, Finding, ReferenceState, Revocation, Tcb};

const POLICY: &str = r#"
name: test
assurance: { at_least: hardware-enclave }
debug: { one_of: [false] }
tcb_status: { one_of: [UpToDate, SWHardeningNeeded] }
advisories: { one_of: [INTEL-SA-00615] }
tcb_evaluation: { at_least: 17 }
measurements:
  mrenclave: { one_of: ["aa", "bb"] }
  mrsigner: { ignore: { because: "mrenclave is pinned" } }
max_age_seconds: 3600
"#;

fn claims() -> Claims {
    Claims {
        tee: TeeKind::Sgx,
        assurance: Assurance::HardwareEnclave,
        evidence_id: EvidenceId([1; 32]),
        report_data: Measurement(vec![0; 64]),
        binding: "report data".to_owned(),
        user_data: None,
        device: DeviceIdentity {
            scheme: "fake",
            id: String::new(),
            family: None,
        },
        debug: false,
        tcb: Tcb {
            status: Some(TcbStatus::UpToDate),
            date: None,
            advisories: vec!["INTEL-SA-00615".to_owned()],
            evaluation: Some(17),
            shortfalls: Vec::new(),
            other_evaluations: Vec::new(),
        },
        measurements: BTreeMap::from([("mrenclave".to_owned(), Measurement(vec![0xbb]))]),
        attributes: BTreeMap::new(),
        unsigned: Vec::new(),
        revocation: Revocation::Checked { until: None },
        made_at: None,
        event_log: Vec::new(),
        endorsed_until: None,
    }
}

fn appraise(policy: &str, claims: Claims) -> Appraisal {
    Policy::from_yaml(policy)
        .unwrap()
        .appraise(Verified::seal(claims), UnixMillis(1000))
}

/// The rules that fail when the claims are changed so.
fn failed(change: impl FnOnce(&mut Claims)) -> Vec<String> {
    let mut changed = claims();
    change(&mut changed);
    let appraisal = appraise(POLICY, changed);
    let failed: Vec<_> = appraisal
        .findings()
        .iter()
        .filter(|f| !f.passed)
        .map(|f| f.rule.clone())
        .collect();
    assert_eq!(
        appraisal.verdict() == AppraisalVerdict::Rejected,
        !failed.is_empty()
    );
    failed
}

#[test]
fn claims_that_fit_are_accepted_and_every_rule_shows() {
    let appraisal = appraise(POLICY, claims());
    assert_eq!(appraisal.verdict(), AppraisalVerdict::Accepted);
    let rules: Vec<_> = appraisal
        .findings()
        .iter()
        .map(|finding| finding.rule.as_str())
        .collect();
    let expected = [
        "tee",
        "assurance",
        "debug",
        "tcb_status",
        "advisories",
        "tcb_evaluation",
        "revocation",
        "evidence_age",
        "binding",
        "measurements.mrenclave",
        "measurements.mrsigner",
        "code",
    ];
    assert_eq!(rules, expected);
    assert_eq!(appraisal.expires_at(), UnixMillis(3_601_000));
}

#[test]
fn a_verdict_lasts_no_longer_than_the_endorsements() {
    let endorsed_until = |until| {
        let mut changed = claims();
        changed.endorsed_until = Some(UnixMillis(until));
        appraise(POLICY, changed).expires_at()
    };
    assert_eq!(endorsed_until(5000), UnixMillis(5000));
    assert_eq!(endorsed_until(u64::MAX), UnixMillis(3_601_000));
}

#[test]
fn each_rule_rejects_alone() {
    assert_eq!(failed(|c| c.assurance = Assurance::MeasuredBoot), ["assurance"]);
    assert_eq!(failed(|c| c.debug = true), ["debug"]);
    assert_eq!(
        failed(|c| c.tcb.status = Some(TcbStatus::OutOfDate)),
        ["tcb_status"]
    );
    assert_eq!(
        failed(|c| c.tcb.advisories.push("INTEL-SA-00001".to_owned())),
        ["advisories"]
    );
    assert_eq!(failed(|c| c.tcb.evaluation = Some(16)), ["tcb_evaluation"]);
    assert_eq!(failed(|c| c.tcb.evaluation = None), ["tcb_evaluation"]);
    assert_eq!(
        failed(|c| c.binding = "unchecked: no challenge".to_owned()),
        ["binding"]
    );
    assert_eq!(failed(|c| c.measurements.clear()), ["measurements.mrenclave"]);
    let longer = Measurement(vec![0xbb, 0]);
    assert_eq!(
        failed(|c| drop(c.measurements.insert("mrenclave".to_owned(), longer))),
        ["measurements.mrenclave"]
    );
}

#[test]
fn what_is_left_unchecked_says_so_and_why() {
    let appraisal = appraise(POLICY, claims());
    let unchecked: Vec<_> = appraisal
        .findings()
        .iter()
        .filter(|finding| !finding.checked)
        .collect();
    let expected = [
        Finding::unchecked("tee", "the policy does not say which TEEs pass"),
        Finding::unchecked("evidence_age", "evidence of `sgx` does not say when it was made"),
        Finding::unchecked("measurements.mrsigner", "mrenclave is pinned"),
    ];
    assert_eq!(unchecked, expected.iter().collect::<Vec<_>>());
}

/// What a policy with these measurements and other rules finds of the code of a TEE, and its verdict on evidence
/// that satisfies each of its rules.
fn code(tee: TeeKind, measurements: &str, more: &str) -> (AppraisalVerdict, String) {
    let policy = POLICY
        .replace("  mrenclave: { one_of: [\"aa\", \"bb\"] }\n", measurements)
        .replace(
            "  mrsigner: { ignore: { because: \"mrenclave is pinned\" } }\n",
            "",
        )
        .replace("at_least: hardware-enclave", "at_least: simulated");
    let policy = policy.replace(
        "measurements:\n",
        "measurements:\n  other: { ignore: { because: a test } }\n",
    );
    let mut fitting = claims();
    fitting.tee = tee;
    for name in [
        "mrenclave",
        "mrsigner",
        "mrtd",
        "mrseam",
        "mrconfigid",
        "mrowner",
        "rtmr0",
        "measurement",
        "host_data",
        "enclave_hash",
        "sm_hash",
        "optee_ta_memory",
        "optee_tee_memory",
        "ta_header",
        "rim",
        "rem0",
        "sw_bl",
        "sw_prot",
    ] {
        fitting
            .measurements
            .insert(name.to_owned(), Measurement(vec![0xaa]));
    }
    for index in 0..24 {
        fitting.measurements.insert(format!("pcr{index}"), pcr_value());
    }
    for (name, value) in [("isvprodid", "7"), ("isvsvn", "10")] {
        fitting.attributes.insert(name.to_owned(), value.to_owned());
    }
    let appraisal = appraise(&format!("{policy}{more}"), fitting);
    let code = appraisal.findings().iter().find(|finding| finding.rule == "code");
    let failed: Vec<_> = appraisal.findings().iter().filter(|f| !f.passed).collect();
    assert!(failed.iter().all(|finding| finding.rule == "code"), "{failed:?}");
    (appraisal.verdict(), code.unwrap().detail.clone())
}

fn pcr_value() -> Measurement {
    Measurement(vec![0xaa; 32])
}

/// `pcr_policy` with these PCRs of the value that the evidence has.
fn pcr_policy(names: &[&str]) -> String {
    let rules: Vec<_> = names
        .iter()
        .map(|name| format!("{name}: \"{}\"", pcr_value()))
        .collect();
    format!("pcr_policy: {{ {} }}\n", rules.join(", "))
}

#[test]
fn a_policy_that_pins_no_code_accepts_nothing() {
    let product = "attributes: { isvprodid: { one_of: [\"7\"] } }\n";
    let version = "attributes: { isvsvn: { at_least: \"9\" } }\n";
    let ignored = "attributes: { isvprodid: { ignore: { because: any } }, isvsvn: { at_least: \"9\" } }\n";
    let every_product = "attributes: { isvprodid: { at_least: \"0\" }, isvsvn: { at_least: \"9\" } }\n";
    let both = "attributes: { isvprodid: { one_of: [\"7\"] }, isvsvn: { at_least: \"9\" } }\n";
    for (tee, measurements, more) in [
        (TeeKind::Sgx, "", ""),
        (TeeKind::Sgx, "  mrenclave: { ignore: { because: lazy } }\n", ""),
        (TeeKind::Tdx, "  mrseam: { one_of: [aa] }\n", ""),
        (TeeKind::Tdx, "  mrconfigid: { one_of: [aa] }\n", ""),
        (TeeKind::Tdx, "  mrowner: { one_of: [aa] }\n", ""),
        (TeeKind::Tdx, "  rtmr0: { one_of: [aa] }\n", ""),
        // The code of one TEE is another register than that of another.
        (TeeKind::Tdx, "  mrenclave: { one_of: [aa] }\n", ""),
        (TeeKind::Sgx, "  mrtd: { one_of: [aa] }\n", ""),
        (TeeKind::Sgx, "  mrsigner: { one_of: [aa] }\n", ""),
        (TeeKind::Sgx, "  mrsigner: { one_of: [aa] }\n", product),
        (TeeKind::Sgx, "  mrsigner: { one_of: [aa] }\n", version),
        (TeeKind::Sgx, "  mrsigner: { one_of: [aa] }\n", ignored),
        (TeeKind::Sgx, "  mrsigner: { one_of: [aa] }\n", every_product),
        (TeeKind::Sgx, "", both),
        (TeeKind::Sev, "  host_data: { one_of: [aa] }\n", ""),
        (TeeKind::Keystone, "  enclave_hash: { one_of: [aa] }\n", ""),
        (TeeKind::Keystone, "  sm_hash: { one_of: [aa] }\n", ""),
        (TeeKind::TrustZone, "  ta_header: { one_of: [aa] }\n", ""),
        (TeeKind::TrustZone, "  rem0: { one_of: [aa] }\n", ""),
        (TeeKind::TrustZone, "  sw_bl: { ignore: { because: lazy } }\n", ""),
        (TeeKind::Nitro, "", &pcr_policy(&["pcr8"])),
        (TeeKind::Nitro, "", &pcr_policy(&["pcr1"])),
        (TeeKind::Tpm, "", &pcr_policy(&["pcr0", "pcr7"])),
        (TeeKind::Sgx, "", &pcr_policy(&["pcr0", "pcr4"])),
    ] {
        let (verdict, detail) = code(tee, measurements, more);
        assert_eq!(verdict, AppraisalVerdict::Rejected, "{measurements}{more}");
        assert!(
            detail.starts_with(&format!("the policy pins no code of `{tee}`")),
            "{detail}"
        );
    }
    let sw = "  sw_bl: { one_of: [aa] }\n  sw_prot: { one_of: [aa] }\n";
    let one_sw = "  sw_bl: { one_of: [aa] }\n  sw_prot: { ignore: { because: a test } }\n";
    for (tee, measurements, more, by) in [
        (TeeKind::Sgx, "  mrenclave: { one_of: [aa] }\n", "", "mrenclave"),
        (
            TeeKind::Simulated,
            "  mrenclave: { one_of: [aa] }\n",
            "",
            "mrenclave",
        ),
        (TeeKind::Tdx, "  mrtd: { one_of: [aa] }\n", "", "mrtd"),
        (
            TeeKind::Sgx,
            "  mrsigner: { one_of: [aa] }\n",
            both,
            "mrsigner with isvprodid and isvsvn",
        ),
        (
            TeeKind::Sev,
            "  measurement: { one_of: [aa] }\n",
            "",
            "measurement",
        ),
        (
            TeeKind::Keystone,
            "  enclave_hash: { one_of: [aa] }\n  sm_hash: { one_of: [aa] }\n",
            "",
            "enclave_hash with sm_hash",
        ),
        (
            TeeKind::TrustZone,
            "  optee_ta_memory: { one_of: [aa] }\n",
            "",
            "optee_ta_memory",
        ),
        (
            TeeKind::TrustZone,
            "  optee_tee_memory: { one_of: [aa] }\n",
            "",
            "optee_tee_memory",
        ),
        (TeeKind::TrustZone, "  rim: { one_of: [aa] }\n", "", "rim"),
        (TeeKind::TrustZone, sw, "", "sw_bl, sw_prot"),
        (TeeKind::TrustZone, one_sw, "", "sw_bl"),
        (TeeKind::Nitro, "", &pcr_policy(&["pcr0"]), "pcr0"),
        (
            TeeKind::Nitro,
            &format!("  pcr0: {{ one_of: [\"{}\"] }}\n", pcr_value()),
            "",
            "pcr0",
        ),
        (
            TeeKind::Nitro,
            "",
            &pcr_policy(&["pcr1", "pcr2"]),
            "pcr1 with pcr2",
        ),
        (TeeKind::Tpm, "", &pcr_policy(&["pcr0", "pcr4"]), "pcr4"),
        (TeeKind::Tpm, "", &pcr_policy(&["pcr4", "pcr9"]), "pcr4"),
    ] {
        let accepted = (AppraisalVerdict::Accepted, format!("pinned by {by}"));
        assert_eq!(code(tee, measurements, more), accepted);
    }
}

#[test]
fn a_software_component_that_nobody_listed_is_code_that_nobody_asked_for() {
    let (verdict, detail) = code(TeeKind::TrustZone, "  sw_bl: { one_of: [aa] }\n", "");
    assert_eq!(verdict, AppraisalVerdict::Rejected);
    assert_eq!(
        detail,
        "the policy does not name the software components sw_prot of the evidence"
    );
}

#[test]
fn attributes_are_compared_as_text_or_as_numbers() {
    let failed = |rule: &str, value: Option<&str>| {
        let mut changed = claims();
        if let Some(value) = value {
            changed.attributes.insert("isvsvn".to_owned(), value.to_owned());
        }
        let appraisal = appraise(&format!("{POLICY}attributes: {{ isvsvn: {rule} }}\n"), changed);
        let failed = appraisal.findings().iter().filter(|finding| !finding.passed);
        failed.map(|finding| finding.rule.clone()).collect::<Vec<_>>()
    };
    let fails = ["attributes.isvsvn"];
    assert!(failed("{ at_least: 9 }", Some("9")).is_empty());
    assert!(failed("{ at_least: 9 }", Some("10")).is_empty());
    assert_eq!(failed("{ at_least: 9 }", Some("8")), fails);
    assert_eq!(failed("{ at_least: 9 }", Some("ten")), fails);
    assert_eq!(failed("{ at_least: 9 }", None), fails);
    assert!(failed("{ one_of: [\"9\", \"x\"] }", Some("x")).is_empty());
    assert_eq!(failed("{ one_of: [\"9\"] }", Some("09")), fails);
    assert_eq!(failed("{ one_of: [\"9\"] }", None), fails);
    assert!(failed("{ ignore: { because: a test } }", None).is_empty());
}

#[test]
fn allowed_advisories_are_named() {
    let policy = POLICY.replace("[INTEL-SA-00615]", "[INTEL-SA-00615, INTEL-SA-00657]");
    let mut changed = claims();
    changed.tcb.advisories.push("INTEL-SA-00657".to_owned());
    let appraisal = appraise(&policy, changed);
    let finding = appraisal.findings().iter().find(|f| f.rule == "advisories");
    let detail = "INTEL-SA-00615, INTEL-SA-00657 apply, all allowed";
    assert_eq!(finding, Some(&Finding::new("advisories", true, detail)));
}

#[test]
fn a_pcr_policy_asks_for_pcrs_that_were_signed() {
    let pcrs = format!("{POLICY}{}", pcr_policy(&["pcr0", "pcr7"]));
    let judged = |signed: &[(&str, Measurement)]| {
        let mut changed = claims();
        for (name, value) in signed {
            changed.measurements.insert((*name).to_owned(), value.clone());
        }
        let appraisal = appraise(&pcrs, changed);
        let failed = appraisal.findings().iter().filter(|finding| !finding.passed);
        failed
            .map(|finding| (finding.rule.clone(), finding.detail.clone()))
            .collect::<Vec<_>>()
    };
    let both = [("pcr0", pcr_value()), ("pcr7", pcr_value())];
    assert_eq!(judged(&both), []);
    let wanted = format!("wanted {}", pcr_value());
    let none = format!("evidence of `sgx` has no PCRs, {wanted}");
    assert_eq!(
        judged(&[]),
        [
            ("pcr_policy.pcr0".to_owned(), none.clone()),
            ("pcr_policy.pcr7".to_owned(), none)
        ]
    );
    // A quote over PCR 16 alone vouches for PCR 16 alone.
    let another = judged(&[("pcr0", pcr_value()), ("pcr16", pcr_value())]);
    let told = format!("not among the signed PCRs pcr0, pcr16, {wanted}");
    assert_eq!(another, [("pcr_policy.pcr7".to_owned(), told)]);
    let other_bank = judged(&[("pcr0", pcr_value()), ("pcr7", Measurement(vec![0xaa; 48]))]);
    let [(rule, detail)] = other_bank.as_slice() else {
        panic!("{other_bank:?}");
    };
    assert_eq!(rule, "pcr_policy.pcr7");
    assert!(
        detail.contains("of a bank of 384 bits") && detail.ends_with("of 256 bits"),
        "{detail}"
    );
}

/// Evidence of a TPM that signed PCR 4, 16 and 23.
fn tpm_claims() -> Claims {
    let mut changed = claims();
    changed.tee = TeeKind::Tpm;
    changed.assurance = Assurance::MeasuredBoot;
    changed.measurements = [("pcr4", 4), ("resettable_pcr16", 16), ("resettable_pcr23", 23)]
        .map(|(name, byte)| (name.to_owned(), Measurement(vec![byte; 32])))
        .into();
    changed
}

#[test]
fn a_resettable_pcr_counts_only_where_the_policy_says_why() {
    const WITHOUT_REGISTERS: &str = "
name: boot
tee: { one_of: [tpm] }
assurance: { at_least: measured-boot }
debug: { one_of: [false] }
tcb_status: { ignore: { because: none is published } }
advisories: { one_of: [INTEL-SA-00615] }
tcb_evaluation: { ignore: { because: none is published } }
max_age_seconds: 3600
";
    let value = |byte| Measurement(vec![byte; 32]);
    let of = |pcr16: u8, more: &str| {
        let pcrs = format!(
            "pcr_policy: {{ pcr4: \"{}\", pcr16: \"{}\" }}\n",
            value(4),
            value(pcr16)
        );
        format!("{WITHOUT_REGISTERS}{pcrs}{more}")
    };
    let because = "resettable_pcrs: { because: the agent extends it once }";
    let accepted = appraise(&of(16, because), tpm_claims());
    assert_eq!(
        accepted.verdict(),
        AppraisalVerdict::Accepted,
        "{:?}",
        accepted.findings()
    );
    let used = |appraisal: &Appraisal| {
        let mut values = appraisal.reference_values().iter();
        let pcr16 = values.find(|value| value.rule == "pcr_policy.pcr16");
        pcr16.unwrap().state
    };
    assert_eq!(used(&accepted), ReferenceState::Matched);

    let other = appraise(&of(17, because), tpm_claims());
    assert_eq!(other.verdict(), AppraisalVerdict::Rejected);
    assert_eq!(used(&other), ReferenceState::Compared);
    let told = Finding::new(
        "pcr_policy.pcr16",
        false,
        format!("{}, wanted {}", value(16), value(17)),
    );
    assert!(other.findings().contains(&told), "{:?}", other.findings());

    let mut unsigned = tpm_claims();
    unsigned.measurements.remove("resettable_pcr16");
    let absent = appraise(&of(16, because), unsigned);
    let told = format!("not among the signed PCRs pcr4, pcr23, wanted {}", value(16));
    let told = Finding::new("pcr_policy.pcr16", false, told);
    assert!(absent.findings().contains(&told), "{:?}", absent.findings());

    // By the name of a measurement there is none.
    let measured = format!(
        "{WITHOUT_REGISTERS}pcr_policy: {{ pcr4: \"{}\" }}\nmeasurements: {{ pcr16: {{ one_of: [\"{}\"] }} }}",
        value(4),
        value(16)
    );
    let measured = appraise(&measured, tpm_claims());
    let told = Finding::new(
        "measurements.pcr16",
        false,
        "evidence of `tpm` has no pcr16, wanted a value",
    );
    assert!(measured.findings().contains(&told), "{:?}", measured.findings());
    assert!(matches!(
        Policy::from_yaml(&of(16, "")),
        Err(PolicyError::Senseless { rule, .. }) if rule == "pcr_policy.pcr16"
    ));
}

#[test]
fn a_policy_made_of_a_quote_does_not_pin_what_any_program_can_reset() {
    let sealed = Verified::seal(tpm_claims());
    let text = pinned_policy("pinned", &sealed);
    for line in [
        format!("  # pcr16: \"{}\" # any program", Measurement(vec![16; 32])),
        format!("  # pcr23: \"{}\" # any program", Measurement(vec![23; 32])),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    let appraisal = Policy::from_yaml(&text)
        .unwrap()
        .appraise(sealed, UnixMillis(1000));
    assert_eq!(
        appraisal.verdict(),
        AppraisalVerdict::Accepted,
        "{:?}",
        appraisal.findings()
    );
}

#[test]
fn at_least_follows_the_order_of_each_claim() {
    let floor = POLICY.replace(
        "{ one_of: [UpToDate, SWHardeningNeeded] }",
        "{ at_least: ConfigurationNeeded }",
    );
    let verdict = |status| {
        let mut changed = claims();
        changed.tcb.status = Some(status);
        appraise(&floor, changed).verdict()
    };
    assert_eq!(verdict(TcbStatus::SWHardeningNeeded), AppraisalVerdict::Accepted);
    assert_eq!(
        verdict(TcbStatus::ConfigurationNeeded),
        AppraisalVerdict::Accepted
    );
    assert_eq!(verdict(TcbStatus::OutOfDate), AppraisalVerdict::Rejected);
    assert_eq!(verdict(TcbStatus::Revoked), AppraisalVerdict::Rejected);
}

#[test]
fn the_id_changes_with_every_rule_and_with_nothing_else() {
    let id = |text: &str| Policy::from_yaml(text).unwrap().id();
    assert_eq!(
        id(POLICY),
        id(&POLICY.replace("max_age_seconds: 3600", "# a comment\nmax_age_seconds: 3600"))
    );
    assert_ne!(id(POLICY), id(&POLICY.replace("3600", "3601")));
    assert_ne!(id(POLICY), id(&POLICY.replace("\"bb\"", "\"cc\"")));
    assert_ne!(id(POLICY), id(&POLICY.replace("at_least: 17", "one_of: [17]")));
    for more in [
        "attributes: { isvsvn: { at_least: 1 } }",
        "tee: { one_of: [sgx] }",
        "revocation: { ignore: { because: a test } }",
        "evidence_age: { at_most_seconds: 60 }",
        "per_tee: { sgx: { attributes: { isvsvn: { at_least: 1 } } } }",
        "per_tee: { tdx: { attributes: { isvsvn: { at_least: 1 } } } }",
    ] {
        assert_ne!(id(POLICY), id(&format!("{POLICY}{more}\n")), "{more}");
    }
    // What is written as it is by default is the same policy.
    for more in ["revocation: required", "evidence_age: max_age"] {
        assert_eq!(id(POLICY), id(&format!("{POLICY}{more}\n")), "{more}");
    }
}

#[test]
fn senseless_policies_are_refused_with_their_place() {
    let refused = |text: String| Policy::from_yaml(&text).unwrap_err().to_string();
    let unknown = refused(POLICY.replace("debug:", "debugg:"));
    assert!(
        unknown.contains("debugg") && unknown.contains("line 4"),
        "{unknown}"
    );
    assert!(refused(POLICY.replace("max_age_seconds: 3600", "")).contains("max_age_seconds"));
    assert!(refused(POLICY.replace("3600", "0")).contains("max_age_seconds"));
    assert!(refused(POLICY.replace("{ one_of: [false] }", "{ at_least: true }")).contains("debug"));
    let no_hex = refused(POLICY.replace("[\"aa\", \"bb\"]", "[\"xyz\"]"));
    assert!(no_hex.contains("line 9") && no_hex.contains("hex"), "{no_hex}");
    assert!(refused(format!("{POLICY}{}", " ".repeat(Policy::MAX_SIZE))).contains("more than"));
    assert!(refused(POLICY.replace("name: test", "name: test\nname: again")).contains("name"));
    for hostile in [
        "[".repeat(10_000),
        format!("[{}", ":\n".repeat(100_000)),
        "- ".repeat(50_000),
    ] {
        assert!(matches!(Policy::from_yaml(&hostile), Err(PolicyError::Yaml(_))));
    }
}

#[test]
fn rules_that_say_nothing_or_could_never_pass_are_refused() {
    let refused = |from: &str, to: &str| {
        assert_eq!(POLICY.matches(from).count(), 1, "{from}");
        match Policy::from_yaml(&POLICY.replace(from, to)) {
            Err(PolicyError::Senseless { rule, .. }) => rule,
            other => panic!("{to}: {other:?}"),
        }
    };
    let age = "max_age_seconds: 3600";
    let with = |more: &str| format!("max_age_seconds: 1\n{more}");
    for (from, to, rule) in [
        ("{ at_least: hardware-enclave }", "{ one_of: [] }", "assurance"),
        ("{ one_of: [false] }", "{ one_of: [] }", "debug"),
        ("[UpToDate, SWHardeningNeeded]", "[]", "tcb_status"),
        ("{ at_least: 17 }", "{ one_of: [] }", "tcb_evaluation"),
        ("[\"aa\", \"bb\"]", "[]", "measurements.mrenclave"),
        (
            "{ one_of: [\"aa\", \"bb\"] }",
            "{ at_least: aa }",
            "measurements.mrenclave",
        ),
        ("\"mrenclave is pinned\"", "\"\"", "measurements.mrsigner"),
        ("\"mrenclave is pinned\"", "\" \"", "measurements.mrsigner"),
        (
            "{ one_of: [INTEL-SA-00615] }",
            "{ ignore: { because: \"\" } }",
            "advisories",
        ),
        (
            "{ one_of: [INTEL-SA-00615] }",
            "{ at_least: INTEL-SA-00615 }",
            "advisories",
        ),
        (
            age,
            "max_age_seconds: 1\nattributes: { a: { one_of: [] } }",
            "attributes.a",
        ),
        (
            age,
            "max_age_seconds: 1\nattributes: { a: { at_least: b } }",
            "attributes.a",
        ),
        (
            age,
            "max_age_seconds: 1\npcr_policy: { mrseam: aa }",
            "pcr_policy.mrseam",
        ),
        (
            age,
            "max_age_seconds: 1\npcr_policy: { pcr24: aa }",
            "pcr_policy.pcr24",
        ),
        (
            age,
            "max_age_seconds: 1\npcr_policy: { pcr0: aa }",
            "pcr_policy.pcr0",
        ),
        (age, &with(&pcr_policy(&["pcr16"])), "pcr_policy.pcr16"),
        (age, &with(&pcr_policy(&["pcr0", "pcr23"])), "pcr_policy.pcr23"),
        (
            age,
            &with("resettable_pcrs: { because: none }"),
            "resettable_pcrs",
        ),
        (
            age,
            &with(&format!(
                "{}resettable_pcrs: {{ because: \" \" }}",
                pcr_policy(&["pcr23"])
            )),
            "resettable_pcrs",
        ),
        (age, &with("tee: { one_of: [] }"), "tee"),
        (age, &with("tee: { at_least: sgx }"), "tee"),
        (age, &with("tee: { ignore: { because: \"\" } }"), "tee"),
        (
            age,
            &with("revocation: { ignore: { because: \"\" } }"),
            "revocation",
        ),
        (age, &with("evidence_age: { at_most_seconds: 0 }"), "evidence_age"),
        (
            age,
            &with("evidence_age: { ignore: { because: \"\" } }"),
            "evidence_age",
        ),
        (age, &with("per_tee: { sev: {} }"), "per_tee.sev"),
        (
            age,
            &with("tee: { one_of: [sgx] }\nper_tee: { sev: { advisories: { one_of: [] } } }"),
            "per_tee.sev",
        ),
        (
            age,
            &with("per_tee: { sgx: { measurements: { mrenclave: { one_of: [aa] } } } }"),
            "per_tee.sgx.mrenclave",
        ),
        (
            age,
            &with("per_tee: { sgx: { measurements: { other: { one_of: [] } } } }"),
            "per_tee.sgx.measurements.other",
        ),
        (
            age,
            &with("per_tee: { sgx: { attributes: { other: { at_least: x } } } }"),
            "per_tee.sgx.attributes.other",
        ),
        (
            age,
            &with("per_tee: { tpm: { pcr_policy: { pcr31: aa } } }"),
            "per_tee.tpm.pcr_policy.pcr31",
        ),
        (
            age,
            &with("per_tee: { sgx: { tcb_status: { one_of: [] } } }"),
            "per_tee.sgx.tcb_status",
        ),
        (
            age,
            &with("per_tee: { sgx: { advisories: { at_least: x } } }"),
            "per_tee.sgx.advisories",
        ),
        (
            age,
            &with("per_tee: { sgx: { tcb_evaluation: { one_of: [] } } }"),
            "per_tee.sgx.tcb_evaluation",
        ),
        (
            age,
            &with(&format!(
                "{}per_tee: {{ tpm: {{ measurements: {{ pcr4: {{ one_of: [aa] }} }} }} }}",
                pcr_policy(&["pcr4"])
            )),
            "per_tee.tpm.pcr4",
        ),
        (
            age,
            &with(&format!(
                "per_tee: {{ tpm: {{ measurements: {{ pcr4: {{ one_of: [aa] }} }}, {} }} }}",
                pcr_policy(&["pcr4"]).trim()
            )),
            "per_tee.tpm.measurements.pcr4",
        ),
    ] {
        assert_eq!(refused(from, to), rule, "{to}");
    }
    let no_advisory = POLICY.replace("[INTEL-SA-00615]", "[]");
    assert_eq!(
        appraise(&no_advisory, claims()).verdict(),
        AppraisalVerdict::Rejected
    );
}

#[test]
fn a_senseless_policy_is_refused_whatever_it_is_read_from() {
    let policy = Policy::from_yaml(POLICY).unwrap();
    let mut json = serde_json::to_value(&policy).unwrap();
    assert_eq!(
        serde_json::from_value::<Policy>(json.clone()).unwrap().id(),
        policy.id()
    );
    json["debug"] = serde_json::json!({ "one_of": [] });
    let error = serde_json::from_value::<Policy>(json).unwrap_err().to_string();
    assert!(error.contains("`debug` makes no sense"), "{error}");
}

#[test]
fn a_tee_that_is_not_named_is_rejected() {
    let named = format!("{POLICY}tee: {{ one_of: [tdx, sev] }}\n");
    let appraisal = appraise(&named, claims());
    let failed: Vec<_> = appraisal.findings().iter().filter(|f| !f.passed).collect();
    assert_eq!(
        failed,
        [&Finding::new("tee", false, "sgx, wanted one of tdx, sev")]
    );
}

#[test]
fn lists_that_did_not_come_along_are_rejected_unless_the_policy_says_why() {
    let judged = |policy: &str, revocation: Revocation| {
        let mut changed = claims();
        changed.revocation = revocation;
        let appraisal = appraise(policy, changed);
        let found = appraisal.findings().iter().find(|f| f.rule == "revocation");
        found.unwrap().clone()
    };
    let unchecked = || Revocation::Unchecked {
        because: "no list of AMD's came along".to_owned(),
    };
    let lax = format!("{POLICY}revocation: {{ ignore: {{ because: offline site }} }}\n");
    let failed = Finding::new("revocation", false, "not checked: no list of AMD's came along");
    assert_eq!(judged(POLICY, unchecked()), failed);
    assert_eq!(
        judged(&lax, unchecked()),
        Finding::unchecked("revocation", "offline site")
    );
    let none = Revocation::NotApplicable {
        because: "an enrolled key has no list",
    };
    for policy in [POLICY, &lax] {
        assert_eq!(
            judged(policy, none.clone()),
            Finding::new("revocation", true, "an enrolled key has no list")
        );
        let checked = judged(policy, Revocation::Checked { until: None });
        assert!(checked.passed && checked.checked, "{checked:?}");
    }
}

#[test]
fn a_verdict_lasts_no_longer_than_the_revocation_lists() {
    let mut changed = claims();
    changed.endorsed_until = Some(UnixMillis(7000));
    changed.revocation = Revocation::Checked {
        until: Some(UnixMillis(6000)),
    };
    assert_eq!(appraise(POLICY, changed).expires_at(), UnixMillis(6000));
}

#[test]
fn evidence_says_when_it_was_made_and_is_held_to_it() {
    let now = UnixMillis::from_secs(1_000_000);
    let passes = |policy: &str, made_at: UnixMillis| {
        let mut changed = claims();
        changed.made_at = Some(made_at);
        let policy = Policy::from_yaml(policy).unwrap();
        let appraisal = policy.appraise(Verified::seal(changed), now);
        let found = appraisal.findings().iter().find(|f| f.rule == "evidence_age");
        let found = found.unwrap();
        assert!(found.checked, "{found:?}");
        assert_eq!(
            appraisal.verdict() == AppraisalVerdict::Accepted,
            found.passed,
            "{appraisal:?}"
        );
        found.passed
    };
    let old = |millis: u64| UnixMillis(now.0 - millis);
    assert!(passes(POLICY, now));
    assert!(passes(POLICY, old(3_600_000)));
    assert!(!passes(POLICY, old(3_600_001)));
    assert!(passes(POLICY, now.plus(60_000)));
    assert!(!passes(POLICY, now.plus(60_001)));
    let short = format!("{POLICY}evidence_age: {{ at_most_seconds: 5 }}\n");
    assert!(passes(&short, old(5000)));
    assert!(!passes(&short, old(5001)));
    let lax = format!("{POLICY}evidence_age: {{ ignore: {{ because: an archive }} }}\n");
    let mut archived = claims();
    archived.made_at = Some(UnixMillis(0));
    let appraisal = Policy::from_yaml(&lax)
        .unwrap()
        .appraise(Verified::seal(archived), now);
    let found = appraisal.findings().iter().find(|f| f.rule == "evidence_age");
    assert_eq!(found, Some(&Finding::unchecked("evidence_age", "an archive")));
}

const FLEET: &str = r#"
name: fleet
tee: { one_of: [sgx, sev, tpm] }
assurance: { at_least: measured-boot }
debug: { one_of: [false] }
tcb_status: { one_of: [UpToDate] }
advisories: { one_of: [] }
tcb_evaluation: { at_least: 17 }
per_tee:
  sgx:
    advisories: { one_of: [INTEL-SA-00615] }
    measurements: { mrenclave: { one_of: ["aa", "bb"] }, mrsigner: { one_of: ["cc"] } }
    attributes: { isvsvn: { at_least: "2" } }
  sev:
    tcb_status: { ignore: { because: AMD publishes no levels } }
    tcb_evaluation: { ignore: { because: AMD has none } }
    measurements: { measurement: { one_of: ["dd"] } }
    attributes: { snp_svn: { at_least: "20" } }
  tpm:
    pcr_policy: { pcr4: "1111111111111111111111111111111111111111111111111111111111111111" }
max_age_seconds: 3600
"#;

#[test]
fn a_fleet_of_several_tees_has_a_section_for_each() {
    let mut sgx = claims();
    sgx.measurements
        .insert("mrsigner".to_owned(), Measurement(vec![0xcc]));
    sgx.attributes.insert("isvsvn".to_owned(), "2".to_owned());
    let accepted = appraise(FLEET, sgx.clone());
    assert_eq!(accepted.verdict(), AppraisalVerdict::Accepted, "{accepted:?}");
    let rules: Vec<_> = accepted.findings().iter().map(|f| f.rule.as_str()).collect();
    assert_eq!(
        rules,
        [
            "tee",
            "assurance",
            "debug",
            "tcb_status",
            "per_tee.sgx.advisories",
            "tcb_evaluation",
            "revocation",
            "evidence_age",
            "binding",
            "per_tee.sgx.measurements.mrenclave",
            "per_tee.sgx.measurements.mrsigner",
            "per_tee.sgx.attributes.isvsvn",
            "code",
        ]
    );
    // The section's rules reject too.
    sgx.attributes.insert("isvsvn".to_owned(), "1".to_owned());
    assert_eq!(appraise(FLEET, sgx).verdict(), AppraisalVerdict::Rejected);

    let mut sev = claims();
    sev.tee = TeeKind::Sev;
    sev.assurance = Assurance::HardwareVm;
    sev.tcb = Tcb::default();
    sev.measurements = BTreeMap::from([("measurement".to_owned(), Measurement(vec![0xdd]))]);
    sev.attributes.insert("snp_svn".to_owned(), "22".to_owned());
    let accepted = appraise(FLEET, sev.clone());
    assert_eq!(accepted.verdict(), AppraisalVerdict::Accepted, "{accepted:?}");
    // The same evidence under the name of another TEE meets the other section.
    sev.tee = TeeKind::Tpm;
    let rejected = appraise(FLEET, sev);
    let failed: Vec<_> = rejected
        .findings()
        .iter()
        .filter(|f| !f.passed)
        .map(|f| f.rule.as_str())
        .collect();
    assert_eq!(
        failed,
        ["tcb_status", "tcb_evaluation", "per_tee.tpm.pcr_policy.pcr4"]
    );
}

#[test]
fn every_reference_value_says_what_came_of_it() {
    let appraisal = appraise(FLEET, claims());
    let found: Vec<_> = appraisal
        .reference_values()
        .iter()
        .map(|value| {
            (
                value.rule.as_str(),
                value.value.as_str(),
                value.state,
                value.why.as_str(),
            )
        })
        .collect();
    let other_sev = "the section is for `sev`, and the evidence is of `sgx`";
    let other_tpm = "the section is for `tpm`, and the evidence is of `sgx`";
    let pcr = "1111111111111111111111111111111111111111111111111111111111111111";
    use ReferenceState::{Compared, Matched, Unused};
    assert_eq!(
        found,
        [
            (
                "per_tee.sgx.measurements.mrenclave",
                "aa",
                Compared,
                "the evidence has bb"
            ),
            (
                "per_tee.sgx.measurements.mrenclave",
                "bb",
                Matched,
                "the evidence fits it"
            ),
            (
                "per_tee.sgx.measurements.mrsigner",
                "cc",
                Unused,
                "the evidence has no mrsigner"
            ),
            (
                "per_tee.sgx.attributes.isvsvn",
                "2",
                Unused,
                "the evidence has no isvsvn"
            ),
            ("per_tee.sev.measurements.measurement", "dd", Unused, other_sev),
            ("per_tee.sev.attributes.snp_svn", "20", Unused, other_sev),
            ("per_tee.tpm.pcr_policy.pcr4", pcr, Unused, other_tpm),
        ]
    );
}

#[test]
fn warnings_name_what_lets_more_pass_than_it_seems() {
    let warned = |text: &str| {
        let warnings = Policy::from_yaml(text).unwrap().warnings();
        warnings
            .into_iter()
            .map(|warning| warning.rule)
            .collect::<Vec<_>>()
    };
    let base = ["tee", "measurements.mrsigner"];
    assert_eq!(warned(POLICY), base);
    for (from, to, rule) in [
        ("at_least: hardware-enclave", "at_least: simulated", "assurance"),
        (
            "at_least: hardware-enclave",
            "one_of: [measured-boot]",
            "assurance",
        ),
        ("[false]", "[true]", "debug"),
        ("SWHardeningNeeded]", "OutOfDate]", "tcb_status"),
        ("SWHardeningNeeded]", "ConfigurationNeeded]", "tcb_status"),
        ("{ at_least: 17 }", "{ ignore: { because: x } }", "tcb_evaluation"),
        (
            "{ one_of: [INTEL-SA-00615] }",
            "{ ignore: { because: x } }",
            "advisories",
        ),
        (
            "max_age_seconds: 3600",
            "max_age_seconds: 604801",
            "max_age_seconds",
        ),
        (
            "max_age_seconds",
            "revocation: { ignore: { because: x } }\nmax_age_seconds",
            "revocation",
        ),
        (
            "max_age_seconds",
            "evidence_age: { ignore: { because: x } }\nmax_age_seconds",
            "evidence_age",
        ),
        (
            "max_age_seconds",
            "pcr_policy: { pcr0: \"0101010101010101010101010101010101010101\" }\nmax_age_seconds",
            "pcr_policy.pcr0",
        ),
        (
            "max_age_seconds",
            "attributes: { a: { at_least: \"0\" } }\nmax_age_seconds",
            "attributes.a",
        ),
        (
            "{ one_of: [\"aa\", \"bb\"] }",
            "{ ignore: { because: x } }",
            "code",
        ),
    ] {
        assert_eq!(POLICY.matches(from).count(), 1, "{from}");
        let found = warned(&POLICY.replace(from, to));
        assert!(found.contains(&rule.to_owned()), "{to}: {found:?}");
    }
    // Nothing sets a floor for the platform.
    let no_floor = POLICY.replace(
        "{ one_of: [UpToDate, SWHardeningNeeded] }",
        "{ ignore: { because: x } }",
    );
    assert_eq!(
        warned(&no_floor)
            .iter()
            .filter(|rule| *rule == "tcb_status")
            .count(),
        2
    );
    let floor = format!("{no_floor}attributes: {{ svn: {{ at_least: \"4\" }} }}\n");
    assert_eq!(
        warned(&floor).iter().filter(|rule| *rule == "tcb_status").count(),
        1
    );
    assert_eq!(
        warned(FLEET),
        [
            "assurance",
            "per_tee.sev.tcb_status",
            "per_tee.sev.tcb_evaluation",
            "per_tee.tpm.pcr_policy.pcr4"
        ]
    );
    // A TEE that is let pass, and whose code nobody pins.
    let unpinned = FLEET.replace("[sgx, sev, tpm]", "[sgx, sev, tpm, nitro]");
    let warnings = Policy::from_yaml(&unpinned).unwrap().warnings();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.rule == "code" && warning.text.contains("`nitro`")),
        "{warnings:?}"
    );
}

#[test]
fn a_policy_explains_itself() {
    let policy = Policy::from_yaml(FLEET).unwrap();
    let note = |tee: Option<TeeKind>, rule: &str| {
        let notes = policy.explain(tee);
        let found = notes.iter().find(|note| note.rule == rule);
        found.unwrap_or_else(|| panic!("{rule}: {notes:?}")).clone()
    };
    assert_eq!(
        note(None, "tee").text,
        "passes: sgx, sev, tpm; rejected: tdx, trustzone, keystone, nitro, simulated"
    );
    assert_eq!(
        note(None, "assurance").text,
        "passes: hardware-vm, hardware-enclave, measured-boot; rejected: simulated"
    );
    assert_eq!(
        note(None, "code").text,
        "pinned for sgx, sev, tpm; evidence of every other TEE is rejected"
    );
    let ignored = note(Some(TeeKind::Sev), "per_tee.sev.tcb_status");
    assert_eq!(
        (ignored.checked, ignored.text.as_str()),
        (false, "anything passes: AMD publishes no levels")
    );
    assert_eq!(
        note(Some(TeeKind::Sev), "per_tee").text,
        "the sections of sgx, tpm do not apply; their values are reported as unused"
    );
    assert!(
        note(Some(TeeKind::Nitro), "code")
            .text
            .starts_with("everything is rejected: the policy pins no code of `nitro`")
    );
    let not_asked = policy.not_asked(Some(TeeKind::Tpm));
    assert!(
        not_asked.contains(&"the registers pcr0, pcr2, pcr7, pcr9: no rule names them".to_owned()),
        "{not_asked:?}"
    );
}

#[test]
fn a_policy_that_pins_the_first_part_alone_is_told_of_the_rest() {
    let told = |measurements: &str| -> Vec<String> {
        let text = POLICY.replace("measurements:\n", &format!("measurements:\n{measurements}"));
        let warnings = Policy::from_yaml(&text).unwrap().warnings();
        let parts = warnings
            .into_iter()
            .filter(|warning| warning.text.contains("passes, unless"));
        parts.map(|warning| warning.rule).collect()
    };
    assert_eq!(told("  mrtd: { one_of: [aa] }\n"), ["measurements.mrtd"]);
    assert_eq!(
        told("  mrtd: { one_of: [aa] }\n  rtmr1: { one_of: [bb] }\n"),
        [""; 0]
    );
    assert_eq!(told(""), [""; 0]);
}
