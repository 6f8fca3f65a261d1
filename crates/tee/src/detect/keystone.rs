//! RISC-V Keystone: the driver that talks to the security monitor.

use nautilus_core::TeeKind;

use super::cpu::Architecture;
use super::machine::Machine;
use super::{Missing, Status, TeeReport};

/// Usable: the driver's node can be opened. The driver loads only on RISC-V.
pub(super) fn probe(machine: &Machine<'_>) -> TeeReport {
    let riscv = machine
        .cpu
        .family("the CPU is 64-bit RISC-V", "isa", Architecture::RiscV64);
    let device = machine.device("enclaves can be created", "/dev/keystone_enclave");

    let other_cpu = machine.cpu.is_other_than(Architecture::RiscV64);
    let usable = !other_cpu && device.is_found();
    let status = if usable {
        Status::Usable
    } else if !other_cpu && device.is_seen() {
        Status::Present
    } else {
        Status::Absent
    };

    let mut missing = Vec::new();
    if other_cpu {
        let how = format!(
            "Keystone runs on 64-bit RISC-V only, and this is {}",
            machine.cpu.name()
        );
        missing.push(Missing::new("a 64-bit RISC-V CPU", how));
    } else if !usable {
        missing.extend(Missing::from_check(
            &device,
            "boot with the Keystone security monitor (built into OpenSBI) in machine mode, then load its driver: \
             insmod keystone-driver.ko",
            "run as root: the driver gives its node to root alone",
        ));
    }
    let mut notes = Vec::new();
    if usable {
        notes.push(
            "which security monitor and device key are underneath does not show from Linux: only the evidence tells"
                .to_owned(),
        );
    }
    TeeReport {
        kind: TeeKind::Keystone,
        status,
        checks: vec![riscv, device],
        missing,
        notes,
    }
}
