//! Failures and their exit codes.

use std::fmt::Display;
use std::process::ExitCode;

/// Exit code 1: evidence, a proof or a ledger was checked and rejected.
pub const REJECTED: u8 = 1;
/// Exit code 2: the command line or the configuration is wrong.
pub const USAGE: u8 = 2;
/// Exit code 3: something outside is missing, such as a device, a service or a file.
pub const MISSING: u8 = 3;

/// An error on its way to the user, with its exit code.
pub struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// Something was checked and rejected.
    pub fn rejected(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: REJECTED,
            error: error.into(),
        }
    }

    /// Wrong usage or configuration.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: USAGE,
            error: error.into(),
        }
    }

    /// Something outside is missing.
    pub fn missing(error: impl Into<anyhow::Error>) -> Self {
        Self {
            code: MISSING,
            error: error.into(),
        }
    }

    /// The same failure with what was being done in front.
    pub fn context(self, doing: impl Display + Send + Sync + 'static) -> Self {
        Self {
            code: self.code,
            error: self.error.context(doing),
        }
    }

    /// The exit code.
    pub const fn code(&self) -> u8 {
        self.code
    }

    /// What failed, and why, outermost first.
    pub fn causes(&self) -> Vec<String> {
        self.error.chain().map(ToString::to_string).collect()
    }

    /// Tells the user and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("nautilus: {}", printable(&self.error.to_string()));
        for cause in self.error.chain().skip(1) {
            // Some causes show the place in a file, over several lines.
            let cause = cause.to_string();
            let lines: Vec<_> = cause.lines().map(printable).collect();
            eprintln!("  because: {}", lines.join("\n    "));
        }
        ExitCode::from(self.code)
    }
}

/// Text that may quote hostile input, with its control characters written out, those that turn the direction of
/// writing among them: evidence must not move the cursor over the verdict on it.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        let turns =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Most errors are of the outside: files, sockets, devices.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::missing(error)
    }
}
