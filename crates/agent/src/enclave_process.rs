//! The enclave as a process of its own: started, spoken to, and ended by the agent.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nautilus_core::{BoundUserData, Digest32, NodeId, Purpose};
use nautilus_enclave::{
    EnclaveFault, FrameError, Identity, MAX_FRAME, Reply, Request, decode_frame, encode_frame,
};
use nautilus_verifier::private_file;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// An enclave that has not connected by then never will.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Longest that a request may take: quotes of real hardware take seconds at worst.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// An enclave whose connection closed ends by itself within this, or is killed.
const STOP_DEADLINE: Duration = Duration::from_millis(500);
/// Longest socket path that the kernel takes (unix(7): 108 bytes with the closing zero).
const MAX_SOCKET_PATH: usize = 107;

/// Why the enclave cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnclaveError {
    /// The program is not there or cannot be read.
    #[error("cannot read enclave image {}: set `enclave_image` to the path of nautilus-enclave", path.display())]
    Image {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
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
    /// The directory for the socket cannot be made.
    #[error("cannot create {}", path.display())]
    Directory {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The program does not start.
    #[error("cannot start enclave {}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The program ended or stayed silent instead of connecting.
    #[error("enclave did not connect: {0}")]
    NotConnected(String),
    /// Some other process connected.
    #[error("process {found} connected to the enclave's socket instead of the enclave")]
    WrongPeer {
        /// The process.
        found: String,
    },
    /// The connection broke: the enclave ended.
    #[error("connection to the enclave broke")]
    Lost(#[source] io::Error),
    /// It did not answer in time.
    #[error("enclave did not answer within {} s", REQUEST_DEADLINE.as_secs())]
    Silent,
    /// It sent something that is no reply.
    #[error("enclave broke the protocol")]
    Frame(#[from] FrameError),
    /// It answered another question.
    #[error("enclave answered something else than it was asked")]
    WrongReply,
    /// It refused.
    #[error("enclave refused")]
    Refused(#[from] EnclaveFault),
}

/// A running enclave.
pub struct EnclaveProcess {
    child: Child,
    stream: UnixStream,
    pid: u32,
}

impl EnclaveProcess {
    /// Starts `image` as the simulated TEE with the platform keys in `simulated`; its socket goes into
    /// `run_directory`. Whoever connects must be the started process, run by the same user.
    ///
    /// # Errors
    /// If it does not start, or something else connects.
    pub async fn start(image: &Path, run_directory: &Path, simulated: &Path) -> Result<Self, EnclaveError> {
        private_file::create_directory(run_directory).map_err(|source| EnclaveError::Directory {
            path: run_directory.to_owned(),
            source,
        })?;
        sweep(run_directory);
        let socket = Socket::bind(run_directory.join(format!("enclave-{}.sock", std::process::id())))?;
        let mut child = Command::new(image)
            .arg("--socket")
            .arg(&socket.path)
            .arg("--simulated")
            .arg(simulated)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // Ctrl-C is for the agent, which closes the last window before the enclave may end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| EnclaveError::Start {
                path: image.to_owned(),
                source,
            })?;
        let stream = tokio::select! {
            accepted = timeout(START_DEADLINE, socket.listener.accept()) => match accepted {
                Ok(Ok((stream, _))) => stream,
                Ok(Err(error)) => return Err(EnclaveError::NotConnected(error.to_string())),
                Err(_) => return Err(EnclaveError::NotConnected("it stayed silent".to_owned())),
            },
            ended = child.wait() => {
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(EnclaveError::NotConnected(format!("it ended with {how}")));
            }
        };
        let peer = stream.peer_cred().map_err(EnclaveError::Lost)?;
        let pid = child.id().unwrap_or_default();
        let expected = (i32::try_from(pid).ok(), rustix::process::geteuid().as_raw());
        if (peer.pid(), peer.uid()) != expected {
            let found = format!("{} of user {}", peer.pid().unwrap_or_default(), peer.uid());
            return Err(EnclaveError::WrongPeer { found });
        }
        Ok(Self { child, stream, pid })
    }

    /// Its process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If the enclave is gone, silent, or refuses. After any but a refusal it must not be used again.
    pub async fn request(&mut self, request: &Request) -> Result<Reply, EnclaveError> {
        let frame = encode_frame(request)?;
        let exchange = async {
            self.stream.write_all(&frame).await.map_err(EnclaveError::Lost)?;
            let length = self.stream.read_u32_le().await.map_err(EnclaveError::Lost)?;
            if length > MAX_FRAME {
                return Err(FrameError::TooLong {
                    length: length.into(),
                }
                .into());
            }
            let mut body = vec![0; length as usize];
            self.stream
                .read_exact(&mut body)
                .await
                .map_err(EnclaveError::Lost)?;
            Ok(decode_frame(&body)?)
        };
        match timeout(REQUEST_DEADLINE, exchange).await {
            Ok(Ok(Reply::Refused(fault))) => Err(fault.into()),
            Ok(result) => result,
            Err(_) => Err(EnclaveError::Silent),
        }
    }

    /// Ends the enclave: its connection closes, and if that does not end it, it is killed.
    pub async fn stop(self) {
        let Self {
            mut child, stream, ..
        } = self;
        drop(stream);
        if timeout(STOP_DEADLINE, child.wait()).await.is_err() {
            // The only failure is that it ended in the meantime.
            let _ended = child.kill().await;
        }
    }
}

/// A listening socket whose file goes when it goes.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    fn bind(path: PathBuf) -> Result<Self, EnclaveError> {
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(EnclaveError::SocketPath { path });
        }
        // A leftover of a killed process that had our process id; its absence is the normal case.
        let _absent = std::fs::remove_file(&path);
        match UnixListener::bind(&path) {
            Ok(listener) => Ok(Self { listener, path }),
            Err(source) => Err(EnclaveError::Socket { path, source }),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nothing depends on it: the next start sweeps it away too.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Removes the sockets of agents that were killed before they could: their names hold process ids that are gone.
fn sweep(run_directory: &Path) {
    let entries = std::fs::read_dir(run_directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix("enclave-")?.strip_suffix(".sock"))
            .and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Nothing depends on it: it only looks untidy.
            let _gone = std::fs::remove_file(entry.path());
        }
    }
}

