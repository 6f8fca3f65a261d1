//! Two honest ends over a network that loses, repeats and cuts: from the first byte of TLS to the end of the session.
//! What is on its way is carried a flight at a time, as the drivers write it.

use stateright::{Model, Property};

use self::Item::{Alert, App, Close, Evidence, Fatal, Fault, Hello, Key, Verdict};

/// The agent connects, the verifier is connected to.
pub const AGENT: usize = 0;
pub const VERIFIER: usize = 1;

/// Why an end is over, by the name in the implementation.
pub type Kind = &'static str;

/// TLS fell apart before it was done; which of its own faults says so is its affair.
pub const TRANSPORT: Kind = "transport";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Tls,
    PeerHello,
    Presenting,
    PeerCredential,
    Judging,
    PeerVerdict,
    Open,
    Over(Kind),
}

/// What travels: TLS's own flights, then frames, each in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    ClientHello,
    ServerFlight,
    ClientFlight,
    Hello,
    Key,
    Verdict,
    Evidence,
    App(u8),
    Heartbeat,
    HeartbeatAnswer,
    Termination,
    Fault(Kind),
    /// TLS's alert that a record does not authenticate.
    Fatal,
    /// Some other alert of TLS's.
    Alert,
    /// TLS's word that nothing more comes.
    Close,
    /// The same before TLS is agreed on, which it does not count: anybody may have said it.
    PlainClose,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    /// Whether it was connected to.
    pub responds: bool,
    /// It was connected to, and a first flight arrived.
    pub agreed: bool,
    pub stage: Stage,
    /// On its way to the other side.
    pub wire: Vec<Item>,
    /// Something of `wire` was lost before.
    pub gap: bool,
    pub sent: u8,
    pub received: Vec<u8>,
    /// A heartbeat was sent, and was answered.
    pub asked: bool,
    pub round_trips: u8,
    pub established: bool,
    pub terminated: bool,
    /// The clock is past the session's end, and the driver has not said so.
    pub past_end: bool,
    /// Something arrived for the application, or was sent, after that.
    pub after_end: bool,
    /// Something arrived for the application, or was sent, before both verdicts.
    pub before_verdicts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub sides: [Side; 2],
    /// How often the network did something else than to carry.
    pub harm: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The network carries all that `from` has said.
    Carry {
        from: usize,
    },
    /// It carries it twice.
    Repeat {
        from: usize,
    },
    /// It loses it.
    Lose {
        from: usize,
    },
    /// It ends the stream towards `to`.
    Cut {
        to: usize,
    },
    /// The driver has evidence, or none.
    Present(Made),
    Judge(Judged),
    Send(usize),
    Terminate(usize),
    /// The clock passes the handshake's deadline, and the driver tells.
    Deadline(usize),
    /// Nothing came for a while, or for far too long.
    Idle(usize),
    Silence(usize),
    /// The clock passes the end of the session: the driver tells of it in time, or later.
    Expire(usize),
    ExpireUnseen(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Made {
    Evidence,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Judged {
    Accepted,
    /// It verifies, and the policy does not want it.
    Rejected,
    Invalid,
    NotRegistered,
    /// The appraisal is of another session's evidence.
    OfAnotherSession,
    /// The appraisal is over already.
    Stale,
}

impl Judged {
    const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Rejected,
        Self::Invalid,
        Self::NotRegistered,
        Self::OfAnotherSession,
        Self::Stale,
    ];

    const fn fault(self) -> Option<Kind> {
        match self {
            Self::Accepted => None,
            Self::Rejected => Some("not_accepted"),
            Self::Invalid => Some("evidence_invalid"),
            Self::NotRegistered => Some("platform_differs"),
            Self::OfAnotherSession => Some("session_mismatch"),
            Self::Stale => Some("expired"),
        }
    }
}

/// What is bounded, and what is left out.
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle {
    /// Messages of each side.
    pub messages: u8,
    /// Losses, repetitions and cuts in one run.
    pub harm: u8,
    /// Whether the driver may be late to tell of the session's end.
    pub late_driver: bool,
    /// Whether an end that is past the session's end looks at the clock when something arrives or is sent.
    pub end_is_checked: bool,
    /// Whether application messages wait for the verdicts.
    pub verdict_first: bool,
    /// Whether TLS notices what is lost or repeated.
    pub records_authenticate: bool,
    /// Whether the frames' numbers are held against those that are due.
    pub sequence: bool,
}

impl Lifecycle {
    pub const PRODUCT: Self = Self {
        messages: 1,
        harm: 1,
        late_driver: false,
        end_is_checked: true,
        verdict_first: true,
        records_authenticate: true,
        sequence: true,
    };
}

impl Side {
    fn new(responds: bool, wire: Vec<Item>) -> Self {
        Self {
            responds,
            agreed: false,
            stage: Stage::Tls,
            wire,
            gap: false,
            sent: 0,
            received: Vec::new(),
            asked: false,
            round_trips: 0,
            established: false,
            terminated: false,
            past_end: false,
            after_end: false,
            before_verdicts: false,
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// `Endpoint::fail`.
    fn fail(&mut self, kind: Kind) {
        if self.is_over() {
            return;
        }
        if self.stage != Stage::Tls {
            self.wire.push(Fault(kind));
        }
        self.end(kind);
    }

    /// `Endpoint::end_with`.
    fn end(&mut self, kind: Kind) {
        let plain = self.stage == Stage::Tls && !self.agreed;
        self.wire.push(if plain { Item::PlainClose } else { Close });
        self.stage = Stage::Over(kind);
    }

    fn open(&mut self) {
        self.stage = Stage::Open;
        self.established = true;
    }
}

impl Lifecycle {
    fn past_end(&self, side: &mut Side) -> bool {
        if side.past_end && side.stage == Stage::Open && self.end_is_checked {
            side.fail("expired");
        }
        side.is_over()
    }

    fn carry(&self, pair: &mut Pair, from: usize, items: &[Item]) {
        let to = 1 - from;
        let gap = pair.sides[from].gap;
        let side = &mut pair.sides[to];
        for item in items {
            if self.past_end(side) || side.is_over() {
                return;
            }
            let ignored = *item == Item::PlainClose && side.stage == Stage::Tls && !side.agreed;
            if gap && self.records_authenticate && !ignored {
                return spoil(side, side.stage == Stage::Tls);
            }
            self.take(side, *item);
        }
    }

    fn take(&self, side: &mut Side, item: Item) {
        match (side.stage, item) {
            (Stage::Over(_), _) => {}
            (Stage::Tls, Item::ClientHello) => {
                side.wire.push(Item::ServerFlight);
                side.agreed = true;
            }
            (Stage::Tls, Item::PlainClose) if !side.agreed => {}
            (Stage::Tls, Item::ServerFlight) => {
                side.wire.extend([Item::ClientFlight, Hello]);
                side.stage = Stage::PeerHello;
            }
            (Stage::Tls, Item::ClientFlight) => side.stage = Stage::PeerHello,
            (Stage::Tls, _) => side.end(TRANSPORT),
            (_, Close) => side.end("truncated"),
            (_, Alert) => side.fail(TRANSPORT),
            (_, Fatal) => side.fail("record_forged"),
            (_, Fault(kind)) => side.end(kind),
            (Stage::PeerHello, Hello) if side.responds => {
                side.wire.extend([Hello, Key]);
                side.stage = Stage::PeerVerdict;
            }
            (Stage::PeerHello, Hello) => side.stage = Stage::PeerCredential,
            (Stage::PeerCredential, Key) if !side.responds => {
                side.wire.push(Verdict);
                side.stage = Stage::Presenting;
            }
            (Stage::PeerCredential, Evidence) if side.responds => side.stage = Stage::Judging,
            (Stage::PeerVerdict, Verdict) if side.responds => side.stage = Stage::PeerCredential,
            (Stage::PeerVerdict, Verdict) => side.open(),
            (Stage::Open, App(number)) => self.deliver(side, number),
            (Stage::Open, Item::Heartbeat) => side.wire.push(Item::HeartbeatAnswer),
            (Stage::Open, Item::HeartbeatAnswer) => {
                side.asked = false;
                side.round_trips += 1;
            }
            (Stage::Open, Item::Termination) => {
                side.terminated = true;
                side.end("terminated");
            }
            (_, App(number)) if !self.verdict_first => self.deliver(side, number),
            _ => side.fail("no_evidence"),
        }
    }

    fn deliver(&self, side: &mut Side, number: u8) {
        let due = u8::try_from(side.received.len()).unwrap() + 1;
        if number != due && self.sequence {
            side.fail(if number < due {
                "sequence_repeated"
            } else {
                "sequence_gap"
            });
            return;
        }
        side.before_verdicts |= side.stage != Stage::Open;
        side.after_end |= side.past_end;
        side.received.push(number);
    }
}

/// A record does not authenticate, or is none of those that TLS's own handshake expects.
fn spoil(side: &mut Side, in_tls: bool) {
    side.wire.push(if in_tls { Alert } else { Fatal });
    side.fail(if in_tls { TRANSPORT } else { "record_forged" });
}

impl Model for Lifecycle {
    type State = Pair;
    type Action = Action;

    fn init_states(&self) -> Vec<Pair> {
        let agent = Side::new(false, vec![Item::ClientHello]);
        let verifier = Side::new(true, Vec::new());
        vec![Pair {
            sides: [agent, verifier],
            harm: 0,
        }]
    }

    fn actions(&self, pair: &Pair, actions: &mut Vec<Action>) {
        for index in [AGENT, VERIFIER] {
            let side = &pair.sides[index];
            let other = &pair.sides[1 - index];
            if !side.wire.is_empty() {
                actions.push(Action::Carry { from: index });
                if pair.harm < self.harm && !other.is_over() {
                    actions.push(Action::Repeat { from: index });
                    actions.push(Action::Lose { from: index });
                }
            }
            if side.is_over() {
                continue;
            }
            actions.push(Action::Terminate(index));
            if pair.harm < self.harm {
                actions.push(Action::Cut { to: index });
            }
            match side.stage {
                Stage::Open => {
                    if side.sent < self.messages {
                        actions.push(Action::Send(index));
                    }
                    if !side.past_end {
                        if !side.asked && side.round_trips == 0 {
                            actions.push(Action::Idle(index));
                        }
                        actions.push(Action::Silence(index));
                        actions.push(Action::Expire(index));
                        if self.late_driver {
                            actions.push(Action::ExpireUnseen(index));
                        }
                    }
                }
                stage => {
                    actions.push(Action::Deadline(index));
                    if !self.verdict_first && stage != Stage::Tls && side.sent < self.messages {
                        actions.push(Action::Send(index));
                    }
                    if stage == Stage::Presenting {
                        actions.extend([Made::Evidence, Made::Nothing].map(Action::Present));
                    }
                    if stage == Stage::Judging {
                        actions.extend(Judged::ALL.map(Action::Judge));
                    }
                }
            }
        }
    }

    fn next_state(&self, last: &Pair, action: Action) -> Option<Pair> {
        let mut pair = last.clone();
        match action {
            Action::Carry { from } => {
                let items = std::mem::take(&mut pair.sides[from].wire);
                self.carry(&mut pair, from, &items);
            }
            Action::Repeat { from } => {
                pair.harm += 1;
                let items = std::mem::take(&mut pair.sides[from].wire);
                self.carry(&mut pair, from, &items);
                let side = &mut pair.sides[1 - from];
                if !self.records_authenticate {
                    self.carry(&mut pair, from, &items);
                } else if !side.is_over() && items != [Item::PlainClose] {
                    let flights = [Item::ClientHello, Item::ServerFlight, Item::ClientFlight];
                    let in_tls = items.iter().any(|item| flights.contains(item));
                    spoil(side, in_tls || side.stage == Stage::Tls);
                }
            }
            Action::Lose { from } => {
                pair.harm += 1;
                pair.sides[from].wire.clear();
                pair.sides[from].gap = true;
            }
            Action::Cut { to } => {
                pair.harm += 1;
                pair.sides[to].end("truncated");
            }
            Action::Present(Made::Evidence) => {
                pair.sides[AGENT].wire.push(Evidence);
                pair.sides[AGENT].stage = Stage::PeerVerdict;
            }
            Action::Present(Made::Nothing) => pair.sides[AGENT].fail("not_presented"),
            Action::Judge(judged) => {
                let side = &mut pair.sides[VERIFIER];
                match judged.fault() {
                    Some(kind) => side.fail(kind),
                    None => {
                        side.wire.push(Verdict);
                        side.open();
                    }
                }
            }
            Action::Send(index) => {
                let side = &mut pair.sides[index];
                if !self.past_end(side) {
                    side.before_verdicts |= side.stage != Stage::Open;
                    side.after_end |= side.past_end;
                    side.sent += 1;
                    side.wire.push(App(side.sent));
                }
            }
            Action::Terminate(index) => {
                let side = &mut pair.sides[index];
                if side.stage == Stage::Open {
                    side.wire.push(Item::Termination);
                }
                side.end("closed");
            }
            Action::Deadline(index) => pair.sides[index].fail("handshake_slow"),
            Action::Idle(index) => {
                pair.sides[index].asked = true;
                pair.sides[index].wire.push(Item::Heartbeat);
            }
            Action::Silence(index) => pair.sides[index].fail("peer_silent"),
            Action::Expire(index) => pair.sides[index].fail("expired"),
            Action::ExpireUnseen(index) => pair.sides[index].past_end = true,
        }
        Some(pair)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(VERDICTS_FIRST, |_, pair: &Pair| {
                pair.sides.iter().all(|side| !side.before_verdicts)
            }),
            Property::always(PREFIX, |_, pair: &Pair| {
                [(AGENT, VERIFIER), (VERIFIER, AGENT)]
                    .into_iter()
                    .all(|(from, to)| {
                        let received = &pair.sides[to].received;
                        received
                            .iter()
                            .copied()
                            .eq(1..=u8::try_from(received.len()).unwrap())
                            && received.len() <= usize::from(pair.sides[from].sent)
                    })
            }),
            Property::always(NOT_AFTER_END, |_, pair: &Pair| {
                pair.sides.iter().all(|side| !side.after_end)
            }),
            // The verifier opens first; the agent only on its word.
            Property::always(BOTH_ACCEPTED, |_, pair: &Pair| {
                !pair.sides[AGENT].established || pair.sides[VERIFIER].established
            }),
            Property::sometimes(OPENS, |_, pair: &Pair| {
                pair.sides.iter().all(|side| side.stage == Stage::Open)
            }),
            Property::sometimes(ENDS_IN_ORDER, |_, pair: &Pair| {
                pair.sides.iter().any(|side| side.terminated)
            }),
            Property::sometimes(IS_ANSWERED, |_, pair: &Pair| {
                pair.sides.iter().all(|side| side.round_trips == 1)
            }),
        ]
    }
}

pub const VERDICTS_FIRST: &str = "no message of the application's before both verdicts";
pub const PREFIX: &str = "what arrives is the beginning of what was sent, each once";
pub const NOT_AFTER_END: &str = "nothing after the session's end";
pub const BOTH_ACCEPTED: &str = "an agent's channel opens after the verifier's";
pub const OPENS: &str = "a channel opens";
pub const ENDS_IN_ORDER: &str = "a session ends in order";
pub const IS_ANSWERED: &str = "heartbeats are answered both ways";
