//! Attesting with Keystone: an enclave of our own is made for each report, asks for the report data, has the security
//! monitor sign it, and hands out the report.
//!
//! Nothing is sealed here. Keystone gives its sealing key to an enclave, and this program is not in one: a key that the
//! enclave handed out would be the host's too.

mod edge;
mod images;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;

use nautilus_core::{AttestError, Attester, Descriptor, RawEvidence, ReportData, TeeKind};
use nautilus_sys::SharedMapping;
use nautilus_sys::keystone::{Enclave, Stopped};

use super::{MAX_DATA, REPORT_LEN, parse_report};
use crate::{Platform, PlatformOptions};
pub use edge::{EDGE_CALL_LEN, EdgeCall, EdgeFault};
use images::Images;

const DEVICE: &str = "/dev/keystone_enclave";
/// Whole pages, a power of two of them, at least two: an edge call and a report fit.
const SHARED_LEN: usize = 8192;
/// What the enclave asks its host for: `deploy/keystone/nautilus-eapp/nautilus-eapp.c` has the same numbers.
const CALL_REPORT_DATA: u64 = 1;
const CALL_REPORT: u64 = 2;
/// Timer ticks stop an enclave some hundred times a second, and it runs for a fraction of one.
const MAX_STOPS: u32 = 100_000;
/// Where the enclave's data is in a report.
const DATA_AT: usize = 72;

/// What Keystone offers to programs of the host, among which this one is.
pub(crate) fn platform(options: &PlatformOptions) -> Result<Platform, AttestError> {
    if let Some(name) = &options.quote_provider {
        return Err(AttestError::Unsupported {
            what: format!("quote provider `{name}`: Keystone has one way to make reports, name none"),
        });
    }
    drop(open()?);
    Ok(Platform {
        attester: Box::new(KeystoneAttester {
            images: Images::read()?,
        }),
        sealer: None,
    })
}

/// Runs the enclave of these images once for each report.
struct KeystoneAttester {
    images: Images,
}

impl Attester for KeystoneAttester {
    fn descriptor(&self) -> Descriptor {
        Descriptor {
            tee: TeeKind::Keystone,
            format: "Keystone report",
        }
    }

    fn attest(&self, report_data: &ReportData) -> Result<RawEvidence, AttestError> {
        let mut enclave = self.load()?;
        let mut report = run(&mut enclave, report_data)?;
        let parsed = parse_report(&report).map_err(|fault| malformed(format!("its report: {fault}")))?;
        if parsed.data != report_data.as_bytes() {
            return Err(AttestError::WrongReportData {
                interface: DEVICE.to_owned(),
                expected: hex::encode(report_data.as_bytes()),
                found: hex::encode(parsed.data),
            });
        }
        clear_unsigned(&mut report, parsed.data.len());
        Ok(RawEvidence {
            bytes: report,
            ..RawEvidence::default()
        })
    }
}

impl KeystoneAttester {
    /// An enclave with our images in it, measured and ready to run. The order is the driver's.
    fn load(&self) -> Result<Enclave, AttestError> {
        let mut enclave = Enclave::create(open()?, self.images.pages_wanted())
            .map_err(|source| failed("make an enclave with", source))?;
        let given = enclave.private_size();
        if given < self.images.bytes_wanted() {
            return Err(malformed(format!(
                "it made an enclave of {given} bytes, where {} were asked for",
                self.images.bytes_wanted()
            )));
        }
        let shared = u64::try_from(SHARED_LEN).unwrap_or(u64::MAX);
        enclave
            .allocate_shared(shared)
            .map_err(|source| failed("get shared memory from", source))?;
        for (offset, page) in self.images.pages() {
            enclave
                .load(offset, &page)
                .map_err(|source| failed("load an enclave through", source))?;
        }
        enclave
            .finalize(self.images.layout())
            .map_err(|source| failed("finalize an enclave with", source))?;
        Ok(enclave)
    }
}

/// Runs the enclave to its end, and gives the report that it made for `report_data`.
fn run(enclave: &mut Enclave, report_data: &ReportData) -> Result<Vec<u8>, AttestError> {
    const ENDED: u64 = 0;
    const INTERRUPTED: u64 = 100_002;
    const EDGE_CALL: u64 = 100_011;

    let mut report = None;
    let mut stopped = enclave
        .run()
        .map_err(|source| failed("run an enclave with", source))?;
    for _ in 0..MAX_STOPS {
        match stopped {
            Stopped {
                error: ENDED,
                value: 0,
            } => return report.ok_or_else(|| malformed("its enclave ended without a report".to_owned())),
            Stopped { error: ENDED, value } => {
                return Err(AttestError::Vendor {
                    what: format!("the enclave ended with {value}: {}", ending(value)),
                });
            }
            Stopped {
                error: INTERRUPTED, ..
            } => {}
            Stopped { error: EDGE_CALL, .. } => {
                let shared = enclave
                    .shared()
                    .map_err(|source| failed("map the shared memory of", source))?;
                serve(shared, report_data, &mut report)?;
            }
            Stopped { error, .. } => {
                return Err(AttestError::Refused {
                    interface: format!("the security monitor behind {DEVICE}"),
                    what: format!("{} ({error})", monitor_error(error)),
                });
            }
        }
        stopped = enclave
            .resume()
            .map_err(|source| failed("resume an enclave with", source))?;
    }
    Err(AttestError::Refused {
        interface: DEVICE.to_owned(),
        what: format!("its enclave stopped {MAX_STOPS} times and did not end"),
    })
}

