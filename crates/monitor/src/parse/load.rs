//! What one short line tells: `/proc/loadavg`, `/proc/uptime`, `/proc/sys/fs/file-nr`.

use super::{Malformed, end, fields, number, only_line, split_once};

/// What is needed of `/proc/loadavg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Load averages over 1, 5 and 15 minutes, in hundredths.
    pub averages_centi: [u32; 3],
    /// Scheduling entities that exist: the threads of all processes and of the kernel.
    pub threads: u32,
}

/// Parses `/proc/loadavg`: proc_loadavg(5). The kernel writes averages with exactly two decimals.
///
/// # Errors
/// If it is not one line of three averages, `running/existing` and the last process id.
pub fn loadavg(bytes: &[u8]) -> Result<Load, Malformed> {
    let mut fields = fields(only_line(bytes)?);
    let averages_centi = [
        average(fields.next())?,
        average(fields.next())?,
        average(fields.next())?,
    ];
    let entities = fields.next().and_then(|field| split_once(field, b'/'));
    let (running, existing) = entities.ok_or(Malformed {
        what: "no `running/existing` after the averages",
    })?;
    number(Some(running), "the number of running threads")?;
    let threads = number(Some(existing), "the number of threads")?;
    number(fields.next(), "the last process id")?;
    end(fields, "more than five fields")?;
    let threads = u32::try_from(threads).map_err(|_| Malformed {
        what: "the number of threads is out of range",
    })?;
    Ok(Load {
        averages_centi,
        threads,
    })
}

fn average(field: Option<&[u8]>) -> Result<u32, Malformed> {
    let centi = hundredths(
        field,
        "a load average is not a number with two decimals",
        "a load average is out of range",
    )?;
    u32::try_from(centi).map_err(|_| Malformed {
        what: "a load average is out of range",
    })
}

/// Parses `/proc/uptime`: proc_uptime(5). Gives hundredths of a second since boot, time of suspension included.
///
/// # Errors
/// If it is not one line of two numbers with two decimals.
pub fn uptime(bytes: &[u8]) -> Result<u64, Malformed> {
    let mut fields = fields(only_line(bytes)?);
    let mut next = || {
        hundredths(
            fields.next(),
            "a time is not a number with two decimals",
            "a time is out of range",
        )
    };
    let (uptime, _idle) = (next()?, next()?);
    end(fields, "more than two times")?;
    Ok(uptime)
}

/// A number with exactly two decimals, as the kernel writes its fixed-point numbers.
fn hundredths(field: Option<&[u8]>, malformed: &'static str, range: &'static str) -> Result<u64, Malformed> {
    let what = Malformed { what: malformed };
    let (whole, decimals) = field.and_then(|field| split_once(field, b'.')).ok_or(what)?;
    if decimals.len() != 2 {
        return Err(what);
    }
    let hundredths = number(Some(decimals), malformed)?;
    number(Some(whole), malformed)?
        .checked_mul(100)
        .and_then(|centi| centi.checked_add(hundredths))
        .ok_or(Malformed { what: range })
}

/// What is needed of `/proc/sys/fs/file-nr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHandles {
    /// In use.
    pub used: u64,
    /// As many as there can be.
    pub limit: u64,
}

/// Parses `/proc/sys/fs/file-nr`: allocated handles, unused ones, the limit (proc_sys_fs(5)).
///
/// # Errors
/// If it is not one line of three numbers, or more handles are unused than allocated.
pub fn file_nr(bytes: &[u8]) -> Result<FileHandles, Malformed> {
    let mut fields = fields(only_line(bytes)?);
    let allocated = number(fields.next(), "the number of file handles")?;
    let unused = number(fields.next(), "the number of unused file handles")?;
    let limit = number(fields.next(), "the limit of file handles")?;
    end(fields, "more than three fields")?;
    let used = allocated.checked_sub(unused).ok_or(Malformed {
        what: "more file handles are unused than allocated",
    })?;
    Ok(FileHandles { used, limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::refused;

    #[test]
    fn uptime_is_exact() {
        assert_eq!(uptime(include_bytes!("../../fixtures/vm/uptime")), Ok(247_039));
        assert_eq!(uptime(b"0.00 0.00\n"), Ok(0));
        assert_eq!(uptime(b"184467440737095516.15 0.00\n"), Ok(u64::MAX));
    }

    #[test]
    fn uptime_that_no_kernel_writes() {
        let time = "a time is not a number with two decimals";
        refused(uptime(b""), "the file is empty");
        for bad in ["", "1", "1.0", "1.000", "-1.00", "inf", "1e3", "1,00", "+1.00"] {
            refused(uptime(format!("{bad} 1.00\n").as_bytes()), time);
            refused(uptime(format!("1.00 {bad}\n").as_bytes()), time);
        }
        refused(uptime(b"184467440737095516.16 0.00\n"), "a time is out of range");
        refused(uptime(b"1.00 1.00 1.00\n"), "more than two times");
        refused(uptime(b"1.00 1.00\n\n"), "more than one line");
        refused(uptime(b"1.00 1.00"), "the last line is cut off");
    }
}
