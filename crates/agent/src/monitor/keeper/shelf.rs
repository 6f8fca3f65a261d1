//! The open store, shared by who writes it and who asks it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use nautilus_core::UnixMillis;
use nautilus_monitor::aggregate::Sink;
use nautilus_monitor::openmetrics::NodeMetrics;
use nautilus_monitor::store::{Entry, Options, Store, StoreError, StoreKeys};

use super::{FILE, KeeperError, Signers, moved_to};
use crate::clock::NodeClock;

/// How often the store is looked after: hours sealed, old ones deleted, rollups made, values sealed anew.
const CARE_INTERVAL: Duration = Duration::from_secs(60);
/// How often space that deleted values left is given back.
const COMPACT_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// A place for the store: empty before it is opened, and while it changes its keys.
pub(in crate::monitor) struct Shelf {
    stores: RwLock<Stores>,
    care: Mutex<Care>,
    directory: PathBuf,
    interval: Duration,
    instruments: Arc<NodeMetrics>,
}

#[derive(Default)]
pub(in crate::monitor) struct Stores {
    /// What is written to.
    pub(in crate::monitor) open: Option<Store>,
    /// What is left of one that was damaged: older than all in `open`, and only read.
    pub(in crate::monitor) left: Option<Store>,
    /// How to open again what is written to.
    reopen: Option<(PathBuf, StoreKeys, Options)>,
}

struct Care {
    looked_after: Option<Instant>,
    reopened: Option<Instant>,
    compacted: Instant,
    /// Wall time, and when that was.
    started: (UnixMillis, Instant),
}

impl Care {
    /// The machine's time, but not further on than time has passed since the start, and a day: a clock that is set
    /// ahead must not make everything too old to be kept.
    fn now(&self) -> UnixMillis {
        const DAY_MILLIS: u64 = 24 * 3600 * 1000;
        let (wall, since) = self.started;
        let passed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        NodeClock::wall().min(wall.plus(passed).plus(DAY_MILLIS))
    }
}

impl Shelf {
    pub(super) fn new(directory: PathBuf, interval: Duration, instruments: Arc<NodeMetrics>) -> Self {
        Self {
            stores: RwLock::default(),
            care: Mutex::new(Care {
                looked_after: None,
                reopened: None,
                compacted: Instant::now(),
                started: (NodeClock::wall(), Instant::now()),
            }),
            directory,
            interval,
            instruments,
        }
    }

    /// Puts the store at `path` on the shelf. One that is damaged is moved away and read as far as it goes, and another
    /// begun: then says so.
    pub(super) fn open(
        &self,
        path: &Path,
        keys: StoreKeys,
        options: Options,
    ) -> Result<Option<String>, KeeperError> {
        let mut stores = self.write();
        stores.reopen = Some((path.to_owned(), keys.clone(), options));
        match Store::open(path, &keys, options) {
            Ok(store) => {
                stores.open = Some(store);
                Ok(None)
            }
            Err(error @ (StoreError::Truncated { .. } | StoreError::Damaged { .. })) => {
                let away = moved_to(path, NodeClock::wall());
                fs::rename(path, &away).map_err(|source| KeeperError::Io {
                    path: path.to_owned(),
                    source,
                })?;
                stores.left = Store::open_damaged(&away, &keys, options).ok();
                stores.open = Some(Store::open(path, &keys, options)?);
                let rest = match stores.left {
                    Some(_) => "what is left of it can be asked for until the node stops",
                    None => "nothing of it can be read",
                };
                Ok(Some(format!(
                    "{error}: it was moved to {}, and another is begun; {rest}",
                    away.display()
                )))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the store. What is asked afterwards is refused until it is open again.
    pub(super) fn close(&self) {
        let mut stores = self.write();
        stores.open = None;
        stores.reopen = None;
    }

    /// After a failed read or write the database refuses everything until it is opened anew.
    fn reopen(&self) -> Result<(), StoreError> {
        {
            let mut care = self.care.lock().unwrap_or_else(PoisonError::into_inner);
            if care.reopened.is_some_and(|last| last.elapsed() < CARE_INTERVAL) {
                return Ok(());
            }
            care.reopened = Some(Instant::now());
        }
        let mut stores = self.write();
        let Some((path, keys, options)) = stores.reopen.clone() else {
            return Ok(());
        };
        stores.open = None;
        stores.open = Some(Store::open(&path, &keys, options)?);
        Ok(())
    }

    /// Time between samples.
    pub(in crate::monitor) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Which keys signed what is in the store.
    pub(in crate::monitor) fn signers(&self) -> Signers {
        Signers::beside(&self.directory.join(FILE))
    }

    /// Looks at the stores; nothing changes meanwhile.
    pub(in crate::monitor) fn read(&self) -> RwLockReadGuard<'_, Stores> {
        self.stores.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Stores> {
        // A store's state is behind locks and transactions of its own.
        self.stores.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_after(&self) -> Result<(), StoreError> {
        let mut care = self.care.lock().unwrap_or_else(PoisonError::into_inner);
        if care
            .looked_after
            .is_some_and(|last| last.elapsed() < CARE_INTERVAL)
        {
            return Ok(());
        }
        let stores = self.read();
        let Some(store) = &stores.open else {
            return Ok(());
        };
        let done = store.maintain(care.now())?;
        // What is left to do is done with the next batch.
        care.looked_after = (!done.more).then(Instant::now);
        let bytes = store.stats()?.bytes;
        drop(stores);
        let free = rustix::fs::statvfs(&self.directory).map(|vfs| vfs.f_bavail.saturating_mul(vfs.f_frsize));
        self.instruments.stored(bytes, free.unwrap_or_default());
        if care.compacted.elapsed() >= COMPACT_INTERVAL {
            care.compacted = Instant::now();
            if let Some(store) = &mut self.write().open {
                store.compact()?;
            }
        }
        Ok(())
    }
}

/// Where the writer puts what was signed.
pub(super) struct Intake {
    pub(super) shelf: Arc<Shelf>,
    /// Told when the store cannot be looked after; what was appended is kept all the same.
    pub(super) neglected: Box<dyn Fn(&StoreError) + Send>,
}

impl Sink<Entry> for Intake {
    type Error = StoreError;

    fn append(&self, entry: &Entry) -> Result<(), StoreError> {
        let appended = match &self.shelf.read().open {
            Some(store) => store.append(entry),
            None => Err(StoreError::Closed),
        };
        if let Err(error) = appended {
            if matches!(
                error,
                StoreError::Io { .. } | StoreError::Damaged { .. } | StoreError::Closed
            ) {
                self.shelf.reopen()?;
            }
            return Err(error);
        }
        if let Err(error) = self.shelf.look_after() {
            (self.neglected)(&error);
        }
        Ok(())
    }
}
