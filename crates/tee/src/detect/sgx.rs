//! Intel SGX: the enclave driver, and a way from an enclave's report to a quote.

use nautilus_core::TeeKind;

use super::cpu::{Architecture, Vendor};
use super::machine::{Machine, shown};
use super::{Check, Missing, Outcome, Status, TeeReport};

/// Usable outside an enclave: the driver's nodes and AESM, which Gramine asks for quotes. Usable inside
/// Gramine: its attestation pseudo-files in DCAP mode.
pub(super) fn probe(machine: &Machine<'_>) -> TeeReport {
    let sgx = Sgx::look(machine);
    let usable = if sgx.in_gramine() {
        sgx.gramine_dcap()
    } else {
        sgx.enclave.is_found() && sgx.provision.is_seen() && sgx.aesm.is_found()
    };
    let status = if usable {
        Status::Usable
    } else if sgx.flag.is_found() || sgx.enclave.is_seen() || sgx.in_gramine() {
        Status::Present
    } else {
        Status::Absent
    };
    let missing = if usable { Vec::new() } else { sgx.missing(machine) };
    let mut notes = Vec::new();
    if usable && !sgx.in_gramine() {
        notes.push(
            "the enclave vouches for the code inside it; what the agent reads from the host's /proc is outside"
                .to_owned(),
        );
    }
    let Sgx {
        flag,
        launch_control,
        enclave,
        provision,
        aesm,
        gramine,
        gramine_type: _,
    } = sgx;
    let checks = vec![flag, launch_control, enclave, provision, aesm, gramine];
    TeeReport {
        kind: TeeKind::Sgx,
        status,
        checks,
        missing,
        notes,
    }
}

struct Sgx {
    flag: Check,
    launch_control: Check,
    enclave: Check,
    provision: Check,
    aesm: Check,
    gramine: Check,
    gramine_type: Option<String>,
}

impl Sgx {
    fn look(machine: &Machine<'_>) -> Self {
        let (gramine, gramine_type) = machine.text(
            "this process runs under Gramine",
            "/dev/attestation/attestation_type",
        );
        let gramine = match gramine_type.as_deref() {
            None | Some("dcap" | "none" | "epid") => gramine,
            Some(other) => gramine.judged(
                Outcome::Unreadable,
                format!("says {}, not a type that Gramine has", shown(other)),
            ),
        };
        Self {
            flag: machine.flag("the CPU has SGX and the firmware enables it", "sgx"),
            launch_control: machine.flag("any enclave may be launched (flexible launch control)", "sgx_lc"),
            enclave: machine.device("the kernel creates enclaves", "/dev/sgx_enclave"),
            provision: machine.device("the quoting enclave may be provisioned", "/dev/sgx_provision"),
            aesm: machine.socket(
                "the AESM service turns reports into quotes",
                "/var/run/aesmd/aesm.socket",
            ),
            gramine,
            gramine_type,
        }
    }

    fn in_gramine(&self) -> bool {
        self.gramine.is_found()
    }

    fn gramine_dcap(&self) -> bool {
        self.in_gramine() && self.gramine_type.as_deref() == Some("dcap")
    }

    fn missing(&self, machine: &Machine<'_>) -> Vec<Missing> {
        if self.in_gramine() {
            return vec![Missing::new(
                "DCAP attestation in Gramine",
                "set `sgx.remote_attestation = \"dcap\"` in the manifest and start with gramine-sgx (gramine-direct \
                 has no enclave)",
            )];
        }
        if !self.enclave.is_seen() && !self.flag.is_found() {
            return vec![self.missing_hardware(machine)];
        }
        let mut missing = Vec::new();
        if !self.enclave.is_seen() && !self.launch_control.is_found() {
            missing.push(Missing::new(
                "flexible launch control",
                "set SGX launch control to unlocked in the firmware set-up: Linux runs no enclaves without it",
            ));
        }
        missing.extend(Missing::from_check(
            &self.enclave,
            "boot Linux 5.11 or later with CONFIG_X86_SGX=y; in a container, pass the device: \
             --device /dev/sgx_enclave",
            "run as root or join the group that owns it (`sgx` under systemd)",
        ));
        if !self.provision.is_seen() {
            missing.extend(Missing::from_check(
                &self.provision,
                "boot a kernel with CONFIG_X86_SGX=y; in a virtual machine, let the hypervisor pass the \
                 provisioning key (QEMU: -cpu host,+sgx-provisionkey)",
                "run as root or join group `sgx_prv`",
            ));
        }
        missing.extend(Missing::from_check(
            &self.aesm,
            "install sgx-aesm-service, libsgx-aesm-quote-ex-plugin and libsgx-dcap-ql from Intel's repository, \
             then: systemctl enable --now aesmd; in a container, mount /var/run/aesmd",
            "make the socket writable for this user, or run as root",
        ));
        missing
    }

    fn missing_hardware(&self, machine: &Machine<'_>) -> Missing {
        let cpu = &machine.cpu;
        let what = "a CPU with SGX enabled";
        if self.flag.outcome == Outcome::Unreadable {
            return Missing::new(what, format!("could not be judged: {}", self.flag.detail));
        }
        if cpu.is_other_than(Architecture::X86) || cpu.vendor != Vendor::Intel {
            let how = format!(
                "SGX is on Intel CPUs only, and this is {}: use a Xeon Scalable of the third generation or later",
                cpu.name()
            );
            return Missing::new(what, how);
        }
        if cpu.in_virtual_machine() {
            return Missing::new(
                what,
                "this virtual machine has no SGX: choose a machine type that has, or let the hypervisor pass it \
                 (QEMU: -cpu host,+sgx with an EPC memory backend)",
            );
        }
        Missing::new(
            what,
            "enable SGX in the firmware set-up (Enabled, not Software Controlled), with memory reserved for it, \
             and boot Linux 5.11 or later with CONFIG_X86_SGX=y; if the set-up has no such entry, the CPU has no SGX",
        )
    }
}
