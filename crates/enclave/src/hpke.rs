//! How a secret reaches an enclave: RFC 9180 (HPKE) in base mode, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//! AES-256-GCM, one message for each encapsulation: `enc (32) ‖ ciphertext`, with no additional data.
//!
//! Only this one suite, on primitives that the enclave links anyway, instead of a library of all suites.

use curve25519_dalek::montgomery::MontgomeryPoint;
use nautilus_core::{NodeId, PublicKey};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

/// RFC 9180 §7.1: DHKEM(X25519, HKDF-SHA256) is 0x0020.
const KEM_SUITE: &[u8] = b"KEM\x00\x20";
/// The same, with HKDF-SHA256 (0x0001, §7.2) and AES-256-GCM (0x0002, §7.3).
const SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x02";
const ENC_LEN: usize = 32;
/// What encryption adds to a secret, in bytes.
pub(crate) const OVERHEAD: usize = ENC_LEN + 16;

type Hash = Zeroizing<[u8; 32]>;

/// What a secret is bound to besides the enclave's key: the node, and what the secret is called. It is HPKE's `info`.
pub fn provision_info(node: NodeId, name: &str) -> Vec<u8> {
    format!("nautilus provision 1 node={node} name={name}").into_bytes()
}

/// Encrypts `secret` to an enclave's channel key, which verified evidence binds.
///
/// # Errors
/// If there is no randomness, or the key is a point of small order, to which nothing can be encrypted.
pub fn seal(channel_key: &PublicKey, info: &[u8], secret: &[u8]) -> Result<Vec<u8>, SealFailed> {
    let mut ephemeral = Zeroizing::new([0; 32]);
    getrandom::fill(ephemeral.as_mut()).map_err(|_| SealFailed)?;
    seal_with(&ephemeral, channel_key, info, secret).ok_or(SealFailed)
}

/// The secret was not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret cannot be encrypted: the key is no usable X25519 key, or the system gives no randomness")]
pub struct SealFailed;

fn seal_with(ephemeral: &[u8; 32], to: &PublicKey, info: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let enc = MontgomeryPoint::mul_base_clamped(*ephemeral).to_bytes();
    let shared = decapsulated(ephemeral, &to.0, &enc, &to.0)?;
    let (key, nonce) = schedule(&shared, info)?;
    let mut sealed = enc.to_vec();
    let mut body = Zeroizing::new(secret.to_vec());
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::empty(), &mut body)
        .ok()?;
    sealed.extend_from_slice(&body);
    sealed.extend_from_slice(tag.as_ref());
    Some(sealed)
}

/// The secret in `sealed`, which is untrusted; none if it was not encrypted to this key with this `info`.
pub(crate) fn open(channel: &[u8; 32], info: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (enc, body) = sealed.split_first_chunk::<ENC_LEN>()?;
    let own = MontgomeryPoint::mul_base_clamped(*channel).to_bytes();
    let shared = decapsulated(channel, enc, enc, &own)?;
    let (key, nonce) = schedule(&shared, info)?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = key.open_in_place(nonce, Aad::empty(), &mut body).ok()?.len();
    body.truncate(length);
    Some(body)
}

/// RFC 9180 §4.1 `ExtractAndExpand`, over the Diffie-Hellman value of `private` and `peer`. None where that is zero,
/// as it is for points of small order (§7.1.4).
fn decapsulated(private: &[u8; 32], peer: &[u8; 32], enc: &[u8; 32], recipient: &[u8; 32]) -> Option<Hash> {
    let shared = Zeroizing::new(MontgomeryPoint(*peer).mul_clamped(*private).to_bytes());
    if *shared == [0; 32] {
        return None;
    }
    let prk = labeled_extract(KEM_SUITE, &[], b"eae_prk", shared.as_slice());
    let context = [enc.as_slice(), recipient].concat();
    Some(labeled_expand(KEM_SUITE, &prk, b"shared_secret", &context, 32))
}

