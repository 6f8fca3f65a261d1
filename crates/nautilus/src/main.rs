//! `nautilus`: the command line and the composition root. No logic of its own.

mod cli;
mod command;
mod failure;
mod input;
mod output;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
