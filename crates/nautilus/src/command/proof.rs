//! `nautilus proof`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_core::{
    Appraisal, Binding, Challenge, Claims, Digest32, EvidenceFile, Finding, MAX_EVIDENCE_FILE, NodeId,
    UnixMillis, Verified,
};
use nautilus_proof::{CHECKS, PerformanceProof, ProofError};
use nautilus_verifier::now;
use serde::Serialize;
use serde_json::Value;

use crate::cli::Global;
use crate::command::verify::{Trust, add_findings, read_policy, verify_with};
use crate::failure::{Failure, REJECTED};
use crate::input::{read_bounded, read_endorsements};
use crate::output::{self, Text};

/// Most bytes of proofs that are read at once.
const MAX_INPUT: usize = 64 * 1024 * 1024;

/// Show or verify performance proofs.
#[derive(Subcommand)]
pub enum Proof {
    /// Print what proofs say, without verifying them
    Show {
        /// Proofs as JSON, one after another; `-` for standard input
        file: PathBuf,
    },
    Verify(VerifyProof),
}

/// Verify proofs: bare ones, or lines of `nautilus up --json`.
///
/// Checks, in this order: time range, expiry, every sample's place and every batch's signature, metrics hash, summary,
/// Merkle path, proof id, TEE signature, wallet signature. A proof that passes is `consistent`: it says nothing about
/// whose key signed. With --evidence it is `genuine` if that evidence speaks for the key, and with --policy `accepted`
/// if the policy accepts the evidence.
#[derive(Args)]
pub struct VerifyProof {
    /// Proofs as JSON, one after another; `-` for standard input
    file: PathBuf,
    /// Verify as of this time [default: now]
    #[arg(long, value_name = "RFC3339")]
    at: Option<UnixMillis>,
    /// Evidence file that speaks for the key
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// The challenge that the evidence must answer: what you asked for, not what its file says
    #[arg(long, value_name = "HEX", requires = "evidence")]
    challenge: Option<Digest32>,
    /// Policy to appraise the evidence by
    #[arg(long, value_name = "FILE", requires = "evidence")]
    policy: Option<PathBuf>,
    /// Endorsements to verify the evidence with, in place of those that it carries
    #[arg(long, value_name = "PATH", requires = "evidence")]
    endorsements: Vec<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

/// What `proof verify` prints as JSON for each proof.
#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    proof_id: Option<Digest32>,
    node_id: Option<NodeId>,
    findings: Vec<Finding>,
    error: Option<ErrorReport>,
}

#[derive(Serialize)]
struct ErrorReport {
    kind: &'static str,
    detail: String,
}

/// Evidence that verified, and what the policy says of it if one was given.
struct Attested {
    claims: Verified<Claims>,
    appraisal: Option<Appraisal>,
}

impl Proof {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        match self {
            Self::Show { file } => show(file),
            Self::Verify(command) => command.run(global),
        }
    }
}

