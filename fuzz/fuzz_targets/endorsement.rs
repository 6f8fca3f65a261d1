//! Files of endorsements from anywhere: nothing panics, and every document of a file is one by itself.
#![no_main]

use nautilus_core::Endorsements;
use nautilus_fuzz::fuzz_target;
use nautilus_tee::endorsement::{self, MAX_DOCUMENTS};

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = endorsement::read(bytes, "file") else {
        return;
    };
    assert!(
        (1..=MAX_DOCUMENTS).contains(&read.len()),
        "{} documents",
        read.len()
    );
    for one in read {
        assert!(one.origin.starts_with("file") && one.bytes.len() <= Endorsements::MAX_SIZE);
        let again = endorsement::read(&one.bytes, &one.origin);
        assert_eq!(again.as_deref(), Ok([one].as_slice()));
    }
});
