//! One folder per TEE: its wire format, its attester, its verifier; and detection of what a machine has.
//!
//! Everything here that reads evidence or endorsements reads hostile bytes: it is bounded, does not panic,
//! and says what is wrong and where. Verification is pure: bytes, endorsements and `now` in, claims out.
//! The features `attest` (devices) and `verify` (cryptography) leave out what a program does not need.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

pub mod dcap;
pub mod detect;
pub mod sgx;
#[cfg(any(feature = "attest", feature = "verify"))]
pub mod simulated;
pub mod tdx;

#[cfg(feature = "verify")]
use nautilus_core::{TeeVerifier, VerifierSet};

/// The list: one line for every TEE whose evidence can be verified. The simulated TEE is never on it.
#[cfg(feature = "verify")]
pub fn verifiers() -> Vec<Box<dyn TeeVerifier>> {
    vec![
        // In the order in which raw bytes are recognised.
        Box::new(sgx::Verifier::intel()),
        Box::new(tdx::Verifier::intel()),
    ]
}

/// Verifiers of everything on the list, and of nothing simulated.
#[cfg(feature = "verify")]
pub fn production() -> VerifierSet {
    #[expect(
        clippy::expect_used,
        reason = "the list holds no simulated TEE, and a test holds the list to that"
    )]
    VerifierSet::production(verifiers()).expect("the list holds no simulated TEE")
}

#[cfg(test)]
#[cfg(feature = "verify")]
mod tests {
    use nautilus_core::TeeKind;

    use super::*;

    #[test]
    fn the_list_makes_a_production_set_without_repetition() {
        let tees: Vec<TeeKind> = verifiers()
            .iter()
            .map(|verifier| verifier.descriptor().tee)
            .collect();
        assert_eq!(tees, [TeeKind::Sgx, TeeKind::Tdx]);
        assert!(VerifierSet::production(verifiers()).is_ok());
    }
}
