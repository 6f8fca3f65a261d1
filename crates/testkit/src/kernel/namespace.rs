//! Whose a path is: a fake's, a fake machine's, or the real machine's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{FakeDevice, FakeTree};
use crate::FakeMachine;

/// The kernel's own limit on links followed in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Where a machine shows which TEEs it has. What a fake machine lacks there is not there; elsewhere the real
/// machine is seen behind it.
const OF_THE_MACHINE: [&str; 14] = [
    "/dev",
    "/proc/cpuinfo",
    "/proc/modules",
    "/run/aesmd",
    "/sys/bus/tee",
    "/sys/class/dmi",
    "/sys/class/tee",
    "/sys/class/tpm",
    "/sys/devices/system/cpu/sev",
    "/sys/devices/virtual/misc",
    "/sys/firmware",
    "/sys/kernel/config",
    "/sys/kernel/security",
    "/sys/module",
];

/// What every program needs of the real machine's `/dev`.
const OF_EVERY_MACHINE: [&str; 13] = [
    "/dev/console",
    "/dev/fd",
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/stderr",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/tty",
    "/dev/urandom",
];

/// What is registered at one path.
pub(super) enum Entry {
    Device(Box<dyn FakeDevice>),
    Tree(Box<dyn FakeTree>),
    File(Vec<u8>),
    Socket(PathBuf),
    Absent,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing of ours.
    Real,
    Absent,
    /// Below something that is no directory.
    NotADirectory,
    Device(String),
    File(String),
    Socket(PathBuf),
    /// In the tree registered at `root`.
    Tree {
        root: String,
        path: String,
    },
    /// In the fake machine.
    Machine(PathBuf),
    /// A directory that is there because something registered is below it.
    Above(String),
}

/// Everything that is registered.
#[derive(Default)]
pub(super) struct Namespace {
    entries: BTreeMap<String, Entry>,
    machine: Option<Machine>,
}

/// The parts of a [`FakeMachine`] that answer for it.
pub(super) struct Machine {
    root: PathBuf,
    pub(super) denied: Vec<PathBuf>,
    pub(super) devices: Vec<PathBuf>,
    pub(super) sockets: Vec<PathBuf>,
}

impl Namespace {
    pub(super) fn register(&mut self, path: &str, entry: Entry) {
        assert!(path.starts_with('/'), "a fake is at an absolute path, not {path}");
        self.entries.insert(normal(path), entry);
    }

    pub(super) fn set_machine(&mut self, machine: &FakeMachine) {
        self.machine = Some(Machine {
            root: machine.root().to_owned(),
            denied: machine.denied().to_vec(),
            devices: machine.devices().to_vec(),
            sockets: machine.sockets().to_vec(),
        });
    }

    pub(super) fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    pub(super) fn device(&mut self, path: &str) -> Option<&mut Box<dyn FakeDevice>> {
        match self.entries.get_mut(path) {
            Some(Entry::Device(device)) => Some(device),
            _ => None,
        }
    }

    pub(super) fn tree(&mut self, path: &str) -> Option<&mut Box<dyn FakeTree>> {
        match self.entries.get_mut(path) {
            Some(Entry::Tree(tree)) => Some(tree),
            _ => None,
        }
    }

    pub(super) fn contents(&self, path: &str) -> Option<&[u8]> {
        match self.entries.get(path) {
            Some(Entry::File(contents)) => Some(contents),
            _ => None,
        }
    }

    /// A number for what is registered at `path`.
    pub(super) fn inode(&self, path: &str) -> u64 {
        let index = self.entries.keys().take_while(|key| key.as_str() < path).count();
        u64::try_from(index).unwrap_or(0) + 1
    }

    /// The names of what is registered below `path`, one level deep.
    pub(super) fn names_below(&self, path: &str) -> Vec<(String, bool)> {
        let mut names = BTreeMap::new();
        for (key, entry) in &self.entries {
            let below = key.strip_prefix(path.trim_end_matches('/'));
            if let Some(rest) = below.and_then(|rest| rest.strip_prefix('/'))
                && !matches!(entry, Entry::Absent)
            {
                let (name, deeper) = rest
                    .split_once('/')
                    .map_or((rest, false), |(name, _)| (name, true));
                let directory = deeper || matches!(entry, Entry::Tree(_));
                *names.entry(name.to_owned()).or_insert(directory) |= directory;
            }
        }
        names.into_iter().collect()
    }

