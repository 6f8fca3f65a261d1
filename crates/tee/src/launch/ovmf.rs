//! OVMF, the UEFI firmware of virtual machines: the table at its end by which it tells hypervisors what it wants.
//!
//! Layout: EDK II, `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm`: 32 bytes before the end of the image stands the
//! table, which grows downward: each entry is its data, the entry's length (u16) and a GUID; the last one, nearest to
//! the end, is the footer, and its length is the table's.

use super::LaunchError;
use super::bytes::Bytes;

/// What messages call it.
pub(crate) const FIRMWARE: &str = "firmware image";
/// Largest image: QEMU maps at most 8 MiB by default, and 16 MiB (`max-fw-size`) where it is told to.
pub(crate) const MAX_FIRMWARE: usize = 16 * 1024 * 1024;
pub(crate) const PAGE: usize = 4096;
/// Where an image ends in the guest's memory.
const FOUR_GIB: u64 = 1 << 32;

/// Bytes between the table and the end of the image: the reset vector.
const AFTER_TABLE: usize = 32;
/// Length and GUID of an entry.
const ENTRY: usize = 18;
const GUID: usize = 16;

/// 96b582de-1fb2-45f7-baea-a366c55a082d
const FOOTER: [u8; GUID] = guid(0x96b5_82de_1fb2_45f7_baea_a366_c55a_082d);

/// A GUID as it stands in memory: the first three fields are little-endian (UEFI Specification, appendix A).
pub(crate) const fn guid(text: u128) -> [u8; GUID] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = text.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

/// An image whose table was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Firmware<'a> {
    pub(crate) bytes: Bytes<'a>,
    table: usize,
    table_end: usize,
}

impl<'a> Firmware<'a> {
    pub(crate) fn parse(image: &'a [u8]) -> Result<Self, LaunchError> {
        let bytes = Bytes::bounded(FIRMWARE, image, MAX_FIRMWARE)?;
        if bytes.len() == 0 || !bytes.len().is_multiple_of(PAGE) {
            return Err(bytes.malformed(bytes.len(), format!("its length is no multiple of {PAGE} bytes")));
        }
        let table_end = bytes.len().saturating_sub(AFTER_TABLE);
        let footer = table_end.saturating_sub(ENTRY);
        let guid_at = table_end.saturating_sub(GUID);
        if bytes.array::<GUID>(guid_at, "footer of the table of GUIDs")? != FOOTER {
            return Err(bytes.unsupported(
                "it has no table of GUIDs at its end, so that it is no OVMF that knows confidential guests",
            ));
        }
        let length = usize::from(bytes.u16(footer, "length of the table of GUIDs")?);
        let table = table_end
            .checked_sub(length)
            .filter(|_| length >= ENTRY)
            .ok_or_else(|| {
                bytes.malformed(
                    footer,
                    format!("a table of GUIDs cannot have {length} bytes here"),
                )
            })?;
        let firmware = Self {
            bytes,
            table,
            table_end: footer,
        };
        // The whole table is looked at, so that what is read does not depend on what is asked for.
        firmware.walk(|_, _| ())?;
        Ok(firmware)
    }

    /// Data of an entry, and where it stands.
    pub(crate) fn entry(&self, wanted: [u8; GUID]) -> Result<Option<(usize, &'a [u8])>, LaunchError> {
        let mut found = None;
        let mut twice = None;
        self.walk(|guid, data| {
            if guid == wanted {
                twice = twice.or(found.map(|_| data.0));
                found = Some(data);
            }
        })?;
        match twice {
            Some(offset) => Err(self
                .bytes
                .malformed(offset, "two entries of one GUID in the table".to_owned())),
            None => Ok(found),
        }
    }

    /// A number in the first four bytes of an entry.
    pub(crate) fn number(&self, wanted: [u8; GUID], what: &str) -> Result<Option<u32>, LaunchError> {
        let Some((offset, data)) = self.entry(wanted)? else {
            return Ok(None);
        };
        let Some(number) = data.first_chunk::<4>() else {
            return Err(self
                .bytes
                .malformed(offset, format!("{what} needs 4 bytes, {} are there", data.len())));
        };
        Ok(Some(u32::from_le_bytes(*number)))
    }

    /// Where a structure stands to which an entry points by the distance from the image's end.
    pub(crate) fn pointed_at(&self, wanted: [u8; GUID], what: &str) -> Result<Option<usize>, LaunchError> {
        let Some(distance) = self.number(wanted, what)? else {
            return Ok(None);
        };
        let offset = usize::try_from(distance)
            .ok()
            .and_then(|distance| self.bytes.len().checked_sub(distance));
        match offset {
            Some(offset) => Ok(Some(offset)),
            None => Err(self.bytes.malformed(
                self.table,
                format!("{what} stands {distance} bytes before the end, outside of the image"),
            )),
        }
    }

    /// Where the image starts in the guest's memory: it ends at 4 GiB.
    pub(crate) fn start(&self) -> u64 {
        FOUR_GIB.saturating_sub(u64::try_from(self.bytes.len()).unwrap_or(FOUR_GIB))
    }

