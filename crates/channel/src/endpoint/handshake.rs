//! The handshake after TLS: hello, hello and credential, verdict and credential, verdict. Strictly in turns.

use std::time::Duration;

use nautilus_core::{
    AppraisalVerdict, BoundUserData, ChallengeTerms, Digest32, End, NodeId, Purpose, SessionBinding,
    SignedMessage as _, UnixMillis,
};

use super::session::Session;
use super::{Appraise, Endpoint, Event, Present, Stage, content};
use crate::config::{Config, Demand, Presentation};
use crate::credential::{
    Credential, CredentialKind, HandshakeContent, Hello, Judgement, MAX_CREDENTIAL, PresentedEvidence,
    Verdict,
};
use crate::error::ChannelError;
use crate::limits::{Limits, Now, millis};
use crate::message::{Message, MessageId, MessageType, encode_bcs};
use crate::peer::{Attested, Identified, Kin, Peer, Unidentified};
use crate::tls::{self, CHANNEL_ID_LABEL, EXPORTER_LABEL, GROUP};

const VERSION: u16 = 1;

/// Whose turn it is, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// TLS is not done.
    Tls,
    /// The peer's hello is due.
    PeerHello,
    /// The driver makes evidence.
    Presenting,
    /// The peer's credential is due.
    PeerCredential,
    /// The driver judges the peer's evidence.
    Judging,
    /// The peer's verdict is due.
    PeerVerdict,
}

/// A handshake that is under way.
pub(super) struct Handshake {
    turn: Turn,
    started_at: Duration,
    hello_at: Option<Duration>,
    nonce: Digest32,
    own_terms: Option<ChallengeTerms>,
    /// What both hellos and TLS say.
    facts: Option<Facts>,
    /// What the peer's evidence says that it binds, while that is judged.
    stated: Vec<u8>,
    /// How the peer's credential was judged, and until when that holds.
    peer: Option<(Peer, UnixMillis)>,
    /// The peer's verdict on ours.
    verdict: Option<Verdict>,
}

/// What names the session.
#[derive(Clone)]
struct Facts {
    node: NodeId,
    peer_hello: Hello,
    own: SessionBinding,
    peers: SessionBinding,
    channel_id: MessageId,
}

impl Handshake {
    pub(super) fn start(end: End, config: &Config, now: Now) -> Result<Self, ChannelError> {
        check_config(end, config)?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| ChannelError::Tls(format!("no randomness: {error}")))?;
        Ok(Self {
            turn: Turn::Tls,
            started_at: now.monotonic,
            hello_at: None,
            nonce: Digest32(nonce),
            own_terms: None,
            facts: None,
            stated: Vec::new(),
            peer: None,
            verdict: None,
        })
    }

    pub(super) fn awaits_hello(&self) -> bool {
        matches!(self.turn, Turn::Tls | Turn::PeerHello)
    }

    /// Whether the peer has shown what was demanded of it.
    pub(super) const fn knows_peer(&self) -> bool {
        self.peer.is_some()
    }

    /// What is due of the peer.
    pub(super) const fn due(&self) -> &'static str {
        match self.turn {
            Turn::Tls => "TLS handshake",
            Turn::PeerHello => "hello",
            Turn::PeerCredential => "credential",
            Turn::PeerVerdict => "verdict",
            Turn::Presenting | Turn::Judging => "silence",
        }
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Duration {
        match self.hello_at {
            None => self.started_at.saturating_add(limits.hello),
            Some(at) => at.saturating_add(limits.evidence),
        }
    }

    pub(super) fn check_deadline(&self, in_tls: bool, limits: &Limits, now: Now) -> Result<(), ChannelError> {
        if now.monotonic < self.deadline(limits) {
            return Ok(());
        }
        let after = match self.hello_at {
            None => limits.hello,
            Some(_) => limits.evidence,
        };
        let due = match (in_tls, self.turn) {
            (true, _) => "TLS handshake",
            (false, Turn::Presenting) => "own evidence",
            (false, Turn::Judging) => "own verdict",
            (false, _) => self.due(),
        };
        Err(ChannelError::HandshakeSlow { due, after })
    }
}

