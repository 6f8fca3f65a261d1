//! TDVF metadata: Intel, *TDX Virtual Firmware Design Guide*, §11.2 "TDVF Descriptor".

use crate::launch::LaunchError;
use crate::launch::bytes::{Bytes, length};
use crate::launch::ovmf::{Firmware, PAGE, guid};

/// Most sections of an image. OVMF's have six.
const MAX_SECTIONS: usize = 64;

const OFFSET: [u8; 16] = guid(0xe47a_6535_984a_4798_865e_4685_a7bf_8ec2);
const SIGNATURE: [u8; 4] = *b"TDVF";
const VERSION: u32 = 1;
const HEADER: usize = 16;
const SECTION: usize = 32;

/// `MR.EXTEND`: the contents are measured.
const EXTENDED: u32 = 1;
/// `PAGE.AUG`: the pages are given to the running domain, and measured by nobody.
const AUGMENTED: u32 = 2;

/// Types: BFV, CFV, TD HOB, temporary memory, permanent memory, payload, payload's parameters.
const LAST_TYPE: u32 = 6;

/// Pages of a trust domain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    address: u64,
    pub(super) pages: usize,
    /// What is measured of the file, if the contents are.
    pub(super) measured: Option<&'a [u8]>,
    augmented: bool,
}

impl Section<'_> {
    /// Whether its pages are added before the domain starts.
    pub(super) const fn is_added(&self) -> bool {
        !self.augmented
    }

    pub(super) fn address_of(&self, index: usize) -> u64 {
        let offset = u64::try_from(index.saturating_mul(PAGE)).unwrap_or(u64::MAX);
        self.address.wrapping_add(offset)
    }
}

/// All that an image wants.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    pub(super) sections: Vec<Section<'a>>,
}

impl<'a> Metadata<'a> {
    pub(super) fn read(firmware: &Firmware<'a>, max_pages: usize) -> Result<Self, LaunchError> {
        let bytes = firmware.bytes;
        let at = firmware.pointed_at(OFFSET, "TDX metadata")?.ok_or_else(|| {
            bytes.unsupported("it has no TDX metadata: OVMF knows TDX from edk2-stable202205 on")
        })?;
        if bytes.array::<4>(at, "signature of the TDX metadata")? != SIGNATURE {
            return Err(bytes.malformed(at, "TDX metadata do not start with `TDVF`".to_owned()));
        }
        let size = length(bytes.u32(at.saturating_add(4), "size of the TDX metadata")?);
        let version = bytes.u32(at.saturating_add(8), "version of the TDX metadata")?;
        if version != VERSION {
            return Err(bytes.unsupported(format!("its TDX metadata have version {version}, not {VERSION}")));
        }
        let count = length(bytes.u32(at.saturating_add(12), "number of TDX sections")?);
        if count == 0 || count > MAX_SECTIONS {
            let what = format!("{count} TDX sections, not 1 to {MAX_SECTIONS}");
            return Err(bytes.malformed(at.saturating_add(12), what));
        }
        if size != HEADER.saturating_add(SECTION.saturating_mul(count)) {
            let what = format!("TDX metadata of {size} bytes cannot have {count} sections");
            return Err(bytes.malformed(at.saturating_add(4), what));
        }
        let mut sections = Vec::with_capacity(count);
        let mut pages = 0_usize;
        let mut next = at.saturating_add(HEADER);
        for _ in 0..count {
            let section = Section::read(&bytes, next)?;
            // Memory that is given to the running domain costs nothing here.
            if section.is_added() {
                pages = pages.saturating_add(section.pages);
            }
            if pages > max_pages {
                let what = format!("TDX sections have more than the {max_pages} pages allowed");
                return Err(bytes.malformed(next, what));
            }
            sections.push(section);
            next = next.saturating_add(SECTION);
        }
        if sections.iter().all(|section| section.measured.is_none()) {
            return Err(bytes.unsupported(
                "it has no section whose contents are measured, so that MRTD would not depend on what it does",
            ));
        }
        Ok(Self { sections })
    }
}

impl<'a> Section<'a> {
    fn read(bytes: &Bytes<'a>, at: usize) -> Result<Self, LaunchError> {
        let data_at = length(bytes.u32(at, "place of a TDX section")?);
        let data_len = length(bytes.u32(at.saturating_add(4), "length of a TDX section")?);
        let address = bytes.u64(at.saturating_add(8), "address of a TDX section")?;
        let size = bytes.u64(at.saturating_add(16), "size of a TDX section")?;
        let kind = bytes.u32(at.saturating_add(24), "type of a TDX section")?;
        let attributes = bytes.u32(at.saturating_add(28), "attributes of a TDX section")?;
        if kind > LAST_TYPE {
            return Err(bytes.unsupported(format!("it has a TDX section of unknown type {kind}")));
        }
        if attributes & !(EXTENDED | AUGMENTED) != 0 || attributes == EXTENDED | AUGMENTED {
            let what = format!("a TDX section with attributes {attributes:#x}");
            return Err(bytes.malformed(at.saturating_add(28), what));
        }
        let page = 4096_u64;
        if !address.is_multiple_of(page) || !size.is_multiple_of(page) || address.checked_add(size).is_none()
        {
            let what = format!("a TDX section of {size:#x} bytes at {address:#x} has no whole pages");
            return Err(bytes.malformed(at, what));
        }
        let size = length(size);
        if data_len > size {
            let what = format!("a TDX section of {size:#x} bytes is to hold {data_len:#x} of the file");
            return Err(bytes.malformed(at, what));
        }
        // QEMU measures what follows in the file then, other hypervisors zeros.
        if attributes & EXTENDED != 0 && data_len != size {
            return Err(bytes.unsupported(format!(
                "it has a measured TDX section of {size:#x} bytes with {data_len:#x} in the file"
            )));
        }
        let data = bytes.slice(data_at, data_len, "data of a TDX section")?;
        Ok(Self {
            address,
            pages: size.div_euclid(PAGE),
            measured: (attributes & EXTENDED != 0).then_some(data),
            augmented: attributes & AUGMENTED != 0,
        })
    }
}
