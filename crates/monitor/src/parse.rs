//! Parsers of the kernel's files: pure, no panic on any bytes, no floating point, overflow checked.
//!
//! Our own rather than `procfs-core`, which reads load averages as `f32`, has no count of interrupts, and
//! allocates a map or a string per line; what is signed must be exact, and this runs for ever.
//!
//! The bytes are hostile and bounded by the caller ([`MAX_FILE`](crate::MAX_FILE)). Every file of Linux ends
//! with a line feed, so a file that was cut off within a line is refused.

use crate::share::basis_points;

/// The file is not as Linux writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Malformed {
    /// The fault.
    pub what: &'static str,
}

/// What is needed of `/proc/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Time of all CPUs since boot.
    pub cpu: CpuTimes,
    /// Interrupts since boot.
    pub interrupts: u64,
    /// Context switches since boot.
    pub context_switches: u64,
}

/// CPU time since boot, in ticks. Guest time is not added: the kernel has it in user and nice already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTimes {
    /// user, nice, system, irq, softirq, steal
    busy: [u64; 6],
    /// idle, iowait
    idle: [u64; 2],
}

impl CpuTimes {
    /// Share of the time since `earlier` in which a CPU was in use, in basis points; 0 if no time passed.
    ///
    /// The kernel's idle and iowait can go backwards (proc_stat(5)), and in a virtual machine others do: a
    /// time that went backwards counts as no time.
    pub fn busy_since(&self, earlier: &Self) -> u16 {
        let busy = elapsed(&self.busy, &earlier.busy);
        // Six and two 64-bit numbers: no sum of theirs reaches 2^128.
        let whole = busy.saturating_add(elapsed(&self.idle, &earlier.idle));
        basis_points(busy, whole).unwrap_or(0)
    }
}

fn elapsed(now: &[u64], earlier: &[u64]) -> u128 {
    now.iter()
        .zip(earlier)
        .map(|(now, earlier)| u128::from(now.saturating_sub(*earlier)))
        .sum()
}

/// Parses `/proc/stat`: proc_stat(5).
///
/// # Errors
/// If the line `cpu`, `intr` or `ctxt` is absent, double or malformed, or the file is cut off.
pub fn stat(bytes: &[u8]) -> Result<Stat, Malformed> {
    let (mut cpu, mut interrupts, mut context_switches) = (None, None, None);
    for line in lines(bytes) {
        let mut fields = fields(line?);
        match fields.next() {
            Some(b"cpu") => once(&mut cpu, cpu_times(fields)?, "two lines `cpu`")?,
            // The line has a number for every interrupt line of the machine; the first is their sum.
            Some(b"intr") => {
                let sum = number(fields.next(), "the sum in line `intr`")?;
                once(&mut interrupts, sum, "two lines `intr`")?;
            }
            Some(b"ctxt") => {
                let count = number(fields.next(), "the number in line `ctxt`")?;
                end(fields, "more than a number in line `ctxt`")?;
                once(&mut context_switches, count, "two lines `ctxt`")?;
            }
            _ => {}
        }
    }
    Ok(Stat {
        cpu: cpu.ok_or(Malformed {
            what: "no line `cpu`",
        })?,
        interrupts: interrupts.ok_or(Malformed {
            what: "no line `intr`",
        })?,
        context_switches: context_switches.ok_or(Malformed {
            what: "no line `ctxt`",
        })?,
    })
}

fn cpu_times<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Result<CpuTimes, Malformed> {
    let mut next = || number(fields.next(), "a time in line `cpu`");
    let [user, nice, system, idle, iowait, irq, softirq, steal] = [
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
        next()?,
    ];
    Ok(CpuTimes {
        busy: [user, nice, system, irq, softirq, steal],
        idle: [idle, iowait],
    })
}

/// What is needed of `/proc/meminfo`, in KiB. `available` is at most `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    total: u64,
    available: u64,
}

impl Memory {
    /// Share that is not available, in basis points.
    pub fn used(&self) -> u16 {
        let used = self.total.saturating_sub(self.available);
        basis_points(used.into(), self.total.into()).unwrap_or(0)
    }
}

/// Parses `/proc/meminfo`: proc_meminfo(5).
///
/// # Errors
/// If `MemTotal` or `MemAvailable` is absent, double, malformed or not in kB, if no memory at all or more
/// than all of it is available, or the file is cut off.
pub fn meminfo(bytes: &[u8]) -> Result<Memory, Malformed> {
    let (mut total, mut available) = (None, None);
    for line in lines(bytes) {
        let mut fields = fields(line?);
        match fields.next() {
            Some(b"MemTotal:") => once(&mut total, kibibytes(fields)?, "two lines `MemTotal`")?,
            Some(b"MemAvailable:") => once(&mut available, kibibytes(fields)?, "two lines `MemAvailable`")?,
            _ => {}
        }
    }
    let total = total.ok_or(Malformed {
        what: "no line `MemTotal`",
    })?;
    let available = available.ok_or(Malformed {
        what: "no line `MemAvailable` (Linux has it since 3.14)",
    })?;
    match (total, available) {
        (0, _) => Err(Malformed {
            what: "`MemTotal` is 0",
        }),
        (total, available) if available > total => Err(Malformed {
            what: "`MemAvailable` exceeds `MemTotal`",
        }),
        (total, available) => Ok(Memory { total, available }),
    }
}

