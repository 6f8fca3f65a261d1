//! The node page in a real browser, on a node that really runs: `nautilus up` from boot to reward.

#[path = "support/webdriver.rs"]
mod webdriver;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use self::webdriver::Browser;

const PATIENCE: Duration = Duration::from_secs(60);
const LINKS: [&str; 8] = [
    "tee", "enclave", "evidence", "policy", "samples", "proofs", "settled", "rewarded",
];
const CHECKS: [&str; 9] = [
    "time range",
    "expiry",
    "samples",
    "metrics hash",
    "summary",
    "merkle path",
    "proof id",
    "tee signature",
    "wallet signature",
];
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

#[test]
fn the_page_shows_a_node_from_boot_to_reward() -> Result<()> {
    let data = TempDir::new()?;
    let mut node = Node::start(data.path(), "127.0.0.1:0")?;
    let browser = Browser::start()?;
    browser.set_viewport(1360, 900)?;
    browser.open(&node.url)?;
    let story = tell(&mut node, &browser);
    if let Some(folder) = screenshots() {
        browser.screenshot(&folder.join("page-last.png"))?;
    }
    story
}

fn tell(node: &mut Node, browser: &Browser) -> Result<()> {
    every_link_holds(browser)?;
    simulation_is_unmistakable(browser)?;
    samples_are_drawn(browser)?;
    a_proof_passed_nine_checks(browser)?;
    findings_open_by_keyboard(browser)?;
    a_proof_opens_whole(node, browser)?;
    every_width_holds_the_page(browser)?;
    ensure!(
        browser.console_errors()? == Vec::<String>::new(),
        "the console has errors"
    );
    figures_are_what_the_node_says(node, browser)
}

fn every_link_holds(browser: &Browser) -> Result<()> {
    for link in LINKS {
        let state = format!("document.querySelector('[data-testid=link-{link}]').dataset.state === 'ok'");
        browser.wait_until(&format!("link {link} holds"), &state)?;
        let time = browser.find(&format!("[data-testid=link-{link}] time"))?.text()?;
        ensure!(time.len() == "10:00:00".len(), "link {link} holds since {time:?}");
    }
    ensure!(browser.find("[data-testid=chain-progress]")?.text()? == "All 8 links hold");
    ensure!(
        browser
            .find("[data-testid=connection]")?
            .attribute("data-state")?
            .as_deref()
            == Some("live")
    );
    Ok(())
}

fn simulation_is_unmistakable(browser: &Browser) -> Result<()> {
    let banner = browser.find("[data-testid=assurance-banner]")?;
    ensure!(banner.is_displayed()?);
    ensure!(
        banner
            .text()?
            .contains("Simulated TEE: proves nothing about hardware"),
        "{}",
        banner.text()?
    );
    ensure!(
        browser
            .find("[data-testid=assurance]")?
            .text()?
            .contains("simulated")
    );
    // It stays in sight however far down a person reads.
    let in_sight = "window.scrollTo(0, document.body.scrollHeight);
        const box = document.querySelector('[data-testid=assurance-banner]').getBoundingClientRect();
        window.scrollTo(0, 0);
        return box.top >= 0 && box.bottom <= innerHeight;";
    ensure!(
        browser.run(in_sight)? == Value::Bool(true),
        "the banner scrolls away"
    );
    Ok(())
}

fn samples_are_drawn(browser: &Browser) -> Result<()> {
    for plot in ["cpu", "memory", "load", "network", "disk", "kernel"] {
        let line = format!("document.querySelector('[data-testid=plot-{plot}-line]')");
        browser.wait_until(
            &format!("plot {plot} has points"),
            &format!("{line}.dataset.points > 2"),
        )?;
        let drawn = browser.run(&format!("return {line}.getTotalLength()"))?;
        ensure!(
            drawn.as_f64().is_some_and(|length| length > 1.0),
            "the line of {plot} is {drawn} long"
        );
        let now = browser
            .find(&format!("[data-testid=plot-{plot}-value]"))?
            .text()?;
        ensure!(
            now.starts_with(|first: char| first.is_ascii_digit()),
            "{plot} is now {now:?}"
        );
        let label = browser
            .find(&format!("[data-testid=plot-{plot}]"))?
            .attribute("aria-label")?;
        ensure!(
            label.is_some_and(|label| label.contains("highest")),
            "{plot} says nothing to a screen reader"
        );
    }
    browser.wait_until(
        "windows are marked in the plots",
        "document.querySelector('[data-testid=plot-cpu-boundaries]').getTotalLength() > 0",
    )
}

