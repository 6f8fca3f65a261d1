//! Where a container's control group is, from what the runtime says. Nothing leads out of the hierarchy.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::mounts::clean;

/// Longest path and longest name in it, in bytes: Linux' PATH_MAX and NAME_MAX.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;
/// Longest identifier of a container that is taken. containerd's have 64 characters.
const MAX_ID: usize = 128;

/// The path of a control group below the root of its hierarchy: no `..`, no empty name, bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPath(PathBuf);

impl GroupPath {
    /// Reads `linux.cgroupsPath` of an OCI runtime's specification: a path, or `SLICE:PREFIX:NAME` where systemd makes
    /// the groups.
    ///
    /// `None` if it leads elsewhere than into the hierarchy, names its root, or is none.
    pub fn from_spec(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(4, ':').collect();
        match parts.as_slice() {
            [path] => Self::checked(path.as_bytes()),
            [slice, prefix, name] => {
                let mut path = expand_slice(slice)?;
                let scope = if prefix.is_empty() {
                    (*name).to_owned()
                } else {
                    format!("{prefix}-{name}")
                };
                if name.is_empty() || scope.contains('/') {
                    return None;
                }
                path.push('/');
                path.push_str(&scope);
                if !scope.ends_with(".slice") {
                    path.push_str(".scope");
                }
                Self::checked(path.as_bytes())
            }
            _ => None,
        }
    }

    /// Finds the group of the container `id` in `/proc/PID/cgroup` for a version 1 `controller`, or for version 2
    /// with `None`.
    ///
    /// The group is the one whose name has the identifier in it, whatever groups the container made below. If no name
    /// has it, the process is another's: process identifiers are used again.
    pub fn from_proc(bytes: &[u8], controller: Option<&[u8]>, id: &str) -> Option<Self> {
        if !is_id(id) {
            return None;
        }
        let path = bytes.split(|byte| *byte == b'\n').find_map(|line| {
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let fits = match controller {
                None => hierarchy == b"0" && controllers.is_empty(),
                Some(wanted) => controllers.split(|byte| *byte == b',').any(|each| each == wanted),
            };
            fits.then_some(path)
        })?;
        let Self(path) = Self::checked(path)?;
        let mut group = PathBuf::new();
        for name in &path {
            group.push(name);
            if has(name.as_bytes(), id.as_bytes()) {
                return Some(Self(group));
            }
        }
        None
    }

    /// The group of the whole pod: the parent, if its name is what the kubelet calls the group of the pod `uid`
    /// (`podUID`, and with underscores where systemd makes the groups).
    pub fn pod(&self, uid: &str) -> Option<Self> {
        if uid.len() < 8 || !is_id(uid) {
            return None;
        }
        let parent = self.0.parent()?;
        let name = parent.file_name()?.as_bytes();
        let named = [format!("pod{uid}"), format!("pod{}", uid.replace('-', "_"))]
            .iter()
            .any(|wanted| has(name, wanted.as_bytes()));
        named.then(|| Self(parent.to_owned()))
    }

    /// The path, without a leading slash.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    fn checked(path: &[u8]) -> Option<Self> {
        if path.len() > MAX_PATH {
            return None;
        }
        let path = clean(path)?;
        let fits = path.components().count() > 0 && path.iter().all(|name| name.len() <= MAX_NAME);
        fits.then_some(Self(path))
    }
}

/// Whether a text is an identifier: letters, digits, `-`, `_` and `.`, and not too short to be mistaken.
pub(super) fn is_id(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (8..=MAX_ID).contains(&text.len()) && text.bytes().all(known)
}

pub(super) fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

