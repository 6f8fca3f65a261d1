//! The collector of one machine's metrics.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nautilus_core::TeeKind;
use nautilus_proof::CollectorKind;
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::collector::{Collector, Part};
use crate::data::{
    CpuTime, DiskIo, Filesystem, MemorySizes, NetworkIo, PagingCounts, PressureTimes, SystemDetails,
    SystemMetrics, TeeStatus, Waits,
};
use crate::decimal::{Decimal, Ratio, Seconds};
use crate::error::CollectError;
use crate::kernel_file::{BUFFER, contents, parsed, parsed_if_there};
use crate::parse::{self, CpuTimes, Load, Malformed, Memory, Paging, Traffic};
use crate::share::{basis_points, seconds};

/// Collects [`SystemMetrics`] of the machine whose files are below one directory.
///
/// One collect is a dozen files, the list of processes, one link for each line of `/proc/diskstats` and one
/// statvfs. All are read into one buffer that is kept, and no process is looked into: the cost hardly grows
/// with the machine.
#[derive(Debug)]
pub struct SystemCollector {
    paths: Paths,
    buffer: Vec<u8>,
    last: CpuTimes,
    /// Nanoseconds of one tick of the kernel's times of CPUs.
    tick: u32,
    tee: Option<Tee>,
}

#[derive(Debug)]
struct Tee {
    kind: TeeKind,
    devices: Vec<PathBuf>,
}

impl SystemCollector {
    /// A collector of the machine below `root`: `/`, or a tree that stands for it. CPU usage counts from now.
    ///
    /// # Errors
    /// If `/proc/stat` cannot be read or is malformed.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, CollectError> {
        let paths = Paths::below(root.into());
        let mut buffer = Vec::with_capacity(BUFFER);
        let last = parsed(&paths.stat, &mut buffer, parse::stat)?.cpu;
        Ok(Self {
            paths,
            buffer,
            last,
            tick: tick(),
            tee: None,
        })
    }

    /// Also tells whether one of these devices of a TEE is there: absolute paths, looked up below the root.
    #[must_use]
    pub fn with_tee(mut self, kind: TeeKind, devices: impl IntoIterator<Item = PathBuf>) -> Self {
        let below = |device: PathBuf| match device.strip_prefix("/") {
            Ok(relative) => self.paths.root.join(relative),
            Err(_) => self.paths.root.join(device),
        };
        let devices = devices.into_iter().map(below).collect();
        self.tee = Some(Tee { kind, devices });
        self
    }

    /// Measures once. CPU usage and efficiency are those since the last measurement that succeeded.
    ///
    /// The numbers are the kernel's, read one file after the other: not a snapshot of one instant. They are
    /// as true as the kernel is.
    ///
    /// # Errors
    /// If any of the metrics cannot be had. A container must see `/proc/diskstats` and `/sys/block`, for
    /// without them "no bytes" and "not known" would be signed alike. What not every kernel has (pressure, counters of
    /// paging) is none where it is not there, and an error where it is there and malformed.
    pub fn measure(&mut self) -> Result<SystemMetrics, CollectError> {
        let Self {
            paths,
            buffer,
            last,
            tick,
            tee,
        } = self;
        let stat = parsed(&paths.stat, buffer, parse::stat)?;
        let Load {
            averages_centi,
            threads,
        } = parsed(&paths.loadavg, buffer, parse::loadavg)?;
        let Traffic { received, sent } = parsed(&paths.net_dev, buffer, parse::net_dev)?;
        let memory = parsed(&paths.meminfo, buffer, parse::meminfo)?;
        let files = parsed(&paths.file_nr, buffer, parse::file_nr)?;
        let uptime = parsed(&paths.uptime, buffer, parse::uptime)?;
        let disk_io = disk_io(paths, buffer)?;
        let (disk_usage, filesystem) = filesystem(&paths.root)?;
        let paging = parsed_if_there(&paths.vmstat, buffer, parse::vmstat)?.unwrap_or_default();
        let pressure = PressureTimes {
            cpu: waits(&paths.pressure_cpu, buffer)?,
            io: waits(&paths.pressure_io, buffer)?,
            memory: waits(&paths.pressure_memory, buffer)?,
        };
        let process_count = process_count(&paths.proc, buffer)?;
        let metrics = SystemMetrics {
            cpu_usage: ratio(stat.cpu.busy_since(last)),
            cpu_efficiency: ratio(stat.cpu.efficiency_since(last)),
            memory_usage: ratio(memory.used()),
            disk_usage,
            network_io: NetworkIo {
                rx_bytes: received.bytes,
                tx_bytes: sent.bytes,
            },
            disk_io,
            load_average: averages_centi.map(|centi| Decimal(centi.into())),
            process_count,
            thread_count: threads,
            file_descriptors: files.used,
            context_switches: stat.context_switches,
            interrupts: stat.interrupts,
            uptime: seconds(uptime, CENTI),
            tee_status: tee.as_ref().map(Tee::status),
            details: SystemDetails {
                cpu_time: cpu_time(&stat.cpu, *tick),
                cpus: stat.cpus,
                running: stat.running,
                blocked: stat.blocked,
                forks: stat.forks,
                boot_seconds: stat.boot_seconds,
                file_descriptor_limit: files.limit,
                memory: memory_sizes(&memory),
                filesystem,
                pressure,
                paging: paging_counts(paging),
            },
        };
        // Only now: a measurement that failed must not swallow the CPU time that it saw.
        *last = stat.cpu;
        Ok(metrics)
    }
}

