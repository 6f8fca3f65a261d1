//! The machines: for every way to evidence a fake kernel, its faults, and what a relying party has to trust.

use std::any::Any;
use std::fs;
use std::path::PathBuf;

use nautilus_core::UnixMillis;
use nautilus_tee::simulated::Vendor;
use nautilus_testkit::FakeKernel;
use nautilus_testkit::device::aesm::{self, Aesm};
use nautilus_testkit::device::gramine::{self, GramineFiles};
use nautilus_testkit::device::keystone::{self, FakeKeystone};
use nautilus_testkit::device::nsm;
use nautilus_testkit::device::optee::{self, FakeOptee};
use nautilus_testkit::device::qgs::{self, FakeQgs};
use nautilus_testkit::device::sev_guest::{self, FakeSevGuest};
use nautilus_testkit::device::tdx_guest::{self, FakeTdxGuest};
use nautilus_testkit::device::tsm::{self, FakeTsm};
use nautilus_testkit::kernel::Errno;
use nautilus_testkit::vendor::amd::{self, Chip, FakeAmd, Product, certificate_table, guid};
use nautilus_testkit::vendor::aws::Aws;
use nautilus_testkit::vendor::intel::{self, Enclave};
use nautilus_testkit::vendor::intel_tdx::{FakeIntelTdx, TrustDomain};
use nautilus_testkit::vendor::keystone::KeystoneVendor;
use nautilus_testkit::vendor::optee::OpteeKey;
use nautilus_verifier::now;
use tempfile::TempDir;

use crate::program::nautilus;

/// What can go wrong on the way to evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Evidence for report data that somebody else asked for.
    AnothersReportData,
    /// What was asked before, or a generation that is not ours.
    Stale,
    /// Good evidence of something that can be looked into.
    Debug,
    /// Less than a whole answer.
    ShortRead,
    /// The driver, firmware or service fails.
    Error,
    /// No answer.
    Never,
}

/// One way to evidence of one TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    SevByConfigfs,
    SevByDevice,
    TdxByConfigfs,
    TdxByQuotingService,
    SgxByGramine,
    SgxByAesm,
    Nitro,
    Optee,
    Keystone,
}

/// A machine that offers this way.
pub struct Machine {
    /// As `--tee` calls its TEE.
    pub tee: &'static str,
    pub kernel: FakeKernel,
    /// `quote_provider` in the configuration.
    pub provider: Option<String>,
    /// What the relying party gives to `nautilus verify`.
    pub trust: Vec<String>,
    /// Data directory, and what the relying party's files are in.
    pub directory: TempDir,
    // A service ends when it is dropped.
    _service: Box<dyn Any + Send>,
}

const CONFIGFS: &str = "/sys/kernel/config";
const KEYSTONE: &str = "/dev/keystone_enclave";
const KEYSTONE_FILES: &str = "/usr/lib/nautilus/keystone";
const OPTEE: &str = "/dev/tee0";
/// A real enclave's signature (SIGSTRUCT), which has to lie beside the enclave's program.
const SIGNATURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../vectors/sgx/launch/fortanix-sgxs-tools/test_enclave.sig"
);
/// Where `POLICY` stands in an SNP report, and its bit that permits debugging.
const SEV_POLICY: usize = 0x08;
const SEV_POLICY_DEBUG: u64 = 1 << 19;

impl Way {
    /// Such a machine, with this fault if there is one.
    pub fn machine(self, fault: Option<Fault>) -> Machine {
        match self {
            Self::SevByConfigfs | Self::SevByDevice => sev(self, fault),
            Self::TdxByConfigfs | Self::TdxByQuotingService => tdx(self, fault),
            Self::SgxByGramine | Self::SgxByAesm => sgx(self, fault),
            Self::Nitro => nitro(fault),
            Self::Optee => optee(fault),
            Self::Keystone => keystone(fault),
        }
    }
}

