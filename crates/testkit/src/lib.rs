//! Fake machines for tests, and a fake kernel under which the real programs meet fake devices.
//!
//! A development dependency only. What is made here is meant to be wrong in chosen ways; a builder that
//! cannot build stops the test.

pub mod device;
pub mod kernel;
pub mod machine;
pub mod vendor;

pub use kernel::FakeKernel;
pub use machine::FakeMachine;
