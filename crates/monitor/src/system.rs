//! The collector of one machine's metrics.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nautilus_proof::Metrics;
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::error::CollectError;
use crate::parse::{self, CpuTimes, Malformed, Stat, Traffic};
use crate::share::basis_points;

/// More than this of one file is refused. The longest is `/proc/stat`: about 100 bytes a CPU, and at most 21
/// for each interrupt line; 1 MiB is enough for thousands of CPUs.
pub const MAX_FILE: usize = 1 << 20;

/// Enough for every file of an ordinary machine, so that the buffer does not grow.
const BUFFER: usize = 32 << 10;

/// Collects [`Metrics`] of the machine whose files are below one directory.
///
/// One collect is seven files, the list of processes, one link for each line of `/proc/diskstats` and one
/// statvfs. All are read into one buffer that is kept, and no process is looked into: the cost hardly grows
/// with the machine.
#[derive(Debug)]
pub struct SystemCollector {
    paths: Paths,
    buffer: Vec<u8>,
    last: CpuTimes,
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
        Ok(Self { paths, buffer, last })
    }

    /// Measures once. CPU usage is that since the last measurement that succeeded.
    ///
    /// The numbers are the kernel's, read one file after the other: not a snapshot of one instant. They are
    /// as true as the kernel is.
    ///
    /// # Errors
    /// If any of the metrics cannot be had. A container must see `/proc/diskstats` and `/sys/block`, for
    /// without them "no bytes" and "not known" would be signed alike.
    pub fn collect(&mut self) -> Result<Metrics, CollectError> {
        let Self { paths, buffer, last } = self;
        let Stat {
            cpu,
            interrupts,
            context_switches,
        } = parsed(&paths.stat, buffer, parse::stat)?;
        let load = parsed(&paths.loadavg, buffer, parse::loadavg)?;
        let Traffic { rx_bytes, tx_bytes } = parsed(&paths.net_dev, buffer, parse::net_dev)?;
        let disks = disk_bytes(paths, buffer)?;
        let metrics = Metrics {
            cpu_usage_bp: cpu.busy_since(last),
            memory_usage_bp: parsed(&paths.meminfo, buffer, parse::meminfo)?.used(),
            disk_usage_bp: disk_usage(&paths.root)?,
            load_average_centi: load.averages_centi,
            process_count: process_count(&paths.proc, buffer)?,
            thread_count: load.threads,
            file_descriptors: parsed(&paths.file_nr, buffer, parse::file_nr)?,
            context_switches,
            interrupts,
            network_rx_bytes: rx_bytes,
            network_tx_bytes: tx_bytes,
            disk_read_bytes: disks.read,
            disk_written_bytes: disks.written,
        };
        // Only now: a measurement that failed must not swallow the CPU time that it saw.
        *last = cpu;
        Ok(metrics)
    }
}

#[derive(Debug)]
struct Paths {
    root: PathBuf,
    proc: PathBuf,
    stat: PathBuf,
    meminfo: PathBuf,
    loadavg: PathBuf,
    file_nr: PathBuf,
    net_dev: PathBuf,
    diskstats: PathBuf,
    block: PathBuf,
}

impl Paths {
    fn below(root: PathBuf) -> Self {
        Self {
            proc: root.join("proc"),
            stat: root.join("proc/stat"),
            meminfo: root.join("proc/meminfo"),
            loadavg: root.join("proc/loadavg"),
            file_nr: root.join("proc/sys/fs/file-nr"),
            net_dev: root.join("proc/net/dev"),
            diskstats: root.join("proc/diskstats"),
            block: root.join("sys/block"),
            root,
        }
    }
}

fn parsed<T>(
    path: &Path,
    buffer: &mut Vec<u8>,
    parse: fn(&[u8]) -> Result<T, Malformed>,
) -> Result<T, CollectError> {
    parse(contents(path, buffer)?).map_err(|fault| CollectError::malformed(path, fault))
}

fn contents<'a>(path: &Path, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], CollectError> {
    const LIMIT: u64 = MAX_FILE as u64 + 1;
    buffer.clear();
    let file = File::open(path).map_err(|source| CollectError::io(path, source))?;
    file.take(LIMIT)
        .read_to_end(buffer)
        .map_err(|source| CollectError::io(path, source))?;
    if buffer.len() > MAX_FILE {
        return Err(CollectError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(buffer)
}

#[derive(Default)]
struct DiskBytes {
    read: u64,
    written: u64,
}

fn disk_bytes(paths: &Paths, buffer: &mut Vec<u8>) -> Result<DiskBytes, CollectError> {
    // Opened even if there are no disks: a missing /sys would make every disk look like a partition.
    let block = directory(&paths.block)?;
    let mut sum = DiskBytes::default();
    for disk in parse::diskstats(contents(&paths.diskstats, buffer)?) {
        let disk = disk.map_err(|fault| CollectError::malformed(&paths.diskstats, fault))?;
        let physical = is_physical(&block, disk.name)
            .map_err(|errno| CollectError::io(&paths.block.join(OsStr::from_bytes(disk.name)), errno))?;
        if physical {
            let overflow = Malformed {
                what: "the sum of all disks overflows",
            };
            let add = |sum: u64, bytes| {
                sum.checked_add(bytes)
                    .ok_or_else(|| CollectError::malformed(&paths.diskstats, overflow))
            };
            sum.read = add(sum.read, disk.read_bytes)?;
            sum.written = add(sum.written, disk.written_bytes)?;
        }
    }
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

/// As df(1): used of used and available to users, in basis points, rounded down. 0 on a file system without
/// blocks (ramfs), which nothing can fill up.
fn disk_usage(root: &Path) -> Result<u16, CollectError> {
    let vfs = rustix::fs::statvfs(root).map_err(|errno| CollectError::io(root, errno))?;
    let used = vfs.f_blocks.checked_sub(vfs.f_bfree);
    used.and_then(|used| {
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
    })
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
