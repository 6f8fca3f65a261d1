//! Firmware images from anywhere: nothing panics, and what is measured depends on what is in them.
#![no_main]

use nautilus_fuzz::fuzz_target;
use nautilus_tee::sev_snp::launch::{DirectBoot, Guest, Hypervisor, SNP_ACTIVE, VcpuSignature};
use nautilus_tee::tdx::launch::{PageOrder, mrtd};

fuzz_target!(|bytes: &[u8]| {
    let boot = DirectBoot {
        kernel: b"kernel",
        initrd: b"",
        cmdline: "quiet",
    };
    let guest = |hypervisor, kernel, vcpus| Guest {
        firmware: bytes,
        kernel,
        vcpus,
        vcpu: VcpuSignature::of(25, 1, 1),
        hypervisor,
        features: SNP_ACTIVE,
    };
    let alone = guest(Hypervisor::Qemu, None, 1).measurement();
    for hypervisor in Hypervisor::ALL {
        let two = guest(hypervisor, None, 2).measurement();
        let booted = guest(hypervisor, Some(boot), 1).measurement();
        assert!(
            alone.is_ok() || (two.is_err() && booted.is_err()),
            "an image that is none for one processor alone: {alone:?}"
        );
        assert!(alone.is_err() || two != alone, "two processors measure as one");
        assert!(alone.is_err() || booted != alone, "a kernel is not measured");
    }
    let orders = PageOrder::ALL.map(|order| mrtd(bytes, order));
    let [by_page, by_section] = &orders;
    assert_eq!(by_page.is_ok(), by_section.is_ok(), "{orders:?}");
    if !bytes.is_empty() && !bytes.len().is_multiple_of(4096) {
        assert!(alone.is_err() && by_page.is_err(), "half a page");
    }
});
