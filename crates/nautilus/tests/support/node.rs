//! A node that really runs: `nautilus up --json`, and the events that it prints.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::program::up;

/// How long an event or an answer may be waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a node may take to be gone.
const LIMIT: Duration = Duration::from_secs(10);

/// A running node. Dropping it kills it; its enclave then ends by itself.
pub struct Node {
    process: Child,
    data: PathBuf,
    incoming: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    seen: Vec<Value>,
}

/// A node that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Every line that it printed.
    pub events: Vec<Value>,
    pub stderr: String,
}

impl Node {
    /// Starts a node, and waits until it listens: on a free port, unless `more` names one. A window is four
    /// samples in a second, unless `more` says another pace.
    pub fn start(data: &Path, more: &[&str]) -> Self {
        let mut node = Self::spawn(data, more);
        node.next("listening");
        node
    }

    /// Starts it, and does not wait.
    pub fn spawn(data: &Path, more: &[&str]) -> Self {
        let pace: &[&str] = if more.contains(&"--interval") {
            &[]
        } else {
            &["--interval", "250ms", "--window", "1s"]
        };
        let mut command = up(data, more);
        command.args(pace);
        Self::run(command, data)
    }

    /// Runs a command that prints events, in a data directory of its own.
    pub fn run(mut command: Command, data: &Path) -> Self {
        let mut process = command
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let mut stderr = process.stderr.take().unwrap();
        let (sender, incoming) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self {
            process,
            data: data.to_owned(),
            incoming,
            errors: Some(errors),
            seen: Vec::new(),
        }
    }

    /// Where its page is.
    pub fn url(&mut self) -> String {
        let listening = self.find("the node listens", |event| event["kind"] == "listening");
        listening["url"].as_str().unwrap().to_owned()
    }

    /// The first event, past or to come, of which `wanted` holds.
    pub fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        match self.seen.iter().find(|event| wanted(event)) {
            Some(event) => event.clone(),
            None => self.wait_for(what, wanted),
        }
    }

    /// The next event of which `wanted` holds.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.incoming.recv_timeout(left) else {
                panic!("waited in vain: {what}; the node printed {:?}", kinds(&self.seen));
            };
            let event = self.take(&line);
            if wanted(&event) {
                return event;
            }
        }
    }

    /// The next event of one kind.
    pub fn next(&mut self, kind: &str) -> Value {
        self.wait_for(kind, |event| event["kind"] == kind)
    }

    fn take(&mut self, line: &str) -> Value {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.seen.push(event.clone());
        event
    }

    /// What Ctrl-C in a terminal does: the signal goes to the whole process group.
    pub fn interrupt(&self) {
        kill_process_group(self.pid(), Signal::INT).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
            .unwrap()
    }

    /// Waits for the end that somebody or something brings about, and for every process of the node to be gone.
    pub fn ended(mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .incoming
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.take(&line);
        }
        let mut status = None;
        eventually("the node ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        let data = self.data.clone();
        eventually("no process of the node is left", || {
            data.as_os_str().is_empty() || processes_of(&data).is_empty()
        });
        Ended {
            status: status.unwrap(),
            events: std::mem::take(&mut self.seen),
            stderr: self.errors.take().unwrap().join().unwrap(),
        }
    }

    /// As [`Self::ended`], with less patience: the node was told to stop.
    pub fn ended_soon(self) -> Ended {
        let told = Instant::now();
        let ended = self.ended();
        assert!(told.elapsed() < LIMIT, "it took {:?} to stop", told.elapsed());
        ended
    }

    /// `kill -9`, as of now.
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.ended_soon()
    }

    /// As [`Self::ended`], where other processes use the same data directory.
    pub fn ended_alone(mut self) -> Ended {
        self.data = PathBuf::new();
        self.ended()
    }

    /// As [`Self::kill`], where other processes use the same data directory.
    pub fn kill_alone(self) -> Ended {
        self.signal(Signal::KILL);
        self.ended_alone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

impl Ended {
    /// The events of one kind.
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["kind"] == kind).collect()
    }

    /// The only event of one kind.
    pub fn only(&self, kind: &str) -> &Value {
        match self.of(kind).as_slice() {
            [one] => one,
            several => panic!("{} events of kind {kind}", several.len()),
        }
    }

    /// Asserts the same of a verifier, which earns nothing.
    pub fn is_orderly_verifier(&self) {
        assert_eq!(self.status.code(), Some(0), "{:?}", self.stderr);
        assert_eq!(self.stderr, "");
        assert_eq!(self.events.last().unwrap()["kind"], "stopped");
    }

    /// Asserts that it stopped in order: exit code 0, nothing on standard error, `stopped` last, and all totals
    /// as the events before say.
    pub fn is_orderly(&self) {
        assert_eq!(self.status.code(), Some(0), "{:?}", self.stderr);
        assert_eq!(self.stderr, "");
        let stopped = self.events.last().unwrap();
        assert_eq!(stopped["kind"], "stopped", "{stopped}");
        assert_eq!(stopped["settled"], self.of("settled").len());
        let earned: u64 = self
            .of("reward")
            .iter()
            .map(|event| event["amount"].as_u64().unwrap())
            .sum();
        assert_eq!(stopped["reward"], earned);
    }
}

/// What kinds of events there are, for a person who reads a failure.
pub fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["kind"].as_str()).collect()
}

/// Processes whose command line names `data`: a node and its enclave.
pub fn processes_of(data: &Path) -> Vec<String> {
    let data = data.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let is_process = entry
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|byte| byte.is_ascii_digit());
        // A process may end while it is looked at.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if is_process && line.contains(data) {
            found.push(line);
        }
    }
    found
}

/// Looks until something holds that no event tells of.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
