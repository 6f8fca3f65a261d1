//! An enclave that is killed at any moment: at its start, while it writes its state, while it signs. The next one always
//! opens the state, serves the same node, and signs nothing that was signed.

use std::collections::BTreeSet;

use crate::agent::{Agent, Failed, Machine, NODE, attest, close, sample};
use nautilus_core::{BootId, Digest32, PublicKey, UnixMillis};
use nautilus_enclave::{Reply, Request, hpke};

const KILLS: u32 = 100;

/// What all enclaves of the test have said.
#[derive(Default)]
struct Seen {
    samples: BTreeSet<(BootId, u64)>,
    signed: BTreeSet<(BootId, u64)>,
    windows: BTreeSet<(BootId, u64)>,
    boots: BTreeSet<BootId>,
    keys: BTreeSet<PublicKey>,
    generation: u64,
    secret: Option<Digest32>,
}

impl Seen {
    fn take(&mut self, reply: Reply) {
        match reply {
            Reply::Sample(sample) => {
                let place = (sample.boot, sample.sequence);
                assert!(self.samples.insert(place), "sample {place:?} was given twice");
            }
            Reply::Batch(signed) => {
                for sequence in signed.batch.first..signed.batch.first + u64::from(signed.batch.count) {
                    let place = (signed.batch.boot, sequence);
                    assert!(self.signed.insert(place), "sample {place:?} was signed twice");
                }
            }
            Reply::Window(signed) => {
                let window = &signed.statement.window;
                let place = (window.boot, window.sequence);
                assert!(self.windows.insert(place), "window {place:?} was signed twice");
                assert_eq!(window.node, NODE);
            }
            Reply::Rotated(rotated) => {
                self.boots.insert(rotated.identity.boot);
                self.keys.insert(rotated.identity.tee_key);
            }
            Reply::Provisioned { sealed } => self.secret = Some(sealed),
            Reply::Evidence(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// A restart: the node holds, every key that was ever shown is the key or is retired, and what was answered is kept.
    fn restart(&mut self, agent: &mut Agent) -> PublicKey {
        let identity = agent.initialize();
        assert!(self.boots.insert(identity.boot), "a boot came twice");
        assert!(
            identity.state.generation > self.generation,
            "a start was not counted"
        );
        self.generation = identity.state.generation;
        self.keys.insert(identity.tee_key);
        let retired = identity.state.retired.iter().map(|key| key.tee_key);
        let known: BTreeSet<_> = retired.chain([identity.tee_key]).collect();
        // Sixty-four retired keys are remembered, and there are fewer rotations here.
        assert!(self.keys.is_subset(&known), "a key was forgotten");
        assert!(
            self.secret.is_none() || identity.state.secrets == ["disk"],
            "a secret was forgotten"
        );
        identity.channel_key
    }
}

/// Numbers that differ with every run; the seed is in the message of a failure.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        eprintln!("seed {seed:?}");
        Self(u64::from_le_bytes(seed) | 1)
    }

    /// xorshift64: 0 to `below`, which is small.
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// A moment of `longest` turns at most, so that kills fall between any two system calls.
    fn moment(&mut self, longest: u64) {
        for _ in 0..self.below(longest) {
            std::hint::spin_loop();
        }
    }
}

/// What an agent asks, over and over. The times are those of the round.
fn requests(round: u64, channel_key: &PublicKey) -> Vec<Request> {
    let start = 1000 + round * 10_000;
    let sealed = hpke::seal(
        channel_key,
        &hpke::provision_info(NODE, "disk"),
        &round.to_le_bytes(),
    );
    let mut requests = vec![
        attest(),
        sample(start),
        sample(start + 1000),
        Request::SignBatch,
        close(start, start + 2000),
        sample(start + 2000),
        Request::SignBatch,
        close(start + 2000, start + 3000),
    ];
    if round % 3 == 1 {
        requests.push(Request::Provision {
            name: "disk".to_owned(),
            sealed: sealed.unwrap(),
        });
    }
    if round % 4 == 2 {
        requests.push(Request::Rotate {
            now: UnixMillis(start + 4000),
        });
    }
    requests
}

#[test]
fn nothing_is_forgotten_or_signed_twice_when_the_enclave_is_killed() {
    let machine = Machine::new();
    let mut random = Random::new();
    let mut seen = Seen::default();
    for kill in 0..KILLS {
        // One in five dies at its start, when it writes that it started.
        if kill % 5 == 4 {
            let (mut child, _stream) = machine.spawn_unheard();
            random.moment(500_000);
            child.kill().unwrap();
            child.wait().unwrap();
            continue;
        }
        let mut agent = match machine.start() {
            Ok(agent) => agent,
            Err(Failed { stderr, .. }) => panic!("after kill {kill} the state does not open: {stderr}"),
        };
        let channel_key = seen.restart(&mut agent);
        let asked = requests(kill.into(), &channel_key);
        // All answers but those of the last requests are read; these are under way when it dies.
        let unread = usize::try_from(random.below(4)).unwrap();
        let last = usize::try_from(random.below(asked.len() as u64)).unwrap() + 1;
        for (at, request) in asked.iter().take(last).enumerate() {
            agent.send(request).unwrap();
            if at + unread < last {
                seen.take(agent.receive().unwrap());
            }
        }
        random.moment(50_000);
        agent.child.kill().unwrap();
        // What it answered before it died counts too.
        while let Ok(reply) = agent.receive() {
            seen.take(reply);
        }
        agent.end();
    }
    assert!(
        seen.samples.len() > 50 && seen.windows.len() > 20,
        "it hardly worked"
    );
    seen.restart(&mut machine.start().unwrap());
}
