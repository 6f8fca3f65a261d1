//! Memory: `/proc/meminfo`, `/proc/vmstat`, `/proc/pressure/*`.

use procfs::{FromBufRead as _, VmStat};

use super::{Malformed, end, fields, lines, number, once, whole};
use crate::share::basis_points;

/// What is needed of `/proc/meminfo`, in KiB. `available` is at most `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What programs could have without swapping.
    pub available: u64,
    /// What nothing uses.
    pub free: Option<u64>,
    /// The kernel's buffers for block devices.
    pub buffers: Option<u64>,
    /// The page cache.
    pub cached: Option<u64>,
    /// Swap space.
    pub swap_total: Option<u64>,
    /// Swap space that nothing uses.
    pub swap_free: Option<u64>,
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
/// If `MemTotal` or `MemAvailable` is absent, if an amount that is needed is double, malformed or not in kB, if no
/// memory at all or more than all of it is available, or the file is cut off.
pub fn meminfo(bytes: &[u8]) -> Result<Memory, Malformed> {
    let (mut total, mut available) = (None, None);
    let (mut free, mut buffers, mut cached) = (None, None, None);
    let (mut swap_total, mut swap_free) = (None, None);
    for line in lines(bytes) {
        let mut fields = fields(line?);
        let (slot, double) = match fields.next() {
            Some(b"MemTotal:") => (&mut total, "two lines `MemTotal`"),
            Some(b"MemAvailable:") => (&mut available, "two lines `MemAvailable`"),
            Some(b"MemFree:") => (&mut free, "two lines `MemFree`"),
            Some(b"Buffers:") => (&mut buffers, "two lines `Buffers`"),
            Some(b"Cached:") => (&mut cached, "two lines `Cached`"),
            Some(b"SwapTotal:") => (&mut swap_total, "two lines `SwapTotal`"),
            Some(b"SwapFree:") => (&mut swap_free, "two lines `SwapFree`"),
            _ => continue,
        };
        once(slot, kibibytes(fields)?, double)?;
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
        (total, available) => Ok(Memory {
            total,
            available,
            free,
            buffers,
            cached,
            swap_total,
            swap_free,
        }),
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

/// What is needed of `/proc/vmstat`, since boot. None where the kernel does not count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// Page faults.
    pub faults: Option<u64>,
    /// Those for which a disk was read.
    pub major_faults: Option<u64>,
    /// Pages read from swap space.
    pub swapped_in: Option<u64>,
    /// Pages written to swap space.
    pub swapped_out: Option<u64>,
    /// Processes that were killed for want of memory.
    pub oom_kills: Option<u64>,
}

/// Parses `/proc/vmstat`.
///
/// # Errors
/// If a line is not a name and a number, one that is needed is negative, or the file is cut off.
pub fn vmstat(bytes: &[u8]) -> Result<Paging, Malformed> {
    let VmStat(counters) = VmStat::from_buf_read(whole(bytes)?).map_err(|_| Malformed {
        what: "a line is not a name and a number",
    })?;
    let counter = |name: &str| {
        counters
            .get(name)
            .map(|value| {
                u64::try_from(*value).map_err(|_| Malformed {
                    what: "a counter is negative",
                })
            })
            .transpose()
    };
    Ok(Paging {
        faults: counter("pgfault")?,
        major_faults: counter("pgmajfault")?,
        swapped_in: counter("pswpin")?,
        swapped_out: counter("pswpout")?,
        oom_kills: counter("oom_kill")?,
    })
}

/// What is needed of `/proc/pressure/*`, in microseconds since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Time in which at least one task waited for the resource.
    pub some_micros: u64,
    /// Time in which all tasks that were not idle did; none of the CPUs' before Linux 5.13.
    pub full_micros: Option<u64>,
}

