//! Keys that anybody can sign with: those that Keystone publishes, and those that its boot ROM derives.

use sha3::{Digest as _, Sha3_512};

use super::ed25519_sha3::PublicKey;

/// Device keys whose private halves are public, in hex, and where.
const PUBLISHED: [(&str, &str); 2] = [
    (
        "0faad4ff01178583baa588966f7c1ff32564dd17d7dc2b46cb50a84a69270b4c",
        "Keystone's test key, published in bootrom/test_dev_key.h",
    ),
    (
        "e34b2d807d18e0c1d90dfb5bdc3ad85b1d02a7a6c44dcf9130ba7b181ee0d9b9",
        "derived from the fixed seed in Keystone's bootrom/bootloader.c",
    ),
];

/// Where the private half of a device's key can be read, if it can.
pub(super) fn published(device_key: &[u8; 32]) -> Option<&'static str> {
    let key = hex::encode(device_key);
    PUBLISHED
        .iter()
        .find(|(published, _)| *published == key)
        .map(|(_, place)| *place)
}

/// Whether the security monitor's private key can be found out from its public one.
///
/// Keystone's reference boot ROM (`bootrom/bootloader.c`), and board code made after it, means to make the seed of
/// that key of the device's secret and the security monitor's hash, but hashes `sizeof(*array)` of each, which is
/// one byte. The hash is in the report. The secret is a clamped scalar (RFC 8032, section 5.1.5), whose lowest three
/// bits are zero: what is left are 32 guesses, each of two hashes and one multiplication of the base point.
pub(super) fn is_recoverable(sm_hash: &[u8; 64], sm_public_key: &[u8; 32]) -> bool {
    let [first_of_hash, ..] = *sm_hash;
    (0..=u8::MAX)
        .step_by(8)
        .any(|first_of_secret| seeded([first_of_secret, first_of_hash]) == *sm_public_key)
}

fn seeded(bytes: [u8; 2]) -> [u8; 32] {
    let digest: [u8; 64] = Sha3_512::digest(bytes).into();
    let (seed, _) = digest.split_first_chunk::<32>().unwrap_or((&[0; 32], &[]));
    PublicKey::of_seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> [u8; 32] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_reference_boot_rom_s_keys_are_found_and_others_are_not() {
        // The security monitor A of `vectors/keystone/keys.json`, whose hash starts with d5.
        let sm_key = key("a26668385daf46c7401d28695e5ae459e9453e8745642de75ff9b4b867d33c67");
        let mut hash = [0x11; 64];
        hash[0] = 0xd5;
        assert!(
            is_recoverable(&hash, &sm_key),
            "only the hash's first byte counts"
        );
        hash[0] = 0xd4;
        assert!(!is_recoverable(&hash, &sm_key));
        hash[0] = 0xd5;
        assert!(!is_recoverable(&hash, &PublicKey::of_seed(&[7; 32])));
    }

    #[test]
    fn the_published_keys_are_those_of_the_published_secrets() {
        use ed25519_dalek::VerifyingKey;
        use ed25519_dalek::hazmat::ExpandedSecretKey;

        let keys: serde_json::Value =
            serde_json::from_str(include_str!("../../../../vectors/keystone/keys.json")).unwrap();
        for device in ["test_device", "device_c"] {
            let secret = hex::decode(keys[device]["secret_expanded_64"].as_str().unwrap()).unwrap();
            let public = VerifyingKey::from(&ExpandedSecretKey::from_slice(&secret).unwrap()).to_bytes();
            assert!(published(&public).is_some(), "{device}");
        }
        assert_eq!(published(&[7; 32]), None);
    }
}
