//! The handshake between honest ends and an attacker who owns the network, a genuine TEE elsewhere, and the keys of an
//! old session.
//!
//! TLS is taken to do what it promises: a connection has two ends, each of which holds the key that it shows, and what
//! goes through it comes in order or not at all. The attacker is in the middle by being an end of two connections.

#[path = "attacker/properties.rs"]
pub mod properties;

use nautilus_core::{End, Role};
use stateright::{Model, Property};

use crate::terms::{
    Binding, Connection, Credential, Exporter, Group, Hello, Index, Kind, LongKey, Node, Nonce, Platform,
    Rule, Rules, SessionKey, Terms,
};

/// An honest end, before it has a connection. Each has one in its life.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub role: Role,
    pub peer_role: Role,
    pub end: End,
    pub node: Option<Node>,
    pub presents: Kind,
    pub demands: Kind,
    /// Whom its challenge names; with whose key it signs.
    pub long_key: Option<LongKey>,
}

impl Part {
    /// An agent of the honest node's, which connects and pins the first verifier.
    pub const AGENT: Self = Self {
        role: Role::Agent,
        peer_role: Role::Verifier,
        end: End::Initiator,
        node: Some(Node::Honest),
        presents: Kind::Evidence,
        demands: Kind::Key,
        long_key: None,
    };
    /// The verifier that the agent means.
    pub const FIRST: Self = Self {
        role: Role::Verifier,
        peer_role: Role::Agent,
        end: End::Responder,
        node: None,
        presents: Kind::Key,
        demands: Kind::Evidence,
        long_key: Some(LongKey::First),
    };
    /// Another honest verifier, to whom a session may be diverted.
    pub const SECOND: Self = Self {
        long_key: Some(LongKey::Second),
        ..Self::FIRST
    };
    /// The honest node's enclave, which connects and takes anybody for its agent.
    pub const ENCLAVE: Self = Self {
        role: Role::Enclave,
        peer_role: Role::Agent,
        end: End::Initiator,
        node: Some(Node::Honest),
        presents: Kind::Evidence,
        demands: Kind::Nothing,
        long_key: None,
    };
    /// The honest agent, to whom its enclave connects.
    pub const AGENT_OF_ENCLAVE: Self = Self {
        role: Role::Agent,
        peer_role: Role::Enclave,
        end: End::Responder,
        node: Some(Node::Honest),
        presents: Kind::Nothing,
        demands: Kind::Evidence,
        long_key: None,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerEnd {
    Honest(Index),
    Attacker { key: SessionKey },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    pub peer: PeerEnd,
    pub group: Group,
}

/// As the turns of the implementation. Presenting and judging take no turn of their own: what happens meanwhile elsewhere
/// may as well happen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    Idle,
    PeerHello,
    PeerCredential,
    PeerVerdict,
    Open,
    /// It gave up. An end that was cut off, or waits for ever, is one that takes no further step.
    Over,
}

/// An honest end's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    pub link: Option<Link>,
    pub turn: Turn,
    pub heard: Option<Hello>,
    pub said_hello: bool,
    pub said_credential: bool,
    pub said_verdict: bool,
    /// So late that its challenge is no longer current.
    pub late: bool,
    /// It accepted evidence when it was.
    pub accepted_late: bool,
}

impl Side {
    const IDLE: Self = Self {
        link: None,
        turn: Turn::Idle,
        heard: None,
        said_hello: false,
        said_credential: false,
        said_verdict: false,
        late: false,
        accepted_late: false,
    };
}

pub type World = Vec<Side>;

/// Where the attacker has a credential from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An honest end presented it on a connection whose other end is the attacker.
    Learnt(Index),
    /// The old session, of which everything leaked.
    Old,
    /// Its own key, or its own TEE: it runs the same program, set up for this node, and vouches as that program does:
    /// for any session that its owner states, as an agent's.
    Own(Node),
    /// Nothing has to be presented.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The network leads an honest initiator to an honest responder.
    Connect { initiator: Index, responder: Index },
    /// It leads an honest initiator to the attacker, or the attacker connects to an honest responder.
    Intercept {
        end: Index,
        key: SessionKey,
        group: Group,
    },
    /// An honest end takes the next message of its honest peer.
    Hear(Index),
    /// The attacker says hello.
    SayHello(Index, Hello),
    /// The attacker presents a credential that the end accepts. One that it refuses ends it, and serves nobody.
    Present(Index, Source),
    /// The attacker accepts what the end presented.
    SayVerdict(Index),
    /// Time passes: the end's challenge is no longer current. Only where no deadline ends the handshake before.
    Wait(Index),
}

