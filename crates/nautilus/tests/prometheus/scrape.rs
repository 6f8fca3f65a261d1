//! A node that really runs, scraped by a real Prometheus that has our alerts and is asked as our dashboard asks.

use std::collections::BTreeMap;
use std::time::Duration;

use nautilus_monitor::openmetrics::Format;
use serde_json::Value;
use tempfile::TempDir;

use crate::dashboard::{Question, questions};
use crate::names;
use crate::node::{Node, eventually};
use crate::server::Prometheus;
use crate::tools::{accept, check_plain, read_openmetrics};

#[test]
fn a_real_prometheus_scrapes_a_node() {
    let data = TempDir::new().unwrap();
    let mut node = Node::start(data.path(), &[]);
    let url = node.url();
    node.next("settled");
    let exposed = the_exposition_holds(&url);
    names::are_those_of_the_program(&exposed);

    let tsdb = TempDir::new().unwrap();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let prometheus = Prometheus::start(tsdb.path(), Some(address));
    prometheus.until("up{job=\"nautilus\"} == 1");
    prometheus.until("nautilus_node_attested == 1");
    it_is_scraped_as_openmetrics(&prometheus);
    the_rules_are_judged(&prometheus);
    every_panel_has_data(&prometheus, &exposed);

    node.interrupt();
    node.ended_soon().is_orderly();
    // What is away is noticed.
    prometheus.until("up{job=\"nautilus\"} == 0");
    prometheus.until("ALERTS{alertname=\"NautilusAgentDown\", alertstate=\"pending\"}");
}

/// Both formats, as others read them. Gives the kinds of families by their names.
fn the_exposition_holds(url: &str) -> BTreeMap<String, String> {
    check_plain(&scrape(url, Format::PlainText));
    let samples = read_openmetrics(&scrape(url, Format::OpenMetrics));
    let value = |name: &str| {
        let sample = samples.iter().find(|sample| sample["name"] == name);
        sample.unwrap_or_else(|| panic!("no {name} is exposed"))["value"].as_f64()
    };
    assert_eq!(value("nautilus_node_attested"), Some(1.0));
    assert_eq!(value("nautilus_build_info"), Some(1.0));
    assert_eq!(value("nautilus_exposition_refused_points"), Some(0.0));
    let kind = |sample: &Value| {
        let text = |field: &str| sample[field].as_str().unwrap().to_owned();
        // An info metric is known by the name of its sample.
        let name = if sample["type"] == "info" {
            "name"
        } else {
            "family"
        };
        (text(name), text("type"))
    };
    samples.iter().map(kind).collect()
}

fn scrape(url: &str, format: Format) -> String {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .build();
    let client: ureq::Agent = config.into();
    let at = format!("{}/metrics", url.trim_end_matches('/'));
    let mut answer = client.get(at).header("Accept", accept(format)).call().unwrap();
    let content_type = answer.headers().get("content-type").unwrap();
    assert_eq!(content_type.to_str().unwrap(), format.content_type());
    answer.body_mut().read_to_string().unwrap()
}

/// Units travel in no other format.
fn it_is_scraped_as_openmetrics(prometheus: &Prometheus) {
    let asked = [("metric", "nautilus_cpu_usage_ratio")];
    let metadata = prometheus.api("targets/metadata", &asked);
    assert_eq!(metadata[0]["type"], "gauge", "{metadata}");
    assert_eq!(metadata[0]["unit"], "ratio", "{metadata}");
    let targets = prometheus.api("targets", &[]);
    assert_eq!(targets["activeTargets"][0]["lastError"], "", "{targets}");
}

fn the_rules_are_judged(prometheus: &Prometheus) {
    let mut rules = Vec::new();
    eventually("every rule is judged", || {
        let groups = prometheus.api("rules", &[]);
        let groups = groups["groups"].as_array().unwrap();
        rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect();
        !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown")
    });
    assert!(rules.len() > 8, "{rules:?}");
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let firing: Vec<&Value> = rules.iter().filter(|rule| rule["state"] == "firing").collect();
    let quiet = |name: &str| firing.iter().all(|rule| rule["name"] != name);
    for alert in [
        "NautilusAgentDown",
        "NautilusNotAttested",
        "NautilusCollectorDown",
    ] {
        assert!(quiet(alert), "{firing:?}");
    }
}

/// Every panel has data, but for those of containers and peers where there are none.
fn every_panel_has_data(prometheus: &Prometheus, exposed: &BTreeMap<String, String>) {
    let mut absent = names::may_be_absent();
    absent.retain(|family| !exposed.contains_key(family));
    for Question { expression, .. } in questions() {
        let asked = names::named(&expression);
        let empty = asked.iter().any(|name| names::family(name, &absent).is_some());
        if empty {
            prometheus.query(&expression);
        } else {
            prometheus.until(&expression);
        }
    }
}
