//! Parsers of a control group's files: pure, no panic on any bytes, overflow checked.
//!
//! The bytes are hostile and bounded by the caller. The formats are those of the kernel's
//! Documentation/admin-guide/cgroup-v2.rst ("Interface Files") and Documentation/admin-guide/cgroup-v1.

use crate::parse::Malformed;

/// Bytes that a group read and wrote on block devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// Read.
    pub read_bytes: u64,
    /// Written.
    pub written_bytes: u64,
}

/// Parses a file of one number, such as `memory.current` or `cpuacct.usage`.
///
/// # Errors
/// If it is not one line of digits within 64 bits.
pub fn single(bytes: &[u8]) -> Result<u64, Malformed> {
    let line = bytes.strip_suffix(b"\n").ok_or(CUT_OFF)?;
    number(line, "not one number")
}

/// Finds `keys` in a file of `KEY VALUE` lines, such as `cpu.stat`, `memory.stat` or `memory.events`.
///
/// A key that the kernel does not have is `None`; which keys there are depends on its version.
///
/// # Errors
/// If a line is cut off, or a key that is looked for is there twice or has no number.
pub fn keyed<const N: usize>(bytes: &[u8], keys: [&[u8]; N]) -> Result<[Option<u64>; N], Malformed> {
    let mut found = [None; N];
    for line in lines(bytes) {
        let line = line?;
        for (slot, key) in found.iter_mut().zip(keys) {
            let Some(value) = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(b" ")) else {
                continue;
            };
            if slot
                .replace(number(value, "the value of a key is not a number")?)
                .is_some()
            {
                return Err(Malformed {
                    what: "a key is there twice",
                });
            }
        }
    }
    Ok(found)
}

/// Parses `io.stat` of version 2: `MAJOR:MINOR rbytes=… wbytes=… …`, summed over all devices. A device without
/// counters has a line of its own on some kernels.
///
/// # Errors
/// If a line is cut off, a number of bytes is none, or a sum overflows.
pub fn io_stat(bytes: &[u8]) -> Result<BlockIo, Malformed> {
    let mut sum = BlockIo::default();
    for line in lines(bytes) {
        for field in line?.split(|byte| *byte == b' ') {
            if let Some(value) = field.strip_prefix(b"rbytes=") {
                add(&mut sum.read_bytes, value)?;
            } else if let Some(value) = field.strip_prefix(b"wbytes=") {
                add(&mut sum.written_bytes, value)?;
            }
        }
    }
    Ok(sum)
}

/// Parses `blkio.throttle.io_service_bytes_recursive` of version 1: `MAJOR:MINOR Read …` and `… Write …`, summed
/// over all devices. The lines of totals are not taken.
///
/// # Errors
/// If a line is cut off, a number of bytes is none, or a sum overflows.
pub fn blkio(bytes: &[u8]) -> Result<BlockIo, Malformed> {
    let mut sum = BlockIo::default();
    for line in lines(bytes) {
        let mut fields = line?.split(|byte| *byte == b' ');
        match (fields.next(), fields.next(), fields.next()) {
            (_, Some(b"Read"), Some(value)) => add(&mut sum.read_bytes, value)?,
            (_, Some(b"Write"), Some(value)) => add(&mut sum.written_bytes, value)?,
            _ => {}
        }
    }
    Ok(sum)
}

/// Parses `cpu.pressure` and its like (Documentation/accounting/psi.rst): microseconds for which some task waited.
///
/// # Errors
/// If there is no line `some` with a total.
pub fn pressure(bytes: &[u8]) -> Result<u64, Malformed> {
    const WHAT: Malformed = Malformed {
        what: "no line `some` with a total",
    };
    for line in lines(bytes) {
        let Some(rest) = line?.strip_prefix(b"some ") else {
            continue;
        };
        let total = rest
            .split(|byte| *byte == b' ')
            .find_map(|field| field.strip_prefix(b"total="));
        return number(total.ok_or(WHAT)?, WHAT.what);
    }
    Err(WHAT)
}

const CUT_OFF: Malformed = Malformed {
    what: "the last line is cut off",
};

fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\n").ok_or(CUT_OFF))
}

fn add(sum: &mut u64, digits: &[u8]) -> Result<(), Malformed> {
    let bytes = number(digits, "a number of bytes is none")?;
    *sum = sum.checked_add(bytes).ok_or(Malformed {
        what: "the sum of all devices overflows",
    })?;
    Ok(())
}

fn number(digits: &[u8], what: &'static str) -> Result<u64, Malformed> {
    if digits.is_empty() {
        return Err(Malformed { what });
    }
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
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Malformed>, what: &str) {
        assert_eq!(result.unwrap_err().what, what);
    }

    #[test]
    fn one_number() {
        assert_eq!(single(b"18446744073709551615\n"), Ok(u64::MAX));
        for bytes in [
            &b"\n"[..],
            b"max\n",
            b"1 2\n",
            b"-1\n",
            b"1\n2\n",
            b"18446744073709551616\n",
        ] {
            refused(single(bytes), "not one number");
        }
        refused(single(b"12"), "the last line is cut off");
        refused(single(b""), "the last line is cut off");
    }

    #[test]
    fn keys_are_whole_words_and_once() {
        let file = b"inactive_file 7\ninactive_file_x 8\nx\ntotal_inactive_file 9\n";
        let found = keyed(file, [b"inactive_file", b"total_inactive_file", b"none"]);
        assert_eq!(found, Ok([Some(7), Some(9), None]));
        assert_eq!(keyed(b"", [b"a"]), Ok([None]));
        refused(keyed(b"a 1\na 1\n", [b"a"]), "a key is there twice");
        refused(keyed(b"a x\n", [b"a"]), "the value of a key is not a number");
        refused(keyed(b"a 1", [b"a"]), "the last line is cut off");
    }

    #[test]
    fn bytes_of_all_devices_are_added() {
        let two = b"8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n254:1 \n9:0 rbytes=1 wbytes=2\n";
        let sum = BlockIo {
            read_bytes: 11,
            written_bytes: 22,
        };
        assert_eq!(io_stat(two), Ok(sum));
        let one =
            b"8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:0 Total 30\n9:0 Read 1\n9:0 Write 2\nTotal 33\n";
        assert_eq!(blkio(one), Ok(sum));
        assert_eq!(blkio(b"Total 0\n"), Ok(BlockIo::default()));
        refused(io_stat(b"8:0 rbytes=x\n"), "a number of bytes is none");
        let overflow = b"8:0 Read 18446744073709551615\n9:0 Read 1\n";
        refused(blkio(overflow), "the sum of all devices overflows");
    }

    #[test]
    fn pressure_is_the_total_of_some() {
        let file = b"some avg10=0.00 avg60=0.12 avg300=0.00 total=4711\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(pressure(file), Ok(4711));
        refused(
            pressure(b"full avg10=0.00 total=1\n"),
            "no line `some` with a total",
        );
        refused(pressure(b"some avg10=0.00\n"), "no line `some` with a total");
    }
}
