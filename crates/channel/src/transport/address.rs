//! Where a channel's peer is.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest text of an address, in bytes: a host's name has 253 at most (RFC 1035, section 3.1), a socket's path 107.
const MAX_ADDRESS: usize = 300;
/// Longest name of a host, in bytes.
const MAX_HOST: usize = 253;
/// Longest socket path that the kernel takes, in bytes (unix(7): 108 with the closing zero).
pub(super) const MAX_SOCKET_PATH: usize = 107;
/// Of `https`.
const HTTPS_PORT: u16 = 443;

/// Where a peer is, or where to wait for peers. Written as `tcp://HOST:PORT`, `unix:///absolute/path` or
/// `vsock://CID:PORT`. `https://HOST[:PORT]` is read as TCP to port 443 or to that which it names: the specification's
/// `attestation_url` has this form. What is spoken is the attested channel in any case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp {
        /// A name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// The port; 0 lets the system choose one to listen at.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
    /// A socket between a virtual machine and its host.
    Vsock {
        /// The machine's context id: 2 is the host, 1 the machine itself, 4294967295 any to listen at.
        cid: u32,
        /// The port; 4294967295 lets the system choose one to listen at.
        port: u32,
    },
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No address has that many bytes.
    #[error("address has {length} bytes, more than the {MAX_ADDRESS} allowed")]
    TooLong {
        /// Its length, in bytes.
        length: usize,
    },
    /// It starts with none of the known schemes.
    #[error(
        "address `{0}` must be tcp://HOST:PORT, https://HOST[:PORT], unix:///absolute/path or vsock://CID:PORT"
    )]
    Scheme(String),
    /// The host is neither a name nor an IP address.
    #[error(
        "host `{0}` must be a name of letters, digits, `-`, `_` and `.`, an IPv4 address, or an IPv6 address in brackets"
    )]
    Host(String),
    /// There is no port.
    #[error("address `{0}` needs a port: HOST:PORT or CID:PORT")]
    PortMissing(String),
    /// The port is none.
    #[error("port `{port}` must be a number from 0 to {largest}")]
    Port {
        /// What stands in its place.
        port: String,
        /// The largest that there is.
        largest: u32,
    },
    /// The context id is none.
    #[error(
        "vsock context id `{0}` must be a number from 0 to 4294967295: 2 is the host, 1 the machine itself"
    )]
    Cid(String),
    /// An `https` address with more than host and port.
    #[error("address `{0}` must end after its host and port: a channel has no path, query or fragment")]
    Remainder(String),
    /// The socket's path is not absolute, or names a directory.
    #[error("socket path `{0}` must be absolute and name a file: unix:///run/nautilus/channel.sock")]
    Path(String),
    /// The socket's path is longer than the kernel takes.
    #[error("socket path {} has more than {MAX_SOCKET_PATH} bytes: choose a shorter one", .0.display())]
    PathTooLong(PathBuf),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_ADDRESS {
            return Err(AddressError::TooLong { length: text.len() });
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        match scheme {
            "tcp" => {
                let (host, port) = host_and_port(rest)?;
                let port = port.ok_or_else(|| AddressError::PortMissing(text.to_owned()))?;
                Ok(Self::Tcp { host, port })
            }
            "https" => {
                let authority = rest.strip_suffix('/').unwrap_or(rest);
                if authority.contains(['/', '?', '#']) {
                    return Err(AddressError::Remainder(text.to_owned()));
                }
                let (host, port) = host_and_port(authority)?;
                Ok(Self::Tcp {
                    host,
                    port: port.unwrap_or(HTTPS_PORT),
                })
            }
            "unix" => socket_path(rest),
            "vsock" => {
                let (cid, port) = rest
                    .split_once(':')
                    .ok_or_else(|| AddressError::PortMissing(text.to_owned()))?;
                Ok(Self::Vsock {
                    cid: number(cid).ok_or_else(|| AddressError::Cid(cid.to_owned()))?,
                    port: port_number(port, u32::MAX)?,
                })
            }
            _ => Err(AddressError::Scheme(text.to_owned())),
        }
    }
}

