//! `/proc/stat`.

use super::{Malformed, end, fields, lines, number, once};
use crate::share::basis_points;

/// What is needed of `/proc/stat`. What not every stand-in for Linux writes is none where it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Time of all CPUs since boot.
    pub cpu: CpuTimes,
    /// CPUs that are online.
    pub cpus: u32,
    /// Interrupts since boot.
    pub interrupts: u64,
    /// Context switches since boot.
    pub context_switches: u64,
    /// When the machine started, in seconds since 1970.
    pub boot_seconds: Option<u64>,
    /// Processes and threads that were created since boot.
    pub forks: Option<u64>,
    /// Threads that run or could.
    pub running: Option<u64>,
    /// Threads that wait for a disk.
    pub blocked: Option<u64>,
}

/// CPU time since boot, in ticks. Guest time is not added: the kernel has it in user and nice already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Programs.
    pub user: u64,
    /// Programs with a lowered priority.
    pub nice: u64,
    /// The kernel.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do but wait for a disk.
    pub iowait: u64,
    /// Interrupts.
    pub irq: u64,
    /// What interrupts left to be done.
    pub softirq: u64,
    /// Something to do, but the hypervisor ran another machine.
    pub steal: u64,
}

impl CpuTimes {
    /// Share of the time since `earlier` in which a CPU was in use, in basis points; 0 if no time passed.
    ///
    /// The kernel's idle and iowait can go backwards (proc_stat(5)), and in a virtual machine others do: a
    /// time that went backwards counts as no time.
    pub fn busy_since(&self, earlier: &Self) -> u16 {
        let passed = self.since(earlier);
        let busy = passed.programs().saturating_add(passed.overhead());
        basis_points(busy, busy.saturating_add(passed.waiting())).unwrap_or(0)
    }

    /// Share that programs had of the time since `earlier` in which a CPU was not idle, in basis points. The rest went
    /// to the kernel, interrupts, the hypervisor and waiting for disks. If no CPU had anything to do, nothing was lost:
    /// 10 000. A time that went backwards counts as no time.
    pub fn efficiency_since(&self, earlier: &Self) -> u16 {
        let passed = self.since(earlier);
        let programs = passed.programs();
        let whole = programs
            .saturating_add(passed.overhead())
            .saturating_add(passed.iowait.into());
        if whole == 0 {
            return 10_000;
        }
        basis_points(programs, whole).unwrap_or(0)
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            nice: self.nice.saturating_sub(earlier.nice),
            system: self.system.saturating_sub(earlier.system),
            idle: self.idle.saturating_sub(earlier.idle),
            iowait: self.iowait.saturating_sub(earlier.iowait),
            irq: self.irq.saturating_sub(earlier.irq),
            softirq: self.softirq.saturating_sub(earlier.softirq),
            steal: self.steal.saturating_sub(earlier.steal),
        }
    }

    fn programs(&self) -> u128 {
        sum([self.user, self.nice])
    }

    fn overhead(&self) -> u128 {
        sum([self.system, self.irq, self.softirq, self.steal])
    }

    fn waiting(&self) -> u128 {
        sum([self.idle, self.iowait])
    }
}

/// A few 64-bit numbers: no sum of theirs reaches 2^128.
fn sum<const N: usize>(times: [u64; N]) -> u128 {
    times.into_iter().map(u128::from).sum()
}

