//! The collector of a machine whose container runtime nobody named.

use std::path::PathBuf;

use nautilus_proof::CollectorKind;

use super::{ContainerCollector, ContainerSources};
use crate::collector::{Collector, Part};
use crate::error::CollectError;

/// Where a container runtime listens, in this order: K3s' own containerd, the distribution's.
pub const USUAL_SOCKETS: [&str; 2] = [
    "/run/k3s/containerd/containerd.sock",
    "/run/containerd/containerd.sock",
];

/// Looks for a runtime at the usual sockets until there is one. A machine without a runtime has no containers, which is
/// no gap; from when there was one, it is to answer.
#[derive(Debug)]
pub struct UsualContainers {
    sockets: Vec<PathBuf>,
    root: PathBuf,
    found: Option<ContainerCollector>,
}

impl UsualContainers {
    /// A collector of the runtime at the first of `sockets` that there is; `root` is `/`, or a tree that stands for it.
    pub fn new(sockets: impl IntoIterator<Item = PathBuf>, root: impl Into<PathBuf>) -> Self {
        Self {
            sockets: sockets.into_iter().collect(),
            root: root.into(),
            found: None,
        }
    }
}

impl Collector for UsualContainers {
    fn kind(&self) -> CollectorKind {
        CollectorKind::Container
    }

    fn collect(&mut self) -> Result<Part, CollectError> {
        if let Some(found) = &mut self.found {
            return found.collect();
        }
        let Some(socket) = self.sockets.iter().find(|socket| socket.exists()) else {
            return Ok(Part::Container(Box::default()));
        };
        let sources = ContainerSources {
            socket: socket.clone(),
            root: self.root.clone(),
        };
        self.found.insert(ContainerCollector::new(sources)?).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ContainerMetrics;

    #[test]
    fn a_machine_without_a_runtime_has_no_containers_and_no_gap_until_there_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("containerd.sock");
        let mut collector = UsualContainers::new([socket.clone()], "/");
        let Part::Container(metrics) = collector.collect().unwrap() else {
            panic!("not what a container collector gives");
        };
        assert_eq!(*metrics, ContainerMetrics::default());
        let mut points = Vec::new();
        metrics.points(&mut points);
        assert_eq!(points.len(), 1);
        assert_eq!(
            (points[0].series().as_str(), points[0].value),
            ("nautilus_container_runtime_up", 0)
        );
        // Something is there, and does not answer.
        std::fs::write(&socket, "").unwrap();
        let error = collector.collect().unwrap_err();
        assert!(matches!(error, CollectError::Runtime(_)), "{error}");
        std::fs::remove_file(&socket).unwrap();
        let error = collector.collect().unwrap_err();
        assert!(matches!(error, CollectError::Runtime(_)), "it was there: {error}");
    }
}
