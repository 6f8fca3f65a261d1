//! Runs of the model, on two real ends: after each step both have to be where the model is.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use nautilus_channel::{
    Appraise, ChannelError, Endpoint, Event, Judgement, MessageId, MessageType, Now, Present, Reason,
};
use nautilus_core::VerifyError;
use stateright::{Checker as _, HasDiscoveries, Model as _};

use crate::fixture::{START, Tee, agent, output, verifier};
use crate::lifecycle::{
    AGENT, Action, BOTH_ACCEPTED, Judged, Kind, Lifecycle, Made, NOT_AFTER_END, PREFIX, Pair, Side, Stage,
    TRANSPORT, VERDICTS_FIRST, VERIFIER,
};

/// Two real ends, and what happened to them.
struct Run<'a> {
    tee: &'a Tee,
    ends: [Endpoint; 2],
    now: [Now; 2],
    present: Option<Box<Present>>,
    appraise: Option<Box<Appraise>>,
    received: [Vec<u8>; 2],
    round_trips: [u8; 2],
    established: [bool; 2],
    terminated: [bool; 2],
    sent: [u8; 2],
}

impl<'a> Run<'a> {
    fn new(tee: &'a Tee) -> Self {
        Self {
            tee,
            ends: [
                Endpoint::initiator(agent(), START).unwrap(),
                Endpoint::responder(verifier(), START).unwrap(),
            ],
            now: [START; 2],
            present: None,
            appraise: None,
            received: [Vec::new(), Vec::new()],
            round_trips: [0; 2],
            established: [false; 2],
            terminated: [false; 2],
            sent: [0; 2],
        }
    }

    /// A record at a time, each in odd pieces. What stands in one read with a record that does not authenticate is lost
    /// with it, and the model takes each for itself.
    fn receive(&mut self, to: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while let [_, _, _, high, low, ..] = rest {
            let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
            let (record, after) = rest.split_at(length);
            for piece in record.chunks(977) {
                // What it says shows in the end's state.
                let _result = self.ends[to].receive(piece, self.now[to]);
            }
            self.look(to);
            rest = after;
        }
        assert!(rest.is_empty(), "half a record was said");
    }

    fn look(&mut self, at: usize) {
        while let Some(event) = self.ends[at].next_event() {
            match event {
                Event::Present(present) => self.present = Some(present),
                Event::Appraise(appraise) => self.appraise = Some(appraise),
                Event::Established => {
                    assert!(!self.established[at], "opened twice");
                    self.established[at] = true;
                }
                Event::Message(message) => self.received[at].push(message.payload[0]),
                Event::RoundTrip(_) => self.round_trips[at] += 1,
                Event::Terminated(_) => self.terminated[at] = true,
            }
        }
    }

    fn later(&mut self, at: usize, by: Duration) -> Now {
        self.now[at] = self.now[at].plus(by);
        self.now[at]
    }

    fn step(&mut self, action: Action, before: &Pair) {
        match action {
            Action::Carry { from } => {
                let bytes = output(&mut self.ends[from]);
                self.receive(1 - from, &bytes);
            }
            Action::Repeat { from } => {
                let bytes = output(&mut self.ends[from]);
                self.receive(1 - from, &bytes);
                self.receive(1 - from, &bytes);
            }
            Action::Lose { from } => drop(output(&mut self.ends[from])),
            Action::Cut { to } => assert_eq!(self.ends[to].ended(), ChannelError::Truncated),
            Action::Present(made) => {
                let present = self.present.take().unwrap();
                let made = match made {
                    Made::Evidence => Ok(self.tee.present(&present)),
                    Made::Nothing => Err("the device does not answer".to_owned()),
                };
                let failed = made.is_err();
                let result = self.ends[AGENT].presented(made, self.now[AGENT]);
                assert_eq!(matches!(result, Err(ChannelError::NotPresented(_))), failed);
            }
            Action::Judge(judged) => self.judge(judged),
            Action::Send(at) => {
                self.sent[at] += 1;
                let payload = [self.sent[at]];
                let result = self.ends[at].send(
                    MessageType::Attestation,
                    MessageId([7; 16]),
                    false,
                    &payload,
                    self.now[at],
                );
                assert_eq!(result, Ok(()));
            }
            Action::Terminate(at) => self.ends[at].terminate(Reason::Done, "", self.now[at]),
            Action::Deadline(at) => {
                let due = self.ends[at].next_tick().unwrap();
                let now = self.later(at, due.saturating_sub(self.now[at].monotonic));
                let expected = due_at(before.sides[at].stage);
                match self.ends[at].tick(now) {
                    Err(ChannelError::HandshakeSlow { due, .. }) => assert_eq!(due, expected),
                    other => panic!("{other:?}"),
                }
            }
            Action::Idle(at) => {
                let now = self.later(at, Duration::from_secs(15));
                assert_eq!(self.ends[at].tick(now), Ok(()));
            }
            Action::Silence(at) => {
                let now = self.later(at, Duration::from_secs(45));
                let silent = self.ends[at].tick(now);
                assert!(
                    matches!(silent, Err(ChannelError::PeerSilent { .. })),
                    "{silent:?}"
                );
            }
            Action::Expire(at) => {
                let now = self.until_end(at);
                let expired = self.ends[at].tick(now);
                assert!(
                    matches!(expired, Err(ChannelError::Expired { .. })),
                    "{expired:?}"
                );
            }
            Action::ExpireUnseen(at) => drop(self.until_end(at)),
        }
    }

