//! The driver of RISC-V Keystone, `/dev/keystone_enclave` (`linux-keystone-driver/keystone_user.h` and
//! `keystone-ioctl.c` of keystone-enclave/keystone at 88c49ee): making, filling, running and ending one enclave.
//!
//! A device that was opened holds one enclave. Calls succeed though the security monitor refuses: look at what
//! [`Stopped`] says. Whatever the numbers' direction bits say, the driver reads and writes the whole structure.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::ioctl::Opcode;

use crate::ioctl::exchange;
use crate::mapping::SharedMapping;

const CREATE: Opcode = 0x8050_a400;
const DESTROY: Opcode = 0x4050_a401;
const RUN: Opcode = 0x8018_a404;
const RESUME: Opcode = 0x8018_a405;
const FINALIZE: Opcode = 0x8050_a406;
const UTM_INIT: Opcode = 0x8050_a407;

/// The unit of all memory here.
pub const PAGE: usize = 4096;

/// `struct keystone_ioctl_create_enclave`, field by field.
#[derive(Clone, Copy, Default)]
struct Terms {
    enclave: u64,
    min_pages: u64,
    shared_size: u64,
    runtime_address: u64,
    application_address: u64,
    free_address: u64,
    free_requested: u64,
    private_address: u64,
    private_size: u64,
    shared_address: u64,
}

/// Why the enclave stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The security monitor's reason: 0 it ended, 100002 it was interrupted, 100011 it wants something of its host;
    /// all else are errors (`sm_err.h`).
    pub error: u64,
    /// What it ended with.
    pub value: u64,
}

/// Where in an enclave's memory its parts are, in bytes from its start, and how much is left free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where the runtime starts: the loader is before it, at 0.
    pub runtime: u64,
    /// Where the application starts.
    pub application: u64,
    /// Where the free memory starts.
    pub free: u64,
    /// How many bytes of it the runtime wants.
    pub free_requested: u64,
}

/// An enclave, from its making on. It ends when this is dropped.
pub struct Enclave {
    device: OwnedFd,
    terms: Terms,
    phase: Phase,
    shared: Option<SharedMapping>,
}

/// What the device's offsets are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Those of the enclave's memory.
    Loading,
    /// Those of the shared memory.
    Finalized,
}

impl Enclave {
    /// Makes an enclave of at least `min_pages` pages on a device that was just opened.
    ///
    /// # Errors
    /// What the driver says.
    pub fn create(device: OwnedFd, min_pages: u64) -> io::Result<Self> {
        let mut terms = Terms {
            min_pages,
            ..Terms::default()
        };
        call(&device, CREATE, &mut terms)?;
        Ok(Self {
            device,
            terms,
            phase: Phase::Loading,
            shared: None,
        })
    }

    /// How many bytes of memory it has.
    pub fn private_size(&self) -> u64 {
        self.terms.private_size
    }

    /// Has the driver allocate memory that enclave and host share: whole pages, a power of two of them, at least
    /// two.
    ///
    /// # Errors
    /// What the driver says.
    pub fn allocate_shared(&mut self, length: u64) -> io::Result<()> {
        self.terms.shared_size = length;
        call(&self.device, UTM_INIT, &mut self.terms)
    }

    /// Copies a page to `offset` of the enclave's memory. That is open to the host until the enclave is finalized.
    ///
    /// # Errors
    /// What the driver says; `EINVAL` for what is no page of this enclave's, and after [`Self::finalize`]: the driver
    /// itself maps whatever memory lies at an offset.
    pub fn load(&mut self, offset: u64, page: &[u8; PAGE]) -> io::Result<()> {
        let inside = offset
            .checked_add(PAGE as u64)
            .is_some_and(|end| end <= self.terms.private_size);
        if self.phase != Phase::Loading || !offset.is_multiple_of(PAGE as u64) || !inside {
            return Err(rustix::io::Errno::INVAL.into());
        }
        SharedMapping::new(&self.device, offset, PAGE)?.write(0, page)
    }

    /// Closes the enclave's memory and has it measured.
    ///
    /// # Errors
    /// What the driver says.
    pub fn finalize(&mut self, layout: Layout) -> io::Result<()> {
        let at = |offset| self.terms.private_address.wrapping_add(offset);
        self.terms = Terms {
            runtime_address: at(layout.runtime),
            application_address: at(layout.application),
            free_address: at(layout.free),
            free_requested: layout.free_requested,
            ..self.terms
        };
        call(&self.device, FINALIZE, &mut self.terms)?;
        self.phase = Phase::Finalized;
        Ok(())
    }

    /// The shared memory, whole: after [`Self::finalize`], that is what the device's offset 0 is. It goes before the
    /// enclave does, whose driver frees it.
    ///
    /// # Errors
    /// What the driver says; `EINVAL` before the enclave is finalized, or if it has no shared memory.
    pub fn shared(&mut self) -> io::Result<&mut SharedMapping> {
        let length = usize::try_from(self.terms.shared_size).unwrap_or_default();
        if self.phase != Phase::Finalized || length == 0 {
            return Err(rustix::io::Errno::INVAL.into());
        }
        if self.shared.is_none() {
            self.shared = Some(SharedMapping::new(&self.device, 0, length)?);
        }
        self.shared
            .as_mut()
            .ok_or_else(|| rustix::io::Errno::INVAL.into())
    }

    /// Starts it, and comes back when it stops.
    ///
    /// # Errors
    /// What the driver says.
    pub fn run(&mut self) -> io::Result<Stopped> {
        self.go(RUN)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// What the driver says.
    pub fn resume(&mut self) -> io::Result<Stopped> {
        self.go(RESUME)
    }

    fn go(&mut self, number: Opcode) -> io::Result<Stopped> {
        let mut data = [0; 24];
        data[..8].copy_from_slice(&self.terms.enclave.to_ne_bytes());
        // SAFETY: both calls read an enclave's number and write two numbers.
        #[expect(unsafe_code, reason = "an ioctl")]
        unsafe { exchange(self.device.as_fd(), number, &mut data) }?;
        Ok(Stopped {
            error: u64_at(&data, 8),
            value: u64_at(&data, 16),
        })
    }
}

impl Drop for Enclave {
    fn drop(&mut self) {
        self.shared = None;
        // The device's end destroys it too.
        drop(call(&self.device, DESTROY, &mut self.terms));
    }
}

fn call(device: &OwnedFd, number: Opcode, terms: &mut Terms) -> io::Result<()> {
    let fields = [
        &mut terms.enclave,
        &mut terms.min_pages,
        &mut terms.shared_size,
        &mut terms.runtime_address,
        &mut terms.application_address,
        &mut terms.free_address,
        &mut terms.free_requested,
        &mut terms.private_address,
        &mut terms.private_size,
        &mut terms.shared_address,
    ];
    let mut data = [0; 80];
    for (field, room) in fields.iter().zip(data.chunks_exact_mut(8)) {
        room.copy_from_slice(&field.to_ne_bytes());
    }
    // SAFETY: the four calls with this structure read and write its ten numbers. Its addresses are physical, inside of
    // the memory that the driver allocated for this enclave, and the security monitor refuses others.
    #[expect(unsafe_code, reason = "an ioctl")]
    unsafe { exchange(device, number, &mut data) }?;
    for (index, field) in fields.into_iter().enumerate() {
        *field = u64_at(&data, index * 8);
    }
    Ok(())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(number)
}
