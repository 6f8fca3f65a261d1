//! `nautilus policy`

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_core::{
    Appraisal, Binding, Claims, MAX_EVIDENCE_FILE, Policy, ReferenceState, ReferenceValue, TeeKind,
    UnixMillis, Verified, VerifyError, pinned_policy, policy_template,
};
use nautilus_verifier::{VerifierKey, key_set, now, signed_ear};
use serde_json::json;

use crate::cli::Global;
use crate::command::verify::{Trust, read_evidence, read_policy, verify_with};
use crate::failure::{Failure, printable};
use crate::input::{read_bounded, read_endorsements};
use crate::output::{self, Text};

/// Write, check and explain policies: what is wanted of verified evidence.
#[derive(Subcommand)]
pub enum PolicyCommand {
    New(New),
    Check(Check),
    Explain(Explain),
    EarKeys(EarKeys),
}

/// Write a policy to start from: a template for a TEE, or one that pins what evidence has.
///
/// A template is strict, and no policy before its FILL_IN values are replaced: `nautilus policy check` names the line
/// of the first. With --from the evidence is verified first, and evidence that does not verify gives no policy.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    nautilus policy new --tee sgx -o sgx.yaml\n  \
    nautilus policy new --from quote.bin --endorsements collateral.json -o quote.yaml")]
pub struct New {
    /// The TEE to write a template for: sgx, tdx, sev, trustzone, keystone, tpm, nitro, simulated
    #[arg(
        long,
        value_name = "TEE",
        conflicts_with = "from",
        required_unless_present = "from"
    )]
    tee: Option<TeeKind>,
    /// Evidence whose measurements to pin; `-` for standard input
    #[arg(long, value_name = "EVIDENCE")]
    from: Option<PathBuf>,
    /// Where to write it; a file that is there is never replaced [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With --from: the vendor's endorsements, as in `nautilus verify`; may be given several times
    #[arg(long, value_name = "PATH", requires = "from")]
    endorsements: Vec<PathBuf>,
    /// With --from: verify as of this time [default: now]
    #[arg(long, value_name = "RFC3339", requires = "from")]
    at: Option<UnixMillis>,
    #[command(flatten)]
    trust: Trust,
}

/// Say whether files are policies that make sense, and what in them deserves a second look.
///
/// Warnings are no errors: the exit code is 2 only if a file is no policy.
#[derive(Args)]
#[command(after_help = "Example:\n  nautilus policy check sgx.yaml fleet.yaml")]
pub struct Check {
    /// Policies; `-` for standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Say in words what a policy lets pass, what it rejects, and what nobody checks.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    nautilus policy explain fleet.yaml\n  \
    nautilus policy explain fleet.yaml --tee sev")]
pub struct Explain {
    /// The policy; `-` for standard input
    file: PathBuf,
    /// Only what applies to evidence of this TEE
    #[arg(long, value_name = "TEE")]
    tee: Option<TeeKind>,
}

/// Print the key that verifies this verifier's signed attestation results (EAR), as a JSON Web Key Set.
///
/// A running verifier gives the same under /v1/keys. Take it over a channel that you trust: a key that comes along
/// with a result proves nothing.
#[derive(Args)]
#[command(after_help = "Example:\n  nautilus policy ear-keys > keys.json")]
pub struct EarKeys {}

impl PolicyCommand {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        match self {
            Self::New(command) => command.run(global),
            Self::Check(command) => command.run(global),
            Self::Explain(command) => command.run(global),
            Self::EarKeys(EarKeys {}) => ear_keys(global),
        }
    }
}

