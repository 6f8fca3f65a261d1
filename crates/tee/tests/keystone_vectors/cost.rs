//! How many signatures a report costs: docs/tee/keystone.md, "What verification costs".

use nautilus_tee::signatures_verified;

use crate::cases::{DEVICE_C, TEST_DEVICE, all, case, trusting, verify_any};

#[test]
fn a_report_costs_one_signature_and_a_new_monitor_one_more() {
    let report = case("a-probe-a-d32").report();
    let set = trusting(&[TEST_DEVICE]);
    let spent = || {
        let before = signatures_verified();
        assert!(verify_any(&set, &report).is_ok());
        signatures_verified() - before
    };
    assert_eq!([spent(), spent(), spent()], [2, 1, 1]);
}

#[test]
fn no_report_costs_more_than_two() {
    for case in all() {
        let before = signatures_verified();
        // Some are genuine and some are not; each has its price.
        let verdict = verify_any(&trusting(&[TEST_DEVICE, DEVICE_C]), &case.report());
        let spent = signatures_verified() - before;
        assert!(spent <= 2, "{}: {spent}", case.name);
        assert!(verdict.is_err() || spent == 2, "{}: {spent}", case.name);
    }
}
