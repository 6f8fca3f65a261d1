//! Family by family.

use std::fs;

use nautilus_monitor::data::{NetworkMetrics, SystemMetrics};
use nautilus_monitor::network::{NetworkCollector, Peers};
use nautilus_monitor::{Family, MetricKind, Point, SystemCollector};

use crate::program::{Exporter, Scrape};

/// Ours between two scrapes.
struct Between {
    before: Scrape,
    system: SystemMetrics,
    network: NetworkMetrics,
    points: Vec<Point>,
    after: Scrape,
}

impl Between {
    fn measured() -> Self {
        let exporter = Exporter::start();
        let mut system = SystemCollector::new("/").unwrap();
        let mut network = NetworkCollector::new("/", Peers::default(), None).unwrap();
        // The first scrape of a fresh process has work of its own; it is not compared.
        exporter.scrape();
        let before = exporter.scrape();
        let (system, network) = (system.measure().unwrap(), network.measure().unwrap());
        let after = exporter.scrape();
        let mut points = Vec::new();
        system.points(&mut points);
        network.points(&mut points);
        Self {
            before,
            system,
            network,
            points,
            after,
        }
    }

    /// Ours in its base unit.
    fn ours(&self, series: &str) -> f64 {
        let point = self
            .points
            .iter()
            .find(|point| point.series() == series)
            .unwrap_or_else(|| panic!("we have no {series}"));
        scaled(point)
    }

    /// What only grows, each reading of it rounded down to `step`.
    fn grows(&self, series: &str, theirs: impl Fn(&Scrape) -> f64, step: f64) {
        let (low, ours, high) = (theirs(&self.before), self.ours(series), theirs(&self.after));
        eprintln!("{series}: {low} <= {ours} <= {high}");
        assert!(
            low - step <= ours && ours <= high + step,
            "{series}: {low} <= {ours} <= {high}, within {step}"
        );
    }

    /// What goes up and down: not further than `slack` from what theirs was before and after.
    fn near(&self, series: &str, theirs: impl Fn(&Scrape) -> f64, slack: f64) {
        let (before, ours, after) = (theirs(&self.before), self.ours(series), theirs(&self.after));
        eprintln!("{series}: {ours} beside {before} and {after}");
        assert!(
            before.min(after) - slack <= ours && ours <= before.max(after) + slack,
            "{series}: {ours} beside {before} and {after}, within {slack}"
        );
    }
}

fn scaled(point: &Point) -> f64 {
    let Family { places, .. } = *point.family;
    point.value as f64 / 10_f64.powi(places.into())
}

#[test]
fn cpu_times_and_events_agree() {
    let between = Between::measured();
    let cpus = between.system.details.cpus;
    assert_eq!(
        f64::from(cpus),
        between
            .before
            .count("node_cpu_seconds_total", &[("mode", "idle")])
    );
    // The exporter adds up what the kernel has rounded down to a tick for each CPU; the kernel's own sum is rounded once.
    let ticks = 0.01 * f64::from(cpus) + 0.001;
    for mode in ["user", "nice", "system", "irq", "softirq", "steal"] {
        let theirs = |scrape: &Scrape| scrape.sum("node_cpu_seconds_total", &[("mode", mode)]);
        between.grows(&format!("nautilus_cpu_seconds{{mode=\"{mode}\"}}"), theirs, ticks);
    }
    // The kernel lets these two fall, and the exporter does not.
    for mode in ["idle", "iowait"] {
        let theirs = |scrape: &Scrape| scrape.sum("node_cpu_seconds_total", &[("mode", mode)]);
        between.near(&format!("nautilus_cpu_seconds{{mode=\"{mode}\"}}"), theirs, 1.0);
    }
    for (ours, theirs) in [
        ("nautilus_context_switches", "node_context_switches_total"),
        ("nautilus_interrupts", "node_intr_total"),
        ("nautilus_forks", "node_forks_total"),
        ("nautilus_page_faults", "node_vmstat_pgfault"),
        ("nautilus_major_page_faults", "node_vmstat_pgmajfault"),
        ("nautilus_swap_in_pages", "node_vmstat_pswpin"),
        ("nautilus_swap_out_pages", "node_vmstat_pswpout"),
        ("nautilus_oom_kills", "node_vmstat_oom_kill"),
    ] {
        between.grows(ours, |scrape| scrape.one(theirs), 0.0);
    }
    between.near(
        "nautilus_boot_timestamp_seconds",
        |scrape| scrape.one("node_boot_time_seconds"),
        1.0,
    );
    // Theirs is a clock less when the machine started, which the kernel tells in whole seconds.
    let uptime = |scrape: &Scrape| scrape.one("node_time_seconds") - scrape.one("node_boot_time_seconds");
    between.near("nautilus_uptime_seconds", uptime, 1.5);
}

