//! The attestation report. Little-endian throughout.
//!
//! Layout: AMD 56860, table "ATTESTATION_REPORT Structure"; the signature: table "Format for an ECDSA P-384
//! with SHA-384 Signature".

use nautilus_core::VerifyError;

use super::hcl;
use super::product::{CpuId, Product, TcbVersion};
use crate::dcap::wire::{Reader, malformed, unsupported};

/// The lowest of the four privilege levels of a guest.
const MAX_VMPL: u32 = 3;

/// Length of a report with its signature.
pub const REPORT_LEN: usize = 0x4a0;
/// The bytes that the signature covers, from the start.
pub const SIGNED_LEN: usize = 0x2a0;

/// Versions of the report whose fields are known. Version 4 has those of version 3.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;
/// `SIGNATURE_ALGO` of ECDSA over P-384 with SHA-384, the only one.
const ECDSA_P384_SHA384: u32 = 1;
const SIGNATURE_ALGO_OFFSET: usize = 0x34;
/// Bytes that one of R and S takes, and those of them that a number modulo the order of P-384 can fill.
const SCALAR_FIELD: usize = 72;
const SCALAR: usize = 48;

/// A report. Its fields say nothing until the signature over the first [`SIGNED_LEN`] bytes verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Version of the format.
    pub version: u32,
    /// Security version that the guest's owner gave it.
    pub guest_svn: u32,
    /// `POLICY`, under which the guest was launched.
    pub policy: u64,
    /// Family id from the owner's ID block.
    pub family_id: [u8; 16],
    /// Image id from the owner's ID block.
    pub image_id: [u8; 16],
    /// The privilege level that asked; 0 is the highest.
    pub vmpl: u32,
    /// TCB that runs now.
    pub current_tcb: TcbVersion,
    /// `PLATFORM_INFO`.
    pub platform_info: u64,
    /// Whether `author_key_digest` is that of a key that signed the ID key.
    pub author_key_en: bool,
    /// `MASK_CHIP_KEY`: the host forbade the use of the VCEK.
    pub mask_chip_key: bool,
    /// Which key signed.
    pub signing_key: SigningKey,
    /// What the guest had signed.
    pub report_data: [u8; 64],
    /// Measurement of the guest's launch.
    pub measurement: [u8; 48],
    /// What the host said at launch.
    pub host_data: [u8; 32],
    /// SHA-384 of the key that signed the ID block.
    pub id_key_digest: [u8; 48],
    /// SHA-384 of the key that signed the ID key.
    pub author_key_digest: [u8; 48],
    /// This guest.
    pub report_id: [u8; 32],
    /// This guest's migration agent.
    pub report_id_ma: [u8; 32],
    /// TCB for which the signing key was derived.
    pub reported_tcb: TcbVersion,
    /// The processor, from version 3 on.
    pub cpuid: Option<CpuId>,
    /// The chip, or zeros where the host masks it.
    pub chip_id: [u8; 64],
    /// TCB below which this chip cannot be rolled back.
    pub committed_tcb: TcbVersion,
    /// Firmware that runs now.
    pub current: Firmware,
    /// Firmware that was committed.
    pub committed: Firmware,
    /// TCB when the guest was launched or imported.
    pub launch_tcb: TcbVersion,
    /// Verified mitigations, from version 5 on.
    pub mitigations: Option<MitigationVectors>,
    /// `r ‖ s`, big-endian, 48 bytes each.
    pub signature: [u8; 96],
}

/// Which key signed a report: `SIGNING_KEY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// The chip's own, derived from its secrets for one TCB.
    Vcek,
    /// One that AMD derived for a cloud provider and one TCB.
    Vlek,
}

/// A firmware version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// Major version of the ABI.
    pub major: u8,
    /// Minor version of the ABI.
    pub minor: u8,
    /// Build.
    pub build: u8,
}

/// Which mitigations the firmware verified, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MitigationVectors {
    /// When the guest was launched.
    pub launch: u64,
    /// Now.
    pub current: u64,
}

impl SigningKey {
    /// AMD's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        }
    }
}

