//! The file, and what the code makes of the same examples.

use std::collections::BTreeSet;
use std::fs;
use std::iter::successors;
use std::path::Path;

use nautilus_core::Kind;
use serde_json::Value;

use crate::examples;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/wire/messages.json");

/// The golden file.
pub fn golden() -> Value {
    serde_json::from_slice(&fs::read(FILE).unwrap()).unwrap()
}

/// The golden bytes of example number `index` of a kind.
pub fn bytes(name: &str, index: usize) -> Vec<u8> {
    unhex(text(&message(name, index)["bytes"]))
}

/// Example number `index` of a kind.
pub fn message(name: &str, index: usize) -> Value {
    let golden = golden();
    let mut examples = golden["messages"].as_array().unwrap().iter();
    let example = examples.by_ref().filter(|one| one["name"] == name).nth(index);
    example
        .unwrap_or_else(|| panic!("no example {index} of {name}"))
        .clone()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The kind that follows in the order of their numbers. A new kind does not compile until it has its place
/// here, and does not pass until it has an example.
const fn after(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Challenge => Some(Kind::UserData),
        Kind::UserData => Some(Kind::Evidence),
        Kind::Evidence => Some(Kind::Registration),
        Kind::Registration => Some(Kind::Sample),
        Kind::Sample => Some(Kind::Window),
        Kind::Window => Some(Kind::Proof),
        Kind::Proof => Some(Kind::AppraisalRecord),
        Kind::AppraisalRecord => Some(Kind::Claim),
        Kind::Claim => Some(Kind::LedgerEntry),
        Kind::LedgerEntry => Some(Kind::LedgerState),
        Kind::LedgerState => Some(Kind::NodeName),
        Kind::NodeName => Some(Kind::Policy),
        Kind::Policy => Some(Kind::EnclaveKey),
        Kind::EnclaveKey => Some(Kind::KeyRotation),
        Kind::KeyRotation => Some(Kind::AttestationResponse),
        Kind::AttestationResponse => Some(Kind::Session),
        Kind::Session => Some(Kind::SampleBatch),
        Kind::SampleBatch => Some(Kind::Readings),
        Kind::Readings => None,
    }
}

#[test]
fn the_code_makes_the_golden_bytes() {
    let made = examples::document();
    if made == golden() {
        return;
    }
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages.json");
    let mut text = serde_json::to_string_pretty(&made).unwrap();
    text.push('\n');
    fs::write(&new, text).unwrap();
    panic!(
        "the code makes other bytes than {FILE}. A change of a signed byte is a new version of the header: \
         change docs/wire.md first, then take {} over",
        new.display()
    );
}

#[test]
fn every_kind_has_an_example() {
    let kinds: Vec<Kind> = successors(Some(Kind::Challenge), |kind| after(*kind)).collect();
    for (index, kind) in kinds.iter().enumerate() {
        assert_eq!(*kind as usize, index + 1, "{kind:?}");
    }
    let expected: BTreeSet<(u64, String)> = kinds
        .iter()
        .map(|kind| (*kind as u64, format!("{kind:?}")))
        .collect();
    let golden = golden();
    let found: BTreeSet<(u64, String)> = golden["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["kind"].as_u64().unwrap(), text(&one["name"]).to_owned()))
        .collect();
    assert_eq!(found, expected);
}
