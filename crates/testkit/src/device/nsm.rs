//! The Nitro Security Module behind `/dev/nsm`: it reads requests out of its caller's memory and signs documents for
//! them (Linux, `drivers/misc/nsm.c`; AWS, `aws-nitro-enclaves-nsm-api`, `src/api/mod.rs`).

#![expect(clippy::unwrap_used, reason = "a request that is none must stop its test")]

use ciborium::Value;

use crate::kernel::{Answer, Caller, Errno, FakeDevice};
use crate::vendor::aws::{Aws, encoded, field};

/// Where the device belongs.
pub const PATH: &str = "/dev/nsm";

/// `NSM_IOCTL_RAW`.
const RAW: u32 = 0xc020_0a00;
const REQUEST_MAX: u64 = 0x1000;
const RESPONSE_MAX: usize = 0x3000;

/// How a module can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its documents are for a nonce and user data that nobody asked for.
    OtherReportData,
    /// It gives the document before.
    Stale,
    /// The enclave was started in debug mode: PCRs 0 to 2 are zero.
    Debug,
    /// Its response ends early.
    ShortRead,
    /// The driver fails.
    Error,
    /// It answers that the request is wrong.
    Refusal,
    /// It says that it wrote more than there was room for.
    TooLong,
    /// It never answers.
    Never,
}

/// A module of a fake AWS.
pub struct Module {
    aws: Aws,
    fault: Option<Fault>,
    earlier: Option<Vec<u8>>,
}

impl Module {
    /// One that does as it should.
    pub const fn new(aws: Aws) -> Self {
        Self {
            aws,
            fault: None,
            earlier: None,
        }
    }

    /// One that misbehaves.
    pub const fn with_fault(aws: Aws, fault: Fault) -> Self {
        Self {
            aws,
            fault: Some(fault),
            earlier: None,
        }
    }

    fn document(&self, nonce: Value, user_data: Value, public_key: Value) -> Vec<u8> {
        self.aws.document(|fields| {
            *field(fields, "nonce") = nonce;
            *field(fields, "user_data") = user_data;
            *field(fields, "public_key") = public_key;
            if self.fault == Some(Fault::Debug) {
                let pcrs = field(fields, "pcrs").as_map_mut().unwrap();
                for (_, pcr) in pcrs.iter_mut().take(3) {
                    *pcr = Value::Bytes(vec![0; 48]);
                }
            }
        })
    }

    fn respond(&mut self, request: &[u8]) -> Vec<u8> {
        let error = |code: &str| encoded(&Value::Map(vec![("Error".into(), code.into())]));
        if self.fault == Some(Fault::Refusal) {
            return error("InvalidOperation");
        }
        let Some([nonce, user_data, public_key]) = attestation_request(request) else {
            return error("InvalidArgument");
        };
        let wanted = match self.fault {
            Some(Fault::OtherReportData) => {
                let other = || Value::Bytes(vec![0xbb; 32]);
                self.document(other(), other(), public_key)
            }
            _ => self.document(nonce, user_data, public_key),
        };
        let given = match (self.fault, self.earlier.replace(wanted.clone())) {
            (Some(Fault::Stale), Some(earlier)) => earlier,
            _ => wanted,
        };
        let document = Value::Map(vec![("document".into(), Value::Bytes(given))]);
        encoded(&Value::Map(vec![("Attestation".into(), document)]))
    }
}

impl FakeDevice for Module {
    fn ioctl(&mut self, caller: &mut Caller<'_>, number: u32, argument: u64) -> Answer {
        if number != RAW {
            return Answer::Error(Errno::INVAL);
        }
        match self.fault {
            Some(Fault::Error) => return Answer::Error(Errno::TIMEDOUT),
            Some(Fault::Never) => return Answer::Never,
            _ => {}
        }
        let raw = caller.read(argument, 32);
        let word = |index: usize| u64::from_ne_bytes(*raw[8 * index..].first_chunk().unwrap());
        let [request_at, request_len, response_at, response_len] = [word(0), word(1), word(2), word(3)];
        if request_len > REQUEST_MAX {
            return Answer::Error(Errno::MSGSIZE);
        }
        let request = caller.read(request_at, usize::try_from(request_len).unwrap());
        let mut response = self.respond(&request);
        if self.fault == Some(Fault::ShortRead) {
            response.truncate(response.len() / 2);
        }
        let room = usize::try_from(response_len).unwrap().min(RESPONSE_MAX);
        response.truncate(room);
        caller.write(response_at, &response);
        let written = match self.fault {
            Some(Fault::TooLong) => response_len + 1,
            _ => response.len() as u64,
        };
        caller.write(argument + 24, &written.to_ne_bytes());
        Answer::Value(0)
    }
}

/// Nonce, user data and public key of a request for a document.
fn attestation_request(request: &[u8]) -> Option<[Value; 3]> {
    let mut rest = request;
    let Ok(Value::Map(mut outer)) = ciborium::from_reader(&mut rest) else {
        return None;
    };
    let (name, Value::Map(mut arguments)) = outer.pop()? else {
        return None;
    };
    if !rest.is_empty() || !outer.is_empty() || name.as_text() != Some("Attestation") {
        return None;
    }
    let mut take = |name: &str| {
        let at = arguments
            .iter()
            .position(|(key, _)| key.as_text() == Some(name))?;
        let (_, value) = arguments.remove(at);
        let fits = match &value {
            Value::Bytes(bytes) => bytes.len() <= 512,
            Value::Null => true,
            _ => false,
        };
        fits.then_some(value)
    };
    let taken = [take("nonce")?, take("user_data")?, take("public_key")?];
    arguments.is_empty().then_some(taken)
}
