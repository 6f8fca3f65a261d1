//! The attester of an SNP guest, and what it seals with.
//!
//! - `device`: `/dev/sev-guest`, the guest driver's own interface.
//! - `certificates`: the table of certificates that the host hands out with a report.
//! - `seal`: the key that the firmware derives for this guest.

mod certificates;
mod device;
mod seal;

use nautilus_core::{
    AttestError, Attester, Descriptor, Endorsements, RawEvidence, ReportData, TeeKind, VerifyError,
};

pub use self::certificates::parse_certificates;
use self::device::Device;
use super::parse_report;
use crate::tsm::{Provider, Tsm};
use crate::{Platform, PlatformOptions};

const CONFIGFS: &str = "configfs";
const SEV_GUEST: &str = "sev-guest";

/// What SEV-SNP offers to the code that runs on it: reports through configfs-tsm or else `/dev/sev-guest`, as
/// `quote_provider` says, and a sealing key where there is `/dev/sev-guest`. It has no counter.
///
/// # Errors
/// `Unsupported` names the quote providers if it is none of them; otherwise says what is missing.
pub(crate) fn platform(options: &PlatformOptions) -> Result<Platform, AttestError> {
    let source = match options.quote_provider.as_deref() {
        None => Source::first()?,
        Some(CONFIGFS) => Source::Tsm(Tsm::open(Provider::SevGuest)?),
        Some(SEV_GUEST) => Source::Device(Device::open()?),
        Some(other) => {
            return Err(AttestError::Unsupported {
                what: format!(
                    "quote provider `{}` on SEV-SNP: `{CONFIGFS}` and `{SEV_GUEST}` are known",
                    other.escape_default()
                ),
            });
        }
    };
    let sealer = match Device::open() {
        Ok(device) => Some(seal::sealer(&device)?),
        Err(AttestError::Missing { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Platform {
        attester: Box::new(SnpAttester { source }),
        sealer,
    })
}

/// Where reports come from.
enum Source {
    Tsm(Tsm),
    Device(Device),
}

impl Source {
    /// configfs-tsm if it serves, else the device. Without either, configfs-tsm's reason is told unless it is
    /// merely not there.
    fn first() -> Result<Self, AttestError> {
        let tsm = match Tsm::open(Provider::SevGuest) {
            Ok(tsm) => return Ok(Self::Tsm(tsm)),
            Err(error) => error,
        };
        match (Device::open(), tsm) {
            (Ok(device), _) => Ok(Self::Device(device)),
            (Err(device), AttestError::Missing { .. }) => Err(device),
            (Err(_), tsm) => Err(tsm),
        }
    }

    const fn interface(&self) -> &'static str {
        match self {
            Self::Tsm(_) => Tsm::interface(),
            Self::Device(_) => Device::PATH,
        }
    }

    /// A report, and the table of certificates beside it.
    fn ask(&self, report_data: &ReportData) -> Result<(Vec<u8>, Vec<u8>), AttestError> {
        match self {
            Self::Tsm(tsm) => {
                let answer = tsm.report(report_data)?;
                Ok((answer.report, answer.auxiliary))
            }
            Self::Device(device) => device.report(report_data),
        }
    }
}

struct SnpAttester {
    source: Source,
}

impl Attester for SnpAttester {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Sev,
            format: super::FORMAT,
        }
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        let interface = self.source.interface();
        let (bytes, table) = self.source.ask(report_data)?;
        // A report that the host asked for has another VMPL than a guest's, and is refused by the parser.
        let report = parse_report(&bytes).map_err(|fault| not_a_report(interface, fault))?;
        if report.report_data != *report_data.as_bytes() {
            return Err(AttestError::WrongReportData {
                interface: interface.to_owned(),
                expected: hex::encode(report_data.as_bytes()),
                found: hex::encode(report.report_data),
            });
        }
        let endorsements: Endorsements =
            parse_certificates(&table).map_err(|fault| AttestError::Malformed {
                interface: interface.to_owned(),
                what: format!("certificate table: {}", in_words(fault)),
            })?;
        Ok(RawEvidence {
            bytes,
            endorsements,
            event_log: None,
        })
    }
}

fn not_a_report(interface: &str, fault: VerifyError) -> AttestError {
    match fault {
        VerifyError::Unsupported { what } => AttestError::Unsupported { what },
        fault => AttestError::Malformed {
            interface: interface.to_owned(),
            what: format!("report: {}", in_words(fault)),
        },
    }
}

/// What is wrong, without the words that are for evidence from elsewhere.
fn in_words(fault: VerifyError) -> String {
    match fault {
        VerifyError::Malformed { what, offset } => format!("{what} at byte {offset}"),
        fault => fault.to_string(),
    }
}
