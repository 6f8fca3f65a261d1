//! Debian's node_exporter, started for a test and asked over HTTP.

use std::collections::BTreeMap;
use std::env;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PACKAGE: &str = "prometheus-node-exporter";
const PROGRAM: &str = "usr/bin/prometheus-node-exporter";
/// What our system and network collectors read as well.
const COLLECTORS: [&str; 15] = [
    "conntrack",
    "cpu",
    "diskstats",
    "filefd",
    "filesystem",
    "loadavg",
    "meminfo",
    "netdev",
    "netstat",
    "pressure",
    "processes",
    "sockstat",
    "stat",
    "time",
    "vmstat",
];
const START: Duration = Duration::from_secs(20);

/// Runs while it lives.
pub struct Exporter {
    child: Child,
    address: SocketAddr,
}

impl Exporter {
    /// Starts it on a free port of loopback, and waits until it answers.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let child = Command::new(program())
            .arg("--collector.disable-defaults")
            .args(COLLECTORS.map(|name| format!("--collector.{name}")))
            // By default it hides an overlay, which is what the root of a container is.
            .arg("--collector.filesystem.fs-types-exclude=^$")
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut exporter = Self { child, address };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            assert!(
                Instant::now() < deadline,
                "node_exporter does not answer at {address}"
            );
            let ended = exporter.child.try_wait().unwrap();
            assert!(ended.is_none(), "node_exporter ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        exporter
    }

    /// Everything that it measures now.
    pub fn scrape(&self) -> Scrape {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        Scrape::read(body)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it is after `scripts/tools.sh` has unpacked it, which does nothing if it is there.
fn program() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = env::var_os("NAUTILUS_TOOLS").map_or_else(|| "target/tools".into(), PathBuf::from);
    let program = repository.join(folder).join(PROGRAM);
    if !program.exists() {
        let output = Command::new(repository.join("scripts/tools.sh"))
            .arg(PACKAGE)
            .output()
            .expect("scripts/tools.sh runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/tools.sh {PACKAGE}: {said}");
    }
    assert!(program.exists(), "{} is missing", program.display());
    program
}

/// Labels by name.
pub type Labels = Vec<(String, String)>;

/// One answer of the exporter.
pub struct Scrape {
    values: BTreeMap<String, Vec<(Labels, f64)>>,
    kinds: BTreeMap<String, String>,
}

impl Scrape {
    fn read(text: &str) -> Self {
        let mut scrape = Self {
            values: BTreeMap::new(),
            kinds: BTreeMap::new(),
        };
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                scrape.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series
                    .strip_suffix('}')
                    .and_then(|series| series.split_once('{'))
                    .unwrap_or((series, ""));
                let values = scrape.values.entry(name.to_owned()).or_default();
                values.push((self::labels(labels), value.parse().unwrap()));
            }
        }
        scrape
    }

    /// The value of a series, if it is there.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.values.get(name)?;
        let found = values.iter().find(|(of, _)| has(of, labels));
        found.map(|(_, value)| *value)
    }

    /// The value of a series without labels.
    pub fn one(&self, name: &str) -> f64 {
        self.find(name, &[])
            .unwrap_or_else(|| panic!("node_exporter has no {name}"))
    }

    /// The sum of all series with these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum_where(name, |of| has(of, labels))
    }

    /// The sum of all series whose labels are as asked.
    pub fn sum_where(&self, name: &str, asked: impl Fn(&Labels) -> bool) -> f64 {
        let values = self
            .values
            .get(name)
            .unwrap_or_else(|| panic!("node_exporter has no {name}"));
        let chosen = values.iter().filter(|(labels, _)| asked(labels));
        chosen.map(|(_, value)| value).sum()
    }

    /// How many series have these labels.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let of_name = self.values.get(name).into_iter().flatten();
        of_name.filter(|(of, _)| has(of, labels)).count() as f64
    }

    /// What kind of metric it is.
    pub fn kind(&self, name: &str) -> &str {
        &self.kinds[name]
    }
}

fn has(labels: &Labels, wanted: &[(&str, &str)]) -> bool {
    let is_there =
        |(name, value): &(&str, &str)| labels.iter().any(|label| label.0 == *name && label.1 == *value);
    wanted.iter().all(is_there)
}

/// No label that is compared has a comma or a quote in its value.
fn labels(text: &str) -> Labels {
    let pairs = text.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()))
        .collect()
}
