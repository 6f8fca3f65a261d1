//! What a running node measured: asked of its page's API.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use nautilus_agent::config::parse_duration;
use nautilus_core::UnixMillis;
use nautilus_verifier::now;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::Uri;

use crate::cli::Global;
use crate::failure::{Failure, REJECTED, printable};
use crate::output::{self, Text};

/// Longest answer that is read whole: 200 series of 2,000 points.
const MAX_ANSWER: u64 = 64 << 20;
/// Until the answer begins: a query of a month takes well below a second.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// What is asked of the running node.
#[derive(Subcommand)]
pub enum History {
    /// Print the newest sample with all that was measured
    Now(Node),
    /// List the series that are kept
    Series(Node),
    /// Print one or more series over a time
    ///
    /// The answer says where nothing was measured, and why. Counters are printed as they count.
    Query(Query),
    /// Write every sample of series as CSV or as lines of JSON
    Export(Export),
    /// Have the node check that what it keeps is what its enclave signed
    ///
    /// Each sample's digest is computed anew of what is stored, and every signature checked. The node checks itself:
    /// whoever owns it can have it say anything. Exit code 1 if something is wrong, or nothing is kept.
    Verify(Verify),
}

/// Which node.
#[derive(Args)]
pub struct Node {
    /// Address of the running node's page
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8471")]
    url: Uri,
}

/// Which series, and of which time.
#[derive(Args)]
pub struct Span {
    /// The series: a name, `PREFIX*`, or a name with labels, such as 'nautilus_pod_cpu_usage_seconds{pod="web-0"}'
    #[arg(value_name = "SERIES")]
    series: String,
    #[command(flatten)]
    time: Time,
}

/// Of which time.
#[derive(Args)]
pub struct Time {
    /// Start: RFC 3339 [default: an hour before the end]
    #[arg(long, value_name = "TIME")]
    from: Option<UnixMillis>,
    /// End: RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<UnixMillis>,
    /// The time before the end, instead of --from
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "from")]
    last: Option<Duration>,
}

/// A query.
#[derive(Args)]
pub struct Query {
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    span: Span,
    /// How fine: every sample, or the least, greatest and mean of 5 minutes or an hour [default: by the time's length]
    #[arg(long)]
    resolution: Option<Resolution>,
}

/// A check.
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    time: Time,
}

/// An export.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    span: Span,
    /// Form of the lines
    #[arg(long, default_value = "csv")]
    format: Format,
    /// Where to write; `-` for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Resolution {
    Raw,
    #[value(name = "5m")]
    FiveMinutes,
    #[value(name = "1h")]
    Hour,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

impl Resolution {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }
}

impl Format {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

impl History {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        match self {
            Self::Verify(verify) => return verify.run(global),
            // Facts of many kinds: JSON is how they are read.
            Self::Now(node) => node.print(&node.ask("now", &[])?),
            Self::Series(node) => {
                let answer = node.ask("series", &[])?;
                if global.json {
                    node.print(&answer)
                } else {
                    list(&answer)
                }
            }
            Self::Query(query) => query.run(global),
            Self::Export(export) => export.run(),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Span {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = self.time.pairs();
        pairs.push(("series", self.series.clone()));
        pairs
    }
}

impl Time {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        const HOUR: Duration = Duration::from_secs(3600);
        let to = self.to.unwrap_or_else(now);
        let length = u64::try_from(self.last.unwrap_or(HOUR).as_millis()).unwrap_or(u64::MAX);
        let from = self.from.unwrap_or(UnixMillis(to.0.saturating_sub(length)));
        vec![("from", from.0.to_string()), ("to", to.0.to_string())]
    }
}

impl Verify {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let answer = self.node.ask("verify", &self.time.pairs())?;
        let report: Report = serde_json::from_slice(&answer)?;
        if global.json {
            self.node.print(&answer)?;
        } else {
            report.text().print()?;
        }
        Ok(if report.fault_count == 0 && report.samples > 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(REJECTED)
        })
    }
}

impl Query {
    fn run(&self, global: &Global) -> Result<(), Failure> {
        let mut pairs = self.span.pairs();
        if let Some(resolution) = self.resolution {
            pairs.push(("resolution", resolution.as_str().to_owned()));
        }
        let answer = self.node.ask("query", &pairs)?;
        if global.json {
            return self.node.print(&answer);
        }
        let answer: Answer = serde_json::from_slice(&answer)?;
        answer.text().print()
    }
}

impl Export {
    fn run(&self) -> Result<(), Failure> {
        let mut pairs = self.span.pairs();
        pairs.push(("format", self.format.as_str().to_owned()));
        let mut body = self.node.open("export", &pairs)?.into_reader();
        if self.output.as_os_str() == "-" {
            return match io::copy(&mut body, &mut io::stdout().lock()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
                _ => Ok(()),
            };
        }
        if fs::metadata(&self.output).is_ok_and(|found| !found.is_file()) {
            let mut device = fs::OpenOptions::new().write(true).open(&self.output)?;
            io::copy(&mut body, &mut device)?;
            return Ok(());
        }
        // A file that is cut short must not pass for the whole.
        let mut part = self.output.clone().into_os_string();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let mut write = || -> io::Result<()> {
            let mut file = File::create_new(&part)?;
            io::copy(&mut body, &mut file)?;
            file.sync_all()?;
            fs::rename(&part, &self.output)
        };
        write().map_err(|error| {
            // What there is of it is of no use.
            let _gone = fs::remove_file(&part);
            Failure::missing(error).context(format!("cannot write {}", self.output.display()))
        })
    }
}

