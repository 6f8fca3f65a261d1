//! Banks of registers, by their digest algorithm.

use aws_lc_rs::digest;

/// A bank of registers whose extension can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bank {
    /// SHA-1. Logs of the older layout have no other; what it vouches for is weak.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384; the only one of a trust domain.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Bank {
    const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name that the TPM's tools use, such as `sha256`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The bank of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bank| bank.as_str() == name)
    }

    /// Its `TPM_ALG_ID` (TCG Algorithm Registry, table 3).
    pub const fn algorithm(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    pub(super) fn of_algorithm(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|bank| bank.algorithm() == id)
    }

    /// Length of its digests and registers in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no digest is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// What extending `register` by `digest` gives.
    pub(super) fn extend(self, register: &[u8], digest: &[u8]) -> Vec<u8> {
        let mut context = digest::Context::new(self.hash());
        context.update(register);
        context.update(digest);
        context.finish().as_ref().to_vec()
    }

    /// Whether `digest` is that of `bytes`.
    pub(super) fn is_digest_of(self, digest: &[u8], bytes: &[u8]) -> bool {
        digest::digest(self.hash(), bytes).as_ref() == digest
    }

    const fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}
