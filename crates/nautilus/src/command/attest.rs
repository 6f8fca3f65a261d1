//! `nautilus attest`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use nautilus_agent::attest::attest_once;
use nautilus_core::{Challenge, Digest32, Purpose};
use nautilus_tee::simulated::Vendor;
use nautilus_verifier::now;

use crate::cli::Global;
use crate::command::config::ConfigFlags;
use crate::command::up::{Choice, enclave_image};
use crate::command::verify::simulated_directory;
use crate::failure::Failure;
use crate::output;

/// Make evidence that answers a challenge, and write it to a file.
///
/// A new enclave is started for it, so the key that the evidence speaks for is gone when the command ends: it
/// shows a relying party what this machine can prove, and serves to try `nautilus verify`. A running node
/// attests by itself.
#[derive(Args)]
pub struct Attest {
    /// What the evidence is for
    #[arg(long = "type", value_name = "TYPE", default_value = "boot")]
    purpose: PurposeArgument,
    /// The relying party's challenge: 32 bytes [default: random ones, printed]
    #[arg(long, value_name = "HEX")]
    challenge: Option<Digest32>,
    /// Where to write the evidence file; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    flags: ConfigFlags,
}

#[derive(Clone, Copy, ValueEnum)]
enum PurposeArgument {
    Boot,
    Runtime,
    Performance,
    Workload,
}

impl Attest {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let config = self.flags.load(global)?;
        eprintln!("nautilus: {}", Choice::make(&config)?.reason);
        let image = enclave_image(&config)?;
        let data_dir = global.data_dir()?;
        let simulated = simulated_directory(&data_dir);
        Vendor::open_or_create(&simulated, now())?;
        let challenge = self.challenge()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let attested = runtime.block_on(attest_once(
            &data_dir.join("agent"),
            &simulated,
            &image,
            self.purpose(),
            challenge,
        ))?;
        if self.output == Path::new("-") {
            output::line(attested.to_json())?;
            return Ok(ExitCode::SUCCESS);
        }
        std::fs::write(&self.output, attested.to_json()).map_err(|error| {
            Failure::missing(error).context(format!("cannot write {}", self.output.display()))
        })?;
        let facts = serde_json::json!({
            "tee_type": attested.evidence.tee,
            "challenge": challenge,
            "evidence_file": self.output,
            "bytes": attested.evidence.bytes.len(),
        });
        if global.json {
            output::line(facts)?;
        } else {
            output::line(format_args!(
                "{} evidence of {} bytes for challenge {} is in {}",
                attested.evidence.tee,
                attested.evidence.bytes.len(),
                challenge.digest(),
                self.output.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn challenge(&self) -> Result<Challenge, Failure> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        Ok(Challenge::from_digest(self.challenge.unwrap_or(Digest32(nonce))))
    }

    const fn purpose(&self) -> Purpose {
        match self.purpose {
            PurposeArgument::Boot => Purpose::Boot,
            PurposeArgument::Runtime => Purpose::Runtime,
            PurposeArgument::Performance => Purpose::Performance,
            PurposeArgument::Workload => Purpose::Workload,
        }
    }
}
