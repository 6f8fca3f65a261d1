//! Calls that name a path.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags};
use rustix::io::Errno;

use super::super::call::{At, Flags, StatForm};
use super::super::filter::OURS;
use super::super::metadata::{ATTRIBUTE_SIZE, CHARACTER_DEVICE, DIRECTORY, Metadata, REGULAR, SOCKET};
use super::super::namespace::Place;
use super::super::opened::Owner;
use super::real::open_real;
use super::{Answered, Reply, Supervisor};

/// Bits of access(2).
const WRITE: u32 = 2;
const EXECUTE: u32 = 1;

impl Supervisor {
    pub(super) fn open(&mut self, id: u64, process: u32, at: At, flags: Flags) -> Answered {
        let flags = match flags {
            Flags::Given(flags) => flags,
            Flags::InMemory(address) => {
                let mut bytes = [0; 8];
                if self.processes.read(process, address, &mut bytes).is_err() {
                    return Ok(Reply::Pass);
                }
                u32::try_from(u64::from_ne_bytes(bytes)).map_err(|_| Errno::INVAL)?
            }
        };
        let flags = OFlags::from_bits_retain(flags);
        let Some(path) = self.path(process, at) else {
            return Ok(Reply::Pass);
        };
        match self.namespace.find(&path, !flags.contains(OFlags::NOFOLLOW)) {
            Place::Real => Ok(Reply::Pass),
            Place::Absent => Err(Errno::NOENT),
            Place::NotADirectory => Err(Errno::NOTDIR),
            Place::Socket(_) => Err(Errno::NXIO),
            Place::Device(_) | Place::File(_) if flags.contains(OFlags::DIRECTORY) => Err(Errno::NOTDIR),
            Place::Device(_) | Place::File(_) if flags.contains(OFlags::PATH) => self.open_place(id, flags),
            Place::Device(path) => {
                self.namespace.device(&path).ok_or(Errno::NXIO)?.open()?;
                self.give(id, process, Owner::Device(path), flags)
            }
            Place::File(path) => self.open_file(id, &path, flags),
            Place::Tree { root, path } => {
                if self.tree_list(&root, &path)?.is_some() {
                    return self.open_directory(id, &Place::Tree { root, path }, flags);
                }
                match self.tree_has(&root, &path)? {
                    true if flags.contains(OFlags::DIRECTORY) => Err(Errno::NOTDIR),
                    true if flags.contains(OFlags::CREATE | OFlags::EXCL) => Err(Errno::EXIST),
                    true if flags.contains(OFlags::PATH) => self.open_place(id, flags),
                    true => self.give(id, process, Owner::Tree { root, path }, flags),
                    false if flags.contains(OFlags::CREATE) => Err(Errno::ACCESS),
                    false => Err(Errno::NOENT),
                }
            }
            above @ Place::Above(_) => self.open_directory(id, &above, flags),
            Place::Machine(place) => {
                self.permitted(&place)?;
                if self.machine_kind(&place) == Some(SOCKET) {
                    return Err(Errno::NXIO);
                }
                let file = open_real(&place, flags)?;
                self.answer_with_real(id, &file, flags)
            }
        }
    }

    pub(super) fn stat(
        &mut self,
        process: u32,
        at: At,
        form: StatForm,
        buffer: u64,
        follow: bool,
    ) -> Answered {
        let descriptor = u32::try_from(at.directory).ok();
        if let Some(descriptor) = descriptor.filter(|number| OURS.contains(number))
            && self
                .processes
                .path(process, at.path)
                .is_ok_and(|path| path.is_empty())
        {
            return self.stat_opened(process, descriptor, form, buffer);
        }
        let Some(path) = self.path(process, at) else {
            return Ok(Reply::Pass);
        };
        let place = self.namespace.find(&path, follow);
        let Some(metadata) = self.metadata(&place)? else {
            return Ok(Reply::Pass);
        };
        self.processes.write(process, buffer, &metadata.bytes(form))?;
        Ok(Reply::Value(0))
    }

