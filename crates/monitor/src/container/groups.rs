//! Reads what a control group used, and what a pod's network carried.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::files::{self, BlockIo};
use super::mounts::{Hierarchies, Mount};
use super::path::{GroupPath, has, is_id};
use crate::error::CollectError;
use crate::parse::{self, Malformed, Traffic};

/// Most of one file of a control group that is read. The longest is `memory.stat`, or `io.stat` with about 100 bytes
/// a device.
const MAX_GROUP_FILE: usize = 64 << 10;
/// Most of the table of mounts: the layers of one container's file system alone can take 4 KiB.
const MAX_MOUNTS: usize = 16 << 20;

const NANOS_PER_MICRO: u64 = 1_000;

/// What a control group used since it was made, or uses now. `None` where the kernel does not say: a controller that
/// is not enabled, or a version that has no such file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupUsage {
    /// CPU time, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Time for which it was held back by its CPU limit, in nanoseconds.
    pub throttled_nanos: Option<u64>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory without inactive pages of files, in bytes.
    pub working_set_bytes: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Bytes on block devices.
    pub block_io: Option<BlockIo>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// Time for which some task waited for CPU, memory and I/O, in nanoseconds.
    pub waiting_nanos: Option<[u64; 3]>,
}

/// The files of one machine.
#[derive(Debug)]
pub struct Groups {
    root: PathBuf,
    hierarchies: Hierarchies,
    buffer: Vec<u8>,
}

impl Groups {
    /// Of the machine below `root`: `/`, or a tree that stands for it, such as the host's files in a container.
    ///
    /// # Errors
    /// If the table of mounts cannot be read, or names no control groups.
    pub fn new(root: PathBuf) -> Result<Self, CollectError> {
        // In a tree that stands for the machine, `self` would be looked for among that machine's processes.
        let process = if root == Path::new("/") { "self" } else { "1" };
        let path = root.join("proc").join(process).join("mountinfo");
        let mut table = Vec::new();
        match read_file(CWD, &path, &path, MAX_MOUNTS, &mut table)? {
            Found::Read => {}
            Found::Missing | Found::Gone => return Err(CollectError::Missing { path }),
        }
        let hierarchies = Hierarchies::parse(&table);
        if hierarchies.is_empty() {
            let what = "no control groups are mounted";
            return Err(CollectError::malformed(&path, Malformed { what }));
        }
        Ok(Self {
            root,
            hierarchies,
            buffer: Vec::with_capacity(4 << 10),
        })
    }

