//! The machine's clock: read here, and an argument everywhere else.

use std::time::{SystemTime, UNIX_EPOCH};

use nautilus_core::UnixMillis;

/// The machine's time. It may be set back or forth, and says nothing that anybody else need believe.
pub fn now() -> UnixMillis {
    let passed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    UnixMillis(u64::try_from(passed).unwrap_or(u64::MAX))
}
