use std::fmt::Debug;

use super::*;

struct Files {
    stat: &'static [u8],
    meminfo: &'static [u8],
    loadavg: &'static [u8],
    file_nr: &'static [u8],
    net_dev: &'static [u8],
    diskstats: &'static [u8],
}

macro_rules! files {
    ($machine:literal) => {
        Files {
            stat: include_bytes!(concat!("../../fixtures/", $machine, "/stat")),
            meminfo: include_bytes!(concat!("../../fixtures/", $machine, "/meminfo")),
            loadavg: include_bytes!(concat!("../../fixtures/", $machine, "/loadavg")),
            file_nr: include_bytes!(concat!("../../fixtures/", $machine, "/file-nr")),
            net_dev: include_bytes!(concat!("../../fixtures/", $machine, "/net-dev")),
            diskstats: include_bytes!(concat!("../../fixtures/", $machine, "/diskstats")),
        }
    };
}

const MACHINES: [Files; 3] = [files!("vm"), files!("nvme"), files!("container")];

const HEADING: &str = concat!(
    "Inter-|   Receive                                                |  Transmit\n",
    " face |bytes    packets errs drop fifo frame compressed multicast",
    "|bytes    packets errs drop fifo colls carrier compressed\n"
);

#[track_caller]
pub(super) fn refused<T: Debug>(result: Result<T, Malformed>, what: &str) {
    match result {
        Err(fault) => assert_eq!(fault.what, what),
        Ok(value) => panic!("accepted as {value:?}, but {what}"),
    }
}

fn all_disks(bytes: &[u8]) -> Result<Vec<Disk<'_>>, Malformed> {
    diskstats(bytes).collect()
}

fn cpu(line: &str) -> CpuTimes {
    stat(format!("{line}\nintr 1\nctxt 1\n").as_bytes()).unwrap().cpu
}

#[test]
fn stat_of_a_small_machine() {
    let vm = stat(MACHINES[0].stat).unwrap();
    assert_eq!(
        vm.cpu,
        CpuTimes {
            user: 130_988,
            nice: 34_973,
            system: 21_196,
            idle: 295_840,
            iowait: 1_943,
            irq: 0,
            softirq: 336,
            steal: 1_975,
        }
    );
    assert_eq!((vm.interrupts, vm.context_switches), (923_422, 961_687));
    assert_eq!(vm.cpus, 2);
}

#[test]
fn stat_of_128_cpus_with_a_long_line_of_interrupts() {
    let bytes = stat_of_128_cpus();
    assert!(bytes.len() > 100_000 && bytes.len() < crate::MAX_FILE);
    let large = stat(&bytes).unwrap();
    assert_eq!(
        (large.interrupts, large.context_switches),
        (987_654_321_098, 1_234_567_890_123)
    );
    assert_eq!(
        (large.cpu.idle, large.cpu.iowait, large.cpus),
        (468_284_830_000, 166_830_000, 128)
    );
    assert_eq!(
        (large.boot_seconds, large.forks, large.running, large.blocked),
        (Some(1_769_041_601), Some(9), Some(1), Some(0))
    );
    // A file cut off within the long line has its sum already, but no more than that.
    refused(stat(&bytes[..100_000]), "the last line is cut off");
}

fn stat_of_128_cpus() -> Vec<u8> {
    let mut text = String::from(
        "cpu  101321530000 2906960000 30847190000 468284830000 166830000 0 251950000 0 1756280000 0\n",
    );
    for cpu in 0..128 {
        text += &format!("cpu{cpu} 791574453 22710625 240993671 3658475234 1303359 0 1968359 0 13720937 0\n");
    }
    text += "intr 987654321098";
    for line in 0..9_000_u64 {
        text += &format!(" {}", line * 1_234_567);
    }
    text += "\nctxt 1234567890123\nbtime 1769041601\nprocesses 9\nprocs_running 1\nprocs_blocked 0\nsoftirq 1 1\n";
    text.into_bytes()
}

