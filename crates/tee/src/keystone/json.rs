//! The report as JSON, which Keystone's SDK writes for tools on other machines.

use nautilus_core::{UnsignedFact, VerifyError};
use serde::Deserialize;

use super::wire::{MAX_DATA, Report};
use crate::json::{self, Hex, field_fault};

/// Largest text that is read: the largest that the SDK writes has 2,914 bytes.
const MAX_JSON: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    device_pubkey: Hex<32>,
    security_monitor: Monitor,
    enclave: Enclave,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Monitor {
    hash: Hex<64>,
    pubkey: Hex<32>,
    signature: Hex<64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enclave {
    hash: Hex<64>,
    datalen: u64,
    data: String,
    signature: Hex<64>,
}

pub(super) fn recognises(bytes: &[u8]) -> bool {
    let has = |name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    bytes.trim_ascii_start().first() == Some(&b'{') && has("\"security_monitor\"") && has("\"device_pubkey\"")
}

pub(super) fn parse_report(bytes: &[u8]) -> Result<Report, VerifyError> {
    let text: Text = json::read(bytes, MAX_JSON)?;
    let enclave = text.enclave;
    // The SDK's own reader takes the length from here, and does not hold it against its buffer.
    let length = usize::try_from(enclave.datalen).unwrap_or(usize::MAX);
    if length > MAX_DATA {
        let what = format!("enclave's data is said to have {length} bytes, at most {MAX_DATA} fit");
        return Err(field_fault(bytes, "datalen", what));
    }
    let data = hex::decode(&enclave.data).map_err(|_| field_fault(bytes, "data", "data is not hex"))?;
    if data.len() != length {
        let what = format!("data has {} bytes, datalen says {length}", data.len());
        return Err(field_fault(bytes, "data", what));
    }
    let mut report = Report {
        enclave_hash: enclave.hash.0,
        data,
        enclave_signature: enclave.signature.0,
        sm_hash: text.security_monitor.hash.0,
        sm_public_key: text.security_monitor.pubkey.0,
        sm_signature: text.security_monitor.signature.0,
        device_public_key: text.device_pubkey.0,
        unsigned: None,
    };
    report.unsigned = spelling_fact(bytes, &sdk_text(&report));
    Ok(report)
}

/// The text that the SDK writes of a report: names in order, lower-case hex, one space after colon and comma.
pub(super) fn sdk_text(report: &Report) -> String {
    format!(
        concat!(
            r#"{{"device_pubkey": "{}", "#,
            r#""enclave": {{"data": "{}", "datalen": {}, "hash": "{}", "signature": "{}"}}, "#,
            r#""security_monitor": {{"hash": "{}", "pubkey": "{}", "signature": "{}"}}}}"#
        ),
        hex::encode(report.device_public_key),
        hex::encode(&report.data),
        report.data.len(),
        hex::encode(report.enclave_hash),
        hex::encode(report.enclave_signature),
        hex::encode(report.sm_hash),
        hex::encode(report.sm_public_key),
        hex::encode(report.sm_signature),
    )
}

/// The signatures cover what the text says, not the text.
fn spelling_fact(found: &[u8], usual: &str) -> Option<UnsignedFact> {
    if found == usual.as_bytes() {
        return None;
    }
    let same = found
        .iter()
        .zip(usual.as_bytes())
        .take_while(|(a, b)| a == b)
        .count();
    Some(UnsignedFact {
        what: "unusual text of the JSON report",
        detail: format!(
            "{} bytes, Keystone's SDK writes {}; first difference at offset {same}",
            found.len(),
            usual.len()
        ),
    })
}
