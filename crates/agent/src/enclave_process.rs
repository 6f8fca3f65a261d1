//! The enclave as a process of its own: started, spoken to, and ended by the agent.

mod socket;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nautilus_core::{BoundUserData, Digest32, NodeId, Purpose, TeeKind};
use nautilus_enclave::{
    EnclaveFault, FrameError, Identity, MAX_FRAME, Reply, Request, decode_frame, encode_frame,
};
use nautilus_verifier::private_file;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use self::socket::{Socket, socket_name, sweep};

/// An enclave that has not connected by then never will.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Longest that a request may take for which the enclave asks its TEE: quotes and counters of real hardware take seconds
/// at worst.
const TEE_DEADLINE: Duration = Duration::from_secs(30);
/// Longest that a request may take for which the enclave only computes: it takes microseconds, and the rest is patience
/// with a machine that is busy.
const COMPUTE_DEADLINE: Duration = Duration::from_secs(10);
/// An enclave whose connection closed ends by itself within this, or is killed.
const STOP_DEADLINE: Duration = Duration::from_millis(500);
/// Most that is taken of what an enclave writes, of a line and of its last words, in bytes.
const MAX_WORDS: u64 = 4096;
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
    /// It was killed before it connected.
    #[error("enclave was killed before it connected: {0}")]
    Killed(String),
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
    #[error("enclave did not answer within {} s", after.as_secs())]
    Silent {
        /// How long it was waited for.
        after: Duration,
    },
    /// It ended before this was asked.
    #[error("enclave has ended: {0}")]
    Gone(String),
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

impl EnclaveError {
    /// Whether the enclave is lost, and another boot may do better.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Lost(_) | Self::Killed(_) | Self::Silent { .. } | Self::Gone(_) | Self::Frame(_)
        )
    }
}

/// Takes what an enclave has to say to people, a line at a time.
pub type Notes = std::sync::Arc<dyn Fn(String) + Send + Sync>;

/// What an enclave is started with.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// The enclave's program.
    pub image: PathBuf,
    /// Where its socket goes.
    pub run_directory: PathBuf,
    /// The TEE that it runs in.
    pub tee: TeeKind,
    /// Where the simulated platform's keys are; none for real TEEs.
    pub simulated: Option<PathBuf>,
    /// Where its sealed state is kept; none for one whose keys end with it.
    pub state: Option<PathBuf>,
    /// Which of several ways to get a quote to use; none for the first that is there.
    pub quote_provider: Option<String>,
}

impl Arguments {
    fn command(&self, socket: &Path) -> Command {
        let mut command = Command::new(&self.image);
        command.arg("--socket").arg(socket);
        command.arg("--tee").arg(self.tee.to_string());
        let paths = [("--simulated", &self.simulated), ("--state", &self.state)];
        for (flag, path) in paths {
            if let Some(path) = path {
                command.arg(flag).arg(path);
            }
        }
        if let Some(provider) = &self.quote_provider {
            command.arg("--quote-provider").arg(provider);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for the agent, which closes the last window before the enclave may end.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

impl EnclaveProcess {
    /// Starts an enclave. Whoever connects must be the started process, run by the same user. What it writes on its
    /// standard error goes to `notes`, line by line.
    ///
    /// # Errors
    /// If it does not start, or something else connects.
    pub async fn start(arguments: &Arguments, notes: Notes) -> Result<Self, EnclaveError> {
        let directories = [
            Some(arguments.run_directory.as_path()),
            arguments.state.as_deref().and_then(Path::parent),
        ];
        for path in directories.into_iter().flatten() {
            private_file::create_directory(path).map_err(|source| EnclaveError::Directory {
                path: path.to_owned(),
                source,
            })?;
        }
        sweep(&arguments.run_directory);
        let socket = Socket::bind(arguments.run_directory.join(socket_name()))?;
        let mut child = arguments
            .command(&socket.path)
            .spawn()
            .map_err(|source| EnclaveError::Start {
                path: arguments.image.clone(),
                source,
            })?;
        let stream = tokio::select! {
            accepted = timeout(START_DEADLINE, socket.listener.accept()) => match accepted {
                Ok(Ok((stream, _))) => stream,
                Ok(Err(error)) => return Err(EnclaveError::NotConnected(error.to_string())),
                Err(_) => return Err(EnclaveError::NotConnected("it stayed silent".to_owned())),
            },
            ended = child.wait() => {
                return Err(match ended {
                    Ok(status) if status.signal().is_some() => EnclaveError::Killed(status.to_string()),
                    Ok(status) => EnclaveError::NotConnected(last_words(&mut child, &status.to_string()).await),
                    Err(error) => EnclaveError::NotConnected(error.to_string()),
                });
            }
        };
        let peer = stream.peer_cred().map_err(EnclaveError::Lost)?;
        let pid = child.id().unwrap_or_default();
        let expected = (i32::try_from(pid).ok(), rustix::process::geteuid().as_raw());
        if (peer.pid(), peer.uid()) != expected {
            let found = format!("{} of user {}", peer.pid().unwrap_or_default(), peer.uid());
            return Err(EnclaveError::WrongPeer { found });
        }
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(relay(errors, notes));
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
        let deadline = deadline(request);
        match timeout(deadline, exchange).await {
            Ok(Ok(Reply::Refused(fault))) => Err(fault.into()),
            Ok(result) => result,
            Err(_) => Err(EnclaveError::Silent { after: deadline }),
        }
    }

    /// Waits until the process ends. Gives how it ended.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
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

/// What an enclave says before it ends.
async fn last_words(child: &mut Child, status: &str) -> String {
    let mut words = Vec::new();
    if let Some(errors) = child.stderr.take() {
        // The process has ended; a child of its own could hold the pipe open.
        let mut errors = errors.take(MAX_WORDS);
        let _whatever_came = timeout(STOP_DEADLINE, errors.read_to_end(&mut words)).await;
    }
    let words = String::from_utf8_lossy(&words);
    let lines: Vec<_> = words
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        return format!("it ended with {status}");
    }
    format!("it ended with {status}: {}", lines.join(" / "))
}

/// Hands on what an enclave writes, until it ends.
async fn relay(errors: ChildStderr, notes: Notes) {
    let mut errors = BufReader::new(errors);
    loop {
        let mut line = Vec::new();
        match (&mut errors).take(MAX_WORDS).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end();
                notes(line.strip_prefix("nautilus-enclave: ").unwrap_or(line).to_owned());
            }
        }
    }
}

/// How long an answer may take.
const fn deadline(request: &Request) -> Duration {
    match request {
        Request::Heartbeat | Request::Sample { .. } | Request::Suspend | Request::Resume => COMPUTE_DEADLINE,
        // Whether these touch a device or the state at rest is the TEE's affair.
        _ => TEE_DEADLINE,
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