/// What the evidence of `enclave` binds, if it is what that enclave should bind: wallets sign and verifiers get
/// nothing else.
///
/// # Errors
/// [`EnclaveError::WrongReply`] if it binds something else.
pub(crate) fn bound_user_data(
    enclave: &Identity,
    bytes: &[u8],
    node: NodeId,
    purpose: Purpose,
) -> Result<BoundUserData, EnclaveError> {
    BoundUserData::from_canonical(bytes)
        .filter(|bound| (bound.node, bound.purpose) == (node, purpose))
        .filter(|bound| {
            (bound.tee, bound.boot, bound.tee_key) == (enclave.tee, enclave.boot, enclave.tee_key)
        })
        .ok_or(EnclaveError::WrongReply)
}

/// SHA-256 of an enclave's program: the simulated TEE's MRENCLAVE, and the policy's reference value.
///
/// # Errors
/// If it cannot be read.
pub fn image_hash(path: &Path) -> Result<Digest32, EnclaveError> {
    let hash = || {
        let mut hasher = Sha256::new();
        io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
        Ok(Digest32(hasher.finalize().into()))
    };
    hash().map_err(|source| EnclaveError::Image {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_gone_processes_are_swept_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let alive = format!("enclave-{}.sock", std::process::id());
        // Above the kernel's largest process id, 2^22.
        let names = ["enclave-4194305.sock", "enclave-x.sock", "other", &alive];
        for name in names {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        sweep(directory.path());
        let left = names.map(|name| directory.path().join(name).exists());
        assert_eq!(left, [false, true, true, true]);
    }
}
