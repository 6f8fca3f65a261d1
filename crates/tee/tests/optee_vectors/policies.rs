//! Evidence whose signature is good and whose meaning is not: only reference values tell.

use std::collections::{BTreeMap, BTreeSet};

use nautilus_core::{Appraisal, Policy};
use serde_json::Value;

use crate::cases::{Case, Expected, NOW, all};

/// The build whose image was changed by one bit: its own measurement is no reference value.
const TAMPERED: &str = "AP";

/// The values that each command may give on the builds that are trusted, one set for each command.
fn reference_values() -> BTreeMap<&'static str, BTreeSet<String>> {
    let file: Value = serde_json::from_str(include_str!("../../../../vectors/optee/reference.json")).unwrap();
    let mut sets = BTreeMap::new();
    for (name, values) in file["measurements"].as_object().unwrap() {
        let words: Vec<_> = name.split(' ').collect();
        let (command, build) = match words.as_slice() {
            ["tee_memory", "build", build] => ("tee_memory", build),
            ["ta_memory", "build", build, "ta", _] => ("ta_memory", build),
            ["ta_shdr_digest", "build", build, "ta", _] => ("ta_header", build),
            ["veraison_psa", ..] => continue,
            other => panic!("{other:?}"),
        };
        if *build == TAMPERED {
            continue;
        }
        let values = values
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_str().unwrap().to_owned());
        sets.entry(command).or_insert_with(BTreeSet::new).extend(values);
    }
    sets
}

/// A policy that wants evidence of one command.
fn policy(command: &str) -> Policy {
    let values = Vec::from_iter(reference_values()[command].clone()).join(", ");
    Policy::from_yaml(&format!(
        "name: {command}
assurance: {{at_least: hardware-enclave}}
debug: {{one_of: [false]}}
tcb_status: {{ignore: {{because: no vendor publishes levels}}}}
advisories: {{one_of: []}}
tcb_evaluation: {{ignore: {{because: no vendor publishes levels}}}}
measurements: {{optee_{command}: {{one_of: [{values}]}}}}
max_age_seconds: 60
"
    ))
    .unwrap()
}

fn appraise(case: &Case, policy: &Policy) -> Appraisal {
    let claims = case.verify(&case.container(&case.nonce())).unwrap();
    policy.appraise(claims, NOW)
}

/// The rules on measurements that fail, and those on anything else that this evidence has.
fn failed(appraisal: &Appraisal) -> Vec<&str> {
    let failed = appraisal.findings().iter().filter(|finding| !finding.passed);
    // Which registers count as code is the policy's own matter.
    failed
        .map(|finding| finding.rule.as_str())
        .filter(|rule| *rule != "code")
        .collect()
}

#[test]
fn the_commands_have_no_reference_value_in_common() {
    let sets = reference_values();
    assert_eq!(
        Vec::from_iter(sets.keys().copied()),
        ["ta_header", "ta_memory", "tee_memory"]
    );
    let all: usize = sets.values().map(BTreeSet::len).sum();
    let distinct: BTreeSet<_> = sets.values().flatten().collect();
    assert_eq!(distinct.len(), all);
}

#[test]
fn what_should_be_accepted_satisfies_the_policy_of_its_command_and_of_no_other() {
    let policies: BTreeMap<_, _> = ["tee_memory", "ta_memory", "ta_header"]
        .map(|c| (c, policy(c)))
        .into();
    let mut appraised = 0;
    for case in all() {
        if case.is_psa() || case.expected != Expected::Accept {
            continue;
        }
        for (command, policy) in &policies {
            let appraisal = appraise(&case, policy);
            if *command == case.command() {
                assert_eq!(failed(&appraisal), Vec::<&str>::new(), "{}", case.name);
                appraised += 1;
            } else {
                let rule = format!("measurements.optee_{command}");
                assert_eq!(failed(&appraisal), [rule], "{}", case.name);
            }
        }
    }
    assert_eq!(appraised, 47);
}

#[test]
fn relabelled_and_tampered_evidence_is_rejected_by_its_reference_values() {
    let policy = policy("tee_memory");
    let mut rejected = Vec::new();
    for case in all() {
        if case.is_psa() || case.expected != Expected::RejectPolicy || case.key_size < 2048 {
            continue;
        }
        let appraisal = appraise(&case, &policy);
        let found = case.measurement_hex.as_ref().unwrap();
        assert_eq!(
            failed(&appraisal),
            ["measurements.optee_tee_memory"],
            "{}",
            case.name
        );
        let finding = appraisal
            .findings()
            .iter()
            .find(|finding| finding.rule == "measurements.optee_tee_memory")
            .unwrap();
        assert!(
            finding.detail.starts_with(found),
            "{}: {}",
            case.name,
            finding.detail
        );
        rejected.push(case.name);
    }
    assert_eq!(
        rejected,
        [
            "a1-04-ta_shdr_digest-neg-relabelled-as-tee-memory",
            "a1-06-ta_shdr_digest-neg-relabelled-as-tee-memory",
            "a1-08-ta_shdr_digest-neg-relabelled-as-tee-memory",
            "a6-01-tee_memory",
        ]
    );
}
