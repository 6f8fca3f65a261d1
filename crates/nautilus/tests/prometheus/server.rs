//! A real Prometheus with a data directory of its own.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::node::PATIENCE;
use crate::tools::{root, tool};

/// How often what it is to know is looked for.
const POLL: Duration = Duration::from_millis(100);

/// A running Prometheus, which scrapes and judges every second. Dropping it ends it.
pub struct Prometheus {
    process: Child,
    base: String,
    agent: ureq::Agent,
}

impl Prometheus {
    /// Starts it on a free port with the rules in `deploy/`, and waits until it is ready. `target` is the `HOST:PORT` of
    /// a node.
    pub fn start(data: &Path, target: Option<&str>) -> Self {
        let rules = root().join("deploy/prometheus/rules.yml").canonicalize().unwrap();
        let targets = target.map(|target| format!("{target:?}")).unwrap_or_default();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs: [{{job_name: nautilus, static_configs: [{{targets: [{targets}]}}]}}]\n"
        );
        let file = data.join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(data.join("log")).unwrap();
        // Another program may take the port before Prometheus does: then it ends, and is given another.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let process = Command::new(tool("usr/bin/prometheus"))
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", data.join("tsdb").display()))
                .arg(format!("--web.listen-address={address}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log.try_clone().unwrap())
                .spawn()
                .unwrap();
            let config = ureq::Agent::config_builder()
                .timeout_global(Some(Duration::from_secs(10)))
                .http_status_as_error(false)
                .build();
            let mut this = Self {
                process,
                base: format!("http://{address}"),
                agent: config.into(),
            };
            if this.becomes_ready() {
                return this;
            }
        }
        let log = fs::read_to_string(data.join("log")).unwrap();
        panic!("prometheus does not start: {log}");
    }

    /// Waits until it is ready. False if it ended.
    fn becomes_ready(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while self.process.try_wait().unwrap().is_none() {
            let ready = self.agent.get(format!("{}/-/ready", self.base)).call();
            if ready.is_ok_and(|answer| answer.status() == 200) {
                return true;
            }
            assert!(Instant::now() < end, "prometheus does not become ready");
            std::thread::sleep(POLL);
        }
        false
    }

    /// What its API answers: the part `data`.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let mut request = self.agent.get(format!("{}/api/v1/{path}", self.base));
        for (name, value) in parameters {
            request = request.query(*name, *value);
        }
        let mut answer = request.call().unwrap();
        let mut answer: Value = answer.body_mut().read_json().unwrap();
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        answer["data"].take()
    }

    /// What an expression gives now.
    #[track_caller]
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.api("query", &[("query", expression)]);
        data["result"].as_array().unwrap().clone()
    }

    /// Waits until an expression gives something.
    #[track_caller]
    pub fn until(&self, expression: &str) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.query(expression);
            if !answer.is_empty() {
                return answer;
            }
            assert!(
                Instant::now() < end,
                "in vain: {expression}; the target: {}",
                self.api("targets", &[])
            );
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may be gone already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}
