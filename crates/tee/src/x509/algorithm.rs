//! By which algorithm a document is signed, and whether it is (RFC 4055, RFC 5758).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode as _, Encode as _, Error, Reader as _, SliceReader, Tag, TagNumber};

use super::document::{SequenceValue as _, Signed, any};
use super::public_key::PublicKey;
use crate::signature;

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const SHA1_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const ECDSA_WITH_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");

/// The digests that are relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

/// How a document is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Ecdsa(Digest),
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Digest),
    /// RSASSA-PSS with the same digest in its mask, and a salt as long as the digest.
    RsaPss(Digest),
}

/// Why a document is not signed by a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureFault {
    #[error("is signed over its SHA-1 digest, which collides")]
    Sha1,
    #[error("is signed by algorithm {0}, which is not supported with its issuer's key")]
    Algorithm(String),
    #[error("has a signature that is not its issuer's")]
    Invalid,
}

impl Signed<'_> {
    /// By which algorithm it is signed, where that is one of those here with the parameters that belong to it.
    pub fn scheme(&self) -> Option<Scheme> {
        scheme(self.algorithm).ok().flatten()
    }

    /// Verifies it by a key that was parsed for its scheme.
    pub fn verify_by(&self, key: &ParsedPublicKey) -> Result<(), signature::Invalid> {
        signature::by_key(key, self.tbs, self.signature)
    }

    /// Verifies it by its issuer's key, whatever the two are.
    pub fn verify(&self, key: &PublicKey<'_>) -> Result<(), SignatureFault> {
        let Some(scheme) = self.scheme() else {
            return Err(match algorithm_identifier(self.algorithm) {
                Ok((SHA1_WITH_RSA | ECDSA_WITH_SHA1, _)) => SignatureFault::Sha1,
                Ok((other, _)) => SignatureFault::Algorithm(other.to_string()),
                Err(error) => SignatureFault::Algorithm(error.to_string()),
            });
        };
        let (algorithm, bytes) = verification(scheme, key).ok_or_else(|| {
            let id = algorithm_identifier(self.algorithm).map(|(id, _)| id.to_string());
            SignatureFault::Algorithm(id.unwrap_or_default())
        })?;
        signature::by_bytes(algorithm, bytes, self.tbs, self.signature).map_err(|_| SignatureFault::Invalid)
    }
}

fn verification<'a>(
    scheme: Scheme,
    key: &PublicKey<'a>,
) -> Option<(&'static dyn VerificationAlgorithm, &'a [u8])> {
    use Digest::{Sha256, Sha384, Sha512};
    let algorithm: &'static dyn VerificationAlgorithm = match (key, scheme) {
        (PublicKey::P256(_), Scheme::Ecdsa(Sha256)) => &ECDSA_P256_SHA256_ASN1,
        (PublicKey::P256(_), Scheme::Ecdsa(Sha384)) => &ECDSA_P256_SHA384_ASN1,
        (PublicKey::P256(_), Scheme::Ecdsa(Sha512)) => &ECDSA_P256_SHA512_ASN1,
        (PublicKey::P384(_), Scheme::Ecdsa(Sha256)) => &ECDSA_P384_SHA256_ASN1,
        (PublicKey::P384(_), Scheme::Ecdsa(Sha384)) => &ECDSA_P384_SHA384_ASN1,
        (PublicKey::P384(_), Scheme::Ecdsa(Sha512)) => &ECDSA_P384_SHA512_ASN1,
        (PublicKey::Rsa { .. }, Scheme::RsaPkcs1(Sha256)) => &RSA_PKCS1_2048_8192_SHA256,
        (PublicKey::Rsa { .. }, Scheme::RsaPkcs1(Sha384)) => &RSA_PKCS1_2048_8192_SHA384,
        (PublicKey::Rsa { .. }, Scheme::RsaPkcs1(Sha512)) => &RSA_PKCS1_2048_8192_SHA512,
        (PublicKey::Rsa { .. }, Scheme::RsaPss(Sha256)) => &RSA_PSS_2048_8192_SHA256,
        (PublicKey::Rsa { .. }, Scheme::RsaPss(Sha384)) => &RSA_PSS_2048_8192_SHA384,
        (PublicKey::Rsa { .. }, Scheme::RsaPss(Sha512)) => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    };
    let bytes: &[u8] = match key {
        PublicKey::Rsa { der, .. } => der,
        PublicKey::P256(point) => point.as_slice(),
        PublicKey::P384(point) => point.as_slice(),
    };
    Some((algorithm, bytes))
}

