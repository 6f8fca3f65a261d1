//! Intel's AESM service, which has its quoting enclave make a quote of a report.
//!
//! Each request has a connection of its own. A frame is `length u32 LE ‖ protobuf` (Intel, linux-sgx,
//! `psw/ae/aesm_service/source/core/ipc`).

pub mod message;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use nautilus_core::AttestError;

use self::message::{Answer, Request, parse_answer};
use super::gramine::{REPORT_LEN, TARGET_INFO_LEN};

const SOCKET: &str = "/var/run/aesmd/aesm.socket";
/// Largest answer: a quote, and what surrounds it.
const MAX_ANSWER: usize = MAX_QUOTE + 1024;
const MAX_QUOTE: usize = 64 * 1024;
/// Most attestation keys that are looked at. Intel's service offers three at most.
const MAX_KEYS: u32 = 16;
/// `sgx_att_key_id_t` (Intel, linux-sgx, `common/inc/sgx_quote.h`).
const KEY_ID_LEN: usize = 256;
/// `algorithm_id` within, and the one of ECDSA over P-256 (`SGX_QL_ALG_ECDSA_P256`).
const ALGORITHM: std::ops::Range<usize> = 154..158;
const ECDSA_P256: [u8; 4] = 2_u32.to_le_bytes();

/// The service at one address.
#[derive(Debug)]
pub(super) enum Aesm {
    /// Its own socket. Gramine keeps an enclave from the host's Unix sockets: other runtimes do not.
    Unix,
    /// A port on this machine that leads to that socket.
    Loopback(SocketAddr),
}

/// Names an attestation key of the platform.
pub(super) struct KeyId([u8; KEY_ID_LEN]);

impl Aesm {
    pub(super) const fn at_its_socket() -> Self {
        Self::Unix
    }

