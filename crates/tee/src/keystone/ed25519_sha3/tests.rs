use ed25519_dalek::Signature;
use ed25519_dalek::hazmat::{raw_sign, raw_verify};
use sha2::Sha512;

use super::*;

const MESSAGE: &[u8] = b"what a security monitor says";

/// A key and its signature over [`MESSAGE`].
fn signed() -> (PublicKey, [u8; 64]) {
    let secret = ExpandedSecretKey::from_bytes(&Sha3_512::digest([9; 32]).into());
    let key = VerifyingKey::from(&secret);
    let signature = raw_sign::<Sha3_512>(&secret, MESSAGE, &key).to_bytes();
    (PublicKey::new(&key.to_bytes()).unwrap(), signature)
}

#[test]
fn a_signature_is_good_for_its_message_only_and_every_flip_breaks_it() {
    let (key, signature) = signed();
    assert!(key.verifies(MESSAGE, &signature));
    assert!(!key.verifies(&MESSAGE[1..], &signature));
    for bit in 0..512 {
        let mut flipped = signature;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.verifies(MESSAGE, &flipped), "bit {bit}");
    }
}

#[test]
fn the_same_key_s_signature_with_sha_512_is_none() {
    let secret = ExpandedSecretKey::from_bytes(&Sha3_512::digest([9; 32]).into());
    let key = VerifyingKey::from(&secret);
    let usual = raw_sign::<Sha512>(&secret, MESSAGE, &key);
    assert!(key.verify_strict(MESSAGE, &usual).is_ok());
    assert!(!PublicKey(key).verifies(MESSAGE, &usual.to_bytes()));
}

#[test]
fn s_plus_the_group_s_order_is_refused() {
    // 2^252 + 27742317777372353535851937790883648493 (RFC 8032, section 5.1).
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = hex::decode(ORDER).unwrap();
    let (key, mut signature) = signed();
    let mut carry = 0;
    for (s, order) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*s) + u16::from(order) + carry;
        *s = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "it still fits");
    assert!(!key.verifies(MESSAGE, &signature));
}

#[test]
fn points_of_small_order_are_no_keys_in_any_encoding() {
    let filled = |first: u8, middle: u8, last: u8| {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    };
    let of_hex = |hex: &str| <[u8; 32]>::try_from(hex::decode(hex).unwrap()).unwrap();
    // The eight points whose multiple by eight is neutral, and their encodings with y not below 2^255 - 19 or with
    // the sign of x = 0 set.
    let small = [
        filled(1, 0, 0),
        filled(1, 0, 0x80),
        filled(0xec, 0xff, 0x7f),
        filled(0xec, 0xff, 0xff),
        filled(0, 0, 0x80),
        filled(0xed, 0xff, 0x7f),
        filled(0xed, 0xff, 0xff),
        filled(0xee, 0xff, 0x7f),
        filled(0xee, 0xff, 0xff),
        of_hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        of_hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
        of_hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        of_hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    ];
    for bytes in small {
        let refused = PublicKey::new(&bytes).err();
        assert_eq!(refused, Some(KeyFault::SmallOrder), "{}", hex::encode(bytes));
    }
    assert_eq!(PublicKey::new(&[0; 32]).err(), Some(KeyFault::Zero));
}

#[test]
fn other_encodings_of_a_point_are_no_keys() {
    // y of 2^255 - 17 to 2^255 - 1: those of them that are points have y below 19, which is the canonical one.
    let refused: Vec<_> = (0xef..=0xff)
        .filter_map(|first| {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (first, 0x7f);
            PublicKey::new(&bytes).err()
        })
        .collect();
    assert_eq!(refused.len(), 17, "none is a key");
    let not_canonical = refused
        .iter()
        .filter(|fault| **fault == KeyFault::NotCanonical)
        .count();
    let off_curve = refused
        .iter()
        .filter(|fault| **fault == KeyFault::NotOnCurve)
        .count();
    assert!(
        not_canonical > 0 && not_canonical + off_curve == 17,
        "{refused:?}"
    );
}

#[test]
fn an_r_of_small_order_is_refused_where_the_equation_holds() {
    let secret = ExpandedSecretKey::from_bytes(&Sha3_512::digest([9; 32]).into());
    let key = VerifyingKey::from(&secret);
    // The neutral element as R: S = k a, with k = SHA3-512(R, A, M).
    let mut r = [0; 32];
    r[0] = 1;
    let hash = Sha3_512::digest([r.as_slice(), key.as_bytes(), MESSAGE].concat());
    let a = secret.scalar;
    let (zero, one) = (a - a, a * a.invert());
    let bits = hash
        .iter()
        .rev()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let k = bits.fold(zero, |k, bit| if bit == 1 { k + k + one } else { k + k });
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&(k * a).to_bytes());
    assert!(raw_verify::<Sha3_512>(&key, MESSAGE, &Signature::from_bytes(&signature)).is_ok());
    assert!(!PublicKey(key).verifies(MESSAGE, &signature));
}