impl std::fmt::Display for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// Whether bytes look like a report, or like Azure's wrapper around one. Reports of versions that cannot be
/// verified are recognised too, so that they are refused by name.
pub fn recognises(bytes: &[u8]) -> bool {
    let word = |at: usize| {
        let (_, rest) = bytes.split_at_checked(at)?;
        rest.first_chunk().copied().map(u32::from_le_bytes)
    };
    let report = || {
        word(0).is_some_and(|version| (1..16).contains(&version))
            && word(SIGNATURE_ALGO_OFFSET) == Some(ECDSA_P384_SHA384)
    };
    hcl::recognises(bytes) || report()
}

/// Parses a report and nothing after it.
///
/// # Errors `Malformed` names the field and its offset; `Unsupported` a version or key that is known but
/// cannot be verified; `AttributeInvalid` a report that says of itself that it is not signed; `TrailingBytes`
/// what follows.
pub fn parse_report(bytes: &[u8]) -> Result<Report, VerifyError> {
    let report = Report::read(&mut Reader::new(bytes))?;
    match bytes.len().saturating_sub(REPORT_LEN) {
        0 => Ok(report),
        length => Err(VerifyError::TrailingBytes {
            offset: REPORT_LEN,
            length,
        }),
    }
}

impl Report {
    /// `POLICY.DEBUG`: the host may read and write the guest's memory.
    pub const DEBUG: u64 = 1 << 19;
    /// Bit 17 of `POLICY`, which must be one.
    const POLICY_ONE: u64 = 1 << 17;

    /// The product, where the report says it.
    ///
    /// # Errors
    /// If it names a processor that is none of the products known.
    pub fn product(&self) -> Result<Option<Product>, VerifyError> {
        let Some(cpu) = self.cpuid else {
            return Ok(None);
        };
        Product::of_cpu(cpu).map(Some).ok_or_else(|| {
            unsupported(format!(
                "a report of CPU family {:#x} model {:#x}, which is none of Milan, Genoa and Turin",
                cpu.family, cpu.model
            ))
        })
    }

