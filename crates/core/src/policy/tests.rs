use super::*;
use crate::{AppraisalVerdict, DeviceIdentity, EvidenceId, Tcb, TeeKind};

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
            status: TcbStatus::UpToDate,
            date: None,
            advisories: vec!["INTEL-SA-00615".to_owned()],
            evaluation: Some(17),
            shortfalls: Vec::new(),
        },
        measurements: BTreeMap::from([("mrenclave".to_owned(), Measurement(vec![0xbb]))]),
        attributes: BTreeMap::new(),
        unsigned: Vec::new(),
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
    assert_eq!(failed(|c| c.tcb.status = TcbStatus::OutOfDate), ["tcb_status"]);
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
fn a_policy_that_pins_no_code_accepts_nothing() {
    let open = POLICY.replace("{ one_of: [\"aa\", \"bb\"] }", "{ ignore: { because: lazy } }");
    let appraisal = appraise(&open, claims());
    assert_eq!(appraisal.verdict(), AppraisalVerdict::Rejected);
    assert!(
        appraisal
            .findings()
            .iter()
            .any(|finding| finding.rule == "code" && !finding.passed)
    );
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
        changed.tcb.status = status;
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
    assert!(refused(format!("{POLICY}{}", " ".repeat(MAX_POLICY))).contains("more than"));
    assert!(refused(POLICY.replace("name: test", "name: test\nname: again")).contains("name"));
    for hostile in [
        "[".repeat(10_000),
        format!("[{}", ":\n".repeat(100_000)),
        "- ".repeat(50_000),
    ] {
        assert!(matches!(Policy::from_yaml(&hostile), Err(PolicyError::Yaml(_))));
    }
}
