//! The specification's limits (§2.A `NewAttestationService`, `RequestAttestation`), and those that bound memory.

use std::time::Duration;

/// Requests that wait at most.
pub const QUEUE: usize = 100;
/// Requests that are worked on at once.
pub const WORKERS: usize = 3;
/// How long a caller waits for a place in the queue.
pub const ENQUEUE_SECONDS: u64 = 5;
/// How long a caller waits for the answer from then on.
pub const ANSWER_SECONDS: u64 = 30;
/// How long a response is valid at most, in milliseconds.
pub const VALIDITY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// Callers that wait at once. Each costs a few hundred bytes here, and what it sent.
pub const MAX_CALLERS: usize = 16_384;
/// Answers that are remembered at most.
pub(super) const MAX_REMEMBERED: usize = 256;
/// Bytes that remembered answers take at most.
pub(super) const MAX_REMEMBERED_BYTES: usize = 16 << 20;

pub(super) const ENQUEUE: Duration = Duration::from_secs(ENQUEUE_SECONDS);
pub(super) const ANSWER: Duration = Duration::from_secs(ANSWER_SECONDS);
