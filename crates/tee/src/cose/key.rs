//! Keys that verify COSE, of the forms in which people have them.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, EcdsaVerificationAlgorithm,
    ParsedPublicKey,
};

use super::Algorithm;
use crate::key_file::{EcCurve, EcPoint, Jwk, spki_point};

/// A key, with the one algorithm that it is for.
#[derive(Clone)]
pub(crate) enum Key {
    /// A point on a NIST curve.
    Ec {
        /// The key, whose point was checked to lie on the curve.
        key: Box<ParsedPublicKey>,
        /// What it signs with.
        signs: Algorithm,
        /// The uncompressed point.
        point: Vec<u8>,
    },
    /// A secret that both sides know.
    Symmetric {
        /// The key.
        key: Box<hmac::Key>,
        /// SHA-256 of the secret, by which it can be compared without being shown.
        digest: [u8; 32],
    },
}

/// Shortest secret: HMAC-SHA-256 is as strong as its key up to 32 bytes (RFC 2104 §3).
const MIN_SECRET: usize = 32;
const MAX_SECRET: usize = 256;

impl Key {
    /// The key of an uncompressed point, if it lies on the curve.
    pub fn ec(algorithm: Algorithm, point: &[u8]) -> Result<Self, String> {
        let (scheme, length): (&'static EcdsaVerificationAlgorithm, usize) = match algorithm {
            Algorithm::Es256 => (&ECDSA_P256_SHA256_FIXED, 65),
            Algorithm::Es384 => (&ECDSA_P384_SHA384_FIXED, 97),
            Algorithm::Es512 => (&ECDSA_P521_SHA512_FIXED, 133),
            Algorithm::Hmac256 => return Err("a point on a curve is no key for HMAC".to_owned()),
        };
        if point.len() != length || point.first() != Some(&4) {
            return Err(format!(
                "the point is not the {length} bytes of an uncompressed one for {}",
                algorithm.name()
            ));
        }
        let key = ParsedPublicKey::new(scheme, point)
            .map_err(|_| format!("the point lies not on the curve of {}", algorithm.name()))?;
        Ok(Self::Ec {
            key: Box::new(key),
            signs: algorithm,
            point: point.to_vec(),
        })
    }

    /// The key of a secret.
    pub fn symmetric(secret: &[u8]) -> Result<Self, String> {
        if !(MIN_SECRET..=MAX_SECRET).contains(&secret.len()) {
            return Err(format!(
                "a secret of {} bytes, not {MIN_SECRET} to {MAX_SECRET}",
                secret.len()
            ));
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret);
        Ok(Self::Symmetric {
            key: Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)),
            digest: digest.as_ref().try_into().unwrap_or_default(),
        })
    }

    /// The algorithm that it is for.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ec { signs, .. } => *signs,
            Self::Symmetric { .. } => Algorithm::Hmac256,
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ec { point, .. } => write!(f, "{} {}", self.algorithm().name(), hex::encode(point)),
            Self::Symmetric { .. } => f.write_str("HMAC 256/256 secret"),
        }
    }
}

/// The key of a SubjectPublicKeyInfo in DER (RFC 5480).
pub(crate) fn spki(der: &[u8]) -> Result<Key, String> {
    of_point(&spki_point(der)?)
}

/// The key of a JWK of type `EC` or `oct`.
pub(crate) fn jwk(jwk: &Jwk) -> Result<Key, String> {
    match jwk {
        Jwk::Ec(jwk) => of_point(&jwk.point()?),
        Jwk::Oct(jwk) => Key::symmetric(&jwk.secret()?),
        Jwk::Rsa(_) | Jwk::Okp(_) => Err("the JWK is of another type than EC or oct".to_owned()),
    }
}

fn of_point(point: &EcPoint) -> Result<Key, String> {
    let algorithm = match point.curve {
        EcCurve::P256 => Algorithm::Es256,
        EcCurve::P384 => Algorithm::Es384,
        EcCurve::P521 => Algorithm::Es512,
    };
    Key::ec(algorithm, &point.bytes)
}
