//! What an end is, presents and demands.

use std::sync::Arc;

use nautilus_core::{NodeId, PublicKey, Role, SessionBinding, Signature};

use crate::credential::CredentialKind;
use crate::limits::Limits;
use crate::peer::KernelPeer;

/// Holds a long-term key that signs sessions, and no more of it than that.
pub trait SessionKeyHolder: Send + Sync {
    /// The key.
    fn public(&self) -> PublicKey;

    /// Its signature over the session's canonical message.
    fn sign(&self, session: &SessionBinding) -> Signature;
}

/// What an end presents.
#[derive(Clone)]
pub enum Presentation {
    /// Nothing.
    Nothing,
    /// A signature by a long-term key.
    Key(Arc<dyn SessionKeyHolder>),
    /// Evidence, which is asked for with [`crate::Event::Present`].
    Evidence,
}

impl Presentation {
    pub(crate) const fn kind(&self) -> CredentialKind {
        match self {
            Self::Nothing => CredentialKind::Nothing,
            Self::Key(_) => CredentialKind::Key,
            Self::Evidence => CredentialKind::Evidence,
        }
    }
}

/// What an end demands of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: whatever the peer says is worth no more than that somebody says it.
    Nothing,
    /// A signature by this key.
    Key(PublicKey),
    /// Evidence, which is judged at [`crate::Event::Appraise`].
    Evidence {
        /// The key by which who demands is named in the challenge; none for the session's own.
        verifier: Option<PublicKey>,
        /// A child of this process, by the word of the kernel, whose evidence needs not be verifiable on this machine.
        child: Option<KernelPeer>,
    },
}

impl Demand {
    pub(crate) const fn kind(self) -> CredentialKind {
        match self {
            Self::Nothing => CredentialKind::Nothing,
            Self::Key(_) => CredentialKind::Key,
            Self::Evidence { .. } => CredentialKind::Evidence,
        }
    }
}

/// What an end is.
#[derive(Clone)]
pub struct Config {
    /// Who it is.
    pub role: Role,
    /// Who the peer has to be.
    pub peer_role: Role,
    /// The node that the session is about; none for who takes the peer's word, and holds it against the evidence.
    pub node: Option<NodeId>,
    /// What it presents.
    pub presents: Presentation,
    /// What it demands.
    pub demands: Demand,
    /// Its bounds.
    pub limits: Limits,
    /// Whether a session opens in which neither end presents evidence.
    pub(crate) without_evidence: Option<KernelPeer>,
}

impl Config {
    /// An end with the product's bounds.
    pub const fn new(
        role: Role,
        peer_role: Role,
        node: Option<NodeId>,
        presents: Presentation,
        demands: Demand,
    ) -> Self {
        Self {
            role,
            peer_role,
            node,
            presents,
            demands,
            limits: Limits::DEFAULT,
            without_evidence: None,
        }
    }

    /// The same end, for a session in which neither side presents evidence. For tests, over a Unix socket whose other
    /// end the kernel names.
    #[must_use]
    pub const fn dangerous_without_evidence(mut self, peer: KernelPeer) -> Self {
        self.without_evidence = Some(peer);
        self
    }
}
