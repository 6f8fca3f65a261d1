//! Asks all peers at once.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::echo::echo;
use super::peers::{PeerAddress, Peers};
use crate::error::CollectError;
use crate::kernel_file::{contents, parsed};
use crate::parse::{self, Malformed};

/// Addresses that are tried of one peer.
const MAX_ADDRESSES: usize = 8;
/// Enough for the C library's resolver.
const STACK: usize = 256 << 10;
/// Below the root: where K3s's agent notes the servers that it balances between.
const K3S_SERVERS: &str = "var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json";

/// Asks peers, each on a thread of its own, for the C library resolves names as long as it likes. A peer whose
/// thread has not ended is not asked again before it does, so that there is never more than one for each.
#[derive(Debug)]
pub(super) struct Prober {
    root: PathBuf,
    peers: Peers,
    busy: Vec<Arc<AtomicBool>>,
}

/// Why there is no latency.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("no answer in time")]
    NoAnswer,
    #[error("the probe before has not ended: see whether its name is resolved")]
    Busy,
    #[error("no thread for the probe: {0}")]
    Thread(io::Error),
    #[error("its name is not resolved: {0}")]
    Name(io::Error),
    #[error("it has no address")]
    NoAddress,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("{} is missing: no K3s agent has run here", path.display())]
    NoK3s { path: PathBuf },
    #[error("{0}")]
    File(CollectError),
    #[error("there is no default route over IPv4")]
    NoRoute,
    #[error("the kernel lets this process send no ICMP: widen net.ipv4.ping_group_range to its group")]
    NoIcmp,
    #[error("no ICMP echo: {0}")]
    Icmp(io::Error),
}

impl Prober {
    pub(super) fn new(root: PathBuf, peers: Peers) -> Self {
        let busy = peers.as_slice().iter().map(|_| Arc::default()).collect();
        Self { root, peers, busy }
    }

    /// Asks every peer, and waits for all of them together at most `limit`.
    pub(super) fn round(&self, limit: Duration) -> Vec<(String, Result<Duration, ProbeError>)> {
        let now = Instant::now();
        let deadline = now.checked_add(limit).unwrap_or(now);
        let (sender, answers) = channel();
        let mut results: Vec<_> = self
            .peers
            .as_slice()
            .iter()
            .zip(&self.busy)
            .enumerate()
            .map(|(at, (peer, busy))| {
                let started = self.start(at, &peer.address, busy, deadline, sender.clone());
                (peer.name.clone(), started.and(Err(ProbeError::NoAnswer)))
            })
            .collect();
        // Those that run have the rest: when they are done, nobody is left to wait for.
        drop(sender);
        while let Ok((at, answer)) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if let Some((_, result)) = results.get_mut::<usize>(at) {
                *result = answer;
            }
        }
        results
    }

    fn start(
        &self,
        at: usize,
        address: &PeerAddress,
        busy: &Arc<AtomicBool>,
        deadline: Instant,
        answers: Sender<(usize, Result<Duration, ProbeError>)>,
    ) -> Result<(), ProbeError> {
        if busy.swap(true, Ordering::AcqRel) {
            return Err(ProbeError::Busy);
        }
        let held = Held(Arc::clone(busy));
        let (root, address) = (self.root.clone(), address.clone());
        thread::Builder::new()
            .name("nautilus-probe".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let answer = probe(&root, &address, deadline);
                drop(held);
                // Nobody listens any more if it came too late.
                let _ = answers.send((at, answer));
            })
            .map(drop)
            .map_err(ProbeError::Thread)
    }
}

#[cfg(test)]
impl Prober {
    /// As if the probe of this peer had not ended.
    pub(super) fn hold(&self, at: usize) {
        self.busy[at].store(true, Ordering::Release);
    }
}

/// Says that its thread has ended, however that came.
struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn probe(root: &Path, address: &PeerAddress, deadline: Instant) -> Result<Duration, ProbeError> {
    match address {
        PeerAddress::Tcp { host, port } => {
            let addresses = (host.as_str(), *port)
                .to_socket_addrs()
                .map_err(ProbeError::Name)?;
            connect(&addresses.take(MAX_ADDRESSES).collect::<Vec<_>>(), deadline)
        }
        PeerAddress::Gateway => {
            let gateway = parsed(
                &root.join("proc/net/route"),
                &mut Vec::new(),
                parse::default_gateway,
            )
            .map_err(ProbeError::File)?;
            echo(gateway.ok_or(ProbeError::NoRoute)?, deadline)
        }
        PeerAddress::K3sApiServer => connect(&k3s_servers(&root.join(K3S_SERVERS))?, deadline),
    }
}

/// Time until the first address that answers has accepted a connection. Each has an equal share of what is left.
fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<Duration, ProbeError> {
    let mut result = Err(ProbeError::NoAddress);
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let start = Instant::now();
        let share = deadline
            .saturating_duration_since(start)
            .checked_div(u32::try_from(left).unwrap_or(u32::MAX))
            .unwrap_or_default();
        if share.is_zero() {
            return Err(ProbeError::NoAnswer);
        }
        result = match TcpStream::connect_timeout(address, share) {
            Ok(_) => return Ok(start.elapsed()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(ProbeError::NoAnswer),
            Err(error) => Err(ProbeError::Connect(error)),
        };
    }
    result
}

/// What is needed of K3s's file: pkg/agent/loadbalancer of its sources.
#[derive(Deserialize)]
struct LoadBalancer {
    #[serde(rename = "ServerAddresses")]
    server_addresses: Vec<String>,
}

fn k3s_servers(path: &Path) -> Result<Vec<SocketAddr>, ProbeError> {
    let mut buffer = Vec::new();
    let bytes = contents(path, &mut buffer).map_err(|error| match error {
        CollectError::Missing { path } => ProbeError::NoK3s { path },
        error => ProbeError::File(error),
    })?;
    let LoadBalancer { server_addresses } = serde_json::from_slice(bytes).map_err(|_| {
        let what = "no list `ServerAddresses` in JSON";
        ProbeError::File(CollectError::malformed(path, Malformed { what }))
    })?;
    let mut addresses = Vec::new();
    for server in server_addresses.iter().take(MAX_ADDRESSES) {
        addresses.extend(
            server
                .to_socket_addrs()
                .map_err(ProbeError::Name)?
                .take(MAX_ADDRESSES),
        );
    }
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}
