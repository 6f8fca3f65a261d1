//! The enclave's loop: one connection to the process that started it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::core::Enclave;
use crate::protocol::{FrameError, MAX_FRAME, Request, decode_frame, encode_frame};

/// Why the enclave stopped serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The connection broke.
    #[error("connection to the agent broke")]
    Io(#[from] io::Error),
    /// The agent sent something that is no request.
    #[error("agent broke the protocol")]
    Frame(#[from] FrameError),
    /// The other end is not who it should be.
    #[error("peer is process {found_pid} of user {found_uid}, expected process {pid} of user {uid}")]
    WrongPeer {
        /// Process id expected.
        pid: i32,
        /// User id expected.
        uid: u32,
        /// Process id found.
        found_pid: i32,
        /// User id found.
        found_uid: u32,
    },
}

/// A connection to the parent process, run by the same user: the kernel says who is there.
pub struct Connection(UnixStream);

impl Connection {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// If nobody listens there, or another does.
    pub fn to_parent(path: &Path) -> Result<Self, ServeError> {
        let stream = UnixStream::connect(path)?;
        check_peer(&stream)?;
        Ok(Self(stream))
    }

    /// Answers requests until the agent closes the connection.
    ///
    /// # Errors
    /// If the connection breaks, or a frame is no request.
    pub fn serve(mut self, mut enclave: Enclave) -> Result<(), ServeError> {
        while let Some(request) = read_request(&mut self.0)? {
            let reply = enclave.handle(request);
            self.0.write_all(&encode_frame(&reply)?)?;
        }
        Ok(())
    }
}

fn check_peer(stream: &UnixStream) -> Result<(), ServeError> {
    let peer = rustix::net::sockopt::socket_peercred(stream).map_err(io::Error::from)?;
    let pid = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let uid = rustix::process::geteuid().as_raw();
    let (found_pid, found_uid) = (peer.pid.as_raw_nonzero().get(), peer.uid.as_raw());
    if (found_pid, found_uid) == (pid, uid) {
        Ok(())
    } else {
        Err(ServeError::WrongPeer {
            pid,
            uid,
            found_pid,
            found_uid,
        })
    }
}

/// The next request; none at the end of the connection between two frames.
fn read_request(stream: &mut UnixStream) -> Result<Option<Request>, ServeError> {
    let mut length = [0; 4];
    let read = stream.read(&mut length)?;
    if read == 0 {
        return Ok(None);
    }
    stream.read_exact(length.get_mut(read..).unwrap_or_default())?;
    let length = u32::from_le_bytes(length);
    if length > MAX_FRAME {
        return Err(FrameError::TooLong {
            length: length.into(),
        }
        .into());
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok(Some(decode_frame(&body)?))
}
