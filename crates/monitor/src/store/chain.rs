//! Samples as they were signed, put together again from columns, and the check that they are.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use nautilus_core::{BootId, PublicKey, UnixMillis};
use nautilus_proof::{MAX_BATCH, Readings, Sample, SampleChain, SampleError, SignedBatch};
use redb::ReadTransaction;
use serde::Serialize;

use super::block::{BlockKey, read_column, read_index};
use super::error::{StoreError, StoreFault};
use super::file::{PIECES, as_fault};
use super::hour::{FIRST_LOCAL, Hour, RECORD, Row, TIMES};
use super::key::hour_start;
use super::query::decode_values;
use super::tick::{Record, Tick, Times, rebuild};
use super::wire::Malformed;
use super::{Entry, State, Store, hour_of};

/// Faults that a report names; further ones are counted.
const MAX_REPORTED: usize = 1_000;

/// What is wrong with a chain of samples.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFault {
    /// Part of it cannot be read.
    #[error(transparent)]
    Unreadable(#[from] StoreFault),
    /// What is stored is not what was signed.
    #[error(
        "boot {boot}: samples {first} to {last}, from {at} on, are not what was signed, or not signed by this key"
    )]
    NotSigned {
        /// The boot.
        boot: BootId,
        /// Number of the batch's first sample.
        first: u64,
        /// Number of its last.
        last: u64,
        /// When the first was taken.
        at: UnixMillis,
    },
    /// Samples are missing, or one does not follow the one before.
    #[error("boot {boot}: the chain is broken")]
    Broken {
        /// The boot.
        boot: BootId,
        /// Where.
        #[source]
        source: SampleError,
    },
    /// A batch of which some samples are missing, so that its signature cannot be checked.
    #[error("boot {boot}: of the batch from sample {first} on, only {count} samples are there")]
    Incomplete {
        /// The boot.
        boot: BootId,
        /// Number of the first sample that is there.
        first: u64,
        /// How many.
        count: usize,
    },
    /// A boot whose key is not known.
    #[error("boot {boot}: its key is not known, so its signatures cannot be checked")]
    UnknownKey {
        /// The boot.
        boot: BootId,
    },
}

impl Serialize for ChainFault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = self.to_string();
        if let Self::Broken { source, .. } = self {
            text = format!("{text}: {source}");
        }
        serializer.serialize_str(&text)
    }
}

/// The samples of one boot that are in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootSpan {
    /// The boot.
    pub boot: BootId,
    /// Number of the first sample; above 0 if older ones were deleted, or never came.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// When the first was taken.
    pub from: UnixMillis,
    /// When the last was taken.
    pub to: UnixMillis,
}

/// What the check of a chain found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// Samples that are what was signed, and follow each other.
    pub samples: u64,
    /// Batches whose signature was checked.
    pub batches: u64,
    /// Samples at the very start whose batch began before the time that was asked for, or before what is kept.
    pub unsigned: u64,
    /// Samples after one that is not what was signed, up to the end of its hour: their chain leads through it.
    pub unchecked: u64,
    /// What there is of each boot, in the order in which it came.
    pub boots: Vec<BootSpan>,
    /// What is wrong; at most 1,000.
    pub faults: Vec<ChainFault>,
    /// Faults in all.
    pub fault_count: u64,
}

impl ChainReport {
    /// Whether everything that is there is what was signed.
    pub const fn is_intact(&self) -> bool {
        self.fault_count == 0
    }

    fn fault(&mut self, fault: ChainFault) {
        self.fault_count = self.fault_count.saturating_add(1);
        if self.faults.len() < MAX_REPORTED {
            self.faults.push(fault);
        }
    }
}

/// A sample with its readings, and whether its batch ends with it.
type Rebuilt = (Tick, Readings);

/// What comes when samples are read in order.
enum Read {
    /// A block starts: its first sample of each boot names the one before.
    Block,
    Fault(StoreFault),
    Sample(Box<Rebuilt>),
}

