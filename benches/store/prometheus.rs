//! Prometheus as Debian ships it.

use std::env;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nautilus_monitor::store::Entry;

/// Where its programs are after `scripts/tools.sh` has unpacked them, which does nothing if they are there.
pub fn binaries() -> Result<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = env::var_os("NAUTILUS_TOOLS").map_or_else(|| "target/tools".into(), PathBuf::from);
    let folder = repository.join(folder).join("usr/bin");
    let status = Command::new(repository.join("scripts/tools.sh"))
        .arg("prometheus")
        .status()
        .context("cannot run scripts/tools.sh")?;
    ensure!(status.success(), "scripts/tools.sh prometheus failed");
    ensure!(
        folder.join("promtool").exists(),
        "no promtool in {}",
        folder.display()
    );
    Ok(folder)
}

/// Writes blocks of the entries' values. Gives their size and the seconds that it took.
pub fn backfill(binaries: &Path, data: &Path, entries: &[Entry]) -> Result<(u64, f64)> {
    fs::create_dir_all(data)?;
    let text = data.with_extension("txt");
    let mut out = BufWriter::new(File::create(&text)?);
    for number in 0..entries.first().context("no entries")?.readings[0].0.len() {
        for entry in entries {
            for (sample, readings) in entry.batch.samples.iter().zip(&entry.readings) {
                let reading = &readings.0[number];
                let at = sample.measurement.at.0;
                writeln!(
                    out,
                    "{} {} {}.{:03}",
                    reading.series,
                    reading.value,
                    at / 1000,
                    at % 1000
                )?;
            }
        }
    }
    out.write_all(b"# EOF\n")?;
    out.into_inner()?.sync_all()?;
    let started = Instant::now();
    let done = Command::new(binaries.join("promtool"))
        .args(["tsdb", "create-blocks-from"])
        // Blocks as large as its compactor makes them.
        .args(["--max-block-duration=744h", "openmetrics", "--quiet"])
        .args([&text, data])
        .output()
        .context("promtool")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let seconds = started.elapsed().as_secs_f64();
    fs::remove_file(text)?;
    Ok((size(data)?, seconds))
}

fn size(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        bytes += if facts.is_dir() {
            size(&entry.path())?
        } else {
            facts.len()
        };
    }
    Ok(bytes)
}

/// A server on a free port of loopback, ended when this is dropped.
pub struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    pub fn start(binaries: &Path, data: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = data.with_extension("yml");
        fs::write(&config, "global: {}\n")?;
        let child = Command::new(binaries.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args([
                "--storage.tsdb.retention.time=20y",
                "--query.max-samples=100000000",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("prometheus")?;
        let server = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.get("/-/ready").is_err() {
            ensure!(Instant::now() < deadline, "Prometheus does not get ready");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// The body of an answer.
    pub fn get(&self, target: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(stream, "GET {target} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .context("an answer without a body")?;
        if !head.lines().next().is_some_and(|line| line.contains(" 200 ")) {
            bail!("{head}: {}", body.chars().take(300).collect::<String>());
        }
        Ok(body.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
