//! Every message of metrics and settlement that is signed. Twin of `docs/wire.md`.

use nautilus_core::{
    Assurance, BootId, Digest32, EvidenceId, Kind, NodeId, PublicKey, Signature, SignedMessage, SuiAddress,
    TeeKind, UnixMillis,
};
use serde::{Deserialize, Serialize};

/// What a collector measured, as integers: what is signed has no floating point. Counters count from the
/// machine's start. Whether the numbers are true depends on the proof's assurance: below `hardware-vm` the
/// host supplies them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// CPU time in use since the last sample, in basis points of all CPUs.
    pub cpu_usage_bp: u16,
    /// Share of the CPU time in use that programs had, in basis points: see `docs/metrics.md`.
    pub cpu_efficiency_bp: u16,
    /// Memory that is not available, in basis points.
    pub memory_usage_bp: u16,
    /// Root file system's space that is not available, in basis points.
    pub disk_usage_bp: u16,
    /// Load averages over 1, 5 and 15 minutes, in hundredths.
    pub load_average_centi: [u32; 3],
    /// Processes.
    pub process_count: u32,
    /// Threads of all processes.
    pub thread_count: u32,
    /// Open file descriptors of the whole system.
    pub file_descriptors: u64,
    /// Context switches since boot.
    pub context_switches: u64,
    /// Interrupts since boot.
    pub interrupts: u64,
    /// Bytes received on all interfaces but loopback.
    pub network_rx_bytes: u64,
    /// Bytes sent on all interfaces but loopback.
    pub network_tx_bytes: u64,
    /// Bytes read from all whole disks.
    pub disk_read_bytes: u64,
    /// Bytes written to all whole disks.
    pub disk_written_bytes: u64,
    /// Seconds since the machine's start.
    pub uptime_seconds: u64,
}

/// A key over P-256 that the holder of an enclave's signing key also holds: for chains that verify no Ed25519.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnclaveKey {
    /// The node.
    pub node: NodeId,
    /// This run of the enclave.
    pub boot: BootId,
    /// The enclave's signing key, which evidence binds.
    pub tee_key: PublicKey,
    /// The other key: SEC1 compressed, 33 bytes.
    pub secp256r1: Vec<u8>,
}

impl SignedMessage for EnclaveKey {
    const KIND: Kind = Kind::EnclaveKey;
}

/// An enclave's new signing key. The old key signs it, as its last signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// The node.
    pub node: NodeId,
    /// The key that signs no more.
    pub retired: PublicKey,
    /// The key in its place.
    pub successor: PublicKey,
    /// The boot that the new key signs for.
    pub boot: BootId,
    /// When, by the host's clock.
    pub at: UnixMillis,
}

impl SignedMessage for KeyRotation {
    const KIND: Kind = Kind::KeyRotation;
}

/// An attestation response (specification §2.A `AttestationResponse`): what its `signature` is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationResponse {
    /// The node.
    pub node: NodeId,
    /// This run of the enclave.
    pub boot: BootId,
    /// The evidence that it speaks of.
    pub evidence_id: EvidenceId,
    /// SHA-256 of the raw evidence.
    pub evidence: Digest32,
    /// SHA-256 of the attestation certificate in DER.
    pub certificate: Digest32,
    /// SHA-256 of the measurements' canonical form.
    pub measurements: Digest32,
    /// When it was made, by the host's clock.
    pub timestamp: UnixMillis,
    /// Until when it is to be used.
    pub expires_at: UnixMillis,
}

impl SignedMessage for AttestationResponse {
    const KIND: Kind = Kind::AttestationResponse;
}

/// One sample in a boot's chain. The enclave numbers and chains them; nobody else can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The node.
    pub node: NodeId,
    /// This run of the enclave.
    pub boot: BootId,
    /// 0, 1, 2, … within the boot.
    pub sequence: u64,
    /// Digest of the sample before; zero for the first.
    pub previous: Digest32,
    /// What was measured, and when.
    pub measurement: Measurement,
}

/// What the agent says that it measured at one tick. Everything in it is the host's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// When; strictly increasing within the boot.
    pub at: UnixMillis,
    /// The machine's monotonic clock, in milliseconds since its start; never decreasing within the boot.
    pub monotonic_millis: u64,
    /// Ticks since the sample before at which nothing was measured.
    pub missed: u32,
    /// By how much the machine's wall clock was set since the sample before, in milliseconds; 0 if it was not.
    pub clock_step_millis: i64,
    /// How long the machine was suspended since the sample before, in milliseconds.
    pub suspended_millis: u64,
    /// The machine as a whole; none if there is a gap in it.
    pub metrics: Option<Metrics>,
    /// Round trip of the attested session with the verifier, in microseconds; none without a session.
    pub response_time_micros: Option<u64>,
    /// What was to be measured and was not, ascending, at most one for each collector.
    pub gaps: Vec<Gap>,
    /// Digest of all [`Readings`].
    pub readings: Digest32,
    /// How many readings these are.
    pub reading_count: u32,
}

impl Measurement {
    /// What was measured at `at` by a collector of the machine alone, without readings or gaps.
    pub fn of_system(at: UnixMillis, metrics: Metrics) -> Self {
        Self {
            at,
            monotonic_millis: 0,
            missed: 0,
            clock_step_millis: 0,
            suspended_millis: 0,
            metrics: Some(metrics),
            response_time_micros: None,
            gaps: Vec::new(),
            readings: Readings::default().digest(),
            reading_count: 0,
        }
    }
}

