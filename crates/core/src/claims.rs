//! What verified evidence says: one vocabulary over all TEEs.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{BoundUserData, EvidenceId, TeeKind, UnixMillis};

/// A value that passed verification. The only constructor is [`crate::VerifierSet::verify`].
///
/// ```compile_fail,E0451
/// fn forge(claims: nautilus_core::Claims) -> nautilus_core::Verified<nautilus_core::Claims> {
///     nautilus_core::Verified { inner: claims }
/// }
/// ```
/// ```compile_fail,E0277
/// let read: nautilus_core::Verified<nautilus_core::Claims> = serde_json::from_str("{}").unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Verified<T> {
    inner: T,
}

impl<T> Verified<T> {
    pub(crate) const fn seal(inner: T) -> Self {
        Self { inner }
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

/// How much a claim is worth: what part of the node the hardware vouches for. Ordered, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// Nothing: a test vendor signed.
    Simulated,
    /// What booted was measured (TPM); what runs now was not.
    MeasuredBoot,
    /// The agent's core runs inside; the host and its `/proc` do not (SGX, Keystone, OP-TEE).
    HardwareEnclave,
    /// The whole node runs inside (SNP, TDX, Nitro).
    HardwareVm,
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simulated => "simulated",
            Self::MeasuredBoot => "measured-boot",
            Self::HardwareEnclave => "hardware-enclave",
            Self::HardwareVm => "hardware-vm",
        })
    }
}

/// A vendor's verdict on a platform's trusted computing base. Names are Intel's (PCS API v4 `tcbStatus`);
/// other vendors' verdicts map onto them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TcbStatus {
    /// All components are at or above the newest level.
    UpToDate,
    /// Up to date, but the software must mitigate an advisory itself.
    SWHardeningNeeded,
    /// Up to date, but the platform's configuration exposes it.
    ConfigurationNeeded,
    /// Both of the above.
    ConfigurationAndSWHardeningNeeded,
    /// The module was updated under the running TD: relaunch it.
    TDRelaunchAdvised,
    /// Relaunch it and mend the configuration.
    TDRelaunchAdvisedConfigurationNeeded,
    /// Some component is below the newest level.
    OutOfDate,
    /// Out of date, and the configuration exposes it.
    OutOfDateConfigurationNeeded,
    /// The platform's keys are no longer trusted.
    Revoked,
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One component that is below what a TCB level asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shortfall {
    /// The component as the vendor names it, such as `SGX TCB component 3 (microcode)`.
    pub component: String,
    /// Security version that the platform has.
    pub have: u16,
    /// Security version that the level needs.
    pub needs: u16,
    /// Status of the level that is missed.
    pub level: TcbStatus,
    /// Date of the level that is missed, as the vendor writes it.
    pub since: String,
}

/// The state of the platform's trusted computing base, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tcb {
    /// The vendor's verdict; none where the vendor publishes no levels, or the platform meets none of them.
    pub status: Option<TcbStatus>,
    /// Date of the level that the platform meets, as the vendor writes it.
    pub date: Option<String>,
    /// Advisories that apply at this level.
    pub advisories: Vec<String>,
    /// The vendor's evaluation data number, where it has one.
    pub evaluation: Option<u32>,
    /// What is missing to the newest level.
    pub shortfalls: Vec<Shortfall>,
    /// The same platform under the vendor's other evaluation data, where those came along too: what it was, or
    /// what it is going to be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_evaluations: Vec<Tcb>,
}

/// Whether somebody asked if the vendor takes back the certificates that were relied upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Revocation {
    /// The revocation lists of the chain were checked.
    Checked {
        /// When the first of the lists stops being current, where they say.
        until: Option<UnixMillis>,
    },
    /// There are such lists, and none came along.
    Unchecked {
        /// Which are missing.
        because: String,
    },
    /// There is nothing that could be revoked by a list.
    NotApplicable {
        /// Why not.
        because: &'static str,
    },
}

