//! Whom the network collector asks how far away they are.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Most peers that are asked.
pub const MAX_PEERS: usize = 16;
/// The name of the verifier, whose distance comes from the attested session. No other peer can have it.
pub const VERIFIER: &str = "verifier";
/// Longest name of a peer: that of a label in the Domain Name System.
const MAX_NAME: usize = 63;
/// Longest name of a host: RFC 1035.
const MAX_HOST: usize = 253;

/// At most [`MAX_PEERS`], each with a name of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(Vec<Peer>);

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is called in the metrics.
    pub name: String,
    /// How it is asked.
    pub address: PeerAddress,
}

/// How a peer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAddress {
    /// By opening a TCP connection.
    Tcp {
        /// An IP address without brackets, or a name.
        host: String,
        /// The port.
        port: u16,
    },
    /// The gateway of the default route, by an ICMP echo.
    Gateway,
    /// The API servers that K3s's agent has noted, by opening a TCP connection to the first that answers.
    K3sApiServer,
}

/// The list of peers is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    /// More than [`MAX_PEERS`].
    #[error("more than {MAX_PEERS} peers")]
    TooMany,
    /// No name before the address.
    #[error("`{text}` has no name: write NAME=tcp://HOST:PORT, gateway=auto or api-server=auto")]
    NoName {
        /// What stands there.
        text: String,
    },
    /// A name that would make a bad label.
    #[error("`{name}` is no name of a peer: letters, digits, `.`, `_` and `-`, at most {MAX_NAME}")]
    Name {
        /// The name.
        name: String,
    },
    /// The verifier's name.
    #[error("the name `{VERIFIER}` is kept for the verifier of the attested session")]
    Reserved,
    /// Two peers of one name.
    #[error("two peers are named `{name}`")]
    Double {
        /// The name.
        name: String,
    },
    /// An automatic address of something that has none.
    #[error("only `gateway` and `api-server` are found by themselves: write {name}=tcp://HOST:PORT")]
    Auto {
        /// The name.
        name: String,
    },
    /// An address of another form.
    #[error(
        "the address of peer `{name}` is `{address}`: write tcp://HOST:PORT, an IPv6 address in brackets"
    )]
    Address {
        /// The peer.
        name: String,
        /// Its address.
        address: String,
    },
}

/// As it is read, so that a configuration that is shown can be used again.
impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Peer { name, address }) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            match address {
                PeerAddress::Tcp { host, port } if host.contains(':') => {
                    write!(f, "{name}=tcp://[{host}]:{port}")?;
                }
                PeerAddress::Tcp { host, port } => write!(f, "{name}=tcp://{host}:{port}")?,
                PeerAddress::Gateway | PeerAddress::K3sApiServer => write!(f, "{name}=auto")?,
            }
        }
        Ok(())
    }
}

impl Peers {
    /// These peers.
    ///
    /// # Errors
    /// If there are too many, or a name is bad, reserved or double.
    pub fn new(peers: impl IntoIterator<Item = Peer>) -> Result<Self, PeersError> {
        let mut all: Vec<Peer> = Vec::new();
        for peer in peers {
            if all.len() == MAX_PEERS {
                return Err(PeersError::TooMany);
            }
            let name = &peer.name;
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(known) {
                return Err(PeersError::Name { name: name.clone() });
            }
            if name == VERIFIER {
                return Err(PeersError::Reserved);
            }
            if all.iter().any(|other| other.name == *name) {
                return Err(PeersError::Double { name: name.clone() });
            }
            all.push(peer);
        }
        Ok(Self(all))
    }

    /// The peers, as they were given.
    pub fn as_slice(&self) -> &[Peer] {
        &self.0
    }
}

/// `NAME=tcp://HOST:PORT,gateway=auto,api-server=auto`; nothing is no peers.
impl FromStr for Peers {
    type Err = PeersError;

    fn from_str(text: &str) -> Result<Self, PeersError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // One more than there can be is enough to know that there are too many.
        let peers: Vec<Peer> = text
            .split(',')
            .take(MAX_PEERS.saturating_add(1))
            .map(|peer| peer.trim().parse())
            .collect::<Result<_, _>>()?;
        Self::new(peers)
    }
}

impl FromStr for Peer {
    type Err = PeersError;

