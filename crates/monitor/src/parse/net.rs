//! The network: `/proc/net/dev`, `snmp`, `sockstat`, `route`, and single counts.

use std::net::Ipv4Addr;

use procfs::FromBufRead as _;
use procfs::net::RouteEntries;

use super::{Malformed, end, fields, lines, number, once, only_line, split_once, whole};

/// What passed an interface one way since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were faulty.
    pub errors: u64,
    /// Packets that were dropped for want of room.
    pub drops: u64,
}

impl Flow {
    fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.checked_add(other.bytes)?,
            packets: self.packets.checked_add(other.packets)?,
            errors: self.errors.checked_add(other.errors)?,
            drops: self.drops.checked_add(other.drops)?,
        })
    }
}

/// What passed both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received.
    pub received: Flow,
    /// Sent.
    pub sent: Flow,
}

impl Traffic {
    /// This and what passed `interface`, unless that is loopback.
    ///
    /// # Errors
    /// If a sum overflows.
    pub fn with(self, interface: &Interface<'_>) -> Result<Self, Malformed> {
        if interface.name == b"lo" {
            return Ok(self);
        }
        let overflow = Malformed {
            what: "the sum of all interfaces overflows",
        };
        let Self { received, sent } = interface.traffic;
        Ok(Self {
            received: self.received.checked_add(received).ok_or(overflow)?,
            sent: self.sent.checked_add(sent).ok_or(overflow)?,
        })
    }
}

/// One line of `/proc/net/dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// The kernel's name, unchecked.
    pub name: &'a [u8],
    /// What passed it.
    pub traffic: Traffic,
}

/// Parses `/proc/net/dev` (proc_pid_net(5)) and adds up all interfaces but `lo`.
///
/// # Errors
/// As of [`interfaces`], or if a sum overflows.
pub fn net_dev(bytes: &[u8]) -> Result<Traffic, Malformed> {
    interfaces(bytes)?.try_fold(Traffic::default(), |sum, interface| sum.with(&interface?))
}

/// Parses `/proc/net/dev`, interface by interface.
///
/// # Errors
/// If the heading is not Linux's. Each item: if the line has not 16 numbers, or the file is cut off.
pub fn interfaces(bytes: &[u8]) -> Result<impl Iterator<Item = Result<Interface<'_>, Malformed>>, Malformed> {
    let mut lines = lines(bytes);
    // The second line names the columns: without it, which number is which would be a guess.
    let heading = [lines.next().transpose()?, lines.next().transpose()?];
    let known = heading[0].is_some_and(|line| line.starts_with(b"Inter-|"))
        && heading[1]
            .is_some_and(|line| line.starts_with(b" face |bytes ") && line.ends_with(b" compressed"));
    if known {
        Ok(lines.map(|line| interface(line?)))
    } else {
        Err(Malformed {
            what: "the heading is not that of interfaces",
        })
    }
}

fn interface(line: &[u8]) -> Result<Interface<'_>, Malformed> {
    // No name of an interface has a colon: dev_valid_name in the kernel's net/core/dev.c.
    let (name, counters) = split_once(line, b':').ok_or(Malformed {
        what: "a line without an interface's name",
    })?;
    let mut fields = fields(counters);
    let mut flow = || {
        let mut next = || number(fields.next(), "a counter of an interface");
        let [bytes, packets, errors, drops] = [next()?, next()?, next()?, next()?];
        for _ in 0..4 {
            next()?;
        }
        Ok(Flow {
            bytes,
            packets,
            errors,
            drops,
        })
    };
    let (received, sent) = (flow()?, flow()?);
    end(fields, "more than 16 counters of an interface")?;
    Ok(Interface {
        name: name.trim_ascii(),
        traffic: Traffic { received, sent },
    })
}

/// What is needed of `/proc/net/snmp`: TCP over IPv4 and IPv6, which the kernel counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Connections in the states ESTABLISHED and CLOSE-WAIT.
    pub established: u64,
    /// Segments received since boot.
    pub segments_in: u64,
    /// Segments sent since boot.
    pub segments_out: u64,
    /// Segments sent again since boot.
    pub retransmitted: u64,
}

/// Parses `/proc/net/snmp`: a line of names, then a line of their values, for each protocol.
///
/// # Errors
/// If TCP's lines are absent, double, of unequal length, or lack one of what is needed, or the file is cut off.
pub fn snmp(bytes: &[u8]) -> Result<Tcp, Malformed> {
    let (mut names, mut values) = (None, None);
    for line in lines(bytes) {
        if let Some(rest) = line?.strip_prefix(b"Tcp: ") {
            if names.is_none() {
                names = Some(rest);
            } else {
                once(&mut values, rest, "more than two lines `Tcp`")?;
            }
        }
    }
    let (names, values) = names.zip(values).ok_or(Malformed {
        what: "no two lines `Tcp`",
    })?;
    if fields(names).count() != fields(values).count() {
        return Err(Malformed {
            what: "the lines `Tcp` differ in length",
        });
    }
    let value = |wanted: &[u8], what| {
        let mut pairs = fields(names).zip(fields(values));
        number(
            pairs.find_map(|(name, value)| (name == wanted).then_some(value)),
            what,
        )
    };
    Ok(Tcp {
        established: value(b"CurrEstab", "the value of `CurrEstab`")?,
        segments_in: value(b"InSegs", "the value of `InSegs`")?,
        segments_out: value(b"OutSegs", "the value of `OutSegs`")?,
        retransmitted: value(b"RetransSegs", "the value of `RetransSegs`")?,
    })
}

