//! `nautilus config`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use nautilus_agent::config::{Config, DEFAULT_DIRECTORY, FlagValue, Sources};

use crate::cli::Global;
use crate::failure::Failure;

/// Show the configuration.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print the configuration in force
    View {
        /// Say of each value where it came from
        #[arg(long)]
        resolved: bool,
    },
}

impl ConfigCommand {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let Self::View { resolved } = self;
        let config = load(global, Vec::new())?;
        match (resolved, global.json) {
            (true, false) => print!("{}", config.resolved()),
            (true, true) => println!("{}", serde_json::to_string_pretty(&config.resolved())?),
            (false, _) => print!("{}", config.to_yaml()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The configuration in force, with these flags on top.
pub fn load(global: &Global, flags: Vec<FlagValue>) -> Result<Config, Failure> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    let directory = PathBuf::from(DEFAULT_DIRECTORY);
    let sources = Sources {
        file: global.config.clone(),
        directory,
        environment,
        flags,
    };
    Config::load(&sources).map_err(Failure::usage)
}
