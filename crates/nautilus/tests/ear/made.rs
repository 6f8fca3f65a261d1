//! Results that the program signs.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nautilus_core::UnixMillis;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::run;

/// A verifier's data directory, and its published keys.
pub struct Verifier {
    data: TempDir,
}

/// A result, and what the program said of the same evidence.
pub struct Made {
    pub token: String,
    /// What `nautilus verify --json` printed.
    pub report: Value,
    /// As `nautilus policy check` gives them.
    pub policy_name: String,
    pub policy_id: String,
    /// When the evidence was appraised.
    pub at: UnixMillis,
}

/// How the program ends, by verdict.
pub const ACCEPTED: i32 = 0;
pub const REJECTED: i32 = 1;

impl Verifier {
    pub fn new() -> Self {
        Self {
            data: TempDir::new().unwrap(),
        }
    }

    /// The result for a real quote of a TDX machine, by a policy that was made of it and then changed.
    #[track_caller]
    pub fn appraises(&self, change: impl FnOnce(String) -> String, ends_with: i32) -> Made {
        let quote = Quote::up_to_date();
        let policy = self.path("policy.yaml");
        let pinned = quote.run(&["policy", "new", "-o", "-", "--from"], &[]);
        fs::write(&policy, change(pinned.ends_with(0).stdout)).unwrap();
        let checked = run(["policy", "check", "--json", text(&policy)])
            .ends_with(0)
            .json();

        // What its caller had it sign.
        let genuine = quote.run(&["verify", "--json"], &[]).ends_with(0).json();
        let report_data = genuine["claims"]["report_data"].as_str().unwrap();
        let result = self.path("result.jwt");
        let by = [
            "--policy",
            text(&policy),
            "--report-data",
            report_data,
            "--ear",
            text(&result),
            "--data-dir",
            text(self.data.path()),
        ];
        let report = quote.run(&["verify", "--json"], &by).ends_with(ends_with).json();
        Made {
            token: fs::read_to_string(&result).unwrap(),
            report,
            policy_name: checked[0]["name"].as_str().unwrap().to_owned(),
            policy_id: checked[0]["id"].as_str().unwrap().to_owned(),
            at: quote.at,
        }
    }

    /// The file of its published keys. It has some once it has signed.
    #[track_caller]
    pub fn keys(&self) -> PathBuf {
        let data = text(self.data.path());
        let printed = run(["policy", "ear-keys", "--data-dir", data]).ends_with(0);
        let path = self.path("keys.json");
        fs::write(&path, printed.stdout).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }
}

impl Made {
    /// Header, claims and signature, decoded.
    pub fn parts(&self) -> [Vec<u8>; 3] {
        let parts: Vec<_> = self.token.split('.').map(decoded).collect();
        parts.try_into().unwrap()
    }

    /// The claims that were signed.
    pub fn claims(&self) -> Value {
        let [_, claims, _] = self.parts();
        serde_json::from_slice(&claims).unwrap()
    }
}

/// A compact JWS of these parts.
pub fn token_of(parts: &[Vec<u8>; 3]) -> String {
    parts
        .each_ref()
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

pub fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// A quote with collateral, and a time at which both are good.
struct Quote {
    quote: PathBuf,
    collateral: PathBuf,
    at: UnixMillis,
}

impl Quote {
    /// Of a platform that lacked nothing.
    fn up_to_date() -> Self {
        let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
        let directory = vectors.join("tdx/tdx-v4-azure-uptodate");
        let meta: Value = serde_json::from_slice(&fs::read(directory.join("meta.json")).unwrap()).unwrap();
        let label = &meta["labels"][0];
        Self {
            quote: directory.join("quote.bin"),
            collateral: directory.join(label["collateral"].as_str().unwrap()),
            at: UnixMillis::from_secs(label["now"].as_u64().unwrap()),
        }
    }

    /// Runs a command on it.
    fn run(&self, command: &[&str], more: &[&str]) -> crate::program::Ran {
        let at = self.at.to_string();
        let quote = [
            text(&self.quote),
            "--endorsements",
            text(&self.collateral),
            "--at",
            &at,
        ];
        run(command.iter().chain(&quote).chain(more))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
