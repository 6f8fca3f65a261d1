//! The dashboard in `deploy/grafana`: its shape, and its expressions.

use std::collections::BTreeSet;

use serde_json::Value;
use tempfile::TempDir;

use crate::server::Prometheus;
use crate::tools::deployed;

/// What a panel asks.
pub struct Question {
    pub panel: String,
    /// As Grafana sends it, with its variables filled in.
    pub expression: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&deployed("grafana/nautilus.json")).unwrap()
}

/// Every expression of the dashboard.
pub fn questions() -> Vec<Question> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_panel = |panel: &Value| -> Vec<Question> {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let question = |target: &Value| Question {
            panel: panel["title"].as_str().unwrap().to_owned(),
            expression: target["expr"]
                .as_str()
                .unwrap()
                .replace("$instance", ".*")
                .replace("$__rate_interval", "1m"),
        };
        targets.iter().map(question).collect()
    };
    panels.iter().flat_map(of_panel).collect()
}

#[test]
fn it_is_whole() {
    let dashboard = dashboard();
    let variables: Vec<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    let names: Vec<_> = variables
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["datasource", "instance"]);
    assert_eq!(variables[0]["type"], "datasource");
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "the id of {title} is taken"
        );
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title} is too wide");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(cells.insert((x, y)), "{title} lies over another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} asks nothing");
        for asked in targets.iter().chain([panel]) {
            assert_eq!(asked["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn prometheus_understands_each_question() {
    let data = TempDir::new().unwrap();
    let prometheus = Prometheus::start(data.path(), None);
    let questions = questions();
    assert!(questions.len() > 40, "{}", questions.len());
    for Question { panel, expression } in questions {
        assert!(
            !expression.contains('$'),
            "{panel}: no value for a variable of {expression}"
        );
        let answer = prometheus.query(&expression);
        assert_eq!(answer, Vec::<Value>::new(), "{panel}: data of nobody");
    }
}
