//! Intel TDX: whether this machine is a trust domain, and how it gets a quote.

use nautilus_core::TeeKind;

use super::cpu::{Architecture, Vendor};
use super::machine::Machine;
use super::tsm::Tsm;
use super::{Check, Missing, Outcome, Status, TeeReport};

/// Usable: a guest, with configfs-tsm or else `/dev/tdx_guest` and a vsock to the host's quoting service.
pub(super) fn probe(machine: &Machine<'_>) -> TeeReport {
    let flag = machine.flag("this machine is a TDX guest", "tdx_guest");
    let device = machine.device("the kernel gives TD reports", "/dev/tdx_guest");
    let tsm = Tsm::look(machine);
    let vsock = machine.device("the host's quoting service can be reached", "/dev/vsock");
    let registers = machine.exists(
        "the run-time measurement registers can be extended",
        "/sys/devices/virtual/misc/tdx_guest/measurements",
    );
    let event_log = machine.exists(
        "the firmware left its event log",
        "/sys/firmware/acpi/tables/CCEL",
    );
    let host = host_side(machine);

    let guest = flag.is_found() || device.is_seen();
    let by_device = device.is_found() && vsock.is_found();
    let usable = guest && (tsm.is_usable() || by_device);
    let status = if usable {
        Status::Usable
    } else if guest || host.is_found() {
        Status::Present
    } else {
        Status::Absent
    };

    let mut missing = Vec::new();
    if !guest {
        missing.push(missing_guest(machine, &host));
    } else if !usable {
        missing.extend(tsm.missing("tdx_guest"));
        if device.outcome != Outcome::Absent {
            missing.extend(Missing::from_check(
                &device,
                "modprobe tdx_guest; needs Linux 6.2 or later with CONFIG_TDX_GUEST_DRIVER",
                "run as root: udev gives /dev/tdx_guest to root alone",
            ));
        }
    }

    let mut notes = Vec::new();
    if usable && !tsm.is_usable() {
        notes.push(
            "without configfs-tsm the quote comes from the host's quoting service (QGS) on vsock port 4050; \
             whether it answers is not seen from here"
                .to_owned(),
        );
    }
    if usable && !registers.is_found() {
        notes.push("RTMR 3 cannot be extended at run time: that needs Linux 6.16 or later".to_owned());
    }
    if usable && !event_log.is_seen() {
        notes.push("there is no CCEL event log: RTMR 0 to 2 can be compared, but not explained".to_owned());
    }
    let Tsm { mounted, report } = tsm;
    let checks = vec![flag, device, mounted, report, vsock, registers, event_log, host];
    TeeReport {
        kind: TeeKind::Tdx,
        status,
        checks,
        missing,
        notes,
    }
}

/// What only the host of trust domains has.
fn host_side(machine: &Machine<'_>) -> Check {
    let (check, value) = machine.text(
        "this machine is a TDX host (not a guest)",
        "/sys/module/kvm_intel/parameters/tdx",
    );
    match value.as_deref() {
        None | Some("Y") => check,
        Some("N") => check.judged(Outcome::Absent, "says `N`: KVM runs no TDX guests here"),
        Some(_) => {
            let detail = format!("{}, neither `Y` nor `N`", check.detail);
            check.judged(Outcome::Unreadable, detail)
        }
    }
}

fn missing_guest(machine: &Machine<'_>, host: &Check) -> Missing {
    let what = "a TDX guest around this node";
    if host.is_found() {
        return Missing::new(
            what,
            "run the node inside a TDX guest: this machine is a TDX host, not a guest",
        );
    }
    let cpu = &machine.cpu;
    if cpu.is_other_than(Architecture::X86)
        || (cpu.architecture == Architecture::X86 && cpu.vendor != Vendor::Intel)
    {
        let how = format!(
            "TDX is on Intel CPUs only, and this is {}: rent or start a TDX virtual machine elsewhere",
            cpu.name()
        );
        return Missing::new(what, how);
    }
    if cpu.in_virtual_machine() {
        return Missing::new(
            what,
            "this is an ordinary virtual machine: start it as a TDX guest",
        );
    }
    Missing::new(
        what,
        "run the node inside a TDX guest; to host one here: a Xeon with TDX (fifth generation or later, some of the \
         fourth), TDX enabled in the firmware set-up, Linux 6.16 or later with kvm_intel.tdx=1",
    )
}