fn a_proof_passed_nine_checks(browser: &Browser) -> Result<()> {
    browser.wait_until(
        "the oldest proof is settled and rewarded",
        "/[0-9]/.test(document.querySelector('[data-testid=proof-row]:last-child [data-testid=proof-reward]').textContent)",
    )?;
    let row = "[data-testid=proof-row]:last-child";
    let settled = browser
        .find(&format!("{row} [data-testid=proof-settled]"))?
        .text()?;
    ensure!(settled.starts_with("height "), "settled at {settled:?}");
    let mut names = Vec::new();
    for check in browser.find_all(&format!("{row} [data-testid=check]"))? {
        ensure!(check.attribute("data-passed")?.as_deref() == Some("true"));
        names.push(check.attribute("title")?.context("a check has a name")?);
    }
    ensure!(
        names == CHECKS.map(|name| format!("{name}: passed")),
        "checks are {names:?}"
    );
    Ok(())
}

fn findings_open_by_keyboard(browser: &Browser) -> Result<()> {
    let finding = browser.find("[data-testid=finding]")?;
    ensure!(!finding.is_displayed()?, "findings are closed at first");
    browser
        .find("[data-testid=link-policy-summary]")?
        .type_keys(ENTER)?;
    ensure!(finding.is_displayed()?, "Enter opens the findings");
    for finding in browser.find_all("[data-testid=finding]")? {
        ensure!(
            finding.attribute("data-passed")?.as_deref() == Some("true"),
            "{}",
            finding.text()?
        );
    }
    // What is open stays open while samples come in.
    let before = browser.find("[data-testid=sample-count]")?.text()?;
    let more = format!("document.querySelector('[data-testid=sample-count]').textContent !== '{before}'");
    browser.wait_until("another sample comes in", &more)?;
    ensure!(finding.is_displayed()?, "the findings closed by themselves");
    Ok(())
}

fn a_proof_opens_whole(node: &mut Node, browser: &Browser) -> Result<()> {
    browser
        .find("[data-testid=proof-row]:last-child [data-testid=proof-open]")?
        .click()?;
    let shown = browser.find("[data-testid=proof-json]")?.text()?;
    let shown: Value = serde_json::from_str(&shown).context("the proof is shown as JSON")?;
    let id = shown["proof"]["proof_id"].clone();
    let printed = node.wait_for(|event| event["kind"] == "proof" && event["proof"]["proof_id"] == id)?;
    ensure!(
        shown == printed,
        "the page shows another proof than the node printed"
    );
    ensure!(browser.find("[data-testid=proof-download]")?.is_displayed()?);
    browser.find("[data-testid=proof-close]")?.type_keys(ESCAPE)?;
    ensure!(
        !browser.find("[data-testid=proof-dialog]")?.is_displayed()?,
        "Escape closes the proof"
    );
    Ok(())
}

fn every_width_holds_the_page(browser: &Browser) -> Result<()> {
    for (name, width, colours) in [
        ("wide", 1360, "light"),
        ("dark", 1360, "dark"),
        ("narrow", 390, "light"),
    ] {
        browser.set_viewport(width, 900)?;
        browser.prefer_colours(colours)?;
        let overhang = browser
            .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
        ensure!(overhang == 0, "at {width} pixels the page is {overhang} too wide");
        let spilt = browser.run(
            "return [...document.querySelectorAll('.fact dd')].filter((one) => one.scrollWidth > one.clientWidth).length",
        )?;
        ensure!(
            spilt == 0,
            "at {width} pixels {spilt} facts do not fit beside their names"
        );
        if let Some(folder) = screenshots() {
            browser.screenshot(&folder.join(format!("page-{name}.png")))?;
        }
    }
    browser.set_viewport(1360, 900)
}

fn figures_are_what_the_node_says(node: &mut Node, browser: &Browser) -> Result<()> {
    node.signal(Signal::INT)?;
    let stopped = node.wait_for(|event| event["kind"] == "stopped")?;
    browser.wait_until(
        "the page says that the node stopped",
        "document.querySelector('[data-testid=connection]').dataset.state === 'stopped'",
    )?;
    let notice = browser.find("[data-testid=notice]")?.text()?;
    ensure!(notice.contains("The node stopped"), "{notice}");
    let number = |name: &str| -> Result<u64> {
        let text = browser.find(&format!("[data-testid={name}]"))?.text()?;
        text.replace(',', "")
            .parse()
            .with_context(|| format!("{name} is {text:?}"))
    };
    let reward = node.last("reward").context("the node was rewarded")?;
    ensure!(number("reward-accrued")? > 0);
    ensure!(
        reward["accrued"] == number("reward-accrued")?,
        "the page and {reward} differ"
    );
    ensure!(number("settled-count")? > 0);
    ensure!(
        stopped["settled"] == number("settled-count")?,
        "the page and {stopped} differ"
    );
    Ok(())
}

