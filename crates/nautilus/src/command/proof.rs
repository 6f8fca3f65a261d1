//! `nautilus proof`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use nautilus_core::{Binding, Claims, EvidenceFile, Finding, MAX_EVIDENCE_FILE, UnixMillis, Verified};
use nautilus_proof::{CHECKS, PerformanceProof, ProofError};
use serde::Serialize;

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
    proof_id: String,
    node_id: String,
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
            let report = report(&proof, evidence.as_ref(), at);
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

/// Reads proofs one after another; a line of `nautilus up --json` counts by its `proof` field.
fn read_proofs(file: &Path) -> Result<Vec<PerformanceProof>, Failure> {
    let bytes = read_bounded(file, MAX_INPUT)?;
    if bytes.len() > MAX_INPUT {
        return Err(Failure::rejected(anyhow::anyhow!(
            "input has more than the {MAX_INPUT} bytes allowed"
        )));
    }
    let mut proofs = Vec::new();
    for value in serde_json::Deserializer::from_slice(&bytes).into_iter::<serde_json::Value>() {
        let value = value.map_err(|error| Failure::rejected(ProofError::Json(error)))?;
        let proof = match value {
            serde_json::Value::Object(mut object) if object.contains_key("kind") => object
                .remove("proof")
                .unwrap_or(serde_json::Value::Object(object)),
            other => other,
        };
        let text = serde_json::to_vec(&proof)?;
        proofs.push(PerformanceProof::from_json(&text).map_err(Failure::rejected)?);
    }
    if proofs.is_empty() {
        return Err(Failure::rejected(anyhow::anyhow!(
            "{} holds no proof",
            file.display()
        )));
    }
    Ok(proofs)
}

fn report(proof: &PerformanceProof, evidence: Option<&Verified<Claims>>, at: UnixMillis) -> Report {
    let (findings, error) = match proof.verify(at) {
        Ok(_) => {
            let passed = |check: &str| finding(check, true, "holds");
            let mut findings: Vec<_> = CHECKS.into_iter().map(passed).collect();
            findings.extend(attestation_findings(proof, evidence));
            let failed = findings.iter().find(|finding| !finding.passed);
            let error = failed.map(|finding| ErrorReport {
                kind: "attestation_mismatch",
                detail: finding.detail.clone(),
            });
            (findings, error)
        }
        Err(error) => {
            let detail = error.to_string();
            (
                vec![finding(error.kind(), false, &detail)],
                Some(ErrorReport {
                    kind: error.kind(),
                    detail,
                }),
            )
        }
    };
    Report {
        verdict: if error.is_some() { "rejected" } else { "accepted" },
        proof_id: proof.proof_id.to_string(),
        node_id: proof.node_id.to_string(),
        findings,
        error,
    }
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
    println!(
        "{} proof {} of node {}",
        report.verdict, report.proof_id, report.node_id
    );
    for finding in &report.findings {
        println!(
            "  {} {}: {}",
            if finding.passed { "ok  " } else { "FAIL" },
            printable(&finding.rule),
            printable(&finding.detail)
        );
    }
}
