//! Who makes a call, as the fake that answers it sees them.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::listener::{Listener, Slot};
use super::process::Processes;

/// The process that waits for the answer to an `ioctl`.
///
/// Addresses are the caller's. One that is not mapped there fails the call with `EFAULT`, whatever the fake
/// answers, as the kernel would.
pub struct Caller<'a> {
    pub(super) listener: &'a Listener,
    pub(super) id: u64,
    pub(super) process: u32,
    pub(super) processes: RefCell<&'a mut Processes>,
    pub(super) opened: u64,
    pub(super) memory: BorrowedFd<'a>,
    pub(super) fault: Cell<Option<Errno>>,
}

impl Caller<'_> {
    /// `length` bytes of its memory; zeros if they cannot be read.
    pub fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let result = self
            .processes
            .borrow_mut()
            .read(self.process, address, &mut bytes);
        self.note(result);
        bytes
    }

    /// Writes into its memory.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        let result = self.processes.borrow_mut().write(self.process, address, bytes);
        self.note(result);
    }

    /// A new descriptor in the caller, closed on exec: shared memory, for instance. Its number is what the caller
    /// has to be told.
    pub fn give(&self, file: OwnedFd) -> i32 {
        match self.listener.give(self.id, file.as_fd(), Slot::Lowest, true) {
            Ok(number) => number,
            Err(error) => {
                self.note(Err(error));
                -1
            }
        }
    }

    /// The memory that stands for the opened device: what the caller maps of the device is this, at the same
    /// offset, and shared. It is empty at first: give it a length (`ftruncate`) before the caller maps it.
    pub fn device_memory(&self) -> BorrowedFd<'_> {
        self.memory
    }

    /// Which opening of the device this is: the same for every descriptor that was made from it.
    pub fn opening(&self) -> u64 {
        self.opened
    }

    /// The caller's process id.
    pub fn process(&self) -> u32 {
        self.process
    }

    fn note(&self, result: Result<(), Errno>) {
        if let Err(error) = result {
            self.fault.set(self.fault.get().or(Some(error)));
        }
    }
}
