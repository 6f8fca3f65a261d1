//! `nautilus endorsements`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use nautilus_agent::config::{DurationError, parse_duration};
use nautilus_core::{
    Binding, Endorsements as Documents, EvidenceFile, MAX_EVIDENCE_FILE, UnixMillis, VerifierSet,
    VerifyError, Want,
};
use nautilus_endorsements::{
    Ask, Base, Document, Event, FetchConfig, Fetched, Fetcher, Kept, Outcome, Provenance, Proxy, Store,
    StoreError, SystemTimer, Update, archive,
};
use nautilus_verifier::now;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::command::verify::{Trust, read_evidence};
use crate::failure::{Failure, MISSING, printable};
use crate::input::read_bounded;
use crate::output::{self, Text};

/// Waits shorter than this are not worth telling.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// Most documents for one want that go into an archive, newest first: verification takes the newest that fits.
const MAX_ARCHIVED: usize = 8;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Fetch, list, import, prune and archive vendors' endorsements
#[derive(Subcommand)]
pub enum Endorsements {
    Fetch(Fetch),
    List(List),
    Import(Import),
    Prune(Prune),
    Archive(Archive),
}

/// Which store.
#[derive(Args)]
pub struct StoreDirectory {
    /// The directory of endorsements [default: `endorsements` in the data directory]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Fetch what evidence needs from Intel and AMD.
///
/// What the store has and is not a day old is not fetched again. The vendor learns your address, the platform's
/// model (FMSPC) from Intel, and the chip's id from AMD; see docs/endorsements.md.
#[derive(Args)]
pub struct Fetch {
    /// Evidence to fetch for: raw quotes or evidence files
    #[arg(required = true, value_name = "EVIDENCE")]
    evidence: Vec<PathBuf>,
    /// Also fetch Intel's evaluation to come (`update=early`), which shows what a platform will be rated
    #[arg(long)]
    early: bool,
    /// Fetch also what the store has
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    services: Services,
    #[command(flatten)]
    store: StoreDirectory,
    #[command(flatten)]
    trust: Trust,
}

/// Whom to ask for endorsements.
#[derive(Args)]
pub struct Services {
    /// A caching service (PCCS) to ask in place of Intel's own
    #[arg(long, value_name = "URL")]
    pccs: Option<Base>,
    /// A mirror to ask in place of AMD's Key Distribution Service
    #[arg(long, value_name = "URL")]
    kds: Option<Base>,
    /// Certificates in PEM that the service's own must chain to, in place of the public ones
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

/// List what the store has
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    store: StoreDirectory,
}

/// Take documents from files into the store, each recognised by its content: DCAP collateral as JSON, certificates
/// and revocation lists in DER or PEM
#[derive(Args)]
pub struct Import {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreDirectory,
}

/// Remove documents that stopped holding long ago.
///
/// Evidence of the time before can no longer be appraised as of its time with this store.
#[derive(Args)]
pub struct Prune {
    /// How long ago they must have stopped holding: days such as `90d`, or a duration such as `36h`
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    older_than: Duration,
    #[command(flatten)]
    store: StoreDirectory,
}

/// Put an evidence file away together with the endorsements that it verifies with, so that `nautilus verify --at`
/// needs nothing else later.
///
/// Raw quotes have no place for endorsements: keep them beside a store that is not pruned.
#[derive(Args)]
pub struct Archive {
    /// The evidence file; `-` for standard input
    evidence: PathBuf,
    /// Where to write it with its endorsements; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Verify as of this time, and take the endorsements of it [default: now]
    #[arg(long, value_name = "RFC3339")]
    at: Option<UnixMillis>,
    #[command(flatten)]
    store: StoreDirectory,
    #[command(flatten)]
    trust: Trust,
}

fn parse_age(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    match days {
        Some(days) => Ok(DAY.saturating_mul(days)),
        None => parse_duration(text).map_err(|error: DurationError| format!("{error}, or days such as 90d")),
    }
}

impl Endorsements {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        match self {
            Self::Fetch(command) => command.run(global),
            Self::List(command) => command.run(global),
            Self::Import(command) => command.run(global),
            Self::Prune(command) => command.run(global),
            Self::Archive(command) => command.run(global),
        }
    }
}

impl Services {
    /// What asks them, and tells on standard error what takes long.
    pub fn fetcher(&self) -> Result<Fetcher, Failure> {
        let tls_roots = self
            .tls_ca
            .as_deref()
            .map(|path| read_bounded(path, Documents::MAX_SIZE))
            .transpose()?;
        let config = FetchConfig {
            pccs: self.pccs.clone(),
            kds: self.kds.clone(),
            tls_roots,
            proxy: Proxy::FromEnvironment,
            ..FetchConfig::default()
        };
        Fetcher::new(config, Arc::new(SystemTimer::default()), tell).map_err(Failure::usage)
    }
}

