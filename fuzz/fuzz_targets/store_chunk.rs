//! What the metrics store decodes after it opened a value: columns, ticks, rollups, the index of a block, rows of the
//! open hour and of names. Only who holds the key can make such bytes, and still none may panic or take memory that
//! they do not state.
#![no_main]

use nautilus_fuzz::{Limited, libfuzzer_sys};
use nautilus_monitor::store::decode_opened;

/// A block has up to 4,096 ticks of 17 metrics, which a constant column states in a few bytes; pco's tables have up to
/// 2^14 entries.
const AT_ONCE: usize = 64 * 1024;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What is compressed states its length, and is bounded by the layout's own limits.
    let _limited =
        (bytes.first().is_none_or(|kind| kind % 7 < 5)).then(|| Limited::to_input(bytes.len() + AT_ONCE));
    decode_opened(bytes);
});
