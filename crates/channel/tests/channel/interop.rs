//! A foreign client of TLS: it gets its TLS, and is refused for lack of evidence.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nautilus_channel::{ChannelError, Endpoint};
use tempfile::TempDir;

use crate::fixture::{START, output, verifier};

/// How long anything may take before the test is given up.
const PATIENCE: Duration = Duration::from_secs(30);

fn openssl() -> Command {
    Command::new("openssl")
}

fn missing(error: &io::Error) -> ! {
    panic!("`openssl` cannot be run ({error}): scripts/setup.sh test installs it")
}

/// A key and its self-signed certificate in `directory`.
fn make_certificate(directory: &Path, key: &[&str]) {
    let made = openssl()
        .args(["req", "-x509", "-nodes", "-subj", "/CN=foreign", "-newkey"])
        .args(key)
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| missing(&error));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// `openssl s_client`, connected.
struct Foreign {
    child: Child,
    stream: TcpStream,
    /// Tells when its TLS is done.
    done: Receiver<()>,
    printed: Option<JoinHandle<String>>,
    _directory: TempDir,
}

impl Foreign {
    fn connect(key: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        make_certificate(directory.path(), key);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receive = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&listener, receive, Some(PATIENCE)).unwrap();
        let mut child = openssl()
            .args([
                "s_client",
                "-connect",
                &listener.local_addr().unwrap().to_string(),
            ])
            .args([
                "-alpn",
                "nautilus/1",
                "-cert",
                "certificate.pem",
                "-key",
                "key.pem",
            ])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| missing(&error));
        let (tell, done) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        let printed = thread::spawn(move || read(stdout, &tell));
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            child,
            stream,
            done,
            printed: Some(printed),
            _directory: directory,
        }
    }

    fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Gives `end` what arrives, and sends what it says, until TLS is done and nothing more is on its way.
    fn until_done(&mut self, end: &mut Endpoint) {
        let short = Duration::from_millis(20);
        self.stream.set_read_timeout(Some(short)).unwrap();
        let mut done = false;
        loop {
            match self.exchange(end) {
                // What it sent before it said that it is done is here.
                Ok(true) if done => return,
                Ok(true) => done = self.done.try_recv().is_ok(),
                Ok(false) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// Gives `end` what arrives until it refuses.
    fn until_refused(&mut self, end: &mut Endpoint) -> ChannelError {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        loop {
            match self.exchange(end) {
                Ok(quiet) => assert!(!quiet, "nothing came for too long"),
                Err(error) => return error,
            }
        }
    }

    /// One read, and what there is to say to it. Says whether nothing came.
    fn exchange(&mut self, end: &mut Endpoint) -> Result<bool, ChannelError> {
        let mut bytes = [0; 4096];
        let taken = match self.stream.read(&mut bytes) {
            Ok(0) => Err(end.ended()),
            Ok(length) => end.receive(&bytes[..length], START).map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => panic!("{error}"),
        };
        self.stream.write_all(&output(end)).unwrap();
        taken
    }

    /// What it printed, once the connection is over.
    fn printed(mut self) -> String {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
        self.printed.take().unwrap().join().unwrap()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Reads all that it prints, and tells when that says that TLS is done.
fn read(mut stdout: ChildStdout, done: &mpsc::Sender<()>) -> String {
    let mut all = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = stdout.read(&mut bytes) {
        let before = all.len();
        all.extend_from_slice(&bytes[..length]);
        let summary = b"Verify return code";
        let has = |all: &[u8]| all.windows(summary.len()).any(|window| window == summary);
        if has(&all) && !has(&all[..before]) {
            // Nobody waits for it where the test speaks at once.
            let _told = done.send(());
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

const KEYS: [&[&str]; 2] = [&["ed25519"], &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]];

fn assert_tls_was_complete(printed: &str) {
    assert!(
        printed.contains("TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
        "{printed}"
    );
    assert!(printed.contains("ALPN protocol: nautilus/1"), "{printed}");
    // OpenSSL has the hybrid group from 3.5 on.
    assert!(
        printed.contains("Server Temp Key: X25519") || printed.contains("X25519MLKEM768"),
        "{printed}"
    );
}

#[test]
fn openssl_completes_tls_and_is_refused_for_its_line_of_text() {
    for key in KEYS {
        let mut foreign = Foreign::connect(key);
        let mut end = Endpoint::responder(verifier(), START).unwrap();
        foreign.until_done(&mut end);
        foreign.say("hello?");
        match foreign.until_refused(&mut end) {
            ChannelError::NoEvidence { due, found } => {
                assert_eq!(due, "hello");
                assert!(found.starts_with("something else"), "{found}");
            }
            other => panic!("{other:?}"),
        }
        let printed = foreign.printed();
        assert_tls_was_complete(&printed);
        assert!(printed.contains("no_evidence"), "{printed}");
        assert!(printed.contains("peer gave no evidence"), "{printed}");
    }
}

#[test]
fn openssl_completes_tls_and_is_refused_for_its_silence() {
    let mut foreign = Foreign::connect(KEYS[0]);
    let mut end = Endpoint::responder(verifier(), START).unwrap();
    foreign.until_done(&mut end);
    let after = Duration::from_secs(10);
    assert_eq!(
        end.tick(START.plus(after)),
        Err(ChannelError::HandshakeSlow { due: "hello", after })
    );
    foreign.stream.write_all(&output(&mut end)).unwrap();
    let printed = foreign.printed();
    assert_tls_was_complete(&printed);
    assert!(printed.contains("handshake_slow"), "{printed}");
    assert!(
        printed.contains("handshake did not come to its hello"),
        "{printed}"
    );
}