/// The path of a slice: `a-b.slice` is in `a.slice` (systemd.slice(5)).
fn expand_slice(slice: &str) -> Option<String> {
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let stem = slice.strip_suffix(".slice").filter(|_| slice.len() <= MAX_NAME)?;
    let mut path = String::new();
    if stem == "-" {
        return Some(path);
    }
    let mut name = String::new();
    for part in stem.split('-') {
        if part.is_empty() || part.contains('/') {
            return None;
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        path.push('/');
        path.push_str(&name);
        path.push_str(".slice");
    }
    // 128 parts of one letter would be a path of 16 KiB.
    (path.len() <= MAX_PATH).then_some(path)
}

impl AsRef<OsStr> for GroupPath {
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn spec(text: &str) -> Option<String> {
        GroupPath::from_spec(text).map(|path| path.as_path().display().to_string())
    }

    #[test]
    fn both_drivers_are_read() {
        assert_eq!(
            spec("/kubepods/besteffort/pod1/abc").as_deref(),
            Some("kubepods/besteffort/pod1/abc")
        );
        assert_eq!(spec("k8s.io/abc").as_deref(), Some("k8s.io/abc"));
        assert_eq!(
            spec("kubepods-besteffort-pod1_2.slice:cri-containerd:abc").as_deref(),
            Some(
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-containerd-abc.scope"
            )
        );
        assert_eq!(spec(":crio:abc").as_deref(), Some("system.slice/crio-abc.scope"));
        assert_eq!(spec("-.slice::abc").as_deref(), Some("abc.scope"));
    }

    #[test]
    fn nothing_leads_out_of_the_hierarchy() {
        for text in [
            "",
            "/",
            "..",
            "/kubepods/../../../etc/passwd",
            "/kubepods/..",
            "a.slice:x:../../etc",
            "a.slice:../x:abc",
            "a.slice:x:",
            "../a.slice:x:abc",
            "a--b.slice:x:abc",
            "a:b:c:d",
            "a:b",
            "/kube\0pods/x",
        ] {
            assert_eq!(spec(text), None, "{text:?}");
        }
        assert_eq!(spec(&"a/".repeat(3000)), None);
        assert_eq!(spec(&"a".repeat(300)), None);
        let deep = format!("{}a.slice:x:abc", "a-".repeat(120));
        assert_eq!(spec(&deep), None, "a path that is too long");
    }

    #[test]
    fn the_group_of_a_process_is_cut_at_the_container() {
        let file = format!(
            "12:cpu,cpuacct:/kubepods/pod1/{ID}\n3:memory:/other\n0::/a.slice/cri-{ID}.scope/init.scope\n"
        );
        let of = |controller: Option<&[u8]>, id: &str| {
            GroupPath::from_proc(file.as_bytes(), controller, id)
                .map(|path| path.as_path().display().to_string())
        };
        assert_eq!(of(Some(b"cpuacct"), ID), Some(format!("kubepods/pod1/{ID}")));
        assert_eq!(of(None, ID), Some(format!("a.slice/cri-{ID}.scope")));
        assert_eq!(of(Some(b"memory"), ID), None, "a process of another's");
        assert_eq!(of(Some(b"pids"), ID), None);
        assert_eq!(of(None, ""), None, "every name has an empty identifier in it");
        assert_eq!(
            GroupPath::from_proc(format!("0::/../{ID}\n").as_bytes(), None, ID),
            None
        );
    }

    #[test]
    fn the_pods_group_is_known_by_its_name() {
        let uid = "6d1f0f83-2c1b-4b9d-a4b2-0a1b2c3d4e5f";
        let path = GroupPath::from_spec(&format!("/kubepods/burstable/pod{uid}/{ID}")).unwrap();
        assert_eq!(
            path.pod(uid).unwrap().as_path(),
            Path::new(&format!("kubepods/burstable/pod{uid}"))
        );
        let slice = format!("kubepods-pod{}.slice", uid.replace('-', "_"));
        let path = GroupPath::from_spec(&format!("{slice}:cri-containerd:{ID}")).unwrap();
        assert!(path.pod(uid).unwrap().as_path().ends_with(&slice));
        let shared = GroupPath::from_spec(&format!("/k8s.io/{ID}")).unwrap();
        assert_eq!(shared.pod(uid), None);
        assert_eq!(path.pod(""), None);
    }
}