/// A channel without any evidence says nothing of who is there.
fn check_config(end: End, config: &Config) -> Result<(), ChannelError> {
    let evidence = CredentialKind::Evidence;
    let has_evidence = config.presents.kind() == evidence || config.demands.kind() == evidence;
    if !has_evidence && config.without_evidence.is_none() {
        return Err(ChannelError::PolicyMismatch {
            what: "would need no evidence, and neither would this end: one of the two presents some"
                .to_owned(),
        });
    }
    if end == End::Initiator && config.demands.kind() == evidence && config.node.is_none() {
        return Err(ChannelError::HelloInvalid(
            "who connects and demands evidence has to name the node".to_owned(),
        ));
    }
    Ok(())
}

impl Endpoint {
    fn handshake(&mut self) -> Result<&mut Handshake, ChannelError> {
        match &mut self.stage {
            Stage::Handshake(handshake) => Ok(handshake),
            Stage::Session(_) => Err(ChannelError::FrameMalformed("the handshake is over")),
            Stage::Ended(why) => Err(why.clone()),
        }
    }

    pub(super) fn tls_is_done(&mut self, now: Now) -> Result<(), ChannelError> {
        tls::handshaken(&self.tls)?;
        self.handshake()?.turn = Turn::PeerHello;
        if self.end == End::Initiator {
            let node = self.config.node;
            self.say_hello(node, now)?;
        }
        Ok(())
    }

    fn say_hello(&mut self, node: Option<NodeId>, now: Now) -> Result<(), ChannelError> {
        let (limits, demands) = (self.config.limits, self.config.demands);
        let (role, own_node, presents) = (self.config.role, self.config.node, self.config.presents.kind());
        let own_key = self.keys.public();
        let handshake = self.handshake()?;
        handshake.own_terms = match (demands, node) {
            (Demand::Evidence { verifier, .. }, Some(node)) => Some(ChallengeTerms {
                verifier: verifier.unwrap_or(own_key),
                node,
                purpose: Purpose::Runtime,
                nonce: handshake.nonce,
                issued_at: now.wall,
                expires_at: now.wall.plus(millis(limits.challenge)),
            }),
            _ => None,
        };
        let hello = Hello {
            version: VERSION,
            role,
            node: own_node,
            nonce: handshake.nonce,
            presents,
            demands: demands.kind(),
            challenge: handshake.own_terms.clone(),
        };
        self.say(&HandshakeContent::Hello(Box::new(hello)), now)
    }

    fn say(&mut self, content: &HandshakeContent, now: Now) -> Result<(), ChannelError> {
        let payload = encode_bcs(content).map_err(|error| ChannelError::Io(error.to_string()))?;
        self.write(MessageType::Handshake, MessageId::CHANNEL, false, &payload, now)
    }

    pub(super) fn handshake_message(&mut self, message: &Message, now: Now) -> Result<(), ChannelError> {
        let handshake = self.handshake()?;
        let (turn, due) = (handshake.turn, handshake.due());
        let of_channel = message.message_id == MessageId::CHANNEL && !message.answer;
        match (turn, message.message_type) {
            (Turn::PeerHello | Turn::PeerVerdict, MessageType::Handshake) if of_channel => {
                match (turn, content(message)?) {
                    (Turn::PeerHello, HandshakeContent::Hello(hello)) => self.heard_hello(*hello, now),
                    (Turn::PeerVerdict, HandshakeContent::Verdict(verdict)) => {
                        self.heard_verdict(verdict, now)
                    }
                    (_, HandshakeContent::Hello(_)) => Err(no_evidence(due, "a hello")),
                    (_, HandshakeContent::Verdict(_)) => Err(no_evidence(due, "a verdict")),
                }
            }
            (Turn::PeerCredential, MessageType::Attestation) if of_channel => {
                let credential = content(message)?;
                self.heard_credential(credential, now)
            }
            (_, found) => Err(no_evidence(due, &format!("a message of type {found}"))),
        }
    }

    fn heard_hello(&mut self, hello: Hello, now: Now) -> Result<(), ChannelError> {
        let node = self.check_hello(&hello)?;
        let facts = self.facts(hello, node)?;
        let end = self.end;
        let handshake = self.handshake()?;
        handshake.facts = Some(facts);
        handshake.hello_at = Some(now.monotonic);
        match end {
            End::Initiator => {
                handshake.turn = Turn::PeerCredential;
                Ok(())
            }
            End::Responder => {
                self.say_hello(Some(node), now)?;
                self.present(now)
            }
        }
    }