impl Machine {
    fn new(tee: &'static str, kernel: FakeKernel, directory: TempDir) -> Self {
        Self {
            tee,
            kernel,
            provider: None,
            trust: Vec::new(),
            directory,
            _service: Box::new(()),
        }
    }

    /// The relying party believes this root in the place of the vendor's.
    fn with_root(mut self, root: &[u8]) -> Self {
        let file = self.write("root.der", root);
        self.trust.extend([
            "--dangerous-allow-simulated".to_owned(),
            "--dangerous-vendor-root".to_owned(),
            format!("{}={}", self.tee, file.display()),
        ]);
        self
    }

    /// The relying party has enrolled this key.
    fn with_anchor(mut self, role: &str, key: &[u8]) -> Self {
        let file = self.write("anchor", key);
        self.trust
            .extend(["--trust".to_owned(), format!("{role}={}", file.display())]);
        self
    }

    /// The relying party verifies as of this time.
    fn at(mut self, time: UnixMillis) -> Self {
        self.trust.extend(["--at".to_owned(), time.to_string()]);
        self
    }

    /// The relying party has the vendor's collateral.
    fn with_collateral(mut self, collateral: &[u8]) -> Self {
        let file = self.write("collateral.json", collateral);
        self.trust
            .extend(["--endorsements".to_owned(), file.display().to_string()]);
        self
    }

    fn with_service(mut self, provider: String, service: impl Any + Send) -> Self {
        self.provider = Some(provider);
        self._service = Box::new(service);
        self
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.directory.path().join(name);
        fs::write(&file, bytes).unwrap();
        file
    }
}

fn sev(way: Way, fault: Option<Fault>) -> Machine {
    let vendor = FakeAmd::new(Product::Milan);
    let mut chip = Chip::milan();
    if fault == Some(Fault::Debug) {
        let (policy, _) = chip.report[SEV_POLICY..].split_first_chunk().unwrap();
        let policy = u64::from_le_bytes(*policy) | SEV_POLICY_DEBUG;
        chip = chip.with(SEV_POLICY, &policy.to_le_bytes());
    }
    let table = certificate_table(&[
        (guid::VCEK, vendor.vcek(&chip)),
        (guid::ASK, vendor.ask.der.clone()),
        (guid::ARK, vendor.ark.der.clone()),
        (guid::CRL, vendor.list(&[])),
    ]);
    let kernel = FakeKernel::new()
        .absent(CONFIGFS)
        .absent(sev_guest::DEVICE)
        .absent("/sys/devices/system/cpu/sev");
    let kernel = if way == Way::SevByConfigfs {
        kernel.tree(tsm::REPORTS, with_fault(FakeTsm::sev(chip, table), fault))
    } else {
        let device = FakeSevGuest::new(chip, table);
        kernel.device(
            sev_guest::DEVICE,
            match fault {
                None | Some(Fault::Debug) => device,
                Some(Fault::AnothersReportData) => device.with(sev_guest::Fault::OtherReportData),
                Some(Fault::ShortRead) => device.with(sev_guest::Fault::ReportLength(1000)),
                Some(Fault::Error) => device.with(sev_guest::Fault::Error(Errno::IO, 0)),
                Some(Fault::Never) => device.with(sev_guest::Fault::Never),
                Some(Fault::Stale) => panic!("one call asks and answers: there is no generation"),
            },
        )
    };
    Machine::new("sev", kernel, tempfile::tempdir().unwrap())
        .with_root(&vendor.ark.der)
        .at(amd::NOW)
}

fn with_fault(tsm: FakeTsm, fault: Option<Fault>) -> FakeTsm {
    match fault {
        None | Some(Fault::Debug) => tsm,
        Some(Fault::AnothersReportData) => tsm.with(tsm::Fault::OtherReportData),
        Some(Fault::Stale) => tsm.with(tsm::Fault::Disturbed(u32::MAX)),
        Some(Fault::ShortRead) => tsm.with(tsm::Fault::Cut(500)),
        Some(Fault::Error) => tsm.with(tsm::Fault::Error(Errno::IO)),
        Some(Fault::Never) => tsm.with(tsm::Fault::Never),
    }
}

