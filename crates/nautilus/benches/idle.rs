//! What a node costs that does nothing but its job: CPU and memory of `nautilus up` and its enclave at the
//! default interval of 30 s, read from /proc after start-up, beside a real containerd with twenty pods.
//!
//! `make bench NAME=idle` measures for ten minutes; `NAUTILUS_BENCH_SECONDS` sets another time. Verifier, ledger
//! and page run in the same process and are counted too, so agent and enclave alone cost less. Needs root and the
//! packages that `make test` installs, for it starts containers.

#[path = "../../monitor/tests/containerd/cri.rs"]
#[expect(dead_code, reason = "the suite that it is of needs more of it")]
#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what does not start ends the benchmark"
)]
mod cri;
#[path = "../../monitor/tests/containerd/machine.rs"]
#[expect(dead_code, reason = "the suite that it is of needs more of it")]
#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what does not start ends the benchmark"
)]
mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cri::PodPlan;
use crate::machine::Machine;

/// Start-up, boot attestation and the first sample are over by then.
const WARM_UP: Duration = Duration::from_secs(40);
const DEFAULT_SECONDS: u64 = 600;
/// Aims of the project: share of one core, and memory of both processes together.
const MAX_CORE_PERCENT: f64 = 0.1;
const MAX_MIB: f64 = 30.0;
/// Pods beside which it runs, each with one container and the one that holds its namespaces.
const PODS: usize = 20;

fn main() -> Result<()> {
    let seconds = match std::env::var("NAUTILUS_BENCH_SECONDS") {
        Ok(text) => text
            .parse()
            .context("NAUTILUS_BENCH_SECONDS is no number of seconds")?,
        Err(_) => DEFAULT_SECONDS,
    };
    let machine = Machine::start();
    let names: Vec<_> = (0..PODS).map(|number| format!("idle-{number}")).collect();
    for name in &names {
        machine.cri().run(&PodPlan {
            name,
            uid: name,
            group: machine.group(""),
            script: "busybox sleep 1000000",
            cpu_percent: None,
            host_network: true,
            attempt: 0,
        });
    }
    println!("{PODS} pods run in a containerd of their own");
    let data_dir = tempfile::tempdir()?;
    let node = Node::start(data_dir.path(), &machine.socket())?;
    println!(
        "warming up for {} s, then measuring for {seconds} s at an interval of 30 s",
        WARM_UP.as_secs()
    );
    std::thread::sleep(WARM_UP);
    let before = node.usage()?;
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let after = node.usage()?;
    let elapsed = started.elapsed().as_secs_f64();
    let ticks = after.cpu_ticks.saturating_sub(before.cpu_ticks);
    let cpu_seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let core_percent = 100.0 * cpu_seconds / elapsed;
    let mib = after.resident_kib as f64 / 1024.0;
    println!(
        "cpu {cpu_seconds:.2} s in {elapsed:.0} s, resident {mib:.1} MiB, nautilus and nautilus-enclave together"
    );
    aim("idle cpu, % of one core", core_percent, MAX_CORE_PERCENT);
    aim("idle resident memory, MiB", mib, MAX_MIB);
    Ok(())
}

fn aim(what: &str, value: f64, want: f64) {
    let verdict = if value <= want { "ok" } else { "short" };
    println!("aim {what}: {value:.3} want <= {want}: {verdict}");
}

/// A running `nautilus up`, ended when it goes.
struct Node(Child);

struct Usage {
    cpu_ticks: u64,
    resident_kib: u64,
}

impl Node {
    fn start(data_dir: &Path, containerd: &Path) -> Result<Self> {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_nautilus"));
        Command::new(&program)
            .args([
                "up",
                "--interval",
                "30s",
                "--window",
                "5m",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
            ])
            .arg(data_dir)
            .arg("--containerd-address")
            .arg(containerd)
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
            .with_context(|| format!("cannot start {}", program.display()))
    }

    fn usage(&self) -> Result<Usage> {
        let mut usage = Usage {
            cpu_ticks: 0,
            resident_kib: 0,
        };
        let mut processes = children(self.0.id())?;
        anyhow::ensure!(
            processes.len() == 1,
            "expected one enclave, found {} children",
            processes.len()
        );
        processes.push(self.0.id());
        for process in processes {
            usage.cpu_ticks += cpu_ticks(process)?;
            usage.resident_kib += resident_kib(process)?;
        }
        Ok(usage)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            let _ended = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _status = self.0.wait();
    }
}

/// The children of all threads (proc_pid_children(5)).
fn children(process: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("children"))?;
        for word in text.split_whitespace() {
            found.push(word.parse()?);
        }
    }
    Ok(found)
}

/// utime and stime (proc_pid_stat(5)), counted behind the program's name, which may hold anything.
fn cpu_ticks(process: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("no name in stat")?;
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || -> Result<u64> { Ok(times.next().context("stat is too short")?.parse()?) };
    Ok(next()? + next()?)
}

fn resident_kib(process: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
