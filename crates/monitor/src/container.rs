//! The collector of pods and containers.
//!
//! Which there are is asked of the container runtime, over the Container Runtime Interface; what they use is read from
//! control groups and from `/proc`. All of it is hostile: the runtime's answers are bounded, and no path that it names
//! leads out of the control groups.

mod cri;
mod error;
mod events;
pub mod files;
mod groups;
mod mounts;
mod path;
mod pulls;
mod usual;
mod worker;

use std::path::PathBuf;

use nautilus_proof::CollectorKind;

pub use self::error::RuntimeError;
pub use self::events::ImageEvent;
pub use self::groups::{GroupUsage, Groups};
pub use self::mounts::{Hierarchies, Mount};
pub use self::path::GroupPath;
pub use self::pulls::{ImageFacts, Pulls, chains};
pub use self::usual::{USUAL_SOCKETS, UsualContainers};
use self::worker::{Inventory, Pod, Task, Worker};
use crate::collector::{Collector, Part};
use crate::data::{ContainerMetrics, ContainerUsage, PodMetrics};
use crate::decimal::{Decimal, Seconds};
use crate::error::CollectError;

/// Most pods that are measured. Above it they are counted as left out.
pub const MAX_PODS: usize = 1_000;
/// Most containers that are measured. Above it they are counted as left out.
pub const MAX_CONTAINERS: usize = 1_000;

/// Where the collector looks.
#[derive(Clone, Debug)]
pub struct ContainerSources {
    /// The runtime's socket.
    pub socket: PathBuf,
    /// `/`, or a tree that stands for it.
    pub root: PathBuf,
}

/// Collects [`ContainerMetrics`] of one container runtime.
///
/// A thread of its own speaks to the runtime and hears its events from the first on. A runtime that is not there, or is
/// restarted, costs the samples of that time and is found again.
#[derive(Debug)]
pub struct ContainerCollector {
    worker: Worker,
    groups: Groups,
}

impl ContainerCollector {
    /// A collector. The runtime need not be there yet.
    ///
    /// # Errors
    /// If the machine shows no control groups, or a thread cannot be started.
    pub fn new(sources: ContainerSources) -> Result<Self, CollectError> {
        Ok(Self {
            groups: Groups::new(sources.root)?,
            worker: Worker::start(sources.socket)?,
        })
    }

