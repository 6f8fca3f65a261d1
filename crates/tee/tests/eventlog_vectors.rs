//! Event logs of real machines: what their replay gives, what they say, and what becomes of them when a byte
//! changes.

#![cfg(feature = "verify")]

#[cfg(test)]
#[path = "eventlog_vectors/logs.rs"]
mod logs;
#[cfg(test)]
#[path = "eventlog_vectors/registers.rs"]
mod registers;