#[test]
fn pressure_agrees_where_there_is_any() {
    let between = Between::measured();
    let cpu = between.system.details.pressure.cpu;
    assert_eq!(
        cpu.is_some(),
        between
            .before
            .find("node_pressure_cpu_waiting_seconds_total", &[])
            .is_some()
    );
    if cpu.is_none() {
        return;
    }
    for (ours, theirs) in [
        (
            "nautilus_pressure_waiting_seconds{resource=\"cpu\"}",
            "node_pressure_cpu_waiting_seconds_total",
        ),
        (
            "nautilus_pressure_waiting_seconds{resource=\"io\"}",
            "node_pressure_io_waiting_seconds_total",
        ),
        (
            "nautilus_pressure_stalled_seconds{resource=\"io\"}",
            "node_pressure_io_stalled_seconds_total",
        ),
        (
            "nautilus_pressure_waiting_seconds{resource=\"memory\"}",
            "node_pressure_memory_waiting_seconds_total",
        ),
        (
            "nautilus_pressure_stalled_seconds{resource=\"memory\"}",
            "node_pressure_memory_stalled_seconds_total",
        ),
    ] {
        // The float of the exporter has a microsecond's error after some weeks.
        between.grows(ours, |scrape| scrape.one(theirs), 0.000_002);
    }
}

#[test]
fn memory_load_files_and_processes_agree() {
    let between = Between::measured();
    let total = between.before.one("node_memory_MemTotal_bytes");
    assert_eq!(between.ours("nautilus_memory_size_bytes"), total);
    for (ours, theirs) in [
        (
            "nautilus_memory_available_bytes",
            "node_memory_MemAvailable_bytes",
        ),
        ("nautilus_memory_free_bytes", "node_memory_MemFree_bytes"),
        ("nautilus_memory_buffers_bytes", "node_memory_Buffers_bytes"),
        ("nautilus_memory_cached_bytes", "node_memory_Cached_bytes"),
        ("nautilus_swap_size_bytes", "node_memory_SwapTotal_bytes"),
        ("nautilus_swap_free_bytes", "node_memory_SwapFree_bytes"),
    ] {
        between.near(ours, |scrape| scrape.one(theirs), total / 50.0);
    }
    let used = |scrape: &Scrape| 1.0 - scrape.one("node_memory_MemAvailable_bytes") / total;
    between.near("nautilus_memory_usage_ratio", used, 0.02);
    for (window, theirs) in [("1m", "node_load1"), ("5m", "node_load5"), ("15m", "node_load15")] {
        // The kernel computes them anew every five seconds.
        let ours = format!("nautilus_load_average{{window=\"{window}\"}}");
        between.near(&ours, |scrape| scrape.one(theirs), 0.5);
    }
    between.near(
        "nautilus_file_descriptors",
        |scrape| scrape.one("node_filefd_allocated"),
        500.0,
    );
    let limit = |scrape: &Scrape| scrape.one("node_filefd_maximum");
    assert_eq!(
        between.ours("nautilus_file_descriptors_limit"),
        limit(&between.before)
    );
    between.near(
        "nautilus_processes",
        |scrape| scrape.one("node_processes_pids"),
        50.0,
    );
    between.near(
        "nautilus_threads_running",
        |scrape| scrape.one("node_procs_running"),
        50.0,
    );
    between.near(
        "nautilus_threads_blocked",
        |scrape| scrape.one("node_procs_blocked"),
        50.0,
    );
}

