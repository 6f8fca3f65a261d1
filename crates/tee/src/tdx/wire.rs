//! TDX quotes, versions 4 and 5: Intel, *TDX DCAP: Quote Generation Library and Quote Verification
//! Library*, appendix "Version 4 Quote Format" ("TD Quote Header", "TD Quote Body") and "Version 5 Quote
//! Format" ("TD Quote Body Descriptor", "TD Quote Body for TDX 1.0", "TD Quote Body for TDX 1.5"). The body
//! of type 4 is `sgx_report2_body_v1_5_ex_t` in `sgx_quote_5.h` of Intel's DCAP sources.

use nautilus_core::VerifyError;

use crate::dcap::wire::{
    Extent, Header, Nesting, Reader, SignatureData, TEE_TYPE_SGX, TEE_TYPE_TDX, malformed, unsupported,
};

/// A TDX quote as it stands in its bytes. Nothing in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The header.
    pub header: Header,
    /// The TD's report.
    pub report: TdReport,
    /// Signatures, keys and certificates.
    pub signature: SignatureData,
    /// Where the quote ends.
    pub extent: Extent,
}

/// What is reported of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdReport {
    /// Security versions of the TDX module and its loader when the TD was launched.
    pub tee_tcb_svn: [u8; 16],
    /// Measurement of the TDX module.
    pub mrseam: [u8; 48],
    /// Signer of the TDX module; zero for Intel's.
    pub mrsignerseam: [u8; 48],
    /// Attributes of the TDX module.
    pub seam_attributes: u64,
    /// Attributes of the TD.
    pub td_attributes: u64,
    /// Extended CPU features that the TD may use.
    pub xfam: u64,
    /// Measurement of the TD's initial contents.
    pub mrtd: [u8; 48],
    /// Configuration that is not the owner's.
    pub mrconfigid: [u8; 48],
    /// The TD's owner.
    pub mrowner: [u8; 48],
    /// Configuration that the owner gave.
    pub mrownerconfig: [u8; 48],
    /// Measurements extended at run time.
    pub rtmr: [[u8; 48]; 4],
    /// What the TD had signed.
    pub report_data: [u8; 64],
    /// What TDX 1.5 added.
    pub v15: Option<TdReport15>,
}

/// What TDX 1.5 adds to the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdReport15 {
    /// Security versions of the TDX module and its loader now.
    pub tee_tcb_svn2: [u8; 16],
    /// Measurement of the service TDs.
    pub mrservicetd: [u8; 48],
    /// What the extended report added.
    pub ex: Option<TdReport15Ex>,
}

/// What the extended report of TDX 1.5 adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdReport15Ex {
    /// Index of the VM within a partitioned TD.
    pub vmid: u8,
    /// Statistically unique id of the TD's instance.
    pub td_id: [u8; 32],
    /// Digest of what is known about attached devices.
    pub dev_info: [u8; 48],
    /// Measurement of the service TDs when the TD was created.
    pub init_service_td_hash: [u8; 48],
    /// Attributes of the service TD when the TD was created.
    pub init_service_td_attributes: [u8; 8],
    /// Security versions of the CPU when the TD was created.
    pub init_cpu_svn: [u8; 16],
    /// Security versions of the TDX module when the TD was created.
    pub init_tee_tcb_svn: [u8; 16],
    /// Model of the platform on which the TD was created.
    pub init_tee_fmspc: [u8; 12],
    /// Measurement of the service TDs now.
    pub cur_service_td_hash: [u8; 48],
    /// Attributes of the service TD now.
    pub cur_service_td_attributes: [u8; 8],
}

/// Whether bytes start like a TDX quote of any version.
pub fn recognises(bytes: &[u8]) -> bool {
    Header::peek(bytes).is_ok_and(|header| header.tee_type == TEE_TYPE_TDX)
}

/// Parses a TDX quote of version 4 or 5, which zeros may follow.
///
/// # Errors
/// `Malformed` names the field and its offset; `Unsupported` names a version, body or key type that is
/// known but cannot be verified; `TrailingBytes` says what follows the quote.
pub fn parse_quote(bytes: &[u8]) -> Result<Quote, VerifyError> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader)?;
    match header.tee_type {
        TEE_TYPE_TDX => {}
        TEE_TYPE_SGX => {
            return Err(malformed(
                "TEE type 0 (SGX) in a quote said to be of TDX".to_owned(),
                4,
            ));
        }
        other => return Err(malformed(format!("TEE type {other:#x} is not TDX"), 4)),
    }
    if header.version != 4 && header.version != 5 {
        return Err(unsupported(format!(
            "quote version {} of TDX: versions 4 and 5 are supported",
            header.version
        )));
    }
    header.check_key_type()?;
    let body = if header.version == 4 {
        Body::Td10
    } else {
        Body::read_descriptor(&mut reader)?
    };
    let report = TdReport::read(&mut reader, body)?;
    let (signature, extent) = SignatureData::read_to_end(reader, Nesting::QeReportCertification)?;
    Ok(Quote {
        header,
        report,
        signature,
        extent,
    })
}

