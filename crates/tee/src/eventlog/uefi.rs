//! UEFI structures within events: variables, images, device paths and partition tables.

use super::text::{escaped, guid, hex_summary, summary, utf16, utf16_exact};
use crate::dcap::wire::Reader;

/// Most nodes of a device path, partitions or boot options that are shown.
const MAX_SHOWN: usize = 32;

/// `UEFI_VARIABLE_DATA` (PC Client Platform Firmware Profile, §10.2.6).
pub(super) struct Variable<'a> {
    vendor: [u8; 16],
    name: String,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Variable<'a> {
    /// The structure at the start of the bytes: one boot loader is known to log some bytes too many.
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let vendor = reader.array("vendor").ok()?;
        let characters = usize::try_from(reader.u64("length of the name").ok()?).ok()?;
        let length = usize::try_from(reader.u64("length of the value").ok()?).ok()?;
        let name = reader.take(characters.checked_mul(2)?, "name").ok()?;
        let value = reader.take(length, "value").ok()?;
        Some(Self {
            vendor,
            name: utf16_exact(name)?,
            value,
        })
    }

    /// Name, vendor and value.
    pub fn text(&self) -> String {
        let value = match self.name.as_str() {
            "BootOrder" => boot_order(self.value),
            name if is_boot_option(name) => boot_option(self.value),
            _ => None,
        };
        let value = value.unwrap_or_else(|| summary(self.value));
        format!("{} {} = {value}", escaped(&self.name), guid(self.vendor))
    }
}