#[test]
fn disks_and_the_root_file_system_agree() {
    let between = Between::measured();
    // The exporter tells virtual disks apart by their names alone.
    let hardware = |scrape: &Scrape, family: &str| {
        scrape.sum_where(family, |labels| {
            let device = labels.iter().find(|(name, _)| name == "device").unwrap();
            fs::read_link(format!("/sys/block/{}", device.1))
                .is_ok_and(|target| !target.starts_with("../devices/virtual"))
        })
    };
    for (ours, theirs, step) in [
        ("nautilus_disk_io_read_bytes", "node_disk_read_bytes_total", 0.0),
        (
            "nautilus_disk_io_written_bytes",
            "node_disk_written_bytes_total",
            0.0,
        ),
        ("nautilus_disk_io_reads", "node_disk_reads_completed_total", 0.0),
        ("nautilus_disk_io_writes", "node_disk_writes_completed_total", 0.0),
        (
            "nautilus_disk_io_busy_seconds",
            "node_disk_io_time_seconds_total",
            0.001,
        ),
    ] {
        between.grows(ours, |scrape| hardware(scrape, theirs), step);
    }
    let root = [("mountpoint", "/")];
    let size = between.before.find("node_filesystem_size_bytes", &root).unwrap();
    assert_eq!(
        between.ours("nautilus_filesystem_size_bytes{mountpoint=\"/\"}"),
        size
    );
    for (ours, theirs) in [
        (
            "nautilus_filesystem_free_bytes{mountpoint=\"/\"}",
            "node_filesystem_free_bytes",
        ),
        (
            "nautilus_filesystem_available_bytes{mountpoint=\"/\"}",
            "node_filesystem_avail_bytes",
        ),
    ] {
        between.near(ours, |scrape| scrape.find(theirs, &root).unwrap(), size / 100.0);
    }
    let files = between.before.find("node_filesystem_files", &root).unwrap();
    between.near(
        "nautilus_filesystem_files_free{mountpoint=\"/\"}",
        |scrape| scrape.find("node_filesystem_files_free", &root).unwrap(),
        files / 100.0,
    );
}

#[test]
fn the_network_agrees() {
    let between = Between::measured();
    // Neither counts loopback: that is how Debian builds it.
    for (ours, theirs) in [
        (
            "nautilus_network_io_receive_bytes",
            "node_network_receive_bytes_total",
        ),
        (
            "nautilus_network_io_transmit_bytes",
            "node_network_transmit_bytes_total",
        ),
        (
            "nautilus_network_io_receive_packets",
            "node_network_receive_packets_total",
        ),
        (
            "nautilus_network_io_transmit_packets",
            "node_network_transmit_packets_total",
        ),
        (
            "nautilus_network_io_receive_errors",
            "node_network_receive_errs_total",
        ),
        (
            "nautilus_network_io_transmit_errors",
            "node_network_transmit_errs_total",
        ),
        (
            "nautilus_network_io_receive_drops",
            "node_network_receive_drop_total",
        ),
        (
            "nautilus_network_io_transmit_drops",
            "node_network_transmit_drop_total",
        ),
        ("nautilus_tcp_receive_segments", "node_netstat_Tcp_InSegs"),
        ("nautilus_tcp_transmit_segments", "node_netstat_Tcp_OutSegs"),
        ("nautilus_tcp_retransmit_segments", "node_netstat_Tcp_RetransSegs"),
    ] {
        between.grows(ours, |scrape| scrape.sum(theirs, &[]), 0.0);
    }
    for device in &between.network.details.devices {
        let labels = [("device", device.device.as_str())];
        let ours = format!("nautilus_network_receive_bytes{{device=\"{}\"}}", device.device);
        let theirs = |scrape: &Scrape| scrape.find("node_network_receive_bytes_total", &labels).unwrap();
        between.grows(&ours, theirs, 0.0);
    }
    // Scraping opens connections itself.
    for (ours, theirs) in [
        ("nautilus_network_connections", "node_netstat_Tcp_CurrEstab"),
        ("nautilus_sockets", "node_sockstat_sockets_used"),
        ("nautilus_tcp_sockets", "node_sockstat_TCP_alloc"),
        ("nautilus_tcp_sockets_time_wait", "node_sockstat_TCP_tw"),
        ("nautilus_tcp_sockets_orphaned", "node_sockstat_TCP_orphan"),
    ] {
        between.near(ours, |scrape| scrape.one(theirs), 50.0);
    }
    let conntrack = between.before.find("node_nf_conntrack_entries", &[]);
    assert_eq!(
        between.network.details.conntrack_entries.is_some(),
        conntrack.is_some()
    );
    if conntrack.is_some() {
        between.near(
            "nautilus_conntrack_entries",
            |scrape| scrape.one("node_nf_conntrack_entries"),
            100.0,
        );
    }
}

#[test]
fn what_is_compared_is_of_the_kind_that_it_is_compared_as() {
    let between = Between::measured();
    let kind = |name: &str| {
        let point = between
            .points
            .iter()
            .find(|point| point.family.name == name)
            .unwrap();
        point.family.kind
    };
    for (ours, theirs) in [
        ("nautilus_cpu_seconds", "node_cpu_seconds_total"),
        ("nautilus_disk_io_read_bytes", "node_disk_read_bytes_total"),
        ("nautilus_load_average", "node_load1"),
        (
            "nautilus_network_receive_bytes",
            "node_network_receive_bytes_total",
        ),
        ("nautilus_memory_free_bytes", "node_memory_MemFree_bytes"),
    ] {
        let expected = match kind(ours) {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        assert_eq!(between.before.kind(theirs), expected, "{ours} and {theirs}");
    }
}
