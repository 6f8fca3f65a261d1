//! What the enclave takes from itself before it serves anybody: a bug in it is then of little use to others.
//!
//! Two steps. `withdraw` comes before any secret exists: dumps are forbidden, memory is locked, and
//! the process leaves the namespaces that it shared. `confine` comes last, when all that is opened once is open: files
//! but the listed are out of reach (Landlock), and so are system calls but the listed (seccomp), which end the process.
//! What a kernel does not offer is reported and does not stop the enclave: it is a second line, and the TEE the first.

mod calls;
mod files;

use std::path::{Path, PathBuf};

use nautilus_core::TeeKind;
use nautilus_sys::process::{self, Unshare};

use crate::state::directory_of;

/// What a TEE's attester needs after the start, and the state. The table of allowances: one row for every TEE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Devices and trees of files that are opened for each quote. What is not there is not needed.
    paths: Vec<(PathBuf, Access)>,
    connects: Connects,
    privileges: Privileges,
}

/// What is done with a path and all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read.
    Read,
    /// A device: read, write, ioctl.
    Device,
    /// A tree of the kernel's files in which directories are made and removed.
    Tree,
    /// The state's directory: files are made, replaced and removed.
    State,
}

/// Who is spoken to besides the agent, whose connection is open already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connects {
    /// Nobody.
    No,
    /// A service of this machine at a socket with a path.
    ToPath,
    /// A service of this machine at a loopback address.
    ToLoopback,
    /// The host of this virtual machine, at its socket (vsock(7)).
    ToHost,
}

/// What the process may do by being root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privileges {
    /// Nothing.
    Given,
    /// Open a device that belongs to another user.
    Kept,
}

impl Needs {
    /// What the attester of `tee` needs that gets its quotes from `quote_provider`, and a state in the file `state`.
    pub fn of(tee: TeeKind, quote_provider: Option<&str>, state: Option<&Path>) -> Self {
        const TSM: (&str, Access) = ("/sys/kernel/config/tsm/report", Access::Tree);
        // What follows the first colon of its name, if it has one.
        let (way, place) = match quote_provider.map(|name| name.split_once(':').unwrap_or((name, ""))) {
            Some((way, place)) => (Some(way), place),
            None => (None, ""),
        };
        let named = [(place, Access::Device), ("/sys/kernel/security", Access::Read)];
        let (listed, connects): (&[(&str, Access)], _) = match tee {
            TeeKind::Simulated => (&[], Connects::No),
            TeeKind::Sgx => (
                &[("/dev/attestation", Access::Device)],
                match (way, place) {
                    (Some("aesm"), "") => Connects::ToPath,
                    (Some("aesm"), _) => Connects::ToLoopback,
                    _ => Connects::No,
                },
            ),
            TeeKind::Tdx => (
                &[
                    TSM,
                    ("/dev/tdx_guest", Access::Device),
                    ("/sys/firmware/acpi/tables", Access::Read),
                ],
                // The host's quoting service, where there is no tree of reports.
                match way {
                    Some("unix") => Connects::ToPath,
                    _ => Connects::ToHost,
                },
            ),
            TeeKind::Sev => (
                &[
                    TSM,
                    ("/dev/sev-guest", Access::Device),
                    ("/sys/devices/system/cpu/sev", Access::Read),
                ],
                Connects::No,
            ),
            TeeKind::TrustZone => (
                &[
                    ("/dev/tee0", Access::Device),
                    ("/dev/tee1", Access::Device),
                    ("/dev/tee2", Access::Device),
                    ("/dev/tee3", Access::Device),
                ],
                Connects::No,
            ),
            TeeKind::Keystone => (
                &[
                    ("/dev/keystone_enclave", Access::Device),
                    ("/usr/lib/nautilus/keystone", Access::Read),
                ],
                Connects::No,
            ),
            TeeKind::Tpm => match way {
                Some("unix") => (&[], Connects::ToPath),
                Some("tcp") => (&[], Connects::ToLoopback),
                Some("device") => (&named, Connects::No),
                _ => (
                    &[
                        ("/dev/tpmrm0", Access::Device),
                        ("/dev/tpm0", Access::Device),
                        ("/sys/kernel/security", Access::Read),
                    ],
                    Connects::No,
                ),
            },
            TeeKind::Nitro => (&[("/dev/nsm", Access::Device)], Connects::No),
        };
        let mut paths: Vec<_> = listed
            .iter()
            .map(|(path, access)| (PathBuf::from(path), *access))
            .collect();
        paths.extend(state.map(|state| (directory_of(state).to_owned(), Access::State)));
        // A TPM's devices belong to the user tss.
        let privileges = match (tee, connects) {
            (TeeKind::Tpm, Connects::No) => Privileges::Kept,
            _ => Privileges::Given,
        };
        Self {
            paths,
            connects,
            privileges,
        }
    }

    fn has_devices(&self) -> bool {
        self.paths
            .iter()
            .any(|(_, access)| matches!(access, Access::Device))
    }
}

/// Why a part of the sandbox that can always be had cannot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// Core dumps cannot be forbidden.
    #[error("core dumps cannot be forbidden")]
    Dumps(#[source] std::io::Error),
    /// The filter of system calls cannot be made.
    #[error("the filter of system calls cannot be made: {0}")]
    Filter(String),
}

/// A sandbox in the making, and what of it could not be had.
pub struct Sandbox {
    needs: Needs,
    missing: Vec<String>,
    memory: Memory,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Locked,
    Unlocked,
}

impl Sandbox {
    /// What comes before any secret exists. The process must have one thread.
    ///
    /// # Errors
    /// `Dumps`.
    pub fn withdraw(needs: Needs) -> Result<Self, SandboxError> {
        let mut missing = Vec::new();
        // First, for root may lock without bound, and is not root outside of its own namespace.
        let memory = match process::lock_all_memory() {
            Ok(true) => Memory::Locked,
            // Then the enclave locks what holds its keys.
            Ok(false) | Err(_) => Memory::Unlocked,
        };
        let keeps_privilege = needs.privileges == Privileges::Kept && rustix::process::geteuid().is_root();
        if !keeps_privilege {
            let what = match needs.connects {
                Connects::ToLoopback | Connects::ToHost => Unshare::Ipc,
                Connects::No | Connects::ToPath => Unshare::NetworkAndIpc,
            };
            if let Err(error) = process::leave_namespaces(what) {
                missing.push(format!("no user namespace of its own ({error})"));
            }
        }
        // Last, for the files of a process that cannot be dumped belong to root.
        process::forbid_dumps().map_err(SandboxError::Dumps)?;
        Ok(Self {
            needs,
            missing,
            memory,
        })
    }

    /// Whether the memory that holds keys must be locked piece by piece.
    pub fn leaves_memory_unlocked(&self) -> bool {
        self.memory == Memory::Unlocked
    }

    /// Notes that something is not in force.
    pub fn lacks(&mut self, what: String) {
        self.missing.push(what);
    }

    /// Closes the sandbox for good: gives what of it could not be had, for people.
    ///
    /// # Errors
    /// `Filter`.
    pub fn confine(mut self) -> Result<Vec<String>, SandboxError> {
        if let Err(what) = files::restrict(&self.needs.paths, self.needs.connects == Connects::ToLoopback) {
            self.missing.push(what);
        }
        let wanted = calls::Wanted {
            connects: self.needs.connects,
            devices: self.needs.has_devices(),
        };
        if let Err(what) = calls::restrict(wanted)? {
            self.missing.push(what);
        }
        Ok(self.missing)
    }
}

#[cfg(test)]
mod tests;
