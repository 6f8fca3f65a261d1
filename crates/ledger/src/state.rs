//! The rules of settlement. Whatever ledger settles for Nautilus follows these rules and names the same
//! errors.
//!
//! What is kept grows with the nodes and with the windows that were settled but not yet rewarded, never with
//! the windows that were ever settled: a boot's whole window log is one tree head, and a window is refused a
//! second time because its number and its time have passed.

mod appraisal;
mod error;
mod proof;

use std::collections::BTreeMap;

use nautilus_core::{
    BootId, Digest32, EvidenceId, Kind, NodeId, PublicKey, SignedMessage, SuiAddress, UnixMillis,
};
use nautilus_proof::message::node_id;
use nautilus_proof::wallet::WalletSignature;
use nautilus_proof::{Registration, merkle};
use serde::{Deserialize, Serialize};

pub use self::error::LedgerError;
use self::proof::Unrewarded;
use crate::transaction::{AppraisalRecord, ClaimRequest, Genesis, Transaction};

/// How far ahead of the ledger's time a signer's clock may be, in milliseconds.
const MAX_SKEW_MILLIS: u64 = 60 * 1000;

/// A ledger's whole state. Changes only by [`Self::apply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    genesis: Option<Genesis>,
    at: UnixMillis,
    nodes: BTreeMap<NodeId, Node>,
    unrewarded: BTreeMap<Digest32, Unrewarded>,
    nonces: BTreeMap<SuiAddress, u64>,
}

/// The digest of the state is SHA-256 of these bytes; maps are in the order of their keys.
impl SignedMessage for State {
    const KIND: Kind = Kind::LedgerState;
}

/// What a ledger knows of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The wallet that is rewarded.
    pub wallet: SuiAddress,
    /// The last accepted appraisal, current or expired.
    pub appraisal: Option<AppraisalRecord>,
    /// Number of the window that the appraised boot settles next.
    pub next_sequence: u64,
    /// Head of that boot's window log.
    pub log_root: Digest32,
    /// No window that starts before this is settled: the end of the last settled window, of whatever boot, and
    /// until there is one the registration, with a minute's allowance for clocks.
    pub settled_until: UnixMillis,
    /// All rewards ever accrued, in the smallest unit.
    pub accrued: u64,
    /// How much of that was ever claimed.
    pub claimed: u64,
}

impl Node {
    /// The part of the rewards that was not claimed yet.
    pub const fn due(&self) -> u64 {
        self.accrued.saturating_sub(self.claimed)
    }
}

/// A node's rewards, in the smallest unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeAccount {
    /// The node.
    pub node: NodeId,
    /// The wallet that is rewarded.
    pub wallet: SuiAddress,
    /// All rewards ever accrued.
    pub accrued: u64,
    /// How much of that was ever claimed.
    pub claimed: u64,
}

/// What an accepted transaction did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Receipt {
    /// The ledger started.
    Started {
        /// The key whose appraisals count.
        verifier: PublicKey,
    },
    /// A node is known from now on.
    Registered {
        /// The node.
        node: NodeId,
        /// The wallet that is rewarded.
        wallet: SuiAddress,
    },
    /// A node may settle from now on.
    Appraised {
        /// The node.
        node: NodeId,
        /// The run of its enclave.
        boot: BootId,
        /// The evidence that its proofs must name.
        evidence: EvidenceId,
        /// Until when.
        expires_at: UnixMillis,
        /// Number of the window that it settles next.
        next_sequence: u64,
    },
    /// A window is settled; its reward is not accrued yet.
    Settled {
        /// Digest of the settled statement.
        proof: Digest32,
        /// The node.
        node: NodeId,
        /// Number of the window within its boot.
        sequence: u64,
        /// Head of the boot's window log with it.
        log_root: Digest32,
    },
    /// A settled window was rewarded.
    Rewarded {
        /// Digest of the settled statement.
        proof: Digest32,
        /// The reward.
        amount: u64,
        /// The node's account with it.
        account: NodeAccount,
    },
    /// A wallet got rewards.
    Claimed {
        /// The wallet.
        wallet: SuiAddress,
        /// How much.
        amount: u64,
        /// What its nodes are still owed.
        due: u64,
    },
}

/// Whether signatures are verified or known to be good because they were verified before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signatures {
    Verify,
    Trust,
}

