//! The laptop's stand-in for a TEE: real formats, a real chain of signatures, and a vendor that anybody can be.
//!
//! It emits SGX quotes (version 3, ECDSA) in the exact DCAP layout, certified by a PCK chain, TCB info, QE identity
//! and CRLs that its own vendor makes and signs at first use. They go through the same verifier as Intel's; only the
//! root differs. **No production verifier set has that root**, so nothing simulated passes for hardware.
//!
//! - `vendor`: makes, keeps and renews the vendor's documents. `vendor/certificates` and `vendor/collateral` are
//!   pure, given keys and `now`.
//! - `platform`, `attest`: what the enclave process links: reads the platform's key, certifies an attestation key,
//!   signs quotes. Neither X.509 nor a verifier is needed for it.
//! - `verify`: the SGX verifier with the vendor's root in place of Intel's.
//!
//! Everything lies in one directory, readable by its owner only:
//!
//! ```text
//! root.der                     the vendor's root certificate; public, and all that a relying party needs
//! collateral.json              TCB info, QE identity and CRLs, renewed before they expire; public
//! vendor/{root,pck-ca,tcb-signing}.key, vendor/{pck-ca,tcb-signing}.der
//! platform/{pck.key,chain.pem,platform.json}
//! ```

mod description;
mod files;
mod key;

#[cfg(feature = "attest")]
mod attest;
#[cfg(feature = "attest")]
mod platform;
#[cfg(feature = "verify")]
mod vendor;
#[cfg(feature = "verify")]
mod verify;

use std::io;
use std::path::PathBuf;

use nautilus_core::{Descriptor, TeeKind, UnixMillis};

#[cfg(feature = "attest")]
pub use attest::{EnclaveMode, Image, SimulatedAttester};
#[cfg(feature = "attest")]
pub use platform::Platform;
#[cfg(feature = "attest")]
pub(crate) use platform::platform;
#[cfg(feature = "verify")]
pub use vendor::{Vendor, read_root};
#[cfg(feature = "verify")]
pub use verify::{verifier, verifier_set};

/// What attester and verifier say they are.
const DESCRIPTOR: Descriptor = Descriptor {
    tee: TeeKind::Simulated,
    format: "SGX quote version 3 of a simulated platform",
};

#[cfg(feature = "verify")]
const ROOT_FILE: &str = "root.der";
const PLATFORM_DIR: &str = "platform";
const PCK_KEY_FILE: &str = "pck.key";
const CHAIN_FILE: &str = "chain.pem";
const DESCRIPTION_FILE: &str = "platform.json";

/// Why the simulated TEE's files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulatedError {
    /// No such file.
    #[error("the simulated TEE has no `{}`: `nautilus up` makes a new one where its directory is absent", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// Others could have read a key, or put another in its place.
    #[error("other users can use `{0}` (mode {mode:03o}): run `chmod {allowed:03o} {0}`", path.display())]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The bits that it should have.
        allowed: u32,
    },
    /// A file that is not as it was written.
    #[error("`{}` is damaged, {what}: remove the simulated TEE's directory, and `nautilus up` makes a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The vendor's certificates are not valid now.
    #[error("the simulated vendor in `{}` is valid from {from} to {until}, not at {now}: set the clock, or remove \
             the directory, and `nautilus up` makes a new one", dir.display())]
    NotValid {
        /// The simulated TEE's directory.
        dir: PathBuf,
        /// When the certificates start.
        from: UnixMillis,
        /// When they end.
        until: UnixMillis,
        /// The time in question.
        now: UnixMillis,
    },
    /// A time in which no certificate can be valid.
    #[error("no certificate can be made at {now}: set the clock")]
    Clock {
        /// The time in question.
        now: UnixMillis,
    },
    /// Cryptography that should not fail did.
    #[error("cryptography failed: {what}")]
    Crypto {
        /// What for, and why.
        what: String,
    },
}

#[cfg(test)]
#[cfg(all(feature = "attest", feature = "verify"))]
mod tests;
