//! A machine as detection sees it: bounded looks under one root, each giving a [`Check`].

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;

use super::cpu::Cpu;
use super::{Check, Outcome};

/// The kernel's own limit on links followed in one path (`MAXSYMLINKS`, path_resolution(7)).
const MAX_LINKS: usize = 40;
/// A sysfs attribute is at most one page.
const MAX_ATTRIBUTE: u64 = 4096;
/// Names looked at in one directory. The TEE bus of a real board lists about a dozen.
const MAX_ENTRIES: usize = 1024;
/// Characters of a value that are shown.
const MAX_SHOWN: usize = 64;

/// What the file tree alone does not tell. The second implementation is the tests': they run as root, to
/// whom nothing is denied, and cannot make device nodes.
pub trait Host: fmt::Debug + Send + Sync {
    /// Whether this process may use `path` so. `path` is free of links.
    ///
    /// # Errors
    /// Why not, as the operating system says it.
    fn permits(&self, path: &Path, permission: Permission) -> io::Result<()>;

    /// Whether something of type `found` is a `wanted`.
    fn is_node(&self, found: FileType, wanted: Node) -> bool;
}

/// A way to use a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read a file or list a directory.
    Read,
    /// Open a node for reading and writing.
    ReadWrite,
    /// Make entries in a directory.
    CreateIn,
}

/// A file that is no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A character device.
    Device,
    /// A Unix socket.
    Socket,
}

/// The machine that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveHost;

impl Host for LiveHost {
    fn permits(&self, path: &Path, permission: Permission) -> io::Result<()> {
        let access = match permission {
            Permission::Read => Access::READ_OK,
            Permission::ReadWrite => Access::READ_OK | Access::WRITE_OK,
            Permission::CreateIn => Access::WRITE_OK | Access::EXEC_OK,
        };
        Ok(rustix::fs::access(path, access)?)
    }

    fn is_node(&self, found: FileType, wanted: Node) -> bool {
        use std::os::unix::fs::FileTypeExt as _;
        match wanted {
            Node::Device => found.is_char_device(),
            Node::Socket => found.is_socket(),
        }
    }
}

/// One machine, looked at once.
pub(super) struct Machine<'a> {
    root: &'a Path,
    host: &'a dyn Host,
    pub(super) cpu: Cpu,
}

impl<'a> Machine<'a> {
    pub(super) fn new(root: &'a Path, host: &'a dyn Host) -> Self {
        let mut machine = Self {
            root,
            host,
            cpu: Cpu::default(),
        };
        machine.cpu = Cpu::new(machine.read("/proc/cpuinfo", Cpu::MAX_CPUINFO));
        machine
    }

    /// A character device that this process may open for reading and writing.
    pub(super) fn device(&self, what: &'static str, path: &str) -> Check {
        self.node(what, path, Node::Device)
    }

    /// A Unix socket that this process may connect to.
    pub(super) fn socket(&self, what: &'static str, path: &str) -> Check {
        self.node(what, path, Node::Socket)
    }

    /// Anything at all at `path`, with no need to open it.
    pub(super) fn exists(&self, what: &'static str, path: &str) -> Check {
        check(what, path, self.stat(path).map(|_| "exists".to_owned()))
    }

    /// A directory in which this process may make entries.
    pub(super) fn directory_for_entries(&self, what: &'static str, path: &str) -> Check {
        let outcome = self.stat(path).and_then(|(place, metadata)| {
            if !metadata.is_dir() {
                return Err(wrong_type(metadata.file_type(), "a directory"));
            }
            self.host.permits(&place, Permission::CreateIn)?;
            Ok("this user may make entries in it".to_owned())
        });
        check(what, path, outcome)
    }

    /// A directory with an entry whose name starts with `prefix`.
    pub(super) fn entry(&self, what: &'static str, path: &str, prefix: &str) -> Check {
        let absent = |detail| Check {
            what,
            source: path.to_owned(),
            outcome: Outcome::Absent,
            detail,
        };
        match self.entries(path) {
            Err(error) => check(what, path, Err(error)),
            Ok(names) => match names.iter().find(|name| name.starts_with(prefix)) {
                Some(name) => check(what, path, Ok(format!("lists {}", shown(name)))),
                None if names.is_empty() => absent("is empty".to_owned()),
                None => absent(format!("lists no `{prefix}…`")),
            },
        }
    }

