//! Attestation results that others verify.

#[cfg(test)]
#[path = "result/signed.rs"]
mod signed;
