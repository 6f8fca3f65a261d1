//! Debian's node_exporter, with the collectors of what we read as well.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const PACKAGE: &str = "prometheus-node-exporter";
const PROGRAM: &str = "usr/bin/prometheus-node-exporter";
/// Not `processes`, which looks into every process and is off by default: ours count them as well, and for nothing here.
const COLLECTORS: [&str; 14] = [
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
    "sockstat",
    "stat",
    "time",
    "vmstat",
];

/// Runs while it lives.
pub struct Exporter {
    child: Child,
    address: SocketAddr,
}

impl Exporter {
    /// Starts it on a free port of loopback, and waits until it answers.
    pub fn start() -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let program = program()?;
        let child = Command::new(&program)
            .arg("--collector.disable-defaults")
            .args(COLLECTORS.map(|name| format!("--collector.{name}")))
            // Only the root file system, as ours.
            .arg("--collector.filesystem.fs-types-exclude=^$")
            .arg("--collector.filesystem.mount-points-exclude=^/.+")
            // Nothing about itself.
            .arg("--web.disable-exporter-metrics")
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut exporter = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            ensure!(
                Instant::now() < deadline,
                "node_exporter does not answer at {address}"
            );
            let ended = exporter.child.try_wait()?;
            ensure!(ended.is_none(), "node_exporter ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(exporter)
    }

    /// A connection that is kept, as Prometheus keeps it.
    pub fn connect(&self) -> Result<Scraper> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        Ok(Scraper {
            stream,
            answer: Vec::new(),
        })
    }

    /// CPU time of all its threads, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may have spaces; utime and stime are fields 14 and 15, the 12th and 13th after it.
        let (_, rest) = stat.rsplit_once(") ").context("its stat has no name")?;
        let mut fields = rest.split(' ').skip(11);
        let mut ticks = || -> Result<f64> { Ok(fields.next().context("its stat is short")?.parse()?) };
        let (user, system) = (ticks()?, ticks()?);
        Ok((user + system) / rustix::param::clock_ticks_per_second() as f64)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks over one connection.
pub struct Scraper {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Scraper {
    /// One scrape; gives the length of the answer.
    pub fn scrape(&mut self) -> Result<usize> {
        self.stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        self.answer.clear();
        let mut piece = [0; 16 << 10];
        // In chunks; the last is empty.
        while !self.answer.ends_with(b"\r\n0\r\n\r\n") {
            let length = self.stream.read(&mut piece)?;
            ensure!(length > 0, "node_exporter closed the connection");
            self.answer.extend_from_slice(&piece[..length]);
        }
        ensure!(
            self.answer.starts_with(b"HTTP/1.1 200 "),
            "node_exporter has no metrics"
        );
        Ok(self.answer.len())
    }
}

/// Where it is after `scripts/tools.sh` has unpacked it, which does nothing if it is there.
fn program() -> Result<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = env::var_os("NAUTILUS_TOOLS").map_or_else(|| "target/tools".into(), PathBuf::from);
    let program = repository.join(folder).join(PROGRAM);
    if !program.exists() {
        let status = Command::new(repository.join("scripts/tools.sh"))
            .arg(PACKAGE)
            .status()?;
        ensure!(status.success(), "scripts/tools.sh {PACKAGE} failed");
    }
    ensure!(program.exists(), "{} is missing", program.display());
    Ok(program)
}