/// A vendor that signs as Intel does, in a directory of its own.
fn intel() -> (TempDir, PathBuf, Vendor) {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("intel");
    let vendor = Vendor::open_or_create(&files, now()).unwrap();
    (directory, files, vendor)
}

fn tdx(way: Way, fault: Option<Fault>) -> Machine {
    let (directory, files, vendor) = intel();
    let platform = FakeIntelTdx::of(&files);
    let collateral = platform.endorsement().bytes;
    let domain = TrustDomain {
        debug: fault == Some(Fault::Debug),
        ..TrustDomain::production()
    };
    let kernel = FakeKernel::new()
        .absent(CONFIGFS)
        .absent(tdx_guest::DEVICE)
        .absent("/sys/firmware/acpi/tables/data/CCEL");
    let machine = |kernel| {
        Machine::new("tdx", kernel, directory)
            .with_root(vendor.root_der())
            .with_collateral(&collateral)
    };
    if way == Way::TdxByConfigfs {
        let tsm = FakeTsm::tdx(platform, domain);
        return machine(kernel.tree(tsm::REPORTS, with_fault(tsm, fault)));
    }
    let service = match fault {
        None | Some(Fault::Debug) => FakeQgs::new(platform.clone()),
        Some(Fault::AnothersReportData) => FakeQgs::with(platform.clone(), qgs::Fault::OtherReportData),
        Some(Fault::ShortRead) => FakeQgs::with(platform.clone(), qgs::Fault::Cut(100)),
        Some(Fault::Error) => FakeQgs::with(platform.clone(), qgs::Fault::Error(0x12001)),
        Some(Fault::Never) => FakeQgs::with(platform.clone(), qgs::Fault::Never),
        Some(Fault::Stale) => panic!("one message asks and answers: there is no generation"),
    };
    let device = FakeTdxGuest::new(platform, domain);
    let provider = format!("unix:{}", service.path().display());
    machine(kernel.device(tdx_guest::DEVICE, device)).with_service(provider, service)
}

fn sgx(way: Way, fault: Option<Fault>) -> Machine {
    let (directory, files, vendor) = intel();
    let platform = intel::Platform::of(&files);
    let enclave = Enclave {
        mrenclave: [0xe0; 32],
        debug: fault == Some(Fault::Debug),
    };
    let gramine = GramineFiles::new(platform.clone(), enclave);
    let signature = nautilus().with_file_name("nautilus-enclave.sig");
    let kernel = FakeKernel::new().file(signature.to_str().unwrap(), fs::read(SIGNATURE).unwrap());
    let machine = |kernel| {
        Machine::new("sgx", kernel, directory)
            .with_root(vendor.root_der())
            .with_collateral(&vendor.endorsement().bytes)
    };
    if way == Way::SgxByGramine {
        let gramine = match fault {
            None | Some(Fault::Debug) => gramine,
            Some(Fault::AnothersReportData) => gramine.with_fault(gramine::Fault::OtherReportData),
            Some(Fault::Stale) => gramine.with_fault(gramine::Fault::Stale),
            Some(Fault::ShortRead) => gramine.with_fault(gramine::Fault::ShortRead),
            Some(Fault::Error) => gramine.with_fault(gramine::Fault::Error),
            Some(Fault::Never) => gramine.with_fault(gramine::Fault::Never),
        };
        return machine(kernel.tree(gramine::PATH, gramine));
    }
    let fault = match fault {
        None | Some(Fault::Debug) => None,
        Some(Fault::AnothersReportData) => Some(aesm::Fault::OtherReportData),
        Some(Fault::Stale) => Some(aesm::Fault::Stale),
        Some(Fault::ShortRead) => Some(aesm::Fault::ShortRead),
        Some(Fault::Error) => Some(aesm::Fault::Error),
        Some(Fault::Never) => Some(aesm::Fault::Never),
    };
    let service = Aesm::start(platform, fault);
    let kernel = kernel
        .tree(gramine::PATH, gramine)
        .socket(aesm::PATH, service.socket());
    machine(kernel).with_service("aesm".to_owned(), service)
}

