use nautilus_core::BootId;
use sui_crypto::simple::SimpleKeypair;
use sui_crypto::{Signer as _, SuiSigner as _};
use sui_sdk_types::UserSignature;

use super::*;
use crate::message::{Registration, node_id};

/// What the TypeScript SDK made: `vectors/sui/README.md` says how.
const SDK: &str = include_str!("../../../../vectors/sui/wallets.json");

#[derive(serde::Deserialize)]
struct SdkWallet {
    scheme: String,
    suiprivkey: String,
    address: SuiAddress,
    signatures: Vec<SdkSignature>,
}

#[derive(serde::Deserialize)]
struct SdkSignature {
    message: String,
    signature: String,
}

fn wallets() -> Vec<SdkWallet> {
    serde_json::from_str(SDK).unwrap()
}

fn registration(wallet: SuiAddress) -> Registration {
    let label = BootId([5; 16]);
    Registration {
        node: node_id(wallet, label),
        wallet,
        label,
        verifier: PublicKey([6; 32]),
    }
}

fn sign(key: &SimpleKeypair, message: &impl SignedMessage) -> WalletSignature {
    let signature: UserSignature = key.sign(&personal_message_digest(message));
    WalletSignature::from_bytes(&signature.to_bytes())
        .unwrap()
        .normalised()
}

fn keys() -> Vec<(SimpleKeypair, SuiAddress)> {
    let read = |wallet: SdkWallet| {
        let key = SimpleKeypair::from_suiprivkey(&wallet.suiprivkey).unwrap();
        (key, wallet.address)
    };
    wallets().into_iter().map(read).collect()
}

#[test]
fn the_typescript_sdk_makes_the_same_addresses_and_signatures() {
    let mut schemes = Vec::new();
    for wallet in wallets() {
        let key = SimpleKeypair::from_suiprivkey(&wallet.suiprivkey).unwrap();
        for theirs in &wallet.signatures {
            let message = PersonalMessage(hex::decode(&theirs.message).unwrap().into());
            let ours = key.sign_personal_message(&message).unwrap();
            let ours = WalletSignature::from_bytes(&ours.to_bytes())
                .unwrap()
                .normalised();
            assert_eq!(ours.to_base64(), theirs.signature, "{}", wallet.scheme);
            let read = WalletSignature::from_base64(&theirs.signature).unwrap();
            assert_eq!(read.address(), wallet.address, "{}", wallet.scheme);
            assert!(read.key.verifies(&message.signing_digest(), &read.signature));
            assert_eq!(read.to_base64(), theirs.signature);
        }
        schemes.push(wallet.scheme);
    }
    assert_eq!(schemes, ["ED25519", "Secp256k1", "Secp256r1"]);
}

#[test]
fn a_wallet_signs_our_messages_whatever_its_scheme() {
    for (key, wallet) in keys() {
        let message = registration(wallet);
        let signature = sign(&key, &message);
        assert!(signature.is_of(wallet, &message), "{wallet}");
        let json = serde_json::to_string(&signature).unwrap();
        assert_eq!(serde_json::from_str::<WalletSignature>(&json).unwrap(), signature);
    }
}

#[test]
fn another_wallet_message_or_bit_is_refused() {
    for (key, wallet) in keys() {
        let message = registration(wallet);
        let good = sign(&key, &message);
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
    }
}

#[test]
fn the_second_valid_form_of_an_ecdsa_signature_is_refused() {
    for ((key, wallet), order) in keys().into_iter().skip(1).zip([SECP256K1_ORDER, SECP256R1_ORDER]) {
        let message = registration(wallet);
        let good = sign(&key, &message);
        let mut other = good;
        let mut borrow = false;
        for (digit, order) in other.signature.0[32..].iter_mut().zip(order).rev() {
            let (difference, first) = order.overflowing_sub(*digit);
            let (difference, second) = difference.overflowing_sub(u8::from(borrow));
            (*digit, borrow) = (difference, first || second);
        }
        assert_ne!(other, good);
        assert_eq!(other.normalised(), good);
        assert!(!other.is_of(wallet, &message), "{wallet}");
    }
}

#[test]
fn what_is_no_signature_by_one_key_is_refused() {
    let (key, wallet) = keys().remove(0);
    let good = sign(&key, &registration(wallet)).to_bytes();
    let mut unknown_flag = good.clone();
    unknown_flag[0] = 3;
    let mut longer = good.clone();
    longer.push(0);
    for bytes in [&[][..], &[0], &good[..96], &unknown_flag, &longer, &[0; 200]] {
        assert_eq!(
            WalletSignature::from_bytes(bytes),
            Err(ParseWalletSignatureError),
            "{} bytes",
            bytes.len()
        );
    }
    for text in ["", "AA==", "not base64", &"A".repeat(10_000)] {
        assert_eq!(
            WalletSignature::from_base64(text),
            Err(ParseWalletSignatureError),
            "{text:.20}"
        );
    }
}
