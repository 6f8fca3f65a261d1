//! What must hold in every reachable state, and what must be reachable.

use nautilus_core::Role;
use stateright::Property;

use super::{Attack, Link, PeerEnd, Side, Turn, World};
use crate::terms::{Group, Index, LongKey, Node};

pub const AGREEMENT: &str = "who is accepted for the honest node vouched for this very session, once";
pub const PINNED: &str = "an agent's channel is open to the verifier that it pins";
pub const PRESENTED_TO_PINNED: &str = "an agent presents evidence to none but the verifier that it pins";
pub const ENCLAVE_INSIDE: &str = "whom an agent takes for an enclave ends the session inside of one";
pub const HYBRID: &str = "no channel opens without the hybrid group";
pub const CURRENT: &str = "no evidence is accepted when its challenge is no longer current";
pub const HONEST_RUN: &str = "two honest ends open a channel";

/// All of them.
pub fn all() -> Vec<Property<Attack>> {
    vec![
        Property::always(AGREEMENT, Attack::agreement),
        Property::always(PINNED, Attack::pinned),
        Property::always(PRESENTED_TO_PINNED, Attack::presented_to_pinned),
        Property::always(ENCLAVE_INSIDE, Attack::enclave_inside),
        Property::always(HYBRID, |_, world: &World| {
            let open = |side: &&Side| side.turn == Turn::Open;
            world
                .iter()
                .filter(open)
                .all(|side| side.link.is_some_and(|link| link.group == Group::Hybrid))
        }),
        Property::always(CURRENT, |_, world: &World| {
            world.iter().all(|side| !side.accepted_late)
        }),
        Property::sometimes(HONEST_RUN, |_, world: &World| {
            let honest = |side: &Side| {
                matches!(
                    side.link,
                    Some(Link {
                        peer: PeerEnd::Honest(_),
                        ..
                    })
                )
            };
            world
                .iter()
                .filter(|side| side.turn == Turn::Open && honest(side))
                .count()
                >= 2
        }),
    ]
}

impl Attack {
    fn agreement(&self, world: &World) -> bool {
        let accepted = |index: &Index| {
            self.part(*index).role == Role::Verifier && world[usize::from(*index)].turn == Turn::Open
        };
        let mut vouched: Vec<Index> = Vec::new();
        for verifier in self.indices().filter(accepted) {
            let Some((own, peers)) = self.bindings(world, verifier) else {
                return false;
            };
            if own.node != Node::Honest {
                continue;
            }
            let agent = self.indices().find(|index| {
                let side = &world[usize::from(*index)];
                self.part(*index).role == Role::Agent
                    && side.said_credential
                    && side
                        .link
                        .is_some_and(|link| link.peer == PeerEnd::Honest(verifier))
                    && self
                        .bindings(world, *index)
                        .is_some_and(|(stated, _)| stated == peers)
            });
            match agent {
                Some(agent) if !vouched.contains(&agent) => vouched.push(agent),
                _ => return false,
            }
        }
        true
    }

    fn of_pinned(&self, world: &World, index: Index) -> bool {
        let Some(Link {
            peer: PeerEnd::Honest(peer),
            ..
        }) = world[usize::from(index)].link
        else {
            return false;
        };
        let agree = match (self.bindings(world, index), self.bindings(world, peer)) {
            (Some((own, peers)), Some((peer_own, peer_peers))) => own == peer_peers && peers == peer_own,
            _ => false,
        };
        self.part(peer).long_key == Some(LongKey::First) && agree
    }

    fn pinned(&self, world: &World) -> bool {
        self.agents()
            .filter(|index| world[usize::from(*index)].turn == Turn::Open)
            .all(|index| self.of_pinned(world, index))
    }

    fn presented_to_pinned(&self, world: &World) -> bool {
        self.agents()
            .filter(|index| world[usize::from(*index)].said_credential)
            .all(|index| self.of_pinned(world, index))
    }

    fn agents(&self) -> impl Iterator<Item = Index> + '_ {
        self.indices()
            .filter(|index| self.part(*index).peer_role == Role::Verifier)
    }

    fn enclave_inside(&self, world: &World) -> bool {
        self.indices()
            .filter(|index| self.part(*index).peer_role == Role::Enclave)
            .filter(|index| world[usize::from(*index)].turn == Turn::Open)
            .all(|index| match world[usize::from(index)].link {
                Some(Link {
                    peer: PeerEnd::Honest(peer),
                    ..
                }) => self.part(peer).role == Role::Enclave,
                _ => false,
            })
    }
}
