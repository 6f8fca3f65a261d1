//! The enclave as a process of its own: started, spoken to, and ended by the agent.

mod listener;
mod session;

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nautilus_channel::{Appraiser, ChannelError, KernelPeer, Limits, Peer, Reason};
use nautilus_core::{BoundUserData, Digest32, NodeId, Purpose, TeeKind};
use nautilus_enclave::{EnclaveFault, Identity, Reply, Request};
use nautilus_verifier::private_file;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{Instant, timeout};

use self::listener::{Accepted, Listener, sweep};
use self::session::{Session, Terms};

/// The bounds of a session with an enclave. It connects first and opens its state then, and so does its TEE, which may
/// take seconds for a counter; the TEE makes evidence for seconds more.
pub const LIMITS: Limits = Limits {
    hello: Duration::from_secs(30),
    ..Limits::DEFAULT
};

/// An enclave that has not connected by then never will.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Longest that a request may take for which the enclave asks its TEE: quotes and counters of real hardware take seconds
/// at worst.
const TEE_DEADLINE: Duration = Duration::from_secs(30);
/// Longest that a request may take for which the enclave only computes: it takes microseconds, and the rest is patience
/// with a machine that is busy.
const COMPUTE_DEADLINE: Duration = Duration::from_secs(10);
/// An enclave whose session ended ends by itself within this, or is killed.
const STOP_DEADLINE: Duration = Duration::from_millis(500);
/// Most that is taken of what an enclave writes, of a line and of its last words, in bytes.
const MAX_WORDS: u64 = 4096;
/// Most that is kept of what an enclave wrote, for who asks why it ended, in bytes.
const MAX_LAST_WORDS: usize = 4096;
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
    /// The port cannot be listened on.
    #[error("cannot listen on port {port} of 127.0.0.1")]
    Port {
        /// The port; 0 for any that is free.
        port: u16,
        /// Why not.
        source: io::Error,
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
    /// The program ended or stayed silent instead of connecting, or ended by itself before it proved what it is.
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
    /// It did not prove in time what it is, or proved that it is something else.
    #[error("no channel to the enclave")]
    Handshake(#[source] ChannelError),
    /// The channel ended: the enclave did too, or fell silent, or broke the protocol.
    #[error("channel to the enclave ended")]
    Channel(#[source] ChannelError),
    /// It ended before this was asked.
    #[error("enclave has ended: {0}")]
    Gone(String),
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
    session: Session,
    terms: Terms,
    notes: Notes,
    pid: u32,
}

impl EnclaveError {
    /// Whether the enclave is lost, and another boot may do better.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Killed(_) | Self::Gone(_) | Self::Channel(_) => true,
            Self::Handshake(error) => error.may_pass(),
            _ => false,
        }
    }
}

/// Takes what an enclave has to say to people, a line at a time.
pub type Notes = std::sync::Arc<dyn Fn(String) + Send + Sync>;

/// How an enclave reaches its agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// By a Unix socket, at whose other end the kernel names the process.
    #[default]
    Unix,
    /// By TCP on 127.0.0.1, where Unix sockets do not reach, as from an SGX enclave under Gramine. Anybody on the machine
    /// can connect, so that evidence alone says who is there, and it has to be verifiable on this machine.
    Loopback {
        /// The port; 0 for any that is free.
        port: u16,
    },
}

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
    /// How it reaches the agent.
    pub transport: Transport,
    /// The bounds of its sessions.
    pub limits: Limits,
}

