//! `nautilus measure`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_core::{MAX_EVIDENCE, TeeKind, TrustAnchors};
use nautilus_tee::launch::{Expected, ImageKind, LaunchError, MAX_IMAGE, expected};
use nautilus_tee::sev_snp::launch::{DirectBoot, Guest, Hypervisor, SNP_ACTIVE, VcpuSignature};
use nautilus_tee::tdx::launch::{PageOrder, mrtd, rtmrs};
use nautilus_tee::trustzone::optee::Command as Measured;
use nautilus_tee::trustzone::optee::launch::{SigningKey, TrustedApplication, ta_memory, tee_memory};
use nautilus_tee::{keystone, sgx};

use crate::cli::Global;
use crate::failure::{Failure, printable};
use crate::input::read_bounded;
use crate::output::{self, Text};

const EXAMPLES: &str = "\
Examples:
  nautilus measure sgx nautilus-enclave.sig
  nautilus measure sev --firmware OVMF.amdsev.fd --kernel vmlinuz --initrd initrd.img \\
    --cmdline 'console=ttyS0' --vcpus 4 --vcpu-type EPYC-Milan
  nautilus measure tdx --firmware OVMF.fd --event-log ccel.bin
  nautilus measure optee 6f1d2a3e-93c4-4d58-8f0a-1b2c3d4e5f61.ta --key ta-signing.pub.pem
  nautilus measure keystone --loader loader.bin --runtime eyrie-rt --eapp app";

/// Compute what a TEE will measure of an image, before it is launched: what a policy pins
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Measure {
    Sgx(Sgx),
    Sev(Sev),
    Tdx(Tdx),
    Optee(Optee),
    Keystone(Keystone),
}

/// An SGX enclave, by its signature structure or by its pages.
///
/// Of a SIGSTRUCT (Gramine's `.sig` file) the signature is verified by the key in it: whose key that is, mrsigner
/// tells. An SGXS file is measured as the processor would.
#[derive(Args)]
pub struct Sgx {
    /// SIGSTRUCT or SGXS file
    file: PathBuf,
}

/// An AMD SEV-SNP guest, by its firmware and what it is launched with.
///
/// Without --kernel, what the firmware boots from disk is not in the measurement.
#[derive(Args)]
pub struct Sev {
    /// The firmware: OVMF
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// The kernel that the hypervisor hands to the firmware
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The initial RAM disk
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// Number of virtual processors
    #[arg(long, value_name = "N")]
    vcpus: u32,
    /// Their type: a name of QEMU's, such as EPYC-Milan, or a CPUID signature, such as 0xa00f11. For
    /// `--vmm qemu` alone
    #[arg(long, value_name = "TYPE", required_if_eq("vmm", "qemu"))]
    vcpu_type: Option<String>,
    /// The hypervisor: qemu, ec2, gce
    #[arg(long, value_name = "VMM", default_value = "qemu", ignore_case = true)]
    vmm: String,
    /// SEV_FEATURES of the guest, in hex
    #[arg(long, value_name = "HEX", default_value = "0x1", value_parser = hexadecimal)]
    guest_features: u64,
}

/// An Intel TDX trust domain, by its firmware, and by the event log of an earlier launch.
///
/// The firmware gives mrtd. An event log (CCEL) gives the rtmr registers of the launch that it is of: take it of one
/// that you trust.
#[derive(Args)]
pub struct Tdx {
    /// The firmware: OVMF (TDVF)
    #[arg(long, value_name = "FILE", required_unless_present = "event_log")]
    firmware: Option<PathBuf>,
    /// In which order the host's kernel adds pages: by-page (Linux 6.16 and later) or by-section (before)
    #[arg(long, value_name = "ORDER", default_value = "by-page", requires = "firmware")]
    order: String,
    /// The firmware's event log
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
}

/// An OP-TEE trusted application, and OP-TEE itself.
#[derive(Args)]
pub struct Optee {
    /// The signed file (`.ta`), for optee_ta_header
    #[arg(required_unless_present_any = ["ta_elf", "tee_elf"])]
    file: Option<PathBuf>,
    /// The public key that must have signed it: PEM, DER or JWK. Without it, nobody vouches for the file
    #[arg(long, value_name = "FILE", requires = "file")]
    key: Option<PathBuf>,
    /// The ELF file that was signed (`.stripped.elf`), for optee_ta_memory
    #[arg(long, value_name = "FILE")]
    ta_elf: Option<PathBuf>,
    /// OP-TEE's own ELF file (`tee.elf`), with symbols, for optee_tee_memory
    #[arg(long, value_name = "FILE")]
    tee_elf: Option<PathBuf>,
}