    /// What is at an absolute path. `follow`: a link at its end is followed.
    pub(super) fn find(&self, path: &str, follow: bool) -> Place {
        let path = normal(path);
        let registered = self.registered(&path);
        if registered != Place::Real {
            return registered;
        }
        if let Some(machine) = &self.machine {
            let resolved = machine.resolve(&path, follow);
            let registered = self.registered(&resolved);
            if registered != Place::Real {
                return registered;
            }
            if machine.owns(&resolved) {
                let place = machine.place(&resolved);
                if fs::symlink_metadata(&place).is_err() && self.is_above(&resolved) {
                    return Place::Above(resolved);
                }
                return Place::Machine(place);
            }
        }
        if self.is_above(&path) && fs::symlink_metadata(&path).is_err() {
            return Place::Above(path);
        }
        Place::Real
    }

    fn is_above(&self, path: &str) -> bool {
        !self.names_below(path).is_empty()
    }

    fn registered(&self, path: &str) -> Place {
        for root in ancestors(path) {
            let Some(entry) = self.entries.get(root) else {
                continue;
            };
            let here = root.len() == path.len();
            return match entry {
                Entry::Absent => Place::Absent,
                Entry::Tree(_) => Place::Tree {
                    root: root.to_owned(),
                    path: path
                        .get(root.len()..)
                        .unwrap_or_default()
                        .trim_start_matches('/')
                        .to_owned(),
                },
                _ if !here => Place::NotADirectory,
                Entry::Device(_) => Place::Device(root.to_owned()),
                Entry::File(_) => Place::File(root.to_owned()),
                Entry::Socket(host) => Place::Socket(host.clone()),
            };
        }
        Place::Real
    }
}

impl Machine {
    /// The machine's path of a real place in it.
    pub(super) fn path_of(&self, place: &Path) -> Option<String> {
        let below = place.strip_prefix(&self.root).ok()?;
        Some(normal(&format!("/{}", below.to_str()?)))
    }

    fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn owns(&self, path: &str) -> bool {
        let listed = |list: &[&str]| ancestors(path).any(|above| list.contains(&above));
        if listed(&OF_EVERY_MACHINE) {
            return false;
        }
        listed(&OF_THE_MACHINE)
            || fs::symlink_metadata(self.place(path)).is_ok_and(|metadata| !metadata.is_dir())
    }

    /// `path` with the machine's own links followed, as its kernel would.
    fn resolve(&self, path: &str, follow: bool) -> String {
        let mut resolved = normal(path);
        for _ in 0..MAX_LINKS {
            let Some(next) = self.follow_one(&resolved, follow) else {
                break;
            };
            resolved = next;
        }
        resolved
    }

    fn follow_one(&self, path: &str, follow: bool) -> Option<String> {
        let mut prefixes: Vec<&str> = ancestors(path).collect();
        prefixes.reverse();
        for prefix in prefixes {
            if prefix.len() == path.len() && !follow {
                return None;
            }
            let Ok(target) = fs::read_link(self.place(prefix)) else {
                continue;
            };
            let rest = path.get(prefix.len()..).unwrap_or_default();
            let parent = prefix.rsplit_once('/').map_or("", |(parent, _)| parent);
            let target = target.to_str()?;
            return Some(normal(&if target.starts_with('/') {
                format!("{target}{rest}")
            } else {
                format!("{parent}/{target}{rest}")
            }));
        }
        None
    }
}

/// The path without `.`, `..` and needless slashes, none of which goes through a link that we know of.
pub(super) fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The path itself, then each directory above it, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(path);
    std::iter::from_fn(move || {
        let this = next.filter(|path| path.len() > 1)?;
        next = this.rfind('/').and_then(|end| this.get(..end));
        Some(this)
    })
}