/// Reads samples in the order of blocks, one block in memory at a time.
struct Walk<'a> {
    store: &'a Store,
    transaction: ReadTransaction,
    blocks: VecDeque<BlockKey>,
    open: VecDeque<Vec<Rebuilt>>,
    names: BTreeMap<u32, String>,
    ready: VecDeque<Read>,
}

/// Batches with their readings, as they were appended. Each item is a batch or what could not be read.
pub struct Batches<'a> {
    walk: Walk<'a>,
    pending: BTreeMap<BootId, Vec<Rebuilt>>,
}

impl Store {
    /// Signed batches whose samples are in hours that the range touches, as they were appended. One of which a part
    /// was deleted does not come.
    ///
    /// # Errors
    /// If the file cannot be read; what cannot be read in part is an item.
    pub fn batches(&self, range: Range<UnixMillis>) -> Result<Batches<'_>, StoreError> {
        Ok(Batches {
            walk: self.walk(range)?,
            pending: BTreeMap::new(),
        })
    }

    /// Checks that what is stored is what was signed: digests are computed of the stored values, and every signature
    /// is checked with the key that `key_of` gives for its boot. The range counts in whole hours.
    ///
    /// # Errors
    /// If the file as a whole cannot be read. What is wrong with the chain is in the report.
    pub fn verify_chain(
        &self,
        range: Range<UnixMillis>,
        key_of: &dyn Fn(BootId) -> Option<PublicKey>,
    ) -> Result<ChainReport, StoreError> {
        let mut check = Check {
            key_of,
            boots: BTreeMap::new(),
            order: Vec::new(),
            report: ChainReport::default(),
        };
        for read in self.walk(range)? {
            match read? {
                Read::Block => check.start_block(),
                Read::Fault(fault) => check.report.fault(fault.into()),
                Read::Sample(rebuilt) => check.take(rebuilt.0),
            }
        }
        Ok(check.finish())
    }

    fn walk(&self, range: Range<UnixMillis>) -> Result<Walk<'_>, StoreError> {
        let state = self.lock()?;
        let first = hour_of(range.start).unwrap_or(u32::MAX);
        let last = hour_of(UnixMillis(range.end.0.saturating_sub(1))).unwrap_or(u32::MAX - 1);
        let hours = if range.is_empty() {
            0..0
        } else {
            first..last.saturating_add(1)
        };
        let open = state
            .hours
            .range(hours.clone())
            .map(|(_, open)| rebuild_open(&state, open));
        Ok(Walk {
            store: self,
            open: open.collect(),
            blocks: state.blocks_of(0, hours).into(),
            names: state
                .names
                .all()
                .map(|(number, name)| (number, name.to_string()))
                .collect(),
            transaction: self.file.begin_read()?,
            ready: VecDeque::new(),
        })
    }
}

fn rebuild_open(state: &State, open: &Hour) -> Vec<Rebuilt> {
    let mut readings: Vec<Vec<(u32, i64)>> = vec![Vec::new(); open.ticks.len()];
    for (number, column) in &open.columns {
        for (place, value) in column.present.iter().zip(&column.values) {
            if let Some(readings) = readings.get_mut(*place as usize) {
                readings.push((*number, *value));
            }
        }
    }
    let local = |number: u32| {
        let place = number.checked_sub(FIRST_LOCAL)?;
        open.local.get(usize::try_from(place).ok()?).map(String::as_str)
    };
    let name = |number: u32| local(number).or_else(|| state.names.name(number).map(AsRef::as_ref));
    open.ticks
        .iter()
        .zip(readings)
        .map(|(tick, readings)| {
            (
                tick.clone(),
                Row::readings_of(&readings, name).unwrap_or_default(),
            )
        })
        .collect()
}