    /// What a group used; `None` if it is not there any more.
    ///
    /// # Errors
    /// If the kernel refuses, or a file is not as Linux writes it.
    pub fn usage(&mut self, group: &GroupPath) -> Result<Option<GroupUsage>, CollectError> {
        match self.usage_or_gone(group) {
            Ok(usage) => Ok(Some(usage)),
            Err(Stop::Gone) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Bytes on the interfaces that the process sees, but loopback; `None` if the process is gone, or is not of the
    /// container `id`.
    ///
    /// # Errors
    /// If the kernel refuses, or a file is not as Linux writes it.
    pub fn traffic(&mut self, pid: u32, id: &str) -> Result<Option<Traffic>, CollectError> {
        if !is_id(id)
            || self
                .process_file(pid, "cgroup")?
                .is_none_or(|text| !has(text, id.as_bytes()))
        {
            return Ok(None);
        }
        let path = self.root.join(format!("proc/{pid}/net/dev"));
        self.process_file(pid, "net/dev")?
            .map(|bytes| parse::net_dev(bytes).map_err(|fault| CollectError::malformed(&path, fault)))
            .transpose()
    }

    /// The group of a process, if it is of the container `id`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn of_process(&mut self, pid: u32, id: &str) -> Result<Option<GroupPath>, CollectError> {
        let controller = self.hierarchies.cpuacct.is_some().then_some(&b"cpuacct"[..]);
        let text = self.process_file(pid, "cgroup")?;
        Ok(text.and_then(|text| GroupPath::from_proc(text, controller, id)))
    }

    fn process_file(&mut self, pid: u32, name: &str) -> Result<Option<&[u8]>, CollectError> {
        let path = self.root.join(format!("proc/{pid}/{name}"));
        let found = read_file(CWD, &path, &path, MAX_GROUP_FILE, &mut self.buffer)?;
        Ok(matches!(found, Found::Read).then_some(&self.buffer))
    }

    fn usage_or_gone(&mut self, group: &GroupPath) -> Result<GroupUsage, Stop> {
        let mut usage = GroupUsage::default();
        let unified = self.group(self.hierarchies.unified.as_ref(), group)?;
        let cpuacct = self.group(self.hierarchies.cpuacct.as_ref(), group)?;
        let present = |group: &Option<Group>| group.as_ref().is_some_and(|group| group.directory.is_some());
        let gone = if cpuacct.is_some() {
            !present(&cpuacct)
        } else {
            !present(&unified)
        };
        if gone {
            return Err(Stop::Gone);
        }

        if let Some(cpuacct) = &cpuacct {
            usage.cpu_nanos = self.parsed(cpuacct, "cpuacct.usage", files::single)?;
            if let Some(cpu) = self.group(self.hierarchies.cpu.as_ref(), group)? {
                let throttled =
                    self.parsed(&cpu, "cpu.stat", |bytes| files::keyed(bytes, [b"throttled_time"]))?;
                usage.throttled_nanos = throttled.and_then(|[nanos]| nanos);
            }
        } else if let Some(unified) = &unified {
            let stat = self.parsed(unified, "cpu.stat", |bytes| {
                files::keyed(bytes, [b"usage_usec", b"throttled_usec"])
            })?;
            let [used, throttled] = stat.unwrap_or_default();
            usage.cpu_nanos = used.map(nanos);
            usage.throttled_nanos = throttled.map(nanos);
            usage.waiting_nanos = self.waiting(unified)?;
        }
        self.memory(group, unified.as_ref(), &mut usage)?;
        if let Some(blkio) = self.group(self.hierarchies.blkio.as_ref(), group)? {
            usage.block_io =
                self.parsed(&blkio, "blkio.throttle.io_service_bytes_recursive", files::blkio)?;
        } else if let Some(unified) = &unified {
            usage.block_io = self.parsed(unified, "io.stat", files::io_stat)?;
        }
        let pids = self.group(self.hierarchies.pids.as_ref(), group)?;
        if let Some(pids) = pids.as_ref().or(unified.as_ref()) {
            usage.tasks = self.parsed(pids, "pids.current", files::single)?;
        }
        if usage.cpu_nanos.is_none() {
            // A file may be missing because its controller is off, or because the group was just removed.
            let alive = cpuacct.as_ref().or(unified.as_ref());
            let procs = alive.map(|group| self.parsed(group, "cgroup.procs", |_| Ok(())));
            if procs.transpose()?.flatten().is_none() {
                return Err(Stop::Gone);
            }
        }
        Ok(usage)
    }

    fn memory(
        &mut self,
        group: &GroupPath,
        unified: Option<&Group>,
        usage: &mut GroupUsage,
    ) -> Result<(), Stop> {
        let inactive;
        if let Some(memory) = self.group(self.hierarchies.memory.as_ref(), group)? {
            usage.memory_bytes = self.parsed(&memory, "memory.usage_in_bytes", files::single)?;
            inactive = self.parsed(&memory, "memory.stat", |bytes| {
                files::keyed(bytes, [b"total_inactive_file"])
            })?;
            let kills = self.parsed(&memory, "memory.oom_control", |bytes| {
                files::keyed(bytes, [b"oom_kill"])
            })?;
            usage.oom_kills = kills.and_then(|[kills]| kills);
        } else if let Some(unified) = unified {
            usage.memory_bytes = self.parsed(unified, "memory.current", files::single)?;
            inactive = self.parsed(unified, "memory.stat", |bytes| {
                files::keyed(bytes, [b"inactive_file"])
            })?;
            let kills = self.parsed(unified, "memory.events", |bytes| {
                files::keyed(bytes, [b"oom_kill"])
            })?;
            usage.oom_kills = kills.and_then(|[kills]| kills);
        } else {
            return Ok(());
        }
        // Both are read one after the other, so the part may be more than the whole by then.
        usage.working_set_bytes = usage
            .memory_bytes
            .zip(inactive.and_then(|[inactive]| inactive))
            .map(|(used, inactive)| used.saturating_sub(inactive));
        Ok(())
    }

    /// Pressure is there only where the kernel was built with it and started with it.
    fn waiting(&mut self, group: &Group) -> Result<Option<[u64; 3]>, Stop> {
        let mut all = [0; 3];
        for (slot, name) in all
            .iter_mut()
            .zip(["cpu.pressure", "memory.pressure", "io.pressure"])
        {
            let Some(micros) = self.parsed(group, name, files::pressure)? else {
                return Ok(None);
            };
            *slot = nanos(micros);
        }
        Ok(Some(all))
    }

    fn group(&self, mount: Option<&Mount>, group: &GroupPath) -> Result<Option<Group>, Stop> {
        let Some(mount) = mount else { return Ok(None) };
        let path = mount.directory(&self.root, group);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(directory) => Some(directory),
            Err(errno) if is_gone(errno) => None,
            Err(errno) => return Err(CollectError::io(&path, errno).into()),
        };
        Ok(Some(Group { directory, path }))
    }

