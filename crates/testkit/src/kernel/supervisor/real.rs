//! Answers that are real: files, directories and sockets that stand for fake ones.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use tempfile::TempDir;

use super::super::listener::Slot;
use super::super::namespace::Place;
use super::paths::errno;
use super::{Answered, Reply, Supervisor};

/// As long as a socket's address can be (`struct sockaddr_un`, unix(7)).
const MAX_ADDRESS: u64 = 110;

/// A real directory with the entries of a fake one.
pub(super) struct Mirror {
    // Is there as long as somebody may read it.
    _directory: TempDir,
    real: PathBuf,
    path: String,
}

impl Supervisor {
    /// Gives the caller a real file for its answer, closed on exec if it asked for that.
    pub(super) fn answer_with_real(&self, id: u64, file: &OwnedFd, flags: OFlags) -> Answered {
        let close_on_exec = flags.contains(OFlags::CLOEXEC);
        self.listener
            .answer_with_file(id, file.as_fd(), Slot::Lowest, close_on_exec)?;
        Ok(Reply::Done)
    }

    /// A fake file's place in the tree (`O_PATH`): that of a real one, for no file system has the fake's. Sandboxes
    /// ask for it, and are content with a file that could be read too.
    pub(super) fn open_place(&mut self, id: u64, flags: OFlags) -> Answered {
        let real = tempfile::NamedTempFile::new().map_err(|error| errno(&error))?;
        let place = open_real(real.path(), flags)?;
        self.answer_with_real(id, &place, flags)
    }

    /// A file of the fake kernel: a real one in memory, which the caller may only read.
    pub(super) fn open_file(&mut self, id: u64, path: &str, flags: OFlags) -> Answered {
        if flags & OFlags::RWMODE != OFlags::RDONLY || flags.contains(OFlags::TRUNC) {
            return Err(Errno::ACCESS);
        }
        let contents = self.namespace.contents(path).ok_or(Errno::NOENT)?;
        let mut file = File::from(rustix::fs::memfd_create("file", MemfdFlags::CLOEXEC)?);
        file.write_all(contents).map_err(|error| errno(&error))?;
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let read_only = rustix::fs::open(link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        self.answer_with_real(id, &read_only, flags)
    }

    /// A directory that no file system has: a real one with the same entries as it has now.
    pub(super) fn open_directory(&mut self, id: u64, place: &Place, flags: OFlags) -> Answered {
        if flags & OFlags::RWMODE != OFlags::RDONLY || flags.contains(OFlags::CREATE) {
            return Err(Errno::ISDIR);
        }
        let (path, names) = match place {
            Place::Tree { root, path } => {
                let mut names = Vec::new();
                for name in self.tree_list(root, path)?.unwrap_or_default() {
                    let below = joined(path, &name);
                    names.push((name, self.tree_list(root, &below)?.is_some()));
                }
                (joined(root, path), names)
            }
            Place::Above(path) => (path.clone(), self.namespace.names_below(path)),
            _ => return Err(Errno::NOTDIR),
        };
        let directory = tempfile::tempdir().map_err(|error| errno(&error))?;
        for (name, is_directory) in names {
            let entry = directory.path().join(name);
            let made = if is_directory {
                fs::create_dir(entry)
            } else {
                fs::write(entry, "")
            };
            made.map_err(|error| errno(&error))?;
        }
        let real = fs::canonicalize(directory.path()).map_err(|error| errno(&error))?;
        let file = open_real(&real, flags)?;
        self.mirrors.push(Mirror {
            _directory: directory,
            real,
            path,
        });
        self.answer_with_real(id, &file, flags)
    }

    /// The fake directory that a real one has the entries of.
    pub(super) fn mirrored(&self, real: &Path) -> Option<String> {
        let mirror = self.mirrors.iter().find(|mirror| mirror.real == real)?;
        Some(mirror.path.clone())
    }

    /// Connects the caller's socket to where a fake one really is.
    pub(super) fn connect(
        &mut self,
        id: u64,
        process: u32,
        socket: i32,
        address: u64,
        length: u64,
    ) -> Answered {
        let mut bytes = vec![0; usize::try_from(length.min(MAX_ADDRESS)).unwrap_or(0)];
        if self.processes.read(process, address, &mut bytes).is_err() {
            return Ok(Reply::Pass);
        }
        let path = unix_path(&bytes).and_then(|path| self.absolute(process, libc::AT_FDCWD, path));
        let host = match path.map(|path| self.namespace.find(&path, true)) {
            None | Some(Place::Real) => return Ok(Reply::Pass),
            Some(Place::Socket(host)) => host,
            Some(Place::Absent) => return Err(Errno::NOENT),
            Some(Place::NotADirectory) => return Err(Errno::NOTDIR),
            Some(Place::Machine(place)) if !place.exists() => return Err(Errno::NOENT),
            Some(_) => return Err(Errno::CONNREFUSED),
        };
        let host = SocketAddrUnix::new(&host)?;
        match taken_from(process, socket) {
            Ok(taken) => rustix::net::connect(&taken, &host)?,
            // A process that cannot be looked into gets another socket in the place of its own.
            Err(Errno::PERM) => {
                let number = u32::try_from(socket).map_err(|_| Errno::BADF)?;
                let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
                let other = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
                rustix::net::connect(&other, &host)?;
                self.listener
                    .give(id, other.as_fd(), Slot::Exactly(number), true)?;
            }
            Err(error) => return Err(error),
        }
        Ok(Reply::Value(0))
    }
}

/// Opens what the caller is to get. Without `O_PATH`: such descriptors cannot be given (`EBADF` of
/// `SECCOMP_IOCTL_NOTIF_ADDFD`).
pub(super) fn open_real(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = (flags - OFlags::PATH) | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
}

/// The path in a socket's address, if it has one.
fn unix_path(address: &[u8]) -> Option<&str> {
    let (family, path) = address.split_first_chunk::<2>()?;
    if i32::from(u16::from_ne_bytes(*family)) != libc::AF_UNIX {
        return None;
    }
    let path = path.split(|&byte| byte == 0).next()?;
    std::str::from_utf8(path).ok().filter(|path| !path.is_empty())
}

/// The very socket that a process has under this number.
fn taken_from(process: u32, socket: i32) -> Result<OwnedFd, Errno> {
    let process = i32::try_from(process)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)?;
    let process = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    rustix::process::pidfd_getfd(&process, socket, PidfdGetfdFlags::empty())
}

fn joined(base: &str, below: &str) -> String {
    match (base, below) {
        ("", below) => below.to_owned(),
        (base, "") => base.to_owned(),
        (base, below) => format!("{base}/{below}"),
    }
}
