//! A Keystone device and its security monitor: Ed25519 with SHA3-512 in the place of SHA-512 throughout, as the boot
//! ROM and the security monitor sign.

#![expect(clippy::expect_used, reason = "a fake that cannot do its part stops the test")]

use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use sha3::{Digest as _, Sha3_512};

/// Length of a report.
pub const REPORT_LEN: usize = 1352;
const MAX_DATA: usize = 1024;
/// What stands where the security monitor's stack shows through.
pub const LEFTOVER: u8 = 0xee;

/// Signs reports.
pub struct KeystoneVendor {
    device: Key,
    monitor: Key,
    monitor_hash: [u8; 64],
}

struct Key {
    secret: ExpandedSecretKey,
    public: VerifyingKey,
}

impl Key {
    /// RFC 8032, section 5.1.5, with SHA3-512.
    fn of_seed(seed: &[u8; 32]) -> Self {
        let secret = ExpandedSecretKey::from_bytes(&Sha3_512::digest(seed).into());
        Self {
            public: VerifyingKey::from(&secret),
            secret,
        }
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        raw_sign::<Sha3_512>(&self.secret, message, &self.public).to_bytes()
    }
}

impl KeystoneVendor {
    /// A device of this number, whose security monitor has a key of 32 bytes.
    pub fn device(number: u8) -> Self {
        Self {
            device: Key::of_seed(&[number; 32]),
            monitor: Key::of_seed(&[number ^ 0x80; 32]),
            monitor_hash: Sha3_512::digest(b"a security monitor").into(),
        }
    }

    /// The same device, with the reference boot ROM's fault: the security monitor's key is made of one byte of the
    /// device's secret and one of a public hash.
    pub fn with_weak_monitor(number: u8) -> Self {
        let device = Self::device(number);
        let secret: [u8; 64] = Sha3_512::digest([number; 32]).into();
        // RFC 8032's clamping.
        let seed = Sha3_512::digest([secret[0] & 0xf8, device.monitor_hash[0]]);
        let mut first = [0; 32];
        first.copy_from_slice(&seed[..32]);
        Self {
            monitor: Key::of_seed(&first),
            ..device
        }
    }

    /// As a trust anchor of role `keystone-device`: 64 hex digits.
    pub fn anchor(&self) -> Vec<u8> {
        hex::encode(self.device.public.as_bytes()).into_bytes()
    }

    /// The report that the security monitor makes of an enclave with this hash for this data. What follows the data
    /// is [`LEFTOVER`].
    pub fn report(&self, enclave_hash: &[u8; 64], data: &[u8]) -> [u8; REPORT_LEN] {
        let mut report = [0; REPORT_LEN];
        let mut end = 0;
        let mut append = |bytes: &[u8]| {
            report[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        let length = u64::try_from(data.len()).expect("data is short").to_le_bytes();
        append(enclave_hash);
        append(&length);
        append(data);
        append(&[LEFTOVER; MAX_DATA][data.len()..]);
        append(
            &self
                .monitor
                .sign(&[enclave_hash, length.as_slice(), data].concat()),
        );
        append(&self.monitor_hash);
        append(self.monitor.public.as_bytes());
        append(
            &self
                .device
                .sign(&[self.monitor_hash.as_slice(), self.monitor.public.as_bytes()].concat()),
        );
        append(self.device.public.as_bytes());
        assert_eq!(end, REPORT_LEN);
        report
    }
}

/// The hash of an enclave: the padded lengths of loader, runtime and application, then the three.
pub fn enclave_hash(padded: [&[u8]; 3]) -> [u8; 64] {
    let mut hash = Sha3_512::new();
    for image in padded {
        let length = u64::try_from(image.len()).expect("an image is short");
        hash.update(length.to_le_bytes());
    }
    for image in padded {
        hash.update(image);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_where_it_belongs() {
        let report = KeystoneVendor::device(1).report(&[7; 64], b"data");
        assert_eq!(report[64..77], *b"\x04\0\0\0\0\0\0\0data\xee");
    }
}
