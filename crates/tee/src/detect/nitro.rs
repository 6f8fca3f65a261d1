//! AWS Nitro Enclaves: whether this machine is an enclave, or the instance that could start one.

use nautilus_core::TeeKind;

use super::machine::Machine;
use super::{Missing, Outcome, Status, TeeReport};

/// Usable: the Nitro security module's node can be opened. Only an enclave has it.
pub(super) fn probe(machine: &Machine<'_>) -> TeeReport {
    let module = machine.device("this machine is a Nitro enclave", "/dev/nsm");
    let parent = machine.device(
        "this instance can start enclaves (it is none)",
        "/dev/nitro_enclaves",
    );
    let (vendor, name) = machine.text("this machine is an EC2 instance", "/sys/class/dmi/id/sys_vendor");
    let vendor = match name.as_deref() {
        None | Some("Amazon EC2") => vendor,
        Some(_) => {
            let detail = vendor.detail.clone();
            vendor.judged(Outcome::Absent, detail)
        }
    };

    let usable = module.is_found();
    let status = match (usable, module.is_seen() || parent.is_seen()) {
        (true, _) => Status::Usable,
        (false, true) => Status::Present,
        (false, false) => Status::Absent,
    };
    let mut missing = Vec::new();
    if !usable {
        missing.push(if module.outcome == Outcome::Denied {
            Missing::new("permission to open /dev/nsm", "run as root inside the enclave")
        } else if parent.is_seen() {
            Missing::new(
                "a Nitro enclave around this node",
                "run the node inside an enclave: this is the parent instance (nitro-cli build-enclave, then \
                 nitro-cli run-enclave)",
            )
        } else if vendor.is_found() {
            Missing::new(
                "a Nitro enclave around this node",
                "start the instance with --enclave-options Enabled=true and install aws-nitro-enclaves-cli (on the \
                 parent: modprobe nitro_enclaves); inside an enclave: modprobe nsm (Linux 6.8 or later)",
            )
        } else {
            Missing::new("a Nitro enclave around this node", "Nitro enclaves exist on AWS EC2 only")
        });
    }
    TeeReport {
        kind: TeeKind::Nitro,
        status,
        checks: vec![module, parent, vendor],
        missing,
        notes: Vec::new(),
    }
}
