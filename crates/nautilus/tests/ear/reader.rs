//! The independent reader: `read-ear` of `interop/ear`, a workspace of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nautilus_core::UnixMillis;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, command, finish, nautilus};

/// Builds the reader, beside what cargo builds for this suite.
fn reader() -> &'static Path {
    static READER: OnceLock<PathBuf> = OnceLock::new();
    READER.get_or_init(|| {
        let program = nautilus();
        let target = program.parent().unwrap().with_file_name("interop");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/ear/Cargo.toml");
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--locked", "--quiet", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&target)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "read-ear cannot be built: {told}");
        target.join("debug/read-ear")
    })
}

/// What the reader makes of a token at a time: the library reads the system's clock, and evidence of which the
/// vendor's endorsements are published is of the past.
pub fn read_at(at: UnixMillis, token: &str, keys: &Path) -> Ran {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("result.jwt");
    fs::write(&path, token).unwrap();
    let mut read = command(Path::new("faketime"));
    read.env("FAKETIME_FMT", "%s")
        .args(["-f", &at.as_secs().to_string()])
        .arg(reader())
        .args([&path, keys]);
    finish(read, b"")
}

/// What the reader reads in a token that it must accept.
#[track_caller]
pub fn accepted_at(at: UnixMillis, token: &str, keys: &Path) -> Value {
    read_at(at, token, keys).ends_with(0).json()
}

/// Asserts that the library refuses a token, and why.
#[track_caller]
pub fn refused_at(at: UnixMillis, token: &str, keys: &Path, why: &str) {
    let ran = read_at(at, token, keys).ends_with(1);
    assert_eq!(ran.stdout, "", "{ran:?}");
    let told = ran.stderr.trim_end();
    assert!(
        told.starts_with("Error: verify error: ") && told.contains(why),
        "{why}: {ran:?}"
    );
}