/// Which report a quote carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Td10,
    Td15,
    Td15Ex,
}

impl Body {
    fn read_descriptor(reader: &mut Reader<'_>) -> Result<Self, VerifyError> {
        let kind = reader.u16("body type")?;
        let body = match kind {
            1 => {
                return Err(unsupported(
                    "SGX report (body type 1) in a quote of TDX".to_owned(),
                ));
            }
            2 => Self::Td10,
            3 => Self::Td15,
            4 => Self::Td15Ex,
            other => return Err(unsupported(format!("body type {other}"))),
        };
        let at = reader.offset();
        let size = reader.u32("body size")?;
        if usize::try_from(size) != Ok(body.len()) {
            return Err(malformed(
                format!("body of type {kind} has {} bytes, not {size}", body.len()),
                at,
            ));
        }
        Ok(body)
    }

    const fn len(self) -> usize {
        match self {
            Self::Td10 => 584,
            Self::Td15 => 648,
            Self::Td15Ex => 885,
        }
    }
}

impl TdReport {
    /// Length on the wire.
    #[cfg(feature = "verify")]
    pub(super) const fn len(&self) -> usize {
        match &self.v15 {
            None => Body::Td10.len(),
            Some(TdReport15 { ex: None, .. }) => Body::Td15.len(),
            Some(TdReport15 { ex: Some(_), .. }) => Body::Td15Ex.len(),
        }
    }

    fn read(reader: &mut Reader<'_>, body: Body) -> Result<Self, VerifyError> {
        let mut report = reader.nested(body.len(), "TD report")?;
        Ok(Self {
            tee_tcb_svn: report.array("TEE_TCB_SVN")?,
            mrseam: report.array("MRSEAM")?,
            mrsignerseam: report.array("MRSIGNERSEAM")?,
            seam_attributes: report.u64("SEAMATTRIBUTES")?,
            td_attributes: report.u64("TDATTRIBUTES")?,
            xfam: report.u64("XFAM")?,
            mrtd: report.array("MRTD")?,
            mrconfigid: report.array("MRCONFIGID")?,
            mrowner: report.array("MROWNER")?,
            mrownerconfig: report.array("MROWNERCONFIG")?,
            rtmr: [
                report.array("RTMR0")?,
                report.array("RTMR1")?,
                report.array("RTMR2")?,
                report.array("RTMR3")?,
            ],
            report_data: report.array("report data")?,
            v15: if body == Body::Td10 {
                None
            } else {
                Some(TdReport15::read(&mut report, body)?)
            },
        })
    }

    /// The report's name as the claims have it.
    pub const fn body_name(&self) -> &'static str {
        match &self.v15 {
            None => "td-report-1.0",
            Some(TdReport15 { ex: None, .. }) => "td-report-1.5",
            Some(TdReport15 { ex: Some(_), .. }) => "td-report-1.5-extended",
        }
    }
}

impl TdReport15 {
    fn read(report: &mut Reader<'_>, body: Body) -> Result<Self, VerifyError> {
        Ok(Self {
            tee_tcb_svn2: report.array("TEE_TCB_SVN2")?,
            mrservicetd: report.array("MRSERVICETD")?,
            ex: if body == Body::Td15Ex {
                Some(TdReport15Ex::read(report)?)
            } else {
                None
            },
        })
    }
}

impl TdReport15Ex {
    fn read(report: &mut Reader<'_>) -> Result<Self, VerifyError> {
        let [vmid] = report.array("VMID")?;
        Ok(Self {
            vmid,
            td_id: report.array("TD_ID")?,
            dev_info: report.array("DEV_INFO")?,
            init_service_td_hash: report.array("INIT_SERVTD_HASH")?,
            init_service_td_attributes: report.array("INIT_SERVTD_ATTRIBUTES")?,
            init_cpu_svn: report.array("INIT_CPUSVN")?,
            init_tee_tcb_svn: report.array("INIT_TEE_TCB_SVN")?,
            init_tee_fmspc: report.array("INIT_TEE_FMSPC")?,
            cur_service_td_hash: report.array("CUR_SERVTD_HASH")?,
            cur_service_td_attributes: report.array("CUR_SERVTD_ATTRIBUTES")?,
        })
    }
}

#[cfg(test)]
mod tests;
