//! Verification of Keystone evidence.

use std::collections::BTreeMap;

use nautilus_core::{
    Descriptor, DeviceIdentity, Endorsements, Measurement, RawClaims, Revocation, Tcb, TeeKind, TeeVerifier,
    TrustAnchorError, TrustAnchors, UnixMillis, VerifyError, Want,
};

use super::device::{Devices, key_fault};
use super::ed25519_sha3::PublicKey;
use super::{Report, known_keys, parse_report, recognises};
use crate::memo::{Key, Memo, Window};

/// Most security monitors that are remembered: a machine has another one after each update of its firmware.
const MONITORS: usize = 4096;
/// What was found out about keys and their signatures does not age. Which devices are enrolled is fixed with the
/// verifier.
const ALWAYS: Window = Window {
    from: UnixMillis(0),
    until: UnixMillis(u64::MAX),
};

/// Verifies Keystone reports of enrolled devices.
///
/// A report costs one signature verification. For a security monitor that was not seen yet there is one more, over
/// its key; if that is good, up to 32 multiplications of the base point follow, to find out whether the key is one
/// that anybody can derive.
#[derive(Debug)]
pub struct Verifier {
    devices: Devices,
    monitors: Memo<Monitor>,
}

/// A security monitor that an enrolled device signed.
#[derive(Clone, Copy, Debug)]
struct Monitor {
    recoverable_key: bool,
}

impl Verifier {
    /// A verifier that trusts the anchors of role `keystone-device`. There is no vendor's root.
    ///
    /// # Errors
    /// If an anchor is no Ed25519 public key, or one that vouches for nothing.
    pub fn new(anchors: &TrustAnchors) -> Result<Self, TrustAnchorError> {
        Ok(Self {
            devices: Devices::of(anchors)?,
            monitors: Memo::new(MONITORS),
        })
    }

    /// Device → security monitor → enclave. What the report says of its own device is only looked up.
    fn check_signatures(&self, report: &Report, now: UnixMillis) -> Result<Monitor, VerifyError> {
        let device = self.devices.enrolled(&report.device_public_key)?;
        let signed = report.signed_by_device();
        let key = Key::of(&[&report.device_public_key, &signed, &report.sm_signature]);
        let monitor = self.monitors.get_or_try(key, now, || {
            if !device.verifies(&signed, &report.sm_signature) {
                return Err(VerifyError::SignatureInvalid {
                    what: "over the security monitor's hash and key, by the device's key".to_owned(),
                });
            }
            let recoverable_key = known_keys::is_recoverable(&report.sm_hash, &report.sm_public_key);
            Ok((Monitor { recoverable_key }, ALWAYS))
        })?;
        let sm_key = PublicKey::new(&report.sm_public_key)
            .map_err(|fault| key_fault("security monitor's key", fault))?;
        if !sm_key.verifies(&report.signed_by_monitor(), &report.enclave_signature) {
            return Err(VerifyError::SignatureInvalid {
                what: "over the enclave's hash and data, by the security monitor's key".to_owned(),
            });
        }
        Ok(monitor)
    }
}

impl TeeVerifier for Verifier {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Keystone,
            format: "Keystone report",
        }
    }

    fn recognises(&self, evidence: &[u8]) -> bool {
        recognises(evidence)
    }

    /// Nothing: no vendor endorses Keystone devices.
    fn wants(&self, evidence: &[u8]) -> Result<Vec<Want>, VerifyError> {
        parse_report(evidence).map(|_| Vec::new())
    }

    fn verify(
        &self,
        evidence: &[u8],
        _endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        let report = parse_report(evidence)?;
        let monitor = self.check_signatures(&report, now)?;
        let (debug, attributes) = describe_keys(&report, monitor);
        Ok(RawClaims {
            report_data: report.data,
            device: DeviceIdentity {
                scheme: "keystone-device",
                id: hex::encode(report.device_public_key),
                family: None,
            },
            debug,
            tcb: Tcb::default(),
            measurements: BTreeMap::from([
                (
                    "enclave_hash".to_owned(),
                    Measurement(report.enclave_hash.to_vec()),
                ),
                ("sm_hash".to_owned(), Measurement(report.sm_hash.to_vec())),
            ]),
            attributes,
            unsigned: report.unsigned.into_iter().collect(),
            revocation: Revocation::NotApplicable {
                because: "no vendor certifies a Keystone device: whoever enrolled its key takes it off the list",
            },
            made_at: None,
            endorsed_until: None,
        })
    }
}

/// Whether somebody else than the device could have signed, and what there is to say of the keys.
fn describe_keys(report: &Report, monitor: Monitor) -> (bool, BTreeMap<String, String>) {
    let published = known_keys::published(&report.device_public_key);
    let mut reasons = Vec::new();
    if let Some(place) = published {
        reasons.push(format!("anybody can sign with the device's key: {place}"));
    }
    if monitor.recoverable_key {
        reasons.push(
            "anybody can sign with the security monitor's key: the boot ROM derives it from one byte of the device's \
             secret and one byte of a hash that is public"
                .to_owned(),
        );
    }
    let device_key = if published.is_some() {
        "published test key"
    } else {
        "enrolled"
    };
    let sm_key = if monitor.recoverable_key {
        "recoverable from two bytes"
    } else {
        "no known weakness"
    };
    let mut attributes = BTreeMap::from([
        ("device_key".to_owned(), device_key.to_owned()),
        ("sm_key".to_owned(), sm_key.to_owned()),
        ("sm_public_key".to_owned(), hex::encode(report.sm_public_key)),
        ("data_len".to_owned(), report.data.len().to_string()),
    ]);
    let debug = !reasons.is_empty();
    if debug {
        attributes.insert("debug_because".to_owned(), reasons.join("; "));
    }
    (debug, attributes)
}

#[cfg(test)]
mod tests;