    pub(super) fn access(&mut self, process: u32, at: At, mode: u32) -> Answered {
        let Some(path) = self.path(process, at) else {
            return Ok(Reply::Pass);
        };
        let place = self.namespace.find(&path, true);
        if let Place::Machine(place) = &place {
            fs::symlink_metadata(place).map_err(|error| errno(&error))?;
            if mode != 0 {
                self.permitted(place)?;
            }
            rustix::fs::access(place, Access::from_bits_retain(mode))?;
            return Ok(Reply::Value(0));
        }
        let Some(metadata) = self.metadata(&place)? else {
            return Ok(Reply::Pass);
        };
        let forbidden = match &place {
            Place::File(_) => WRITE | EXECUTE,
            _ if metadata.is_directory() => 0,
            _ => EXECUTE,
        };
        if mode & forbidden == 0 {
            Ok(Reply::Value(0))
        } else {
            Err(Errno::ACCESS)
        }
    }

    pub(super) fn read_link(&mut self, process: u32, at: At, buffer: u64, size: u64) -> Answered {
        let Some(path) = self.path(process, at) else {
            return Ok(Reply::Pass);
        };
        let place = self.namespace.find(&path, false);
        if let Place::Machine(place) = &place {
            let target = fs::read_link(place).map_err(|error| errno(&error))?;
            let target = target.as_os_str().as_bytes();
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let target = target.get(..size).unwrap_or(target);
            self.processes.write(process, buffer, target)?;
            return Ok(Reply::Value(i64::try_from(target.len()).unwrap_or(0)));
        }
        match self.metadata(&place)? {
            None => Ok(Reply::Pass),
            Some(_) => Err(Errno::INVAL),
        }
    }

    pub(super) fn make_directory(&mut self, process: u32, at: At) -> Answered {
        let Some(path) = self.path(process, at) else {
            return Ok(Reply::Pass);
        };
        match self.namespace.find(&path, false) {
            Place::Real => Ok(Reply::Pass),
            Place::Absent => Err(Errno::NOENT),
            Place::NotADirectory => Err(Errno::NOTDIR),
            Place::Tree { root, path } => {
                if self.tree_has(&root, &path)? {
                    return Err(Errno::EXIST);
                }
                let tree = self.namespace.tree(&root).ok_or(Errno::NOENT)?;
                tree.make_directory(&path)?;
                Ok(Reply::Value(0))
            }
            Place::Machine(place) => done(fs::create_dir(place)),
            Place::Device(_) | Place::File(_) | Place::Socket(_) | Place::Above(_) => Err(Errno::EXIST),
        }
    }

    pub(super) fn remove(&mut self, process: u32, at: At, directory: bool) -> Answered {
        let Some(path) = self.path(process, at) else {
            return Ok(Reply::Pass);
        };
        match self.namespace.find(&path, false) {
            Place::Real => Ok(Reply::Pass),
            Place::Absent => Err(Errno::NOENT),
            Place::NotADirectory => Err(Errno::NOTDIR),
            Place::Tree { root, path } => {
                if !self.tree_has(&root, &path)? {
                    return Err(Errno::NOENT);
                }
                match (directory, self.tree_list(&root, &path)?.is_some()) {
                    (true, true) => {
                        let tree = self.namespace.tree(&root).ok_or(Errno::NOENT)?;
                        tree.remove_directory(&path)?;
                        Ok(Reply::Value(0))
                    }
                    (true, false) => Err(Errno::NOTDIR),
                    (false, true) => Err(Errno::ISDIR),
                    (false, false) => Err(Errno::PERM),
                }
            }
            Place::Machine(place) if directory => done(fs::remove_dir(place)),
            Place::Machine(place) => done(fs::remove_file(place)),
            Place::Above(_) => Err(Errno::NOTEMPTY),
            Place::Device(_) | Place::File(_) | Place::Socket(_) if directory => Err(Errno::NOTDIR),
            Place::Device(_) | Place::File(_) | Place::Socket(_) => Err(Errno::PERM),
        }
    }

