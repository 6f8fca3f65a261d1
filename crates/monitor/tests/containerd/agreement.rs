//! The same numbers as others read, of pods that burn CPU, hold memory and do nothing.

use std::fs;

use nautilus_monitor::container::{ContainerCollector, ContainerSources};
use nautilus_monitor::data::{ContainerMetrics, PodMetrics};

use crate::cri::{Cri, Pod, PodPlan};
use crate::machine::{Machine, until};

const UID: &str = "6d1f0f83-2c1b-4b9d-a4b2-0a1b2c3d4e5f";
const HELD: u64 = 48 << 20;
/// What is in a file system in memory is the memory of who wrote it.
const HOLD: &str = "busybox dd if=/dev/zero of=/dev/shm/held bs=1M count=48; busybox sleep 1000000";

pub fn collector(machine: &Machine) -> ContainerCollector {
    ContainerCollector::new(ContainerSources {
        socket: machine.socket(),
        root: "/".into(),
    })
    .unwrap()
}

/// A pod that does nothing.
pub fn idle<'a>(machine: &Machine, name: &'a str) -> PodPlan<'a> {
    PodPlan {
        name,
        uid: name,
        group: machine.group(""),
        script: "busybox sleep 1000000",
        cpu_percent: None,
        host_network: false,
        attempt: 0,
    }
}

pub fn pod<'a>(metrics: &'a ContainerMetrics, name: &str) -> &'a PodMetrics {
    &metrics.pod_metrics[&format!("default/{name}")]
}

/// What `ctr` says of a container.
struct Told {
    cpu_nanos: f64,
    memory: f64,
    inactive: f64,
    tasks: f64,
}