impl StoreDirectory {
    /// The store, which need not exist yet.
    pub fn open(&self, global: &Global) -> Result<Store, Failure> {
        match &self.store {
            Some(directory) => Ok(Store::new(directory)),
            None => default_store(global),
        }
    }
}

/// The store in the data directory.
pub fn default_store(global: &Global) -> Result<Store, Failure> {
    Ok(Store::new(global.data_dir()?.join("endorsements")))
}

impl Fetch {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let store = self.store.open(global)?;
        let set = self.trust.verifier_set(global)?;
        let mut wants: Vec<Want> = Vec::new();
        for path in &self.evidence {
            for want in wants_of(path, &set)? {
                if !wants.contains(&want) {
                    wants.push(want);
                }
            }
        }
        let fetcher = self.services.fetcher()?;
        let updates: &[Update] = if self.early {
            &[Update::Standard, Update::Early]
        } else {
            &[Update::Standard]
        };
        let ask = if self.refresh {
            Ask::Everything
        } else {
            Ask::Missing
        };
        let fetched = fetcher.fetch(&store, &wants, updates, ask, now());
        if global.json {
            let fetched: Vec<_> = fetched.iter().map(fetched_as_json).collect();
            let report = json!({"store": store.root(), "fetched": fetched});
            output::line(serde_json::to_string_pretty(&report)?)?;
        } else {
            rendered(&fetched).print()?;
        }
        let is_whole = fetched.iter().all(|fetched| fetched.result.is_ok());
        Ok(if is_whole {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(MISSING)
        })
    }
}

/// What happens while a person waits.
fn tell(event: Event<'_>) {
    match event {
        Event::Waiting { host, wait } if wait >= WORTH_TELLING => {
            eprintln!("waiting {} s before {host} may be asked again", wait.as_secs());
        }
        Event::Asking { url } if std::io::stderr().is_terminal() => eprintln!("asking {url}"),
        _ => {}
    }
}

fn wants_of(path: &Path, set: &VerifierSet) -> Result<Vec<Want>, Failure> {
    let rejected = |error: VerifyError| {
        Failure::rejected(error).context(format!("cannot tell what {} needs", path.display()))
    };
    let bytes = read_bounded(path, MAX_EVIDENCE_FILE)?;
    let input = read_evidence(bytes, set, None)?.map_err(|(_, error)| rejected(error))?;
    set.wants(&input.evidence).map_err(rejected)
}

fn fetched_as_json(fetched: &Fetched) -> Value {
    let (outcome, error) = match &fetched.result {
        Ok(outcome) => (json!(outcome), Value::Null),
        Err(error) => {
            let error = json!({"kind": error.kind(), "detail": error.to_string()});
            (Value::Null, error)
        }
    };
    json!({
        "want": fetched.want,
        "update": fetched.update,
        "outcome": outcome,
        "error": error,
    })
}

fn rendered(fetched: &[Fetched]) -> Text {
    let mut text = Text::default();
    if fetched.is_empty() {
        text.line("this evidence needs no endorsements");
    }
    for fetched in fetched {
        let (want, update) = (printable(&fetched.want.to_string()), fetched.update.as_str());
        match &fetched.result {
            Ok(outcome) => {
                let (how, documents) = match outcome {
                    Outcome::Stored { documents } => ("in the store", documents),
                    Outcome::Vendor { documents } => ("fetched", documents),
                };
                text.line(format_args!("ok   {want} ({update}): {how}"));
                for kept in documents {
                    text.line(format_args!("     {}", kept.path.display()));
                }
            }
            Err(error) => {
                text.line(format_args!(
                    "FAIL {want} ({update}): {}",
                    printable(&error.to_string())
                ));
            }
        }
    }
    text
}

impl List {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let store = self.store.open(global)?;
        let listing = store.list()?;
        if global.json {
            let report = json!({
                "store": store.root(),
                "documents": listing.kept,
                "damaged": damaged_as_json(&listing.damaged),
            });
            output::line(serde_json::to_string_pretty(&report)?)?;
        } else {
            let mut text = Text::default();
            text.line(format_args!(
                "{} documents in {}",
                listing.kept.len(),
                store.root().display()
            ));
            let at = now();
            for kept in &listing.kept {
                add_kept(&mut text, kept, at);
            }
            add_damaged(&mut text, &listing.damaged);
            text.print()?;
        }
        Ok(code_of(&listing.damaged))
    }
}

fn add_kept(text: &mut Text, kept: &Kept, at: UnixMillis) {
    let until = match kept.valid_until {
        Some(until) if until < at => format!("held until {until}"),
        Some(until) => format!("holds until {until}"),
        None => "holds without end".to_owned(),
    };
    let early = if kept.standard { "" } else { " (early)" };
    text.line(format_args!("  {}{early}, {until}", printable(&kept.subject)));
    text.line(format_args!("    {}", kept.path.display()));
}

fn add_damaged(text: &mut Text, damaged: &[StoreError]) {
    for error in damaged {
        text.line(format_args!("  FAIL {}", printable(&error.to_string())));
    }
}