/// An event that the firmware measured, of an event log whose replay gives the signed registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedEvent {
    /// The register that it extends, as in [`Claims::measurements`].
    pub register: String,
    /// Its type as the log's specification names it, such as `EV_EFI_BOOT_SERVICES_APPLICATION`.
    pub event: String,
    /// What was extended.
    pub digest: Measurement,
    /// What it says it measured, for people. The digest covers it only for some types of event.
    pub detail: String,
}

/// Which physical device signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceIdentity {
    /// What kind of name `id` is, such as `intel-ppid`.
    pub scheme: &'static str,
    /// The device's name in hex.
    pub id: String,
    /// The device's family, such as Intel's FMSPC, in hex.
    pub family: Option<String>,
}

/// A measurement register. Hex in JSON.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Measurement(pub Vec<u8>);

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Measurement {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Measurement {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(&text).map_err(|error| {
            serde::de::Error::custom(format_args!("a measurement is written in hex: {error}"))
        })?;
        if bytes.is_empty() || bytes.len() > 64 {
            return Err(serde::de::Error::custom("a measurement has 1 to 64 bytes"));
        }
        Ok(Self(bytes))
    }
}

/// Bytes of the evidence that no signature covers and that are not in the form they should have. They
/// change nothing that is claimed, and are reported so that nobody identifies evidence by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnsignedFact {
    /// What it is, such as `trailing zero padding`.
    pub what: &'static str,
    /// Where and how much.
    pub detail: String,
}

/// PCRs that are reset without a restart: 16 (debug) and 23 (application support) by any software, 20 to 22 by software
/// that reaches locality 2 (TCG, *PC Client Platform TPM Profile*, "PCR Attributes"). 17 to 19 take the processor's
/// dynamic launch. Their values say what some program chose to extend after a reset.
pub const RESETTABLE_PCRS: [u8; 5] = [16, 20, 21, 22, 23];
/// What stands before the name of a PCR that any program can reset and extend anew: `resettable_pcr16`. By that name
/// nobody takes it for a measurement who does not ask for it.
pub const RESETTABLE_PCR_PREFIX: &str = "resettable_";

/// What verified evidence says. Readable by all; made only in this crate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Claims {
    /// Kind of TEE.
    pub tee: TeeKind,
    /// What the hardware vouches for.
    pub assurance: Assurance,
    /// Canonical identity of the evidence.
    pub evidence_id: EvidenceId,
    /// What the caller had signed: its 64 bytes, or what the TEE's format has room for (`docs/wire.md`).
    pub report_data: Measurement,
    /// What the report data was held against; `unchecked: …` where nothing was.
    pub binding: String,
    /// What the evidence binds, where its canonical bytes came along and match.
    pub user_data: Option<BoundUserData>,
    /// The device that signed.
    pub device: DeviceIdentity,
    /// Whether a debugger may look inside: nothing such an enclave says can be relied upon.
    pub debug: bool,
    /// State of the platform.
    pub tcb: Tcb,
    /// Measurement registers by their vendor's names in lower case (`mrenclave`, `rtmr0`, …). Those that any program
    /// can set have [`RESETTABLE_PCR_PREFIX`] before theirs.
    pub measurements: BTreeMap<String, Measurement>,
    /// TEE-specific attributes.
    pub attributes: BTreeMap<String, String>,
    /// Deviations among the unsigned bytes.
    pub unsigned: Vec<UnsignedFact>,
    /// Whether the certificates were held against revocation lists.
    pub revocation: Revocation,
    /// When the TEE says that it signed, where its format has a time.
    pub made_at: Option<UnixMillis>,
    /// The firmware's event log, where it came along: its replay gives the measurements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_log: Vec<LoggedEvent>,
    /// When the endorsements used here stop being current.
    pub endorsed_until: Option<UnixMillis>,
}

impl Claims {
    /// Why the report data was held against nothing of the caller's, if it was not.
    pub fn unchecked_binding(&self) -> Option<&str> {
        self.binding.strip_prefix(crate::verify::UNCHECKED)
    }
}
