//! Enrolment of an attestation key: proof that it is in the TPM whose endorsement key the maker certifies. It takes two
//! steps, between which the prover answers; what is known in between can be written down.

use std::collections::BTreeMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::VerifyError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::credential::{Randomness, SECRET_LEN, make_credential};
use super::credential_file::Credential;
use super::endorsement_key::{EkCertificate, EndorsementKey};
use super::public::Public;

/// The format's name of what an enrolment leaves behind, the value of the key `format`.
pub const ANCHOR_FORMAT: &str = "nautilus-tpm-ak/1";
/// The format's name of an enrolment that waits for its answer, likewise.
pub const ENROLMENT_FORMAT: &str = "nautilus-tpm-enrolment/1";

/// An enrolment that waits for the TPM's answer. It knows the secret's hash, from which nobody finds the secret, of 256
/// random bits. Whoever can change it decides which key is enrolled: it stays with the verifier.
#[derive(Debug)]
pub struct Enrolment {
    key: EnrolledKey,
    expected: [u8; SECRET_LEN],
}

impl Enrolment {
    /// Most bytes of an enrolment in JSON.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Starts the enrolment of an attestation key, given as `TPM2B_PUBLIC` or `TPMT_PUBLIC`, which the prover says
    /// is in the TPM of `ek`. Its answer to the credential goes to [`Enrolment::confirm`].
    ///
    /// # Errors
    /// If the key is no attestation key, or the endorsement key is of no kind that can be encrypted to.
    pub fn start(
        ek: EndorsementKey,
        ak_public: &[u8],
        randomness: &Randomness,
    ) -> Result<(Self, Credential), VerifyError> {
        let ak = Public::parse("attestation key", ak_public)?;
        ak.check_attestation_key()?;
        let credential = make_credential(ek.public(), &ak.name(), randomness)?;
        let ek = ek.into_certificate();
        let key = EnrolledKey { ak, ek };
        let expected = key.hash_of(&randomness.secret);
        Ok((Self { key, expected }, credential))
    }

    /// The name of the key that is to be enrolled.
    pub fn name(&self) -> Vec<u8> {
        self.key.name()
    }

    /// Compares, in constant time, what the prover returned with the secret.
    ///
    /// # Errors
    /// `KeyNotEnrolled` if it is something else.
    pub fn confirm(self, returned: &[u8]) -> Result<EnrolledKey, VerifyError> {
        let found = self.key.hash_of(returned);
        verify_slices_are_equal(&self.expected, &found).map_err(|_| VerifyError::KeyNotEnrolled {
            what: format!(
                "what was returned for attestation key {} is not the credential's secret: the key is not in the TPM \
                 of that endorsement key, or the answer is to another credential",
                hex::encode(self.key.name())
            ),
        })?;
        Ok(self.key)
    }

    /// What [`Enrolment::from_json`] reads. The secret cannot be found from it.
    pub fn to_json(&self) -> String {
        let written = WrittenEnrolment {
            format: ENROLMENT_FORMAT.to_owned(),
            ak_public: STANDARD.encode(self.key.ak.to_tpm2b()),
            ek_certificate: STANDARD.encode(self.key.ek.der()),
            secret_sha256: hex::encode(self.expected),
        };
        in_json(&written)
    }

    /// Reads an enrolment that the caller itself wrote down: the endorsement key's certificate was verified when it
    /// was started, and is not verified again.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > Self::MAX_LEN {
            return Err(format!("it has more than {} bytes", Self::MAX_LEN));
        }
        let written: WrittenEnrolment = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        check_format(&written.format, ENROLMENT_FORMAT)?;
        let mut expected = [0; SECRET_LEN];
        hex::decode_to_slice(&written.secret_sha256, &mut expected)
            .map_err(|error| format!("its secret_sha256 is no SHA-256 in hex: {error}"))?;
        let key = EnrolledKey::decode(&written.ak_public, &written.ek_certificate)?;
        Ok(Self { key, expected })
    }
}

/// An attestation key that was proven to be in a genuine TPM.
#[derive(Clone, Debug)]
pub struct EnrolledKey {
    ak: Public,
    ek: EkCertificate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEnrolment {
    format: String,
    ak_public: String,
    ek_certificate: String,
    secret_sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    format: String,
    ak_public: String,
    ek_certificate: String,
}

impl EnrolledKey {
    /// The key's name, as the TPM has it.
    pub fn name(&self) -> Vec<u8> {
        self.ak.name()
    }

    /// What the maker says of the TPM that it is in, as [`EndorsementKey::describe`].
    pub fn describe(&self) -> BTreeMap<String, String> {
        self.ek.describe()
    }

    /// The content of a trust anchor of role `tpm-ak`: the key, and the certificate of the TPM that it is in.
    /// Whoever can write it decides which keys count.
    pub fn to_anchor(&self) -> String {
        in_json(&WrittenKey {
            format: ANCHOR_FORMAT.to_owned(),
            ak_public: STANDARD.encode(self.ak.to_tpm2b()),
            ek_certificate: STANDARD.encode(self.ek.der()),
        })
    }

    /// Reads what [`EnrolledKey::to_anchor`] wrote. The relying party vouches for it, as for any trust anchor.
    pub(super) fn of_anchor(bytes: &[u8]) -> Result<Self, String> {
        let written: WrittenKey = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        check_format(&written.format, ANCHOR_FORMAT)?;
        Self::decode(&written.ak_public, &written.ek_certificate)
    }

    fn decode(ak_public: &str, ek_certificate: &str) -> Result<Self, String> {
        let decode = |field: &str, text: &str| {
            STANDARD
                .decode(text)
                .map_err(|error| format!("its {field} is not base64: {error}"))
        };
        let ak = Public::parse("attestation key", &decode("ak_public", ak_public)?)
            .and_then(|ak| ak.check_attestation_key().map(|()| ak))
            .map_err(|error| error.to_string())?;
        let ek = EkCertificate::parse(&decode("ek_certificate", ek_certificate)?)?;
        Ok(Self { ak, ek })
    }

    /// The salted hash of a secret. The salt is what the secret is for, so that no hash serves two enrolments.
    fn hash_of(&self, secret: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(ENROLMENT_FORMAT)
            .chain_update(Sha256::digest(self.ak.to_tpm2b()))
            .chain_update(Sha256::digest(self.ek.der()))
            .chain_update(secret)
            .finalize()
            .into()
    }

    pub(super) const fn endorsement_key(&self) -> &EkCertificate {
        &self.ek
    }
}

fn check_format(found: &str, expected: &str) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let found = found.escape_default();
    Err(format!("its format is `{found}`, not `{expected}`"))
}

fn in_json(written: &impl Serialize) -> String {
    #[expect(clippy::expect_used, reason = "a few texts always serialize")]
    serde_json::to_string(written).expect("a few texts always serialize")
}
