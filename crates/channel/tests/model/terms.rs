//! Symbols for keys, nonces, exporters and evidence, and the rules by which an end accepts them.

use nautilus_core::{End, Role};

/// Number of an honest end in a cast.
pub type Index = u8;

/// A node, by its registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Honest,
    Attackers,
}

/// A machine with a genuine TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Platform {
    Honest,
    Attackers,
}

/// A key that lives as long as one TLS session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionKey {
    Of(Index),
    OldAgents,
    OldVerifiers,
    Attackers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nonce {
    Of(Index),
    OldAgents,
    OldVerifiers,
    Attackers,
}

/// A key by which who demands evidence is named, and which signs sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LongKey {
    First,
    Second,
    /// An end that has none, and uses its session's.
    Session(Index),
    Attackers,
}

/// One TLS connection: its honest ends. No end has two, so that its secrets are named by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    Between {
        initiator: Option<Index>,
        responder: Option<Index>,
    },
    Old,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exporter {
    pub connection: Connection,
    pub initiator_nonce: Nonce,
    pub responder_nonce: Nonce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    Hybrid,
    Classical,
}

/// As `nautilus_core::SessionBinding`, without the label: there is one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    pub role: Role,
    pub peer_role: Role,
    pub end: End,
    pub node: Node,
    pub group: Group,
    pub initiator_nonce: Nonce,
    pub responder_nonce: Nonce,
    pub own_key: SessionKey,
    pub peer_key: SessionKey,
    pub exporter: Exporter,
}

/// As `nautilus_core::ChallengeTerms`; purpose and times are the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    pub verifier: LongKey,
    pub node: Node,
    pub nonce: Nonce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Nothing,
    Key,
    Evidence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    pub role: Role,
    pub node: Option<Node>,
    pub nonce: Nonce,
    pub presents: Kind,
    pub demands: Kind,
    pub challenge: Option<Terms>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    Nothing,
    Key {
        key: LongKey,
        binding: Binding,
    },
    Evidence {
        platform: Platform,
        /// What the enclave says that it serves.
        node: Node,
        challenge: Terms,
        binding: Binding,
        /// Whose wallet signed all that.
        wallet: Option<Node>,
    },
}

impl Credential {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Nothing => Kind::Nothing,
            Self::Key { .. } => Kind::Key,
            Self::Evidence { .. } => Kind::Evidence,
        }
    }
}

/// A check that the model can leave out, to show that it would be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    // The fields of the binding.
    Role,
    PeerRole,
    End,
    Node,
    Group,
    InitiatorNonce,
    ResponderNonce,
    OwnKey,
    PeerKey,
    Exporter,
    // What else is held against evidence.
    Challenge,
    ChallengeCurrent,
    UserDataNode,
    Platform,
    Wallet,
    // What is held against a key.
    PinnedKey,
    // What is held against a hello.
    HelloRole,
    HelloNode,
    HelloKinds,
    HelloChallenge,
    HelloGroup,
    // What TLS checks, and the clock.
    KeyProof,
    Deadline,
}

impl Rule {
    pub const ALL: [Self; 23] = [
        Self::Role,
        Self::PeerRole,
        Self::End,
        Self::Node,
        Self::Group,
        Self::InitiatorNonce,
        Self::ResponderNonce,
        Self::OwnKey,
        Self::PeerKey,
        Self::Exporter,
        Self::Challenge,
        Self::ChallengeCurrent,
        Self::UserDataNode,
        Self::Platform,
        Self::Wallet,
        Self::PinnedKey,
        Self::HelloRole,
        Self::HelloNode,
        Self::HelloKinds,
        Self::HelloChallenge,
        Self::HelloGroup,
        Self::KeyProof,
        Self::Deadline,
    ];
}

/// The rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    pub const ALL: Self = Self(u32::MAX);

    pub fn without(removed: &[Rule]) -> Self {
        let bits = removed.iter().fold(0, |bits, rule| bits | (1 << *rule as u32));
        Self(!bits)
    }

    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}

impl Binding {
    /// As `SessionBinding::difference`: field by field, in the same order.
    pub fn difference(&self, expected: &Self, rules: Rules) -> Option<Rule> {
        let differences = [
            (Rule::Role, self.role != expected.role),
            (Rule::PeerRole, self.peer_role != expected.peer_role),
            (Rule::End, self.end != expected.end),
            (Rule::Node, self.node != expected.node),
            (Rule::Group, self.group != expected.group),
            (
                Rule::InitiatorNonce,
                self.initiator_nonce != expected.initiator_nonce,
            ),
            (
                Rule::ResponderNonce,
                self.responder_nonce != expected.responder_nonce,
            ),
            (Rule::OwnKey, self.own_key != expected.own_key),
            (Rule::PeerKey, self.peer_key != expected.peer_key),
            (Rule::Exporter, self.exporter != expected.exporter),
        ];
        differences
            .into_iter()
            .find_map(|(rule, differs)| (differs && rules.has(rule)).then_some(rule))
    }
}

/// The symbols as bytes, so that the real comparison can be held against the model's.
mod concrete {
    use nautilus_core::{Digest32, NodeId, SessionBinding};

    use super::{Binding, Connection, Exporter, Group, Node, Nonce, SessionKey};

    fn nonce(nonce: Nonce) -> Digest32 {
        Digest32(match nonce {
            Nonce::Of(index) => [index; 32],
            Nonce::OldAgents => [0xa0; 32],
            Nonce::OldVerifiers => [0xa1; 32],
            Nonce::Attackers => [0xa2; 32],
        })
    }

    fn key(key: SessionKey) -> Digest32 {
        Digest32(match key {
            SessionKey::Of(index) => [0x40 | index; 32],
            SessionKey::OldAgents => [0xb0; 32],
            SessionKey::OldVerifiers => [0xb1; 32],
            SessionKey::Attackers => [0xb2; 32],
        })
    }

    fn exporter(exporter: &Exporter) -> Digest32 {
        let end = |index: Option<u8>| index.unwrap_or(0xff);
        let mut bytes = [0; 32];
        [bytes[0], bytes[1]] = match exporter.connection {
            Connection::Between { initiator, responder } => [end(initiator), end(responder)],
            Connection::Old => [0xee; 2],
        };
        bytes[2] = nonce(exporter.initiator_nonce).0[0];
        bytes[3] = nonce(exporter.responder_nonce).0[0];
        Digest32(bytes)
    }

    impl Binding {
        pub fn concrete(&self) -> SessionBinding {
            SessionBinding {
                label: SessionBinding::LABEL.to_owned(),
                role: self.role,
                peer_role: self.peer_role,
                end: self.end,
                node: NodeId(match self.node {
                    Node::Honest => [1; 32],
                    Node::Attackers => [2; 32],
                }),
                exporter: exporter(&self.exporter),
                initiator_nonce: nonce(self.initiator_nonce),
                responder_nonce: nonce(self.responder_nonce),
                own_key: key(self.own_key),
                peer_key: key(self.peer_key),
                group: match self.group {
                    Group::Hybrid => nautilus_channel::GROUP,
                    Group::Classical => 0x1d,
                },
            }
        }
    }
}