    fn until_end(&mut self, at: usize) -> Now {
        let end = self.ends[at].expires_at().unwrap();
        self.later(at, Duration::from_millis(end.since(self.now[at].wall)))
    }

    fn judge(&mut self, judged: Judged) {
        let appraise = self.appraise.take().unwrap();
        let mut now = self.now[VERIFIER];
        let made_for = |session| Present {
            terms: appraise.terms.clone(),
            session,
        };
        let judgement = match judged {
            Judged::Accepted | Judged::Stale => self.tee.judge(*appraise, now.wall),
            Judged::Rejected => {
                let present = made_for(appraise.session.clone());
                let presented = self.tee.present_as([0x66; 32], &present, |_| {});
                self.tee.judge(
                    Appraise {
                        presented,
                        ..*appraise
                    },
                    now.wall,
                )
            }
            Judged::OfAnotherSession => {
                let mut session = appraise.session.clone();
                session.exporter.0[0] ^= 1;
                let presented = self.tee.present(&made_for(session.clone()));
                let other = Appraise {
                    presented,
                    session,
                    ..*appraise
                };
                self.tee.judge(other, now.wall)
            }
            Judged::Invalid => Judgement::Invalid(VerifyError::TcbRevoked),
            Judged::NotRegistered => Judgement::NotRegistered {
                kind: "platform_differs".to_owned(),
                detail: "another machine".to_owned(),
            },
        };
        if let (Judged::Stale, Judgement::Appraised { appraisal, .. }) = (judged, &judgement) {
            now = now.plus(Duration::from_millis(appraisal.expires_at().since(now.wall)));
        }
        let result = self.ends[VERIFIER].judged(judgement, now);
        assert_eq!(result.is_ok(), judged == Judged::Accepted, "{result:?}");
    }

    /// Holds what can be seen of both ends against the model.
    fn compare(&mut self, pair: &Pair, trace: &[Action]) {
        for at in [AGENT, VERIFIER] {
            self.look(at);
            let side = &pair.sides[at];
            let seen = format!("end {at} after {trace:?}; the model says {side:?}");
            self.compare_stage(at, side, &seen);
            let end = &self.ends[at];
            assert_eq!(end.peer().is_some(), side.stage == Stage::Open, "{seen}");
            assert_eq!(end.node().is_some(), side.stage == Stage::Open, "{seen}");
            assert_eq!(end.wants_write(), !side.wire.is_empty(), "{seen}");
            assert_eq!(self.established[at], side.established, "{seen}");
            assert_eq!(self.terminated[at], side.terminated, "{seen}");
            assert_eq!(self.received[at], side.received, "{seen}");
            assert_eq!(self.round_trips[at], side.round_trips, "{seen}");
        }
        let presenting = pair.sides[AGENT].stage == Stage::Presenting;
        let judging = pair.sides[VERIFIER].stage == Stage::Judging;
        if presenting {
            assert!(self.present.is_some(), "{trace:?}");
        }
        if judging {
            assert!(self.appraise.is_some(), "{trace:?}");
        }
    }

    fn compare_stage(&mut self, at: usize, side: &Side, seen: &str) {
        let now = self.now[at];
        let end = &mut self.ends[at];
        assert_eq!(end.next_tick().is_none(), side.is_over(), "{seen}");
        // Nothing of the application's goes out before the channel is open, nor after its end; and trying harms nothing.
        let mut early = || {
            end.send(
                MessageType::ProofRequest,
                MessageId([8; 16]),
                false,
                b"early",
                now,
            )
        };
        match side.stage {
            Stage::Open => {}
            Stage::Over(kind) => {
                let why = early().unwrap_err();
                assert!(is_kind(&why, kind), "{why:?}: {seen}");
            }
            _ => {
                let why = early().unwrap_err();
                assert!(matches!(why, ChannelError::NoEvidence { .. }), "{why:?}: {seen}");
            }
        }
    }
}

/// The name of an error, or of the fault that a stranger told.
pub fn told(why: &ChannelError) -> &str {
    match why {
        ChannelError::RefusedByStranger(fault) => &fault.kind,
        other => other.kind(),
    }
}

