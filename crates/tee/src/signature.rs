//! The one place where signatures are verified.
//!
//! Signatures are what verification costs: all else is reading and hashing. Each is counted, so that tests hold every
//! format to the number that its documentation states, and a pile of hostile documents to a [`Budget`].

use std::cell::Cell;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ed25519_dalek::hazmat::raw_verify;
use ed25519_dalek::{Signature, VerifyingKey};
use sha3::Sha3_512;

/// A signature that is not the key's over the message; or the key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

thread_local! {
    static VERIFIED: Cell<u64> = const { Cell::new(0) };
}

/// How many signatures and authentication codes this thread has verified, good ones and bad ones.
/// What a call cost is the difference across it. Nothing depends on the number.
pub fn signatures_verified() -> u64 {
    VERIFIED.get()
}

fn count() {
    VERIFIED.set(VERIFIED.get().saturating_add(1));
}

/// By a key that was parsed, with the algorithm that it was parsed for.
pub(crate) fn by_key(key: &ParsedPublicKey, message: &[u8], signature: &[u8]) -> Result<(), Invalid> {
    count();
    key.verify_sig(message, signature).map_err(|_| Invalid)
}

/// By a key that was parsed, over a message of which only the digest is there.
pub(crate) fn by_key_over_digest(
    key: &ParsedPublicKey,
    digest: &Digest,
    signature: &[u8],
) -> Result<(), Invalid> {
    count();
    key.verify_digest_sig(digest, signature).map_err(|_| Invalid)
}

/// By a key in its bytes: an uncompressed point, or an `RSAPublicKey` in DER.
pub(crate) fn by_bytes(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Invalid> {
    count();
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .map_err(|_| Invalid)
}

/// By modulus and exponent.
pub(crate) fn by_rsa(
    parameters: &RsaParameters,
    key: &RsaPublicKeyComponents<&[u8]>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Invalid> {
    count();
    key.verify(parameters, message, signature).map_err(|_| Invalid)
}

/// By Ed25519 with SHA3-512 in the place of SHA-512, without the cofactor (RFC 8032, section 5.1.7).
pub(crate) fn by_ed25519_sha3(
    key: &VerifyingKey,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), Invalid> {
    count();
    raw_verify::<Sha3_512>(key, message, &Signature::from_bytes(signature)).map_err(|_| Invalid)
}

/// An authentication code by a secret.
pub(crate) fn by_secret(key: &hmac::Key, message: &[u8], code: &[u8]) -> Result<(), Invalid> {
    count();
    hmac::verify(key, message, code).map_err(|_| Invalid)
}

/// Signatures that may still be verified for one piece of evidence.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<usize>,
    overdrawn: Cell<bool>,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    pub const fn of(signatures: usize) -> Self {
        Self {
            left: Cell::new(signatures),
            overdrawn: Cell::new(false),
        }
    }

    /// Takes one signature out, before it is verified.
    pub fn spend(&self) -> Result<(), Exhausted> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.overdrawn.set(true);
                Err(Exhausted)
            }
        }
    }

    /// Takes out what was spent on something that is remembered now, so that the verdict does not depend on that.
    pub fn spend_again(&self, signatures: usize) -> Result<(), Exhausted> {
        (0..signatures).try_for_each(|_| self.spend())
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.left.get()
    }

    /// Whether a signature was asked for that it did not have.
    pub fn is_overdrawn(&self) -> bool {
        self.overdrawn.get()
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn a_budget_ends() {
        let budget = Budget::of(2);
        assert_eq!([budget.spend(), budget.spend()], [Ok(()), Ok(())]);
        assert!(!budget.is_overdrawn());
        assert_eq!([budget.spend(), budget.spend()], [Err(Exhausted), Err(Exhausted)]);
        assert!(budget.is_overdrawn());
    }

    #[test]
    fn bad_signatures_count_as_well() {
        let before = signatures_verified();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        assert_eq!(by_secret(&key, b"message", &[0; 32]), Err(Invalid));
        let code = hmac::sign(&key, b"message");
        assert_eq!(by_secret(&key, b"message", code.as_ref()), Ok(()));
        assert_eq!(signatures_verified() - before, 2);
    }

    /// Whoever verifies a signature elsewhere escapes the count. `simulated` signs.
    #[test]
    fn nothing_else_verifies_signatures() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        assert!(files.len() > 60, "{files:?}");
        let calls = [
            ".verify_sig(",
            ".verify_digest_sig(",
            "UnparsedPublicKey::",
            "raw_verify",
            "hmac::verify(",
        ];
        for file in files {
            let path = file.to_string_lossy().replace('\\', "/");
            let exempt = [
                "/src/signature.rs",
                "/src/simulated",
                "/tests.rs",
                // Its key of that name is for agreement.
                "/tpm/credential.rs",
            ];
            if exempt.iter().any(|part| path.contains(part)) {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for call in calls {
                assert!(
                    !text.contains(call),
                    "{path} verifies by `{call}`, past crate::signature"
                );
            }
        }
    }

    fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, files);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                files.push(path);
            }
        }
    }
}
