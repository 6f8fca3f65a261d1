//! The agent's side of what it says to verifiers: questions through the attested channel, and nothing beside it.

mod error;
mod presenter;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nautilus_channel::{
    Address, Again, Client, ClientError, ClientEvent, ClientState, Config, Demand, Identified, Line,
    MessageId, Parties, Presentation, Presenter,
};
use nautilus_core::{ChallengeTerms, EvidenceFile, NodeId, PublicKey, Purpose, Role};
use nautilus_proof::PerformanceProof;
use nautilus_verifier::api::{
    Answer, AttestationOutcome, AttestationRequest, ChallengeRequest, KeyRotationNotice, Question, Released,
    RotationNoted, Settlement,
};

use self::error::Standing;
pub use self::error::VerifierError;
pub(crate) use self::presenter::NodePresenter;
use self::presenter::Presented;
use crate::clock::NodeClock;
use crate::event::{ChannelFacts, Event, EventSink, What};

/// The specification's attestation timeout.
const PATIENCE: Duration = Duration::from_secs(30);
/// The key exchange of every session: nothing else is spoken.
const GROUP_NAME: &str = "X25519MLKEM768";

/// Where a verifier is, and the long-term key by which it is known. Whoever answers without that key is not it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierAddress {
    /// Where it is.
    pub address: Address,
    /// Its key.
    pub key: PublicKey,
}

/// What a verifier is to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Judges the node, and settles its proofs.
    Verifier,
    /// Releases secrets to its enclave.
    KeyBroker,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Verifier => "verifier",
            Self::KeyBroker => "key broker",
        })
    }
}

/// A silent verifier is asked so soon. It asks later by itself, so that it is the node that measures the round trip.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A verifier, over one channel that is opened again where it breaks. Cloning is cheap.
#[derive(Clone)]
pub struct VerifierClient {
    at: Arc<VerifierAddress>,
    client: Client<Identified>,
    presented: Arc<Presented>,
    /// Whether there was a session in this run: whoever is at the address has the key, or stands before who has it.
    had_session: Arc<AtomicBool>,
}

impl VerifierClient {
    /// The verifier at `at`, which sees the node as `presenter` has it. Only within a tokio runtime.
    pub(crate) fn new(at: VerifierAddress, part: Part, presenter: NodePresenter, events: EventSink) -> Self {
        let presented = presenter.presented();
        let mut config = Config::new(
            Role::Agent,
            Role::Verifier,
            Some(presenter.node()),
            Presentation::Evidence,
            Demand::Key(at.key),
        );
        config.limits.heartbeat = HEARTBEAT;
        Self::over(at, part, config, Arc::new(presenter), presented, events)
    }

    fn over(
        at: VerifierAddress,
        part: Part,
        config: Config,
        presenter: Arc<dyn Presenter>,
        presented: Arc<Presented>,
        events: EventSink,
    ) -> Self {
        let at = Arc::new(at);
        let had_session = Arc::new(AtomicBool::new(false));
        let before = Arc::clone(&presented);
        let line = Line {
            dial: Arc::new(at.address.clone()),
            // Asked for at the start of every handshake.
            config: Arc::new(move || {
                before.forget();
                config.clone()
            }),
            parties: Parties {
                presenter: Some(presenter),
                appraiser: None,
            },
            told: teller(part, Arc::clone(&at), Arc::clone(&had_session), events),
        };
        Self {
            at,
            client: Client::new(line),
            presented,
            had_session,
        }
    }

    /// Where it is, and its key.
    pub fn at(&self) -> &VerifierAddress {
        &self.at
    }

    /// How the channel stands.
    pub fn state(&self) -> ClientState {
        self.client.state()
    }

