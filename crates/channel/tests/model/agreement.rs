//! Every reachable state of the handshake under attack, and what happens when a check is left out.

use std::collections::HashSet;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use crate::attacker::properties::{
    AGREEMENT, CURRENT, ENCLAVE_INSIDE, HONEST_RUN, HYBRID, PINNED, PRESENTED_TO_PINNED,
};
use crate::attacker::{Attack, Part};
use crate::terms::{Platform, Rule, Rules, SessionKey};

fn relay() -> Attack {
    Attack {
        old: true,
        ..Attack::new(&[Part::AGENT, Part::FIRST])
    }
}

fn diversion() -> Attack {
    Attack {
        old: true,
        ..Attack::new(&[Part::AGENT, Part::FIRST, Part::SECOND])
    }
}

fn enclave() -> Attack {
    Attack {
        old: true,
        ..Attack::new(&[Part::ENCLAVE, Part::AGENT_OF_ENCLAVE])
    }
}

fn neighbour() -> Attack {
    Attack {
        platform: Platform::Honest,
        ..relay()
    }
}

/// Agent and first verifier stand at 0 and 1: both their keys are out while they are in use.
fn leaking() -> Attack {
    Attack {
        leaked: vec![SessionKey::Of(0), SessionKey::Of(1)],
        ..relay()
    }
}

fn holds(name: &str, attack: Attack) {
    let checker = attack.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let (unique, all, depth) = (
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
    );
    println!("{name}: {unique} states, {all} transitions, depth {depth}");
}

/// The properties that break without some checks.
fn broken(attack: &Attack, removed: &[Rule]) -> Vec<&'static str> {
    let attack = Attack {
        rules: Rules::without(removed),
        ..attack.clone()
    };
    let checker = attack.checker().spawn_bfs().join();
    let mut broken: Vec<_> = checker
        .discoveries()
        .into_keys()
        .filter(|name| *name != HONEST_RUN)
        .collect();
    broken.sort_unstable();
    broken
}

fn falls(attack: &Attack, removed: &[Rule]) -> bool {
    let attack = Attack {
        rules: Rules::without(removed),
        ..attack.clone()
    };
    let checker = attack
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    checker.discoveries().into_keys().any(|name| name != HONEST_RUN)
}

#[test]
fn no_attack_on_one_verifier_succeeds() {
    holds("relay, with an old session leaked", relay());
    holds("relay, from a neighbour on the same machine", neighbour());
    holds("relay, with the keys of both ends out while in use", leaking());
}

#[test]
fn no_diversion_to_another_verifier_succeeds() {
    holds("diversion", diversion());
}

#[test]
fn no_mix_of_two_sessions_of_an_agent_succeeds() {
    holds(
        "two sessions of an agent",
        Attack::new(&[Part::AGENT, Part::AGENT, Part::FIRST]),
    );
}

#[test]
fn no_mix_of_two_sessions_of_a_verifier_succeeds() {
    holds(
        "two sessions of a verifier",
        Attack::new(&[Part::AGENT, Part::FIRST, Part::FIRST]),
    );
}

#[test]
fn no_enclaves_evidence_serves_elsewhere() {
    holds("enclave and agent, with an old session leaked", enclave());
    holds(
        "enclave and verifier",
        Attack::new(&[Part::AGENT, Part::ENCLAVE, Part::FIRST]),
    );
}

/// What breaks when one check is left out, with an old session leaked.
#[test]
fn each_check_is_missed_or_covered_by_another() {
    let pinned = vec![PRESENTED_TO_PINNED, PINNED];
    for rule in Rule::ALL {
        let (expected, _why) = match rule {
            Rule::PinnedKey => (pinned.clone(), "nothing else says whom the agent means"),
            Rule::HelloGroup => (
                vec![HYBRID],
                "the binding's group is what both ends saw: both saw the weak one",
            ),
            Rule::Role => (
                vec![],
                "verifiers ask the wallet; an agent that hears an enclave misses it: see below",
            ),
            Rule::PeerRole => (vec![], "who speaks in a role here speaks to one other"),
            Rule::End => (vec![], "each role here is always the same end"),
            Rule::Node => (
                vec![],
                "the challenge, the user data, the wallet and the machine are of the node too",
            ),
            Rule::Group => (vec![], "it is refused at the hello"),
            Rule::InitiatorNonce => (vec![], "it is in the exporter's context"),
            Rule::ResponderNonce => (vec![], "it is in the exporter's context, and is the challenge's"),
            Rule::OwnKey | Rule::PeerKey => (
                vec![],
                "the exporter is of one connection, and TLS had the keys proven",
            ),
            Rule::Exporter => (
                vec![],
                "the keys live as long as one session: missed once they leak, see below",
            ),
            Rule::Challenge => (vec![], "its nonce is the responder's in the binding"),
            Rule::ChallengeCurrent => (vec![], "the handshake's deadline passes first"),
            Rule::Deadline => (vec![], "the challenge expires"),
            Rule::UserDataNode => (vec![], "as the binding's node"),
            Rule::Platform => (vec![], "the wallet did not sign"),
            Rule::Wallet => (vec![], "another machine: missed on the same one, see below"),
            Rule::HelloRole => (vec![], "the binding's role"),
            Rule::HelloNode => (vec![], "an end that knows its node keeps to it"),
            Rule::HelloKinds => (vec![], "the credential's kind is looked at again"),
            Rule::HelloChallenge => (
                vec![],
                "an agent presents to none but the verifier whose hello it is",
            ),
            Rule::KeyProof => (vec![], "the exporter is of one connection"),
        };
        assert_eq!(broken(&relay(), &[rule]), expected, "{rule:?}");
    }
}

