//! ARM TrustZone: an OP-TEE in the secure world, reached through the kernel's TEE driver.

use nautilus_core::TeeKind;

use super::cpu::Architecture;
use super::machine::Machine;
use super::{Missing, Outcome, Status, TeeReport};

/// Usable: OP-TEE is known to be the TEE behind `/dev/tee0`, and it can be opened.
pub(super) fn probe(machine: &Machine<'_>) -> TeeReport {
    let arm = machine
        .cpu
        .family("the CPU is ARM", "CPU implementer", Architecture::Arm);
    let tree = machine.exists(
        "the device tree names OP-TEE",
        "/sys/firmware/devicetree/base/firmware/optee",
    );
    // The driver names the devices it enumerates `optee-ta-<uuid>`: the sign on boards without a node in
    // the device tree, such as those that speak FF-A.
    let bus = machine.entry("OP-TEE lists its services", "/sys/bus/tee/devices", "optee-ta-");
    let class = machine.entry("the kernel has a TEE driver", "/sys/class/tee", "tee");
    let device = machine.device("the TEE can be talked to", "/dev/tee0");
    let supplicant = machine.device("a supplicant can serve the TEE", "/dev/teepriv0");

    let other_cpu = machine.cpu.is_other_than(Architecture::Arm);
    let optee = tree.is_seen() || bus.is_found();
    let usable = !other_cpu && optee && device.is_found();
    let status = if usable {
        Status::Usable
    } else if !other_cpu && (optee || device.is_seen()) {
        Status::Present
    } else {
        Status::Absent
    };

    let mut missing = Vec::new();
    if other_cpu {
        let how = format!(
            "TrustZone is on ARM CPUs only, and this is {}",
            machine.cpu.name()
        );
        missing.push(Missing::new("an ARM CPU", how));
    } else if !usable {
        if !optee {
            missing.push(Missing::new(
                "OP-TEE in the secure world",
                "flash firmware that starts OP-TEE (CFG_ATTESTATION_PTA=y), with its node /firmware/optee in the device \
                 tree, and boot a kernel with CONFIG_TEE and CONFIG_OPTEE; ARM cloud machines do not offer it",
            ));
        }
        if optee || device.outcome == Outcome::Denied {
            missing.extend(Missing::from_check(
                &device,
                "modprobe optee (CONFIG_TEE, CONFIG_OPTEE); see dmesg for why the driver did not find OP-TEE",
                "run as root or join the group that owns it (`teeclnt` with OP-TEE's udev rules)",
            ));
        }
    }

    let mut notes = Vec::new();
    if usable {
        notes.push(
            "whether OP-TEE was built with CFG_ATTESTATION_PTA=y (it is off by default) shows only when evidence is \
             asked for"
                .to_owned(),
        );
        notes.push(
            "tee-supplicant must be running (systemctl enable --now tee-supplicant): without it calls into OP-TEE \
             block"
                .to_owned(),
        );
    }
    if other_cpu && device.is_seen() {
        notes.push("/dev/tee0 here belongs to another TEE, such as AMD's secure processor".to_owned());
    }
    let checks = vec![arm, tree, bus, class, device, supplicant];
    TeeReport {
        kind: TeeKind::TrustZone,
        status,
        checks,
        missing,
        notes,
    }
}
