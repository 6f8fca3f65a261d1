//! What a collector is.

use nautilus_proof::CollectorKind;

use crate::data::{ContainerMetrics, CustomMetrics, NetworkMetrics, SecurityMetrics, SystemMetrics};
use crate::error::CollectError;
use crate::reading::Point;

/// Measures one part of the node (specification §3.A `MetricsCollector`).
///
/// Each has a thread of its own, so that one that stalls holds up no other. What it reads is hostile; whether its
/// numbers are true depends on the proof's assurance.
pub trait Collector: Send {
    /// Which part.
    fn kind(&self) -> CollectorKind;

    /// Measures once. May block; what comes too late is not taken.
    ///
    /// # Errors
    /// If the part cannot be measured as a whole: it is then a gap in the sample.
    fn collect(&mut self) -> Result<Part, CollectError>;
}

/// What one collector measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The machine.
    System(Box<SystemMetrics>),
    /// Pods and containers.
    Container(Box<ContainerMetrics>),
    /// The network.
    Network(Box<NetworkMetrics>),
    /// What is known of the node's trustworthiness.
    Security(Box<SecurityMetrics>),
    /// What others measured.
    Custom(Box<CustomMetrics>),
}

impl Part {
    /// The same as named integers.
    pub fn points(&self, into: &mut Vec<Point>) {
        match self {
            Self::System(metrics) => metrics.points(into),
            Self::Container(metrics) => metrics.points(into),
            Self::Network(metrics) => metrics.points(into),
            Self::Security(metrics) => metrics.points(into),
            Self::Custom(metrics) => metrics.points(into),
        }
    }
}
