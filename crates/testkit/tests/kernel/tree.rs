//! A tree that gives back what is written, and programs that look at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::mpsc::Sender;

use nautilus_testkit::kernel::{Errno, FakeTree, NEVER};

/// Where it is in tests.
pub const TREE: &str = "/sys/kernel/config/mirror/report";

/// A tree in which each directory has `in`, `out`, which is `in` backwards, and `stuck`, which never answers.
#[derive(Default)]
pub struct Mirror {
    written: BTreeMap<String, Vec<u8>>,
    asked: Option<Sender<()>>,
}

impl Mirror {
    /// One that tells when it is asked for what it never answers.
    pub fn telling(asked: Sender<()>) -> Self {
        Self {
            asked: Some(asked),
            ..Self::default()
        }
    }
}

impl FakeTree for Mirror {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        let (directory, name) = path.split_once('/').ok_or(Errno::NOENT)?;
        if name == "stuck" {
            if let Some(asked) = &self.asked {
                asked.send(()).unwrap();
            }
            return Err(NEVER);
        }
        let mut bytes = self.written.get(directory).ok_or(Errno::NOENT)?.clone();
        bytes.reverse();
        if bytes.is_empty() {
            Err(Errno::BUSY)
        } else {
            Ok(bytes)
        }
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let (directory, name) = path.split_once('/').ok_or(Errno::NOENT)?;
        if name != "in" {
            return Err(Errno::ACCESS);
        }
        if bytes.len() > 64 {
            return Err(Errno::INVAL);
        }
        self.written.insert(directory.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn make_directory(&mut self, path: &str) -> Result<(), Errno> {
        if path.contains('/') {
            return Err(Errno::PERM);
        }
        self.written.insert(path.to_owned(), Vec::new());
        Ok(())
    }

    fn remove_directory(&mut self, path: &str) -> Result<(), Errno> {
        self.written.remove(path).map(drop).ok_or(Errno::NOENT)
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        if path.is_empty() {
            return Some(self.written.keys().cloned().collect());
        }
        self.written.get(path)?;
        Some(["in", "out", "stuck"].map(str::to_owned).to_vec())
    }
}

/// Whether a program was content, what it said, and what it complained of.
pub fn output(program: &str, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The names in a directory.
pub fn names(path: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(path).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
