//! The network as named integers.

use super::{DeviceTraffic, NetworkMetrics};
use crate::reading::MetricKind::{Counter, Gauge};
use crate::reading::{Family, Point};
use crate::share::counted;

/// Every family of [`NetworkMetrics`].
pub static FAMILIES: &[&Family] = &[
    &THROUGHPUT_IN,
    &THROUGHPUT_OUT,
    &PACKETS_IN,
    &PACKETS_OUT,
    &ERRORS_IN,
    &ERRORS_OUT,
    &DROPS_IN,
    &DROPS_OUT,
    &DEVICES,
    &DEVICE_BYTES_IN,
    &DEVICE_BYTES_OUT,
    &DEVICE_PACKETS_IN,
    &DEVICE_PACKETS_OUT,
    &DEVICE_ERRORS_IN,
    &DEVICE_ERRORS_OUT,
    &DEVICE_DROPS_IN,
    &DEVICE_DROPS_OUT,
    &CONNECTIONS,
    &SEGMENTS_IN,
    &SEGMENTS_OUT,
    &RETRANSMITTED,
    &SOCKETS,
    &TCP_SOCKETS,
    &TCP_TIME_WAIT,
    &TCP_ORPHANS,
    &CONNTRACK_ENTRIES,
    &CONNTRACK_LIMIT,
    &PEER_LATENCY,
    &PEER_UP,
    &RESPONSE_TIME,
];

static THROUGHPUT_IN: Family = Family::new(
    "nautilus_network_receive_throughput_bytes_per_second",
    "bytes_per_second",
    Gauge,
    0,
    "Bytes per second received since the last sample on all interfaces but loopback.",
);
static THROUGHPUT_OUT: Family = Family::new(
    "nautilus_network_transmit_throughput_bytes_per_second",
    "bytes_per_second",
    Gauge,
    0,
    "Bytes per second sent since the last sample on all interfaces but loopback.",
);
static PACKETS_IN: Family = Family::new(
    "nautilus_network_io_receive_packets",
    "",
    Counter,
    0,
    "Packets received on all interfaces but loopback.",
);
static PACKETS_OUT: Family = Family::new(
    "nautilus_network_io_transmit_packets",
    "",
    Counter,
    0,
    "Packets sent on all interfaces but loopback.",
);
static ERRORS_IN: Family = Family::new(
    "nautilus_network_io_receive_errors",
    "",
    Counter,
    0,
    "Faulty packets received on all interfaces but loopback.",
);
static ERRORS_OUT: Family = Family::new(
    "nautilus_network_io_transmit_errors",
    "",
    Counter,
    0,
    "Faulty packets sent on all interfaces but loopback.",
);
static DROPS_IN: Family = Family::new(
    "nautilus_network_io_receive_drops",
    "",
    Counter,
    0,
    "Packets dropped on receiving, on all interfaces but loopback.",
);
static DROPS_OUT: Family = Family::new(
    "nautilus_network_io_transmit_drops",
    "",
    Counter,
    0,
    "Packets dropped on sending, on all interfaces but loopback.",
);
static DEVICES: Family = Family::new(
    "nautilus_network_devices",
    "",
    Gauge,
    0,
    "Interfaces but loopback.",
);
static DEVICE_BYTES_IN: Family = Family::new(
    "nautilus_network_receive_bytes",
    "bytes",
    Counter,
    0,
    "Bytes received on an interface since it came up.",
);
static DEVICE_BYTES_OUT: Family = Family::new(
    "nautilus_network_transmit_bytes",
    "bytes",
    Counter,
    0,
    "Bytes sent on an interface since it came up.",
);
static DEVICE_PACKETS_IN: Family = Family::new(
    "nautilus_network_receive_packets",
    "",
    Counter,
    0,
    "Packets received on an interface since it came up.",
);
static DEVICE_PACKETS_OUT: Family = Family::new(
    "nautilus_network_transmit_packets",
    "",
    Counter,
    0,
    "Packets sent on an interface since it came up.",
);
static DEVICE_ERRORS_IN: Family = Family::new(
    "nautilus_network_receive_errors",
    "",
    Counter,
    0,
    "Faulty packets received on an interface since it came up.",
);
static DEVICE_ERRORS_OUT: Family = Family::new(
    "nautilus_network_transmit_errors",
    "",
    Counter,
    0,
    "Faulty packets sent on an interface since it came up.",
);
static DEVICE_DROPS_IN: Family = Family::new(
    "nautilus_network_receive_drops",
    "",
    Counter,
    0,
    "Packets dropped on receiving on an interface since it came up.",
);
static DEVICE_DROPS_OUT: Family = Family::new(
    "nautilus_network_transmit_drops",
    "",
    Counter,
    0,
    "Packets dropped on sending on an interface since it came up.",
);
static CONNECTIONS: Family = Family::new(
    "nautilus_network_connections",
    "",
    Gauge,
    0,
    "TCP connections that are open, over IPv4 and IPv6.",
);
static SEGMENTS_IN: Family = Family::new(
    "nautilus_tcp_receive_segments",
    "",
    Counter,
    0,
    "TCP segments received since the machine's start.",
);
static SEGMENTS_OUT: Family = Family::new(
    "nautilus_tcp_transmit_segments",
    "",
    Counter,
    0,
    "TCP segments sent since the machine's start.",
);
static RETRANSMITTED: Family = Family::new(
    "nautilus_tcp_retransmit_segments",
    "",
    Counter,
    0,
    "TCP segments sent again since the machine's start.",
);
static SOCKETS: Family = Family::new("nautilus_sockets", "", Gauge, 0, "Sockets of every kind.");
static TCP_SOCKETS: Family = Family::new(
    "nautilus_tcp_sockets",
    "",
    Gauge,
    0,
    "TCP sockets that exist, over IPv4 and IPv6.",
);
static TCP_TIME_WAIT: Family = Family::new(
    "nautilus_tcp_sockets_time_wait",
    "",
    Gauge,
    0,
    "TCP connections that are closed and wait for late packets.",
);
static TCP_ORPHANS: Family = Family::new(
    "nautilus_tcp_sockets_orphaned",
    "",
    Gauge,
    0,
    "TCP sockets that no process has any more, but that are not closed.",
);
static CONNTRACK_ENTRIES: Family = Family::new(
    "nautilus_conntrack_entries",
    "",
    Gauge,
    0,
    "Flows that the firewall follows.",
);
static CONNTRACK_LIMIT: Family = Family::new(
    "nautilus_conntrack_entries_limit",
    "",
    Gauge,
    0,
    "As many flows as the firewall can follow.",
);
static PEER_LATENCY: Family = Family::new(
    "nautilus_peer_latency_seconds",
    "seconds",
    Gauge,
    9,
    "Time to a peer and back; absent while it does not answer.",
);
static PEER_UP: Family = Family::new("nautilus_peer_up", "", Gauge, 0, "Whether a peer answered.");
static RESPONSE_TIME: Family = Family::new(
    "nautilus_response_time_seconds",
    "seconds",
    Gauge,
    9,
    "Time to the verifier and back over the attested session.",
);

