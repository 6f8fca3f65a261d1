//! What a kernel, or whoever stands in for it, writes under /proc. The first byte chooses the parser.
#![no_main]

use nautilus_fuzz::fuzz_target;
use nautilus_monitor::network::Peers;
use nautilus_monitor::parse::{
    CpuTimes, count, default_gateway, diskstats, file_nr, interfaces, loadavg, meminfo, net_dev, pressure,
    snmp, sockstat, stat, uptime, vmstat,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((parser, file)) = bytes.split_first() else {
        return;
    };
    match parser {
        b'a' => {
            if let Ok(stat) = stat(file) {
                let boot = CpuTimes::default();
                for share in [
                    stat.cpu.busy_since(&boot),
                    stat.cpu.efficiency_since(&boot),
                    boot.busy_since(&stat.cpu),
                    boot.efficiency_since(&stat.cpu),
                ] {
                    assert!(share <= 10_000);
                }
            }
        }
        b'b' => {
            if let Ok(memory) = meminfo(file) {
                assert!(memory.used() <= 10_000 && memory.available <= memory.total);
            }
        }
        b'c' => {
            let _ = loadavg(file);
        }
        b'd' => {
            let _ = uptime(file);
        }
        b'e' => {
            let _ = file_nr(file);
        }
        b'f' => {
            let each = interfaces(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            // Only a sum can fault where no line does.
            assert!(each.is_ok() || net_dev(file).is_err());
        }
        b'g' => {
            let _ = diskstats(file).collect::<Result<Vec<_>, _>>();
        }
        b'h' => {
            let _ = vmstat(file);
        }
        b'i' => {
            let _ = pressure(file);
        }
        b'j' => {
            let _ = snmp(file);
        }
        b'k' => {
            let _ = sockstat(file);
        }
        b'l' => {
            let _ = default_gateway(file);
        }
        b'm' => {
            let _ = count(file);
        }
        b'n' => {
            if let Ok(peers) = String::from_utf8_lossy(file).parse::<Peers>() {
                assert!(peers.as_slice().len() <= nautilus_monitor::network::MAX_PEERS);
            }
        }
        _ => {}
    }
});
