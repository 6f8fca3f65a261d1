//! The node page in a real browser, on a node that really runs: `nautilus up` from boot to reward.

#[cfg(test)]
#[expect(dead_code, reason = "the suites share it")]
#[path = "support/node.rs"]
mod node;
#[cfg(test)]
#[expect(dead_code, reason = "the suites share it")]
#[path = "support/program.rs"]
mod program;
#[path = "support/webdriver.rs"]
mod webdriver;

#[cfg(test)]
#[path = "page/history.rs"]
mod history;
#[cfg(test)]
#[path = "page/month.rs"]
mod month;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use self::node::{Ended, Node, PATIENCE};
use self::webdriver::Browser;

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
    let mut node = node(data.path(), &[]);
    let browser = Browser::start()?;
    browser.set_viewport(1360, 900)?;
    browser.open(&node.url())?;
    let story = tell(&mut node, &browser);
    keep_picture(&browser, "last")?;
    story?;

    node.interrupt();
    let ended = node.ended_soon();
    ended.is_orderly();
    let figures = figures_are_what_the_node_says(&ended, &browser);
    keep_picture(&browser, "stopped")?;
    figures
}

fn tell(node: &mut Node, browser: &Browser) -> Result<()> {
    every_link_holds(browser)?;
    simulation_is_unmistakable(browser)?;
    samples_are_drawn(browser)?;
    a_proof_passed_nine_checks(browser)?;
    findings_open_by_keyboard(browser)?;
    a_proof_opens_whole(node, browser)?;
    every_width_holds_the_page(browser)?;
    // A browser tells of every 503, which is how the node says that its history is not open yet.
    let mut errors = browser.console_errors()?;
    errors.retain(|error| !(error.contains("/api/metrics/") && error.contains("503")));
    ensure!(
        errors == Vec::<String>::new(),
        "the console has errors: {errors:?}"
    );
    Ok(())
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
    let printed = node.find("the node prints the proof", |event| {
        event["kind"] == "proof" && event["proof"]["proof_id"] == id
    });
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
        keep_picture(browser, name)?;
    }
    browser.set_viewport(1360, 900)
}

fn figures_are_what_the_node_says(ended: &Ended, browser: &Browser) -> Result<()> {
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
    let rewards = ended.of("reward");
    let reward = rewards.last().context("the node was rewarded")?;
    let stopped = ended.only("stopped");
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
fn the_history_of_a_node_has_a_gap_where_it_was_suspended() -> Result<()> {
    let data = TempDir::new()?;
    let mut node = node(data.path(), &[]);
    let browser = Browser::start()?;
    browser.set_viewport(1360, 900)?;
    browser.open(&node.url())?;
    browser.run("document.querySelector('[data-testid=metrics]').scrollIntoView()")?;
    let plot = "document.querySelector('[data-plot=nautilus_cpu_usage_ratio]')";
    let drawn = |points: usize| {
        format!(
            "{plot} && [...{plot}.querySelectorAll('[data-testid=history-line]')]
                .reduce((sum, line) => sum + Number(line.dataset.points), 0) > {points}"
        )
    };
    browser.wait_until("stored samples are drawn", &drawn(3))?;

    enclave(data.path(), "suspend");
    node.wait_for("the enclave is suspended", |event| event["status"] == "suspended");
    browser.run("window.resumeAt = Date.now() + 5000")?;
    browser.wait_until("some ticks go by", "Date.now() > window.resumeAt")?;
    enclave(data.path(), "resume");
    browser.wait_until(
        "the gap is drawn, and samples on either side of it",
        &format!(
            "{plot} && (() => {{
                // Another is the time before the node first ran.
                const gaps = [...{plot}.querySelectorAll('[data-testid=history-gap]')].map(({{ dataset }}) => dataset);
                const lines = [...{plot}.querySelectorAll('[data-testid=history-line]')].map(({{ dataset }}) => dataset);
                return gaps.some((gap) => gap.to - gap.from >= 2000
                    && lines.some(({{ from }}) => Number(from) < Number(gap.from))
                    && lines.some(({{ to }}) => Number(to) > Number(gap.to))
                    && lines.every(({{ from, to }}) => Number(to) <= Number(gap.from) || Number(from) >= Number(gap.to)));
            }})()"
        ),
    )?;
    browser.wait_until(
        "the gap is told in words",
        "/was suspended|did not measure/.test(document.querySelector('[data-testid=gap-list]').textContent)",
    )?;
    browser.run("document.querySelector('[name=metrics-range][value=\"1h\"]').click()")?;
    browser.wait_until("the hour is drawn", &drawn(6))?;
    keep_picture(&browser, "history-live")?;
    node.interrupt();
    node.ended_soon().is_orderly();
    Ok(())
}

fn enclave(data: &Path, action: &str) {
    let arguments = ["enclave", action, "node", "--data-dir"].map(std::ffi::OsStr::new);
    program::run(arguments.into_iter().chain([data.as_os_str()])).ends_with(0);
}

#[test]
fn the_page_finds_a_node_that_comes_back() -> Result<()> {
    let data = TempDir::new()?;
    let mut before = node(data.path(), &[]);
    let url = before.url();
    let browser = Browser::start()?;
    browser.open(&url)?;
    let live = "document.querySelector('[data-testid=connection]').dataset.state === 'live'";
    browser.wait_until("the page is live", live)?;
    browser.wait_until(
        "a sample is shown",
        "document.querySelector('[data-testid=sample-count]').textContent > 0",
    )?;

    before.kill();
    browser.wait_until(
        "the page says that it is connecting again",
        "document.querySelector('[data-testid=connection]').dataset.state === 'reconnecting'",
    )?;
    let notice = browser.find("[data-testid=notice]")?.text()?;
    ensure!(notice.contains("connection to the node was lost"), "{notice}");

    let elsewhere = TempDir::new()?;
    let mut successor = node(elsewhere.path(), &["--listen", address(&url)]);
    let boot = successor.next("boot");
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
    let mut node = node(data.path(), &[]);
    let url = node.url();
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
        let answer = ask(address(&url), &format!("{request}\r\nConnection: close\r\n\r\n"))?;
        ensure!(answer.split(' ').nth(1) == Some(status), "{request}: {answer}");
        ensure!(answer.contains(policy), "{request}: {answer}");
        ensure!(
            answer.contains("x-content-type-options: nosniff\r\n"),
            "{request}: {answer}"
        );
    }
    Ok(())
}

/// A node whose windows stay on the page long enough to be looked at.
fn node(data: &Path, more: &[&str]) -> Node {
    Node::start(data, &[&["--interval", "1s", "--window", "4s"], more].concat())
}

fn address(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}

/// What the server answers, to the byte.
fn ask(address: &str, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Keeps a picture of the page for a person to look at, where one asks for it.
fn keep_picture(browser: &Browser, name: &str) -> Result<()> {
    match std::env::var_os("NAUTILUS_E2E_SCREENSHOTS").map(PathBuf::from) {
        Some(folder) => browser.screenshot(&folder.join(format!("page-{name}.png"))),
        None => Ok(()),
    }
}