    /// Holds the peer's hello against this end's configuration. Gives the node that both mean.
    fn check_hello(&self, hello: &Hello) -> Result<NodeId, ChannelError> {
        let invalid = |what: String| Err(ChannelError::HelloInvalid(what));
        let config = &self.config;
        if hello.version != VERSION {
            return invalid(format!(
                "it has version {}, and only {VERSION} is spoken",
                hello.version
            ));
        }
        if hello.role != config.peer_role {
            return invalid(format!(
                "its role is {}, and a {} speaks to a {} here",
                hello.role, config.role, config.peer_role
            ));
        }
        let node = match (config.node, hello.node) {
            (Some(own), Some(peers)) if own != peers => {
                return invalid(format!("it is about node {peers}, and this end about {own}"));
            }
            (Some(node), _) | (None, Some(node)) => node,
            (None, None) => return invalid("neither end says which node it is about".to_owned()),
        };
        let mismatch = |what: String| Err(ChannelError::PolicyMismatch { what });
        let (demands, presents) = (config.demands.kind(), config.presents.kind());
        if hello.presents != demands {
            let (found, wanted) = (hello.presents.as_str(), demands.as_str());
            return mismatch(format!("presents {found}, and {wanted} is demanded"));
        }
        if hello.demands != presents {
            let (found, has) = (hello.demands.as_str(), presents.as_str());
            return mismatch(format!("demands {found}, and {has} is presented"));
        }
        if let Some(terms) = &hello.challenge {
            if (terms.node, terms.purpose, terms.nonce) != (node, Purpose::Runtime, hello.nonce) {
                return invalid(
                    "its challenge is not for this node, this purpose and its own nonce".to_owned(),
                );
            }
            if presents != CredentialKind::Evidence {
                return invalid("it sets a challenge and demands no evidence".to_owned());
            }
            // Evidence is for who demands it, and for nobody behind it.
            if let Demand::Key(expected) = config.demands
                && terms.verifier != expected
            {
                return Err(ChannelError::KeyUnexpected("its challenge is another key's"));
            }
        } else if presents == CredentialKind::Evidence {
            return invalid("it demands evidence and sets no challenge".to_owned());
        }
        Ok(node)
    }

    /// What names this session, in the words of both ends.
    fn facts(&mut self, hello: Hello, node: NodeId) -> Result<Facts, ChannelError> {
        let tls = tls::handshaken(&self.tls)?;
        if tls.group != GROUP {
            let group = tls::group_name(tls.group);
            return Err(ChannelError::GroupDowngraded { group });
        }
        let (own_role, peer_role, end) = (self.config.role, self.config.peer_role, self.end);
        let own_spki = self.keys.spki();
        let own_nonce = self.handshake()?.nonce;
        let (initiator_nonce, responder_nonce) = match end {
            End::Initiator => (own_nonce, hello.nonce),
            End::Responder => (hello.nonce, own_nonce),
        };
        let context = [initiator_nonce.0, responder_nonce.0].concat();
        let exporter = self
            .tls
            .export_keying_material([0; 32], EXPORTER_LABEL, Some(&context))
            .map_err(tls::named)?;
        let channel_id = self
            .tls
            .export_keying_material([0; 16], CHANNEL_ID_LABEL, Some(&context))
            .map_err(tls::named)?;
        let own = SessionBinding {
            label: SessionBinding::LABEL.to_owned(),
            role: own_role,
            peer_role,
            end,
            node,
            exporter: Digest32(exporter),
            initiator_nonce,
            responder_nonce,
            own_key: own_spki,
            peer_key: tls.peer_spki,
            group: tls.group,
        };
        let peers = SessionBinding {
            role: peer_role,
            peer_role: own_role,
            end: end.other(),
            own_key: tls.peer_spki,
            peer_key: own_spki,
            ..own.clone()
        };
        Ok(Facts {
            node,
            peer_hello: hello,
            own,
            peers,
            channel_id: MessageId(channel_id),
        })
    }

    fn known(&mut self) -> Result<Facts, ChannelError> {
        let facts = self.handshake()?.facts.clone();
        facts.ok_or(ChannelError::FrameMalformed("it comes before the hellos"))
    }