    /// Round trip of the session's last heartbeat; none without a session, or before there was one.
    #[must_use]
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.state().session.and_then(|session| session.round_trip)
    }

    /// Opens the channel, if it is not open: has the node's enclave appraised, and the node registered.
    ///
    /// # Errors
    /// [`VerifierError::Rejected`] if the appraisal rejects; else if there is no channel. The same for all below.
    pub async fn connect(&self) -> Result<(), VerifierError> {
        let opened = self.client.connect(PATIENCE).await;
        opened.map_err(|error| self.failed(error))
    }

    /// The evidence that the last handshake presented, for the archive; none if it presented none.
    pub(crate) fn presented(&self) -> Option<EvidenceFile> {
        self.presented.file()
    }

    /// Ends the session: the enclave that vouched for it is not the node's any more. What is under way is asked again.
    pub fn reset(&self) {
        self.client.reset();
    }

    /// Waits for what is under way until `deadline`, and ends the session for good.
    pub(crate) async fn close(&self, deadline: Duration) {
        self.client.close(deadline).await;
    }

    /// Asks for a challenge: the verifier's own, for this node and purpose.
    ///
    /// # Errors
    /// If it gives no success; [`VerifierError::ForeignChallenge`] if it gives another's.
    pub async fn challenge(&self, node: NodeId, purpose: Purpose) -> Result<ChallengeTerms, VerifierError> {
        let question = Question::Challenge(ChallengeRequest { node, purpose });
        match self.ask(&question).await? {
            Answer::Challenge(terms) => {
                if (terms.node, terms.purpose, terms.verifier) == (node, purpose, self.at.key) {
                    return Ok(terms);
                }
                let address = self.at.address.clone();
                Err(VerifierError::ForeignChallenge { address, purpose })
            }
            other => Err(self.wrong(&question, &other)),
        }
    }

    /// Has evidence verified and appraised.
    ///
    /// # Errors
    /// If it gives no success; a rejecting appraisal is one.
    pub async fn attest(&self, request: &AttestationRequest) -> Result<AttestationOutcome, VerifierError> {
        let question = Question::Attest(Box::new(request.clone()));
        match self.ask(&question).await? {
            Answer::Attested(outcome) => Ok(outcome),
            other => Err(self.wrong(&question, &other)),
        }
    }

    /// Has the evidence of an enclave appraised, and gets the secrets that are released to it.
    ///
    /// # Errors
    /// If it gives no success; a rejecting appraisal is none.
    pub async fn release(&self, request: &AttestationRequest) -> Result<Released, VerifierError> {
        let question = Question::Release(Box::new(request.clone()));
        match self.ask(&question).await? {
            Answer::Released(released) => Ok(released),
            other => Err(self.wrong(&question, &other)),
        }
    }

    /// Has a proof verified and settled. A try whose answer was lost is the same question under the same id; after an
    /// answer, whatever it was, another question takes another id.
    ///
    /// # Errors
    /// If it gives no success.
    pub async fn settle(&self, id: MessageId, proof: &PerformanceProof) -> Result<Settlement, VerifierError> {
        let question = Question::Settle(Box::new(proof.clone()));
        let answer = self.client.ask_as(id, &question, PATIENCE).await;
        match answer.map_err(|error| self.failed(error))? {
            Answer::Settled(settlement) => Ok(settlement),
            other => Err(self.wrong(&question, &other)),
        }
    }

    /// Says that a key of the node's enclave signs no more.
    ///
    /// # Errors
    /// If it gives no success.
    pub async fn rotated(&self, notice: KeyRotationNotice) -> Result<RotationNoted, VerifierError> {
        let question = Question::Rotated(notice);
        match self.ask(&question).await? {
            Answer::RotationNoted(noted) => Ok(noted),
            other => Err(self.wrong(&question, &other)),
        }
    }

    async fn ask(&self, question: &Question) -> Result<Answer, VerifierError> {
        let answer = self.client.ask(question, PATIENCE).await;
        answer.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: ClientError) -> VerifierError {
        let standing = Standing {
            own: self.presented.failure(),
            lost: self.had_session.load(Ordering::Relaxed) && self.client.state().session.is_none(),
        };
        VerifierError::of(error, &self.at, standing)
    }

    fn wrong(&self, question: &Question, answer: &Answer) -> VerifierError {
        VerifierError::NotUnderstood {
            address: self.at.address.clone(),
            what: format!("to `{}` it answered `{}`", question.name(), name(answer)),
        }
    }
}

const fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Challenge(_) => "challenge",
        Answer::Attested(_) => "attested",
        Answer::Released(_) => "released",
        Answer::Settled(_) => "settled",
        Answer::RotationNoted(_) => "rotation_noted",
    }
}

/// Tells people what happens to a channel.
fn teller(
    part: Part,
    at: Arc<VerifierAddress>,
    had_session: Arc<AtomicBool>,
    events: EventSink,
) -> Arc<dyn Fn(ClientEvent) + Send + Sync> {
    Arc::new(move |event| {
        let what = match event {
            ClientEvent::Opened(session) => {
                had_session.store(true, Ordering::Relaxed);
                What::Channel(ChannelFacts {
                    peer: part.to_string(),
                    address: at.address.to_string(),
                    peer_key: at.key,
                    channel_id: session.channel_id.to_string(),
                    expires_at: session.expires_at,
                    group: GROUP_NAME,
                })
            }
            ClientEvent::Broken { why, again } => What::Warning {
                detail: format!(
                    "no channel to the {part} at {} ({}): {why}: {}",
                    at.address,
                    why.kind(),
                    follows(again)
                ),
            },
        };
        events(Event {
            at: NodeClock::wall(),
            what,
        });
    })
}

fn follows(again: Again) -> String {
    match again {
        Again::After(pause) => format!("trying again in {} ms", pause.as_millis()),
        Again::WithNextQuestion => "it is opened again for the next question".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