fn is_kind(why: &ChannelError, kind: Kind) -> bool {
    match kind {
        TRANSPORT => ["record_forged", "tls", "alert", "truncated"].contains(&why.kind()),
        // The model does not ask whose word a fault is; the implementation does, by the credential that came or did not.
        kind => told(why) == kind,
    }
}

const fn due_at(stage: Stage) -> &'static str {
    match stage {
        Stage::Tls => "TLS handshake",
        Stage::PeerHello => "hello",
        Stage::Presenting => "own evidence",
        Stage::PeerCredential => "credential",
        Stage::Judging => "own verdict",
        Stage::PeerVerdict => "verdict",
        Stage::Open | Stage::Over(_) => "nothing",
    }
}

/// Runs that take every transition of the model's graph at least once: each goes to the nearest state with one that was
/// not taken yet, and on for as long as there is one.
fn cover(model: &Lifecycle) -> (usize, usize, Vec<Vec<Action>>) {
    let mut ways: HashMap<Pair, Vec<Action>> = HashMap::new();
    let mut queue: VecDeque<Pair> = VecDeque::new();
    let mut order = Vec::new();
    let mut edges: HashMap<Pair, Vec<(Action, Pair)>> = HashMap::new();
    for init in model.init_states() {
        ways.insert(init.clone(), Vec::new());
        queue.push_back(init);
    }
    while let Some(state) = queue.pop_front() {
        let steps = model.next_steps(&state);
        for (action, next) in &steps {
            if !ways.contains_key(next) {
                let mut way = ways[&state].clone();
                way.push(*action);
                ways.insert(next.clone(), way);
                queue.push_back(next.clone());
            }
        }
        edges.insert(state.clone(), steps);
        order.push(state);
    }
    let transitions = edges.values().map(Vec::len).sum();
    let mut taken: HashSet<(Pair, Action)> = HashSet::new();
    let mut runs = Vec::new();
    // From the far end: long runs take the near transitions on their way.
    for state in order.iter().rev() {
        while edges[state]
            .iter()
            .any(|(action, _)| !taken.contains(&(state.clone(), *action)))
        {
            let mut run = ways[state].clone();
            let mut at = model.init_states().remove(0);
            for action in &run {
                taken.insert((at.clone(), *action));
                at = model.next_state(&at, *action).unwrap();
            }
            while let Some((action, next)) = edges[&at]
                .iter()
                .find(|(action, _)| !taken.contains(&(at.clone(), *action)))
            {
                run.push(*action);
                taken.insert((at, *action));
                at = next.clone();
            }
            runs.push(run);
        }
    }
    (order.len(), transitions, runs)
}

fn run_through(model: &Lifecycle, tee: &Tee, trace: &[Action]) {
    let mut pair = model.init_states().remove(0);
    let mut run = Run::new(tee);
    run.compare(&pair, &[]);
    for (number, action) in trace.iter().enumerate() {
        run.step(*action, &pair);
        pair = model.next_state(&pair, *action).unwrap();
        run.compare(&pair, &trace[..=number]);
    }
}

/// Handshakes, heartbeats and ends with a network that does harm once.
const HARMED: Lifecycle = Lifecycle {
    messages: 0,
    ..Lifecycle::PRODUCT
};

/// A part of the runs, so that parts go in parallel.
fn every_transition(part: usize) {
    const PARTS: usize = 4;
    let (states, transitions, runs) = cover(&HARMED);
    let tee = Tee::new();
    let (mut count, mut steps) = (0, 0);
    for trace in runs.iter().skip(part).step_by(PARTS) {
        run_through(&HARMED, &tee, trace);
        count += 1;
        steps += trace.len();
    }
    let all = runs.len();
    println!(
        "handshake and session under harm: {states} states, {transitions} transitions, taken by {all} runs; \
         part {part}: {count} runs, {steps} steps"
    );
}

#[test]
fn every_transition_is_the_implementations_first_part() {
    every_transition(0);
}

#[test]
fn every_transition_is_the_implementations_second_part() {
    every_transition(1);
}

#[test]
fn every_transition_is_the_implementations_third_part() {
    every_transition(2);
}

#[test]
fn every_transition_is_the_implementations_fourth_part() {
    every_transition(3);
}

