//! Who gets one of the places of a server: bounded handshakes, bounded sessions, and who gives way to whom.

use stateright::{Checker as _, HasDiscoveries, Model, Property};

const PEERS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Outside,
    /// Connected; nothing is known of it.
    Handshaking,
    /// Has a session, and speaks.
    Active,
    /// Has a session, and has said nothing for over a minute.
    Idle,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Server {
    places: [Place; PEERS],
    /// A session ended for a peer that had not passed its appraisal.
    gave_way_to_a_stranger: bool,
    /// A session that was in use ended for another node's.
    gave_way_while_active: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Connect(usize),
    /// The peer passes its appraisal.
    Pass(usize),
    /// It does not, or takes too long.
    Fail(usize),
    Rest(usize),
    Speak(usize),
    End(usize),
}

/// The rules of admission. Peers 0 and 1 are connections of the same node.
#[derive(Clone, Copy, Debug)]
struct Admission {
    handshakes: usize,
    sessions: usize,
    bounds_handshakes: bool,
    bounds_sessions: bool,
    /// A full server gives a place away only to a peer that passed.
    passed_first: bool,
    /// Only a session that is idle gives way.
    idle_only: bool,
    /// A node's new session takes the place of its old one.
    replaces: bool,
}

const PRODUCT: Admission = Admission {
    handshakes: 2,
    sessions: 2,
    bounds_handshakes: true,
    bounds_sessions: true,
    passed_first: true,
    idle_only: true,
    replaces: true,
};

const HANDSHAKES: &str = "never more handshakes than there may be";
const SESSIONS: &str = "never more sessions than there may be";
const ONE_A_NODE: &str = "a node has one session";
const STRANGERS: &str = "no session gives way to a peer that has not passed";
const ACTIVE: &str = "no session in use gives way to another node's";
const FULL: &str = "all places are taken";

const fn node(peer: usize) -> usize {
    peer.saturating_sub(1)
}

impl Server {
    fn in_session(&self) -> impl Iterator<Item = usize> + '_ {
        (0..PEERS).filter(|peer| matches!(self.places[*peer], Place::Active | Place::Idle))
    }

    fn handshakes(&self) -> usize {
        self.places
            .iter()
            .filter(|place| **place == Place::Handshaking)
            .count()
    }
}

impl Admission {
    /// The session that ends so that another begins.
    fn gives_way(&self, server: &Server) -> Option<usize> {
        server
            .in_session()
            .find(|peer| server.places[*peer] == Place::Idle || !self.idle_only)
    }

    fn make_room(&self, server: &mut Server, for_stranger: bool) -> bool {
        if server.in_session().count() < self.sessions || !self.bounds_sessions {
            return true;
        }
        let Some(old) = self.gives_way(server) else {
            return false;
        };
        server.gave_way_to_a_stranger |= for_stranger;
        server.gave_way_while_active |= server.places[old] == Place::Active;
        server.places[old] = Place::Outside;
        true
    }
}

impl Model for Admission {
    type State = Server;
    type Action = Step;

    fn init_states(&self) -> Vec<Server> {
        vec![Server {
            places: [Place::Outside; PEERS],
            gave_way_to_a_stranger: false,
            gave_way_while_active: false,
        }]
    }

    fn actions(&self, server: &Server, steps: &mut Vec<Step>) {
        for peer in 0..PEERS {
            match server.places[peer] {
                Place::Outside => steps.push(Step::Connect(peer)),
                Place::Handshaking => steps.extend([Step::Pass(peer), Step::Fail(peer)]),
                Place::Active => steps.extend([Step::Rest(peer), Step::End(peer)]),
                Place::Idle => steps.extend([Step::Speak(peer), Step::End(peer)]),
            }
        }
    }

    fn next_state(&self, last: &Server, step: Step) -> Option<Server> {
        let mut server = last.clone();
        match step {
            Step::Connect(peer) => {
                if self.bounds_handshakes && server.handshakes() >= self.handshakes {
                    return None;
                }
                if !self.passed_first && !self.make_room(&mut server, true) {
                    return None;
                }
                server.places[peer] = Place::Handshaking;
            }
            Step::Pass(peer) => {
                let same = server.in_session().find(|other| node(*other) == node(peer));
                server.places[peer] = Place::Outside;
                if let (Some(old), true) = (same, self.replaces) {
                    server.places[old] = Place::Outside;
                }
                if self.make_room(&mut server, false) {
                    server.places[peer] = Place::Active;
                }
            }
            Step::Fail(peer) | Step::End(peer) => server.places[peer] = Place::Outside,
            Step::Rest(peer) => server.places[peer] = Place::Idle,
            Step::Speak(peer) => server.places[peer] = Place::Active,
        }
        Some(server)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(HANDSHAKES, |model, server: &Server| {
                server.handshakes() <= model.handshakes
            }),
            Property::always(SESSIONS, |model, server: &Server| {
                server.in_session().count() <= model.sessions
            }),
            Property::always(ONE_A_NODE, |_, server: &Server| {
                let in_session: Vec<_> = server.in_session().collect();
                !(in_session.contains(&0) && in_session.contains(&1))
            }),
            Property::always(STRANGERS, |_, server: &Server| !server.gave_way_to_a_stranger),
            Property::always(ACTIVE, |_, server: &Server| !server.gave_way_while_active),
            Property::sometimes(FULL, |model, server: &Server| {
                server.in_session().count() == model.sessions && server.handshakes() == model.handshakes
            }),
        ]
    }
}

fn broken(model: Admission) -> Vec<&'static str> {
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::All)
        .spawn_bfs()
        .join();
    let mut broken: Vec<_> = checker
        .discoveries()
        .into_keys()
        .filter(|name| *name != FULL)
        .collect();
    broken.sort_unstable();
    broken
}

#[test]
fn the_bounds_on_handshakes_and_sessions_hold() {
    let checker = PRODUCT.checker().spawn_bfs().join();
    checker.assert_properties();
    let (unique, all) = (checker.unique_state_count(), checker.state_count());
    println!("admission: {unique} states, {all} transitions");
}

#[test]
fn each_rule_of_admission_is_missed() {
    let missed = [
        (
            Admission {
                bounds_handshakes: false,
                ..PRODUCT
            },
            HANDSHAKES,
        ),
        (
            Admission {
                bounds_sessions: false,
                ..PRODUCT
            },
            SESSIONS,
        ),
        (
            Admission {
                passed_first: false,
                ..PRODUCT
            },
            STRANGERS,
        ),
        (
            Admission {
                idle_only: false,
                ..PRODUCT
            },
            ACTIVE,
        ),
        (
            Admission {
                replaces: false,
                ..PRODUCT
            },
            ONE_A_NODE,
        ),
    ];
    for (model, property) in missed {
        assert_eq!(broken(model), [property], "{model:?}");
    }
}
