//! Whether a policy pins the program that it accepts. One that names no code would accept any program in genuine
//! hardware.

use super::in_force::InForce;
use crate::{Claims, Expect, Finding, TeeKind};

/// Registers that together measure a program: whoever pins them all pins the code.
struct Program {
    tees: &'static [TeeKind],
    registers: &'static [&'static str],
    /// Where the register names a signer, who signs many products and old versions of each: product and version
    /// must be pinned too.
    by_signer: bool,
}

const fn program(tees: &'static [TeeKind], registers: &'static [&'static str]) -> Program {
    Program {
        tees,
        registers,
        by_signer: false,
    }
}

/// The ways to pin the code of each TEE. Other registers (`mrseam`, `mrconfigid`, `rtmr0`, `ta_header` …) say what
/// the code runs on or is given, or are code only on top of these.
const PROGRAMS: &[Program] = &[
    program(&[TeeKind::Sgx, TeeKind::Simulated], &["mrenclave"]),
    Program {
        tees: &[TeeKind::Sgx, TeeKind::Simulated],
        registers: &["mrsigner"],
        by_signer: true,
    },
    program(&[TeeKind::Tdx], &["mrtd"]),
    program(&[TeeKind::Sev], &["measurement"]),
    // The whole image, or its kernel with its application (AWS Nitro Enclaves User Guide, "Where to get an
    // enclave's measurements"). PCR 8 names only who signed the image.
    program(&[TeeKind::Nitro], &["pcr0"]),
    program(&[TeeKind::Nitro], &["pcr1", "pcr2"]),
    // An enclave is worth what the security monitor under it is worth.
    program(&[TeeKind::Keystone], &["enclave_hash", "sm_hash"]),
    program(&[TeeKind::TrustZone], &["optee_ta_memory"]),
    program(&[TeeKind::TrustZone], &["optee_tee_memory"]),
    // Arm CCA: the realm's initial measurement.
    program(&[TeeKind::TrustZone], &["rim"]),
    // PSA: the software components of the token.
    program(&[TeeKind::TrustZone], &[SOFTWARE]),
    // What the firmware started (TCG PC Client Platform Firmware Profile §3.3.4). PCR 0 is the firmware alone, and
    // PCRs from 8 on are extended by what was started: whoever starts something else gives them any value.
    program(&[TeeKind::Tpm], &["pcr4"]),
];

/// Any software component of a PSA token.
const SOFTWARE: &str = "sw_*";
const SOFTWARE_PREFIX: &str = "sw_";

/// Whether the policy pins the code of this evidence.
pub(super) fn finding(rules: &InForce<'_>, claims: &Claims) -> Finding {
    let pinned = pinned(rules, claims.tee);
    if pinned.is_empty() {
        return Finding::new("code", false, nothing_pinned(claims.tee));
    }
    // A component that nobody listed is code that nobody asked for.
    if pinned.iter().all(|by| by.starts_with(SOFTWARE_PREFIX)) {
        let unlisted: Vec<_> = claims
            .measurements
            .keys()
            .filter(|name| name.starts_with(SOFTWARE_PREFIX))
            .filter(|name| !rules.measurements.iter().any(|rule| rule.name == name.as_str()))
            .map(String::as_str)
            .collect();
        if !unlisted.is_empty() {
            let unlisted = unlisted.join(", ");
            let detail =
                format!("the policy does not name the software components {unlisted} of the evidence");
            return Finding::new("code", false, detail);
        }
    }
    Finding::new("code", true, format!("pinned by {}", pinned.join(", ")))
}

/// What pins the code of `tee`, in the words of the policy; nothing if nothing does.
pub(super) fn pinned(rules: &InForce<'_>, tee: TeeKind) -> Vec<String> {
    let mut pinned = Vec::new();
    for program in programs(tee) {
        if program.registers == [SOFTWARE] {
            let components = rules.measurements.iter().filter(|rule| {
                rule.name.starts_with(SOFTWARE_PREFIX) && matches!(rule.wanted, Expect::OneOf(_))
            });
            pinned.extend(components.map(|rule| rule.name.to_owned()));
        } else if program.registers.iter().all(|name| is_pinned(rules, name))
            && (!program.by_signer || pins_a_release(rules))
        {
            pinned.push(program.described());
        }
    }
    pinned
}

/// Why nothing passes, and what would pin the code.
pub(super) fn nothing_pinned(tee: TeeKind) -> String {
    let ways: Vec<_> = programs(tee)
        .map(|program| {
            let registers = program.registers.iter().map(|name| format!("`{name}`"));
            let registers = registers.collect::<Vec<_>>().join(" with ");
            if program.by_signer {
                format!("{registers} with the attributes `isvprodid` (one_of) and `isvsvn` (at_least)")
            } else {
                registers
            }
        })
        .collect();
    format!(
        "the policy pins no code of `{tee}`, so any program would pass: pin {}",
        ways.join(", or ")
    )
}

fn programs(tee: TeeKind) -> impl Iterator<Item = &'static Program> {
    PROGRAMS.iter().filter(move |program| program.tees.contains(&tee))
}

fn is_pinned(rules: &InForce<'_>, register: &str) -> bool {
    let measured = rules
        .measurements
        .iter()
        .any(|rule| rule.name == register && matches!(rule.wanted, Expect::OneOf(_)));
    measured || rules.pcr_policy.iter().any(|rule| rule.name == register)
}

fn pins_a_release(rules: &InForce<'_>) -> bool {
    let attribute = |name: &str| {
        let rule = rules.attributes.iter().find(|rule| rule.name == name);
        rule.map(|rule| rule.wanted)
    };
    matches!(attribute("isvprodid"), Some(Expect::OneOf(_)))
        && matches!(attribute("isvsvn"), Some(Expect::AtLeast(_) | Expect::OneOf(_)))
}

impl Program {
    fn described(&self) -> String {
        let registers = self.registers.join(" with ");
        if self.by_signer {
            format!("{registers} with isvprodid and isvsvn")
        } else {
            registers
        }
    }
}
