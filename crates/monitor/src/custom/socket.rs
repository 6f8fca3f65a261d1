//! The Unix socket on which other programs push their metrics.
//!
//! One document a connection: `job NAME`, a line feed, a document of OpenMetrics that ends in `# EOF`. The answer is one
//! line, `ok N series` or `error …`, and the end. Only programs of the agent's own user, or root's, are heard.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, sockopt};
use rustix::process::Uid;

use super::push::{MAX_JOB_LINE, Pushed};
use super::text::MAX_DOCUMENT;

/// Connections at once. A push takes milliseconds; a ninth is told to come again.
const MAX_CONNECTIONS: usize = 8;
/// What was not sent or taken by then never will be.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be taken, for there to be file descriptors again.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest socket path that the kernel takes (unix(7): 108 bytes with the closing zero).
const MAX_SOCKET_PATH: usize = 107;
const END: &[u8] = b"# EOF\n";

/// Why metrics cannot be pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushSocketError {
    /// The socket cannot be made.
    #[error("cannot make socket {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The socket's path is longer than the kernel takes.
    #[error("socket path {} is longer than {MAX_SOCKET_PATH} bytes: choose a shorter --data-dir", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// Something else is in its place.
    #[error("{} is there and is no socket: remove it", path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
    },
}

/// A socket that takes metrics, as long as this lives.
#[derive(Debug)]
pub struct PushSocket {
    path: PathBuf,
    listener: Arc<UnixListener>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PushSocket {
    /// Takes what is pushed on the socket at `path`, in place of a socket that an agent left there. Its directory is
    /// there, and its owner's alone.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn listen(path: impl Into<PathBuf>, pushed: Arc<Pushed>) -> Result<Self, PushSocketError> {
        let path = path.into();
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(PushSocketError::Path { path });
        }
        match path.symlink_metadata() {
            Ok(there) if !there.file_type().is_socket() => return Err(PushSocketError::Occupied { path }),
            _ => {}
        }
        let listener = bind(&path).map_err(|source| PushSocketError::Socket {
            path: path.clone(),
            source,
        })?;
        let listener = Arc::new(listener);
        let stopping = Arc::new(AtomicBool::new(false));
        let server = Server {
            pushed,
            stopping: Arc::clone(&stopping),
            connections: Arc::default(),
        };
        let taken = Arc::clone(&listener);
        let thread = thread::Builder::new()
            .name("push".to_owned())
            .spawn(move || server.serve(&taken))
            .map_err(|source| PushSocketError::Socket {
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            path,
            listener,
            stopping,
            thread: Some(thread),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PushSocket {
    /// Whoever is being answered is answered, by a thread that ends by itself within the deadline.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Ends the wait for the next connection.
        let _shut = rustix::net::shutdown(&self.listener, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked, and if it had, it is gone as it should be.
            let _ended = thread.join();
        }
        // Nothing depends on it: the next start replaces it.
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

struct Server {
    pushed: Arc<Pushed>,
    stopping: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn serve(&self, listener: &UnixListener) {
        while !self.stopping.load(Ordering::Acquire) {
            match listener.accept() {
                Ok((stream, _)) => self.take(stream),
                // No descriptors are left, or the socket was shut.
                Err(_) if self.stopping.load(Ordering::Acquire) => return,
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn take(&self, stream: UnixStream) {
        // Dropped with the connection, also where no thread could be made for it.
        let place = Place::taken(&self.connections);
        let Some(place) = place else {
            return answer(&stream, "error too many push at once: come again");
        };
        let pushed = Arc::clone(&self.pushed);
        let connection = move || {
            let _place = place;
            let said = heard(&stream, &pushed).unwrap_or_else(|why| format!("error {why}"));
            answer(&stream, &said);
        };
        // The peer sees its connection end without an answer, and may come again.
        let _spawned = thread::Builder::new()
            .name("push-one".to_owned())
            .spawn(connection);
    }
}

/// One of the connections that there may be at once.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn taken(places: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |taken: usize| (taken < MAX_CONNECTIONS).then(|| taken.saturating_add(1));
        places
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .ok()
            .map(|_| Self(Arc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The answer to what `stream` sends, or why there is none better.
fn heard(stream: &UnixStream, pushed: &Pushed) -> Result<String, String> {
    let peer = sockopt::socket_peercred(stream)
        .map_err(|errno| format!("the kernel does not say who you are: {errno}"))?;
    if !may_push(peer.uid, rustix::process::geteuid()) {
        return Err("only the agent's own user and root may push".to_owned());
    }
    let text = document(stream)?;
    match pushed.push(&text) {
        Ok((kept, 0)) => Ok(format!("ok {kept} series")),
        Ok((kept, left_out)) => Ok(format!(
            "ok {kept} series, and {left_out} left out because they are not finite or too large"
        )),
        Err(why) => Err(why.to_string()),
    }
}

/// Whether the user may push: what is pushed goes into samples that the enclave signs.
fn may_push(peer: Uid, own: Uid) -> bool {
    peer.is_root() || peer == own
}

/// What the peer sends, up to the document's end or its own.
fn document(mut stream: &UnixStream) -> Result<Vec<u8>, String> {
    const LIMIT: usize = MAX_DOCUMENT + MAX_JOB_LINE;
    let deadline = Instant::now().checked_add(DEADLINE);
    let mut text = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let left = deadline
            .and_then(|deadline| deadline.checked_duration_since(Instant::now()))
            .filter(|left| !left.is_zero())
            .ok_or_else(late)?;
        stream
            .set_read_timeout(Some(left))
            .map_err(|error| format!("the connection broke: {error}"))?;
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(text),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(late()),
            Err(error) => return Err(format!("the connection broke: {error}")),
        };
        text.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if text.len() > LIMIT {
            return Err(format!("the document is larger than {MAX_DOCUMENT} bytes"));
        }
        let ended = text
            .strip_suffix(END)
            .is_some_and(|before| before.ends_with(b"\n"));
        if ended {
            return Ok(text);
        }
    }
}

fn late() -> String {
    format!(
        "no `# EOF` within {} s: the document is cut off",
        DEADLINE.as_secs()
    )
}

fn answer(mut stream: &UnixStream, said: &str) {
    // Whoever does not take the answer does not want it.
    let _told = stream
        .set_write_timeout(Some(DEADLINE))
        .and_then(|()| stream.write_all(format!("{said}\n").as_bytes()))
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write));
}

#[cfg(test)]
mod tests {
    use nautilus_core::UnixMillis;

    use super::*;

    struct Listening {
        directory: tempfile::TempDir,
        pushed: Arc<Pushed>,
        socket: PushSocket,
    }

    fn listening() -> Listening {
        let directory = tempfile::tempdir().unwrap();
        let pushed = Arc::new(Pushed::new(Arc::new(|| UnixMillis(1))));
        let path = directory.path().join("push.sock");
        let socket = PushSocket::listen(path, Arc::clone(&pushed)).unwrap();
        Listening {
            directory,
            pushed,
            socket,
        }
    }

    impl Listening {
        fn connect(&self) -> UnixStream {
            let stream = UnixStream::connect(self.socket.path()).unwrap();
            // A test that fails must not hang.
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream
        }

        fn push(&self, text: &[u8]) -> String {
            let mut stream = self.connect();
            // The other end need not read all that it refuses.
            let _sent = stream.write_all(text);
            answered(stream)
        }
    }

    fn answered(mut stream: UnixStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_document_that_is_pushed_is_kept_and_answered() {
        let listening = listening();
        let document = b"job backup\n# TYPE done counter\ndone_total 3\nbad NaN\n# EOF\n";
        assert_eq!(
            listening.push(document),
            "ok 1 series, and 1 left out because they are not finite or too large\n"
        );
        assert_eq!(listening.push(b"job other\nx 1\n# EOF\n"), "ok 1 series\n");
        assert_eq!(listening.pushed.kept().len(), 2);
    }

    #[test]
    fn a_document_may_come_in_pieces() {
        let listening = listening();
        let mut stream = listening.connect();
        for piece in [&b"job a"[..], b"\nx 1\n# E", b"OF\n"] {
            stream.write_all(piece).unwrap();
            stream.flush().unwrap();
        }
        assert_eq!(answered(stream), "ok 1 series\n");
    }

    #[test]
    fn what_is_no_document_is_answered_with_the_fault() {
        let listening = listening();
        for (text, why) in [
            (
                &b"x 1\n# EOF\n"[..],
                "error the first line is not `job NAME`: say who pushes\n",
            ),
            (b"job a\nx one\n# EOF\n", "error line 1: `one` is no value\n"),
            (
                b"job a\nnautilus_tee_integrity 1\n# EOF\n",
                "error line 1: `nautilus_tee_integrity`: names that begin with `nautilus_` are the agent's own\n",
            ),
        ] {
            assert_eq!(listening.push(text), why);
        }
        // Cut off by its sender.
        let mut stream = listening.connect();
        stream.write_all(b"job a\nx 1\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(
            answered(stream),
            "error line 2: `# EOF` is missing at the end: the document is cut off\n"
        );
        assert!(listening.pushed.kept().is_empty());
    }

    #[test]
    fn a_document_without_an_end_is_not_read_for_ever() {
        let listening = listening();
        let mut stream = listening.connect();
        let mut reader = stream.try_clone().unwrap();
        let line = [b'x'; 4096];
        // Ends when the other side closes.
        let mut sent = 0;
        while stream.write_all(&line).is_ok() {
            sent += line.len();
            assert!(sent < 16 * MAX_DOCUMENT, "it reads on");
        }
        let mut answer = String::new();
        // The kernel may take the answer back where bytes were left unread.
        match reader.read_to_string(&mut answer) {
            Ok(_) => assert_eq!(answer, "error the document is larger than 1048576 bytes\n"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        assert_eq!(listening.push(b"job a\nx 1\n# EOF\n"), "ok 1 series\n");
    }

    #[test]
    fn connections_at_once_are_bounded_and_idle_ones_hold_up_nobody_below_that() {
        let listening = listening();
        let idle: Vec<_> = (1..MAX_CONNECTIONS).map(|_| listening.connect()).collect();
        assert_eq!(listening.push(b"job a\nx 1\n# EOF\n"), "ok 1 series\n");
        // They are taken in their order: whenever the place above is free again, these fill all that there are.
        let more: Vec<_> = (0..MAX_CONNECTIONS).map(|_| listening.connect()).collect();
        let refused = answered(listening.connect());
        assert_eq!(refused, "error too many push at once: come again\n");
        drop((idle, more));
    }

    #[test]
    fn the_socket_is_its_owners_alone_and_goes_with_its_listener() {
        let listening = listening();
        let path = listening.socket.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // An agent that was killed leaves its socket.
        drop(listening.socket);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        let again = PushSocket::listen(&path, Arc::clone(&listening.pushed)).unwrap();
        drop(again);

        std::fs::write(&path, "precious").unwrap();
        match PushSocket::listen(&path, Arc::clone(&listening.pushed)) {
            Err(PushSocketError::Occupied { path: named }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let long = listening.directory.path().join("x".repeat(MAX_SOCKET_PATH));
        match PushSocket::listen(&long, Arc::clone(&listening.pushed)) {
            Err(PushSocketError::Path { path }) => assert_eq!(path, long),
            other => panic!("{other:?}"),
        }
        let nowhere = listening.directory.path().join("nowhere/push.sock");
        match PushSocket::listen(&nowhere, Arc::clone(&listening.pushed)) {
            Err(PushSocketError::Socket { path, source }) => {
                assert_eq!((path, source.kind()), (nowhere, io::ErrorKind::NotFound));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn strangers_may_not_push() {
        let [root, own, stranger] = [0, 1_000, 1_001].map(Uid::from_raw);
        assert!(may_push(root, own));
        assert!(may_push(own, own));
        assert!(!may_push(stranger, own));
        // An agent that is root hears root alone.
        assert!(!may_push(own, root));
    }
}