    /// Measures once. A container or pod that goes away meanwhile is left out.
    ///
    /// # Errors
    /// If the runtime does not answer or answers what cannot be, or the kernel refuses a file.
    pub fn measure(&mut self) -> Result<ContainerMetrics, CollectError> {
        let Inventory {
            runtime,
            states,
            ready_pods,
            other_pods,
            left_out,
            pods,
            pulls,
        } = self.worker.inventory()?;
        let total = [states.created, states.running, states.exited, states.unknown];
        let mut metrics = ContainerMetrics {
            runtime: Some(runtime),
            total_containers: total.into_iter().fold(0, u32::saturating_add),
            running_containers: states.running,
            containers_by_state: states,
            ready_pods,
            other_pods,
            left_out,
            image_pull_metrics: pulls,
            ..ContainerMetrics::default()
        };
        let mut failed = None;
        for pod in &pods {
            match self.pod(pod) {
                Ok(Some(measured)) => {
                    let name = format!("{}/{}", pod.namespace, pod.name);
                    metrics.pod_metrics.insert(name, measured);
                }
                Ok(None) => {}
                // What a pod can make of its own files costs that pod alone.
                Err(error) => {
                    metrics.left_out = metrics.left_out.saturating_add(1);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if metrics.pod_metrics.is_empty() => Err(error),
            _ => Ok(metrics),
        }
    }

    fn pod(&mut self, pod: &Pod) -> Result<Option<PodMetrics>, CollectError> {
        let Some((sandbox_group, sandbox)) = self.usage(&pod.sandbox)? else {
            return Ok(None);
        };
        let mut measured = PodMetrics {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            restarts: pod.restarts,
            ..PodMetrics::default()
        };
        let mut sum = sandbox;
        for container in &pod.containers {
            let Some((_, usage)) = self.usage(&container.task)? else {
                continue;
            };
            measured.running_containers = measured.running_containers.saturating_add(1);
            sum = added(&sum, &usage);
            let restarts = container.restarts;
            measured
                .containers
                .insert(container.name.clone(), container_usage(&usage, restarts));
        }
        // The pod's own group has what containers used that are no more; it is there where a kubelet made it.
        let whole = match sandbox_group.pod(&pod.uid) {
            Some(group) => self.groups.usage(&group)?,
            None => Some(sum),
        };
        let Some(whole) = whole else { return Ok(None) };
        measured.cpu_usage = seconds(whole.cpu_nanos.unwrap_or_default());
        measured.memory_working_set = whole.working_set_bytes.unwrap_or_default();
        if !pod.sandbox.host_network {
            // As many interfaces as it likes: what is too long to be read is not known.
            let traffic = self.groups.traffic(pod.sandbox.pid, &pod.sandbox.id);
            let traffic = traffic.unwrap_or(None);
            measured.network_rx_bytes = traffic.map(|traffic| traffic.received.bytes);
            measured.network_tx_bytes = traffic.map(|traffic| traffic.sent.bytes);
        }
        Ok(Some(measured))
    }

    /// What a container used, and its group; `None` if it is gone.
    fn usage(&mut self, task: &Task) -> Result<Option<(GroupPath, GroupUsage)>, CollectError> {
        if let Some(group) = &task.group
            && let Some(usage) = self.groups.usage(group)?
        {
            return Ok(Some((group.clone(), usage)));
        }
        // A runtime within a container of its own has its groups below that container's.
        let Some(group) = self.groups.of_process(task.pid, &task.id)? else {
            return Ok(None);
        };
        Ok(self.groups.usage(&group)?.map(|usage| (group, usage)))
    }
}

impl Collector for ContainerCollector {
    fn kind(&self) -> CollectorKind {
        CollectorKind::Container
    }

    fn collect(&mut self) -> Result<Part, CollectError> {
        Ok(Part::Container(Box::new(self.measure()?)))
    }
}

fn container_usage(usage: &GroupUsage, restarts: u32) -> ContainerUsage {
    let [cpu, memory, io] = usage.waiting_nanos.map_or([None; 3], |all| all.map(Some));
    ContainerUsage {
        cpu_usage: usage.cpu_nanos.map(seconds),
        cpu_throttled: usage.throttled_nanos.map(seconds),
        memory_usage: usage.memory_bytes,
        memory_working_set: usage.working_set_bytes,
        oom_kills: usage.oom_kills,
        read_bytes: usage.block_io.map(|io| io.read_bytes),
        written_bytes: usage.block_io.map(|io| io.written_bytes),
        tasks: usage.tasks,
        waiting_cpu: cpu.map(seconds),
        waiting_memory: memory.map(seconds),
        waiting_io: io.map(seconds),
        restarts,
    }
}

/// Of two groups together, what a pod has a metric for.
fn added(one: &GroupUsage, other: &GroupUsage) -> GroupUsage {
    let both = |one: Option<u64>, other: Option<u64>| {
        let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
        Some(one.saturating_add(other))
    };
    GroupUsage {
        cpu_nanos: both(one.cpu_nanos, other.cpu_nanos),
        working_set_bytes: both(one.working_set_bytes, other.working_set_bytes),
        ..GroupUsage::default()
    }
}

fn seconds(nanos: u64) -> Seconds {
    Decimal(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// The runtime's text without control characters, at most that many bytes of it.
fn printable(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most.min(text.len()));
    let kept = text.get(..end).unwrap_or_default();
    kept.chars().filter(|character| !character.is_control()).collect()
}
