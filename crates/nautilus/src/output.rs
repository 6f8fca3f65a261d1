//! Standard output, which may be a full disk or a reader that has left.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

/// Prints a line.
///
/// A reader that has left (`| head`) has what it wants: that is no failure, and the command's exit code stays.
/// Anything else, such as a full disk, is: what was found out is nowhere then.
pub fn line(text: impl Display) -> Result<(), Failure> {
    write(&format!("{text}\n"))
}

/// Lines that are printed together.
#[derive(Default)]
pub struct Text(String);

impl Text {
    /// Adds a line.
    pub fn line(&mut self, line: impl Display) {
        self.0.push_str(&line.to_string());
        self.0.push('\n');
    }

    /// Prints them.
    pub fn print(self) -> Result<(), Failure> {
        write(&self.0)
    }
}

/// Prints text as it is.
pub fn write(text: &str) -> Result<(), Failure> {
    match try_write(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::missing(error).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Prints text, and tells how that went.
pub fn try_write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
