//! Files of lines that survive a kill: a line that is not whole was never written.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

pub struct Log(File);

impl Log {
    /// Gives the whole lines that are there, and takes more.
    pub fn open(path: &Path) -> (Self, Vec<String>) {
        let lines = read(path);
        let whole: usize = lines.iter().map(|line| line.len() + 1).sum();
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.set_len(u64::try_from(whole).unwrap()).unwrap();
        (Self(file), lines)
    }

    /// Is on the disk when it returns.
    pub fn write(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.0.sync_data().unwrap();
    }
}

/// The whole lines of a file; none if it is not there yet.
pub fn read(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}
