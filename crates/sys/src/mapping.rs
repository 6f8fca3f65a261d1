//! Memory that somebody else may read and write at any moment: a trusted world, an enclave, another process.

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;
use std::ptr;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// A shared mapping of a device's memory. What is in it is only ever copied, byte by byte and volatile: no reference
/// into it exists, so that whoever else writes there breaks nothing. A copy may be torn; parse the copy.
pub struct SharedMapping {
    start: *mut u8,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is accessed by volatile copies alone.
#[expect(unsafe_code, reason = "the pointer is to memory that every thread may use")]
unsafe impl Send for SharedMapping {}

impl SharedMapping {
    /// Maps `length` bytes of `device` from `offset` on, for reading and writing.
    ///
    /// # Errors
    /// What the kernel says; `EINVAL` for no bytes.
    pub(crate) fn new(device: impl AsFd, offset: u64, length: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses a place where nothing is mapped yet.
        #[expect(unsafe_code, reason = "mapping memory")]
        let start = unsafe {
            rustix::mm::mmap(
                ptr::null_mut::<c_void>(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                device,
                offset,
            )
        }?;
        Ok(Self {
            start: start.cast(),
            length,
        })
    }

    /// How many bytes there are.
    pub fn length(&self) -> usize {
        self.length
    }

    /// A copy of `length` bytes from `offset` on, as they are now.
    ///
    /// # Errors
    /// `EINVAL` if they are not all inside.
    pub fn read(&self, offset: usize, length: usize) -> io::Result<Vec<u8>> {
        self.check(offset, length)?;
        let mut copy = vec![0; length];
        for (index, byte) in copy.iter_mut().enumerate() {
            // SAFETY: `offset + index` is inside of the mapping, which lives as long as `self`.
            #[expect(unsafe_code, reason = "reading memory that others write to")]
            let read = unsafe { ptr::read_volatile(self.start.wrapping_add(offset + index)) };
            *byte = read;
        }
        Ok(copy)
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// `EINVAL` if they do not fit.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes.len())?;
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: `offset + index` is inside of the mapping, which lives as long as `self` and is writable.
            #[expect(unsafe_code, reason = "writing memory that others read")]
            unsafe {
                ptr::write_volatile(self.start.wrapping_add(offset + index), *byte);
            }
        }
        Ok(())
    }

    fn check(&self, offset: usize, length: usize) -> io::Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(Errno::INVAL.into()),
        }
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of a mapping that `new` made, and nobody has a pointer into it any more.
        #[expect(unsafe_code, reason = "unmapping memory")]
        let unmapped = unsafe { rustix::mm::munmap(self.start.cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::*;

    #[test]
    fn copies_stay_inside() {
        let memory = memfd_create("mapping", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, 4096).unwrap();
        let mut mapping = SharedMapping::new(&memory, 0, 4096).unwrap();
        let other = SharedMapping::new(&memory, 0, 4096).unwrap();
        mapping.write(4090, b"inside").unwrap();
        assert_eq!(other.read(4090, 6).unwrap(), b"inside");
        assert_eq!(other.read(4096, 0).unwrap(), b"");
        for (offset, length) in [(4090, 7), (4097, 0), (usize::MAX, 1), (1, usize::MAX)] {
            let refused = other.read(offset, length).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(Errno::INVAL.raw_os_error()));
        }
        let refused = mapping.write(4095, b"no").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::INVAL.raw_os_error()));
        assert_eq!(other.read(4095, 1).unwrap(), b"e");
    }
}