impl Walk<'_> {
    fn block(&self, key: BlockKey) -> Result<Vec<Rebuilt>, StoreError> {
        let mut columns = BTreeMap::new();
        let hour = hour_start(key.hour);
        let index = self
            .store
            .file
            .read(|| read_index(&self.transaction.open_table(PIECES)?, &self.store.seals, key))?;
        let called = |number: u32| super::called(number, |number| self.names.get(&number).cloned());
        for number in index.series() {
            let sealed = self
                .store
                .file
                .read(|| read_column(&self.transaction.open_table(PIECES)?, key, &index, number))?;
            let opened = index.open(number, &sealed.unwrap_or_default());
            columns.insert(number, opened.map_err(|fault| fault.of(called(number), hour))?);
        }
        let malformed = |number: u32| {
            let series = called(number);
            move |Malformed(what)| StoreFault::Malformed { series, hour, what }
        };
        let missing = |what| StoreFault::Missing { what, hour };
        let times = columns.remove(&TIMES).ok_or(missing("the times"))?;
        let times = Times::decode(&times).map_err(malformed(TIMES))?;
        let record = columns.remove(&RECORD).ok_or(missing("the samples' record"))?;
        let mut record = Record::decode(&record, times.at.len()).map_err(malformed(RECORD))?;
        let local = std::mem::take(&mut record.local);
        let name = |number: u32| {
            let place = number
                .checked_sub(FIRST_LOCAL)
                .and_then(|place| usize::try_from(place).ok());
            let name = match place {
                Some(place) => local.get(place),
                None => self.names.get(&number),
            };
            name.map(String::as_str)
        };
        let mut decoded = BTreeMap::new();
        for (number, plain) in &columns {
            name(*number).ok_or(missing("the name of a series"))?;
            let column = decode_values(plain, times.at.len()).map_err(malformed(*number))?;
            decoded.insert(*number, column);
        }
        Ok(rebuild(&times, record, &decoded, name).map_err(malformed(RECORD))?)
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Read, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(Ok(ready));
            }
            if let Some(key) = self.blocks.pop_front() {
                self.ready.push_back(Read::Block);
                match self.block(key) {
                    Ok(rebuilt) => self
                        .ready
                        .extend(rebuilt.into_iter().map(Box::new).map(Read::Sample)),
                    Err(error) => match as_fault(error, "a block", hour_start(key.hour)) {
                        Ok(fault) => self.ready.push_back(Read::Fault(fault)),
                        Err(error) => return Some(Err(error)),
                    },
                }
            } else {
                self.ready.push_back(Read::Block);
                let open = self.open.pop_front()?;
                self.ready
                    .extend(open.into_iter().map(Box::new).map(Read::Sample));
            }
        }
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.walk.next()? {
                Err(error) => return Some(Err(error)),
                Ok(Read::Block) => {}
                Ok(Read::Fault(fault)) => return Some(Err(fault.into())),
                Ok(Read::Sample(rebuilt)) => {
                    let (boot, end) = (rebuilt.0.sample.boot, rebuilt.0.end);
                    let pending = self.pending.entry(boot).or_default();
                    if pending.len() < MAX_BATCH as usize {
                        pending.push(*rebuilt);
                    }
                    let Some(end) = end else {
                        continue;
                    };
                    let whole = self.pending.remove(&boot).unwrap_or_default();
                    if whole.len() != end.count as usize {
                        continue;
                    }
                    let (samples, readings): (Vec<Sample>, Vec<Readings>) = whole
                        .into_iter()
                        .map(|(tick, readings)| (tick.sample, readings))
                        .unzip();
                    return Some(Ok(Entry {
                        batch: SignedBatch {
                            samples,
                            signature: end.signature,
                        },
                        readings,
                    }));
                }
            }
        }
    }
}

/// What is known of a boot while its chain is checked.
struct Boot {
    /// None at first and after a fault.
    chain: Option<SampleChain>,
    /// After a fault what follows in the same block names digests that are wrong for the same reason.
    lost: bool,
    pending: Vec<Sample>,
    span: BootSpan,
    /// No whole batch came yet.
    fresh: bool,
}

struct Check<'a> {
    key_of: &'a dyn Fn(BootId) -> Option<PublicKey>,
    boots: BTreeMap<BootId, Boot>,
    order: Vec<BootId>,
    report: ChainReport,
}

