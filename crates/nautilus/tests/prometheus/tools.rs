//! Programs of other people, which judge what we write. `scripts/tools.sh` unpacks them.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nautilus_monitor::openmetrics::Format;
use serde_json::Value;

/// Prints each sample of an OpenMetrics text, as the reference library of its makers reads it, as a line of JSON.
const READ_OPENMETRICS: &str = r#"
import json, sys
from prometheus_client.openmetrics import parser
for family in parser.text_fd_to_metric_families(sys.stdin):
    for sample in family.samples:
        print(json.dumps({"family": family.name, "type": family.type, "unit": family.unit,
                          "help": family.documentation, "name": sample.name, "labels": sample.labels,
                          "value": float(sample.value)}))
"#;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of `deploy/`.
pub fn deployed(path: &str) -> String {
    let path = root().join("deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `scripts/tools.sh` unpacked, by its path there.
pub fn tool(path: &str) -> PathBuf {
    let tools = std::env::var_os("NAUTILUS_TOOLS").unwrap_or_else(|| "target/tools".into());
    let tool = root().join(tools).join(path);
    assert!(
        tool.exists(),
        "{} is missing: run `scripts/setup.sh test`, which unpacks it",
        tool.display()
    );
    tool
}

/// Runs `promtool`, which must succeed, and gives what it printed.
#[track_caller]
pub fn promtool<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, input: &str) -> String {
    let mut command = Command::new(tool("usr/bin/promtool"));
    command.args(arguments);
    succeeds(command, input)
}

/// Has `promtool` judge an exposition in the older format, its names too.
#[track_caller]
pub fn check_plain(text: &str) {
    let said = promtool(["check", "metrics"], text);
    assert_eq!(said, "", "promtool found something in {text}");
}

/// Reads an exposition in the newer format with the reference library, which takes no faults. One object a sample.
#[track_caller]
pub fn read_openmetrics(text: &str) -> Vec<Value> {
    let mut python = Command::new("python3");
    python
        .env("PYTHONPATH", tool("usr/lib/python3/dist-packages"))
        .args(["-c", READ_OPENMETRICS]);
    let lines = succeeds(python, text);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The `Accept` header that asks for a format alone.
pub const fn accept(format: Format) -> &'static str {
    match format {
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0",
        Format::PlainText => "text/plain; version=0.0.4",
    }
}

/// Runs a command to its end with `input`, and asserts that it succeeds.
#[track_caller]
fn succeeds(mut command: Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that does not want its input closes it early, and then says why.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout
}
