//! Where the agent listens.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Where the agent listens: on this machine, or on the host of this virtual machine. Nowhere else is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket: `unix://PATH`, the path being absolute.
    Unix(PathBuf),
    /// A port of this machine: `tcp://127.0.0.1:PORT`.
    Loopback(SocketAddr),
    /// A port between a virtual machine and its host (vsock(7)): `vsock://CID:PORT`.
    Vsock {
        /// Context id of who listens.
        cid: u32,
        /// The port.
        port: u32,
    },
}

/// Why text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is written otherwise.
    #[error(
        "{} is no address: write unix://PATH with an absolute path, tcp://127.0.0.1:PORT or vsock://CID:PORT",
        .0.display()
    )]
    Malformed(OsString),
    /// The agent is on this machine.
    #[error("{0} is not an address of this machine: the agent listens on loopback")]
    NotLoopback(SocketAddr),
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// If it is none, or leads off this machine.
    pub fn parse(text: &OsStr) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        if let Some(path) = text.as_bytes().strip_prefix(b"unix://") {
            let path = PathBuf::from(OsStr::from_bytes(path));
            return path
                .is_absolute()
                .then_some(Self::Unix(path))
                .ok_or_else(malformed);
        }
        let words = text.to_str().ok_or_else(malformed)?;
        if let Some(address) = words.strip_prefix("tcp://") {
            let address: SocketAddr = address.parse().map_err(|_| malformed())?;
            return match address.ip().is_loopback() {
                true => Ok(Self::Loopback(address)),
                false => Err(AddressError::NotLoopback(address)),
            };
        }
        let (cid, port) = words
            .strip_prefix("vsock://")
            .and_then(|numbers| numbers.split_once(':'))
            .ok_or_else(malformed)?;
        match (cid.parse(), port.parse()) {
            (Ok(cid), Ok(port)) => Ok(Self::Vsock { cid, port }),
            _ => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_its_host_are_read() {
        let read = |text: &str| Address::parse(text.as_ref());
        assert_eq!(read("unix:///run/a b"), Ok(Address::Unix("/run/a b".into())));
        let port = SocketAddr::from(([127, 0, 0, 1], 9000));
        assert_eq!(read("tcp://127.0.0.1:9000"), Ok(Address::Loopback(port)));
        assert!(matches!(read("tcp://[::1]:1"), Ok(Address::Loopback(_))));
        assert_eq!(read("vsock://3:9000"), Ok(Address::Vsock { cid: 3, port: 9000 }));
        let odd = OsStr::from_bytes(b"unix:///run/\xff");
        assert_eq!(
            Address::parse(odd),
            Ok(Address::Unix(OsStr::from_bytes(b"/run/\xff").into()))
        );
    }

    #[test]
    fn anything_else_is_refused_and_named() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 1));
        let refused = Address::parse("tcp://192.0.2.1:1".as_ref());
        assert_eq!(refused, Err(AddressError::NotLoopback(elsewhere)));
        for text in [
            "",
            "/run/socket",
            "unix://run/socket",
            "tcp://localhost:1",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:65536",
            "vsock://3",
            "vsock://3:9000:1",
            "vsock://-1:9000",
            "vsock://4294967296:1",
            "http://127.0.0.1:1",
        ] {
            let text = OsStr::new(text);
            assert_eq!(
                Address::parse(text),
                Err(AddressError::Malformed(text.to_owned()))
            );
        }
        let odd = OsStr::from_bytes(b"tcp://\xff");
        assert_eq!(Address::parse(odd), Err(AddressError::Malformed(odd.to_owned())));
    }
}