/// What is needed of `/proc/net/sockstat`. TCP's are those over IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Sockets of every kind.
    pub used: u64,
    /// TCP sockets that no process has any more, but that are not closed.
    pub tcp_orphans: u64,
    /// TCP connections that wait for late packets.
    pub tcp_time_wait: u64,
    /// TCP sockets that exist.
    pub tcp_allocated: u64,
}

/// Parses `/proc/net/sockstat`.
///
/// # Errors
/// If the line `sockets` or `TCP` is absent or double, or lacks one of what is needed, or the file is cut off.
pub fn sockstat(bytes: &[u8]) -> Result<Sockets, Malformed> {
    let (mut all, mut tcp) = (None, None);
    for line in lines(bytes) {
        let line = line?;
        if let Some(rest) = line.strip_prefix(b"sockets: ") {
            once(&mut all, rest, "two lines `sockets`")?;
        } else if let Some(rest) = line.strip_prefix(b"TCP: ") {
            once(&mut tcp, rest, "two lines `TCP`")?;
        }
    }
    let value = |line: Option<&[u8]>, wanted: &[u8], what| {
        let mut words = fields(line.unwrap_or_default());
        number(
            words.find(|word| *word == wanted).and_then(|_| words.next()),
            what,
        )
    };
    Ok(Sockets {
        used: value(all, b"used", "the number of sockets")?,
        tcp_orphans: value(tcp, b"orphan", "the number of orphaned TCP sockets")?,
        tcp_time_wait: value(tcp, b"tw", "the number of TCP sockets in TIME-WAIT")?,
        tcp_allocated: value(tcp, b"alloc", "the number of TCP sockets")?,
    })
}

/// Parses a file of one number, such as `/proc/sys/net/netfilter/nf_conntrack_count`.
///
/// # Errors
/// If it is anything else.
pub fn count(bytes: &[u8]) -> Result<u64, Malformed> {
    let mut fields = fields(only_line(bytes)?);
    let count = number(fields.next(), "the number")?;
    end(fields, "more than a number")?;
    Ok(count)
}

