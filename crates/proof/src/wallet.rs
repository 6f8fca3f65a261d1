//! Sui wallets: addresses, and signatures over our messages as Sui personal messages, so that any Sui
//! wallet can make them and any Sui tool can check them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{PublicKey, Signature, SignedMessage, SuiAddress, verify_ed25519};
use serde::{Deserialize, Serialize};
use sui_crypto::Verifier;
use sui_crypto::secp256k1::Secp256k1VerifyingKey;
use sui_crypto::secp256r1::Secp256r1VerifyingKey;
use sui_sdk_types::{
    Ed25519PublicKey, Ed25519Signature, PersonalMessage, Secp256k1PublicKey, Secp256k1Signature,
    Secp256r1PublicKey, Secp256r1Signature, SimpleSignature, UserSignature,
};

/// Sui's longest form of a signature by one key: flag, 64 bytes, a compressed point.
const MAX_SERIALISED: usize = 1 + 64 + 33;
/// The order of secp256k1's group (SEC 2 §2.4.1).
const SECP256K1_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];
/// The order of secp256r1's group (SEC 2 §2.4.2).
const SECP256R1_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// A wallet's public key, of one of the schemes that Sui has for single keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalletKey {
    /// Flag 0.
    Ed25519(PublicKey),
    /// Flag 1: SEC1 compressed.
    Secp256k1([u8; 33]),
    /// Flag 2: SEC1 compressed.
    Secp256r1([u8; 33]),
}

impl WalletKey {
    /// The Sui address of the key.
    pub fn address(&self) -> SuiAddress {
        let address = match self {
            Self::Ed25519(key) => Ed25519PublicKey::new(key.0).derive_address(),
            Self::Secp256k1(key) => Secp256k1PublicKey::new(*key).derive_address(),
            Self::Secp256r1(key) => Secp256r1PublicKey::new(*key).derive_address(),
        };
        SuiAddress(address.into_inner())
    }

    /// Whether `signature` is the key's over `digest`. An ECDSA signature has two valid forms; only that with the
    /// lower `s` counts, as on Sui.
    fn verifies(&self, digest: &[u8; 32], signature: &Signature) -> bool {
        if self.with_lower_s(*signature) != *signature {
            return false;
        }
        match self {
            Self::Ed25519(key) => verify_ed25519(key, digest, signature),
            Self::Secp256k1(key) => Secp256k1VerifyingKey::new(&Secp256k1PublicKey::new(*key))
                .and_then(|key| key.verify(digest, &Secp256k1Signature::new(signature.0)))
                .is_ok(),
            Self::Secp256r1(key) => Secp256r1VerifyingKey::new(&Secp256r1PublicKey::new(*key))
                .and_then(|key| key.verify(digest, &Secp256r1Signature::new(signature.0)))
                .is_ok(),
        }
    }

    /// Of an ECDSA signature's two valid forms the one with the lower `s`; others stay as they are.
    fn with_lower_s(&self, mut signature: Signature) -> Signature {
        let order = match self {
            Self::Ed25519(_) => return signature,
            Self::Secp256k1(_) => SECP256K1_ORDER,
            Self::Secp256r1(_) => SECP256R1_ORDER,
        };
        let (_, s) = signature.0.split_at_mut(32);
        let mut other = order;
        let mut borrow = false;
        for (digit, subtrahend) in other.iter_mut().zip(&*s).rev() {
            let (difference, first) = digit.overflowing_sub(*subtrahend);
            let (difference, second) = difference.overflowing_sub(u8::from(borrow));
            (*digit, borrow) = (difference, first || second);
        }
        // No `s` of a valid signature is the order or above it.
        if !borrow && other.as_slice() < &*s {
            s.copy_from_slice(&other);
        }
        signature
    }
}

/// A wallet's signature with its public key. Its form is Sui's, `flag ‖ signature ‖ public key`: in JSON in base64, in
/// BCS as a list of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletSignature {
    /// The wallet's key.
    pub key: WalletKey,
    /// Its signature.
    pub signature: Signature,
}

