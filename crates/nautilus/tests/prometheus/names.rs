//! Names of metrics in files that people use must be names that the program has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nautilus_monitor::data::{container, custom, network, security, system};
use nautilus_monitor::{MetricKind, openmetrics};

use crate::tools::root;

/// Suffixes by which one family has several names in expressions.
const SUFFIXES: [&str; 5] = ["_total", "_bucket", "_count", "_sum", "_info"];

const OF_PEERS: [&str; 3] = [
    "nautilus_peer_latency_seconds",
    "nautilus_peer_up",
    "nautilus_response_time_seconds",
];

/// Files that name metrics.
const FILES: [&str; 6] = [
    "deploy/grafana/nautilus.json",
    "deploy/prometheus/rules.yml",
    "deploy/prometheus/rules_test.yml",
    "deploy/prometheus/prometheus.yml",
    "deploy/kubernetes/podmonitor.yaml",
    "docs/monitoring.md",
];

/// Families that a machine without containers, or without peers to ask, has no series of.
pub fn may_be_absent() -> BTreeSet<String> {
    let containers = container::FAMILIES.iter().map(|family| family.name.as_ref());
    let families = containers.chain(OF_PEERS);
    families.map(str::to_owned).collect()
}

/// What is measured by some node, by name and kind.
fn measured() -> BTreeMap<String, String> {
    let parts = [
        container::FAMILIES,
        custom::FAMILIES,
        network::FAMILIES,
        security::FAMILIES,
        system::FAMILIES,
        openmetrics::FAMILIES,
    ];
    let kind = |kind| match kind {
        MetricKind::Gauge => "gauge".to_owned(),
        MetricKind::Counter => "counter".to_owned(),
    };
    let families = parts.into_iter().flatten();
    families
        .map(|family| (family.name.clone().into_owned(), kind(family.kind)))
        .collect()
}

/// The family that a name in an expression is of.
pub fn family(name: &str, known: &BTreeSet<String>) -> Option<String> {
    if known.contains(name) {
        return Some(name.to_owned());
    }
    let mut bases = SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix));
    bases.find(|base| known.contains(*base)).map(str::to_owned)
}

/// The metrics that a text names.
pub fn named(text: &str) -> BTreeSet<String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = text.split(|character| !is_name(character));
    words
        .filter(|word| word.starts_with("nautilus_") && !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

/// Asserts that every metric named in [`FILES`] is of a family in `exposed`, which has kinds by names, or of one that
/// some node measures; and that the documentation has a row for each of them.
pub fn are_those_of_the_program(exposed: &BTreeMap<String, String>) {
    let mut families = measured();
    families.extend(exposed.clone());
    let known: BTreeSet<String> = families.keys().cloned().collect();
    let mut unknown = Vec::new();
    for file in FILES {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let names = named(&text).into_iter();
        unknown.extend(
            names
                .filter(|name| family(name, &known).is_none())
                .map(|name| format!("{name} in {file}")),
        );
    }
    assert!(unknown.is_empty(), "no such metrics: {unknown:#?}");

    let documentation = fs::read_to_string(root().join("docs/monitoring.md")).unwrap();
    let mut rows = families.iter().map(|(name, kind)| {
        let suffix = if kind == "counter" { "_total" } else { "" };
        format!("\n| `{name}{suffix}` | {kind} | ")
    });
    let missing: Vec<_> = rows.by_ref().filter(|row| !documentation.contains(row)).collect();
    assert!(
        missing.is_empty(),
        "docs/monitoring.md has no rows that begin so: {missing:#?}"
    );
}

#[test]
fn every_file_with_names_is_looked_at() {
    let mut found = Vec::new();
    for folder in ["deploy/grafana", "deploy/prometheus", "deploy/kubernetes"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            found.push(Path::new(folder).join(name).display().to_string());
        }
    }
    found.retain(|file| !FILES.contains(&file.as_str()));
    // It is as rules.yml, which another test holds.
    assert_eq!(found, ["deploy/kubernetes/prometheusrule.yaml"]);
}
