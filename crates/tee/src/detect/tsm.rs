//! The kernel's common interface to attestation reports of confidential guests, configfs-tsm
//! (Documentation/ABI/testing/configfs-tsm-report; Linux 6.7).

use super::machine::Machine;
use super::{Check, Missing};

/// configfs-tsm as found. It exists in TDX and SNP guests alike: whose it is, other checks tell.
pub(super) struct Tsm {
    pub(super) mounted: Check,
    pub(super) report: Check,
}

impl Tsm {
    pub(super) fn look(machine: &Machine<'_>) -> Self {
        Self {
            mounted: machine.entry("configfs is mounted", "/sys/kernel/config", ""),
            report: machine.directory_for_entries(
                "the kernel hands out attestation reports through configfs",
                "/sys/kernel/config/tsm/report",
            ),
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.report.is_found()
    }

    /// What it lacks, `module` being the guest driver that registers with it.
    pub(super) fn missing(&self, module: &str) -> Option<Missing> {
        let absent = if self.mounted.is_found() {
            format!("modprobe {module}; needs Linux 6.7 or later with CONFIG_TSM_REPORTS")
        } else {
            format!(
                "mount -t configfs none /sys/kernel/config, then modprobe {module}; needs Linux 6.7 or later"
            )
        };
        Missing::from_check(
            &self.report,
            &absent,
            "run as root: the kernel lets only root make report entries (and a container needs /sys/kernel/config \
             mounted for writing)",
        )
    }
}