    /// At `127.0.0.1:PORT` or the like; none for an address that is not on this machine.
    pub(super) fn at_loopback(address: &str) -> Option<Self> {
        let address: SocketAddr = address.parse().ok()?;
        (address.ip().is_loopback() && address.port() != 0).then_some(Self::Loopback(address))
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Unix => SOCKET.to_owned(),
            Self::Loopback(address) => format!("AESM at {address}"),
        }
    }

    /// The platform's attestation key for ECDSA on P-256.
    pub(super) fn attestation_key(&self) -> Result<KeyId, AttestError> {
        let count = self.number(&Request::KeyIdCount)?;
        let count = u32::try_from(count)
            .ok()
            .filter(|count| *count <= MAX_KEYS)
            .ok_or_else(|| self.malformed(format!("{count} attestation keys, more than {MAX_KEYS}")))?;
        let ids = match count {
            0 => Vec::new(),
            _ => self.bytes(&Request::KeyIds {
                count,
                length: KEY_ID_LEN,
            })?,
        };
        let (ids, rest) = ids.as_chunks::<KEY_ID_LEN>();
        if !rest.is_empty() || u32::try_from(ids.len()) != Ok(count) {
            return Err(self.malformed(format!(
                "{count} attestation keys are not {KEY_ID_LEN} bytes each"
            )));
        }
        let by_ecdsa = |id: &&[u8; KEY_ID_LEN]| id.get(ALGORITHM) == Some(&ECDSA_P256);
        let found = ids.iter().find(by_ecdsa).ok_or_else(|| AttestError::Missing {
            interface: self.name(),
            hint: format!(
                "none of its {count} attestation keys is of ECDSA on P-256: install \
                 `libsgx-aesm-ecdsa-plugin` and `libsgx-dcap-default-qpl`, and start it again"
            ),
        })?;
        Ok(KeyId(*found))
    }

    /// The quoting enclave for which a report must be made.
    pub(super) fn target_info(&self, key: &KeyId) -> Result<[u8; TARGET_INFO_LEN], AttestError> {
        let bytes = self.bytes(&Request::InitQuote { key: &key.0 })?;
        let length = bytes.len();
        bytes
            .try_into()
            .map_err(|_| self.malformed(format!("target info of {length} bytes, not {TARGET_INFO_LEN}")))
    }

    /// A quote of `report`; zeros may follow it.
    pub(super) fn quote(&self, key: &KeyId, report: &[u8; REPORT_LEN]) -> Result<Vec<u8>, AttestError> {
        let size = self.number(&Request::QuoteSize { key: &key.0 })?;
        let size = u32::try_from(size)
            .ok()
            .filter(|size| usize::try_from(*size).is_ok_and(|size| size <= MAX_QUOTE))
            .ok_or_else(|| self.malformed(format!("a quote of {size} bytes, more than {MAX_QUOTE}")))?;
        self.bytes(&Request::Quote {
            report,
            key: &key.0,
            size,
        })
    }

    fn number(&self, request: &Request<'_>) -> Result<u64, AttestError> {
        let answer = self.answer(request)?;
        match self.parsed(request, &answer)? {
            Answer::Number(number) => Ok(number),
            Answer::Bytes(_) | Answer::Nothing => Err(self.lacks(request)),
        }
    }

    fn bytes(&self, request: &Request<'_>) -> Result<Vec<u8>, AttestError> {
        let answer = self.answer(request)?;
        match self.parsed(request, &answer)? {
            Answer::Bytes(bytes) => Ok(bytes.to_vec()),
            Answer::Number(_) | Answer::Nothing => Err(self.lacks(request)),
        }
    }

    fn parsed<'a>(&self, request: &Request<'_>, answer: &'a [u8]) -> Result<Answer<'a>, AttestError> {
        let parsed = parse_answer(answer, request.call());
        match parsed.map_err(|fault| super::malformed(self.name(), fault))? {
            Ok(answer) => Ok(answer),
            Err(refusal) => Err(AttestError::Refused {
                interface: self.name(),
                what: format!("{refusal} to {}", request.call().name()),
            }),
        }
    }

    fn lacks(&self, request: &Request<'_>) -> AttestError {
        self.malformed(format!("the answer to {} is empty", request.call().name()))
    }

    fn answer(&self, request: &Request<'_>) -> Result<Vec<u8>, AttestError> {
        match self {
            Self::Unix => self.exchange(
                UnixStream::connect(SOCKET).map_err(|error| self.no_service(error))?,
                request,
            ),
            Self::Loopback(address) => self.exchange(
                TcpStream::connect(address).map_err(|error| self.no_service(error))?,
                request,
            ),
        }
    }

    fn exchange(&self, mut stream: impl Read + Write, request: &Request<'_>) -> Result<Vec<u8>, AttestError> {
        let body = request.encode();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let frame = [&length.to_le_bytes()[..], &body].concat();
        stream
            .write_all(&frame)
            .map_err(|error| self.failed("write to", error))?;
        let mut length = [0; 4];
        stream
            .read_exact(&mut length)
            .map_err(|error| self.cut_short("its length", error))?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_ANSWER {
            return Err(self.malformed(format!("{length} bytes, more than {MAX_ANSWER}")));
        }
        let mut answer = vec![0; length];
        stream
            .read_exact(&mut answer)
            .map_err(|error| self.cut_short(&format!("{length} bytes"), error))?;
        Ok(answer)
    }

    fn no_service(&self, error: io::Error) -> AttestError {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => AttestError::Missing {
                interface: self.name(),
                hint: match self {
                    Self::Unix => {
                        "install and start Intel's AESM service with its quoting plug-in; under Gramine, which \
                         keeps an enclave from Unix sockets of the host, use quote_provider `gramine`"
                    }
                    Self::Loopback(_) => {
                        "have the port lead to /var/run/aesmd/aesm.socket, as `socat` does, and start AESM"
                    }
                }
                .to_owned(),
            },
            _ => self.failed("connect to", error),
        }
    }

    fn cut_short(&self, what: &str, error: io::Error) -> AttestError {
        match error.kind() {
            ErrorKind::UnexpectedEof => self.malformed(format!("it ends within {what}")),
            _ => self.failed("read from", error),
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> AttestError {
        AttestError::Io {
            action,
            interface: self.name(),
            source,
        }
    }

    fn malformed(&self, what: String) -> AttestError {
        AttestError::Malformed {
            interface: self.name(),
            what,
        }
    }
}
