//! `nautilus-enclave`: the trusted core as its own process. The agent starts it; people need not.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use nautilus_core::{Protection, TeeKind};
use nautilus_enclave::{Address, Connection, Enclave, Needs, Sandbox};
use nautilus_tee::{Platform, PlatformOptions};
use sha2::{Digest, Sha256};

const USAGE: &str = "\
nautilus-enclave: the trusted core of a Nautilus node; `nautilus` starts it

usage: nautilus-enclave --connect ADDRESS --tee KIND [--simulated DIR] [--state FILE] [--quote-provider NAME]

  --connect ADDRESS       where the agent listens: unix://PATH, where that is the process that started this one;
                          tcp://127.0.0.1:PORT; or vsock://CID:PORT
  --tee KIND              TEE that this process runs in: sgx, tdx, sev, trustzone, keystone, tpm, nitro or
                          simulated
  --simulated DIR         directory with the platform keys of the simulated TEE; needed for it, and for no other
  --state FILE            where the sealed state is kept; its directory must exist. Without it, or where the TEE
                          seals nothing, the keys end with the process
  --quote-provider NAME   which of the TEE's ways to get a quote to use; the first that is there by default
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Help) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(Failure::Usage(what)) => {
            eprintln!("nautilus-enclave: {what}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(error)) => {
            let mut words = format!("nautilus-enclave: {error}\n");
            let mut cause = error.source();
            while let Some(error) = cause {
                words.push_str(&format!("  because: {error}\n"));
                cause = error.source();
            }
            // Whoever would read it may be gone, and that may be the error.
            let _unread = std::io::stderr().write_all(words.as_bytes());
            ExitCode::from(3)
        }
    }
}

enum Failure {
    Help,
    Usage(String),
    Failed(Box<dyn std::error::Error>),
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

fn run() -> Result<(), Failure> {
    let arguments = Arguments::parse(std::env::args_os().skip(1))?;
    let mut program = Sha256::new();
    std::io::copy(&mut std::fs::File::open("/proc/self/exe")?, &mut program)?;
    let connection = Connection::to_agent(&arguments.connect)?;
    let needs = Needs::of(
        arguments.tee,
        arguments.quote_provider.as_deref(),
        arguments.state.as_deref(),
    );
    let mut sandbox = Sandbox::withdraw(needs)?;
    let platform = Platform::open(
        arguments.tee,
        &PlatformOptions {
            program: program.finalize().into(),
            simulated: arguments.simulated,
            quote_provider: arguments.quote_provider,
        },
    )?;
    if arguments.state.is_some() && platform.sealer.is_none() {
        eprintln!(
            "nautilus-enclave: {} seals nothing: the keys end with this process, and --state is not used",
            arguments.tee
        );
    }
    let mut enclave = Enclave::open(platform, arguments.state.as_deref())?;
    if let Some(Protection::FileMode { path }) = enclave.protection() {
        eprintln!(
            "nautilus-enclave: WARNING: no TEE seals the state: whoever can read {path} has the keys of this node"
        );
    }
    if sandbox.leaves_memory_unlocked()
        && let Err(error) = enclave.lock_secrets()
    {
        sandbox.lacks(format!("no locked memory ({error})"));
    }
    connection.prepare()?;
    let missing = sandbox.confine()?;
    if !missing.is_empty() {
        eprintln!("nautilus-enclave: the sandbox lacks: {}", missing.join("; "));
    }
    connection.serve(enclave)?;
    Ok(())
}

struct Arguments {
    connect: Address,
    tee: TeeKind,
    simulated: Option<PathBuf>,
    state: Option<PathBuf>,
    quote_provider: Option<String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let [mut connect, mut tee, mut simulated, mut state, mut quote_provider] = [const { None }; 5];
        while let Some(word) = words.next() {
            let slot = match word.to_str() {
                Some("--help" | "-h") => return Err(Failure::Help),
                Some("--connect") => &mut connect,
                Some("--tee") => &mut tee,
                Some("--simulated") => &mut simulated,
                Some("--state") => &mut state,
                Some("--quote-provider") => &mut quote_provider,
                _ => return Err(Failure::Usage(format!("unknown argument {}", word.display()))),
            };
            let value = words
                .next()
                .ok_or_else(|| Failure::Usage(format!("{} needs a value", word.display())))?;
            if slot.replace(value).is_some() {
                return Err(Failure::Usage(format!("{} is given twice", word.display())));
            }
        }
        let needed =
            |value: Option<OsString>, flag| value.ok_or_else(|| Failure::Usage(format!("{flag} is missing")));
        let text = |value: OsString, flag| {
            value
                .into_string()
                .map_err(|value| Failure::Usage(format!("{flag} {} is no text", value.display())))
        };
        let tee: TeeKind = text(needed(tee, "--tee")?, "--tee")?
            .parse()
            .map_err(|error| Failure::Usage(format!("--tee: {error}")))?;
        match (tee, &simulated) {
            (TeeKind::Simulated, None) => {
                return Err(Failure::Usage("--tee simulated needs --simulated DIR".to_owned()));
            }
            (TeeKind::Simulated, Some(_)) | (_, None) => {}
            (_, Some(_)) => {
                return Err(Failure::Usage(format!("--simulated is not for --tee {tee}")));
            }
        }
        Ok(Self {
            connect: Address::parse(&needed(connect, "--connect")?)
                .map_err(|error| Failure::Usage(format!("--connect: {error}")))?,
            tee,
            simulated: simulated.map(PathBuf::from),
            state: state.map(PathBuf::from),
            quote_provider: quote_provider
                .map(|value| text(value, "--quote-provider"))
                .transpose()?,
        })
    }
}
