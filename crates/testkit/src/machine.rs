//! File trees that look like machines with and without TEEs.

#![expect(
    clippy::expect_used,
    reason = "a fake machine that cannot be built must stop its test"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A machine's `/proc`, `/sys` and `/dev` in a temporary directory, removed when dropped.
///
/// Device nodes and sockets are regular files, for making nodes needs root: whoever reads the tree has to
/// be told to take them so. Likewise [`FakeMachine::unreadable`] also records the path, for file modes mean
/// nothing to root.
#[derive(Debug)]
pub struct FakeMachine {
    // The directory lives as long as the machine.
    _directory: TempDir,
    root: PathBuf,
    vendor: String,
    flags: Vec<String>,
    denied: Vec<PathBuf>,
    sockets: Vec<PathBuf>,
    devices: Vec<PathBuf>,
}

impl Default for FakeMachine {
    fn default() -> Self {
        Self::new()
    }
}

/// The building blocks.
impl FakeMachine {
    /// An empty tree: not even `/proc/cpuinfo`.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("make a temporary directory");
        let root = directory
            .path()
            .canonicalize()
            .expect("resolve the temporary directory");
        Self {
            _directory: directory,
            root,
            vendor: "GenuineIntel".to_owned(),
            flags: Vec::new(),
            denied: Vec::new(),
            sockets: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// The directory that stands for `/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` of the machine is on the real one.
    pub fn host_path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The real places made by [`FakeMachine::unreadable`].
    pub fn denied(&self) -> &[PathBuf] {
        &self.denied
    }

    /// The real places made by [`FakeMachine::device`].
    pub fn devices(&self) -> &[PathBuf] {
        &self.devices
    }

    /// The real places made by [`FakeMachine::socket`].
    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// An x86 CPU by this vendor (`GenuineIntel` when not called).
    #[must_use]
    pub fn cpu_vendor(mut self, vendor: &str) -> Self {
        vendor.clone_into(&mut self.vendor);
        self.write_cpuinfo()
    }

    /// An x86 CPU with these flags and the usual ones, twice in `/proc/cpuinfo`.
    #[must_use]
    pub fn cpu_flags(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        self.write_cpuinfo()
    }

    /// A file with this content; what was there is replaced.
    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        fs::write(self.place(path), contents).expect("write a file of the fake machine");
        self
    }

    /// A device node.
    #[must_use]
    pub fn device(mut self, path: &str) -> Self {
        self.devices.push(self.host_path(path));
        self.file(path, "")
    }

    /// A Unix socket.
    #[must_use]
    pub fn socket(mut self, path: &str) -> Self {
        self.sockets.push(self.host_path(path));
        self.file(path, "")
    }

    /// A directory, with those above it.
    #[must_use]
    pub fn dir(self, path: &str) -> Self {
        fs::create_dir_all(self.host_path(path)).expect("make a directory of the fake machine");
        self
    }

    /// A symbolic link to `target`, which is the machine's path, not the real one.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        symlink(target, self.place(path)).expect("make a link of the fake machine");
        self
    }

    /// Takes all permissions from what is at `path` (an empty file is made if there is nothing).
    #[must_use]
    pub fn unreadable(mut self, path: &str) -> Self {
        let place = self.place(path);
        if !place.exists() {
            fs::write(&place, "").expect("write a file of the fake machine");
        }
        // A directory stays open to its owner, or it could not be removed afterwards.
        if place.is_file() {
            fs::set_permissions(&place, Permissions::from_mode(0o000)).expect("take permissions away");
        }
        self.denied.push(place);
        self
    }

    /// Removes the file at `path`.
    #[must_use]
    pub fn without(self, path: &str) -> Self {
        fs::remove_file(self.host_path(path)).expect("remove a file of the fake machine");
        self
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.host_path(path);
        let parent = place.parent().expect("a path below the root");
        fs::create_dir_all(parent).expect("make a directory of the fake machine");
        place
    }

    fn write_cpuinfo(self) -> Self {
        let flags = self.flags.join(" ");
        let cpuinfo: String = (0..2)
            .map(|processor| {
                format!(
                    "processor\t: {processor}\nvendor_id\t: {}\nmodel name\t: Fake CPU @ 2.00GHz\n\
                     flags\t\t: fpu vme de pse tsc msr pae aes sse4_2 avx2 {flags}\nbugs\t\t: spectre_v1\n\n",
                    self.vendor
                )
            })
            .collect();
        self.file("/proc/cpuinfo", cpuinfo)
    }
}

