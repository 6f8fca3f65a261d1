//! The generic TEE driver's client side, `/dev/tee0` (`include/uapi/linux/tee.h` of Linux): sessions with trusted
//! applications and memory shared with them, as GlobalPlatform's TEE Client API 1.0 has them.
//!
//! There is no cancellation: OP-TEE's own services do not look for it, and closing the device ends what is open.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

use crate::ioctl::exchange;
use crate::mapping::SharedMapping;

const VERSION: Opcode = 0x800c_a400;
const SHM_ALLOC: Opcode = 0xc010_a401;
const OPEN_SESSION: Opcode = 0x8010_a402;
const INVOKE: Opcode = 0x8010_a403;
const CLOSE_SESSION: Opcode = 0x8004_a405;

/// `TEE_IMPL_ID_OPTEE`.
pub const IMPLEMENTATION_OPTEE: u32 = 1;
/// `TEE_GEN_CAP_MEMREF_NULL`: the driver takes references to no memory, which ask how much is needed.
pub const CAPABILITY_NO_MEMORY: u32 = 1 << 3;

/// A call's parameters: always four, as `TEEC_CONFIG_PAYLOAD_REF_COUNT`.
pub type Parameters<'m> = [Parameter<'m>; 4];

const OPEN_HEADER: usize = 56;
const INVOKE_HEADER: usize = 24;
const PARAMETER: usize = 32;
const OPEN_LENGTH: usize = OPEN_HEADER + 4 * PARAMETER;
const INVOKE_LENGTH: usize = INVOKE_HEADER + 4 * PARAMETER;

/// What a TEE driver says of itself: `struct tee_ioctl_version_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Whose TEE it is: [`IMPLEMENTATION_OPTEE`] or another.
    pub implementation: u32,
    /// What that TEE can do, in its own terms.
    pub implementation_capabilities: u32,
    /// What the driver can do.
    pub generic_capabilities: u32,
}

/// Asks the driver what it is for.
///
/// # Errors
/// What the kernel says.
pub fn version(device: impl AsFd) -> io::Result<Version> {
    let mut data = [0; 12];
    // SAFETY: `TEE_IOC_VERSION` writes three 32-bit numbers, and reads nothing.
    #[expect(unsafe_code, reason = "an ioctl")]
    unsafe { exchange(device, VERSION, &mut data) }?;
    Ok(Version {
        implementation: u32_at(&data, 0),
        implementation_capabilities: u32_at(&data, 4),
        generic_capabilities: u32_at(&data, 8),
    })
}

/// Memory that the driver shares with the TEE. Both may write to it at any time: copy out, then parse.
pub struct SharedMemory {
    mapping: SharedMapping,
    id: i32,
    // The memory lives as long as its descriptor or its mapping; the id is good for as long as the device is open.
    _memory: OwnedFd,
}

impl SharedMemory {
    /// Has the driver allocate `length` bytes (`TEE_IOC_SHM_ALLOC`), and maps them.
    ///
    /// # Errors
    /// What the kernel says; `EINVAL` for no bytes.
    pub fn allocate(device: impl AsFd, length: usize) -> io::Result<Self> {
        let size = u64::try_from(length).map_err(|_| Errno::INVAL)?;
        let mut data = [0; 16];
        data[..8].copy_from_slice(&size.to_ne_bytes());
        // SAFETY: `TEE_IOC_SHM_ALLOC` reads and writes a size, flags and an id; none is an address.
        #[expect(unsafe_code, reason = "an ioctl")]
        let descriptor = unsafe { exchange(device, SHM_ALLOC, &mut data) }?;
        if descriptor < 0 {
            return Err(Errno::BADF.into());
        }
        // SAFETY: the driver made the descriptor for this call's caller, and nobody else knows of it.
        #[expect(unsafe_code, reason = "the kernel hands over a descriptor by its number")]
        let memory = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self {
            mapping: SharedMapping::new(&memory, 0, length)?,
            id: i32::from_ne_bytes([data[12], data[13], data[14], data[15]]),
            _memory: memory,
        })
    }

    /// A copy of `length` bytes from `offset` on, as they are now.
    ///
    /// # Errors
    /// `EINVAL` if they are not all inside.
    pub fn read(&self, offset: usize, length: usize) -> io::Result<Vec<u8>> {
        self.mapping.read(offset, length)
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// `EINVAL` if they do not fit.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.mapping.write(offset, bytes)
    }

    /// How many bytes there are.
    pub fn length(&self) -> usize {
        self.mapping.length()
    }
}

/// One parameter of a call: `struct tee_ioctl_param`.
#[derive(Clone, Copy, Default)]
pub enum Parameter<'m> {
    /// None.
    #[default]
    Nothing,
    /// Two numbers from the TEE.
    ValueOut {
        /// The first.
        a: u64,
        /// The second.
        b: u64,
    },
    /// Bytes for the TEE. The driver refuses what is not inside of `memory`.
    Input {
        /// Where they are.
        memory: &'m SharedMemory,
        /// From here on.
        offset: usize,
        /// How many.
        length: usize,
    },
    /// Room for bytes from the TEE.
    Output {
        /// Where; none to ask for the length alone, where the driver has [`CAPABILITY_NO_MEMORY`].
        memory: Option<&'m SharedMemory>,
        /// From here on.
        offset: usize,
        /// How many fit; after the call, how many came or are needed. The TEE's word: it may be more than fit.
        length: u64,
    },
}

