//! What carries channels: TCP, Unix sockets, vsock, and memory for tests. None of them is trusted with anything; only a
//! Unix socket adds something, the kernel's word on the process at its other end.

mod address;
mod listener;
mod unix;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_vsock::{VsockAddr, VsockStream};

use crate::error::ChannelError;
use crate::peer::KernelPeer;

pub use self::address::{Address, AddressError};
pub use self::listener::Listener;

/// How much an in-memory stream holds in each direction before its writer waits, in bytes: as much as a Unix socket by
/// default, about.
const PAIR: usize = 128 * 1024;

/// Anything that carries bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// TCP, from this address: the word of the network.
    Tcp(SocketAddr),
    /// A Unix socket, from this process: the word of the kernel.
    Unix(KernelPeer),
    /// vsock.
    Vsock {
        /// The context id of the machine, by the word of the hypervisor.
        cid: u32,
        /// Its port.
        port: u32,
    },
    /// The memory of this process.
    Memory,
}

impl Origin {
    /// The transport's name.
    pub const fn transport(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Unix(_) => "unix",
            Self::Vsock { .. } => "vsock",
            Self::Memory => "memory",
        }
    }

    /// The process at the other end; none where the kernel does not know it.
    pub const fn kernel(&self) -> Option<KernelPeer> {
        match self {
            Self::Unix(peer) => Some(*peer),
            Self::Tcp(_) | Self::Vsock { .. } | Self::Memory => None,
        }
    }
}

/// For people.
impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "tcp://{address}"),
            Self::Unix(peer) => write!(formatter, "process {} of user {}", peer.pid(), peer.uid()),
            Self::Vsock { cid, port } => write!(formatter, "vsock://{cid}:{port}"),
            Self::Memory => formatter.write_str("this process"),
        }
    }
}

impl Address {
    /// Connects within `deadline`. A host with several addresses is tried at each of them; one that does not answer
    /// leaves the others their share of the time.
    ///
    /// # Errors
    /// [`ChannelError::Io`] with the address and what went wrong.
    pub async fn connect(&self, deadline: Duration) -> Result<Box<dyn Stream>, ChannelError> {
        let start = Instant::now();
        let connected: io::Result<Box<dyn Stream>> = match self {
            Self::Tcp { host, port } => connect_tcp(host, *port, start, deadline)
                .await
                .map(|stream| Box::new(stream) as _),
            Self::Unix(path) => match address::check_socket_path(path) {
                Ok(()) => within(start, deadline, UnixStream::connect(path))
                    .await
                    .map(|stream| Box::new(stream) as _),
                Err(error) => Err(io::Error::other(error)),
            },
            Self::Vsock { cid, port } => {
                within(start, deadline, VsockStream::connect(VsockAddr::new(*cid, *port)))
                    .await
                    .map(|stream| Box::new(stream) as _)
            }
        };
        connected.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut if start.elapsed() >= deadline => {
                ChannelError::Io(format!("{self} did not answer within {deadline:?}"))
            }
            _ => ChannelError::Io(format!("cannot connect to {self}: {error}")),
        })
    }
}

/// Two ends of a connection in memory.
pub fn pair() -> (Box<dyn Stream>, Box<dyn Stream>) {
    let (one, other) = tokio::io::duplex(PAIR);
    (Box::new(one), Box::new(other))
}

async fn connect_tcp(host: &str, port: u16, start: Instant, deadline: Duration) -> io::Result<TcpStream> {
    let addresses: Vec<_> = within(start, deadline, lookup_host((host, port)))
        .await?
        .collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "host has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_sub(start.elapsed());
        let untried = u32::try_from(addresses.len().saturating_sub(tried)).unwrap_or(u32::MAX);
        let share = left.checked_div(untried).unwrap_or_default();
        match within(Instant::now(), share, TcpStream::connect(address)).await {
            Ok(stream) => {
                // Frames are written whole: waiting for more to send would only cost time.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn within<T>(
    start: Instant,
    deadline: Duration,
    attempt: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let Some(until) = start.checked_add(deadline) else {
        return attempt.await;
    };
    match timeout_at(until, attempt).await {
        Ok(result) => result,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests;