/// The honest ends, what the attacker has, and the rules.
#[derive(Clone, Debug)]
pub struct Attack {
    pub cast: Vec<Part>,
    /// Whether the attacker has all of an old session: its keys, nonces and credentials.
    pub old: bool,
    /// Session keys of sessions under way whose private halves the attacker has.
    pub leaked: Vec<SessionKey>,
    /// Where the attacker's TEE is: on a machine of its own, or beside the honest node's on the same.
    pub platform: Platform,
    pub rules: Rules,
}

impl Attack {
    pub fn new(cast: &[Part]) -> Self {
        Self {
            cast: cast.to_vec(),
            old: false,
            leaked: Vec::new(),
            platform: Platform::Attackers,
            rules: Rules::ALL,
        }
    }

    pub fn part(&self, index: Index) -> &Part {
        &self.cast[usize::from(index)]
    }

    fn indices(&self) -> impl Iterator<Item = Index> + use<> {
        0..Index::try_from(self.cast.len()).unwrap()
    }

    fn long_key(&self, index: Index) -> LongKey {
        self.part(index).long_key.unwrap_or(LongKey::Session(index))
    }

    /// What `index` means by the node: `Endpoint::check_hello`.
    pub fn node(&self, index: Index, hello: &Hello) -> Option<Node> {
        self.part(index).node.or(hello.node)
    }

    fn accepts_hello(&self, index: Index, link: Link, hello: &Hello) -> bool {
        let part = self.part(index);
        let rule = |rule| self.rules.has(rule);
        if rule(Rule::HelloRole) && hello.role != part.peer_role {
            return false;
        }
        if rule(Rule::HelloNode) && part.node.is_some() && hello.node.is_some() && part.node != hello.node {
            return false;
        }
        let Some(node) = self.node(index, hello) else {
            return false;
        };
        if rule(Rule::HelloKinds) && (hello.presents, hello.demands) != (part.demands, part.presents) {
            return false;
        }
        let fits = hello.challenge.map_or(part.presents != Kind::Evidence, |terms| {
            (terms.node, terms.nonce) == (node, hello.nonce) || !rule(Rule::HelloChallenge)
        });
        if !fits {
            return false;
        }
        !rule(Rule::HelloGroup) || link.group == Group::Hybrid
    }

    fn own_terms(&self, index: Index, node: Node) -> Option<Terms> {
        (self.part(index).demands == Kind::Evidence).then(|| Terms {
            verifier: self.long_key(index),
            node,
            nonce: Nonce::Of(index),
        })
    }

    /// The hello that an honest end says: an initiator knows its node, a responder the one of the peer's hello.
    fn hello(&self, index: Index, heard: Option<&Hello>) -> Hello {
        let part = self.part(index);
        let node = heard.map_or(part.node, |heard| self.node(index, heard));
        Hello {
            role: part.role,
            node: part.node,
            nonce: Nonce::Of(index),
            presents: part.presents,
            demands: part.demands,
            challenge: node.and_then(|node| self.own_terms(index, node)),
        }
    }

    /// What an end states of its session, and what its peer has to: `Endpoint::facts`.
    pub fn bindings(&self, world: &World, index: Index) -> Option<(Binding, Binding)> {
        let side = &world[usize::from(index)];
        let (link, heard) = (side.link?, side.heard?);
        let part = self.part(index);
        let (peer, peer_key) = match link.peer {
            PeerEnd::Honest(peer) => (Some(peer), SessionKey::Of(peer)),
            PeerEnd::Attacker { key } => (None, key),
        };
        let (own, other) = (Nonce::Of(index), heard.nonce);
        let (initiator_nonce, responder_nonce, connection) = match part.end {
            End::Initiator => (
                own,
                other,
                Connection::Between {
                    initiator: Some(index),
                    responder: peer,
                },
            ),
            End::Responder => (
                other,
                own,
                Connection::Between {
                    initiator: peer,
                    responder: Some(index),
                },
            ),
        };
        let own = Binding {
            role: part.role,
            peer_role: part.peer_role,
            end: part.end,
            node: self.node(index, &heard)?,
            group: link.group,
            initiator_nonce,
            responder_nonce,
            own_key: SessionKey::Of(index),
            peer_key,
            exporter: Exporter {
                connection,
                initiator_nonce,
                responder_nonce,
            },
        };
        let peers = Binding {
            role: part.peer_role,
            peer_role: part.role,
            end: part.end.other(),
            own_key: peer_key,
            peer_key: SessionKey::Of(index),
            ..own
        };
        Some((own, peers))
    }

