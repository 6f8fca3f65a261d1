//! A verifier whose peer is the attacker: it holds the other end, and may say any frame at any time with any number.

use nautilus_channel::{
    Credential, CredentialKind, Endpoint, Event, Fault, HEADER, Hello, MessageId, MessageType, Present,
    Reason, Termination, Verdict, encode_bcs, encode_header,
};
use nautilus_core::{Role, UnixMillis};
use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::fixture::{NODE, START, Tee, verifier};
use crate::puppet::{HandshakeContent, Puppet};
use crate::traces::told;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Hello,
    Verdict,
    Credential,
    Open,
    Over(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Say {
    Hello,
    Verdict,
    /// Evidence of this session, which verifies and is accepted.
    Evidence,
    /// Evidence of another.
    OthersEvidence,
    Data,
    Heartbeat,
    UnaskedAnswer,
    /// With the number of the frame before, or of the one after the next.
    Repeated,
    Ahead,
    OtherVersion,
    UnknownType,
    Fault,
    Termination,
}

impl Say {
    const ALL: [Self; 13] = [
        Self::Hello,
        Self::Verdict,
        Self::Evidence,
        Self::OthersEvidence,
        Self::Data,
        Self::Heartbeat,
        Self::UnaskedAnswer,
        Self::Repeated,
        Self::Ahead,
        Self::OtherVersion,
        Self::UnknownType,
        Self::Fault,
        Self::Termination,
    ];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct End {
    stage: Stage,
    /// Number of the last frame that counted.
    number: u64,
    /// Numbers of the frames that the application got.
    delivered: Vec<u64>,
    /// It was shown evidence of this session.
    shown: bool,
    early: bool,
    out_of_order: bool,
}

/// The verifier's rules.
#[derive(Clone, Copy, Debug)]
struct Frames {
    depth: u64,
    in_turn: bool,
    sequence: bool,
    judges: bool,
}

const PRODUCT: Frames = Frames {
    depth: 7,
    in_turn: true,
    sequence: true,
    judges: true,
};

const EARLY: &str = "nothing reaches the application before the evidence is accepted";
const IN_ORDER: &str = "what reaches the application has the number that is due";
const SHOWN: &str = "no channel opens without evidence of this session";
const OPENS: &str = "a channel opens and carries data";

impl End {
    fn deliver(&mut self, number: u64) {
        self.early |= self.stage != Stage::Open;
        self.out_of_order |= self.delivered.last().is_some_and(|last| number <= *last);
        self.delivered.push(number);
    }
}

impl Model for Frames {
    type State = End;
    type Action = Say;

    fn init_states(&self) -> Vec<End> {
        vec![End {
            stage: Stage::Hello,
            number: 0,
            delivered: Vec::new(),
            shown: false,
            early: false,
            out_of_order: false,
        }]
    }

    fn actions(&self, end: &End, says: &mut Vec<Say>) {
        if !matches!(end.stage, Stage::Over(_)) && end.number < self.depth {
            says.extend(Say::ALL);
        }
    }

    fn next_state(&self, last: &End, say: Say) -> Option<End> {
        let mut end = last.clone();
        let number = match say {
            Say::Repeated => last.number,
            Say::Ahead => last.number + 2,
            _ => last.number + 1,
        };
        let open = last.stage == Stage::Open;
        let over = |kind, in_handshake| Stage::Over(if open { kind } else { in_handshake });
        end.number += 1;
        end.stage = match (last.stage, say) {
            // The header comes first, then the number.
            (_, Say::OtherVersion) => over("frame_version", "no_evidence"),
            (_, Say::UnknownType) => over("frame_malformed", "no_evidence"),
            (_, Say::Repeated) if self.sequence => Stage::Over("sequence_repeated"),
            (_, Say::Ahead) if self.sequence => Stage::Over("sequence_gap"),
            (_, Say::Fault) => Stage::Over("made_up"),
            (Stage::Hello, Say::Hello) => Stage::Verdict,
            (Stage::Verdict, Say::Verdict) => Stage::Credential,
            (Stage::Credential, Say::Evidence) => {
                end.shown = true;
                Stage::Open
            }
            (Stage::Credential, Say::OthersEvidence) if self.judges => Stage::Over("session_mismatch"),
            (Stage::Credential, Say::OthersEvidence) => Stage::Open,
            (Stage::Open, Say::Hello | Say::Verdict) => Stage::Over("payload_invalid"),
            (Stage::Open, Say::UnaskedAnswer) => Stage::Over("answer_unexpected"),
            (Stage::Open, Say::Termination) => Stage::Over("terminated"),
            (Stage::Open, Say::Heartbeat) => Stage::Open,
            // Only without the check: they carry data.
            (Stage::Open, _) => {
                end.deliver(number);
                Stage::Open
            }
            (stage, Say::Data) if !self.in_turn => {
                end.deliver(number);
                stage
            }
            _ => Stage::Over("no_evidence"),
        };
        Some(end)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(EARLY, |_, end: &End| !end.early),
            Property::always(IN_ORDER, |_, end: &End| !end.out_of_order),
            Property::always(SHOWN, |_, end: &End| end.stage != Stage::Open || end.shown),
            Property::sometimes(OPENS, |_, end: &End| {
                end.stage == Stage::Open && !end.delivered.is_empty()
            }),
        ]
    }
}

fn broken(model: Frames) -> Vec<&'static str> {
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::All)
        .spawn_bfs()
        .join();
    checker
        .discoveries()
        .into_keys()
        .filter(|name| *name != OPENS)
        .collect()
}

