//! The keys that sign trusted applications.

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
};
use nautilus_core::{AnchorRole, TrustAnchor};
use sha2::{Digest as _, Sha256};

use super::header::{Algorithm, Header};
use crate::key_file::{self, RsaNumbers};
use crate::launch::LaunchError;
use crate::signature;

const SERVES: &str = "an RSA public key in PEM or DER, as a JSON Web Key (RSA), or as JSON with `n_hex` and `e_hex` \
                      would serve";
/// Bytes of a modulus: 2,048 to 8,192 bits (NIST SP 800-131A, section 3).
const MODULUS_LEN: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key that signs trusted applications: what OP-TEE was built with (`TA_SIGN_KEY`), or a subkey.
#[derive(Clone)]
pub struct SigningKey {
    id: [u8; 32],
    length: usize,
    pss: ParsedPublicKey,
    pkcs1: ParsedPublicKey,
}

impl SigningKey {
    /// Reads a public key as people keep it: PEM, DER, JWK. `origin` is for messages.
    ///
    /// # Errors
    /// [`LaunchError::Key`] says what it is instead, and what would serve.
    pub fn read(file: &[u8], origin: &str) -> Result<Self, LaunchError> {
        let anchor = TrustAnchor {
            role: AnchorRole::OpteeKey,
            bytes: file.to_vec(),
            origin: origin.to_owned(),
        };
        let refused = |what: String| LaunchError::Key {
            what: format!("{origin}: {what}"),
        };
        let forms = key_file::read(&anchor, SERVES).map_err(|error| refused(error.what))?;
        let [form] = forms.as_slice() else {
            return Err(refused(format!(
                "it holds {} keys: give the one that signs",
                forms.len()
            )));
        };
        let RsaNumbers { modulus, exponent } = form
            .rsa()
            .map_err(|why| refused(format!("it is no RSA public key: {SERVES} ({why})")))?;
        Self::of(&modulus, &exponent).map_err(|error| match error {
            LaunchError::Key { what } => refused(what),
            other => other,
        })
    }

    /// Of modulus and exponent, big-endian.
    pub(super) fn of(modulus: &[u8], exponent: &[u8]) -> Result<Self, LaunchError> {
        let trimmed =
            |number: &'_ [u8]| -> Vec<u8> { number.iter().copied().skip_while(|byte| *byte == 0).collect() };
        let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
        let refused = |what: String| LaunchError::Key { what };
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !MODULUS_LEN.contains(&modulus.len()) || !odd(&modulus) {
            let bits = modulus.len().saturating_mul(8);
            return Err(refused(format!(
                "a modulus of {bits} bits: an odd number of 2048 to 8192 bits would serve"
            )));
        }
        // With an exponent of 1 each message would be its own signature.
        if exponent.len() > 4 || !odd(&exponent) || exponent == [1] {
            return Err(refused(
                "its exponent is not an odd number from 3 to 2^32".to_owned(),
            ));
        }
        let components = RsaPublicKeyComponents {
            n: modulus.as_slice(),
            e: exponent.as_slice(),
        };
        let no_key = |error: aws_lc_rs::error::KeyRejected| refused(format!("no RSA public key: {error}"));
        Ok(Self {
            id: Sha256::digest(&modulus).into(),
            length: modulus.len(),
            pss: components
                .to_parsed_public_key(&RSA_PSS_2048_8192_SHA256)
                .map_err(no_key)?,
            pkcs1: components
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                .map_err(no_key)?,
        })
    }

    /// SHA-256 of the modulus.
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    pub(super) fn verify(&self, header: &Header<'_>, of: &str) -> Result<(), LaunchError> {
        let invalid = |more: &str| LaunchError::SignatureInvalid {
            what: format!("over the {of}'s header, by key {}{more}", hex::encode(self.id)),
        };
        if header.signature.len() != self.length {
            let more = format!(
                ": it has {} bytes, those of the key have {}",
                header.signature.len(),
                self.length
            );
            return Err(invalid(&more));
        }
        let key = match header.algorithm {
            Algorithm::PssSha256 => &self.pss,
            Algorithm::Pkcs1Sha256 => &self.pkcs1,
        };
        // OP-TEE verifies the signature over the digest that the header states, before it has computed any.
        let digest = Digest::import_less_safe(&header.digest, &SHA256).map_err(|_| invalid(""))?;
        signature::by_key_over_digest(key, &digest, header.signature).map_err(|_| invalid(""))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &hex::encode(self.id))
            .finish_non_exhaustive()
    }
}
