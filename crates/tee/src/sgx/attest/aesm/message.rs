//! What AESM is asked and what it answers: the few messages that a quote takes, in protobuf.
//!
//! Messages and field numbers: Intel, linux-sgx, `psw/ae/aesm_service/source/core/ipc/messages.proto` (`Request`,
//! `Response`, proto2). Encoding: Protocol Buffers, "Encoding".

use std::fmt;

use nautilus_core::VerifyError;

/// A request to the service.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// How many attestation keys the platform has.
    KeyIdCount,
    /// The names of its attestation keys.
    KeyIds {
        /// How many there are.
        count: u32,
        /// Bytes of each.
        length: usize,
    },
    /// The target info of the quoting enclave that has this key. It makes the key where there is none yet.
    InitQuote {
        /// The key's name.
        key: &'a [u8],
    },
    /// How many bytes a quote by this key has.
    QuoteSize {
        /// The key's name.
        key: &'a [u8],
    },
    /// A quote of a report.
    Quote {
        /// The report, for the quoting enclave's target info.
        report: &'a [u8],
        /// The key's name.
        key: &'a [u8],
        /// Bytes of the quote, as the service said.
        size: u32,
    },
}

/// A kind of request, by the number that it and its answer have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `initQuoteExReq`, `initQuoteExRes`.
    InitQuote = 15,
    /// `getQuoteSizeExReq`, `getQuoteSizeExRes`.
    QuoteSize = 16,
    /// `getQuoteExReq`, `getQuoteExRes`.
    Quote = 17,
    /// `getSupportedAttKeyIDNumReq`, `getSupportedAttKeyIDNumRes`.
    KeyIdCount = 21,
    /// `getSupportedAttKeyIDsReq`, `getSupportedAttKeyIDsRes`.
    KeyIds = 22,
}

/// What an answer holds beside success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A count or a size.
    Number(u64),
    /// A target info, a quote, names of keys.
    Bytes(&'a [u8]),
    /// Nothing.
    Nothing,
}

/// Why the service did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has an error code.
    Error(u64),
    /// It does not know the request: an older service, or one without the plug-in.
    UnknownRequest,
}

/// `unsupportedRequestResponse`.
const UNSUPPORTED: u64 = 20;
/// In every answer: `errorCode`, and what was asked for.
const ERROR_CODE: u64 = 1;
const VALUE: u64 = 2;
/// `b_pub_key_id` has the service give the key's public id, for which it needs a buffer: of SHA-256.
const PUBLIC_KEY_ID_LEN: u64 = 32;

impl Request<'_> {
    /// Which it is.
    pub const fn call(&self) -> Call {
        match self {
            Self::KeyIdCount => Call::KeyIdCount,
            Self::KeyIds { .. } => Call::KeyIds,
            Self::InitQuote { .. } => Call::InitQuote,
            Self::QuoteSize { .. } => Call::QuoteSize,
            Self::Quote { .. } => Call::Quote,
        }
    }

    /// Its bytes. No time limit is set: the service has its own.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Message::default();
        match self {
            Self::KeyIdCount => {}
            Self::KeyIds { count, length } => {
                let length = u64::try_from(*length).unwrap_or(u64::MAX);
                body.number(1, u64::from(*count).saturating_mul(length));
            }
            Self::InitQuote { key } => {
                body.bytes(1, key);
                body.number(3, 1);
                body.number(4, PUBLIC_KEY_ID_LEN);
            }
            Self::QuoteSize { key } => body.bytes(1, key),
            Self::Quote { report, key, size } => {
                body.bytes(1, report);
                body.bytes(2, key);
                body.number(4, (*size).into());
            }
        }
        let mut request = Message::default();
        request.bytes(self.call().number(), &body.0);
        request.0
    }
}

impl Call {
    /// What it is called in messages: its name in Intel's API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InitQuote => "sgx_init_quote_ex",
            Self::QuoteSize => "sgx_get_quote_size_ex",
            Self::Quote => "sgx_get_quote_ex",
            Self::KeyIdCount => "sgx_get_supported_att_key_id_num",
            Self::KeyIds => "sgx_get_supported_att_key_ids",
        }
    }

    const fn number(self) -> u64 {
        self as u64
    }

    const fn gives_number(self) -> bool {
        matches!(self, Self::KeyIdCount | Self::QuoteSize)
    }
}

/// Reads the answer to `call`: what the service gave, or why it gave nothing. Fields that are not known are skipped,
/// as protobuf has it; a known field that comes twice is refused, which is stricter.
///
/// # Errors
/// `Malformed`, if it is no protobuf, or is an answer to another call or to none.
pub fn parse_answer(bytes: &[u8], call: Call) -> Result<Result<Answer<'_>, Refusal>, VerifyError> {
    let mut reader = Reader::new(bytes, 0);
    let mut found = None;
    while let Some(field) = reader.field()? {
        let outcome = match field {
            Field {
                number,
                value: Value::Bytes(body),
                offset,
            } if number == call.number() => {
                let base = reader.at.saturating_sub(body.len());
                (read_body(Reader::new(body, base), call, offset)?, offset)
            }
            Field {
                number: UNSUPPORTED,
                value: Value::Bytes(_),
                offset,
            } => (Err(Refusal::UnknownRequest), offset),
            Field { number, offset, .. } => {
                let what = format!("field {number} where the answer to {} belongs", call.name());
                return Err(malformed(what, offset));
            }
        };
        if found.replace(outcome.0).is_some() {
            return Err(malformed("a second answer".to_owned(), outcome.1));
        }
    }
    found.ok_or_else(|| malformed("it holds no answer".to_owned(), 0))
}