/// Parses `/proc/stat`: proc_stat(5).
///
/// # Errors
/// If the line `cpu`, `intr` or `ctxt` is absent, if one that is needed is double or malformed, or the file is cut off.
pub fn stat(bytes: &[u8]) -> Result<Stat, Malformed> {
    let (mut cpu, mut interrupts, mut context_switches) = (None, None, None);
    let (mut boot_seconds, mut forks, mut running, mut blocked) = (None, None, None, None);
    let mut cpus = 0_u32;
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
            Some(b"btime") => once(
                &mut boot_seconds,
                number(fields.next(), "the time in line `btime`")?,
                "two lines `btime`",
            )?,
            Some(b"processes") => once(
                &mut forks,
                number(fields.next(), "the number in line `processes`")?,
                "two lines `processes`",
            )?,
            Some(b"procs_running") => once(
                &mut running,
                number(fields.next(), "the number in line `procs_running`")?,
                "two lines `procs_running`",
            )?,
            Some(b"procs_blocked") => once(
                &mut blocked,
                number(fields.next(), "the number in line `procs_blocked`")?,
                "two lines `procs_blocked`",
            )?,
            Some([b'c', b'p', b'u', digit, ..]) if digit.is_ascii_digit() => cpus = cpus.saturating_add(1),
            _ => {}
        }
    }
    Ok(Stat {
        cpu: cpu.ok_or(Malformed {
            what: "no line `cpu`",
        })?,
        cpus,
        interrupts: interrupts.ok_or(Malformed {
            what: "no line `intr`",
        })?,
        context_switches: context_switches.ok_or(Malformed {
            what: "no line `ctxt`",
        })?,
        boot_seconds,
        forks,
        running,
        blocked,
    })
}

fn cpu_times<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Result<CpuTimes, Malformed> {
    let mut next = || number(fields.next(), "a time in line `cpu`");
    Ok(CpuTimes {
        user: next()?,
        nice: next()?,
        system: next()?,
        idle: next()?,
        iowait: next()?,
        irq: next()?,
        softirq: next()?,
        steal: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::refused;

    fn cpu(times: &str) -> CpuTimes {
        stat(format!("cpu {times}\nintr 1\nctxt 1\n").as_bytes())
            .unwrap()
            .cpu
    }

    #[test]
    fn efficiency_is_what_programs_had_of_what_was_not_idle() {
        let before = cpu("1000 100 500 8000 50 10 20 30 400 40");
        // 60 user, 10 nice; 5 system, 1 irq, 2 softirq, 2 steal, 20 iowait; idle does not count.
        let after = cpu("1060 110 505 8100 70 11 22 32 450 45");
        assert_eq!(after.efficiency_since(&before), 7000);
        let idle = cpu("1000 100 500 9000 50 10 20 30 400 40");
        assert_eq!(
            idle.efficiency_since(&before),
            10_000,
            "nothing to do, nothing lost"
        );
        assert_eq!(before.efficiency_since(&before), 10_000, "no time passed");
        let stolen = cpu("1000 100 500 8000 50 10 20 90 400 40");
        assert_eq!(stolen.efficiency_since(&before), 0, "the hypervisor took all");
        let waited = cpu("1010 100 500 8000 80 10 20 30 400 40");
        assert_eq!(waited.efficiency_since(&before), 2500, "for a disk");
    }

    #[test]
    fn efficiency_of_times_that_go_backwards() {
        let before = cpu("1000 0 500 8000 500 0 0 0");
        assert_eq!(cpu("900 0 510 8000 500 0 0 0").efficiency_since(&before), 0);
        assert_eq!(cpu("1010 0 400 7000 400 0 0 0").efficiency_since(&before), 10_000);
        let max = cpu(&[u64::MAX.to_string().as_str(); 8].join(" "));
        assert_eq!(max.efficiency_since(&cpu("0 0 0 0 0 0 0 0")), 2857, "2 of 7");
        assert_eq!(cpu("0 0 0 0 0 0 0 0").efficiency_since(&max), 10_000);
    }

    #[test]
    fn what_stat_tells_beside() {
        let text = |more: &str| format!("cpu 1 2 3 4 5 6 7 8\ncpu0 1 2\ncpu17 1\nintr 1\nctxt 1\n{more}");
        let without = stat(text("").as_bytes()).unwrap();
        assert_eq!(without.cpus, 2);
        assert_eq!(
            (
                without.boot_seconds,
                without.forks,
                without.running,
                without.blocked
            ),
            (None, None, None, None)
        );
        for line in ["btime", "processes", "procs_running", "procs_blocked"] {
            let double = format!("{line} 1\n{line} 1\n");
            refused(stat(text(&double).as_bytes()), &format!("two lines `{line}`"));
            let what = if line == "btime" { "time" } else { "number" };
            let bad = format!("{line} -1\n");
            refused(
                stat(text(&bad).as_bytes()),
                &format!("the {what} in line `{line}`"),
            );
        }
    }
}
