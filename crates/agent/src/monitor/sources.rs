//! Which collectors there are, and what each reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nautilus_core::TeeKind;
use nautilus_monitor::aggregate::BackPressure;
use nautilus_monitor::container::{ContainerCollector, ContainerSources, USUAL_SOCKETS, UsualContainers};
use nautilus_monitor::custom::{CustomCollector, CustomSources, PushSocket, PushSocketError, Pushed};
use nautilus_monitor::network::{NetworkCollector, Peers, RoundTrip};
use nautilus_monitor::panel::{Panel, PanelError};
use nautilus_monitor::security::{SecurityCollector, SecurityLog};
use nautilus_monitor::{CollectError, Collector, SystemCollector};
use nautilus_proof::CollectorKind;
use nautilus_verifier::private_file;

use crate::clock::NodeClock;

/// The root of the files that are read.
const ROOT: &str = "/";

/// What is measured, and how long it is kept.
#[derive(Clone, Debug)]
pub struct Monitoring {
    /// Which parts.
    pub collectors: BTreeSet<CollectorKind>,
    /// The TEE, and the devices of which one shows that it is there; none where there is none.
    pub tee: Option<(TeeKind, Vec<PathBuf>)>,
    /// The container runtime's socket; none to take the first of the usual ones that is there.
    pub containerd: Option<PathBuf>,
    /// Whom the time to and back is measured of, besides the verifier.
    pub latency_peers: Peers,
    /// Where other programs put metrics as files.
    pub textfiles: Option<PathBuf>,
    /// How long samples are kept.
    pub retention: Duration,
    /// What gives way when samples come faster than they are kept.
    pub back_pressure: BackPressure,
}

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitoringError {
    /// A collector cannot start.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The collectors cannot be run.
    #[error(transparent)]
    Panel(#[from] PanelError),
    /// Nobody can push metrics.
    #[error(transparent)]
    Push(#[from] PushSocketError),
    /// The directory of the socket cannot be made.
    #[error("cannot make the directory of {}", path.display())]
    Directory {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Collectors that run.
pub(super) struct Started {
    pub(super) panel: Panel,
    pub(super) push: Option<PushSocket>,
}

/// Where programs of the same user push metrics to the agent in `directory`.
#[must_use]
pub fn push_socket_path(directory: &Path) -> PathBuf {
    directory.join("run").join("metrics.sock")
}

impl Monitoring {
    /// The collectors that need no agent: all but security, and without pushed metrics and the verifier's round trip.
    ///
    /// # Errors
    /// If the machine cannot be measured at all.
    pub fn without_agent(&self) -> Result<Panel, MonitoringError> {
        let kinds = self.collectors.iter().copied();
        let collectors = kinds.filter_map(|kind| self.collector(kind, None).transpose());
        Ok(Panel::new(collectors.collect::<Result<_, _>>()?)?)
    }

    pub(super) fn start(
        &self,
        directory: &Path,
        security: Arc<SecurityLog>,
        round_trip: Arc<RoundTrip>,
    ) -> Result<Started, MonitoringError> {
        let pushed = Arc::new(Pushed::new(Arc::new(NodeClock::wall)));
        let push = match self.collectors.contains(&CollectorKind::Custom) {
            true => Some(listen(directory, Arc::clone(&pushed))?),
            false => None,
        };
        let alive = Alive {
            security,
            round_trip,
            pushed,
        };
        let kinds = self.collectors.iter().copied();
        let collectors = kinds.filter_map(|kind| self.collector(kind, Some(&alive)).transpose());
        let panel = Panel::new(collectors.collect::<Result<_, _>>()?)?;
        Ok(Started { panel, push })
    }

    /// None for one that has nothing to tell without an agent.
    fn collector(
        &self,
        kind: CollectorKind,
        alive: Option<&Alive>,
    ) -> Result<Option<Box<dyn Collector>>, CollectError> {
        Ok(Some(match kind {
            CollectorKind::System => {
                let collector = SystemCollector::new(ROOT)?;
                Box::new(match &self.tee {
                    Some((tee, devices)) => collector.with_tee(*tee, devices.iter().cloned()),
                    None => collector,
                })
            }
            CollectorKind::Container => match &self.containerd {
                Some(socket) => Box::new(ContainerCollector::new(ContainerSources {
                    socket: socket.clone(),
                    root: ROOT.into(),
                })?),
                None => Box::new(UsualContainers::new(USUAL_SOCKETS.map(PathBuf::from), ROOT)),
            },
            CollectorKind::Network => {
                let round_trip = alive.map(|alive| Arc::clone(&alive.round_trip));
                Box::new(NetworkCollector::new(
                    ROOT,
                    self.latency_peers.clone(),
                    round_trip,
                )?)
            }
            CollectorKind::Security => match alive {
                Some(alive) => Box::new(SecurityCollector::new(Arc::clone(&alive.security))),
                None => return Ok(None),
            },
            CollectorKind::Custom => Box::new(CustomCollector::new(CustomSources {
                directory: self.textfiles.clone(),
                push: alive.map(|alive| Arc::clone(&alive.pushed)),
            })),
        }))
    }
}

/// What only a running agent has.
struct Alive {
    security: Arc<SecurityLog>,
    round_trip: Arc<RoundTrip>,
    pushed: Arc<Pushed>,
}

fn listen(directory: &Path, pushed: Arc<Pushed>) -> Result<PushSocket, MonitoringError> {
    let path = push_socket_path(directory);
    if let Some(parent) = path.parent() {
        private_file::create_directory(parent).map_err(|source| MonitoringError::Directory {
            path: path.clone(),
            source,
        })?;
    }
    Ok(PushSocket::listen(path, pushed)?)
}
