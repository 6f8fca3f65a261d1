//! `nautilus agent metrics`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use nautilus_agent::config::parse_duration;
use nautilus_agent::identity::NodeIdentity;
use nautilus_agent::key_manager::{SealSample, SealSigner};
use nautilus_monitor::SystemCollector;
use nautilus_verifier::now;

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::{self, Text};

/// Measure this machine, and have the wallet sign it: for a machine without a TEE
///
/// The wallet's signature (the specification's Seal signature) says who claims the numbers. It says nothing about the
/// machine, and no ledger pays for it: `nautilus up` has an enclave sign them.
#[derive(Args)]
pub struct Metrics {
    /// How many samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
    /// Time from one to the next, over which CPU use is measured
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    every: Duration,
}

impl Metrics {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let identity = NodeIdentity::open_or_create(&global.data_dir()?.join("agent"))?;
        let mut collector = SystemCollector::new("/")?;
        let mut signer = SealSigner::new(&identity);
        for _ in 0..self.count {
            std::thread::sleep(self.every);
            let sample = signer.sign(now(), collector.collect()?);
            if global.json {
                output::line(serde_json::to_string(&sample)?)?;
            } else {
                human(&sample).print()?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn human(signed: &SealSample) -> Text {
    let (sample, mut text) = (&signed.sample, Text::default());
    let percent = |basis_points: u16| format!("{}.{:02} %", basis_points / 100, basis_points % 100);
    text.line(format_args!(
        "sample {} at {}, signed by wallet {}",
        sample.sequence,
        sample.at,
        signed.seal_signature.address()
    ));
    text.line(format_args!(
        "  cpu {}, memory {}, disk {}, {} processes, {} threads",
        percent(sample.metrics.cpu_usage_bp),
        percent(sample.metrics.memory_usage_bp),
        percent(sample.metrics.disk_usage_bp),
        sample.metrics.process_count,
        sample.metrics.thread_count
    ));
    text
}