impl NetworkMetrics {
    /// The same as named integers.
    pub fn points(&self, into: &mut Vec<Point>) {
        let details = &self.details;
        for (family, count) in [
            (&THROUGHPUT_IN, Some(self.throughput_in)),
            (&THROUGHPUT_OUT, Some(self.throughput_out)),
            (&PACKETS_IN, Some(self.packets_in)),
            (&PACKETS_OUT, Some(self.packets_out)),
            (&ERRORS_IN, Some(self.errors_in)),
            (&ERRORS_OUT, Some(self.errors_out)),
            (&DROPS_IN, Some(self.drops_in)),
            (&DROPS_OUT, Some(self.drops_out)),
            (&DEVICES, Some(details.device_count.into())),
            (&CONNECTIONS, Some(self.connection_count.into())),
            (&SEGMENTS_IN, Some(details.tcp_segments_in)),
            (&SEGMENTS_OUT, Some(details.tcp_segments_out)),
            (&RETRANSMITTED, Some(details.tcp_retransmitted)),
            (&SOCKETS, details.sockets),
            (&TCP_SOCKETS, details.tcp_sockets),
            (&TCP_TIME_WAIT, details.tcp_time_wait),
            (&TCP_ORPHANS, details.tcp_orphans),
            (&CONNTRACK_ENTRIES, details.conntrack_entries),
            (&CONNTRACK_LIMIT, details.conntrack_limit),
        ] {
            into.extend(counted(family, count));
        }
        for device in &details.devices {
            device.points(into);
        }
        for (peer, latency) in &self.latency {
            into.push(Point::labelled(&PEER_LATENCY, [("peer", peer)], latency.0));
            into.push(Point::labelled(&PEER_UP, [("peer", peer)], 1));
        }
        for peer in self.unreachable.keys() {
            into.push(Point::labelled(&PEER_UP, [("peer", peer)], 0));
        }
        into.extend(
            self.response_time
                .map(|time| Point::plain(&RESPONSE_TIME, time.0)),
        );
    }
}

impl DeviceTraffic {
    fn points(&self, into: &mut Vec<Point>) {
        for (family, count) in [
            (&DEVICE_BYTES_IN, self.received.bytes),
            (&DEVICE_BYTES_OUT, self.sent.bytes),
            (&DEVICE_PACKETS_IN, self.received.packets),
            (&DEVICE_PACKETS_OUT, self.sent.packets),
            (&DEVICE_ERRORS_IN, self.received.errors),
            (&DEVICE_ERRORS_OUT, self.sent.errors),
            (&DEVICE_DROPS_IN, self.received.drops),
            (&DEVICE_DROPS_OUT, self.sent.drops),
        ] {
            let device = [("device", self.device.as_str())];
            into.extend(
                counted(family, Some(count)).map(|point| Point::labelled(family, device, point.value)),
            );
        }
    }
}
