//! The node's time, as an input.

use std::sync::Arc;

use nautilus_core::UnixMillis;

/// Tells the node's time: wall time that never goes back, also where the machine's clock is set.
pub type WallClock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;