fn show(file: &Path) -> Result<ExitCode, Failure> {
    for proof in read_proofs(file)? {
        output::line(serde_json::to_string_pretty(&proof.map_err(Failure::rejected)?)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl VerifyProof {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let at = self.at.unwrap_or_else(now);
        let attested = self
            .evidence
            .as_deref()
            .map(|path| self.attested(global, path, at))
            .transpose()?;
        let mut code = ExitCode::SUCCESS;
        for proof in read_proofs(&self.file)? {
            let report = match &proof {
                Ok(proof) => report(proof, attested.as_ref(), at),
                Err(error) => report_unreadable(error),
            };
            if report.verdict == "rejected" {
                code = ExitCode::from(REJECTED);
            }
            if global.json {
                output::line(serde_json::to_string(&report)?)?;
            } else {
                rendered(&report).print()?;
            }
        }
        Ok(code)
    }

    fn attested(&self, global: &Global, path: &Path, at: UnixMillis) -> Result<Attested, Failure> {
        let policy = self.policy.as_deref().map(read_policy).transpose()?;
        let file =
            EvidenceFile::from_json(&read_bounded(path, MAX_EVIDENCE_FILE)?).map_err(Failure::rejected)?;
        let own = read_endorsements(&self.endorsements)?;
        let binding = match self.challenge {
            Some(challenge) => Binding::Challenge(Challenge::from_digest(challenge)),
            None => Binding::Claimed(file.challenge),
        };
        let set = self.trust.verifier_set(global)?;
        let claims =
            verify_with(&set, &file.evidence, binding, &own, &file.endorsements, at).map_err(|error| {
                Failure::rejected(error).context(format!("evidence {} does not verify", path.display()))
            })?;
        let appraisal = policy.map(|policy| policy.appraise(claims.clone(), at));
        Ok(Attested { claims, appraisal })
    }
}

/// Reads proofs one after another; a line of `nautilus up --json` counts by its `proof` field. What is no proof ends
/// the list, and an empty input is no proof.
fn read_proofs(file: &Path) -> Result<Vec<Result<PerformanceProof, ProofError>>, Failure> {
    let bytes = read_bounded(file, MAX_INPUT)?;
    if bytes.len() > MAX_INPUT {
        return Ok(vec![Err(ProofError::TooLarge { size: bytes.len() })]);
    }
    let mut proofs = Vec::new();
    for value in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
        let proof = value.map_err(ProofError::Json).and_then(read_proof);
        let ends = proof.is_err();
        proofs.push(proof);
        if ends {
            break;
        }
    }
    if proofs.is_empty() {
        proofs.push(PerformanceProof::from_json(&[]));
    }
    Ok(proofs)
}

fn read_proof(value: Value) -> Result<PerformanceProof, ProofError> {
    let proof = match value {
        Value::Object(mut line) if line.contains_key("kind") => {
            line.remove("proof").unwrap_or(Value::Object(line))
        }
        other => other,
    };
    serde_json::from_value(proof).map_err(ProofError::Json)
}

fn report(proof: &PerformanceProof, attested: Option<&Attested>, at: UnixMillis) -> Report {
    let (verdict, findings, error) = match proof.verify(at) {
        Ok(_) => {
            let mut findings: Vec<_> = CHECKS
                .iter()
                .map(|check| Finding::new(*check, true, "holds"))
                .collect();
            findings.extend(attestation_findings(proof, attested));
            let failed = findings.iter().find(|finding| !finding.passed);
            let error = failed.map(|finding| ErrorReport {
                kind: "attestation_mismatch",
                detail: finding.detail.clone(),
            });
            let verdict = match (&error, attested) {
                (Some(_), _) => "rejected",
                (None, None) => "consistent",
                (None, Some(Attested { appraisal: None, .. })) => "genuine",
                (
                    None,
                    Some(Attested {
                        appraisal: Some(_), ..
                    }),
                ) => "accepted",
            };
            (verdict, findings, error)
        }
        Err(error) => {
            let (findings, error) = refused(&error);
            ("rejected", findings, error)
        }
    };
    Report {
        verdict,
        proof_id: Some(proof.proof_id),
        node_id: Some(proof.node_id),
        findings,
        error,
    }
}

fn report_unreadable(error: &ProofError) -> Report {
    let (findings, error) = refused(error);
    Report {
        verdict: "rejected",
        proof_id: None,
        node_id: None,
        findings,
        error,
    }
}

fn refused(error: &ProofError) -> (Vec<Finding>, Option<ErrorReport>) {
    let detail = error.to_string();
    let finding = Finding::new(error.kind(), false, detail.clone());
    (
        vec![finding],
        Some(ErrorReport {
            kind: error.kind(),
            detail,
        }),
    )
}

/// Whether the evidence speaks for the key that signed the proof, and what a policy says of it.
fn attestation_findings(proof: &PerformanceProof, attested: Option<&Attested>) -> Vec<Finding> {
    let Some(Attested { claims, appraisal }) = attested else {
        return vec![Finding::unchecked(
            "attestation",
            "give --evidence FILE to check whose key signed",
        )];
    };
    let bound = claims.user_data.as_ref();
    let same_key = bound.is_some_and(|bound| bound.tee_key == proof.verification_key);
    let same_boot = bound.is_some_and(|bound| bound.boot == proof.boot_id && bound.node == proof.node_id);
    let mut findings = vec![
        Finding::new(
            "attestation hash",
            claims.evidence_id == proof.attestation_hash,
            format!(
                "evidence is {}, proof names {}",
                claims.evidence_id, proof.attestation_hash
            ),
        ),
        Finding::new(
            "attested key",
            same_key,
            "the evidence binds the key that signed the proof",
        ),
        Finding::new(
            "attested boot",
            same_boot,
            "the evidence binds the proof's node and boot",
        ),
        Finding::new(
            "assurance",
            claims.assurance == proof.assurance,
            format!(
                "evidence gives {}, proof says {}",
                claims.assurance, proof.assurance
            ),
        ),
    ];
    match appraisal {
        Some(appraisal) => findings.extend(appraisal.findings().iter().cloned()),
        None => findings.push(Finding::unchecked(
            "policy",
            "give --policy FILE to have the evidence appraised",
        )),
    }
    findings
}

fn rendered(report: &Report) -> Text {
    let mut text = Text::default();
    match (report.proof_id, report.node_id) {
        (Some(proof), Some(node)) => {
            text.line(format_args!("{} proof {proof} of node {node}", report.verdict))
        }
        _ => text.line(format_args!("{}: this is no proof", report.verdict)),
    }
    add_findings(&mut text, &report.findings);
    text
}
