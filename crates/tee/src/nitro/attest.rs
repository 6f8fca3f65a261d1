//! The attester: has the Nitro Security Module sign a document, through `/dev/nsm`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};

use nautilus_core::{
    AttestError, Attester, Descriptor, Endorsements, RawEvidence, ReportData, TeeKind, VerifyError,
};
use nautilus_sys::nsm;

use super::{Document, Response, parse_document, parse_response};
use crate::{Platform, PlatformOptions};

const DEVICE: &str = "/dev/nsm";

/// What Nitro offers to the code that runs on it: documents, and nothing to seal with. An enclave has no secret of its
/// own that outlives it; AWS KMS releases keys to measured enclaves, which takes AWS and a network.
pub(crate) fn platform(options: &PlatformOptions) -> Result<Platform, AttestError> {
    if let Some(name) = &options.quote_provider {
        return Err(AttestError::Unsupported {
            what: format!("quote_provider `{name}`: Nitro has only one, which has no name"),
        });
    }
    Ok(Platform {
        attester: Box::new(NitroAttester { device: open()? }),
        sealer: None,
    })
}

struct NitroAttester {
    device: File,
}

impl Attester for NitroAttester {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Nitro,
            format: "AWS Nitro Enclaves attestation document",
        }
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        let answer =
            nsm::exchange(&self.device, &request(report_data.as_bytes())).map_err(io_error("ask"))?;
        let bytes = match parse_response(&answer).map_err(malformed)? {
            Response::Document(bytes) => bytes.to_vec(),
            Response::Refused(code) => {
                return Err(AttestError::Refused {
                    interface: DEVICE.to_owned(),
                    what: format!("the module answered `{code}`"),
                });
            }
        };
        check(&parse_document(&bytes).map_err(malformed)?, report_data)?;
        // The chain is in the document.
        Ok(RawEvidence {
            bytes,
            endorsements: Endorsements::default(),
            event_log: None,
        })
    }
}

fn open() -> Result<File, AttestError> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => AttestError::Missing {
            interface: DEVICE.to_owned(),
            hint: "run inside a Nitro enclave whose kernel has the driver: Linux 6.8 or later with \
                   CONFIG_NSM, or AWS's module"
                .to_owned(),
        },
        _ => io_error("open")(error),
    })
}

/// `{"Attestation": {"user_data": …, "nonce": …, "public_key": null}}`: the enumeration `Request` of AWS's
/// `aws-nitro-enclaves-nsm-api` (`src/api/mod.rs`), as serde writes it. The nonce is the first half of the report data,
/// the user data the second.
fn request(report_data: &[u8; 64]) -> Vec<u8> {
    let (nonce, user_data) = report_data.split_at(32);
    [
        b"\xa1\x6bAttestation\xa3\x69user_data\x58\x20".as_slice(),
        user_data,
        b"\x65nonce\x58\x20",
        nonce,
        b"\x6apublic_key\xf6",
    ]
    .concat()
}

/// That the document is for what was asked.
fn check(document: &Document, report_data: &ReportData) -> Result<(), AttestError> {
    let found = document.report_data();
    if found == report_data.as_bytes() {
        return Ok(());
    }
    Err(AttestError::WrongReportData {
        interface: DEVICE.to_owned(),
        expected: hex::encode(report_data.as_bytes()),
        found: hex::encode(found),
    })
}

fn malformed(fault: VerifyError) -> AttestError {
    AttestError::Malformed {
        interface: DEVICE.to_owned(),
        what: match fault {
            VerifyError::Malformed { what, offset } => format!("{what} at byte {offset}"),
            other => other.to_string(),
        },
    }
}

fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> AttestError {
    move |source| AttestError::Io {
        action,
        interface: DEVICE.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "verify")]
    fn the_request_is_cbor_as_the_module_expects_it() {
        use ciborium::Value;
        let mut report_data = [1; 64];
        report_data[32..].fill(2);
        let read: Value = ciborium::from_reader(request(&report_data).as_slice()).unwrap();
        let arguments = Value::Map(vec![
            ("user_data".into(), Value::Bytes(vec![2; 32])),
            ("nonce".into(), Value::Bytes(vec![1; 32])),
            ("public_key".into(), Value::Null),
        ]);
        assert_eq!(read, Value::Map(vec![("Attestation".into(), arguments)]));
    }

    #[test]
    fn a_quote_provider_is_refused() {
        let options = PlatformOptions {
            quote_provider: Some("aesm".to_owned()),
            ..PlatformOptions::default()
        };
        let Err(AttestError::Unsupported { what }) = platform(&options) else {
            panic!("a provider that Nitro has not was taken")
        };
        assert!(what.contains("quote_provider `aesm`"), "{what}");
    }
}
