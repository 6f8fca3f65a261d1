//! What the node measures: the collectors, what is shown of them, and what is kept.

mod families;
mod feed;
mod history;
mod keeper;
mod sources;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nautilus_core::NodeId;
use nautilus_monitor::network::RoundTrip;
use nautilus_monitor::openmetrics::{Exposed, Exposition, ExpositionError, Format, NodeMetrics};
use nautilus_monitor::panel::{Collection, Panel};
use nautilus_monitor::schedule::Tick;
use nautilus_monitor::store::Entry;
use nautilus_monitor::{Point, data};
use nautilus_proof::{CollectorKind, Sample};

pub use self::feed::Feed;
use self::keeper::Keeper;
pub use self::keeper::KeeperError;
pub use self::sources::{Monitoring, MonitoringError};
use crate::enclave_manager::{EnclaveInstance, Life};
use crate::event::{Event, EventSink, What};
use crate::page::Board;

/// Everything that is measured on a node, for as long as the agent runs.
pub(crate) struct Monitor {
    node: NodeId,
    panel: Panel,
    feed: Feed,
    round_trip: Arc<RoundTrip>,
    board: Arc<Board>,
    newest: Arc<Mutex<Vec<Point>>>,
    keeper: Keeper,
    /// Collectors that were a gap in the last sample, and have been told of.
    gaps: Vec<CollectorKind>,
    /// Held for as long as others may push.
    _push: Option<nautilus_monitor::custom::PushSocket>,
    events: EventSink,
}

impl Monitor {
    /// Starts the collectors; what they measure is shown on `board`.
    ///
    /// # Errors
    /// If the machine cannot be measured at all, or the socket for pushed metrics cannot be made.
    pub(crate) fn start(
        node: NodeId,
        monitoring: &Monitoring,
        interval: Duration,
        directory: &Path,
        board: Arc<Board>,
        feed: Feed,
        events: EventSink,
    ) -> Result<Self, MonitoringError> {
        let round_trip = Arc::new(RoundTrip::default());
        let sources::Started { panel, push } =
            monitoring.start(directory, feed.security(), Arc::clone(&round_trip))?;
        let newest = Arc::new(Mutex::new(Vec::new()));
        let (shown, instruments) = (Arc::clone(&newest), feed.instruments());
        board.expose(move |format| exposition(&shown, &instruments, format));
        Ok(Self {
            node,
            panel,
            keeper: Keeper::new(
                monitoring,
                interval,
                directory,
                Arc::clone(&board),
                feed.clone(),
                Arc::clone(&events),
            ),
            feed,
            round_trip,
            board,
            newest,
            gaps: Vec::new(),
            _push: push,
            events,
        })
    }

    /// Opens the store with the keys of the enclave that runs. A store that does not open is told of, and what is
    /// measured is signed and proven without it.
    pub(crate) async fn open_store(&mut self, life: &Life) {
        self.keeper.open(life).await;
    }

    /// Has the store use another key from now on, as the enclave does.
    pub(crate) async fn rotate_store(&mut self, life: &Life) {
        self.keeper.rotate(life).await;
    }

    /// What happened to the machine's clocks before this tick.
    pub(crate) fn clocks(&self, tick: &Tick) {
        self.feed.clocks(tick.clock_step_millis, tick.suspended_millis);
    }

    /// What collectors are to know before they are asked.
    pub(crate) fn before(&self, instance: &EnclaveInstance, round_trip: Option<Duration>) {
        self.round_trip.set(round_trip);
        self.feed.alive(instance);
    }

    /// Asks all collectors.
    pub(crate) async fn collect(&mut self, deadline: Duration) -> Collection {
        self.panel.collect(deadline).await
    }

    /// Adds what the agent knows of itself, and so of the store; `unsigned` samples wait to be signed.
    pub(crate) fn add_own(&self, collection: &mut Collection, unsigned: usize) {
        collection.add(self.keeper.points(unsigned));
    }

    /// Shows what was measured, which the enclave has chained as `sample`.
    pub(crate) fn sampled(&mut self, collection: &Collection, sample: &Sample, instance: &EnclaveInstance) {
        self.tell_gaps(&collection.gaps);
        self.feed.sampled(sample.measurement.missed);
        let points = collection.points();
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = points;
        let mut data = collection.performance_data(
            sample.measurement.at,
            self.node,
            Some(instance.id.to_string()),
            nautilus_core::SignedMessage::digest(sample),
        );
        data.attestation = self.feed.attestation();
        self.board.publish(data);
    }

    /// Hands on what the enclave signed, to be kept. Waits only if that is the policy for back-pressure.
    pub(crate) async fn keep(&mut self, entry: Entry) {
        self.board.signed(&entry.batch);
        self.keeper.keep(entry).await;
    }

    /// Waits until all is kept that was handed on, and closes the store.
    pub(crate) async fn close(&mut self, deadline: Duration) {
        self.keeper.close(deadline).await;
    }

    /// Tells of a gap when it begins: a collector that fails for a day is one warning.
    fn tell_gaps(&mut self, gaps: &[data::GapFacts]) {
        for gap in gaps {
            if !self.gaps.contains(&gap.collector) {
                let detail = format!(
                    "the {} collector {}: {}",
                    gap.collector.as_str(),
                    gap.reason.as_str(),
                    gap.detail
                );
                self.feed.gap(&detail);
                self.warn(detail);
            }
        }
        self.gaps = gaps.iter().map(|gap| gap.collector).collect();
    }

    fn warn(&self, detail: String) {
        (self.events)(Event {
            at: crate::clock::NodeClock::wall(),
            what: What::Warning { detail },
        });
    }
}

fn exposition(
    newest: &Mutex<Vec<Point>>,
    instruments: &NodeMetrics,
    format: Format,
) -> Result<Exposed, ExpositionError> {
    let points = newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let exposition = Exposition {
        points: &points,
        registry: Some(instruments.registry()),
    };
    exposition.encode(format)
}
