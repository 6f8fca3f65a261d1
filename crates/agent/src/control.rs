//! The socket on which a running node takes commands from its own user: one JSON line in, one JSON line out.
//!
//! It lies in the agent's directory, which is its owner's alone, and the kernel says who connected: nobody but the user
//! who runs the node is heard. It is no part of the HTTP API, which has no authentication yet.

mod client;
mod message;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nautilus_core::NodeId;
use nautilus_verifier::private_file;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::client::{AskError, ask};
pub use self::message::{Command, Failed, Reply};
use crate::attestation_service::{AttestationError, AttestationService};
use crate::enclave_manager::{EnclaveManager, Force, ManagerError, supervisor};
use crate::task::AbortOnDrop;

/// Longest request: a few names, and user data.
const MAX_REQUEST: u64 = 64 * 1024;
/// Commands at once. A person gives one; a sixty-fifth waits until one is done.
const MAX_CONNECTIONS: usize = 64;
/// A command that was not sent by then never will be.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// Longest that a command may take: a boot and its attestation at worst.
const COMMAND_DEADLINE: Duration = Duration::from_secs(90);
/// Whoever does not read the answer by then does not want it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Longest socket path that the kernel takes (unix(7): 108 bytes with the closing zero).
const MAX_SOCKET_PATH: usize = 107;

/// Why commands cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The socket cannot be made.
    #[error("cannot make socket {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The socket's path is longer than the kernel takes.
    #[error("socket path {} is longer than {MAX_SOCKET_PATH} bytes: choose a shorter --data-dir", path.display())]
    SocketPath {
        /// The path.
        path: PathBuf,
    },
}

/// What commands are about.
#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) manager: EnclaveManager,
    pub(crate) service: Arc<AttestationService>,
    pub(crate) node: NodeId,
}

/// A socket that takes commands, as long as this lives.
pub(crate) struct Control {
    path: PathBuf,
    _task: AbortOnDrop<()>,
}

/// Where the socket of the agent in `directory` is.
#[must_use]
pub fn socket_path(directory: &Path) -> PathBuf {
    directory.join("run").join("control.sock")
}

impl Control {
    /// Takes commands on the socket in the agent's `directory`.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub(crate) fn start(directory: &Path, commands: Commands) -> Result<Self, ControlError> {
        let path = socket_path(directory);
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(ControlError::SocketPath { path });
        }
        let listener = bind(&path).map_err(|source| ControlError::Socket {
            path: path.clone(),
            source,
        })?;
        let task = AbortOnDrop::new(tokio::spawn(serve(listener, commands)));
        Ok(Self { path, _task: task })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Nothing depends on it: the next start replaces it.
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        private_file::create_directory(directory)?;
    }
    // A leftover of a killed agent; its absence is the normal case.
    let _absent = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(listener: UnixListener, commands: Commands) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Ends with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let commands = commands.clone();
                connections.spawn(async move {
                    // Whoever broke the connection is not there to be told.
                    let _told = converse(stream, &commands).await;
                    drop(seat);
                });
            }
            // Out of descriptors, or the peer left at once: neither is a reason to be deaf.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: UnixStream, commands: &Commands) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    if peer.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    let received = timeout(
        REQUEST_DEADLINE,
        (&mut read).take(MAX_REQUEST).read_until(b'\n', &mut line),
    )
    .await;
    let reply = match received {
        Err(_) => Reply::failed("timeout", "no request came"),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(_)) if line.last() != Some(&b'\n') => {
            Reply::failed("bad_request", "a request is one line of at most 64 KiB")
        }
        Ok(Ok(_)) => match serde_json::from_slice::<Command>(&line) {
            Err(error) => Reply::failed("bad_request", &error.to_string()),
            Ok(command) => {
                // Whoever leaves gives up what was asked, and whatever that holds.
                let mut rest = [0; 1];
                tokio::select! {
                    reply = timeout(COMMAND_DEADLINE, commands.follow(command)) => {
                        reply.unwrap_or_else(|_| Reply::failed("timeout", "it took too long"))
                    }
                    _left = read.read(&mut rest) => return Ok(()),
                }
            }
        },
    };
    let mut answer = serde_json::to_vec(&reply)?;
    answer.push(b'\n');
    match timeout(ANSWER_DEADLINE, write.write_all(&answer)).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

impl Commands {
    async fn follow(&self, command: Command) -> Reply {
        let Self {
            manager,
            service,
            node,
        } = self;
        match command {
            Command::EnclaveCreate { name } => done(
                supervisor::create(manager, service, *node, name)
                    .await
                    .map_err(Failed::from),
            ),
            Command::EnclaveList {} => done(Ok(manager.list())),
            Command::EnclaveSuspend { name } => done(manager.suspend(&name).await.map_err(Failed::from)),
            Command::EnclaveResume { name } => done(manager.resume(&name).await.map_err(Failed::from)),
            Command::EnclaveRotate { name } => done(manager.rotate(&name).await.map_err(Failed::from)),
            Command::EnclaveTerminate { name, force } => {
                let force = if force { Force::Yes } else { Force::No };
                done(manager.terminate(&name, force).await.map_err(Failed::from))
            }
            Command::Attest { request } => {
                let answer = service.request(&request).await;
                done(answer.map(|answer| answer.response.clone()).map_err(Failed::from))
            }
        }
    }
}

fn done<T: Serialize>(result: Result<T, Failed>) -> Reply {
    match result.map(serde_json::to_value) {
        Ok(Ok(value)) => Reply::Ok(value),
        Ok(Err(error)) => Reply::failed("internal", &error.to_string()),
        Err(failed) => Reply::Error(failed),
    }
}

impl From<ManagerError> for Failed {
    fn from(error: ManagerError) -> Self {
        Self {
            kind: error.kind().to_owned(),
            detail: nautilus_verifier::told(&error),
        }
    }
}

impl From<AttestationError> for Failed {
    fn from(error: AttestationError) -> Self {
        Self {
            kind: error.kind().to_owned(),
            detail: nautilus_verifier::told(&error),
        }
    }
}
