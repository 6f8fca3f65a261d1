//! Public keys as X.509 writes them: `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7; RFC 3279, 2.3; RFC 5480, 2).

use x509_cert::der::asn1::{Any, BitString, Null, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfoOwned};

use super::public::{Curve, PublicKey};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Older endorsement key certificates name the padding as well.
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// Two positive integers in a sequence: `RSAPublicKey` (RFC 8017, A.1.1) and `ECDSA-Sig-Value` (RFC 3279, 2.2.3).
pub(super) fn encode_two_integers(first: &[u8], second: &[u8]) -> Result<Vec<u8>, x509_cert::der::Error> {
    let (first, second) = (UintRef::new(first)?.to_der()?, UintRef::new(second)?.to_der()?);
    Any::new(Tag::Sequence, [first, second].concat())?.to_der()
}

fn decode_two_integers(der: &[u8]) -> Result<(UintRef<'_>, UintRef<'_>), x509_cert::der::Error> {
    let mut reader = SliceReader::new(der)?;
    let both = reader.sequence(|reader| {
        Ok::<_, x509_cert::der::Error>((UintRef::decode(reader)?, UintRef::decode(reader)?))
    })?;
    reader.finish()?;
    Ok(both)
}

/// The key in a `SubjectPublicKeyInfo`: RSA of 2,048 to 4,096 bits, P-256 or P-384.
pub(super) fn key_in(info: &SubjectPublicKeyInfoOwned) -> Result<PublicKey, String> {
    let bits = info
        .subject_public_key
        .as_bytes()
        .ok_or("its key is no whole number of bytes")?;
    match info.algorithm.oid {
        RSA_ENCRYPTION | RSAES_OAEP => {
            let (modulus, exponent) =
                decode_two_integers(bits).map_err(|error| format!("its RSA key: {error}"))?;
            let modulus = modulus.as_bytes();
            let full = modulus.first().is_some_and(|first| first & 0x80 != 0);
            if !full || !matches!(modulus.len(), 256..=512) {
                let bytes = modulus.len();
                return Err(format!(
                    "its RSA key of {bytes} bytes: 2,048 to 4,096 bits are needed"
                ));
            }
            let exponent = exponent.as_bytes().iter().try_fold(0u32, |all, byte| {
                all.checked_mul(256)
                    .and_then(|all| all.checked_add(u32::from(*byte)))
            });
            let exponent = exponent.filter(|exponent| *exponent >= 3 && exponent % 2 == 1);
            Ok(PublicKey::Rsa {
                modulus: modulus.to_vec(),
                exponent: exponent.ok_or("its RSA exponent, which is none")?,
            })
        }
        EC_PUBLIC_KEY => {
            let curve = match info
                .algorithm
                .parameters
                .as_ref()
                .map(Any::decode_as::<ObjectIdentifier>)
            {
                Some(Ok(PRIME256V1)) => Curve::P256,
                Some(Ok(SECP384R1)) => Curve::P384,
                _ => return Err("its curve: P-256 and P-384 are supported".to_owned()),
            };
            let coordinates = bits
                .strip_prefix(&[4])
                .and_then(|both| both.split_at_checked(curve.coordinate_len()));
            match coordinates {
                Some((x, y)) if y.len() == curve.coordinate_len() => Ok(PublicKey::Ecc {
                    curve,
                    x: x.to_vec(),
                    y: y.to_vec(),
                }),
                _ => Err("its point, which is not an uncompressed one of its curve".to_owned()),
            }
        }
        other => Err(format!(
            "its key of algorithm {other}: RSA, P-256 and P-384 are supported"
        )),
    }
}

/// The key in a `SubjectPublicKeyInfo` in DER.
pub(super) fn parse(der: &[u8]) -> Result<PublicKey, String> {
    let info = SubjectPublicKeyInfoOwned::from_der(der).map_err(|error| error.to_string())?;
    key_in(&info)
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
