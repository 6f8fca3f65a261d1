//! The driver of the Nitro Security Module, `/dev/nsm`: Linux, `include/uapi/linux/nsm.h`. AWS's module for kernels
//! before 6.8 has the same call.

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// Largest request that the driver takes (`NSM_REQUEST_MAX_SIZE`).
pub const REQUEST_MAX: usize = 0x1000;
/// Largest response that the module gives (`NSM_RESPONSE_MAX_SIZE`).
pub const RESPONSE_MAX: usize = 0x3000;

/// `NSM_IOCTL_RAW`, `_IOWR(0x0A, 0x0, struct nsm_raw)`.
const RAW: Opcode = opcode::read_write::<Raw>(0x0a, 0);

/// Sends one request, in CBOR, and gives the response, as many bytes as the driver says that it wrote.
///
/// # Errors
/// What the kernel says: `EMSGSIZE` if the request is too large; `EPROTO` if the driver says that it wrote more than
/// the buffer holds.
pub fn exchange(device: impl AsFd, request: &[u8]) -> io::Result<Vec<u8>> {
    if request.len() > REQUEST_MAX {
        return Err(Errno::MSGSIZE.into());
    }
    let mut response = vec![0; RESPONSE_MAX];
    let call = Call {
        raw: Raw {
            request: Iovec {
                address: request.as_ptr() as u64,
                length: request.len() as u64,
            },
            response: Iovec {
                address: response.as_mut_ptr() as u64,
                length: response.len() as u64,
            },
        },
        buffers: PhantomData,
    };
    // SAFETY: `RAW` reads `request` and writes `response`, each up to its length; both live until the call returns,
    // and nobody else has `response`.
    #[expect(unsafe_code, reason = "an ioctl does what its driver says")]
    let written = unsafe { rustix::ioctl::ioctl(device, call) }?;
    let written = usize::try_from(written).unwrap_or(usize::MAX);
    if written > response.len() {
        return Err(Errno::PROTO.into());
    }
    response.truncate(written);
    Ok(response)
}

/// `struct nsm_iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Iovec {
    address: u64,
    length: u64,
}

/// `struct nsm_raw`. The driver writes it back with the response's length.
#[repr(C)]
#[derive(Clone, Copy)]
struct Raw {
    request: Iovec,
    response: Iovec,
}

const _: () = assert!(size_of::<Raw>() == 32);
const _: () = assert!(RAW == 0xc020_0a00);

struct Call<'a> {
    raw: Raw,
    buffers: PhantomData<(&'a [u8], &'a mut [u8])>,
}

// SAFETY: the pointer is to a `Raw` that lives as long as the call and has the size that the number encodes.
#[expect(unsafe_code, reason = "an ioctl does what its driver says")]
unsafe impl Ioctl for Call<'_> {
    type Output = u64;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        RAW
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.raw).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, raw: *mut c_void) -> rustix::io::Result<u64> {
        // SAFETY: it is the pointer that `as_ptr` gave.
        let raw = unsafe { raw.cast::<Raw>().read() };
        Ok(raw.response.length)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_request_that_is_too_large_goes_nowhere() {
        let device = File::open("/dev/null").unwrap();
        let error = exchange(&device, &[0; REQUEST_MAX + 1]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
    }

    #[test]
    fn a_device_without_the_call_says_so() {
        let device = File::open("/dev/null").unwrap();
        let error = exchange(&device, b"\xa0").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOTTY.raw_os_error()));
    }
}
