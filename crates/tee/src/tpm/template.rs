//! The keys that are made in the TPM, as templates (`TPMT_PUBLIC`). A primary key follows from its hierarchy's seed
//! and its template: the same template gives the same key after each start, and nothing need be stored.

use sha2::{Digest as _, Sha256};

use super::public::{
    ALG_AES, ALG_CFB, ALG_ECC, ALG_RSA, DECRYPT, ECC_NIST_P256, ECC_NIST_P384, FIXED_PARENT, FIXED_TPM,
    RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN,
};
use super::wire::{ALG_ECDSA, ALG_NULL, ALG_RSASSA, HashAlgorithm};

/// `TPMA_OBJECT`: the empty password serves; only the policy serves, for what needs the role ADMIN; wrong passwords do
/// not count towards the lockout.
const USER_WITH_AUTH: u32 = 1 << 6;
const ADMIN_WITH_POLICY: u32 = 1 << 7;
const NO_DA: u32 = 1 << 10;
const OF_THIS_TPM: u32 = FIXED_TPM | FIXED_PARENT;

const ALG_KEYEDHASH: u16 = 0x0008;
/// What sets our attestation key apart from everybody else's in the same hierarchy.
const AK_LABEL: &[u8] = b"nautilus-tpm-ak/1";
const RSA_BITS: u16 = 2048;
const RSA_BYTES: usize = 256;
const P256_BYTES: usize = 32;

/// The policy of endorsement keys in the low range: `TPM2_PolicySecret` with the endorsement hierarchy (TCG, *EK
/// Credential Profile*, "PolicyA").
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// The policy of those in the high range, by SHA-384 (there, "PolicyB").
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07,
    0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47,
    0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];

/// Number of the curve P-256 (`TPM_ECC_CURVE`).
pub(super) const P256: u16 = ECC_NIST_P256;

/// Which kind of key: P-256 where the TPM has it, for RSA keys take a chip long to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ecc,
    Rsa,
}

/// The attestation key: it signs what the TPM made, and nothing else, by ECDSA or RSASSA with SHA-256.
pub(super) fn attestation_key(kind: Kind) -> Vec<u8> {
    let attributes = OF_THIS_TPM | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH | NO_DA | RESTRICTED | SIGN;
    let mut unique = Sha256::digest(AK_LABEL).to_vec();
    let template = |kind| Template::new(kind, HashAlgorithm::Sha256, attributes, &[]).u16(ALG_NULL);
    match kind {
        Kind::Ecc => template(ALG_ECC)
            .u16(ALG_ECDSA)
            .u16(HashAlgorithm::Sha256.id().0)
            .u16(ECC_NIST_P256)
            .u16(ALG_NULL)
            .sized(&unique)
            .sized(&[0; P256_BYTES]),
        Kind::Rsa => {
            unique.resize(RSA_BYTES, 0);
            template(ALG_RSA)
                .u16(ALG_RSASSA)
                .u16(HashAlgorithm::Sha256.id().0)
                .u16(RSA_BITS)
                .u32(0)
                .sized(&unique)
        }
    }
    .0
}

/// The storage root key (TCG, *TPM v2.0 Provisioning Guidance*, "Storage Root Key").
pub(super) fn storage_root_key(kind: Kind) -> Vec<u8> {
    let attributes = OF_THIS_TPM | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH | NO_DA | RESTRICTED | DECRYPT;
    match kind {
        Kind::Ecc => {
            parent(ALG_ECC, HashAlgorithm::Sha256, attributes, &[], 128)
                .ecc_p256()
                .0
        }
        Kind::Rsa => {
            parent(ALG_RSA, HashAlgorithm::Sha256, attributes, &[], 128)
                .rsa_2048()
                .0
        }
    }
}

/// An object that holds a secret: who may use its parent, in this TPM, gets it.
pub(super) fn sealed_data() -> Vec<u8> {
    let attributes = OF_THIS_TPM | USER_WITH_AUTH | NO_DA;
    Template::new(ALG_KEYEDHASH, HashAlgorithm::Sha256, attributes, &[])
        .u16(ALG_NULL)
        .sized(&[])
        .0
}

