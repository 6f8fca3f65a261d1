//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::command;
use crate::failure::Failure;

/// Proves what a K3s worker node is and how it performs.
///
/// A TEE vouches for the node; metrics are signed inside it, proven per window, verified, and settled on a
/// ledger. Exit codes: 0 accepted or done, 1 rejected, 2 wrong usage or configuration, 3 something outside is
/// missing (device, service, file).
#[derive(Parser)]
#[command(name = "nautilus", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Where state is kept [default: /var/lib/nautilus for root, else ~/.local/state/nautilus]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "NAUTILUS_DATA_DIR",
        hide_env_values = true
    )]
    data_dir: Option<PathBuf>,
    /// Print facts as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file to read instead of /etc/nautilus/config.yaml and config.d/*.yaml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Up(command::up::Up),
    Detect(command::detect::Detect),
    Attest(command::attest::Attest),
    #[command(subcommand)]
    Agent(command::agent::Agent),
    #[command(subcommand)]
    Enclave(command::enclave::Enclave),
    #[command(subcommand)]
    Verifier(command::verifier::Verifier),
    Verify(command::verify::Verify),
    /// Write, check and explain policies: what is wanted of verified evidence
    #[command(subcommand)]
    Policy(command::policy::PolicyCommand),
    /// Fetch, list, import, prune and archive vendors' endorsements
    #[command(subcommand)]
    Endorsements(command::endorsements::Endorsements),
    /// Enrol keys for which no vendor vouches
    #[command(subcommand)]
    Enroll(command::enroll::Enroll),
    /// Compute what a TEE will measure of an image, before it is launched: what a policy pins
    ///
    /// Nothing is launched, and no device is asked. Where the image is signed, its signature is verified; exit code 1
    /// if it does not verify, or if the file is no image.
    #[command(subcommand)]
    Measure(command::measure::Measure),
    /// Show or verify performance proofs
    #[command(subcommand)]
    Proof(command::proof::Proof),
    /// Read the embedded ledger, and claim its rewards
    #[command(subcommand)]
    Ledger(command::ledger::Ledger),
    /// Import and show the wallet that is rewarded
    #[command(subcommand)]
    Wallet(command::wallet::Wallet),
    /// Show the configuration
    #[command(subcommand)]
    Config(command::config::ConfigCommand),
}

impl Cli {
    /// Runs the command.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        match &self.command {
            Command::Up(command) => command.run(&self.global),
            Command::Detect(command) => command.run(&self.global),
            Command::Attest(command) => command.run(&self.global),
            Command::Agent(command) => command.run(&self.global),
            Command::Enclave(command) => command.run(&self.global),
            Command::Verifier(command) => command.run(&self.global),
            Command::Verify(command) => command.run(&self.global),
            Command::Policy(command) => command.run(&self.global),
            Command::Endorsements(command) => command.run(&self.global),
            Command::Enroll(command) => command.run(&self.global),
            Command::Measure(command) => command.run(&self.global),
            Command::Proof(command) => command.run(&self.global),
            Command::Ledger(command) => command.run(&self.global),
            Command::Wallet(command) => command.run(&self.global),
            Command::Config(command) => command.run(&self.global),
        }
    }
}

impl Global {
    /// The data directory: as given, or the user's.
    pub fn data_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.data_dir {
            return Ok(directory.clone());
        }
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/nautilus"));
        }
        let variable = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        variable("XDG_STATE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
            .map(|state| state.join("nautilus"))
            .ok_or_else(|| Failure::usage(anyhow::anyhow!("no home directory: give --data-dir DIR")))
    }
}
