//! What is kept of the samples: the store, its keys, and the writer before it.

mod shelf;
mod signers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nautilus_core::UnixMillis;
use nautilus_enclave::{Reply, Request, StorageKeyOrigin};
use nautilus_monitor::Point;
use nautilus_monitor::aggregate::{BackPressure, Dropped, Outcome, Room, Writer};
use nautilus_monitor::data::SecurityEventKind;
use nautilus_monitor::store::{Entry, KeyId, Options, Store, StoreError, StoreKey, StoreKeys};
use nautilus_proof::CollectorKind;
use nautilus_verifier::{private_file, told};
use tokio::task::{JoinError, spawn_blocking};

use self::shelf::Intake;
pub(super) use self::shelf::Shelf;
pub(super) use self::signers::Signers;
use super::{Feed, Monitoring};
use crate::clock::NodeClock;
use crate::enclave_manager::Life;
use crate::enclave_process::EnclaveError;
use crate::event::{Event, EventSink, What};
use crate::page::Board;

/// Before the store changes its keys, what waits has this long to be written.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);
/// The store's file in its directory.
const FILE: &str = "metrics.redb";
const FIRST_EPOCH: u32 = 1;
/// Epochs that are tried on what is left of a damaged store: a rotation a month for five years.
const PROBED_EPOCHS: u32 = 64;

/// Why nothing is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The enclave gave no key.
    #[error("the enclave gave no key for the metrics store")]
    Enclave(#[from] EnclaveError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its directory cannot be made, or a damaged store not be moved away.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There are no more epochs for keys.
    #[error("the metrics store has used up its key epochs: move {} away", .0.display())]
    EpochsExhausted(PathBuf),
    /// A task ended before its time.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// Keeps what the enclave signed.
pub(super) struct Keeper {
    path: PathBuf,
    options: Options,
    policy: BackPressure,
    shelf: Arc<Shelf>,
    keys: BTreeMap<u32, StoreKey>,
    writer: Option<Writer<Entry, StoreError>>,
    board: Arc<Board>,
    feed: Feed,
    events: EventSink,
}

/// Whether the store goes on with the newest key, or with another from now on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Epoch {
    Newest,
    Next,
}

impl Keeper {
    pub(super) fn new(
        monitoring: &Monitoring,
        interval: Duration,
        directory: &Path,
        board: Arc<Board>,
        feed: Feed,
        events: EventSink,
    ) -> Self {
        let options = Options {
            retention: monitoring.retention,
            interval,
            collector_of: |series| match super::families::of(series) {
                Some(known) => known.collector,
                None => Some(CollectorKind::Custom),
            },
            places_of: |series| super::families::places(series),
            ..Options::default()
        };
        let directory = directory.join("metrics");
        Self {
            path: directory.join(FILE),
            options,
            policy: monitoring.back_pressure,
            shelf: Arc::new(Shelf::new(directory, interval, feed.instruments())),
            keys: BTreeMap::new(),
            writer: None,
            board,
            feed,
            events,
        }
    }

    /// Opens the store with keys of the enclave that runs, unless it is open under them.
    pub(super) async fn open(&mut self, life: &Life) {
        let opened = self.open_under(life, Epoch::Newest).await;
        self.opened(opened);
    }

    /// Has the store use another key from now on; what is under the old one is sealed anew bit by bit.
    pub(super) async fn rotate(&mut self, life: &Life) {
        let opened = self.open_under(life, Epoch::Next).await;
        self.opened(opened);
    }

    fn opened(&self, opened: Result<(), KeeperError>) {
        match opened {
            Ok(()) => self.board.open(Arc::clone(&self.shelf) as _),
            Err(error) => {
                let why = told(&error);
                self.tell(format!("what is measured is not kept: {why}"));
                self.board.lock(why);
            }
        }
    }

