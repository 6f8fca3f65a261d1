//! The processes under the fake kernel, as `/proc` shows them: their memory, descriptors and directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::io::Errno;

use super::filter::OURS;

/// As long as a path can be (`PATH_MAX`, <linux/limits.h>).
const MAX_PATH: usize = 4096;
/// Memory is mapped in pages of at least this size: what is read up to the end of one can be read.
const PAGE: u64 = 4096;

/// All processes that made a call.
#[derive(Default)]
pub(super) struct Processes {
    by_id: BTreeMap<u32, Process>,
    // A thread's process never changes while it lives; number reuse is found out when a read fails.
    process_of: BTreeMap<u32, u32>,
}

struct Process {
    /// Kept open: a process that makes itself non-dumpable closes the way to it for whoever is not root.
    memory: Option<File>,
    /// Numbers in [`OURS`] that it was given, and which opened file each is.
    given: BTreeMap<u32, u64>,
}

impl Processes {
    /// The process that a thread belongs to.
    pub(super) fn of(&mut self, thread: u32) -> Result<u32, Errno> {
        if let Some(&process) = self.process_of.get(&thread) {
            return Ok(process);
        }
        let status = fs::read_to_string(format!("/proc/{thread}/status")).map_err(gone)?;
        let process = status
            .lines()
            .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
            .ok_or(Errno::SRCH)?;
        self.process_of.insert(thread, process);
        self.by_id.entry(process).or_insert_with(|| Process {
            memory: open_memory(process).ok(),
            given: BTreeMap::new(),
        });
        Ok(process)
    }

    /// The thread is about to become another program: its memory will be another one, and it may be the process's
    /// only thread under another number.
    pub(super) fn forget(&mut self, thread: u32) {
        if let Some(process) = self.process_of.remove(&thread) {
            self.by_id.remove(&process);
            self.process_of.retain(|_, &mut other| other != process);
        }
    }

    /// Fills `bytes` from the process's memory.
    pub(super) fn read(&mut self, process: u32, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.with_memory(process, |memory| memory.read_exact_at(bytes, address))
    }

    /// Writes into the process's memory.
    pub(super) fn write(&mut self, process: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.with_memory(process, |memory| memory.write_all_at(bytes, address))
    }

    /// The path at an address. Empty for a null pointer, which statx(2) takes for an empty path.
    pub(super) fn path(&mut self, process: u32, address: u64) -> Result<String, Errno> {
        let mut path = Vec::new();
        let mut next = address;
        while path.len() < MAX_PATH && address != 0 {
            let length = usize::try_from(PAGE - next % PAGE).map_err(|_| Errno::FAULT)?;
            let mut chunk = vec![0; length];
            self.read(process, next, &mut chunk)?;
            match chunk.iter().position(|&byte| byte == 0) {
                Some(end) => {
                    path.extend(chunk.get(..end).unwrap_or_default());
                    // No fake has a name that is not text; the kernel proper knows what to do with it.
                    return String::from_utf8(path).map_err(|_| Errno::ILSEQ);
                }
                None => path.append(&mut chunk),
            }
            next += PAGE - next % PAGE;
        }
        if address == 0 {
            Ok(String::new())
        } else {
            Err(Errno::NAMETOOLONG)
        }
    }

    /// What a descriptor, or the working directory for `AT_FDCWD`, is.
    pub(super) fn directory(&self, process: u32, descriptor: i32) -> Result<PathBuf, Errno> {
        let link = if descriptor == libc::AT_FDCWD {
            format!("/proc/{process}/cwd")
        } else {
            format!("/proc/{process}/fd/{descriptor}")
        };
        fs::read_link(link).map_err(gone)
    }

    /// Which opened file of ours a descriptor is. By its name, which survives `dup` and inheritance; by what was
    /// given where this process's descriptors may not be looked at.
    pub(super) fn opened(&self, process: u32, descriptor: u32) -> Option<u64> {
        if !OURS.contains(&descriptor) {
            return None;
        }
        match fs::read_link(format!("/proc/{process}/fd/{descriptor}")) {
            Ok(name) => opened_by_name(&name),
            Err(_) => self.by_id.get(&process)?.given.get(&descriptor).copied(),
        }
    }

    /// A number in [`OURS`] that the process has not in use, from `minimum` on.
    pub(super) fn free_number(&self, process: u32, minimum: u32) -> Result<u32, Errno> {
        let given: BTreeSet<u32> = self
            .by_id
            .get(&process)
            .map(|process| process.given.keys().copied().collect())
            .unwrap_or_default();
        let in_use = |number: u32| match fs::symlink_metadata(format!("/proc/{process}/fd/{number}")) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(_) => given.contains(&number),
        };
        OURS.filter(|&number| number >= minimum)
            .find(|&number| !in_use(number))
            .ok_or(Errno::MFILE)
    }

    /// Remembers what a process was given.
    pub(super) fn give(&mut self, process: u32, number: u32, opened: u64) {
        if let Some(process) = self.by_id.get_mut(&process) {
            process.given.insert(number, opened);
        }
    }

    /// The process closes this number.
    pub(super) fn close(&mut self, process: u32, number: u32) {
        if let Some(process) = self.by_id.get_mut(&process) {
            process.given.remove(&number);
        }
    }

    fn with_memory(
        &mut self,
        process: u32,
        mut use_it: impl FnMut(&File) -> io::Result<()>,
    ) -> Result<(), Errno> {
        let entry = self.by_id.get_mut(&process).ok_or(Errno::SRCH)?;
        if let Some(memory) = &entry.memory
            && use_it(memory).is_ok()
        {
            return Ok(());
        }
        // It is not that program's memory any more, or there never was any; or the address is bad.
        let memory = open_memory(process).map_err(|_| Errno::FAULT)?;
        let result = use_it(&memory).map_err(|_| Errno::FAULT);
        entry.memory = Some(memory);
        result
    }
}

/// The name of the memory that stands for an opened file.
pub(super) fn memory_name(opened: u64) -> String {
    format!("nautilus-fake-{opened}")
}

fn opened_by_name(link: &std::path::Path) -> Option<u64> {
    let name = std::str::from_utf8(link.as_os_str().as_bytes()).ok()?;
    let name = name.strip_prefix("/memfd:nautilus-fake-")?;
    name.strip_suffix(" (deleted)")?.parse().ok()
}

fn open_memory(process: u32) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/{process}/mem"))
}

fn gone(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::SRCH)
}