impl SignedMessage for Sample {
    const KIND: Kind = Kind::Sample;
}

/// A part of the node that is measured by itself (specification §3.B). In canonical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectorKind {
    /// The machine.
    System,
    /// Pods and containers.
    Container,
    /// The network.
    Network,
    /// What is known of the node's trustworthiness.
    Security,
    /// What others measured.
    Custom,
}

impl CollectorKind {
    /// All of them, in canonical order.
    pub const ALL: [Self; 5] = [
        Self::System,
        Self::Container,
        Self::Network,
        Self::Security,
        Self::Custom,
    ];

    /// Its name in configuration, JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Container => "container",
            Self::Network => "network",
            Self::Security => "security",
            Self::Custom => "custom",
        }
    }
}

/// A part that was to be measured and was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Which part.
    pub collector: CollectorKind,
    /// What happened.
    pub reason: GapReason,
}

/// Why a part was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Its collector said that it could not.
    Failed,
    /// Its collector did not answer in time, or is still busy with an earlier sample.
    Stalled,
    /// It was measured in part: more than a sample may hold was left out.
    Truncated,
}

impl GapReason {
    /// Its name in JSON and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::Truncated => "truncated",
        }
    }
}

/// Longest name of a series with its labels, in bytes.
pub const MAX_SERIES_NAME: usize = 1024;

/// One series' value in a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The series as OpenMetrics writes it, without `_total`; at most [`MAX_SERIES_NAME`] bytes.
    pub series: String,
    /// Its value as an integer; `docs/metrics.md` has each family's unit.
    pub value: i64,
}

/// All that a sample's collectors measured, in ascending order of the series. A sample names its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings(pub Vec<Reading>);

impl SignedMessage for Readings {
    const KIND: Kind = Kind::Readings;
}

/// A run of a boot's samples, as the enclave signs it: the head names the last sample, which names all before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleBatch {
    /// The node.
    pub node: NodeId,
    /// This run of the enclave.
    pub boot: BootId,
    /// Number of its first sample.
    pub first: u64,
    /// How many samples.
    pub count: u32,
    /// Digest of the sample before the first; zero if that is the boot's first.
    pub previous: Digest32,
    /// Digest of its last sample.
    pub head: Digest32,
}

impl SignedMessage for SampleBatch {
    const KIND: Kind = Kind::SampleBatch;
}

/// Samples with the enclave's signature over their batch. Untrusted until it is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedBatch {
    /// The samples, in order; never empty.
    pub samples: Vec<Sample>,
    /// The TEE key's signature over their [`SampleBatch`].
    pub signature: Signature,
}

/// What a window's samples amount to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Mean of `cpu_usage_bp`, rounded down.
    pub cpu_usage_mean_bp: u16,
    /// Highest `cpu_usage_bp`.
    pub cpu_usage_max_bp: u16,
    /// Highest `memory_usage_bp`.
    pub memory_usage_max_bp: u16,
    /// Highest `disk_usage_bp`.
    pub disk_usage_max_bp: u16,
}

/// One window of samples: a leaf of the boot's append-only window log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The node.
    pub node: NodeId,
    /// Kind of TEE that signed.
    pub tee: TeeKind,
    /// What that TEE can vouch for at most.
    pub assurance: Assurance,
    /// This run of the enclave.
    pub boot: BootId,
    /// 0, 1, 2, … within the boot; also the leaf's index in the log.
    pub sequence: u64,
    /// First instant of the window.
    pub start: UnixMillis,
    /// First instant after it.
    pub end: UnixMillis,
    /// Time between samples, in milliseconds.
    pub interval_millis: u64,
    /// Samples that the window should hold: an absent one counts as down.
    pub slots: u32,
    /// Slots in which there is a sample.
    pub covered: u32,
    /// Number of samples.
    pub samples: u32,
    /// RFC 9162 tree head over the samples' canonical bytes.
    pub metrics_hash: Digest32,
    /// The evidence that speaks for the signing key.
    pub attestation_hash: EvidenceId,
    /// What the samples amount to.
    pub summary: Summary,
}

impl SignedMessage for Window {
    const KIND: Kind = Kind::Window;
}

/// What the enclave and the wallet sign for one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofStatement {
    /// The window.
    pub window: Window,
    /// RFC 9162 tree head of the boot's window log with this window as its last leaf.
    pub merkle_root: Digest32,
    /// When the enclave signed.
    pub issued_at: UnixMillis,
    /// From when on the proof is not accepted any more.
    pub expires_at: UnixMillis,
}

impl SignedMessage for ProofStatement {
    const KIND: Kind = Kind::Proof;
}

/// The facts a node id is the digest of: a wallet, and a label by which it tells its nodes apart.
#[derive(Serialize)]
struct NodeName {
    wallet: SuiAddress,
    label: BootId,
}

impl SignedMessage for NodeName {
    const KIND: Kind = Kind::NodeName;
}

/// The id of the node that `wallet` calls `label` (16 random bytes).
pub fn node_id(wallet: SuiAddress, label: BootId) -> NodeId {
    NodeId(NodeName { wallet, label }.digest().0)
}

/// A wallet's statement that a node is its own. Signed by the wallet as a Sui personal message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The node; must be what wallet and label give.
    pub node: NodeId,
    /// The wallet that is rewarded.
    pub wallet: SuiAddress,
    /// The wallet's label for the node.
    pub label: BootId,
    /// The verifier whose ledger the node registers with.
    pub verifier: PublicKey,
}

impl SignedMessage for Registration {
    const KIND: Kind = Kind::Registration;
}