/// As [`FromStr`] reads it.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Vsock { cid, port } => write!(formatter, "vsock://{cid}:{port}"),
        }
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), AddressError> {
    let wrong = |host: &str| AddressError::Host(host.to_owned());
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(|| wrong(text))?;
            host.parse::<Ipv6Addr>().map_err(|_| wrong(text))?;
            (host, rest)
        }
        None => {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(known) {
                return Err(wrong(host));
            }
            (host, rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => {
            let number = port_number(port, u16::MAX.into())?;
            Some(u16::try_from(number).map_err(|_| port_error(port, u16::MAX.into()))?)
        }
        None if rest.is_empty() => None,
        None => return Err(wrong(text)),
    };
    Ok((host.to_owned(), port))
}

fn port_number(port: &str, largest: u32) -> Result<u32, AddressError> {
    number(port)
        .filter(|number| *number <= largest)
        .ok_or_else(|| port_error(port, largest))
}

fn port_error(port: &str, largest: u32) -> AddressError {
    AddressError::Port {
        port: port.to_owned(),
        largest,
    }
}

/// Digits and nothing else: `parse` alone takes a plus sign too.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn socket_path(text: &str) -> Result<Address, AddressError> {
    let names_a_file = text.starts_with('/') && !text.ends_with(['/', '.']) && !text.contains('\0');
    if !names_a_file {
        return Err(AddressError::Path(text.to_owned()));
    }
    check_socket_path(Path::new(text))?;
    Ok(Address::Unix(PathBuf::from(text)))
}