impl New {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let text = match (&self.from, self.tee) {
            (Some(evidence), _) => self.pinned(global, evidence)?,
            (None, Some(tee)) => policy_template(tee),
            (None, None) => return Err(Failure::usage(anyhow::anyhow!("give --tee or --from"))),
        };
        match self.output.as_deref() {
            None => output::write(&text)?,
            Some(path) if path == Path::new("-") => output::write(&text)?,
            Some(path) => {
                write_new(path, text.as_bytes())?;
                if global.json {
                    output::line(json!({ "policy_file": path }))?;
                } else {
                    output::line(format_args!("{} is written", path.display()))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn pinned(&self, global: &Global, path: &Path) -> Result<String, Failure> {
        let claims = self.verified(global, path)?;
        if claims.debug {
            return Err(Failure::rejected(anyhow::anyhow!(
                "a debugger may look into the TEE of {}: nothing it says is worth pinning",
                path.display()
            )));
        }
        let name = path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let name: String = name.chars().filter(|each| !each.is_control()).take(32).collect();
        let text = pinned_policy(&format!("pinned from {name}"), &claims);
        // What is written must be a policy: what evidence says is not ours to choose.
        Policy::from_yaml(&text)
            .map_err(|error| Failure::rejected(error).context("the evidence says what no policy can pin"))?;
        Ok(text)
    }

    fn verified(&self, global: &Global, path: &Path) -> Result<Verified<Claims>, Failure> {
        let set = self.trust.verifier_set(global)?;
        let own = read_endorsements(&self.endorsements)?;
        let bytes = read_bounded(path, MAX_EVIDENCE_FILE)?;
        let failed = |error: VerifyError| {
            let missing = error.is_missing_input();
            let told = format!("{} does not verify, so there is nothing to pin", path.display());
            let failure = if missing {
                Failure::missing(error)
            } else {
                Failure::rejected(error)
            };
            failure.context(told)
        };
        let input = read_evidence(bytes, &set, None)?.map_err(|(_, error)| failed(error))?;
        let binding = match input.challenge {
            Some(challenge) => Binding::Claimed(challenge),
            None => Binding::Unchecked {
                because: "a policy is made of the evidence, whatever it answers",
            },
        };
        let at = self.at.unwrap_or_else(now);
        verify_with(&set, &input.evidence, binding, &own, &input.endorsements, at).map_err(failed)
    }
}

/// Writes a file that was not there.
pub fn write_new(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    write().map_err(|error: io::Error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let told = format!("{} is there already: name another file", path.display());
            return Failure::usage(anyhow::anyhow!(told));
        }
        Failure::missing(error).context(format!("cannot write {}", path.display()))
    })
}

impl Check {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let mut text = Text::default();
        let mut reports = Vec::new();
        let mut failed = None;
        for path in &self.files {
            let shown = printable(&path.display().to_string());
            match read_policy(path) {
                Ok(policy) => {
                    let warnings = policy.warnings();
                    text.line(format_args!(
                        "ok    {shown}: `{}`, id {}",
                        printable(policy.name()),
                        policy.id()
                    ));
                    for warning in &warnings {
                        text.line(format_args!(
                            "  note  {}: {}",
                            printable(&warning.rule),
                            printable(&warning.text)
                        ));
                    }
                    reports.push(json!({
                        "file": path,
                        "ok": true,
                        "name": policy.name(),
                        "id": policy.id(),
                        "warnings": warnings,
                    }));
                }
                Err(failure) => {
                    let why = failure.causes().join(": ");
                    text.line(format_args!("FAIL  {shown}: {}", printable(&why)));
                    reports.push(json!({ "file": path, "ok": false, "error": why }));
                    failed.get_or_insert(failure.code());
                }
            }
        }
        if global.json {
            output::line(serde_json::to_string_pretty(&reports)?)?;
        } else {
            text.print()?;
        }
        Ok(failed.map_or(ExitCode::SUCCESS, ExitCode::from))
    }
}

impl Explain {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let policy = read_policy(&self.file)?;
        let notes = policy.explain(self.tee);
        let not_asked = policy.not_asked(self.tee);
        if global.json {
            output::line(serde_json::to_string_pretty(&json!({
                "name": policy.name(),
                "id": policy.id(),
                "tee": self.tee,
                "rules": notes,
                "not_asked": not_asked,
            }))?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = Text::default();
        text.line(format_args!("policy  {}", printable(policy.name())));
        text.line(format_args!("id      {}", policy.id()));
        text.line(match self.tee {
            Some(tee) => format!("rules for evidence of {tee}"),
            None => "rules".to_owned(),
        });
        let (checked, ignored): (Vec<_>, Vec<_>) = notes.into_iter().partition(|note| note.checked);
        for note in checked {
            text.line(format_args!(
                "  {}: {}",
                printable(&note.rule),
                printable(&note.text)
            ));
        }
        if !ignored.is_empty() {
            text.line("not checked, and why");
            for note in ignored {
                text.line(format_args!(
                    "  {}: {}",
                    printable(&note.rule),
                    printable(&note.text)
                ));
            }
        }
        text.line("never asked");
        for line in not_asked {
            text.line(format_args!("  {line}"));
        }
        text.print()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn ear_keys(global: &Global) -> Result<ExitCode, Failure> {
    let path = verifier_key_path(global)?;
    if !path.try_exists()? {
        let told = format!(
            "{} is not there: run `nautilus up` first, or give --data-dir",
            path.display()
        );
        return Err(Failure::missing(anyhow::anyhow!(told)));
    }
    let key = VerifierKey::open_or_create(&path)?;
    output::line(serde_json::to_string_pretty(&key_set(&key.public()))?)?;
    Ok(ExitCode::SUCCESS)
}

fn verifier_key_path(global: &Global) -> Result<PathBuf, Failure> {
    Ok(global.data_dir()?.join("verifier/verifier.key"))
}

/// Writes an appraisal as a signed attestation result, by the data directory's verifier: its key is made at first
/// use.
pub fn write_ear(global: &Global, appraisal: &Appraisal, path: &Path) -> Result<(), Failure> {
    let key = VerifierKey::open_or_create(&verifier_key_path(global)?)?;
    std::fs::write(path, signed_ear(&key, appraisal))
        .map_err(|error| Failure::missing(error).context(format!("cannot write {}", path.display())))
}

/// The policy's values that nothing was compared with, a line each: a value with a slip in its rule's name would
/// otherwise protect nobody, in silence.
pub fn add_unused(text: &mut Text, values: &[ReferenceValue]) {
    let mut unused = values
        .iter()
        .filter(|value| value.state == ReferenceState::Unused)
        .peekable();
    if unused.peek().is_some() {
        text.line("unused reference values");
    }
    for value in unused {
        text.line(format_args!(
            "  {} {}: {}",
            printable(&value.rule),
            printable(&value.value),
            printable(&value.why)
        ));
    }
}
