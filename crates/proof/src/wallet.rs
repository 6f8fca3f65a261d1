//! Sui wallets: addresses, and signatures over our messages as Sui personal messages, so that any Sui
//! wallet can make them and any Sui tool can check them.

use nautilus_core::{PublicKey, Signature, SignedMessage, SuiAddress, verify_ed25519};
use serde::{Deserialize, Serialize};
use sui_sdk_types::{Ed25519PublicKey, Ed25519Signature, PersonalMessage, SimpleSignature};

/// An Ed25519 wallet's signature with its public key. In JSON it has Sui's form: base64 of
/// `0x00 ‖ signature ‖ public key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletSignature {
    /// The wallet's key.
    pub key: PublicKey,
    /// Its signature.
    pub signature: Signature,
}

/// Text that is no wallet signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Sui Ed25519 signature: expected base64 of 97 bytes that start with 0x00")]
pub struct ParseWalletSignatureError;

impl WalletSignature {
    /// Whether this is the signature of `wallet` over `message` as a Sui personal message.
    pub fn is_of(&self, wallet: SuiAddress, message: &impl SignedMessage) -> bool {
        self.address() == wallet
            && verify_ed25519(&self.key, &personal_message_digest(message), &self.signature)
    }

    /// The address of the key.
    pub fn address(&self) -> SuiAddress {
        address_of(&self.key)
    }

    /// Sui's serialised form.
    pub fn to_base64(&self) -> String {
        let simple = SimpleSignature::Ed25519 {
            signature: Ed25519Signature::new(self.signature.0),
            public_key: Ed25519PublicKey::new(self.key.0),
        };
        sui_sdk_types::UserSignature::Simple(simple).to_base64()
    }

    /// Reads Sui's serialised form.
    ///
    /// # Errors
    /// If it is not that of an Ed25519 signature.
    pub fn from_base64(text: &str) -> Result<Self, ParseWalletSignatureError> {
        match sui_sdk_types::UserSignature::from_base64(text) {
            Ok(sui_sdk_types::UserSignature::Simple(SimpleSignature::Ed25519 {
                signature,
                public_key,
            })) => Ok(Self {
                key: PublicKey(public_key.into_inner()),
                signature: Signature(signature.into_inner()),
            }),
            _ => Err(ParseWalletSignatureError),
        }
    }
}

/// The 32 bytes that a wallet signs: BLAKE2b-256 of Sui's personal-message intent and the message.
pub fn personal_message_digest(message: &impl SignedMessage) -> [u8; 32] {
    PersonalMessage(message.to_bytes().into()).signing_digest()
}

/// The Sui address of an Ed25519 key.
pub fn address_of(key: &PublicKey) -> SuiAddress {
    SuiAddress(Ed25519PublicKey::new(key.0).derive_address().into_inner())
}

/// A BCS and JSON form: BCS carries key and signature, JSON Sui's base64.
impl Serialize for WalletSignature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_base64())
        } else {
            (self.key, self.signature).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for WalletSignature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Self::from_base64(&text).map_err(serde::de::Error::custom)
        } else {
            let (key, signature) = Deserialize::deserialize(deserializer)?;
            Ok(Self { key, signature })
        }
    }
}

#[cfg(test)]
mod tests {
    use nautilus_core::BootId;
    use sui_crypto::ed25519::{Ed25519PrivateKey, Ed25519VerifyingKey};
    use sui_crypto::{SuiSigner, SuiVerifier};

    use super::*;
    use crate::message::{Registration, node_id};

    fn registration(wallet: SuiAddress) -> Registration {
        let label = BootId([5; 16]);
        Registration {
            node: node_id(wallet, label),
            wallet,
            label,
            verifier: PublicKey([6; 32]),
        }
    }

    #[test]
    fn the_sui_sdk_makes_and_accepts_the_same_signatures() {
        let key = Ed25519PrivateKey::new([7; 32]);
        let wallet = SuiAddress(key.public_key().derive_address().into_inner());
        let message = registration(wallet);
        let sdk = key
            .sign_personal_message(&PersonalMessage(message.to_bytes().into()))
            .unwrap();
        let ours = WalletSignature::from_base64(&sdk.to_base64()).unwrap();
        assert!(ours.is_of(wallet, &message));
        assert_eq!(ours.to_base64(), sdk.to_base64());
        assert_eq!(ours.address(), wallet);
        Ed25519VerifyingKey::new(&key.public_key())
            .unwrap()
            .verify_personal_message(&PersonalMessage(message.to_bytes().into()), &sdk)
            .unwrap();
    }

    #[test]
    fn another_wallet_message_or_bit_is_refused() {
        let key = Ed25519PrivateKey::new([7; 32]);
        let wallet = SuiAddress(key.public_key().derive_address().into_inner());
        let message = registration(wallet);
        let sdk = key
            .sign_personal_message(&PersonalMessage(message.to_bytes().into()))
            .unwrap();
        let good = WalletSignature::from_base64(&sdk.to_base64()).unwrap();
        assert!(!good.is_of(SuiAddress([1; 32]), &message));
        assert!(!good.is_of(
            wallet,
            &Registration {
                verifier: PublicKey([0; 32]),
                ..message.clone()
            }
        ));
        for byte in 0..64 {
            let mut flipped = good;
            flipped.signature.0[byte] ^= 1;
            assert!(!flipped.is_of(wallet, &message), "signature byte {byte}");
        }
        for text in ["", "AA==", "not base64", &"A".repeat(10_000)] {
            assert_eq!(
                WalletSignature::from_base64(text),
                Err(ParseWalletSignatureError),
                "{text:.20}"
            );
        }
    }
}
