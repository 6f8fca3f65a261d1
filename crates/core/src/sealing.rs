//! Keeping secrets at rest so that only the same code on the same platform gets them back.

use zeroize::Zeroizing;

/// Seals and unseals with what one TEE gives for it. What it does is the TEE's; what is sealed, and how often, is
/// the caller's.
pub trait Sealer: Send + Sync {
    /// What protects the sealed bytes.
    fn protection(&self) -> Protection;

    /// Seals `plaintext`: confidential, and any change to the result is noticed.
    ///
    /// # Errors
    /// If the TEE does not do its part.
    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError>;

    /// The plaintext of bytes that this code sealed on this platform. `sealed` is untrusted.
    ///
    /// # Errors
    /// [`SealError::NotOurs`] if they were sealed elsewhere, by other code, or changed; or if the TEE does not do its
    /// part.
    fn unseal(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError>;

    /// The platform's counter, where it has one. Without one, nobody can tell an old copy from the newest.
    fn counter(&self) -> Option<&dyn Counter>;
}

/// A number that only ever grows, kept by hardware.
pub trait Counter: Send + Sync {
    /// Its value now.
    ///
    /// # Errors
    /// If the TEE does not do its part.
    fn read(&self) -> Result<u64, SealError>;

    /// Adds one, and gives the new value, which is durable.
    ///
    /// # Errors
    /// If the TEE does not do its part; the counter may have advanced all the same.
    fn advance(&self) -> Result<u64, SealError>;

    /// Whether it keeps its value even if the host puts back everything that it stores.
    fn outlives_restore(&self) -> bool;
}

/// What protects sealed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// A key that the TEE gives to this code on this platform alone.
    Tee {
        /// What it is bound to, for people: `VCEK, launch measurement and policy`.
        bound_to: String,
    },
    /// A file that its owner alone may read: whoever owns the machine owns the secret.
    FileMode {
        /// The file, for people.
        path: String,
    },
}

/// Why nothing was sealed or unsealed, by who is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The bytes are not what this code sealed on this platform.
    #[error("sealed state was not made by this code on this platform, or was changed since: {what}")]
    NotOurs {
        /// What shows it.
        what: String,
    },
    /// The TEE did not do its part.
    #[error("the TEE did not {action}: {what}")]
    Tee {
        /// What it was asked to do.
        action: &'static str,
        /// Why not.
        what: String,
    },
}