/// ECDSA has no parameters (RFC 5758, 3.2); those of PKCS #1 are NULL, and may be left out (RFC 4055, 5).
fn scheme(identifier: &[u8]) -> Result<Option<Scheme>, Error> {
    use Digest::{Sha256, Sha384, Sha512};
    let (id, parameters) = algorithm_identifier(identifier)?;
    let ecdsa = |digest| Ok(parameters.is_none().then_some(Scheme::Ecdsa(digest)));
    let pkcs1 = |digest| {
        Ok(parameters
            .is_none_or(AnyRef::is_null)
            .then_some(Scheme::RsaPkcs1(digest)))
    };
    match id {
        ECDSA_WITH_SHA256 => ecdsa(Sha256),
        ECDSA_WITH_SHA384 => ecdsa(Sha384),
        ECDSA_WITH_SHA512 => ecdsa(Sha512),
        SHA256_WITH_RSA => pkcs1(Sha256),
        SHA384_WITH_RSA => pkcs1(Sha384),
        SHA512_WITH_RSA => pkcs1(Sha512),
        RSASSA_PSS => match parameters {
            Some(parameters) => Ok(pss(parameters)?.map(Scheme::RsaPss)),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// The digest of RSASSA-PSS (RFC 4055, 3.1), where its mask has the same and the salt its length. All three have to
/// be written: the defaults are SHA-1. The trailer field has one value only; some of AMD's certificates write it
/// although it is the default.
fn pss(parameters: AnyRef<'_>) -> Result<Option<Digest>, Error> {
    let mut reader = SliceReader::new(parameters.sequence_value()?)?;
    let mut field = |number: u32| -> Result<Option<&[u8]>, Error> {
        let tag = Tag::ContextSpecific {
            constructed: true,
            number: TagNumber(number),
        };
        if reader.is_finished() || Tag::peek(&reader)? != tag {
            return Ok(None);
        }
        any(&mut reader).map(|any| Some(any.value()))
    };
    let (hash, mask, salt, trailer) = (field(0)?, field(1)?, field(2)?, field(3)?);
    reader.finish()?;
    let (Some(hash), Some(mask), Some(salt)) = (hash, mask, salt) else {
        return Ok(None);
    };
    let (MGF1, Some(mask_hash)) = algorithm_identifier(mask)? else {
        return Ok(None);
    };
    let (Some(digest), length) = digest(hash)? else {
        return Ok(None);
    };
    let same_mask = digest_of(&mask_hash.to_der()?)? == Some(digest);
    let trailer_is_1 = trailer.is_none_or(|trailer| trailer == [0x02, 0x01, 0x01]);
    Ok((same_mask && salt == [0x02, 0x01, length] && trailer_is_1).then_some(digest))
}

fn digest(identifier: &[u8]) -> Result<(Option<Digest>, u8), Error> {
    let digest = digest_of(identifier)?;
    let length = match digest {
        Some(Digest::Sha256) => 32,
        Some(Digest::Sha384) => 48,
        Some(Digest::Sha512) => 64,
        None => 0,
    };
    Ok((digest, length))
}

fn digest_of(identifier: &[u8]) -> Result<Option<Digest>, Error> {
    let (id, parameters) = algorithm_identifier(identifier)?;
    if !parameters.is_none_or(AnyRef::is_null) {
        return Ok(None);
    }
    Ok(match id {
        SHA256 => Some(Digest::Sha256),
        SHA384 => Some(Digest::Sha384),
        SHA512 => Some(Digest::Sha512),
        _ => None,
    })
}

/// An `AlgorithmIdentifier` in DER.
pub(super) fn algorithm_identifier(der: &[u8]) -> Result<(ObjectIdentifier, Option<AnyRef<'_>>), Error> {
    let mut reader = SliceReader::new(AnyRef::from_der(der)?.sequence_value()?)?;
    let id = ObjectIdentifier::decode(&mut reader)?;
    let parameters = if reader.is_finished() {
        None
    } else {
        Some(any(&mut reader)?)
    };
    reader.finish()?;
    Ok((id, parameters))
}
