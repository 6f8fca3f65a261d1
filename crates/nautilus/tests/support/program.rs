//! The `nautilus` program, run as a person runs it: arguments in, exit code and text out.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The program under test. Its enclave lies beside it.
pub fn nautilus() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_nautilus"));
    let enclave = program.with_file_name("nautilus-enclave");
    assert!(
        enclave.is_file(),
        "{} is not built: run `cargo build -p nautilus-enclave`",
        enclave.display()
    );
    program
}

/// A command that sees nothing of the tester's own configuration, and that no terminal makes narrow.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"NAUTILUS_") {
            command.env_remove(name);
        }
    }
    command.env_remove("COLUMNS").env_remove("RUST_BACKTRACE");
    command.stdin(Stdio::null());
    command
}

/// `nautilus up` in a data directory, under nobody's configuration, and on a free port unless `more` names one.
pub fn up(data: &Path, more: &[&str]) -> Command {
    let mut up = command(&nautilus());
    up.args(["up", "--config", "/dev/null", "--data-dir"]).arg(data);
    if !more.contains(&"--listen") {
        up.args(["--listen", "127.0.0.1:0"]);
    }
    up.args(more);
    up
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What must hold of every run, whatever it was given: it ends by itself, says why, and does not panic.
    fn is_orderly(&self) {
        assert!((0..=3).contains(&self.code), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }

    /// Asserts an exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Asserts that it failed with `code`, printed nothing, and told why: one line, and causes under it.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.stdout, "", "a failure prints no facts: {self:?}");
        let mut lines = self.stderr.lines();
        let first = lines.next().unwrap_or_default();
        let told = first
            .strip_prefix("nautilus: ")
            .or_else(|| first.strip_prefix("error: "))
            .unwrap_or_default();
        assert!(!told.is_empty(), "{self:?}");
        if first.starts_with("nautilus: ") {
            let stray: Vec<_> = lines
                .filter(|line| !line.starts_with("  because: ") && !line.starts_with("    "))
                .collect();
            assert!(stray.is_empty(), "{stray:?}: {self:?}");
        }
        self.stderr
    }
}

/// Runs the program.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    run_with_input(arguments, b"")
}

/// Runs the program with something on its standard input.
pub fn run_with_input<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, input: &[u8]) -> Ran {
    let mut command = command(&nautilus());
    command.args(arguments);
    finish(command, input)
}

/// Runs a command to its end.
pub fn finish(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that does not want its input closes it early.
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran {
        code: status.code().unwrap_or(-1),
        stdout: text(stdout),
        stderr: text(stderr),
    };
    ran.is_orderly();
    ran
}
