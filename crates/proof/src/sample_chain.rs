//! The rules by which samples form a window: order, chain, place in time, and what they amount to. The
//! enclave applies them before it signs, every verifier after.

use nautilus_core::{BootId, Digest32, NodeId, PublicKey, SignedMessage, UnixMillis};

use crate::merkle::{Frontier, leaf_hash};
use crate::message::{Metrics, Sample, SignedSample, Summary};

/// Highest value of a field in basis points.
const FULL_BP: u16 = 10_000;

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
    /// A signature that is not the TEE key's.
    #[error("signature of sample {sequence} is not the TEE key's")]
    SignatureInvalid {
        /// Its number.
        sequence: u64,
    },
}

/// Samples of one boot in the order in which they came, and the window that they fill.
#[derive(Clone, Debug)]
pub struct SampleChain {
    node: NodeId,
    boot: BootId,
    next: Option<(u64, Digest32)>,
    last_at: Option<UnixMillis>,
    window: Accumulated,
}

/// What the open window holds so far.
#[derive(Clone, Debug, Default)]
struct Accumulated {
    tree: Frontier,
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
            node,
            boot,
            next,
            last_at: None,
            window: Accumulated::default(),
        }
    }

    /// Makes the next sample of this chain, not yet part of it.
    pub fn draft(&self, at: UnixMillis, metrics: Metrics) -> Sample {
        let (sequence, previous) = self.next.unwrap_or((0, Digest32([0; 32])));
        Sample {
            node: self.node,
            boot: self.boot,
            sequence,
            at,
            previous,
            metrics,
        }
    }

    /// Takes a sample in.
    ///
    /// # Errors
    /// If it does not belong at this place; the chain is then unchanged.
    pub fn push(&mut self, sample: &Sample) -> Result<(), SampleError> {
        let sequence = sample.sequence;
        if sample.node != self.node || sample.boot != self.boot {
            return Err(SampleError::Foreign { sequence });
        }
        if self.next.is_some_and(|next| next != (sequence, sample.previous)) {
            return Err(SampleError::ChainBroken { sequence });
        }
        if self.last_at.is_some_and(|last| sample.at <= last) {
            return Err(SampleError::OutOfTime {
                sequence,
                at: sample.at,
            });
        }
        let metrics = &sample.metrics;
        if [
            metrics.cpu_usage_bp,
            metrics.memory_usage_bp,
            metrics.disk_usage_bp,
        ]
        .iter()
        .any(|share| *share > FULL_BP)
        {
            return Err(SampleError::OutOfRange { sequence });
        }
        let follows = sequence
            .checked_add(1)
            .ok_or(SampleError::ChainBroken { sequence })?;
        self.next = Some((follows, sample.digest()));
        self.last_at = Some(sample.at);
        self.window.add(sample);
        Ok(())
    }

    /// Takes a sample in if the TEE key signed it.
    ///
    /// # Errors
    /// If it did not, or as [`Self::push`].
    pub fn push_signed(&mut self, signed: &SignedSample, key: &PublicKey) -> Result<(), SampleError> {
        if !signed.sample.is_signed_by(key, &signed.signature) {
            return Err(SampleError::SignatureInvalid {
                sequence: signed.sample.sequence,
            });
        }
        self.push(&signed.sample)
    }

    /// Times of the samples in the open window.
    pub fn times(&self) -> &[UnixMillis] {
        &self.window.times
    }

    /// RFC 9162 tree head over the open window's samples.
    pub fn metrics_hash(&self) -> Digest32 {
        self.window.tree.root()
    }

    /// What the open window's samples amount to.
    pub fn summary(&self) -> Summary {
        let mean = self
            .window
            .cpu_sum
            .checked_div(self.window.tree.size())
            .unwrap_or(0);
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

impl Accumulated {
    fn add(&mut self, sample: &Sample) {
        let metrics = &sample.metrics;
        self.tree.append(leaf_hash(&sample.to_bytes()));
        self.times.push(sample.at);
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
mod tests {
    use super::*;

    fn chain() -> SampleChain {
        SampleChain::of_boot(NodeId([1; 32]), BootId([2; 16]))
    }

    fn metrics(cpu: u16) -> Metrics {
        Metrics {
            cpu_usage_bp: cpu,
            memory_usage_bp: 100,
            ..Metrics::default()
        }
    }

    #[test]
    fn samples_follow_each_other_or_are_refused() {
        let mut chain = chain();
        for index in 0..3_u64 {
            let sample = chain.draft(UnixMillis(1000 + index), metrics(10));
            assert_eq!(sample.sequence, index);
            chain.push(&sample).unwrap();
        }
        let good = chain.draft(UnixMillis(2000), metrics(10));
        let refused = |sample: Sample| chain.clone().push(&sample).unwrap_err();
        assert_eq!(
            refused(Sample {
                sequence: 4,
                ..good.clone()
            }),
            SampleError::ChainBroken { sequence: 4 }
        );
        assert_eq!(
            refused(Sample {
                previous: Digest32([9; 32]),
                ..good.clone()
            }),
            SampleError::ChainBroken { sequence: 3 }
        );
        assert_eq!(
            refused(Sample {
                node: NodeId([9; 32]),
                ..good.clone()
            }),
            SampleError::Foreign { sequence: 3 }
        );
        assert_eq!(
            refused(Sample {
                at: UnixMillis(1002),
                ..good.clone()
            }),
            SampleError::OutOfTime {
                sequence: 3,
                at: UnixMillis(1002)
            }
        );
        assert_eq!(
            refused(Sample {
                metrics: metrics(10_001),
                ..good.clone()
            }),
            SampleError::OutOfRange { sequence: 3 }
        );
        chain.push(&good).unwrap();
    }

    #[test]
    fn the_summary_is_of_the_open_window_only() {
        let mut chain = chain();
        let first = chain.draft(UnixMillis(1), metrics(9000));
        chain.push(&first).unwrap();
        chain.start_window();
        for (at, cpu) in [(2, 10), (3, 21)] {
            let sample = chain.draft(UnixMillis(at), metrics(cpu));
            chain.push(&sample).unwrap();
        }
        let summary = chain.summary();
        assert_eq!(
            (
                summary.cpu_usage_mean_bp,
                summary.cpu_usage_max_bp,
                summary.memory_usage_max_bp
            ),
            (15, 21, 100)
        );
        assert_eq!(chain.times(), [UnixMillis(2), UnixMillis(3)]);
    }

    #[test]
    fn absence_is_down_and_a_burst_counts_once() {
        let covered = |times: &[u64]| {
            let times: Vec<_> = times.iter().map(|at| UnixMillis(*at)).collect();
            covered_slots(UnixMillis(1000), UnixMillis(11_000), 2000, &times)
        };
        assert_eq!(covered(&[]), Some(0));
        assert_eq!(covered(&[1000, 3001, 5002, 7003, 9004]), Some(5));
        assert_eq!(covered(&[1000, 1001, 1002, 1003, 2999]), Some(1));
        assert_eq!(covered(&[1000, 9000]), Some(2));
        assert_eq!(covered(&[999]), None);
        assert_eq!(covered(&[11_000]), None);
        assert_eq!(slots(500, 2000), Some(1));
        assert_eq!(slots(5000, 2000), Some(2));
        assert_eq!(slots(1, 0), None);
        assert_eq!(
            covered_slots(UnixMillis(0), UnixMillis(5000), 2000, &[UnixMillis(4500)]),
            Some(1)
        );
    }
}