/// Parses `/proc/pressure/cpu`, `io` or `memory`: Documentation/accounting/psi.rst.
///
/// # Errors
/// If the line `some` is absent, a line is double, unknown or without its total, or the file is cut off.
pub fn pressure(bytes: &[u8]) -> Result<Pressure, Malformed> {
    let (mut some, mut full) = (None, None);
    for line in lines(bytes) {
        let mut fields = fields(line?);
        let (slot, double) = match fields.next() {
            Some(b"some") => (&mut some, "two lines `some`"),
            Some(b"full") => (&mut full, "two lines `full`"),
            _ => {
                return Err(Malformed {
                    what: "a line that is neither `some` nor `full`",
                });
            }
        };
        let total = fields.find_map(|field| field.strip_prefix(b"total="));
        once(slot, number(total, "the total of a line")?, double)?;
    }
    Ok(Pressure {
        some_micros: some.ok_or(Malformed {
            what: "no line `some`",
        })?,
        full_micros: full,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::refused;

    #[test]
    fn amounts_of_memory() {
        let text = "MemTotal: 10 kB\nMemFree: 2 kB\nMemAvailable: 6 kB\nBuffers: 1 kB\nCached: 3 kB\n\
                    SwapCached: 9 kB\nSwapTotal: 8 kB\nSwapFree: 7 kB\n";
        let memory = meminfo(text.as_bytes()).unwrap();
        assert_eq!(
            memory,
            Memory {
                total: 10,
                available: 6,
                free: Some(2),
                buffers: Some(1),
                cached: Some(3),
                swap_total: Some(8),
                swap_free: Some(7),
            }
        );
        for name in ["MemFree", "Buffers", "Cached", "SwapTotal", "SwapFree"] {
            refused(
                meminfo(format!("{text}{name}: 1 kB\n").as_bytes()),
                &format!("two lines `{name}`"),
            );
            refused(
                meminfo(format!("{name}: x kB\n").as_bytes()),
                "an amount of memory",
            );
        }
    }

    #[test]
    fn counters_of_paging() {
        let paging = vmstat(include_bytes!("../../fixtures/vm/vmstat")).unwrap();
        assert_eq!(
            paging,
            Paging {
                faults: Some(1_178_602_794),
                major_faults: Some(292_239),
                swapped_in: Some(0),
                swapped_out: Some(0),
                oom_kills: Some(0),
            }
        );
        assert_eq!(vmstat(b""), Ok(Paging::default()), "a kernel that counts nothing");
    }

    #[test]
    fn vmstat_that_no_kernel_writes() {
        let line = "a line is not a name and a number";
        for bad in [
            "\n",
            "pgfault\n",
            "pgfault x\n",
            "pgfault 9223372036854775808\n",
            "\u{7f} 1\n\n",
        ] {
            refused(vmstat(bad.as_bytes()), line);
        }
        refused(vmstat(b"pgfault \xff\n"), line);
        refused(vmstat(b"pgfault 12"), "the last line is cut off");
        refused(vmstat(b"pgfault -1\n"), "a counter is negative");
    }

    #[test]
    fn times_of_pressure() {
        let some = "some avg10=9.95 avg60=6.94 avg300=7.22 total=15423877303\n";
        let full = "full avg10=0.00 avg60=0.00 avg300=0.00 total=17\n";
        let both = pressure(format!("{some}{full}").as_bytes()).unwrap();
        assert_eq!((both.some_micros, both.full_micros), (15_423_877_303, Some(17)));
        let old = pressure(some.as_bytes()).unwrap();
        assert_eq!(old.full_micros, None, "the CPUs' before Linux 5.13");
        refused(pressure(b""), "no line `some`");
        refused(pressure(full.as_bytes()), "no line `some`");
        refused(pressure(format!("{some}{some}").as_bytes()), "two lines `some`");
        refused(
            pressure(format!("{some}{full}{full}").as_bytes()),
            "two lines `full`",
        );
        refused(pressure(b"some\n"), "the total of a line");
        refused(pressure(b"some total=1.5\n"), "the total of a line");
        refused(pressure(b"some avg10=1.00\n"), "the total of a line");
        refused(
            pressure(b"most total=1\n"),
            "a line that is neither `some` nor `full`",
        );
        refused(pressure(b"\n"), "a line that is neither `some` nor `full`");
        refused(pressure(b"some total=1"), "the last line is cut off");
    }
}
