//! Families of AMD processors that run SNP guests. A family has its own root, its own layout of a TCB version
//! and its own length of a chip's name.

use std::fmt;

/// A family of processors, by AMD's name for it in certificates and in the paths of its key distribution
/// service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004: Genoa, Bergamo and Siena share their root.
    Genoa,
    /// EPYC 9005.
    Turin,
}

/// Family, model and stepping as CPUID function 1 gives them, extended parts added in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuId {
    /// Family.
    pub family: u8,
    /// Model.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

/// `TCB_VERSION`, as it stands in a report. What its bytes mean depends on the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcbVersion(pub [u8; 8]);

/// One security version within a TCB version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// What it is called in attributes and messages.
    pub name: &'static str,
    /// Which byte of `TCB_VERSION` it is.
    pub byte: usize,
    /// The parameter of AMD's key distribution service.
    pub parameter: &'static str,
    /// The last arc of the certificate extension 1.3.6.1.4.1.3704.1.3.
    pub arc: u8,
}

const fn part(name: &'static str, byte: usize, parameter: &'static str, arc: u8) -> Part {
    Part {
        name,
        byte,
        parameter,
        arc,
    }
}

/// AMD 56860, table "TCB_VERSION", for families 19h; the extensions and parameters: AMD 57230.
const MILAN_GENOA: [Part; 4] = [
    part("bootloader", 0, "blSPL", 1),
    part("tee", 1, "teeSPL", 2),
    part("snp", 6, "snpSPL", 3),
    part("microcode", 7, "ucodeSPL", 8),
];
/// The same for family 1Ah.
const TURIN: [Part; 5] = [
    part("fmc", 0, "fmcSPL", 9),
    part("bootloader", 1, "blSPL", 1),
    part("tee", 2, "teeSPL", 2),
    part("snp", 3, "snpSPL", 3),
    part("microcode", 7, "ucodeSPL", 8),
];

impl Product {
    /// Every product.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// AMD's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// The product that a processor belongs to (AMD 57230, "Product Names").
    pub const fn of_cpu(cpu: CpuId) -> Option<Self> {
        match (cpu.family, cpu.model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x1f) => Some(Self::Turin),
            _ => None,
        }
    }

    /// How many bytes of `CHIP_ID` name the chip; the rest is zero.
    pub const fn hwid_len(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }

    pub(crate) const fn parts(self) -> &'static [Part] {
        match self {
            Self::Milan | Self::Genoa => &MILAN_GENOA,
            Self::Turin => &TURIN,
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TcbVersion {
    /// Each security version by name, in the order of the product's bytes.
    pub fn named(self, product: Product) -> impl Iterator<Item = (&'static str, u8)> {
        product.parts().iter().map(move |part| (part.name, self.of(part)))
    }

    pub(crate) fn of(self, part: &Part) -> u8 {
        self.0.get(part.byte).copied().unwrap_or_default()
    }

    /// The first byte that the product reserves and that is not zero.
    #[cfg(feature = "verify")]
    pub(crate) fn reserved(self, product: Product) -> Option<usize> {
        let reserved = |byte: &usize| product.parts().iter().all(|part| part.byte != *byte);
        (0..self.0.len())
            .filter(reserved)
            .find(|byte| self.0.get(*byte).is_some_and(|value| *value != 0))
    }
}

impl fmt::Display for TcbVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