#[test]
fn stat_that_no_kernel_writes() {
    refused(stat(b""), "no line `cpu`");
    refused(stat(b"cpu 1 2 3 4 5 6 7 8\nctxt 1\n"), "no line `intr`");
    refused(stat(b"cpu 1 2 3 4 5 6 7 8\nintr 1\n"), "no line `ctxt`");
    refused(
        stat(b"cpu 1 2 3 4 5 6 7\nintr 1\nctxt 1\n"),
        "a time in line `cpu`",
    );
    refused(
        stat(b"cpu 1 2 3 -4 5 6 7 8\nintr 1\nctxt 1\n"),
        "a time in line `cpu`",
    );
    refused(
        stat(b"cpu 1 2 3 18446744073709551616 5 6 7 8\nintr 1\nctxt 1\n"),
        "a time in line `cpu`",
    );
    refused(
        stat(b"cpu 1 2 3 4 5 6 7 8\nintr\nctxt 1\n"),
        "the sum in line `intr`",
    );
    refused(
        stat(b"cpu 1 2 3 4 5 6 7 8\nintr 1\nctxt +1\n"),
        "the number in line `ctxt`",
    );
    refused(
        stat(b"cpu 1 2 3 4 5 6 7 8\nintr 1\nctxt 1 2\n"),
        "more than a number in line `ctxt`",
    );
    for double in ["cpu 1 2 3 4 5 6 7 8", "intr 1", "ctxt 1"] {
        let key = double.split(' ').next().unwrap();
        let text = format!("cpu 1 2 3 4 5 6 7 8\nintr 1\nctxt 1\n{double}\n");
        refused(stat(text.as_bytes()), &format!("two lines `{key}`"));
    }
}

#[test]
fn cpu_usage_is_what_is_not_idle_and_counts_guests_once() {
    let before = cpu("cpu 1000 100 500 8000 50 10 20 30 400 40");
    // 60 user (50 of it a guest's), 10 nice, 5 system, 1 irq, 2 softirq, 2 steal; 100 idle, 20 iowait.
    let after = cpu("cpu 1060 110 505 8100 70 11 22 32 450 45");
    assert_eq!(after.busy_since(&before), 4000);
    assert_eq!(after.busy_since(&after), 0, "no time passed");
}

#[test]
fn cpu_times_that_go_backwards_count_as_no_time() {
    let before = cpu("cpu 1000 0 0 8000 500 0 0 0");
    assert_eq!(
        cpu("cpu 1100 0 0 7000 500 0 0 0").busy_since(&before),
        10_000,
        "idle went back"
    );
    assert_eq!(
        cpu("cpu 1100 0 0 8300 400 0 0 0").busy_since(&before),
        2500,
        "iowait went back"
    );
    assert_eq!(
        cpu("cpu 0 0 0 8100 500 0 0 0").busy_since(&before),
        0,
        "user went back"
    );
    assert_eq!(
        cpu("cpu 0 0 0 0 0 0 0 0").busy_since(&before),
        0,
        "everything went back"
    );
}

#[test]
fn the_largest_cpu_times_do_not_overflow() {
    let max = cpu(&format!("cpu {}", [u64::MAX.to_string().as_str(); 8].join(" ")));
    let zero = cpu("cpu 0 0 0 0 0 0 0 0");
    assert_eq!(max.busy_since(&zero), 7500);
    assert_eq!(zero.busy_since(&max), 0);
}

#[test]
fn memory_that_is_not_available() {
    assert_eq!(
        MACHINES.map(|machine| meminfo(machine.meminfo).unwrap().used()),
        [344, 2504, 394]
    );
    let max = format!("MemTotal: {0} kB\nMemAvailable: 0 kB\n", u64::MAX);
    assert_eq!(meminfo(max.as_bytes()).unwrap().used(), 10_000);
    let all = format!("MemTotal: {0} kB\nMemAvailable: {0} kB\n", u64::MAX);
    assert_eq!(meminfo(all.as_bytes()).unwrap().used(), 0);
}