/// RFC 9180 §5.1 `KeySchedule` in base mode: the key, and the nonce of the first message.
fn schedule(shared: &Hash, info: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    let psk_id_hash = labeled_extract(SUITE, &[], b"psk_id_hash", &[]);
    let info_hash = labeled_extract(SUITE, &[], b"info_hash", info);
    let context = [&[0], psk_id_hash.as_slice(), info_hash.as_slice()].concat();
    let secret = labeled_extract(SUITE, shared.as_slice(), b"secret", &[]);
    let key = labeled_expand(SUITE, &secret, b"key", &context, 32);
    let nonce = labeled_expand(SUITE, &secret, b"base_nonce", &context, 12);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).ok()?);
    Some((key, Nonce::assume_unique_for_key(*nonce.first_chunk()?)))
}

/// RFC 9180 §4 `LabeledExtract`.
fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], input: &[u8]) -> Hash {
    hmac_of(salt, &[b"HPKE-v1", suite, label, input])
}

/// RFC 9180 §4 `LabeledExpand` of at most 32 bytes, which one block of HKDF gives. The bytes behind `length` are not
/// part of the result.
fn labeled_expand(suite: &[u8], prk: &Hash, label: &[u8], info: &[u8], length: u8) -> Hash {
    hmac_of(
        prk.as_slice(),
        &[&[0, length], b"HPKE-v1", suite, label, info, &[1]],
    )
}

fn hmac_of(key: &[u8], parts: &[&[u8]]) -> Hash {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut hash = Zeroizing::new([0; 32]);
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = include_str!("../../../vectors/hpke/base-x25519-sha256-aes256gcm.json");

    fn field(object: &serde_json::Value, name: &str) -> Vec<u8> {
        hex::decode(object[name].as_str().unwrap()).unwrap()
    }

    #[test]
    fn the_published_vector_comes_out() {
        let vector: serde_json::Value = serde_json::from_str(VECTOR).unwrap();
        let bytes = |name| field(&vector, name);
        let (ephemeral, recipient) = (
            bytes("skEm").try_into().unwrap(),
            bytes("pkRm").try_into().unwrap(),
        );
        let (enc, private) = (
            bytes("enc").try_into().unwrap(),
            bytes("skRm").try_into().unwrap(),
        );
        let shared = decapsulated(&private, &enc, &enc, &recipient).unwrap();
        assert_eq!(shared.as_slice(), bytes("shared_secret"));
        let sent = decapsulated(&ephemeral, &recipient, &enc, &recipient).unwrap();
        assert_eq!(sent, shared);
        // The vector's message has additional data, which ours have not: the schedule is what is compared.
        let (key, nonce) = schedule(&shared, &bytes("info")).unwrap();
        assert_eq!(nonce.as_ref().as_slice(), bytes("base_nonce"));
        let message = &vector["encryptions"][0];
        let mut body = field(message, "ct");
        let aad = Aad::from(field(message, "aad"));
        assert_eq!(
            key.open_in_place(nonce, aad, &mut body).unwrap(),
            field(message, "pt")
        );
    }

    fn pair() -> ([u8; 32], PublicKey) {
        let private = [7; 32];
        (
            private,
            PublicKey(MontgomeryPoint::mul_base_clamped(private).to_bytes()),
        )
    }

    #[test]
    fn only_the_key_and_the_info_that_it_was_meant_for_open_a_secret() {
        let (private, public) = pair();
        let sealed = seal(&public, b"info", b"secret").unwrap();
        assert_eq!(sealed.len(), OVERHEAD + 6);
        assert_eq!(*open(&private, b"info", &sealed).unwrap(), b"secret");
        assert_eq!(open(&private, b"other", &sealed), None);
        assert_eq!(open(&[8; 32], b"info", &sealed), None);
        assert_ne!(seal(&public, b"info", b"secret").unwrap(), sealed);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let (private, public) = pair();
        let sealed = seal(&public, b"info", b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&private, b"info", &changed), None, "byte {at}");
            assert_eq!(open(&private, b"info", &sealed[..at]), None, "cut to {at}");
        }
    }

    #[test]
    fn points_of_small_order_are_refused() {
        let (private, _) = pair();
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one] {
            assert_eq!(seal(&PublicKey(point), b"info", b"secret"), Err(SealFailed));
            let sealed = [point.as_slice(), &[0; 32]].concat();
            assert_eq!(open(&private, b"info", &sealed), None);
        }
    }
}
