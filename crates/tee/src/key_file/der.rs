//! DER: which structure it is, and the keys in it.

use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::{EcCurve, EcPoint, KeyForm, PRIVATE, RsaNumbers};

/// `rsaEncryption` (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-Ed25519` (RFC 8410, section 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// `id-ecPublicKey`, and the curves below (RFC 5480, section 2.1.1).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The version of a certificate, which one of version 1 leaves out.
const EXPLICIT_0: u8 = 0xa0;

/// The form of which these bytes are, by the tags that they start with; none if they are of no known one. Whether
/// the rest is as it must be is found by who reads it.
pub(super) fn form(der: &[u8]) -> Option<Result<KeyForm, String>> {
    let (SEQUENCE, inside) = enter(der)? else {
        return None;
    };
    let bytes = || der.to_vec();
    match enter(inside)? {
        (SEQUENCE, first) => match enter(first)? {
            (OBJECT_IDENTIFIER, _) => Some(Ok(KeyForm::Spki(bytes()))),
            (INTEGER | EXPLICIT_0, _) => Some(Ok(KeyForm::Certificate(bytes()))),
            _ => None,
        },
        // Private keys start with their version, of one byte (RFC 5208, RFC 5915, RFC 8017): no modulus is as short.
        (INTEGER, _) if inside.get(1) == Some(&1) => Some(Err(PRIVATE.to_owned())),
        (INTEGER, _) => Some(Ok(KeyForm::Pkcs1(bytes()))),
        _ => None,
    }
}

/// A tag, and what follows its length.
fn enter(der: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let further = match length & 0x80 {
        0 => 0,
        _ => usize::from(length & 0x7f),
    };
    Some((*tag, rest.get(further..)?))
}

pub(super) fn spki_rsa(der: &[u8]) -> Result<RsaNumbers, String> {
    let info = spki(der)?;
    if info.algorithm.oid != RSA_ENCRYPTION {
        return Err(format!(
            "a public key of algorithm {}, not of RSA",
            info.algorithm.oid
        ));
    }
    pkcs1(bits(&info)?)
}

pub(super) fn pkcs1(der: &[u8]) -> Result<RsaNumbers, String> {
    let numbers = SliceReader::new(der).and_then(|mut reader| {
        let numbers = reader.sequence(|reader| {
            let (modulus, exponent) = (UintRef::decode(reader)?, UintRef::decode(reader)?);
            Ok::<_, x509_cert::der::Error>(RsaNumbers::of(modulus.as_bytes(), exponent.as_bytes()))
        })?;
        reader.finish()?;
        Ok(numbers)
    });
    numbers.map_err(|error| error.to_string())
}

pub(super) fn spki_ed25519(der: &[u8]) -> Result<[u8; 32], String> {
    let info = spki(der)?;
    if info.algorithm.oid != ED25519 {
        return Err(format!(
            "a public key of algorithm {}, not of Ed25519",
            info.algorithm.oid
        ));
    }
    if info.algorithm.parameters.is_some() {
        return Err("the algorithm has parameters, which Ed25519 has none of".to_owned());
    }
    let key = bits(&info)?;
    key.try_into()
        .map_err(|_| format!("a key of {} bytes, not 32", key.len()))
}

/// The point of a `SubjectPublicKeyInfo` of an elliptic curve (RFC 5480). Whether it lies on the curve is not looked
/// at.
///
/// # Errors
/// What else it is: another algorithm or curve is named.
pub(crate) fn spki_point(der: &[u8]) -> Result<EcPoint, String> {
    let info = spki(der)?;
    if info.algorithm.oid != EC_PUBLIC_KEY {
        return Err(format!(
            "a public key of algorithm {}, not of an elliptic curve",
            info.algorithm.oid
        ));
    }
    let curve = info
        .algorithm
        .parameters_oid()
        .map_err(|error| format!("the curve is not named: {error}"))?;
    let curve = match curve {
        P256 => EcCurve::P256,
        P384 => EcCurve::P384,
        P521 => EcCurve::P521,
        other => return Err(format!("a key on curve {other}, not on P-256, P-384 or P-521")),
    };
    Ok(EcPoint {
        curve,
        bytes: bits(&info)?.to_vec(),
    })
}

fn spki(der: &[u8]) -> Result<SubjectPublicKeyInfoRef<'_>, String> {
    SubjectPublicKeyInfoRef::from_der(der).map_err(|error| error.to_string())
}

fn bits<'a>(info: &SubjectPublicKeyInfoRef<'a>) -> Result<&'a [u8], String> {
    let bits = info.subject_public_key.as_bytes();
    bits.ok_or_else(|| "the public key is not whole bytes".to_owned())
}

/// The public key that a certificate is for. The certificate vouches for nothing: the relying party does.
pub(crate) fn spki_of_certificate(der: &[u8]) -> Result<Vec<u8>, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    let info = certificate.tbs_certificate().subject_public_key_info();
    info.to_der().map_err(|error| error.to_string())
}