    /// What an honest end presents: `Endpoint::present`. Its TEE is the honest node's.
    fn credential(&self, world: &World, index: Index) -> Option<Credential> {
        let (binding, _) = self.bindings(world, index)?;
        let part = self.part(index);
        Some(match part.presents {
            Kind::Nothing => Credential::Nothing,
            Kind::Key => Credential::Key {
                key: self.long_key(index),
                binding,
            },
            Kind::Evidence => Credential::Evidence {
                platform: Platform::Honest,
                node: Node::Honest,
                challenge: world[usize::from(index)].heard?.challenge?,
                binding,
                wallet: (part.role == Role::Agent).then_some(Node::Honest),
            },
        })
    }

    /// Whether an end takes a credential: `Endpoint::heard_credential`, `VerifierSet::verify`, and for verifiers the
    /// registry.
    pub fn accepts(&self, world: &World, index: Index, credential: &Credential) -> bool {
        let Some((own, peers)) = self.bindings(world, index) else {
            return false;
        };
        let part = self.part(index);
        let rule = |rule| self.rules.has(rule);
        if credential.kind() != part.demands {
            return false;
        }
        match credential {
            Credential::Nothing => true,
            Credential::Key { key, binding } => {
                (*key == LongKey::First || !rule(Rule::PinnedKey))
                    && binding.difference(&peers, self.rules).is_none()
            }
            Credential::Evidence {
                platform,
                node,
                challenge,
                binding,
                wallet,
            } => {
                let registered = match own.node {
                    Node::Honest => Platform::Honest,
                    Node::Attackers => self.platform,
                };
                let registry = part.role == Role::Verifier;
                let late = world[usize::from(index)].late;
                (Some(*challenge) == self.own_terms(index, own.node) || !rule(Rule::Challenge))
                    && (!late || !rule(Rule::ChallengeCurrent))
                    && (*node == own.node || !rule(Rule::UserDataNode))
                    && binding.difference(&peers, self.rules).is_none()
                    && (!registry || *platform == registered || !rule(Rule::Platform))
                    && (!registry || *wallet == Some(own.node) || !rule(Rule::Wallet))
            }
        }
    }

    /// A credential that the attacker has, or has made for this end.
    pub fn attackers(&self, world: &World, index: Index, source: Source) -> Option<Credential> {
        let part = self.part(index);
        match source {
            Source::None => Some(Credential::Nothing),
            Source::Learnt(from) => {
                let side = &world[usize::from(from)];
                let to_attacker = matches!(side.link?.peer, PeerEnd::Attacker { .. });
                (to_attacker && side.said_credential).then(|| self.credential(world, from))?
            }
            Source::Old => self.old.then(|| old(part.demands)),
            Source::Own(node) => {
                let (own, peers) = self.bindings(world, index)?;
                match part.demands {
                    Kind::Nothing => None,
                    Kind::Key => Some(Credential::Key {
                        key: LongKey::Attackers,
                        binding: peers,
                    }),
                    // The program states no other role for its owner than the agent's.
                    Kind::Evidence => Some(Credential::Evidence {
                        platform: self.platform,
                        node,
                        challenge: self.own_terms(index, own.node)?,
                        binding: Binding {
                            role: Role::Agent,
                            ..peers
                        },
                        wallet: Some(Node::Attackers),
                    }),
                }
            }
        }
    }

    fn nonces(&self, world: &World) -> Vec<Nonce> {
        let learnt = self.indices().filter(|index| {
            let side = &world[usize::from(*index)];
            let to_attacker = side
                .link
                .is_some_and(|link| matches!(link.peer, PeerEnd::Attacker { .. }));
            to_attacker && side.said_hello
        });
        let mut nonces = vec![Nonce::Attackers];
        if self.old {
            nonces.extend([Nonce::OldAgents, Nonce::OldVerifiers]);
        }
        nonces.extend(learnt.map(Nonce::Of));
        nonces
    }

    /// The session keys that the attacker can show.
    fn keys(&self, end: Index) -> Vec<SessionKey> {
        let mut keys = vec![SessionKey::Attackers];
        if self.old {
            keys.extend([SessionKey::OldAgents, SessionKey::OldVerifiers]);
        }
        if self.rules.has(Rule::KeyProof) {
            keys.extend(&self.leaked);
        } else {
            let others = self.indices().filter(|index| *index != end);
            keys.extend(others.map(SessionKey::Of));
        }
        keys.retain(|key| *key != SessionKey::Of(end));
        keys
    }