fn nitro(fault: Option<Fault>) -> Machine {
    let vendor = Aws::at(now());
    let root = vendor.root_der().to_vec();
    let module = match fault {
        None => nsm::Module::new(vendor),
        Some(Fault::AnothersReportData) => nsm::Module::with_fault(vendor, nsm::Fault::OtherReportData),
        Some(Fault::Stale) => nsm::Module::with_fault(vendor, nsm::Fault::Stale),
        Some(Fault::Debug) => nsm::Module::with_fault(vendor, nsm::Fault::Debug),
        Some(Fault::ShortRead) => nsm::Module::with_fault(vendor, nsm::Fault::ShortRead),
        Some(Fault::Error) => nsm::Module::with_fault(vendor, nsm::Fault::Error),
        Some(Fault::Never) => nsm::Module::with_fault(vendor, nsm::Fault::Never),
    };
    let kernel = FakeKernel::new().device(nsm::PATH, module);
    Machine::new("nitro", kernel, tempfile::tempdir().unwrap()).with_root(&root)
}

fn optee(fault: Option<Fault>) -> Machine {
    let key = OpteeKey::device_a();
    let anchor = key.anchor();
    let device = FakeOptee::new(key);
    let device = match fault {
        None => device,
        Some(Fault::AnothersReportData) => device.with_fault(optee::Fault::AnothersReportData),
        Some(Fault::Stale) => device.with_fault(optee::Fault::Stale),
        Some(Fault::ShortRead) => device.with_fault(optee::Fault::ShortRead),
        Some(Fault::Error) => device.with_fault(optee::Fault::Error(0xf010_0003)),
        Some(Fault::Never) => device.with_fault(optee::Fault::Never),
        Some(Fault::Debug) => panic!("OP-TEE's evidence says nothing of debugging"),
    };
    let kernel = FakeKernel::new().device(OPTEE, device).absent("/dev/tee1");
    Machine::new("trustzone", kernel, tempfile::tempdir().unwrap()).with_anchor("optee-key", &anchor)
}

fn keystone(fault: Option<Fault>) -> Machine {
    let vendor = match fault {
        // Whose key anybody can derive: nothing that it runs is closed to anybody.
        Some(Fault::Debug) => KeystoneVendor::with_weak_monitor(1),
        _ => KeystoneVendor::device(1),
    };
    let anchor = vendor.anchor();
    let device = FakeKeystone::new(vendor);
    let device = match fault {
        None | Some(Fault::Debug) => device,
        Some(Fault::AnothersReportData) => device.with_fault(keystone::Fault::AnothersReportData),
        Some(Fault::Stale) => device.with_fault(keystone::Fault::Stale),
        Some(Fault::ShortRead) => device.with_fault(keystone::Fault::ShortRead),
        Some(Fault::Error) => device.with_fault(keystone::Fault::Kernel(Errno::NOMEM)),
        Some(Fault::Never) => device.with_fault(keystone::Fault::Never),
    };
    let kernel = FakeKernel::new()
        .device(KEYSTONE, device)
        .file(&format!("{KEYSTONE_FILES}/loader.bin"), vec![0x11; 1000])
        .file(&format!("{KEYSTONE_FILES}/eyrie-rt"), vec![0x22; 4096])
        .file(&format!("{KEYSTONE_FILES}/nautilus-eapp"), vec![0x33; 5000]);
    Machine::new("keystone", kernel, tempfile::tempdir().unwrap()).with_anchor("keystone-device", &anchor)
}
