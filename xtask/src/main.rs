//! Checks that the compiler does not make: `cargo xtask tidy`.

mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["tidy"] => tidy::run(),
        _ => bail!("usage: cargo xtask tidy"),
    }
}