fn is_boot_option(name: &str) -> bool {
    name.strip_prefix("Boot")
        .is_some_and(|number| number.len() == 4 && number.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn boot_order(value: &[u8]) -> Option<String> {
    let (options, rest) = value.as_chunks::<2>();
    if options.is_empty() || !rest.is_empty() {
        return None;
    }
    let names = options
        .iter()
        .take(MAX_SHOWN)
        .map(|option| format!("Boot{:04X}", u16::from_le_bytes(*option)));
    Some(names.collect::<Vec<_>>().join(" "))
}

/// `EFI_LOAD_OPTION` (UEFI Specification 2.10, §3.1.3).
fn boot_option(value: &[u8]) -> Option<String> {
    let mut reader = Reader::new(value);
    reader.u32("attributes").ok()?;
    let path_len = usize::from(reader.u16("length of the device paths").ok()?);
    let rest = value.get(reader.offset()..)?;
    let (units, _) = rest.as_chunks::<2>();
    let name_units = units.iter().position(|unit| *unit == [0, 0])?;
    let (name, rest) = rest.split_at_checked(name_units.checked_mul(2)?)?;
    let path = rest.get(2..)?.get(..path_len)?;
    let name = escaped(&utf16_exact(name)?);
    Some(format!("{name}, {}", device_path(path)))
}

/// `UEFI_IMAGE_LOAD_EVENT` (PC Client Platform Firmware Profile, §10.2.3): where the image came from.
pub(super) fn image(data: &[u8]) -> Option<String> {
    let mut reader = Reader::new(data);
    reader.u64("location").ok()?;
    let length = reader.u64("length").ok()?;
    reader.u64("link-time address").ok()?;
    let path_len = usize::try_from(reader.u64("length of the device path").ok()?).ok()?;
    // Some boot loaders give a wrong length here.
    let path = match reader.take(path_len, "device path") {
        Ok(path) if reader.offset() == data.len() => device_path(path),
        _ => "device path unreadable".to_owned(),
    };
    Some(if length == 0 {
        path
    } else {
        format!("{path}, {length} bytes")
    })
}

/// Types of device path nodes (UEFI Specification 2.10, §10.3).
const HARDWARE: u8 = 1;
const ACPI: u8 = 2;
const MESSAGING: u8 = 3;
const MEDIA: u8 = 4;
const END: u8 = 0x7f;

fn device_path(mut path: &[u8]) -> String {
    let mut nodes = Vec::new();
    while let Some(([kind, subtype, low, high], _)) = path.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let Some((node, rest)) = path.split_at_checked(length).filter(|_| length >= 4) else {
            nodes.push("unreadable".to_owned());
            break;
        };
        if nodes.len() == MAX_SHOWN {
            nodes.push("…".to_owned());
            break;
        }
        if *kind != END {
            nodes.push(device_node(*kind, *subtype, node.get(4..).unwrap_or_default()));
        }
        path = rest;
    }
    if nodes.is_empty() {
        return "no device path".to_owned();
    }
    nodes.join("/")
}

fn device_node(kind: u8, subtype: u8, body: &[u8]) -> String {
    known_node(kind, subtype, body).unwrap_or_else(|| format!("Path({kind},{subtype},{})", hex_summary(body)))
}

/// The text forms of UEFI Specification 2.10, §10.6.1, for what boots.
fn known_node(kind: u8, subtype: u8, body: &[u8]) -> Option<String> {
    const PCI_ROOT: u32 = 0x0a03_41d0;
    const PCIE_ROOT: u32 = 0x0a08_41d0;
    let mut reader = Reader::new(body);
    Some(match (kind, subtype) {
        (HARDWARE, 1) => {
            let [function, device] = body.try_into().ok()?;
            format!("Pci({device:#x},{function:#x})")
        }
        (ACPI, 1) => {
            let hid = reader.u32("_HID").ok()?;
            let uid = reader.u32("_UID").ok()?;
            match hid {
                PCI_ROOT => format!("PciRoot({uid:#x})"),
                PCIE_ROOT => format!("PcieRoot({uid:#x})"),
                _ => format!("Acpi({hid:#010x},{uid:#x})"),
            }
        }
        (MESSAGING, 2) => {
            let target = reader.u16("target").ok()?;
            let unit = reader.u16("logical unit").ok()?;
            format!("Scsi({target:#x},{unit:#x})")
        }
        (MESSAGING, 11) => format!("MAC({})", hex::encode(body.get(..6)?)),
        (MESSAGING, 23) => format!("NVMe({:#x})", reader.u32("namespace").ok()?),
        (MEDIA, 1) => {
            let partition = reader.u32("partition").ok()?;
            reader.u64("start").ok()?;
            reader.u64("size").ok()?;
            let signature: [u8; 16] = reader.array("signature").ok()?;
            format!("HD({partition},{})", guid(signature))
        }
        (MEDIA, 3) => format!("VenMedia({})", guid(reader.array("vendor").ok()?)),
        (MEDIA, 4) => escaped(utf16_exact(body)?.trim_end_matches('\0')),
        (MEDIA, 6) => format!("FvFile({})", guid(body.try_into().ok()?)),
        (MEDIA, 7) => format!("Fv({})", guid(body.try_into().ok()?)),
        _ => return None,
    })
}

/// `UEFI_GPT_DATA` (PC Client Platform Firmware Profile, §10.2.5): the disk and its partitions.
pub(super) fn partition_table(data: &[u8]) -> Option<String> {
    /// Length of `EFI_PARTITION_TABLE_HEADER`, and where the disk's GUID stands in it (UEFI Specification 2.10,
    /// §5.3.2).
    const HEADER: usize = 92;
    const DISK_GUID: usize = 56;
    /// Length of `EFI_PARTITION_ENTRY`, and where the name stands in it (§5.3.3).
    const ENTRY: usize = 128;
    const NAME: usize = 56;
    let (header, rest) = data.split_at_checked(HEADER)?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let disk = guid(*header.get(DISK_GUID..)?.first_chunk()?);
    let (count, entries) = rest.split_first_chunk()?;
    let count = u64::from_le_bytes(*count);
    let (entries, rest) = entries.as_chunks::<ENTRY>();
    if !rest.is_empty() || u64::try_from(entries.len()) != Ok(count) {
        return None;
    }
    let names = entries.iter().take(MAX_SHOWN).map(|entry| {
        let kind = entry.first_chunk().copied().map(guid).unwrap_or_default();
        match entry.get(NAME..).and_then(utf16) {
            Some(name) => name,
            None => kind,
        }
    });
    let names: Vec<_> = names.collect();
    Some(format!(
        "disk {disk}, {count} partitions: {}",
        escaped(&names.join(" "))
    ))
}