impl Collector for SystemCollector {
    fn kind(&self) -> CollectorKind {
        CollectorKind::System
    }

    fn collect(&mut self) -> Result<Part, CollectError> {
        self.measure().map(|metrics| Part::System(Box::new(metrics)))
    }
}

impl Tee {
    fn status(&self) -> TeeStatus {
        TeeStatus {
            tee_type: self.kind,
            // What may not be looked at cannot be used either.
            available: self.devices.iter().any(|device| device.exists()),
        }
    }
}

/// Nanoseconds of a hundredth, a millisecond and a microsecond.
const CENTI: u32 = 10_000_000;
const MILLI: u32 = 1_000_000;
const MICRO: u32 = 1_000;

fn ratio(basis_points: u16) -> Ratio {
    Decimal(basis_points.into())
}

/// Nanoseconds of a tick: the kernel tells each program in the auxiliary vector, and it is 1/100 s wherever Linux runs.
fn tick() -> u32 {
    u32::try_from(rustix::param::clock_ticks_per_second())
        .ok()
        .and_then(|ticks| 1_000_000_000_u32.checked_div(ticks))
        .unwrap_or(CENTI)
}

fn cpu_time(cpu: &CpuTimes, tick: u32) -> CpuTime {
    CpuTime {
        user: seconds(cpu.user, tick),
        nice: seconds(cpu.nice, tick),
        system: seconds(cpu.system, tick),
        idle: seconds(cpu.idle, tick),
        iowait: seconds(cpu.iowait, tick),
        irq: seconds(cpu.irq, tick),
        softirq: seconds(cpu.softirq, tick),
        steal: seconds(cpu.steal, tick),
    }
}

fn memory_sizes(memory: &Memory) -> MemorySizes {
    // What exceeds 2^64 bytes exceeds what a reading carries as well, and is left out there.
    let bytes = |kibibytes: u64| kibibytes.saturating_mul(1024);
    MemorySizes {
        size: bytes(memory.total),
        available: bytes(memory.available),
        free: memory.free.map(bytes),
        buffers: memory.buffers.map(bytes),
        cached: memory.cached.map(bytes),
        swap_size: memory.swap_total.map(bytes),
        swap_free: memory.swap_free.map(bytes),
    }
}

fn paging_counts(paging: Paging) -> PagingCounts {
    PagingCounts {
        faults: paging.faults,
        major_faults: paging.major_faults,
        swapped_in: paging.swapped_in,
        swapped_out: paging.swapped_out,
        oom_kills: paging.oom_kills,
    }
}

fn waits(path: &Path, buffer: &mut Vec<u8>) -> Result<Option<Waits>, CollectError> {
    let micros = |micros| -> Seconds { seconds(micros, MICRO) };
    let pressure = parsed_if_there(path, buffer, parse::pressure)?;
    Ok(pressure.map(|pressure| Waits {
        some: micros(pressure.some_micros),
        full: pressure.full_micros.map(micros),
    }))
}

#[derive(Debug)]
struct Paths {
    root: PathBuf,
    proc: PathBuf,
    stat: PathBuf,
    meminfo: PathBuf,
    loadavg: PathBuf,
    uptime: PathBuf,
    file_nr: PathBuf,
    net_dev: PathBuf,
    diskstats: PathBuf,
    block: PathBuf,
    vmstat: PathBuf,
    pressure_cpu: PathBuf,
    pressure_io: PathBuf,
    pressure_memory: PathBuf,
}

impl Paths {
    fn below(root: PathBuf) -> Self {
        Self {
            proc: root.join("proc"),
            stat: root.join("proc/stat"),
            meminfo: root.join("proc/meminfo"),
            loadavg: root.join("proc/loadavg"),
            uptime: root.join("proc/uptime"),
            file_nr: root.join("proc/sys/fs/file-nr"),
            net_dev: root.join("proc/net/dev"),
            diskstats: root.join("proc/diskstats"),
            block: root.join("sys/block"),
            vmstat: root.join("proc/vmstat"),
            pressure_cpu: root.join("proc/pressure/cpu"),
            pressure_io: root.join("proc/pressure/io"),
            pressure_memory: root.join("proc/pressure/memory"),
            root,
        }
    }
}