/// Does what the enclave asks for, once each: the report data, then to take its report.
fn serve(
    shared: &mut SharedMapping,
    report_data: &ReportData,
    report: &mut Option<Vec<u8>>,
) -> Result<(), AttestError> {
    // The enclave does not run now, and its host's other processes may write here all the same: one copy is looked at.
    let copy = shared
        .read(0, SHARED_LEN)
        .map_err(|source| failed("read the shared memory of", source))?;
    let call = EdgeCall::parse(&copy).map_err(|fault| malformed(format!("its edge call: {fault}")))?;
    let reply: &[u8] = match call.id {
        CALL_REPORT_DATA if call.argument.is_empty() => report_data.as_bytes(),
        CALL_REPORT if call.argument.len() == REPORT_LEN && report.is_none() => {
            *report = Some(call.argument.to_vec());
            &[]
        }
        CALL_REPORT if report.is_some() => {
            return Err(malformed("its enclave hands out a second report".to_owned()));
        }
        id => {
            return Err(malformed(format!(
                "its enclave makes call {id} with {} bytes, which is none of {CALL_REPORT_DATA} with none and \
                 {CALL_REPORT} with {REPORT_LEN}",
                call.argument.len()
            )));
        }
    };
    let write = |error| failed("write to the shared memory of", error);
    shared.write(EDGE_CALL_LEN, reply).map_err(write)?;
    shared
        .write(edge::RETURN_AT, &edge::encode_return(reply.len()))
        .map_err(write)
}

/// The security monitor leaves what was on its stack after the data: no signature covers it, and it is nobody's
/// business.
fn clear_unsigned(report: &mut [u8], data_len: usize) {
    let from = DATA_AT.saturating_add(data_len);
    let to = DATA_AT.saturating_add(MAX_DATA);
    if let Some(unsigned) = report.get_mut(from..to) {
        unsigned.fill(0);
    }
}

fn open() -> Result<OwnedFd, AttestError> {
    match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(device) => Ok(device.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(AttestError::Missing {
            interface: DEVICE.to_owned(),
            hint: "load Keystone's driver (`insmod keystone-driver.ko`) on a machine that starts its security monitor; \
                   see docs/tee/keystone.md"
                .to_owned(),
        }),
        Err(source) => Err(failed("open", source)),
    }
}

fn failed(action: &'static str, source: io::Error) -> AttestError {
    AttestError::Io {
        action,
        interface: DEVICE.to_owned(),
        source,
    }
}

fn malformed(what: String) -> AttestError {
    AttestError::Malformed {
        interface: DEVICE.to_owned(),
        what,
    }
}

/// What our application ends with.
fn ending(value: u64) -> &'static str {
    match value {
        1 => "it did not get the report data",
        2 => "the security monitor did not attest it",
        3 => "it could not hand out its report",
        _ => "that is none of our application's; is it another?",
    }
}

/// `sdk/include/shared/sm_err.h` of Keystone.
fn monitor_error(error: u64) -> &'static str {
    match error {
        100_000 => "unknown error",
        100_001 => "there is no such enclave",
        100_003 => "memory protection failed; are all PMP entries in use?",
        100_004 => "the enclave cannot be run",
        100_005 => "the enclave cannot be destroyed",
        100_006 => "its memory overlaps another's",
        100_007 => "the enclave's memory is not accessible",
        100_008 => "illegal argument",
        100_009 => "the enclave does not run",
        100_010 => "the enclave cannot be resumed",
        100_012 => "the enclave is not initialized",
        100_013 => "no free enclave; others run",
        100_014 => "the call is prohibited",
        100_015 => "illegal page table entry",
        100_016 => "the enclave is not fresh",
        100_017 => "the enclave yielded",
        100_020..=100_027 => "memory protection refused the region",
        100_100 => "not implemented by this security monitor",
        _ => "an error that has no name here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_signature_covers_is_cleared() {
        let mut report = [0xaa; REPORT_LEN];
        clear_unsigned(&mut report, 64);
        assert!(report[..DATA_AT + 64].iter().all(|byte| *byte == 0xaa));
        assert!(
            report[DATA_AT + 64..DATA_AT + MAX_DATA]
                .iter()
                .all(|byte| *byte == 0)
        );
        assert!(report[DATA_AT + MAX_DATA..].iter().all(|byte| *byte == 0xaa));
    }
}
