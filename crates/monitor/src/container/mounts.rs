//! Which hierarchies of control groups there are, and where, from the table of mounts.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::path::GroupPath;

/// Where each controller that is read is mounted. A controller of version 1 is not in version 2: a machine may have
/// both ("hybrid").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Version 2.
    pub unified: Option<Mount>,
    /// Version 1, `cpu`.
    pub cpu: Option<Mount>,
    /// Version 1, `cpuacct`.
    pub cpuacct: Option<Mount>,
    /// Version 1, `memory`.
    pub memory: Option<Mount>,
    /// Version 1, `blkio`.
    pub blkio: Option<Mount>,
    /// Version 1, `pids`.
    pub pids: Option<Mount>,
}

/// One mount of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Which group of the hierarchy is at its top; empty for the root.
    top: PathBuf,
    /// Where it is, without a leading slash.
    at: PathBuf,
}

impl Mount {
    /// The directory of a group, below the machine's root.
    pub fn directory(&self, root: &Path, group: &GroupPath) -> PathBuf {
        let path = group.as_path();
        let below = path.strip_prefix(&self.top).unwrap_or(path);
        root.join(&self.at).join(below)
    }
}

impl Hierarchies {
    /// Parses `/proc/PID/mountinfo`: proc_pid_mountinfo(5). Of several mounts of a hierarchy, the first counts, and one
    /// of its root before any other. Lines that are not of control groups, or are malformed, count for nothing.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some((mount, kind, options)) = mount(line) else {
                continue;
            };
            if kind == b"cgroup2" {
                keep(&mut found.unified, &mount);
            }
            if kind != b"cgroup" {
                continue;
            }
            for option in options.split(|byte| *byte == b',') {
                match option {
                    b"cpu" => keep(&mut found.cpu, &mount),
                    b"cpuacct" => keep(&mut found.cpuacct, &mount),
                    b"memory" => keep(&mut found.memory, &mount),
                    b"blkio" => keep(&mut found.blkio, &mount),
                    b"pids" => keep(&mut found.pids, &mount),
                    _ => {}
                }
            }
        }
        found
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn keep(slot: &mut Option<Mount>, mount: &Mount) {
    let better = slot
        .as_ref()
        .is_none_or(|kept| !kept.top.as_os_str().is_empty() && mount.top.as_os_str().is_empty());
    if better {
        *slot = Some(mount.clone());
    }
}

/// A line's mount, type of file system and options of the superblock.
fn mount(line: &[u8]) -> Option<(Mount, &[u8], &[u8])> {
    let mut fields = line.split(|byte| *byte == b' ');
    let top = fields.nth(3)?;
    let at = fields.next()?;
    // Optional fields end with a hyphen of their own.
    fields.find(|field| *field == b"-")?;
    let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
    // From within a namespace of control groups, a top above its root is written with `..`.
    let top = clean(&unescaped(top)).unwrap_or_default();
    let at = clean(&unescaped(at))?;
    Some((Mount { top, at }, kind, options))
}

/// A path relative to the root, or `None` if it has `..` or a zero byte in it.
pub(super) fn clean(path: &[u8]) -> Option<PathBuf> {
    if path.contains(&0) {
        return None;
    }
    let mut relative = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => relative.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(relative)
}

/// The kernel writes blanks and backslashes as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        if let Some(octal) = octal {
            plain.push(octal);
            rest = after.get(3..).unwrap_or_default();
        } else {
            plain.push(*byte);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/kubepods/pod1/abc";

    fn directory(mount: Option<&Mount>) -> String {
        let group = GroupPath::from_spec(GROUP).unwrap();
        mount
            .unwrap()
            .directory(Path::new("/m"), &group)
            .display()
            .to_string()
    }

    #[test]
    fn version_2_alone() {
        let found = Hierarchies::parse(
            b"24 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(
            directory(found.unified.as_ref()),
            "/m/sys/fs/cgroup/kubepods/pod1/abc"
        );
        assert_eq!((&found.cpuacct, &found.memory), (&None, &None));
    }

    #[test]
    fn version_1_and_hybrid() {
        let found = Hierarchies::parse(
            b"33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
              40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
              35 31 0:32 / /sys/fs/cgroup/me\\040mory rw - cgroup cgroup rw,memory\n\
              41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(found.cpu, found.cpuacct);
        assert_eq!(
            directory(found.cpuacct.as_ref()),
            "/m/sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/abc"
        );
        assert_eq!(
            directory(found.memory.as_ref()),
            "/m/sys/fs/cgroup/me mory/kubepods/pod1/abc"
        );
        assert!(found.unified.is_some() && found.pids.is_none());
    }

    #[test]
    fn a_mount_of_a_part_is_that_part() {
        let part = b"1 2 0:1 /kubepods /part rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            directory(Hierarchies::parse(part).unified.as_ref()),
            "/m/part/pod1/abc"
        );
        let both = [&part[..], b"1 2 0:1 / /whole rw - cgroup2 cgroup2 rw\n"].concat();
        assert_eq!(
            directory(Hierarchies::parse(&both).unified.as_ref()),
            "/m/whole/kubepods/pod1/abc"
        );
    }

    #[test]
    fn what_is_malformed_counts_for_nothing() {
        for line in [
            &b"\n"[..],
            b"1 2 0:1 / /x rw cgroup2 cgroup2 rw\n",
            b"1 2 0:1 / /../x rw - cgroup2 cgroup2 rw\n",
            b"1 2 0:1 / /x rw - cgroup2\n",
        ] {
            assert!(Hierarchies::parse(line).is_empty(), "{line:?}");
        }
    }
}
