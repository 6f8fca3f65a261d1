//! The network (specification §3.A `NetworkMetrics`).

mod families;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::families::FAMILIES;
use crate::decimal::Seconds;

/// The node's network. All sums are over the interfaces but loopback; `docs/metrics.md` has each field's source.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NetworkMetrics {
    /// Bytes per second received since the last sample.
    pub throughput_in: u64,
    /// Bytes per second sent since the last sample.
    pub throughput_out: u64,
    /// Packets received.
    pub packets_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Errors on receiving.
    pub errors_in: u64,
    /// Errors on sending.
    pub errors_out: u64,
    /// Packets that were dropped on receiving.
    pub drops_in: u64,
    /// Packets that were dropped on sending.
    pub drops_out: u64,
    /// TCP connections that are open, over IPv4 and IPv6.
    pub connection_count: u32,
    /// Time to a peer and back, by the peer's name; a peer that does not answer is absent.
    pub latency: BTreeMap<String, Seconds>,
    /// Peers that did not answer or could not be asked, and why.
    pub unreachable: BTreeMap<String, String>,
    /// Time to the verifier and back over the attested session; none without a session.
    pub response_time: Option<Seconds>,
    /// What the specification does not name. Stored and exported as series.
    #[serde(skip)]
    pub details: NetworkDetails,
}

/// What the kernel tells beside. A value is none where the kernel does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkDetails {
    /// Interfaces but loopback.
    pub device_count: u32,
    /// Those of them that are told apart: not the pods' ends, and a bounded number.
    pub devices: Vec<DeviceTraffic>,
    /// TCP segments received since the machine's start.
    pub tcp_segments_in: u64,
    /// TCP segments sent since the machine's start.
    pub tcp_segments_out: u64,
    /// TCP segments sent again since the machine's start.
    pub tcp_retransmitted: u64,
    /// Sockets of every kind.
    pub sockets: Option<u64>,
    /// TCP sockets that exist.
    pub tcp_sockets: Option<u64>,
    /// TCP connections that wait for late packets.
    pub tcp_time_wait: Option<u64>,
    /// TCP sockets that no process has any more.
    pub tcp_orphans: Option<u64>,
    /// Flows that the firewall follows.
    pub conntrack_entries: Option<u64>,
    /// As many as it can.
    pub conntrack_limit: Option<u64>,
}

/// What passed one interface since it came up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceTraffic {
    /// Its name.
    pub device: String,
    /// Received.
    pub received: PacketCounts,
    /// Sent.
    pub sent: PacketCounts,
}

/// What passed one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were faulty.
    pub errors: u64,
    /// Packets that were dropped for want of room.
    pub drops: u64,
}
