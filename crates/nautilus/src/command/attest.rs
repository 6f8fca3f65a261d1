//! `nautilus attest`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use nautilus_agent::LocalAppraiser;
use nautilus_agent::attest::attest_once;
use nautilus_agent::enclave_manager::Launch;
use nautilus_agent::enclave_process::Transport;
use nautilus_core::{Challenge, Digest32, EvidenceFile, Purpose, TeeKind, TrustAnchors};
use nautilus_tee::simulated::Vendor;
use nautilus_verifier::now;

use crate::cli::Global;
use crate::command::config::ConfigFlags;
use crate::command::up::{Choice, ImageCheck, enclave_image, verifier_set};
use crate::command::verify::simulated_directory;
use crate::failure::{Failure, printable};
use crate::output;

/// Make evidence that answers a challenge, and write it to a file.
///
/// A new enclave is started for it, so the key that the evidence speaks for is gone when the command ends: it
/// shows a relying party what this machine can prove, and serves to try `nautilus verify`. A running node
/// attests by itself, and on request with `nautilus agent attest`.
#[derive(Args)]
pub struct Attest {
    /// What the evidence is for
    #[arg(long = "type", value_name = "TYPE", default_value = "boot")]
    purpose: PurposeArgument,
    /// The relying party's challenge: 32 bytes [default: random ones, printed]
    #[arg(long, value_name = "HEX")]
    challenge: Option<Digest32>,
    /// The TEE to ask, whatever was detected or configured
    #[arg(long, value_name = "KIND")]
    tee: Option<TeeKind>,
    /// Where to write the evidence file; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    flags: ConfigFlags,
}

/// The types of requests.
#[derive(Clone, Copy, ValueEnum)]
pub enum PurposeArgument {
    Boot,
    Runtime,
    Performance,
    Workload,
}

impl Attest {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let config = self.flags.load(global)?;
        let choice = match self.tee {
            Some(tee) => Choice::asked_for(tee),
            None => Choice::make(&config)?,
        };
        eprintln!("nautilus: {}", choice.reason);
        let data_dir = global.data_dir()?;
        let simulated = simulated_platform(choice.chosen, &data_dir)?;
        let set = verifier_set(simulated.as_deref(), &TrustAnchors::default())?;
        let appraiser = LocalAppraiser::new(set, simulated.clone());
        let launch = Launch {
            image: enclave_image(&config)?,
            tee: choice.chosen,
            simulated,
            quote_provider: config.quote_provider().map(str::to_owned),
            directory: data_dir.join("agent"),
            check: Arc::new(ImageCheck(choice.chosen)),
            appraiser: Arc::new(appraiser),
            transport: Transport::default(),
        };
        let challenge = challenge(self.challenge)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let notes = Arc::new(|note: String| eprintln!("nautilus: enclave: {}", printable(&note)));
        let attested = runtime.block_on(attest_once(&launch, self.purpose.purpose(), challenge, notes))?;
        if write_evidence(&self.output, &attested)? {
            return Ok(ExitCode::SUCCESS);
        }
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
}

impl PurposeArgument {
    /// What it stands for.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::Boot => Purpose::Boot,
            Self::Runtime => Purpose::Runtime,
            Self::Performance => Purpose::Performance,
            Self::Workload => Purpose::Workload,
        }
    }
}

/// Where the simulated platform is, made at first use; none for a real TEE.
pub fn simulated_platform(tee: TeeKind, data_dir: &Path) -> Result<Option<PathBuf>, Failure> {
    if tee != TeeKind::Simulated {
        return Ok(None);
    }
    let directory = simulated_directory(data_dir);
    Vendor::open_or_create(&directory, now())?;
    Ok(Some(directory))
}

/// The challenge that was given, or a random one.
pub fn challenge(given: Option<Digest32>) -> Result<Challenge, Failure> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(Challenge::from_digest(given.unwrap_or(Digest32(nonce))))
}

/// Writes an evidence file. Gives whether that was to standard output, where nothing else belongs then.
pub fn write_evidence(path: &Path, file: &EvidenceFile) -> Result<bool, Failure> {
    if path == Path::new("-") {
        output::line(file.to_json())?;
        return Ok(true);
    }
    std::fs::write(path, file.to_json())
        .map_err(|error| Failure::missing(error).context(format!("cannot write {}", path.display())))?;
    Ok(false)
}
