//! Reports of real Keystone on an emulated machine, and what becomes of them when somebody changes them.
//! `vectors/keystone/README.md` says how they were made.

#![cfg(feature = "verify")]

#[cfg(test)]
#[path = "keystone_vectors/cases.rs"]
mod cases;
#[cfg(test)]
#[path = "keystone_vectors/cost.rs"]
mod cost;
#[cfg(test)]
#[path = "keystone_vectors/expectations.rs"]
mod expectations;
#[cfg(test)]
#[path = "keystone_vectors/forgery.rs"]
mod forgery;
#[cfg(test)]
#[path = "keystone_vectors/mutations.rs"]
mod mutations;
