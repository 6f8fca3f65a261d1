//! Attesting and sealing with OP-TEE, through the generic TEE driver.
//!
//! PSA and CCA tokens have no attester here: the one is a microcontroller's, the other comes from a realm's
//! configfs-tsm.

mod bounded;
mod client;
mod service;
mod state;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nautilus_core::{AttestError, Attester, Descriptor, RawEvidence, ReportData, Sealer, TeeKind};
use serde_json::json;

use super::optee::Command;
use crate::{Platform, PlatformOptions};
use client::OpTee;
use service::{AttestationService, Key};
use state::StateSealer;

/// How long OP-TEE may take for anything: without tee-supplicant it takes for ever.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// What OP-TEE offers to programs of the normal world, among which this one is.
pub(crate) fn platform(options: &PlatformOptions) -> Result<Platform, AttestError> {
    if let Some(name) = &options.quote_provider {
        return Err(AttestError::Unsupported {
            what: format!("quote provider `{name}`: OP-TEE has one way to make evidence, name none"),
        });
    }
    let tee = OpTee::open()?;
    drop(AttestationService::open(&tee)?);
    let sealer = StateSealer::find(ANSWER_DEADLINE)?;
    Ok(Platform {
        attester: Box::new(OpTeeAttester),
        sealer: sealer.map(|sealer| Box::new(sealer) as Box<dyn Sealer>),
    })
}

/// Has OP-TEE's `attestation` service sign the measurement of OP-TEE itself.
struct OpTeeAttester;

impl Attester for OpTeeAttester {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::TrustZone,
            format: "OP-TEE attestation",
        }
    }

    /// The service's answer holds neither nonce nor key, so that its signature is checked here, by the key that the
    /// service gives: else evidence for somebody else's nonce would be noticed by the verifier alone.
    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        let tee = OpTee::open()?;
        let service = AttestationService::open(&tee)?;
        let key = service.public_key()?;
        let nonce = report_data.as_bytes();
        let output = service.hash_tee_memory(nonce, &key)?;
        if !key.signed(nonce, &output) {
            return Err(AttestError::WrongReportData {
                interface: service.name(),
                expected: hex::encode(nonce),
                found: "(unknown: its signature is not over this)".to_owned(),
            });
        }
        Ok(RawEvidence {
            bytes: container(nonce, &output, &key).into_bytes(),
            ..RawEvidence::default()
        })
    }
}

/// The container `nautilus-optee/1`, which `optee::parse` reads.
fn container(nonce: &[u8; 64], output: &[u8], key: &Key) -> String {
    json!({
        "format": "nautilus-optee/1",
        "command": Command::TeeMemory.as_str(),
        "nonce": hex::encode(nonce),
        "output": STANDARD.encode(output),
        "key_id": hex::encode(key.id()),
    })
    .to_string()
}
