//! What an event says it measured, and whether its digest is of that.

use super::text::{escaped, hex_summary, read, summary};
use super::uefi::{self, Variable};
use super::{Bank, Event, EventType};
use crate::dcap::wire::Reader;

/// Tags of the Linux EFI stub (`drivers/firmware/efi/libstub/efistub.h`).
const LINUX_INITRD: u32 = 0x8f3b_22ec;
const LINUX_LOAD_OPTIONS: u32 = 0x8f3b_22ed;
/// Tag of the log of a confidential guest's attestation agent, "AAEL" (Confidential Containers, *Attestation
/// Agent Event Log*): domain, operation and content in one line.
const ATTESTATION_AGENT: u32 = 0x4141_454c;

/// What the boot loader GRUB puts before the command or kernel command line whose digest it extends.
const GRUB_PREFIXES: [&[u8]; 4] = [
    b"grub_cmd: ",
    b"grub_cmd ",
    b"kernel_cmdline: ",
    b"grub_kernel_cmdline ",
];

/// Whether the digest is of what the event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coverage {
    /// It is.
    Covered,
    /// By the specification it should be, and it is not.
    Mismatch,
    /// It is of something else, such as an image: the text is its maker's word.
    Unverified,
}

impl Event<'_> {
    /// What it says it measured, in one line for people: bounded, without control characters.
    ///
    /// Nothing is added where the digest in `bank` is of just this text. `[unverified text]` follows where the
    /// digest is of something else, as the digest of an image is not of its path; `[digest is not of this text]`
    /// where by the specification it should be of this text and is not.
    pub fn detail(&self, bank: Bank) -> String {
        let text = self.text();
        match self.coverage(bank) {
            Coverage::Covered => text,
            Coverage::Mismatch => format!("{text} [digest is not of this text]"),
            Coverage::Unverified => format!("{text} [unverified text]"),
        }
    }

    /// PC Client Platform Firmware Profile, §10.4.1: the column "Digest" of the table "Events".
    fn coverage(&self, bank: Bank) -> Coverage {
        let Some(digest) = self.digest(bank) else {
            return Coverage::Unverified;
        };
        let is_of = |bytes: &[u8]| bank.is_digest_of(digest, bytes);
        let variable = || Variable::read(self.data);
        let (must, is) = match self.kind {
            // Where measuring failed, the digest is of the number 1 and the data says what went wrong.
            EventType::SEPARATOR => (true, is_of(self.data) || is_of(&1_u32.to_le_bytes())),
            EventType::ACTION
            | EventType::EFI_ACTION
            | EventType::OMIT_BOOT_DEVICE_EVENTS
            | EventType::S_CRTM_VERSION
            | EventType::EFI_GPT_EVENT
            | EventType::EFI_VARIABLE_DRIVER_CONFIG
            | EventType::EFI_VARIABLE_AUTHORITY
            | EventType::EFI_SPDM_DEVICE_POLICY
            | EventType::EFI_SPDM_DEVICE_AUTHORITY => (true, is_of(self.data)),
            // Of the value alone: the name is not covered, but the value is what decides.
            EventType::EFI_VARIABLE_BOOT => (
                true,
                is_of(self.data) || variable().is_some_and(|variable| is_of(variable.value)),
            ),
            EventType::IPL => (false, is_of(self.data) || self.is_grub_text(is_of)),
            _ => (false, is_of(self.data)),
        };
        match (is, must) {
            (true, _) => Coverage::Covered,
            (false, true) => Coverage::Mismatch,
            (false, false) => Coverage::Unverified,
        }
    }

    fn is_grub_text(&self, is_of: impl Fn(&[u8]) -> bool) -> bool {
        let measured = GRUB_PREFIXES
            .iter()
            .find_map(|prefix| self.data.strip_prefix(*prefix));
        let Some(measured) = measured else { return false };
        // The text ends with a NUL, which one of GRUB's versions measures and others do not; a byte that belongs
        // to nothing may follow it.
        let end = measured
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(measured.len());
        let without = measured.get(..end).unwrap_or_default();
        let with = measured.get(..end.saturating_add(1));
        is_of(without) || with.is_some_and(is_of)
    }

    fn text(&self) -> String {
        let data = self.data;
        let read_as = |structure: Option<String>| structure.unwrap_or_else(|| summary(data));
        match self.kind {
            EventType::SEPARATOR => self.separator(),
            EventType::EVENT_TAG => read_as(tagged(data)),
            EventType::POST_CODE | EventType::EFI_PLATFORM_FIRMWARE_BLOB => read_as(firmware_blob(data)),
            EventType::POST_CODE2 | EventType::EFI_PLATFORM_FIRMWARE_BLOB2 => {
                read_as(described(data, firmware_blob))
            }
            EventType::EFI_HANDOFF_TABLES => read_as(handoff_tables(data)),
            EventType::EFI_HANDOFF_TABLES2 => read_as(described(data, handoff_tables)),
            EventType::EFI_VARIABLE_DRIVER_CONFIG
            | EventType::EFI_VARIABLE_BOOT
            | EventType::EFI_VARIABLE_BOOT2
            | EventType::EFI_VARIABLE_AUTHORITY
            | EventType::EFI_SPDM_DEVICE_POLICY
            | EventType::EFI_SPDM_DEVICE_AUTHORITY => {
                read_as(Variable::read(data).map(|variable| variable.text()))
            }
            EventType::EFI_BOOT_SERVICES_APPLICATION
            | EventType::EFI_BOOT_SERVICES_DRIVER
            | EventType::EFI_RUNTIME_SERVICES_DRIVER => read_as(uefi::image(data)),
            EventType::EFI_GPT_EVENT | EventType::EFI_GPT_EVENT2 => read_as(uefi::partition_table(data)),
            _ => summary(data),
        }
    }

    /// §10.4.1 `EV_SEPARATOR`.
    fn separator(&self) -> String {
        match <[u8; 4]>::try_from(self.data).map(u32::from_le_bytes) {
            Ok(0 | u32::MAX) => "end of the firmware's measurements".to_owned(),
            _ => format!("measuring failed: {}", summary(self.data)),
        }
    }
}

