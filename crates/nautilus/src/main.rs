//! `nautilus`: the command line and the composition root. No logic of its own.

mod cli;
mod command;
mod failure;
mod input;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    end_quietly_when_nobody_reads();
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// `nautilus … | head` must end quietly: Rust ignores SIGPIPE, and then printing panics.
fn end_quietly_when_nobody_reads() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or_default();
        if message.starts_with("failed printing to stdout") {
            std::process::exit(0);
        }
        default(info);
    }));
}
