//! Fake machines for tests.
//!
//! A development dependency only. What is made here is meant to be wrong in chosen ways; a builder that
//! cannot build stops the test.

pub mod machine;

pub use machine::FakeMachine;
