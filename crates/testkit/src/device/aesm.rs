//! Intel's AESM service on a socket of this machine: it reads its requests in protobuf and quotes reports of its platform
//! (Intel, linux-sgx, `psw/ae/aesm_service/source/core/ipc/messages.proto`).

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a service that cannot be had, or a request that is none, must stop its test"
)]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tempfile::TempDir;

use crate::vendor::intel::{Enclave, Platform, REPORT_LEN};

/// Where the socket belongs.
pub const PATH: &str = "/var/run/aesmd/aesm.socket";

/// How a service can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its quotes are of a report of somebody else.
    OtherReportData,
    /// It gives the quote before.
    Stale,
    /// Its frame ends early.
    ShortRead,
    /// It answers with an error code.
    Error,
    /// It does not know attestation keys: it has no quoting plug-in.
    Unsupported,
    /// It has keys, and none for ECDSA on P-256.
    OtherKeys,
    /// It answers to something else than it was asked.
    OtherAnswer,
    /// It announces more than anybody should read.
    Endless,
    /// It never answers.
    Never,
}

/// A service that listens until it is dropped.
pub struct Aesm {
    directory: TempDir,
    port: SocketAddr,
}

/// Numbers of requests, and of their answers.
const INIT_QUOTE: u64 = 15;
const QUOTE_SIZE: u64 = 16;
const QUOTE: u64 = 17;
const UNSUPPORTED: u64 = 20;
const KEY_ID_COUNT: u64 = 21;
const KEY_IDS: u64 = 22;

const KEY_ID_LEN: usize = 256;
/// Algorithms of attestation keys: EPID and ECDSA on P-256.
const EPID: u32 = 0;
const ECDSA_P256: u32 = 2;
/// AESM_PARAMETER_ERROR, AESM_SERVICE_UNAVAILABLE.
const PARAMETER_ERROR: u64 = 3;
const UNAVAILABLE: u64 = 30;
/// A quote fits, and zeros follow it.
const BUFFER: usize = 8 * 1024;

impl Aesm {
    /// The service of this platform.
    pub fn start(platform: Platform, fault: Option<Fault>) -> Self {
        let directory = tempfile::tempdir().expect("make a temporary directory");
        let unix = UnixListener::bind(socket(directory.path())).expect("listen on a Unix socket");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("listen on a port");
        let port = tcp.local_addr().expect("know the port");
        let service = Arc::new(Mutex::new(Service {
            platform,
            fault,
            earlier: None,
            held: Vec::new(),
        }));
        let also = Arc::clone(&service);
        // They end with the test's process.
        thread::spawn(move || {
            while let Ok((stream, _)) = unix.accept() {
                serve(&service, stream);
            }
        });
        thread::spawn(move || {
            while let Ok((stream, _)) = tcp.accept() {
                serve(&also, stream);
            }
        });
        Self { directory, port }
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        socket(self.directory.path())
    }

    /// The same on a port of this machine, as `socat` makes it.
    pub const fn port(&self) -> SocketAddr {
        self.port
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("aesm.socket")
}

trait Stream: Read + Write + Send {}
impl Stream for UnixStream {}
impl Stream for TcpStream {}

struct Service {
    platform: Platform,
    fault: Option<Fault>,
    earlier: Option<Vec<u8>>,
    /// Connections that get no answer and no end.
    held: Vec<Box<dyn Stream>>,
}

fn serve(service: &Mutex<Service>, mut stream: impl Stream + 'static) {
    let Ok(request) = read_frame(&mut stream) else {
        return;
    };
    let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
    if service.fault == Some(Fault::Never) {
        service.held.push(Box::new(stream));
        return;
    }
    let answer = service.answer(&request);
    let mut frame = u32::try_from(answer.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(answer);
    match service.fault {
        Some(Fault::ShortRead) => frame.truncate(frame.len() - 1),
        Some(Fault::Endless) => frame[..4].copy_from_slice(&u32::MAX.to_le_bytes()),
        _ => {}
    }
    // A client that went away is not the service's concern.
    let _gone = stream.write_all(&frame);
}

fn read_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut body)?;
    Ok(body)
}