impl Node {
    fn open(&self, what: &str, pairs: &[(&str, String)]) -> Result<ureq::Body, Failure> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_recv_response(Some(ANSWER_DEADLINE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build()
            .into();
        let base = self.url.to_string();
        let url = format!("{}/api/metrics/{what}", base.trim_end_matches('/'));
        let request = agent
            .get(&url)
            .query_pairs(pairs.iter().map(|(name, value)| (*name, value.as_str())));
        let response = request.call().map_err(|error| {
            Failure::missing(error).context(format!(
                "no node answers at {base}: start one with `nautilus up`, or say with --url where it is"
            ))
        })?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(body);
        }
        let mut text = String::new();
        body.into_reader().take(4096).read_to_string(&mut text)?;
        let told = serde_json::from_str::<Refused>(&text).map_or(text, |refused| refused.error.detail);
        Err(Failure::missing(anyhow::anyhow!("{}", printable(&told)))
            .context(format!("the node refused ({})", parts.status)))
    }

    fn ask(&self, what: &str, pairs: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
        let mut answer = Vec::new();
        let body = self.open(what, pairs)?;
        body.into_reader().take(MAX_ANSWER + 1).read_to_end(&mut answer)?;
        if answer.len() as u64 > MAX_ANSWER {
            return Err(Failure::missing(anyhow::anyhow!(
                "the answer is over {MAX_ANSWER} bytes: ask for less"
            )));
        }
        Ok(answer)
    }

    fn print(&self, answer: &[u8]) -> Result<(), Failure> {
        // Read, so that what is printed is JSON and nothing else.
        let value: Value = serde_json::from_slice(answer)?;
        output::line(value)
    }
}

#[derive(Deserialize)]
struct Refused {
    error: Detail,
}

#[derive(Deserialize)]
struct Detail {
    detail: String,
}

#[derive(Deserialize)]
struct Answer {
    series: Vec<Series>,
    gaps: Vec<Gap>,
    #[serde(default)]
    faults: Vec<Value>,
    truncated: bool,
}

#[derive(Deserialize)]
struct Series {
    name: String,
    points: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Gap {
    start: UnixMillisNumber,
    end: UnixMillisNumber,
    reason: String,
    collector: Option<String>,
    detail: String,
}

#[derive(Deserialize)]
struct Report {
    samples: u64,
    batches: u64,
    unsigned: u64,
    unchecked: u64,
    boots: Vec<Value>,
    faults: Vec<String>,
    fault_count: u64,
}

impl Report {
    fn text(&self) -> Text {
        let mut text = Text::default();
        if self.samples == 0 {
            text.line("nothing is kept of that time, so there is nothing to check");
        }
        text.line(format_args!(
            "{} samples of {} boots are what was signed, {} signatures",
            self.samples,
            self.boots.len(),
            self.batches
        ));
        if self.unsigned > 0 {
            text.line(format_args!(
                "{} samples at the start belong to a batch that began before, and were not checked",
                self.unsigned
            ));
        }
        if self.unchecked > 0 {
            text.line(format_args!(
                "{} samples follow what is wrong, and were not checked",
                self.unchecked
            ));
        }
        for fault in &self.faults {
            text.line(format_args!("wrong: {}", printable(fault)));
        }
        text
    }
}

/// The API counts milliseconds.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
struct UnixMillisNumber(u64);

impl Answer {
    fn text(&self) -> Text {
        let mut text = Text::default();
        for series in &self.series {
            text.line(printable(&series.name));
            for point in &series.points {
                let (at, values) = point.split_first().unwrap_or((&Value::Null, &[]));
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                let at = at
                    .as_u64()
                    .map_or_else(|| at.to_string(), |at| UnixMillis(at).to_string());
                text.line(format_args!("  {at}  {}", values.join("  ")));
            }
        }
        for gap in &self.gaps {
            text.line(format_args!(
                "nothing from {} to {}: {}{}{}",
                UnixMillis(gap.start.0),
                UnixMillis(gap.end.0),
                gap.collector
                    .as_ref()
                    .map(|name| format!("{} collector ", printable(name)))
                    .unwrap_or_default(),
                printable(&gap.reason),
                if gap.detail.is_empty() {
                    String::new()
                } else {
                    format!(", {}", printable(&gap.detail))
                }
            ));
        }
        for fault in &self.faults {
            text.line(format_args!("cannot be read: {}", printable(&fault.to_string())));
        }
        if self.series.is_empty() {
            text.line("no such series in that time: see `nautilus agent metrics series`");
        }
        if self.truncated {
            text.line("there is more than one answer holds: ask for less, or export");
        }
        text
    }
}

fn list(answer: &[u8]) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Listed {
        series: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let listed: Listed = serde_json::from_slice(answer)?;
    let mut text = Text::default();
    for series in listed.series {
        text.line(printable(&series.name));
    }
    text.print()
}
