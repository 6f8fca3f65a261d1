//! A fake quoting service of Intel's (QGS) on a Unix socket: the messages of `qgs_msg_lib.h`, each after its length in
//! four bytes, big-endian.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a fake service that cannot be made must stop its test"
)]

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tempfile::TempDir;

use crate::vendor::intel_tdx::{FakeIntelTdx, TD_REPORT_LEN, TrustDomain};

/// How the service misbehaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It quotes another's report data.
    OtherReportData,
    /// It answers with this error.
    Error(u32),
    /// It closes the stream after so many bytes.
    Cut(usize),
    /// It announces so many bytes.
    Announce(u32),
    /// It answers with these bytes.
    Message(Vec<u8>),
    /// It answers with these bytes in the place of a quote.
    Quote(Vec<u8>),
    /// It adds zeros after the quote, within the message.
    Padded(usize),
    /// It never answers.
    Never,
}

/// A service that quotes for one platform.
pub struct FakeQgs {
    // The directory lives as long as the service.
    _directory: TempDir,
    path: PathBuf,
    held: Arc<Mutex<Held>>,
    thread: Option<JoinHandle<()>>,
}

/// Streams that are not answered, until the service ends.
#[derive(Default)]
struct Held {
    ended: bool,
    streams: Vec<UnixStream>,
}

impl FakeQgs {
    /// One that does what it should.
    pub fn new(platform: FakeIntelTdx) -> Self {
        Self::start(platform, None)
    }

    /// One with a fault.
    pub fn with(platform: FakeIntelTdx, fault: Fault) -> Self {
        Self::start(platform, Some(fault))
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn start(platform: FakeIntelTdx, fault: Option<Fault>) -> Self {
        let directory = tempfile::tempdir().expect("make a temporary directory");
        let path = directory.path().join("qgs.socket");
        let listener = UnixListener::bind(&path).expect("listen on a socket");
        let held = Arc::new(Mutex::new(Held::default()));
        let theirs = Arc::clone(&held);
        let serve = move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("accept a stream");
                if theirs.lock().unwrap().ended {
                    return;
                }
                if fault == Some(Fault::Never) {
                    theirs.lock().unwrap().streams.push(stream);
                    continue;
                }
                // Who asks may go away in the middle: that is no failure of the service.
                let _gone = answer(&mut stream, &platform, fault.as_ref());
            }
        };
        Self {
            _directory: directory,
            path,
            held,
            thread: Some(std::thread::spawn(serve)),
        }
    }
}

impl Drop for FakeQgs {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap();
        held.ended = true;
        for stream in held.streams.drain(..) {
            let _closed = stream.shutdown(Shutdown::Both);
        }
        drop(held);
        // It sees that it ended when one more comes.
        let _woken = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn answer(stream: &mut UnixStream, platform: &FakeIntelTdx, fault: Option<&Fault>) -> io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut request = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut request)?;
    let message = match fault {
        Some(Fault::Message(message)) => message.clone(),
        _ => respond(&request, platform, fault),
    };
    let announced = match fault {
        Some(Fault::Announce(length)) => *length,
        _ => u32::try_from(message.len()).unwrap(),
    };
    let mut bytes = [&announced.to_be_bytes()[..], &message].concat();
    if let Some(Fault::Cut(length)) = fault {
        bytes.truncate(*length);
    }
    stream.write_all(&bytes)
}

/// The response to a request that is laid out as the library does it, and to no other.
fn respond(request: &[u8], platform: &FakeIntelTdx, fault: Option<&Fault>) -> Vec<u8> {
    const INVALID_PARAMETER: u32 = 0x0001_2003;
    let word = |at: usize| {
        request
            .get(at..at + 4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
    };
    let well_formed = request.len() == 24 + TD_REPORT_LEN
        && request[..4] == [1, 0, 0, 0]
        && word(4) == Some(0)
        && word(8) == u32::try_from(request.len()).ok()
        && word(12) == Some(0)
        && word(16) == u32::try_from(TD_REPORT_LEN).ok()
        && word(20) == Some(0);
    if !well_formed {
        return response(INVALID_PARAMETER, &[]);
    }
    let mut report: [u8; TD_REPORT_LEN] = request[24..].try_into().unwrap();
    if fault == Some(&Fault::OtherReportData) {
        report = platform.td_report(&TrustDomain::production(), &[0x0f; 64]);
    }
    match (fault, platform.quote_of(&report)) {
        (Some(Fault::Error(error)), _) => response(*error, &[]),
        (Some(Fault::Quote(quote)), _) => response(0, quote),
        (Some(Fault::Padded(zeros)), Some(quote)) => response(0, &[quote, vec![0; *zeros]].concat()),
        (_, Some(quote)) => response(0, &quote),
        (_, None) => response(INVALID_PARAMETER, &[]),
    }
}

fn response(error: u32, quote: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend([1, 0, 0, 0]);
    message.extend(1_u32.to_le_bytes());
    message.extend(u32::try_from(24 + quote.len()).unwrap().to_le_bytes());
    message.extend(error.to_le_bytes());
    message.extend(0_u32.to_le_bytes());
    message.extend(u32::try_from(quote.len()).unwrap().to_le_bytes());
    message.extend(quote);
    message
}
