use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use nautilus_proof::Metrics;
use tempfile::TempDir;

use super::*;
use crate::kernel_file::MAX_FILE;
use crate::reading::{MetricKind, readings};

macro_rules! machine {
    ($name:literal) => {
        Machine::new(
            [
                (
                    "proc/stat",
                    include_str!(concat!("../../fixtures/", $name, "/stat")),
                ),
                (
                    "proc/meminfo",
                    include_str!(concat!("../../fixtures/", $name, "/meminfo")),
                ),
                (
                    "proc/loadavg",
                    include_str!(concat!("../../fixtures/", $name, "/loadavg")),
                ),
                (
                    "proc/uptime",
                    include_str!(concat!("../../fixtures/", $name, "/uptime")),
                ),
                (
                    "proc/sys/fs/file-nr",
                    include_str!(concat!("../../fixtures/", $name, "/file-nr")),
                ),
                (
                    "proc/net/dev",
                    include_str!(concat!("../../fixtures/", $name, "/net-dev")),
                ),
                (
                    "proc/diskstats",
                    include_str!(concat!("../../fixtures/", $name, "/diskstats")),
                ),
            ],
            include_str!(concat!("../../fixtures/", $name, "/processes")),
            include_str!(concat!("../../fixtures/", $name, "/block")),
        )
    };
}

/// A machine's files in a temporary directory.
struct Machine(TempDir);

