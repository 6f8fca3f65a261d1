//! `nautilus ledger`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use nautilus_agent::identity::NodeIdentity;
use nautilus_core::{NodeId, PublicKey, SignedMessage};
use nautilus_ledger::{
    ClaimRequest, EmbeddedLedger, Genesis, LedgerFileError, LedgerView, Rules, SubmitError, Transaction,
    replay,
};
use nautilus_verifier::now;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::{self, Text};

/// Read the embedded ledger, also while `nautilus up` writes it, and claim its rewards.
#[derive(Subcommand)]
pub enum Ledger {
    /// Print where the log ends, and how much it holds
    Status,
    /// List the nodes, their appraisals and where they are
    Nodes,
    /// List the settled proofs, oldest first
    Proofs {
        /// Of this node only
        #[arg(long, value_name = "ID")]
        node: Option<NodeId>,
    },
    /// List every node's rewards, in the smallest unit
    Rewards,
    /// Recompute the state from the log: every byte, hash, signature and rule
    Replay,
    /// Claim what the ledger owes to this node's wallet; the node must be stopped for it
    Claim,
}

impl Ledger {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let data_dir = global.data_dir()?;
        let path = path(&data_dir);
        let facts = match self {
            Self::Status => status(&open(&path)?),
            Self::Nodes => nodes(&open(&path)?),
            Self::Proofs { node } => proofs(&open(&path)?, *node)?,
            Self::Rewards => rewards(&open(&path)?),
            Self::Replay => replayed(&path)?,
            Self::Claim => claim(&data_dir, &path)?,
        };
        if global.json {
            output::line(serde_json::to_string_pretty(&facts)?)?;
        } else {
            rendered(&facts).print()?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where a data directory's ledger lies.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("verifier/ledger.log")
}

/// Opens the ledger as its writer; starts it at first use.
pub fn open_or_create(path: &Path, verifier: PublicKey) -> Result<EmbeddedLedger, Failure> {
    let genesis = Genesis {
        verifier,
        rules: Rules::default(),
    };
    EmbeddedLedger::open_or_create(path, genesis, now()).map_err(|error| file_failure(error, path))
}

fn open(path: &Path) -> Result<LedgerView, Failure> {
    EmbeddedLedger::open_read_only(path).map_err(|error| file_failure(error, path))
}

/// A corrupt ledger was checked and rejected; one that is absent or in use is missing.
fn file_failure(error: LedgerFileError, path: &Path) -> Failure {
    match error {
        LedgerFileError::Corrupt { .. } => Failure::rejected(error),
        LedgerFileError::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::missing(anyhow::anyhow!(
                "there is no ledger at {}: run `nautilus up` first",
                path.display()
            ))
        }
        error => Failure::missing(error),
    }
}

fn status(view: &LedgerView) -> Value {
    let state = view.state();
    json!({
        "height": view.tip().height,
        "tip": view.tip().hash,
        "at": state.at(),
        "state_digest": state.digest(),
        "nodes": state.nodes().count(),
        "genesis": state.genesis(),
        "unacknowledged_bytes": view.unacknowledged(),
    })
}

fn nodes(view: &LedgerView) -> Value {
    let nodes: Vec<_> = view
        .state()
        .nodes()
        .map(|(id, node)| {
            let mut facts = json!(node);
            facts["node"] = json!(id);
            facts
        })
        .collect();
    json!({ "nodes": nodes })
}

fn proofs(view: &LedgerView, only: Option<NodeId>) -> Result<Value, Failure> {
    let mut proofs = Vec::new();
    for entry in view.entries() {
        let entry = entry.map_err(Failure::rejected)?;
        if let Transaction::SubmitProof { submission } = entry.transaction {
            let window = &submission.statement.window;
            if only.is_none_or(|node| node == window.node) {
                proofs.push(json!({
                    "proof_id": submission.statement.digest(),
                    "node": window.node,
                    "boot": window.boot,
                    "sequence": window.sequence,
                    "start": window.start,
                    "end": window.end,
                    "covered": window.covered,
                    "slots": window.slots,
                    "assurance": window.assurance,
                    "height": entry.height,
                    "settled_at": entry.at,
                    "entry": entry.hash,
                }));
            }
        }
    }
    Ok(json!({ "proofs": proofs }))
}

fn rewards(view: &LedgerView) -> Value {
    json!({ "rewards": view.state().accounts().collect::<Vec<_>>() })
}

fn replayed(path: &Path) -> Result<Value, Failure> {
    let replay = replay(path).map_err(|error| file_failure(error, path))?;
    let mut facts = json!(replay);
    facts["agrees"] = json!(true);
    Ok(facts)
}

fn claim(data_dir: &Path, path: &Path) -> Result<Value, Failure> {
    // Looking must come first: opening for writing would start a ledger. A claim names the ledger's verifier and
    // needs nothing of its key.
    let verifier = open(path)?.state().genesis().map(|genesis| genesis.verifier);
    let verifier =
        verifier.ok_or_else(|| Failure::rejected(anyhow::anyhow!("the ledger has not started")))?;
    let identity = NodeIdentity::open(&data_dir.join("agent"))?;
    let wallet = identity.wallet();
    let mut ledger = open_or_create(path, verifier)?;
    let due: u64 = ledger
        .state()
        .nodes()
        .filter(|(_, node)| node.wallet == wallet)
        .fold(0, |sum: u64, (_, node)| sum.saturating_add(node.due()));
    if due == 0 {
        return Ok(json!({ "wallet": wallet, "amount": 0 }));
    }
    let claim = ClaimRequest {
        wallet,
        amount: due,
        nonce: ledger.state().next_nonce(wallet),
        verifier,
    };
    let signature = identity.sign(&claim);
    ledger
        .append(&[Transaction::Claim { claim, signature }], now())
        .map_err(|error| match error {
            SubmitError::Refused(error) => Failure::rejected(error),
            other => Failure::missing(other),
        })?;
    Ok(json!({ "wallet": wallet, "amount": due, "height": ledger.tip().height, "entry": ledger.tip().hash }))
}

/// Facts as `name value` lines; lists as one block an item.
fn rendered(facts: &Value) -> Text {
    let mut text = Text::default();
    for (name, value) in facts.as_object().into_iter().flatten() {
        match value.as_array() {
            Some(items) if items.is_empty() => text.line(format_args!("no {name} yet")),
            Some(items) => items.iter().for_each(|item| add_item(&mut text, name, item)),
            None => add_value(&mut text, "", name, value),
        }
    }
    text
}

fn add_item(text: &mut Text, list: &str, item: &Value) {
    text.line(list.strip_suffix('s').unwrap_or(list));
    for (name, value) in item.as_object().into_iter().flatten() {
        add_value(text, "  ", name, value);
    }
}

fn add_value(text: &mut Text, indent: &str, name: &str, value: &Value) {
    match value {
        Value::Object(facts) => {
            text.line(format_args!("{indent}{name}"));
            let deeper = format!("{indent}  ");
            facts
                .iter()
                .for_each(|(name, value)| add_value(text, &deeper, name, value));
        }
        Value::String(value) => text.line(format_args!("{indent}{name:<20} {value}")),
        other => text.line(format_args!("{indent}{name:<20} {other}")),
    }
}
