//! Pods and containers (specification §3.A `ContainerMetrics`).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decimal::Seconds;
use crate::reading::{Family, MetricKind, Point};

/// Pods and containers of the node's container runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ContainerMetrics {
    /// Name and version of the runtime; none where there is none, and so no containers.
    pub runtime: Option<String>,
    /// Containers that exist, whatever their state.
    pub total_containers: u32,
    /// Containers that run.
    pub running_containers: u32,
    /// Containers by state.
    pub containers_by_state: ContainerStates,
    /// Pods that are ready.
    pub ready_pods: u32,
    /// Pods that are not ready, and sandboxes that pods had before.
    pub other_pods: u32,
    /// Pods and containers that are above the limit and were not measured.
    pub left_out: u32,
    /// By `namespace/pod`, those that are ready.
    pub pod_metrics: BTreeMap<String, PodMetrics>,
    /// Image pulls since the agent's start.
    pub image_pull_metrics: ImagePullMetrics,
}

/// How many containers are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContainerStates {
    /// Made and not started.
    pub created: u32,
    /// Running.
    pub running: u32,
    /// Ended.
    pub exited: u32,
    /// The runtime does not know.
    pub unknown: u32,
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PodMetrics {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// CPU time of all its containers: since the pod's start where the pod has a control group, else since the start
    /// of those that run.
    pub cpu_usage: Seconds,
    /// Working set of all its containers, in bytes: usage without inactive file pages.
    pub memory_working_set: u64,
    /// Bytes received on its interfaces; none for a pod on the host's network.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent on its interfaces; none for a pod on the host's network.
    pub network_tx_bytes: Option<u64>,
    /// Restarts of its containers.
    pub restarts: u32,
    /// Containers of it that run.
    pub running_containers: u32,
    /// Its containers that run, by name.
    pub containers: BTreeMap<String, ContainerUsage>,
}

/// One container that runs. What the kernel does not say is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContainerUsage {
    /// CPU time since its start.
    pub cpu_usage: Option<Seconds>,
    /// Time for which its CPU limit held it back.
    pub cpu_throttled: Option<Seconds>,
    /// Memory, in bytes.
    pub memory_usage: Option<u64>,
    /// Memory without inactive file pages, in bytes.
    pub memory_working_set: Option<u64>,
    /// Processes of it that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Time for which some task of it waited for CPU.
    pub waiting_cpu: Option<Seconds>,
    /// Time for which some task of it waited for memory.
    pub waiting_memory: Option<Seconds>,
    /// Time for which some task of it waited for I/O.
    pub waiting_io: Option<Seconds>,
    /// How often it was started again.
    pub restarts: u32,
}

/// Image pulls since the agent's start, as far as containerd's events tell of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImagePullMetrics {
    /// Images that came, those again that were there already.
    pub pulls: u64,
    /// Size, as the runtime reports it, of those that were not there before.
    pub bytes: u64,
    /// Time that the pulls took together whose layers were seen to be extracted.
    pub duration: Seconds,
    /// How many pulls that is the time of.
    pub timed_pulls: u64,
    /// Pulls of which layers are being extracted now.
    pub in_progress: u32,
    /// Whether events are heard now: what came while they were not has no time.
    pub watching: bool,
}

