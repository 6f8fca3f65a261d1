//! What is known of an SGX enclave before it is launched: MRENCLAVE, MRSIGNER, product and version.
//!
//! An enclave's signature structure (SIGSTRUCT) names the MRENCLAVE that the processor will insist on: EINIT refuses
//! the enclave otherwise (Intel SDM, volume 3D, "EINIT"). Gramine's `.sig` file is a SIGSTRUCT. What Gramine measures
//! follows from its loader and a manifest, so MRENCLAVE is computed here only of an enclave whose pages are all there:
//! an SGXS file, or pages given to [`MrEnclave`].

mod mrenclave;
mod sigstruct;

pub use mrenclave::{Chunk, MrEnclave, recognises_sgxs, sgxs};
pub use sigstruct::Sigstruct;

#[cfg(test)]
mod tests;
