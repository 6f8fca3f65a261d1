//! Events as lines for people.

use nautilus_agent::event::{BootFacts, EnclaveStatus, Event, What};
use nautilus_core::AppraisalVerdict;
use nautilus_proof::Measurement;
use serde_json::Value;

use crate::failure::printable;

/// The lines of an event; none for events that only programs want.
pub fn lines(event: &Event) -> Option<String> {
    let text = match &event.what {
        What::Listening { url } => stage("page", url),
        What::Detect { reason, .. } => stage("detect", reason),
        What::Enclave(facts) => {
            let (image, hash) = (&facts.image, short(&facts.image_hash));
            let detail = match facts.status {
                EnclaveStatus::Created => {
                    format!("created: process {}, image {image}, sha256 {hash}", facts.pid)
                }
                EnclaveStatus::Initialized => {
                    let key = facts.tee_key.map(|key| short(&key)).unwrap_or_default();
                    let boot = facts.boot_id.map(|boot| short(&boot)).unwrap_or_default();
                    format!("initialized: boot {boot}, signing key {key} made inside")
                }
                EnclaveStatus::Attested => "attested".to_owned(),
                EnclaveStatus::Running if facts.name.is_node() => {
                    "running: samples are signed inside".to_owned()
                }
                EnclaveStatus::Running => "running".to_owned(),
                EnclaveStatus::Suspended => "suspended: nothing is signed".to_owned(),
                EnclaveStatus::Terminated => "terminated".to_owned(),
                EnclaveStatus::Error => "failed".to_owned(),
            };
            let reason = facts
                .reason
                .as_ref()
                .map(|why| format!(": {why}"))
                .unwrap_or_default();
            stage("enclave", &format!("`{}` {detail}{reason}", facts.name))
        }
        What::Provisioned {
            name,
            broker,
            secrets,
        } => {
            let secrets: Vec<_> = secrets
                .iter()
                .map(|secret| format!("{} (sealed {})", secret.name, short(&secret.sealed)))
                .collect();
            stage(
                "secrets",
                &format!("`{name}` took {} from {broker}", secrets.join(", ")),
            )
        }
        What::Channel(facts) => stage(
            "channel",
            &format!(
                "open to the {} at {}, known by key {}: session {}, {}, until {}",
                facts.peer,
                facts.address,
                short(&facts.peer_key),
                short(&facts.channel_id),
                facts.group,
                facts.expires_at
            ),
        ),
        What::Boot(facts) => boot(facts),
        What::Rotated(facts) => stage(
            "rotated",
            &format!(
                "`{}` signs with {} from now on; {} said so, and signs no more",
                facts.name,
                short(&facts.rotation.successor),
                short(&facts.rotation.retired)
            ),
        ),
        What::Sample(sample) => stage(
            "sample",
            &format!("{}: {}", sample.sequence, measured(&sample.measurement)),
        ),
        // For programs: a person sees the batch.
        What::Stored { .. } => return None,
        What::Batch {
            first,
            count,
            signature,
            ..
        } => stage(
            "batch",
            &format!(
                "samples {first} to {}: signed {}",
                first.saturating_add(u64::from(*count).saturating_sub(1)),
                short(signature)
            ),
        ),
        What::Proof { proof, checks } => stage(
            "proof",
            &format!(
                "{}: {} of {} slots covered in {} s, {} checks passed; proof {}",
                proof.sequence,
                proof.covered,
                proof.slots,
                proof.time_range.duration,
                checks.iter().filter(|check| check.passed).count(),
                short(&proof.proof_id),
            ),
        ),
        What::Settled {
            sequence,
            height,
            entry,
            ..
        } => stage(
            "settled",
            &format!(
                "{sequence}: at height {height} of the ledger, entry {}",
                short(entry)
            ),
        ),
        What::Reward {
            amount,
            accrued,
            wallet,
            ..
        } => stage(
            "reward",
            &format!("{amount} units to {}; {accrued} in all", short(wallet)),
        ),
        What::Warning { detail } => stage("warning", detail),
        What::Stopped {
            reason,
            settled,
            reward,
        } => stage(
            "stopped",
            &format!("{reason}; {settled} proofs settled, {reward} units earned in this run"),
        ),
    };
    Some(text)
}

/// What a sample measured of the machine, and what it did not measure.
fn measured(measurement: &Measurement) -> String {
    let machine = measurement.metrics.as_ref().map(|metrics| {
        format!(
            "cpu {}, memory {}, disk {}, load {}.{:02}, {} processes",
            percent(metrics.cpu_usage_bp),
            percent(metrics.memory_usage_bp),
            percent(metrics.disk_usage_bp),
            metrics.load_average_centi[0] / 100,
            metrics.load_average_centi[0] % 100,
            metrics.process_count,
        )
    });
    let missed = (measurement.missed > 0).then(|| format!("{} ticks missed before it", measurement.missed));
    let gaps = measurement
        .gaps
        .iter()
        .map(|gap| format!("{} {}", gap.collector.as_str(), gap.reason.as_str()));
    let parts: Vec<_> = machine.into_iter().chain(missed).chain(gaps).collect();
    parts.join("; ")
}

fn boot(facts: &BootFacts) -> String {
    let verdict = match facts.verdict {
        AppraisalVerdict::Accepted => "accepted",
        AppraisalVerdict::Rejected => "rejected",
    };
    let policy = facts.appraisal["policy"].as_str().unwrap_or_default();
    let mut lines = vec![stage(
        "boot",
        &format!(
            "{verdict} by policy `{policy}`: assurance {}, node {}, evidence {}",
            facts.assurance,
            short(&facts.node_id),
            facts.evidence_file
        ),
    )];
    for finding in facts.appraisal["findings"].as_array().into_iter().flatten() {
        let mark = match (&finding["checked"], &finding["passed"]) {
            (Value::Bool(false), Value::Bool(true)) => "--  ",
            (_, Value::Bool(true)) => "ok  ",
            _ => "FAIL",
        };
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        lines.push(stage("", &format!("{mark} {}: {}", text("rule"), text("detail"))));
    }
    lines.join("\n")
}

/// A line. Details quote peers and enclaves, which must not move the cursor.
fn stage(name: &str, detail: &str) -> String {
    format!("{name:<8} {}", printable(detail))
}

fn percent(basis_points: u16) -> String {
    format!("{}.{:02} %", basis_points / 100, basis_points % 100)
}

fn short(value: &impl ToString) -> String {
    let text = value.to_string();
    text.get(..16).map(|head| format!("{head}…")).unwrap_or(text)
}
