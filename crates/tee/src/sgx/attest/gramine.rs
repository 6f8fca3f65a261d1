//! Gramine's files for an enclave (Gramine, *Attestation and Secret Provisioning*, "Low-level `/dev/attestation`
//! interface"). They are answered inside the enclave; what stands behind `quote` is outside, and may lie.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};

use nautilus_core::AttestError;
use zeroize::Zeroizing;

use super::check_report_data;

const TYPE: &str = "/dev/attestation/attestation_type";
const USER_REPORT_DATA: &str = "/dev/attestation/user_report_data";
const TARGET_INFO: &str = "/dev/attestation/target_info";
const REPORT: &str = "/dev/attestation/report";
pub(super) const QUOTE: &str = "/dev/attestation/quote";
const MRENCLAVE_KEY: &str = "/dev/attestation/keys/_sgx_mrenclave";

/// `TARGETINFO` (Intel SDM, volume 3D, "Target Info").
pub(super) const TARGET_INFO_LEN: usize = 512;
/// `REPORT` (Intel SDM, volume 3D, "Report"): the body, a key's id, a code.
pub(super) const REPORT_LEN: usize = 432;
/// Where the report data is in a report.
const REPORT_DATA: std::ops::Range<usize> = 320..384;
/// Gramine rounds a report up to the alignment of the instruction.
const REPORT_BUFFER: usize = 512;
/// Longest name of a type.
const MAX_TYPE: usize = 16;
/// Gramine's own bound is 8 KiB (`QUOTE_MAX_SIZE`); a chain of certificates may grow.
const MAX_QUOTE: usize = 64 * 1024;

/// How Gramine has quotes made, as its manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttestationType {
    /// By DCAP.
    Dcap,
    /// By EPID, which Intel has ended.
    Epid,
    /// Not at all.
    None,
}

/// The files, at their place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gramine;

impl Gramine {
    /// Which attestation the manifest asks for.
    pub(super) fn attestation_type(self) -> Result<AttestationType, AttestError> {
        let name = read(TYPE, MAX_TYPE)?;
        match name.strip_suffix(b"\n").unwrap_or(&name) {
            b"dcap" => Ok(AttestationType::Dcap),
            b"epid" => Ok(AttestationType::Epid),
            b"none" => Ok(AttestationType::None),
            other => Err(malformed(
                TYPE,
                format!("it is `{}`, none of dcap, epid, none", other.escape_ascii()),
            )),
        }
    }

    /// What to do where the type is `none`.
    pub(super) fn makes_no_quotes(self) -> AttestError {
        AttestError::Missing {
            interface: QUOTE.to_owned(),
            hint: "Gramine's attestation type is `none`: set `sgx.remote_attestation = \"dcap\"` in the manifest, \
                   sign it again, and start it with `gramine-sgx`"
                .to_owned(),
        }
    }

    /// A quote for this report data, as it came.
    pub(super) fn quote(self, report_data: &[u8; 64]) -> Result<Vec<u8>, AttestError> {
        write(USER_REPORT_DATA, report_data)?;
        read(QUOTE, MAX_QUOTE)
    }

    /// A report for the enclave with this target info, which can check it on this machine alone.
    pub(super) fn report(
        self,
        report_data: &[u8; 64],
        target_info: &[u8; TARGET_INFO_LEN],
    ) -> Result<[u8; REPORT_LEN], AttestError> {
        write(TARGET_INFO, target_info)?;
        write(USER_REPORT_DATA, report_data)?;
        let bytes = read(REPORT, REPORT_BUFFER)?;
        let report = bytes
            .split_first_chunk::<REPORT_LEN>()
            .filter(|(_, rest)| rest.iter().all(|byte| *byte == 0))
            .map(|(report, _)| *report)
            .ok_or_else(|| malformed(REPORT, format!("{} bytes, not {REPORT_LEN}", bytes.len())))?;
        let found = report.get(REPORT_DATA).unwrap_or_default();
        check_report_data(REPORT.to_owned(), found, report_data)?;
        Ok(report)
    }

    /// The key that the CPU gives to this MRENCLAVE alone (`EGETKEY`, seal key, policy MRENCLAVE).
    pub(super) fn mrenclave_key(self) -> Result<Zeroizing<[u8; 16]>, AttestError> {
        let bytes = Zeroizing::new(read(MRENCLAVE_KEY, 16)?);
        let key: [u8; 16] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| malformed(MRENCLAVE_KEY, format!("{} bytes, not 16", bytes.len())))?;
        if key == [0; 16] {
            return Err(malformed(MRENCLAVE_KEY, "a key of zeros".to_owned()));
        }
        Ok(Zeroizing::new(key))
    }
}

/// All of a file of at most `max` bytes.
fn read(path: &'static str, max: usize) -> Result<Vec<u8>, AttestError> {
    let file = File::open(path).map_err(|error| failed("open", path, error))?;
    let bound = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(bound)
        .read_to_end(&mut bytes)
        .map_err(|error| failed("read", path, error))?;
    if bytes.len() > max {
        return Err(malformed(path, format!("more than {max} bytes")));
    }
    Ok(bytes)
}

/// Writes a file whole. It takes effect with one call, so a second for a rest would replace what the first wrote.
fn write(path: &'static str, bytes: &[u8]) -> Result<(), AttestError> {
    let opened = OpenOptions::new().write(true).open(path);
    let mut file = opened.map_err(|error| failed("open", path, error))?;
    let written = file.write(bytes).map_err(|error| failed("write", path, error))?;
    if written != bytes.len() {
        return Err(malformed(
            path,
            format!("it took {written} of {} bytes", bytes.len()),
        ));
    }
    Ok(())
}

fn failed(action: &'static str, path: &'static str, source: io::Error) -> AttestError {
    match source.kind() {
        ErrorKind::NotFound => AttestError::Missing {
            interface: path.to_owned(),
            hint: "this process is in no SGX enclave: start it with `gramine-sgx`, Gramine 1.5 or later"
                .to_owned(),
        },
        _ => AttestError::Io {
            action,
            interface: path.to_owned(),
            source,
        },
    }
}

fn malformed(path: &str, what: String) -> AttestError {
    AttestError::Malformed {
        interface: path.to_owned(),
        what,
    }
}