impl Arguments {
    fn command(&self, address: &OsStr) -> Command {
        let mut command = Command::new(&self.image);
        command.arg("--connect").arg(address);
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
    /// Starts an enclave, and opens a channel to it. Over a Unix socket whoever connects must be the started process, run
    /// by the same user. Its evidence must bind this session about `node`, and `appraiser` judges it. Where that lacks what
    /// it takes to verify evidence of this machine, the kernel's word on the process is enough, and `notes` is told. What
    /// the enclave writes on its standard error goes to `notes` too, line by line.
    ///
    /// # Errors
    /// If it does not start, something else connects, or it does not prove what it is.
    pub async fn start(
        arguments: &Arguments,
        node: NodeId,
        appraiser: Arc<dyn Appraiser>,
        notes: Notes,
    ) -> Result<Self, EnclaveError> {
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
        let listener = Listener::bind(arguments.transport, &arguments.run_directory).await?;
        let mut child =
            arguments
                .command(&listener.address())
                .spawn()
                .map_err(|source| EnclaveError::Start {
                    path: arguments.image.clone(),
                    source,
                })?;
        let Accepted { stream, kernel } = tokio::select! {
            accepted = timeout(START_DEADLINE, listener.accept()) => match accepted {
                Ok(Ok(accepted)) => accepted,
                Ok(Err(error)) => return Err(EnclaveError::NotConnected(error.to_string())),
                Err(_) => return Err(EnclaveError::NotConnected("it stayed silent".to_owned())),
            },
            ended = child.wait() => {
                return Err(match ended {
                    Ok(status) if status.signal().is_some() => EnclaveError::Killed(status.to_string()),
                    Ok(status) => EnclaveError::NotConnected(last_words(&mut child, status).await),
                    Err(error) => EnclaveError::NotConnected(error.to_string()),
                });
            }
        };
        let pid = child.id().unwrap_or_default();
        if let Some(peer) = kernel {
            check_peer(peer, pid)?;
        }
        // One connection is all that is taken.
        drop(listener);
        let errors = child.stderr.take();
        let words = errors.map(|errors| tokio::spawn(relay(errors, Arc::clone(&notes))));
        let terms = Terms {
            node,
            appraiser,
            limits: arguments.limits,
            child: kernel,
        };
        let session = match terms.open(stream).await {
            Ok(session) => session,
            Err(error) => {
                let status = end(&mut child).await;
                // What it says of it comes first.
                let said = match words {
                    Some(words) => timeout(STOP_DEADLINE, words).await.ok().and_then(Result::ok),
                    None => None,
                };
                return Err(match failed_by_itself(&error, status) {
                    Some(status) => EnclaveError::NotConnected(ended_with(status, &said.unwrap_or_default())),
                    None => error,
                });
            }
        };
        note_kin(session.channel.standing(), &notes);
        Ok(Self {
            child,
            session,
            terms,
            notes,
            pid,
        })
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
        self.session.request(request, deadline(request)).await
    }

    /// When [`Self::renew`] is due: well before the session ends.
    pub fn renewal_due(&self) -> Instant {
        self.session.renew_at
    }

    /// Has another session follow on the same connection, with new evidence. The enclave goes on in the same boot.
    ///
    /// # Errors
    /// If the enclave is gone, or does not prove again what it is. Then it must not be used again.
    pub async fn renew(&mut self) -> Result<(), EnclaveError> {
        let stream = self.session.release().await?;
        let next = self.terms.open(stream).await?;
        let before = std::mem::replace(&mut self.session, next);
        if !matches!(before.channel.standing(), Peer::Kin(_)) {
            note_kin(self.session.channel.standing(), &self.notes);
        }
        Ok(())
    }

    /// Waits until the process ends. Gives how it ended.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Ends the enclave: its session ends in order, and if that does not end it, it is killed.
    pub async fn stop(self) {
        let Self {
            mut child, session, ..
        } = self;
        let terminated = timeout(STOP_DEADLINE, session.channel.terminate(Reason::Done, ""));
        // Whoever does not take this word does not end by itself either.
        let _taken = terminated.await;
        end(&mut child).await;
    }
}

/// Waits for the end of a process whose connection has ended, and kills it if it does not come. Gives how it ended, if
/// it did by itself.
async fn end(child: &mut Child) -> Option<ExitStatus> {
    match timeout(STOP_DEADLINE, child.wait()).await {
        Ok(status) => status.ok(),
        Err(_elapsed) => {
            // The only failure is that it ended in the meantime.
            let _ended = child.kill().await;
            None
        }
    }
}

/// The status of an enclave that gave up in the handshake, and was not made to by this side: what it lacks, such as its
/// state or its device, another boot lacks too.
fn failed_by_itself(error: &EnclaveError, status: Option<ExitStatus>) -> Option<ExitStatus> {
    // Any other failure is found here, and the connection closed on it.
    let cut = matches!(
        error,
        EnclaveError::Handshake(ChannelError::Truncated | ChannelError::Io(_))
    );
    status.filter(|status| cut && status.code().is_some_and(|code| code != 0))
}

/// Tells of a peer that the kernel has to vouch for.
fn note_kin(peer: &Peer, notes: &Notes) {
    if let Peer::Kin(kin) = peer {
        notes(format!(
            "its evidence cannot be verified on this machine, and the kernel's word that it is the process that was \
             started has to do: {}",
            kin.why()
        ));
    }
}

/// The kernel's word on who connected is what the agent knows of its child.
fn check_peer(peer: KernelPeer, pid: u32) -> Result<(), EnclaveError> {
    let expected = (i32::try_from(pid).ok(), rustix::process::geteuid().as_raw());
    if (Some(peer.pid()), peer.uid()) == expected {
        return Ok(());
    }
    let found = format!("{} of user {}", peer.pid(), peer.uid());
    Err(EnclaveError::WrongPeer { found })
}

/// What an enclave says before it ends.
async fn last_words(child: &mut Child, status: ExitStatus) -> String {
    let mut words = Vec::new();
    if let Some(errors) = child.stderr.take() {
        // The process has ended; a child of its own could hold the pipe open.
        let mut errors = errors.take(MAX_WORDS);
        let _whatever_came = timeout(STOP_DEADLINE, errors.read_to_end(&mut words)).await;
    }
    ended_with(status, &String::from_utf8_lossy(&words))
}

/// How a process ended, and what it said.
fn ended_with(status: ExitStatus, words: &str) -> String {
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

/// Hands on what an enclave writes, until it ends. Gives its last words.
async fn relay(errors: ChildStderr, notes: Notes) -> String {
    let mut errors = BufReader::new(errors);
    let mut words = String::new();
    loop {
        let mut line = Vec::new();
        match (&mut errors).take(MAX_WORDS).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return words,
            Ok(_) => {
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end();
                let line = line.strip_prefix("nautilus-enclave: ").unwrap_or(line);
                if words.len() + line.len() > MAX_LAST_WORDS {
                    words.clear();
                }
                words.push_str(line);
                words.push('\n');
                notes(line.to_owned());
            }
        }
    }
}

/// How long an answer may take.
const fn deadline(request: &Request) -> Duration {
    match request {
        Request::Heartbeat
        | Request::Sample { .. }
        | Request::SignBatch
        | Request::StorageKey { .. }
        | Request::Suspend
        | Request::Resume => COMPUTE_DEADLINE,
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

#[cfg(test)]
mod tests;