/// Checks that another covers, until the attacker has a little more.
#[test]
fn a_check_that_is_covered_is_missed_by_a_stronger_attacker() {
    // A tenant on the honest node's machine, who runs the same program set up for that node: only the wallet tells.
    assert_eq!(broken(&neighbour(), &[Rule::Wallet]), vec![AGREEMENT]);
    assert_eq!(broken(&neighbour(), &[Rule::Platform]), Vec::<&str>::new());
    // The keys of both ends: only the exporter tells.
    let all = vec![PRESENTED_TO_PINNED, PINNED, AGREEMENT];
    assert_eq!(broken(&leaking(), &[Rule::Exporter]), all);
    // A process that asks an enclave to vouch for it, as any agent may: only the role tells.
    assert_eq!(broken(&enclave(), &[Rule::Role]), vec![ENCLAVE_INSIDE]);
}

/// The smallest sets of checks without which an attack with an old session's secrets succeeds. No set of two besides
/// these breaks anything, and no part of one of three does.
#[test]
fn the_smallest_sets_of_checks_that_hold_together() {
    let cuts: [(&[Rule], &str); 5] = [
        (&[Rule::Platform, Rule::Wallet], AGREEMENT),
        (&[Rule::Exporter, Rule::KeyProof], AGREEMENT),
        (&[Rule::ChallengeCurrent, Rule::Deadline], CURRENT),
        (&[Rule::Exporter, Rule::OwnKey, Rule::PeerKey], AGREEMENT),
        (&[Rule::Exporter, Rule::PeerKey, Rule::InitiatorNonce], PINNED),
    ];
    for (cut, property) in cuts {
        let broken = broken(&relay(), cut);
        println!("without {cut:?}: {broken:?}");
        assert!(broken.contains(&property), "{cut:?}: {broken:?}");
        for kept in cut {
            let rest: Vec<_> = cut.iter().copied().filter(|rule| rule != kept).collect();
            assert!(!falls(&relay(), &rest), "{rest:?}");
        }
    }
    let rules = [
        Rule::Role,
        Rule::Exporter,
        Rule::OwnKey,
        Rule::PeerKey,
        Rule::InitiatorNonce,
        Rule::ResponderNonce,
        Rule::Challenge,
        Rule::Platform,
        Rule::Wallet,
    ];
    for (at, first) in rules.iter().enumerate() {
        for second in &rules[at + 1..] {
            let expected = [*first, *second] == [Rule::Platform, Rule::Wallet];
            assert_eq!(
                falls(&relay(), &[*first, *second]),
                expected,
                "{first:?} {second:?}"
            );
        }
    }
}

/// The model compares sessions as the implementation does: same fields, same order, same name of the first that differs.
#[test]
fn sessions_differ_in_the_model_where_they_differ_in_the_implementation() {
    let attack = leaking();
    let mut bindings = HashSet::new();
    let mut worlds: Vec<_> = attack.init_states();
    let mut seen = HashSet::new();
    while let Some(world) = worlds.pop() {
        for next in attack.next_states(&world) {
            if seen.insert(next.clone()) {
                worlds.push(next);
            }
        }
        for index in 0..2 {
            let Some((own, peers)) = attack.bindings(&world, index) else {
                continue;
            };
            bindings.extend([own, peers]);
        }
    }
    let bindings: Vec<_> = bindings
        .into_iter()
        .map(|binding| (binding, binding.concrete()))
        .collect();
    let mut pairs = 0;
    for (model, real) in &bindings {
        for (other_model, other_real) in &bindings {
            let name = model.difference(other_model, Rules::ALL).map(field);
            assert_eq!(name, real.difference(other_real), "{model:?} {other_model:?}");
            pairs += 1;
        }
    }
    println!(
        "{} sessions of the model, {pairs} pairs compared as the implementation does",
        bindings.len()
    );
    assert!(bindings.len() > 100);
}

fn field(rule: Rule) -> &'static str {
    match rule {
        Rule::Role => "role",
        Rule::PeerRole => "peer_role",
        Rule::End => "end",
        Rule::Node => "node",
        Rule::Group => "group",
        Rule::InitiatorNonce => "initiator_nonce",
        Rule::ResponderNonce => "responder_nonce",
        Rule::OwnKey => "own_key",
        Rule::PeerKey => "peer_key",
        Rule::Exporter => "exporter",
        other => panic!("{other:?} is no field"),
    }
}
