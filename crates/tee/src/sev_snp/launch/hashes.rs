//! The page by which a hypervisor tells the firmware what it may boot: hashes of kernel, initial RAM disk and command
//! line. QEMU, `target/i386/sev.c` (`PaddedSevHashTable`) builds it; EDK II, `OvmfPkg/AmdSev/BlobVerifierLibSevHashes`
//! holds what it boots against it.

use sha2::{Digest as _, Sha256};

use super::DirectBoot;
use super::metadata::Metadata;
use crate::launch::LaunchError;
use crate::launch::ovmf::{PAGE, guid};

const TABLE: [u8; 16] = guid(0x9438_d606_4f22_4cc9_b479_a793_d411_fd21);
const KERNEL: [u8; 16] = guid(0x4de7_9437_abd2_427f_b835_d5b1_72d2_045b);
const INITRD: [u8; 16] = guid(0x44ba_f731_3a2f_4bd7_9af1_41e2_9169_781d);
const CMDLINE: [u8; 16] = guid(0x97d0_2dd8_bd20_4c94_aa78_e771_4d36_ab2a);

/// GUID, length and SHA-256.
const ENTRY: u16 = 16 + 2 + 32;
/// GUID, length and three entries.
const LENGTH: u16 = 16 + 2 + 3 * ENTRY;
/// The same, padded to 16 bytes.
const PADDED: usize = 176;

/// The page as the guest finds it.
pub(super) struct HashesPage(Vec<u8>);

impl HashesPage {
    pub(super) fn new(metadata: &Metadata, boot: &DirectBoot<'_>) -> Result<Self, LaunchError> {
        let offset = metadata.hashes_table(PADDED)?;
        if boot.cmdline.contains('\0') {
            return Err(LaunchError::Configuration {
                what: "the kernel's command line has a NUL, where it would end".to_owned(),
            });
        }
        let cmdline = [boot.cmdline.as_bytes(), b"\0"].concat();
        let entries = [
            (CMDLINE, cmdline.as_slice()),
            (INITRD, boot.initrd),
            (KERNEL, boot.kernel),
        ];
        let mut page = vec![0; offset];
        page.extend_from_slice(&TABLE);
        page.extend_from_slice(&LENGTH.to_le_bytes());
        for (name, contents) in entries {
            page.extend_from_slice(&name);
            page.extend_from_slice(&ENTRY.to_le_bytes());
            page.extend_from_slice(&Sha256::digest(contents));
        }
        page.resize(PAGE, 0);
        Ok(Self(page))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
