//! A TPM in software behind a socket that takes raw commands: `swtpm socket --server type=unixio` or `type=tcp`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nautilus_core::AttestError;

use super::command::HEADER;
use super::{MAX_RESPONSE, Transport};

/// How long the TPM may take for one command. Below what an attester has in all, so that it is this command's
/// connection which is given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// An address of this machine.
    Tcp(SocketAddr),
}

/// A TPM at a socket.
pub(super) struct Socket {
    address: Address,
    interface: String,
    stream: Option<Stream>,
    patience: Duration,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    pub(super) fn open(address: Address) -> Result<Self, AttestError> {
        Self::with_patience(address, PATIENCE)
    }

    pub(super) fn with_patience(address: Address, patience: Duration) -> Result<Self, AttestError> {
        let interface = match &address {
            Address::Unix(path) => path.display().to_string(),
            Address::Tcp(address) => address.to_string(),
        };
        let mut socket = Self {
            address,
            interface,
            stream: None,
            patience,
        };
        socket.stream = Some(socket.connect()?);
        Ok(socket)
    }

    fn connect(&self) -> Result<Stream, AttestError> {
        let connected = match &self.address {
            Address::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Address::Tcp(address) => TcpStream::connect_timeout(address, self.patience).map(Stream::Tcp),
        };
        connected.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AttestError::Missing {
                interface: self.interface.clone(),
                hint: "start the TPM that listens there: swtpm socket --tpm2 --server …, and --flags not-need-init"
                    .to_owned(),
            },
            _ => self.failed("connect to", source),
        })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> AttestError {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AttestError::NoAnswer {
                interface: self.interface.clone(),
                after: self.patience,
            },
            io::ErrorKind::UnexpectedEof => {
                self.malformed("its answer is cut: the connection ended".to_owned())
            }
            _ => AttestError::Io {
                action,
                interface: self.interface.clone(),
                source,
            },
        }
    }

    fn malformed(&self, what: String) -> AttestError {
        AttestError::Malformed {
            interface: self.interface.clone(),
            what,
        }
    }

    fn talk(&self, stream: &mut Stream, command: &[u8]) -> Result<Vec<u8>, AttestError> {
        let mut stream = Bounded {
            stream,
            until: Instant::now().checked_add(self.patience),
        };
        stream
            .write_all(command)
            .map_err(|source| self.failed("send a command to", source))?;
        let mut response = vec![0; HEADER];
        stream
            .read_exact(&mut response)
            .map_err(|source| self.failed("read the answer of", source))?;
        // The size stands after the tag.
        let size = response
            .get(2..6)
            .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let size = size.map_or(0, u32::from_be_bytes);
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        if !(HEADER..=MAX_RESPONSE).contains(&length) {
            return Err(self.malformed(format!(
                "its answer says that it has {size} bytes, {HEADER} to {MAX_RESPONSE} are possible"
            )));
        }
        response.resize(length, 0);
        stream
            .read_exact(response.get_mut(HEADER..).unwrap_or_default())
            .map_err(|source| self.failed("read the answer of", source))?;
        Ok(response)
    }
}

impl Transport for Socket {
    fn interface(&self) -> &str {
        &self.interface
    }

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, AttestError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let response = self.talk(&mut stream, command)?;
        // After a fault, what comes late must not pass for the answer to the next command.
        self.stream = Some(stream);
        Ok(response)
    }
}

/// A stream that is done at a time, however its bytes trickle in.
struct Bounded<'a> {
    stream: &'a mut Stream,
    until: Option<Instant>,
}

impl Bounded<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(until) = self.until else {
            return Ok(None);
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        match self.stream {
            Stream::Unix(stream) => {
                stream.set_read_timeout(left)?;
                stream.read(buffer)
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(left)?;
                stream.read(buffer)
            }
        }
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        match self.stream {
            Stream::Unix(stream) => {
                stream.set_write_timeout(left)?;
                stream.write(bytes)
            }
            Stream::Tcp(stream) => {
                stream.set_write_timeout(left)?;
                stream.write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const COMMAND: &[u8] = b"command";
    const ANSWER: &[u8] = &[0x80, 0x01, 0, 0, 0, 12, 0, 0, 0, 0, 7, 7];

    /// What becomes of one command that is answered so, after which the next is asked over a new connection.
    fn answered(answer: Option<&'static [u8]>) -> AttestError {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tpm");
        let listener = UnixListener::bind(&path).unwrap();
        let tpm = thread::spawn(move || {
            let mut command = [0; COMMAND.len()];
            let (mut bad, _) = listener.accept().unwrap();
            bad.read_exact(&mut command).unwrap();
            let silent = answer.is_none().then(|| bad.try_clone().unwrap());
            bad.write_all(answer.unwrap_or_default()).unwrap();
            drop(bad);
            let (mut good, _) = listener.accept().unwrap();
            good.read_exact(&mut command).unwrap();
            good.write_all(ANSWER).unwrap();
            drop(silent);
        });
        // Only one that never answers takes that long.
        let patience = if answer.is_none() {
            Duration::from_millis(50)
        } else {
            PATIENCE
        };
        let mut socket = Socket::with_patience(Address::Unix(path.clone()), patience).unwrap();
        assert_eq!(socket.interface(), path.to_str().unwrap());
        let error = socket.exchange(COMMAND).unwrap_err();
        socket.patience = PATIENCE;
        assert_eq!(socket.exchange(COMMAND).unwrap(), ANSWER);
        tpm.join().unwrap();
        error
    }

    #[test]
    fn a_tpm_that_cuts_its_answer_or_gives_none_is_named_and_asked_anew() {
        for length in 0..ANSWER.len() {
            let error = answered(Some(&ANSWER[..length]));
            assert!(
                matches!(&error, AttestError::Malformed { what, interface }
                    if what.contains("cut") && interface.ends_with("/tpm")),
                "cut to {length}: {error}"
            );
        }
        let error = answered(None);
        assert!(matches!(&error, AttestError::NoAnswer { .. }), "{error}");
    }

    #[test]
    fn an_answer_of_an_impossible_length_is_refused_before_it_is_read() {
        for size in [0, 9, 4097, u32::MAX] {
            let answer = [&[0x80, 1], &size.to_be_bytes()[..], &[0; 4]].concat();
            let error = answered(Some(answer.leak()));
            let says = format!("{size} bytes");
            assert!(
                matches!(&error, AttestError::Malformed { what, .. } if what.contains(&says)),
                "{size}: {error}"
            );
        }
    }

    #[test]
    fn a_socket_that_is_not_there_says_what_to_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none");
        let Err(error) = Socket::open(Address::Unix(path)) else {
            panic!("nothing listens there")
        };
        assert!(
            matches!(&error, AttestError::Missing { hint, .. } if hint.contains("swtpm socket")),
            "{error}"
        );
    }
}