static RUNTIME_UP: Family = Family::new(
    "nautilus_container_runtime_up",
    "",
    MetricKind::Gauge,
    0,
    "Whether there is a container runtime on this machine.",
);
static RUNTIME: Family = Family::new(
    "nautilus_container_runtime_info",
    "",
    MetricKind::Gauge,
    0,
    "Name and version of the container runtime.",
);
static CONTAINERS: Family = Family::new(
    "nautilus_containers",
    "",
    MetricKind::Gauge,
    0,
    "Containers by state.",
);
static PODS: Family = Family::new(
    "nautilus_pods",
    "",
    MetricKind::Gauge,
    0,
    "Pod sandboxes by state.",
);
static LEFT_OUT: Family = Family::new(
    "nautilus_containers_left_out",
    "",
    MetricKind::Gauge,
    0,
    "Pods and containers above the limit, which were not measured.",
);
static POD_CPU: Family = Family::new(
    "nautilus_pod_cpu_usage_seconds",
    "seconds",
    MetricKind::Counter,
    9,
    "CPU time of the pod.",
);
static POD_MEMORY: Family = Family::new(
    "nautilus_pod_memory_working_set_bytes",
    "bytes",
    MetricKind::Gauge,
    0,
    "Memory of the pod without inactive file pages.",
);
static POD_RECEIVED: Family = Family::new(
    "nautilus_pod_network_receive_bytes",
    "bytes",
    MetricKind::Counter,
    0,
    "Bytes received on the pod's interfaces but loopback.",
);
static POD_SENT: Family = Family::new(
    "nautilus_pod_network_transmit_bytes",
    "bytes",
    MetricKind::Counter,
    0,
    "Bytes sent on the pod's interfaces but loopback.",
);
static POD_RESTARTS: Family = Family::new(
    "nautilus_pod_restarts",
    "",
    MetricKind::Counter,
    0,
    "Restarts of the pod's containers.",
);
static POD_CONTAINERS: Family = Family::new(
    "nautilus_pod_running_containers",
    "",
    MetricKind::Gauge,
    0,
    "Containers of the pod that run.",
);
static CPU: Family = Family::new(
    "nautilus_container_cpu_usage_seconds",
    "seconds",
    MetricKind::Counter,
    9,
    "CPU time of the container.",
);
static THROTTLED: Family = Family::new(
    "nautilus_container_cpu_throttled_seconds",
    "seconds",
    MetricKind::Counter,
    9,
    "Time for which the container's CPU limit held it back.",
);
static MEMORY: Family = Family::new(
    "nautilus_container_memory_usage_bytes",
    "bytes",
    MetricKind::Gauge,
    0,
    "Memory of the container.",
);
static WORKING_SET: Family = Family::new(
    "nautilus_container_memory_working_set_bytes",
    "bytes",
    MetricKind::Gauge,
    0,
    "Memory of the container without inactive file pages.",
);
static OOM_KILLS: Family = Family::new(
    "nautilus_container_oom_kills",
    "",
    MetricKind::Counter,
    0,
    "Processes of the container that the kernel killed for want of memory.",
);
static READ: Family = Family::new(
    "nautilus_container_disk_read_bytes",
    "bytes",
    MetricKind::Counter,
    0,
    "Bytes that the container read from block devices.",
);
static WRITTEN: Family = Family::new(
    "nautilus_container_disk_written_bytes",
    "bytes",
    MetricKind::Counter,
    0,
    "Bytes that the container wrote to block devices.",
);
static TASKS: Family = Family::new(
    "nautilus_container_tasks",
    "",
    MetricKind::Gauge,
    0,
    "Processes and threads of the container.",
);
static WAITING: Family = Family::new(
    "nautilus_container_waiting_seconds",
    "seconds",
    MetricKind::Counter,
    9,
    "Time for which some task of the container waited for the resource.",
);
static RESTARTS: Family = Family::new(
    "nautilus_container_restarts",
    "",
    MetricKind::Counter,
    0,
    "How often the container was started again.",
);
static PULLS: Family = Family::new(
    "nautilus_image_pulls",
    "",
    MetricKind::Counter,
    0,
    "Images that came, those again that were there already.",
);
static PULL_BYTES: Family = Family::new(
    "nautilus_image_pull_bytes",
    "bytes",
    MetricKind::Counter,
    0,
    "Size of the images that came and were not there before.",
);
static PULL_SECONDS: Family = Family::new(
    "nautilus_image_pull_seconds",
    "seconds",
    MetricKind::Counter,
    9,
    "Time that the timed image pulls took together.",
);
static PULLS_TIMED: Family = Family::new(
    "nautilus_image_pulls_timed",
    "",
    MetricKind::Counter,
    0,
    "Image pulls whose layers were seen to be extracted, so that their time is known.",
);
static PULLS_IN_PROGRESS: Family = Family::new(
    "nautilus_image_pulls_in_progress",
    "",
    MetricKind::Gauge,
    0,
    "Image pulls of which layers are being extracted.",
);
static PULLS_WATCHED: Family = Family::new(
    "nautilus_image_pulls_watched",
    "",
    MetricKind::Gauge,
    0,
    "Whether the runtime's events are heard, from which pulls are known.",
);