impl Service {
    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let requests = fields(request);
        let (number, body) = requests.first_key_value().expect("a request");
        let Field::Bytes(body) = body else {
            panic_on("a request is a message")
        };
        let body = fields(body);
        let (answered, error, value) = match (*number, self.fault) {
            (_, Some(Fault::Unsupported)) => (UNSUPPORTED, 1, None),
            (number, Some(Fault::Error)) => (number, UNAVAILABLE, None),
            (KEY_ID_COUNT, _) => (KEY_ID_COUNT, 0, Some(Field::Number(2))),
            (KEY_IDS, _) => (KEY_IDS, 0, Some(self.keys(&body))),
            (INIT_QUOTE, _) => (INIT_QUOTE, 0, Some(self.target_info(&body))),
            (QUOTE_SIZE, _) => (QUOTE_SIZE, 0, Some(Field::Number(BUFFER as u64))),
            (QUOTE, _) => match self.quote(&body) {
                Some(quote) => (QUOTE, 0, Some(Field::Bytes(quote))),
                None => (QUOTE, PARAMETER_ERROR, None),
            },
            (other, _) => panic_on(&format!("request {other} is none of a quote")),
        };
        let answered = match self.fault {
            Some(Fault::OtherAnswer) => 2,
            _ => answered,
        };
        let mut answer = Vec::new();
        put(&mut answer, 1, &Field::Number(error));
        if let Some(value) = value {
            put(&mut answer, 2, &value);
        }
        let mut response = Vec::new();
        put(&mut response, answered, &Field::Bytes(answer));
        response
    }

    fn keys(&self, request: &BTreeMap<u64, Field>) -> Field {
        assert_eq!(
            request.get(&1),
            Some(&Field::Number(2 * KEY_ID_LEN as u64)),
            "buf_size"
        );
        let last = match self.fault {
            Some(Fault::OtherKeys) => EPID,
            _ => ECDSA_P256,
        };
        Field::Bytes([key_id(EPID), key_id(last)].concat())
    }

    fn target_info(&self, request: &BTreeMap<u64, Field>) -> Field {
        assert_eq!(
            request.get(&1),
            Some(&Field::Bytes(key_id(ECDSA_P256))),
            "att_key_id"
        );
        assert_eq!(request.get(&3), Some(&Field::Number(1)), "b_pub_key_id");
        assert_eq!(request.get(&4), Some(&Field::Number(32)), "buf_size");
        Field::Bytes(self.platform.quoting_enclave().to_vec())
    }

    fn quote(&mut self, request: &BTreeMap<u64, Field>) -> Option<Vec<u8>> {
        assert_eq!(
            request.get(&2),
            Some(&Field::Bytes(key_id(ECDSA_P256))),
            "att_key_id"
        );
        assert_eq!(request.get(&4), Some(&Field::Number(BUFFER as u64)), "buf_size");
        let Some(Field::Bytes(report)) = request.get(&1) else {
            panic_on("a request for a quote has a report")
        };
        let report: &[u8; REPORT_LEN] = report.as_slice().try_into().expect("a report");
        let mut quote = match self.fault {
            Some(Fault::OtherReportData) => {
                let other = Enclave {
                    mrenclave: [0xbb; 32],
                    debug: false,
                };
                self.platform.quote(&other, &[0xbb; 64])
            }
            _ => self.platform.quote_of(report)?,
        };
        quote.resize(BUFFER, 0);
        match (self.fault, self.earlier.replace(quote.clone())) {
            (Some(Fault::Stale), Some(earlier)) => Some(earlier),
            _ => Some(quote),
        }
    }
}

/// `sgx_att_key_id_t`, with its algorithm alone.
fn key_id(algorithm: u32) -> Vec<u8> {
    let mut id = vec![0; KEY_ID_LEN];
    id[154..158].copy_from_slice(&algorithm.to_le_bytes());
    id
}

#[derive(Debug, PartialEq, Eq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// The fields of a protobuf message, none of which comes twice.
fn fields(mut message: &[u8]) -> BTreeMap<u64, Field> {
    let mut fields = BTreeMap::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                let (value, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(value.to_vec())
            }
            other => panic_on(&format!("wire type {other} is none of a request")),
        };
        assert!(
            fields.insert(key >> 3, field).is_none(),
            "field {} twice",
            key >> 3
        );
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().expect("a whole varint");
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic_on("a varint of more than ten bytes")
}

fn put(message: &mut Vec<u8>, number: u64, field: &Field) {
    match field {
        Field::Number(value) => {
            put_varint(message, number << 3);
            put_varint(message, *value);
        }
        Field::Bytes(value) => {
            put_varint(message, (number << 3) | 2);
            put_varint(message, value.len() as u64);
            message.extend(value);
        }
    }
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        message.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    message.push(u8::try_from(value).unwrap());
}

#[expect(clippy::panic, reason = "a request that is none must stop its test")]
fn panic_on(what: &str) -> ! {
    panic!("{what}")
}
