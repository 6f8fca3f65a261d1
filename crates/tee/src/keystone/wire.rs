//! The Keystone report: `struct report` of the security monitor (`sm/src/enclave.h` of Keystone, on a 64-bit
//! machine), and the JSON that the SDK's `Report::stringfy` writes of it. Little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 64 | hash of the enclave |
//! | 64 | 8 | length of its data |
//! | 72 | 1024 | its data |
//! | 1096 | 64 | signature by the security monitor's key over what stands before, up to the end of the data |
//! | 1160 | 64 | hash of the security monitor |
//! | 1224 | 32 | its public key |
//! | 1256 | 64 | signature by the device's key over these two |
//! | 1320 | 32 | public key of the device |

use nautilus_core::{UnsignedFact, VerifyError};

use super::json;

/// Length of a report in its binary form.
pub const REPORT_LEN: usize = 1352;
/// Most data that an enclave can have signed: `ATTEST_DATA_MAXLEN`.
pub const MAX_DATA: usize = 1024;

const DATA_LEN_AT: usize = 64;
const DATA_AT: usize = 72;

/// A report as it stands in its bytes. Nothing in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Hash of the enclave: of its loader, runtime and application as they were loaded.
    pub enclave_hash: [u8; 64],
    /// What the enclave had signed: at most [`MAX_DATA`] bytes.
    pub data: Vec<u8>,
    /// By the security monitor's key, over hash, length and data.
    pub enclave_signature: [u8; 64],
    /// Hash of the security monitor.
    pub sm_hash: [u8; 64],
    /// Public key of the security monitor.
    pub sm_public_key: [u8; 32],
    /// By the device's key, over the security monitor's hash and key.
    pub sm_signature: [u8; 64],
    /// Which device signed, as the report says. No signature covers it.
    pub device_public_key: [u8; 32],
    /// What is unusual among the bytes that no signature covers.
    pub unsigned: Option<UnsignedFact>,
}

/// Whether bytes look like a report in its binary form, or like the SDK's JSON.
pub fn recognises(bytes: &[u8]) -> bool {
    let binary = bytes.len() == REPORT_LEN && data_len(bytes).is_ok_and(|length| length <= MAX_DATA);
    binary || json::recognises(bytes)
}

/// Parses a report in either form.
///
/// # Errors
/// `Malformed` names what is wrong and where; `TrailingBytes` says what follows the report.
pub fn parse_report(bytes: &[u8]) -> Result<Report, VerifyError> {
    if json::recognises(bytes) {
        return json::parse_report(bytes);
    }
    let length = data_len(bytes)?;
    if length > MAX_DATA {
        return Err(VerifyError::Malformed {
            what: format!("enclave's data is said to have {length} bytes, at most {MAX_DATA} fit"),
            offset: DATA_LEN_AT,
        });
    }
    let mut rest = bytes;
    let enclave_hash = take(&mut rest, bytes)?;
    let _length: [u8; 8] = take(&mut rest, bytes)?;
    let data: [u8; MAX_DATA] = take(&mut rest, bytes)?;
    let (data, tail) = data.split_at(length);
    let report = Report {
        enclave_hash,
        data: data.to_vec(),
        enclave_signature: take(&mut rest, bytes)?,
        sm_hash: take(&mut rest, bytes)?,
        sm_public_key: take(&mut rest, bytes)?,
        sm_signature: take(&mut rest, bytes)?,
        device_public_key: take(&mut rest, bytes)?,
        unsigned: tail_fact(tail, length),
    };
    if !rest.is_empty() {
        return Err(VerifyError::TrailingBytes {
            offset: REPORT_LEN,
            length: rest.len(),
        });
    }
    Ok(report)
}

#[cfg(feature = "verify")]
impl Report {
    /// What the security monitor's key signs.
    pub(super) fn signed_by_monitor(&self) -> Vec<u8> {
        // A `Vec` has at most `isize::MAX` bytes.
        let length = u64::try_from(self.data.len()).unwrap_or(u64::MAX);
        [&self.enclave_hash, length.to_le_bytes().as_slice(), &self.data].concat()
    }

    /// What the device's key signs.
    pub(super) fn signed_by_device(&self) -> Vec<u8> {
        [self.sm_hash.as_slice(), &self.sm_public_key].concat()
    }
}

fn data_len(bytes: &[u8]) -> Result<usize, VerifyError> {
    let field = bytes
        .get(DATA_LEN_AT..)
        .and_then(<[u8]>::first_chunk)
        .ok_or_else(|| too_short(bytes))?;
    // More than a pointer can count is more than fits.
    Ok(usize::try_from(u64::from_le_bytes(*field)).unwrap_or(usize::MAX))
}

fn take<const N: usize>(rest: &mut &[u8], all: &[u8]) -> Result<[u8; N], VerifyError> {
    let (field, after) = rest.split_first_chunk::<N>().ok_or_else(|| too_short(all))?;
    *rest = after;
    Ok(*field)
}

fn too_short(bytes: &[u8]) -> VerifyError {
    VerifyError::Malformed {
        what: format!("report ends, {REPORT_LEN} bytes are needed"),
        offset: bytes.len(),
    }
}

/// The security monitor does not clear the buffer that it builds a report in: what stands after the data is left
/// over from its stack. Such bytes may be secret, so that they are never shown.
fn tail_fact(tail: &[u8], data_len: usize) -> Option<UnsignedFact> {
    if tail.iter().all(|byte| *byte == 0) {
        return None;
    }
    Some(UnsignedFact {
        what: "bytes after the enclave's data",
        detail: format!(
            "{} bytes at offset {} are not all zero: left over from the security monitor's stack, or written by \
             whoever passed the report on",
            tail.len(),
            DATA_AT.saturating_add(data_len)
        ),
    })
}

#[cfg(test)]
mod tests;
