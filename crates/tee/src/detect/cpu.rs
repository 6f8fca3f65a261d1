//! The first processor of `/proc/cpuinfo`.

use std::collections::BTreeSet;
use std::io;

use super::machine::{classify, shown};
use super::{Check, Outcome};

/// What the kernel says about the first processor. The others are of its kind on every machine that a TEE
/// below runs on.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    pub(super) architecture: Architecture,
    /// `vendor_id` of an x86 CPU.
    pub(super) vendor: Vendor,
    flags: BTreeSet<String>,
    /// What identifies the CPU, for people.
    name: String,
    /// Why `/proc/cpuinfo` told nothing.
    fault: Option<String>,
}

/// A family of instruction sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Architecture {
    X86,
    Arm,
    /// 64-bit RISC-V.
    RiscV64,
    /// `/proc/cpuinfo` does not tell.
    #[default]
    Unknown,
}

/// Who made an x86 CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Vendor {
    Intel,
    Amd,
    #[default]
    Other,
}

impl Cpu {
    /// A processor's block is below 8 KiB on the machines of 2026; only the first is of interest, and the
    /// file of a big machine is megabytes.
    pub(super) const MAX_CPUINFO: u64 = 64 * 1024;

    /// Reads the first processor's block from the start of the file. Nothing in it is trusted.
    pub(super) fn new(cpuinfo: io::Result<Vec<u8>>) -> Self {
        let bytes = match cpuinfo {
            Ok(bytes) => bytes,
            Err(error) => {
                let fault = format!("/proc/cpuinfo {}", classify(&error).1);
                return Self {
                    fault: Some(fault),
                    ..Self::default()
                };
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut cpu = Self::default();
        let mut lines = text.lines().skip_while(|line| line.trim().is_empty());
        for line in lines.by_ref().take_while(|line| !line.trim().is_empty()) {
            if let Some((key, value)) = line.split_once(':') {
                cpu.take(key.trim(), value.trim());
            }
        }
        if cpu.architecture == Architecture::Unknown {
            cpu.fault = Some("/proc/cpuinfo names no CPU that Nautilus knows".to_owned());
        }
        cpu
    }

    /// Whether the flag is there.
    pub(super) fn flag(&self, flag: &str) -> (Outcome, String) {
        match (&self.fault, self.architecture) {
            (Some(fault), _) => (Outcome::Unreadable, fault.clone()),
            (None, Architecture::X86) if self.has(flag) => (Outcome::Found, "set".to_owned()),
            (None, Architecture::X86) => (Outcome::Absent, "not set".to_owned()),
            (None, _) => (Outcome::Absent, format!("{} has no such flag", self.name)),
        }
    }

    /// Whether a hypervisor says so in CPUID. ARM and RISC-V have no such flag: `false` means nothing there.
    pub(super) fn in_virtual_machine(&self) -> bool {
        self.has("hypervisor")
    }

    /// Whether the CPU is certainly of another family than `wanted`.
    pub(super) fn is_other_than(&self, wanted: Architecture) -> bool {
        self.architecture != Architecture::Unknown && self.architecture != wanted
    }

    /// Whether the CPU is of the family, as a finding.
    pub(super) fn family(&self, what: &'static str, line: &str, wanted: Architecture) -> Check {
        let (outcome, detail) = match &self.fault {
            Some(fault) => (Outcome::Unreadable, fault.clone()),
            None if self.architecture == wanted => (Outcome::Found, self.name.clone()),
            None => (Outcome::Absent, format!("this is {}", self.name)),
        };
        Check {
            what,
            source: format!("`{line}` in /proc/cpuinfo"),
            outcome,
            detail,
        }
    }

    /// What identifies the CPU, in words, fit to be shown.
    pub(super) fn name(&self) -> &str {
        if self.name.is_empty() {
            "an unknown CPU"
        } else {
            &self.name
        }
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    fn take(&mut self, key: &str, value: &str) {
        match key {
            "vendor_id" => {
                self.vendor = match value {
                    "GenuineIntel" => Vendor::Intel,
                    "AuthenticAMD" => Vendor::Amd,
                    _ => Vendor::Other,
                };
                self.name = format!("an x86 CPU by {}", shown(value));
            }
            // Other architectures write `features` or `Features`.
            "flags" => {
                self.architecture = Architecture::X86;
                self.flags = value.split_ascii_whitespace().map(str::to_owned).collect();
                if self.name.is_empty() {
                    self.name = "an x86 CPU".to_owned();
                }
            }
            "CPU implementer" => {
                self.architecture = Architecture::Arm;
                self.name = format!("an ARM CPU, implementer {}", shown(value));
            }
            "isa" if value.starts_with("rv64") => {
                self.architecture = Architecture::RiscV64;
                self.name = format!("a RISC-V CPU, isa {}", shown(value));
            }
            "uarch" if self.architecture == Architecture::RiscV64 => {
                self.name = format!("{}, uarch {}", self.name, shown(value));
            }
            _ => {}
        }
    }
}