/// `TCG_PCClientTaggedEvent`.
fn tagged(data: &[u8]) -> Option<String> {
    let mut reader = Reader::new(data);
    let tag = reader.u32("tag").ok()?;
    let size = usize::try_from(reader.u32("size").ok()?).ok()?;
    let content = reader.take(size, "tagged data").ok()?;
    if reader.offset() != data.len() {
        return None;
    }
    Some(match tag {
        LINUX_INITRD | LINUX_LOAD_OPTIONS => summary(content),
        ATTESTATION_AGENT => match str::from_utf8(content) {
            Ok(line) => format!("AAEL: {}", escaped(line)),
            Err(_) => format!("AAEL: {}", hex_summary(content)),
        },
        _ => format!("tag {tag:#010x}: {}", summary(content)),
    })
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB`, or the text that older firmware has in its place.
fn firmware_blob(data: &[u8]) -> Option<String> {
    if data.len() != 16 || read(data).is_some() {
        return None;
    }
    let mut reader = Reader::new(data);
    let base = reader.u64("base").ok()?;
    let length = reader.u64("length").ok()?;
    Some(format!("{length} bytes at {base:#x}"))
}

/// `UEFI_HANDOFF_TABLE_POINTERS`.
fn handoff_tables(data: &[u8]) -> Option<String> {
    let mut reader = Reader::new(data);
    let count = reader.u64("number of tables").ok()?;
    let mut tables = Vec::new();
    while reader.offset() < data.len() {
        let guid = reader.array("GUID").ok()?;
        reader.u64("address").ok()?;
        tables.push(super::text::guid(guid));
    }
    if u64::try_from(tables.len()) != Ok(count) {
        return None;
    }
    Some(escaped(&tables.join(" ")))
}

/// A structure of the second kind: its description, and then what the first kind has.
fn described(data: &[u8], rest: impl Fn(&[u8]) -> Option<String>) -> Option<String> {
    let (length, data) = data.split_first()?;
    let (description, data) = data.split_at_checked(usize::from(*length))?;
    Some(format!("{}: {}", summary(description), rest(data)?))
}
