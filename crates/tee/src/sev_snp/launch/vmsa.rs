//! The initial state of a virtual processor: a VMSA page. Offsets: AMD, *Architecture Programmer's Manual*, volume 2
//! (24593), appendix B, table B-4 "VMSA Layout, State Save Area for SEV-ES". Values are those after reset (ibid.,
//! §14.1.3), with what each hypervisor makes different.

use std::fmt;
use std::str::FromStr;

use super::Hypervisor;
use crate::launch::LaunchError;
use crate::launch::ovmf::PAGE;

/// Where the first processor starts.
pub(super) const RESET_VECTOR: u32 = 0xffff_fff0;

/// Family, model and stepping of a processor, as CPUID Fn0000_0001_EAX has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuSignature(pub u32);

/// Names by which QEMU knows processors of AMD (`target/i386/cpu.c`, `builtin_x86_defs`), with family, model and
/// stepping.
const TYPES: [(&str, [u32; 3]); 16] = [
    ("EPYC", NAPLES),
    ("EPYC-v1", NAPLES),
    ("EPYC-v2", NAPLES),
    ("EPYC-IBPB", NAPLES),
    ("EPYC-v3", NAPLES),
    ("EPYC-v4", NAPLES),
    ("EPYC-Rome", ROME),
    ("EPYC-Rome-v1", ROME),
    ("EPYC-Rome-v2", ROME),
    ("EPYC-Rome-v3", ROME),
    ("EPYC-Milan", MILAN),
    ("EPYC-Milan-v1", MILAN),
    ("EPYC-Milan-v2", MILAN),
    ("EPYC-Genoa", GENOA),
    ("EPYC-Genoa-v1", GENOA),
    ("EPYC-Turin", TURIN),
];
const NAPLES: [u32; 3] = [23, 1, 2];
const ROME: [u32; 3] = [23, 49, 0];
const MILAN: [u32; 3] = [25, 1, 1];
const GENOA: [u32; 3] = [25, 17, 0];
const TURIN: [u32; 3] = [26, 0, 0];

impl VcpuSignature {
    /// Of family, model and stepping, as AMD numbers them (AMD, *CPUID Specification* 25481, Fn0000_0001_EAX).
    pub const fn of(family: u32, model: u32, stepping: u32) -> Self {
        // What does not fit into four bits of base family is the extended one.
        let base = if family > 0xf { 0xf } else { family };
        let extended = family.saturating_sub(base) & 0xff;
        Self(
            (extended << 20)
                | (((model >> 4) & 0xf) << 16)
                | (base << 8)
                | ((model & 0xf) << 4)
                | (stepping & 0xf),
        )
    }

    /// The names that are known.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TYPES.into_iter().map(|(name, _)| name)
    }
}

impl fmt::Display for VcpuSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for VcpuSignature {
    type Err = LaunchError;