/// All that this part has.
pub static FAMILIES: &[&Family] = &[
    &RUNTIME_UP,
    &RUNTIME,
    &CONTAINERS,
    &PODS,
    &LEFT_OUT,
    &POD_CPU,
    &POD_MEMORY,
    &POD_RECEIVED,
    &POD_SENT,
    &POD_RESTARTS,
    &POD_CONTAINERS,
    &CPU,
    &THROTTLED,
    &MEMORY,
    &WORKING_SET,
    &OOM_KILLS,
    &READ,
    &WRITTEN,
    &TASKS,
    &WAITING,
    &RESTARTS,
    &PULLS,
    &PULL_BYTES,
    &PULL_SECONDS,
    &PULLS_TIMED,
    &PULLS_IN_PROGRESS,
    &PULLS_WATCHED,
];

impl ContainerMetrics {
    /// The same as named integers.
    pub fn points(&self, into: &mut Vec<Point>) {
        into.push(Point::plain(&RUNTIME_UP, self.runtime.is_some().into()));
        let Some(runtime) = &self.runtime else {
            return;
        };
        into.push(Point::labelled(&RUNTIME, [("version", runtime)], 1));
        let states = &self.containers_by_state;
        for (state, count) in [
            ("created", states.created),
            ("running", states.running),
            ("exited", states.exited),
            ("unknown", states.unknown),
        ] {
            into.push(Point::labelled(&CONTAINERS, [("state", state)], count.into()));
        }
        for (state, count) in [("ready", self.ready_pods), ("not_ready", self.other_pods)] {
            into.push(Point::labelled(&PODS, [("state", state)], count.into()));
        }
        into.push(Point::plain(&LEFT_OUT, self.left_out.into()));
        self.image_pull_metrics.points(into);
        for pod in self.pod_metrics.values() {
            pod.points(into);
        }
    }
}

impl ImagePullMetrics {
    fn points(&self, into: &mut Vec<Point>) {
        into.extend([
            Point::plain(&PULLS, integer(self.pulls)),
            Point::plain(&PULL_BYTES, integer(self.bytes)),
            Point::plain(&PULL_SECONDS, self.duration.0),
            Point::plain(&PULLS_TIMED, integer(self.timed_pulls)),
            Point::plain(&PULLS_IN_PROGRESS, self.in_progress.into()),
            Point::plain(&PULLS_WATCHED, self.watching.into()),
        ]);
    }
}

impl PodMetrics {
    fn points(&self, into: &mut Vec<Point>) {
        let mut push = |family, value| {
            let labels = [("namespace", self.namespace.as_str()), ("pod", self.pod.as_str())];
            into.push(Point::labelled(family, labels, value));
        };
        push(&POD_CPU, self.cpu_usage.0);
        push(&POD_MEMORY, integer(self.memory_working_set));
        push(&POD_RESTARTS, self.restarts.into());
        push(&POD_CONTAINERS, self.running_containers.into());
        if let Some(bytes) = self.network_rx_bytes {
            push(&POD_RECEIVED, integer(bytes));
        }
        if let Some(bytes) = self.network_tx_bytes {
            push(&POD_SENT, integer(bytes));
        }
        for (name, container) in &self.containers {
            container.points(name, self, into);
        }
    }
}