impl Machine {
    fn new(files: [(&str, &str); 7], processes: &str, block: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for process in processes
            .lines()
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        {
            fs::create_dir_all(machine.path("proc").join(process)).unwrap();
        }
        for (path, text) in files {
            machine.write(path, text);
        }
        // The other entries of /proc are there, so that they are seen not to be counted.
        for other in processes.lines() {
            let path = machine.path("proc").join(other);
            if !path.exists() {
                fs::write(path, "").unwrap();
            }
        }
        fs::create_dir_all(machine.path("sys/block")).unwrap();
        for disk in block.lines() {
            let (name, target) = disk.split_once(' ').unwrap();
            symlink(target, machine.path("sys/block").join(name)).unwrap();
        }
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn collector(&self) -> SystemCollector {
        SystemCollector::new(self.0.path()).unwrap()
    }
}

const REQUIRED: [&str; 8] = [
    "proc/stat",
    "proc/meminfo",
    "proc/loadavg",
    "proc/uptime",
    "proc/sys/fs/file-nr",
    "proc/net/dev",
    "proc/diskstats",
    "sys/block",
];

#[test]
fn a_virtual_machine() {
    let machine = machine!("vm");
    let measured = machine.collector().measure().unwrap();
    let metrics = measured.signed();
    let expected = Metrics {
        cpu_usage_bp: 0,
        cpu_efficiency_bp: 10_000,
        memory_usage_bp: 344,
        disk_usage_bp: metrics.disk_usage_bp,
        load_average_centi: [147, 182, 144],
        process_count: 12,
        thread_count: 120,
        file_descriptors: 742,
        context_switches: 961_687,
        interrupts: 923_422,
        network_rx_bytes: 518_688_951,
        network_tx_bytes: 1_578_734,
        disk_read_bytes: 9_172_930 * 512,
        disk_written_bytes: 9_196_280 * 512,
        uptime_seconds: 2470,
    };
    assert_eq!(metrics, expected);
    assert!(metrics.disk_usage_bp <= 10_000);
    assert_eq!(
        measured.disk_io,
        DiskIo {
            read_bytes: 9_172_930 * 512,
            written_bytes: 9_196_280 * 512,
            reads: 107_431,
            writes: 42_797,
            busy_time: Decimal(32_184_000_000),
        }
    );
    assert_eq!(measured.uptime, Decimal(2_470_390_000_000));
    assert_eq!(measured.details.cpu_time.user, Decimal(1_309_880_000_000));
    assert_eq!(measured.details.memory.size, 24_684_092 * 1024);
    assert_eq!(measured.tee_status, None);
}

#[test]
fn disks_behind_partitions_raid_mapper_and_paths_count_once() {
    let metrics = machine!("nvme").collector().measure().unwrap().signed();
    let sectors_read = 12_369_153 + 4_815_165_730 + 800 + 798_556 + 4_160;
    let sectors_written = 36_123_024 + 6_989_322_264 + 80 + 253_002_144 + 64;
    assert_eq!(metrics.disk_read_bytes, sectors_read * 512);
    assert_eq!(metrics.disk_written_bytes, sectors_written * 512);
    assert_eq!(metrics.process_count, 11);
    assert_eq!(metrics.thread_count, 2345);
}

#[test]
fn a_container_with_its_own_processes_and_network() {
    let metrics = machine!("container").collector().measure().unwrap().signed();
    assert_eq!(
        (metrics.process_count, metrics.thread_count),
        (4, 131),
        "threads are the whole kernel's"
    );
    assert_eq!((metrics.network_rx_bytes, metrics.network_tx_bytes), (0, 0));
}

#[test]
fn cpu_usage_is_that_since_the_last_sample() {
    let machine = machine!("vm");
    let write = |user: u64, idle: u64| {
        machine.write(
            "proc/stat",
            format!("cpu {user} 0 0 {idle} 0 0 0 0 0 0\nintr 1\nctxt 1\n"),
        );
    };
    write(100, 1_000);
    let mut collector = machine.collector();
    write(125, 1_075);
    assert_eq!(
        collector.measure().unwrap().signed().cpu_usage_bp,
        2_500,
        "since construction"
    );
    assert_eq!(
        collector.measure().unwrap().signed().cpu_usage_bp,
        0,
        "no time passed"
    );
    write(175, 1_125);
    assert_eq!(collector.measure().unwrap().signed().cpu_usage_bp, 5_000);
    write(0, 0);
    assert_eq!(
        collector.measure().unwrap().signed().cpu_usage_bp,
        0,
        "went backwards"
    );
    write(u64::MAX, u64::MAX);
    assert_eq!(
        collector.measure().unwrap().signed().cpu_usage_bp,
        5_000,
        "counts on from there"
    );
}

#[test]
fn cpu_efficiency_is_that_since_the_last_sample() {
    let machine = machine!("vm");
    let write = |times: &str| machine.write("proc/stat", format!("cpu {times}\nintr 1\nctxt 1\n"));
    write("100 0 0 1000 0 0 0 0");
    let mut collector = machine.collector();
    write("130 30 10 9000 10 5 5 10");
    let mut efficiency = || collector.measure().unwrap().cpu_efficiency;
    assert_eq!(efficiency(), Decimal(6_000), "60 of 100, idle apart");
    write("130 30 10 9999 10 5 5 10");
    assert_eq!(efficiency(), Decimal(10_000), "idle all the time");
    write("0 0 0 0 0 0 0 0");
    assert_eq!(efficiency(), Decimal(10_000), "went backwards: no time passed");
}

#[test]
fn what_a_kernel_does_not_have_is_absent_and_what_is_malformed_is_not() {
    const OPTIONAL: [(&str, &str); 4] = [
        ("proc/vmstat", include_str!("../../fixtures/vm/vmstat")),
        (
            "proc/pressure/cpu",
            include_str!("../../fixtures/vm/pressure-cpu"),
        ),
        ("proc/pressure/io", include_str!("../../fixtures/vm/pressure-io")),
        (
            "proc/pressure/memory",
            include_str!("../../fixtures/vm/pressure-memory"),
        ),
    ];
    let machine = machine!("vm");
    let without = machine.collector().measure().unwrap().details;
    assert_eq!(
        (without.paging, without.pressure),
        (PagingCounts::default(), PressureTimes::default())
    );
    for (path, text) in OPTIONAL {
        machine.write(path, text);
    }
    let with = machine.collector().measure().unwrap().details;
    assert_eq!(with.paging.faults, Some(1_178_602_794));
    assert!(with.pressure.cpu.is_some() && with.pressure.memory.is_some());
    assert!(with.pressure.io.unwrap().full.unwrap() > Decimal(0));
    for (path, text) in OPTIONAL {
        machine.write(path, b"\xff\x00 7\n");
        let error = machine.collector().measure().unwrap_err();
        assert!(
            matches!(&error, CollectError::Malformed { path: blamed, .. } if *blamed == machine.path(path)),
            "{error:?}"
        );
        machine.write(path, text);
    }
}

#[test]
fn the_device_of_the_tee_is_looked_for_below_the_root() {
    let machine = machine!("vm");
    let devices = || {
        [
            PathBuf::from("/dev/sgx_enclave"),
            PathBuf::from("/dev/attestation"),
        ]
    };
    let mut collector = machine.collector().with_tee(TeeKind::Sgx, devices());
    let mut status = || collector.measure().unwrap().tee_status.unwrap();
    let expected = |available| TeeStatus {
        tee_type: TeeKind::Sgx,
        available,
    };
    assert_eq!(status(), expected(false));
    machine.write("dev/attestation", "");
    assert_eq!(status(), expected(true));
}

/// A machine that has everything gives every family, each value under a name of its own, and nothing else.
#[test]
fn every_family_has_series_and_every_series_a_family() {
    let machine = machine!("vm");
    machine.write(
        "proc/meminfo",
        "MemTotal: 9 kB\nMemFree: 2 kB\nMemAvailable: 6 kB\nBuffers: 1 kB\nCached: 3 kB\nSwapTotal: 8 kB\nSwapFree: 7 kB\n",
    );
    machine.write("proc/vmstat", include_str!("../../fixtures/vm/vmstat"));
    for resource in ["cpu", "io", "memory"] {
        machine.write(
            &format!("proc/pressure/{resource}"),
            include_str!("../../fixtures/vm/pressure-io"),
        );
    }
    let mut collector = machine
        .collector()
        .with_tee(TeeKind::Tdx, [PathBuf::from("/proc")]);
    assert_eq!(collector.kind(), CollectorKind::System);
    let Part::System(metrics) = collector.collect().unwrap() else {
        panic!("another part");
    };
    let mut points = Vec::new();
    metrics.points(&mut points);
    let (all, left_out) = readings(&points);
    assert_eq!(left_out, 0, "a name is there twice");
    assert_eq!(all.0.len(), 58);
    for family in crate::data::system::FAMILIES {
        assert!(
            points.iter().any(|point| point.family.as_ref() == *family),
            "{} has no series",
            family.name
        );
        assert!(family.unit.is_empty() || family.name.ends_with(&format!("_{}", family.unit)));
        assert!(!family.name.ends_with("_total"), "{}", family.name);
    }
    for point in &points {
        assert!(crate::data::system::FAMILIES.contains(&point.family.as_ref()));
    }
    let value = |series: &str| {
        all.0
            .iter()
            .find(|reading| reading.series == series)
            .map(|r| r.value)
    };
    assert_eq!(
        value("nautilus_cpu_seconds{mode=\"user\"}"),
        Some(1_309_880_000_000)
    );
    assert_eq!(value("nautilus_load_average{window=\"15m\"}"), Some(144));
    assert_eq!(value("nautilus_memory_size_bytes"), Some(9 * 1024));
    assert_eq!(value("nautilus_tee_available{tee=\"tdx\"}"), Some(1));
    let kind = |name: &str| {
        points
            .iter()
            .find(|point| point.family.name == name)
            .unwrap()
            .family
            .kind
    };
    assert_eq!(kind("nautilus_interrupts"), MetricKind::Counter);
    assert_eq!(
        kind("nautilus_network_io_receive_bytes"),
        MetricKind::Gauge,
        "it falls"
    );
}

#[test]
fn json_has_the_specifications_names() {
    let metrics = machine!("vm").collector().measure().unwrap();
    let json = serde_json::to_value(&metrics).unwrap();
    assert_eq!(json["uptime"], 2470.39);
    assert_eq!(json["load_average"][0], 1.47);
    assert_eq!(json["disk_io"]["busy_time"], 32.184);
    assert_eq!(json["network_io"]["rx_bytes"], 518_688_951);
    assert!(json.get("details").is_none());
    assert!(json.get("cpu_efficiency").is_some());
}

#[test]
fn a_failed_measurement_swallows_no_cpu_time() {
    let machine = machine!("vm");
    machine.write("proc/stat", "cpu 0 0 0 0 0 0 0 0\nintr 1\nctxt 1\n");
    let mut collector = machine.collector();
    machine.write("proc/stat", "cpu 90 0 0 10 0 0 0 0\nintr 1\nctxt 1\n");
    let file_nr = fs::read(machine.path("proc/sys/fs/file-nr")).unwrap();
    machine.write("proc/sys/fs/file-nr", "");
    let error = collector.measure().unwrap_err();
    assert!(
        matches!(
            error,
            CollectError::Malformed {
                what: "the file is empty",
                ..
            }
        ),
        "{error:?}"
    );
    machine.write("proc/sys/fs/file-nr", file_nr);
    machine.write("proc/stat", "cpu 90 0 0 110 0 0 0 0\nintr 1\nctxt 1\n");
    assert_eq!(collector.measure().unwrap().signed().cpu_usage_bp, 4_500);
}

#[test]
fn whatever_is_missing_is_named() {
    for missing in REQUIRED {
        let machine = machine!("vm");
        let mut collector = machine.collector();
        fs::rename(machine.path(missing), machine.path("gone")).unwrap();
        let error = collector.measure().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("mount both into this container"), "{text}");
        assert!(
            matches!(error, CollectError::Missing { path } if path == machine.path(missing)),
            "{text}"
        );
    }
    let empty = tempfile::tempdir().unwrap();
    let error = SystemCollector::new(empty.path()).unwrap_err();
    assert!(
        matches!(&error, CollectError::Missing { path } if *path == empty.path().join("proc/stat")),
        "{error:?}"
    );
}

