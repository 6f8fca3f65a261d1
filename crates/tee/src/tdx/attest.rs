//! The attester of a TDX guest.
//!
//! - `quoting_service`: where the kernel has no configfs-tsm, the host's quoting service (QGS) is asked by a socket.
//! - `message`: what is said to it.
//!
//! TDX derives no key for a guest and has no counter: there is nothing to seal state with.

mod message;
mod quoting_service;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};

use nautilus_core::{
    AttestError, Attester, Descriptor, Endorsements, MAX_EVIDENCE, RawEvidence, ReportData, TeeKind,
    VerifyError,
};
use nautilus_sys::tdx_guest;

pub use self::message::{parse_quote_response, quote_request};
use self::quoting_service::Address;
use super::parse_quote;
use crate::tsm::{Provider, Tsm};
use crate::{Platform, PlatformOptions};

const CONFIGFS: &str = "configfs";
const DEVICE: &str = "/dev/tdx_guest";
/// The firmware's event log, as the ACPI table of the same name points to it (UEFI 2.10, section 38.4).
const EVENT_LOG: &str = "/sys/firmware/acpi/tables/data/CCEL";

/// `REPORTTYPE.TYPE` of a TD (Intel, *TDX Module ABI Specification*, "REPORTMACSTRUCT").
const REPORT_OF_TD: u8 = 0x81;
/// Where the report data stands in a `TDREPORT`, in its `REPORTMACSTRUCT`.
const REPORT_DATA_OFFSET: usize = 128;

/// What TDX offers to the code that runs on it: quotes through configfs-tsm, or else from `/dev/tdx_guest` and the
/// host's quoting service, as `quote_provider` says. It has no sealer.
///
/// # Errors
/// `Unsupported` names the quote providers if it is none of them; otherwise says what is missing.
pub(crate) fn platform(options: &PlatformOptions) -> Result<Platform, AttestError> {
    let source = match options.quote_provider.as_deref() {
        None => Source::first()?,
        Some(CONFIGFS) => Source::Tsm(Tsm::open(Provider::TdxGuest)?),
        Some(address) => match Address::parse(address) {
            Some(service) => Source::Service(open_device()?, service),
            None => {
                return Err(AttestError::Unsupported {
                    what: format!(
                        "quote provider `{}` on TDX: `{CONFIGFS}`, `vsock:CID:PORT` and `unix:/PATH` are known",
                        address.escape_default()
                    ),
                });
            }
        },
    };
    Ok(Platform {
        attester: Box::new(TdxAttester { source }),
        sealer: None,
    })
}

/// Where quotes come from.
enum Source {
    Tsm(Tsm),
    Service(File, Address),
}

impl Source {
    /// configfs-tsm if it serves, else the device and the quoting service at its usual address. Without either,
    /// configfs-tsm's reason is told unless it is merely not there.
    fn first() -> Result<Self, AttestError> {
        let tsm = match Tsm::open(Provider::TdxGuest) {
            Ok(tsm) => return Ok(Self::Tsm(tsm)),
            Err(error) => error,
        };
        match (open_device(), tsm) {
            (Ok(device), _) => Ok(Self::Service(device, Address::HOST)),
            (Err(device), AttestError::Missing { .. }) => Err(device),
            (Err(_), tsm) => Err(tsm),
        }
    }

    fn interface(&self) -> String {
        match self {
            Self::Tsm(_) => Tsm::interface().to_owned(),
            Self::Service(_, address) => address.to_string(),
        }
    }

    fn ask(&self, report_data: &ReportData) -> Result<Vec<u8>, AttestError> {
        match self {
            Self::Tsm(tsm) => Ok(tsm.report(report_data)?.report),
            Self::Service(device, address) => address.quote(&td_report(device, report_data)?),
        }
    }
}

struct TdxAttester {
    source: Source,
}

impl Attester for TdxAttester {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Tdx,
            format: super::FORMAT,
        }
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        let mut bytes = self.source.ask(report_data)?;
        let interface = self.source.interface();
        let quote = parse_quote(&bytes).map_err(|fault| match fault {
            VerifyError::Unsupported { what } => AttestError::Unsupported { what },
            VerifyError::Malformed { what, offset } => AttestError::Malformed {
                interface: interface.clone(),
                what: format!("quote: {what} at byte {offset}"),
            },
            fault => AttestError::Malformed {
                interface: interface.clone(),
                what: format!("quote: {fault}"),
            },
        })?;
        check_report_data(interface, report_data, &quote.report.report_data)?;
        // What follows a quote is its buffer's, not the quote's.
        bytes.truncate(quote.extent.length);
        Ok(RawEvidence {
            bytes,
            endorsements: Endorsements::default(),
            event_log: event_log()?,
        })
    }
}

fn check_report_data(interface: String, expected: &ReportData, found: &[u8]) -> Result<(), AttestError> {
    if found == expected.as_bytes() {
        return Ok(());
    }
    Err(AttestError::WrongReportData {
        interface,
        expected: hex::encode(expected.as_bytes()),
        found: hex::encode(found),
    })
}

fn open_device() -> Result<File, AttestError> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AttestError::Missing {
            interface: DEVICE.to_owned(),
            hint: "modprobe tdx_guest; needs a TDX guest and Linux 6.2 or later with CONFIG_TDX_GUEST_DRIVER"
                .to_owned(),
        },
        _ => AttestError::Io {
            action: "open",
            interface: format!("{DEVICE} (udev gives it to root alone)"),
            source,
        },
    })
}

/// The TDX module's report on `report_data`, which the quoting service turns into a quote.
fn td_report(device: &File, report_data: &ReportData) -> Result<[u8; tdx_guest::REPORT_LEN], AttestError> {
    let report =
        tdx_guest::get_report0(device, report_data.as_bytes()).map_err(|source| AttestError::Io {
            action: "get a report from",
            interface: DEVICE.to_owned(),
            source,
        })?;
    let malformed = |what: String| AttestError::Malformed {
        interface: DEVICE.to_owned(),
        what,
    };
    match report.first() {
        Some(&REPORT_OF_TD) => {}
        other => {
            return Err(malformed(format!(
                "a report of type {:#x}, not of a trust domain",
                other.copied().unwrap_or_default()
            )));
        }
    }
    let found = report
        .get(REPORT_DATA_OFFSET..)
        .and_then(|rest| rest.first_chunk::<64>())
        .ok_or_else(|| malformed("a report without report data".to_owned()))?;
    check_report_data(DEVICE.to_owned(), report_data, found)?;
    Ok(report)
}

/// The event log, where the firmware left one that may be read. Evidence holds without it: a verifier that wants it
/// says so.
fn event_log() -> Result<Option<Vec<u8>>, AttestError> {
    let mut log = Vec::new();
    let limit = u64::try_from(MAX_EVIDENCE).unwrap_or(u64::MAX);
    let read =
        File::open(EVENT_LOG).and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut log));
    match read {
        Ok(_) if log.len() > MAX_EVIDENCE => Err(AttestError::Malformed {
            interface: EVENT_LOG.to_owned(),
            what: format!("it is longer than {MAX_EVIDENCE} bytes"),
        }),
        Ok(_) => Ok(Some(log).filter(|log| !log.is_empty())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(AttestError::Io {
            action: "read",
            interface: EVENT_LOG.to_owned(),
            source,
        }),
    }
}
