//! The machine (specification §3.A `SystemMetrics`).

mod families;

use nautilus_core::TeeKind;
use nautilus_proof::Metrics;
use serde::Serialize;

pub use self::families::FAMILIES;
use crate::decimal::{Centi, Ratio, Seconds};

/// The machine as a whole. `docs/metrics.md` has each field's source and formula.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SystemMetrics {
    /// CPU time in use since the last sample, of all CPUs.
    pub cpu_usage: Ratio,
    /// Share that programs had of the time since the last sample in which a CPU was not idle. The rest went to the
    /// kernel, interrupts, the hypervisor and waiting for disks. 1 if all CPUs were idle.
    pub cpu_efficiency: Ratio,
    /// Memory that is not available.
    pub memory_usage: Ratio,
    /// Space of the root file system that is not available.
    pub disk_usage: Ratio,
    /// Bytes on all interfaces but loopback.
    pub network_io: NetworkIo,
    /// What hardware disks did.
    pub disk_io: DiskIo,
    /// Over 1, 5 and 15 minutes.
    pub load_average: [Centi; 3],
    /// Processes.
    pub process_count: u32,
    /// Threads of all processes.
    pub thread_count: u32,
    /// Open file descriptors of the whole system.
    pub file_descriptors: u64,
    /// Since the machine's start.
    pub context_switches: u64,
    /// Since the machine's start.
    pub interrupts: u64,
    /// Since the machine's start, time of suspension included.
    pub uptime: Seconds,
    /// The TEE, as the machine shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tee_status: Option<TeeStatus>,
    /// What the specification does not name. Stored and exported as series.
    #[serde(skip)]
    pub details: SystemDetails,
}

/// Bytes on the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NetworkIo {
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_bytes: u64,
}

/// What disks did since the machine's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskIo {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads that completed.
    pub reads: u64,
    /// Writes that completed.
    pub writes: u64,
    /// Time in which disks had something to do. Several disks add up.
    pub busy_time: Seconds,
}

/// The TEE's device as the machine shows it (specification §3.A `TEEStatusMetrics`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TeeStatus {
    /// Which TEE.
    pub tee_type: TeeKind,
    /// Whether its device is there.
    pub available: bool,
}

/// What the kernel tells beside. A value is none where the kernel does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemDetails {
    /// CPU time since the machine's start.
    pub cpu_time: CpuTime,
    /// CPUs that are online.
    pub cpus: u32,
    /// Threads that run or could.
    pub running: Option<u64>,
    /// Threads that wait for a disk.
    pub blocked: Option<u64>,
    /// Processes and threads created since the machine's start.
    pub forks: Option<u64>,
    /// When the machine started, in seconds since 1970.
    pub boot_seconds: Option<u64>,
    /// As many file descriptors as there can be.
    pub file_descriptor_limit: u64,
    /// Memory.
    pub memory: MemorySizes,
    /// The root file system.
    pub filesystem: Filesystem,
    /// Time in which tasks waited for something.
    pub pressure: PressureTimes,
    /// Paging.
    pub paging: PagingCounts,
}

/// CPU time of all CPUs since the machine's start, by what it was spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Programs; guests of this machine are within.
    pub user: Seconds,
    /// Programs with a lowered priority.
    pub nice: Seconds,
    /// The kernel.
    pub system: Seconds,
    /// Nothing.
    pub idle: Seconds,
    /// Nothing, while a disk was waited for.
    pub iowait: Seconds,
    /// Interrupts.
    pub irq: Seconds,
    /// What interrupts left to be done.
    pub softirq: Seconds,
    /// Other machines of the hypervisor.
    pub steal: Seconds,
}

/// Sizes of memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySizes {
    /// All of it.
    pub size: u64,
    /// What programs could have without swapping.
    pub available: u64,
    /// What nothing uses.
    pub free: Option<u64>,
    /// Buffers for block devices.
    pub buffers: Option<u64>,
    /// The page cache.
    pub cached: Option<u64>,
    /// Swap space.
    pub swap_size: Option<u64>,
    /// Swap space that nothing uses.
    pub swap_free: Option<u64>,
}

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filesystem {
    /// Its bytes.
    pub size: u64,
    /// Bytes that nothing uses.
    pub free: u64,
    /// Of these, what is not kept for root.
    pub available: u64,
    /// Files that it can have.
    pub files: u64,
    /// Of these, what is left.
    pub files_free: u64,
}

/// Time since the machine's start in which tasks waited for a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PressureTimes {
    /// CPUs.
    pub cpu: Option<Waits>,
    /// Disks.
    pub io: Option<Waits>,
    /// Memory.
    pub memory: Option<Waits>,
}

/// Time in which tasks waited for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// At least one task.
    pub some: Seconds,
    /// All that were not idle.
    pub full: Option<Seconds>,
}

/// Paging since the machine's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PagingCounts {
    /// Page faults.
    pub faults: Option<u64>,
    /// Those for which a disk was read.
    pub major_faults: Option<u64>,
    /// Pages read from swap space.
    pub swapped_in: Option<u64>,
    /// Pages written to swap space.
    pub swapped_out: Option<u64>,
    /// Processes killed for want of memory.
    pub oom_kills: Option<u64>,
}

impl SystemMetrics {
    /// What of it is signed in each sample.
    pub fn signed(&self) -> Metrics {
        let [one, five, fifteen] = self.load_average;
        Metrics {
            cpu_usage_bp: basis_points(self.cpu_usage),
            cpu_efficiency_bp: basis_points(self.cpu_efficiency),
            memory_usage_bp: basis_points(self.memory_usage),
            disk_usage_bp: basis_points(self.disk_usage),
            load_average_centi: [centi(one), centi(five), centi(fifteen)],
            process_count: self.process_count,
            thread_count: self.thread_count,
            file_descriptors: self.file_descriptors,
            context_switches: self.context_switches,
            interrupts: self.interrupts,
            network_rx_bytes: self.network_io.rx_bytes,
            network_tx_bytes: self.network_io.tx_bytes,
            disk_read_bytes: self.disk_io.read_bytes,
            disk_written_bytes: self.disk_io.written_bytes,
            uptime_seconds: whole_seconds(self.uptime),
        }
    }
}

/// A share that a collector made is within these bounds.
fn basis_points(share: Ratio) -> u16 {
    u16::try_from(share.0.clamp(0, 10_000)).unwrap_or(10_000)
}

fn whole_seconds(time: Seconds) -> u64 {
    u64::try_from(time.0.div_euclid(1_000_000_000)).unwrap_or_default()
}

fn centi(average: Centi) -> u32 {
    u32::try_from(average.0.max(0)).unwrap_or(u32::MAX)
}
