//! The launch measurement that an SEV-SNP guest will report, computed from what it is launched with: firmware, kernel,
//! initial RAM disk, command line, number and type of its virtual processors.
//!
//! The secure processor chains a digest over every page that the hypervisor puts into the guest before it starts: AMD,
//! *SEV Secure Nested Paging Firmware ABI Specification* (56860), §8.17. Which pages these are, and in what order, is
//! for the hypervisor: here QEMU's, Amazon EC2's and Google Compute Engine's.

mod digest;
mod hashes;
mod metadata;
mod vmsa;

use std::fmt;
use std::str::FromStr;

use crate::launch::LaunchError;
use crate::launch::ovmf::Firmware;
use digest::{LaunchDigest, PageType};
use hashes::HashesPage;
pub use metadata::MAX_SECTIONS;
use metadata::{Metadata, Section, SectionKind};
pub use vmsa::VcpuSignature;

/// Most virtual processors of a guest (Linux, `KVM_MAX_VCPUS` on x86).
pub const MAX_VCPUS: u32 = 4096;
/// SEV_FEATURES of a guest without further features: bit 0, SNPActive (AMD APM, volume 2, table B-4).
pub const SNP_ACTIVE: u64 = 1;

/// What a guest is launched with.
#[derive(Clone, Debug)]
pub struct Guest<'a> {
    /// The firmware: an OVMF image that knows SEV-SNP.
    pub firmware: &'a [u8],
    /// What the firmware is to boot directly, and then measured with it. Without it, what the firmware boots from disk
    /// is not in the measurement.
    pub kernel: Option<DirectBoot<'a>>,
    /// Virtual processors, 1 to [`MAX_VCPUS`].
    pub vcpus: u32,
    /// Their type: what CPUID tells of family, model and stepping. Only QEMU's guests are measured with it.
    pub vcpu: VcpuSignature,
    /// Who launches it.
    pub hypervisor: Hypervisor,
    /// SEV_FEATURES of each virtual processor: [`SNP_ACTIVE`] and more.
    pub features: u64,
}

/// What a hypervisor hands to the firmware to boot.
#[derive(Clone, Copy, Debug)]
pub struct DirectBoot<'a> {
    /// The kernel's file.
    pub kernel: &'a [u8],
    /// The initial RAM disk, empty if there is none.
    pub initrd: &'a [u8],
    /// The kernel's command line.
    pub cmdline: &'a str,
}

/// A hypervisor, by what it starts processors with and in what order it adds pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hypervisor {
    /// QEMU with KVM.
    Qemu,
    /// Amazon EC2.
    Ec2,
    /// Google Compute Engine.
    Gce,
}

impl Hypervisor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Qemu, Self::Ec2, Self::Gce];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Ec2 => "ec2",
            Self::Gce => "gce",
        }
    }
}

impl fmt::Display for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Hypervisor {
    type Err = LaunchError;

    fn from_str(name: &str) -> Result<Self, LaunchError> {
        let known = Self::ALL
            .into_iter()
            .find(|each| each.as_str().eq_ignore_ascii_case(name));
        known.ok_or_else(|| LaunchError::Configuration {
            what: format!("unknown hypervisor `{name}`: expected one of qemu, ec2, gce"),
        })
    }
}

impl Guest<'_> {
    /// The guest's launch measurement: `measurement` of its evidence.
    ///
    /// # Errors
    /// What is wrong with the firmware image, and where; [`LaunchError::Unsupported`] if it does not take what it is to
    /// be launched with; [`LaunchError::Configuration`] for a number of processors that no guest has.
    pub fn measurement(&self) -> Result<[u8; 48], LaunchError> {
        if self.vcpus == 0 || self.vcpus > MAX_VCPUS {
            return Err(LaunchError::Configuration {
                what: format!("{} virtual processors: a guest has 1 to {MAX_VCPUS}", self.vcpus),
            });
        }
        let firmware = Firmware::parse(self.firmware)?;
        let metadata = Metadata::read(&firmware)?;
        let kernel = self
            .kernel
            .map(|boot| HashesPage::new(&metadata, &boot))
            .transpose()?;
        let mut digest = LaunchDigest::new();
        digest.add_contents(PageType::Normal, firmware.start(), firmware.bytes.all());
        // EC2 adds the CPUID pages after all others.
        let (late, first): (Vec<&Section>, Vec<&Section>) = metadata
            .sections
            .iter()
            .partition(|section| self.hypervisor == Hypervisor::Ec2 && section.kind == SectionKind::Cpuid);
        for section in first.into_iter().chain(late) {
            self.add_section(&mut digest, section, kernel.as_ref());
        }
        self.add_processors(&mut digest, &metadata)?;
        Ok(digest.value())
    }

    fn add_section(&self, digest: &mut LaunchDigest, section: &Section, kernel: Option<&HashesPage>) {
        match (section.kind, kernel) {
            (SectionKind::Memory, _) if self.hypervisor == Hypervisor::Gce => {
                digest.add_empty(PageType::Unmeasured, section);
            }
            (SectionKind::Memory | SectionKind::SvsmCaa, _) => digest.add_empty(PageType::Zero, section),
            (SectionKind::Secrets, _) => digest.add_empty(PageType::Secrets, section),
            (SectionKind::Cpuid, _) => digest.add_empty(PageType::Cpuid, section),
            (SectionKind::KernelHashes, Some(page)) => {
                digest.add_contents(PageType::Normal, section.address, page.bytes());
            }
            (SectionKind::KernelHashes, None) => digest.add_empty(PageType::Zero, section),
        }
    }

    /// Every processor's initial state, in a VMSA page each: the first starts at the reset vector, the others where the
    /// firmware says.
    fn add_processors(&self, digest: &mut LaunchDigest, metadata: &Metadata) -> Result<(), LaunchError> {
        let state = |eip| vmsa::page(eip, self.hypervisor, self.vcpu, self.features);
        digest.add_vmsa(&state(vmsa::RESET_VECTOR));
        if self.vcpus > 1 {
            let page = state(metadata.reset_address()?);
            for _ in 1..self.vcpus {
                digest.add_vmsa(&page);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
