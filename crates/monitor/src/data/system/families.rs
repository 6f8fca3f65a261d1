//! The machine as named integers.

use super::{CpuTime, DiskIo, Filesystem, MemorySizes, PagingCounts, PressureTimes, SystemMetrics};
use crate::decimal::Seconds;
use crate::reading::MetricKind::{Counter, Gauge};
use crate::reading::{Family, Point};
use crate::share::counted;

/// Every family of [`SystemMetrics`].
pub static FAMILIES: &[&Family] = &[
    &CPU_USAGE,
    &CPU_EFFICIENCY,
    &CPU_TIME,
    &CPUS,
    &MEMORY_USAGE,
    &MEMORY_SIZE,
    &MEMORY_AVAILABLE,
    &MEMORY_FREE,
    &MEMORY_BUFFERS,
    &MEMORY_CACHED,
    &SWAP_SIZE,
    &SWAP_FREE,
    &DISK_USAGE,
    &FILESYSTEM_SIZE,
    &FILESYSTEM_FREE,
    &FILESYSTEM_AVAILABLE,
    &FILESYSTEM_FILES,
    &FILESYSTEM_FILES_FREE,
    &NETWORK_RECEIVED,
    &NETWORK_SENT,
    &DISK_READ,
    &DISK_WRITTEN,
    &DISK_READS,
    &DISK_WRITES,
    &DISK_BUSY,
    &LOAD,
    &PROCESSES,
    &THREADS,
    &RUNNING,
    &BLOCKED,
    &FORKS,
    &FILE_DESCRIPTORS,
    &FILE_DESCRIPTOR_LIMIT,
    &CONTEXT_SWITCHES,
    &INTERRUPTS,
    &UPTIME,
    &BOOT,
    &PRESSURE_WAITING,
    &PRESSURE_STALLED,
    &PAGE_FAULTS,
    &MAJOR_PAGE_FAULTS,
    &SWAPPED_IN,
    &SWAPPED_OUT,
    &OOM_KILLS,
    &TEE_AVAILABLE,
];