    fn from_str(text: &str) -> Result<Self, PeersError> {
        let (name, address) = text.split_once('=').ok_or_else(|| PeersError::NoName {
            text: text.to_owned(),
        })?;
        let address = match (name, address) {
            ("gateway", "auto") => PeerAddress::Gateway,
            ("api-server", "auto") => PeerAddress::K3sApiServer,
            (name, "auto") => {
                return Err(PeersError::Auto {
                    name: name.to_owned(),
                });
            }
            (name, address) => tcp(address).ok_or_else(|| PeersError::Address {
                name: name.to_owned(),
                address: address.to_owned(),
            })?,
        };
        Ok(Self {
            name: name.to_owned(),
            address,
        })
    }
}

fn tcp(address: &str) -> Option<PeerAddress> {
    let (host, port) = address.strip_prefix("tcp://")?.rsplit_once(':')?;
    let port = port
        .parse::<u16>()
        .ok()
        .filter(|number| *number != 0 && !port.starts_with('+'))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .filter(|inner| inner.parse::<Ipv6Addr>().is_ok())?,
        None => host,
    };
    let bracketed = host.contains(':');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if host.is_empty() || host.len() > MAX_HOST || !(bracketed || host.bytes().all(known)) {
        return None;
    }
    // Without brackets, which colon ends an IPv6 address would be a guess.
    if bracketed && !address.contains('[') {
        return None;
    }
    Some(PeerAddress::Tcp {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Peer> {
        text.parse::<Peers>().unwrap().0
    }

    fn peer(name: &str, address: PeerAddress) -> Peer {
        Peer {
            name: name.to_owned(),
            address,
        }
    }

    fn tcp_address(host: &str, port: u16) -> PeerAddress {
        PeerAddress::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn a_list_of_peers() {
        assert_eq!(parsed(""), []);
        assert_eq!(
            parsed("db=tcp://db.example:5432, six=tcp://[fd00::1]:443,gateway=auto,api-server=auto"),
            [
                peer("db", tcp_address("db.example", 5432)),
                peer("six", tcp_address("fd00::1", 443)),
                peer("gateway", PeerAddress::Gateway),
                peer("api-server", PeerAddress::K3sApiServer),
            ]
        );
        assert_eq!(
            parsed("gateway=tcp://10.0.0.1:53"),
            [peer("gateway", tcp_address("10.0.0.1", 53))]
        );
    }

    #[test]
    fn what_is_no_list_of_peers() {
        let refused = |text: &str| text.parse::<Peers>().unwrap_err();
        let name = |name: &str| PeersError::Name {
            name: name.to_owned(),
        };
        assert_eq!(
            refused("tcp://a:1"),
            PeersError::NoName {
                text: "tcp://a:1".to_owned()
            }
        );
        assert_eq!(refused("=tcp://a:1"), name(""));
        assert_eq!(refused("a\"b=tcp://a:1"), name("a\"b"));
        let long = "n".repeat(MAX_NAME + 1);
        assert_eq!(refused(&format!("{long}=tcp://a:1")), name(&long));
        assert_eq!(refused("verifier=tcp://a:1"), PeersError::Reserved);
        assert_eq!(
            refused("a=tcp://a:1,a=tcp://b:1"),
            PeersError::Double { name: "a".to_owned() }
        );
        assert_eq!(
            refused("db=auto"),
            PeersError::Auto {
                name: "db".to_owned()
            }
        );
        for address in [
            "",
            "a:1",
            "udp://a:1",
            "tcp://a",
            "tcp://a:",
            "tcp://a:0",
            "tcp://a:+1",
            "tcp://a:65536",
            "tcp://a:1/",
            "tcp://:1",
            "tcp://a b:1",
            "tcp://fd00::1:443",
            "tcp://[fd00::1:443",
            "tcp://[a]:443",
            "tcp://[]:443",
        ] {
            assert_eq!(
                refused(&format!("x={address}")),
                PeersError::Address {
                    name: "x".to_owned(),
                    address: address.to_owned()
                }
            );
        }
        let many = |count: usize| {
            let list: Vec<_> = (0..count).map(|at| format!("p{at}=tcp://a:1")).collect();
            list.join(",")
        };
        assert_eq!(parsed(&many(MAX_PEERS)).len(), MAX_PEERS);
        assert_eq!(refused(&many(MAX_PEERS + 1)), PeersError::TooMany);
        assert_eq!(refused(&many(10_000)), PeersError::TooMany);
    }
}
