//! A report that nobody's hardware made, and whose signatures are good.

use nautilus_core::{AppraisalVerdict, Assurance, Policy};

use crate::cases::{NOW, TEST_DEVICE, case, trusting, verify_any};

fn policy(enclave_hash: &str) -> Policy {
    Policy::from_yaml(&format!(
        "name: one enclave
assurance: {{at_least: hardware-enclave}}
debug: {{one_of: [false]}}
tcb_status: {{ignore: {{because: no vendor publishes levels}}}}
advisories: {{one_of: []}}
tcb_evaluation: {{ignore: {{because: no vendor publishes levels}}}}
measurements: {{enclave_hash: {{one_of: [{enclave_hash}]}}}}
max_age_seconds: 60
"
    ))
    .unwrap()
}

/// Rules that a policy for the enclave of `a-probe-a-d32` finds broken.
fn broken(name: &str) -> Vec<String> {
    let genuine = case("a-probe-a-d32").enclave_hash.unwrap();
    let claims = verify_any(&trusting(&[TEST_DEVICE]), &case(name).report()).unwrap();
    let appraisal = policy(&genuine).appraise(claims, NOW);
    assert_eq!(appraisal.verdict(), AppraisalVerdict::Rejected, "{name}");
    let failed = appraisal.findings().iter().filter(|finding| !finding.passed);
    failed.map(|finding| finding.rule.clone()).collect()
}

#[test]
fn a_forgery_by_a_recovered_key_is_named_and_rejected() {
    let claims = verify_any(
        &trusting(&[TEST_DEVICE]),
        &case("forged-recovered-sm-key").report(),
    )
    .unwrap();
    assert!(claims.debug);
    assert_eq!(claims.assurance, Assurance::Simulated);
    assert_eq!(claims.attributes["sm_key"], "recoverable from two bytes");
    assert!(claims.attributes["debug_because"].contains("anybody can sign with the security monitor's key"));
    let broken = broken("forged-recovered-sm-key");
    for rule in ["assurance", "debug", "measurements.enclave_hash"] {
        assert!(broken.iter().any(|broken| broken == rule), "{rule}: {broken:?}");
    }
}

#[test]
fn a_forger_who_copies_the_hash_is_rejected_too() {
    // What a genuine report of these machines breaks is what a forged one would with the enclave's own hash: the
    // keys are the same.
    let broken = broken("a-probe-a-d32");
    for rule in ["assurance", "debug"] {
        assert!(broken.iter().any(|broken| broken == rule), "{rule}: {broken:?}");
    }
    assert!(
        broken.iter().all(|rule| rule != "measurements.enclave_hash"),
        "{broken:?}"
    );
}
