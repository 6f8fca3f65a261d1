//! The parts of a quote that SGX and TDX have in common. Little-endian throughout.
//!
//! Layouts: Intel, *SGX ECDSA QuoteLib Reference: DCAP API*, appendix "Quote Format" (tables "Quote
//! Header", "Enclave Report Body", "ECDSA 256-bit Quote Signature Data Structure", "QE Authentication
//! Data", "QE Certification Data"); for versions 4 and 5 Intel, *TDX DCAP: Quote Generation Library and
//! Quote Verification Library*, appendix "Version 4 Quote Format" and "Version 5 Quote Format" (the same,
//! with "QE Report Certification Data").

use nautilus_core::{UnsignedFact, VerifyError};

/// Length of the quote header.
pub const HEADER_LEN: usize = 48;
/// Length of a signature, `r ‖ s`, and of a public key, `x ‖ y`.
#[cfg(feature = "verify")]
pub(crate) const SIGNATURE_LEN: usize = 64;
/// Length of the length of the signature data.
const LENGTH_LEN: usize = 4;
/// `tee_type` of SGX.
pub const TEE_TYPE_SGX: u32 = 0;
/// `tee_type` of TDX.
pub const TEE_TYPE_TDX: u32 = 0x81;
/// `att_key_type` of ECDSA over P-256 with SHA-256, the only one in use.
pub const ATT_KEY_ECDSA_P256: u16 = 2;
/// Intel's vendor id of its quoting enclaves.
pub const INTEL_QE_VENDOR_ID: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// Certification data that holds the PCK certificate chain in PEM.
pub const CERT_PCK_CHAIN: u16 = 5;
/// Certification data that holds the QE report and its own certification data.
pub const CERT_QE_REPORT: u16 = 6;

/// The quote header. Covered by the quote's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the quote format.
    pub version: u16,
    /// Kind of attestation key.
    pub att_key_type: u16,
    /// Kind of TEE.
    pub tee_type: u32,
    /// Security version of the quoting enclave in version 3; reserved later.
    pub qe_svn: u16,
    /// Security version of the provisioning certification enclave in version 3; reserved later.
    pub pce_svn: u16,
    /// Who made the quoting enclave.
    pub qe_vendor_id: [u8; 16],
    /// Made by the quoting enclave; the first 16 bytes are the QE ID.
    pub user_data: [u8; 20],
}

/// An SGX enclave report, of an application's enclave or of the quoting enclave. Reserved bytes are not kept:
/// the signature over a report covers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnclaveReport {
    /// Security versions of the CPU.
    pub cpu_svn: [u8; 16],
    /// Which parts of the state are saved on an exit.
    pub miscselect: u32,
    /// Extended product id (Key Separation and Sharing).
    pub isv_ext_prod_id: [u8; 16],
    /// `ATTRIBUTES.FLAGS`.
    pub flags: u64,
    /// `ATTRIBUTES.XFRM`.
    pub xfrm: u64,
    /// Measurement of the enclave's contents.
    pub mrenclave: [u8; 32],
    /// Digest of the key that signed the enclave.
    pub mrsigner: [u8; 32],
    /// Configuration given at launch (Key Separation and Sharing).
    pub config_id: [u8; 64],
    /// Product id.
    pub isv_prod_id: u16,
    /// Security version.
    pub isv_svn: u16,
    /// Security version of the configuration (Key Separation and Sharing).
    pub config_svn: u16,
    /// Family id (Key Separation and Sharing).
    pub isv_family_id: [u8; 16],
    /// What the enclave had signed.
    pub report_data: [u8; 64],
}

/// How the QE report's signer is certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certification {
    /// Kind of certification data.
    pub kind: u16,
    /// Where the data starts, from the start of the quote.
    pub offset: usize,
    /// The data, unsigned itself.
    pub data: Vec<u8>,
}

/// What follows the signed part of a quote. Version 3 has it flat, later ones nest the QE report in
/// certification data of type 6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureData {
    /// Where it starts, from the start of the quote.
    pub offset: usize,
    /// `r ‖ s` over header and body, by the attestation key.
    pub signature: [u8; 64],
    /// `x ‖ y` of the attestation key.
    pub attestation_key: [u8; 64],
    /// The quoting enclave's report, which vouches for the attestation key.
    pub qe_report: EnclaveReport,
    /// `r ‖ s` over the QE report, by the PCK.
    pub qe_report_signature: [u8; 64],
    /// Where that signature starts, from the start of the quote.
    pub qe_report_signature_offset: usize,
    /// Vouched for by the QE report, together with the attestation key.
    pub qe_auth_data: Vec<u8>,
    /// How the PCK is certified.
    pub certification: Certification,
}

