//! Devices and services that never answer: all at once, for each is waited for as long as quotes can take.

use std::thread;

use crate::fake_machine::{Fault, Way};
use crate::relying_party::attest;

const WAYS: [(Way, &str); 9] = [
    (Way::SevByConfigfs, "sev did not answer within"),
    (Way::SevByDevice, "sev did not answer within"),
    (Way::TdxByConfigfs, "tdx did not answer within"),
    (Way::TdxByQuotingService, "did not answer within"),
    (Way::SgxByGramine, "sgx did not answer within"),
    (Way::SgxByAesm, "did not answer within"),
    (Way::Nitro, "nitro did not answer within"),
    (Way::Optee, "trustzone did not answer within"),
    (Way::Keystone, "keystone did not answer within"),
];

#[test]
fn what_never_answers_is_given_up_and_named() {
    thread::scope(|scope| {
        for (way, says) in WAYS {
            scope.spawn(move || attest(way.machine(Some(Fault::Never))).is_refused(says));
        }
    });
}