    fn hellos(&self, world: &World, index: Index, link: Link) -> Vec<Hello> {
        let part = self.part(index);
        let mut hellos = Vec::new();
        let verifiers = match part.presents {
            Kind::Evidence => vec![LongKey::First, LongKey::Second, LongKey::Attackers],
            Kind::Nothing | Kind::Key => vec![LongKey::Attackers],
        };
        let nodes = match part.node {
            Some(_) => vec![part.node],
            None => vec![Some(Node::Honest), Some(Node::Attackers)],
        };
        for nonce in self.nonces(world) {
            for node in &nodes {
                for verifier in &verifiers {
                    let hello = Hello {
                        role: part.peer_role,
                        node: *node,
                        nonce,
                        presents: part.demands,
                        demands: part.presents,
                        challenge: (part.presents == Kind::Evidence).then_some(Terms {
                            verifier: *verifier,
                            node: node.unwrap_or(Node::Honest),
                            nonce,
                        }),
                    };
                    if self.accepts_hello(index, link, &hello) {
                        hellos.push(hello);
                    }
                    // A challenge of another's, where nobody holds it against the hello.
                    if !self.rules.has(Rule::HelloChallenge) && part.presents == Kind::Evidence {
                        for nonce in self.nonces(world) {
                            let challenge = hello.challenge.map(|terms| Terms { nonce, ..terms });
                            hellos.push(Hello { challenge, ..hello });
                        }
                    }
                }
            }
        }
        hellos
    }

    fn sources(&self, world: &World, index: Index) -> Vec<Source> {
        let learnt = self.indices().map(Source::Learnt);
        let own = [
            Source::Own(Node::Honest),
            Source::Own(Node::Attackers),
            Source::Old,
            Source::None,
        ];
        learnt
            .chain(own)
            .filter(|source| {
                self.attackers(world, index, *source)
                    .is_some_and(|credential| self.accepts(world, index, &credential))
            })
            .collect()
    }

    fn hear_hello(&self, world: &mut World, index: Index, hello: Hello) {
        let side = &mut world[usize::from(index)];
        let Some(link) = side.link else { return };
        if !self.accepts_hello(index, link, &hello) {
            side.turn = Turn::Over;
            return;
        }
        side.heard = Some(hello);
        match self.part(index).end {
            End::Initiator => side.turn = Turn::PeerCredential,
            End::Responder => {
                side.said_hello = true;
                side.said_credential = true;
                side.turn = Turn::PeerVerdict;
            }
        }
    }

    fn hear_credential(&self, world: &mut World, index: Index, credential: &Credential) {
        let accepted = self.accepts(world, index, credential);
        let side = &mut world[usize::from(index)];
        if !accepted {
            side.turn = Turn::Over;
            return;
        }
        side.accepted_late = side.late && credential.kind() == Kind::Evidence;
        side.said_verdict = true;
        match self.part(index).end {
            End::Initiator => {
                side.said_credential = true;
                side.turn = Turn::PeerVerdict;
            }
            End::Responder => side.turn = Turn::Open,
        }
    }

    fn hear_verdict(&self, world: &mut World, index: Index) {
        let side = &mut world[usize::from(index)];
        side.turn = match self.part(index).end {
            End::Initiator => Turn::Open,
            End::Responder => Turn::PeerCredential,
        };
    }

    /// Whether the honest peer has said what is due.
    fn is_due(&self, world: &World, index: Index, peer: Index) -> bool {
        let peer = &world[usize::from(peer)];
        match world[usize::from(index)].turn {
            Turn::PeerHello => peer.said_hello,
            Turn::PeerCredential => peer.said_credential,
            Turn::PeerVerdict => peer.said_verdict,
            Turn::Idle | Turn::Open | Turn::Over => false,
        }
    }
}