/// Where a quote ends within the bytes that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes that belong to the quote.
    pub length: usize,
    /// Zero bytes after it.
    pub padding: usize,
}

impl Header {
    /// The header at the start of `bytes`; nothing about what follows it.
    ///
    /// # Errors
    /// If there are fewer than 48 bytes.
    pub fn peek(bytes: &[u8]) -> Result<Self, VerifyError> {
        Self::read(&mut Reader::new(bytes))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, VerifyError> {
        let mut header = reader.nested(HEADER_LEN, "quote header")?;
        Ok(Self {
            version: header.u16("version")?,
            att_key_type: header.u16("attestation key type")?,
            tee_type: header.u32("TEE type")?,
            qe_svn: header.u16("QE SVN")?,
            pce_svn: header.u16("PCE SVN")?,
            qe_vendor_id: header.array("QE vendor id")?,
            user_data: header.array("user data")?,
        })
    }

    /// Refuses attestation keys other than ECDSA over P-256.
    pub(crate) fn check_key_type(&self) -> Result<(), VerifyError> {
        match self.att_key_type {
            ATT_KEY_ECDSA_P256 => Ok(()),
            3 => Err(unsupported("attestation key type 3 (ECDSA P-384)".to_owned())),
            other => Err(unsupported(format!("attestation key type {other}"))),
        }
    }
}

impl EnclaveReport {
    /// Length on the wire.
    pub const LEN: usize = 384;
    /// `ATTRIBUTES.FLAGS.DEBUG`.
    pub const DEBUG: u64 = 0x2;

    pub(crate) fn read(reader: &mut Reader<'_>, what: &str) -> Result<Self, VerifyError> {
        let mut report = reader.nested(Self::LEN, what)?;
        let cpu_svn = report.array("CPU SVN")?;
        let miscselect = report.u32("MISCSELECT")?;
        report.skip(12, "reserved")?;
        let isv_ext_prod_id = report.array("ISVEXTPRODID")?;
        let flags = report.u64("ATTRIBUTES.FLAGS")?;
        let xfrm = report.u64("ATTRIBUTES.XFRM")?;
        let mrenclave = report.array("MRENCLAVE")?;
        report.skip(32, "reserved")?;
        let mrsigner = report.array("MRSIGNER")?;
        report.skip(32, "reserved")?;
        let config_id = report.array("CONFIGID")?;
        let isv_prod_id = report.u16("ISVPRODID")?;
        let isv_svn = report.u16("ISVSVN")?;
        let config_svn = report.u16("CONFIGSVN")?;
        report.skip(42, "reserved")?;
        let isv_family_id = report.array("ISVFAMILYID")?;
        let report_data = report.array("report data")?;
        Ok(Self {
            cpu_svn,
            miscselect,
            isv_ext_prod_id,
            flags,
            xfrm,
            mrenclave,
            mrsigner,
            config_id,
            isv_prod_id,
            isv_svn,
            config_svn,
            isv_family_id,
            report_data,
        })
    }
}

/// Whether the QE report stands beside the attestation key or inside certification data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nesting {
    /// Version 3.
    Flat,
    /// Version 4 and later.
    QeReportCertification,
}

impl SignatureData {
    /// How many bytes the attestation key signed: everything up to the length of the signature data.
    pub const fn signed_length(&self) -> usize {
        self.offset.saturating_sub(LENGTH_LEN)
    }

