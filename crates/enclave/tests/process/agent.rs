//! The agent's side of an enclave process, and a simulated platform for it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nautilus_channel::blocking::{self, BlockingChannel, Clock, Next, Party};
use nautilus_channel::{
    Appraise, Attested, ChannelError, Config, Demand, Endpoint, Judgement, Payload as _, Present,
    Presentation, PresentedEvidence, Reason,
};
use nautilus_core::{
    Binding, Challenge, Digest32, Measurement, NodeId, Policy, Purpose, Role, TrustAnchors, UnixMillis,
    VerifierSet,
};
use nautilus_enclave::{Identity, Reply, Request};
use nautilus_proof::Metrics;
use nautilus_tee::simulated::{Vendor, verifier_set};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use sha2::{Digest as _, Sha256};

pub const NODE: NodeId = NodeId([7; 32]);
const PROGRAM: &str = env!("CARGO_BIN_EXE_nautilus-enclave");

/// A machine: a simulated platform, and a place for the enclave's state.
pub struct Machine(tempfile::TempDir);

impl Machine {
    pub fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        Vendor::open_or_create(&machine.simulated(), Clock::start().now().wall).unwrap();
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
        self.start_with(Command::new(PROGRAM), &self.state())
    }

    /// Starts an enclave with a state, up to where it has connected. Nobody speaks to it.
    pub fn spawn_unheard(&self) -> (Child, UnixStream) {
        let directory = tempfile::tempdir_in(self.0.path()).unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut command = Command::new(PROGRAM);
        self.arguments(&mut command, &self.state());
        let child = spawn(command, &unix(&socket));
        let (stream, _) = listener.accept().unwrap();
        (child, stream)
    }

    /// The same as `start`, with another command and another file.
    pub fn start_with(&self, mut command: Command, state: &Path) -> Result<Agent, Failed> {
        self.arguments(&mut command, state);
        let (child, stream) = self.connected(command)?;
        self.meet(child, stream, Some(NODE))
    }

    /// The same as `start`, for an agent that means this node, or takes the enclave's word.
    pub fn start_for(&self, node: Option<NodeId>) -> Result<Agent, Failed> {
        let mut command = Command::new(PROGRAM);
        self.arguments(&mut command, &self.state());
        let (child, stream) = self.connected(command)?;
        self.meet(child, stream, node)
    }

    /// The same as `start`, over TCP.
    pub fn start_over_tcp(&self) -> Result<Agent, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new(PROGRAM);
        self.arguments(&mut command, &self.state());
        let child = spawn(
            command,
            format!("tcp://{}", listener.local_addr().unwrap()).as_ref(),
        );
        let (stream, _) = listener.accept().unwrap();
        self.meet(child, stream.into(), Some(NODE))
    }

    fn connected(&self, command: Command) -> Result<(Child, OwnedFd), Failed> {
        let directory = tempfile::tempdir_in(self.0.path()).unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut child = spawn(command, &unix(&socket));
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
        Ok((child, stream.into()))
    }

    /// The agent's side of the handshake. The enclave connects first and opens its state then: only the handshake shows
    /// that it serves.
    fn meet(&self, child: Child, stream: OwnedFd, node: Option<NodeId>) -> Result<Agent, Failed> {
        set_socket_timeout(stream.as_fd(), Timeout::Recv, Some(blocking::READ_TIMEOUT)).unwrap();
        let mut judge = self.judge();
        match accept(File::from(stream), &mut judge, node) {
            Ok(channel) => Ok(Agent {
                child,
                channel,
                judge,
            }),
            Err(refused) => Err(Failed {
                refused: Some(refused),
                ..failed(child)
            }),
        }
    }

    fn judge(&self) -> Judge {
        let vendor = Vendor::open(&self.simulated(), Clock::start().now().wall).unwrap();
        let program = Sha256::digest(std::fs::read(PROGRAM).unwrap());
        Judge {
            set: verifier_set(vendor.root_der().to_vec(), &TrustAnchors::default()).unwrap(),
            policy: Policy::development(Measurement(program.to_vec()), Default::default()),
            vendor,
        }
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
    /// How the agent's side saw it, once it was connected.
    pub refused: Option<ChannelError>,
}