#[test]
fn no_frame_reaches_the_application_out_of_turn() {
    let checker = PRODUCT.checker().spawn_bfs().join();
    checker.assert_properties();
    let (unique, all) = (checker.unique_state_count(), checker.state_count());
    println!("frames of an attacker: {unique} states, {all} transitions");
}

#[test]
fn each_rule_on_frames_is_missed() {
    assert_eq!(
        broken(Frames {
            in_turn: false,
            ..PRODUCT
        }),
        [EARLY]
    );
    assert_eq!(
        broken(Frames {
            sequence: false,
            ..PRODUCT
        }),
        [IN_ORDER]
    );
    assert_eq!(
        broken(Frames {
            judges: false,
            ..PRODUCT
        }),
        [SHOWN]
    );
}

/// All sequences of frames up to a length; each goes on until the verifier gives up.
fn sequences(model: &Frames) -> Vec<Vec<Say>> {
    let mut whole = Vec::new();
    let mut open: Vec<(End, Vec<Say>)> = vec![(model.init_states().remove(0), Vec::new())];
    while let Some((end, said)) = open.pop() {
        let steps = model.next_steps(&end);
        if steps.is_empty() {
            whole.push(said);
            continue;
        }
        for (say, next) in steps {
            open.push((next, [said.as_slice(), &[say]].concat()));
        }
    }
    whole
}

#[test]
fn every_sequence_of_frames_is_taken_as_the_model_says() {
    let model = PRODUCT;
    let tee = Tee::new();
    let all = sequences(&model);
    let mut frames = 0;
    for said in &all {
        frames += said.len();
        run(&model, &tee, said);
    }
    println!("{} sequences of an attacker's frames, {frames} frames", all.len());
}

fn run(model: &Frames, tee: &Tee, said: &[Say]) {
    let mut end = Endpoint::responder(verifier(), START).unwrap();
    let mut puppet = Puppet::connect(&mut end);
    let mut expected = model.init_states().remove(0);
    let mut delivered = Vec::new();
    for (at, say) in said.iter().enumerate() {
        speak(&mut puppet, &mut end, tee, *say, expected.number);
        while let Some(event) = end.next_event() {
            match event {
                Event::Appraise(appraise) => {
                    let judgement = tee.judge(*appraise, START.wall);
                    // What it says shows in its state.
                    let _result = end.judged(judgement, START);
                    puppet.carry(&mut end);
                }
                Event::Message(message) => delivered.push(message.sequence_num),
                Event::Established | Event::Terminated(_) => {}
                other => panic!("{other:?}"),
            }
        }
        expected = model.next_state(&expected, *say).unwrap();
        let seen = format!("after {:?}", &said[..=at]);
        assert_eq!(end.peer().is_some(), expected.stage == Stage::Open, "{seen}");
        assert_eq!(delivered, expected.delivered, "{seen}");
        let over = end.next_tick().is_none().then(|| told(&end.ended()).to_owned());
        match expected.stage {
            Stage::Over(kind) => assert_eq!(over.as_deref(), Some(kind), "{seen}"),
            _ => assert_eq!(over, None, "{seen}"),
        }
    }
}

