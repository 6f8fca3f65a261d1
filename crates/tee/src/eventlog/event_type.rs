//! Types of events: TCG, *PC Client Platform Firmware Profile Specification*, version 1.06, §10.4.1, table
//! "Events".

use std::fmt;

/// The type of an event, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(pub u32);

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl EventType {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Its name in the specification.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

event_types! {
    /// Reserved.
    PREBOOT_CERT = 0x0, "EV_PREBOOT_CERT";
    /// Code of the firmware or ACPI data.
    POST_CODE = 0x1, "EV_POST_CODE";
    /// Reserved.
    UNUSED = 0x2, "EV_UNUSED";
    /// Information that is not extended.
    NO_ACTION = 0x3, "EV_NO_ACTION";
    /// Border between what the firmware and what the operating system's loader measured.
    SEPARATOR = 0x4, "EV_SEPARATOR";
    /// Something that was done, in words.
    ACTION = 0x5, "EV_ACTION";
    /// Data of the operating system's loader, tagged.
    EVENT_TAG = 0x6, "EV_EVENT_TAG";
    /// Contents of the static root of trust.
    S_CRTM_CONTENTS = 0x7, "EV_S_CRTM_CONTENTS";
    /// Version of the static root of trust.
    S_CRTM_VERSION = 0x8, "EV_S_CRTM_VERSION";
    /// Microcode update.
    CPU_MICROCODE = 0x9, "EV_CPU_MICROCODE";
    /// Configuration of the platform.
    PLATFORM_CONFIG_FLAGS = 0xa, "EV_PLATFORM_CONFIG_FLAGS";
    /// Devices of the platform.
    TABLE_OF_DEVICES = 0xb, "EV_TABLE_OF_DEVICES";
    /// Data that the platform measured through the BIOS interface.
    COMPACT_HASH = 0xc, "EV_COMPACT_HASH";
    /// What the boot loader measured.
    IPL = 0xd, "EV_IPL";
    /// Partition table of the boot disk, before UEFI.
    IPL_PARTITION_DATA = 0xe, "EV_IPL_PARTITION_DATA";
    /// Executable of a non-host platform.
    NONHOST_CODE = 0xf, "EV_NONHOST_CODE";
    /// Configuration of a non-host platform.
    NONHOST_CONFIG = 0x10, "EV_NONHOST_CONFIG";
    /// What is known of a non-host platform.
    NONHOST_INFO = 0x11, "EV_NONHOST_INFO";
    /// Boot attempts were not measured.
    OMIT_BOOT_DEVICE_EVENTS = 0x12, "EV_OMIT_BOOT_DEVICE_EVENTS";
    /// Code of the firmware.
    POST_CODE2 = 0x13, "EV_POST_CODE2";
    /// UEFI variable that configures drivers, such as those of Secure Boot.
    EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG";
    /// UEFI variable of the boot order; the digest is of its value.
    EFI_VARIABLE_BOOT = 0x8000_0002, "EV_EFI_VARIABLE_BOOT";
    /// Application that was loaded.
    EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION";
    /// Boot driver that was loaded.
    EFI_BOOT_SERVICES_DRIVER = 0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER";
    /// Run-time driver that was loaded.
    EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER";
    /// Partition table of the boot disk.
    EFI_GPT_EVENT = 0x8000_0006, "EV_EFI_GPT_EVENT";
    /// Something that the firmware did, in words.
    EFI_ACTION = 0x8000_0007, "EV_EFI_ACTION";
    /// Firmware volume.
    EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB";
    /// Tables handed to the operating system.
    EFI_HANDOFF_TABLES = 0x8000_0009, "EV_EFI_HANDOFF_TABLES";
    /// Firmware volume, described.
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2";
    /// Tables handed to the operating system, described.
    EFI_HANDOFF_TABLES2 = 0x8000_000b, "EV_EFI_HANDOFF_TABLES2";
    /// UEFI variable of the boot order; the digest is of its normalised form.
    EFI_VARIABLE_BOOT2 = 0x8000_000c, "EV_EFI_VARIABLE_BOOT2";
    /// Partition table of the boot disk; the digest is of its normalised form.
    EFI_GPT_EVENT2 = 0x8000_000d, "EV_EFI_GPT_EVENT2";
    /// The hardware's root of trust measured.
    EFI_HCRTM_EVENT = 0x8000_0010, "EV_EFI_HCRTM_EVENT";
    /// Certificate by which Secure Boot accepted an image.
    EFI_VARIABLE_AUTHORITY = 0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY";
    /// Firmware of a device that was measured over SPDM.
    EFI_SPDM_FIRMWARE_BLOB = 0x8000_00e1, "EV_EFI_SPDM_FIRMWARE_BLOB";
    /// Configuration of a device that was measured over SPDM.
    EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00e2, "EV_EFI_SPDM_FIRMWARE_CONFIG";
    /// UEFI variable that says which devices are acceptable.
    EFI_SPDM_DEVICE_POLICY = 0x8000_00e3, "EV_EFI_SPDM_DEVICE_POLICY";
    /// Certificate by which a device was accepted.
    EFI_SPDM_DEVICE_AUTHORITY = 0x8000_00e4, "EV_EFI_SPDM_DEVICE_AUTHORITY";
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}
