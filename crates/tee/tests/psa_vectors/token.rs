//! Makes COSE tokens of any claims, with keys of its own.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value;
use nautilus_core::{AnchorRole, TrustAnchor, TrustAnchors};

/// A key of a device.
pub(crate) enum Device {
    Ec {
        pair: EcdsaKeyPair,
        algorithm: i64,
        curve: &'static str,
    },
    Secret([u8; 32]),
}

impl Device {
    pub(crate) fn es256() -> Self {
        Self::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, -7, "P-256")
    }

    pub(crate) fn es384() -> Self {
        Self::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, -35, "P-384")
    }

    pub(crate) fn es512() -> Self {
        Self::ec(&ECDSA_P521_SHA512_FIXED_SIGNING, -36, "P-521")
    }

    fn ec(scheme: &'static EcdsaSigningAlgorithm, algorithm: i64, curve: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(scheme).unwrap();
        Self::Ec {
            pair,
            algorithm,
            curve,
        }
    }

    /// Its uncompressed point.
    pub(crate) fn point(&self) -> &[u8] {
        match self {
            Self::Ec { pair, .. } => pair.public_key().as_ref(),
            Self::Secret(_) => panic!("a secret is no point"),
        }
    }

    pub(crate) fn jwk(&self) -> serde_json::Value {
        match self {
            Self::Ec { curve, .. } => {
                let (x, y) = self.point()[1..].split_at((self.point().len() - 1) / 2);
                let [x, y] = [x, y].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
                serde_json::json!({"kty": "EC", "crv": curve, "x": x, "y": y})
            }
            Self::Secret(secret) => {
                serde_json::json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret)})
            }
        }
    }

    /// A tagged token of this payload.
    pub(crate) fn sign(&self, payload: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Ec { algorithm, .. } => *algorithm,
            Self::Secret(_) => 5,
        };
        self.sign_under(&encoded(&Value::Map(vec![(1.into(), algorithm.into())])), payload)
    }

    pub(crate) fn sign_under(&self, protected: &[u8], payload: &[u8]) -> Vec<u8> {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        let structure = |context: &str| {
            encoded(&Value::Array(vec![
                context.into(),
                bytes(protected),
                bytes(&[]),
                bytes(payload),
            ]))
        };
        let (tag, signature) = match self {
            Self::Ec { pair, .. } => {
                let signature = pair.sign(&SystemRandom::new(), &structure("Signature1")).unwrap();
                (18, signature.as_ref().to_vec())
            }
            Self::Secret(secret) => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
                (
                    17,
                    aws_lc_rs::hmac::sign(&key, &structure("MAC0")).as_ref().to_vec(),
                )
            }
        };
        let parts = vec![
            bytes(protected),
            Value::Map(Vec::new()),
            bytes(payload),
            bytes(&signature),
        ];
        encoded(&Value::Tag(tag, Box::new(Value::Array(parts))))
    }
}

pub(crate) fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

pub(crate) fn anchor(role: AnchorRole, bytes: impl Into<Vec<u8>>) -> TrustAnchors {
    TrustAnchors(vec![TrustAnchor {
        role,
        bytes: bytes.into(),
        origin: "anchor.json".to_owned(),
    }])
}
