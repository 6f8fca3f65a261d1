//! The reference: sev-snp-measure of PyPI, in a Python environment of this suite's own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What is compared with. Newer ones may know other processors.
const PINNED: [&str; 2] = ["sev-snp-measure==0.0.13", "cryptography==44.0.0"];

/// Reads guests as JSON, a line each, and answers with measurements, a line each.
const DRIVER: &str = r#"
import json, sys
from sevsnpmeasure import guest, vcpu_types
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vmm_types import VMMType

for line in sys.stdin:
    case = json.loads(line)
    print(guest.calc_launch_digest(
        SevMode.SEV_SNP, case["vcpus"], vcpu_types.CPU_SIGS[case["type"]], case["firmware"], case["kernel"],
        case["initrd"], case["cmdline"], case["features"], vmm_type=VMMType[case["vmm"]]).hex())
"#;

/// An environment with the tool, which is kept for the next run.
pub fn python() -> PathBuf {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sev-snp-measure");
    let python = environment.join("bin/python");
    let marker = environment.join("installed");
    if std::fs::read_to_string(&marker).is_ok_and(|found| found == PINNED.join("\n")) {
        return python;
    }
    done(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    );
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    done(pip.args(PINNED));
    std::fs::write(&marker, PINNED.join("\n")).unwrap();
    python
}

/// The tool's measurements of guests, in their order.
pub fn measurements(python: &Path, cases: &[Value]) -> Vec<String> {
    let mut child = Command::new(python)
        .args(["-c", DRIVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn done(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
}