impl Told {
    fn of(machine: &Machine, id: &str) -> Self {
        let text = machine.ctr(&["tasks", "metrics", "--format", "json", id]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let number = |pointer: &str| json.pointer(pointer).and_then(serde_json::Value::as_f64);
        // Version 1 of the control groups has it under other names than version 2.
        let either = |one: &str, other: &str| {
            number(one)
                .or_else(|| number(other))
                .unwrap_or_else(|| panic!("neither {one} nor {other}: {text}"))
        };
        Self {
            cpu_nanos: number("/cpu/usage/total")
                .unwrap_or_else(|| number("/cpu/usage_usec").unwrap_or_else(|| panic!("{text}")) * 1000.0),
            memory: either("/memory/usage/usage", "/memory/usage"),
            inactive: number("/memory/total_inactive_file")
                .or_else(|| number("/memory/inactive_file"))
                .unwrap_or_default(),
            tasks: either("/pids/current", "/pids/current"),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "compared within 5 %")]
fn float(value: impl TryInto<i64, Error: std::fmt::Debug>) -> f64 {
    value.try_into().unwrap() as f64
}

#[track_caller]
fn agree(what: &str, ours: f64, theirs: f64) {
    let apart = (ours - theirs).abs() / theirs.max(1.0);
    assert!(apart <= 0.05, "{what}: {ours} beside {theirs}");
}

#[test]
fn numbers_agree_with_ctr_and_with_the_files() {
    let machine = Machine::start();
    let cri = machine.cri();
    let burning = cri.run(&PodPlan {
        uid: UID,
        // As the kubelet has it: a group of the pod's own.
        group: machine.group(&format!("/kubepods/burstable/pod{UID}")),
        script: "while :; do :; done",
        cpu_percent: Some(10),
        attempt: 3,
        ..idle(&machine, "burning")
    });
    let holding = cri.run(&PodPlan {
        script: HOLD,
        host_network: true,
        ..idle(&machine, "holding")
    });
    // Asks all others on the bridge who has that address.
    let asking = format!(
        "while :; do busybox ping -c 1 -W 1 {}; busybox sleep 1; done",
        machine.nobody()
    );
    let idling = cri.run(&PodPlan {
        script: &asking,
        ..idle(&machine, "idling")
    });
    let mut collector = collector(&machine);
    until("CPU was burnt", || {
        (Told::of(&machine, &burning.container).cpu_nanos > 1e9).then_some(())
    });
    until("memory is held", || {
        (Told::of(&machine, &holding.container).memory > float(HELD)).then_some(())
    });

    let earlier = traffic(cri.sandbox_pid(&idling.sandbox));
    let before = Told::of(&machine, &burning.container);
    let metrics = collector.measure().unwrap();
    let after = Told::of(&machine, &burning.container);
    let of_burning = pod(&metrics, "burning");
    let main = of_burning.containers["main"];
    let cpu = float(main.cpu_usage.unwrap().0);
    assert!(
        (before.cpu_nanos..=after.cpu_nanos).contains(&cpu),
        "{} to {}: {cpu}",
        before.cpu_nanos,
        after.cpu_nanos
    );
    agree("CPU", cpu, after.cpu_nanos);
    agree("tasks", float(main.tasks.unwrap()), after.tasks);
    assert!(
        main.cpu_throttled.unwrap().0 > 0,
        "a limit of 10 % held nothing back: {main:?}"
    );
    // The pod's group has the sandbox's own process too, which sleeps.
    agree("the pod's CPU", float(of_burning.cpu_usage.0), cpu);
    assert!(of_burning.cpu_usage.0 >= main.cpu_usage.unwrap().0);
    assert_eq!((main.restarts, of_burning.restarts), (3, 3));

    let told = Told::of(&machine, &holding.container);
    let of_holding = pod(&metrics, "holding");
    let main = of_holding.containers["main"];
    agree("memory", float(main.memory_usage.unwrap()), told.memory);
    let working_set = float(main.memory_working_set.unwrap());
    agree("the working set", working_set, told.memory - told.inactive);
    assert!(working_set > float(HELD));
    agree_with_files(&cri, &holding, &main);
    assert!(float(of_holding.memory_working_set) >= working_set);
    assert_eq!(
        (of_holding.network_rx_bytes, of_holding.network_tx_bytes),
        (None, None)
    );

    let of_idling = pod(&metrics, "idling");
    let (received, sent) = traffic(cri.sandbox_pid(&idling.sandbox));
    let measured = (
        of_idling.network_rx_bytes.unwrap(),
        of_idling.network_tx_bytes.unwrap(),
    );
    assert!(
        earlier.0 <= measured.0 && measured.0 <= received,
        "{earlier:?} {measured:?} {received}"
    );
    assert!(
        earlier.1 <= measured.1 && measured.1 <= sent,
        "{earlier:?} {measured:?} {sent}"
    );
    assert!(earlier.1 > 0, "it asked, so it sent");
    assert!(of_idling.cpu_usage.0 < of_burning.cpu_usage.0);

    assert_eq!((metrics.total_containers, metrics.running_containers), (3, 3));
    assert_eq!(
        (metrics.ready_pods, metrics.other_pods, metrics.left_out),
        (3, 0, 0)
    );
    let runtime = metrics.runtime.as_deref().unwrap_or_default();
    assert!(runtime.starts_with("containerd "), "{runtime}");
    let mut points = Vec::new();
    metrics.points(&mut points);
    let series =
        "nautilus_container_cpu_usage_seconds{container=\"main\",namespace=\"default\",pod=\"burning\"}";
    assert!(points.iter().any(|point| point.series() == series));
}

/// Held against the file that the process itself says is its group's.
fn agree_with_files(cri: &Cri, pod: &Pod, measured: &nautilus_monitor::data::ContainerUsage) {
    let pid = cri.container_pid(&pod.container);
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            controllers
                .split(',')
                .any(|each| each == controller)
                .then(|| fields.next().unwrap_or_default().to_owned())
        })
    };
    let file = match path("memory") {
        Some(group) => format!("/sys/fs/cgroup/memory{group}/memory.usage_in_bytes"),
        None => format!("/sys/fs/cgroup{}/memory.current", path("").unwrap()),
    };
    let text = fs::read_to_string(&file).unwrap();
    let bytes: u64 = text.trim().parse().unwrap();
    agree(&file, float(measured.memory_usage.unwrap()), float(bytes));
}

/// Bytes that `eth0` received and sent, in the network of a process.
fn traffic(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"))
        .unwrap();
    let numbers: Vec<u64> = line
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    (numbers[0], numbers[8])
}