#[test]
fn garbage_is_blamed_on_its_file() {
    for file in REQUIRED.into_iter().filter(|path| path.starts_with("proc")) {
        let machine = machine!("vm");
        let mut collector = machine.collector();
        machine.write(file, b"\xff\x00 7\n");
        let error = collector.measure().unwrap_err();
        assert!(
            matches!(&error, CollectError::Malformed { path, .. } if *path == machine.path(file)),
            "{error:?}"
        );
    }
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let machine = machine!("vm");
    let mut collector = machine.collector();
    let mut stat = fs::read(machine.path("proc/stat")).unwrap();
    let end = b"softirq ".len() + 1;
    stat.extend(
        b"softirq "
            .iter()
            .chain(&vec![b' '; MAX_FILE - end - stat.len()])
            .chain(b"\n"),
    );
    assert_eq!(stat.len(), MAX_FILE);
    machine.write("proc/stat", &stat);
    collector.measure().expect("just within the limit");
    stat.push(b'\n');
    machine.write("proc/stat", &stat);
    let error = collector.measure().unwrap_err();
    assert!(
        matches!(&error, CollectError::TooLarge { path } if *path == machine.path("proc/stat")),
        "{error:?}"
    );
}

#[test]
fn hidden_processes_are_no_low_count() {
    let machine = machine!("vm");
    let mut collector = machine.collector();
    fs::remove_dir(machine.path("proc/1")).unwrap();
    let error = collector.measure().unwrap_err();
    assert!(
        matches!(&error, CollectError::ProcessesHidden { path } if *path == machine.path("proc")),
        "{error:?}"
    );
}