impl Parameter<'_> {
    /// `TEE_IOCTL_PARAM_ATTR_TYPE_*`, and the three numbers of its kind.
    fn encode(&self) -> io::Result<[u64; 4]> {
        const VALUE_OUTPUT: u64 = 2;
        const MEMREF_INPUT: u64 = 5;
        const MEMREF_OUTPUT: u64 = 6;
        // `TEE_MEMREF_NULL`, sign-extended as the driver compares it.
        const NO_MEMORY: u64 = u64::MAX;
        let number = |length: usize| u64::try_from(length).map_err(|_| Errno::INVAL);
        let id = |memory: &SharedMemory| u64::try_from(memory.id).map_err(|_| Errno::INVAL);
        Ok(match *self {
            Self::Nothing => [0; 4],
            Self::ValueOut { .. } => [VALUE_OUTPUT, 0, 0, 0],
            Self::Input {
                memory,
                offset,
                length,
            } => [MEMREF_INPUT, number(offset)?, number(length)?, id(memory)?],
            Self::Output {
                memory: None, length, ..
            } => [MEMREF_OUTPUT, 0, length, NO_MEMORY],
            Self::Output {
                memory: Some(memory),
                offset,
                length,
            } => [MEMREF_OUTPUT, number(offset)?, length, id(memory)?],
        })
    }

    fn update(&mut self, [_, first, second, _]: [u64; 4]) {
        match self {
            Self::Nothing | Self::Input { .. } => {}
            Self::ValueOut { a, b } => (*a, *b) = (first, second),
            Self::Output { length, .. } => *length = second,
        }
    }
}

/// What the TEE answered, where the driver had no complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// `TEE_SUCCESS` (0) or an error of GlobalPlatform's TEE Internal Core API.
    pub code: u32,
    /// Who says so: 1 the client's side, 2 the way there, 3 the TEE, 4 the trusted application.
    pub origin: u32,
}

/// A session with a trusted application, which ends when it is dropped.
pub struct Session<'d> {
    device: BorrowedFd<'d>,
    id: u32,
}

impl<'d> Session<'d> {
    /// Opens a session with the trusted application `uuid` (in the order of its text), as anybody
    /// (`TEE_IOCTL_LOGIN_PUBLIC`) and without parameters. `Err` inside is the TEE's refusal.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(device: BorrowedFd<'d>, uuid: [u8; 16]) -> io::Result<Result<Self, Status>> {
        let mut call = [0; OPEN_LENGTH];
        call[..16].copy_from_slice(&uuid);
        put_u32(&mut call, 52, 4);
        submit(device, OPEN_SESSION, &mut call)?;
        let status = Status {
            code: u32_at(&call, 44),
            origin: u32_at(&call, 48),
        };
        if status.code != 0 {
            return Ok(Err(status));
        }
        let id = u32_at(&call, 40);
        Ok(Ok(Self { device, id }))
    }

    /// Has the trusted application run `function`. Values and lengths in `parameters` are as the TEE left them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn invoke(&self, function: u32, parameters: &mut Parameters<'_>) -> io::Result<Status> {
        let mut call = [0; INVOKE_LENGTH];
        put_u32(&mut call, 0, function);
        put_u32(&mut call, 4, self.id);
        put_u32(&mut call, 20, 4);
        let (_, encoded) = call.split_at_mut(INVOKE_HEADER);
        for (parameter, room) in parameters.iter().zip(encoded.chunks_exact_mut(PARAMETER)) {
            for (number, room) in parameter.encode()?.iter().zip(room.chunks_exact_mut(8)) {
                room.copy_from_slice(&number.to_ne_bytes());
            }
        }
        submit(self.device, INVOKE, &mut call)?;
        for (index, parameter) in parameters.iter_mut().enumerate() {
            let at = INVOKE_HEADER + index * PARAMETER;
            parameter.update([0, 8, 16, 24].map(|field| u64_at(&call, at + field)));
        }
        Ok(Status {
            code: u32_at(&call, 12),
            origin: u32_at(&call, 16),
        })
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let mut data = self.id.to_ne_bytes();
        // SAFETY: `TEE_IOC_CLOSE_SESSION` reads one number.
        #[expect(unsafe_code, reason = "an ioctl")]
        let closed = unsafe { exchange(self.device, CLOSE_SESSION, &mut data) };
        // The device's end closes it too.
        drop(closed);
    }
}

/// Hands a call's header and parameters to the driver, which answers in the same place.
fn submit<const N: usize>(device: impl AsFd, number: Opcode, call: &mut [u8; N]) -> io::Result<()> {
    let buffer = [call.as_mut_ptr().expose_provenance() as u64, N as u64];
    // SAFETY: the two calls that come here read and write the buffer that `buffer` names, which is `call`, borrowed
    // for as long as this takes. References to memory inside are ids, which the driver looks up and bounds.
    #[expect(unsafe_code, reason = "an ioctl")]
    Ok(unsafe { rustix::ioctl::ioctl(device, Submit { number, buffer }) }?)
}

/// `struct tee_ioctl_buf_data`: an address and a length.
struct Submit {
    number: Opcode,
    buffer: [u64; 2],
}

// SAFETY: the argument has the sixteen bytes that both numbers encode, and lives as long as the call.
#[expect(unsafe_code, reason = "an ioctl")]
unsafe impl Ioctl for Submit {
    type Output = ();

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.number
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.buffer.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(number)
}

fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
}
