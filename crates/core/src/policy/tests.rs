use super::*;
use crate::{AppraisalVerdict, DeviceIdentity, EvidenceId, Revocation, Tcb, TeeKind};

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
        "assurance",
        "debug",
        "tcb_status",
        "advisories",
        "tcb_evaluation",
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
    let expected = Finding::unchecked("measurements.mrsigner", "mrenclave is pinned");
    assert_eq!(unchecked, [&expected]);
}

/// What a policy with these measurements and other rules finds of the code, and its verdict on evidence that
/// satisfies each of its rules.
fn code(measurements: &str, more: &str) -> (AppraisalVerdict, String) {
    let policy = POLICY
        .replace("  mrenclave: { one_of: [\"aa\", \"bb\"] }\n", measurements)
        .replace(
            "  mrsigner: { ignore: { because: \"mrenclave is pinned\" } }\n",
            "",
        );
    let policy = policy.replace(
        "measurements:\n",
        "measurements:\n  other: { ignore: { because: a test } }\n",
    );
    let mut fitting = claims();
    for name in [
        "mrenclave",
        "mrsigner",
        "mrtd",
        "mrseam",
        "mrconfigid",
        "mrowner",
        "rtmr0",
        "pcr0",
    ] {
        fitting
            .measurements
            .insert(name.to_owned(), Measurement(vec![0xaa]));
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

#[test]
fn a_policy_that_pins_no_code_accepts_nothing() {
    let product = "attributes: { isvprodid: { one_of: [\"7\"] } }\n";
    let version = "attributes: { isvsvn: { at_least: \"9\" } }\n";
    let ignored = "attributes: { isvprodid: { ignore: { because: any } }, isvsvn: { at_least: \"9\" } }\n";
    let every_product = "attributes: { isvprodid: { at_least: \"0\" }, isvsvn: { at_least: \"9\" } }\n";
    let both = "attributes: { isvprodid: { one_of: [\"7\"] }, isvsvn: { at_least: \"9\" } }\n";
    for (measurements, more) in [
        ("", ""),
        ("  mrenclave: { ignore: { because: lazy } }\n", ""),
        ("  mrseam: { one_of: [aa] }\n", ""),
        ("  mrconfigid: { one_of: [aa] }\n", ""),
        ("  mrowner: { one_of: [aa] }\n", ""),
        ("  rtmr0: { one_of: [aa] }\n", ""),
        ("  mrsigner: { one_of: [aa] }\n", ""),
        ("  mrsigner: { one_of: [aa] }\n", product),
        ("  mrsigner: { one_of: [aa] }\n", version),
        ("  mrsigner: { one_of: [aa] }\n", ignored),
        ("  mrsigner: { one_of: [aa] }\n", every_product),
        ("", both),
    ] {
        let (verdict, detail) = code(measurements, more);
        assert_eq!(verdict, AppraisalVerdict::Rejected, "{measurements}{more}");
        assert!(detail.starts_with("the policy pins no code"), "{detail}");
    }
    for (measurements, more, by) in [
        ("  mrenclave: { one_of: [aa] }\n", "", "mrenclave"),
        ("  mrtd: { one_of: [aa] }\n", "", "mrtd"),
        (
            "  mrsigner: { one_of: [aa] }\n",
            both,
            "mrsigner with isvprodid and isvsvn",
        ),
        ("", "pcr_policy: { pcr0: aa }\n", "pcr0"),
    ] {
        let accepted = (AppraisalVerdict::Accepted, format!("pinned by {by}"));
        assert_eq!(code(measurements, more), accepted);
    }
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
fn a_pcr_policy_rejects_evidence_without_pcrs() {
    let pcrs = format!("{POLICY}pcr_policy: {{ pcr0: \"00ff\" }}\n");
    let appraisal = appraise(&pcrs, claims());
    assert_eq!(appraisal.verdict(), AppraisalVerdict::Rejected);
    let mut with_pcr = claims();
    with_pcr
        .measurements
        .insert("pcr0".to_owned(), Measurement(vec![0x00, 0xff]));
    assert_eq!(appraise(&pcrs, with_pcr).verdict(), AppraisalVerdict::Accepted);
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
    let attributes = format!("{POLICY}attributes: {{ isvsvn: {{ at_least: 1 }} }}\n");
    assert_ne!(id(POLICY), id(&attributes));
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
