//! ICMP echo to an IPv4 address, over the datagram socket that needs no privilege.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send, socket_with,
};

use super::probe::ProbeError;

/// Type and code of RFC 792, a checksum and an identifier that the kernel fills in, a sequence number.
const REQUEST: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 1];
const HEADER: usize = REQUEST.len();
const NONCE: usize = 16;

/// Time to the address and back.
///
/// # Errors
/// If the kernel lets this process send no ICMP, or nothing comes back before the deadline.
pub(super) fn echo(address: Ipv4Addr, deadline: Instant) -> Result<Duration, ProbeError> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::ICMP),
    )
    .map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM => ProbeError::NoIcmp,
        errno => ProbeError::Icmp(errno.into()),
    })?;
    let failed = |errno: Errno| ProbeError::Icmp(errno.into());
    connect(&socket, &SocketAddrV4::new(address, 0)).map_err(failed)?;
    let request = request()?;
    let start = Instant::now();
    send(&socket, &request, SendFlags::empty()).map_err(failed)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A timeout of 0 would be none at all.
        if left < Duration::from_micros(1) {
            return Err(ProbeError::NoAnswer);
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(left)).map_err(failed)?;
        let mut answer = [0; HEADER + NONCE + 1];
        match recv(&socket, &mut answer, RecvFlags::empty()) {
            Ok((length, _))
                if answer
                    .get(..length)
                    .is_some_and(|answer| answers(answer, &request)) =>
            {
                return Ok(start.elapsed());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(ProbeError::NoAnswer),
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// A request with a nonce, so that nobody answers it who has not seen it.
fn request() -> Result<[u8; HEADER + NONCE], ProbeError> {
    let mut request = [0; HEADER + NONCE];
    let (header, nonce) = request.split_at_mut(HEADER);
    header.copy_from_slice(&REQUEST);
    SystemRandom::new()
        .fill(nonce)
        .map_err(|_| ProbeError::Icmp(std::io::Error::other("no random bytes")))?;
    Ok(request)
}

/// Whether it is the echo of this request. The kernel has held its identifier against the socket's.
fn answers(answer: &[u8], request: &[u8]) -> bool {
    const SEQUENCE: usize = 6;
    matches!(answer, [0, 0, ..]) && answer.get(SEQUENCE..) == request.get(SEQUENCE..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_echo_of_the_request_is_an_answer() {
        let request = request().unwrap();
        let mut echo = request;
        // The kernel filled in the checksum and its identifier.
        echo[..6].copy_from_slice(&[0, 0, 0x12, 0x34, 0x56, 0x78]);
        assert!(answers(&echo, &request));
        assert!(!answers(&request, &request), "a request");
        for (index, byte) in echo.iter().enumerate() {
            let mut other = echo;
            other[index] = byte ^ 1;
            let ignored = (2..6).contains(&index);
            assert_eq!(answers(&other, &request), ignored, "byte {index}");
        }
        assert!(!answers(&echo[..echo.len() - 1], &request), "cut off");
        assert!(
            !answers(&[&echo[..], &[0]].concat(), &request),
            "more than was sent"
        );
        assert!(!answers(&[], &request));
    }

    /// Whether it may send is the machine's matter.
    #[test]
    fn loopback_answers_where_the_kernel_lets_us_ask() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap();
        let mut bounds = range
            .split_whitespace()
            .map(|bound| bound.parse::<u32>().unwrap());
        let (low, high) = (bounds.next().unwrap(), bounds.next().unwrap());
        let group = rustix::process::getegid().as_raw();
        match echo(Ipv4Addr::LOCALHOST, Instant::now() + Duration::from_secs(5)) {
            Ok(time) => assert!(time > Duration::ZERO && time < Duration::from_secs(5), "{time:?}"),
            Err(error) => {
                assert!(matches!(error, ProbeError::NoIcmp), "{error:?}");
                assert!(!(low..=high).contains(&group), "group {group} may: {range}");
            }
        }
    }
}