/// A RISC-V Keystone enclave, by its files, and the security monitor.
#[derive(Args)]
pub struct Keystone {
    /// The loader, such as loader.bin
    #[arg(long, value_name = "FILE")]
    loader: PathBuf,
    /// The run-time, such as eyrie-rt
    #[arg(long, value_name = "FILE")]
    runtime: PathBuf,
    /// The application
    #[arg(long, value_name = "FILE")]
    eapp: PathBuf,
    /// The firmware with the security monitor (fw_jump.bin), for sm_hash
    #[arg(long, value_name = "FILE")]
    sm: Option<PathBuf>,
}

impl Measure {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let expected = match self {
            Self::Sgx(command) => command.expected(),
            Self::Sev(command) => command.expected(),
            Self::Tdx(command) => command.expected(),
            Self::Optee(command) => command.expected(),
            Self::Keystone(command) => command.expected(),
        }?;
        if global.json {
            output::line(serde_json::to_string_pretty(&expected)?)?;
        } else {
            render(&expected).print()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Sgx {
    fn expected(&self) -> Result<Expected, Failure> {
        let image = read_file(&self.file, MAX_IMAGE)?;
        let mut found = expected(TeeKind::Sgx, &image).map_err(|error| refused(&self.file, error))?;
        let signature = match ImageKind::of(&image) {
            Some(ImageKind::Sigstruct) => {
                let sigstruct =
                    sgx::launch::Sigstruct::parse(&image).map_err(|error| refused(&self.file, error))?;
                format!("verified, by the key {}", hex::encode(sigstruct.mrsigner()))
            }
            _ => "none: an SGXS file is not signed".to_owned(),
        };
        found.facts.insert("signature", signature);
        Ok(found)
    }
}

impl Sev {
    fn expected(&self) -> Result<Expected, Failure> {
        if (self.guest_features & SNP_ACTIVE) == 0 {
            return Err(Failure::usage(anyhow::anyhow!(
                "--guest-features {:#x} lacks bit 0, without which it is no SEV-SNP guest",
                self.guest_features
            )));
        }
        let hypervisor: Hypervisor = self.vmm.parse().map_err(Failure::usage)?;
        // Others measure no type.
        let vcpu: VcpuSignature = match (&self.vcpu_type, hypervisor) {
            (Some(name), Hypervisor::Qemu) => name.parse().map_err(Failure::usage)?,
            (None, Hypervisor::Qemu) => {
                return Err(Failure::usage(anyhow::anyhow!(
                    "give --vcpu-type: guests of QEMU are measured with it"
                )));
            }
            (Some(_), other) => {
                return Err(Failure::usage(anyhow::anyhow!(
                    "leave out --vcpu-type: guests of {other} are measured without it"
                )));
            }
            (None, _) => VcpuSignature(0),
        };
        let firmware = read_file(&self.firmware, MAX_IMAGE)?;
        let read = |path: &Option<PathBuf>| match path {
            Some(path) => read_file(path, MAX_IMAGE),
            None => Ok(Vec::new()),
        };
        let (kernel, initrd) = (read(&self.kernel)?, read(&self.initrd)?);
        let guest = Guest {
            firmware: &firmware,
            kernel: self.kernel.as_ref().map(|_| DirectBoot {
                kernel: &kernel,
                initrd: &initrd,
                cmdline: self.cmdline.as_deref().unwrap_or_default(),
            }),
            vcpus: self.vcpus,
            vcpu,
            hypervisor,
            features: self.guest_features,
        };
        let measurement = guest
            .measurement()
            .map_err(|error| refused(&self.firmware, error))?;
        let mut expected = Expected::new(TeeKind::Sev, "SEV-SNP guest").measured("measurement", &measurement);
        let boots = match self.kernel {
            Some(_) => "the kernel given here, which the firmware holds against its hash",
            None => "whatever the firmware finds: a kernel on disk is not in the measurement",
        };
        expected.facts.insert("boots", boots.to_owned());
        expected.facts.insert("hypervisor", hypervisor.to_string());
        Ok(expected)
    }
}

impl Tdx {
    fn expected(&self) -> Result<Expected, Failure> {
        let mut expected = Expected::new(TeeKind::Tdx, "TDX trust domain");
        if let Some(path) = &self.firmware {
            let order: PageOrder = self.order.parse().map_err(Failure::usage)?;
            let firmware = read_file(path, MAX_IMAGE)?;
            let mrtd = mrtd(&firmware, order).map_err(|error| refused(path, error))?;
            expected = expected.measured("mrtd", &mrtd);
            expected.facts.insert("page order", order.to_string());
        }
        if let Some(path) = &self.event_log {
            let log = read_file(path, MAX_EVIDENCE)?;
            let registers = rtmrs(&log).map_err(|error| refused(path, error))?;
            expected.measurements.extend(registers);
        }
        Ok(expected)
    }
}

impl Optee {
    fn expected(&self) -> Result<Expected, Failure> {
        let mut expected = match &self.file {
            Some(path) => self.signed(path)?,
            None => Expected::new(TeeKind::TrustZone, "OP-TEE memory"),
        };
        if let Some(path) = &self.ta_elf {
            let value = ta_memory(&read_file(path, MAX_IMAGE)?).map_err(|error| refused(path, error))?;
            expected = expected.measured(Measured::TaMemory.register(), &value);
        }
        if let Some(path) = &self.tee_elf {
            let value = tee_memory(&read_file(path, MAX_IMAGE)?).map_err(|error| refused(path, error))?;
            expected = expected.measured(Measured::TeeMemory.register(), &value);
        }
        Ok(expected)
    }

    fn signed(&self, path: &Path) -> Result<Expected, Failure> {
        let file = read_file(path, MAX_IMAGE)?;
        let application = TrustedApplication::parse(&file).map_err(|error| refused(path, error))?;
        let mut expected = application.expected();
        let signature = match &self.key {
            Some(key_path) => {
                let key = read_file(key_path, TrustAnchors::MAX_SIZE)?;
                let key = SigningKey::read(&key, &shown(key_path)).map_err(Failure::usage)?;
                application.verify(&key).map_err(|error| refused(path, error))?;
                format!("verified, by the key {}", hex::encode(key.id()))
            }
            None => {
                application.check_digest().map_err(|error| refused(path, error))?;
                "unchecked: no --key was given".to_owned()
            }
        };
        expected.facts.insert("signature", signature);
        Ok(expected)
    }
}

impl Keystone {
    fn expected(&self) -> Result<Expected, Failure> {
        let [loader, runtime, eapp] =
            [&self.loader, &self.runtime, &self.eapp].map(|path| read_file(path, MAX_IMAGE));
        let (loader, runtime, eapp) = (loader?, runtime?, eapp?);
        let enclave = keystone::launch::Enclave {
            loader: &loader,
            runtime: &runtime,
            eapp: &eapp,
        };
        let sm = self
            .sm
            .as_ref()
            .map(|path| read_file(path, MAX_IMAGE))
            .transpose()?;
        keystone::launch::expected(&enclave, sm.as_deref()).map_err(|error| refused(&self.eapp, error))
    }
}

fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let bytes = read_bounded(path, limit)?;
    if bytes.len() > limit {
        let told = anyhow::anyhow!("{} has more than the {limit} bytes allowed", shown(path));
        return Err(Failure::rejected(told));
    }
    Ok(bytes)
}

/// What does not go together is the user's; all else is the file's.
fn refused(path: &Path, error: LaunchError) -> Failure {
    let failure = match error {
        LaunchError::Configuration { .. } => return Failure::usage(error),
        error => Failure::rejected(error),
    };
    failure.context(format!("{} has no measurement", shown(path)))
}

fn render(expected: &Expected) -> Text {
    let mut text = Text::default();
    text.line(format_args!("tee        {}", expected.tee));
    text.line(format_args!("image      {}", expected.image));
    for (name, value) in &expected.facts {
        text.line(format_args!("  {name}: {}", printable(value)));
    }
    text.line("for a policy");
    text.line("  measurements:");
    for (name, value) in &expected.measurements {
        text.line(format_args!("    {name}: {{ one_of: [\"{value}\"] }}"));
    }
    // Of a product's versions the later ones are good too; every other attribute is a name.
    let pinned: Vec<_> = ["isvprodid", "isvsvn"]
        .into_iter()
        .filter_map(|name| expected.attributes.get_key_value(name))
        .collect();
    if !pinned.is_empty() {
        text.line("  attributes:");
    }
    for (name, value) in pinned {
        text.line(match name.as_str() {
            "isvsvn" => format!("    {name}: {{ at_least: {value} }}"),
            _ => format!("    {name}: {{ one_of: [\"{value}\"] }}"),
        });
    }
    text
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    // `from_str_radix` takes a sign.
    let number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16)
        .ok()
        .filter(|_| number)
        .ok_or_else(|| "expected up to 16 hexadecimal digits, such as 0x21".to_owned())
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}