static CPU_USAGE: Family = Family::new(
    "nautilus_cpu_usage_ratio",
    "ratio",
    Gauge,
    4,
    "CPU time in use since the last sample, of all CPUs.",
);
static CPU_EFFICIENCY: Family = Family::new(
    "nautilus_cpu_efficiency_ratio",
    "ratio",
    Gauge,
    4,
    "Share that programs had of the CPU time since the last sample that was not idle; 1 if all was idle.",
);
static CPU_TIME: Family = Family::new(
    "nautilus_cpu_seconds",
    "seconds",
    Counter,
    9,
    "CPU time of all CPUs since the machine's start, by what it was spent on.",
);
static CPUS: Family = Family::new("nautilus_cpus", "", Gauge, 0, "CPUs that are online.");
static MEMORY_USAGE: Family = Family::new(
    "nautilus_memory_usage_ratio",
    "ratio",
    Gauge,
    4,
    "Share of memory that is not available.",
);
static MEMORY_SIZE: Family = Family::new("nautilus_memory_size_bytes", "bytes", Gauge, 0, "Memory.");
static MEMORY_AVAILABLE: Family = Family::new(
    "nautilus_memory_available_bytes",
    "bytes",
    Gauge,
    0,
    "Memory that programs could have without swapping.",
);
static MEMORY_FREE: Family = Family::new(
    "nautilus_memory_free_bytes",
    "bytes",
    Gauge,
    0,
    "Memory that nothing uses.",
);
static MEMORY_BUFFERS: Family = Family::new(
    "nautilus_memory_buffers_bytes",
    "bytes",
    Gauge,
    0,
    "Memory of buffers for block devices.",
);
static MEMORY_CACHED: Family = Family::new(
    "nautilus_memory_cached_bytes",
    "bytes",
    Gauge,
    0,
    "Memory of the page cache.",
);
static SWAP_SIZE: Family = Family::new("nautilus_swap_size_bytes", "bytes", Gauge, 0, "Swap space.");
static SWAP_FREE: Family = Family::new(
    "nautilus_swap_free_bytes",
    "bytes",
    Gauge,
    0,
    "Swap space that nothing uses.",
);
static DISK_USAGE: Family = Family::new(
    "nautilus_disk_usage_ratio",
    "ratio",
    Gauge,
    4,
    "Share of the root file system's space that is not available.",
);
static FILESYSTEM_SIZE: Family = Family::new(
    "nautilus_filesystem_size_bytes",
    "bytes",
    Gauge,
    0,
    "Size of the root file system.",
);
static FILESYSTEM_FREE: Family = Family::new(
    "nautilus_filesystem_free_bytes",
    "bytes",
    Gauge,
    0,
    "Space of the root file system that nothing uses.",
);
static FILESYSTEM_AVAILABLE: Family = Family::new(
    "nautilus_filesystem_available_bytes",
    "bytes",
    Gauge,
    0,
    "Space of the root file system that is free and not kept for root.",
);
static FILESYSTEM_FILES: Family = Family::new(
    "nautilus_filesystem_files",
    "",
    Gauge,
    0,
    "Files that the root file system can have.",
);
static FILESYSTEM_FILES_FREE: Family = Family::new(
    "nautilus_filesystem_files_free",
    "",
    Gauge,
    0,
    "Files that the root file system can still have.",
);
static NETWORK_RECEIVED: Family = Family::new(
    "nautilus_network_io_receive_bytes",
    "bytes",
    Gauge,
    0,
    "Bytes received on all interfaces that there are but loopback; falls when one goes.",
);
static NETWORK_SENT: Family = Family::new(
    "nautilus_network_io_transmit_bytes",
    "bytes",
    Gauge,
    0,
    "Bytes sent on all interfaces that there are but loopback; falls when one goes.",
);
static DISK_READ: Family = Family::new(
    "nautilus_disk_io_read_bytes",
    "bytes",
    Counter,
    0,
    "Bytes read from hardware disks.",
);
static DISK_WRITTEN: Family = Family::new(
    "nautilus_disk_io_written_bytes",
    "bytes",
    Counter,
    0,
    "Bytes written to hardware disks.",
);
static DISK_READS: Family = Family::new(
    "nautilus_disk_io_reads",
    "",
    Counter,
    0,
    "Reads that hardware disks completed.",
);
static DISK_WRITES: Family = Family::new(
    "nautilus_disk_io_writes",
    "",
    Counter,
    0,
    "Writes that hardware disks completed.",
);
static DISK_BUSY: Family = Family::new(
    "nautilus_disk_io_busy_seconds",
    "seconds",
    Counter,
    9,
    "Time in which hardware disks had something to do; several disks add up.",
);
static LOAD: Family = Family::new(
    "nautilus_load_average",
    "",
    Gauge,
    2,
    "Tasks that ran or waited for a disk, on average over a window of time.",
);
static PROCESSES: Family = Family::new("nautilus_processes", "", Gauge, 0, "Processes.");
static THREADS: Family = Family::new(
    "nautilus_threads",
    "",
    Gauge,
    0,
    "Threads of all processes and of the kernel.",
);
static RUNNING: Family = Family::new(
    "nautilus_threads_running",
    "",
    Gauge,
    0,
    "Threads that run or could.",
);
static BLOCKED: Family = Family::new(
    "nautilus_threads_blocked",
    "",
    Gauge,
    0,
    "Threads that wait for a disk.",
);
static FORKS: Family = Family::new(
    "nautilus_forks",
    "",
    Counter,
    0,
    "Processes and threads created since the machine's start.",
);
static FILE_DESCRIPTORS: Family = Family::new(
    "nautilus_file_descriptors",
    "",
    Gauge,
    0,
    "Open file handles of the whole system.",
);
static FILE_DESCRIPTOR_LIMIT: Family = Family::new(
    "nautilus_file_descriptors_limit",
    "",
    Gauge,
    0,
    "As many file handles as the system can have open.",
);
static CONTEXT_SWITCHES: Family = Family::new(
    "nautilus_context_switches",
    "",
    Counter,
    0,
    "Context switches since the machine's start.",
);
static INTERRUPTS: Family = Family::new(
    "nautilus_interrupts",
    "",
    Counter,
    0,
    "Interrupts since the machine's start.",
);
static UPTIME: Family = Family::new(
    "nautilus_uptime_seconds",
    "seconds",
    Gauge,
    9,
    "Time since the machine's start, suspension included.",
);
static BOOT: Family = Family::new(
    "nautilus_boot_timestamp_seconds",
    "seconds",
    Gauge,
    0,
    "When the machine started, in seconds since 1970.",
);
static PRESSURE_WAITING: Family = Family::new(
    "nautilus_pressure_waiting_seconds",
    "seconds",
    Counter,
    9,
    "Time in which at least one task waited for the resource.",
);
static PRESSURE_STALLED: Family = Family::new(
    "nautilus_pressure_stalled_seconds",
    "seconds",
    Counter,
    9,
    "Time in which all tasks that were not idle waited for the resource.",
);
static PAGE_FAULTS: Family = Family::new(
    "nautilus_page_faults",
    "",
    Counter,
    0,
    "Page faults since the machine's start.",
);
static MAJOR_PAGE_FAULTS: Family = Family::new(
    "nautilus_major_page_faults",
    "",
    Counter,
    0,
    "Page faults for which a disk was read.",
);
static SWAPPED_IN: Family = Family::new(
    "nautilus_swap_in_pages",
    "",
    Counter,
    0,
    "Pages read from swap space.",
);
static SWAPPED_OUT: Family = Family::new(
    "nautilus_swap_out_pages",
    "",
    Counter,
    0,
    "Pages written to swap space.",
);
static OOM_KILLS: Family = Family::new(
    "nautilus_oom_kills",
    "",
    Counter,
    0,
    "Processes killed for want of memory.",
);
static TEE_AVAILABLE: Family = Family::new(
    "nautilus_tee_available",
    "",
    Gauge,
    0,
    "Whether the TEE's device is there.",
);

