//! Public keys as X.509 writes them: `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7; RFC 3279, 2.3; RFC 5480, 2).

use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Error, Reader as _, SliceReader};

use super::algorithm::algorithm_identifier;
use super::document::{SequenceValue as _, bits};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Older endorsement key certificates of TPMs name the padding as well.
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// A certified key. Whether a point lies on its curve is the cryptography's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey<'a> {
    /// RSA, of any size.
    Rsa {
        /// Without leading zeros.
        modulus: &'a [u8],
        /// Without leading zeros.
        exponent: &'a [u8],
        /// `RSAPublicKey` in DER.
        der: &'a [u8],
        /// The algorithm that names no use beside it, `rsaEncryption`.
        plain: bool,
    },
    /// An uncompressed point on P-256 (SEC 1, 2.3.3).
    P256(&'a [u8; 65]),
    /// An uncompressed point on P-384.
    P384(&'a [u8; 97]),
}

/// Why there is no such key, in words that can follow "the certificate".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFault {
    #[error("has no key that can be read: {0}")]
    Unreadable(Error),
    #[error("has a key of algorithm {0}: RSA, P-256 and P-384 are supported")]
    Algorithm(ObjectIdentifier),
    #[error("has a key on another curve than P-256 and P-384")]
    Curve,
    #[error("has a point that is not an uncompressed one on {0}")]
    Point(&'static str),
}

impl<'a> PublicKey<'a> {
    /// The key in a `SubjectPublicKeyInfo` in DER.
    pub fn read(spki: &'a [u8]) -> Result<Self, KeyFault> {
        let split = || {
            let mut reader = SliceReader::new(AnyRef::from_der(spki)?.sequence_value()?)?;
            let algorithm = algorithm_identifier(reader.tlv_bytes()?)?;
            let key = bits(&mut reader)?;
            reader.finish()?;
            Ok((algorithm, key))
        };
        let ((algorithm, parameters), key) = split().map_err(KeyFault::Unreadable)?;
        match algorithm {
            RSA_ENCRYPTION if !parameters.is_none_or(AnyRef::is_null) => Err(KeyFault::Algorithm(algorithm)),
            RSA_ENCRYPTION | RSAES_OAEP => {
                let (modulus, exponent) = two_integers(key).map_err(KeyFault::Unreadable)?;
                Ok(Self::Rsa {
                    modulus,
                    exponent,
                    der: key,
                    plain: algorithm == RSA_ENCRYPTION,
                })
            }
            EC_PUBLIC_KEY => {
                let curve = parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
                let uncompressed = key.first() == Some(&4);
                match curve {
                    Some(PRIME256V1) => match key.try_into() {
                        Ok(point) if uncompressed => Ok(Self::P256(point)),
                        _ => Err(KeyFault::Point("P-256")),
                    },
                    Some(SECP384R1) => match key.try_into() {
                        Ok(point) if uncompressed => Ok(Self::P384(point)),
                        _ => Err(KeyFault::Point("P-384")),
                    },
                    _ => Err(KeyFault::Curve),
                }
            }
            other => Err(KeyFault::Algorithm(other)),
        }
    }
}

/// `RSAPublicKey` (RFC 8017, A.1.1).
fn two_integers(der: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let mut reader = SliceReader::new(AnyRef::from_der(der)?.sequence_value()?)?;
    let both = (
        UintRef::decode(&mut reader)?.as_bytes(),
        UintRef::decode(&mut reader)?.as_bytes(),
    );
    reader.finish()?;
    Ok(both)
}