fn disk_io(paths: &Paths, buffer: &mut Vec<u8>) -> Result<DiskIo, CollectError> {
    // Opened even if there are no disks: a missing /sys would make every disk look like a partition.
    let block = directory(&paths.block)?;
    let (mut sum, mut busy_millis) = (DiskIo::default(), 0_u64);
    for disk in parse::diskstats(contents(&paths.diskstats, buffer)?) {
        let disk = disk.map_err(|fault| CollectError::malformed(&paths.diskstats, fault))?;
        let physical = is_physical(&block, disk.name)
            .map_err(|errno| CollectError::io(&paths.block.join(OsStr::from_bytes(disk.name)), errno))?;
        if physical {
            let overflow = Malformed {
                what: "the sum of all disks overflows",
            };
            let add = |sum: u64, amount| {
                sum.checked_add(amount)
                    .ok_or_else(|| CollectError::malformed(&paths.diskstats, overflow))
            };
            sum.read_bytes = add(sum.read_bytes, disk.read_bytes)?;
            sum.written_bytes = add(sum.written_bytes, disk.written_bytes)?;
            sum.reads = add(sum.reads, disk.reads)?;
            sum.writes = add(sum.writes, disk.writes)?;
            busy_millis = add(busy_millis, disk.busy_millis)?;
        }
    }
    sum.busy_time = seconds(busy_millis, MILLI);
    Ok(sum)
}

/// Whether I/O on the block device is I/O on hardware, to be counted once.
///
/// A partition has no entry in `/sys/block`. There, what the kernel makes of memory, files and other disks
/// (ram, zram, loop, dm, md, zd) leads to `devices/virtual`. So does the head of an NVMe namespace with several
/// paths, while its paths (`nvme0c1n1`) lead to their controllers; all kernels count on the paths, only newer
/// ones on the head as well. That is why the target is asked, and not the `device` link, which the head has.
fn is_physical(block: impl AsFd, name: &[u8]) -> Result<bool, Errno> {
    const VIRTUAL: &[u8] = b"../devices/virtual/";
    // sysfs writes the slash of names such as cciss/c0d0 so, and this also keeps a name within the directory.
    let entry: Cow<'_, [u8]> = if name.contains(&b'/') {
        name.iter()
            .map(|byte| if *byte == b'/' { b'!' } else { *byte })
            .collect()
    } else {
        name.into()
    };
    let mut target = [0; VIRTUAL.len()];
    match rustix::fs::readlinkat_raw(block, &*entry, &mut target) {
        Ok(length) => Ok(target.get(..length) != Some(VIRTUAL)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The file system of the root, and its usage as of df(1): used of used and available to users, rounded down. The
/// usage is 0 on a file system without blocks (ramfs), which nothing can fill up.
fn filesystem(root: &Path) -> Result<(Ratio, Filesystem), CollectError> {
    let vfs = rustix::fs::statvfs(root).map_err(|errno| CollectError::io(root, errno))?;
    let used = vfs.f_blocks.checked_sub(vfs.f_bfree);
    let usage = used
        .and_then(|used| {
            let whole = u128::from(used).checked_add(vfs.f_bavail.into())?;
            basis_points(used.into(), whole)
        })
        .ok_or_else(|| {
            CollectError::malformed(
                root,
                Malformed {
                    what: "more blocks of the file system are free than exist",
                },
            )
        })?;
    let bytes = |blocks: u64| blocks.saturating_mul(vfs.f_frsize);
    let filesystem = Filesystem {
        size: bytes(vfs.f_blocks),
        free: bytes(vfs.f_bfree),
        available: bytes(vfs.f_bavail),
        files: vfs.f_files,
        files_free: vfs.f_ffree,
    };
    Ok((ratio(usage), filesystem))
}

/// Directories of `/proc` whose names are numbers: one for each process, none for its other threads.
fn process_count(proc: &Path, buffer: &mut Vec<u8>) -> Result<u32, CollectError> {
    buffer.clear();
    let mut entries = RawDir::new(directory(proc)?, buffer.spare_capacity_mut());
    let mut count = 0_u32;
    let mut first_seen = false;
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|errno| CollectError::io(proc, errno))?;
        let name = entry.file_name().to_bytes();
        if name.iter().all(u8::is_ascii_digit) {
            count = count.saturating_add(1);
            first_seen |= name == b"1";
        }
    }
    // Every PID namespace has its process 1 as long as it lives.
    if first_seen {
        Ok(count)
    } else {
        Err(CollectError::ProcessesHidden {
            path: proc.to_owned(),
        })
    }
}

fn directory(path: &Path) -> Result<OwnedFd, CollectError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| CollectError::io(path, errno))
}

#[cfg(test)]
mod tests;
