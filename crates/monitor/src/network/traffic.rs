//! What passed the interfaces from one measurement to the next.

use std::collections::HashMap;
use std::time::Duration;

use crate::data::{DeviceTraffic, PacketCounts};
use crate::parse::{Flow, Interface, Traffic};

/// Interfaces that are told apart, the oldest of them; the others are in the sums.
const MAX_DEVICES: usize = 32;
/// How the names of pods' ends begin (kernel, Calico, Cilium, virtual machines). There are as many as pods, they come
/// and go with them, and what passes them is a container's business.
const PODS: [&[u8]; 4] = [b"veth", b"cali", b"lxc", b"tap"];

/// Sums over all interfaces but loopback that never fall: an interface that goes takes nothing with it, one that comes
/// brings nothing along.
#[derive(Debug)]
pub(super) struct Counters {
    last: HashMap<Box<[u8]>, Traffic>,
    total: Traffic,
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Throughput {
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Counters {
    /// Counts from what the interfaces show now.
    pub(super) fn starting(interfaces: &[Interface<'_>]) -> Self {
        let total =
            outward(interfaces).fold(Traffic::default(), |sum, interface| add(sum, interface.traffic));
        Self {
            last: by_name(interfaces),
            total,
        }
    }

    /// Takes in what the interfaces show `elapsed` after the last time.
    pub(super) fn advance(&mut self, interfaces: &[Interface<'_>], elapsed: Duration) -> Throughput {
        let increase = outward(interfaces)
            .filter_map(|interface| {
                let before = self.last.get(interface.name)?;
                Some(Traffic {
                    received: since(interface.traffic.received, before.received),
                    sent: since(interface.traffic.sent, before.sent),
                })
            })
            .fold(Traffic::default(), add);
        self.total = add(self.total, increase);
        self.last = by_name(interfaces);
        Throughput {
            received: per_second(increase.received.bytes, elapsed),
            sent: per_second(increase.sent.bytes, elapsed),
        }
    }

    /// What passed all interfaces that there are or were since the start.
    pub(super) const fn total(&self) -> Traffic {
        self.total
    }
}

/// How many interfaces there are but loopback.
pub(super) fn count(interfaces: &[Interface<'_>]) -> u32 {
    u32::try_from(outward(interfaces).count()).unwrap_or(u32::MAX)
}

/// The interfaces that have series of their own. The kernel lists the oldest first.
pub(super) fn told_apart(interfaces: &[Interface<'_>]) -> Vec<DeviceTraffic> {
    outward(interfaces)
        .filter(|interface| !PODS.iter().any(|prefix| interface.name.starts_with(prefix)))
        .take(MAX_DEVICES)
        .map(|interface| DeviceTraffic {
            device: String::from_utf8_lossy(interface.name).into_owned(),
            received: packets(interface.traffic.received),
            sent: packets(interface.traffic.sent),
        })
        .collect()
}

fn outward<'a>(interfaces: &'a [Interface<'a>]) -> impl Iterator<Item = &'a Interface<'a>> {
    interfaces.iter().filter(|interface| interface.name != b"lo")
}

fn by_name(interfaces: &[Interface<'_>]) -> HashMap<Box<[u8]>, Traffic> {
    outward(interfaces)
        .map(|interface| (interface.name.into(), interface.traffic))
        .collect()
}

fn add(one: Traffic, other: Traffic) -> Traffic {
    let flow = |one: Flow, other: Flow| Flow {
        bytes: one.bytes.saturating_add(other.bytes),
        packets: one.packets.saturating_add(other.packets),
        errors: one.errors.saturating_add(other.errors),
        drops: one.drops.saturating_add(other.drops),
    };
    Traffic {
        received: flow(one.received, other.received),
        sent: flow(one.sent, other.sent),
    }
}

fn since(now: Flow, before: Flow) -> Flow {
    // A counter that fell began anew: another interface of the same name.
    let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
    Flow {
        bytes: since(now.bytes, before.bytes),
        packets: since(now.packets, before.packets),
        errors: since(now.errors, before.errors),
        drops: since(now.drops, before.drops),
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    u128::from(bytes)
        .saturating_mul(1_000_000_000)
        .checked_div(elapsed.as_nanos())
        .map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}

const fn packets(flow: Flow) -> PacketCounts {
    PacketCounts {
        bytes: flow.bytes,
        packets: flow.packets,
        errors: flow.errors,
        drops: flow.drops,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, received: u64, sent: u64) -> Interface<'_> {
        let flow = |bytes| Flow {
            bytes,
            packets: bytes / 100,
            errors: 1,
            drops: 0,
        };
        Interface {
            name: name.as_bytes(),
            traffic: Traffic {
                received: flow(received),
                sent: flow(sent),
            },
        }
    }

    const TWO_SECONDS: Duration = Duration::from_secs(2);

    #[test]
    fn throughput_is_of_the_interfaces_that_were_there_before() {
        let mut counters = Counters::starting(&[interface("lo", 5, 5), interface("eth0", 1000, 500)]);
        let rates = counters.advance(
            &[
                interface("lo", 9_000_000, 9_000_000),
                interface("eth0", 3000, 600),
                interface("vethab", 7_000_000, 1),
            ],
            TWO_SECONDS,
        );
        assert_eq!((rates.received, rates.sent), (1000, 50));
        let rates = counters.advance(
            &[interface("eth0", 3000, 600), interface("vethab", 7_000_200, 1)],
            TWO_SECONDS,
        );
        assert_eq!(
            (rates.received, rates.sent),
            (100, 0),
            "the new one counts from here"
        );
    }

    #[test]
    fn the_total_never_falls() {
        let mut counters = Counters::starting(&[interface("eth0", 1000, 0), interface("vethab", 500, 0)]);
        assert_eq!(counters.total().received.bytes, 1500);
        let rates = counters.advance(&[interface("eth0", 1100, 0)], TWO_SECONDS);
        assert_eq!(rates.received, 50);
        assert_eq!(counters.total().received.bytes, 1600, "a pod ended");
        let rates = counters.advance(&[interface("eth0", 40, 0)], TWO_SECONDS);
        assert_eq!(rates.received, 20, "the counter began anew");
        assert_eq!(counters.total().received.bytes, 1640);
    }

    #[test]
    fn no_time_and_too_many_bytes_are_no_fault() {
        let mut counters = Counters::starting(&[interface("eth0", 0, 0)]);
        let rates = counters.advance(&[interface("eth0", u64::MAX, 10)], Duration::ZERO);
        assert_eq!((rates.received, rates.sent), (0, 0));
        counters.advance(&[interface("eth0", 0, 0)], TWO_SECONDS);
        let rates = counters.advance(&[interface("eth0", u64::MAX, 10)], Duration::from_nanos(1));
        assert_eq!((rates.received, rates.sent), (u64::MAX, 10_000_000_000));
        assert_eq!(counters.total().received.bytes, u64::MAX);
    }

    #[test]
    fn pods_ends_are_not_told_apart_and_the_rest_is_bounded() {
        let names: Vec<String> = (0..40).map(|number| format!("eth{number}")).collect();
        let mut all = vec![
            interface("lo", 1, 1),
            interface("veth12", 1, 1),
            interface("cali1", 1, 1),
            interface("flannel.1", 7, 8),
        ];
        all.extend(names.iter().map(|name| interface(name, 1, 1)));
        let told = told_apart(&all);
        assert_eq!((told.len(), count(&all)), (MAX_DEVICES, 43));
        assert_eq!(
            (told[0].device.as_str(), told[0].received.bytes),
            ("flannel.1", 7)
        );
        assert_eq!(told[31].device, "eth30");
    }
}
