//! The reference's mix: a quarter of the series counters, a quarter gauges, a quarter noise and a quarter flags. The
//! widths are such that pco alone needs the 2.21 bytes a value that the reference found.

use std::ops::Range;

use anyhow::{Context, Result};
use ed25519_dalek::{Signer as _, SigningKey};
use nautilus_core::{BootId, NodeId, Signature, SignedMessage as _, UnixMillis};
use nautilus_monitor::store::Entry;
use nautilus_proof::{Measurement, Metrics, Reading, Readings, SampleChain, SignedBatch};

/// 2026-10-01T00:00:00Z.
pub const START: UnixMillis = UnixMillis(1_790_812_800_000);

/// A series' name.
pub fn name(series: usize) -> String {
    format!("nautilus_bench_value{{series=\"{series:04}\"}}")
}

/// Makes samples.
pub struct Mix {
    /// What batches are signed with.
    pub key: SigningKey,
    chain: SampleChain,
    seed: u64,
    interval: u64,
    values: Vec<i64>,
}

impl Mix {
    pub fn new(series: usize, interval: u64) -> Self {
        Self {
            key: SigningKey::from_bytes(&[3; 32]),
            chain: SampleChain::of_boot(NodeId([1; 32]), BootId([2; 16])),
            seed: 88_172_645_463_325_252,
            interval,
            values: vec![1 << 40; series],
        }
    }

    /// A batch of the samples at these ticks, which follow those before.
    pub fn entry(&mut self, ticks: Range<u64>) -> Result<Entry> {
        let mut samples = Vec::new();
        let mut readings = Vec::new();
        for tick in ticks {
            let (sample, read) = self.sample(tick);
            let sample = self.chain.draft(Measurement {
                readings: read.digest(),
                reading_count: u32::try_from(read.0.len())?,
                ..sample
            });
            self.chain.push(&sample)?;
            samples.push(sample);
            readings.push(read);
        }
        let signed = self.chain.take_batch().context("an empty batch")?;
        self.chain.start_window();
        let signature = Signature(self.key.sign(&signed.to_bytes()).to_bytes());
        Ok(Entry {
            batch: SignedBatch { samples, signature },
            readings,
        })
    }

    fn sample(&mut self, tick: u64) -> (Measurement, Readings) {
        let noise = self.random().unsigned_abs();
        // A tick comes a millisecond late now and then.
        let at = START.plus(tick * self.interval + u64::from(noise % 16 == 0));
        let metrics = Metrics {
            cpu_usage_bp: 800 + (noise % 300) as u16,
            cpu_efficiency_bp: 9_000 + (noise % 200) as u16,
            memory_usage_bp: 4_200,
            disk_usage_bp: 6_100,
            load_average_centi: [40 + (noise % 30) as u32, 50, 60],
            process_count: 200 + (noise % 4) as u32,
            thread_count: 700 + (noise % 9) as u32,
            file_descriptors: 2_000,
            context_switches: tick * 60_000 + noise % 9_000,
            interrupts: tick * 30_000 + noise % 5_000,
            network_rx_bytes: tick * 90_000 + noise % 30_000,
            network_tx_bytes: tick * 70_000 + noise % 30_000,
            disk_read_bytes: tick / 8 * 4096,
            disk_written_bytes: tick * 8192,
            uptime_seconds: 9_000 + tick * self.interval / 1000,
        };
        let readings = (0..self.values.len()).map(|series| {
            let noise = self.random();
            let value = &mut self.values[series];
            *value = match series % 4 {
                0 => *value + noise % 4096,
                1 => *value + noise % 1025 - 512,
                2 => noise >> 19,
                _ => i64::from(noise % 40 == 0),
            };
            Reading {
                series: name(series),
                value: *value,
            }
        });
        let readings = Readings(readings.collect());
        let mut measurement = Measurement::of_system(at, metrics);
        measurement.monotonic_millis = tick * self.interval + 7_000;
        measurement.response_time_micros = Some(900 + noise % 200);
        (measurement, readings)
    }

    /// Numbers without pattern, the same in every run; not negative.
    fn random(&mut self) -> i64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed.cast_signed() & i64::MAX
    }
}
