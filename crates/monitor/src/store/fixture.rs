//! An enclave that really signs, and samples of the mix that nodes have.

use nautilus_core::{BootId, NodeId, PublicKey, Signature, SignedMessage as _, UnixMillis};
use nautilus_proof::{Gap, Measurement, Metrics, Reading, Readings, SampleChain, SignedBatch};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{Entry, StoreKey, StoreKeys};

/// 2026-11-22T00:00:00Z: a day's first instant.
pub(super) const START: UnixMillis = UnixMillis(1_795_305_600_000);

pub(super) fn keys() -> StoreKeys {
    StoreKeys::new((1, StoreKey::new([7; 32])), [])
}

/// Numbers without pattern, the same in every run.
pub(super) fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// One boot of an enclave.
pub(super) struct Enclave {
    pub(super) boot: BootId,
    key: Ed25519KeyPair,
    chain: SampleChain,
    pub(super) seed: u64,
    counters: Vec<i64>,
}

impl Enclave {
    pub(super) fn new(boot: u8) -> Self {
        let id = BootId([boot; 16]);
        Self {
            boot: id,
            key: Ed25519KeyPair::from_seed_unchecked(&[boot; 32]).unwrap(),
            chain: SampleChain::of_boot(NodeId([9; 32]), id),
            seed: 0x9e37_79b9_7f4a_7c15 ^ u64::from(boot),
            counters: Vec::new(),
        }
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey(self.key.public_key().as_ref().try_into().unwrap())
    }

    /// A batch of samples at these times, with these readings and gaps.
    pub(super) fn batch(&mut self, ticks: Vec<(UnixMillis, Readings, Vec<Gap>)>) -> Entry {
        let mut samples = Vec::new();
        let mut all = Vec::new();
        for (at, readings, gaps) in ticks {
            let noise = random(&mut self.seed);
            let sample = self.chain.draft(Measurement {
                at,
                monotonic_millis: at.0 - 1_700_000_000_000,
                missed: u32::from(noise.is_multiple_of(50)),
                clock_step_millis: if noise.is_multiple_of(70) { -1_234 } else { 0 },
                suspended_millis: 0,
                metrics: (!noise.is_multiple_of(9)).then(|| Metrics {
                    cpu_usage_bp: (noise % 10_000) as u16,
                    load_average_centi: [1, 2, (noise % 400) as u32],
                    context_switches: at.0 * 7 + noise % 1000,
                    uptime_seconds: at.0 / 1000,
                    ..Metrics::default()
                }),
                response_time_micros: (!noise.is_multiple_of(3)).then_some(900 + noise % 300),
                gaps,
                readings: readings.digest(),
                reading_count: u32::try_from(readings.0.len()).unwrap(),
            });
            self.chain.push(&sample).unwrap();
            samples.push(sample);
            all.push(readings);
        }
        let batch = self.chain.take_batch().unwrap();
        self.chain.start_window();
        let signature = Signature(self.key.sign(&batch.to_bytes()).as_ref().try_into().unwrap());
        Entry {
            batch: SignedBatch { samples, signature },
            readings: all,
        }
    }

    /// A batch of `count` samples every `interval` of `series` series: counters, gauges, noise and flags.
    pub(super) fn mixed(&mut self, from: UnixMillis, interval: u64, count: u64, series: usize) -> Entry {
        let ticks =
            (0..count).map(|number| (from.plus(number * interval), self.readings(series), Vec::new()));
        let ticks = ticks.collect();
        self.batch(ticks)
    }

    pub(super) fn readings(&mut self, series: usize) -> Readings {
        self.counters.resize(series, 1 << 40);
        let readings = (0..series).map(|number| {
            let noise = random(&mut self.seed).cast_signed();
            let value = &mut self.counters[number];
            *value = match number % 4 {
                0 => *value + (noise & 0xffff),
                1 => *value + (noise % 5) * 4096,
                2 => noise & 0xff_ffff,
                _ => i64::from(noise & 0x1f == 0),
            };
            Reading {
                series: format!("nautilus_test_value_bytes{{pod=\"{number:04}\"}}"),
                value: *value,
            }
        });
        Readings(readings.collect())
    }
}
