//! The enclave's loop: one channel to the process that started it, and what is asked through it.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nautilus_channel::blocking::{self, BlockingChannel, Clock, Next, Party};
use nautilus_channel::{
    Appraise, ChannelError, Config, Demand, Endpoint, Fault, Judgement, Message, MessageType, Payload as _,
    PayloadError, Present, Presentation, PresentedEvidence, Reason, TlsKeys, Unidentified,
};
use nautilus_core::{Role, UnixMillis};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::address::Address;
use crate::core::Enclave;
use crate::protocol::{EnclaveFault, Reply, Request};

/// Why the enclave stopped serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Nobody listens where the agent should.
    #[error("cannot connect to the agent")]
    Connect(#[source] io::Error),
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
    /// No channel opened.
    #[error("no channel to the agent")]
    Handshake(#[source] ChannelError),
    /// The channel ended, and not in order.
    #[error("channel to the agent ended")]
    Channel(#[source] ChannelError),
    /// The agent asked something that is no request.
    #[error("agent sent a {message_type} message that is no request")]
    Request {
        /// Its type.
        message_type: MessageType,
        /// What is wrong with it.
        source: PayloadError,
    },
}

/// A connection to the agent. Nothing was said yet.
pub struct Connection(File);

impl Connection {
    /// Connects to the agent. Over a Unix socket that is the parent process, run by the same user, by the word of the
    /// kernel. Elsewhere anybody may be there: what the enclave says is for anybody to hear, and it takes nobody's word.
    ///
    /// # Errors
    /// If nobody listens there, or another does.
    pub fn to_agent(address: &Address) -> Result<Self, ServeError> {
        let stream: OwnedFd = match address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(ServeError::Connect)?;
                check_peer(&stream)?;
                stream.into()
            }
            Address::Loopback(address) => {
                let stream = TcpStream::connect(address).map_err(ServeError::Connect)?;
                // Questions and answers are small and wait for each other.
                stream.set_nodelay(true).map_err(ServeError::Connect)?;
                stream.into()
            }
            Address::Vsock { cid, port } => {
                nautilus_sys::vsock::connect_vsock(*cid, *port).map_err(ServeError::Connect)?
            }
        };
        // Now, for it takes a system call that the sandbox does not allow later.
        set_socket_timeout(&stream, Timeout::Recv, Some(blocking::READ_TIMEOUT))
            .map_err(|error| ServeError::Connect(error.into()))?;
        Ok(Self(stream.into()))
    }

    /// Has the channel's cryptography look for what it looks for once: whether the machine tells of its snapshots
    /// (`/dev/sysgenid`), so that randomness never comes twice. To be called before the sandbox closes, after which that
    /// device is out of reach.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn prepare(&self) -> Result<(), ServeError> {
        TlsKeys::generate().map(drop).map_err(ServeError::Handshake)
    }

    /// Proves to the agent what runs here, and answers what it asks, until it says that it is done. Sessions follow each
    /// other on the connection as the agent renews them.
    ///
    /// # Errors
    /// If no channel opens, it ends out of order, or something is asked that is no request.
    pub fn serve(self, mut enclave: Enclave) -> Result<(), ServeError> {
        let clock = Clock::start();
        let mut stream = self.0;
        loop {
            let config = Config::new(
                Role::Enclave,
                Role::Agent,
                enclave.bound_node(),
                Presentation::Evidence,
                Demand::Nothing,
            );
            let endpoint = Endpoint::initiator(config, clock.now()).map_err(ServeError::Handshake)?;
            let channel = blocking::open(stream, endpoint, clock, &mut Attesting(&mut enclave))
                .map_err(ServeError::Handshake)?;
            match exchange(channel, &mut enclave)? {
                Some(released) => stream = released,
                None => return Ok(()),
            }
        }
    }
}

/// Has the TEE vouch for the enclave's own sessions.
struct Attesting<'a>(&'a mut Enclave);

impl Party for Attesting<'_> {
    fn present(&mut self, present: &Present) -> Result<PresentedEvidence, String> {
        self.0.present(present).map_err(|fault| match fault {
            // The channel says already that there is no evidence.
            EnclaveFault::Attest(why) => why,
            other => other.to_string(),
        })
    }

    fn judge(&mut self, _: Appraise, _: UnixMillis) -> Judgement {
        Judgement::NotRegistered {
            kind: "not_accepted".to_owned(),
            detail: "the enclave judges no evidence".to_owned(),
        }
    }
}

/// Answers until the agent ends the session. Gives the stream, if another session is to follow on it.
fn exchange(
    mut channel: BlockingChannel<File, Unidentified>,
    enclave: &mut Enclave,
) -> Result<Option<File>, ServeError> {
    loop {
        match channel.wait().map_err(ServeError::Channel)? {
            Next::Message(question) => answer(&mut channel, &question, enclave)?,
            Next::Terminated(termination) if termination.reason == Reason::Renew => {
                return Ok(Some(channel.into_stream()));
            }
            Next::Terminated(_) => return Ok(None),
        }
    }
}

fn answer(
    channel: &mut BlockingChannel<File, Unidentified>,
    question: &Message,
    enclave: &mut Enclave,
) -> Result<(), ServeError> {
    let message_type = question.message_type;
    let request = match question.answer {
        true => Err(PayloadError("it answers what was not asked".to_owned())),
        false => Request::decode(message_type, &question.payload),
    };
    let request = match request {
        Ok(request) => request,
        Err(source) => {
            let fault = Fault {
                kind: "request_invalid".to_owned(),
                detail: source.to_string(),
                note: Vec::new(),
            };
            channel
                .decline(question.message_id, &fault)
                .map_err(ServeError::Channel)?;
            return Err(ServeError::Request { message_type, source });
        }
    };
    let session = channel.endpoint().node();
    let reply = match request {
        Request::Initialize { node } if session != Some(node) => Reply::Refused(match session {
            Some(session) => EnclaveFault::AnotherSession(session),
            None => EnclaveFault::NotInitialized,
        }),
        request => enclave.handle(request),
    };
    channel
        .answer(question.message_id, &reply)
        .map_err(ServeError::Channel)
}

fn check_peer(stream: impl AsFd) -> Result<(), ServeError> {
    let peer =
        rustix::net::sockopt::socket_peercred(stream).map_err(|error| ServeError::Connect(error.into()))?;
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
