//! `nautilus wallet`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use nautilus_agent::identity::{IdentityError, NodeIdentity};
use nautilus_agent::wallet::{Wallet as Key, WalletError};
use nautilus_core::SuiAddress;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::failure::Failure;
use crate::output;

/// The Sui wallet that is rewarded, and that stands behind this node.
#[derive(Subcommand)]
pub enum Wallet {
    /// Make this data directory's node with a wallet that exists already
    ///
    /// Without it, `nautilus up` makes a new wallet at first use. A node's id is made of its wallet, so this comes
    /// before its first start. The key is copied into the data directory, where its owner alone can read it; FILE
    /// stays as it is.
    Import {
        /// One `suiprivkey1…` line, or Sui's keystore (~/.sui/sui_config/sui.keystore): Ed25519, Secp256k1 or Secp256r1
        file: PathBuf,
        /// Which wallet of a keystore that holds several
        #[arg(long, value_name = "ADDRESS")]
        address: Option<SuiAddress>,
    },
    /// Print address and node id; never the key
    Show,
}

impl Wallet {
    /// Runs the command.
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let directory = global.data_dir()?.join("agent");
        let node = match self {
            Self::Import { file, address } => {
                let wallet = Key::read(file, *address).map_err(refused)?;
                NodeIdentity::import(&directory, &wallet).map_err(not_imported)?
            }
            Self::Show => NodeIdentity::open(&directory).map_err(Failure::missing)?,
        };
        let facts = facts(&node);
        if global.json {
            output::line(facts)?;
        } else {
            output::line(format_args!("wallet {}\nnode   {}", node.wallet(), node.node()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(node: &NodeIdentity) -> Value {
    json!({ "wallet": node.wallet(), "node_id": node.node() })
}

/// A file that is not there is missing; one that holds something else was given by mistake.
fn refused(error: WalletError) -> Failure {
    match error {
        WalletError::Io { .. } => Failure::missing(error),
        error => Failure::usage(error),
    }
}

fn not_imported(error: IdentityError) -> Failure {
    match error {
        IdentityError::HasWallet { .. } => Failure::usage(error),
        error => Failure::missing(error),
    }
}
