//! `nautilus enclave`

use std::process::ExitCode;

use clap::Subcommand;
use nautilus_agent::control::{AskError, Command, ask};
use nautilus_agent::enclave_manager::{EnclaveInstance, EnclaveName};
use serde::de::DeserializeOwned;

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::{self, Text};

/// Create, list, suspend, resume, rotate and terminate the enclaves of the node that runs.
///
/// The commands talk to `nautilus up` in the data directory. Its own enclave, which signs its samples, is `node`.
/// Others serve the same node with keys of their own: they are attested for workloads, and settle nothing.
#[derive(Subcommand)]
pub enum Enclave {
    /// Start a further enclave, and wait until it is attested and runs
    Create {
        /// Its name: 1 to 32 lower-case letters, digits and hyphens, a letter first
        name: EnclaveName,
    },
    /// List every enclave with its state
    List,
    /// Have an enclave sign nothing until it is resumed. While `node` is suspended there are no samples, which counts
    /// as down; its open window is closed before
    Suspend {
        /// Its name
        name: EnclaveName,
    },
    /// Let a suspended enclave go on, in the same boot
    Resume {
        /// Its name
        name: EnclaveName,
    },
    /// Have an enclave replace its keys and attest anew: its open window is closed and settled, the old key signs the
    /// new one, and a new boot begins
    Rotate {
        /// Its name
        name: EnclaveName,
    },
    /// End an enclave for good
    Terminate {
        /// Its name
        name: EnclaveName,
        /// Also `node`: its last window is closed and settled, and `nautilus up` ends
        #[arg(long)]
        force: bool,
    },
}

impl Enclave {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let command = match self {
            Self::List => {
                let enclaves: Vec<EnclaveInstance> = asked(global, &Command::EnclaveList {})?;
                return list(global, &enclaves);
            }
            Self::Create { name } => Command::EnclaveCreate { name: name.clone() },
            Self::Suspend { name } => Command::EnclaveSuspend { name: name.clone() },
            Self::Resume { name } => Command::EnclaveResume { name: name.clone() },
            Self::Rotate { name } => Command::EnclaveRotate { name: name.clone() },
            Self::Terminate { name, force } => Command::EnclaveTerminate {
                name: name.clone(),
                force: *force,
            },
        };
        let instance: EnclaveInstance = asked(global, &command)?;
        if global.json {
            output::line(serde_json::to_string(&instance)?)?;
        } else {
            output::line(line(&instance))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Has the running node follow a command, and reads its answer.
pub fn asked<T: DeserializeOwned>(global: &Global, command: &Command) -> Result<T, Failure> {
    let answer = ask(&global.data_dir()?, command).map_err(failure)?;
    let read = serde_json::from_value(answer);
    read.map_err(|error| {
        Failure::missing(error).context("the node answered something else than it was asked")
    })
}

/// Errors of names and states are the user's, the others are the world's.
fn failure(error: AskError) -> Failure {
    let users = [
        "bad_request",
        "enclave_unknown",
        "illegal_transition",
        "name_invalid",
        "name_taken",
        "needs_force",
        "policy_unknown",
    ];
    match &error {
        AskError::Failed(failed) if users.contains(&failed.kind.as_str()) => Failure::usage(error),
        _ => Failure::missing(error),
    }
}

fn list(global: &Global, enclaves: &[EnclaveInstance]) -> Result<ExitCode, Failure> {
    if global.json {
        output::line(serde_json::json!({ "enclaves": enclaves }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Text::default();
    enclaves.iter().for_each(|instance| text.line(line(instance)));
    text.print()?;
    Ok(ExitCode::SUCCESS)
}

fn line(instance: &EnclaveInstance) -> String {
    let EnclaveInstance {
        name,
        status,
        tee_type,
        pid,
        reason,
        ..
    } = instance;
    let boot = instance.boot_id.map(|boot| boot.to_string()).unwrap_or_default();
    let attested = match instance.last_attestation {
        Some(at) => format!("attested {at}"),
        None => "not attested".to_owned(),
    };
    let reason = reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{name:<12} {status:<11} {tee_type}, process {pid}, boot {boot}, {attested}{reason}")
}