/// Bytes or text that are no wallet signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a Sui signature by one key: expected flag 0 (Ed25519), 1 (Secp256k1) or 2 (Secp256r1), 64 bytes of signature, \
     and the public key"
)]
pub struct ParseWalletSignatureError;

impl WalletSignature {
    /// Whether this is the signature of `wallet` over `message` as a Sui personal message.
    pub fn is_of(&self, wallet: SuiAddress, message: &impl SignedMessage) -> bool {
        self.address() == wallet
            && self
                .key
                .verifies(&personal_message_digest(message), &self.signature)
    }

    /// The address of the key.
    pub fn address(&self) -> SuiAddress {
        self.key.address()
    }

    /// The form that Sui takes, of a signature that a library made: some make either of ECDSA's two.
    #[must_use]
    pub fn normalised(self) -> Self {
        Self {
            signature: self.key.with_lower_s(self.signature),
            ..self
        }
    }

    /// Sui's serialised form.
    pub fn to_bytes(&self) -> Vec<u8> {
        UserSignature::Simple(self.simple()).to_bytes()
    }

    /// Sui's serialised form in base64.
    pub fn to_base64(&self) -> String {
        UserSignature::Simple(self.simple()).to_base64()
    }

    fn simple(&self) -> SimpleSignature {
        let bytes = self.signature.0;
        match self.key {
            WalletKey::Ed25519(key) => SimpleSignature::Ed25519 {
                signature: Ed25519Signature::new(bytes),
                public_key: Ed25519PublicKey::new(key.0),
            },
            WalletKey::Secp256k1(key) => SimpleSignature::Secp256k1 {
                signature: Secp256k1Signature::new(bytes),
                public_key: Secp256k1PublicKey::new(key),
            },
            WalletKey::Secp256r1(key) => SimpleSignature::Secp256r1 {
                signature: Secp256r1Signature::new(bytes),
                public_key: Secp256r1PublicKey::new(key),
            },
        }
    }

    /// Reads Sui's serialised form.
    ///
    /// # Errors
    /// If it is not that of a signature by one key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseWalletSignatureError> {
        let parsed = (bytes.len() <= MAX_SERIALISED)
            .then(|| UserSignature::from_bytes(bytes).ok())
            .flatten();
        let Some(UserSignature::Simple(simple)) = parsed else {
            return Err(ParseWalletSignatureError);
        };
        let (key, signature) = match simple {
            SimpleSignature::Ed25519 {
                signature,
                public_key,
            } => (
                WalletKey::Ed25519(PublicKey(public_key.into_inner())),
                signature.into_inner(),
            ),
            SimpleSignature::Secp256k1 {
                signature,
                public_key,
            } => (
                WalletKey::Secp256k1(public_key.into_inner()),
                signature.into_inner(),
            ),
            SimpleSignature::Secp256r1 {
                signature,
                public_key,
            } => (
                WalletKey::Secp256r1(public_key.into_inner()),
                signature.into_inner(),
            ),
            _ => return Err(ParseWalletSignatureError),
        };
        Ok(Self {
            key,
            signature: Signature(signature),
        })
    }

    /// Reads Sui's serialised form in base64.
    ///
    /// # Errors
    /// If it is not that of a signature by one key.
    pub fn from_base64(text: &str) -> Result<Self, ParseWalletSignatureError> {
        let longest = MAX_SERIALISED.div_ceil(3).saturating_mul(4);
        let bytes = (text.len() <= longest)
            .then(|| STANDARD.decode(text).ok())
            .flatten()
            .ok_or(ParseWalletSignatureError)?;
        Self::from_bytes(&bytes)
    }
}

/// The 32 bytes that a wallet signs: BLAKE2b-256 of Sui's personal-message intent and the message.
pub fn personal_message_digest(message: &impl SignedMessage) -> [u8; 32] {
    PersonalMessage(message.to_bytes().into()).signing_digest()
}

impl Serialize for WalletSignature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_base64())
        } else {
            self.to_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for WalletSignature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let signature = if deserializer.is_human_readable() {
            Self::from_base64(&String::deserialize(deserializer)?)
        } else {
            Self::from_bytes(&Vec::<u8>::deserialize(deserializer)?)
        };
        signature.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