#[test]
fn meminfo_that_no_kernel_writes() {
    refused(meminfo(b""), "no line `MemTotal`");
    refused(
        meminfo(b"MemTotal: 4 kB\n"),
        "no line `MemAvailable` (Linux has it since 3.14)",
    );
    refused(
        meminfo(b"MemTotal: 0 kB\nMemAvailable: 0 kB\n"),
        "`MemTotal` is 0",
    );
    refused(
        meminfo(b"MemTotal: 4 kB\nMemAvailable: 5 kB\n"),
        "`MemAvailable` exceeds `MemTotal`",
    );
    refused(
        meminfo(b"MemTotal: 4 kB\nMemTotal: 4 kB\n"),
        "two lines `MemTotal`",
    );
    refused(
        meminfo(b"MemAvailable: 4 kB\nMemAvailable: 4 kB\n"),
        "two lines `MemAvailable`",
    );
    refused(
        meminfo(b"MemTotal: 4 MB\n"),
        "an amount of memory that is not in kB",
    );
    refused(meminfo(b"MemTotal: 4\n"), "an amount of memory that is not in kB");
    refused(
        meminfo(b"MemTotal: 4 kB kB\n"),
        "more than an amount of memory in its line",
    );
    refused(
        meminfo(b"MemTotal: 18446744073709551616 kB\n"),
        "an amount of memory",
    );
}

#[test]
fn load_averages_are_exact() {
    let expected = [
        ([147, 182, 144], 120),
        ([1234, 10_005, 99], 2345),
        ([188, 166, 144], 131),
    ];
    assert_eq!(
        MACHINES
            .map(|machine| loadavg(machine.loadavg).unwrap())
            .map(|l| (l.averages_centi, l.threads)),
        expected
    );
    let max = loadavg(b"42949672.95 0.00 0.10 0/4294967295 4194304\n").unwrap();
    assert_eq!(
        max,
        Load {
            averages_centi: [u32::MAX, 0, 10],
            threads: u32::MAX
        }
    );
}

#[test]
fn loadavg_that_no_kernel_writes() {
    let average = "a load average is not a number with two decimals";
    refused(loadavg(b""), "the file is empty");
    refused(loadavg(b"\n"), average);
    for bad in [
        "1", "1.", ".12", "1.2", "1.234", "1.2a", "-1.00", "1e2", "nan", "inf", "1,00", "1.-1", "1.00.00",
    ] {
        refused(loadavg(format!("{bad} 0.00 0.00 1/2 3\n").as_bytes()), average);
        refused(loadavg(format!("0.00 0.00 {bad} 1/2 3\n").as_bytes()), average);
    }
    refused(
        loadavg(b"42949672.96 0.00 0.00 1/2 3\n"),
        "a load average is out of range",
    );
    refused(
        loadavg(b"184467440737095516.15 0.00 0.00 1/2 3\n"),
        "a load average is out of range",
    );
    refused(
        loadavg(b"18446744073709551615.99 0.00 0.00 1/2 3\n"),
        "a load average is out of range",
    );
    refused(
        loadavg(b"0.00 0.00 0.00 12 3\n"),
        "no `running/existing` after the averages",
    );
    refused(loadavg(b"0.00 0.00 0.00 /2 3\n"), "the number of running threads");
    refused(loadavg(b"0.00 0.00 0.00 1/ 3\n"), "the number of threads");
    refused(loadavg(b"0.00 0.00 0.00 1/2/3 3\n"), "the number of threads");
    refused(
        loadavg(b"0.00 0.00 0.00 1/4294967296 3\n"),
        "the number of threads is out of range",
    );
    refused(loadavg(b"0.00 0.00 0.00 1/2\n"), "the last process id");
    refused(loadavg(b"0.00 0.00 0.00 1/2 3 4\n"), "more than five fields");
    refused(loadavg(b"0.00 0.00 0.00 1/2 3\n\n"), "more than one line");
}

#[test]
fn file_handles_in_use() {
    assert_eq!(
        MACHINES.map(|machine| file_nr(machine.file_nr).unwrap().used),
        [742, 14_272, 840]
    );
    let handles = |used, limit| Ok(FileHandles { used, limit });
    assert_eq!(file_nr(b"1000\t40\t2466186\n"), handles(960, 2_466_186));
    assert_eq!(
        file_nr(format!("{0}\t0\t{0}\n", u64::MAX).as_bytes()),
        handles(u64::MAX, u64::MAX)
    );
    refused(file_nr(b""), "the file is empty");
    refused(file_nr(b"\n"), "the number of file handles");
    refused(file_nr(b"1\n"), "the number of unused file handles");
    refused(file_nr(b"1\t0\n"), "the limit of file handles");
    refused(
        file_nr(b"1\t2\t3\n"),
        "more file handles are unused than allocated",
    );
    refused(file_nr(b"1\t0\t3\t4\n"), "more than three fields");
    refused(file_nr(b"1\t0\t3\n1\t0\t3\n"), "more than one line");
}

