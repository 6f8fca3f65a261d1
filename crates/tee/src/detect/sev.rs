//! AMD SEV-SNP: whether this machine is an SNP guest, and how it gets a report.

use nautilus_core::TeeKind;

use super::cpu::{Architecture, Vendor};
use super::machine::Machine;
use super::tsm::Tsm;
use super::{Check, Missing, Outcome, Status, TeeReport};

/// Usable: a guest, with `/dev/sev-guest` or configfs-tsm.
pub(super) fn probe(machine: &Machine<'_>) -> TeeReport {
    let sev = Sev::look(machine);
    let guest = sev.is_guest(machine);
    let usable = guest && (sev.device.is_found() || sev.tsm.is_usable());
    let status = if usable {
        Status::Usable
    } else if guest || sev.is_host(machine) {
        Status::Present
    } else {
        Status::Absent
    };
    let mut missing = Vec::new();
    if !guest {
        missing.push(sev.missing_guest(machine));
    } else if !usable {
        missing.extend(Missing::from_check(
            &sev.device,
            "modprobe sev-guest; needs Linux 5.19 or later with CONFIG_SEV_GUEST",
            "run as root: udev gives /dev/sev-guest to root alone",
        ));
        if sev.tsm.report.outcome != Outcome::Absent {
            missing.extend(sev.tsm.missing("sev-guest"));
        }
    }
    let mut notes = Vec::new();
    if guest && (sev.host_device.is_seen() || sev.host_kvm.is_found()) {
        notes.push(
            "the host's interfaces are there too: evidence is of this guest, not of what it hosts".to_owned(),
        );
    }
    let Sev {
        snp,
        es,
        sev,
        vmpl,
        device,
        tsm,
        host_device,
        host_kvm,
    } = sev;
    let checks = vec![
        snp,
        es,
        sev,
        vmpl,
        device,
        tsm.mounted,
        tsm.report,
        host_device,
        host_kvm,
    ];
    TeeReport {
        kind: TeeKind::Sev,
        status,
        checks,
        missing,
        notes,
    }
}

struct Sev {
    snp: Check,
    es: Check,
    sev: Check,
    vmpl: Check,
    device: Check,
    tsm: Tsm,
    host_device: Check,
    host_kvm: Check,
}

impl Sev {
    fn look(machine: &Machine<'_>) -> Self {
        let (host_kvm, value) = machine.text(
            "KVM here runs SNP guests (host)",
            "/sys/module/kvm_amd/parameters/sev_snp",
        );
        let host_kvm = match value.as_deref() {
            None | Some("Y" | "1") => host_kvm,
            Some("N" | "0") => host_kvm.judged(Outcome::Absent, "says no: KVM runs no SNP guests here"),
            Some(_) => {
                let detail = format!("{}, neither `Y` nor `N`", host_kvm.detail);
                host_kvm.judged(Outcome::Unreadable, detail)
            }
        };
        Self {
            snp: machine.flag(
                "the CPU has SEV-SNP (kernels show it on the host, rarely in a guest)",
                "sev_snp",
            ),
            es: machine.flag("the CPU has SEV-ES, which attests nothing at run time", "sev_es"),
            sev: machine.flag("the CPU has SEV, which attests nothing at run time", "sev"),
            vmpl: privilege_level(machine),
            device: machine.device("the kernel gives SNP reports", "/dev/sev-guest"),
            tsm: Tsm::look(machine),
            host_device: machine.device(
                "the secure processor is managed here (host, not a guest)",
                "/dev/sev",
            ),
            host_kvm,
        }
    }

    /// The flag alone is a guest's only in a virtual machine: on bare metal it is the host's capability.
    fn is_guest(&self, machine: &Machine<'_>) -> bool {
        self.vmpl.is_seen()
            || self.device.is_seen()
            || (self.snp.is_found() && machine.cpu.in_virtual_machine() && !self.host_device.is_seen())
    }

    fn is_host(&self, machine: &Machine<'_>) -> bool {
        self.host_device.is_seen()
            || self.host_kvm.is_found()
            || (self.snp.is_found() && !machine.cpu.in_virtual_machine())
    }

    fn missing_guest(&self, machine: &Machine<'_>) -> Missing {
        let what = "an SEV-SNP guest around this node";
        let cpu = &machine.cpu;
        if self.host_kvm.is_found() {
            return Missing::new(
                what,
                "run the node inside an SNP guest: this machine is an SNP host, not a guest",
            );
        }
        if self.is_host(machine) {
            return Missing::new(
                what,
                "run the node inside an SNP guest; this machine can host one once SNP is on: SNP and its reverse map \
                 table enabled in the firmware set-up, Linux 6.11 or later, kvm_amd.sev_snp=1",
            );
        }
        if cpu.is_other_than(Architecture::X86)
            || (cpu.architecture == Architecture::X86 && cpu.vendor != Vendor::Amd)
        {
            let how = format!(
                "SEV-SNP is on AMD EPYC only, and this is {}: rent or start an SNP virtual machine elsewhere",
                cpu.name()
            );
            return Missing::new(what, how);
        }
        if cpu.in_virtual_machine() {
            return Missing::new(
                what,
                "this is an ordinary virtual machine: start it as an SNP guest (SEV and SEV-ES are not enough: they \
                 give no report at run time)",
            );
        }
        Missing::new(
            what,
            "run the node inside an SNP guest; to host one here: an EPYC 7003 or later, SNP enabled in the firmware \
             set-up, Linux 6.11 or later",
        )
    }
}

/// "This directory is only present when running as an SEV-SNP guest":
/// Documentation/ABI/testing/sysfs-devices-system-cpu, Linux 6.11. There are levels 0 to 3.
fn privilege_level(machine: &Machine<'_>) -> Check {
    let (check, level) = machine.text("this machine is an SNP guest", "/sys/devices/system/cpu/sev/vmpl");
    match level.as_deref() {
        None | Some("0" | "1" | "2" | "3") => check,
        Some(_) => {
            let detail = format!("{}, not a privilege level", check.detail);
            check.judged(Outcome::Unreadable, detail)
        }
    }
}
