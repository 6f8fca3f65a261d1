//! One ioctl on one buffer: the shape of most drivers' calls.

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// How the kernel encodes an ioctl's number on every platform with the generic layout
/// (`include/uapi/asm-generic/ioctl.h`): `direction 2 ‖ size 14 ‖ type 8 ‖ number 8` bits.
const SIZE_SHIFT: u32 = 16;
const SIZE_MASK: Opcode = 0x3fff;

/// Sends an ioctl whose argument is a structure that holds no pointer, and gives what the driver returned. The driver
/// reads and writes `argument` in place.
///
/// # Errors
/// What the kernel says; `EINVAL` if the number's size is not that of `argument`.
///
/// # Safety
/// `number` must name a call that touches its argument alone, in as many bytes as the number encodes, and treats no
/// byte of it as an address.
#[expect(unsafe_code, reason = "an ioctl does what its driver says")]
pub(crate) unsafe fn exchange<const N: usize>(
    device: impl AsFd,
    number: Opcode,
    argument: &mut [u8; N],
) -> io::Result<i32> {
    if (number >> SIZE_SHIFT) & SIZE_MASK != N as Opcode {
        return Err(rustix::io::Errno::INVAL.into());
    }
    let call = Exchange { number, argument };
    // SAFETY: the caller vouches for the number; the buffer has the size that it encodes.
    Ok(unsafe { rustix::ioctl::ioctl(device, call) }?)
}

struct Exchange<'a, const N: usize> {
    number: Opcode,
    argument: &'a mut [u8; N],
}

// SAFETY: the pointer is to a buffer that lives as long as the call and has the size that the number encodes.
#[expect(unsafe_code, reason = "an ioctl does what its driver says")]
unsafe impl<const N: usize> Ioctl for Exchange<'_, N> {
    type Output = i32;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.number
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(out)
    }
}
