//! The rules by which samples form a window: order, chain, place in time, and what they amount to. The
//! enclave applies them before it signs, every verifier after.

use nautilus_core::{BootId, Digest32, NodeId, PublicKey, SignedMessage, UnixMillis};

use crate::merkle::{Frontier, leaf_hash};
use crate::message::{Measurement, Metrics, Sample, SampleBatch, SignedBatch, Summary};

/// Highest value of a field in basis points.
const FULL_BP: u16 = 10_000;
/// Most samples in one batch: what the agent buffers.
pub const MAX_BATCH: u32 = 1000;

/// What is wrong with a sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A sample of another node or boot.
    #[error("sample {sequence} belongs to another node or boot")]
    Foreign {
        /// Its number.
        sequence: u64,
    },
    /// A number that does not follow the one before, or a wrong link to it.
    #[error("sample {sequence} does not follow the sample before it")]
    ChainBroken {
        /// Its number.
        sequence: u64,
    },
    /// Not later than the sample before, or outside of the window.
    #[error("sample {sequence} was taken at {at}, outside of its place in time")]
    OutOfTime {
        /// Its number.
        sequence: u64,
        /// Its time.
        at: UnixMillis,
    },
    /// A share above 100 %.
    #[error("sample {sequence} has a share above 100 %")]
    OutOfRange {
        /// Its number.
        sequence: u64,
    },
    /// Gaps that are not in order, or two of one collector.
    #[error("sample {sequence} does not name its gaps in order")]
    GapsUnordered {
        /// Its number.
        sequence: u64,
    },
    /// A batch without samples, or with more than [`MAX_BATCH`].
    #[error("a batch has {count} samples; it must have 1 to {MAX_BATCH}")]
    BatchSize {
        /// How many.
        count: usize,
    },
    /// A signed batch in the midst of one that is still open.
    #[error("the batch from sample {first} on is still open")]
    BatchOpen {
        /// Number of the open batch's first sample.
        first: u64,
    },
    /// A signature that is not the TEE key's.
    #[error("signature of the batch from sample {sequence} on is not the TEE key's")]
    SignatureInvalid {
        /// Number of its first sample.
        sequence: u64,
    },
}

/// Samples of one boot in the order in which they came, and the window that they fill.
#[derive(Clone, Debug)]
pub struct SampleChain {
    tip: Tip,
    batch: Option<SampleBatch>,
    window: Accumulated,
}

/// Where a chain stands: what the next sample must follow.
#[derive(Clone, Copy, Debug)]
struct Tip {
    node: NodeId,
    boot: BootId,
    /// Number of the next sample, and digest of the last one; none in a piece that holds none yet.
    next: Option<(u64, Digest32)>,
    last: Option<Moment>,
}

/// The two clocks of a sample.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: UnixMillis,
    monotonic_millis: u64,
}

/// What the open window holds so far.
#[derive(Clone, Debug, Default)]
struct Accumulated {
    tree: Frontier,
    /// Of the first and of the last sample.
    span: Option<(UnixMillis, UnixMillis)>,
    /// Of the samples that measured the machine.
    times: Vec<UnixMillis>,
    cpu_sum: u64,
    maxima: (u16, u16, u16),
}

impl SampleChain {
    /// The chain of a boot from its first sample on.
    pub fn of_boot(node: NodeId, boot: BootId) -> Self {
        Self::starting(node, boot, Some((0, Digest32([0; 32]))))
    }

    /// A piece of a boot's chain: its first sample is taken as it is, the others must follow.
    pub fn piece(node: NodeId, boot: BootId) -> Self {
        Self::starting(node, boot, None)
    }

    fn starting(node: NodeId, boot: BootId, next: Option<(u64, Digest32)>) -> Self {
        Self {
            tip: Tip {
                node,
                boot,
                next,
                last: None,
            },
            batch: None,
            window: Accumulated::default(),
        }
    }

