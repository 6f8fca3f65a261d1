//! The reports and their labels.

use std::fs;
use std::path::{Path, PathBuf};

use nautilus_core::{
    Endorsement, EndorsementKind, Endorsements, RawClaims, TeeVerifier, UnixMillis, VerifyError,
};
use nautilus_tee::sev_snp::Verifier;
use serde_json::Value;

/// 2026-06-01, when all of the VCEKs are valid.
const JUNE_2026: UnixMillis = UnixMillis::from_secs(1_780_272_000);
/// 2025-06-01, when the VLEK is.
const JUNE_2025: UnixMillis = UnixMillis::from_secs(1_748_736_000);

/// One directory of evidence.
pub struct Vector {
    pub name: String,
    pub report: Vec<u8>,
    pub vek: Vec<u8>,
    pub meta: Value,
}

impl Vector {
    pub fn load(name: &str) -> Self {
        let read = |file: &str| read(&format!("{name}/{file}"));
        Self {
            name: name.to_owned(),
            report: read("report.bin"),
            vek: read("vek.der"),
            meta: serde_json::from_slice(&read("meta.json")).unwrap(),
        }
    }

    pub fn now(&self) -> UnixMillis {
        if self.name.contains("vlek") {
            JUNE_2025
        } else {
            JUNE_2026
        }
    }

    pub fn endorsements(&self) -> Endorsements {
        certificates(&[("vek.der", &self.vek)])
    }

    pub fn verify(&self, report: &[u8]) -> Result<RawClaims, VerifyError> {
        Verifier::amd().verify(report, &self.endorsements(), self.now())
    }
}

/// Every directory with a report, sorted. A corpus that went missing fails.
pub fn all() -> Vec<Vector> {
    let dir = root();
    let mut names: Vec<String> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("report.bin").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 12, "reports under {}", dir.display());
    names.iter().map(|name| Vector::load(name)).collect()
}

pub fn read(path: &str) -> Vec<u8> {
    fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/snp")
}

pub fn certificates(documents: &[(&str, &[u8])]) -> Endorsements {
    let endorsement = |(origin, bytes): &(&str, &[u8])| Endorsement {
        kind: EndorsementKind::Certificate,
        bytes: bytes.to_vec(),
        origin: (*origin).to_owned(),
    };
    Endorsements(documents.iter().map(endorsement).collect())
}

/// The name of an error's variant and what it says, for messages that tests look into.
#[track_caller]
pub fn says(error: &VerifyError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}
