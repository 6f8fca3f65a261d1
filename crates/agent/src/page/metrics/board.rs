//! What the routes show, and who puts it there.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use nautilus_core::SignedMessage;
use nautilus_monitor::data::PerformanceData;
use nautilus_monitor::openmetrics::{Exposed, ExpositionError, Format};
use nautilus_proof::SignedBatch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::history::History;

/// Most requests that read the history at once: each may hold an answer of some megabytes.
pub const MAX_AT_ONCE: usize = 4;
/// Most scrapes at once. Prometheus makes one; two servers may overlap.
const MAX_SCRAPES: usize = 2;

type Producer = Arc<dyn Fn(Format) -> Result<Exposed, ExpositionError> + Send + Sync>;

/// Where the node hangs what it measured, for the page's server to show. Shared by `Arc`; no method waits.
pub struct Board {
    shown: RwLock<Shown>,
    readers: Arc<Semaphore>,
    scrapes: Arc<Semaphore>,
}

#[derive(Default)]
struct Shown {
    exposition: Option<Producer>,
    newest: Option<Arc<PerformanceData>>,
    store: Store,
}

#[derive(Default)]
enum Store {
    #[default]
    NotYet,
    Open(Arc<dyn History>),
    Locked(String),
}

impl Board {
    /// A board with nothing on it: every route says that the node is starting.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shown: RwLock::default(),
            readers: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            scrapes: Arc::new(Semaphore::new(MAX_SCRAPES)),
        }
    }

    /// What makes the text of every scrape. May take some milliseconds; it is called in a thread of its
    /// own.
    pub fn expose(
        &self,
        producer: impl Fn(Format) -> Result<Exposed, ExpositionError> + Send + Sync + 'static,
    ) {
        self.write(|shown| shown.exposition = Some(Arc::new(producer)));
    }

    /// The newest of what was measured.
    pub fn publish(&self, newest: PerformanceData) {
        let newest = Arc::new(newest);
        self.write(|shown| shown.newest = Some(newest));
    }

    /// The enclave signed a batch: if the newest of what was measured is its last sample, it has a signature now.
    pub fn signed(&self, batch: &SignedBatch) {
        let head = batch.samples.last().map(SignedMessage::digest);
        self.write(|shown| {
            if let Some(newest) = &mut shown.newest
                && Some(newest.hash) == head
            {
                Arc::make_mut(newest).signature = Some(batch.signature);
            }
        });
    }

    /// The node's store is open.
    pub fn open(&self, history: Arc<dyn History>) {
        self.write(|shown| shown.store = Store::Open(history));
    }

    /// The node's store cannot be opened; `why` tells a person what to do.
    pub fn lock(&self, why: String) {
        self.write(|shown| shown.store = Store::Locked(why));
    }

    pub(super) fn exposition(&self) -> Option<Producer> {
        self.read(|shown| shown.exposition.clone())
    }

    pub(super) fn newest(&self) -> Option<Arc<PerformanceData>> {
        self.read(|shown| shown.newest.clone())
    }

    pub(super) fn scrape_seat(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.scrapes)
            .try_acquire_owned()
            .map_err(|_| ApiError::Busy)
    }

    /// The history, and the right to read it once.
    pub(super) fn history(&self) -> Result<(Arc<dyn History>, OwnedSemaphorePermit), ApiError> {
        let history = self.read(|shown| match &shown.store {
            Store::NotYet => Err(ApiError::Starting),
            Store::Locked(why) => Err(ApiError::Locked(why.clone())),
            Store::Open(history) => Ok(Arc::clone(history)),
        })?;
        let seat = Arc::clone(&self.readers).try_acquire_owned();
        Ok((history, seat.map_err(|_| ApiError::Busy)?))
    }

    // What is behind the lock is replaced as a whole, so that a writer that panicked leaves it whole.
    fn read<T>(&self, look: impl FnOnce(&Shown) -> T) -> T {
        look(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}