    /// Makes the next sample of this chain, not yet part of it.
    pub fn draft(&self, measurement: Measurement) -> Sample {
        let (sequence, previous) = self.tip.next.unwrap_or((0, Digest32([0; 32])));
        Sample {
            node: self.tip.node,
            boot: self.tip.boot,
            sequence,
            previous,
            measurement,
        }
    }

    /// Takes a sample in, and into the open batch.
    ///
    /// # Errors
    /// If it does not belong at this place, or the open batch is full; the chain is then unchanged.
    pub fn push(&mut self, sample: &Sample) -> Result<(), SampleError> {
        let (tip, head) = self.tip.after(sample)?;
        let started = self.batch.as_ref();
        let count = started.map_or(0, |batch| batch.count);
        let count = count.saturating_add(1);
        if count > MAX_BATCH {
            return Err(SampleError::BatchSize {
                count: count as usize,
            });
        }
        self.batch = Some(SampleBatch {
            node: sample.node,
            boot: sample.boot,
            first: started.map_or(sample.sequence, |batch| batch.first),
            count,
            previous: started.map_or(sample.previous, |batch| batch.previous),
            head,
        });
        self.tip = tip;
        self.window.add(sample);
        Ok(())
    }

    /// Number of the next sample; none in a piece that holds none yet.
    pub fn next_sequence(&self) -> Option<u64> {
        self.tip.next.map(|(sequence, _)| sequence)
    }

    /// Takes a batch in if the TEE key signed it.
    ///
    /// # Errors
    /// If it did not, if a sample does not belong at its place, or if a batch of [`Self::push`] is open; the chain is
    /// then unchanged.
    pub fn push_signed(&mut self, signed: &SignedBatch, key: &PublicKey) -> Result<(), SampleError> {
        if let Some(open) = &self.batch {
            return Err(SampleError::BatchOpen { first: open.first });
        }
        let size = signed.samples.len();
        let count = u32::try_from(size).ok().filter(|count| *count <= MAX_BATCH);
        let (Some(first), Some(count)) = (signed.samples.first(), count) else {
            return Err(SampleError::BatchSize { count: size });
        };
        let (mut tip, mut head) = (self.tip, first.previous);
        for sample in &signed.samples {
            (tip, head) = tip.after(sample)?;
        }
        let batch = SampleBatch {
            node: first.node,
            boot: first.boot,
            first: first.sequence,
            count,
            previous: first.previous,
            head,
        };
        if !batch.is_signed_by(key, &signed.signature) {
            return Err(SampleError::SignatureInvalid {
                sequence: first.sequence,
            });
        }
        self.tip = tip;
        for sample in &signed.samples {
            self.window.add(sample);
        }
        Ok(())
    }

    /// The samples that came since the last batch, as a batch to sign; none if there are none.
    pub const fn open_batch(&self) -> Option<&SampleBatch> {
        self.batch.as_ref()
    }

    /// Ends the batch: the next sample starts another.
    pub const fn take_batch(&mut self) -> Option<SampleBatch> {
        self.batch.take()
    }

    /// Samples in the open window, also those that did not measure the machine.
    pub const fn window_len(&self) -> u64 {
        self.window.tree.size()
    }

    /// Times of the open window's first and last sample; none if it holds none.
    pub const fn window_span(&self) -> Option<(UnixMillis, UnixMillis)> {
        self.window.span
    }

    /// Times of the open window's samples that measured the machine: what covers slots.
    pub fn times(&self) -> &[UnixMillis] {
        &self.window.times
    }

    /// RFC 9162 tree head over the open window's samples.
    pub fn metrics_hash(&self) -> Digest32 {
        self.window.tree.root()
    }

    /// What the open window's samples amount to.
    pub fn summary(&self) -> Summary {
        let measured = u64::try_from(self.window.times.len()).unwrap_or(u64::MAX);
        let mean = self.window.cpu_sum.checked_div(measured).unwrap_or(0);
        let (cpu_usage_max_bp, memory_usage_max_bp, disk_usage_max_bp) = self.window.maxima;
        Summary {
            cpu_usage_mean_bp: u16::try_from(mean).unwrap_or(FULL_BP),
            cpu_usage_max_bp,
            memory_usage_max_bp,
            disk_usage_max_bp,
        }
    }