#[test]
fn the_page_finds_a_node_that_comes_back() -> Result<()> {
    let data = TempDir::new()?;
    let mut node = Node::start(data.path(), "127.0.0.1:0")?;
    let browser = Browser::start()?;
    browser.open(&node.url)?;
    let live = "document.querySelector('[data-testid=connection]').dataset.state === 'live'";
    browser.wait_until("the page is live", live)?;
    browser.wait_until(
        "a sample is shown",
        "document.querySelector('[data-testid=sample-count]').textContent > 0",
    )?;

    let address = node.address().to_owned();
    node.kill();
    browser.wait_until(
        "the page says that it is connecting again",
        "document.querySelector('[data-testid=connection]').dataset.state === 'reconnecting'",
    )?;
    let notice = browser.find("[data-testid=notice]")?.text()?;
    ensure!(notice.contains("connection to the node was lost"), "{notice}");

    let elsewhere = TempDir::new()?;
    let mut successor = Node::start(elsewhere.path(), &address)?;
    let boot = successor.wait_for(|event| event["kind"] == "boot")?;
    browser.wait_until("the page is live again", live)?;
    let title = format!(
        "document.querySelector('[data-testid=identity] code')?.title === '{}'",
        boot["node_id"].as_str().context("a node has an id")?
    );
    browser.wait_until("the page has forgotten the node before", &title)?;
    ensure!(!browser.find("[data-testid=notice]")?.is_displayed()?);
    Ok(())
}

#[test]
fn the_server_keeps_other_sites_out() -> Result<()> {
    let data = TempDir::new()?;
    let node = Node::start(data.path(), "127.0.0.1:0")?;
    let policy = "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; \
                  connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'\r\n";
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost", "200"),
        ("GET / HTTP/1.1\r\nHost: evil.example", "421"),
        ("GET /api/events HTTP/1.1\r\nHost: evil.example:80", "421"),
        (
            "GET /api/events HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site",
            "403",
        ),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0", "405"),
    ] {
        let answer = node.ask(&format!("{request}\r\nConnection: close\r\n\r\n"))?;
        ensure!(answer.split(' ').nth(1) == Some(status), "{request}: {answer}");
        ensure!(answer.contains(policy), "{request}: {answer}");
        ensure!(
            answer.contains("x-content-type-options: nosniff\r\n"),
            "{request}: {answer}"
        );
    }
    Ok(())
}

/// `nautilus up`, and the events that it prints. Dropping it ends it and its enclave.
struct Node {
    process: Child,
    url: String,
    incoming: Receiver<Value>,
    seen: Vec<Value>,
}

impl Node {
    fn start(data: &Path, listen: &str) -> Result<Self> {
        let nautilus = Path::new(env!("CARGO_BIN_EXE_nautilus"));
        let enclave = nautilus.with_file_name("nautilus-enclave");
        ensure!(
            enclave.is_file(),
            "{} is not built: run `make test`, which builds it",
            enclave.display()
        );
        let mut process = Command::new(nautilus)
            .args([
                "up",
                "--listen",
                listen,
                "--interval",
                "1s",
                "--window",
                "4s",
                "--json",
                "--data-dir",
            ])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let stdout = process.stdout.take().context("the node has no output")?;
        let (sender, incoming) = mpsc::channel();
        std::thread::spawn(move || {
            let events = BufReader::new(stdout)
                .lines()
                .map_while(|line| serde_json::from_str(&line.ok()?).ok());
            for event in events {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut node = Self {
            process,
            url: String::new(),
            incoming,
            seen: Vec::new(),
        };
        let listening = node.wait_for(|event| event["kind"] == "listening")?;
        node.url = listening["url"]
            .as_str()
            .context("a node listens at a URL")?
            .to_owned();
        Ok(node)
    }

    /// The first event, past or to come, of which `wanted` holds.
    fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        if let Some(event) = self.seen.iter().find(|event| wanted(event)) {
            return Ok(event.clone());
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(event) = self.incoming.recv_timeout(left) else {
                bail!(
                    "the node did not print what was waited for; it printed {:#?}",
                    self.kinds()
                );
            };
            self.seen.push(event.clone());
            if wanted(&event) {
                return Ok(event);
            }
        }
    }

    fn last(&self, kind: &str) -> Option<&Value> {
        self.seen.iter().rfind(|event| event["kind"] == kind)
    }

    fn kinds(&self) -> Vec<&str> {
        self.seen
            .iter()
            .filter_map(|event| event["kind"].as_str())
            .collect()
    }

    fn address(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches('/')
    }

    fn ask(&self, request: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(
            self.pid().context("the node has a process")?,
            signal,
        )?)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
    }

    fn kill(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where to keep pictures of the page, for a person to look at.
fn screenshots() -> Option<PathBuf> {
    std::env::var_os("NAUTILUS_E2E_SCREENSHOTS").map(PathBuf::from)
}
