use sha2::{Digest as _, Sha256};

use super::*;

/// Intel publishes the certificate under this digest.
#[test]
fn the_trusted_root_is_intels() {
    let digest = hex::encode(Sha256::digest(INTEL_ROOT));
    assert_eq!(
        digest,
        "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
    );
    assert!(Root::intel().is_intel());
    assert!(
        Root::intel().issued(&Certificate::from_der(INTEL_ROOT).unwrap()),
        "it issued itself"
    );
    assert!(!Root::of_der(vec![0x30, 0]).issued(&Certificate::from_der(INTEL_ROOT).unwrap()));
}

#[test]
fn flags_are_named_and_the_rest_is_kept() {
    let names = [(1, "INIT"), (2, "DEBUG")];
    let flag_names = |bits| super::super::wire::flag_names(bits, &names);
    assert_eq!(flag_names(0), "");
    assert_eq!(flag_names(3), "INIT DEBUG");
    assert_eq!(flag_names(0x8000_0000_0000_0001), "INIT 0x8000000000000000");
}
