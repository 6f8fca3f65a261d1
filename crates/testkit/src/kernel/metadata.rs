//! What `stat` and `statx` say of a fake file, in the kernel's layouts.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::call::StatForm;

/// The type bits of a mode (inode(7)).
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const CHARACTER_DEVICE: u32 = 0o020_000;
pub(super) const REGULAR: u32 = 0o100_000;
pub(super) const SOCKET: u32 = 0o140_000;
const TYPE: u32 = 0o170_000;

/// What attributes files of sysfs and configfs say is their length, whatever it is.
pub(super) const ATTRIBUTE_SIZE: u64 = 4096;

/// The block that every size is said to come in.
const BLOCK: u64 = 4096;
/// Miscellaneous devices, where most drivers of TEEs are (Documentation/admin-guide/devices.txt).
const MISC_MAJOR: u32 = 10;
/// What statx gives without being asked for more (`STATX_BASIC_STATS`, <linux/stat.h>).
const BASIC_STATS: u32 = 0x7ff;

/// What there is to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metadata {
    mode: u32,
    inode: u64,
    links: u32,
    owner: u32,
    group: u32,
    size: u64,
    modified: i64,
}

impl Metadata {
    /// A fake file of this type and permissions, of the user who runs the test.
    pub(super) fn new(mode: u32, inode: u64, size: u64) -> Self {
        Self {
            mode,
            inode,
            links: 1,
            owner: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            size,
            modified: 0,
        }
    }

    /// A real file's, with another type if one is given.
    pub(super) fn of(real: &fs::Metadata, kind: Option<u32>) -> Self {
        let mode = match kind {
            Some(kind) => real.mode() & !TYPE | kind,
            None => real.mode(),
        };
        Self {
            mode,
            inode: real.ino(),
            links: u32::try_from(real.nlink()).unwrap_or(1),
            owner: real.uid(),
            group: real.gid(),
            size: real.size(),
            modified: real.mtime(),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.mode & TYPE == DIRECTORY
    }

    /// In the structure that was asked for.
    pub(super) fn bytes(&self, form: StatForm) -> Vec<u8> {
        match form {
            StatForm::Stat => self.stat(),
            StatForm::Statx => self.statx(),
        }
    }

    /// `struct stat` of this architecture.
    fn stat(&self) -> Vec<u8> {
        let device = (u64::from(MISC_MAJOR) << 8) | self.minor();
        let modified = self.modified.to_ne_bytes();
        if cfg!(target_arch = "x86_64") {
            let mut bytes = Layout::new(144);
            bytes.put(8, self.inode);
            bytes.put(16, u64::from(self.links));
            bytes.put32(24, self.mode);
            bytes.put32(28, self.owner);
            bytes.put32(32, self.group);
            bytes.put(40, self.if_device(device));
            bytes.put(48, self.size);
            bytes.put(56, BLOCK);
            bytes.put(64, self.size.div_ceil(512));
            [72, 88, 104]
                .into_iter()
                .for_each(|at| bytes.put_bytes(at, modified));
            bytes.0
        } else {
            // <asm-generic/stat.h>
            let mut bytes = Layout::new(128);
            bytes.put(8, self.inode);
            bytes.put32(16, self.mode);
            bytes.put32(20, self.links);
            bytes.put32(24, self.owner);
            bytes.put32(28, self.group);
            bytes.put(32, self.if_device(device));
            bytes.put(48, self.size);
            bytes.put(56, BLOCK);
            bytes.put(64, self.size.div_ceil(512));
            [72, 88, 104]
                .into_iter()
                .for_each(|at| bytes.put_bytes(at, modified));
            bytes.0
        }
    }

    /// `struct statx` (<linux/stat.h>), the same everywhere.
    fn statx(&self) -> Vec<u8> {
        let mut bytes = Layout::new(256);
        bytes.put32(0, BASIC_STATS);
        bytes.put(4, BLOCK);
        bytes.put(8, 0);
        bytes.put32(16, self.links);
        bytes.put32(20, self.owner);
        bytes.put32(24, self.group);
        bytes.put32(28, self.mode);
        bytes.put(32, self.inode);
        bytes.put(40, self.size);
        bytes.put(48, self.size.div_ceil(512));
        [64, 96, 112]
            .into_iter()
            .for_each(|at| bytes.put_bytes(at, self.modified.to_ne_bytes()));
        bytes.put32(128, u32::try_from(self.if_device(MISC_MAJOR.into())).unwrap_or(0));
        bytes.put32(132, u32::try_from(self.if_device(self.minor())).unwrap_or(0));
        bytes.0
    }

    fn minor(&self) -> u64 {
        self.inode & 0xff
    }

    fn if_device(&self, number: u64) -> u64 {
        if self.mode & TYPE == CHARACTER_DEVICE {
            number
        } else {
            0
        }
    }
}

struct Layout(Vec<u8>);

impl Layout {
    fn new(length: usize) -> Self {
        Self(vec![0; length])
    }

    fn put(&mut self, at: usize, value: u64) {
        self.put_bytes(at, value.to_ne_bytes());
    }

    fn put32(&mut self, at: usize, value: u32) {
        self.put_bytes(at, value.to_ne_bytes());
    }

    fn put_bytes<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.0[at..at + N].copy_from_slice(&value);
    }
}
