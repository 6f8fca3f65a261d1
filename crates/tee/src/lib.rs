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

#[cfg(feature = "verify")]
pub mod certificate;
#[cfg(any(feature = "attest", feature = "verify"))]
#[cfg_attr(
    not(feature = "verify"),
    expect(dead_code, reason = "an attester reads documents and verifies no signature")
)]
mod cose;
pub mod dcap;
#[cfg(feature = "attest")]
mod deadline;
pub mod detect;
#[cfg(feature = "verify")]
pub mod endorsement;
#[cfg(feature = "verify")]
pub mod eventlog;
mod json;
#[cfg(feature = "verify")]
mod key_file;
pub mod keystone;
#[cfg(feature = "verify")]
pub mod launch;
#[cfg(feature = "verify")]
mod memo;
pub mod nitro;
#[cfg(feature = "attest")]
mod platform;
#[cfg(feature = "attest")]
mod sealing;
pub mod sev_snp;
pub mod sgx;
#[cfg(feature = "verify")]
mod signature;
#[cfg(any(feature = "attest", feature = "verify"))]
pub mod simulated;
pub mod tdx;
pub mod tpm;
pub mod trustzone;
#[cfg(feature = "attest")]
mod tsm;
#[cfg(feature = "verify")]
mod x509;

#[cfg(feature = "verify")]
use nautilus_core::{TeeKind, TeeVerifier, TrustAnchorError, TrustAnchors, VerifierSet};
#[cfg(feature = "attest")]
pub use platform::{Platform, PlatformOptions, devices};
#[cfg(feature = "verify")]
pub use signature::signatures_verified;

/// The list: one line for every TEE whose evidence can be verified. The simulated TEE is never on it. Vendors'
/// roots are built in; `anchors` are what the relying party vouches for where no vendor does.
///
/// # Errors
/// If an anchor cannot be used as what it is given for.
#[cfg(feature = "verify")]
pub fn verifiers(anchors: &TrustAnchors) -> Result<Vec<Box<dyn TeeVerifier>>, TrustAnchorError> {
    Ok(vec![
        // In the order in which raw bytes are recognised.
        Box::new(sgx::Verifier::intel()),
        Box::new(tdx::Verifier::intel()),
        Box::new(sev_snp::Verifier::amd()),
        Box::new(nitro::Verifier::aws()),
        Box::new(tpm::Verifier::new(anchors)?),
        Box::new(trustzone::Verifier::new(anchors)?),
        // Last: a report has no mark, and is known by its length.
        Box::new(keystone::Verifier::new(anchors)?),
    ])
}

/// A verifier of `tee` that knows `root_der`, one certificate, in the place of the vendor's root: for
/// [`VerifierSet::dangerous_with_stand_in`]. None where the TEE has no vendor's root, or the certificate is not of the
/// kind.
#[cfg(feature = "verify")]
pub fn stand_in(tee: TeeKind, root_der: Vec<u8>) -> Option<Box<dyn TeeVerifier>> {
    match tee {
        TeeKind::Sgx => Some(Box::new(sgx::Verifier::with_root(root_der, tee))),
        TeeKind::Tdx => Some(Box::new(tdx::Verifier::with_root(root_der))),
        TeeKind::Sev => {
            let root = sev_snp::Root::in_place_of_amd(root_der)?;
            Some(Box::new(sev_snp::Verifier::with_roots(vec![root], tee)))
        }
        TeeKind::Nitro => Some(Box::new(nitro::Verifier::with_root(root_der))),
        TeeKind::TrustZone | TeeKind::Keystone | TeeKind::Tpm | TeeKind::Simulated => None,
    }
}

/// Verifiers of everything on the list, and of nothing simulated.
///
/// # Errors
/// If an anchor cannot be used as what it is given for.
#[cfg(feature = "verify")]
pub fn production(anchors: &TrustAnchors) -> Result<VerifierSet, TrustAnchorError> {
    #[expect(
        clippy::expect_used,
        reason = "the list holds no simulated TEE, and a test holds the list to that"
    )]
    Ok(VerifierSet::production(verifiers(anchors)?).expect("the list holds no simulated TEE"))
}

#[cfg(test)]
#[cfg(feature = "verify")]
mod tests {
    use nautilus_core::TeeKind;

    use super::*;

    #[test]
    fn the_list_makes_a_production_set_without_repetition() {
        let none = TrustAnchors::default();
        let tees: Vec<TeeKind> = verifiers(&none)
            .unwrap()
            .iter()
            .map(|verifier| verifier.descriptor().tee)
            .collect();
        assert_eq!(
            tees,
            [
                TeeKind::Sgx,
                TeeKind::Tdx,
                TeeKind::Sev,
                TeeKind::Nitro,
                TeeKind::Tpm,
                TeeKind::TrustZone,
                TeeKind::Keystone
            ]
        );
        assert!(VerifierSet::production(verifiers(&none).unwrap()).is_ok());
    }
}
