//! What the agent counts and times itself. None of it is signed: it tells an operator how the node does.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nautilus_core::UnixMillis;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// From an answer of the simulated TEE to a device that hangs until its deadline.
const DURATIONS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// What the program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The release.
    pub version: String,
    /// The commit that it was built of; empty where it is not known.
    pub commit: String,
    /// The TEE that the node's enclave runs in.
    pub tee: String,
}

/// What the node attests for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationStage {
    /// The enclave started.
    Boot,
    /// The verdict is about to end.
    Renewal,
    /// The enclave's keys were replaced.
    Rotation,
    /// A relying party asked the attestation service.
    Request,
}

impl AttestationStage {
    /// Every stage.
    pub const ALL: [Self; 4] = [Self::Boot, Self::Renewal, Self::Rotation, Self::Request];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Renewal => "renewal",
            Self::Rotation => "rotation",
            Self::Request => "request",
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationResult {
    /// The evidence was accepted.
    Accepted,
    /// The evidence was rejected.
    Rejected,
    /// There is no verdict: no evidence was made, or nobody judged it.
    Failed,
}

impl AttestationResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Rejected, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// The agent's instruments. Cheap to feed from any thread.
#[derive(Debug)]
pub struct NodeMetrics {
    registry: Registry,
    attestations: Family<Labels<2>, Counter>,
    attestation_duration: Histogram,
    certificate_expiry: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    proof_duration: Histogram,
    proof_queue: Gauge,
    storage: Known,
    storage_free: Known,
    samples: Counter,
    ticks_missed: Counter,
    log_entries: Family<Labels<1>, Counter>,
}

impl NodeMetrics {
    /// Instruments at zero. What is not known at first is absent until it is told.
    pub fn new(build: &Build) -> Self {
        let mut this = Self {
            registry: Registry::default(),
            attestations: Family::default(),
            attestation_duration: Histogram::new(DURATIONS),
            certificate_expiry: Family::default(),
            proof_duration: Histogram::new(DURATIONS),
            proof_queue: Gauge::default(),
            storage: Known::default(),
            storage_free: Known::default(),
            samples: Counter::default(),
            ticks_missed: Counter::default(),
            log_entries: Family::default(),
        };
        // Failures are counted from zero on, so that the first of them is an increase.
        for stage in AttestationStage::ALL {
            for result in AttestationResult::ALL {
                this.attestations
                    .get_or_create(&attestation(stage, result))
                    .inc_by(0);
            }
        }
        this.register(build);
        this
    }

    fn register(&mut self, build: &Build) {
        let into = &mut self.registry;
        let facts = [
            ("version", build.version.clone()),
            ("commit", build.commit.clone()),
            ("tee", build.tee.clone()),
        ];
        let help = "The program, and the TEE that its enclave runs in";
        into.register("nautilus_build", help, Info::new(facts));
        let help = "Attestations by what they were for and what came of them";
        into.register("nautilus_attestation", help, self.attestations.clone());
        into.register_with_unit(
            "nautilus_attestation_duration",
            "Time from a challenge to the verdict on the evidence that answers it",
            Unit::Seconds,
            self.attestation_duration.clone(),
        );
        into.register_with_unit(
            "nautilus_certificate_expiry_timestamp",
            "When a certificate of the node ends",
            Unit::Seconds,
            self.certificate_expiry.clone(),
        );
        into.register_with_unit(
            "nautilus_proof_duration",
            "Time from the end of a window to its verified proof",
            Unit::Seconds,
            self.proof_duration.clone(),
        );
        let help = "Proofs that wait to be settled";
        into.register("nautilus_proof_queue_length", help, self.proof_queue.clone());
        into.register_with_unit(
            "nautilus_storage",
            "Size of the store of metrics on disk",
            Unit::Bytes,
            self.storage.clone(),
        );
        into.register_with_unit(
            "nautilus_storage_free",
            "Space that the store's file system has left for it",
            Unit::Bytes,
            self.storage_free.clone(),
        );
        let help = "Samples that the enclave took into its chain";
        into.register("nautilus_samples", help, self.samples.clone());
        let help = "Ticks at which nothing was measured";
        into.register("nautilus_ticks_missed", help, self.ticks_missed.clone());
        let help = "Entries of the node's event log by their type";
        into.register("nautilus_event_log_entries", help, self.log_entries.clone());
    }

    /// The instruments, for an [`Exposition`](super::Exposition).
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// An attestation ended, `took` after its challenge.
    pub fn attested(&self, stage: AttestationStage, result: AttestationResult, took: Duration) {
        self.attestations.get_or_create(&attestation(stage, result)).inc();
        self.attestation_duration.observe(took.as_secs_f64());
    }

    /// A certificate ends then. `name` tells the node's certificates apart.
    pub fn certificate(&self, name: &'static str, end: UnixMillis) {
        self.certificate_expiry
            .get_or_create(&[("cert", name)])
            .set(seconds(end));
    }

    /// A window's proof was verified, `took` after the window's end.
    pub fn proved(&self, took: Duration) {
        self.proof_duration.observe(took.as_secs_f64());
    }

    /// So many proofs wait to be settled.
    pub fn proofs_waiting(&self, count: usize) {
        self.proof_queue.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The store has `bytes` on disk, and its file system has `free` left for it.
    pub fn stored(&self, bytes: u64, free: u64) {
        self.storage.set(bytes);
        self.storage_free.set(free);
    }

    /// The enclave took a sample, before which it missed ticks.
    pub fn sampled(&self, missed: u32) {
        self.samples.inc();
        self.ticks_missed.inc_by(u64::from(missed));
    }

    /// The node's event log may have entries of these types. They are counted from zero on, so that the first of a type
    /// is an increase.
    pub fn log_types(&self, kinds: impl IntoIterator<Item = &'static str>) {
        for kind in kinds {
            self.log_entries.get_or_create(&[("type", kind)]).inc_by(0);
        }
    }

    /// The node's event log has another entry of this type.
    pub fn logged(&self, kind: &'static str) {
        self.log_entries.get_or_create(&[("type", kind)]).inc();
    }
}

const fn attestation(stage: AttestationStage, result: AttestationResult) -> Labels<2> {
    [("stage", stage.as_str()), ("result", result.as_str())]
}

fn seconds(at: UnixMillis) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a double holds milliseconds for as long as dates have four digits of a year"
    )]
    let millis = at.0 as f64;
    millis / 1000.0
}

/// A gauge that is absent until it is set.
#[derive(Clone, Debug, Default)]
struct Known(Arc<OnceLock<Gauge<u64, AtomicU64>>>);

impl Known {
    fn set(&self, value: u64) {
        let first = || {
            let gauge = Gauge::default();
            gauge.set(value);
            gauge
        };
        self.0.get_or_init(first).set(value);
    }
}

impl EncodeMetric for Known {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.get().map_or(Ok(()), |gauge| gauge.encode(encoder))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.0.get().is_none()
    }
}