    /// Presents, at once or by the driver.
    fn present(&mut self, now: Now) -> Result<(), ChannelError> {
        let facts = self.known()?;
        match &self.config.presents {
            Presentation::Nothing => self.say_credential(&Credential::Nothing, now),
            Presentation::Key(holder) => {
                let credential = Credential::Key {
                    key: holder.public(),
                    signature: holder.sign(&facts.own),
                };
                self.say_credential(&credential, now)
            }
            Presentation::Evidence => {
                let terms = facts.peer_hello.challenge;
                let terms =
                    terms.ok_or_else(|| ChannelError::HelloInvalid("it sets no challenge".to_owned()))?;
                self.handshake()?.turn = Turn::Presenting;
                self.events.push_back(Event::Present(Box::new(Present {
                    terms,
                    session: facts.own,
                })));
                Ok(())
            }
        }
    }

    /// Gives the evidence that [`Event::Present`] asked for, or why there is none.
    ///
    /// # Errors
    /// What ends the channel: there is none, or it was not asked for.
    pub fn presented(
        &mut self,
        evidence: Result<PresentedEvidence, String>,
        now: Now,
    ) -> Result<(), ChannelError> {
        let result = self.take_presented(evidence, now);
        result.map_err(|error| self.fail(error))
    }

    fn take_presented(
        &mut self,
        evidence: Result<PresentedEvidence, String>,
        now: Now,
    ) -> Result<(), ChannelError> {
        if self.handshake()?.turn != Turn::Presenting {
            return Err(ChannelError::NotPresented("it was not asked for".to_owned()));
        }
        let evidence = evidence.map_err(ChannelError::NotPresented)?;
        self.say_credential(&Credential::Evidence(Box::new(evidence)), now)
    }

    fn say_credential(&mut self, credential: &Credential, now: Now) -> Result<(), ChannelError> {
        let payload =
            encode_bcs(credential).map_err(|error| ChannelError::NotPresented(error.to_string()))?;
        if payload.len() > MAX_CREDENTIAL {
            return Err(ChannelError::NotPresented(format!(
                "with its documents the evidence has more than {MAX_CREDENTIAL} bytes"
            )));
        }
        self.write(MessageType::Attestation, MessageId::CHANNEL, false, &payload, now)?;
        self.handshake()?.turn = Turn::PeerVerdict;
        Ok(())
    }

    fn heard_credential(&mut self, credential: Credential, now: Now) -> Result<(), ChannelError> {
        let facts = self.known()?;
        let (demands, limits) = (self.config.demands, self.config.limits);
        let whole_life = now.wall.plus(millis(limits.lifetime));
        if credential.kind() != demands.kind() {
            return Err(no_evidence("credential", credential.kind().as_str()));
        }
        match (credential, demands) {
            (Credential::Evidence(presented), _) => {
                let handshake = self.handshake()?;
                let terms = handshake.own_terms.clone();
                let terms = terms.ok_or(ChannelError::FrameMalformed("no challenge was set"))?;
                handshake.turn = Turn::Judging;
                handshake.stated.clone_from(&presented.user_data);
                self.events.push_back(Event::Appraise(Box::new(Appraise {
                    presented: *presented,
                    terms,
                    session: facts.peers,
                })));
                Ok(())
            }
            (Credential::Key { key, signature }, Demand::Key(expected)) => {
                if key != expected {
                    return Err(ChannelError::KeyUnexpected("it is another key"));
                }
                if !facts.peers.is_signed_by(&key, &signature) {
                    return Err(ChannelError::KeyUnexpected(
                        "its signature is not of this session",
                    ));
                }
                self.accept(
                    Peer::Identified(Identified::seal(key)),
                    whole_life,
                    Vec::new(),
                    now,
                )
            }
            (Credential::Nothing, _) => self.accept(
                Peer::Unidentified(Unidentified::seal()),
                whole_life,
                Vec::new(),
                now,
            ),
            (Credential::Key { .. }, _) => Err(no_evidence("credential", "a key")),
        }
    }

    /// Says how the evidence of [`Event::Appraise`] was judged.
    ///
    /// # Errors
    /// What ends the channel: it is not accepted, or was not asked for.
    pub fn judged(&mut self, judgement: Judgement, now: Now) -> Result<(), ChannelError> {
        let result = self.take_judgement(judgement, now);
        result.map_err(|error| self.fail(error))
    }

