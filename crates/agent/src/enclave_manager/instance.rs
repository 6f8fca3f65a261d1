//! An enclave as it is told: the specification's fields (§1.B `EnclaveInstance`, `EnclaveMeasurements`).

use std::collections::BTreeMap;
use std::fmt;

use nautilus_core::{BootId, Digest32, PublicKey, TeeKind, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{EnclaveName, EnclaveStatus};

/// Names one enclave for as long as it is managed, over all of its boots: 16 random bytes in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnclaveId(BootId);

impl EnclaveId {
    /// A new id.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(BootId(bytes)))
    }
}

impl fmt::Display for EnclaveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An enclave at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclaveInstance {
    /// Its id.
    pub id: EnclaveId,
    /// Its name.
    pub name: EnclaveName,
    /// The TEE that it runs in.
    pub tee_type: TeeKind,
    /// Its program.
    pub image: String,
    /// SHA-256 of its program when it was last started.
    pub image_hash: Digest32,
    /// Its state.
    pub status: EnclaveStatus,
    /// Why it is in this state, where that is not the usual course.
    pub reason: Option<String>,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When evidence of it was last accepted.
    pub last_attestation: Option<UnixMillis>,
    /// What the evidence that was last accepted says was measured.
    pub measurements: Option<EnclaveMeasurements>,
    /// The key to which secrets for it are encrypted.
    pub secure_channel: Option<SecureChannel>,
    /// How far it is.
    pub performance_data: EnclavePerformance,
    /// Its process.
    pub pid: u32,
    /// Its run; none before it is initialized.
    pub boot_id: Option<BootId>,
    /// The key that it signs with; none before it is initialized.
    pub tee_key: Option<PublicKey>,
}

/// Where secrets for an enclave are encrypted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecureChannel {
    /// Its X25519 key. Take it from verified evidence and not from here.
    pub channel_key: PublicKey,
}

/// How far an enclave is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclavePerformance {
    /// Windows that it closed in this boot.
    pub windows: u64,
    /// Samples in its open window.
    pub samples: u32,
    /// When it last answered a heartbeat.
    pub last_heartbeat: Option<UnixMillis>,
    /// How long that took, from the question to the answer, in microseconds.
    #[serde(default)]
    pub round_trip_us: Option<u64>,
    /// How often it was booted again.
    pub restarts: u64,
}

/// What was measured, in hex, from the claims of evidence that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclaveMeasurements {
    /// SGX's measurement of the code; empty where the TEE has none.
    pub mrenclave: String,
    /// Who signed SGX code; empty where the TEE has none.
    pub mrsigner: String,
    /// PCRs by name.
    pub pcr_values: BTreeMap<String, String>,
    /// What the firmware measured at the start, in order; empty without an event log.
    pub hash_chain: Vec<String>,
    /// Every other register and attribute of the TEE.
    pub attributes: BTreeMap<String, String>,
    /// When the evidence was verified.
    pub timestamp: Option<UnixMillis>,
    /// The enclave's signature over the response that these stand in. It covers [`Self::canonical`]; empty where the
    /// enclave signed none.
    pub signature: String,
}

impl EnclaveMeasurements {
    /// Reads them out of an appraisal's JSON, as the verifier gives it. None if it has no claims.
    #[must_use]
    pub fn from_appraisal(appraisal: &serde_json::Value, at: UnixMillis) -> Option<Self> {
        let claims = appraisal.get("claims")?;
        let mut measurements = Self {
            timestamp: Some(at),
            ..Self::default()
        };
        for (name, value) in text_entries(claims.get("measurements")?) {
            match name.as_str() {
                "mrenclave" => measurements.mrenclave = value,
                "mrsigner" => measurements.mrsigner = value,
                _ if name.starts_with("pcr") => {
                    measurements.pcr_values.insert(name, value);
                }
                _ => {
                    measurements.attributes.insert(name, value);
                }
            }
        }
        measurements
            .attributes
            .extend(text_entries(claims.get("attributes")?));
        let events = claims.get("event_log").and_then(serde_json::Value::as_array);
        measurements.hash_chain = events
            .into_iter()
            .flatten()
            .filter_map(|event| Some(event.get("digest")?.as_str()?.to_owned()))
            .collect();
        Some(measurements)
    }

    /// The register of this name, wherever it stands.
    #[must_use]
    pub fn register(&self, name: &str) -> Option<&str> {
        let value = match name {
            "mrenclave" => Some(&self.mrenclave),
            "mrsigner" => Some(&self.mrsigner),
            _ => self.pcr_values.get(name).or_else(|| self.attributes.get(name)),
        };
        value.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The bytes of which the enclave signs the SHA-256: this as JSON without spaces, fields in the order in which they
    /// stand here, maps by name, and an empty `signature`.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let unsigned = Self {
            signature: String::new(),
            ..self.clone()
        };
        // Strings, and maps of strings to strings: there is nothing in them that has no JSON.
        serde_json::to_vec(&unsigned).unwrap_or_default()
    }
}

fn text_entries(value: &serde_json::Value) -> impl Iterator<Item = (String, String)> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn appraisal() -> serde_json::Value {
        json!({"claims": {
            "measurements": {"mrenclave": "aa", "mrsigner": "bb", "pcr0": "cc", "rtmr0": "dd"},
            "attributes": {"isvsvn": "1"},
            "event_log": [{"register": "pcr0", "digest": "ee"}, {"register": "pcr0", "digest": "ff"}],
        }})
    }

    #[test]
    fn measurements_are_the_claims() {
        let read = EnclaveMeasurements::from_appraisal(&appraisal(), UnixMillis(0)).unwrap();
        assert_eq!(read.register("mrenclave"), Some("aa"));
        assert_eq!(read.register("mrsigner"), Some("bb"));
        assert_eq!(read.register("pcr0"), Some("cc"));
        assert_eq!(read.register("rtmr0"), Some("dd"));
        assert_eq!(read.register("mrtd"), None);
        assert_eq!(EnclaveMeasurements::default().register("mrenclave"), None);
        assert_eq!(read.attributes["isvsvn"], "1");
        assert_eq!(read.hash_chain, ["ee", "ff"]);
        assert_eq!(
            EnclaveMeasurements::from_appraisal(&json!({}), UnixMillis(0)),
            None
        );
    }

    #[test]
    fn the_specifications_fields_are_there_and_the_signature_signs_itself_not() {
        let mut read = EnclaveMeasurements::from_appraisal(&appraisal(), UnixMillis(0)).unwrap();
        let unsigned = read.canonical();
        read.signature = "00".to_owned();
        assert_eq!(read.canonical(), unsigned);
        read.mrenclave = "ab".to_owned();
        assert_ne!(read.canonical(), unsigned);
        let value = serde_json::to_value(&read).unwrap();
        let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "attributes",
                "hash_chain",
                "mrenclave",
                "mrsigner",
                "pcr_values",
                "signature",
                "timestamp"
            ]
        );
    }
}
