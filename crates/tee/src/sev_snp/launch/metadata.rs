//! What an OVMF image wants to have in memory as an SEV-SNP guest: EDK II,
//! `OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm`, and the entries of the table at its end
//! (`OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm`).

use crate::launch::LaunchError;
use crate::launch::bytes::{Bytes, length};
use crate::launch::ovmf::{Firmware, PAGE, guid};

/// Most sections of an image. OVMF's have six.
pub const MAX_SECTIONS: usize = 64;
/// Most pages of all sections together: 16 MiB. OVMF's have some dozens.
const MAX_PAGES: usize = 4096;

const METADATA: [u8; 16] = guid(0xdc88_6566_984a_4798_a75e_5585_a7bf_67cc);
const HASHES_TABLE: [u8; 16] = guid(0x7255_371f_3a3b_4b04_927b_1da6_efa8_d454);
const RESET_BLOCK: [u8; 16] = guid(0x00f7_71de_1a7e_4fcb_890e_68c7_7e2f_b44e);

const SIGNATURE: [u8; 4] = *b"ASEV";
const VERSION: u32 = 1;
const HEADER: usize = 16;
const SECTION: usize = 12;
const PAGE_MASK: u64 = 0xfff;

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    Memory,
    Secrets,
    Cpuid,
    SvsmCaa,
    KernelHashes,
}

/// Pages of the guest's memory that are added before launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) kind: SectionKind,
    pub(super) address: u64,
    pub(super) pages: usize,
}

/// All that an image wants.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    bytes: Bytes<'a>,
    pub(super) sections: Vec<Section>,
    hashes_table: Option<u64>,
    reset_address: Option<u32>,
}

impl<'a> Metadata<'a> {
    pub(super) fn read(firmware: &Firmware<'a>) -> Result<Self, LaunchError> {
        let bytes = firmware.bytes;
        let at = firmware.pointed_at(METADATA, "SEV metadata")?.ok_or_else(|| {
            bytes.unsupported("it has no SEV metadata: OVMF knows SEV-SNP from edk2-stable202205 on")
        })?;
        if bytes.array::<4>(at, "signature of the SEV metadata")? != SIGNATURE {
            return Err(bytes.malformed(at, "SEV metadata do not start with `ASEV`".to_owned()));
        }
        let size = length(bytes.u32(at.saturating_add(4), "size of the SEV metadata")?);
        let version = bytes.u32(at.saturating_add(8), "version of the SEV metadata")?;
        if version != VERSION {
            return Err(bytes.unsupported(format!("its SEV metadata have version {version}, not {VERSION}")));
        }
        let count = length(bytes.u32(at.saturating_add(12), "number of SEV sections")?);
        if count > MAX_SECTIONS {
            let what = format!("{count} SEV sections, more than the {MAX_SECTIONS} allowed");
            return Err(bytes.malformed(at.saturating_add(12), what));
        }
        if size != HEADER.saturating_add(SECTION.saturating_mul(count)) {
            let what = format!("SEV metadata of {size} bytes cannot have {count} sections");
            return Err(bytes.malformed(at.saturating_add(4), what));
        }
        let mut sections = Vec::with_capacity(count);
        let mut pages = 0_usize;
        let mut next = at.saturating_add(HEADER);
        for _ in 0..count {
            let section = Section::read(&bytes, next, &sections)?;
            pages = pages.saturating_add(section.pages);
            if pages > MAX_PAGES {
                let what = format!("SEV sections have more than the {MAX_PAGES} pages allowed");
                return Err(bytes.malformed(next, what));
            }
            sections.push(section);
            next = next.saturating_add(SECTION);
        }
        Ok(Self {
            bytes,
            sections,
            hashes_table: firmware
                .number(HASHES_TABLE, "address of the table of hashes")?
                .map(u64::from)
                .filter(|address| *address != 0),
            reset_address: firmware
                .number(RESET_BLOCK, "address at which further processors start")?
                .filter(|address| *address != 0),
        })
    }

    /// Where in its page the table of hashes stands, which has `length` bytes.
    pub(super) fn hashes_table(&self, length: usize) -> Result<usize, LaunchError> {
        let section = self
            .sections
            .iter()
            .find(|section| section.kind == SectionKind::KernelHashes);
        let (Some(section), Some(table)) = (section, self.hashes_table) else {
            return Err(self.bytes.unsupported(
                "it does not hold a kernel against hashes (no SNP_KERNEL_HASHES section): launch it without --kernel, or \
                 take the OVMF of `OvmfPkg/AmdSev`",
            ));
        };
        let offset = usize::try_from(table & PAGE_MASK).unwrap_or(PAGE);
        let fits = offset.saturating_add(length) <= PAGE;
        if table & !PAGE_MASK != section.address || !fits || section.pages != 1 {
            return Err(self.bytes.unsupported(format!(
                "its table of hashes at {table:#x} does not lie in its page for it at {:#x}",
                section.address
            )));
        }
        Ok(offset)
    }

    /// Where processors after the first start.
    pub(super) fn reset_address(&self) -> Result<u32, LaunchError> {
        self.reset_address.ok_or_else(|| {
            self.bytes.unsupported(
                "it does not say where processors after the first start: it can be launched with one alone",
            )
        })
    }
}

impl Section {
    fn read(bytes: &Bytes<'_>, at: usize, before: &[Self]) -> Result<Self, LaunchError> {
        let address = u64::from(bytes.u32(at, "address of a SEV section")?);
        let size = length(bytes.u32(at.saturating_add(4), "size of a SEV section")?);
        let kind = bytes.u32(at.saturating_add(8), "type of a SEV section")?;
        let kind = match kind {
            1 => SectionKind::Memory,
            2 => SectionKind::Secrets,
            3 => SectionKind::Cpuid,
            4 => SectionKind::SvsmCaa,
            0x10 => SectionKind::KernelHashes,
            other => {
                return Err(bytes.unsupported(format!("it has a SEV section of unknown type {other:#x}")));
            }
        };
        if address & PAGE_MASK != 0 || size == 0 || !size.is_multiple_of(PAGE) {
            let what = format!("a SEV section of {size} bytes at {address:#x} has no whole pages");
            return Err(bytes.malformed(at, what));
        }
        let single = matches!(
            kind,
            SectionKind::Secrets | SectionKind::Cpuid | SectionKind::KernelHashes
        );
        // Each is one page in the ABI and in the firmware.
        if single && (size != PAGE || before.iter().any(|section| section.kind == kind)) {
            let what = format!("a SEV section of kind {kind:?} that is not one page, or is there twice");
            return Err(bytes.malformed(at, what));
        }
        Ok(Self {
            kind,
            address,
            pages: size.div_euclid(PAGE),
        })
    }
}
