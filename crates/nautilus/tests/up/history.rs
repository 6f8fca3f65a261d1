//! What a node measured is there when it comes again, whatever ended it.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::node::Node;
use crate::program::{command, nautilus};

/// Times that the node is killed.
const KILLS: usize = 3;
const SERIES: &str = "nautilus_cpu_usage_ratio";

fn metrics(node: &mut Node, arguments: &[&str]) -> Output {
    let url = node.url();
    command(&nautilus())
        .args(["agent", "metrics"])
        .args(arguments)
        .args(["--url", url.trim_end_matches('/')])
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Times of samples that are kept, in milliseconds, and the answer that has them.
fn kept(node: &mut Node) -> (Vec<u64>, Value) {
    let asked = ["query", SERIES, "--resolution", "raw", "--last", "1h", "--json"];
    let answer: Value = serde_json::from_str(&text(&metrics(node, &asked))).unwrap();
    let points = answer["series"][0]["points"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    (
        points.iter().map(|point| point[0].as_u64().unwrap()).collect(),
        answer,
    )
}

fn millis(at: &Value) -> u64 {
    let at: nautilus_core::UnixMillis = at.as_str().unwrap().parse().unwrap();
    at.0
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let data = TempDir::new().unwrap();
    let pace = ["--interval", "100ms", "--window", "500ms"];
    let mut acknowledged = Vec::new();
    for _ in 0..KILLS {
        let mut node = Node::start(data.path(), &pace);
        for _ in 0..3 {
            node.next("stored");
        }
        let ended = node.kill();
        let boot = ended.of("sample");
        for stored in ended.of("stored") {
            let (first, count) = (
                stored["first"].as_u64().unwrap(),
                stored["count"].as_u64().unwrap(),
            );
            let samples = boot
                .iter()
                .filter(|sample| (first..first + count).contains(&sample["sequence"].as_u64().unwrap()));
            acknowledged.extend(samples.map(|sample| millis(&sample["measurement"]["at"])));
        }
    }
    let mut node = Node::start(data.path(), &pace);
    node.next("stored");
    let (kept, answer) = kept(&mut node);
    let lost: Vec<_> = acknowledged.iter().filter(|at| !kept.contains(at)).collect();
    assert!(
        acknowledged.len() >= 3 * KILLS && lost.is_empty(),
        "{lost:?} of {acknowledged:?} in {kept:?}"
    );
    assert!(kept.is_sorted(), "{kept:?}");
    let faults = answer["faults"].as_array().unwrap();
    assert!(faults.is_empty(), "{faults:?}");

    // As a person asks.
    let listed = text(&metrics(&mut node, &["series"]));
    assert!(listed.lines().any(|line| line == SERIES), "{listed}");
    let told = text(&metrics(&mut node, &["query", SERIES, "--last", "1h"]));
    assert!(told.starts_with(SERIES) && told.lines().count() > 3, "{told}");
    let csv = text(&metrics(&mut node, &["export", SERIES, "--last", "1h"]));
    let rows = csv.lines().filter(|line| line.contains(SERIES)).count();
    assert!(
        csv.starts_with("series,timestamp,value\r\n") && rows >= acknowledged.len(),
        "{csv}"
    );
    let now: Value = serde_json::from_str(&text(&metrics(&mut node, &["now"]))).unwrap();
    assert!(now["system_metrics"]["cpu_usage"].is_number(), "{now}");
    let wrong = metrics(&mut node, &["query", "no such {"]);
    assert_eq!(wrong.status.code(), Some(3), "{wrong:?}");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("does not select series"), "{said}");
    node.interrupt();
    node.ended_soon().is_orderly();
}
