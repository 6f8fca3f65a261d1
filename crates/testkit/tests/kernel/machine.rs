//! A fake machine behind the fakes.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nautilus_testkit::FakeMachine;
use nautilus_testkit::kernel::FakeKernel;

use crate::device::{self, Adder};
use crate::tree::{Mirror, names};

#[test]
fn a_machine_shows_its_own_devices_files_and_links() {
    let machine = FakeMachine::sgx_and_tpm()
        .file("/sys/class/dmi/id/sys_vendor", "Fake\n")
        .unreadable("/sys/kernel/security/tpm0/binary_bios_measurements");
    FakeKernel::new().machine(&machine).run(|| {
        let kind = |path: &str| fs::symlink_metadata(path).map(|metadata| metadata.file_type());
        assert!(kind("/dev/sgx_enclave").unwrap().is_char_device());
        assert!(kind("/dev/null").unwrap().is_char_device());
        assert_eq!(kind("/dev/kvm").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(kind("/run/aesmd/aesm.socket").unwrap().is_socket());
        // Through the machine's own link.
        assert!(kind("/var/run/aesmd/aesm.socket").unwrap().is_socket());
        let refused = UnixStream::connect("/var/run/aesmd/aesm.socket").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(kind("/sys/class/tpm/tpm0").unwrap().is_symlink());
        let version = fs::read_to_string("/sys/class/tpm/tpm0/tpm_version_major");
        assert_eq!(version.unwrap(), "2\n");
        assert_eq!(names("/sys/class/tpm"), BTreeSet::from(["tpm0".to_owned()]));
        assert_eq!(
            fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap(),
            "Fake\n"
        );
        assert!(fs::read_to_string("/proc/cpuinfo").unwrap().contains("Fake CPU"));
        let denied = fs::read("/sys/kernel/security/tpm0/binary_bios_measurements").unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
        assert!(!Path::new("/sys/firmware/devicetree").exists());
        assert!(Path::new("/sys/firmware/acpi/tables/TPM2").exists());
        assert!(Path::new("/proc/self/status").exists());
    });
}

#[test]
fn a_registered_fake_comes_before_the_machines_own() {
    let machine = FakeMachine::tdx_guest();
    FakeKernel::new()
        .machine(&machine)
        .tree("/sys/kernel/config/tsm/report", Mirror::default())
        .device("/dev/tdx_guest", Adder::default())
        .run(|| {
            fs::create_dir("/sys/kernel/config/tsm/report/a").unwrap();
            assert!(Path::new("/sys/kernel/config/tsm/report/a/out").is_file());
            assert_eq!(device::add(&device::open("/dev/tdx_guest"), &[1]), Ok(1));
            let entries = names("/sys/kernel/config");
            assert_eq!(entries, BTreeSet::from(["tsm".to_owned()]));
        });
}