impl Signatures {
    fn hold(self, verify: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Verify => verify(),
            Self::Trust => true,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state before the first transaction.
    pub const fn new() -> Self {
        Self {
            genesis: None,
            at: UnixMillis(0),
            nodes: BTreeMap::new(),
            unrewarded: BTreeMap::new(),
            nonces: BTreeMap::new(),
        }
    }

    /// Applies a transaction at `at`, the ledger's time, which never goes back.
    ///
    /// # Errors
    /// If a rule or a signature is broken; the state is then unchanged.
    pub fn apply(&mut self, transaction: &Transaction, at: UnixMillis) -> Result<Receipt, LedgerError> {
        self.apply_with(transaction, at, Signatures::Verify)
    }

    pub(crate) fn apply_with(
        &mut self,
        transaction: &Transaction,
        at: UnixMillis,
        signatures: Signatures,
    ) -> Result<Receipt, LedgerError> {
        if at < self.at {
            return Err(LedgerError::TimeBackwards {
                last: self.at,
                found: at,
            });
        }
        let receipt = match transaction {
            Transaction::Genesis(genesis) => self.start(genesis),
            Transaction::RegisterNode {
                registration,
                signature,
            } => self.register(registration, signature, at, signatures),
            Transaction::RecordAppraisal { record, signature } => {
                self.appraise(record, signature, at, signatures)
            }
            Transaction::SubmitProof { submission } => self.settle(submission, at, signatures),
            Transaction::AccrueReward { proof } => self.reward(proof),
            Transaction::Claim { claim, signature } => self.claim(claim, signature, signatures),
        }?;
        self.at = at;
        Ok(receipt)
    }

    /// How the ledger started; none before its first transaction.
    pub const fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// The time of the last transaction; zero before the first.
    pub const fn at(&self) -> UnixMillis {
        self.at
    }

    /// The nonce that a wallet's next claim may carry.
    pub fn next_nonce(&self, wallet: SuiAddress) -> u64 {
        self.nonces.get(&wallet).map_or(0, |last| last.saturating_add(1))
    }

    /// What is known of a node.
    pub fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(&node)
    }

    /// All nodes, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// A node's rewards.
    pub fn account(&self, node: NodeId) -> Option<NodeAccount> {
        self.node(node).map(|known| account(node, known))
    }

    /// All nodes' rewards, in the order of their ids.
    pub fn accounts(&self) -> impl Iterator<Item = NodeAccount> {
        self.nodes().map(|(id, node)| account(id, node))
    }

    /// Digests of the proofs that are settled and not yet rewarded, in order.
    pub fn unrewarded(&self) -> impl Iterator<Item = Digest32> {
        self.unrewarded.keys().copied()
    }

    fn started(&self) -> Result<&Genesis, LedgerError> {
        self.genesis.as_ref().ok_or(LedgerError::NotStarted)
    }

    fn known(&self, node: NodeId) -> Result<&Node, LedgerError> {
        self.nodes.get(&node).ok_or(LedgerError::NodeUnknown { node })
    }

    fn start(&mut self, genesis: &Genesis) -> Result<Receipt, LedgerError> {
        if self.genesis.is_some() {
            return Err(LedgerError::AlreadyStarted);
        }
        self.genesis = Some(genesis.clone());
        Ok(Receipt::Started {
            verifier: genesis.verifier,
        })
    }

    fn register(
        &mut self,
        registration: &Registration,
        signature: &WalletSignature,
        at: UnixMillis,
        signatures: Signatures,
    ) -> Result<Receipt, LedgerError> {
        let Registration {
            node,
            wallet,
            label,
            verifier,
        } = *registration;
        self.meant_for(verifier)?;
        if node != node_id(wallet, label) {
            return Err(LedgerError::NodeIdInvalid { node });
        }
        if !signatures.hold(|| signature.is_of(wallet, registration)) {
            return Err(LedgerError::WalletSignatureInvalid { wallet });
        }
        if self.nodes.contains_key(&node) {
            return Err(LedgerError::AlreadyRegistered { node });
        }
        let fresh = Node {
            wallet,
            appraisal: None,
            next_sequence: 0,
            log_root: merkle::empty_root(),
            settled_until: UnixMillis(at.0.saturating_sub(MAX_SKEW_MILLIS)),
            accrued: 0,
            claimed: 0,
        };
        self.nodes.insert(node, fresh);
        Ok(Receipt::Registered { node, wallet })
    }

    /// A claim draws on the wallet's nodes in the order of their ids.
    fn claim(
        &mut self,
        claim: &ClaimRequest,
        signature: &WalletSignature,
        signatures: Signatures,
    ) -> Result<Receipt, LedgerError> {
        let ClaimRequest {
            wallet,
            amount,
            nonce,
            verifier,
        } = *claim;
        self.meant_for(verifier)?;
        if !signatures.hold(|| signature.is_of(wallet, claim)) {
            return Err(LedgerError::WalletSignatureInvalid { wallet });
        }
        if let Some(last) = self.nonces.get(&wallet).copied().filter(|last| nonce <= *last) {
            return Err(LedgerError::NonceUsed { last, found: nonce });
        }
        // Saturating is exact enough: no amount exceeds the highest sum.
        let due = self
            .nodes
            .values()
            .filter(|node| node.wallet == wallet)
            .fold(0_u64, |sum, node| sum.saturating_add(node.due()));
        if amount == 0 || amount > due {
            return Err(LedgerError::ClaimNotDue { amount, due });
        }
        let mut left = amount;
        for node in self.nodes.values_mut().filter(|node| node.wallet == wallet) {
            let part = left.min(node.due());
            node.claimed = node.claimed.saturating_add(part);
            left = left.saturating_sub(part);
        }
        self.nonces.insert(wallet, nonce);
        Ok(Receipt::Claimed {
            wallet,
            amount,
            due: due.saturating_sub(amount),
        })
    }

    fn meant_for(&self, found: PublicKey) -> Result<(), LedgerError> {
        let expected = self.started()?.verifier;
        if found == expected {
            Ok(())
        } else {
            Err(LedgerError::OtherVerifier { expected, found })
        }
    }
}

const fn account(node: NodeId, known: &Node) -> NodeAccount {
    NodeAccount {
        node,
        wallet: known.wallet,
        accrued: known.accrued,
        claimed: known.claimed,
    }
}

#[cfg(test)]
mod tests;
