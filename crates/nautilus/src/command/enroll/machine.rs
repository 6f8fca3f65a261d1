//! The machine's side of `nautilus enroll tpm`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use nautilus_core::AttestError;
use nautilus_tee::tpm::{Credential, EkKind, EnrolmentRequest, Tpm, answer_credential};
use serde_json::json;

use super::{EXAMPLE, cannot_create, read_part, shown};
use crate::cli::Global;
use crate::command::policy::write_new;
use crate::failure::Failure;
use crate::output::{self, Text};

/// What a request consists of: what `start` takes.
const EK_CERTIFICATE: &str = "ek.crt";
const EK: &str = "ek.pub";
const AK: &str = "ak.pub";

/// On the machine: make its attestation key, and write what `start` needs to know of its TPM.
///
/// Nothing that is written is secret.
#[derive(Args)]
#[command(after_long_help = EXAMPLE)]
pub struct Request {
    #[command(flatten)]
    tpm: Which,
    /// Which endorsement key [default: the first whose certificate the TPM has]
    #[arg(long, value_name = "KIND")]
    ek: Option<Ek>,
    /// Directory to create, for ek.crt, ek.pub and ak.pub
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// On the machine: have its TPM open the credential that `start` made.
#[derive(Args)]
#[command(after_long_help = EXAMPLE)]
pub struct Answer {
    #[command(flatten)]
    tpm: Which,
    /// What `start` made
    #[arg(value_name = "CREDENTIAL")]
    credential: PathBuf,
    /// Where to write the secret, which `finish` takes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Args)]
struct Which {
    /// The TPM: device:/dev/tpmrm0, unix:PATH or tcp:127.0.0.1:PORT [default: the machine's]
    #[arg(long, value_name = "NAME")]
    quote_provider: Option<String>,
}

/// A kind of endorsement key, as the command line names it.
#[derive(Clone, Copy, ValueEnum)]
enum Ek {
    P256,
    Rsa2048,
    P384,
}

impl From<Ek> for EkKind {
    fn from(ek: Ek) -> Self {
        match ek {
            Ek::P256 => Self::P256,
            Ek::Rsa2048 => Self::Rsa2048,
            Ek::P384 => Self::P384,
        }
    }
}

impl Which {
    fn open(&self) -> Result<Tpm, Failure> {
        Tpm::open(self.quote_provider.as_deref()).map_err(failed)
    }
}

impl Request {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let request = EnrolmentRequest::of(&self.tpm.open()?, self.ek.map(EkKind::from)).map_err(failed)?;
        self.write(&request)?;
        let (kind, certified) = (request.ek_kind.name(), request.ek_certificate.is_some());
        let name = hex::encode(&request.ak_name);
        if global.json {
            output::line(serde_json::to_string_pretty(&json!({
                "ak_name": name,
                "endorsement_key": kind,
                "ek_certificate": certified,
                "request": shown(&self.output),
            }))?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = Text::default();
        text.line(format_args!("asking to enrol attestation key {name}"));
        text.line(format_args!("  by endorsement key {kind}"));
        if !certified {
            text.line("  -- the TPM has no certificate of it: get it from the TPM's maker");
        }
        text.line(format_args!(
            "Bring the files in {} to who verifies:",
            shown(&self.output)
        ));
        text.line("  nautilus enroll tpm start --ek-certificate ek.crt --ek ek.pub --ak ak.pub …");
        text.print()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Writes all files, or none.
    fn write(&self, request: &EnrolmentRequest) -> Result<(), Failure> {
        fs::create_dir(&self.output).map_err(|error| cannot_create(&self.output, error))?;
        let certificate = request.ek_certificate.as_ref().map(|der| (EK_CERTIFICATE, der));
        let mut files = certificate
            .into_iter()
            .chain([(EK, &request.ek_public), (AK, &request.ak_public)]);
        let written = files.try_for_each(|(name, contents)| write_new(&self.output.join(name), contents));
        written.inspect_err(|_| {
            if let Err(error) = fs::remove_dir_all(&self.output) {
                eprintln!("nautilus: {} is left behind: {error}", shown(&self.output));
            }
        })
    }
}

impl Answer {
    pub(super) fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let bytes = read_part(&self.credential, Credential::MAX_LEN)?;
        let credential = Credential::from_tpm2_tools(&bytes).map_err(|error| {
            Failure::rejected(error).context(format!("{} is no credential", shown(&self.credential)))
        })?;
        let secret = answer_credential(&self.tpm.open()?, &credential).map_err(|error| match error {
            AttestError::Refused { .. } => Failure::rejected(error)
                .context("the TPM does not open the credential: was it made for this machine's keys?"),
            other => failed(other),
        })?;
        write_private(&self.output, &secret)?;
        if global.json {
            output::line(serde_json::to_string_pretty(
                &json!({ "secret": shown(&self.output) }),
            )?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = Text::default();
        text.line("the TPM opened the credential");
        text.line(format_args!(
            "Bring {} back to who verifies:",
            shown(&self.output)
        ));
        text.line("  nautilus enroll tpm finish DIR --secret secret -o tpm-ak.json");
        text.print()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A new file for its owner alone.
fn write_private(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    write().map_err(|error| cannot_create(path, error))
}

fn failed(error: AttestError) -> Failure {
    match error {
        AttestError::Unsupported { .. } => Failure::usage(error),
        _ => Failure::missing(error),
    }
}
