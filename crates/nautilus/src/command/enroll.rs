//! `nautilus enroll`

mod machine;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_core::{AnchorRole, Endorsement, EndorsementKind, Revocation, UnixMillis, VerifyError};
use nautilus_tee::endorsement;
use nautilus_tee::tpm::{Credential, EndorsementKey, Enrolment, Randomness, Verifier};
use nautilus_verifier::now;
use serde_json::json;

use crate::cli::Global;
use crate::command::policy::write_new;
use crate::failure::{Failure, printable};
use crate::input::{read_bounded, read_endorsements, read_secret, read_trust_anchors};
use crate::output::{self, Text};

/// Largest endorsement key certificate that is read, in bytes: an index of a TPM's memory holds no more.
const MAX_CERTIFICATE: usize = 64 * 1024;
/// Largest public area that is read, in bytes: the size before a `TPM2B_PUBLIC` says no more.
const MAX_PUBLIC: usize = 64 * 1024 + 1;
/// Longest answer that is read, in bytes: no digest of a TPM is longer, and no credential is longer than a digest.
const MAX_SECRET: usize = 64;
/// What an enrolment's directory holds: for the machine, and for `finish`.
const CREDENTIAL: &str = "credential";
const ENROLMENT: &str = "enrolment.json";

const EXAMPLE: &str = "\
Example. On the machine:
  nautilus enroll tpm request -o request

Here, with the files of request, and the maker's certificates:
  nautilus enroll tpm start --ek-certificate ek.crt --ek ek.pub --ak ak.pub \\
    --trust tpm-root=maker.pem --endorsements intermediates.pem -o node1

On the machine, with node1/credential:
  nautilus enroll tpm answer credential -o secret

Here, with secret:
  nautilus enroll tpm finish node1 --secret secret -o tpm-ak.json";

/// In two lines, for a terminal's width.
const START_USAGE: &str = "\
nautilus enroll tpm start [OPTIONS] --ek-certificate <FILE> --ek <FILE> --ak <FILE>
           --trust <tpm-root=PATH|DIR> --output <DIR>";

/// Enrol keys for which no vendor vouches
#[derive(Subcommand)]
pub enum Enroll {
    /// Enrol a TPM's attestation key: find out that it is in a genuine TPM (credential activation)
    #[command(subcommand, after_help = EXAMPLE)]
    Tpm(Tpm),
}

/// The relying party's two steps, each after one of the machine's.
#[derive(Subcommand)]
pub enum Tpm {
    Request(machine::Request),
    Start(Start),
    Answer(machine::Answer),
    Finish(Finish),
}

/// Check a TPM's endorsement key, and make a credential that only this TPM opens.
///
/// It opens it only if the attestation key is in it too. The machine's files are not trusted: the certificate must
/// chain to the maker's root, which you give.
#[derive(Args)]
#[command(override_usage = START_USAGE, after_long_help = EXAMPLE)]
pub struct Start {
    /// The endorsement key's certificate by the TPM's maker, in DER or PEM
    #[arg(long, value_name = "FILE")]
    ek_certificate: PathBuf,
    /// The endorsement key's public area: TPM2B_PUBLIC or TPMT_PUBLIC
    #[arg(long, value_name = "FILE")]
    ek: PathBuf,
    /// The attestation key's public area, likewise
    #[arg(long, value_name = "FILE")]
    ak: PathBuf,
    /// The root certificate of the TPM's maker: tpm-root=PATH, or a directory with a folder tpm-root; may be given
    /// several times
    #[arg(long, value_name = "tpm-root=PATH|DIR", required = true)]
    trust: Vec<String>,
    /// The maker's intermediate certificates and revocation lists (PEM or DER): a file, or a directory whose .pem,
    /// .crt, .cer, .der and .crl files are looked into; may be given several times
    #[arg(long, value_name = "PATH")]
    endorsements: Vec<PathBuf>,
    /// Verify the certificate as of this time [default: now]
    #[arg(long, value_name = "RFC3339")]
    at: Option<UnixMillis>,
    /// Directory to create: `credential` in it is for the machine; the rest stays here, for `finish`
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Compare what the TPM answered, and write the trust anchor for its attestation key.
///
/// An enrolment serves once: when the key is enrolled, its files are removed. After a wrong answer it waits for the
/// right one.
#[derive(Args)]
#[command(after_long_help = EXAMPLE)]
pub struct Finish {
    /// What `start` made
    #[arg(value_name = "DIR")]
    enrolment: PathBuf,
    /// What the TPM gave back, as `answer` or tpm2_activatecredential writes it; `-` for standard input
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    /// Where to write the trust anchor, which `--trust tpm-ak=FILE` takes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Enroll {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        match self {
            Self::Tpm(Tpm::Request(command)) => command.run(global),
            Self::Tpm(Tpm::Start(command)) => command.run(global),
            Self::Tpm(Tpm::Answer(command)) => command.run(global),
            Self::Tpm(Tpm::Finish(command)) => command.run(global),
        }
    }
}