fn speak(puppet: &mut Puppet, end: &mut Endpoint, tee: &Tee, say: Say, last: u64) {
    let next = last + 1;
    let (kind, answer, number, payload) = match say {
        Say::Hello => (MessageType::Handshake, false, next, hello(puppet)),
        Say::Verdict => (MessageType::Handshake, false, next, verdict()),
        Say::Evidence => (
            MessageType::Attestation,
            false,
            next,
            evidence(puppet, tee, |_| {}),
        ),
        Say::OthersEvidence => {
            let others = evidence(puppet, tee, |present| present.session.exporter.0[0] ^= 1);
            (MessageType::Attestation, false, next, others)
        }
        Say::Data => (MessageType::PerformanceData, false, next, vec![1]),
        Say::Heartbeat => (MessageType::Heartbeat, false, next, Vec::new()),
        Say::UnaskedAnswer => (MessageType::Heartbeat, true, next, Vec::new()),
        Say::Repeated => (MessageType::PerformanceData, false, last, Vec::new()),
        Say::Ahead => (MessageType::PerformanceData, false, last + 2, Vec::new()),
        Say::Fault => (MessageType::Error, false, next, fault()),
        Say::Termination => (MessageType::Termination, false, next, termination()),
        Say::OtherVersion => return spoilt(puppet, end, next, 4, 2),
        Say::UnknownType => return spoilt(puppet, end, next, 5, 10),
    };
    puppet.say(end, kind, number, answer, &payload);
}

/// A heartbeat with one byte of its header changed.
fn spoilt(puppet: &mut Puppet, end: &mut Endpoint, number: u64, at: usize, byte: u8) {
    let heartbeat = MessageType::Heartbeat;
    let mut header: [u8; HEADER] =
        encode_header(heartbeat, MessageId::CHANNEL, false, number, START.wall, 0, None).unwrap();
    header[at] = byte;
    puppet.say_bytes(end, &header, &[]);
}

fn hello(puppet: &Puppet) -> Vec<u8> {
    let hello = Hello {
        version: 1,
        role: Role::Agent,
        node: Some(NODE),
        nonce: puppet.nonce,
        presents: CredentialKind::Evidence,
        demands: CredentialKind::Key,
        challenge: None,
    };
    encode_bcs(&HandshakeContent::Hello(Box::new(hello))).unwrap()
}

fn verdict() -> Vec<u8> {
    let verdict = Verdict {
        accepted_until: UnixMillis(START.wall.0 + 3_600_000),
        note: Vec::new(),
    };
    encode_bcs(&HandshakeContent::Verdict(verdict)).unwrap()
}

/// Before the hellos there is no session: then whatever has the form.
fn evidence(puppet: &Puppet, tee: &Tee, change: impl FnOnce(&mut Present)) -> Vec<u8> {
    let terms = puppet.hello.as_ref().and_then(|hello| hello.challenge.clone());
    let (Some(terms), Some(session)) = (terms, puppet.session()) else {
        return encode_bcs(&Credential::Nothing).unwrap();
    };
    let mut present = Present { terms, session };
    change(&mut present);
    encode_bcs(&Credential::Evidence(Box::new(tee.present(&present)))).unwrap()
}

fn fault() -> Vec<u8> {
    let fault = Fault {
        kind: "made_up".to_owned(),
        detail: String::new(),
        note: Vec::new(),
    };
    encode_bcs(&fault).unwrap()
}

fn termination() -> Vec<u8> {
    let termination = Termination {
        reason: Reason::Done,
        detail: String::new(),
    };
    encode_bcs(&termination).unwrap()
}