#[test]
fn more_processes_than_the_buffer_holds_at_once() {
    let machine = machine!("vm");
    for process in 100_000..102_000 {
        fs::create_dir(machine.path("proc").join(process.to_string())).unwrap();
    }
    assert_eq!(machine.collector().measure().unwrap().process_count, 2_012);
}

#[test]
fn a_machine_without_disks_has_no_bytes() {
    let machine = machine!("vm");
    machine.write("proc/diskstats", "");
    let metrics = machine.collector().measure().unwrap().signed();
    assert_eq!((metrics.disk_read_bytes, metrics.disk_written_bytes), (0, 0));
}

#[test]
fn the_bytes_of_all_disks_do_not_wrap() {
    let machine = machine!("nvme");
    let most = u64::MAX / 512;
    for counters in [format!("0 0 {most} 0 0 0 0 0"), format!("0 0 0 0 0 0 {most} 0")] {
        let line = |name| format!("8 0 {name} {counters} 0 0 0\n");
        machine.write("proc/diskstats", line("sda") + &line("nvme0n1p1") + &line("dm-0"));
        machine.collector().measure().expect("one whole disk");
        machine.write("proc/diskstats", line("sda") + &line("nvme0n1"));
        let error = machine.collector().measure().unwrap_err();
        assert!(
            matches!(
                error,
                CollectError::Malformed {
                    what: "the sum of all disks overflows",
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn a_disk_with_a_hostile_name_does_not_leave_its_directory() {
    let machine = machine!("vm");
    symlink("../elsewhere", machine.path("sys/physical")).unwrap();
    machine.write("proc/diskstats", "8 0 ../physical 1 2 3 4 5 6 7 8 9 10 11\n");
    assert_eq!(
        machine.collector().measure().unwrap().disk_io.read_bytes,
        0,
        "no such entry in /sys/block"
    );
    for (name, kind) in [
        ("..", std::io::ErrorKind::InvalidInput),
        ("a\0b", std::io::ErrorKind::InvalidInput),
        (&"n".repeat(300), std::io::ErrorKind::InvalidFilename),
    ] {
        machine.write("proc/diskstats", format!("8 0 {name} 1 2 3 4 5 6 7 8 9 10 11\n"));
        let error = machine.collector().measure().unwrap_err();
        assert!(
            matches!(&error, CollectError::Io { path, source } if source.kind() == kind && path.starts_with(machine.path("sys/block"))),
            "{error:?}"
        );
    }
}

/// The same facts, read in another way before and after: what only grows must lie in between.
#[test]
fn this_machine() {
    let mut collector = SystemCollector::new("/").unwrap();
    let before = Independent::read();
    let metrics = collector.measure().unwrap().signed();
    let after = Independent::read();
    eprintln!("{metrics:?}");

    for (name, low, value, high) in [
        (
            "context switches",
            before.context_switches,
            metrics.context_switches,
            after.context_switches,
        ),
        (
            "interrupts",
            before.interrupts,
            metrics.interrupts,
            after.interrupts,
        ),
        ("rx", before.rx, metrics.network_rx_bytes, after.rx),
        ("tx", before.tx, metrics.network_tx_bytes, after.tx),
    ] {
        assert!(
            low <= value && value <= high,
            "{name}: {low} <= {value} <= {high}"
        );
    }
    assert!(metrics.cpu_usage_bp <= 10_000);
    assert!(
        metrics.memory_usage_bp.abs_diff(before.memory_bp) <= 500,
        "{} against {before:?}",
        metrics.memory_usage_bp
    );
    assert!(
        metrics.disk_usage_bp.abs_diff(before.disk_bp) <= 100,
        "{} against {before:?}",
        metrics.disk_usage_bp
    );
    assert!(
        metrics.process_count.abs_diff(before.processes) <= 50,
        "{} against {before:?}",
        metrics.process_count
    );
    assert!(metrics.thread_count >= metrics.process_count / 2);
    assert!(metrics.file_descriptors > 0);
    for (centi, text) in metrics.load_average_centi.into_iter().zip(&before.load) {
        assert!(
            (f64::from(centi) / 100.0 - text.parse::<f64>().unwrap()).abs() <= 2.0,
            "{centi} against {text}"
        );
    }
    collector.measure().expect("a second sample with the same buffer");
}

#[derive(Debug)]
struct Independent {
    context_switches: u64,
    interrupts: u64,
    rx: u64,
    tx: u64,
    memory_bp: u16,
    disk_bp: u16,
    processes: u32,
    load: Vec<String>,
}

impl Independent {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap();
        let awk = |program: &str, path: &str| -> u64 {
            let output = Command::new("awk").args([program, path]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        let df = Command::new("df")
            .args(["--output=used,avail", "-k", "/"])
            .output()
            .unwrap();
        let df = String::from_utf8(df.stdout).unwrap();
        let blocks: Vec<u64> = df
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .map(|field| field.parse().unwrap())
            .collect();
        let processes = Command::new("sh")
            .args(["-c", "ls -d /proc/[0-9]* | wc -l"])
            .output()
            .unwrap();
        Self {
            context_switches: awk("$1 == \"ctxt\" { print $2 }", "/proc/stat"),
            interrupts: awk("$1 == \"intr\" { print $2 }", "/proc/stat"),
            rx: awk(
                r#"NR > 2 { sub(":", " ") } NR > 2 && $1 != "lo" { n += $2 } END { printf "%.0f", n }"#,
                "/proc/net/dev",
            ),
            tx: awk(
                r#"NR > 2 { sub(":", " ") } NR > 2 && $1 != "lo" { n += $10 } END { printf "%.0f", n }"#,
                "/proc/net/dev",
            ),
            memory_bp: awk(
                "/^MemTotal/ { t = $2 } /^MemAvailable/ { a = $2 } END { print int((t - a) * 10000 / t) }",
                "/proc/meminfo",
            ) as u16,
            disk_bp: (blocks[0] * 10_000 / (blocks[0] + blocks[1])) as u16,
            processes: String::from_utf8(processes.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap(),
            load: text("/proc/loadavg")
                .split(' ')
                .take(3)
                .map(str::to_owned)
                .collect(),
        }
    }
}
