//! The collector of the network's metrics.

mod echo;
mod peers;
mod probe;
mod round_trip;
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nautilus_proof::CollectorKind;

pub use self::peers::{MAX_PEERS, Peer, PeerAddress, Peers, PeersError, VERIFIER};
pub use self::round_trip::RoundTrip;

use self::probe::Prober;
use self::traffic::Counters;
use crate::collector::{Collector, Part};
use crate::data::{NetworkDetails, NetworkMetrics};
use crate::decimal::{Decimal, Seconds};
use crate::error::CollectError;
use crate::kernel_file::{BUFFER, contents, parsed, parsed_if_there};
use crate::parse::{self, Interface, Malformed};

/// All peers of one measurement together are given this long.
const DEADLINE: Duration = Duration::from_secs(1);

/// Collects [`NetworkMetrics`] of the machine whose files are below one directory, and asks its peers how far away
/// they are.
#[derive(Debug)]
pub struct NetworkCollector {
    paths: Paths,
    buffer: Vec<u8>,
    counters: Counters,
    measured: Instant,
    prober: Prober,
    verifier: Option<Arc<RoundTrip>>,
}

impl NetworkCollector {
    /// A collector of the machine below `root`: `/`, or a tree that stands for it. Throughput counts from now.
    ///
    /// `verifier` is where the round trips of the attested session are told; none if there is to be no session.
    ///
    /// # Errors
    /// If `/proc/net/dev` cannot be read or is malformed.
    pub fn new(
        root: impl Into<PathBuf>,
        peers: Peers,
        verifier: Option<Arc<RoundTrip>>,
    ) -> Result<Self, CollectError> {
        let root = root.into();
        let paths = Paths::below(&root);
        let mut buffer = Vec::with_capacity(BUFFER);
        let counters = Counters::starting(&interfaces(&paths, &mut buffer)?);
        Ok(Self {
            paths,
            buffer,
            counters,
            measured: Instant::now(),
            prober: Prober::new(root, peers),
            verifier,
        })
    }

    /// Measures once; takes as long as the slowest peer, and at most a second. Throughput is that since the last
    /// measurement that succeeded.
    ///
    /// # Errors
    /// If the kernel's numbers cannot be had. A peer that cannot be reached is no error.
    pub fn measure(&mut self) -> Result<NetworkMetrics, CollectError> {
        let Self {
            paths,
            buffer,
            counters,
            measured,
            prober,
            verifier,
        } = self;
        let tcp = parsed(&paths.snmp, buffer, parse::snmp)?;
        let sockets = parsed_if_there(&paths.sockstat, buffer, parse::sockstat)?;
        let conntrack_entries = parsed_if_there(&paths.conntrack_entries, buffer, parse::count)?;
        let conntrack_limit = parsed_if_there(&paths.conntrack_limit, buffer, parse::count)?;
        let connection_count = u32::try_from(tcp.established).map_err(|_| {
            let what = "the number of connections is out of range";
            CollectError::malformed(&paths.snmp, Malformed { what })
        })?;
        let interfaces = interfaces(paths, buffer)?;
        let now = Instant::now();
        // Only now: a measurement that failed must not swallow the bytes that it saw.
        let throughput = counters.advance(&interfaces, now.saturating_duration_since(*measured));
        *measured = now;
        let total = counters.total();
        let mut metrics = NetworkMetrics {
            throughput_in: throughput.received,
            throughput_out: throughput.sent,
            packets_in: total.received.packets,
            packets_out: total.sent.packets,
            errors_in: total.received.errors,
            errors_out: total.sent.errors,
            drops_in: total.received.drops,
            drops_out: total.sent.drops,
            connection_count,
            details: NetworkDetails {
                device_count: traffic::count(&interfaces),
                devices: traffic::told_apart(&interfaces),
                tcp_segments_in: tcp.segments_in,
                tcp_segments_out: tcp.segments_out,
                tcp_retransmitted: tcp.retransmitted,
                sockets: sockets.map(|sockets| sockets.used),
                tcp_sockets: sockets.map(|sockets| sockets.tcp_allocated),
                tcp_time_wait: sockets.map(|sockets| sockets.tcp_time_wait),
                tcp_orphans: sockets.map(|sockets| sockets.tcp_orphans),
                conntrack_entries,
                conntrack_limit,
            },
            ..NetworkMetrics::default()
        };
        for (peer, result) in prober.round(DEADLINE) {
            match result {
                Ok(latency) => drop(metrics.latency.insert(peer, nanos(latency))),
                Err(reason) => drop(metrics.unreachable.insert(peer, reason.to_string())),
            }
        }
        if let Some(verifier) = verifier {
            metrics.take_verifier(verifier.latest());
        }
        Ok(metrics)
    }
}

impl Collector for NetworkCollector {
    fn kind(&self) -> CollectorKind {
        CollectorKind::Network
    }

    fn collect(&mut self) -> Result<Part, CollectError> {
        self.measure().map(|metrics| Part::Network(Box::new(metrics)))
    }
}

impl NetworkMetrics {
    fn take_verifier(&mut self, round_trip: Option<Duration>) {
        self.response_time = round_trip.map(nanos);
        match self.response_time {
            Some(time) => drop(self.latency.insert(VERIFIER.to_owned(), time)),
            None => {
                let reason = "no attested session in which it answered";
                drop(self.unreachable.insert(VERIFIER.to_owned(), reason.to_owned()));
            }
        }
    }
}

fn nanos(time: Duration) -> Seconds {
    Decimal(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}

fn interfaces<'a>(paths: &Paths, buffer: &'a mut Vec<u8>) -> Result<Vec<Interface<'a>>, CollectError> {
    parse::interfaces(contents(&paths.dev, buffer)?)
        .and_then(Iterator::collect)
        .map_err(|fault| CollectError::malformed(&paths.dev, fault))
}

#[derive(Debug)]
struct Paths {
    dev: PathBuf,
    snmp: PathBuf,
    sockstat: PathBuf,
    conntrack_entries: PathBuf,
    conntrack_limit: PathBuf,
}

impl Paths {
    fn below(root: &std::path::Path) -> Self {
        Self {
            dev: root.join("proc/net/dev"),
            snmp: root.join("proc/net/snmp"),
            sockstat: root.join("proc/net/sockstat"),
            conntrack_entries: root.join("proc/sys/net/netfilter/nf_conntrack_count"),
            conntrack_limit: root.join("proc/sys/net/netfilter/nf_conntrack_max"),
        }
    }
}

#[cfg(test)]
mod tests;