    /// Empties the window; the chain goes on.
    pub fn start_window(&mut self) {
        self.window = Accumulated::default();
    }
}

impl Tip {
    /// Where the chain stands with `sample` in it, and that sample's digest.
    fn after(&self, sample: &Sample) -> Result<(Self, Digest32), SampleError> {
        let (sequence, measurement) = (sample.sequence, &sample.measurement);
        if sample.node != self.node || sample.boot != self.boot {
            return Err(SampleError::Foreign { sequence });
        }
        if self.next.is_some_and(|next| next != (sequence, sample.previous)) {
            return Err(SampleError::ChainBroken { sequence });
        }
        let Measurement {
            at, monotonic_millis, ..
        } = *measurement;
        if self
            .last
            .is_some_and(|last| at <= last.at || monotonic_millis < last.monotonic_millis)
        {
            return Err(SampleError::OutOfTime { sequence, at });
        }
        let ordered = measurement
            .gaps
            .is_sorted_by(|one, next| one.collector < next.collector);
        if !ordered {
            return Err(SampleError::GapsUnordered { sequence });
        }
        if !measurement.metrics.as_ref().is_none_or(in_range) {
            return Err(SampleError::OutOfRange { sequence });
        }
        let follows = sequence
            .checked_add(1)
            .ok_or(SampleError::ChainBroken { sequence })?;
        let head = sample.digest();
        let tip = Self {
            next: Some((follows, head)),
            last: Some(Moment { at, monotonic_millis }),
            ..*self
        };
        Ok((tip, head))
    }
}

/// Whether no share is more than the whole.
fn in_range(metrics: &Metrics) -> bool {
    [
        metrics.cpu_usage_bp,
        metrics.cpu_efficiency_bp,
        metrics.memory_usage_bp,
        metrics.disk_usage_bp,
    ]
    .iter()
    .all(|share| *share <= FULL_BP)
}

impl Accumulated {
    fn add(&mut self, sample: &Sample) {
        let at = sample.measurement.at;
        self.tree.append(leaf_hash(&sample.to_bytes()));
        self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        let Some(metrics) = &sample.measurement.metrics else {
            return;
        };
        self.times.push(at);
        self.cpu_sum = self.cpu_sum.saturating_add(metrics.cpu_usage_bp.into());
        let (cpu, memory, disk) = &mut self.maxima;
        *cpu = metrics.cpu_usage_bp.max(*cpu);
        *memory = metrics.memory_usage_bp.max(*memory);
        *disk = metrics.disk_usage_bp.max(*disk);
    }
}

/// Samples that a window of `length_millis` should hold: at least one. None if there would be too many
/// to count, or if the interval is zero.
pub fn slots(length_millis: u64, interval_millis: u64) -> Option<u32> {
    u32::try_from(length_millis.checked_div(interval_millis)?.max(1)).ok()
}

/// Slots of a window that hold a sample. `times` are ascending; a sample outside of the window is an error
/// and gives none. Many samples in one slot count once, so a burst covers nothing but its own slot.
pub fn covered_slots(
    start: UnixMillis,
    end: UnixMillis,
    interval_millis: u64,
    times: &[UnixMillis],
) -> Option<u32> {
    let slots = slots(end.since(start), interval_millis)?;
    let mut covered = 0_u32;
    let mut last_slot = None;
    for at in times {
        if *at < start || *at >= end {
            return None;
        }
        let slot = at
            .since(start)
            .checked_div(interval_millis)?
            .min(u64::from(slots.saturating_sub(1)));
        if last_slot != Some(slot) {
            covered = covered.saturating_add(1);
            last_slot = Some(slot);
        }
    }
    Some(covered)
}

#[cfg(test)]
mod tests;
