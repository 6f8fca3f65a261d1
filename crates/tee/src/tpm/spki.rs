//! Public keys as X.509 writes them: `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7; RFC 3279, 2.3; RFC 5480, 2).

use x509_cert::der::asn1::{Any, BitString, Null, ObjectIdentifier, UintRef};
use x509_cert::der::{Encode as _, Tag};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfoOwned};

use super::public::{Curve, PublicKey};
use crate::x509::{self, KeyFault};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Two positive integers in a sequence: `RSAPublicKey` (RFC 8017, A.1.1) and `ECDSA-Sig-Value` (RFC 3279, 2.2.3).
pub(super) fn encode_two_integers(first: &[u8], second: &[u8]) -> Result<Vec<u8>, x509_cert::der::Error> {
    let (first, second) = (UintRef::new(first)?.to_der()?, UintRef::new(second)?.to_der()?);
    Any::new(Tag::Sequence, [first, second].concat())?.to_der()
}

/// A certified key, if it is one of those that TPMs have: RSA of 2,048 to 4,096 bits, P-256 or P-384.
pub(super) fn key_of(key: Result<x509::PublicKey<'_>, KeyFault>) -> Result<PublicKey, String> {
    let on_curve = |curve: Curve, both: &[u8]| {
        let (x, y) = both.split_at_checked(curve.coordinate_len()).unwrap_or_default();
        Ok(PublicKey::Ecc {
            curve,
            x: x.to_vec(),
            y: y.to_vec(),
        })
    };
    match key.map_err(|fault| format!("it {fault}"))? {
        x509::PublicKey::Rsa {
            modulus, exponent, ..
        } => {
            let full = modulus.first().is_some_and(|first| first & 0x80 != 0);
            if !full || !matches!(modulus.len(), 256..=512) {
                let bytes = modulus.len();
                return Err(format!(
                    "its RSA key of {bytes} bytes: 2,048 to 4,096 bits are needed"
                ));
            }
            let exponent = exponent.iter().try_fold(0u32, |all, byte| {
                all.checked_mul(256)
                    .and_then(|all| all.checked_add(u32::from(*byte)))
            });
            let exponent = exponent.filter(|exponent| *exponent >= 3 && exponent % 2 == 1);
            Ok(PublicKey::Rsa {
                modulus: modulus.to_vec(),
                exponent: exponent.ok_or("its RSA exponent, which is none")?,
            })
        }
        x509::PublicKey::P256([_, both @ ..]) => on_curve(Curve::P256, both),
        x509::PublicKey::P384([_, both @ ..]) => on_curve(Curve::P384, both),
    }
}

/// The key in a `SubjectPublicKeyInfo` in DER.
pub(super) fn parse(der: &[u8]) -> Result<PublicKey, String> {
    key_of(x509::PublicKey::read(der))
}

/// The one encoding of a key as `SubjectPublicKeyInfo`.
pub(super) fn to_der(key: &PublicKey) -> Result<Vec<u8>, x509_cert::der::Error> {
    let (oid, parameters, bits) = match key {
        PublicKey::Rsa { modulus, exponent } => {
            let exponent = exponent.to_be_bytes();
            (
                RSA_ENCRYPTION,
                Any::encode_from(&Null)?,
                encode_two_integers(modulus, &exponent)?,
            )
        }
        PublicKey::Ecc { curve, .. } => {
            let curve = match curve {
                Curve::P256 => PRIME256V1,
                Curve::P384 => SECP384R1,
            };
            (
                EC_PUBLIC_KEY,
                Any::encode_from(&curve)?,
                key.point().unwrap_or_default(),
            )
        }
    };
    let info = SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifier {
            oid,
            parameters: Some(parameters),
        },
        subject_public_key: BitString::from_bytes(&bits)?,
    };
    info.to_der()
}
