//! ARM TrustZone: OP-TEE, PSA and CCA tokens.
