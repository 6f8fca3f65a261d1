//! Waiting for peers.

use std::io;

use tokio::net::TcpListener;
use tokio_vsock::{VsockAddr, VsockListener};

use super::address::check_socket_path;
use super::unix::SocketFile;
use super::{Address, Origin, Stream};
use crate::error::ChannelError;
use crate::peer::KernelPeer;

/// Where peers connect to.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    local: Address,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(SocketFile),
    Vsock(VsockListener),
}

impl Listener {
    /// Listens at `address`. The file of a Unix socket is its user's alone (mode 0600), takes the place of one that
    /// nobody listens at any more, and goes with the listener.
    ///
    /// # Errors
    /// [`ChannelError::Io`] with the address and what went wrong: somebody listens there, the name is that of another
    /// file, or the system does not have this transport.
    pub async fn bind(address: &Address) -> Result<Self, ChannelError> {
        bind(address)
            .await
            .map_err(|error| ChannelError::Io(format!("cannot listen at {address}: {error}")))
    }

    /// Waits for the next connection. Dropping the future loses none.
    ///
    /// # Errors
    /// [`ChannelError::Io`] if the system has no means for another connection now, such as file descriptors. The
    /// listener can be used further, after a pause.
    pub async fn accept(&self) -> Result<(Box<dyn Stream>, Origin), ChannelError> {
        loop {
            match self.accept_one().await {
                Ok(accepted) => return Ok(accepted),
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    let local = &self.local;
                    return Err(ChannelError::Io(format!("cannot accept at {local}: {error}")));
                }
            }
        }
    }

    /// Where it listens: with the port that the system chose, if it chose one.
    pub const fn local_address(&self) -> &Address {
        &self.local
    }

    async fn accept_one(&self) -> io::Result<(Box<dyn Stream>, Origin)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // It fails where the peer has gone.
                stream.set_nodelay(true).map_err(gone)?;
                Ok((Box::new(stream), Origin::Tcp(address)))
            }
            Kind::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let peer = KernelPeer::of(&stream).map_err(gone)?;
                Ok((Box::new(stream), Origin::Unix(peer)))
            }
            Kind::Vsock(listener) => {
                let (stream, address) = listener.accept().await?;
                let origin = Origin::Vsock {
                    cid: address.cid(),
                    port: address.port(),
                };
                Ok((Box::new(stream), origin))
            }
        }
    }
}

async fn bind(address: &Address) -> io::Result<Listener> {
    match address {
        Address::Tcp { host, port } => {
            let listener = TcpListener::bind((host.as_str(), *port)).await?;
            let bound = listener.local_addr()?;
            // A name stays as it was given: who reads it may know no other.
            let host = match host.parse::<std::net::IpAddr>() {
                Ok(_) => bound.ip().to_string(),
                Err(_) => host.clone(),
            };
            Ok(Listener {
                kind: Kind::Tcp(listener),
                local: Address::Tcp {
                    host,
                    port: bound.port(),
                },
            })
        }
        Address::Unix(path) => {
            check_socket_path(path).map_err(io::Error::other)?;
            Ok(Listener {
                kind: Kind::Unix(SocketFile::bind(path).await?),
                local: address.clone(),
            })
        }
        Address::Vsock { cid, port } => {
            let listener = VsockListener::bind(VsockAddr::new(*cid, *port))?;
            let bound = listener.local_addr()?;
            Ok(Listener {
                kind: Kind::Vsock(listener),
                local: Address::Vsock {
                    cid: bound.cid(),
                    port: bound.port(),
                },
            })
        }
    }
}

fn gone(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}

/// Faults of one connection, which ended before it was accepted: the next may be well (accept(2)).
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
            | Kind::Interrupted
    )
}
