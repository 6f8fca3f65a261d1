//! Evidence files from anywhere: reading never panics, and what reads well writes and reads back the same.
#![no_main]

use nautilus_core::EvidenceFile;
use nautilus_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = EvidenceFile::from_json(bytes) {
        let again = EvidenceFile::from_json(file.to_json().as_bytes());
        assert!(
            matches!(&again, Ok(again) if *again == file),
            "reads back as {again:?}"
        );
    }
});