    /// What `stat` says; none of what is not ours.
    pub(super) fn metadata(&mut self, place: &Place) -> Result<Option<Metadata>, Errno> {
        let metadata = match place {
            Place::Real => return Ok(None),
            Place::Absent => return Err(Errno::NOENT),
            Place::NotADirectory => return Err(Errno::NOTDIR),
            Place::Device(path) => Metadata::new(CHARACTER_DEVICE | 0o600, self.namespace.inode(path), 0),
            Place::File(path) => {
                let length = self.namespace.contents(path).map_or(0, <[u8]>::len);
                let length = u64::try_from(length).unwrap_or(0);
                Metadata::new(REGULAR | 0o444, self.namespace.inode(path), length)
            }
            Place::Socket(_) => Metadata::new(SOCKET | 0o777, 1, 0),
            Place::Above(path) => Metadata::new(DIRECTORY | 0o755, self.namespace.inode(path), 0),
            Place::Tree { root, path } => {
                let inode = self.namespace.inode(root);
                if self.tree_list(root, path)?.is_some() {
                    Metadata::new(DIRECTORY | 0o755, inode, 0)
                } else if self.tree_has(root, path)? {
                    Metadata::new(REGULAR | 0o644, inode, ATTRIBUTE_SIZE)
                } else {
                    return Err(Errno::NOENT);
                }
            }
            Place::Machine(place) => {
                let real = fs::symlink_metadata(place).map_err(|error| errno(&error))?;
                Metadata::of(&real, self.machine_kind(place))
            }
        };
        Ok(Some(metadata))
    }

    /// The path that a call names, absolute and in the fake kernel's terms. None if it cannot be told: then it is
    /// none of ours.
    pub(super) fn path(&mut self, process: u32, at: At) -> Option<String> {
        let path = self.processes.path(process, at.path).ok()?;
        self.absolute(process, at.directory, &path)
    }

    pub(super) fn absolute(&self, process: u32, directory: i32, path: &str) -> Option<String> {
        if path.starts_with('/') {
            return Some(path.to_owned());
        }
        if path.is_empty() {
            return None;
        }
        let real = self.processes.directory(process, directory).ok()?;
        let machine = self
            .namespace
            .machine()
            .and_then(|machine| machine.path_of(&real));
        let base = self.mirrored(&real).or(machine);
        let base = base.or_else(|| real.to_str().map(str::to_owned))?;
        Some(format!("{base}/{path}"))
    }

    pub(super) fn tree_list(&mut self, root: &str, path: &str) -> Result<Option<Vec<String>>, Errno> {
        Ok(self.namespace.tree(root).ok_or(Errno::NOENT)?.list(path))
    }

    fn tree_has(&mut self, root: &str, path: &str) -> Result<bool, Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Ok(true);
        }
        let names = self.tree_list(root, parent)?;
        Ok(names.is_some_and(|names| names.iter().any(|listed| listed == name)))
    }

    fn machine_kind(&self, place: &Path) -> Option<u32> {
        let machine = self.namespace.machine()?;
        let is_in = |list: &[PathBuf]| list.iter().any(|listed| listed == place);
        if is_in(&machine.sockets) {
            Some(SOCKET)
        } else {
            is_in(&machine.devices).then_some(CHARACTER_DEVICE)
        }
    }

    /// Root may open anything of the fake machine, but for what it says nobody may.
    fn permitted(&self, place: &Path) -> Result<(), Errno> {
        let denied = self
            .namespace
            .machine()
            .is_some_and(|machine| machine.denied.iter().any(|denied| place.starts_with(denied)));
        if denied { Err(Errno::ACCESS) } else { Ok(()) }
    }
}

pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn done(result: io::Result<()>) -> Answered {
    result.map_err(|error| errno(&error))?;
    Ok(Reply::Value(0))
}
