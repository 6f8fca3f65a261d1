//! `/proc/diskstats`.

use super::{Malformed, fields, lines, number};

/// One line of `/proc/diskstats`: a disk or a part of one. All but the name is since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk<'a> {
    /// The kernel's name, unchecked.
    pub name: &'a [u8],
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads that completed.
    pub reads: u64,
    /// Writes that completed.
    pub writes: u64,
    /// Time in which the disk had something to do, in milliseconds.
    pub busy_millis: u64,
}

/// Parses `/proc/diskstats`: Documentation/admin-guide/iostats.rst. Which lines are whole disks is not told
/// there. A machine without disks has an empty file.
///
/// # Errors
/// Each item: if the line has fewer than the 14 fields of Linux 2.6.25 or one that is not a number, a number
/// of bytes overflows, or the file is cut off.
pub fn diskstats(bytes: &[u8]) -> impl Iterator<Item = Result<Disk<'_>, Malformed>> {
    lines(bytes).map(|line| disk(line?))
}

fn disk(line: &[u8]) -> Result<Disk<'_>, Malformed> {
    let mut fields = fields(line);
    number(fields.next(), "a disk's major number")?;
    number(fields.next(), "a disk's minor number")?;
    let name = fields.next().ok_or(Malformed {
        what: "a line without a disk's name",
    })?;
    let mut next = || number(fields.next(), "a counter of a disk");
    let [reads, _reads_merged, sectors_read, _read_millis] = [next()?, next()?, next()?, next()?];
    let [writes, _writes_merged, sectors_written, _write_millis] = [next()?, next()?, next()?, next()?];
    let [_in_flight, busy_millis, _weighted_millis] = [next()?, next()?, next()?];
    Ok(Disk {
        name,
        read_bytes: sector_bytes(sectors_read)?,
        written_bytes: sector_bytes(sectors_written)?,
        reads,
        writes,
        busy_millis,
    })
}

/// The block layer's sector is 512 bytes on every disk, whatever the disk's own: SECTOR_SIZE in the kernel's
/// include/linux/blk_types.h.
fn sector_bytes(sectors: u64) -> Result<u64, Malformed> {
    sectors.checked_mul(512).ok_or(Malformed {
        what: "a disk's bytes overflow",
    })
}