    fn take_judgement(&mut self, judgement: Judgement, now: Now) -> Result<(), ChannelError> {
        let facts = self.known()?;
        if self.handshake()?.turn != Turn::Judging {
            return Err(ChannelError::FrameMalformed("there is nothing to judge"));
        }
        match (judgement, self.config.demands) {
            (Judgement::Appraised { appraisal, note }, _) => {
                if appraisal.verdict() != AppraisalVerdict::Accepted {
                    let failed = appraisal.findings().iter().filter(|finding| !finding.passed);
                    let failed: Vec<_> = failed
                        .map(|finding| format!("{}: {}", finding.rule, finding.detail))
                        .collect();
                    return Err(ChannelError::NotAccepted {
                        detail: failed.join("; "),
                        note,
                    });
                }
                check_session(appraisal.claims().user_data.as_ref(), &facts.peers)?;
                let until = appraisal.expires_at();
                if until <= now.wall {
                    return Err(ChannelError::Expired { at: until });
                }
                self.accept(Peer::Attested(Attested::seal(*appraisal)), until, note, now)
            }
            (
                Judgement::Unverifiable(why),
                Demand::Evidence {
                    child: Some(kernel), ..
                },
            ) => {
                // No vendor is needed to see of which session it says to be.
                let stated = BoundUserData::from_canonical(&self.handshake()?.stated);
                check_session(stated.as_ref(), &facts.peers)?;
                let until = now.wall.plus(millis(self.config.limits.lifetime));
                let kin = Kin::seal(kernel, why.to_string());
                self.accept(Peer::Kin(kin), until, Vec::new(), now)
            }
            (Judgement::Unverifiable(why) | Judgement::Invalid(why), _) => Err(ChannelError::Evidence(why)),
            (Judgement::NotRegistered { kind, detail }, _) => {
                Err(ChannelError::NotRegistered { kind, detail })
            }
        }
    }

    fn accept(
        &mut self,
        peer: Peer,
        accepted_until: UnixMillis,
        note: Vec<u8>,
        now: Now,
    ) -> Result<(), ChannelError> {
        self.handshake()?.peer = Some((peer, accepted_until));
        let verdict = Verdict { accepted_until, note };
        self.say(&HandshakeContent::Verdict(verdict), now)?;
        match self.end {
            End::Initiator => self.present(now),
            End::Responder => self.open(now),
        }
    }

    fn heard_verdict(&mut self, verdict: Verdict, now: Now) -> Result<(), ChannelError> {
        let end = self.end;
        let handshake = self.handshake()?;
        handshake.verdict = Some(verdict);
        match end {
            End::Initiator => self.open(now),
            End::Responder => {
                handshake.turn = Turn::PeerCredential;
                Ok(())
            }
        }
    }

    fn open(&mut self, now: Now) -> Result<(), ChannelError> {
        let facts = self.known()?;
        let limits = self.config.limits;
        let handshake = self.handshake()?;
        let (Some((peer, accepted_until)), Some(verdict)) = (handshake.peer.take(), handshake.verdict.take())
        else {
            return Err(no_evidence("verdict", "the end of the handshake"));
        };
        let until = accepted_until.min(verdict.accepted_until);
        if until <= now.wall {
            return Err(ChannelError::Expired { at: until });
        }
        let session = Session::open(
            peer,
            facts.node,
            verdict.note,
            facts.channel_id,
            until,
            &limits,
            now,
        );
        self.stage = Stage::Session(Box::new(session));
        self.events.push_back(Event::Established);
        Ok(())
    }
}

/// Evidence has to be of this very session, whoever judged it.
fn check_session(bound: Option<&BoundUserData>, expected: &SessionBinding) -> Result<(), ChannelError> {
    let field = match bound.and_then(|bound| bound.session.as_ref()) {
        None => Some("session"),
        Some(stated) => stated.difference(expected),
    };
    match field {
        None => Ok(()),
        Some(field) => Err(ChannelError::Evidence(
            nautilus_core::VerifyError::SessionMismatch {
                field: field.to_owned(),
            },
        )),
    }
}

fn no_evidence(due: &'static str, found: &str) -> ChannelError {
    ChannelError::NoEvidence {
        due,
        found: found.to_owned(),
    }
}