/// Walks with messages both ways, chosen by a seed.
fn walks(model: &Lifecycle, seed: u64, count: usize) {
    let tee = Tee::new();
    let mut random = seed;
    let mut next = move |below: usize| {
        // Xorshift: any spread will do.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 16).unwrap() % below
    };
    let (mut steps, mut opened) = (0, 0);
    for _ in 0..count {
        let mut pair = model.init_states().remove(0);
        let mut trace = Vec::new();
        loop {
            let mut actions = Vec::new();
            model.actions(&pair, &mut actions);
            // Towards an open channel first, for that is where the messages are.
            let forward: Vec<_> = actions
                .iter()
                .copied()
                .filter(|action| is_forward(*action))
                .collect();
            let open = pair.sides.iter().all(|side| side.established);
            let actions = if !open && !forward.is_empty() && next(64) != 0 {
                forward
            } else {
                actions
            };
            if actions.is_empty() || trace.len() == 40 {
                break;
            }
            let action = actions[next(actions.len())];
            pair = model.next_state(&pair, action).unwrap();
            trace.push(action);
        }
        run_through(model, &tee, &trace);
        steps += trace.len();
        opened += usize::from(pair.sides.iter().all(|side| side.established));
    }
    println!("{count} walks, seed {seed:#x}: {steps} steps, {opened} channels opened");
    assert!(opened * 2 > count, "too few channels opened");
}

const fn is_forward(action: Action) -> bool {
    matches!(
        action,
        Action::Carry { .. } | Action::Present(Made::Evidence) | Action::Judge(Judged::Accepted)
    )
}

#[test]
fn walks_with_messages_are_the_implementations() {
    let model = Lifecycle {
        messages: 3,
        ..Lifecycle::PRODUCT
    };
    walks(&model, 0x6e61_7574_696c_7573, 300);
}

/// An endpoint looks at its session's end whenever something arrives, also where its driver was late to tell the time.
/// The model without that check breaks a property; see below.
#[test]
fn an_endpoint_sees_its_sessions_end_where_its_driver_is_late() {
    let model = Lifecycle {
        late_driver: true,
        ..Lifecycle::PRODUCT
    };
    let carry = |from| Action::Carry { from };
    let opening = [
        carry(AGENT),
        carry(VERIFIER),
        carry(AGENT),
        carry(VERIFIER),
        Action::Present(Made::Evidence),
        carry(AGENT),
        Action::Judge(Judged::Accepted),
        carry(VERIFIER),
    ];
    let tee = Tee::new();
    let arrive = |end: Action| {
        let mut pair = model.init_states().remove(0);
        let mut run = Run::new(&tee);
        for action in opening
            .into_iter()
            .chain([Action::Send(AGENT), end, carry(AGENT)])
        {
            run.step(action, &pair);
            pair = model.next_state(&pair, action).unwrap();
        }
        // By then traffic keys are due to be replaced as well, which is not in the model.
        assert_eq!(run.received[VERIFIER], pair.sides[VERIFIER].received);
        assert_eq!(
            run.ends[VERIFIER].peer().is_some(),
            pair.sides[VERIFIER].stage == Stage::Open
        );
        run.received[VERIFIER].clone()
    };
    assert_eq!(arrive(Action::Expire(VERIFIER)), [] as [u8; 0]);
    assert_eq!(arrive(Action::ExpireUnseen(VERIFIER)), [] as [u8; 0]);
}

#[test]
fn every_property_of_the_lifecycle_holds() {
    let unharmed = Lifecycle {
        harm: 0,
        ..Lifecycle::PRODUCT
    };
    for (name, model) in [
        ("with messages", unharmed),
        ("with messages under harm", Lifecycle::PRODUCT),
    ] {
        let checker = model.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
        println!(
            "lifecycle {name}: {} states, {} transitions",
            checker.unique_state_count(),
            checker.state_count()
        );
    }
}

/// The properties that break in a model that lacks a check.
fn broken(model: Lifecycle) -> Vec<&'static str> {
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let safety = [VERDICTS_FIRST, PREFIX, NOT_AFTER_END, BOTH_ACCEPTED];
    checker
        .discoveries()
        .into_keys()
        .filter(|name| safety.contains(name))
        .collect()
}

#[test]
fn each_check_of_the_lifecycle_is_missed_or_covered_by_another() {
    let product = Lifecycle::PRODUCT;
    let verdict = Lifecycle {
        verdict_first: false,
        ..product
    };
    assert_eq!(broken(verdict), [VERDICTS_FIRST]);
    // TLS authenticates the order, and so do the frames' numbers.
    let no_numbers = Lifecycle {
        sequence: false,
        ..product
    };
    assert_eq!(broken(no_numbers), [] as [&str; 0]);
    let no_records = Lifecycle {
        records_authenticate: false,
        ..product
    };
    assert_eq!(broken(no_records), [] as [&str; 0]);
    let neither = Lifecycle {
        records_authenticate: false,
        sequence: false,
        ..product
    };
    assert_eq!(broken(neither), [PREFIX]);
    // The end of a session is seen by the driver in time, or by the endpoint itself.
    let late = Lifecycle {
        late_driver: true,
        harm: 0,
        ..product
    };
    assert_eq!(broken(late), [] as [&str; 0]);
    let unseen = Lifecycle {
        end_is_checked: false,
        ..late
    };
    assert_eq!(broken(unseen), [NOT_AFTER_END]);
}
