//! `nautilus agent metrics`

mod history;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nautilus_agent::config::parse_duration;
use nautilus_agent::identity::NodeIdentity;
use nautilus_agent::key_manager::{SealSample, SealSigner};
use nautilus_core::{SignedMessage as _, UnixMillis};
use nautilus_monitor::data::PerformanceData;
use nautilus_monitor::panel::Collection;
use nautilus_monitor::schedule::{Clock as _, MachineClock};
use nautilus_proof::Measurement;
use nautilus_verifier::now;
use serde::Serialize;

use self::history::History;
use crate::cli::Global;
use crate::command::config::ConfigFlags;
use crate::command::up::monitoring;
use crate::failure::Failure;
use crate::output::{self, Text};

/// Collectors have this long.
const COLLECT_DEADLINE: Duration = Duration::from_secs(5);

/// Measure this machine, and have the wallet sign it; or ask a running node what it measured
///
/// Without a subcommand, for a machine without a TEE: the wallet's signature (the specification's Seal signature) says who
/// claims the numbers. It says nothing about the machine, and no ledger pays for it: `nautilus up` has an enclave sign them.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Metrics {
    #[command(subcommand)]
    history: Option<History>,
    #[command(flatten)]
    measure: Measure,
}

#[derive(Args)]
struct Measure {
    /// How many samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
    /// Time from one to the next, over which CPU use is measured
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    every: Duration,
    #[command(flatten)]
    flags: ConfigFlags,
}

/// What was measured, and what the wallet signed of it.
#[derive(Serialize)]
struct Measured {
    #[serde(flatten)]
    signed: SealSample,
    data: PerformanceData,
}

impl Metrics {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        match &self.history {
            Some(history) => history.run(global),
            None => self.measure.run(global).map(|()| ExitCode::SUCCESS),
        }
    }
}

impl Measure {
    fn run(&self, global: &Global) -> Result<(), Failure> {
        let config = self.flags.load(global)?;
        let identity = NodeIdentity::open_or_create(&global.data_dir()?.join("agent"))?;
        let mut panel = monitoring(&config).without_agent()?;
        let mut signer = SealSigner::new(&identity);
        for _ in 0..self.count {
            std::thread::sleep(self.every);
            let mut collection = panel.collect_blocking(COLLECT_DEADLINE);
            let signed = signer.sign(measurement(&mut collection, now()));
            let sample = &signed.sample;
            let at = sample.measurement.at;
            let data = collection.performance_data(at, sample.node, None, sample.digest());
            if global.json {
                output::line(serde_json::to_string(&Measured { signed, data })?)?;
            } else {
                human(&signed).print()?;
            }
        }
        Ok(())
    }
}

fn measurement(collection: &mut Collection, at: UnixMillis) -> Measurement {
    let committed = collection.commit();
    let monotonic = MachineClock.read().monotonic.as_millis();
    Measurement {
        at,
        monotonic_millis: u64::try_from(monotonic).unwrap_or(u64::MAX),
        missed: 0,
        clock_step_millis: 0,
        suspended_millis: 0,
        metrics: committed.metrics,
        response_time_micros: committed.response_time_micros,
        gaps: committed.gaps,
        readings: committed.digest,
        reading_count: committed.count,
    }
}

fn human(signed: &SealSample) -> Text {
    let (sample, mut text) = (&signed.sample, Text::default());
    let percent = |basis_points: u16| format!("{}.{:02} %", basis_points / 100, basis_points % 100);
    text.line(format_args!(
        "sample {} at {}, signed by wallet {}",
        sample.sequence,
        sample.measurement.at,
        signed.seal_signature.address()
    ));
    if let Some(metrics) = &sample.measurement.metrics {
        text.line(format_args!(
            "  cpu {}, memory {}, disk {}, {} processes, {} threads",
            percent(metrics.cpu_usage_bp),
            percent(metrics.memory_usage_bp),
            percent(metrics.disk_usage_bp),
            metrics.process_count,
            metrics.thread_count
        ));
    }
    text
}