fn damaged_as_json(damaged: &[StoreError]) -> Vec<String> {
    damaged.iter().map(ToString::to_string).collect()
}

/// A damaged file is something outside that is missing; what else was asked is done.
fn code_of(damaged: &[StoreError]) -> ExitCode {
    if damaged.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(MISSING)
    }
}

impl Import {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let store = self.store.open(global)?;
        // All are read before any is kept: a file that is none leaves the store as it was.
        let mut documents = Vec::new();
        for path in &self.files {
            let bytes = read_bounded(path, Documents::MAX_SIZE)?;
            let read = Document::recognise(bytes).map_err(|error| {
                Failure::rejected(error).context(format!("{} is no endorsement", path.display()))
            })?;
            documents.extend(read.into_iter().map(|document| (path, document)));
        }
        let mut kept = Vec::new();
        for (path, document) in &documents {
            let from = Provenance {
                source: format!("import of {}", path.display()),
                update: Update::Standard,
                at: now(),
            };
            kept.push(store.put(document, &from)?);
        }
        if global.json {
            let report = json!({"store": store.root(), "documents": kept});
            output::line(serde_json::to_string_pretty(&report)?)?;
        } else {
            let mut text = Text::default();
            for kept in &kept {
                add_kept(&mut text, kept, now());
            }
            text.print()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Prune {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let store = self.store.open(global)?;
        let age = u64::try_from(self.older_than.as_millis()).unwrap_or(u64::MAX);
        let pruned = store.prune(UnixMillis(now().0.saturating_sub(age)))?;
        if global.json {
            let report = json!({
                "store": store.root(),
                "removed": pruned.removed,
                "leftovers": pruned.leftovers,
                "damaged": damaged_as_json(&pruned.damaged),
            });
            output::line(serde_json::to_string_pretty(&report)?)?;
        } else {
            let mut text = Text::default();
            text.line(format_args!("removed {} documents", pruned.removed.len()));
            for kept in &pruned.removed {
                add_kept(&mut text, kept, now());
            }
            add_damaged(&mut text, &pruned.damaged);
            text.print()?;
        }
        Ok(code_of(&pruned.damaged))
    }
}

impl Archive {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let bytes = read_bounded(&self.evidence, MAX_EVIDENCE_FILE)?;
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Failure::usage(anyhow::anyhow!(
                "{} is no evidence file: raw evidence has no place for endorsements, keep it beside a store",
                self.evidence.display()
            )));
        }
        let file = EvidenceFile::from_json(&bytes).map_err(Failure::rejected)?;
        let set = self.trust.verifier_set(global)?;
        let store = self.store.open(global)?;
        let at = self.at.unwrap_or_else(now);
        let own = endorsements_of(&file, &set, &store, at)?;
        let endorsements = verified_with(&file, &set, own, at)?;
        let count = endorsements.0.len();
        let text = archive(file, endorsements)?;
        if self.output == Path::new("-") {
            output::line(text)?;
            return Ok(ExitCode::SUCCESS);
        }
        std::fs::write(&self.output, text).map_err(|error| {
            Failure::missing(error).context(format!("cannot write {}", self.output.display()))
        })?;
        if global.json {
            let report = json!({"file": self.output, "endorsements": count, "verified_at": at});
            output::line(serde_json::to_string_pretty(&report)?)?;
        } else {
            output::line(format_args!(
                "{} holds the evidence with {count} endorsements: verify it with --at {at}",
                self.output.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the store has for the evidence at a time.
fn endorsements_of(
    file: &EvidenceFile,
    set: &VerifierSet,
    store: &Store,
    at: UnixMillis,
) -> Result<Documents, Failure> {
    let mut own = Documents::default();
    for want in set.wants(&file.evidence).map_err(Failure::rejected)? {
        let found = store.standard_endorsements_for(&[want], at)?;
        own.0.extend(found.endorsements.0.into_iter().take(MAX_ARCHIVED));
    }
    Ok(own)
}

/// The endorsements that the evidence verifies with: the store's, or where it has none those that came along.
fn verified_with(
    file: &EvidenceFile,
    set: &VerifierSet,
    own: Documents,
    at: UnixMillis,
) -> Result<Documents, Failure> {
    let verify = |with: &Documents| set.verify(&file.evidence, Binding::Claimed(file.challenge), with, at);
    let brought = file.endorsements.clone();
    let (result, endorsements) = match verify(&own) {
        Err(VerifyError::EndorsementsMissing { .. }) if !brought.0.is_empty() => (verify(&brought), brought),
        result => (result, own),
    };
    match result {
        Ok(_) => Ok(endorsements),
        Err(error) if error.is_missing_input() => Err(Failure::missing(error).context(
            "the store has not all that this evidence needs: run `nautilus endorsements fetch` first",
        )),
        Err(error) => Err(Failure::rejected(error).context(format!("evidence does not verify as of {at}"))),
    }
}
