//! Where an enclave reports to its agent.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nautilus_channel::{KernelPeer, Stream};
use tokio::net::{TcpListener, UnixListener};

use super::{EnclaveError, MAX_SOCKET_PATH, Transport};

/// Where the agent waits for one enclave.
pub(super) enum Listener {
    Unix(Socket),
    Loopback {
        listener: TcpListener,
        address: SocketAddr,
    },
}

/// A connection that somebody made, and who that is, where the kernel says so.
pub(super) struct Accepted {
    pub(super) stream: Box<dyn Stream>,
    pub(super) kernel: Option<KernelPeer>,
}

impl Listener {
    pub(super) async fn bind(transport: Transport, run_directory: &Path) -> Result<Self, EnclaveError> {
        match transport {
            Transport::Unix => Socket::bind(run_directory.join(socket_name())).map(Self::Unix),
            Transport::Loopback { port } => {
                let failed = |source| EnclaveError::Port { port, source };
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                    .await
                    .map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                Ok(Self::Loopback { listener, address })
            }
        }
    }

    /// As the enclave takes it.
    pub(super) fn address(&self) -> OsString {
        match self {
            Self::Unix(socket) => {
                let mut address = OsString::from("unix://");
                address.push(&socket.path);
                address
            }
            Self::Loopback { address, .. } => format!("tcp://{address}").into(),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                Ok(Accepted {
                    kernel: Some(KernelPeer::of(&stream)?),
                    stream: Box::new(stream),
                })
            }
            Self::Loopback { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                // Questions and answers are small and wait for each other.
                stream.set_nodelay(true)?;
                Ok(Accepted {
                    kernel: None,
                    stream: Box::new(stream),
                })
            }
        }
    }
}

/// A listening socket whose file goes when it goes.
pub(super) struct Socket {
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
pub(super) fn sweep(run_directory: &Path) {
    let entries = std::fs::read_dir(run_directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix("enclave-")?.strip_suffix(".sock"))
            .and_then(|name| name.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Nothing depends on it: it only looks untidy.
            let _gone = std::fs::remove_file(entry.path());
        }
    }
}

/// A name that no other enclave of any agent has: the process id, so that it is known whose it was, and a number.
fn socket_name() -> String {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    format!("enclave-{}-{number}.sock", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_gone_processes_are_swept_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let alive = socket_name();
        // Above the kernel's largest process id, 2^22.
        let names = ["enclave-4194305-7.sock", "enclave-x-7.sock", "other", &alive];
        for name in names {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        sweep(directory.path());
        let left = names.map(|name| directory.path().join(name).exists());
        assert_eq!(left, [false, true, true, true]);
    }
}
