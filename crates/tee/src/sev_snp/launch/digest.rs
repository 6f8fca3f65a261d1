//! The chain of digests: SEV-SNP ABI, §8.17.2 "SNP_LAUNCH_UPDATE", table "Layout of the PAGE_INFO structure".

use sha2::{Digest as _, Sha384};

use super::Section;
use crate::launch::ovmf::PAGE;

const DIGEST: usize = 48;
/// Bytes of PAGE_INFO, which it states itself.
const PAGE_INFO: u16 = 0x70;
/// The address under which VMSA pages are measured, wherever they lie: hypervisors state −1, and this is what the
/// firmware makes of it.
const VMSA_ADDRESS: u64 = 0xFFFF_FFFF_F000;
const PAGE_STEP: u64 = 4096;

/// `PAGE_TYPE` of SNP_LAUNCH_UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageType {
    Normal = 1,
    Vmsa = 2,
    Zero = 3,
    Unmeasured = 4,
    Secrets = 5,
    Cpuid = 6,
}

/// The digest so far.
pub(super) struct LaunchDigest([u8; DIGEST]);

impl LaunchDigest {
    pub(super) const fn new() -> Self {
        Self([0; DIGEST])
    }

    pub(super) const fn value(&self) -> [u8; DIGEST] {
        self.0
    }

    /// Pages with contents, from an address on. `contents` has whole pages.
    pub(super) fn add_contents(&mut self, kind: PageType, address: u64, contents: &[u8]) {
        let mut address = address;
        for page in contents.chunks(PAGE) {
            self.add(kind, address, Sha384::digest(page).into());
            address = address.wrapping_add(PAGE_STEP);
        }
    }

    /// A section's pages, whose contents do not count.
    pub(super) fn add_empty(&mut self, kind: PageType, section: &Section) {
        let mut address = section.address;
        for _ in 0..section.pages {
            self.add(kind, address, [0; DIGEST]);
            address = address.wrapping_add(PAGE_STEP);
        }
    }

    pub(super) fn add_vmsa(&mut self, page: &[u8; PAGE]) {
        self.add(PageType::Vmsa, VMSA_ADDRESS, Sha384::digest(page).into());
    }

    fn add(&mut self, kind: PageType, address: u64, contents: [u8; DIGEST]) {
        let mut info = Sha384::new();
        info.update(self.0);
        info.update(contents);
        info.update(PAGE_INFO.to_le_bytes());
        // No page is of a migration agent's image, and VMPL 1 to 3 have no permissions.
        info.update([kind as u8, 0, 0, 0, 0, 0]);
        info.update(address.to_le_bytes());
        self.0 = info.finalize().into();
    }
}