    /// The bytes of `CHIP_ID` that name a chip of `product`; none if it is masked.
    #[cfg(feature = "verify")]
    pub(crate) fn hwid(&self, product: Product) -> Option<&[u8]> {
        (self.chip_id != [0; 64])
            .then(|| self.chip_id.get(..product.hwid_len()))
            .flatten()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, VerifyError> {
        let start = reader.offset();
        let mut reader = reader.nested(REPORT_LEN, "report")?;
        let reader = &mut reader;
        let version = reader.u32("version")?;
        if !VERSIONS.contains(&version) {
            let (first, last) = VERSIONS.into_inner();
            return Err(unsupported(format!(
                "SNP report of version {version}; versions {first} to {last} are known"
            )));
        }
        let guest_svn = reader.u32("guest SVN")?;
        let policy = read_policy(reader)?;
        let family_id = reader.array("family id")?;
        let image_id = reader.array("image id")?;
        let vmpl = reader.u32("VMPL")?;
        // The hypervisor may ask for reports too, with no say of the guest (SEV-SNP ABI, MSG_REPORT_RSP): they have
        // all ones here.
        if vmpl > MAX_VMPL {
            let what = format!("the report was asked for at VMPL {vmpl:#x}, which is no guest's");
            return Err(VerifyError::AttributeInvalid { what });
        }
        let algorithm = reader.u32("signature algorithm")?;
        if algorithm != ECDSA_P384_SHA384 {
            return Err(unsupported(format!(
                "signature algorithm {algorithm}; only 1, ECDSA P-384 with SHA-384, is known"
            )));
        }
        let current_tcb = TcbVersion(reader.array("current TCB")?);
        let platform_info = reader.u64("platform info")?;
        let key_info = reader.u32("key info")?;
        let signing_key = read_signing_key(key_info)?;
        reserved::<4>(reader)?;
        let report_data = reader.array("report data")?;
        let measurement = reader.array("measurement")?;
        let host_data = reader.array("host data")?;
        let id_key_digest = reader.array("ID key digest")?;
        let author_key_digest = reader.array("author key digest")?;
        let report_id = reader.array("report id")?;
        let report_id_ma = reader.array("report id of the migration agent")?;
        let reported_tcb = TcbVersion(reader.array("reported TCB")?);
        let cpuid = if version >= 3 {
            let [family, model, stepping] = reader.array("CPUID")?;
            Some(CpuId {
                family,
                model,
                stepping,
            })
        } else {
            reserved::<3>(reader)?;
            None
        };
        reserved::<21>(reader)?;
        let chip_id = reader.array("chip id")?;
        let committed_tcb = TcbVersion(reader.array("committed TCB")?);
        let current = Firmware::read(reader)?;
        let committed = Firmware::read(reader)?;
        let launch_tcb = TcbVersion(reader.array("launch TCB")?);
        let mitigations = if version >= 5 {
            Some(MitigationVectors {
                launch: reader.u64("launch mitigation vector")?,
                current: reader.u64("current mitigation vector")?,
            })
        } else {
            reserved::<16>(reader)?;
            None
        };
        reserved::<152>(reader)?;
        debug_assert_eq!(reader.offset().saturating_sub(start), SIGNED_LEN);
        let signature = read_signature(reader)?;
        let mask_chip_key = key_info & 2 != 0;
        Ok(Self {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            current_tcb,
            platform_info,
            author_key_en: key_info & 1 != 0,
            mask_chip_key,
            signing_key,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            cpuid,
            chip_id,
            committed_tcb,
            current,
            committed,
            launch_tcb,
            mitigations,
            signature,
        })
    }
}

impl Firmware {
    fn read(reader: &mut Reader<'_>) -> Result<Self, VerifyError> {
        let [build, minor, major] = reader.array("firmware version")?;
        reserved::<1>(reader)?;
        Ok(Self { major, minor, build })
    }
}

/// A policy bit that a later ABI gave a meaning could weaken the guest, so none is passed over.
fn read_policy(reader: &mut Reader<'_>) -> Result<u64, VerifyError> {
    let policy = reader.u64("policy")?;
    if policy & Report::POLICY_ONE == 0 {
        let what = format!("guest policy {policy:#x} has bit 17 clear, which must be one");
        return Err(VerifyError::AttributeInvalid { what });
    }
    // Bits 0 to 25 (AMD 56860, table "Guest Policy").
    match policy >> 26 {
        0 => Ok(policy),
        _ => Err(unsupported(format!(
            "guest policy {policy:#x}: bits above 25 are unknown"
        ))),
    }
}

fn read_signing_key(key_info: u32) -> Result<SigningKey, VerifyError> {
    if key_info >> 5 != 0 {
        return Err(unsupported(format!(
            "key info {key_info:#x}: bits above 4 are unknown"
        )));
    }
    match key_info >> 2 {
        0 => Ok(SigningKey::Vcek),
        1 => Ok(SigningKey::Vlek),
        7 => Err(VerifyError::AttributeInvalid {
            what: "the report says that no key signed it: the host masks the chip key and has no VLEK"
                .to_owned(),
        }),
        other => Err(unsupported(format!(
            "a report signed by key {other}; only 0, the VCEK, and 1, the VLEK, are known"
        ))),
    }
}

/// What a later version may use: a verifier that passes over it does not know what the report says.
fn reserved<const N: usize>(reader: &mut Reader<'_>) -> Result<(), VerifyError> {
    let start = reader.offset();
    let bytes: [u8; N] = reader.array("reserved bytes")?;
    match bytes.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(at) => Err(malformed(
            "reserved byte is not zero".to_owned(),
            start.saturating_add(at),
        )),
    }
}

/// R and S are zero-extended to 72 bytes, and the field to 512. No signature covers the zeros, so that they
/// must be.
fn read_signature(reader: &mut Reader<'_>) -> Result<[u8; 96], VerifyError> {
    let mut signature = [0; 2 * SCALAR];
    for (name, scalar) in ["R", "S"].into_iter().zip(signature.chunks_exact_mut(SCALAR)) {
        let start = reader.offset();
        let field: [u8; SCALAR_FIELD] = reader.array(name)?;
        let (value, padding) = field.split_at(SCALAR);
        if let Some(at) = padding.iter().position(|byte| *byte != 0) {
            return Err(malformed(
                format!("{name} of the signature is longer than {SCALAR} bytes"),
                start.saturating_add(SCALAR).saturating_add(at),
            ));
        }
        for (to, from) in scalar.iter_mut().zip(value.iter().rev()) {
            *to = *from;
        }
    }
    reserved::<368>(reader)?;
    Ok(signature)
}
