//! The frame of commands and responses: *Part 1*, "Command/Response Structure"; *Part 2*, "TPMI_ST_COMMAND_TAG",
//! "TPMS_AUTH_COMMAND", "TPMS_AUTH_RESPONSE".

use nautilus_core::{AttestError, VerifyError};
use zeroize::Zeroizing;

use super::code::RC_SUCCESS;
use super::{Error, MAX_RESPONSE};
use crate::tpm::wire::Reader;

const ST_NO_SESSIONS: u16 = 0x8001;
const ST_SESSIONS: u16 = 0x8002;
/// What a TPM answers that does not understand the tag (`TPM_ST_RSP_COMMAND`, `TPM_RC_BAD_TAG`), a TPM 1.2 above all.
const ST_RSP_COMMAND: u16 = 0x00c4;
/// `TPM_RS_PW`: authorization by password.
const RS_PASSWORD: u32 = 0x4000_0009;
/// `TPMA_SESSION.continueSession`.
const CONTINUE_SESSION: u8 = 1;
pub(super) const HEADER: usize = 10;
/// Largest nonce or HMAC of a session.
const MAX_DIGEST: usize = 64;

/// How the use of a handle is authorized.
#[derive(Clone, Copy, Debug)]
pub(in crate::tpm) enum Authorization {
    /// By the empty password.
    EmptyPassword,
    /// By a policy session that has met its policy. It ends with the command.
    Policy(u32),
}

/// A command in the making: handles, then authorizations, then parameters.
pub(super) struct Command {
    name: &'static str,
    code: u32,
    handles: Vec<u8>,
    sessions: Vec<Authorization>,
    parameters: Zeroizing<Vec<u8>>,
    response_handle: bool,
    too_long: bool,
}

impl Command {
    pub(super) fn new(name: &'static str, code: u32) -> Self {
        Self {
            name,
            code,
            handles: Vec::new(),
            sessions: Vec::new(),
            parameters: Zeroizing::default(),
            response_handle: false,
            too_long: false,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn handle(mut self, handle: u32) -> Self {
        self.handles.extend_from_slice(&handle.to_be_bytes());
        self
    }

    /// A handle that needs authorization.
    pub(super) fn authorized(mut self, handle: u32, by: Authorization) -> Self {
        self.sessions.push(by);
        self.handle(handle)
    }

    /// Its response has a handle before its parameters.
    pub(super) const fn giving_a_handle(mut self) -> Self {
        self.response_handle = true;
        self
    }

    pub(super) fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.parameters.extend_from_slice(bytes);
        self
    }

    /// A `TPM2B`.
    pub(super) fn sized(mut self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).unwrap_or_else(|_| {
            self.too_long = true;
            0
        });
        self.u16(length).bytes(bytes)
    }

    pub(super) fn into_bytes(self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut sessions = Vec::new();
        for session in &self.sessions {
            let (handle, attributes) = match session {
                Authorization::EmptyPassword => (RS_PASSWORD, CONTINUE_SESSION),
                Authorization::Policy(handle) => (*handle, 0),
            };
            sessions.extend_from_slice(&handle.to_be_bytes());
            // No nonce; attributes; an empty password, or the empty HMAC of a session without a key.
            sessions.extend_from_slice(&[0, 0, attributes, 0, 0]);
        }
        let (tag, size_of_sessions) = match sessions.len() {
            0 => (ST_NO_SESSIONS, Vec::new()),
            length => (
                ST_SESSIONS,
                u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes().to_vec(),
            ),
        };
        let parts = [&self.handles, &size_of_sessions, &sessions, &*self.parameters];
        let length = parts
            .iter()
            .fold(HEADER, |sum, part| sum.saturating_add(part.len()));
        // The largest command is as long as the largest response (*PC Client Platform TPM Profile*).
        let size = u32::try_from(length).ok().filter(|_| length <= MAX_RESPONSE);
        let Some(size) = size.filter(|_| !self.too_long) else {
            return Err(Error::Link(AttestError::Unsupported {
                what: format!("{} with more than {MAX_RESPONSE} bytes", self.name),
            }));
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        bytes.extend_from_slice(&tag.to_be_bytes());
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&self.code.to_be_bytes());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }

    /// What a successful response to it has.
    pub(super) const fn expected(&self) -> Expected {
        Expected {
            handle: self.response_handle,
            sessions: self.sessions.len(),
        }
    }
}

/// What a successful response has beside its parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Whether a handle stands before them.
    handle: bool,
    /// As many sessions as the command had stand after them.
    sessions: usize,
}

/// A response whose frame was checked.
#[derive(Debug)]
pub(super) struct Response {
    code: u32,
    handle: Option<u32>,
    parameters: Zeroizing<Vec<u8>>,
}

impl Response {
    /// Takes the frame apart.
    pub(super) fn parse(bytes: &[u8], expected: Expected) -> Result<Self, VerifyError> {
        let mut reader = Reader::new("response", bytes);
        let tag = reader.u16("tag")?;
        let at = reader.offset();
        let size = reader.u32("responseSize")?;
        if usize::try_from(size).ok() != Some(bytes.len()) {
            return Err(reader.fault_at(at, format!("responseSize is {size}, {} bytes came", bytes.len())));
        }
        let code = reader.u32("responseCode")?;
        if tag == ST_RSP_COMMAND {
            let what = format!("tag 0x00c4 and code {code:#x}: this is no TPM 2.0");
            return Err(reader.fault_at(0, what));
        }
        let right = match (code, expected.sessions) {
            (RC_SUCCESS, 1..) => ST_SESSIONS,
            _ => ST_NO_SESSIONS,
        };
        if tag != right {
            return Err(reader.fault_at(0, format!("tag is {tag:#06x}, not {right:#06x}")));
        }
        if code != RC_SUCCESS {
            reader.finish()?;
            return Ok(Self {
                code,
                handle: None,
                parameters: Zeroizing::default(),
            });
        }
        let handle = expected.handle.then(|| reader.u32("handle")).transpose()?;
        let parameters = if tag == ST_SESSIONS {
            let size = reader.u32("parameterSize")?;
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let parameters = reader.take(size, "parameters")?;
            read_sessions(&mut reader, expected.sessions)?;
            parameters
        } else {
            reader.rest()
        };
        Ok(Self {
            code,
            handle,
            parameters: Zeroizing::new(parameters.to_vec()),
        })
    }

    pub(super) const fn code(&self) -> u32 {
        self.code
    }

    pub(super) const fn handle(&self) -> Option<u32> {
        self.handle
    }

    pub(super) fn parameters(&self) -> &[u8] {
        &self.parameters
    }
}

/// Nothing in them says anything about a session without a key.
fn read_sessions(reader: &mut Reader<'_>, count: usize) -> Result<(), VerifyError> {
    for _ in 0..count {
        reader.sized(MAX_DIGEST, "nonceTPM")?;
        reader.u8("sessionAttributes")?;
        reader.sized(MAX_DIGEST, "acknowledgment")?;
    }
    reader.finish()
}