impl ContainerUsage {
    fn points(&self, name: &str, pod: &PodMetrics, into: &mut Vec<Point>) {
        let seconds = |value: Option<Seconds>| value.map(|seconds| seconds.0);
        let whole = |value: Option<u64>| value.map(integer);
        for (family, value) in [
            (&CPU, seconds(self.cpu_usage)),
            (&THROTTLED, seconds(self.cpu_throttled)),
            (&MEMORY, whole(self.memory_usage)),
            (&WORKING_SET, whole(self.memory_working_set)),
            (&OOM_KILLS, whole(self.oom_kills)),
            (&READ, whole(self.read_bytes)),
            (&WRITTEN, whole(self.written_bytes)),
            (&TASKS, whole(self.tasks)),
            (&RESTARTS, Some(self.restarts.into())),
        ] {
            let labels = [
                ("container", name),
                ("namespace", pod.namespace.as_str()),
                ("pod", pod.pod.as_str()),
            ];
            into.extend(value.map(|value| Point::labelled(family, labels, value)));
        }
        for (resource, value) in [
            ("cpu", self.waiting_cpu),
            ("memory", self.waiting_memory),
            ("io", self.waiting_io),
        ] {
            let labels = [
                ("container", name),
                ("namespace", pod.namespace.as_str()),
                ("pod", pod.pod.as_str()),
                ("resource", resource),
            ];
            into.extend(seconds(value).map(|value| Point::labelled(&WAITING, labels, value)));
        }
    }
}

/// More than a series can hold is as much as it can hold.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn full() -> ContainerMetrics {
        let some = Some(crate::decimal::Decimal(1));
        let usage = ContainerUsage {
            cpu_usage: some,
            cpu_throttled: some,
            memory_usage: Some(2),
            memory_working_set: Some(2),
            oom_kills: Some(3),
            read_bytes: Some(4),
            written_bytes: Some(u64::MAX),
            tasks: Some(6),
            waiting_cpu: some,
            waiting_memory: some,
            waiting_io: some,
            restarts: 7,
        };
        let pod = PodMetrics {
            namespace: "default".to_owned(),
            pod: "web".to_owned(),
            network_rx_bytes: Some(8),
            network_tx_bytes: Some(9),
            containers: [("app".to_owned(), usage)].into(),
            ..PodMetrics::default()
        };
        ContainerMetrics {
            runtime: Some("containerd 1.6.20".to_owned()),
            pod_metrics: [("default/web".to_owned(), pod)].into(),
            ..ContainerMetrics::default()
        }
    }

    #[test]
    fn every_family_has_a_point_and_every_point_its_own_series() {
        let mut points = Vec::new();
        full().points(&mut points);
        let families: BTreeSet<_> = points.iter().map(|point| point.family.name.clone()).collect();
        let listed: BTreeSet<_> = FAMILIES.iter().map(|family| family.name.clone()).collect();
        assert_eq!(families, listed);
        let series: BTreeSet<_> = points.iter().map(Point::series).collect();
        assert_eq!(series.len(), points.len());
        assert!(series.contains(
            "nautilus_container_cpu_usage_seconds{container=\"app\",namespace=\"default\",pod=\"web\"}"
        ));
        for point in &points {
            let names: Vec<_> = point.labels.iter().map(|(name, _)| name).collect();
            assert!(names.is_sorted(), "{}", point.series());
            let unit = &point.family.unit;
            assert!(
                unit.is_empty() || point.family.name.ends_with(&**unit),
                "{}",
                point.series()
            );
        }
        let of_container = series
            .iter()
            .filter(|name| name.contains("container=\"app\""))
            .count();
        assert_eq!(of_container, 12);
        let written = points
            .iter()
            .find(|point| point.family.name == WRITTEN.name)
            .unwrap();
        assert_eq!(written.value, i64::MAX);
    }

    #[test]
    fn what_is_not_known_has_no_point() {
        let mut metrics = full();
        let pod = metrics.pod_metrics.get_mut("default/web").unwrap();
        pod.network_rx_bytes = None;
        pod.containers.insert("app".to_owned(), ContainerUsage::default());
        let mut points = Vec::new();
        metrics.points(&mut points);
        let has = |family: &Family| points.iter().any(|point| point.family.name == family.name);
        assert!(!has(&POD_RECEIVED) && !has(&CPU) && !has(&WAITING));
        assert!(has(&RESTARTS) && has(&POD_SENT));
    }
}
