//! PSA tokens: those of TF-M and Veraison, and sets of claims signed here.

#![cfg(feature = "verify")]

#[cfg(test)]
#[path = "psa_vectors/anchors.rs"]
mod anchors;
#[cfg(test)]
#[path = "psa_vectors/claim_sets.rs"]
mod claim_sets;
#[cfg(test)]
#[path = "psa_vectors/token.rs"]
mod token;
#[cfg(test)]
#[path = "psa_vectors/tokens.rs"]
mod tokens;
