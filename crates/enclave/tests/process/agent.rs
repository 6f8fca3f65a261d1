//! The agent's side of an enclave process, and a simulated platform for it.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nautilus_core::{Challenge, Digest32, NodeId, Purpose, UnixMillis};
use nautilus_enclave::{Identity, Reply, Request, decode_frame, encode_frame};
use nautilus_proof::Metrics;
use nautilus_tee::simulated::Vendor;
use rustix::event::{PollFd, PollFlags, poll};

pub const NODE: NodeId = NodeId([7; 32]);
/// When the simulated vendor's certificates are made.
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A machine: a simulated platform, and a place for the enclave's state.
pub struct Machine(tempfile::TempDir);

impl Machine {
    pub fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        Vendor::open_or_create(&machine.simulated(), NOW).unwrap();
        std::fs::create_dir(machine.0.path().join("enclave")).unwrap();
        machine
    }

    pub fn simulated(&self) -> PathBuf {
        self.0.path().join("simulated")
    }

    pub fn state(&self) -> PathBuf {
        self.0.path().join("enclave/state")
    }

    /// Starts an enclave with a state.
    pub fn start(&self) -> Result<Agent, Failed> {
        self.start_with(
            Command::new(env!("CARGO_BIN_EXE_nautilus-enclave")),
            &self.state(),
        )
    }

    /// Starts an enclave with a state, up to where it has connected. Nobody speaks to it.
    pub fn spawn_unheard(&self) -> (Child, UnixStream) {
        let directory = tempfile::tempdir_in(self.0.path()).unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_nautilus-enclave"));
        self.arguments(&mut command, &self.state());
        let child = spawn(command, &socket);
        let (stream, _) = listener.accept().unwrap();
        (child, stream)
    }

    /// The same as `start`, with another command and another file.
    pub fn start_with(&self, mut command: Command, state: &Path) -> Result<Agent, Failed> {
        self.arguments(&mut command, state);
        Agent::start(command, self.0.path())
    }

    fn arguments(&self, command: &mut Command, state: &Path) {
        let simulated = self.simulated();
        let arguments: [&OsStr; 6] = [
            "--tee".as_ref(),
            "simulated".as_ref(),
            "--simulated".as_ref(),
            simulated.as_ref(),
            "--state".as_ref(),
            state.as_ref(),
        ];
        command.args(arguments);
    }
}

/// An enclave that ended before it served.
#[derive(Debug)]
pub struct Failed {
    pub status: ExitStatus,
    pub stderr: String,
}

/// An enclave that serves.
pub struct Agent {
    pub child: Child,
    stream: UnixStream,
}

impl Agent {
    fn start(command: Command, directory: &Path) -> Result<Self, Failed> {
        // The process id keeps apart what one machine's tests start.
        let socket = tempfile::Builder::new()
            .suffix(".sock")
            .tempdir_in(directory)
            .unwrap();
        let socket = socket.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut child = spawn(command, &socket);
        // Its standard output closes when it ends.
        let output = child.stdout.take().unwrap();
        let mut waits = [
            PollFd::new(&listener, PollFlags::IN),
            PollFd::new(&output, PollFlags::IN),
        ];
        poll(&mut waits, None).unwrap();
        if waits[0].revents().is_empty() {
            return Err(failed(child));
        }
        let (stream, _) = listener.accept().unwrap();
        let mut agent = Self { child, stream };
        // It connects first and opens its state then: only an answer shows that it serves.
        match agent.ask(&Request::Heartbeat) {
            Ok(Reply::Alive(_)) => Ok(agent),
            Ok(other) => panic!("{other:?}"),
            Err(_) => Err(failed(agent.child)),
        }
    }

    pub fn ask(&mut self, request: &Request) -> io::Result<Reply> {
        self.send(request)?;
        self.receive()
    }

    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        self.stream.write_all(&encode_frame(request).unwrap())
    }

    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(decode_frame(&body).unwrap())
    }

    pub fn initialize(&mut self) -> Identity {
        match self.ask(&Request::Initialize { node: NODE }).unwrap() {
            Reply::Identity(identity) => identity,
            other => panic!("{other:?}"),
        }
    }

    /// Closes the connection: what it said on its standard error.
    pub fn end(self) -> (ExitStatus, String) {
        drop(self.stream);
        let output = failed(self.child);
        (output.status, output.stderr)
    }
}

fn spawn(mut command: Command, socket: &Path) -> Child {
    command
        // Cargo's own, which makes the loader look for libraries in places of cargo's.
        .env_remove("LD_LIBRARY_PATH")
        .arg("--socket")
        .arg(socket)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn failed(mut child: Child) -> Failed {
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Failed {
        status: child.wait().unwrap(),
        stderr,
    }
}

pub fn attest() -> Request {
    Request::Attest {
        purpose: Purpose::Boot,
        challenge: Challenge::from_digest(Digest32([9; 32])),
    }
}

pub fn sample(at: u64) -> Request {
    Request::Sample {
        at: UnixMillis(at),
        metrics: Metrics::default(),
    }
}

pub fn close(start: u64, end: u64) -> Request {
    Request::CloseWindow {
        start: UnixMillis(start),
        end: UnixMillis(end),
        interval_millis: 1000,
        now: UnixMillis(end),
        validity_millis: 60_000,
    }
}