impl Start {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let ek = self.endorsement_key()?;
        let (facts, revocation) = (ek.describe(), ek.revocation().clone());
        let ak = read_part(&self.ak, MAX_PUBLIC)?;
        let (enrolment, credential) = Enrolment::start(ek, &ak, &randomness()?).map_err(refused)?;
        self.write(&enrolment, &credential)?;
        let (name, credential) = (hex::encode(enrolment.name()), self.output.join(CREDENTIAL));
        if global.json {
            output::line(serde_json::to_string_pretty(&json!({
                "ak_name": name,
                "endorsement_key": facts,
                "revocation": revocation,
                "enrolment": shown(&self.output),
                "credential": shown(&credential),
            }))?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = Text::default();
        text.line("the endorsement key is of a TPM whose maker you trust");
        for (fact, value) in &facts {
            text.line(format_args!("  {fact:<22} {}", printable(value)));
        }
        text.line(match &revocation {
            Revocation::Checked { .. } => "  ok revocation: the maker's lists do not name it".to_owned(),
            Revocation::Unchecked { because } => format!("  -- revocation: {}", printable(because)),
            Revocation::NotApplicable { because } => format!("  -- revocation: {because}"),
        });
        text.line(format_args!("waiting for attestation key {name}"));
        text.line(format_args!("Have the machine open {}:", shown(&credential)));
        text.line("  nautilus enroll tpm answer credential -o secret");
        text.line("and bring back the secret:");
        text.line(format_args!(
            "  nautilus enroll tpm finish {} --secret secret -o tpm-ak.json",
            shown(&self.output)
        ));
        text.print()?;
        Ok(ExitCode::SUCCESS)
    }

    fn endorsement_key(&self) -> Result<EndorsementKey, Failure> {
        let anchors = read_trust_anchors(&self.trust)?;
        if anchors.of_role(AnchorRole::TpmRoot).next().is_none() {
            return Err(Failure::usage(anyhow::anyhow!(
                "no root certificate to trust: give the TPM maker's as --trust tpm-root=PATH"
            )));
        }
        let verifier = Verifier::new(&anchors).map_err(Failure::usage)?;
        let endorsements = read_endorsements(&self.endorsements)?;
        let certificate = certificate_in(&self.ek_certificate)?;
        let public = read_part(&self.ek, MAX_PUBLIC)?;
        let at = self.at.unwrap_or_else(now);
        verifier
            .endorsement_key(&certificate, &public, &endorsements, at)
            .map_err(refused)
    }

    /// Writes both files, or none.
    fn write(&self, enrolment: &Enrolment, credential: &Credential) -> Result<(), Failure> {
        // Whoever can write to it decides which key is enrolled.
        let created = DirBuilder::new().mode(0o700).create(&self.output);
        created.map_err(|error| cannot_create(&self.output, error))?;
        let files = [
            (ENROLMENT, enrolment.to_json().into_bytes()),
            (CREDENTIAL, credential.to_tpm2_tools()),
        ];
        let written = files
            .iter()
            .try_for_each(|(name, contents)| write_new(&self.output.join(name), contents));
        written.inspect_err(|_| {
            if let Err(error) = fs::remove_dir_all(&self.output) {
                eprintln!("nautilus: {} is left behind: {error}", shown(&self.output));
            }
        })
    }
}

impl Finish {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        if self.output == Path::new("-") {
            return Err(Failure::usage(anyhow::anyhow!(
                "-o -: the trust anchor is written to a file, since the enrolment is gone afterwards: name one"
            )));
        }
        let enrolment = self.enrolment()?;
        let secret = read_secret(&self.secret, MAX_SECRET)?;
        let key = enrolment.confirm(&secret).map_err(refused)?;
        drop(secret);
        write_new(&self.output, format!("{}\n", key.to_anchor()).as_bytes())?;
        self.remove_enrolment()?;
        let (name, facts, anchor) = (hex::encode(key.name()), key.describe(), shown(&self.output));
        if global.json {
            output::line(serde_json::to_string_pretty(&json!({
                "ak_name": name,
                "endorsement_key": facts,
                "role": AnchorRole::TpmAttestationKey.as_str(),
                "trust_anchor": anchor,
            }))?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = Text::default();
        text.line(format_args!("enrolled: attestation key {name} is in the TPM"));
        for (fact, value) in &facts {
            text.line(format_args!("  {fact:<22} {}", printable(value)));
        }
        text.line("Verify its quotes with:");
        text.line(format_args!(
            "  nautilus verify EVIDENCE --trust {}={anchor} --report-data HEX",
            AnchorRole::TpmAttestationKey
        ));
        text.print()?;
        Ok(ExitCode::SUCCESS)
    }

    fn enrolment(&self) -> Result<Enrolment, Failure> {
        let path = self.enrolment.join(ENROLMENT);
        let bytes = read_bounded(&path, Enrolment::MAX_LEN).map_err(|failure| {
            failure.context(format!(
                "no enrolment waits in {}: each serves once, so start another with `nautilus enroll tpm start`",
                shown(&self.enrolment)
            ))
        })?;
        Enrolment::from_json(&bytes).map_err(|why| {
            let path = shown(&path);
            Failure::usage(anyhow::anyhow!(why))
                .context(format!("{path} is no enrolment that can be finished"))
        })
    }

    /// The directory goes too, unless somebody put something into it.
    fn remove_enrolment(&self) -> Result<(), Failure> {
        for name in [ENROLMENT, CREDENTIAL] {
            let path = self.enrolment.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::missing(error).context(format!(
                        "the trust anchor is in {}, but {} cannot be removed: remove it, an enrolment serves once",
                        shown(&self.output),
                        shown(&path)
                    )));
                }
                _ => {}
            }
        }
        match fs::remove_dir(&self.enrolment) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                eprintln!(
                    "nautilus: {} is left behind, empty: {error}",
                    shown(&self.enrolment)
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The one certificate of a file.
fn certificate_in(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_part(path, MAX_CERTIFICATE)?;
    if !bytes.trim_ascii_start().starts_with(b"-----BEGIN ") {
        return Ok(bytes);
    }
    let documents = endorsement::read(&bytes, &shown(path)).map_err(Failure::rejected)?;
    match <[Endorsement; 1]>::try_from(documents) {
        Ok([only]) if only.kind == EndorsementKind::Certificate => Ok(only.bytes),
        _ => Err(Failure::usage(anyhow::anyhow!(
            "{} must hold the endorsement key's certificate alone: give intermediates and revocation lists by \
             --endorsements",
            shown(path)
        ))),
    }
}

/// A file from the machine.
fn read_part(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let bytes = read_bounded(path, limit)?;
    if bytes.len() > limit {
        let told = anyhow::anyhow!("{} has more than the {limit} bytes allowed", shown(path));
        return Err(Failure::rejected(told));
    }
    Ok(bytes)
}

fn randomness() -> Result<Randomness, Failure> {
    let mut randomness = Randomness {
        secret: [0; 32],
        seed: [0; 64],
    };
    for bytes in [&mut randomness.secret[..], &mut randomness.seed[..]] {
        getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    }
    Ok(randomness)
}

fn refused(error: VerifyError) -> Failure {
    let VerifyError::EndorsementsMissing { wants } = &error else {
        return Failure::rejected(error).context("the attestation key is not enrolled");
    };
    let urls: Vec<_> = wants.iter().flat_map(|want| want.urls.iter().cloned()).collect();
    let advice = match urls.as_slice() {
        [] => "name them with --endorsements".to_owned(),
        urls => format!("get {} and name them with --endorsements", urls.join(", ")),
    };
    Failure::missing(error).context(format!("the endorsement key's chain is not whole: {advice}"))
}

fn cannot_create(path: &Path, error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Failure::usage(anyhow::anyhow!(
            "{} is there already: name another, a new one for each enrolment",
            shown(path)
        ));
    }
    Failure::missing(error).context(format!("cannot create {}", shown(path)))
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}
