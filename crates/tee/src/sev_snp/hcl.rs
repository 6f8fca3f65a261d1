//! Azure's wrapper around a report. Its paravisor (the HCL) runs in VMPL 0 of a confidential virtual machine,
//! asks for the report, and hands it to the guest through NV index 0x01400001 of the virtual TPM, together
//! with the JSON whose hash stands in the report data: the runtime data, with the virtual TPM's attestation
//! key.
//!
//! Layout: Microsoft, OpenVMM, `openhcl_attestation_protocol`, `IgvmAttestRequest` (little-endian), as seen
//! in the NV index of real machines: header, report, data header, runtime data, then zeros up to the index's
//! 2,600 bytes.

#[cfg(feature = "verify")]
use nautilus_core::UnsignedFact;
use nautilus_core::VerifyError;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::wire::Report;
use crate::dcap::wire::{Reader, malformed, unsupported};

/// How the wrapper starts.
const MAGIC: [u8; 4] = *b"HCLA";
/// Length of the header before the report.
const HEADER_LEN: usize = 32;
/// Length of the header between report and runtime data.
const DATA_HEADER_LEN: usize = 20;
/// `request_type` of what is handed to the guest: a request for a certificate of the TPM's attestation key.
const AK_CERT: u32 = 2;
/// `report_type` of SNP.
const SNP: u32 = 2;
/// `report_type` of TDX.
const TDX: u32 = 4;

/// A report and the runtime data that its report data binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hcl {
    /// Version of the header. No signature covers it.
    pub version: u32,
    /// The report.
    pub report: Report,
    /// Where the report starts.
    pub report_offset: usize,
    /// The hash by which the report binds the runtime data.
    pub hash: HashAlgorithm,
    /// JSON.
    pub runtime_data: Vec<u8>,
    /// Where the runtime data ends.
    pub end: usize,
    /// Zeros after it.
    pub padding: usize,
}

/// The hash of the runtime data that stands at the start of the report data, with zeros after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

/// Whether bytes look like the wrapper.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Parses the wrapper and the report in it. Whether the report binds the runtime data is
/// [`Hcl::check_bound`]'s to say.
///
/// # Errors `Malformed` names the field and its offset from the start of the wrapper; `Unsupported` what is
/// known but cannot be verified; `TrailingBytes` what follows the runtime data and is not zero.
pub fn parse_hcl(bytes: &[u8]) -> Result<Hcl, VerifyError> {
    let reader = &mut Reader::new(bytes);
    let (version, report_size) = read_header(reader)?;
    let report_offset = reader.offset();
    let report = Report::read(reader)?;
    let report_len = reader.offset().saturating_sub(report_offset);

    let data_size_offset = reader.offset();
    let data_size = length(reader, "size of the data")?;
    expect(reader, "version of the data", 1)?;
    match reader.u32("report type")? {
        SNP => {}
        TDX => return Err(unsupported("an HCL report of TDX".to_owned())),
        other => return Err(unsupported(format!("an HCL report of type {other}"))),
    }
    let hash = match reader.u32("hash type")? {
        1 => HashAlgorithm::Sha256,
        2 => HashAlgorithm::Sha384,
        3 => HashAlgorithm::Sha512,
        other => return Err(unsupported(format!("an HCL report with hash type {other}"))),
    };
    let size = length(reader, "size of the runtime data")?;
    if size.checked_add(DATA_HEADER_LEN) != Some(data_size) {
        return Err(malformed(
            format!("size of the data is {data_size}, its header and {size} bytes of runtime data are not"),
            data_size_offset,
        ));
    }
    let runtime_data = reader.take(size, "runtime data")?.to_vec();
    let end = reader.offset();
    if report_size != end || report_len != super::wire::REPORT_LEN {
        return Err(malformed(
            format!("size of the whole is {report_size}, the runtime data ends at {end}"),
            8,
        ));
    }
    let rest = bytes.get(end..).unwrap_or_default();
    if rest.iter().any(|byte| *byte != 0) {
        return Err(VerifyError::TrailingBytes {
            offset: end,
            length: rest.len(),
        });
    }
    Ok(Hcl {
        version,
        report,
        report_offset,
        hash,
        runtime_data,
        end,
        padding: rest.len(),
    })
}

impl Hcl {
    /// Checks that the report binds the runtime data, and that it was the paravisor that asked for it: what
    /// runs below it could have the hash of any JSON signed, but not at VMPL 0.
    ///
    /// # Errors `AttributeInvalid` says which of the two does not hold.
    pub fn check_bound(&self) -> Result<(), VerifyError> {
        if self.report.vmpl != 0 {
            let what = format!(
                "an HCL report is asked for at VMPL 0, this one was at VMPL {}",
                self.report.vmpl
            );
            return Err(VerifyError::AttributeInvalid { what });
        }
        let digest = self.hash.digest(&self.runtime_data);
        let mut expected = [0; 64];
        for (to, from) in expected.iter_mut().zip(&digest) {
            *to = *from;
        }
        if expected == self.report.report_data {
            return Ok(());
        }
        let what = format!(
            "report data {} does not bind the HCL's runtime data, whose {} is {}",
            hex::encode(self.report.report_data),
            self.hash.as_str(),
            hex::encode(digest),
        );
        Err(VerifyError::AttributeInvalid { what })
    }

    /// What no signature covers and is not as it usually is.
    #[cfg(feature = "verify")]
    pub(crate) fn facts(&self) -> Vec<UnsignedFact> {
        let mut facts = Vec::new();
        if self.version != 1 {
            facts.push(UnsignedFact {
                what: "unusual HCL header",
                detail: format!("version {} at offset 4, usual is 1", self.version),
            });
        }
        if self.padding > 0 {
            facts.push(UnsignedFact {
                what: "trailing zero padding",
                detail: format!("{} bytes at offset {}", self.padding, self.end),
            });
        }
        facts
    }
}

impl HashAlgorithm {
    /// Its usual name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The digest of `data`.
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

/// Version and size of the whole. Everything else has one value: no signature covers it, so nothing may vary
/// unseen.
fn read_header(reader: &mut Reader<'_>) -> Result<(u32, usize), VerifyError> {
    let mut header = reader.nested(HEADER_LEN, "HCL header")?;
    let header = &mut header;
    if header.array("signature of the HCL header")? != MAGIC {
        return Err(malformed("HCL header does not start with HCLA".to_owned(), 0));
    }
    let version = header.u32("version of the HCL header")?;
    if !(1..=2).contains(&version) {
        return Err(unsupported(format!(
            "an HCL report of version {version}; 1 and 2 are known"
        )));
    }
    let size = length(header, "size of the whole")?;
    expect(header, "request type", AK_CERT)?;
    expect(header, "status", 0)?;
    for _ in 0..3 {
        expect(header, "reserved word", 0)?;
    }
    Ok((version, size))
}

fn expect(reader: &mut Reader<'_>, what: &str, value: u32) -> Result<(), VerifyError> {
    let at = reader.offset();
    match reader.u32(what)? {
        found if found == value => Ok(()),
        found => Err(malformed(format!("{what} is {found}, not {value}"), at)),
    }
}

fn length(reader: &mut Reader<'_>, what: &str) -> Result<usize, VerifyError> {
    let at = reader.offset();
    let length = reader.u32(what)?;
    usize::try_from(length).map_err(|_| malformed(format!("{what} is {length}"), at))
}
