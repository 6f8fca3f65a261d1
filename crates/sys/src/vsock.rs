//! Sockets between a virtual machine and its host: Linux, `include/uapi/linux/vm_sockets.h`.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

/// `VMADDR_CID_HOST`: the machine that a virtual machine runs on.
pub const HOST: u32 = 2;

/// `sockaddr_vm`.
#[repr(C)]
struct Address {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    flags: u8,
    zero: [u8; 3],
}

const _: () = assert!(size_of::<Address>() == 16);

/// A stream to `port` of the machine with context id `cid`.
///
/// # Errors
/// What the kernel says: `EAFNOSUPPORT` where it has no such sockets, `ENODEV` where the machine has none,
/// `ECONNRESET` where nobody listens.
pub fn connect_vsock(cid: u32, port: u32) -> io::Result<OwnedFd> {
    let stream = socket_with(
        AddressFamily::VSOCK,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let address = Address {
        family: AddressFamily::VSOCK.as_raw(),
        reserved: 0,
        port,
        cid,
        flags: 0,
        zero: [0; 3],
    };
    connect(&stream, &address)?;
    Ok(stream)
}

#[expect(unsafe_code, reason = "the kernel is told an address by pointer and length")]
// SAFETY: pointer and length are of one `sockaddr_vm`, initialised, which is borrowed while `f` runs.
unsafe impl SocketAddrArg for Address {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f(
            std::ptr::from_ref(self).cast(),
            size_of::<Self>() as SocketAddrLen,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_there_is_an_error_and_not_a_wait() {
        // A host, if there is one, answers at once that nobody listens.
        let error = connect_vsock(HOST, 0xffff_fff0).unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
    }
}