    /// A name of QEMU's, such as `EPYC-Milan`, or the number itself, such as `0xa00f11`.
    fn from_str(text: &str) -> Result<Self, LaunchError> {
        let named = TYPES.into_iter().find(|(name, _)| *name == text);
        let number = text
            .strip_prefix("0x")
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match (named, number) {
            (Some((_, [family, model, stepping])), _) => Ok(Self::of(family, model, stepping)),
            (None, Some(number)) => Ok(Self(number)),
            (None, None) => Err(LaunchError::Configuration {
                what: format!(
                    "unknown type of virtual processor `{text}`: expected a signature such as 0xa00f11, or one of {}",
                    Self::names().collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }
}

/// What hypervisors start processors with, where they differ.
struct Reset {
    cs_attributes: u16,
    ss_attributes: u16,
    tr_attributes: u16,
    pat: u64,
    rdx: u64,
    mxcsr: u32,
    x87_control: u16,
}

impl Reset {
    fn of(hypervisor: Hypervisor, eip: u32, vcpu: VcpuSignature) -> Self {
        // PAT after reset (APM, volume 2, §7.8).
        const PAT: u64 = 0x0007_0406_0007_0406;
        // RDX of a processor of family 6, which these hypervisors state whatever the processor.
        const FAMILY_6: u64 = 0x600;
        match hypervisor {
            Hypervisor::Qemu => Self {
                cs_attributes: 0x9b,
                ss_attributes: 0x93,
                tr_attributes: 0x8b,
                pat: PAT,
                rdx: u64::from(vcpu.0),
                mxcsr: 0x1f80,
                x87_control: 0x37f,
            },
            Hypervisor::Ec2 => Self {
                cs_attributes: if eip == RESET_VECTOR { 0x9a } else { 0x9b },
                ss_attributes: 0x92,
                tr_attributes: 0x83,
                pat: PAT,
                rdx: FAMILY_6,
                mxcsr: 0,
                x87_control: 0,
            },
            Hypervisor::Gce => Self {
                cs_attributes: 0x9b,
                ss_attributes: 0x93,
                tr_attributes: 0x8b,
                pat: 0x0007_0106,
                rdx: FAMILY_6,
                mxcsr: 0,
                x87_control: 0,
            },
        }
    }
}

/// The page of a processor that starts at `eip`.
pub(super) fn page(eip: u32, hypervisor: Hypervisor, vcpu: VcpuSignature, features: u64) -> [u8; PAGE] {
    const ES: usize = 0x00;
    const CS: usize = 0x10;
    const SS: usize = 0x20;
    const DS: usize = 0x30;
    const FS: usize = 0x40;
    const GS: usize = 0x50;
    const GDTR: usize = 0x60;
    const LDTR: usize = 0x70;
    const IDTR: usize = 0x80;
    const TR: usize = 0x90;
    let reset = Reset::of(hypervisor, eip, vcpu);
    let mut page = Page([0; PAGE]);
    for data in [ES, DS, FS, GS] {
        page.segment(data, 0, 0x93, 0);
    }
    page.segment(CS, 0xf000, reset.cs_attributes, u64::from(eip & 0xffff_0000));
    page.segment(SS, 0, reset.ss_attributes, 0);
    for table in [GDTR, IDTR] {
        page.segment(table, 0, 0, 0);
    }
    page.segment(LDTR, 0, 0x82, 0);
    page.segment(TR, 0, reset.tr_attributes, 0);
    // KVM sets EFER.SVME and CR4.MCE.
    for (register, value) in [
        (0xd0, 0x1000),                   // EFER
        (0x148, 0x40),                    // CR4
        (0x158, 0x10),                    // CR0
        (0x160, 0x400),                   // DR7
        (0x168, 0xffff_0ff0),             // DR6
        (0x170, 0x2),                     // RFLAGS
        (0x178, u64::from(eip & 0xffff)), // RIP
        (0x268, reset.pat),               // G_PAT
        (0x310, reset.rdx),               // RDX
        (0x3b0, features),                // SEV_FEATURES
        (0x3e8, 0x1),                     // XCR0
    ] {
        page.put(register, value.to_le_bytes());
    }
    page.put(0x408, reset.mxcsr.to_le_bytes());
    page.put(0x410, reset.x87_control.to_le_bytes());
    page.0
}

struct Page([u8; PAGE]);

impl Page {
    /// Selector, attributes, limit (always 64 KiB) and base.
    fn segment(&mut self, offset: usize, selector: u16, attributes: u16, base: u64) {
        self.put(offset, selector.to_le_bytes());
        self.put(offset.saturating_add(2), attributes.to_le_bytes());
        self.put(offset.saturating_add(4), 0xffff_u32.to_le_bytes());
        self.put(offset.saturating_add(8), base.to_le_bytes());
    }

    /// All offsets are constants within the page.
    fn put<const N: usize>(&mut self, offset: usize, value: [u8; N]) {
        let place = self.0.get_mut(offset..).and_then(<[u8]>::first_chunk_mut::<N>);
        if let Some(place) = place {
            *place = value;
        }
    }
}
