//! Credentials: a secret that is encrypted to an endorsement key, together with an attestation key's name. A TPM gives
//! it back (`TPM2_ActivateCredential`) only if both keys are in it. Nothing of libtss2 is used: TCG, *Trusted
//! Platform Module Library, Part 1: Architecture*, "Credential Protection", "KDFa()", "KDFe()" and the annexes on
//! RSA and ECC ("Secret sharing"); *Part 3: Commands*, "TPM2_MakeCredential".

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepPublicEncryptingKey,
    PublicEncryptingKey, PublicKeyComponents,
};
use nautilus_core::VerifyError;
use zeroize::Zeroizing;

use super::credential_file::Credential;
use super::public::{Curve, Public, PublicKey};
use super::wire::HashAlgorithm;

/// Longest secret: a credential is no longer than a digest by SHA-256, the shortest hash of an endorsement key.
pub(super) const SECRET_LEN: usize = 32;

/// Random bytes for one enrolment, from the caller: nothing here draws them. Use none twice.
pub struct Randomness {
    /// What the TPM is to give back.
    pub secret: [u8; SECRET_LEN],
    /// What the encryption keys are derived from, or the ephemeral key's private part.
    pub seed: [u8; 64],
}

impl Drop for Randomness {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
        zeroize::Zeroize::zeroize(&mut self.seed);
    }
}

/// `TPM2_MakeCredential` without a TPM: encrypts the secret so that the TPM of `ek` gives it to who can use the key
/// named `name` in the same TPM.
pub(super) fn make_credential(
    ek: &Public,
    name: &[u8],
    randomness: &Randomness,
) -> Result<Credential, VerifyError> {
    let hash = ek.name_algorithm;
    let Some(bits) = ek.symmetric_bits else {
        return Err(unusable("it protects nothing with a symmetric cipher"));
    };
    let (seed, encrypted_secret) = share_seed(ek, hash, &randomness.seed)?;
    let cipher_key = kdfa(hash, &seed, b"STORAGE\0", name, usize::from(bits).div_ceil(8));
    let mut identity = Zeroizing::new(tpm2b(&randomness.secret)?);
    encrypt(&cipher_key, &mut identity)?;
    let hmac_key = kdfa(hash, &seed, b"INTEGRITY\0", &[], hash.digest_len());
    let integrity = hmac_of(hash, &hmac_key, &[&identity, name]);
    let id_object = [tpm2b(&integrity)?.as_slice(), &identity].concat();
    Ok(Credential {
        credential_blob: tpm2b(&id_object)?,
        encrypted_secret: tpm2b(&encrypted_secret)?,
    })
}

/// The seed of the protection, and what tells it to the TPM and to nobody else.
fn share_seed(
    ek: &Public,
    hash: HashAlgorithm,
    seed: &[u8; 64],
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), VerifyError> {
    const LABEL: &[u8] = b"IDENTITY\0";
    match &ek.key {
        PublicKey::Rsa { modulus, exponent } => {
            let seed = Zeroizing::new(seed.iter().copied().take(hash.digest_len()).collect::<Vec<u8>>());
            let exponent = exponent.to_be_bytes();
            let leading = exponent.iter().take_while(|byte| **byte == 0).count();
            let components = PublicKeyComponents {
                n: modulus.as_slice(),
                e: exponent.get(leading..).unwrap_or_default(),
            };
            let key: Result<PublicEncryptingKey, _> = components.try_into();
            let key = key.and_then(OaepPublicEncryptingKey::new);
            let key = key.map_err(|_| unusable("its RSA key is none"))?;
            let oaep = match hash {
                HashAlgorithm::Sha256 => &OAEP_SHA256_MGF1SHA256,
                HashAlgorithm::Sha384 => &OAEP_SHA384_MGF1SHA384,
                HashAlgorithm::Sha512 => &OAEP_SHA512_MGF1SHA512,
            };
            let mut encrypted = vec![0; key.ciphertext_size()];
            key.encrypt(oaep, &seed, &mut encrypted, Some(LABEL))
                .map_err(|_| unusable("nothing can be encrypted to its RSA key"))?;
            Ok((seed, encrypted))
        }
        PublicKey::Ecc { curve, x, .. } => {
            let algorithm = match curve {
                Curve::P256 => &ECDH_P256,
                Curve::P384 => &ECDH_P384,
            };
            let scalar = Zeroizing::new(
                seed.iter()
                    .copied()
                    .take(curve.coordinate_len())
                    .collect::<Vec<u8>>(),
            );
            let ephemeral = PrivateKey::from_private_key(algorithm, &scalar).map_err(|_| {
                unusable("the random seed gives no ephemeral key for its curve: draw another")
            })?;
            let point = ephemeral
                .compute_public_key()
                .map_err(|_| unusable("the ephemeral key has no public part"))?;
            let coordinates = point
                .as_ref()
                .get(1..)
                .and_then(|both| both.split_at_checked(curve.coordinate_len()));
            let Some((own_x, own_y)) = coordinates else {
                return Err(unusable("the ephemeral key's public part is no point"));
            };
            let theirs = UnparsedPublicKey::new(algorithm, ek.key.point().unwrap_or_default());
            let seed = agreement::agree(
                &ephemeral,
                theirs,
                unusable("its point is not on its curve"),
                |shared| Ok(kdfe(hash, shared, LABEL, own_x, x)),
            )?;
            Ok((seed, [tpm2b(own_x)?, tpm2b(own_y)?].concat()))
        }
    }
}

