//! `nautilus config`, and the configuration's flags.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_agent::config::{Config, DEFAULT_DIRECTORY, FlagValue, Sources};
use serde_json::{Map, Value, json};

use crate::cli::Global;
use crate::failure::Failure;
use crate::output;

/// Show the configuration.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration in force, as a file that gives the same
    View {
        /// Say of each value where it came from
        #[arg(long)]
        resolved: bool,
        #[command(flatten)]
        flags: ConfigFlags,
    },
}

/// One flag for each setting; stronger than files and environment.
#[derive(Args, Clone)]
#[command(next_help_heading = "Configuration, stronger than files and environment")]
pub struct ConfigFlags {
    /// `enabled`: whether the node does anything
    #[arg(long, value_name = "BOOL")]
    enabled: Option<String>,
    /// `tee_type`: the TEE to use; empty: the one detected
    #[arg(long, value_name = "TEE")]
    tee_type: Option<String>,
    /// `enclave_image`: the enclave's program
    #[arg(long, value_name = "PATH")]
    enclave_image: Option<String>,
    /// `attestation_url`: the verifier, such as tcp://HOST:PORT
    #[arg(long, value_name = "URL")]
    attestation_url: Option<String>,
    /// `verifier_key`: the key that the verifier prints when it starts
    #[arg(long, value_name = "HEX")]
    verifier_key: Option<String>,
    /// `key_provision_url`: the key broker
    #[arg(long, value_name = "URL")]
    key_provision_url: Option<String>,
    /// `key_provision_key`: the key broker's key, where it is not the verifier
    #[arg(long, value_name = "HEX")]
    key_provision_key: Option<String>,
    /// `metrics_interval`: time between samples, such as 30s
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,
    /// `collectors`: what is measured, of system, container, network, security and custom
    #[arg(long, value_name = "NAMES")]
    collectors: Option<String>,
    /// `containerd_address`: the container runtime's socket; empty: K3s' or containerd's usual one
    #[arg(long, value_name = "PATH")]
    containerd_address: Option<String>,
    /// `latency_peers`: whom to measure the time to: NAME=tcp://HOST:PORT, gateway=auto, api-server=auto
    #[arg(long, value_name = "PEERS")]
    latency_peers: Option<String>,
    /// `textfile_directory`: where other programs put metrics, in files *.prom and *.om
    #[arg(long, value_name = "PATH")]
    textfile_directory: Option<String>,
    /// `metrics_retention`: how long metrics are kept, such as 720h
    #[arg(long, value_name = "DURATION")]
    metrics_retention: Option<String>,
    /// `metrics_back_pressure`: what gives way when metrics come too fast: drop-oldest, drop-newest or wait
    #[arg(long, value_name = "POLICY")]
    metrics_back_pressure: Option<String>,
    /// `proof_batch_size`: most samples in one proof
    #[arg(long, value_name = "NUMBER")]
    proof_batch_size: Option<String>,
    /// `secure_channels`: true; enclave, agent and verifier speak through the attested channel only
    #[arg(long, value_name = "BOOL")]
    secure_channels: Option<String>,
    /// `debug_mode`: whether the enclave may be debugged
    #[arg(long, value_name = "BOOL")]
    debug_mode: Option<String>,
    /// `quote_provider`: where quotes come from
    #[arg(long, value_name = "NAME")]
    quote_provider: Option<String>,
    /// `pcr_policy`: wanted PCR values, as pcr0=HEX,pcr1=HEX
    #[arg(long, value_name = "PCRS")]
    pcr_policy: Option<String>,
}

impl ConfigFlags {
    fn given(&self) -> Vec<FlagValue> {
        [
            ("--enabled", "enabled", &self.enabled),
            ("--tee-type", "tee_type", &self.tee_type),
            ("--enclave-image", "enclave_image", &self.enclave_image),
            ("--attestation-url", "attestation_url", &self.attestation_url),
            ("--verifier-key", "verifier_key", &self.verifier_key),
            (
                "--key-provision-url",
                "key_provision_url",
                &self.key_provision_url,
            ),
            (
                "--key-provision-key",
                "key_provision_key",
                &self.key_provision_key,
            ),
            ("--interval", "metrics_interval", &self.interval),
            ("--collectors", "collectors", &self.collectors),
            (
                "--containerd-address",
                "containerd_address",
                &self.containerd_address,
            ),
            ("--latency-peers", "latency_peers", &self.latency_peers),
            (
                "--textfile-directory",
                "textfile_directory",
                &self.textfile_directory,
            ),
            (
                "--metrics-retention",
                "metrics_retention",
                &self.metrics_retention,
            ),
            (
                "--metrics-back-pressure",
                "metrics_back_pressure",
                &self.metrics_back_pressure,
            ),
            ("--proof-batch-size", "proof_batch_size", &self.proof_batch_size),
            ("--secure-channels", "secure_channels", &self.secure_channels),
            ("--debug-mode", "debug_mode", &self.debug_mode),
            ("--quote-provider", "quote_provider", &self.quote_provider),
            ("--pcr-policy", "pcr_policy", &self.pcr_policy),
        ]
        .into_iter()
        .filter_map(|(flag, key, value)| {
            Some(FlagValue {
                flag,
                key,
                value: value.clone()?,
            })
        })
        .collect()
    }

    /// The configuration in force, with these flags on top.
    pub fn load(&self, global: &Global) -> Result<Config, Failure> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        let directory = PathBuf::from(DEFAULT_DIRECTORY);
        let sources = Sources {
            file: global.config.clone(),
            directory,
            environment,
            flags: self.given(),
        };
        Config::load(&sources).map_err(Failure::usage)
    }
}

impl ConfigCommand {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let Self::View { resolved, flags } = self;
        let config = flags.load(global)?;
        match (resolved, global.json) {
            (true, false) => output::write(&config.resolved().to_string())?,
            (true, true) => output::line(serde_json::to_string_pretty(&config.resolved())?)?,
            (false, false) => output::write(&config.to_yaml().to_string())?,
            (false, true) => output::line(serde_json::to_string_pretty(&block(&config))?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The specification's block as JSON.
fn block(config: &Config) -> Value {
    let values: Map<String, Value> = config
        .resolved_rows()
        .into_iter()
        .filter_map(|row| Some((row.key.rsplit_once('.')?.1.to_owned(), row.value)))
        .collect();
    json!({ "daas": { "nautilus": values } })
}