    async fn open_under(&mut self, life: &Life, epoch: Epoch) -> Result<(), KeeperError> {
        if let Some(writer) = &mut self.writer {
            // What is late is told of by the writer.
            let _in_time = writer.flush(FLUSH_DEADLINE).await;
        }
        let path = self.path.clone();
        let shelf = Arc::clone(&self.shelf);
        let known = spawn_blocking(move || {
            shelf.close();
            prepare(&path)?;
            Ok::<_, KeeperError>(Store::epochs(&path))
        })
        .await??;
        let current = match known {
            Ok(known) => self.take_keys(life, &known, epoch).await?,
            // What it names cannot be read; what is left of it may be of any of these.
            Err(StoreError::Truncated { .. } | StoreError::Damaged { .. }) => {
                self.take_first_keys(life).await?
            }
            Err(error) => return Err(error.into()),
        };
        self.remember(life).await;
        let keys = self.store_keys(current)?;
        let (path, options, shelf) = (self.path.clone(), self.options, Arc::clone(&self.shelf));
        let moved = spawn_blocking(move || shelf.open(&path, keys, options)).await??;
        if let Some(moved) = moved {
            self.tell(moved);
        }
        if self.writer.is_none() {
            let writer = self.start_writer().map_err(|source| KeeperError::Io {
                path: self.path.clone(),
                source,
            })?;
            self.writer = Some(writer);
        }
        Ok(())
    }

    /// Asks the enclave for the keys of the epochs that the store names, and of the one that is to seal. Gives that.
    async fn take_keys(
        &mut self,
        life: &Life,
        known: &BTreeMap<u32, KeyId>,
        epoch: Epoch,
    ) -> Result<u32, KeeperError> {
        for (epoch, id) in known {
            if self.keys.get(epoch).map(StoreKey::id) == Some(*id) {
                continue;
            }
            self.keys.remove(epoch);
            let (key, _) = ask(life, *epoch).await?;
            if key.id() == *id {
                self.keys.insert(*epoch, key);
            }
        }
        let newest = known.last_key_value().map(|(epoch, _)| *epoch);
        let lost: Vec<_> = known
            .keys()
            .filter(|epoch| !self.keys.contains_key(epoch))
            .collect();
        if !lost.is_empty() {
            self.tell(format!(
                "the enclave has not the key of {} of the {} epochs of the metrics store any more: what was kept under it \
                 shows as unreadable until it is {} old",
                lost.len(),
                known.len(),
                crate::config::format_duration(self.options.retention),
            ));
        }
        let current = match (newest, epoch) {
            (None, _) => FIRST_EPOCH,
            (Some(newest), Epoch::Newest) if self.keys.contains_key(&newest) => return Ok(newest),
            (Some(newest), _) => newest
                .checked_add(1)
                .ok_or_else(|| KeeperError::EpochsExhausted(self.path.clone()))?,
        };
        let (key, origin) = ask(life, current).await?;
        self.keys.insert(current, key);
        if origin == StorageKeyOrigin::Process {
            self.tell(
                "this TEE seals nothing, so the key of the metrics store ends with the enclave: provision a secret \
                 `metrics-store` to read later what is measured now"
                    .to_owned(),
            );
        }
        Ok(current)
    }

    /// The keys of the first epochs. Gives the first of all, for a store that begins anew.
    async fn take_first_keys(&mut self, life: &Life) -> Result<u32, KeeperError> {
        for epoch in FIRST_EPOCH..=PROBED_EPOCHS {
            let (key, _) = ask(life, epoch).await?;
            self.keys.insert(epoch, key);
        }
        Ok(FIRST_EPOCH)
    }

    /// Notes which key signs in this boot of the enclave, so that its samples can be verified when it is gone.
    async fn remember(&self, life: &Life) {
        let (boot, key) = (life.identity().boot, life.identity().tee_key);
        let signers = Signers::beside(&self.path);
        let file = signers.path().display().to_string();
        let noted = match spawn_blocking(move || signers.note(boot, key)).await {
            Ok(noted) => noted.map_err(|error| told(&error)),
            Err(error) => Err(told(&error)),
        };
        if let Err(why) = noted {
            self.tell(format!(
                "{file} was not written, so `nautilus agent metrics verify` will not know the key of this boot: {why}"
            ));
        }
    }

