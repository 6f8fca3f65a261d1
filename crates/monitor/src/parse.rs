//! Parsers of the kernel's files: pure, no panic on any bytes, no floating point, overflow checked.
//!
//! `/proc/vmstat` and `/proc/net/route` are read with `procfs`. The rest is our own: `procfs` reads load averages and
//! uptime as floating point, has no count of interrupts, panics on a short line of pressure and overflows on a large
//! amount of memory, wants all 74 counters of `/proc/net/snmp`, believes headings and lines that were cut off, and
//! allocates a string or a map per line. What is signed must be exact, and this runs for ever.
//!
//! The bytes are hostile and bounded by the caller ([`MAX_FILE`](crate::MAX_FILE)). Every file of Linux ends
//! with a line feed, so a file that was cut off within a line is refused.

mod disk;
mod load;
mod memory;
mod net;
mod stat;

pub use self::disk::{Disk, diskstats};
pub use self::load::{FileHandles, Load, file_nr, loadavg, uptime};
pub use self::memory::{Memory, Paging, Pressure, meminfo, pressure, vmstat};
pub use self::net::{
    Flow, Interface, Sockets, Tcp, Traffic, count, default_gateway, interfaces, net_dev, snmp, sockstat,
};
pub use self::stat::{CpuTimes, Stat, stat};

/// The file is not as Linux writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Malformed {
    /// The fault.
    pub what: &'static str,
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        line.strip_suffix(b"\n").ok_or(Malformed {
            what: "the last line is cut off",
        })
    })
}

/// The same bytes, if their last line is whole.
fn whole(bytes: &[u8]) -> Result<&[u8], Malformed> {
    if bytes.is_empty() || bytes.ends_with(b"\n") {
        Ok(bytes)
    } else {
        Err(Malformed {
            what: "the last line is cut off",
        })
    }
}

fn only_line(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut lines = lines(bytes);
    let line = lines.next().ok_or(Malformed {
        what: "the file is empty",
    })??;
    if lines.next().is_some() {
        Err(Malformed {
            what: "more than one line",
        })
    } else {
        Ok(line)
    }
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|field| !field.is_empty())
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = bytes.splitn(2, |byte| *byte == separator);
    Some((parts.next()?, parts.next()?))
}

fn end<'a>(mut fields: impl Iterator<Item = &'a [u8]>, what: &'static str) -> Result<(), Malformed> {
    if fields.next().is_some() {
        Err(Malformed { what })
    } else {
        Ok(())
    }
}

fn once<T>(slot: &mut Option<T>, value: T, what: &'static str) -> Result<(), Malformed> {
    if slot.replace(value).is_some() {
        Err(Malformed { what })
    } else {
        Ok(())
    }
}

/// A decimal number: digits only, at most [`u64::MAX`]. `what` names it if it is not there or is none.
fn number(field: Option<&[u8]>, what: &'static str) -> Result<u64, Malformed> {
    let digits = field
        .filter(|digits| !digits.is_empty())
        .ok_or(Malformed { what })?;
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte
            .checked_sub(b'0')
            .filter(|digit| *digit < 10)
            .ok_or(Malformed { what })?;
        number
            .checked_mul(10)
            .and_then(|number| number.checked_add(digit.into()))
            .ok_or(Malformed { what })
    })
}

#[cfg(test)]
mod tests;