fn read_body<'a>(
    mut reader: Reader<'a>,
    call: Call,
    start: usize,
) -> Result<Result<Answer<'a>, Refusal>, VerifyError> {
    let (mut error, mut answer) = (None, None);
    while let Some(Field {
        number,
        value,
        offset,
    }) = reader.field()?
    {
        let twice = match (number, value) {
            (ERROR_CODE, Value::Number(code)) => error.replace(code).is_some(),
            (VALUE, Value::Number(value)) if call.gives_number() => {
                answer.replace(Answer::Number(value)).is_some()
            }
            (VALUE, Value::Bytes(value)) if !call.gives_number() => {
                answer.replace(Answer::Bytes(value)).is_some()
            }
            (ERROR_CODE | VALUE, _) => {
                return Err(malformed(
                    format!("field {number} of the answer to {} has another type", call.name()),
                    offset,
                ));
            }
            _ => false,
        };
        if twice {
            return Err(malformed(
                format!("field {number} of the answer to {} comes twice", call.name()),
                offset,
            ));
        }
    }
    match error {
        Some(0) => Ok(Ok(answer.unwrap_or(Answer::Nothing))),
        Some(code) => Ok(Err(Refusal::Error(code))),
        None => Err(malformed(
            format!("the answer to {} has no error code", call.name()),
            start,
        )),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(code) => match error_name(*code) {
                Some(name) => write!(f, "error {code} ({name})"),
                None => write!(f, "error {code}"),
            },
            Self::UnknownRequest => f.write_str("`unsupported request`"),
        }
    }
}

/// Those of `aesm_error_t` (Intel, linux-sgx, `common/inc/internal/aesm_error.h`) that a quote can meet.
const fn error_name(code: u64) -> Option<&'static str> {
    match code {
        1 => Some("AESM_UNEXPECTED_ERROR"),
        2 => Some("AESM_NO_DEVICE_ERROR"),
        3 => Some("AESM_PARAMETER_ERROR"),
        12 => Some("AESM_NETWORK_ERROR"),
        13 => Some("AESM_NETWORK_BUSY_ERROR"),
        15 => Some("AESM_FILE_ACCESS_ERROR"),
        17 => Some("AESM_SERVICE_STOPPED"),
        18 => Some("AESM_BUSY"),
        21 => Some("AESM_OUT_OF_MEMORY_ERROR"),
        24 => Some("AESM_SGX_DEVICE_NOT_AVAILABLE"),
        27 => Some("AESM_SERVICE_NOT_AVAILABLE"),
        29 => Some("AESM_OUT_OF_EPC"),
        30 => Some("AESM_SERVICE_UNAVAILABLE"),
        31 => Some("AESM_UNRECOGNIZED_PLATFORM"),
        _ => None,
    }
}

/// Wire types.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;
/// Longest varint of 64 bits.
const MAX_VARINT: usize = 10;

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.varint((field << 3) | VARINT);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint((field << 3) | LENGTH_DELIMITED);
        self.varint(u64::try_from(value.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(value);
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.0.push(low & 0x7f);
                return;
            }
            self.0.push(low | 0x80);
        }
    }
}

struct Field<'a> {
    number: u64,
    value: Value<'a>,
    /// Where it starts.
    offset: usize,
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed size, which no field here has.
    Fixed,
}

/// Reads fields one after the other. It borrows, and allocates nothing.
struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8], base: usize) -> Self {
        Self {
            rest: bytes,
            at: base,
        }
    }

    /// The next field; none at the end.
    fn field(&mut self) -> Result<Option<Field<'a>>, VerifyError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let offset = self.at;
        let key = self.varint("a field's key")?;
        let number = key >> 3;
        // Field numbers have 29 bits, and zero is none.
        if number == 0 || number >= 1 << 29 {
            return Err(malformed(format!("field number {number} is none"), offset));
        }
        let value = match key & 7 {
            VARINT => Value::Number(self.varint(&format!("field {number}"))?),
            LENGTH_DELIMITED => {
                let length = self.varint(&format!("the length of field {number}"))?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Value::Bytes(self.take(length, &format!("field {number}"))?)
            }
            FIXED64 => self.take(8, &format!("field {number}")).map(|_| Value::Fixed)?,
            FIXED32 => self.take(4, &format!("field {number}")).map(|_| Value::Fixed)?,
            other => {
                return Err(malformed(
                    format!("field {number} has wire type {other}, which is none in use"),
                    offset,
                ));
            }
        };
        Ok(Some(Field {
            number,
            value,
            offset,
        }))
    }

    fn varint(&mut self, what: &str) -> Result<u64, VerifyError> {
        let offset = self.at;
        let mut value = 0_u64;
        for index in 0..MAX_VARINT {
            let byte = self.take(1, what)?.first().copied().unwrap_or_default();
            // Of the tenth byte one bit is left.
            if index == 9 && byte > 1 {
                return Err(malformed(format!("{what} has more than 64 bits"), offset));
            }
            value |= u64::from(byte & 0x7f) << index.saturating_mul(7);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed(format!("{what} has more than 64 bits"), offset))
    }

    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], VerifyError> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            let what = format!("{what} needs {length} bytes, {} are left", self.rest.len());
            return Err(malformed(what, self.at));
        };
        self.rest = rest;
        self.at = self.at.saturating_add(length);
        Ok(head)
    }
}

const fn malformed(what: String, offset: usize) -> VerifyError {
    VerifyError::Malformed { what, offset }
}

#[cfg(test)]
mod tests;
