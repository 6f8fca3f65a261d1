//! `nautilus agent`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_agent::attestation_service::{AttestationRequest, AttestationResponse};
use nautilus_agent::control::Command;
use nautilus_core::Digest32;
use nautilus_verifier::now;

use crate::cli::Global;
use crate::command::attest::{PurposeArgument, challenge, write_evidence};
use crate::command::enclave::asked;
use crate::command::metrics::Metrics;
use crate::command::up::{NodeFlags, Plan, Whom, run_node};
use crate::failure::{Failure, REJECTED};
use crate::output;

/// Run a node, ask the one that runs for evidence, or have its wallet sign metrics.
#[derive(Subcommand)]
pub enum Agent {
    Run(Box<Run>),
    Attest(Attest),
    Metrics(Box<Metrics>),
}

/// Run this machine's node against a verifier elsewhere, until Ctrl-C.
///
/// As `nautilus up`, without a verifier of its own: the node attests to the verifier at `attestation_url`, which is known
/// by `verifier_key`, through the attested channel. A channel that breaks is opened again, with new evidence. --policy is
/// what the node holds its own evidence to when others ask for it with `nautilus agent attest`.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    node: NodeFlags,
}

impl Run {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let plan = Plan::make(&self.node, false, global)?;
        let verifier = plan.configured_verifier()?;
        run_node(plan, Whom::Other(verifier), global.json)
    }
}

/// Have the running node answer a challenge with the key that it really signs with.
///
/// The evidence is verified and appraised by the policy in force, and the response signed in the enclave. With --json
/// the whole response is printed. Exit code 1 if the evidence was not accepted.
#[derive(Args)]
pub struct Attest {
    /// What the evidence is for
    #[arg(long = "type", value_name = "TYPE", default_value = "runtime")]
    purpose: PurposeArgument,
    /// The relying party's challenge: 32 bytes [default: random ones, printed]
    #[arg(long, value_name = "HEX")]
    challenge: Option<Digest32>,
    /// What the evidence binds besides: at most 4096 bytes. The challenge that it answers is then made of both
    #[arg(long, value_name = "HEX", value_parser = parse_user_data)]
    user_data: Option<UserData>,
    /// The policy that has to be in force, by id or name
    #[arg(long, value_name = "POLICY", default_value = "", hide_default_value = true)]
    policy_id: String,
    /// Which enclave, by name or id
    #[arg(long, value_name = "NAME", default_value = "node")]
    enclave: String,
    /// Where to write the evidence file; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone)]
struct UserData(Vec<u8>);

fn parse_user_data(text: &str) -> Result<UserData, String> {
    hex::decode(text).map(UserData).map_err(|error| error.to_string())
}

impl Agent {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(run) => run.run(global),
            Self::Attest(attest) => attest.run(global),
            Self::Metrics(metrics) => metrics.run(global),
        }
    }
}

impl Attest {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let asked_for = challenge(self.challenge)?.digest();
        let request = AttestationRequest {
            enclave_id: self.enclave.clone(),
            request_type: self.purpose.purpose(),
            challenge: asked_for.0.to_vec(),
            user_data: self
                .user_data
                .as_ref()
                .map(|data| data.0.clone())
                .unwrap_or_default(),
            policy_id: self.policy_id.clone(),
            timestamp: now(),
        };
        let response: AttestationResponse = asked(global, &Command::Attest { request })?;
        let to_stdout = match &self.output {
            Some(path) => write_evidence(path, &response.evidence)?,
            None => false,
        };
        if !to_stdout {
            self.print(global, asked_for, &response)?;
        }
        if response.verified {
            return Ok(ExitCode::SUCCESS);
        }
        let why = response.error.unwrap_or_default();
        eprintln!(
            "nautilus: {}",
            crate::failure::printable(&format!("evidence was not accepted: {why}"))
        );
        Ok(ExitCode::from(REJECTED))
    }

    fn print(
        &self,
        global: &Global,
        asked_for: Digest32,
        response: &AttestationResponse,
    ) -> Result<(), Failure> {
        if global.json {
            return output::line(serde_json::to_string(response)?);
        }
        let verdict = if response.verified {
            "accepted"
        } else {
            "not accepted"
        };
        output::line(format_args!(
            "{} evidence of {} bytes for challenge {asked_for}: {verdict}, valid until {}",
            response.quote.tee_type,
            response.quote.quote_data.len(),
            response.expires_at,
        ))
    }
}