/// KDFa: counter mode of SP 800-108 over HMAC, with no second context.
fn kdfa(hash: HashAlgorithm, key: &[u8], label: &[u8], context: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    derive(hash, length, |counter, bits| {
        hmac_of(hash, key, &[&counter, label, context, &bits])
    })
}

/// KDFe: the concatenation KDF of SP 800-56A.
fn kdfe(
    hash: HashAlgorithm,
    shared: &[u8],
    label: &[u8],
    party_u: &[u8],
    party_v: &[u8],
) -> Zeroizing<Vec<u8>> {
    derive(hash, hash.digest_len(), |counter, _| {
        Zeroizing::new(hash.digest([&counter, shared, label, party_u, party_v]))
    })
}

/// As many blocks as are needed, the first of which has number 1.
fn derive(
    hash: HashAlgorithm,
    length: usize,
    block: impl Fn([u8; 4], [u8; 4]) -> Zeroizing<Vec<u8>>,
) -> Zeroizing<Vec<u8>> {
    let bits = u32::try_from(length.saturating_mul(8))
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let mut derived = Zeroizing::new(Vec::with_capacity(length.saturating_add(hash.digest_len())));
    for counter in 1..=u32::MAX {
        if derived.len() >= length {
            break;
        }
        derived.extend_from_slice(&block(counter.to_be_bytes(), bits));
    }
    derived.truncate(length);
    derived
}

fn hmac_of(hash: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let algorithm = match hash {
        HashAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
        HashAlgorithm::Sha512 => hmac::HMAC_SHA512,
    };
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    Zeroizing::new(context.sign().as_ref().to_vec())
}

/// AES in CFB mode. The initial vector is zero, since no key is used twice.
fn encrypt(key: &[u8], in_out: &mut [u8]) -> Result<(), VerifyError> {
    let algorithm = match key.len() {
        16 => &AES_128,
        _ => &AES_256,
    };
    UnboundCipherKey::new(algorithm, key)
        .and_then(EncryptingKey::cfb128)
        .and_then(|key| key.less_safe_encrypt(in_out, EncryptionContext::Iv128(FixedLength::from([0; 16]))))
        .map(|_| ())
        .map_err(|_| unusable("its symmetric cipher is none"))
}

fn tpm2b(bytes: &[u8]) -> Result<Vec<u8>, VerifyError> {
    let length = u16::try_from(bytes.len()).map_err(|_| unusable("what is encrypted to it is too long"))?;
    Ok([&length.to_be_bytes(), bytes].concat())
}

fn unusable(why: &str) -> VerifyError {
    VerifyError::AttributeInvalid {
        what: format!("endorsement key cannot be used for credential activation: {why}"),
    }
}
