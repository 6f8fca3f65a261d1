//! TPM 2.0: measured boot.

use nautilus_core::TeeKind;

use super::machine::Machine;
use super::{Check, Missing, Outcome, Status, TeeReport};

/// Usable: a TPM 2.0 whose node can be opened, the resource manager's (`/dev/tpmrm0`) or the bare one.
pub(super) fn probe(machine: &Machine<'_>) -> TeeReport {
    let managed = machine.device("a TPM 2.0 can be shared with other programs", "/dev/tpmrm0");
    let bare = machine.device("a TPM can be opened by one program at a time", "/dev/tpm0");
    let (version_check, version) = version(machine);
    let table = machine.exists(
        "the firmware describes a TPM 2.0",
        "/sys/firmware/acpi/tables/TPM2",
    );
    let event_log = machine.exists(
        "the boot's event log can explain the PCRs",
        "/sys/kernel/security/tpm0/binary_bios_measurements",
    );

    // The kernel makes /dev/tpmrm0 for TPM 2.0 only; before Linux 5.6 it is the only sign of the version.
    let is_two = match version {
        Version::Two => true,
        Version::One => false,
        Version::Unknown => managed.is_seen(),
    };
    let usable = is_two && (managed.is_found() || bare.is_found());
    let seen = managed.is_seen() || bare.is_seen() || version != Version::Unknown || table.is_seen();
    let status = match (usable, seen) {
        (true, _) => Status::Usable,
        (false, true) => Status::Present,
        (false, false) => Status::Absent,
    };

    let mut missing = Vec::new();
    if !usable {
        missing.push(missing_part(machine, &managed, &bare, &table, version));
    }
    let mut notes = Vec::new();
    if usable && machine.cpu.in_virtual_machine() {
        notes.push(
            "this is a virtual machine: its TPM is the hypervisor's software, and so the root of trust is the hypervisor"
                .to_owned(),
        );
    }
    if usable && !managed.is_found() {
        notes.push(
            "only /dev/tpm0 can be opened: another program that holds it locks Nautilus out".to_owned(),
        );
    }
    if usable && !event_log.is_seen() {
        notes.push(
            "there is no boot event log (is securityfs mounted?): PCRs can be compared, but not explained"
                .to_owned(),
        );
    }
    TeeReport {
        kind: TeeKind::Tpm,
        status,
        checks: vec![managed, bare, version_check, table, event_log],
        missing,
        notes,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
    Unknown,
}

fn version(machine: &Machine<'_>) -> (Check, Version) {
    let (check, value) = machine.text("the TPM's version is 2", "/sys/class/tpm/tpm0/tpm_version_major");
    match value.as_deref() {
        Some("2") => (check, Version::Two),
        Some("1") => (check.judged(Outcome::Found, "says `1`: a TPM 1.2"), Version::One),
        Some(_) => {
            let detail = format!("{}, not a version", check.detail);
            (check.judged(Outcome::Unreadable, detail), Version::Unknown)
        }
        None => (check, Version::Unknown),
    }
}

fn missing_part(
    machine: &Machine<'_>,
    managed: &Check,
    bare: &Check,
    table: &Check,
    version: Version,
) -> Missing {
    if version == Version::One {
        return Missing::new(
            "a TPM of version 2.0",
            "this is a TPM 1.2, which Nautilus does not use: switch to the firmware's TPM 2.0 (Intel PTT, AMD fTPM) or \
             upgrade the TPM",
        );
    }
    let driver = "modprobe tpm_crb or tpm_tis (for one behind a bus: tpm_tis_spi, tpm_tis_i2c)";
    let denied = "run as root or join group `tss`";
    let seen = [managed, bare]
        .into_iter()
        .find(|check| check.outcome != Outcome::Absent);
    match seen.and_then(|check| Missing::from_check(check, driver, denied)) {
        Some(missing) => missing,
        None if bare.is_found() => Missing::new(
            "a TPM known to be 2.0",
            "boot Linux 5.6 or later, which tells the version, with CONFIG_TCG_TPM",
        ),
        None if table.is_seen() || version == Version::Two => Missing::new("/dev/tpmrm0", driver),
        None if machine.cpu.in_virtual_machine() => Missing::new(
            "a TPM 2.0",
            "attach a virtual TPM 2.0 to this virtual machine (QEMU: swtpm with -device tpm-crb; clouds call it vTPM, \
             NitroTPM or Trusted Launch)",
        ),
        None => Missing::new(
            "a TPM 2.0",
            format!(
                "enable the TPM in the firmware set-up (Intel PTT, AMD fTPM or a TPM chip), then {driver}"
            ),
        ),
    }
}