/// Whole machines.
impl FakeMachine {
    /// A cloud's ordinary virtual machine: no TEE at all.
    pub fn plain_vm() -> Self {
        Self::new()
            .cpu_vendor("AuthenticAMD")
            .cpu_flags(&["hypervisor"])
            .file("/sys/class/dmi/id/sys_vendor", "QEMU\n")
            .dir("/sys/kernel/config")
            .dir("/sys/class/tpm")
            .dir("/dev")
            .device("/dev/vsock")
    }

    /// A Xeon with SGX in use: driver, provisioning, AESM.
    pub fn sgx_server() -> Self {
        Self::new()
            .cpu_flags(&["sgx", "sgx_lc"])
            .device("/dev/sgx_enclave")
            .device("/dev/sgx_provision")
            .link("/var/run", "/run")
            .socket("/run/aesmd/aesm.socket")
    }

    /// A TDX guest on Linux 6.16 or later.
    pub fn tdx_guest() -> Self {
        Self::new()
            .cpu_flags(&["tdx_guest", "hypervisor"])
            .device("/dev/tdx_guest")
            .device("/dev/vsock")
            .dir("/sys/kernel/config/tsm/report")
            .dir("/sys/devices/virtual/misc/tdx_guest/measurements")
            .file("/sys/firmware/acpi/tables/CCEL", [0_u8; 56])
    }

    /// A machine that runs TDX guests and is none.
    pub fn tdx_host() -> Self {
        Self::new()
            .cpu_flags(&["tme"])
            .file("/sys/module/kvm_intel/parameters/tdx", "Y\n")
            .device("/dev/kvm")
    }

    /// An SEV-SNP guest. Its kernel hides the CPU's SEV flags, as real ones do.
    pub fn snp_guest() -> Self {
        Self::new()
            .cpu_vendor("AuthenticAMD")
            .cpu_flags(&["hypervisor"])
            .device("/dev/sev-guest")
            .file("/sys/devices/system/cpu/sev/vmpl", "0\n")
            .dir("/sys/kernel/config/tsm/report")
    }

    /// A machine that runs SEV-SNP guests and is none.
    pub fn snp_host() -> Self {
        Self::new()
            .cpu_vendor("AuthenticAMD")
            .cpu_flags(&["sme", "sev", "sev_es", "sev_snp"])
            .device("/dev/sev")
            .device("/dev/kvm")
            .file("/sys/module/kvm_amd/parameters/sev_snp", "Y\n")
    }

    /// An ARM board with OP-TEE.
    pub fn optee_board() -> Self {
        Self::new()
            .file(
                "/proc/cpuinfo",
                "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd crc32\nCPU implementer\t: 0x41\n\
                 CPU architecture: 8\nCPU part\t: 0xd03\n\n",
            )
            .device("/dev/tee0")
            .device("/dev/teepriv0")
            .file(
                "/sys/firmware/devicetree/base/firmware/optee/compatible",
                "linaro,optee-tz\0",
            )
            .dir("/sys/bus/tee/devices/optee-ta-d96a5b40-c3e5-21e3-8794-1002a5d5c61b")
            .dir("/sys/class/tee/tee0")
            .dir("/sys/class/tee/teepriv0")
    }

    /// A RISC-V board with Keystone's security monitor and driver.
    pub fn keystone_board() -> Self {
        Self::new()
            .file(
                "/proc/cpuinfo",
                "processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\nuarch\t\t: sifive,u74-mc\n\n",
            )
            .device("/dev/keystone_enclave")
    }

    /// A laptop with a TPM 2.0 chip.
    pub fn tpm_laptop() -> Self {
        Self::new().cpu_flags(&["vmx"]).with_tpm()
    }

    /// The inside of an AWS Nitro enclave.
    pub fn nitro_enclave() -> Self {
        Self::new().cpu_flags(&["hypervisor"]).device("/dev/nsm")
    }

    /// A server with SGX in use and a TPM.
    pub fn sgx_and_tpm() -> Self {
        Self::sgx_server().with_tpm()
    }

    /// Adds a TPM 2.0 with its event log, by the links that sysfs has.
    #[must_use]
    pub fn with_tpm(self) -> Self {
        self.device("/dev/tpm0")
            .device("/dev/tpmrm0")
            .file(
                "/sys/devices/LNXSYSTM:00/MSFT0101:00/tpm/tpm0/tpm_version_major",
                "2\n",
            )
            .link(
                "/sys/class/tpm/tpm0",
                "../../devices/LNXSYSTM:00/MSFT0101:00/tpm/tpm0",
            )
            .file("/sys/firmware/acpi/tables/TPM2", [0_u8; 76])
            .file("/sys/kernel/security/tpm0/binary_bios_measurements", [0_u8; 16])
    }
}
