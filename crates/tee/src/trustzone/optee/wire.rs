//! What OP-TEE's `attestation` pseudo-TA gives, and the container in which it travels.
//!
//! The service (`lib/libutee/include/pta_attestation.h` of OP-TEE, UUID 39800861-182a-4720-9b67-2bcd622bc0b5) takes
//! a nonce and gives `measurement (32) ‖ signature`. Neither the nonce nor which command was invoked is in there,
//! so that they travel beside it:
//!
//! ```json
//! {
//!   "format": "nautilus-optee/1",
//!   "command": "ta_memory",
//!   "nonce": "…hex…",
//!   "ta": "6f1d2a3e-93c4-4d58-8f0a-1b2c3d4e5f61",
//!   "output": "…base64…",
//!   "key_id": "…hex…"
//! }
//! ```
//!
//! `ta` is there if the command measures a trusted application; `key_id` may be there, and is the SHA-256 of the
//! signing key's modulus.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::VerifyError;
use serde::Deserialize;

use crate::json::{self, Hex, field_fault};

/// Longest nonce that is read. The service itself takes any that is not empty.
pub const MAX_NONCE: usize = 64;

const FORMAT: &str = "nautilus-optee/1";
/// Largest container: a signature of 8,192 bits takes 1,408 characters, the rest below 400.
const MAX_CONTAINER: usize = 8 * 1024;
const MEASUREMENT_LEN: usize = 32;
/// Lengths of RSA moduli in bytes: 1,024 to 8,192 bits.
pub(super) const MODULUS_LEN: std::ops::RangeInclusive<usize> = 128..=1024;

/// Evidence as it stands in its bytes. Nothing in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpteeEvidence {
    /// Which command the sender says that the service was given. No signature covers it.
    pub command: Command,
    /// What the caller had signed.
    pub nonce: Vec<u8>,
    /// Which trusted application the sender says was measured. No signature covers it.
    pub ta: Option<Uuid>,
    /// SHA-256 of what the command measures.
    pub measurement: [u8; 32],
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes, over nonce and measurement.
    pub signature: Vec<u8>,
    /// SHA-256 of the modulus of the key that the sender says signed.
    pub key_id: Option<[u8; 32]>,
}

/// What the service was asked to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The signed header of a trusted application's file: which file it is, not what runs.
    TaHeader,
    /// The memory of the calling trusted application.
    TaMemory,
    /// The memory of OP-TEE itself.
    TeeMemory,
}

impl Command {
    /// Its name in the container.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TaHeader => "ta_header",
            Self::TaMemory => "ta_memory",
            Self::TeeMemory => "tee_memory",
        }
    }

    /// Its number in the service: `PTA_ATTESTATION_GET_TA_SHDR_DIGEST`, `…_HASH_TA_MEMORY`, `…_HASH_TEE_MEMORY`.
    pub const fn number(self) -> u32 {
        match self {
            Self::TaHeader => 1,
            Self::TaMemory => 2,
            Self::TeeMemory => 3,
        }
    }

    /// The name of what it measures, among the claims.
    pub const fn register(self) -> &'static str {
        match self {
            Self::TaHeader => "optee_ta_header",
            Self::TaMemory => "optee_ta_memory",
            Self::TeeMemory => "optee_tee_memory",
        }
    }
}

/// The name of a trusted application (RFC 9562), in the order of its text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    format: String,
    command: Command,
    nonce: String,
    ta: Option<String>,
    output: String,
    key_id: Option<Hex<32>>,
}

/// Whether bytes look like a container of this format, in any version of it.
pub fn recognises(bytes: &[u8]) -> bool {
    const NAME: &[u8] = b"\"nautilus-optee/";
    bytes.trim_ascii_start().first() == Some(&b'{') && bytes.windows(NAME.len()).any(|window| window == NAME)
}

/// Parses a container.
///
/// # Errors
/// `Malformed` names what is wrong and where; `Unsupported` names another version of the format.
pub fn parse(bytes: &[u8]) -> Result<OpteeEvidence, VerifyError> {
    let container: Container = json::read(bytes, MAX_CONTAINER)?;
    if container.format != FORMAT {
        let found: String = container.format.chars().take(64).collect();
        return Err(VerifyError::Unsupported {
            what: format!("OP-TEE evidence of format `{found}`: `{FORMAT}` is supported"),
        });
    }
    let fault = |field: &str, what: String| field_fault(bytes, field, what);
    // JSON has other spellings of the same name. Whoever sorts evidence by its look must not miss one.
    if !recognises(bytes) {
        return Err(fault("format", "format is not written out".to_owned()));
    }
    let nonce = hex::decode(&container.nonce).map_err(|_| fault("nonce", "nonce is not hex".to_owned()))?;
    if !(1..=MAX_NONCE).contains(&nonce.len()) {
        let what = format!("nonce has {} bytes, not 1 to {MAX_NONCE}", nonce.len());
        return Err(fault("nonce", what));
    }
    let ta = match (container.command, container.ta.as_deref()) {
        (Command::TeeMemory, None) => None,
        (Command::TeeMemory, Some(_)) => {
            let what = "evidence of `tee_memory` names a trusted application, which it does not measure";
            return Err(fault("ta", what.to_owned()));
        }
        (command, None) => {
            let what = format!(
                "evidence of `{}` does not name its trusted application",
                command.as_str()
            );
            return Err(fault("command", what));
        }
        (_, Some(text)) => {
            let uuid = uuid(text).ok_or_else(|| fault("ta", "ta is no UUID".to_owned()))?;
            Some(uuid)
        }
    };
    let output = STANDARD
        .decode(&container.output)
        .map_err(|_| fault("output", "output is not base64".to_owned()))?;
    let (measurement, signature) = output
        .split_first_chunk::<MEASUREMENT_LEN>()
        .filter(|(_, signature)| MODULUS_LEN.contains(&signature.len()))
        .ok_or_else(|| {
            let (length, least, most) = (output.len(), MODULUS_LEN.start(), MODULUS_LEN.end());
            fault(
                "output",
                format!(
                    "output has {length} bytes, not {MEASUREMENT_LEN} and a signature of {least} to {most}"
                ),
            )
        })?;
    Ok(OpteeEvidence {
        command: container.command,
        nonce,
        ta,
        measurement: *measurement,
        signature: signature.to_vec(),
        key_id: container.key_id.map(|id| id.0),
    })
}

/// 8-4-4-4-12 hex digits, and nothing else.
fn uuid(text: &str) -> Option<Uuid> {
    let groups: Vec<&str> = text.split('-').collect();
    if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
        return None;
    }
    let mut bytes = [0; 16];
    hex::decode_to_slice(groups.concat(), &mut bytes).ok()?;
    Some(Uuid(bytes))
}

#[cfg(test)]
mod tests;