impl Check<'_> {
    /// A block names the sample before its first: a boot that was lost is found again.
    fn start_block(&mut self) {
        self.boots.values_mut().for_each(|boot| boot.lost = false);
    }

    fn take(&mut self, tick: Tick) {
        let Tick { sample, end } = tick;
        let (id, sequence, at) = (sample.boot, sample.sequence, sample.measurement.at);
        if !self.boots.contains_key(&id) {
            self.order.push(id);
        }
        let boot = self.boots.entry(id).or_insert_with(|| Boot {
            chain: None,
            lost: false,
            pending: Vec::new(),
            span: BootSpan {
                boot: id,
                first: sequence,
                last: sequence,
                from: at,
                to: at,
            },
            fresh: true,
        });
        (boot.span.last, boot.span.to) = (sequence, at);
        boot.pending.push(sample);
        let Some(end) = end else {
            if boot.pending.len() > MAX_BATCH as usize {
                let fault = incomplete(id, &boot.pending);
                boot.pending.clear();
                self.report.fault(fault);
            }
            return;
        };
        let samples = std::mem::take(&mut boot.pending);
        if samples.len() != end.count as usize {
            if boot.fresh && samples.len() < end.count as usize {
                self.report.unsigned = self.report.unsigned.saturating_add(samples.len() as u64);
            } else {
                self.report.fault(incomplete(id, &samples));
            }
            boot.fresh = false;
            boot.chain = None;
            return;
        }
        boot.fresh = false;
        let batch = SignedBatch {
            samples,
            signature: end.signature,
        };
        let Some(key) = (self.key_of)(id) else {
            let fault = ChainFault::UnknownKey { boot: id };
            if !self.report.faults.contains(&fault) {
                self.report.fault(fault);
            }
            return;
        };
        boot.check(&batch, &key, &mut self.report);
    }

    fn finish(mut self) -> ChainReport {
        for id in &self.order {
            let Some(boot) = self.boots.remove(id) else {
                continue;
            };
            if !boot.pending.is_empty() {
                self.report.fault(incomplete(*id, &boot.pending));
            }
            self.report.boots.push(boot.span);
        }
        self.report
    }
}

fn incomplete(boot: BootId, samples: &[Sample]) -> ChainFault {
    ChainFault::Incomplete {
        boot,
        first: samples.first().map_or(0, |sample| sample.sequence),
        count: samples.len(),
    }
}

impl Boot {
    fn check(&mut self, batch: &SignedBatch, key: &PublicKey, report: &mut ChainReport) {
        let (Some(first), Some(last)) = (batch.samples.first(), batch.samples.last()) else {
            return;
        };
        if self.lost {
            report.unchecked = report.unchecked.saturating_add(batch.samples.len() as u64);
            return;
        }
        let piece = || match first.sequence {
            0 => SampleChain::of_boot(first.node, first.boot),
            _ => SampleChain::piece(first.node, first.boot),
        };
        let mut chain = self.chain.take().unwrap_or_else(piece);
        let mut checked = chain.push_signed(batch, key);
        if let Err(source @ (SampleError::ChainBroken { .. } | SampleError::OutOfTime { .. })) = checked {
            report.fault(ChainFault::Broken {
                boot: first.boot,
                source,
            });
            chain = piece();
            checked = chain.push_signed(batch, key);
        }
        match checked {
            Ok(()) => {
                chain.start_window();
                self.chain = Some(chain);
                report.batches = report.batches.saturating_add(1);
                report.samples = report.samples.saturating_add(batch.samples.len() as u64);
            }
            Err(SampleError::SignatureInvalid { .. }) => {
                self.lost = true;
                report.fault(ChainFault::NotSigned {
                    boot: first.boot,
                    first: first.sequence,
                    last: last.sequence,
                    at: first.measurement.at,
                });
            }
            Err(source) => report.fault(ChainFault::Broken {
                boot: first.boot,
                source,
            }),
        }
    }
}
