//! What the simulated platform is, besides its key and certificates.

use serde::{Deserialize, Serialize};

/// The contents of `platform.json`. Written by the vendor, read by the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) format: Format,
    /// Security versions of the CPU, as in the PCK certificate.
    #[serde(with = "hex_array")]
    pub(super) cpu_svn: [u8; 16],
    /// Security version of the provisioning certification enclave, as in the PCK certificate.
    pub(super) pce_svn: u16,
    /// SHA-256 of the platform's public key, `x ‖ y`, so that the platform can tell its key without X.509.
    #[serde(with = "hex_array")]
    pub(super) pck_key: [u8; 32],
    /// SHA-256 of the file with the platform's certificate chain.
    #[serde(with = "hex_array")]
    pub(super) pck_chain: [u8; 32],
    /// Who signed the enclaves that this platform runs.
    #[serde(with = "hex_array")]
    pub(super) mrsigner: [u8; 32],
    /// Names the quoting enclave's platform in a quote's header.
    #[serde(with = "hex_array")]
    pub(super) qe_id: [u8; 16],
    /// The quoting enclave.
    pub(super) qe: QuotingEnclave,
}

/// The one format there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Format {
    #[serde(rename = "nautilus-simulated-platform/1")]
    V1,
}

/// A quoting enclave, as its identity document describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuotingEnclave {
    #[serde(with = "hex_array")]
    pub(super) mrenclave: [u8; 32],
    #[serde(with = "hex_array")]
    pub(super) mrsigner: [u8; 32],
    pub(super) isv_prod_id: u16,
    pub(super) isv_svn: u16,
}

mod hex_array {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        let mut bytes = [0; N];
        hex::decode_to_slice(String::deserialize(from)?, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}
