//! Real SNP reports with their endorsement keys, what becomes of them when a byte changes, and a fake AMD
//! that signs what no real machine does.

#![cfg(feature = "verify")]

#[cfg(test)]
#[path = "snp_vectors/chains.rs"]
mod chains;
#[cfg(test)]
#[path = "snp_vectors/corpus.rs"]
mod corpus;
#[cfg(test)]
#[path = "snp_vectors/cost.rs"]
mod cost;
#[cfg(test)]
#[path = "snp_vectors/fake.rs"]
mod fake;
#[cfg(test)]
#[path = "snp_vectors/hcl.rs"]
mod hcl;
#[cfg(test)]
#[path = "snp_vectors/labels.rs"]
mod labels;
#[cfg(test)]
#[path = "snp_vectors/mutations.rs"]
mod mutations;
#[cfg(test)]
#[path = "snp_vectors/reports.rs"]
mod reports;
#[cfg(test)]
#[path = "snp_vectors/revocation.rs"]
mod revocation;
