//! What is measured, under the specification's names (§3.A `PerformanceData`). In JSON shares and times are decimal
//! numbers; what is signed are the integers within.

pub mod container;
pub mod custom;
pub mod network;
pub mod security;
pub mod system;

use std::collections::BTreeMap;

use nautilus_core::{Digest32, NodeId, Signature, UnixMillis};
use nautilus_proof::{CollectorKind, GapReason};
use serde::Serialize;

pub use self::container::{ContainerMetrics, ContainerStates, ContainerUsage, ImagePullMetrics, PodMetrics};
pub use self::custom::{CustomMetrics, CustomSource, CustomSourceKind};
pub use self::network::{DeviceTraffic, NetworkDetails, NetworkMetrics, PacketCounts};
pub use self::security::{SecurityEvent, SecurityEventKind, SecurityMetrics, ThreatLevel};
pub use self::system::{
    CpuTime, DiskIo, Filesystem, MemorySizes, NetworkIo, PagingCounts, PressureTimes, SystemDetails,
    SystemMetrics, TeeStatus, Waits,
};

/// One sample with all that was measured (specification §3.A).
#[derive(Clone, Debug, Serialize)]
pub struct PerformanceData {
    /// When.
    pub timestamp: UnixMillis,
    /// The node.
    pub node_id: NodeId,
    /// The enclave that chained it; none where there is no enclave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enclave_id: Option<String>,
    /// The machine; none if there is a gap.
    pub system_metrics: Option<Box<SystemMetrics>>,
    /// Pods and containers; none if there is a gap, or nothing to collect.
    pub container_metrics: Option<Box<ContainerMetrics>>,
    /// The network; none if there is a gap.
    pub network_metrics: Option<Box<NetworkMetrics>>,
    /// The node's trustworthiness; none if there is a gap.
    pub security_metrics: Option<Box<SecurityMetrics>>,
    /// What others measured, by series.
    pub custom_metrics: BTreeMap<String, f64>,
    /// What was to be measured and was not.
    pub gaps: Vec<GapFacts>,
    /// The attestation that speaks for the signing key; none before there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<serde_json::Value>,
    /// The signature over the batch that the sample is in; none before it is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// The digest of the sample, which the next sample and its batch name.
    pub hash: Digest32,
}

/// A part that was not measured, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapFacts {
    /// Which part.
    pub collector: CollectorKind,
    /// What happened.
    pub reason: GapReason,
    /// The error, for people.
    pub detail: String,
}
