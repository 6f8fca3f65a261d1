//! Keys that verify COSE, and the forms in which people have them: SubjectPublicKeyInfo and JWK.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, EcdsaVerificationAlgorithm,
    ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::Algorithm;

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

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// The key of a SubjectPublicKeyInfo in DER (RFC 5480).
pub(crate) fn spki(der: &[u8]) -> Result<Key, String> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|error| error.to_string())?;
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
    let algorithm = match curve {
        P256 => Algorithm::Es256,
        P384 => Algorithm::Es384,
        P521 => Algorithm::Es512,
        other => return Err(format!("a key on curve {other}, not on P-256, P-384 or P-521")),
    };
    let point = info
        .subject_public_key
        .as_bytes()
        .ok_or("the public key is not whole bytes")?;
    Key::ec(algorithm, point)
}

/// What is read of a JWK (RFC 7517, RFC 7518 §6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    /// A private key has no place among trust anchors.
    d: Option<serde::de::IgnoredAny>,
}

/// The key of a JWK of type `EC` or `oct`.
pub(crate) fn jwk(value: &serde_json::Value) -> Result<Key, String> {
    let jwk = Jwk::deserialize(value).map_err(|error| format!("the JWK does not read: {error}"))?;
    if jwk.d.is_some() {
        return Err("the JWK holds a private key: give its public half alone".to_owned());
    }
    let decoded = |name: &str, value: Option<&String>| {
        let value = value.ok_or_else(|| format!("the JWK has no `{name}`"))?;
        URL_SAFE_NO_PAD
            .decode(value)
            .map_err(|error| format!("`{name}` of the JWK is not base64url: {error}"))
    };
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("oct", _) => Key::symmetric(&decoded("k", jwk.k.as_ref())?),
        ("EC", Some(curve)) => {
            let (algorithm, length) = match curve {
                "P-256" => (Algorithm::Es256, 32),
                "P-384" => (Algorithm::Es384, 48),
                "P-521" => (Algorithm::Es512, 66),
                _ => return Err("the JWK's curve is not P-256, P-384 or P-521".to_owned()),
            };
            let (x, y) = (decoded("x", jwk.x.as_ref())?, decoded("y", jwk.y.as_ref())?);
            if x.len() != length || y.len() != length {
                return Err(format!("the JWK's coordinates are not of {length} bytes"));
            }
            Key::ec(algorithm, &[&[4], x.as_slice(), y.as_slice()].concat())
        }
        ("EC", None) => Err("the JWK has no `crv`".to_owned()),
        _ => Err("the JWK is of another type than EC or oct".to_owned()),
    }
}