fn kibibytes<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Result<u64, Malformed> {
    let amount = number(fields.next(), "an amount of memory")?;
    if fields.next() != Some(b"kB") {
        return Err(Malformed {
            what: "an amount of memory that is not in kB",
        });
    }
    end(fields, "more than an amount of memory in its line")?;
    Ok(amount)
}

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
        centi(fields.next())?,
        centi(fields.next())?,
        centi(fields.next())?,
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

fn centi(field: Option<&[u8]>) -> Result<u32, Malformed> {
    const WHAT: Malformed = Malformed {
        what: "a load average is not a number with two decimals",
    };
    let (whole, decimals) = field.and_then(|field| split_once(field, b'.')).ok_or(WHAT)?;
    if decimals.len() != 2 {
        return Err(WHAT);
    }
    let hundredths = number(Some(decimals), WHAT.what)?;
    number(Some(whole), WHAT.what)?
        .checked_mul(100)
        .and_then(|centi| centi.checked_add(hundredths))
        .and_then(|centi| u32::try_from(centi).ok())
        .ok_or(Malformed {
            what: "a load average is out of range",
        })
}

/// Parses `/proc/sys/fs/file-nr`: allocated handles, unused ones, the limit (proc_sys_fs(5)). Gives those in
/// use.
///
/// # Errors
/// If it is not one line of three numbers, or more handles are unused than allocated.
pub fn file_nr(bytes: &[u8]) -> Result<u64, Malformed> {
    let mut fields = fields(only_line(bytes)?);
    let allocated = number(fields.next(), "the number of file handles")?;
    let unused = number(fields.next(), "the number of unused file handles")?;
    number(fields.next(), "the limit of file handles")?;
    end(fields, "more than three fields")?;
    allocated.checked_sub(unused).ok_or(Malformed {
        what: "more file handles are unused than allocated",
    })
}

/// Bytes since boot, over several interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_bytes: u64,
}

/// Parses `/proc/net/dev` (proc_pid_net(5)) and adds up all interfaces but `lo`.
///
/// # Errors
/// If the heading is not Linux's, a line has not 16 numbers, a sum overflows, or the file is cut off.
pub fn net_dev(bytes: &[u8]) -> Result<Traffic, Malformed> {
    let mut lines = lines(bytes);
    // The second line names the columns: without it, which number is which would be a guess.
    let heading = [lines.next().transpose()?, lines.next().transpose()?];
    let known = heading[0].is_some_and(|line| line.starts_with(b"Inter-|"))
        && heading[1]
            .is_some_and(|line| line.starts_with(b" face |bytes ") && line.ends_with(b" compressed"));
    if !known {
        return Err(Malformed {
            what: "the heading is not that of interfaces",
        });
    }
    let mut sum = Traffic::default();
    for line in lines {
        // No name of an interface has a colon: dev_valid_name in the kernel's net/core/dev.c.
        let (name, counters) = split_once(line?, b':').ok_or(Malformed {
            what: "a line without an interface's name",
        })?;
        let traffic = traffic(fields(counters))?;
        if name.trim_ascii() != b"lo" {
            let overflow = Malformed {
                what: "the sum of all interfaces overflows",
            };
            sum.rx_bytes = sum.rx_bytes.checked_add(traffic.rx_bytes).ok_or(overflow)?;
            sum.tx_bytes = sum.tx_bytes.checked_add(traffic.tx_bytes).ok_or(overflow)?;
        }
    }
    Ok(sum)
}

fn traffic<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Result<Traffic, Malformed> {
    let mut next = || number(fields.next(), "a counter of an interface");
    let rx_bytes = next()?;
    for _ in 0..7 {
        next()?;
    }
    let tx_bytes = next()?;
    for _ in 0..7 {
        next()?;
    }
    end(fields, "more than 16 counters of an interface")?;
    Ok(Traffic { rx_bytes, tx_bytes })
}

/// One line of `/proc/diskstats`: a disk or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk<'a> {
    /// The kernel's name, unchecked.
    pub name: &'a [u8],
    /// Bytes read since boot.
    pub read_bytes: u64,
    /// Bytes written since boot.
    pub written_bytes: u64,
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
    let [_reads, _reads_merged, sectors_read, _read_millis] = [next()?, next()?, next()?, next()?];
    let [_writes, _writes_merged, sectors_written, _write_millis] = [next()?, next()?, next()?, next()?];
    let [_in_flight, _busy_millis, _weighted_millis] = [next()?, next()?, next()?];
    Ok(Disk {
        name,
        read_bytes: sector_bytes(sectors_read)?,
        written_bytes: sector_bytes(sectors_written)?,
    })
}

/// The block layer's sector is 512 bytes on every disk, whatever the disk's own: SECTOR_SIZE in the kernel's
/// include/linux/blk_types.h.
fn sector_bytes(sectors: u64) -> Result<u64, Malformed> {
    sectors.checked_mul(512).ok_or(Malformed {
        what: "a disk's bytes overflow",
    })
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        line.strip_suffix(b"\n").ok_or(Malformed {
            what: "the last line is cut off",
        })
    })
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