    /// A small text file and its trimmed content, which is hostile: show it with [`shown`].
    pub(super) fn text(&self, what: &'static str, path: &str) -> (Check, Option<String>) {
        match self.read(path, MAX_ATTRIBUTE) {
            Err(error) => (check(what, path, Err(error)), None),
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes)
                    .trim_matches(['\0', ' ', '\n', '\t', '\r'])
                    .to_owned();
                (
                    check(what, path, Ok(format!("says {}", shown(&text)))),
                    Some(text),
                )
            }
        }
    }

    /// A flag among those that the kernel derives from CPUID.
    pub(super) fn flag(&self, what: &'static str, flag: &str) -> Check {
        let (outcome, detail) = self.cpu.flag(flag);
        Check {
            what,
            source: format!("flag `{flag}` in /proc/cpuinfo"),
            outcome,
            detail,
        }
    }

    fn node(&self, what: &'static str, path: &str, wanted: Node) -> Check {
        let (name, permitted) = match wanted {
            Node::Device => ("a device node", "this user may read and write it"),
            Node::Socket => ("a socket", "this user may connect to it"),
        };
        let outcome = self.stat(path).and_then(|(place, metadata)| {
            if !self.host.is_node(metadata.file_type(), wanted) {
                return Err(wrong_type(metadata.file_type(), name));
            }
            self.host.permits(&place, Permission::ReadWrite)?;
            Ok(permitted.to_owned())
        });
        check(what, path, outcome)
    }

    fn entries(&self, path: &str) -> io::Result<Vec<String>> {
        let (place, metadata) = self.stat(path)?;
        if !metadata.is_dir() {
            return Err(wrong_type(metadata.file_type(), "a directory"));
        }
        self.host.permits(&place, Permission::Read)?;
        fs::read_dir(&place)?
            .take(MAX_ENTRIES)
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// At most `limit` bytes from the start of a regular file.
    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let (place, metadata) = self.stat(path)?;
        if !metadata.is_file() {
            return Err(wrong_type(metadata.file_type(), "a regular file"));
        }
        self.host.permits(&place, Permission::Read)?;
        // Non-blocking, and no link at the end: what was a regular file a moment ago may be a FIFO by now.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let file = File::from(rustix::fs::open(&place, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn stat(&self, path: &str) -> io::Result<(PathBuf, Metadata)> {
        let look = || {
            let place = self.resolve(Path::new(path))?;
            let metadata = fs::symlink_metadata(&place)?;
            Ok((place, metadata))
        };
        look().map_err(|error: io::Error| match error.kind() {
            // A node that may not be opened can still be seen; this one cannot even be said to exist.
            io::ErrorKind::PermissionDenied => io::Error::other("is below a directory closed to this user"),
            _ => error,
        })
    }

    /// Resolves links as a process whose root is `self.root` would see them, so that `/var/run → /run` in
    /// a mounted tree or a test's means that tree's `/run`. By hand because `openat2(RESOLVE_IN_ROOT)` is
    /// refused under container runtimes' older seccomp profiles.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut pending: VecDeque<OsString> = VecDeque::new();
        push_front(&mut pending, path);
        let mut below_root = PathBuf::new();
        let mut links = 0_usize;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                below_root.pop();
                continue;
            }
            let place = self.root.join(&below_root).join(&name);
            if !fs::symlink_metadata(&place)?.is_symlink() {
                below_root.push(&name);
                continue;
            }
            links = links.saturating_add(1);
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = fs::read_link(&place)?;
            if target.has_root() {
                below_root = PathBuf::new();
            }
            push_front(&mut pending, &target);
        }
        Ok(self.root.join(below_root))
    }
}

/// A hostile value, fit to be shown: quoted, escaped, cut.
pub(super) fn shown(value: &str) -> String {
    if value.is_empty() {
        return "nothing".to_owned();
    }
    let cut: String = value.chars().take(MAX_SHOWN).collect();
    let more = if cut.len() < value.len() { "…" } else { "" };
    format!("`{}{more}`", cut.escape_debug())
}

/// What an I/O error means to detection.
pub(super) fn classify(error: &io::Error) -> (Outcome, String) {
    match error.kind() {
        // A file where a directory should be: nothing below it exists.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (Outcome::Absent, "does not exist".to_owned())
        }
        io::ErrorKind::PermissionDenied => (
            Outcome::Denied,
            "exists, but this user may not open it".to_owned(),
        ),
        io::ErrorKind::ReadOnlyFilesystem => (Outcome::Denied, "is mounted read-only".to_owned()),
        _ => (Outcome::Unreadable, error.to_string()),
    }
}

fn check(what: &'static str, path: &str, outcome: io::Result<String>) -> Check {
    let (outcome, detail) = match outcome {
        Ok(detail) => (Outcome::Found, detail),
        Err(error) => classify(&error),
    };
    Check {
        what,
        source: path.to_owned(),
        outcome,
        detail,
    }
}

fn push_front(pending: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => pending.push_front(name.to_owned()),
            Component::ParentDir => pending.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

fn wrong_type(found: FileType, wanted: &str) -> io::Error {
    let found = if found.is_dir() {
        "a directory"
    } else if found.is_file() {
        "a regular file"
    } else {
        "another kind of file"
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("is {found}, not {wanted}"))
}