    fn parsed<T>(
        &mut self,
        group: &Group,
        name: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Stop> {
        let Some(directory) = &group.directory else {
            return Ok(None);
        };
        let path = group.path.join(name);
        match read_file(
            directory,
            Path::new(name),
            &path,
            MAX_GROUP_FILE,
            &mut self.buffer,
        )? {
            Found::Read => Ok(Some(
                parse(&self.buffer).map_err(|fault| CollectError::malformed(&path, fault))?,
            )),
            Found::Missing => Ok(None),
            Found::Gone => Err(Stop::Gone),
        }
    }
}

/// A group's directory, if it is there.
struct Group {
    directory: Option<OwnedFd>,
    path: PathBuf,
}

enum Stop {
    Gone,
    Failed(CollectError),
}

impl From<CollectError> for Stop {
    fn from(error: CollectError) -> Self {
        Self::Failed(error)
    }
}

enum Found {
    Read,
    Missing,
    Gone,
}

/// What the kernel says of a directory whose group, or a file whose process, is not there any more.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV | Errno::SRCH)
}

fn read_file(
    directory: impl std::os::fd::AsFd,
    name: &Path,
    path: &Path,
    limit: usize,
    into: &mut Vec<u8>,
) -> Result<Found, CollectError> {
    into.clear();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Found::Missing),
        Err(errno) if is_gone(errno) => return Ok(Found::Gone),
        // Pressure that was switched off at the kernel's start.
        Err(Errno::OPNOTSUPP) => return Ok(Found::Missing),
        Err(errno) => return Err(CollectError::io(path, errno)),
    };
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    match io::Read::read_to_end(&mut io::Read::take(std::fs::File::from(file), bound), into) {
        Ok(_) if into.len() > limit => Err(CollectError::TooLarge {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(Found::Read),
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(errno) if is_gone(errno) => Ok(Found::Gone),
            Some(Errno::OPNOTSUPP) => Ok(Found::Missing),
            // The network of a process that has exited and was not waited for.
            Some(Errno::INVAL) => Ok(Found::Gone),
            _ => Err(CollectError::io(path, error)),
        },
    }
}

fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(NANOS_PER_MICRO)
}

#[cfg(test)]
mod tests;
