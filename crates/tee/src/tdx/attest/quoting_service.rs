//! The host's quoting service (Intel's QGS), asked by a socket. It is not trusted: it can refuse, and it can hand out
//! what no verifier accepts.
//!
//! On the stream each message stands after its length in four bytes, big-endian (Intel, *SGX and TDX DCAP*,
//! `tdx_attest.c` and `qgs_server.cpp`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use nautilus_core::{AttestError, VerifyError};
use nautilus_sys::tdx_guest::REPORT_LEN;
use nautilus_sys::vsock;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::message::{MAX_RESPONSE, parse_quote_response, quote_request};

/// A service that said nothing for so long will not. Less than an attester may take at most, so that the service is
/// named.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Vsock { cid: u32, port: u32 },
    Unix(PathBuf),
}

impl Address {
    /// Where it listens unless it was told otherwise: on the host.
    pub(super) const HOST: Self = Self::Vsock {
        cid: vsock::HOST,
        port: 4050,
    };

    /// Reads `vsock:CID:PORT` or `unix:PATH`, the path being absolute.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let decimal = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        match text.split_once(':')? {
            ("vsock", address) => {
                let (cid, port) = address.split_once(':')?;
                Some(Self::Vsock {
                    cid: decimal(cid)?,
                    port: decimal(port)?,
                })
            }
            ("unix", path) if path.starts_with('/') => Some(Self::Unix(PathBuf::from(path))),
            _ => None,
        }
    }

    /// Has the service turn a `TDREPORT` into a quote.
    ///
    /// # Errors
    /// `Missing` if nobody listens, `NoAnswer` after 15 s of silence, `Refused` with the service's error.
    pub(super) fn quote(&self, report: &[u8; REPORT_LEN]) -> Result<Vec<u8>, AttestError> {
        let mut stream = File::from(self.connect()?);
        let request = quote_request(report);
        let length = u32::try_from(request.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut length_of_response = [0; 4];
        stream
            .write_all(&[&length[..], &request].concat())
            .and_then(|()| stream.read_exact(&mut length_of_response))
            .map_err(|error| self.failed("talk to", error))?;
        let length = usize::try_from(u32::from_be_bytes(length_of_response)).unwrap_or(usize::MAX);
        if length > MAX_RESPONSE {
            return Err(self.malformed(format!(
                "a response of {length} bytes, more than the {MAX_RESPONSE} allowed"
            )));
        }
        let mut response = vec![0; length];
        stream
            .read_exact(&mut response)
            .map_err(|error| self.failed("talk to", error))?;
        match parse_quote_response(&response) {
            Ok(quote) => Ok(quote.to_vec()),
            Err(VerifyError::AttributeInvalid { what }) => Err(AttestError::Refused {
                interface: self.to_string(),
                what,
            }),
            Err(VerifyError::Malformed { what, offset }) => {
                Err(self.malformed(format!("{what} at byte {offset}")))
            }
            Err(VerifyError::Unsupported { what }) => Err(self.malformed(what)),
            Err(VerifyError::TrailingBytes { offset, length }) => {
                Err(self.malformed(format!("{length} bytes after the quote, at byte {offset}")))
            }
            Err(fault) => Err(self.malformed(fault.to_string())),
        }
    }

    fn connect(&self) -> Result<OwnedFd, AttestError> {
        let connected = match self {
            Self::Vsock { cid, port } => vsock::connect_vsock(*cid, *port),
            Self::Unix(path) => UnixStream::connect(path).map(OwnedFd::from),
        };
        let stream = connected.map_err(|error| self.cannot_connect(error))?;
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&stream, direction, Some(PATIENCE))
                .map_err(|error| self.failed("set a timeout for", error.into()))?;
        }
        Ok(stream)
    }

    fn cannot_connect(&self, error: io::Error) -> AttestError {
        let hint = match Errno::from_io_error(&error) {
            Some(Errno::AFNOSUPPORT | Errno::NODEV) => {
                "this machine has no vsock: have the host give it a vhost-vsock device, or use a kernel with \
                 configfs-tsm"
            }
            Some(Errno::CONNREFUSED | Errno::CONNRESET | Errno::NOENT | Errno::TIMEDOUT) => {
                "nobody listens there: have the host run its quoting service (qgsd) on that port, or name its address \
                 as quote_provider"
            }
            _ => return self.failed("connect to", error),
        };
        AttestError::Missing {
            interface: self.to_string(),
            hint: hint.to_owned(),
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> AttestError {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AttestError::NoAnswer {
                interface: self.to_string(),
                after: PATIENCE,
            },
            io::ErrorKind::UnexpectedEof => {
                self.malformed("the stream ended in the middle of a message".to_owned())
            }
            _ => AttestError::Io {
                action,
                interface: self.to_string(),
                source,
            },
        }
    }

    fn malformed(&self, what: String) -> AttestError {
        AttestError::Malformed {
            interface: self.to_string(),
            what,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the quoting service at ")?;
        match self {
            Self::Vsock { cid, port } => write!(f, "vsock:{cid}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for text in [
            "vsock:2:4050",
            "vsock:0:4294967295",
            "unix:/run/qgs.socket",
            "unix:/a:b",
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), format!("the quoting service at {text}"));
        }
        assert_eq!(Address::parse("vsock:2:4050"), Some(Address::HOST));
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "vsock",
            "vsock:",
            "vsock:2",
            "vsock:2:",
            "vsock::4050",
            "vsock:-1:4050",
            "vsock:+2:4050",
            "vsock:2:4050:1",
            "vsock:4294967296:1",
            "unix:",
            "unix:run/qgs",
            "tcp:localhost:4050",
            "configfs",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
