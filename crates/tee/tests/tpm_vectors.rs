//! Quotes of virtual and software TPMs, a TPM in the test that signs what no TPM would, and what becomes
//! of all of them.

#![cfg(feature = "verify")]

#[cfg(test)]
#[path = "tpm_vectors/anchors.rs"]
mod anchors;
#[cfg(test)]
#[path = "tpm_vectors/certificates.rs"]
mod certificates;
#[cfg(test)]
#[path = "tpm_vectors/container.rs"]
mod container;
#[cfg(test)]
#[path = "tpm_vectors/cost.rs"]
mod cost;
#[cfg(test)]
#[path = "tpm_vectors/enrolment.rs"]
mod enrolment;
#[cfg(test)]
#[path = "tpm_vectors/files.rs"]
mod files;
#[cfg(test)]
#[path = "tpm_vectors/genuine.rs"]
mod genuine;
#[cfg(test)]
#[path = "tpm_vectors/mutations.rs"]
mod mutations;
#[cfg(test)]
#[path = "tpm_vectors/quotes.rs"]
mod quotes;
#[cfg(test)]
#[path = "tpm_vectors/software_tpm.rs"]
mod software_tpm;
