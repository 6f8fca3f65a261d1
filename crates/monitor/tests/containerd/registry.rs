//! A registry of one image, over plain HTTP on loopback, which can hold layers back.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Serves until the test ends.
pub struct Registry {
    address: String,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Registry {
    /// Of the one image in an OCI image layout. No layer is given out before [`Registry::open`].
    pub fn start(layout: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let gate = Arc::new(Gate::default());
        let shared = Arc::clone(&gate);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (layout, gate) = (layout.clone(), Arc::clone(&shared));
                // A client that goes away is its own affair.
                thread::spawn(move || stream.and_then(|stream| serve(&stream, &layout, &gate)));
            }
        });
        Self { address, gate }
    }

    /// The image's reference.
    pub fn image(&self) -> String {
        format!("{}/tool:test", self.address)
    }

    /// Gives out layers from now on.
    pub fn open(&self) {
        *self.gate.open.lock().unwrap() = true;
        self.gate.opened.notify_all();
    }
}

fn serve(stream: &TcpStream, layout: &Path, gate: &Gate) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, kind, digest, body) = answer(path, layout, gate);
    let mut out = stream;
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {digest}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )?;
    if method == "GET" {
        out.write_all(&body)?;
    }
    stream.shutdown(Shutdown::Write)
}

fn answer(path: &str, layout: &Path, gate: &Gate) -> (&'static str, &'static str, String, Vec<u8>) {
    let path = path.split('?').next().unwrap_or_default();
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let blob = |digest: &str| fs::read(layout.join("blobs").join(digest.replace(':', "/"))).ok();
    let (kind, digest) = match path.rsplit_once('/') {
        Some(("/v2/tool/manifests", "test")) => (MANIFEST, manifest),
        Some(("/v2/tool/manifests", digest)) => (MANIFEST, digest.to_owned()),
        Some(("/v2/tool/blobs", digest)) => {
            // The configuration is small JSON; all else is a layer.
            if blob(digest).is_some_and(|bytes| !bytes.starts_with(b"{")) {
                let mut open = gate.open.lock().unwrap();
                while !*open {
                    open = gate.opened.wait(open).unwrap();
                }
            }
            ("application/octet-stream", digest.to_owned())
        }
        _ => return ("200 OK", "application/json", String::new(), b"{}".to_vec()),
    };
    match blob(&digest) {
        Some(bytes) => ("200 OK", kind, digest, bytes),
        None => ("404 Not Found", "text/plain", String::new(), Vec::new()),
    }
}
