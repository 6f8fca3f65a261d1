//! Evidence of real OP-TEE on an emulated machine, and what becomes of it when somebody changes it.
//! `vectors/optee/README.md` says how it was made.

#![cfg(feature = "verify")]

#[cfg(test)]
#[path = "optee_vectors/cases.rs"]
mod cases;
#[cfg(test)]
#[path = "optee_vectors/expectations.rs"]
mod expectations;
#[cfg(test)]
#[path = "optee_vectors/keys.rs"]
mod keys;
#[cfg(test)]
#[path = "optee_vectors/policies.rs"]
mod policies;
#[cfg(test)]
#[path = "optee_vectors/psa.rs"]
mod psa;
