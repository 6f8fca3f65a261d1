//! Who speaks another protocol, or this one's first half.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::world::{World, text};

fn port(address: &str) -> &str {
    address.strip_prefix("tcp://").unwrap()
}

#[test]
fn openssl_completes_tls_and_is_refused_for_lack_of_evidence() {
    let world = World::new();
    let verifier = world.verifier("tcp://127.0.0.1:0", &[]);
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| text(&world.path().join(name)));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ed25519",
            "-nodes",
            "-subj",
            "/CN=stranger",
            "-days",
            "1",
        ])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .expect("openssl is missing: scripts/setup.sh test installs it");
    assert!(made.status.success(), "{made:?}");
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            port(&verifier.address),
            "-alpn",
            "nautilus/1",
            "-ign_eof",
        ])
        .args(["-cert", &certificate, "-key", &key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"GET /v1/verifier HTTP/1.1\r\n\r\n").unwrap();
    let mut said = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    client.wait().unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("TLSv1.3"), "{said}");
    assert!(said.contains("no_evidence"), "{said}");
    drop(verifier);
}

#[test]
fn plain_http_gets_nothing() {
    let world = World::new();
    let verifier = world.verifier("tcp://127.0.0.1:0", &[]);
    let mut stream = TcpStream::connect(port(&verifier.address)).unwrap();
    stream
        .write_all(b"POST /v1/challenges HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        .unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    // A TLS alert, and no word of HTTP.
    assert_eq!(said.first(), Some(&0x15), "{said:?}");
    drop(verifier);
}