    fn store_keys(&self, current: u32) -> Result<StoreKeys, KeeperError> {
        let key = self.keys.get(&current).cloned().ok_or(EnclaveError::WrongReply)?;
        let others = self.keys.iter().filter(|(epoch, _)| **epoch != current);
        let others = others.map(|(epoch, key)| (*epoch, key.clone()));
        Ok(StoreKeys::new((current, key), others))
    }

    fn start_writer(&self) -> std::io::Result<Writer<Entry, StoreError>> {
        let (feed, events) = (self.feed.clone(), Arc::clone(&self.events));
        let neglected = Box::new(move |error: &StoreError| {
            tell(
                &feed,
                &events,
                format!("the metrics store was not looked after: {}", told(error)),
            );
        });
        let intake = Intake {
            shelf: Arc::clone(&self.shelf),
            neglected,
        };
        let (feed, events) = (self.feed.clone(), Arc::clone(&self.events));
        Writer::start(
            intake,
            Room::new(self.policy),
            move |outcome: Outcome<'_, Entry, StoreError>| {
                let what = match outcome {
                    Outcome::Stored(entry) => What::Stored {
                        first: entry.batch.samples.first().map_or(0, |sample| sample.sequence),
                        count: u32::try_from(entry.batch.samples.len()).unwrap_or(u32::MAX),
                    },
                    Outcome::Failed(entry, fault) => {
                        let detail = format!(
                            "{} samples were not kept: {}",
                            entry.batch.samples.len(),
                            told(fault)
                        );
                        feed.event(SecurityEventKind::StoreFault, &detail);
                        What::Warning { detail }
                    }
                    Outcome::Dropped(entry, why) => {
                        let count = entry.batch.samples.len();
                        let why = match why {
                            Dropped::Policy(policy) => {
                                format!("the store does not keep up, and the policy is {policy}")
                            }
                            Dropped::Ended => "the node stopped before".to_owned(),
                        };
                        let detail = format!("{count} samples were not kept: {why}");
                        feed.event(SecurityEventKind::SamplesDropped, &detail);
                        What::Warning { detail }
                    }
                };
                (events)(Event {
                    at: NodeClock::wall(),
                    what,
                });
            },
        )
    }

    /// Hands on what is to be kept; without a store, nothing is.
    pub(super) async fn keep(&mut self, entry: Entry) {
        if let Some(writer) = &mut self.writer {
            writer.submit(entry).await;
        }
    }

    /// How the buffers fare; `unsigned` samples wait to be signed.
    pub(super) fn points(&self, unsigned: usize) -> Vec<Point> {
        self.writer
            .as_ref()
            .map(|writer| writer.points(unsigned))
            .unwrap_or_default()
    }

    /// Waits until all is kept that was handed on, and closes the store.
    pub(super) async fn close(&mut self, deadline: Duration) {
        if let Some(writer) = self.writer.take()
            && let Err(left) = writer.close(deadline).await
        {
            self.tell(told(&left));
        }
        let shelf = Arc::clone(&self.shelf);
        // A store that is busy is closed by the end of the process.
        let _closed = tokio::time::timeout(deadline, spawn_blocking(move || shelf.close())).await;
    }

    fn tell(&self, detail: String) {
        tell(&self.feed, &self.events, detail);
    }
}

fn tell(feed: &Feed, events: &EventSink, detail: String) {
    feed.event(SecurityEventKind::StoreFault, &detail);
    events(Event {
        at: NodeClock::wall(),
        what: What::Warning { detail },
    });
}

async fn ask(life: &Life, epoch: u32) -> Result<(StoreKey, StorageKeyOrigin), EnclaveError> {
    match life.request(Request::StorageKey { epoch }).await? {
        Reply::StorageKey { key, origin } => Ok((StoreKey::new(*key.as_bytes()), origin)),
        _ => Err(EnclaveError::WrongReply),
    }
}

fn prepare(path: &Path) -> Result<(), KeeperError> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    private_file::create_directory(directory).map_err(|source| KeeperError::Io {
        path: directory.to_owned(),
        source,
    })
}

/// Where a damaged store is moved to: never over another.
fn moved_to(path: &Path, now: UnixMillis) -> PathBuf {
    path.with_extension(format!("damaged-{}", now.0))
}