#[test]
fn traffic_of_all_interfaces_but_loopback() {
    let expected = [
        (518_688_951, 1_578_734),
        (1_234_580_112_433, 9_876_555_433_309),
        (0, 0),
    ];
    assert_eq!(
        MACHINES
            .map(|machine| net_dev(machine.net_dev).unwrap())
            .map(|t| (t.received.bytes, t.sent.bytes)),
        expected
    );
    assert_eq!(
        net_dev(HEADING.as_bytes()),
        Ok(Traffic::default()),
        "no interfaces"
    );
}

#[test]
fn net_dev_that_no_kernel_writes() {
    let heading = "the heading is not that of interfaces";
    refused(net_dev(b""), heading);
    refused(net_dev(b"Inter-|\n"), heading);
    refused(net_dev(HEADING.replace("bytes", "kilos").as_bytes()), heading);
    refused(
        net_dev(b" eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        heading,
    );
    let with = |lines: &str| format!("{HEADING}{lines}").into_bytes();
    refused(net_dev(&with(" eth0 1\n")), "a line without an interface's name");
    refused(
        net_dev(&with(" eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n")),
        "a counter of an interface",
    );
    refused(
        net_dev(&with(" eth0: 1 2 3 4 5 6 7 8 x 10 11 12 13 14 15 16\n")),
        "a counter of an interface",
    );
    refused(net_dev(&with(" lo: 1 2 3\n")), "a counter of an interface");
    refused(
        net_dev(&with(" eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n")),
        "more than 16 counters of an interface",
    );
    let max = u64::MAX;
    let one = format!(" eth0: {max} 0 0 0 0 0 0 0 {max} 0 0 0 0 0 0 0\n");
    assert_eq!(
        net_dev(&with(&one)).map(|traffic| (traffic.received.bytes, traffic.sent.bytes)),
        Ok((max, max))
    );
    let rx = " eth1: 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    let tx = " eth1: 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n";
    for second in [rx, tx] {
        refused(
            net_dev(&with(&format!("{one}{second}"))),
            "the sum of all interfaces overflows",
        );
        let loopback = second.replace("eth1", "lo");
        net_dev(&with(&format!("{one}{loopback}"))).expect("loopback is not added");
    }
}

#[test]
fn disks_in_sectors_of_512_bytes() {
    let disks = all_disks(MACHINES[1].diskstats).unwrap();
    assert_eq!(disks.len(), 17);
    let expected = Disk {
        name: b"nvme0n1",
        read_bytes: 12_369_153 * 512,
        written_bytes: 36_123_024 * 512,
        reads: 255_999,
        writes: 996_852,
        busy_millis: 301_795,
    };
    assert_eq!(disks[0], expected);
    assert_eq!(disks[9].name, b"cciss/c0d0");
    assert_eq!(all_disks(b""), Ok(vec![]), "no disks");
    let old = all_disks(b" 8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n").expect("14 fields, as before Linux 4.18");
    assert_eq!(
        old,
        [Disk {
            name: b"sda",
            read_bytes: 3 * 512,
            written_bytes: 7 * 512,
            reads: 1,
            writes: 5,
            busy_millis: 10,
        }]
    );
}

#[test]
fn diskstats_that_no_kernel_writes() {
    refused(all_disks(b"\n"), "a disk's major number");
    refused(all_disks(b"8\n"), "a disk's minor number");
    refused(all_disks(b"8 0\n"), "a line without a disk's name");
    refused(
        all_disks(b"8 0 sda 1 2 3 4 5 6 7 8 9 10\n"),
        "a counter of a disk",
    );
    refused(all_disks(b"8 1 sda1 1 2 3 4\n"), "a counter of a disk");
    let limit = u64::MAX / 512;
    let most = format!("8 0 sda 1 2 {limit} 4 5 6 {limit} 8 9 10 11\n");
    assert_eq!(all_disks(most.as_bytes()).unwrap()[0].read_bytes, limit * 512);
    for beyond in [limit + 1, u64::MAX] {
        refused(
            all_disks(format!("8 0 sda 1 2 {beyond} 4 5 6 7 8 9 10 11\n").as_bytes()),
            "a disk's bytes overflow",
        );
        refused(
            all_disks(format!("8 0 sda 1 2 3 4 5 6 {beyond} 8 9 10 11\n").as_bytes()),
            "a disk's bytes overflow",
        );
    }
}

/// A file cut off within a line is refused; cut off between two, it is refused or gives what a shorter file
/// may give.
fn truncations<'a, T: PartialEq + Debug>(
    bytes: &'a [u8],
    parse: impl Fn(&'a [u8]) -> Result<T, Malformed>,
    whole_lines: impl Fn(&T) -> bool,
) {
    for length in 0..bytes.len() {
        let cut = &bytes[..length];
        let result = parse(cut);
        if length == 0 || cut.ends_with(b"\n") {
            assert!(
                result.as_ref().map_or(true, &whole_lines),
                "{result:?} of {length} bytes"
            );
        } else {
            result.expect_err("cut off within a line");
        }
    }
}

#[test]
fn truncated_files_are_not_half_believed() {
    for machine in &MACHINES {
        let whole = stat(machine.stat).unwrap();
        truncations(machine.stat, stat, |cut| {
            let needed = |stat: &Stat| (stat.cpu, stat.cpus, stat.interrupts, stat.context_switches);
            let or_absent = |cut: Option<u64>, whole| cut.is_none() || cut == whole;
            needed(cut) == needed(&whole)
                && or_absent(cut.boot_seconds, whole.boot_seconds)
                && or_absent(cut.forks, whole.forks)
                && or_absent(cut.running, whole.running)
                && or_absent(cut.blocked, whole.blocked)
        });
        let whole = meminfo(machine.meminfo).unwrap();
        truncations(machine.meminfo, meminfo, |cut| {
            (cut.total, cut.available) == (whole.total, whole.available)
                && (cut.free.is_none() || cut.free == whole.free)
                && (cut.cached.is_none() || cut.cached == whole.cached)
        });
        truncations(machine.loadavg, loadavg, |_| false);
        truncations(machine.file_nr, file_nr, |_| false);
        let whole = net_dev(machine.net_dev).unwrap();
        truncations(machine.net_dev, net_dev, |cut| {
            cut.received.bytes <= whole.received.bytes && cut.sent.bytes <= whole.sent.bytes
        });
        let whole = all_disks(machine.diskstats).unwrap();
        truncations(machine.diskstats, all_disks, |cut| whole.starts_with(cut));
    }
}

/// Each parser of a whole file, in the order of [`Files`]; what is accepted keeps the invariants of shares.
const PARSERS: [fn(&[u8]); 6] = [
    |bytes| {
        let earlier = stat(MACHINES[0].stat).unwrap().cpu;
        if let Ok(stat) = stat(bytes) {
            assert!(stat.cpu.efficiency_since(&earlier) <= 10_000);
            assert!(stat.cpu.busy_since(&earlier) <= 10_000);
            assert!(earlier.busy_since(&stat.cpu) <= 10_000);
        }
    },
    |bytes| {
        if let Ok(memory) = meminfo(bytes) {
            assert!(memory.used() <= 10_000 && memory.available <= memory.total);
        }
    },
    |bytes| {
        let _ = loadavg(bytes);
    },
    |bytes| {
        let _ = file_nr(bytes);
    },
    |bytes| {
        let _ = net_dev(bytes);
    },
    |bytes| drop(all_disks(bytes)),
];

#[test]
fn no_bytes_make_a_parser_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let alphabet = b"0123456789 \t\n:/.-+xcpuintrtxkB\0\xff";
    for _ in 0..4_000 {
        let length = random() as usize % 200;
        let noise: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        let likely: Vec<u8> = (0..length)
            .map(|_| alphabet[random() as usize % alphabet.len()])
            .collect();
        for parse in PARSERS {
            parse(&noise);
            parse(&likely);
        }
    }
}

#[test]
fn no_changed_byte_makes_a_parser_panic() {
    for Files {
        stat,
        meminfo,
        loadavg,
        file_nr,
        net_dev,
        diskstats,
    } in &MACHINES[..2]
    {
        for (original, parse) in [stat, meminfo, loadavg, file_nr, net_dev, diskstats]
            .into_iter()
            .zip(PARSERS)
        {
            let mut bytes = original.to_vec();
            for index in 0..bytes.len() {
                for replacement in *b"9- \n\xff" {
                    bytes[index] = replacement;
                    parse(&bytes);
                }
                bytes[index] = original[index];
            }
        }
    }
}