/// Wants this very program, in this machine's simulated TEE.
struct Judge {
    set: VerifierSet,
    policy: Policy,
    vendor: Vendor,
}

impl Party for Judge {
    fn present(&mut self, _: &Present) -> Result<PresentedEvidence, String> {
        Err("an agent presents nothing".to_owned())
    }

    fn judge(&mut self, appraise: Appraise, now: UnixMillis) -> Judgement {
        let (evidence, mut endorsements, _) = appraise.presented.parts();
        endorsements.0.push(self.vendor.endorsement());
        let binding = Binding::Session {
            terms: &appraise.terms,
            session: &appraise.session,
        };
        match self.set.verify(&evidence, binding, &endorsements, now) {
            Ok(claims) => Judgement::Appraised {
                appraisal: Box::new(self.policy.appraise(claims, now)),
                note: Vec::new(),
            },
            Err(error) => Judgement::Invalid(error),
        }
    }
}

type Channel = BlockingChannel<File, Attested>;

fn accept(stream: File, judge: &mut Judge, node: Option<NodeId>) -> Result<Channel, ChannelError> {
    let demand = Demand::Evidence {
        verifier: None,
        child: None,
    };
    let mut config = Config::new(Role::Agent, Role::Enclave, node, Presentation::Nothing, demand);
    // Tests load the machine.
    config.limits.hello = std::time::Duration::from_secs(60);
    let clock = Clock::start();
    let endpoint = Endpoint::responder(config, clock.now())?;
    blocking::open(stream, endpoint, clock, judge)
}

/// An enclave that serves.
pub struct Agent {
    pub child: Child,
    channel: Channel,
    judge: Judge,
}

impl Agent {
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ChannelError> {
        self.send(request)?;
        self.receive()
    }

    pub fn send(&mut self, request: &Request) -> Result<(), ChannelError> {
        self.channel.ask(request).map(drop)
    }

    pub fn receive(&mut self) -> Result<Reply, ChannelError> {
        match self.channel.wait()? {
            Next::Message(message) => {
                assert!(message.answer, "{message:?}");
                Ok(Reply::decode(message.message_type, &message.payload).unwrap())
            }
            Next::Terminated(termination) => Err(ChannelError::Terminated(termination)),
        }
    }

    pub fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }

    pub fn initialize(&mut self) -> Identity {
        match self.ask(&Request::Initialize { node: NODE }).unwrap() {
            Reply::Identity(identity) => identity,
            other => panic!("{other:?}"),
        }
    }

    /// Lets another session follow on the same connection.
    pub fn renew(self) -> Self {
        let Self {
            child,
            channel,
            mut judge,
        } = self;
        let stream = channel.terminate(Reason::Renew, "");
        let channel = match accept(stream, &mut judge, Some(NODE)) {
            Ok(channel) => channel,
            Err(error) => panic!("{error}: {:?}", failed(child)),
        };
        Self {
            child,
            channel,
            judge,
        }
    }

    /// Ends the session in order: what the enclave said on its standard error.
    pub fn end(self) -> (ExitStatus, String) {
        drop(self.channel.terminate(Reason::Done, ""));
        let output = failed(self.child);
        (output.status, output.stderr)
    }

    /// Is gone from one moment to the next, as a process that is killed.
    pub fn vanish(self) -> (ExitStatus, String) {
        drop(self.channel);
        let output = failed(self.child);
        (output.status, output.stderr)
    }
}

fn unix(socket: &Path) -> std::ffi::OsString {
    let mut address = std::ffi::OsString::from("unix://");
    address.push(socket);
    address
}

fn spawn(mut command: Command, address: &OsStr) -> Child {
    command
        // Cargo's own, which makes the loader look for libraries in places of cargo's.
        .env_remove("LD_LIBRARY_PATH")
        .arg("--connect")
        .arg(address)
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
        refused: None,
    }
}

pub fn attest() -> Request {
    Request::Attest {
        purpose: Purpose::Boot,
        challenge: Challenge::from_digest(Digest32([9; 32])),
    }
}

pub fn sample(at: u64) -> Request {
    let measurement = Box::new(nautilus_proof::Measurement::of_system(
        UnixMillis(at),
        Metrics::default(),
    ));
    Request::Sample { measurement }
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
