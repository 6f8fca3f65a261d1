//! `nautilus proof`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_core::{
    Binding, Claims, Digest32, EvidenceFile, Finding, MAX_EVIDENCE_FILE, NodeId, UnixMillis, Verified,
};
use nautilus_proof::{CHECKS, PerformanceProof, ProofError};
use serde::Serialize;
use serde_json::Value;

use crate::cli::Global;
use crate::command::verify::Trust;
use crate::failure::{Failure, REJECTED, printable};
use crate::input::{now, read_bounded, read_endorsements};

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
/// Checks, in this order: time range, expiry, every sample's signature and place, metrics hash, summary, Merkle
/// path, proof id, TEE signature, wallet signature. With --evidence it also checks that the key that signed is
/// the one the evidence speaks for.
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
    /// Collateral of the vendor, beside what the evidence file carries
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
        let proof = proof.map_err(Failure::rejected)?;
        println!("{}", serde_json::to_string_pretty(&proof)?);
    }
    Ok(ExitCode::SUCCESS)
}

impl VerifyProof {
    fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let at = self.at.unwrap_or_else(now);
        let evidence = self
            .evidence
            .as_deref()
            .map(|path| self.verified_evidence(global, path, at))
            .transpose()?;
        let mut code = ExitCode::SUCCESS;
        for proof in read_proofs(&self.file)? {
            let report = match &proof {
                Ok(proof) => report(proof, evidence.as_ref(), at),
                Err(error) => report_unreadable(error),
            };
            if report.verdict == "rejected" {
                code = ExitCode::from(REJECTED);
            }
            if global.json {
                println!("{}", serde_json::to_string(&report)?);
            } else {
                print_report(&report);
            }
        }
        Ok(code)
    }

    fn verified_evidence(
        &self,
        global: &Global,
        path: &Path,
        at: UnixMillis,
    ) -> Result<Verified<Claims>, Failure> {
        let file =
            EvidenceFile::from_json(&read_bounded(path, MAX_EVIDENCE_FILE)?).map_err(Failure::rejected)?;
        let mut endorsements = read_endorsements(&self.endorsements)?;
        endorsements.0.extend(file.endorsements.0);
        let binding = Binding::Claimed(file.challenge);
        self.trust
            .verifier_set(global)?
            .verify(&file.evidence, binding, &endorsements, at)
            .map_err(|error| {
                Failure::rejected(error).context(format!("evidence {} does not verify", path.display()))
            })
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

fn report(proof: &PerformanceProof, evidence: Option<&Verified<Claims>>, at: UnixMillis) -> Report {
    let (findings, error) = match proof.verify(at) {
        Ok(_) => {
            let mut findings: Vec<_> = CHECKS.iter().map(|check| finding(check, true, "holds")).collect();
            findings.extend(attestation_findings(proof, evidence));
            let failed = findings.iter().find(|finding| !finding.passed);
            let error = failed.map(|finding| ErrorReport {
                kind: "attestation_mismatch",
                detail: finding.detail.clone(),
            });
            (findings, error)
        }
        Err(error) => refused(&error),
    };
    Report {
        verdict: if error.is_some() { "rejected" } else { "accepted" },
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
    (
        vec![finding(error.kind(), false, &detail)],
        Some(ErrorReport {
            kind: error.kind(),
            detail,
        }),
    )
}

/// Whether the evidence speaks for the key that signed the proof.
fn attestation_findings(proof: &PerformanceProof, evidence: Option<&Verified<Claims>>) -> Vec<Finding> {
    let Some(claims) = evidence else {
        return vec![finding(
            "attestation",
            true,
            "not checked: give --evidence FILE to check whose key signed",
        )];
    };
    let bound = claims.user_data.as_ref();
    let same_key = bound.is_some_and(|bound| bound.tee_key == proof.verification_key);
    let same_boot = bound.is_some_and(|bound| bound.boot == proof.boot_id && bound.node == proof.node_id);
    vec![
        finding(
            "attestation hash",
            claims.evidence_id == proof.attestation_hash,
            &format!(
                "evidence is {}, proof names {}",
                claims.evidence_id, proof.attestation_hash
            ),
        ),
        finding(
            "attested key",
            same_key,
            "the evidence binds the key that signed the proof",
        ),
        finding(
            "attested boot",
            same_boot,
            "the evidence binds the proof's node and boot",
        ),
        finding(
            "assurance",
            claims.assurance == proof.assurance,
            &format!(
                "evidence gives {}, proof says {}",
                claims.assurance, proof.assurance
            ),
        ),
    ]
}

fn finding(rule: &str, passed: bool, detail: &str) -> Finding {
    Finding {
        rule: rule.to_owned(),
        passed,
        detail: detail.to_owned(),
    }
}

fn print_report(report: &Report) {
    match (report.proof_id, report.node_id) {
        (Some(proof), Some(node)) => println!("{} proof {proof} of node {node}", report.verdict),
        _ => println!("{}: this is no proof", report.verdict),
    }
    for finding in &report.findings {
        println!(
            "  {} {}: {}",
            if finding.passed { "ok  " } else { "FAIL" },
            printable(&finding.rule),
            printable(&finding.detail)
        );
    }
}
