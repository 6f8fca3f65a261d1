//! The quotes and their labels.

use std::fs;
use std::path::{Path, PathBuf};

use nautilus_core::{
    Endorsement, EndorsementKind, Endorsements, RawClaims, TeeKind, TeeVerifier, TrustAnchors, UnixMillis,
    VerifyError,
};
use serde_json::Value;

/// What another verifier said of a quote with one collateral at one time.
pub struct Label {
    pub collateral: String,
    pub now: UnixMillis,
    pub accepted: bool,
    pub detail: String,
}

/// One directory of evidence.
pub struct Vector {
    pub tee: TeeKind,
    pub name: String,
    pub quote: Vec<u8>,
    pub labels: Vec<Label>,
    dir: PathBuf,
}

impl Vector {
    pub fn load(name: &str) -> Self {
        let tee = if name.starts_with("sgx") {
            TeeKind::Sgx
        } else {
            TeeKind::Tdx
        };
        let dir = root().join(tee.as_str()).join(name);
        let read =
            |file: &str| fs::read(dir.join(file)).unwrap_or_else(|error| panic!("{name}/{file}: {error}"));
        let meta: Value = serde_json::from_slice(&read("meta.json")).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let label = |label: &Value| Label {
            collateral: text(&label["collateral"]),
            now: UnixMillis::from_secs(label["now"].as_u64().unwrap()),
            accepted: match label["result"].as_str() {
                Some("OK") => true,
                Some("ERR") => false,
                other => panic!("{name}: label {other:?}"),
            },
            detail: text(&label["detail"]),
        };
        let labels = meta["labels"].as_array().unwrap().iter().map(label).collect();
        let quote = read("quote.bin");
        Self {
            tee,
            name: name.to_owned(),
            quote,
            labels,
            dir,
        }
    }

    pub fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.join(name)).unwrap()
    }

    pub fn collateral(&self, label: &Label) -> Endorsements {
        endorsements(&[(&label.collateral, self.file(&label.collateral))])
    }

    pub fn verify(
        &self,
        quote: &[u8],
        endorsements: &Endorsements,
        now: UnixMillis,
    ) -> Result<RawClaims, VerifyError> {
        verifier(self.tee).verify(quote, endorsements, now)
    }

    /// The quote with its first label's collateral and time.
    pub fn verify_first(&self, quote: &[u8]) -> Result<RawClaims, VerifyError> {
        let label = &self.labels[0];
        self.verify(quote, &self.collateral(label), label.now)
    }
}

/// Every directory with a quote, sorted. A corpus that went missing fails.
pub fn all() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (family, expected) in [("sgx", 8), ("tdx", 13)] {
        let dir = root().join(family);
        let mut names: Vec<String> = fs::read_dir(&dir)
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("quote.bin").is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), expected, "quotes under {}", dir.display());
        vectors.extend(names.iter().map(|name| Vector::load(name)));
    }
    vectors
}

pub fn verifier(tee: TeeKind) -> Box<dyn TeeVerifier> {
    let mut list = nautilus_tee::verifiers(&TrustAnchors::default()).unwrap();
    let index = list
        .iter()
        .position(|verifier| verifier.descriptor().tee == tee)
        .unwrap();
    list.swap_remove(index)
}

pub fn endorsements(documents: &[(&str, Vec<u8>)]) -> Endorsements {
    let endorsement = |(origin, bytes): &(&str, Vec<u8>)| Endorsement {
        kind: EndorsementKind::DcapCollateral,
        bytes: bytes.clone(),
        origin: (*origin).to_owned(),
    };
    Endorsements(documents.iter().map(endorsement).collect())
}

/// A collateral document with one of its fields changed.
pub fn with_field(document: &[u8], field: &str, change: impl FnOnce(&str) -> String) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(document).unwrap();
    let changed = change(json[field].as_str().unwrap());
    json[field] = Value::String(changed);
    serde_json::to_vec(&json).unwrap()
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}