impl SystemMetrics {
    /// The same as named integers.
    pub fn points(&self, into: &mut Vec<Point>) {
        let details = &self.details;
        for (family, share) in [
            (&CPU_USAGE, self.cpu_usage),
            (&CPU_EFFICIENCY, self.cpu_efficiency),
            (&MEMORY_USAGE, self.memory_usage),
            (&DISK_USAGE, self.disk_usage),
        ] {
            into.push(Point::plain(family, share.0));
        }
        for (family, count) in [
            (&CPUS, Some(details.cpus.into())),
            (&NETWORK_RECEIVED, Some(self.network_io.rx_bytes)),
            (&NETWORK_SENT, Some(self.network_io.tx_bytes)),
            (&PROCESSES, Some(self.process_count.into())),
            (&THREADS, Some(self.thread_count.into())),
            (&RUNNING, details.running),
            (&BLOCKED, details.blocked),
            (&FORKS, details.forks),
            (&FILE_DESCRIPTORS, Some(self.file_descriptors)),
            (&FILE_DESCRIPTOR_LIMIT, Some(details.file_descriptor_limit)),
            (&CONTEXT_SWITCHES, Some(self.context_switches)),
            (&INTERRUPTS, Some(self.interrupts)),
            (&BOOT, details.boot_seconds),
        ] {
            into.extend(counted(family, count));
        }
        into.push(Point::plain(&UPTIME, self.uptime.0));
        for (window, average) in ["1m", "5m", "15m"].into_iter().zip(self.load_average) {
            into.push(Point::labelled(&LOAD, [("window", window)], average.0));
        }
        details.cpu_time.points(into);
        details.memory.points(into);
        details.filesystem.points(into);
        self.disk_io.points(into);
        details.pressure.points(into);
        details.paging.points(into);
        if let Some(tee) = &self.tee_status {
            let labels = [("tee", tee.tee_type.as_str())];
            into.push(Point::labelled(&TEE_AVAILABLE, labels, tee.available.into()));
        }
    }
}

impl CpuTime {
    fn points(&self, into: &mut Vec<Point>) {
        for (mode, time) in [
            ("user", self.user),
            ("nice", self.nice),
            ("system", self.system),
            ("idle", self.idle),
            ("iowait", self.iowait),
            ("irq", self.irq),
            ("softirq", self.softirq),
            ("steal", self.steal),
        ] {
            into.push(Point::labelled(&CPU_TIME, [("mode", mode)], time.0));
        }
    }
}

impl MemorySizes {
    fn points(&self, into: &mut Vec<Point>) {
        for (family, bytes) in [
            (&MEMORY_SIZE, Some(self.size)),
            (&MEMORY_AVAILABLE, Some(self.available)),
            (&MEMORY_FREE, self.free),
            (&MEMORY_BUFFERS, self.buffers),
            (&MEMORY_CACHED, self.cached),
            (&SWAP_SIZE, self.swap_size),
            (&SWAP_FREE, self.swap_free),
        ] {
            into.extend(counted(family, bytes));
        }
    }
}

impl Filesystem {
    fn points(&self, into: &mut Vec<Point>) {
        for (family, amount) in [
            (&FILESYSTEM_SIZE, self.size),
            (&FILESYSTEM_FREE, self.free),
            (&FILESYSTEM_AVAILABLE, self.available),
            (&FILESYSTEM_FILES, self.files),
            (&FILESYSTEM_FILES_FREE, self.files_free),
        ] {
            into.extend(
                counted(family, Some(amount))
                    .map(|point| Point::labelled(family, [("mountpoint", "/")], point.value)),
            );
        }
    }
}

impl DiskIo {
    fn points(&self, into: &mut Vec<Point>) {
        for (family, amount) in [
            (&DISK_READ, self.read_bytes),
            (&DISK_WRITTEN, self.written_bytes),
            (&DISK_READS, self.reads),
            (&DISK_WRITES, self.writes),
        ] {
            into.extend(counted(family, Some(amount)));
        }
        into.push(Point::plain(&DISK_BUSY, self.busy_time.0));
    }
}

impl PressureTimes {
    fn points(&self, into: &mut Vec<Point>) {
        let resources = [("cpu", self.cpu), ("io", self.io), ("memory", self.memory)];
        for (resource, waits) in resources {
            let mut push = |family, time: Option<Seconds>| {
                into.extend(time.map(|time| Point::labelled(family, [("resource", resource)], time.0)));
            };
            push(&PRESSURE_WAITING, waits.map(|waits| waits.some));
            push(&PRESSURE_STALLED, waits.and_then(|waits| waits.full));
        }
    }
}

impl PagingCounts {
    fn points(&self, into: &mut Vec<Point>) {
        for (family, count) in [
            (&PAGE_FAULTS, self.faults),
            (&MAJOR_PAGE_FAULTS, self.major_faults),
            (&SWAPPED_IN, self.swapped_in),
            (&SWAPPED_OUT, self.swapped_out),
            (&OOM_KILLS, self.oom_kills),
        ] {
            into.extend(counted(family, count));
        }
    }
}