/// An endorsement key by one of the templates of TCG, *EK Credential Profile*, "Default EK Templates".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EkKind {
    /// ECC NIST P-256, template L-2.
    P256,
    /// RSA of 2,048 bits, template L-1.
    Rsa2048,
    /// ECC NIST P-384, template H-3.
    P384,
}

impl EkKind {
    /// All, those first that are made the fastest and that most TPMs have.
    pub const ALL: [Self; 3] = [Self::P256, Self::Rsa2048, Self::P384];

    /// Its name: `p256`, `rsa2048`, `p384`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::Rsa2048 => "rsa2048",
            Self::P384 => "p384",
        }
    }

    /// The index of the TPM's memory where its certificate is (there, "NV Index").
    pub const fn certificate_index(self) -> u32 {
        match self {
            Self::P256 => 0x01c0_000a,
            Self::Rsa2048 => 0x01c0_0002,
            Self::P384 => 0x01c0_0016,
        }
    }

    /// Whether a policy session is needed to use it; the empty password serves otherwise.
    pub(super) const fn by_policy(self) -> bool {
        !matches!(self, Self::P384)
    }

    pub(super) fn template(self) -> Vec<u8> {
        let low = OF_THIS_TPM | SENSITIVE_DATA_ORIGIN | ADMIN_WITH_POLICY | RESTRICTED | DECRYPT;
        match self {
            Self::P256 => parent(ALG_ECC, HashAlgorithm::Sha256, low, &POLICY_A, 128).ecc_p256(),
            Self::Rsa2048 => parent(ALG_RSA, HashAlgorithm::Sha256, low, &POLICY_A, 128).rsa_2048(),
            Self::P384 => parent(
                ALG_ECC,
                HashAlgorithm::Sha384,
                low | USER_WITH_AUTH,
                &POLICY_B_SHA384,
                256,
            )
            .u16(ALG_NULL)
            .u16(ECC_NIST_P384)
            .u16(ALG_NULL)
            .sized(&[])
            .sized(&[]),
        }
        .0
    }
}

/// A key that protects others, by AES in CFB mode.
fn parent(kind: u16, name_hash: HashAlgorithm, attributes: u32, policy: &[u8], bits: u16) -> Template {
    Template::new(kind, name_hash, attributes, policy)
        .u16(ALG_AES)
        .u16(bits)
        .u16(ALG_CFB)
}

struct Template(Vec<u8>);

impl Template {
    fn new(kind: u16, name_hash: HashAlgorithm, attributes: u32, policy: &[u8]) -> Self {
        Self(Vec::new())
            .u16(kind)
            .u16(name_hash.id().0)
            .u32(attributes)
            .sized(policy)
    }

    /// No scheme, P-256, and as `unique` zeros.
    fn ecc_p256(self) -> Self {
        self.u16(ALG_NULL)
            .u16(ECC_NIST_P256)
            .u16(ALG_NULL)
            .sized(&[0; P256_BYTES])
            .sized(&[0; P256_BYTES])
    }

    /// No scheme, 2,048 bits, the default exponent, and as `unique` zeros.
    fn rsa_2048(self) -> Self {
        self.u16(ALG_NULL).u16(RSA_BITS).u32(0).sized(&[0; RSA_BYTES])
    }

    fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A `TPM2B`. None in a template is longer than an RSA key.
    fn sized(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let mut template = self.u16(length);
        template.0.extend_from_slice(bytes);
        template
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tpm::Public;

    #[test]
    fn the_templates_are_of_the_keys_that_they_are_for() {
        for kind in [Kind::Ecc, Kind::Rsa] {
            // A template's modulus is none yet.
            match Public::parse("template", &attestation_key(kind)) {
                Ok(key) => key.check_attestation_key().unwrap(),
                Err(error) => assert!(
                    kind == Kind::Rsa && error.to_string().contains("modulus"),
                    "{error}"
                ),
            }
        }
        let ek = Public::parse("template", &EkKind::P256.template()).unwrap();
        ek.check_endorsement_key().unwrap();
        // TPM2_PolicySecret (part 3): H(H(zeros ‖ command ‖ name of the hierarchy) ‖ no reference).
        let extended = Sha256::new()
            .chain_update([0; 32])
            .chain_update([0, 0, 1, 0x51])
            .chain_update([0x40, 0, 0, 0x0b])
            .finalize();
        assert_eq!(Sha256::digest(extended)[..], POLICY_A);
    }
}
