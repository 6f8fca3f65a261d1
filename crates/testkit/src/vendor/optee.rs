//! OP-TEE's attestation keys. They have no vendor: each device makes its own.

#![expect(clippy::expect_used, reason = "a fake that cannot do its part stops the test")]

use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use serde_json::json;

/// A device's attestation key of 3,072 bits, from `vectors/optee/fake`: to make one takes seconds.
pub struct OpteeKey(RsaKeyPair);

impl OpteeKey {
    /// The key of the device that tests enrol.
    pub fn device_a() -> Self {
        Self::read(include_bytes!("../../../../vectors/optee/fake/device-a.pk8"))
    }

    /// The key of another device.
    pub fn device_b() -> Self {
        Self::read(include_bytes!("../../../../vectors/optee/fake/device-b.pk8"))
    }

    fn read(pkcs8: &[u8]) -> Self {
        Self(RsaKeyPair::from_pkcs8(pkcs8).expect("the file is an RSA key"))
    }

    /// Exponent and modulus, highest byte first.
    pub fn public(&self) -> (Vec<u8>, Vec<u8>) {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(self.0.public());
        (e, n)
    }

    /// What the attestation service gives: `measurement ‖ RSASSA-PSS-SHA-256(nonce ‖ measurement)`, salt 32.
    pub fn output(&self, nonce: &[u8], measurement: &[u8; 32]) -> Vec<u8> {
        let message = [nonce, measurement].concat();
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), &message, &mut signature)
            .expect("the key is long enough to sign");
        [measurement.as_slice(), &signature].concat()
    }

    /// How many bytes [`Self::output`] gives.
    pub fn output_len(&self) -> u64 {
        32 + self.0.public().modulus_len() as u64
    }

    /// As a trust anchor of role `optee-key`: JSON with `n_hex` and `e_hex`.
    pub fn anchor(&self) -> Vec<u8> {
        let (exponent, modulus) = self.public();
        json!({"n_hex": hex::encode(modulus), "e_hex": hex::encode(exponent)})
            .to_string()
            .into_bytes()
    }
}