    /// Reads the length, the signature data that it spans, and what may follow.
    pub(crate) fn read_to_end(
        mut reader: Reader<'_>,
        nesting: Nesting,
    ) -> Result<(Self, Extent), VerifyError> {
        let length = reader.length("length of the signature data")?;
        let mut data = reader.nested(length, "signature data")?;
        let extent = reader.padding()?;
        let offset = data.offset;
        let signature = data.array("quote signature")?;
        let attestation_key = data.array("attestation key")?;
        if nesting == Nesting::QeReportCertification {
            let at = data.offset;
            let kind = data.u16("type of the certification data")?;
            if kind != CERT_QE_REPORT {
                let what = format!("certification data of type {kind} where type 6, the QE report, belongs");
                return Err(malformed(what, at));
            }
            let length = data.length("length of the certification data")?;
            let inner = data.nested(length, "certification data")?;
            data.finish("certification data")?;
            data = inner;
        }
        let qe_report = EnclaveReport::read(&mut data, "QE report")?;
        let qe_report_signature_offset = data.offset;
        let qe_report_signature = data.array("QE report signature")?;
        let auth_len = usize::from(data.u16("length of the QE authentication data")?);
        let qe_auth_data = data.take(auth_len, "QE authentication data")?.to_vec();
        let kind = data.u16("type of the PCK certification data")?;
        let length = data.length("length of the PCK certification data")?;
        let offset_of_certification = data.offset;
        let certification = data.take(length, "PCK certification data")?.to_vec();
        data.finish("PCK certification data")?;
        let read = Self {
            offset,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_report_signature_offset,
            qe_auth_data,
            certification: Certification {
                kind,
                offset: offset_of_certification,
                data: certification,
            },
        };
        Ok((read, extent))
    }
}

impl Extent {
    /// The padding, as something to be reported.
    pub fn fact(&self) -> Option<UnsignedFact> {
        (self.padding > 0).then(|| UnsignedFact {
            what: "trailing zero padding",
            detail: format!("{} bytes at offset {}", self.padding, self.length),
        })
    }
}

/// The names of the bits that are set, and what remains in hex: `INIT MODE64BIT 0x100`.
#[cfg(feature = "verify")]
pub(crate) fn flag_names(bits: u64, names: &[(u64, &str)]) -> String {
    let known = names.iter().fold(0, |all, (bit, _)| all | bit);
    let set = names
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| (*name).to_owned());
    let rest = bits & !known;
    set.chain((rest != 0).then(|| format!("{rest:#x}")))
        .collect::<Vec<_>>()
        .join(" ")
}

pub(crate) const fn malformed(what: String, offset: usize) -> VerifyError {
    VerifyError::Malformed { what, offset }
}

pub(crate) const fn unsupported(what: String) -> VerifyError {
    VerifyError::Unsupported { what }
}

/// Reads bytes front to back and knows where it is. Nothing it does can panic or read past the end.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            offset: 0,
        }
    }

    /// Where the next byte stands, from the start of the evidence.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], VerifyError> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.too_short(length, what));
        };
        self.advance(rest, length);
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], VerifyError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.too_short(N, what));
        };
        self.advance(rest, N);
        Ok(*head)
    }

    pub(crate) fn u16(&mut self, what: &str) -> Result<u16, VerifyError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, VerifyError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, VerifyError> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn length(&mut self, what: &str) -> Result<usize, VerifyError> {
        let at = self.offset;
        let length = self.u32(what)?;
        usize::try_from(length).map_err(|_| malformed(format!("{what} is {length}"), at))
    }

    fn skip(&mut self, length: usize, what: &str) -> Result<(), VerifyError> {
        self.take(length, what).map(|_| ())
    }

    /// The next `length` bytes as a reader of their own.
    pub(crate) fn nested(&mut self, length: usize, what: &str) -> Result<Self, VerifyError> {
        let offset = self.offset;
        self.take(length, what).map(|rest| Self { rest, offset })
    }

    fn finish(&self, what: &str) -> Result<(), VerifyError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(malformed(
                format!("{extra} bytes after the {what} that belong to nothing"),
                self.offset,
            )),
        }
    }

    /// Attesters hand out quotes in fixed-size buffers, so zeros may follow; anything else may not.
    fn padding(&self) -> Result<Extent, VerifyError> {
        if self.rest.iter().any(|byte| *byte != 0) {
            return Err(VerifyError::TrailingBytes {
                offset: self.offset,
                length: self.rest.len(),
            });
        }
        Ok(Extent {
            length: self.offset,
            padding: self.rest.len(),
        })
    }

    const fn advance(&mut self, rest: &'a [u8], length: usize) {
        self.rest = rest;
        self.offset = self.offset.saturating_add(length);
    }

    fn too_short(&self, needs: usize, what: &str) -> VerifyError {
        malformed(
            format!("{what} needs {needs} bytes, {} are left", self.rest.len()),
            self.offset,
        )
    }
}