    fn walk(&self, mut visit: impl FnMut([u8; GUID], (usize, &'a [u8]))) -> Result<(), LaunchError> {
        let mut end = self.table_end;
        while end > self.table {
            let header = end
                .checked_sub(ENTRY)
                .filter(|at| *at >= self.table)
                .ok_or_else(|| {
                    self.bytes.malformed(
                        self.table,
                        "bytes in the table of GUIDs that are no entry".to_owned(),
                    )
                })?;
            let length = usize::from(self.bytes.u16(header, "length of an entry")?);
            let start = end
                .checked_sub(length)
                .filter(|at| *at >= self.table && *at <= header)
                .ok_or_else(|| {
                    self.bytes.malformed(
                        header,
                        format!("an entry of the table of GUIDs cannot have {length} bytes here"),
                    )
                })?;
            let guid = self.bytes.array(header.saturating_add(2), "GUID of an entry")?;
            let data = self
                .bytes
                .slice(start, header.saturating_sub(start), "data of an entry")?;
            visit(guid, (start, data));
            end = start;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_stands_in_memory_as_uefi_has_it() {
        let guid = guid(0x96b5_82de_1fb2_45f7_baea_a366_c55a_082d);
        assert_eq!(hex::encode(guid), "de82b596b21ff745baeaa366c55a082d");
    }

    /// A page that ends in a table with these entries.
    fn image(entries: &[(u128, &[u8])]) -> Vec<u8> {
        let mut table = Vec::new();
        for (name, data) in entries {
            table.extend_from_slice(data);
            table.extend_from_slice(&u16::try_from(data.len() + ENTRY).unwrap().to_le_bytes());
            table.extend_from_slice(&guid(*name));
        }
        table.extend_from_slice(&u16::try_from(table.len() + ENTRY).unwrap().to_le_bytes());
        table.extend_from_slice(&FOOTER);
        table.extend_from_slice(&[0x90; AFTER_TABLE]);
        let mut image = vec![0; PAGE - table.len()];
        image.extend_from_slice(&table);
        image
    }

    #[test]
    fn entries_are_found_with_their_data() {
        let image = image(&[(1, b"one!"), (2, b""), (3, &[7, 0, 0, 0, 9])]);
        let firmware = Firmware::parse(&image).unwrap();
        assert_eq!(firmware.entry(guid(1)).unwrap().unwrap().1, b"one!");
        assert_eq!(firmware.entry(guid(2)).unwrap().unwrap().1, b"");
        assert_eq!(firmware.number(guid(3), "it").unwrap(), Some(7));
        assert_eq!(firmware.entry(guid(4)).unwrap(), None);
        assert_eq!(firmware.start(), 0xffff_f000);
    }

    #[test]
    fn hostile_tables_are_refused() {
        let good = image(&[(1, b"one!")]);
        let fault = |image: &[u8]| match Firmware::parse(image) {
            Err(LaunchError::Malformed { what, .. } | LaunchError::Unsupported { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(&[]), "its length is no multiple of 4096 bytes");
        assert_eq!(fault(&good[1..]), "its length is no multiple of 4096 bytes");
        assert!(fault(&[0; PAGE]).starts_with("it has no table of GUIDs"));
        let footer = PAGE - AFTER_TABLE - ENTRY;
        for (length, told) in [
            (0_u16, "a table of GUIDs cannot have 0 bytes here"),
            (0xffff, "a table of GUIDs cannot have 65535 bytes here"),
            (ENTRY as u16 + 1, "bytes in the table of GUIDs that are no entry"),
            (
                ENTRY as u16 + 20,
                "an entry of the table of GUIDs cannot have 22 bytes here",
            ),
        ] {
            let mut bad = good.clone();
            bad[footer..footer + 2].copy_from_slice(&length.to_le_bytes());
            assert_eq!(fault(&bad), told);
        }
        for length in [0_u16, 17, 23] {
            let mut bad = good.clone();
            bad[footer - ENTRY..footer - ENTRY + 2].copy_from_slice(&length.to_le_bytes());
            let told = format!("an entry of the table of GUIDs cannot have {length} bytes here");
            assert_eq!(fault(&bad), told);
        }
        let twice = image(&[(1, b"one!"), (1, b"two!")]);
        let error = Firmware::parse(&twice).unwrap().entry(guid(1)).unwrap_err();
        assert!(error.to_string().contains("two entries of one GUID"), "{error}");
        let short = image(&[(1, b"two")]);
        let error = Firmware::parse(&short)
            .unwrap()
            .number(guid(1), "it")
            .unwrap_err();
        assert!(
            error.to_string().contains("it needs 4 bytes, 3 are there"),
            "{error}"
        );
        let outside = image(&[(1, &[1, 0x10, 0, 0])]);
        let error = Firmware::parse(&outside)
            .unwrap()
            .pointed_at(guid(1), "it")
            .unwrap_err();
        assert!(error.to_string().contains("outside of the image"), "{error}");
        assert_eq!(
            Firmware::parse(&vec![0; MAX_FIRMWARE + 1]).unwrap_err(),
            LaunchError::TooLarge {
                image: FIRMWARE,
                limit: MAX_FIRMWARE
            }
        );
    }
}