/// Parses `/proc/net/route` and gives the gateway of the default route; that of the least metric if there are more.
///
/// # Errors
/// If the heading is not Linux's, a line is malformed, or the file is cut off.
pub fn default_gateway(bytes: &[u8]) -> Result<Option<Ipv4Addr>, Malformed> {
    /// RTF_UP and RTF_GATEWAY of the kernel's include/uapi/linux/route.h.
    const USABLE: u16 = 0x1 | 0x2;
    if !bytes.starts_with(b"Iface\tDestination\tGateway ") {
        return Err(Malformed {
            what: "the heading is not that of routes",
        });
    }
    let RouteEntries(routes) = RouteEntries::from_buf_read(whole(bytes)?).map_err(|_| Malformed {
        what: "a line is not a route",
    })?;
    Ok(routes
        .into_iter()
        .filter(|route| {
            route.flags & USABLE == USABLE
                && route.destination.is_unspecified()
                && route.mask.is_unspecified()
        })
        .min_by_key(|route| route.metrics)
        .map(|route| route.gateway))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::refused;

    const SNMP: &[u8] = include_bytes!("../../fixtures/vm/snmp");
    const SOCKSTAT: &[u8] = include_bytes!("../../fixtures/vm/sockstat");
    const ROUTE: &str = include_str!("../../fixtures/vm/route");

    #[test]
    fn what_passed_each_interface() {
        let all: Vec<_> = interfaces(include_bytes!("../../fixtures/nvme/net-dev"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let flow = |bytes, packets, errors, drops| Flow {
            bytes,
            packets,
            errors,
            drops,
        };
        let expected = Interface {
            name: b"enp5s0f0np0",
            traffic: Traffic {
                received: flow(1_234_567_890_123, 1_834_567_890, 0, 1201),
                sent: flow(9_876_543_210_987, 2_134_567_890, 0, 0),
            },
        };
        assert_eq!((all[0].name, all[1]), (&b"lo"[..], expected));
    }

    #[test]
    fn a_sum_of_any_counter_does_not_wrap() {
        let line = |at: usize, name: &str, value: u64| {
            let mut counters = vec!["0".to_owned(); 16];
            counters[at] = value.to_string();
            format!("{name}: {}\n", counters.join(" "))
        };
        let heading = "Inter-|\n face |bytes compressed\n";
        for at in [0, 1, 2, 3, 8, 9, 10, 11] {
            let text = heading.to_owned() + &line(at, "eth0", u64::MAX) + &line(at, "eth1", 1);
            refused(net_dev(text.as_bytes()), "the sum of all interfaces overflows");
        }
    }

    #[test]
    fn tcp_by_the_names_of_its_columns() {
        let tcp = snmp(SNMP).unwrap();
        assert!(
            tcp.segments_in > 1_000_000 && tcp.segments_out > 1_000_000,
            "{tcp:?}"
        );
        let other_order =
            b"Udp: InSegs\nUdp: 9\nTcp: OutSegs CurrEstab New InSegs RetransSegs\nTcp: 1 2 x 3 4\n";
        assert_eq!(
            snmp(other_order),
            Ok(Tcp {
                established: 2,
                segments_in: 3,
                segments_out: 1,
                retransmitted: 4,
            })
        );
    }

    #[test]
    fn snmp_that_no_kernel_writes() {
        refused(snmp(b""), "no two lines `Tcp`");
        refused(snmp(b"Tcp: CurrEstab\n"), "no two lines `Tcp`");
        refused(snmp(b"Tcp: a\nTcp: 1\nTcp: 1\n"), "more than two lines `Tcp`");
        refused(
            snmp(b"Tcp: CurrEstab InSegs\nTcp: 1\n"),
            "the lines `Tcp` differ in length",
        );
        refused(snmp(b"Tcp: InSegs\nTcp: 1\n"), "the value of `CurrEstab`");
        refused(snmp(b"Tcp: CurrEstab\nTcp: -1\n"), "the value of `CurrEstab`");
        refused(snmp(&SNMP[..SNMP.len() - 1]), "the last line is cut off");
    }

    #[test]
    fn sockets_by_their_names() {
        assert_eq!(
            sockstat(b"sockets: used 16\nTCP: inuse 2 orphan 3 tw 4 alloc 5 mem 6\nUDP: inuse 0 mem 0\n"),
            Ok(Sockets {
                used: 16,
                tcp_orphans: 3,
                tcp_time_wait: 4,
                tcp_allocated: 5,
            })
        );
        assert!(sockstat(SOCKSTAT).unwrap().used > 0);
        refused(sockstat(b""), "the number of sockets");
        refused(sockstat(b"sockets: used\n"), "the number of sockets");
        refused(
            sockstat(b"sockets: used 1\n"),
            "the number of orphaned TCP sockets",
        );
        refused(
            sockstat(b"sockets: used 1\nTCP: orphan 1 tw x\n"),
            "the number of TCP sockets in TIME-WAIT",
        );
        refused(
            sockstat(b"sockets: used 1\nsockets: used 1\n"),
            "two lines `sockets`",
        );
        refused(sockstat(b"TCP: tw 1\nTCP: tw 1\n"), "two lines `TCP`");
        refused(sockstat(b"sockets: used 1"), "the last line is cut off");
    }

    #[test]
    fn single_counts() {
        assert_eq!(count(b"262144\n"), Ok(262_144));
        refused(count(b""), "the file is empty");
        refused(count(b"\n"), "the number");
        refused(count(b"-1\n"), "the number");
        refused(count(b"1 2\n"), "more than a number");
        refused(count(b"1\n2\n"), "more than one line");
    }

    #[test]
    fn the_gateway_of_the_default_route() {
        assert_eq!(
            default_gateway(ROUTE.as_bytes()),
            Ok(Some(Ipv4Addr::new(192, 0, 2, 1)))
        );
        let heading = ROUTE.lines().next().unwrap();
        let table = |routes: &[&str]| format!("{heading}\n{}\n", routes.join("\n"));
        let gateway = |routes: &[&str]| default_gateway(table(routes).as_bytes());
        assert_eq!(default_gateway(format!("{heading}\n").as_bytes()), Ok(None));
        let host_order = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let [one, two] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(host_order);
        let default = |gateway: &str, flags: &str, metric: u32| {
            format!("eth0\t00000000\t{gateway}\t{flags}\t0\t0\t{metric}\t00000000\t0\t0\t0")
        };
        assert_eq!(
            gateway(&[&default(&one, "0003", 100), &default(&two, "0003", 50)]),
            Ok(Some(Ipv4Addr::new(10, 0, 0, 2))),
            "the least metric"
        );
        assert_eq!(gateway(&[&default(&one, "0002", 0)]), Ok(None), "not up");
        assert_eq!(
            gateway(&[&default("00000000", "0001", 0)]),
            Ok(None),
            "no gateway"
        );
        let half = format!("tun0\t00000000\t{one}\t0003\t0\t0\t0\t00000080\t0\t0\t0");
        assert_eq!(gateway(&[&half]), Ok(None), "half of the addresses");
        for bad in [
            "eth0",
            "eth0\tX",
            "eth0\t00000000\t010200C0\t0003\t0\t0\t-1\t00000000\t0\t0\t0",
            "",
        ] {
            refused(gateway(&[bad]), "a line is not a route");
        }
        refused(default_gateway(b""), "the heading is not that of routes");
        refused(
            default_gateway(ROUTE.trim_end().as_bytes()),
            "the last line is cut off",
        );
    }
}
