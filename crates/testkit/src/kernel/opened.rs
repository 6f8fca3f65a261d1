//! What is behind the descriptors that fakes answer for.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, OFlags};
use rustix::io::Errno;

use super::process::memory_name;

/// Of all fake kernels in this process: they share its descriptors.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Whose an opened file is.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    Device(String),
    Tree { root: String, path: String },
}

/// An open file description: what `dup` and inheritance share.
pub(super) struct Opened {
    pub(super) owner: Owner,
    /// What the caller's descriptor really is. Its name says which opened file this is.
    pub(super) memory: OwnedFd,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// What a tree's file was found to hold.
    pub(super) contents: Option<Vec<u8>>,
    pub(super) position: u64,
}

/// All of them. They stay until the kernel ends: nobody is told when the last descriptor is closed.
#[derive(Default)]
pub(super) struct OpenedFiles {
    by_id: BTreeMap<u64, Opened>,
}

impl OpenedFiles {
    pub(super) fn open(&mut self, owner: Owner, flags: OFlags) -> Result<u64, Errno> {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let memory = rustix::fs::memfd_create(memory_name(id), MemfdFlags::CLOEXEC)?;
        let access = flags & OFlags::RWMODE;
        let opened = Opened {
            owner,
            memory,
            readable: access != OFlags::WRONLY,
            writable: access != OFlags::RDONLY,
            contents: None,
            position: 0,
        };
        self.by_id.insert(id, opened);
        Ok(id)
    }

    pub(super) fn find(&mut self, id: u64) -> Option<&mut Opened> {
        self.by_id.get_mut(&id)
    }
}

impl Opened {
    /// At most `length` bytes of the contents from `offset`, or from where the last read ended.
    pub(super) fn take(&mut self, contents: Vec<u8>, length: usize, offset: Option<u64>) -> Vec<u8> {
        let start = usize::try_from(offset.unwrap_or(self.position)).unwrap_or(usize::MAX);
        let rest = contents.get(start..).unwrap_or_default();
        let taken = rest.get(..length).unwrap_or(rest).to_vec();
        if offset.is_none() {
            self.position += u64::try_from(taken.len()).unwrap_or(0);
        }
        self.contents = Some(contents);
        taken
    }

    /// Moves to another place (lseek(2)).
    pub(super) fn seek(&mut self, offset: i64, whence: u64) -> Result<i64, Errno> {
        if matches!(self.owner, Owner::Device(_)) {
            return Err(Errno::SPIPE);
        }
        let base = match whence {
            0 => 0,
            1 => self.position,
            2 => self.contents.as_ref().map_or(0, Vec::len).try_into().unwrap_or(0),
            _ => return Err(Errno::INVAL),
        };
        let to = i64::try_from(base).ok().and_then(|base| base.checked_add(offset));
        let to = to.filter(|&to| to >= 0).ok_or(Errno::INVAL)?;
        self.position = to.unsigned_abs();
        Ok(to)
    }
}
