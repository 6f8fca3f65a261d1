//! `nautilus-enclave`: the trusted core as its own process. The agent starts it; people need not.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use nautilus_enclave::{Enclave, serve};
use nautilus_tee::simulated::{Image, Platform};
use sha2::{Digest, Sha256};

const USAGE: &str = "\
nautilus-enclave: the trusted core of a Nautilus node; `nautilus` starts it

usage: nautilus-enclave --socket PATH --simulated DIR

  --socket PATH     Unix socket on which the agent that started this process listens
  --simulated DIR   run as the simulated TEE, with the platform keys in DIR
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(what)) => {
            eprintln!("nautilus-enclave: {what}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(error)) => {
            eprintln!("nautilus-enclave: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::from(3)
        }
    }
}

enum Failure {
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
    let mut image = Sha256::new();
    std::io::copy(&mut std::fs::File::open("/proc/self/exe")?, &mut image)?;
    // A core dump or a debugger of the same user would read the signing key.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let platform = Platform::load(&arguments.simulated)?;
    let attester = platform.into_attester(Image::production(image.finalize().into()));
    let enclave =
        Enclave::boot(Box::new(attester)).map_err(|error| Failure::Failed(error.to_string().into()))?;
    serve(enclave, UnixStream::connect(&arguments.socket)?)?;
    Ok(())
}

struct Arguments {
    socket: PathBuf,
    simulated: PathBuf,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = std::ffi::OsString>) -> Result<Self, Failure> {
        let (mut socket, mut simulated) = (None, None);
        while let Some(word) = words.next() {
            let slot = match word.to_str() {
                Some("--help" | "-h") => {
                    print!("{USAGE}");
                    std::process::exit(0);
                }
                Some("--socket") => &mut socket,
                Some("--simulated") => &mut simulated,
                _ => return Err(Failure::Usage(format!("unknown argument {}", word.display()))),
            };
            let value = words
                .next()
                .ok_or_else(|| Failure::Usage(format!("{} needs a value", word.display())))?;
            *slot = Some(PathBuf::from(value));
        }
        let needed =
            |value: Option<PathBuf>, flag| value.ok_or_else(|| Failure::Usage(format!("{flag} is missing")));
        Ok(Self {
            socket: needed(socket, "--socket")?,
            simulated: needed(simulated, "--simulated")?,
        })
    }
}