/// # Errors
/// [`AddressError::PathTooLong`] if the kernel would not take it.
pub(super) fn check_socket_path(path: &Path) -> Result<(), AddressError> {
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(AddressError::PathTooLong(path.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        let table = [
            (
                "tcp://127.0.0.1:7000",
                tcp("127.0.0.1", 7000),
                "tcp://127.0.0.1:7000",
            ),
            ("tcp://localhost:0", tcp("localhost", 0), "tcp://localhost:0"),
            ("tcp://[::1]:7000", tcp("::1", 7000), "tcp://[::1]:7000"),
            (
                "tcp://a_b.c-d.example.:65535",
                tcp("a_b.c-d.example.", 65535),
                "tcp://a_b.c-d.example.:65535",
            ),
            (
                "https://attestation.nautilus.network",
                tcp("attestation.nautilus.network", 443),
                "tcp://attestation.nautilus.network:443",
            ),
            ("https://a.example/", tcp("a.example", 443), "tcp://a.example:443"),
            (
                "https://a.example:8443/",
                tcp("a.example", 8443),
                "tcp://a.example:8443",
            ),
            ("https://[fe80::1]", tcp("fe80::1", 443), "tcp://[fe80::1]:443"),
            (
                "unix:///run/n.sock",
                Address::Unix("/run/n.sock".into()),
                "unix:///run/n.sock",
            ),
            (
                "vsock://2:9000",
                Address::Vsock { cid: 2, port: 9000 },
                "vsock://2:9000",
            ),
            (
                "vsock://4294967295:4294967295",
                Address::Vsock {
                    cid: u32::MAX,
                    port: u32::MAX,
                },
                "vsock://4294967295:4294967295",
            ),
        ];
        for (text, address, written) in table {
            assert_eq!(text.parse(), Ok(address.clone()), "{text}");
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        }
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        let scheme = |text: &str| AddressError::Scheme(text.to_owned());
        let host = |text: &str| AddressError::Host(text.to_owned());
        let no_port = |text: &str| AddressError::PortMissing(text.to_owned());
        let port = |text: &str, largest: u32| AddressError::Port {
            port: text.to_owned(),
            largest,
        };
        let path = |text: &str| AddressError::Path(text.to_owned());
        let cid = |text: &str| AddressError::Cid(text.to_owned());
        let remainder = |text: &str| AddressError::Remainder(text.to_owned());
        let table = [
            ("", scheme("")),
            ("localhost:7000", scheme("localhost:7000")),
            ("http://a.example", scheme("http://a.example")),
            ("TCP://a.example:1", scheme("TCP://a.example:1")),
            ("tcp://", host("")),
            ("tcp://:7000", host("")),
            ("tcp://a.example", no_port("tcp://a.example")),
            ("tcp://[::1]", no_port("tcp://[::1]")),
            ("tcp://a.example:", port("", 65535)),
            ("tcp://a.example:65536", port("65536", 65535)),
            ("tcp://a.example:+80", port("+80", 65535)),
            ("tcp://a.example:-1", port("-1", 65535)),
            (
                "tcp://a.example:99999999999999999999",
                port("99999999999999999999", 65535),
            ),
            ("tcp://a.example:80/", port("80/", 65535)),
            ("tcp://::1:80", host("")),
            ("tcp://fe80::1:80", port(":1:80", 65535)),
            ("tcp://[::1:80", host("[::1:80")),
            ("tcp://[::1]80", host("[::1]80")),
            ("tcp://[fe80::1%eth0]:80", host("[fe80::1%eth0]:80")),
            ("tcp://[127.0.0.1]:80", host("[127.0.0.1]:80")),
            ("tcp://user@a.example:80", host("user@a.example")),
            ("tcp://a b:80", host("a b")),
            ("tcp://ä.example:80", host("ä.example")),
            ("https://a.example/path", remainder("https://a.example/path")),
            ("https://a.example//", remainder("https://a.example//")),
            ("https://a.example?q", remainder("https://a.example?q")),
            ("https://a.example#f", remainder("https://a.example#f")),
            ("https:///", host("")),
            ("https://a.example:/", port("", 65535)),
            ("unix://run/n.sock", path("run/n.sock")),
            ("unix://", path("")),
            ("unix:///", path("/")),
            ("unix:///run/", path("/run/")),
            ("unix:///run/..", path("/run/..")),
            ("unix:///run/a\0b", path("/run/a\0b")),
            ("vsock://2", no_port("vsock://2")),
            ("vsock://:1", cid("")),
            ("vsock://host:1", cid("host")),
            ("vsock://4294967296:1", cid("4294967296")),
            ("vsock://2:4294967296", port("4294967296", u32::MAX)),
            ("vsock://2:", port("", u32::MAX)),
            ("vsock://2:1:1", port("1:1", u32::MAX)),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let longest = "a".repeat(MAX_HOST);
        assert_eq!(format!("tcp://{longest}:65535").parse(), Ok(tcp(&longest, 65535)));
        let host = format!("{longest}a");
        assert_eq!(
            format!("tcp://{host}:1").parse::<Address>(),
            Err(AddressError::Host(host))
        );
        let path = format!("/{}", "a".repeat(MAX_SOCKET_PATH - 1));
        assert_eq!(
            format!("unix://{path}").parse(),
            Ok(Address::Unix(path.clone().into()))
        );
        let path = format!("{path}a");
        assert_eq!(
            format!("unix://{path}").parse::<Address>(),
            Err(AddressError::PathTooLong(path.into()))
        );
        let long = format!("tcp://{}", "a".repeat(100_000));
        assert_eq!(
            long.parse::<Address>(),
            Err(AddressError::TooLong { length: 100_006 })
        );
    }

    #[test]
    fn errors_say_what_is_allowed() {
        let text = "ftp://a".parse::<Address>().unwrap_err().to_string();
        for form in [
            "tcp://HOST:PORT",
            "https://HOST[:PORT]",
            "unix:///absolute/path",
            "vsock://CID:PORT",
        ] {
            assert!(text.contains(form), "{text}");
        }
    }
}
