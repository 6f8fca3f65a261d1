//! The files in `deploy/`, as `promtool` judges them, and that they agree with each other.

use std::collections::BTreeSet;

use crate::tools::{deployed, promtool, root};

fn path(file: &str) -> String {
    root().join("deploy/prometheus").join(file).display().to_string()
}

#[test]
fn promtool_takes_configuration_and_rules() {
    let said = promtool(["check", "config", &path("prometheus.yml")], "");
    assert!(said.contains("rule files found"), "{said}");
    let lints = ["check", "rules", "--lint=all", "--lint-fatal"];
    let said = promtool(lints.iter().copied().chain([path("rules.yml").as_str()]), "");
    assert!(said.contains("rules found"), "{said}");
}

#[test]
fn each_alert_does_as_its_test_says() {
    let named = |file: &str, key: &str| -> BTreeSet<String> {
        let text = deployed(file);
        let names = text.lines().filter_map(|line| line.split_once(key));
        names.map(|(_, name)| name.trim().to_owned()).collect()
    };
    let alerts = named("prometheus/rules.yml", "- alert:");
    assert!(alerts.len() > 8, "{alerts:?}");
    assert_eq!(named("prometheus/rules_test.yml", "- alertname:"), alerts);
    promtool(["test", "rules", &path("rules_test.yml")], "");
}

#[test]
fn the_operators_rules_are_the_same() {
    let rules = deployed("prometheus/rules.yml");
    let groups = rules.find("\ngroups:").unwrap() + 1;
    let indented: String = rules[groups..]
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    let resource = deployed("kubernetes/prometheusrule.yaml");
    let (head, spec) = resource.split_once("\nspec:\n").unwrap();
    assert!(
        spec == indented,
        "deploy/kubernetes/prometheusrule.yaml is not as rules.yml: run the commands in its head:\n{head}"
    );
}

#[test]
fn the_operator_calls_the_job_as_the_alerts_do() {
    let monitor = deployed("kubernetes/podmonitor.yaml");
    assert!(
        monitor.contains("- targetLabel: job\n          replacement: nautilus\n"),
        "{monitor}"
    );
    let example = deployed("prometheus/prometheus.yml");
    assert!(example.contains("- job_name: nautilus\n"), "{example}");
}
