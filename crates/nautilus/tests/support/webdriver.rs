//! A real browser, driven over the W3C WebDriver protocol: Chromium through chromedriver.
//!
//! Only what the tests of the pages need. See <https://www.w3.org/TR/webdriver2/>.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

const INSTALL: &str = "run `make test`, which installs the packages chromium and chromium-driver";
/// How long a page has for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key of an element's reference in JSON (WebDriver, section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window and an empty profile. Dropping it ends it and all its processes.
pub struct Browser {
    driver: Driver,
    session: String,
    _profile: TempDir,
}

/// An element of the page that was open when it was found.
pub struct Element<'a> {
    browser: &'a Browser,
    id: String,
}

/// chromedriver, which leads a process group that Chromium is in too.
struct Driver {
    process: Child,
    base: String,
    agent: ureq::Agent,
}

impl Browser {
    /// Starts a browser.
    pub fn start() -> Result<Self> {
        let chromium = program("chromium")?;
        let driver = Driver::start(&program("chromedriver")?)?;
        let profile = TempDir::new()?;
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "script": PATIENCE.as_millis() + 5_000, "pageLoad": PATIENCE.as_millis() },
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": chromium, "args": arguments },
        } } });
        let started = driver
            .post("/session", &wanted)
            .context("Chromium does not start")?;
        let session = started["sessionId"]
            .as_str()
            .context("chromedriver gave no session")?;
        Ok(Self {
            session: format!("/session/{session}"),
            driver,
            _profile: profile,
        })
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        self.post("/url", &json!({ "url": url })).map(drop)
    }

    /// The first element that a CSS selector names.
    pub fn find(&self, css: &str) -> Result<Element<'_>> {
        let found = self.post("/element", &json!({ "using": "css selector", "value": css }));
        self.element(&found.with_context(|| format!("no element is {css}"))?)
    }

    /// All elements that a CSS selector names, in the order of the page.
    pub fn find_all(&self, css: &str) -> Result<Vec<Element<'_>>> {
        let found = self.post("/elements", &json!({ "using": "css selector", "value": css }))?;
        found
            .as_array()
            .context("elements are a list")?
            .iter()
            .map(|one| self.element(one))
            .collect()
    }

    /// What the body of a JavaScript function returns.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a JavaScript expression holds, and fails with `what` when it takes too long.
    pub fn wait_until(&self, what: &str, expression: &str) -> Result<()> {
        let script = format!(
            "const done = arguments[0], end = Date.now() + {};
             const look = () => ({expression}) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 50);
             look();",
            PATIENCE.as_millis()
        );
        let held = self
            .post("/execute/async", &json!({ "script": script, "args": [] }))
            .context(what.to_owned())?;
        ensure!(
            held == json!(true),
            "after {PATIENCE:?} the page still has not: {what}"
        );
        Ok(())
    }

    /// Makes the page see a screen of this size in CSS pixels.
    pub fn set_viewport(&self, width: u32, height: u32) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size)
    }

    /// Makes the page see a person who prefers `light` or `dark` colours.
    pub fn prefer_colours(&self, scheme: &str) -> Result<()> {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [feature] }))
    }

    /// Writes what is in sight to a PNG file.
    pub fn screenshot(&self, file: &Path) -> Result<()> {
        let encoded = self.driver.get(&format!("{}/screenshot", self.session))?;
        let png = base64(encoded.as_str().context("a screenshot is text")?)?;
        std::fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Errors in the browser's console since the last look, such as refused resources and uncaught exceptions.
    pub fn console_errors(&self) -> Result<Vec<String>> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }))?;
        let entries = entries.as_array().context("a log is a list")?;
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        Ok(severe.map(|entry| entry["message"].to_string()).collect())
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<()> {
        self.post(
            "/goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        )
        .map(drop)
    }

    fn element(&self, reference: &Value) -> Result<Element<'_>> {
        let id = reference[ELEMENT]
            .as_str()
            .context("chromedriver gave no element")?;
        Ok(Element {
            browser: self,
            id: id.to_owned(),
        })
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.driver.post(&format!("{}{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends in order when asked; should it not, its process group is ended next.
        let _ = self
            .driver
            .agent
            .delete(format!("{}{}", self.driver.base, self.session))
            .call();
    }
}

impl Element<'_> {
    /// Its text as a person sees it.
    pub fn text(&self) -> Result<String> {
        let text = self.get("text")?;
        Ok(text.as_str().context("text is a string")?.to_owned())
    }

    /// An attribute's value; none when it has none.
    pub fn attribute(&self, name: &str) -> Result<Option<String>> {
        Ok(self
            .get(&format!("attribute/{name}"))?
            .as_str()
            .map(str::to_owned))
    }

    /// Whether a person sees it.
    pub fn is_displayed(&self) -> Result<bool> {
        Ok(self.get("displayed")? == json!(true))
    }

    /// Scrolls to it and clicks it, which fails when something covers it.
    pub fn click(&self) -> Result<()> {
        self.post("click", &json!({}))
    }

    /// Focuses it and types.
    pub fn type_keys(&self, keys: &str) -> Result<()> {
        self.post("value", &json!({ "text": keys }))
    }

    fn get(&self, what: &str) -> Result<Value> {
        self.browser
            .driver
            .get(&format!("{}/element/{}/{what}", self.browser.session, self.id))
    }

    fn post(&self, what: &str, body: &Value) -> Result<()> {
        self.browser
            .post(&format!("/element/{}/{what}", self.id), body)
            .map(drop)
    }
}

impl Driver {
    fn start(chromedriver: &Path) -> Result<Self> {
        let mut process = Command::new(chromedriver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", chromedriver.display()))?;
        let stdout = process.stdout.take().context("chromedriver has no output")?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE + Duration::from_secs(30)))
            .build();
        let mut driver = Self {
            process,
            base: String::new(),
            agent: config.into(),
        };
        // `ChromeDriver was started successfully on port 43210.`
        let mut lines = BufReader::new(stdout).lines();
        let port = loop {
            let line = lines.next().context("chromedriver ended before it listened")??;
            if let Some((_, rest)) = line.split_once("started successfully on port ") {
                break rest
                    .trim_end_matches('.')
                    .parse::<u16>()
                    .with_context(|| format!("no port in {line:?}"))?;
            }
        };
        driver.base = format!("http://127.0.0.1:{port}");
        Ok(driver)
    }

    fn get(&self, path: &str) -> Result<Value> {
        answer(path, self.agent.get(format!("{}{path}", self.base)).call())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        answer(
            path,
            self.agent.post(format!("{}{path}", self.base)).send_json(body),
        )
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = i32::try_from(self.process.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

fn answer(path: &str, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
    let mut response = response.with_context(|| format!("chromedriver does not answer {path}"))?;
    let limit = 64 << 20;
    let mut body: Value = response.body_mut().with_config().limit(limit).read_json()?;
    let value = body["value"].take();
    if response.status().is_success() {
        return Ok(value);
    }
    bail!(
        "{path}: {}: {}",
        value["error"].as_str().unwrap_or("?"),
        value["message"].as_str().unwrap_or("?")
    )
}

fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.with_context(|| {
        format!("{name} is not installed, and the page is tested in a real browser: {INSTALL}")
    })
}

fn base64(text: &str) -> Result<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for character in text.trim_end_matches('=').bytes() {
        let six = ALPHABET
            .iter()
            .position(|one| *one == character)
            .context("not base64")?;
        bits = (bits << 6) | u32::try_from(six)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff)?);
        }
    }
    Ok(bytes)
}