/// What was presented in the old session, between the honest agent and the first verifier.
fn old(kind: Kind) -> Credential {
    let agents = Binding {
        role: Role::Agent,
        peer_role: Role::Verifier,
        end: End::Initiator,
        node: Node::Honest,
        group: Group::Hybrid,
        initiator_nonce: Nonce::OldAgents,
        responder_nonce: Nonce::OldVerifiers,
        own_key: SessionKey::OldAgents,
        peer_key: SessionKey::OldVerifiers,
        exporter: Exporter {
            connection: Connection::Old,
            initiator_nonce: Nonce::OldAgents,
            responder_nonce: Nonce::OldVerifiers,
        },
    };
    match kind {
        Kind::Nothing => Credential::Nothing,
        Kind::Key => Credential::Key {
            key: LongKey::First,
            binding: Binding {
                role: Role::Verifier,
                peer_role: Role::Agent,
                end: End::Responder,
                own_key: SessionKey::OldVerifiers,
                peer_key: SessionKey::OldAgents,
                ..agents
            },
        },
        Kind::Evidence => Credential::Evidence {
            platform: Platform::Honest,
            node: Node::Honest,
            challenge: Terms {
                verifier: LongKey::First,
                node: Node::Honest,
                nonce: Nonce::OldVerifiers,
            },
            binding: agents,
            wallet: Some(Node::Honest),
        },
    }
}

impl Model for Attack {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![vec![Side::IDLE; self.cast.len()]]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for index in self.indices() {
            let side = &world[usize::from(index)];
            match (side.turn, side.link) {
                (Turn::Idle, _) => {
                    if self.part(index).end == End::Initiator {
                        let idle = |other: &Index| {
                            self.part(*other).end == End::Responder
                                && world[usize::from(*other)].turn == Turn::Idle
                        };
                        actions.extend(self.indices().filter(idle).map(|responder| Action::Connect {
                            initiator: index,
                            responder,
                        }));
                    }
                    for key in self.keys(index) {
                        // Honest initiators offer the hybrid group alone.
                        let groups: &[Group] = match self.part(index).end {
                            End::Initiator => &[Group::Hybrid],
                            End::Responder => &[Group::Hybrid, Group::Classical],
                        };
                        actions.extend(groups.iter().map(|group| Action::Intercept {
                            end: index,
                            key,
                            group: *group,
                        }));
                    }
                    continue;
                }
                (Turn::Open | Turn::Over, _) | (_, None) => continue,
                (
                    _,
                    Some(Link {
                        peer: PeerEnd::Honest(peer),
                        ..
                    }),
                ) => {
                    if self.is_due(world, index, peer) {
                        actions.push(Action::Hear(index));
                    }
                }
                (turn, Some(link)) => match turn {
                    Turn::PeerHello => {
                        let hellos = self.hellos(world, index, link);
                        actions.extend(hellos.into_iter().map(|hello| Action::SayHello(index, hello)));
                    }
                    Turn::PeerCredential => {
                        let sources = self.sources(world, index);
                        actions.extend(sources.into_iter().map(|source| Action::Present(index, source)));
                    }
                    _ => actions.push(Action::SayVerdict(index)),
                },
            }
            if !self.rules.has(Rule::Deadline) && !side.late {
                actions.push(Action::Wait(index));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        let connect = |side: &mut Side, part: &Part, link: Link| {
            side.link = Some(link);
            side.turn = Turn::PeerHello;
            side.said_hello = part.end == End::Initiator;
        };
        match action {
            Action::Connect { initiator, responder } => {
                for (end, peer) in [(initiator, responder), (responder, initiator)] {
                    let link = Link {
                        peer: PeerEnd::Honest(peer),
                        group: Group::Hybrid,
                    };
                    connect(&mut world[usize::from(end)], self.part(end), link);
                }
            }
            Action::Intercept { end, key, group } => {
                let link = Link {
                    peer: PeerEnd::Attacker { key },
                    group,
                };
                connect(&mut world[usize::from(end)], self.part(end), link);
            }
            Action::Hear(index) => {
                let Some(Link {
                    peer: PeerEnd::Honest(peer),
                    ..
                }) = last[usize::from(index)].link
                else {
                    return None;
                };
                match last[usize::from(index)].turn {
                    Turn::PeerHello => {
                        let heard = last[usize::from(peer)].heard;
                        let hello = self.hello(peer, heard.as_ref());
                        self.hear_hello(&mut world, index, hello);
                    }
                    Turn::PeerCredential => {
                        let credential = self.credential(last, peer)?;
                        self.hear_credential(&mut world, index, &credential);
                    }
                    Turn::PeerVerdict => self.hear_verdict(&mut world, index),
                    Turn::Idle | Turn::Open | Turn::Over => return None,
                }
            }
            Action::SayHello(index, hello) => self.hear_hello(&mut world, index, hello),
            Action::Present(index, source) => {
                let credential = self.attackers(last, index, source)?;
                self.hear_credential(&mut world, index, &credential);
            }
            Action::SayVerdict(index) => self.hear_verdict(&mut world, index),
            Action::Wait(index) => world[usize::from(index)].late = true,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
